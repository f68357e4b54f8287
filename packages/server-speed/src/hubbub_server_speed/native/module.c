/* The module: learns the parts and the layout of the server's classes. */
#include "usual.h"

#include <structmember.h>

/* The version of the server's classes that this is made for: hubbub_server.acceleration.LAYOUT. */
#define LAYOUT 4

struct body Body;
struct input Input;
struct clock Clock;
struct pace Pace;
struct connection Connection;
struct exchange Exchange;
struct response_head ResponseHead;
struct tally Tally;
struct parts Part;
struct names Name;

struct field {
    const char *name;
    Py_ssize_t *offset;
};

static const struct field clock_fields[] = {
    {"idle_deadline", &Clock.idle_deadline},
    {"body", &Clock.body},
    {"now", &Clock.now},
    {"request_deadline", &Clock.request_deadline},
    {"watched", &Clock.watched},
    {0},
};

static const struct field pace_fields[] = {{"gain", &Pace.gain}, {"ticks", &Pace.ticks}, {0}};

static const struct field body_fields[] = {
    {"_decoder", &Body._decoder}, {"_early", &Body._early}, {"_left", &Body._left},         {"_source", &Body._source},
    {"done", &Body.done},         {"error", &Body.error},   {"expected", &Body.expected}, {0}};

static const struct field input_fields[] = {{"_buffer", &Input._buffer}, {"_next", &Input._next}, {0}};

static const struct field connection_fields[] = {
    {"_body_patience", &Connection._body_patience},
    {"_buffer", &Connection._buffer},
    {"_given", &Connection._given},
    {"_held", &Connection._held},
    {"_phase", &Connection._phase},
    {"_pushed", &Connection._pushed},
    {"_watched", &Connection._watched},
    {"_work", &Connection._work},
    {"adjust", &Connection.adjust},
    {"clock", &Connection.clock},
    {"deadline", &Connection.deadline},
    {"host", &Connection.host},
    {"parser", &Connection.parser},
    {"port", &Connection.port},
    {"request", &Connection.request},
    {"service", &Connection.service},
    {"since", &Connection.since},
    {"sock", &Connection.sock},
    {0},
};

static const struct field exchange_fields[] = {
    {"_complete", &Exchange._complete},
    {"_delimiter", &Exchange._delimiter},
    {"_left", &Exchange._left},
    {"_persists", &Exchange._persists},
    {"_sent", &Exchange._sent},
    {"body", &Exchange.body},
    {"connection", &Exchange.connection},
    {"deadline", &Exchange.deadline},
    {"ended", &Exchange.ended},
    {"environ", &Exchange.environ},
    {"head", &Exchange.head},
    {"meaning", &Exchange.meaning},
    {"request", &Exchange.request},
    {"started", &Exchange.started},
    {0},
};

static const struct field response_head_fields[] = {
    {"_adds", &ResponseHead._adds}, {"_made", &ResponseHead._made}, {"code", &ResponseHead.code}, {0}};

static const struct field tally_fields[] = {{"log", &Tally.log}, {"numbers", &Tally.numbers}, {0}};

static const struct {
    const char *name;
    PyTypeObject **type;
    const struct field *fields;
} classes[] = {
    {"Body", &Body.type, body_fields},
    {"Clock", &Clock.type, clock_fields},
    {"Connection", &Connection.type, connection_fields},
    {"Exchange", &Exchange.type, exchange_fields},
    {"Input", &Input.type, input_fields},
    {"Pace", &Pace.type, pace_fields},
    {"ResponseHead", &ResponseHead.type, response_head_fields},
    {"Tally", &Tally.type, tally_fields},
};

#define PART(name) {#name, &Part.name}

static const struct {
    const char *name;
    PyObject **part;
} parts[] = {
    PART(FileWrapper), PART(Head), PART(LentRequest), PART(Meaning), PART(RequestError), PART(Response), PART(Socket),
    PART(bounds), PART(by_chunks), PART(by_length), PART(date), PART(heads), PART(idle), PART(longest_hold), PART(never),
    PART(nothing), PART(quick), PART(reading), PART(receive), PART(response_head), PART(running), PART(sleep), PART(today),
    PART(yield_after),
};

#define NAME(name) {#name, &Name.name}

