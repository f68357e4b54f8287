/* Waiter: waiting to be woken by another greenlet. */
#include "methods.h"

struct waiter W;

static const struct field waiter_fields[] = {
    {"_loop", &W.loop},   {"_switch", &W.switch_}, {"done", &W.done},
    {"since", &W.since}, {"user", &W.user},       {"value", &W.value}, {0}};

static PyObject *python_waiter_init, *python_waiter_wait;

static PyObject *waiter_init(PyObject *self, PyObject *unused)
{
    PyObject *current, *hub, *loop, *switch_;
    int is_hub;
    (void)unused;
    if (who_waits(&current, &hub) < 0)
        return NULL;
    is_hub = current == hub;
    loop = PyObject_GetAttr(hub, N.loop);
    switch_ = loop ? PyObject_GetAttr(current, N.switch_) : NULL;
    Py_DECREF(hub);
    Py_DECREF(current);
    if (!switch_) {
        Py_XDECREF(loop);
        return NULL;
    }
    if (is_hub || !PyObject_TypeCheck(loop, L.type)) {
        Py_DECREF(switch_);
        Py_DECREF(loop);
        return fall_back(python_waiter_init, self, NULL, 0, NULL);
    }
    put(self, W.since, SLOT(loop, L.time));
    put(self, W.done, Py_False);
    put(self, W.user, Py_None);
    put(self, W.value, Py_None);
    Py_XSETREF(SLOT(self, W.loop), loop);
    Py_XSETREF(SLOT(self, W.switch_), switch_);
    Py_RETURN_NONE;
}

/* 1: woken, 0: the time is up, -1: an exception. */
static int wait_for_waker(PyObject *self, PyObject *loop, PyObject *hub)
{
    while (SLOT(self, W.done) != Py_True) {
        PyObject *result = PyObject_CallMethodNoArgs(hub, N.switch_);
        if (!result) {
            if (SLOT(self, W.done) == Py_True)
                settle(loop, N.unschedule, SLOT(self, W.switch_), NULL);
            return -1;
        }
        Py_DECREF(result);
        if (result == expired) /* compared, not used */
            return SLOT(self, W.done) == Py_True;
    }
    return 1;
}

PyObject *waiter_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *loop = SLOT(self, W.loop), *hub, *expire, *key;
    double seconds;
    int outcome;
    if (kwnames || nargs > 1 || !loop || !PyObject_TypeCheck(loop, L.type))
        return fall_back(python_waiter_wait, self, args, nargs, kwnames);
    hub = Py_NewRef(SLOT(loop, L.hub));
    Py_INCREF(loop);
    Py_INCREF(self);
    if (!nargs || args[0] == Py_None) {
        outcome = wait_for_waker(self, loop, hub);
    } else {
        seconds = PyFloat_AsDouble(args[0]);
        outcome = -1;
        expire = seconds == -1.0 && PyErr_Occurred()
                     ? NULL
                     : PyObject_CallFunctionObjArgs(partial_type, SLOT(self, W.switch_), expired, NULL);
        if (expire) {
            PyObject *after = PyFloat_FromDouble(seconds > 0.0 || seconds != seconds ? seconds : 0.0);
            key = after ? PyObject_CallMethodObjArgs(loop, N.call_later, after, expire, NULL) : NULL;
            Py_XDECREF(after);
            if (key) {
                outcome = wait_for_waker(self, loop, hub);
                settle(loop, N.cancel_later, key, expire);
                if (PyErr_Occurred())
                    outcome = -1;
                Py_DECREF(key);
            }
            Py_DECREF(expire);
        }
    }
    Py_DECREF(self);
    Py_DECREF(loop);
    Py_DECREF(hub);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* 1: woken, 0: nobody is there to wake, -1: an exception. */
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
    if (queue_append(SLOT(loop, L.ready), SLOT(self, W.switch_)) < 0)
        return -1;
    if (SLOT(loop, L.in_poll) == Py_True) { /* never in the loop's own thread */
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

const struct noun waiter_noun = {"Waiter", &W.type, waiter_fields, waiter_methods};
