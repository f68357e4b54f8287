/* The module: learns the layout of hubbub-asyncio's classes, and makes the methods for them. */
#include "methods.h"

#include <structmember.h>

/* hubbub_asyncio.acceleration.LAYOUT. It is compiled in, so that a module that was built for older classes is told from
 * one that was not. */
#define LAYOUT 1

static const struct noun *const nouns[] = {&loop_noun, &handle_noun, &watch_noun, &transport_noun,
                                           &rounds_noun, NULL};

struct names N;

static const struct {
    PyObject **name;
    const char *text;
} names[] = {
    {&N.iteration, "iteration"},
    {&N.ready, "ready"},
    {&N.switch_, "switch"},
    {&N.turn_seconds, "turn_seconds"},
    {&N.unschedule, "unschedule"},
    {&N._call_ready, "_call_ready"},
    {&N._park, "_park"},
    {&N._queue_due, "_queue_due"},
    {&N._stay, "_stay"},
    {&N._take_turns, "_take_turns"},
    {&N._wake, "_wake"},
    {&N._still_runs, "_still_runs"},
    {&N._run, "_run"},
    {&N._cancelled, "_cancelled"},
    {&N.append, "append"},
    {&N.popleft, "popleft"},
    {&N.context, "context"},
    {&N.loop, "loop"},
    {&N.data_received, "data_received"},
    {&N._fatal_error, "_fatal_error"},
    {&N._read_ready__on_eof, "_read_ready__on_eof"},
    {&N._write_later, "_write_later"},
    {&N.recv, "recv"},
    {&N.send, "send"},
    {&N.fileno, "fileno"},
    {0},
};

PyObject *wanted(PyObject *parts, const char *name)
{
    PyObject *found = PyMapping_GetItemString(parts, name);
    if (!found && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Format(PyExc_TypeError, "%s is missing", name);
    return found;
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

PyCFunction function_of(PyObject *type, PyObject *name, int flags)
{
    PyObject *descriptor = PyObject_GetAttr(type, name);
    PyMethodDef *definition = NULL;
    if (!descriptor)
        return NULL;
    if (Py_IS_TYPE(descriptor, &PyMethodDescr_Type))
        definition = ((PyMethodDescrObject *)descriptor)->d_method;
    Py_DECREF(descriptor); /* its built-in class keeps it */
    if (definition && (definition->ml_flags & ~METH_COEXIST) == flags)
        return definition->ml_meth;
    PyErr_Format(PyExc_TypeError, "%R has another %U than expected", type, name);
    return NULL;
}

PyObject *take_any_error(void)
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

PyObject *take_error(void)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        return NULL;
    return take_any_error();
}

PyObject *call_handling(PyObject *error, PyObject *callable, PyObject *const *args, size_t nargs)
{
    PyObject *before = PyErr_GetHandledException(), *result;
    PyErr_SetHandledException(error);
    result = PyObject_Vectorcall(callable, args, nargs, NULL);
    PyErr_SetHandledException(before);
    Py_XDECREF(before);
    return result;
}

static int learn_names(void)
{
    int i;
    for (i = 0; names[i].name; i++)
        if (!(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return -1;
    return 0;
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
             "Learn the layout of hubbub-asyncio's classes; returns {(class, name): method}. Once per process.\n\n"
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
    if (learn_callbacks(parts) < 0 || learn_transport(parts) < 0 || learn_rounds(parts) < 0 || !(found = PyDict_New()))
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
    .m_name = "hubbub_asyncio_speed._methods",
    .m_doc = "Methods of hubbub-asyncio in C; see hubbub_asyncio_speed.binding.",
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
