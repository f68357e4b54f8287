/* Waiter: waiting to be woken by another greenlet. */
#include "methods.h"

struct waiter W;

static const struct field waiter_fields[] = {
    {"_loop", &W.loop},   {"_waiting", &W.waiting}, {"done", &W.done}, {"greenlet", &W.greenlet},
    {"since", &W.since}, {"user", &W.user},        {"value", &W.value}, {0}};

static PyObject *python_waiter_init, *python_waiter_wait;

static PyObject *waiter_init(PyObject *self, PyObject *unused)
{
    PyObject *current, *hub, *loop;
    int is_hub;
    (void)unused;
    if (who_waits(&current, &hub) < 0)
        return NULL;
    is_hub = current == hub;
    loop = loop_of(hub);
    Py_DECREF(hub);
    if (!loop || is_hub || !PyObject_TypeCheck(loop, L.type)) {
        Py_DECREF(current);
        Py_XDECREF(loop);
        return loop ? fall_back(python_waiter_init, self, NULL, 0, NULL) : NULL;
    }
    put(self, W.since, SLOT(loop, L.time));
    put(self, W.done, Py_False);
    put(self, W.waiting, Py_False);
    put(self, W.user, Py_None);
    put(self, W.value, Py_None);
    Py_XSETREF(SLOT(self, W.loop), loop);
    Py_XSETREF(SLOT(self, W.greenlet), current);
    Py_RETURN_NONE;
}

/* Called by the run queue: switches to the greenlet, if it still waits. */
PyObject *waiter_resume(PyObject *self)
{
    if (SLOT(self, W.waiting) != Py_True)
        Py_RETURN_NONE;
    put(self, W.waiting, Py_False);
    return switch_to(SLOT(self, W.greenlet));
}

/* Waiter(). */
PyObject *new_waiter(void)
{
    PyObject *self = W.type->tp_alloc(W.type, 0), *done;
    if (!self)
        return NULL;
    done = waiter_init(self, NULL);
    if (!done)
        Py_CLEAR(self);
    Py_XDECREF(done);
    return self;
}

/* Waits until the waiter is woken or the timer, if there is one, goes off. -1: an exception. */
static int wait_for_waker(PyObject *self, PyObject *loop, PyObject *hub, PyObject *key)
{
    int failed = 0, waits;
    put(self, W.waiting, Py_True);
    waits = SLOT(self, W.done) == Py_True ? 0 : key ? timer_runs(loop, key, self) : 1;
    if (waits > 0) {
        PyObject *done = switch_out(hub, loop);
        failed = done ? 0 : -1;
        Py_XDECREF(done);
        if (!failed && SLOT(self, W.waiting) == Py_True)
            failed = do_method(self, N._go_on_waiting, key ? key : Py_None);
    }
    put(self, W.waiting, Py_False);
    return failed || waits < 0 ? -1 : 0;
}

/* timer_runs() while an exception may be set. */
RARE static int is_running(PyObject *loop, PyObject *key, PyObject *callback)
{
    PyObject *type, *value, *traceback;
    int running;
    PyErr_Fetch(&type, &value, &traceback);
    running = timer_runs(loop, key, callback);
    if (running < 0)
        PyErr_Clear();
    PyErr_Restore(type, value, traceback);
    return running;
}

/* As wait_for_waker, with a limit in seconds; ``ref``: whether the wait keeps the loop from ending. */
APART static int wait_until(PyObject *self, PyObject *loop, PyObject *hub, PyObject *timeout, PyObject *ref)
{
    double seconds = PyFloat_AsDouble(timeout);
    PyObject *after, *key = NULL, *repeat = PyFloat_FromDouble(0.0);
    int failed;
    if (seconds == -1.0 && PyErr_Occurred()) {
        Py_XDECREF(repeat);
        return -1;
    }
    after = PyFloat_FromDouble(seconds > 0.0 || seconds != seconds ? seconds : 0.0);
    if (after && repeat) {
        PyObject *stack[] = {loop, after, self, repeat, ref};
        key = PyObject_VectorcallMethod(N.call_later, stack, 5, NULL);
    }
    Py_XDECREF(repeat);
    Py_XDECREF(after);
    if (!key)
        return -1;
    failed = wait_for_waker(self, loop, hub, key);
    if (is_running(loop, key, self)) /* else it may be in the run queue, where it does no harm: no search for it */
        settle(loop, N.cancel_later, key, self);
    Py_DECREF(key);
    return failed || PyErr_Occurred() ? -1 : 0;
}