static const struct {
    const char *text;
    PyObject **name;
} names[] = {
    NAME(_body_error), NAME(_trailers), NAME(access_log), NAME(application), NAME(base_env), NAME(close), NAME(ends_with),
    NAME(finish), NAME(framed), NAME(goes_on), NAME(lends_request), NAME(limits), NAME(lingers),
    NAME(log), NAME(may_hold), NAME(next), NAME(recv), NAME(request_id), NAME(send), NAME(start), NAME(stopping),
    NAME(take), NAME(variable), NAME(write), NAME(HEAD), NAME(PATH_INFO), NAME(QUERY_STRING),
    NAME(REMOTE_ADDR), NAME(REMOTE_PORT), NAME(REQUEST_METHOD), NAME(REQUEST_URI), NAME(SERVER_PROTOCOL),
    {"HTTP/1.1", &Name.http11}, {"hubbub.request", &Name.hubbub_request},
    {"hubbub.request_id", &Name.hubbub_request_id}, {"wsgi.input", &Name.wsgi_input},
};

/* A part by its name, kept for ever. */
static PyObject *wanted(PyObject *from, const char *name)
{
    PyObject *found = PyMapping_GetItemString(from, name);
    if (!found && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Format(PyExc_TypeError, "%s is missing", name);
    return found;
}

static int find_slot(PyObject *type, const struct field *field)
{
    PyObject *descriptor = PyObject_GetAttrString(type, field->name);
    if (!descriptor)
        return FAILED;
    if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type) ||
        ((PyMemberDescrObject *)descriptor)->d_member->type != T_OBJECT_EX) {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, field->name);
        Py_DECREF(descriptor);
        return FAILED;
    }
    *field->offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    Py_DECREF(descriptor);
    return DONE;
}

static int learn_classes(PyObject *from)
{
    const struct field *field;
    size_t i;
    for (i = 0; i < Py_ARRAY_LENGTH(classes); i++) {
        PyObject *type = wanted(from, classes[i].name);
        if (!type)
            return FAILED;
        for (field = classes[i].fields; field->name; field++)
            if (find_slot(type, field) < 0)
                return FAILED;
        *classes[i].type = (PyTypeObject *)type;
    }
    return DONE;
}

static int is_tuple_type(PyObject *part)
{
    return PyType_Check(part) && PyType_IsSubtype((PyTypeObject *)part, &PyTuple_Type);
}

/* Of the parts, those whose C type is taken for granted. */
static int check_parts(void)
{
    if (is_tuple_type(Part.Head) && is_tuple_type(Part.Meaning) && PyType_Check(Part.Socket) &&
        PyType_Check(Part.FileWrapper) && PyFloat_CheckExact(Part.quick) && PyFloat_CheckExact(Part.longest_hold) &&
        PyDict_Check(Part.heads) && PyList_Check(Part.today) && PyList_GET_SIZE(Part.today) == 2)
        return DONE;
    PyErr_SetString(PyExc_TypeError, "a part is not of the type that is expected");
    return FAILED;
}

static int learn(PyObject *from)
{
    size_t i;
    for (i = 0; i < Py_ARRAY_LENGTH(names); i++)
        if (!(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return FAILED;
    for (i = 0; i < Py_ARRAY_LENGTH(parts); i++)
        if (!(*parts[i].part = wanted(from, parts[i].name)))
            return FAILED;
    Name.empty = PyBytes_FromStringAndSize(NULL, 0);
    Name.zero = PyLong_FromLong(0);
    Name.one = PyLong_FromLong(1);
    if (!Name.empty || !Name.zero || !Name.one || check_parts() < 0 || learn_bounds() < 0 ||
        learn_sockets() < 0)
        return FAILED;
    Name.keep_alive = PyObject_CallFunction(Part.Meaning, "iOOO", 0, Py_True, Py_False, Py_False);
    return Name.keep_alive ? DONE : FAILED;
}

PyDoc_STRVAR(bind_doc,
             "bind(parts, /)\n--\n\n"
             "Learn the parts of the server, hubbub_server.acceleration.PARTS, once per process; returns the class "
             "Usual.\n\n"
             ":raises TypeError: the server is not laid out as expected.");

static PyObject *bind_parts(PyObject *module, PyObject *from)
{
    static int is_bound;
    (void)module;
    if (!is_bound) {
        if (learn_classes(from) < 0 || learn(from) < 0 || learn_methods() < 0 || learn_input() < 0 ||
            PyType_Ready(&Start) < 0 || PyType_Ready(&Usual) < 0)
            return NULL;
        is_bound = 1;
    }
    return Py_NewRef((PyObject *)&Usual);
}

static PyMethodDef functions[] = {{"bind", bind_parts, METH_O, bind_doc}, {0}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hubbub_server_speed._usual",
    .m_doc = "The usual request in C; see hubbub_server.acceleration.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__usual(void);

PyMODINIT_FUNC PyInit__usual(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "LAYOUT", LAYOUT) < 0)
        Py_CLEAR(module);
    return module;
}
