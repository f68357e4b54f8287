/*
 * The attributes of a server that every request asks for. The server's own classes keep them in slots, which are read in
 * place; a class that has something else by such a name is asked as any object is.
 */
#include "usual.h"

#include <structmember.h>

static PyObject **const attributes[ATTRIBUTES] = {&Name.access_log, &Name.application, &Name.base_env,
                                                  &Name.lends_request, &Name.stopping};

/* The class of the last server, for as long as nothing about it is changed. */
static struct {
    PyTypeObject *type;
    unsigned int version;
    Py_ssize_t offsets[ATTRIBUTES]; /* 0: it has no such slot */
} known;

static Py_ssize_t slot_in(PyTypeObject *type, PyObject *name)
{
    PyObject *descriptor = PyObject_GetAttr((PyObject *)type, name);
    Py_ssize_t offset = 0;
    if (!descriptor)
        PyErr_Clear();
    else if (Py_IS_TYPE(descriptor, &PyMemberDescr_Type) && type->tp_getattro == PyObject_GenericGetAttr &&
             ((PyMemberDescrObject *)descriptor)->d_member->type == T_OBJECT_EX)
        offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    Py_XDECREF(descriptor);
    return offset;
}

static void learn_class(PyTypeObject *type)
{
    Py_ssize_t offsets[ATTRIBUTES];
    int i;
    for (i = 0; i < ATTRIBUTES; i++)
        offsets[i] = slot_in(type, *attributes[i]);
    memcpy(known.offsets, offsets, sizeof offsets);
    known.type = type;
    known.version = type->tp_version_tag;
}

/* An attribute of a server: a new reference. */
PyObject *attribute_of(PyObject *service, enum attribute attribute)
{
    PyTypeObject *type = Py_TYPE(service);
    PyObject *value = NULL;
    if (known.type != type || known.version != type->tp_version_tag || !known.version)
        learn_class(type);
    if (known.type == type && known.version && known.version == type->tp_version_tag && known.offsets[attribute])
        value = SLOT(service, known.offsets[attribute]);
    return value ? Py_NewRef(value) : PyObject_GetAttr(service, *attributes[attribute]);
}

/* Whether it is true. */
int is_set(PyObject *service, enum attribute attribute)
{
    PyObject *value = attribute_of(service, attribute);
    int truth = value == Py_False ? 0 : value == Py_True ? 1 : value ? PyObject_IsTrue(value) : FAILED;
    Py_XDECREF(value);
    return truth;
}