/* Waits for the loop's own waker, or ``timeout`` seconds unless that is NULL. Returns whether it was woken. */
static PyObject *wait_on_loop(PyObject *self, PyObject *timeout, PyObject *ref)
{
    PyObject *loop = Py_NewRef(SLOT(self, W.loop)), *hub = Py_NewRef(SLOT(loop, L.hub)), *answer = NULL;
    int failed;
    Py_INCREF(self);
    failed = timeout ? wait_until(self, loop, hub, timeout, ref) : wait_for_waker(self, loop, hub, NULL);
    if (!failed)
        answer = Py_NewRef(SLOT(self, W.done));
    Py_DECREF(self);
    Py_DECREF(loop);
    Py_DECREF(hub);
    return answer;
}

PyObject *waiter_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *loop = SLOT(self, W.loop);
    if (kwnames || nargs > 1 || !loop || !PyObject_TypeCheck(loop, L.type))
        return fall_back(python_waiter_wait, self, args, nargs, kwnames);
    return wait_on_loop(self, nargs && args[0] != Py_None ? args[0] : NULL, Py_True);
}

/* Waits for the time to pass; nobody wakes it. */
PyObject *waiter_rest(PyObject *self, PyObject *seconds, PyObject *ref)
{
    PyObject *loop = SLOT(self, W.loop), *done;
    if (!PyObject_TypeCheck(loop, L.type))
        return fall_back(python_waiter_wait, self, &seconds, 1, NULL);
    done = wait_on_loop(self, seconds, ref);
    Py_XDECREF(done);
    return done ? Py_NewRef(Py_None) : NULL;
}

/* Whether its loop was destroyed, or left behind by a fork, or its wait was given up. */
int is_stale(PyObject *self)
{
    PyObject *since = SLOT(self, W.since), *born = SLOT(SLOT(self, W.loop), L.born);
    return PyFloat_CheckExact(since) && PyFloat_CheckExact(born) && PyFloat_AS_DOUBLE(since) < PyFloat_AS_DOUBLE(born);
}

/* 1: woken, 0: the loop of its greenlet was destroyed, or left behind by a fork, -1: an exception. */
int wake(PyObject *self, PyObject *value)
{
    PyObject *loop = SLOT(self, W.loop);
    double since = PyFloat_AsDouble(SLOT(self, W.since)), born = PyFloat_AsDouble(SLOT(loop, L.born));
    if (PyErr_Occurred())
        return -1;
    if (since < born)
        return 0;
    put(self, W.value, value);
    put(self, W.done, Py_True);
    if (queue_append(SLOT(loop, L.ready), self) < 0) {
        put(self, W.done, Py_False);
        return -1;
    }
    if (SLOT(loop, L.in_poll) == Py_True) { /* true only if another thread calls this */
        PyObject *done = PyObject_CallMethodNoArgs(loop, N.wake);
        if (!done)
            return -1;
        Py_DECREF(done);
    }
    return 1;
}

static PyObject *python_waiter_wake;

static PyObject *waiter_wake(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *loop = SLOT(self, W.loop);
    int outcome;
    if (kwnames || nargs > 1 || !loop || !PyObject_TypeCheck(loop, L.type))
        return fall_back(python_waiter_wake, self, args, nargs, kwnames);
    outcome = wake(self, nargs ? args[0] : Py_None);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

static const struct method waiter_methods[] = {
    {&python_waiter_init, {"__init__", waiter_init, METH_NOARGS, "__init__($self)\n--\n\n"}},
    {&python_waiter_wait, {"wait", FASTCALL(waiter_wait), "wait($self, timeout=None)\n--\n\n"}},
    {&python_waiter_wake, {"wake", FASTCALL(waiter_wake), "wake($self, value=None)\n--\n\n"}},
    {0},
};

const struct noun waiter_noun = {"hubbub._waiter.Waiter", &W.type, waiter_fields, waiter_methods};
