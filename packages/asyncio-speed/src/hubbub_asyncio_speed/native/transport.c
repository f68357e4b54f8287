/* SocketTransport: a message is received and handed over, or sent, in one step. */
#include "methods.h"

#include <errno.h>
#include <sys/socket.h>

enum { MOST = 64 * 1024 }; /* bytes: so many are received or sent with the GIL */

static struct {
    PyTypeObject *type;
    Py_ssize_t buffer, conn_lost, empty_waiter, eof, protocol, read_ready_cb, sock, max_size;
} T;

static const struct field transport_fields[] = {{"_buffer", &T.buffer},
                                                {"_conn_lost", &T.conn_lost},
                                                {"_empty_waiter", &T.empty_waiter},
                                                {"_eof", &T.eof},
                                                {"_protocol", &T.protocol},
                                                {"_read_ready_cb", &T.read_ready_cb},
                                                {"_sock", &T.sock},
                                                {"max_size", &T.max_size},
                                                {0}};

static PyTypeObject *socket_type; /* _socket.socket */
static PyObject *plain[3], *python_read_ready, *python_data, *python_write;
static PyObject **const plain_names[] = {&N.recv, &N.send, &N.fileno};
static PyCFunction fileno_of;

/* A number in a slot; -1: there is none. */
static long number(PyObject *value)
{
    long found = value && PyLong_CheckExact(value) ? PyLong_AsLong(value) : -1;
    if (found == -1)
        PyErr_Clear();
    return found;
}

static int looks_plain(PyTypeObject *type)
{
    int i, same = PyType_IsSubtype(type, socket_type) && !type->tp_dictoffset &&
                  !PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT) && type->tp_getattro == PyObject_GenericGetAttr;
    for (i = 0; same && i < 3; i++) {
        PyObject *found = PyObject_GetAttr((PyObject *)type, *plain_names[i]);
        same = found == plain[i];
        Py_XDECREF(found); /* it is compared only */
    }
    PyErr_Clear();
    return same;
}

/* The descriptor of a transport's socket, if that has the methods of the standard library's sockets; else -1. */
static int descriptor(PyObject *self)
{
    static PyTypeObject *type; /* one that is plain, for as long as it is not changed */
    static unsigned int version;
    PyObject *sock = SLOT(self, T.sock), *fd;
    long found;
    if (!sock)
        return -1;
    if (Py_TYPE(sock) != type || !version || type->tp_version_tag != version) {
        if (!looks_plain(Py_TYPE(sock)))
            return -1;
        type = Py_TYPE(sock);
        version = type->tp_version_tag;
    }
    fd = fileno_of(sock, NULL);
    found = number(fd);
    if (!fd)
        PyErr_Clear();
    Py_XDECREF(fd);
    return (int)found;
}

/* Ends the connection because of the exception that is set, unless that ends the program. */
static PyObject *fail(PyObject *self, const char *message)
{
    PyObject *error = take_error(), *text, *method, *done = NULL;
    if (!error)
        return NULL;
    text = PyUnicode_FromString(message);
    method = PyObject_GetAttr(self, N._fatal_error);
    if (text && method)
        done = call_handling(error, method, (PyObject *[]){error, text}, 2);
    Py_XDECREF(method);
    Py_XDECREF(text);
    Py_DECREF(error);
    return done;
}

static int widen(PyObject *self, long size)
{
    PyObject *wider = PyLong_FromLong(4 * size);
    if (!wider)
        return -1;
    put(self, T.max_size, wider);
    Py_DECREF(wider);
    return 0;
}

static PyObject *hand_over(PyObject *self, PyObject *data)
{
    PyObject *protocol = Py_NewRef(SLOT(self, T.protocol)),
             *done = PyObject_CallMethodOneArg(protocol, N.data_received, data);
    Py_DECREF(protocol);
    if (!done)
        return fail(self, "Fatal error: protocol.data_received() call failed.");
    Py_DECREF(done);
    Py_RETURN_NONE;
}

