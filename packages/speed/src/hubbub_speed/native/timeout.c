/* Timeout: making, starting and ending a time limit. */
#include "methods.h"

struct timeout T;

static const struct field timeout_fields[] = {
    {"_fire", &T.fire}, {"_greenlet", &T.greenlet},   {"_key", &T.key}, {"_loop", &T.loop},
    {"_ref", &T.ref},   {"exception", &T.exception}, {"seconds", &T.seconds}, {0}};

static PyObject *python_timeout_init, *python_timeout_start, *python_timeout_cancel;

/* Whether the value is None, for no limit, or a number of seconds other than NaN. */
static int are_seconds(PyObject *seconds)
{
    if (PyFloat_CheckExact(seconds))
        return PyFloat_AS_DOUBLE(seconds) == PyFloat_AS_DOUBLE(seconds);
    return seconds == Py_None || PyLong_CheckExact(seconds);
}

static PyObject *timeout_init(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *seconds = nargs ? args[0] : Py_None;
    /* A subclass may have an attribute of its own in the place of a slot. What Python sets then leaves the slot empty,
     * and the other methods hand an empty slot on to Python. */
    if (kwnames || nargs > 4 || !are_seconds(seconds) || !Py_IS_TYPE(self, T.type))
        return fall_back(python_timeout_init, self, args, nargs, kwnames);
    put(self, T.seconds, seconds);
    put(self, T.exception, nargs > 1 ? args[1] : Py_None);
    put(self, T.ref, nargs > 2 ? args[2] : Py_True);
    put(self, T.key, Py_None);
    put(self, T.loop, Py_None);
    put(self, T.greenlet, Py_None);
    put(self, T.fire, Py_None);
    Py_RETURN_NONE;
}

static PyObject *timeout_start(PyObject *self, PyObject *unused)
{
    PyObject *seconds = SLOT(self, T.seconds), *fire, *hub, *loop, *current, *stack[5], *key = NULL;
    (void)unused;
    if (!seconds || SLOT(self, T.fire) != Py_None || !SLOT(self, T.ref) ||
        !(PyFloat_CheckExact(seconds) || PyLong_CheckExact(seconds)))
        return fall_back(python_timeout_start, self, NULL, 0, NULL);
    if (who_waits(&current, &hub) < 0)
        return NULL;
    loop = PyObject_GetAttr(hub, N.loop);
    Py_DECREF(hub);
    fire = loop ? PyObject_GetAttr(self, N._expired) : NULL;
    stack[0] = loop;
    stack[1] = fire ? PyFloat_FromDouble(PyFloat_AsDouble(seconds)) : NULL;
    if (stack[1] && PyFloat_AS_DOUBLE(stack[1]) < 0.0)
        Py_SETREF(stack[1], PyFloat_FromDouble(0.0));
    stack[2] = fire;
    stack[3] = Py_False; /* no repetition */
    stack[4] = SLOT(self, T.ref);
    if (stack[1] && !PyErr_Occurred())
        key = PyObject_VectorcallMethod(N.call_later, stack, 5, NULL);
    if (fire)
        Py_XDECREF(stack[1]);
    if (key) {
        put(self, T.greenlet, current);
        put(self, T.loop, loop);
        put(self, T.fire, fire);
        put(self, T.key, key);
        Py_DECREF(key);
    }
    Py_XDECREF(fire);
    Py_XDECREF(loop);
    Py_DECREF(current);
    if (!key)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *timeout_cancel(PyObject *self, PyObject *unused)
{
    PyObject *fire = SLOT(self, T.fire), *stack[3], *done;
    (void)unused;
    if (!fire)
        return fall_back(python_timeout_cancel, self, NULL, 0, NULL);
    if (fire == Py_None)
        Py_RETURN_NONE;
    SLOT(self, T.fire) = Py_NewRef(Py_None);
    put(self, T.greenlet, Py_None);
    stack[0] = SLOT(self, T.loop);
    stack[1] = SLOT(self, T.key);
    stack[2] = fire;
    done = PyObject_VectorcallMethod(N.cancel_later, stack, 3, NULL);
    Py_DECREF(fire);
    return done;
}

static const struct method timeout_methods[] = {
    {&python_timeout_init,
     {"__init__", FASTCALL(timeout_init),
      "__init__($self, seconds=None, exception=None, ref=True, priority=-1)\n--\n\n"}},
    {&python_timeout_start, {"start", timeout_start, METH_NOARGS, "start($self)\n--\n\n"}},
    {&python_timeout_cancel, {"cancel", timeout_cancel, METH_NOARGS, "cancel($self)\n--\n\n"}},
    {0},
};

const struct noun timeout_noun = {"hubbub.timeout.Timeout", &T.type, timeout_fields, timeout_methods};
