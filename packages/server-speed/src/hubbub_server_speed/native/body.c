/*
 * The body of a request, and wsgi.input: hubbub_server.http.body. What has arrived is read here, and what comes as it
 * stands, a piece at a time. The methods have the rest: chunks, "100 Continue", what is wrong with a body, lines.
 */
#include "usual.h"

PyTypeObject *ReadyInput; /* Input with a read() that takes what has arrived, and leaves all else to the method */

static PyObject *python_read, *python_next; /* Input.read, Body.next */

/* Body.__init__ for a body of known length; after Body.look_ahead if all of it is there. */
static PyObject *make_body(PyObject *connection, PyObject *length, PyObject *early)
{
    PyObject *made = Body.type->tp_alloc(Body.type, 0);
    if (!made)
        return NULL;
    SLOT(made, Body._source) = Py_NewRef(connection);
    SLOT(made, Body._left) = Py_NewRef(early ? Name.zero : length);
    SLOT(made, Body._decoder) = Py_NewRef(Py_None);
    SLOT(made, Body._early) = Py_NewRef(early ? early : Name.empty);
    SLOT(made, Body.done) = Py_NewRef(early ? Py_True : Py_False);
    SLOT(made, Body.error) = Py_NewRef(Py_None);
    SLOT(made, Body.expected) = Py_NewRef(Py_False);
    return made;
}

static PyObject *make_input(PyObject *body)
{
    PyObject *made = ReadyInput->tp_alloc(ReadyInput, 0);
    if (!made)
        return NULL;
    SLOT(made, Input._buffer) = Py_NewRef(Name.empty);
    SLOT(made, Input._next) = PyObject_GetAttr(body, Name.next);
    if (!SLOT(made, Input._next))
        Py_CLEAR(made);
    return made;
}

/* Bytes that were received behind the head: at most this many, from there on; an empty object for none. */
PyObject *received(PyObject *data, Py_ssize_t from, long long most)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data) - from;
    if (size > most)
        size = (Py_ssize_t)most;
    return size ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + from, size) : Py_NewRef(Name.empty);
}

/*
 * The exchange has a body, which the application finds as wsgi.input; the connection gets what follows it, and patience
 * anew. As much of the body as came with the head may be in the connection's buffer already, where Python has put it.
 */
int add_body(PyObject *exchange, PyObject *connection, PyObject *data, const struct request *request)
{
    PyObject *pace = SLOT(SLOT(connection, Connection.clock), Clock.body), *early = NULL, *input;
    PyObject *length = PyTuple_GET_ITEM(SLOT(exchange, Exchange.meaning), 0);
    int failed = 0;
    put(connection, Connection._body_patience, SLOT(pace, Pace.ticks));
    if (PyBytes_GET_SIZE(data) - request->size >= request->length) {
        Py_ssize_t end = request->size + (Py_ssize_t)request->length;
        early = received(data, request->size, request->length);
        failed = !early || put_new(connection, Connection._buffer, received(data, end, PY_SSIZE_T_MAX)) < 0;
    } else if (PyBytes_GET_SIZE(data) > request->size)
        failed = put_new(connection, Connection._buffer, received(data, request->size, PY_SSIZE_T_MAX)) < 0;
    failed = failed || put_new(exchange, Exchange.body, make_body(connection, length, early)) < 0;
    Py_XDECREF(early);
    if (failed)
        return FAILED;
    input = make_input(SLOT(exchange, Exchange.body));
    failed = !input || PyDict_SetItem(SLOT(exchange, Exchange.environ), Name.wsgi_input, input) < 0;
    Py_XDECREF(input);
    return failed ? FAILED : DONE;
}

/* -- what arrives -------------------------------------------------------------------------------------------------- */

enum { PIECE = 1 << 16 }; /* bytes that are received at a time */

/* The connection from which the rest of a body comes as it stands; NULL: the methods know better. */
static PyObject *source_of(PyObject *body)
{
    PyObject *source = SLOT(body, Body._source);
    if (SLOT(body, Body.done) != Py_False || SLOT(body, Body.error) != Py_None || SLOT(body, Body.expected) != Py_False ||
        SLOT(body, Body._decoder) != Py_None || !PyLong_CheckExact(SLOT(body, Body._left)))
        return NULL;
    return Py_IS_TYPE(source, Connection.type) && PyBytes_CheckExact(SLOT(source, Connection._buffer)) ? source : NULL;
}

