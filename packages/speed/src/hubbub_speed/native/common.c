/* Functions that all methods use. */
#include "methods.h"

#include <greenlet/greenlet.h>

PyTypeObject *deque_type, *failure_type;
PyObject *deque_pop, *make_way, *partial_type, *ring_poll, *local_attributes, *expired, *zero;
struct names N;
struct constants C;

PyTypeObject *hub_type, *runner_type;
static PyObject *deque_append, *deque_popleft, *closed_error, *get_hub, *thread_state;

static const struct {
    PyObject **name;
    const char *text;
} names[] = {
    {&N.arm_direction, "arm_direction"},
    {&N._abandon, "_abandon"},
    {&N.append, "append"},
    {&N.popleft, "popleft"},
    {&N.switch_, "switch"},
    {&N.loop, "loop"},
    {&N.unschedule, "unschedule"},
    {&N.wake, "wake"},
    {&N.call_later, "call_later"},
    {&N.cancel_later, "cancel_later"},
    {&N.call_failed, "call_failed"},
    {&N.handle_error, "handle_error"},
    {&N.forget, "forget"},
    {&N._tell_observers, "_tell_observers"},
    {&N.events, "events"},
    {&N.fired, "fired"},
    {&N.fire, "fire"},
    {&N.READ_BITS, "READ_BITS"},
    {&N.WRITE_BITS, "WRITE_BITS"},
    {&N.STICKY_BITS, "STICKY_BITS"},
    {&N.turn_seconds, "turn_seconds"},
    {&N._sweep, "_sweep"},
    {&N.run_ready, "run_ready"},
    {&N.dispatch, "dispatch"},
    {&N.poll, "poll"},
    {&N._expire, "_expire"},
    {&N._alive, "_alive"},
    {&N._call_phase, "_call_phase"},
    {&N._call_idles, "_call_idles"},
    {&N._check, "_check"},
    {&N._time_left, "_time_left"},
    {&N._after_read, "_after_read"},
    {&N._open, "_open"},
    {&N._found_nothing, "_found_nothing"},
    {&N._send_rest, "_send_rest"},
    {&N._expired, "_expired"},
    {&N.queue, "queue"},
    {&N._hand_over, "_hand_over"},
    {&N.acquire, "acquire"},
    {&N.main, "main"},
    {&N.release, "release"},
    {&N.timer_runs, "timer_runs"},
    {&N.abandon, "abandon"},
    {&N.withdraw, "withdraw"},
    {&N._share_gil, "_share_gil"},
    {&N.__dict__, "__dict__"},
    {&N.put, "put"},
    {&N.get, "get"},
    {&N.hub, "hub"},
    {&N._wake_all, "_wake_all"},
    {&N._is_late, "_is_late"},
    {&N._go_on_waiting, "_go_on_waiting"},
    {&N.appendleft, "appendleft"},
    {&N._put, "_put"},
    {&N._unget, "_unget"},
    {&N._uncount, "_uncount"},
    {&N._received, "_received"},
    {&N._abandon_put, "_abandon_put"},
    {&N._abandon_get, "_abandon_get"},
    {&N.hold, "hold"},
    {&N.let_go, "let_go"},
    {&N.deliver, "deliver"},
    {&N.arrive, "arrive"},
    {&N._get_up, "_get_up"},
    {&N._next_thread, "_next_thread"},
    {&N.context, "context"},
    {&N.spawn_hook, "spawn_hook"},
    {&N.dead, "dead"},
    {&N._schedule_links, "_schedule_links"},
    {&N._notify_links, "_notify_links"},
    {&N._link_failed, "_link_failed"},
    {&N.notification, "Greenlet._notify_links"},
    {0},
};

