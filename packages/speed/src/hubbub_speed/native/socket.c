/*
 * Socket.recv and sendall.
 * The calls of the standard library's socket, made when they are likely to succeed.
 */
#include "methods.h"

#include <sys/socket.h>

struct socket K;

static const struct field socket_fields[] = {
    {"_limit", &K.limit}, {"_read", &K.read}, {"_shortens", &K.shortens}, {0}};

static PyObject *python_socket_recv, *python_socket_sendall;
static PyObject *plain_recv, *plain_send; /* of the class under the standard library's socket */

static int may_wait(PyObject *limit, long flags)
{
#ifdef MSG_DONTWAIT
    if (flags & MSG_DONTWAIT)
        return 0;
#endif
    return !(PyFloat_Check(limit) && PyFloat_AS_DOUBLE(limit) == 0.0);
}

/* Waits for data, if it is likely that there is none. -1: an exception, a time-out among them. */
static int wait_for_data(PyObject *self, PyObject *read, PyObject *limit)
{
    PyObject *answer;
    int ready;
    put(read, D.user, self);
    answer = direction_wait(read, &limit, 1, NULL);
    if (SLOT(read, D.waiter) == Py_None)
        put(read, D.user, Py_None);
    if (!answer)
        return -1;
    ready = answer == Py_True;
    Py_DECREF(answer);
    if (ready)
        return 0;
    PyErr_SetString(PyExc_TimeoutError, "timed out");
    return -1;
}

/* Sets whether the next read may try at once. */
static int after_read(PyObject *self, PyObject *read, PyObject *data, PyObject *bufsize, long flags)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    int is_short = size > 0 && !flags && size < PyLong_AsSsize_t(bufsize);
    PyObject *done, *stack[] = {self, read, is_short ? Py_True : Py_False};
    if (SLOT(self, K.shortens) == Py_True && SLOT(read, D.waiter) == Py_None) {
        put(read, D.ready, is_short ? SLOT(SLOT(read, D.handle), R.sticky) : Py_True);
        return 0;
    }
    done = PyObject_VectorcallMethod(N._after_read, stack, 3, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Waits after a read that found nothing. -1: an exception, a time-out among them. */
static int wait_for_more(PyObject *self)
{
    PyObject *read, *limit = Py_NewRef(SLOT(self, K.limit));
    int failed = do_method(self, SLOT(self, K.read) == Py_None ? N._open : N._found_nothing, NULL);
    if (!failed) {
        read = Py_NewRef(SLOT(self, K.read));
        failed = wait_for_data(self, read, limit);
        Py_DECREF(read);
    }
    Py_DECREF(limit);
    return failed;
}

/* recv(2) as often as it takes. */
static PyObject *read_until_found(PyObject *self, PyObject *const *args, Py_ssize_t nargs, long flags)
{
    PyObject *stack[3] = {self}, *data, *read;
    memcpy(stack + 1, args, (size_t)nargs * sizeof *args);
    while (!(data = PyObject_Vectorcall(plain_recv, stack, (size_t)nargs + 1, NULL))) {
        if (!PyErr_ExceptionMatches(PyExc_BlockingIOError) || !may_wait(SLOT(self, K.limit), flags))
            return NULL;
        PyErr_Clear(); /* before the wait: it may be long, and the exception costs memory */
        if (wait_for_more(self) < 0)
            return NULL;
    }
    read = Py_NewRef(SLOT(self, K.read));
    if (read != Py_None && after_read(self, read, data, args[0], flags) < 0)
        Py_CLEAR(data);
    Py_DECREF(read);
    return data;
}

static PyObject *socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *read = SLOT(self, K.read), *limit = SLOT(self, K.limit);
    long flags = 0;
    if (kwnames || nargs < 1 || nargs > 2 || !PyLong_CheckExact(args[0]) || !read || !limit)
        return fall_back(python_socket_recv, self, args, nargs, kwnames);
    if (nargs == 2 && (flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    if (read != Py_None && (SLOT(read, D.ready) != Py_True || SLOT(read, D.waiter) != Py_None) && may_wait(limit, flags)) {
        int failed;
        Py_INCREF(read);
        Py_INCREF(limit);
        failed = wait_for_data(self, read, limit);
        Py_DECREF(limit);
        Py_DECREF(read);
        if (failed)
            return NULL;
    }
    return read_until_found(self, args, nargs, flags);
}

static PyObject *socket_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *stack[4] = {self}, *count, *limit = SLOT(self, K.limit);
    long flags = 0;
    Py_ssize_t sent = 0;
    if (kwnames || nargs < 1 || nargs > 2 || !PyBytes_CheckExact(args[0]) || !limit)
        return fall_back(python_socket_sendall, self, args, nargs, kwnames);
    if (nargs == 2 && (flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    memcpy(stack + 1, args, (size_t)nargs * sizeof *args);
    count = PyObject_Vectorcall(plain_send, stack, (size_t)nargs + 1, NULL);
    if (count) {
        sent = PyLong_AsSsize_t(count);
        Py_DECREF(count);
        if (sent == PyBytes_GET_SIZE(args[0]))
            Py_RETURN_NONE;
    } else if (may_wait(limit, flags) && PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        PyErr_Clear();
    }
    if (PyErr_Occurred())
        return NULL;
    stack[1] = PyMemoryView_FromObject(args[0]);
    stack[2] = stack[1] ? PyLong_FromSsize_t(sent) : NULL;
    stack[3] = stack[2] ? PyLong_FromLong(flags) : NULL;
    count = stack[3] ? PyObject_VectorcallMethod(N._send_rest, stack, 4, NULL) : NULL;
    Py_XDECREF(stack[1]);
    Py_XDECREF(stack[1] ? stack[2] : NULL);
    Py_XDECREF(stack[1] && stack[2] ? stack[3] : NULL);
    return count;
}

int learn_socket(void)
{
    PyObject *base = PyObject_GetAttrString((PyObject *)K.type->tp_base, "__base__");
    if (!base)
        return -1;
    plain_recv = PyObject_GetAttrString(base, "recv");
    plain_send = plain_recv ? PyObject_GetAttrString(base, "send") : NULL;
    Py_DECREF(base);
    return plain_send ? 0 : -1;
}

static const struct method socket_methods[] = {
    {&python_socket_recv, {"recv", FASTCALL(socket_recv), "recv($self, bufsize, flags=0, /)\n--\n\n"}},
    {&python_socket_sendall, {"sendall", FASTCALL(socket_sendall), "sendall($self, data, flags=0, /)\n--\n\n"}},
    {0},
};

const struct noun socket_noun = {"Socket", &K.type, socket_fields, socket_methods};