/* Sender.note_work, unless the greenlet is to yield: then nothing was done, and the method is for it. */
static int note_work(PyObject *connection, Py_ssize_t size)
{
    long long work = PyLong_AsLongLong(SLOT(connection, Connection._work)) + size;
    if (PyErr_Occurred())
        return FAILED;
    if (work >= PyLong_AsLongLong(Part.yield_after))
        return UNUSUAL;
    return put_new(connection, Connection._work, PyLong_FromLongLong(work));
}

/* Pace.after: the patience with a client, of which something came that was waited for since ``began``. */
static int earn_patience(PyObject *connection, double began, Py_ssize_t moved)
{
    PyObject *clock = SLOT(connection, Connection.clock), *pace = SLOT(clock, Clock.body);
    double waited = PyFloat_AsDouble(SLOT(clock, Clock.now)) - began;
    double gain = PyFloat_AsDouble(SLOT(pace, Pace.gain)), most = PyFloat_AsDouble(SLOT(pace, Pace.ticks));
    double left = PyFloat_AsDouble(SLOT(connection, Connection._body_patience)) - waited + (double)moved * gain;
    if (PyErr_Occurred())
        return FAILED;
    return put_new(connection, Connection._body_patience, PyFloat_FromDouble(left < most ? left : most));
}

static void raise_end(PyObject *connection)
{
    PyObject *error = PyObject_CallMethodNoArgs(connection, Name._body_error);
    if (error)
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
    Py_XDECREF(error);
}

/* Connection.body_data, where nothing was received yet. NULL without an exception: that is for the method. */
static PyObject *await_data(PyObject *connection, Py_ssize_t size)
{
    double began = PyFloat_AsDouble(SLOT(SLOT(connection, Connection.clock), Clock.now));
    double until = began + PyFloat_AsDouble(SLOT(connection, Connection._body_patience));
    PyObject *most = PyErr_Occurred() ? NULL : PyLong_FromSsize_t(size), *data = NULL;
    if (most && note_work(connection, size) == DONE &&
        put_new(connection, Connection.deadline, PyFloat_FromDouble(until)) == DONE) {
        put(connection, Connection._phase, Part.reading);
        data = receive(connection, most);
    }
    Py_XDECREF(most);
    if (data && !PyBytes_GET_SIZE(data)) {
        raise_end(connection);
        Py_CLEAR(data);
    }
    if (data && earn_patience(connection, began, PyBytes_GET_SIZE(data)) < 0)
        Py_CLEAR(data);
    return data;
}

/* Connection.body_data: what was received already, or what comes. */
static PyObject *next_data(PyObject *connection, Py_ssize_t size)
{
    PyObject *buffer = SLOT(connection, Connection._buffer), *data;
    if (!PyBytes_GET_SIZE(buffer))
        return await_data(connection, size);
    Py_INCREF(buffer);
    data = received(buffer, 0, size);
    if (data && put_new(connection, Connection._buffer, received(buffer, PyBytes_GET_SIZE(data), PY_SSIZE_T_MAX)) < 0)
        Py_CLEAR(data);
    Py_DECREF(buffer);
    return data;
}

/* The body is at fault, if the exception is an error: Body.next. */
static void note_error(PyObject *body)
{
    PyObject *type, *error, *traceback;
    if (!PyErr_ExceptionMatches(PyExc_Exception))
        return;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    put(body, Body.error, error);
    PyErr_Restore(type, error, traceback);
}

/*
 * Body.next, for a rest that comes in one piece, or its beginning. NULL without an exception: the method has to be
 * asked, for whom nothing was done that it would not do again.
 */
static PyObject *next_piece(PyObject *body)
{
    PyObject *connection = source_of(body), *piece;
    long long left = connection ? PyLong_AsLongLong(SLOT(body, Body._left)) : 0;
    if (left <= 0)
        return NULL;
    Py_INCREF(connection);
    Py_INCREF(body);
    piece = next_data(connection, left < PIECE ? (Py_ssize_t)left : PIECE);
    if (piece) {
        left -= PyBytes_GET_SIZE(piece);
        if (put_new(body, Body._left, PyLong_FromLongLong(left)) < 0)
            Py_CLEAR(piece);
        else if (!left)
            put(body, Body.done, Py_True);
    }
    if (!piece && PyErr_Occurred())
        note_error(body);
    Py_DECREF(body);
    Py_DECREF(connection);
    return piece;
}

/* -- reading ------------------------------------------------------------------------------------------------------- */

