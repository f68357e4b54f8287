/* Sending without a wait: hubbub_server.http.sending.Sender. What does not go at once is left to its methods. */
#include "usual.h"

#include <sys/socket.h>

enum { FEW = 4096 }; /* bytes that are copied together, so that the kernel has one piece to look at */

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* the interpreter ignores SIGPIPE */
#endif
#ifndef MSG_MORE
#define MSG_MORE 0 /* nothing is held then: Sender.may_hold says no */
#endif

static size_t size_of(const struct iovec *parts, int count)
{
    size_t size = 0;
    while (count--)
        size += parts[count].iov_len;
    return size;
}

static void join(char *to, const struct iovec *parts, int count)
{
    int i;
    for (i = 0; i < count; i++) {
        memcpy(to, parts[i].iov_base, parts[i].iov_len);
        to += parts[i].iov_len;
    }
}

/* Sender.send of what the kernel has not taken. */
static int send_rest(PyObject *connection, const struct iovec *parts, int count, size_t sent)
{
    size_t size = size_of(parts, count);
    PyObject *all = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size), *rest = NULL, *done = NULL;
    if (all) {
        join(PyBytes_AS_STRING(all), parts, count);
        rest = sent ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(all) + sent, (Py_ssize_t)(size - sent))
                    : Py_NewRef(all);
        Py_DECREF(all);
    }
    if (rest)
        done = PyObject_CallMethodOneArg(connection, Name.send, rest);
    Py_XDECREF(rest);
    Py_XDECREF(done);
    return done ? DONE : FAILED;
}

static PyObject *fileno_of_socket;   /* the method */
static PyCFunction fileno_function;  /* the same, if it is what the standard library has in C; else NULL */

int learn_sockets(void)
{
    fileno_of_socket = PyObject_GetAttrString(Part.Socket, "fileno");
    if (fileno_of_socket && Py_IS_TYPE(fileno_of_socket, &PyMethodDescr_Type)) {
        const PyMethodDef *definition = ((PyMethodDescrObject *)fileno_of_socket)->d_method;
        fileno_function = definition->ml_flags == METH_NOARGS ? definition->ml_meth : NULL;
    }
    return fileno_of_socket ? DONE : FAILED;
}

/* The descriptor of a plain socket; -1 for any other, and if it is closed. */
static int descriptor_of(PyObject *connection)
{
    PyObject *sock = SLOT(connection, Connection.sock), *number;
    int fd;
    if (!Py_IS_TYPE(sock, (PyTypeObject *)Part.Socket))
        return -1;
    number = fileno_function ? fileno_function(sock, NULL) : PyObject_CallOneArg(fileno_of_socket, sock);
    fd = number ? (int)PyLong_AsLong(number) : -1;
    Py_XDECREF(number);
    if (fd < 0)
        PyErr_Clear();
    return fd;
}

/* One call, which does not wait, and so keeps the GIL. How many bytes went; 0 after any failure. */
static size_t send_at_once(int fd, const struct iovec *parts, int count, int more)
{
    static char joined[FEW]; /* not on the stack, not for longer than the call */
    int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    size_t size = size_of(parts, count);
    ssize_t sent;
    if (size <= FEW) {
        join(joined, parts, count);
        sent = send(fd, joined, size, flags);
    } else {
        struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
        sent = sendmsg(fd, &message, flags);
    }
    return sent < 0 ? 0 : (size_t)sent;
}

/* Sender.send */
int send_parts(PyObject *connection, const struct iovec *parts, int count)
{
    int fd = descriptor_of(connection);
    size_t sent = fd < 0 ? 0 : send_at_once(fd, parts, count, 0);
    if (sent != size_of(parts, count))
        return send_rest(connection, parts, count, sent);
    put(connection, Connection._held, Py_False);
    return DONE;
}

/* -- pieces -------------------------------------------------------------------------------------------------------- */

/* Sender.may_hold of a plain socket, unless something is held already. */
static int may_hold(PyObject *connection)
{
    PyObject *watched = SLOT(SLOT(connection, Connection.clock), Clock.watched), *answer;
    int may;
    if (SLOT(connection, Connection._held) == Py_True)
        return 1;
    if (MSG_MORE && SLOT(connection, Connection._watched) == Py_False && PyList_CheckExact(watched) &&
        PyList_GET_SIZE(watched)) {
        if (PyList_Append(watched, connection) < 0)
            return FAILED;
        put(connection, Connection._watched, Py_True);
    }
    if (SLOT(connection, Connection._watched) == Py_True) {
        put(connection, Connection._held, Py_True);
        return 1;
    }
    answer = PyObject_CallMethodNoArgs(connection, Name.may_hold);
    may = answer ? answer == Py_True : FAILED;
    Py_XDECREF(answer);
    return may;
}

/* The seconds since the time that a slot has. */
static double since(PyObject *connection, Py_ssize_t slot, PyObject *now)
{
    PyObject *then = SLOT(connection, slot);
    return PyFloat_CheckExact(then) ? PyFloat_AS_DOUBLE(now) - PyFloat_AS_DOUBLE(then) : Py_HUGE_VAL;
}

/* Sender.send_piece */
int send_piece_parts(PyObject *connection, const struct iovec *parts, int count)
{
    PyObject *now = monotonic();
    int fd, held, outcome;
    size_t sent;
    if (!now)
        return FAILED;
    held = since(connection, Connection._given, now) <= PyFloat_AS_DOUBLE(Part.quick) &&
           since(connection, Connection._pushed, now) <= PyFloat_AS_DOUBLE(Part.longest_hold);
    put(connection, Connection._given, now);
    fd = descriptor_of(connection);
    if (held)
        held = fd < 0 ? 0 : may_hold(connection);
    sent = fd < 0 || held < 0 ? 0 : send_at_once(fd, parts, count, held);
    if (held < 0)
        outcome = FAILED;
    else if (sent != size_of(parts, count)) {
        outcome = send_rest(connection, parts, count, sent);
        held = 0;
    } else {
        outcome = DONE;
        if (!held)
            put(connection, Connection._held, Py_False);
    }
    if (!held)
        put(connection, Connection._pushed, now);
    Py_DECREF(now);
    return outcome;
}
