/* The module: learns the layout of hubbub-net's classes, and makes the methods for them. */
#include "methods.h"

#include <structmember.h>

/* hubbub_net.acceleration.LAYOUT. It is compiled in, so that a module that was built for older classes is told from
 * one that was not. */
#define LAYOUT 1

static const struct noun *const nouns[] = {&incoming_noun, &turns_noun,  &wire_noun,   &reader_noun,
                                           &writer_noun,   &call_noun, &socket_noun, NULL};

struct names N;
PyObject *ssl_error, *want_read_error, *want_write_error, *nothing, *zero;
Py_ssize_t record_size;

static const struct {
    PyObject **name;
    const char *text;
} names[] = {
    {&N._encrypt, "_encrypt"},
    {&N._end_of_data, "_end_of_data"},
    {&N._fill, "_fill"},
    {&N._with_more, "_with_more"},
    {&N._write_in_turn, "_write_in_turn"},
    {&N.come_to_an_end, "come_to_an_end"},
    {&N.complete, "complete"},
    {&N.drain, "drain"},
    {&N.errno_, "errno"},
    {&N.gettimeout, "gettimeout"},
    {&N.is_late, "is_late"},
    {&N.late, "late"},
    {&N.leave, "leave"},
    {&N.pending, "pending"},
    {&N.push_quietly, "push_quietly"},
    {&N.read, "read"},
    {&N.recv, "recv"},
    {&N.release, "release"},
    {&N.wait_readable, "wait_readable"},
    {&N.wait_writable, "wait_writable"},
    {&N.with_traceback, "with_traceback"},
    {&N.write, "write"},
    {0},
};

