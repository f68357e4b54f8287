/* Direction.wait and fire, and the attributes of Readiness that they read. */
#include "methods.h"

struct readiness R;

static const struct field readiness_fields[] = {{"closed", &R.closed}, {"level", &R.level},
                                                {"read", &R.read},     {"sticky", &R.sticky},
                                                {"writer", &R.writer}, {"observers", &R.observers}, {0}};

const struct noun readiness_noun = {"hubbub.loop.readiness.Readiness", &R.type, readiness_fields, NULL};

struct direction D;

static const struct field direction_fields[] = {
    {"armed", &D.armed}, {"handle", &D.handle}, {"loop", &D.loop},     {"others", &D.others},
    {"ready", &D.ready}, {"since", &D.since},   {"turn_at", &D.turn_at}, {"unheeded", &D.unheeded}, {"user", &D.user}, {"waiter", &D.waiter}, {0}};

static PyObject *python_direction_wait, *python_direction_fire;

static int still_waits(PyObject *self, PyObject *switch_)
{
    PyObject *others = SLOT(self, D.others);
    if (SLOT(self, D.waiter) == switch_)
        return 1;
    return others && others != Py_None && PySequence_Contains(others, switch_) == 1;
}

static int join_waiters(PyObject *self, PyObject *switch_)
{
    if (SLOT(self, D.waiter) == Py_None) {
        put(self, D.waiter, switch_);
        return 0;
    }
    return do_method(self, N.queue, switch_);
}

