/* Callbacks: what queues a handle, and calls those that are ready; Watch.fired. */
#include "methods.h"

static struct {
    PyTypeObject *type;
    Py_ssize_t begins, closed, debug, first_step, hub_loop, parked, ready, stand_ins, unqueued;
} L;

static const struct field loop_fields[] = {{"_begins", &L.begins}, {"_closed", &L.closed}, {"_debug", &L.debug},
                                           {"_first_step", &L.first_step}, {"_hub_loop", &L.hub_loop}, {"_unqueued", &L.unqueued},
                                           {"_parked", &L.parked}, {"_ready", &L.ready},   {"_stand_ins", &L.stand_ins},
                                           {0}};

static struct {
    PyTypeObject *type;
    Py_ssize_t callback, args, cancelled, loop, source_traceback, repr, context;
} H;

static const struct field handle_fields[] = {{"_callback", &H.callback},
                                             {"_args", &H.args},
                                             {"_cancelled", &H.cancelled},
                                             {"_loop", &H.loop},
                                             {"_source_traceback", &H.source_traceback},
                                             {"_repr", &H.repr},
                                             {"_context", &H.context},
                                             {0}};

static struct {
    PyTypeObject *type;
    Py_ssize_t queued, suspended, loop;
} W;

static const struct field watch_fields[] = {
    {"_queued", &W.queued}, {"_suspended", &W.suspended}, {"_loop", &W.loop}, {0}};

PyTypeObject *deque_type;
static PyCFunction deque_append, deque_popleft;
static PyObject *future_type, *report_failure, *loop_name;
static PyObject *python_call_soon, *python_get_debug, *python_call_ready, *python_fired, *python_wake;

/* Whether the queue of what is ready is a deque, as usual. */
static int has_queue(PyObject *self)
{
    return SLOT(self, L.ready) && Py_IS_TYPE(SLOT(self, L.ready), deque_type);
}

