/* The accelerator of a parser, and the loop of a connection: hubbub_server.http.connection.Connection._serve. */
#include "usual.h"

#include <time.h>

double seconds_now(void)
{
#ifdef __APPLE__
    return (double)clock_gettime_nsec_np(CLOCK_UPTIME_RAW) * 1e-9;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#endif
}

PyObject *monotonic(void)
{
    return PyFloat_FromDouble(seconds_now());
}

/* -- from one request to the next ---------------------------------------------------------------------------------- */

/* Connection._receive. Empty: the connection has ended. */
PyObject *receive(PyObject *connection, PyObject *size)
{
    PyObject *stack[] = {SLOT(connection, Connection.sock), size}, *data;
    data = PyObject_VectorcallMethod(Name.recv, stack, 2, NULL);
    put(connection, Connection.deadline, Part.never);
    put(connection, Connection._phase, Part.running);
    if (data && !PyBytes_CheckExact(data)) {
        PyErr_Format(PyExc_TypeError, "recv returned %.200s, not bytes", Py_TYPE(data)->tp_name);
        Py_CLEAR(data);
    }
    if (!data && PyErr_ExceptionMatches(PyExc_OSError)) {
        PyErr_Clear();
        data = Py_NewRef(Name.empty);
    }
    return data;
}

/* The same of an idle connection. */
static PyObject *await_request(PyObject *connection)
{
    put(connection, Connection._phase, Part.idle);
    if (put_new(connection, Connection.since, monotonic()) < 0)
        return NULL;
    put(connection, Connection.deadline, SLOT(SLOT(connection, Connection.clock), Clock.idle_deadline));
    return receive(connection, Part.receive);
}

/* What was received already, once others had their turn; or what comes. */
static PyObject *next_data(PyObject *connection)
{
    PyObject *buffer = SLOT(connection, Connection._buffer), *slept;
    if (!PyBytes_CheckExact(buffer) || !PyBytes_GET_SIZE(buffer))
        return await_request(connection);
    slept = PyObject_CallOneArg(Part.sleep, Name.zero);
    if (!slept)
        return NULL;
    Py_DECREF(slept);
    buffer = Py_NewRef(SLOT(connection, Connection._buffer));
    put(connection, Connection._buffer, Name.empty);
    return buffer;
}

static PyObject *usual_serve(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PyObject *connection, *data, *next;
    int is_first = 1, outcome;
    if (count != 2 || !PyObject_TypeCheck(args[0], Connection.type) || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "serve() takes a Connection and bytes");
        return NULL;
    }
    connection = args[0];
    data = Py_NewRef(args[1]);
    for (;;) {
        outcome = serve_request((struct usual *)self, connection, data);
        if (outcome == UNUSUAL) {
            if (is_first)
                return data;
            put(connection, Connection._buffer, data);
            Py_DECREF(data);
            Py_RETURN_NONE;
        }
        Py_DECREF(data); /* a connection that waits for its next request holds nothing of the last */
        if (outcome == FAILED)
            return NULL;
        if (outcome != DONE)
            return PyBool_FromLong(outcome == LINGERS);
        next = next_data(connection);
        if (!next)
            return NULL;
        if (!PyBytes_GET_SIZE(next)) {
            Py_DECREF(next);
            Py_RETURN_FALSE;
        }
        data = next;
        is_first = 0;
    }
}

/* -- what tests and others ask ------------------------------------------------------------------------------------- */

/* Reads a head that is all of the data. */
static int read_all(PyObject *self, PyObject *data, struct head *head)
{
    int found;
    if (!PyBytes_CheckExact(data)) {
        PyErr_Format(PyExc_TypeError, "a head is bytes, not %.200s", Py_TYPE(data)->tp_name);
        return FAILED;
    }
    found = read_head((struct usual *)self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), head);
    if (found == DONE && head->size != PyBytes_GET_SIZE(data)) {
        drop_head(head);
        return UNUSUAL;
    }
    return found;
}