static PyObject *transport_data(PyObject *self, PyObject *unused)
{
    static char buffer[MOST]; /* what it contains is copied before anything else runs */
    long size = number(SLOT(self, T.max_size)), lost = number(SLOT(self, T.conn_lost));
    int fd = lost ? -1 : descriptor(self);
    PyObject *data, *done;
    ssize_t count;
    (void)unused;
    if (lost > 0)
        Py_RETURN_NONE;
    if (fd < 0 || size <= 0 || size > MOST || !SLOT(self, T.protocol))
        return PyObject_CallOneArg(python_data, self);
    count = recv(fd, buffer, (size_t)size, MSG_DONTWAIT);
    if (count < 0) {
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
            Py_RETURN_NONE;
        PyErr_SetFromErrno(PyExc_OSError);
        return fail(self, "Fatal read error on socket transport");
    }
    if (!count)
        return PyObject_CallMethodNoArgs(self, N._read_ready__on_eof);
    data = PyBytes_FromStringAndSize(buffer, count);
    if (!data || (count == size && size < MOST && widen(self, size) < 0)) {
        Py_XDECREF(data);
        return fail(self, "Fatal read error on socket transport");
    }
    done = hand_over(self, data);
    Py_DECREF(data);
    return done;
}

/* Whether a callable is the method above, bound to this transport. */
static int is_data_of(PyObject *call, PyObject *self)
{
    return PyCFunction_CheckExact(call) && PyCFunction_GET_FUNCTION(call) == transport_data &&
           PyCFunction_GET_SELF(call) == self;
}

static PyObject *transport_read_ready(PyObject *self, PyObject *unused)
{
    PyObject *call = SLOT(self, T.read_ready_cb), *done;
    (void)unused;
    if (!call)
        return PyObject_CallOneArg(python_read_ready, self);
    if (is_data_of(call, self))
        return transport_data(self, NULL);
    Py_INCREF(call);
    done = PyObject_CallNoArgs(call);
    Py_DECREF(call);
    return done;
}

/* Whether nothing waits to be sent, and the transport may send. */
static int is_free(PyObject *self)
{
    PyObject *buffer = SLOT(self, T.buffer);
    if (!buffer || number(SLOT(self, T.conn_lost)) || SLOT(self, T.eof) != Py_False ||
        SLOT(self, T.empty_waiter) != Py_None)
        return 0;
    return PyObject_Size(buffer) == 0;
}

static PyObject *transport_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *data = nargs == 1 && !kwnames ? args[0] : Py_None, *sent, *done;
    Py_ssize_t size = PyBytes_CheckExact(data) ? PyBytes_GET_SIZE(data) : 0;
    int fd = size > 0 && size <= MOST && is_free(self) ? descriptor(self) : -1;
    ssize_t count;
    if (fd < 0) {
        PyErr_Clear();
        return fall_back(python_write, self, args, nargs, kwnames);
    }
    count = send(fd, PyBytes_AS_STRING(data), (size_t)size, MSG_DONTWAIT);
    if (count == size)
        Py_RETURN_NONE;
    if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        PyErr_SetFromErrno(PyExc_OSError);
        return fail(self, "Fatal write error on socket transport");
    }
    sent = PyLong_FromSsize_t(count < 0 ? 0 : count);
    done = sent ? PyObject_CallMethodObjArgs(self, N._write_later, data, sent, NULL) : NULL;
    Py_XDECREF(sent);
    return done;
}

static const struct method transport_methods[] = {
    {&python_read_ready, {"_read_ready", transport_read_ready, METH_NOARGS, "_read_ready($self)\n--\n\n"}},
    {&python_data,
     {"_read_ready__data_received", transport_data, METH_NOARGS, "_read_ready__data_received($self)\n--\n\n"}},
    {&python_write,
     {"write", FASTCALL(transport_write),
      "write($self, data)\n--\n\nSend ``data``, now if that is possible (:meth:`asyncio.WriteTransport.write`)."}},
    {0},
};

const struct noun transport_noun = {"SocketTransport", &T.type, transport_fields, transport_methods};

int learn_transport(PyObject *parts)
{
    PyObject *base = imported("_socket", "socket");
    int i;
    (void)parts;
    if (!base)
        return -1;
    socket_type = (PyTypeObject *)base;
    for (i = 0; i < 3; i++)
        if (!(plain[i] = PyObject_GetAttr(base, *plain_names[i])))
            return -1;
    fileno_of = function_of(base, N.fileno, METH_NOARGS);
    return fileno_of ? 0 : -1;
}
