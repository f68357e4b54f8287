/* hubbub_net._tlswire.Wire: ciphertext between OpenSSL and the descriptor. */
#include "methods.h"

#include <errno.h>
#include <sys/socket.h>

enum { FEW = 66 << 10 }; /* bytes: so many are sent with the GIL, as hubbub-speed does and for its reasons */

struct turns T;
struct wire W;
struct call C;

static struct socket {
    PyTypeObject *type;
    Py_ssize_t limit;
} K;

static const struct field turns_fields[] = {{"behind", &T.behind}, {"held", &T.held}, {0}};
static const struct field wire_fields[] = {{"incoming", &W.incoming}, {"outgoing", &W.outgoing}, {"readers", &W.readers},
                                           {"sslobj", &W.sslobj},     {"unsent", &W.unsent},     {"writers", &W.writers},
                                           {0}};
static const struct field call_fields[] = {
    {"_deadline", &C.deadline}, {"limit", &C.limit}, {"operation", &C.operation}, {"sock", &C.sock}, {0}};
static const struct field socket_fields[] = {{"_limit", &K.limit}, {0}};

static PyObject *python_flush, *python_receive, *python_receive_first, *python_send;
static PyObject *cooperative_socket, *own_gettimeout, *plain_fileno, *plain_send, *make_want_read, *text_read, *text_shutdown;
static Py_ssize_t receive_size;

/* -- receiving ---------------------------------------------------------------------------------------------------- */

PyObject *limit_of(PyObject *sock)
{
    static PyTypeObject *proved; /* a type that is known to have core's own method, as long as it is not changed */
    static unsigned int version;
    PyTypeObject *type = Py_TYPE(sock);
    if (type != proved || !version || version != type->tp_version_tag) {
        PyObject *found = PyObject_GetAttr((PyObject *)type, N.gettimeout);
        if (!found)
            return NULL;
        Py_DECREF(found); /* compared only */
        if (found != own_gettimeout || !PyType_IsSubtype(type, K.type))
            return PyObject_CallMethodNoArgs(sock, N.gettimeout);
        proved = type;
        version = type->tp_version_tag;
    }
    return SLOT(sock, K.limit) ? Py_NewRef(SLOT(sock, K.limit)) : PyObject_CallMethodNoArgs(sock, N.gettimeout);
}