PyObject *wanted(PyObject *parts, const char *name)
{
    PyObject *found = PyMapping_GetItemString(parts, name);
    if (!found && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Format(PyExc_TypeError, "%s is missing", name);
    return found;
}

Py_ssize_t wanted_number(PyObject *parts, const char *name)
{
    PyObject *found = wanted(parts, name);
    Py_ssize_t number = found ? PyLong_AsSsize_t(found) : -1;
    Py_XDECREF(found);
    return number;
}

PyObject *fall_back(PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **all = PyMem_New(PyObject *, count + 1), *result;
    if (!all)
        return PyErr_NoMemory();
    all[0] = self;
    if (count)
        memcpy(all + 1, args, (size_t)count * sizeof *args);
    result = PyObject_Vectorcall(original, all, (size_t)nargs + 1, kwnames);
    PyMem_Free(all);
    return result;
}

PyObject *imported(const char *module, const char *name)
{
    PyObject *found, *from = PyImport_ImportModule(module);
    if (!from)
        return NULL;
    found = PyObject_GetAttrString(from, name);
    Py_DECREF(from);
    return found;
}

PyObject *take_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

void give_back_error(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

PyObject *call_handling(PyObject *error, PyObject *name, PyObject *const *args, size_t nargs)
{
    PyObject *before = PyErr_GetHandledException(), *result;
    PyErr_SetHandledException(error);
    result = PyObject_VectorcallMethod(name, args, nargs, NULL);
    PyErr_SetHandledException(before);
    Py_XDECREF(before);
    return result;
}

/* The attribute is a number for a buffer in memory, and the result of a method for OpenSSL's object. */
Py_ssize_t pending_in(PyObject *object)
{
    PyObject *found = PyObject_GetAttr(object, N.pending);
    Py_ssize_t pending;
    if (found && !PyLong_CheckExact(found))
        Py_SETREF(found, PyObject_CallNoArgs(found));
    pending = found ? PyLong_AsSsize_t(found) : -1;
    Py_XDECREF(found);
    return pending;
}

int is_pending(PyObject *object)
{
    Py_ssize_t pending = pending_in(object);
    return pending < 0 ? -1 : pending > 0;
}

int let_go(PyObject *view)
{
    PyObject *error, *done = NULL;
    if (Py_REFCNT(view) > 1) {
        error = PyErr_Occurred() ? take_error() : NULL;
        done = PyObject_CallMethodNoArgs(view, N.release);
        Py_XDECREF(done);
        if (error && done)
            give_back_error(error);
        else
            Py_XDECREF(error);
        if (!done) {
            Py_DECREF(view);
            return -1;
        }
    }
    Py_DECREF(view);
    return 0;
}

static int learn_names(void)
{
    int i;
    for (i = 0; names[i].name; i++)
        if (!(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return -1;
    return 0;
}

static int learn_common(PyObject *parts)
{
    ssl_error = imported("ssl", "SSLError");
    want_read_error = ssl_error ? imported("ssl", "SSLWantReadError") : NULL;
    want_write_error = want_read_error ? imported("ssl", "SSLWantWriteError") : NULL;
    nothing = want_write_error ? PyBytes_FromStringAndSize(NULL, 0) : NULL;
    zero = nothing ? PyLong_FromLong(0) : NULL;
    record_size = zero ? wanted_number(parts, "record") : -1;
    return record_size < 0 ? -1 : 0;
}

static int find_slot(PyObject *type, const struct field *field)
{
    PyObject *descriptor = PyObject_GetAttrString(type, field->name);
    if (!descriptor)
        return -1;
    if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type) ||
        ((PyMemberDescrObject *)descriptor)->d_member->type != T_OBJECT_EX) {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, field->name);
        Py_DECREF(descriptor);
        return -1;
    }
    *field->offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    Py_DECREF(descriptor);
    return 0;
}

static int learn_type(const struct noun *noun, PyObject *parts)
{
    const struct field *field;
    PyObject *type = wanted(parts, noun->name);
    if (!type)
        return -1;
    if (!PyType_Check(type)) {
        PyErr_Format(PyExc_TypeError, "%s is not a class", noun->name);
        return -1;
    }
    for (field = noun->fields; field->name; field++)
        if (find_slot(type, field) < 0)
            return -1;
    *noun->type = (PyTypeObject *)type;
    return 0;
}

/* Adds {(class, name): method} to the result, and notes the present method of the class, unless that is known: another
 * thread may have set these here meanwhile. */
static int add_method(PyObject *result, PyTypeObject *type, const struct method *method)
{
    PyObject *original, *ours, *key;
    int failed = -1;
    original = PyObject_GetAttrString((PyObject *)type, method->definition.ml_name);
    if (!original)
        return -1;
    if (method->original && !*method->original)
        *method->original = Py_NewRef(original);
    ours = PyDescr_NewMethod(type, (PyMethodDef *)&method->definition);
    key = Py_BuildValue("(Os)", type, method->definition.ml_name);
    if (ours && key)
        failed = PyDict_SetItem(result, key, ours);
    Py_XDECREF(key);
    Py_XDECREF(ours);
    Py_DECREF(original);
    return failed;
}

static int add_methods(PyObject *result)
{
    const struct method *method;
    int i;
    for (i = 0; nouns[i]; i++)
        for (method = nouns[i]->methods; method && method->definition.ml_name; method++)
            if (add_method(result, *nouns[i]->type, method) < 0)
                return -1;
    return 0;
}

PyDoc_STRVAR(bind_doc,
             "bind(parts, /)\n--\n\n"
             "Learn the layout of hubbub-net's classes; returns {(class, name): method}. Once per process.\n\n"
             ":raises TypeError: they are not laid out as expected.");

static PyObject *bind_parts(PyObject *module, PyObject *parts)
{
    static PyObject *result;
    PyObject *found;
    int i;
    (void)module;
    if (result)
        return Py_NewRef(result);
    if (learn_names() < 0)
        return NULL;
    for (i = 0; nouns[i]; i++)
        if (learn_type(nouns[i], parts) < 0)
            return NULL;
    if (learn_common(parts) < 0 || learn_records(parts) < 0 || learn_wire(parts) < 0 || learn_reader(parts) < 0 ||
        learn_writer(parts) < 0 || !(found = PyDict_New()))
        return NULL;
    if (add_methods(found) < 0) {
        Py_DECREF(found);
        return NULL;
    }
    result = found;
    return Py_NewRef(result);
}

static PyMethodDef functions[] = {{"bind", bind_parts, METH_O, bind_doc}, {0}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hubbub_net_speed._methods",
    .m_doc = "Methods of hubbub-net in C; see hubbub_net_speed.binding.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__methods(void);

PyMODINIT_FUNC PyInit__methods(void)
{
    PyObject *module = PyModule_Create(&definition);
    if (module && PyModule_AddIntConstant(module, "LAYOUT", LAYOUT) < 0)
        Py_CLEAR(module);
    return module;
}