/* The body of which an input reads; NULL: the methods know better. */
static PyObject *body_of(PyObject *input)
{
    PyObject *next = SLOT(input, Input._next), *body;
    if (!next || !PyMethod_Check(next) || PyMethod_GET_FUNCTION(next) != python_next)
        return NULL;
    body = PyMethod_GET_SELF(next);
    return Py_IS_TYPE(body, Body.type) && PyBytes_CheckExact(SLOT(body, Body._early)) ? body : NULL;
}

/* Takes so many bytes of those in *source, all of them for -1; the rest goes into the buffer. */
static PyObject *take_bytes(PyObject *input, PyObject **source, Py_ssize_t wanted)
{
    PyObject *all = *source, *taken, *rest, *old;
    Py_ssize_t size = PyBytes_GET_SIZE(all);
    if (wanted < 0 || wanted >= size) {
        *source = Py_NewRef(Name.empty);
        return all;
    }
    taken = PyBytes_FromStringAndSize(PyBytes_AS_STRING(all), wanted);
    rest = taken ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(all) + wanted, size - wanted) : NULL;
    if (!rest) {
        Py_XDECREF(taken);
        return NULL;
    }
    *source = Py_NewRef(Name.empty);
    old = SLOT(input, Input._buffer);
    SLOT(input, Input._buffer) = rest;
    Py_DECREF(all);
    Py_DECREF(old);
    return taken;
}

/* How much is asked for; less than -1: that is for the method to say. */
static Py_ssize_t wanted_size(PyObject *const *args, Py_ssize_t count)
{
    Py_ssize_t size;
    if (!count || (count == 1 && args[0] == Py_None))
        return -1;
    if (count > 1 || !PyLong_CheckExact(args[0]))
        return -2;
    size = PyLong_AsSsize_t(args[0]);
    if (size == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        return -2;
    }
    return size < 0 ? -1 : size;
}

/* Input.read of what has arrived, or comes in one piece. NULL without an exception: that is for the method. */
static PyObject *read_once(PyObject *self, Py_ssize_t wanted)
{
    PyObject *buffer = SLOT(self, Input._buffer), *body, *piece;
    if (!buffer || !PyBytes_CheckExact(buffer))
        return NULL;
    if (wanted >= 0 && wanted <= PyBytes_GET_SIZE(buffer))
        return take_bytes(self, &SLOT(self, Input._buffer), wanted);
    body = body_of(self);
    if (!body)
        return NULL;
    if (!PyBytes_GET_SIZE(buffer) && !PyBytes_GET_SIZE(SLOT(body, Body._early))) {
        piece = next_piece(body);
        if (piece)
            put_new(self, Input._buffer, piece);
        else if (PyErr_Occurred())
            return NULL;
    }
    if (!has_arrived(body))
        return wanted >= 0 && wanted <= PyBytes_GET_SIZE(SLOT(self, Input._buffer))
                   ? take_bytes(self, &SLOT(self, Input._buffer), wanted)
                   : NULL;
    if (!PyBytes_GET_SIZE(SLOT(body, Body._early)))
        return take_bytes(self, &SLOT(self, Input._buffer), wanted);
    return PyBytes_GET_SIZE(SLOT(self, Input._buffer)) ? NULL : take_bytes(self, &SLOT(body, Body._early), wanted);
}

/* Input.read */
static PyObject *input_read(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *stack[3] = {self}, *data;
    Py_ssize_t wanted = wanted_size(args, count);
    data = wanted >= -1 ? read_once(self, wanted) : NULL;
    if (data || PyErr_Occurred())
        return data;
    if (count > 2)
        count = 2; /* as wrong as more */
    if (count)
        memcpy(stack + 1, args, (size_t)count * sizeof *args);
    return PyObject_Vectorcall(python_read, stack, (size_t)count + 1, NULL);
}

static PyMethodDef input_methods[] = {
    {"read", (PyCFunction)(void (*)(void))input_read, METH_FASTCALL,
     "read($self, size=-1, /)\n--\n\nBytes, fewer than were asked for only at the end; all that is left for None or "
     "-1."},
    {0},
};

static PyType_Slot input_slots[] = {{Py_tp_methods, input_methods}, {0}};

static PyType_Spec input_spec = {
    .name = "hubbub_server_speed._usual.Input", .flags = Py_TPFLAGS_DEFAULT, .slots = input_slots};

int learn_input(void)
{
    python_read = PyObject_GetAttrString((PyObject *)Input.type, "read");
    python_next = python_read ? PyObject_GetAttrString((PyObject *)Body.type, "next") : NULL;
    ReadyInput = python_next
                     ? (PyTypeObject *)PyType_FromSpecWithBases(&input_spec, (PyObject *)Input.type)
                     : NULL;
    return ReadyInput ? DONE : FAILED;
}
