/* Rounds of the event loop: what begins one, and the wait in the hub while there is nothing to do. */
#include "methods.h"

#include <time.h>

static struct {
    PyTypeObject *type;
    Py_ssize_t hub, hub_loop, limit, most_rounds, parked, ready, rounds, scheduled, stand_ins, stopping, turn, visitor, waiting;
} E;

static const struct field rounds_fields[] = {{"_hub", &E.hub},
                                             {"_hub_loop", &E.hub_loop},
                                             {"_limit", &E.limit},
                                             {"_most_rounds", &E.most_rounds},
                                             {"_parked", &E.parked},
                                             {"_ready", &E.ready},
                                             {"_rounds", &E.rounds},
                                             {"_scheduled", &E.scheduled},
                                             {"_stand_ins", &E.stand_ins},
                                             {"_stopping", &E.stopping},
                                             {"_turn", &E.turn},
                                             {"_visitor", &E.visitor},
                                             {"_waiting", &E.waiting},
                                             {0}};

static PyObject *python_run_once, *getcurrent;

/* time.monotonic() */
static double monotonic(void)
{
#ifdef __APPLE__
    return (double)clock_gettime_nsec_np(CLOCK_UPTIME_RAW) * 1e-9;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#endif
}

/* Calls a method for its effect. */
static int do_method(PyObject *self, PyObject *name)
{
    PyObject *done = PyObject_CallMethodNoArgs(self, name);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int put_number(PyObject *self, Py_ssize_t offset, PyObject *number)
{
    if (!number)
        return -1;
    put(self, offset, number);
    Py_DECREF(number);
    return 0;
}

/* A turn of the hub has begun since the last round. */
static int begin_turn(PyObject *self, PyObject *turn)
{
    PyObject *seconds = PyObject_GetAttr(SLOT(self, E.hub_loop), N.turn_seconds);
    double budget = seconds ? PyFloat_AsDouble(seconds) : -1.0;
    Py_XDECREF(seconds);
    if (PyErr_Occurred())
        return -1;
    put(self, E.turn, turn);
    if (put_number(self, E.rounds, PyLong_FromLong(0)) < 0)
        return -1;
    return put_number(self, E.limit, PyFloat_FromDouble(monotonic() + budget));
}

/* As HubEventLoop._take_turns, which is called when it is the turn of others. */
static int take_turns(PyObject *self)
{
    PyObject *turn = PyObject_GetAttr(SLOT(self, E.hub_loop), N.iteration);
    long rounds, most;
    int same, done = 1;
    if (!turn)
        return -1;
    same = PyObject_RichCompareBool(turn, SLOT(self, E.turn), Py_EQ);
    if (same == 0) {
        done = begin_turn(self, turn);
    } else if (same > 0) {
        rounds = PyLong_AsLong(SLOT(self, E.rounds));
        most = PyLong_AsLong(SLOT(self, E.most_rounds));
        if (!PyErr_Occurred() && rounds + 1 < most && monotonic() <= PyFloat_AsDouble(SLOT(self, E.limit)))
            done = put_number(self, E.rounds, PyLong_FromLong(rounds + 1));
    }
    Py_DECREF(turn);
    if (same < 0 || PyErr_Occurred())
        return -1;
    return done > 0 ? do_method(self, N._take_turns) : done;
}

/* The end of a wait: what the ``except`` and ``finally`` of HubEventLoop._park do. */
static int end_wait(PyObject *self, PyObject *me, PyObject *parked, int failed)
{
    if (failed && SLOT(self, E.parked) != parked) {
        PyObject *error = take_any_error(), *done;
        done = PyObject_CallMethodOneArg(SLOT(self, E.hub_loop), N.unschedule, parked);
        if (done)
            give_back_error(error);
        else
            Py_DECREF(error);
        Py_XDECREF(done);
    }
    if (SLOT(self, E.waiting) == me)
        put(self, E.waiting, Py_None);
    if (SLOT(self, E.parked) == parked)
        put(self, E.parked, Py_None);
    return failed ? -1 : 0;
}

/* As HubEventLoop._park without a timer. */
static int park(PyObject *self)
{
    PyObject *me, *parked, *hub, *done;
    int failed;
    me = PyObject_CallNoArgs(getcurrent);
    parked = me ? PyObject_GetAttr(me, N.switch_) : NULL;
    if (!parked) {
        Py_XDECREF(me);
        return -1;
    }
    hub = Py_NewRef(SLOT(self, E.hub));
    put(self, E.waiting, me);
    put(self, E.parked, parked);
    done = PyObject_CallMethodNoArgs(hub, N.switch_);
    if (done && (SLOT(self, E.parked) == parked || SLOT(self, E.visitor) != Py_None)) {
        Py_DECREF(done);
        done = PyObject_CallMethodObjArgs(self, N._stay, me, parked, NULL);
    }
    failed = end_wait(self, me, parked, !done);
    Py_XDECREF(done);
    Py_DECREF(hub);
    Py_DECREF(parked);
    Py_DECREF(me);
    return failed;
}

static int is_usual(PyObject *self)
{
    PyObject *stand_ins = SLOT(self, E.stand_ins), *scheduled = SLOT(self, E.scheduled);
    return SLOT(self, E.ready) && Py_IS_TYPE(SLOT(self, E.ready), deque_type) && scheduled &&
           PyList_CheckExact(scheduled) && stand_ins && PyLong_CheckExact(stand_ins) && SLOT(self, E.stopping) &&
           PyBool_Check(SLOT(self, E.stopping)) && SLOT(self, E.hub) && SLOT(self, E.hub_loop) &&
           SLOT(self, E.parked) && SLOT(self, E.waiting) && SLOT(self, E.visitor) && SLOT(self, E.turn) &&
           SLOT(self, E.rounds) && SLOT(self, E.most_rounds) && SLOT(self, E.limit);
}

static PyObject *loop_run_once(PyObject *self, PyObject *unused)
{
    Py_ssize_t timers;
    int going;
    (void)unused;
    if (!is_usual(self))
        return PyObject_CallOneArg(python_run_once, self);
    if (Py_SIZE(SLOT(self, E.ready)) || SLOT(self, E.stopping) == Py_True)
        going = take_turns(self);
    else if (PyList_GET_SIZE(SLOT(self, E.scheduled)))
        going = do_method(self, N._park);
    else
        going = park(self);
    if (going == 0)
        going = goes_on(self);
    if (going > 0 && (timers = PyObject_Size(SLOT(self, E.scheduled))))
        going = timers < 0 || do_method(self, N._queue_due) < 0 ? -1 : 1;
    if (going > 0)
        return PyObject_CallMethodNoArgs(self, N._call_ready);
    if (going < 0)
        return NULL;
    Py_RETURN_NONE;
}

static const struct method rounds_methods[] = {
    {&python_run_once, {"_run_once", loop_run_once, METH_NOARGS, "_run_once($self)\n--\n\n"}},
    {0},
};

const struct noun rounds_noun = {"HubEventLoop", &E.type, rounds_fields, rounds_methods};

int learn_rounds(PyObject *parts)
{
    (void)parts;
    getcurrent = imported("greenlet", "getcurrent");
    return getcurrent ? 0 : -1;
}