void raise_from(PyObject *error, PyObject *cause)
{
    if (error) {
        if (cause)
            PyException_SetContext(error, Py_NewRef(cause));
        PyException_SetCause(error, Py_XNewRef(cause));
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
}

int may_wait(PyObject *limit)
{
    return limit == Py_None ? 1 : PyObject_RichCompareBool(limit, zero, Py_NE);
}

/* Raises what the caller of a read gets to know, while the error of recv is set. */
static void explain(PyObject *call)
{
    PyObject *error, *late;
    if (PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        PyErr_Clear();
        raise_from(PyObject_CallNoArgs(make_want_read), NULL);
        return;
    }
    if (!call || !PyErr_ExceptionMatches(PyExc_TimeoutError))
        return;
    error = take_error();
    late = PyObject_CallMethodNoArgs(call, N.is_late);
    if (late == Py_True) {
        Py_DECREF(error);
        raise_from(PyObject_CallMethodNoArgs(call, N.late), NULL);
    } else if (late)
        give_back_error(error); /* an interrupt, not the time limit of this call */
    else
        Py_DECREF(error);
    Py_XDECREF(late);
}

static PyObject *receive(PyObject *sock, Py_ssize_t count)
{
    PyObject *size = PyLong_FromSsize_t(count), *recv, *data;
    if (!size)
        return NULL;
    recv = PyObject_GetAttr(cooperative_socket, N.recv);
    if (!recv) {
        Py_DECREF(size);
        return NULL;
    }
    data = PyObject_Vectorcall(recv, (PyObject *[]){sock, size}, 2, NULL);
    Py_DECREF(recv);
    Py_DECREF(size);
    if (data && !PyBytes_CheckExact(data)) {
        PyErr_Format(PyExc_TypeError, "recv returned %R, not bytes", Py_TYPE(data));
        Py_CLEAR(data);
    }
    return data;
}

static int end_turn(PyObject *turns)
{
    PyObject *error, *done;
    long behind = SLOT(turns, T.behind) ? PyLong_AsLong(SLOT(turns, T.behind)) : 0;
    if (!behind) {
        put(turns, T.held, Py_False);
        return 0;
    }
    error = PyErr_Occurred() ? take_error() : NULL;
    done = PyObject_CallMethodNoArgs(turns, N.leave);
    if (!done) {
        Py_XDECREF(error);
        return -1;
    }
    Py_DECREF(done);
    if (error)
        give_back_error(error);
    return 0;
}

Py_ssize_t receive_first(PyObject *self, PyObject *sock, PyObject *limit, Py_ssize_t most, Py_ssize_t *bound)
{
    PyObject *incoming = SLOT(self, W.incoming), *readers = SLOT(self, W.readers), *call = NULL, *data, *done;
    Py_ssize_t useful = -1, appetite;
    int limited = limit == Py_None ? 0 : PyObject_IsTrue(limit);
    if (limited < 0)
        return -1;
    if (limited && !(call = PyObject_CallFunctionObjArgs((PyObject *)C.type, sock, text_read, limit, NULL)))
        return -1;
    appetite = incoming_appetite(incoming);
    if (appetite < 0) {
        Py_XDECREF(call);
        return -1;
    }
    Py_INCREF(incoming);
    Py_INCREF(readers);
    put(readers, T.held, Py_True);
    data = receive(sock, appetite);
    if (!data)
        explain(call);
    if (end_turn(readers) < 0)
        Py_CLEAR(data);
    *bound = 0;
    if (data && PyBytes_GET_SIZE(data)) {
        *bound = incoming_bound(incoming);
        if (*bound >= 0)
            useful = incoming_take(incoming, data, most);
        *bound += PyBytes_GET_SIZE(data);
    } else if (data) {
        done = PyObject_CallMethodNoArgs(self, N.come_to_an_end);
        useful = done ? 0 : -1;
        Py_XDECREF(done);
    }
    Py_XDECREF(data);
    Py_DECREF(readers);
    Py_DECREF(incoming);
    Py_XDECREF(call);
    return useful;
}

/* Whether the parts of an object are such as C can use in place. */
static int is_usual(PyObject *self)
{
    return SLOT(self, W.incoming) && Py_IS_TYPE(SLOT(self, W.incoming), I.type) && SLOT(self, W.readers) &&
           Py_IS_TYPE(SLOT(self, W.readers), T.type);
}

static PyObject *method_receive_first(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t most, useful, bound;
    if (kwnames || nargs != 3 || !PyLong_CheckExact(args[2]) || !is_usual(self))
        return fall_back(python_receive_first, self, args, nargs, kwnames);
    most = PyLong_AsSsize_t(args[2]);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    useful = receive_first(self, args[0], args[1], most, &bound);
    return useful < 0 ? NULL : PyLong_FromSsize_t(useful);
}

/* Receives until OpenSSL can make progress, as _receive() does for a call without a time limit. */
static int receive_useful(PyObject *self, PyObject *call)
{
    PyObject *incoming = SLOT(self, W.incoming), *data, *done;
    Py_ssize_t useful = 0;
    int waits = may_wait(SLOT(call, C.limit));
    while (waits >= 0 && useful == 0) {
        data = receive(SLOT(call, C.sock), receive_size);
        if (data && PyBytes_GET_SIZE(data))
            useful = incoming_take(incoming, data, 1);
        else if (data) {
            done = PyObject_CallMethodNoArgs(self, N.come_to_an_end);
            useful = done ? 1 : -1;
            Py_XDECREF(done);
        } else if (waits && PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
            PyErr_Clear();
            done = PyObject_CallMethodNoArgs(call, N.wait_readable);
            useful = done ? 0 : -1;
            Py_XDECREF(done);
        } else {
            explain(NULL);
            useful = -1;
        }
        Py_XDECREF(data);
    }
    return waits < 0 || useful < 0 ? -1 : 0;
}

static int is_text(PyObject *object, PyObject *text)
{
    return object == text || (object && PyUnicode_Check(object) && !PyUnicode_Compare(object, text));
}

static PyObject *method_receive(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *readers = SLOT(self, W.readers), *incoming = SLOT(self, W.incoming);
    int failed;
    if (kwnames || nargs != 2 || !is_usual(self) || !Py_IS_TYPE(args[0], C.type) ||
        SLOT(args[0], C.deadline) != Py_None || !SLOT(args[0], C.limit) || !SLOT(args[0], C.sock) ||
        is_text(SLOT(args[0], C.operation), text_shutdown) || !PyBool_Check(args[1]))
        return fall_back(python_receive, self, args, nargs, kwnames);
    Py_INCREF(readers);
    Py_INCREF(incoming);
    put(readers, T.held, Py_True);
    failed = receive_useful(self, args[0]);
    if (args[1] == Py_False && end_turn(readers) < 0)
        failed = -1;
    Py_DECREF(incoming);
    Py_DECREF(readers);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* -- sending ------------------------------------------------------------------------------------------------------- */

/* How many bytes the kernel took, 0 if it has no room; -1: an exception. */
static Py_ssize_t send_some(PyObject *sock, PyObject *data)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data), count;
    PyObject *answer = PyObject_Vectorcall(size > FEW ? plain_send : plain_fileno, (PyObject *[]){sock, data},
                                           size > FEW ? 2 : 1, NULL);
    int fd;
    if (!answer) {
        if (!PyErr_ExceptionMatches(PyExc_BlockingIOError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    count = PyLong_AsSsize_t(answer);
    Py_DECREF(answer);
    if (size > FEW || (count == -1 && PyErr_Occurred()))
        return count;
    fd = (int)count;
    do
        count = send(fd, PyBytes_AS_STRING(data), (size_t)size, MSG_DONTWAIT);
    while (count < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (count >= 0)
        return count;
    if (PyErr_Occurred()) /* raised by a signal handler */
        return -1;
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Keeps what follows the first bytes of ciphertext for later. */
static int keep(PyObject *unsent, PyObject *ciphertext, Py_ssize_t sent)
{
    PyObject *view = PyMemoryView_FromObject(ciphertext), *rest = NULL;
    int failed = -1;
    if (view) {
        rest = PySequence_GetSlice(view, sent, PyBytes_GET_SIZE(ciphertext));
        Py_DECREF(view);
    }
    if (rest) {
        failed = PyList_Append(unsent, rest);
        Py_DECREF(rest);
    }
    return failed;
}

int wire_send(PyObject *self, PyObject *sock, PyObject *ciphertext)
{
    Py_ssize_t sent = send_some(sock, ciphertext);
    if (sent < 0)
        return -1;
    if (sent == PyBytes_GET_SIZE(ciphertext))
        return 1;
    return keep(SLOT(self, W.unsent), ciphertext, sent);
}

static PyObject *method_send(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    int all;
    if (kwnames || nargs != 2 || !PyBytes_CheckExact(args[1]) || !SLOT(self, W.unsent) ||
        !PyList_CheckExact(SLOT(self, W.unsent)))
        return fall_back(python_send, self, args, nargs, kwnames);
    all = wire_send(self, args[0], args[1]);
    return all < 0 ? NULL : PyBool_FromLong(all);
}

/* After ciphertext could not be sent: who will send it later, or nobody. */
static int not_sent(PyObject *self, PyObject *call, PyObject *ciphertext)
{
    PyObject *error;
    int failed;
    if (PyErr_ExceptionMatches(PyExc_ConnectionError) && is_text(SLOT(call, C.operation), text_read)) {
        PyErr_Clear(); /* the peer will not read it, but may have sent data that is to be read */
        return 0;
    }
    error = take_error();
    failed = PyList_Append(SLOT(self, W.unsent), ciphertext);
    if (failed)
        Py_DECREF(error);
    else
        give_back_error(error);
    return -1;
}

static PyObject *method_flush(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *unsent = SLOT(self, W.unsent), *writers = SLOT(self, W.writers), *ciphertext;
    int pending, all;
    if (kwnames || nargs != 1 || !Py_IS_TYPE(args[0], C.type) || !SLOT(args[0], C.sock) || !SLOT(self, W.outgoing) ||
        !unsent || !PyList_CheckExact(unsent) || PyList_GET_SIZE(unsent) || !writers || !Py_IS_TYPE(writers, T.type))
        return fall_back(python_flush, self, args, nargs, kwnames);
    pending = is_pending(SLOT(self, W.outgoing));
    if (pending < 0)
        return NULL;
    if (!pending)
        Py_RETURN_NONE;
    if (SLOT(writers, T.held) != Py_False)
        return fall_back(python_flush, self, args, nargs, kwnames);
    ciphertext = PyObject_CallMethodNoArgs(SLOT(self, W.outgoing), N.read);
    if (!ciphertext)
        return NULL;
    all = wire_send(self, SLOT(args[0], C.sock), ciphertext);
    if (all < 0)
        all = not_sent(self, args[0], ciphertext) < 0 ? -1 : 1;
    Py_DECREF(ciphertext);
    if (all < 0)
        return NULL;
    return all ? Py_NewRef(Py_None) : fall_back(python_flush, self, args, nargs, kwnames);
}

int learn_wire(PyObject *parts)
{
    cooperative_socket = wanted(parts, "socket");
    own_gettimeout = cooperative_socket ? PyObject_GetAttr((PyObject *)K.type, N.gettimeout) : NULL;
    plain_fileno = own_gettimeout ? wanted(parts, "fileno") : NULL;
    plain_send = plain_fileno ? wanted(parts, "send") : NULL;
    make_want_read = plain_send ? wanted(parts, "want_read") : NULL;
    text_read = make_want_read ? PyUnicode_InternFromString("read") : NULL;
    text_shutdown = text_read ? PyUnicode_InternFromString("shutdown") : NULL;
    receive_size = text_shutdown ? wanted_number(parts, "receive") : -1;
    return receive_size < 0 ? -1 : 0;
}

static const struct method wire_methods[] = {
    {&python_flush, {"flush", FASTCALL(method_flush), "flush($self, call)\n--\n\n"}},
    {&python_receive, {"_receive", FASTCALL(method_receive), "_receive($self, call, entered)\n--\n\n"}},
    {&python_receive_first, {"receive_first", FASTCALL(method_receive_first), "receive_first($self, sock, limit, most)\n--\n\n"}},
    {&python_send, {"send", FASTCALL(method_send), "send($self, sock, ciphertext)\n--\n\n"}},
    {0},
};

const struct noun turns_noun = {"Turns", &T.type, turns_fields, NULL};
const struct noun wire_noun = {"Wire", &W.type, wire_fields, wire_methods};
const struct noun call_noun = {"Call", &C.type, call_fields, NULL};
const struct noun socket_noun = {"Socket", &K.type, socket_fields, NULL};