static PyObject *usual_raw_fields(PyObject *self, PyObject *data)
{
    struct head head;
    PyObject *pairs;
    int found = read_all(self, data, &head);
    if (found == UNUSUAL)
        Py_RETURN_NONE;
    if (found == FAILED)
        return NULL;
    pairs = raw_fields_of(&head);
    drop_head(&head);
    return pairs;
}

static PyObject *usual_parse(PyObject *self, PyObject *data)
{
    struct head head;
    PyObject *line, *environ, *meaning, *result = NULL;
    int found = read_all(self, data, &head);
    if (found == UNUSUAL)
        Py_RETURN_NONE;
    if (found == FAILED)
        return NULL;
    line = request_line_of(&head);
    environ = line ? PyDict_New() : NULL;
    meaning = environ ? meaning_of(&head) : NULL;
    found = meaning ? put_fields(environ, &head) : PyErr_Occurred() ? FAILED : UNUSUAL;
    drop_head(&head);
    if (found == DONE)
        result = PyTuple_Pack(3, line, environ, meaning);
    else if (found == UNUSUAL)
        result = Py_NewRef(Py_None);
    Py_XDECREF(line);
    Py_XDECREF(environ);
    Py_XDECREF(meaning);
    return result;
}

/* -- the type ------------------------------------------------------------------------------------------------------ */

/* A limit; -1 if there is none. */
static long long limit_of(PyObject *limits, const char *name)
{
    PyObject *value = PyObject_GetAttrString(limits, name);
    long long number = !value || value == Py_None ? -1 : PyLong_AsLongLong(value);
    Py_XDECREF(value);
    return number;
}

static int usual_init(PyObject *object, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"parser", NULL};
    struct usual *self = (struct usual *)object;
    PyObject *parser, *limits;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &parser))
        return -1;
    limits = PyObject_GetAttr(parser, Name.limits);
    if (!limits)
        return -1;
    self->request_line = (Py_ssize_t)limit_of(limits, "request_line");
    self->header_count = (Py_ssize_t)limit_of(limits, "header_count");
    self->header_bytes = (Py_ssize_t)limit_of(limits, "header_bytes");
    self->field_bytes = (Py_ssize_t)limit_of(limits, "field_bytes");
    self->body_bytes = limit_of(limits, "body_bytes");
    Py_DECREF(limits);
    if (PyErr_Occurred())
        return -1;
    forget_names(self);
    forget_heads(self);
    Py_XSETREF(self->parser, Py_NewRef(parser));
    return 0;
}

static int usual_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((struct usual *)self)->parser);
    return visit_heads((struct usual *)self, visit, arg);
}

static int usual_clear(PyObject *self)
{
    Py_CLEAR(((struct usual *)self)->parser);
    forget_heads((struct usual *)self);
    return 0;
}

static void usual_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    usual_clear(self);
    forget_names((struct usual *)self);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef usual_methods[] = {
    {"serve", (PyCFunction)(void (*)(void))usual_serve, METH_FASTCALL,
     "serve($self, connection, head, /)\n--\n\nServe requests for as long as they are usual."},
    {"raw_fields", usual_raw_fields, METH_O,
     "raw_fields($self, head, /)\n--\n\nThe fields of a usual head as they were sent."},
    {"parse", usual_parse, METH_O, "parse($self, head, /)\n--\n\nWhat a usual head says."},
    {0},
};

PyTypeObject Usual = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hubbub_server_speed._usual.Usual",
    .tp_doc = PyDoc_STR("Usual(parser)\n--\n\nThe accelerator of a parser: hubbub_server.http.request.Usual."),
    .tp_basicsize = sizeof(struct usual),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = usual_init,
    .tp_methods = usual_methods,
    .tp_traverse = usual_traverse,
    .tp_clear = usual_clear,
    .tp_dealloc = usual_dealloc,
};