/* Queues a handle, and wakes the event loop if it waits. */
static int queue(PyObject *self, PyObject *handle)
{
    PyObject *done = deque_append(SLOT(self, L.ready), handle);
    if (done && SLOT(self, L.parked) != Py_None) {
        Py_DECREF(done);
        done = PyObject_CallMethodNoArgs(self, N._wake);
    }
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* As Callbacks._wake. */
static PyObject *loop_wake(PyObject *self, PyObject *unused)
{
    PyObject *parked = SLOT(self, L.parked), *ready, *done;
    (void)unused;
    if (parked == Py_None)
        Py_RETURN_NONE;
    if (!parked || !SLOT(self, L.hub_loop))
        return fall_back(python_wake, self, NULL, 0, NULL);
    ready = PyObject_GetAttr(SLOT(self, L.hub_loop), N.ready);
    if (!ready)
        return NULL;
    Py_INCREF(parked);
    put(self, L.parked, Py_None);
    done = Py_IS_TYPE(ready, deque_type) ? deque_append(ready, parked)
                                         : PyObject_CallMethodOneArg(ready, N.append, parked);
    Py_DECREF(parked);
    Py_DECREF(ready);
    return done;
}

/* Handles that were called and nobody else has: the next ones are made of them. They are not tracked, and empty. */
enum { SPARES = 64 };
static PyObject *spare[SPARES];
static int spares;

static PyObject *blank_handle(void)
{
    PyObject *handle;
    if (!spares)
        return H.type->tp_alloc(H.type, 0);
    handle = spare[--spares];
    PyObject_GC_Track(handle);
    return handle;
}

/* Drops the reference to a handle that was called. */
static void let_go(PyObject *handle)
{
    if (Py_REFCNT(handle) != 1 || !Py_IS_TYPE(handle, H.type) || SLOT(handle, H.type->tp_weaklistoffset)) {
        Py_DECREF(handle);
        return;
    }
    PyObject_GC_UnTrack(handle); /* so that nobody finds it while its content goes */
    Py_CLEAR(SLOT(handle, H.callback));
    Py_CLEAR(SLOT(handle, H.args));
    Py_CLEAR(SLOT(handle, H.context));
    Py_CLEAR(SLOT(handle, H.loop));
    if (spares < SPARES) {
        spare[spares++] = handle;
    } else {
        PyObject_GC_Track(handle);
        Py_DECREF(handle);
    }
}

static PyObject *new_handle(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *context)
{
    Py_ssize_t i;
    PyObject *handle = blank_handle(), *rest;
    if (!handle)
        return NULL;
    put(handle, H.cancelled, Py_False);
    put(handle, H.repr, Py_None);
    put(handle, H.source_traceback, Py_None);
    SLOT(handle, H.loop) = Py_NewRef(self);
    SLOT(handle, H.callback) = Py_NewRef(args[0]);
    SLOT(handle, H.context) = context ? Py_NewRef(context) : PyContext_CopyCurrent();
    rest = PyTuple_New(nargs - 1);
    for (i = 1; rest && i < nargs; i++)
        PyTuple_SET_ITEM(rest, i - 1, Py_NewRef(args[i]));
    SLOT(handle, H.args) = rest;
    if (!rest || !SLOT(handle, H.context))
        Py_CLEAR(handle);
    return handle;
}

/* Whether a keyword is ``context``. asyncio's own is not interned. */
static int is_context(PyObject *name)
{
    return name == N.context || PyUnicode_CompareWithASCIIString(name, "context") == 0;
}

static PyObject *loop_call_soon(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context = NULL, *handle;
    int usual = nargs > 0;
    if (kwnames && PyTuple_GET_SIZE(kwnames)) {
        context = args[nargs];
        usual = usual && PyTuple_GET_SIZE(kwnames) == 1 && is_context(PyTuple_GET_ITEM(kwnames, 0));
    }
    if (context == Py_None)
        context = NULL;
    if (usual && context && SLOT(self, L.begins) == context && SLOT(self, L.unqueued)) {
        put(self, L.first_step, args[0]);
        return Py_NewRef(SLOT(self, L.unqueued));
    }
    usual = usual && (!context || PyContext_CheckExact(context)) && SLOT(self, L.begins) == Py_None &&
            SLOT(self, L.debug) == Py_False && SLOT(self, L.closed) == Py_False && has_queue(self);
    if (!usual)
        return fall_back(python_call_soon, self, args, nargs, kwnames);
    handle = new_handle(self, args, nargs, context);
    if (handle && queue(self, handle) < 0)
        Py_CLEAR(handle);
    return handle;
}

static PyObject *loop_create_future(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyObject_Vectorcall(future_type, &self, 0, loop_name);
}

static PyObject *loop_get_debug(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (!SLOT(self, L.debug))
        return fall_back(python_get_debug, self, NULL, 0, NULL);
    return Py_NewRef(SLOT(self, L.debug));
}

/* Has the event loop's exception handler told of the exception that is set, unless that ends the program. */
static int report(PyObject *handle)
{
    PyObject *error = take_error(), *done;
    if (!error)
        return -1;
    done = call_handling(error, report_failure, (PyObject *[]){handle, error}, 2);
    Py_DECREF(error);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* As context.run(callback, *args). */
static int run_in_context(PyObject *handle)
{
    PyObject *context = Py_NewRef(SLOT(handle, H.context)), *callback = Py_NewRef(SLOT(handle, H.callback)),
             *args = Py_NewRef(SLOT(handle, H.args)), *result = NULL;
    if (PyContext_Enter(context) == 0) {
        result = PyObject_Vectorcall(callback, &PyTuple_GET_ITEM(args, 0), (size_t)PyTuple_GET_SIZE(args), NULL);
        if (PyContext_Exit(context) < 0)
            Py_CLEAR(result);
    }
    Py_DECREF(args);
    Py_DECREF(callback);
    Py_DECREF(context);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int is_whole(PyObject *handle)
{
    return SLOT(handle, H.context) && PyContext_CheckExact(SLOT(handle, H.context)) && SLOT(handle, H.callback) &&
           SLOT(handle, H.args) && PyTuple_CheckExact(SLOT(handle, H.args));
}

/* A handle of asyncio's, or one that somebody has changed. */
static int call_other(PyObject *handle)
{
    PyObject *cancelled = PyObject_GetAttr(handle, N._cancelled), *done;
    int is = cancelled ? PyObject_IsTrue(cancelled) : -1;
    Py_XDECREF(cancelled);
    if (is)
        return is < 0 ? -1 : 0;
    done = PyObject_CallMethodNoArgs(handle, N._run);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int call_handle(PyObject *handle)
{
    if (Py_IS_TYPE(handle, W.type) && is_whole(handle) && SLOT(handle, W.suspended) == Py_False) {
        if (SLOT(handle, H.cancelled) == Py_True)
            return 0;
        put(handle, W.queued, Py_False);
    } else if (!Py_IS_TYPE(handle, H.type) || !is_whole(handle)) {
        return call_other(handle);
    } else if (SLOT(handle, H.cancelled) == Py_True) {
        return 0;
    }
    return run_in_context(handle) < 0 ? report(handle) : 0;
}

int goes_on(PyObject *self)
{
    PyObject *stand_ins = SLOT(self, L.stand_ins), *answer;
    int on;
    if (stand_ins && PyLong_CheckExact(stand_ins) && PyLong_AsLong(stand_ins) == 0)
        return 1;
    answer = PyObject_CallMethodNoArgs(self, N._still_runs);
    on = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return on;
}

/* Calls so many of the queue at most. Returns 0, or -1. */
static int call_some(PyObject *self, PyObject *ready, Py_ssize_t count)
{
    int on = 1;
    while (on > 0 && count-- > 0 && Py_SIZE(ready) > 0) {
        PyObject *handle = deque_popleft(ready, NULL);
        on = handle && call_handle(handle) == 0 ? 1 : -1;
        if (handle)
            let_go(handle);
        if (on > 0)
            on = goes_on(self);
    }
    return on < 0 ? -1 : 0;
}

static PyObject *loop_call_ready(PyObject *self, PyObject *unused)
{
    PyObject *ready;
    int failed;
    (void)unused;
    if (SLOT(self, L.debug) != Py_False || !has_queue(self))
        return fall_back(python_call_ready, self, NULL, 0, NULL);
    ready = Py_NewRef(SLOT(self, L.ready));
    failed = call_some(self, ready, Py_SIZE(ready));
    Py_DECREF(ready);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *watch_fired(PyObject *self, PyObject *events)
{
    PyObject *loop = SLOT(self, W.loop);
    if (SLOT(self, W.queued) != Py_False || !loop || !PyObject_TypeCheck(loop, L.type) || !has_queue(loop))
        return fall_back(python_fired, self, &events, 1, NULL);
    put(self, W.queued, Py_True);
    Py_INCREF(loop);
    if (queue(loop, self) < 0) {
        Py_DECREF(loop);
        return NULL;
    }
    Py_DECREF(loop);
    Py_RETURN_NONE;
}

static const struct method loop_methods[] = {
    {&python_call_soon,
     {"call_soon", FASTCALL(loop_call_soon),
      "call_soon($self, callback, *args, context=None)\n--\n\n"
      "Call ``callback(*args)`` in the next round. Any greenlet of the thread may call this."}},
    {NULL,
     {"create_future", loop_create_future, METH_NOARGS, "create_future($self)\n--\n\nA future of this event loop."}},
    {&python_get_debug,
     {"get_debug", loop_get_debug, METH_NOARGS, "get_debug($self)\n--\n\nWhether the debug mode is on."}},
    {&python_wake, {"_wake", loop_wake, METH_NOARGS, "_wake($self)\n--\n\n"}},
    {&python_call_ready, {"_call_ready", loop_call_ready, METH_NOARGS, "_call_ready($self)\n--\n\n"}},
    {0},
};

static const struct method watch_methods[] = {
    {&python_fired, {"fired", watch_fired, METH_O, "fired($self, events)\n--\n\n"}},
    {0},
};

const struct noun loop_noun = {"Callbacks", &L.type, loop_fields, loop_methods};
const struct noun handle_noun = {"PlainHandle", &H.type, handle_fields, NULL};
const struct noun watch_noun = {"Watch", &W.type, watch_fields, watch_methods};

int learn_callbacks(PyObject *parts)
{
    PyObject *deque = imported("collections", "deque");
    if (!deque || !(report_failure = wanted(parts, "report_failure")) || !(future_type = imported("asyncio", "Future")) ||
        !(loop_name = PyTuple_Pack(1, N.loop)))
        return -1;
    deque_type = (PyTypeObject *)deque;
    deque_append = function_of(deque, N.append, METH_O);
    deque_popleft = deque_append ? function_of(deque, N.popleft, METH_NOARGS) : NULL;
    return deque_popleft ? 0 : -1;
}
