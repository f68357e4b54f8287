/*
 * Event and AsyncResult.
 * With the GIL held throughout, raising the flag and waking is one step, as is looking at it and joining the queue.
 */
#include "methods.h"

static struct {
    PyTypeObject *type;
    Py_ssize_t flag, links, waiters;
} E;

static struct {
    PyTypeObject *type;
    Py_ssize_t exc_info, value;
} A;

static PyTypeObject *event_type;

static const struct field awaitable_fields[] = {{"_flag", &E.flag}, {"_links", &E.links}, {"_waiters", &E.waiters}, {0}};
static const struct field result_fields[] = {{"_exc_info", &A.exc_info}, {"value", &A.value}, {0}};

static PyObject *python_wait_for_flag, *python_event_wait, *python_result_set, *python_result_get;

static PyObject *awaitable_init(PyObject *self, PyObject *unused)
{
    (void)unused;
    put(self, E.flag, Py_False);
    put(self, E.links, Py_None);
    put(self, E.waiters, Py_None);
    Py_RETURN_NONE;
}

static int is_whole(PyObject *self)
{
    return SLOT(self, E.flag) && SLOT(self, E.links) && SLOT(self, E.waiters);
}

/* Wakes the waiters that are in the queue now: those that join later wait for the next time. */
static int wake_all(PyObject *self)
{
    PyObject *waiters = Py_NewRef(SLOT(self, E.waiters));
    Py_ssize_t left = waiters == Py_None ? 0 : PyObject_Size(waiters);
    int failed = left < 0;
    while (!failed && left-- > 0 && filled(waiters)) {
        PyObject *waiter = queue_popleft(waiters);
        if (waiter && is_waiter(waiter))
            failed = wake(waiter, Py_None) < 0;
        else
            failed = 1;
        if (waiter && failed && !PyErr_Occurred())
            PyErr_SetString(PyExc_SystemError, "among those who wait for an event is something else");
        Py_XDECREF(waiter);
    }
    Py_DECREF(waiters);
    return failed ? -1 : 0;
}

/* Raises the flag, wakes the waiters and calls the links. */
static int raise_flag(PyObject *self)
{
    int failed;
    put(self, E.flag, Py_True);
    failed = wake_all(self);
    if (SLOT(self, E.links) != Py_None) {
        if (failed)
            settle(SLOT(self, E.links), N.fire, NULL, NULL);
        else
            failed = do_method(SLOT(self, E.links), N.fire, NULL);
    }
    return failed;
}

/* Waits for the flag. 1: woken, 0: the time is up, -1: an exception. */
static int wait_for_flag(PyObject *self, PyObject *timeout)
{
    PyObject *waiter = new_waiter(), *queue, *woken, *stack[2] = {waiter, timeout};
    int outcome;
    if (!waiter)
        return -1;
    if (SLOT(self, E.waiters) == Py_None) {
        queue = PyObject_CallNoArgs((PyObject *)waitqueue_type);
        if (!queue) {
            Py_DECREF(waiter);
            return -1;
        }
        if (SLOT(self, E.waiters) == Py_None) /* a destructor may have set it meanwhile */
            put(self, E.waiters, queue);
        Py_DECREF(queue);
    }
    if (SLOT(self, E.flag) == Py_True) { /* the same goes for the flag */
        Py_DECREF(waiter);
        return 1;
    }
    Py_INCREF(self);
    queue = Py_NewRef(SLOT(self, E.waiters));
    put(waiter, W.user, self);
    woken = waitqueue_wait(queue, stack, timeout ? 2 : 1, NULL);
    put(waiter, W.user, Py_None);
    outcome = truth_of(woken);
    Py_DECREF(queue);
    Py_DECREF(waiter);
    Py_DECREF(self);
    return outcome;
}

/*
 * Every wait comes here, also that of a method in Python: there the mutex is held from joining to the look at the flag,
 * and the methods above do not ask for it.
 */
