/*
 * Socket.recv and sendall, and what they share with datagram.c.
 * The system calls do not wait, and for a few bytes they keep the GIL: to release it costs as much as the call, and up
 * to the interpreter's switch interval, 5 ms, if another thread has work.  Other threads get the GIL when the loop
 * polls.
 */
#include "methods.h"

#include <errno.h>
#include <sys/socket.h>

enum { SOME = 1 << 12 }; /* bytes */
enum { NO_ROOM = -2 };

struct socket K;

static const struct field socket_fields[] = {
    {"_limit", &K.limit}, {"_read", &K.read}, {"_shortens", &K.shortens}, {"_skip", &K.skip}, {"_skips", &K.skips}, {0}};

static PyObject *python_socket_recv, *python_socket_sendall;
static PyObject *plain_fileno, *plain_recv, *plain_send; /* of _socket.socket, the base of socket.socket */
static int has_descriptor_first;

static int may_wait(PyObject *limit, long flags)
{
    if (flags & MSG_DONTWAIT)
        return 0;
    return !(PyFloat_Check(limit) && PyFloat_AS_DOUBLE(limit) == 0.0);
}

/* Waits for data, if there probably is none. -1: an exception, which may be a time-out. */
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

static int set_number(PyObject *self, Py_ssize_t offset, long number)
{
    PyObject *value = PyLong_FromLong(number);
    if (!value)
        return -1;
    Py_XSETREF(SLOT(self, offset), value);
    return 0;
}

/* The value of a slot that holds a small number; 0 if it is not set. */
static long number_in(PyObject *self, Py_ssize_t offset)
{
    return SLOT(self, offset) ? PyLong_AsLong(SLOT(self, offset)) : 0;
}

/* Of a socket whose short reads tell nothing: guesses whether the next read will find something. */
static int guess(PyObject *self, PyObject *read)
{
    long skip = number_in(self, K.skip);
    if (SLOT(read, D.ready) == Py_True) /* it did not wait */
        return set_number(self, K.skips, 0);
    if (skip)
        put(read, D.ready, SLOT(SLOT(read, D.handle), R.level) == Py_True ? Py_False : Py_True);
    else
        put(read, D.ready, Py_True);
    return skip ? set_number(self, K.skip, skip - 1) : 0;
}

