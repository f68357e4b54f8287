/* WaitQueue.wait: the one place where an interrupted waiter passes on what it was handed over. */
#include "methods.h"

PyTypeObject *waitqueue_type;
static PyObject *python_wait;

enum { WAITER, TIMEOUT, ENTER, PASS_ON, MUTEX, ARGUMENTS };

/* Calls a method of the queue with the waiter and those of the arguments from ``first`` on that were given. */
RARE static PyObject *call(PyObject *self, PyObject *name, PyObject *const *given, Py_ssize_t first, Py_ssize_t nargs)
{
    PyObject *stack[2 + ARGUMENTS] = {self, given[WAITER]};
    Py_ssize_t count = 2;
    for (; first < nargs; first++)
        stack[count++] = given[first];
    return PyObject_VectorcallMethod(name, stack, (size_t)count, NULL);
}

/* The wait has ended with an exception. Calls abandon(); if that fails, its exception replaces the first. */
RARE static void give_up(PyObject *self, PyObject *const *given, Py_ssize_t nargs)
{
    PyObject *type, *value, *traceback, *done;
    PyErr_Fetch(&type, &value, &traceback);
    done = call(self, N.abandon, given, PASS_ON, nargs);
    if (done) {
        Py_DECREF(done);
        PyErr_Restore(type, value, traceback);
    } else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
}

static PyObject *join_and_wait(PyObject *self, PyObject *const *given, Py_ssize_t nargs)
{
    PyObject *waiter = given[WAITER], *done;
    int withdrew;
    if (nargs > ENTER && given[ENTER] != Py_None) {
        done = PyObject_CallOneArg(given[ENTER], waiter);
        if (!done)
            return NULL;
        Py_DECREF(done);
    } else if (queue_append(self, waiter) < 0) {
        return NULL;
    }
    done = waiter_wait(waiter, given + TIMEOUT, nargs > TIMEOUT, NULL);
    if (done != Py_False)
        return done;
    Py_DECREF(done);
    withdrew = truth_of(call(self, N.withdraw, given, MUTEX, nargs));
    return withdrew < 0 ? NULL : PyBool_FromLong(!withdrew);
}

PyObject *waitqueue_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *given[ARGUMENTS], *done;
    Py_ssize_t i;
    if (kwnames || nargs < 1 || nargs > ARGUMENTS || !Py_IS_TYPE(args[WAITER], W.type))
        return fall_back(python_wait, self, args, nargs, kwnames);
    Py_INCREF(self);
    for (i = 0; i < nargs; i++)
        given[i] = Py_NewRef(args[i]); /* the caller's references may be gone when a switch returns */
    done = join_and_wait(self, given, nargs);
    if (!done)
        give_up(self, given, nargs);
    for (i = 0; i < nargs; i++)
        Py_DECREF(given[i]);
    Py_DECREF(self);
    return done;
}

static const struct method waitqueue_methods[] = {
    {&python_wait,
     {"wait", FASTCALL(waitqueue_wait),
      "wait($self, waiter, timeout=None, enter=None, pass_on=None, mutex=None)\n--\n\n"}},
    {0},
};

const struct noun waitqueue_noun = {"hubbub._waitqueue.WaitQueue", &waitqueue_type, NULL, waitqueue_methods};
