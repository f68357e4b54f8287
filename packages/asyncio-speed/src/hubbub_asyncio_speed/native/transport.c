/* SocketTransport: a message is received and handed over, or sent, in one step. */
#include "methods.h"

#include <errno.h>
#include <sys/socket.h>

enum { MOST = 64 * 1024 }; /* bytes: so many are received or sent with the GIL */

static PyTypeObject *type;
static PyObject *socket_recv, *socket_send, *python_data, *python_write;

static const struct field no_fields[] = {{0}};

/* A number that an attribute is; -1 without an exception: it is none. */
static long number(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(self, name);
    long found = -1;
    if (value && PyLong_Check(value))
        found = PyLong_AsLong(value);
    Py_XDECREF(value);
    PyErr_Clear();
    return found;
}

static int is_empty(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(self, name);
    int truth = value ? PyObject_IsTrue(value) : 1;
    Py_XDECREF(value);
    PyErr_Clear();
    return truth == 0;
}

/* Whether the transport's socket has the method of the standard library's sockets. */
static int is_plain(PyObject *self, PyObject *name, PyObject *method)
{
    PyObject *sock = PyObject_GetAttr(self, N._sock), *found = NULL;
    if (sock)
        found = PyObject_GetAttr((PyObject *)Py_TYPE(sock), name);
    PyErr_Clear();
    Py_XDECREF(sock);
    Py_XDECREF(found); /* it is compared only */
    return found == method;
}

/* Ends the connection because of the exception that is set, unless that ends the program. */
static PyObject *fail(PyObject *self, const char *message)
{
    PyObject *kind, *value, *traceback, *text, *done;
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return NULL;
    PyErr_Fetch(&kind, &value, &traceback);
    PyErr_NormalizeException(&kind, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    text = PyUnicode_FromString(message);
    done = text ? PyObject_CallMethodObjArgs(self, N._failed, value, text, NULL) : NULL;
    Py_XDECREF(text);
    Py_XDECREF(kind);
    Py_XDECREF(value);
    Py_XDECREF(traceback);
    return done;
}

static int widen(PyObject *self, long size)
{
    PyObject *wider = PyLong_FromLong(4 * size);
    int failed = wider ? PyObject_SetAttr(self, N.max_size, wider) : -1;
    Py_XDECREF(wider);
    return failed;
}

static PyObject *hand_over(PyObject *self, const char *data, Py_ssize_t count)
{
    PyObject *protocol = PyObject_GetAttr(self, N._protocol), *bytes, *done = NULL;
    if (!protocol)
        return NULL;
    bytes = PyBytes_FromStringAndSize(data, count);
    if (bytes)
        done = PyObject_CallMethodOneArg(protocol, N.data_received, bytes);
    Py_XDECREF(bytes);
    Py_DECREF(protocol);
    return done ? done : fail(self, "Fatal error: protocol.data_received() call failed.");
}

static PyObject *transport_data(PyObject *self, PyObject *unused)
{
    static char buffer[MOST]; /* its content is copied before anything else runs */
    long size = number(self, N.max_size), fd = number(self, N._sock_fd), lost = number(self, N._conn_lost);
    ssize_t count;
    (void)unused;
    if (lost > 0)
        Py_RETURN_NONE;
    if (lost < 0 || fd < 0 || size <= 0 || size > MOST || !is_plain(self, N.recv, socket_recv))
        return PyObject_CallOneArg(python_data, self);
    count = recv((int)fd, buffer, (size_t)size, MSG_DONTWAIT);
    if (count < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            Py_RETURN_NONE;
        PyErr_SetFromErrno(PyExc_OSError);
        return fail(self, "Fatal read error on socket transport");
    }
    if (!count)
        return PyObject_CallMethodNoArgs(self, N._read_ready__on_eof);
    if (count == size && size < MOST && widen(self, size) < 0)
        return NULL;
    return hand_over(self, buffer, count);
}

static PyObject *transport_read_ready(PyObject *self, PyObject *unused)
{
    PyObject *call = PyObject_GetAttr(self, N._read_ready_cb), *done;
    (void)unused;
    if (!call)
        return NULL;
    if (PyCFunction_CheckExact(call) && PyCFunction_GET_FUNCTION(call) == transport_data)
        done = transport_data(self, NULL);
    else
        done = PyObject_CallNoArgs(call);
    Py_DECREF(call);
    return done;
}

static int is_none(PyObject *self, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(self, name);
    Py_XDECREF(value); /* it is compared only */
    PyErr_Clear();
    return value == Py_None;
}

static PyObject *transport_write(PyObject *self, PyObject *data)
{
    PyObject *pair[] = {self, data}, *rest;
    Py_ssize_t size = PyBytes_CheckExact(data) ? PyBytes_GET_SIZE(data) : 0;
    long fd = number(self, N._sock_fd);
    ssize_t count;
    if (size <= 0 || size > MOST || fd < 0 || !is_empty(self, N._buffer) || number(self, N._conn_lost) ||
        !is_empty(self, N._eof) || !is_none(self, N._empty_waiter) || !is_plain(self, N.send, socket_send))
        return PyObject_Vectorcall(python_write, pair, 2, NULL);
    count = send((int)fd, PyBytes_AS_STRING(data), (size_t)size, MSG_DONTWAIT);
    if (count == size)
        Py_RETURN_NONE;
    if (count < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            PyErr_SetFromErrno(PyExc_OSError);
            return fail(self, "Fatal write error on socket transport");
        }
        count = 0;
    }
    rest = PyLong_FromSsize_t(count);
    if (!rest)
        return NULL;
    data = PyObject_CallMethodObjArgs(self, N._write_later, data, rest, NULL);
    Py_DECREF(rest);
    return data;
}

static const struct method transport_methods[] = {
    {NULL, {"_read_ready", transport_read_ready, METH_NOARGS, "_read_ready($self)\n--\n\n"}},
    {&python_data,
     {"_read_ready__data_received", transport_data, METH_NOARGS, "_read_ready__data_received($self)\n--\n\n"}},
    {&python_write,
     {"write", transport_write, METH_O,
      "write($self, data)\n--\n\nSend ``data``, now if that is possible (:meth:`asyncio.WriteTransport.write`)."}},
    {0},
};

const struct noun transport_noun = {"SocketTransport", &type, no_fields, transport_methods};

int learn_transport(PyObject *parts)
{
    PyObject *plain = imported("_socket", "socket");
    (void)parts;
    if (!plain)
        return -1;
    socket_recv = PyObject_GetAttr(plain, N.recv);
    socket_send = PyObject_GetAttr(plain, N.send);
    Py_DECREF(plain);
    return socket_recv && socket_send ? 0 : -1;
}
