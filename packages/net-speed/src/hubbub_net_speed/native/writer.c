/* hubbub_net._tlswriter.Writer: writing a TLS connection. */
#include "methods.h"

static struct writer {
    PyTypeObject *type;
    Py_ssize_t ended, owed, wire;
} R;

static const struct field writer_fields[] = {{"ended", &R.ended}, {"_owed", &R.owed}, {"wire", &R.wire}, {0}};

static PyObject *python_write, *python_write_flights;
static PyObject *make_cut, *make_want_write, *broken, *sleep_for, *broken_pipe;
static Py_ssize_t flight_size, share;

/* Whether the parts of a connection are such as C can use in place. */
static int is_usual(PyObject *self)
{
    PyObject *wire = SLOT(self, R.wire);
    return wire && Py_IS_TYPE(wire, W.type) && SLOT(wire, W.sslobj) && SLOT(wire, W.outgoing) && SLOT(wire, W.unsent) &&
           PyList_CheckExact(SLOT(wire, W.unsent)) && SLOT(wire, W.writers) && Py_IS_TYPE(SLOT(wire, W.writers), T.type);
}

static PyObject *call_with(PyObject *object, PyObject *name, PyObject *argument)
{
    return PyObject_VectorcallMethod(name, (PyObject *[]){object, argument}, 2, NULL);
}

/* Sends what OpenSSL has written: whether the kernel took all; -1: an exception. */
static int send_encrypted(PyObject *wire, PyObject *sock)
{
    PyObject *ciphertext = PyObject_CallMethodNoArgs(SLOT(wire, W.outgoing), N.read);
    int all;
    if (!ciphertext)
        return -1;
    all = wire_send(wire, sock, ciphertext);
    Py_DECREF(ciphertext);
    return all;
}

/* An error of send(2), as the caller of a write is told it. */
static void explain(void)
{
    PyObject *error, *number;
    int is_broken;
    if (!PyErr_ExceptionMatches(PyExc_OSError))
        return;
    error = take_error();
    number = PyObject_GetAttr(error, N.errno_);
    is_broken = number ? PySequence_Contains(broken, number) : -1;
    Py_XDECREF(number);
    if (is_broken > 0)
        raise_from(PyObject_CallNoArgs(make_cut), error);
    if (is_broken)
        Py_DECREF(error);
    else
        give_back_error(error);
}

static PyObject *method_write(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *wire = SLOT(self, R.wire), *count;
    int all;
    if (kwnames || nargs != 2 || !PyBytes_CheckExact(args[1]) || PyBytes_GET_SIZE(args[1]) > record_size ||
        !is_usual(self) || SLOT(SLOT(wire, W.writers), T.held) != Py_False || PyList_GET_SIZE(SLOT(wire, W.unsent)))
        return fall_back(python_write, self, args, nargs, kwnames);
    Py_INCREF(wire);
    count = call_with(SLOT(wire, W.sslobj), N.write, args[1]);
    if (!count) {
        if (PyErr_ExceptionMatches(want_read_error)) {
            PyErr_Clear();
            count = PyObject_VectorcallMethod(N._write_in_turn, (PyObject *[]){self, args[0], args[1]}, 3, NULL);
        } else if (PyErr_ExceptionMatches(ssl_error) && SLOT(self, R.ended) == Py_True) {
            PyErr_Clear();
            raise_from(PyObject_CallNoArgs(broken_pipe), NULL);
        }
        Py_DECREF(wire);
        return count;
    }
    all = send_encrypted(wire, args[0]);
    Py_DECREF(wire);
    if (all < 0) {
        explain();
        Py_CLEAR(count);
    } else if (!all)
        Py_SETREF(count, PyObject_VectorcallMethod(N._write_in_turn,
                                                   (PyObject *[]){self, args[0], args[1], count}, 4, NULL));
    return count;
}

/* Encrypts some bytes: how many; -1: an exception. */
static Py_ssize_t encrypt(PyObject *self, PyObject *wire, PyObject *call, char *bytes, Py_ssize_t size)
{
    PyObject *flight = PyMemoryView_FromMemory(bytes, size, PyBUF_READ), *count;
    Py_ssize_t done = -1;
    if (!flight)
        return -1;
    count = call_with(SLOT(wire, W.sslobj), N.write, flight);
    if (!count && PyErr_ExceptionMatches(want_read_error)) {
        PyErr_Clear();
        count = PyObject_VectorcallMethod(N._encrypt, (PyObject *[]){self, call, flight}, 3, NULL);
    }
    if (count) {
        done = PyLong_AsSsize_t(count);
        Py_DECREF(count);
    }
    return let_go(flight) < 0 ? -1 : done;
}