/* Calls the Python method in whose place one of this package stands. */
PyObject *fall_back(PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *few[8], **all = few, *result;
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (count + 1 > (Py_ssize_t)Py_ARRAY_LENGTH(few)) {
        all = PyMem_New(PyObject *, count + 1);
        if (!all)
            return PyErr_NoMemory();
    }
    all[0] = self;
    if (count)
        memcpy(all + 1, args, (size_t)count * sizeof *args);
    result = PyObject_Vectorcall(original, all, (size_t)nargs + 1, kwnames);
    if (all != few)
        PyMem_Free(all);
    return result;
}

/* Calls a function in C, without the interpreter's steps if it takes what it is known to take. */
PyObject *call_noargs(PyObject *function)
{
    if (PyCFunction_CheckExact(function) && PyCFunction_GET_FLAGS(function) == METH_NOARGS)
        return PyCFunction_GET_FUNCTION(function)(PyCFunction_GET_SELF(function), NULL);
    return PyObject_CallNoArgs(function);
}

/* Calls a method in C of a deque, likewise. ``item``: NULL if it takes none. */
static PyObject *call_deque(PyObject *method, PyObject *queue, PyObject *item)
{
    PyObject *pair[] = {queue, item};
    if (Py_IS_TYPE(method, &PyMethodDescr_Type)) {
        const PyMethodDef *definition = ((PyMethodDescrObject *)method)->d_method;
        if (definition->ml_flags == (item ? METH_O : METH_NOARGS))
            return definition->ml_meth(queue, item);
    }
    return PyObject_Vectorcall(method, pair, item ? 2 : 1, NULL);
}

int queue_append(PyObject *queue, PyObject *item)
{
    PyObject *result;
    if (is_deque(queue))
        result = call_deque(deque_append, queue, item);
    else
        result = PyObject_CallMethodOneArg(queue, N.append, item);
    if (!result)
        return -1;
    Py_DECREF(result);
    return 0;
}

PyObject *queue_popleft(PyObject *queue)
{
    if (is_deque(queue))
        return call_deque(deque_popleft, queue, NULL);
    return PyObject_CallMethodNoArgs(queue, N.popleft);
}

/* Calls a method for its effect while an exception is set; if the method fails, its exception replaces that one. */
void settle(PyObject *object, PyObject *name, PyObject *a, PyObject *b)
{
    PyObject *type, *value, *traceback, *stack[] = {object, a, b}, *result;
    PyErr_Fetch(&type, &value, &traceback);
    result = PyObject_VectorcallMethod(name, stack, b ? 3 : a ? 2 : 1, NULL);
    if (result) {
        Py_DECREF(result);
        PyErr_Restore(type, value, traceback);
    } else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
}

/* Takes the exception that is set, as an except clause does: a new reference. */
PyObject *caught(void)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return error;
}