/* Has the Python method see to a read for which others wait, too. */
RARE static int let_others_read(PyObject *self, PyObject *read, int is_short)
{
    PyObject *stack[] = {self, read, is_short ? Py_True : Py_False};
    PyObject *done = PyObject_VectorcallMethod(N._after_read, stack, 3, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Sets whether the next read tries at once, without waiting first. */
static int after_read(PyObject *self, PyObject *read, PyObject *data, PyObject *bufsize, long flags)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    int is_short = size > 0 && !flags && size < PyLong_AsSsize_t(bufsize) && size < (Py_ssize_t)C.in_bulk;
    if (SLOT(read, D.waiter) == Py_None) {
        if (SLOT(self, K.shortens) != Py_True)
            return guess(self, read);
        put(read, D.ready, is_short ? SLOT(SLOT(read, D.handle), R.sticky) : Py_True);
        return 0;
    }
    return let_others_read(self, read, is_short);
}

/* Waits after a read that found nothing. -1: an exception, which may be a time-out. */
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

/* What fileno() says; negative if it is closed, or with an exception. */
static int asked_descriptor(PyObject *self)
{
    PyObject *number = PyObject_Vectorcall(plain_fileno, &self, 1, NULL);
    int fd = number ? (int)PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    return fd;
}

/* Where _socket.socket keeps the number: first of all, before the family. */
static int *descriptor_in(PyObject *self)
{
    return (int *)((char *)self + sizeof(PyObject));
}

/* The number of the descriptor; negative if it is closed, or with an exception. */
int descriptor(PyObject *self)
{
    return has_descriptor_first ? *descriptor_in(self) : asked_descriptor(self);
}

/* Called after a system call that failed with this error. 1: it would have had to wait, -1: an exception. */
int why_failed(int error)
{
    if (PyErr_Occurred()) /* raised by a signal handler */
        return -1;
    if (error == EAGAIN || error == EWOULDBLOCK)
        return 1;
    errno = error;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Calls a method of the standard library.  NULL without an exception: it would have had to wait. */
PyObject *call_plain(PyObject *method, PyObject *self, PyObject *argument, long flags)
{
    PyObject *stack[] = {self, argument, PyLong_FromLong(flags)}, *result;
    if (!stack[2])
        return NULL;
    result = PyObject_Vectorcall(method, stack, 3, NULL);
    Py_DECREF(stack[2]);
    if (!result && PyErr_ExceptionMatches(PyExc_BlockingIOError))
        PyErr_Clear();
    return result;
}

/* recv(2) again after a signal.  -1: errno says why, or there is an exception. */
static Py_ssize_t receive_into(int fd, char *buffer, Py_ssize_t size, long flags)
{
    Py_ssize_t count;
    do
        count = recv(fd, buffer, (size_t)size, (int)flags | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR && !PyErr_CheckSignals());
    return count;
}

/*
 * recv(2) of up to FEW bytes.  NULL without an exception: there is nothing.
 * Callers mostly ask for much more than what arrives, and to allocate all of it and give most back costs more than to
 * copy what arrived.  So recv writes into a buffer that all sockets share while the GIL is held, unless the last read
 * got many bytes: then the next one probably will, too.
 */
static PyObject *receive_few(int fd, Py_ssize_t size, long flags)
{
    static char buffer[FEW];
    static Py_ssize_t last;
    PyObject *data = NULL;
    Py_ssize_t count;
    int error;
    if (size <= 512 || last > SOME) {
        data = PyBytes_FromStringAndSize(NULL, size);
        if (!data)
            return NULL;
    }
    count = receive_into(fd, data ? PyBytes_AS_STRING(data) : buffer, size, flags);
    error = errno;
    if (count < 0) {
        Py_XDECREF(data);
        why_failed(error);
        return NULL;
    }
    last = count;
    if (!data)
        return PyBytes_FromStringAndSize(buffer, count);
    if (count < size)
        _PyBytes_Resize(&data, count);
    return data;
}

/* recv(2).  NULL without an exception: there is nothing. */
static PyObject *receive(PyObject *self, PyObject *bufsize, long flags)
{
    Py_ssize_t size = PyLong_AsSsize_t(bufsize);
    int fd;
    if (size <= 0 || size > FEW || flags != (int)flags || flags & MSG_TRUNC) /* that returns more than it reads */
        return PyErr_Occurred() ? NULL : call_plain(plain_recv, self, bufsize, flags);
    fd = descriptor(self);
    return PyErr_Occurred() ? NULL : receive_few(fd, size, flags);
}

/* send(2): how many bytes were taken, NO_ROOM, or -1: an exception. */
static Py_ssize_t send_some(PyObject *self, PyObject *data, long flags)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data), count;
    int fd;
    if (size > FEW || flags != (int)flags) {
        PyObject *sent = call_plain(plain_send, self, data, flags);
        if (!sent)
            return PyErr_Occurred() ? -1 : NO_ROOM;
        count = PyLong_AsSsize_t(sent);
        Py_DECREF(sent);
        return count;
    }
    fd = descriptor(self);
    if (PyErr_Occurred())
        return -1;
    do
        count = send(fd, PyBytes_AS_STRING(data), (size_t)size, (int)flags | MSG_DONTWAIT);
    while (count < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (count >= 0)
        return count;
    return why_failed(errno) < 0 ? -1 : NO_ROOM;
}

/* Calls receive() or its like, and waits if there is nothing, until there is a result. */
static PyObject *read_until_found(receive_function call, PyObject *self, PyObject *bufsize, long flags)
{
    PyObject *result, *data, *read;
    while (!(result = call(self, bufsize, flags))) {
        if (PyErr_Occurred())
            return NULL;
        if (!may_wait(SLOT(self, K.limit), flags)) {
            errno = EAGAIN;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        if (wait_for_more(self) < 0)
            return NULL;
    }
    read = Py_NewRef(SLOT(self, K.read));
    data = PyTuple_CheckExact(result) ? PyTuple_GET_ITEM(result, 0) : result;
    if (read != Py_None && after_read(self, read, data, bufsize, flags) < 0)
        Py_CLEAR(result);
    Py_DECREF(read);
    return result;
}

/* recv() and recvfrom(); ``original`` is the Python method. */
PyObject *read_with(receive_function call, PyObject *original, PyObject *self, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *read = SLOT(self, K.read), *limit = SLOT(self, K.limit);
    long flags = 0;
    if (kwnames || nargs < 1 || nargs > 2 || !PyLong_CheckExact(args[0]) || !read || !limit)
        return fall_back(original, self, args, nargs, kwnames);
    if (nargs == 2 && (flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    if (flags & MSG_WAITALL)
        return fall_back(original, self, args, nargs, kwnames);
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
    return read_until_found(call, self, args[0], flags);
}

static PyObject *socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return read_with(receive, python_socket_recv, self, args, nargs, kwnames);
}

static PyObject *socket_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *stack[4] = {self}, *done;
    long flags = 0;
    Py_ssize_t sent;
    if (kwnames || nargs < 1 || nargs > 2 || !PyBytes_CheckExact(args[0]) || !SLOT(self, K.limit))
        return fall_back(python_socket_sendall, self, args, nargs, kwnames);
    if (nargs == 2 && (flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    sent = send_some(self, args[0], flags);
    if (sent == PyBytes_GET_SIZE(args[0]))
        Py_RETURN_NONE;
    if (sent == -1)
        return NULL;
    if (sent == NO_ROOM) {
        if (!may_wait(SLOT(self, K.limit), flags)) {
            errno = EAGAIN;
            return PyErr_SetFromErrno(PyExc_OSError);
        }
        sent = 0;
    }
    stack[1] = PyMemoryView_FromObject(args[0]);
    stack[2] = stack[1] ? PyLong_FromSsize_t(sent) : NULL;
    stack[3] = stack[2] ? PyLong_FromLong(flags) : NULL;
    done = stack[3] ? PyObject_VectorcallMethod(N._send_rest, stack, 4, NULL) : NULL;
    Py_XDECREF(stack[1]);
    Py_XDECREF(stack[1] ? stack[2] : NULL);
    Py_XDECREF(stack[1] && stack[2] ? stack[3] : NULL);
    return done;
}

/* Sets has_descriptor_first, if a socket without a descriptor does not show otherwise. -1: an exception. */
static int learn_descriptor(PyTypeObject *base)
{
    PyObject *nothing = PyTuple_New(0), *blank = nothing ? base->tp_new(base, nothing, NULL) : NULL;
    if (blank)
        has_descriptor_first = family_offset == sizeof(PyObject) + sizeof(int) && asked_descriptor(blank) == -1 &&
                               !PyErr_Occurred() && *descriptor_in(blank) == -1;
    Py_XDECREF(blank);
    Py_XDECREF(nothing);
    return PyErr_Occurred() ? -1 : 0;
}

int learn_socket(void)
{
    PyObject *base = PyObject_GetAttrString((PyObject *)K.type->tp_base, "__base__");
    if (!base)
        return -1;
    plain_fileno = PyObject_GetAttrString(base, "fileno");
    plain_recv = plain_fileno ? PyObject_GetAttrString(base, "recv") : NULL;
    plain_send = plain_recv ? PyObject_GetAttrString(base, "send") : NULL;
    if (!plain_send || learn_datagram(base) < 0 || learn_descriptor((PyTypeObject *)base) < 0)
        Py_CLEAR(base);
    Py_XDECREF(base);
    return base ? 0 : -1;
}

static const struct method socket_methods[] = {
    {&python_socket_recv, {"recv", FASTCALL(socket_recv), "recv($self, bufsize, flags=0, /)\n--\n\n"}},
    {&python_socket_sendall, {"sendall", FASTCALL(socket_sendall), "sendall($self, data, flags=0, /)\n--\n\n"}},
    {0},
};

const struct noun socket_noun = {"hubbub.io.Socket", &K.type, socket_fields, socket_methods};