static PyObject *awaitable_wait_for_flag(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int outcome;
    if (kwnames || nargs != 1 || !is_whole(self))
        return fall_back(python_wait_for_flag, self, args, nargs, kwnames);
    outcome = wait_for_flag(self, args[0]);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* -- events ------------------------------------------------------------------------------------------------------ */

static PyObject *event_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (raise_flag(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *event_clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    put(self, E.flag, Py_False);
    Py_RETURN_NONE;
}

static PyObject *event_is_set(PyObject *self, PyObject *unused)
{
    (void)unused;
    return Py_NewRef(SLOT(self, E.flag) ? SLOT(self, E.flag) : Py_False);
}

static PyObject *event_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int outcome;
    if (kwnames || nargs > 1 || !is_whole(self))
        return fall_back(python_event_wait, self, args, nargs, kwnames);
    if (SLOT(self, E.flag) == Py_True)
        Py_RETURN_TRUE;
    outcome = wait_for_flag(self, nargs ? args[0] : NULL);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* -- results ----------------------------------------------------------------------------------------------------- */

/* A subclass may have an attribute of the same name as a slot, as gevent's has ``value``. */
static int is_plain(PyObject *self)
{
    return Py_IS_TYPE(self, A.type) && is_whole(self);
}

static PyObject *result_init(PyObject *self, PyObject *unused)
{
    PyObject *nothing = PyTuple_New(0);
    (void)unused;
    if (!nothing)
        return NULL;
    put(self, A.value, Py_None);
    put(self, A.exc_info, nothing);
    Py_DECREF(nothing);
    return awaitable_init(self, NULL);
}

static PyObject *result_set(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *nothing, *value, *exc_info;
    if (kwnames || nargs > 1 || !is_plain(self))
        return fall_back(python_result_set, self, args, nargs, kwnames);
    nothing = PyTuple_New(0);
    if (!nothing)
        return NULL;
    /* The old values may have destructors, which must find all values changed. */
    value = SLOT(self, A.value);
    exc_info = SLOT(self, A.exc_info);
    SLOT(self, A.value) = Py_NewRef(nargs ? args[0] : Py_None);
    SLOT(self, A.exc_info) = nothing;
    put(self, E.flag, Py_True);
    Py_XDECREF(value);
    Py_XDECREF(exc_info);
    if (raise_flag(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *result_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *exc_info;
    if (kwnames || nargs > 1 || (nargs && args[0] != Py_True) || !is_plain(self))
        return fall_back(python_result_get, self, args, nargs, kwnames);
    if (SLOT(self, E.flag) != Py_True && wait_for_flag(self, NULL) < 0)
        return NULL;
    exc_info = SLOT(self, A.exc_info);
    if (!SLOT(self, A.value) || !exc_info || !PyTuple_CheckExact(exc_info) || PyTuple_GET_SIZE(exc_info))
        return fall_back(python_result_get, self, args, nargs, kwnames);
    return Py_NewRef(SLOT(self, A.value));
}

static const struct method awaitable_methods[] = {
    {NULL, {"__init__", awaitable_init, METH_NOARGS, "__init__($self)\n--\n\n"}},
    {&python_wait_for_flag, {"_wait_for_flag", FASTCALL(awaitable_wait_for_flag), "_wait_for_flag($self, timeout)\n--\n\n"}},
    {0},
};

static const struct method event_methods[] = {
    {NULL, {"set", event_set, METH_NOARGS, "set($self)\n--\n\n"}},
    {NULL, {"clear", event_clear, METH_NOARGS, "clear($self)\n--\n\n"}},
    {NULL, {"is_set", event_is_set, METH_NOARGS, "is_set($self)\n--\n\n"}},
    {&python_event_wait, {"wait", FASTCALL(event_wait), "wait($self, timeout=None)\n--\n\n"}},
    {0},
};

static const struct method result_methods[] = {
    {NULL, {"__init__", result_init, METH_NOARGS, "__init__($self)\n--\n\n"}},
    {&python_result_set, {"set", FASTCALL(result_set), "set($self, value=None)\n--\n\n"}},
    {&python_result_get, {"get", FASTCALL(result_get), "get($self, block=True, timeout=None)\n--\n\n"}},
    {0},
};

const struct noun awaitable_noun = {"hubbub.event.Awaitable", &E.type, awaitable_fields, awaitable_methods};
const struct noun event_noun = {"hubbub.event.Event", &event_type, NULL, event_methods};
const struct noun result_noun = {"hubbub.event.AsyncResult", &A.type, result_fields, result_methods};