PyObject *set_closed_error(void)
{
    PyObject *error = PyObject_CallNoArgs(closed_error);
    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

/*
 * The current greenlet and the hub that it belongs to, as new references.  For a greenlet of the hub that is
 * its parent; for others (the main greenlet, raw ones) the hub of the thread.  -1: an exception.
 */
int who_waits(PyObject **current, PyObject **hub)
{
    *current = (PyObject *)PyGreenlet_GetCurrent();
    if (!*current)
        return -1;
    *hub = (PyObject *)PyGreenlet_GetParent((PyGreenlet *)*current);
    if (*hub && PyObject_TypeCheck(*hub, hub_type))
        return 0;
    Py_XDECREF(*hub);
    *hub = PyObject_CallNoArgs(get_hub);
    if (*hub)
        return 0;
    Py_DECREF(*current);
    return -1;
}

/* get_hub() */
PyObject *current_hub(void)
{
    PyObject *hub = PyObject_GetAttr(thread_state, N.hub);
    if (hub || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return hub;
    PyErr_Clear();
    return PyObject_CallNoArgs(get_hub);
}

PyObject *current_greenlet(void)
{
    return (PyObject *)PyGreenlet_GetCurrent();
}

/* Calls a method for its effect. */
int do_method(PyObject *self, PyObject *name, PyObject *argument)
{
    PyObject *done = argument ? PyObject_CallMethodOneArg(self, name, argument) : PyObject_CallMethodNoArgs(self, name);
    if (!done)
        return -1;
    Py_DECREF(done);
    return 0;
}

int truth_of(PyObject *answer)
{
    int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

/* -- learning ------------------------------------------------------------------------------------------------------ */

PyObject *wanted(PyObject *from, const char *name)
{
    PyObject *found = PyMapping_GetItemString(from, name);
    if (!found && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Format(PyExc_TypeError, "%s is missing", name);
    return found; /* kept for ever */
}

PyObject *wanted_object(PyObject *parts, const char *name)
{
    PyObject *objects = wanted(parts, "objects"), *found = objects ? wanted(objects, name) : NULL;
    Py_XDECREF(objects);
    return found;
}

static int learn_names(void)
{
    int i;
    for (i = 0; names[i].name; i++)
        if (!(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return -1;
    return 0;
}

static int learn_constants(PyObject *parts)
{
    static const struct {
        const char *name;
        double *number;
    } wishes[] = {{"slice", &C.slice}, {"slices", &C.slices}, {"slow", &C.slow}, {"sweep_above", &C.sweep_above},
                 {"crowd", &C.crowd}, {"longest", &C.longest}, {"overtime", &C.overtime},
                 {"few_ready", &C.few_ready}, {"in_bulk", &C.in_bulk},
                 {"look_again", &C.look_again}, {"gil_kept", &C.gil_kept},
                 {"new", &C.new_}, {"scheduled", &C.scheduled}, {"done", &C.done},
                 {"read", &C.read}, {"write", &C.write}};
    PyObject *constants = wanted(parts, "constants"), *value;
    size_t i;
    for (i = 0; constants && i < Py_ARRAY_LENGTH(wishes); i++) {
        value = wanted(constants, wishes[i].name);
        *wishes[i].number = value ? PyFloat_AsDouble(value) : -1.0;
        Py_XDECREF(value);
        if (PyErr_Occurred())
            Py_CLEAR(constants);
    }
    Py_XDECREF(constants);
    return PyErr_Occurred() ? -1 : 0;
}

/* An attribute of a module, kept for ever. */
static PyObject *imported(const char *module, const char *name)
{
    PyObject *found, *from = PyImport_ImportModule(module);
    if (!from)
        return NULL;
    found = PyObject_GetAttrString(from, name);
    Py_DECREF(from);
    return found;
}

int learn_common(PyObject *parts)
{
    PyGreenlet_Import();
    if (PyErr_Occurred())
        return -1;
    if (!(hub_type = (PyTypeObject *)wanted(parts, "hubbub.hub.Hub")) ||
        !(runner_type = (PyTypeObject *)wanted(parts, "hubbub._standin.Runner")) ||
        !(failure_type = (PyTypeObject *)wanted(parts, "hubbub._simplequeue.Failure")) ||
        !(get_hub = wanted(parts, "hubbub._current.get_hub")) ||
        !(thread_state = wanted_object(parts, "thread_state")) ||
        !(make_way = wanted(parts, "hubbub._current.make_way")) ||
        !(closed_error = wanted(parts, "hubbub.loop.readiness.closed_error")) ||
        !(local_attributes = wanted(parts, "hubbub.local._attributes")) ||
        !(ring_poll = wanted(parts, "hubbub.loop.ring.RingBackend.poll")))
        return -1;
    if (learn_constants(parts) < 0)
        return -1;
    if (!(partial_type = imported("functools", "partial")) ||
        !(deque_type = (PyTypeObject *)imported("collections", "deque")))
        return -1;
    zero = PyLong_FromLong(0);
    deque_append = PyObject_GetAttrString((PyObject *)deque_type, "append");
    deque_popleft = PyObject_GetAttrString((PyObject *)deque_type, "popleft");
    deque_pop = PyObject_GetAttrString((PyObject *)deque_type, "pop");
    expired = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    return deque_append && deque_popleft && deque_pop && expired && zero ? learn_names() : -1;
}
