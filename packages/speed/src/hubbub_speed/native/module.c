/* The module: learns the layout of core's classes, and makes the methods for them. */
#include "methods.h"

#include <structmember.h>

/* The version of core's classes that these methods are made for: hubbub.acceleration.LAYOUT. It is compiled in, so that
 * a module that was built for older classes is told from one that was not. */
#define LAYOUT 20

static const struct noun *const nouns[] = {
    &readiness_noun,
    &direction_noun,
    &local_noun,
    &awaitable_noun,
    &event_noun,
    &result_noun,
    &turn_noun,
    &ring_noun,
    &timers_noun,
    &waiter_noun,
    &waitqueue_noun,
    &semaphore_noun,
    &queue_noun,
    &socket_noun,
    &datagram_noun,
    &timeout_noun,
    &latch_noun,
    &lock_noun,
    &rlock_noun,
    &thread_rlock_noun,
    &separation_noun,
    &pauses_noun,
    &workers_noun,
    &worker_noun,
    &task_noun,
    &greenlet_noun,
    &logs_noun,
    NULL,
};

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
    for (field = noun->fields; field && field->name; field++)
        if (find_slot(type, field) < 0)
            return -1;
    *noun->type = (PyTypeObject *)type;
    return 0;
}

/* Adds {(class, name): method} to the result, and notes the present method of the class. */
static int add_method(PyObject *result, PyTypeObject *type, const struct method *method)
{
    PyObject *original, *ours, *key;
    int failed = -1;
    original = PyObject_GetAttrString((PyObject *)type, method->definition.ml_name);
    if (!original)
        return -1;
    if (method->original)
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

/* Adds {(class, name): special method} to the result. */
static int add_slot(PyObject *result, PyTypeObject *type, const struct slot *slot)
{
    PyObject *model = PyObject_GetAttrString((PyObject *)&PyBaseObject_Type, slot->name), *ours = NULL, *key;
    int failed = -1;
    if (slot->original && !(*slot->original = PyObject_GetAttrString((PyObject *)type, slot->name)))
        Py_CLEAR(model);
    if (model && Py_IS_TYPE(model, &PyWrapperDescr_Type))
        ours = PyDescr_NewWrapper(type, ((PyWrapperDescrObject *)model)->d_base, slot->function);
    else if (model)
        PyErr_Format(PyExc_TypeError, "object has no slot %s", slot->name);
    key = Py_BuildValue("(Os)", type, slot->name);
    if (ours && key)
        failed = PyDict_SetItem(result, key, ours);
    Py_XDECREF(key);
    Py_XDECREF(ours);
    Py_XDECREF(model);
    return failed;
}

static int add_methods(PyObject *result)
{
    int i;
    const struct method *method;
    const struct slot *slot;
    for (i = 0; nouns[i]; i++) {
        for (method = nouns[i]->methods; method && method->definition.ml_name; method++)
            if (add_method(result, *nouns[i]->type, method) < 0)
                return -1;
        for (slot = nouns[i]->slots; slot && slot->name; slot++)
            if (add_slot(result, *nouns[i]->type, slot) < 0)
                return -1;
    }
    return 0;
}

PyDoc_STRVAR(bind_doc,
             "bind(parts, /)\n--\n\n"
             "Learn the layout of core's classes; returns {(class, name): method}. Once per process.\n\n"
             ":raises TypeError: core is not laid out as expected.");

static PyObject *bind_parts(PyObject *module, PyObject *parts)
{
    static PyObject *result;
    PyObject *found;
    int i;
    (void)module;
    if (result)
        return Py_NewRef(result);
    for (i = 0; nouns[i]; i++)
        if (learn_type(nouns[i], parts) < 0)
            return NULL;
    if (learn_common(parts) < 0 || learn_socket() < 0 || learn_handover() < 0 || learn_workers() < 0 ||
        learn_eventlog() < 0 || learn_greenlet(parts) < 0 || !(found = PyDict_New()))
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
    .m_name = "hubbub_speed._methods",
    .m_doc = "Methods of hubbub's core in C; see hubbub_speed.methods.",
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