/* Waits until the kernel has taken what it has not. */
static int wait_and_drain(PyObject *wire, PyObject *call, int waits)
{
    PyObject *done;
    if (!waits) {
        raise_from(PyObject_CallNoArgs(make_want_write), NULL);
        return -1;
    }
    done = PyObject_CallMethodNoArgs(call, N.wait_writable);
    if (!done)
        return -1;
    Py_DECREF(done);
    done = call_with(wire, N.drain, call);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int drain(PyObject *wire, PyObject *call)
{
    PyObject *done;
    int pending = PyList_GET_SIZE(SLOT(wire, W.unsent)) ? 1 : is_pending(SLOT(wire, W.outgoing));
    if (pending <= 0)
        return pending;
    done = call_with(wire, N.drain, call);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int let_others_run(void)
{
    PyObject *slept = PyObject_Vectorcall(sleep_for, &zero, 1, NULL);
    Py_XDECREF(slept);
    return slept ? 0 : -1;
}

static int write_flights(PyObject *self, PyObject *wire, PyObject *call, const Py_buffer *octets, Py_ssize_t *done)
{
    Py_ssize_t rest = *done + share, count;
    PyObject *sock = SLOT(call, C.sock);
    int waits = may_wait(SLOT(call, C.limit)), all;
    if (waits < 0 || drain(wire, call) < 0)
        return -1;
    while (*done < octets->len) {
        count = encrypt(self, wire, call, (char *)octets->buf + *done, smaller(octets->len - *done, flight_size));
        if (count < 0)
            return -1;
        *done += count;
        all = send_encrypted(wire, sock);
        if (all < 0 || (!all && wait_and_drain(wire, call, waits) < 0))
            return -1;
        if (*done >= rest && waits) {
            rest = *done + share;
            if (let_others_run() < 0)
                return -1;
        }
    }
    return 0;
}

/* After an error: what is encrypted already is owed, if the write will be tried again. */
static int owe(PyObject *self, Py_ssize_t done)
{
    PyObject *error;
    int failed;
    if (!PyErr_ExceptionMatches(want_read_error) && !PyErr_ExceptionMatches(want_write_error))
        return 0;
    error = take_error();
    failed = put_number(self, R.owed, done);
    if (failed)
        Py_DECREF(error);
    else
        give_back_error(error);
    return failed;
}

static PyObject *method_write_flights(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *wire = SLOT(self, R.wire);
    Py_buffer octets;
    Py_ssize_t done;
    int failed;
    if (kwnames || nargs != 3 || !Py_IS_TYPE(args[0], C.type) || !SLOT(args[0], C.limit) || !SLOT(args[0], C.sock) ||
        !PyLong_CheckExact(args[2]) || !is_usual(self))
        return fall_back(python_write_flights, self, args, nargs, kwnames);
    done = PyLong_AsSsize_t(args[2]);
    if ((done == -1 && PyErr_Occurred()) || PyObject_GetBuffer(args[1], &octets, PyBUF_SIMPLE) < 0)
        return NULL;
    Py_INCREF(wire);
    failed = write_flights(self, wire, args[0], &octets, &done);
    if (failed)
        owe(self, done);
    Py_DECREF(wire);
    PyBuffer_Release(&octets);
    return failed ? NULL : PyLong_FromSsize_t(done);
}

int learn_writer(PyObject *parts)
{
    flight_size = wanted_number(parts, "flight");
    share = flight_size < 0 ? -1 : wanted_number(parts, "share");
    make_cut = share < 0 ? NULL : wanted(parts, "cut");
    make_want_write = make_cut ? wanted(parts, "want_write") : NULL;
    broken = make_want_write ? wanted(parts, "broken") : NULL;
    broken_pipe = broken ? wanted(parts, "broken_pipe") : NULL;
    sleep_for = broken_pipe ? wanted(parts, "sleep") : NULL;
    return sleep_for ? 0 : -1;
}

static const struct method writer_methods[] = {
    {&python_write, {"write", FASTCALL(method_write), "write($self, sock, data)\n--\n\n"}},
    {&python_write_flights, {"_write_flights", FASTCALL(method_write_flights), "_write_flights($self, call, octets, done)\n--\n\n"}},
    {0},
};

const struct noun writer_noun = {"Writer", &R.type, writer_fields, writer_methods};