/* Called after a switch that returned too early; key and expire are NULL without a time limit. */
RARE static int go_on_waiting(PyObject *self, PyObject *switch_, PyObject *key, PyObject *expire)
{
    PyObject *done = PyObject_CallMethodObjArgs(self, N._go_on_waiting, switch_, key, expire, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/*
 * 1: an event, 0: the time is up, -1: an exception. key and expire are NULL without a time limit.
 * Sets *called if ``expire`` was called.
 */
static int wait_for_event(PyObject *self, PyObject *loop, PyObject *hub, PyObject *switch_, PyObject *key,
                          PyObject *expire, int *called)
{
    PyObject *result = switch_out(hub, loop);
    int running = 0;
    *called = result == expired;
    if (result && result != expired && still_waits(self, switch_) && go_on_waiting(self, switch_, key, expire) < 0)
        Py_CLEAR(result);
    if (!result) {
        settle(self, N._abandon, switch_, NULL);
        return -1;
    }
    Py_DECREF(result);
    if (still_waits(self, switch_))
        return do_method(self, N._abandon, switch_) < 0 ? -1 : 0;
    if (key && (running = timer_runs(loop, key, expire)) == 0) /* an event came in the same turn */
        return do_method(loop, N.unschedule, switch_) < 0 ? -1 : 1;
    return running < 0 ? -1 : 1;
}

APART static int wait_until(PyObject *self, PyObject *loop, PyObject *hub, PyObject *switch_, PyObject *timeout)
{
    int outcome = -1, called = 0;
    PyObject *expire = PyObject_CallFunctionObjArgs(partial_type, switch_, expired, NULL);
    PyObject *key = expire ? PyObject_CallMethodObjArgs(loop, N.call_later, timeout, expire, NULL) : NULL;
    if (key) {
        outcome = wait_for_event(self, loop, hub, switch_, key, expire, &called);
        if (!called) /* else it is neither running nor in the run queue */
            settle(loop, N.cancel_later, key, expire);
        Py_DECREF(key);
    } else {
        settle(self, N._abandon, switch_, NULL);
    }
    Py_XDECREF(expire);
    return outcome >= 0 && PyErr_Occurred() ? -1 : outcome;
}

/* The direction that is to be waited for, usually the same: a new reference. */
RARE static PyObject *arm(PyObject *self, PyObject *loop)
{
    return PyObject_CallMethodOneArg(loop, N.arm_direction, self);
}

/* The answer of a wait that a handler or destructor has overtaken. */
RARE static PyObject *end_late(PyObject *self, PyObject *switch_)
{
    return PyObject_CallMethodOneArg(self, N._is_late, switch_);
}

PyObject *direction_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *handle = SLOT(self, D.handle), *loop = SLOT(self, D.loop), *current, *hub, *switch_;
    int outcome, called;
    if (kwnames || nargs > 1 || !PyObject_TypeCheck(loop, L.type) || SLOT(handle, R.closed) != Py_False)
        return fall_back(python_direction_wait, self, args, nargs, kwnames);
    if (who_waits_on(loop, &current, &hub) < 0)
        return NULL;
    if (hub != SLOT(loop, L.hub) || current == hub) {
        Py_DECREF(hub);
        Py_DECREF(current);
        return fall_back(python_direction_wait, self, args, nargs, kwnames);
    }
    if (SLOT(self, D.armed) != Py_True) {
        PyObject *known = arm(self, loop);
        if (known != self) {
            PyObject *answer = known ? fall_back(python_direction_wait, known, args, nargs, kwnames) : NULL;
            Py_XDECREF(known);
            Py_DECREF(hub);
            Py_DECREF(current);
            return answer;
        }
        Py_DECREF(known);
    }
    switch_ = switch_of(current);
    Py_DECREF(current);
    if (!switch_ || join_waiters(self, switch_) < 0) {
        Py_XDECREF(switch_);
        Py_DECREF(hub);
        return NULL;
    }
    if (SLOT(handle, R.closed) != Py_False || SLOT(self, D.armed) != Py_True) {
        PyObject *answer = end_late(self, switch_);
        Py_DECREF(switch_);
        Py_DECREF(hub);
        return answer;
    }
    put(self, D.since, SLOT(loop, L.time));
    Py_INCREF(self);
    Py_INCREF(loop);
    Py_INCREF(handle);
    if (nargs && args[0] != Py_None)
        outcome = wait_until(self, loop, hub, switch_, args[0]);
    else
        outcome = wait_for_event(self, loop, hub, switch_, NULL, NULL, &called);
    if (outcome > 0 && SLOT(handle, R.closed) != Py_False) {
        set_closed_error();
        outcome = -1;
    }
    Py_DECREF(switch_);
    Py_DECREF(hub);
    Py_DECREF(handle);
    Py_DECREF(loop);
    Py_DECREF(self);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* Whether the greenlet that was woken last has not had its turn yet. */
static int is_in_line(PyObject *self, PyObject *loop)
{
    return PyLong_AsLongLong(SLOT(loop, L.calls)) < PyLong_AsLongLong(SLOT(self, D.turn_at));
}

/* Notes when a greenlet has its turn that is woken now. */
static int note_turn(PyObject *self, PyObject *loop)
{
    PyObject *turn_at;
    PyObject *ready = SLOT(loop, L.ready);
    Py_ssize_t before = is_deque(ready) ? Py_SIZE(ready) : PyObject_Size(ready);
    if (before <= (Py_ssize_t)C.few_ready)
        return before < 0 ? -1 : 0;
    turn_at = PyLong_FromLongLong(PyLong_AsLongLong(SLOT(loop, L.calls)) + before);
    if (!turn_at)
        return -1;
    Py_SETREF(SLOT(self, D.turn_at), turn_at);
    return 0;
}

PyObject *direction_fire(PyObject *self, PyObject *unused)
{
    PyObject *waiter = SLOT(self, D.waiter), *loop = SLOT(self, D.loop);
    int failed;
    (void)unused;
    if (!PyObject_TypeCheck(loop, L.type))
        return fall_back(python_direction_fire, self, NULL, 0, NULL);
    if (waiter == Py_None && (SLOT(self, D.armed) != Py_True || SLOT(SLOT(self, D.handle), R.level) != Py_True ||
                              is_in_line(self, loop))) {
        put(self, D.ready, Py_True);
        Py_RETURN_NONE;
    }
    if (waiter == Py_None || SLOT(self, D.others) != Py_None)
        return fall_back(python_direction_fire, self, NULL, 0, NULL);
    if (note_turn(self, loop) < 0)
        return NULL;
    /* The waiter leaves the direction after it is in the run queue: without memory for that, it waits on. */
    Py_INCREF(waiter);
    failed = queue_append(SLOT(loop, L.ready), waiter);
    if (!failed && SLOT(self, D.waiter) == waiter)
        put(self, D.waiter, Py_None);
    Py_DECREF(waiter);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static const struct method direction_methods[] = {
    {&python_direction_wait, {"wait", FASTCALL(direction_wait), "wait($self, timeout=None)\n--\n\n"}},
    {&python_direction_fire, {"fire", direction_fire, METH_NOARGS, "fire($self)\n--\n\n"}},
    {0},
};

const struct noun direction_noun = {"hubbub.loop.readiness.Direction", &D.type, direction_fields, direction_methods};
