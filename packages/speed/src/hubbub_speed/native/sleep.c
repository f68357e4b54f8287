/* sleep: a greenlet lets others run. */
#include "methods.h"

static PyTypeObject *pauses_type;
static PyObject *python_pause;

/* To the end of the run queue. */
static PyObject *yield(PyObject *current, PyObject *hub, PyObject *loop)
{
    PyObject *switch_, *result;
    if (is_next(hub, loop)) {
        if (is_logged(loop))
            log_next(loop, current);
        Py_RETURN_NONE;
    }
    switch_ = switch_of(current);
    if (!switch_)
        return NULL;
    result = queue_append(SLOT(loop, L.ready), switch_) < 0 ? NULL : switch_out(hub, loop);
    if (!result)
        settle(loop, N.unschedule, switch_, NULL);
    Py_DECREF(switch_);
    Py_XDECREF(result);
    return result ? Py_NewRef(Py_None) : NULL;
}

static PyObject *rest(PyObject *self, PyObject *seconds, PyObject *ref)
{
    PyObject *waiter = new_waiter(), *done;
    if (!waiter)
        return NULL;
    put(waiter, W.user, self);
    done = waiter_rest(waiter, seconds, ref);
    put(waiter, W.user, Py_None);
    Py_DECREF(waiter);
    return done;
}

static PyObject *pauses_pause(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *current, *hub, *loop, *result = NULL;
    double seconds = 0.0;
    int usual;
    if (kwnames || nargs != 2)
        return fall_back(python_pause, self, args, nargs, kwnames);
    if (args[0] != zero)
        seconds = PyFloat_AsDouble(args[0]);
    if (PyErr_Occurred() || seconds != seconds) { /* the Python method says what is wrong */
        PyErr_Clear();
        return fall_back(python_pause, self, args, nargs, kwnames);
    }
    if (seconds > 0.0)
        return rest(self, args[0], args[1]);
    if (who_waits(&current, &hub) < 0)
        return NULL;
    loop = loop_of(hub);
    usual = loop && PyObject_TypeCheck(loop, L.type) && !PyObject_TypeCheck(current, runner_type);
    if (usual)
        result = yield(current, hub, loop);
    Py_XDECREF(loop);
    Py_DECREF(hub);
    Py_DECREF(current);
    return usual || !loop ? result : fall_back(python_pause, self, args, nargs, kwnames);
}

static const struct method pauses_methods[] = {
    {&python_pause, {"pause", FASTCALL(pauses_pause), "pause($self, seconds, ref)\n--\n\n"}},
    {0},
};

const struct noun pauses_noun = {"hubbub.hub._Pauses", &pauses_type, NULL, pauses_methods};
