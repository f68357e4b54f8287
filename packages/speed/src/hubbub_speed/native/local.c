/*
 * local: attributes of the current greenlet.
 * The three methods go into the slots of the type, as those of object do: so an attribute is read without a look-up of
 * the method by its name.
 */
#include "methods.h"

static struct {
    PyTypeObject *type;
    Py_ssize_t entries, last;
} O;

static const struct field local_fields[] = {{"_local__entries", &O.entries}, {"_local__last", &O.last}, {0}};

/* Whether an entry (a weak reference and attributes) belongs to this greenlet. */
static int is_of(PyObject *entry, PyObject *greenlet)
{
    PyObject *reference, *found;
    if (!entry || !PyTuple_CheckExact(entry) || PyTuple_GET_SIZE(entry) != 2)
        return 0;
    reference = PyTuple_GET_ITEM(entry, 0);
#if PY_VERSION_HEX >= 0x030D0000
    if (PyWeakref_GetRef(reference, &found) <= 0)
        return 0;
    Py_DECREF(found); /* the current greenlet stays alive without this reference */
#else
    found = PyWeakref_GET_OBJECT(reference);
#endif
    return found == greenlet;
}

/* The current greenlet's attributes, a new reference. */
static PyObject *attributes(PyObject *self)
{
    PyObject *current = current_greenlet(), *last = SLOT(self, O.last), *key, *entry = NULL;
    if (!current)
        return NULL;
    if (is_of(last, current)) {
        Py_DECREF(current);
        return Py_NewRef(PyTuple_GET_ITEM(last, 1));
    }
    key = SLOT(self, O.entries) ? PyLong_FromVoidPtr(current) : NULL;
    if (key)
        entry = PyDict_GetItemWithError(SLOT(self, O.entries), key);
    Py_XDECREF(key);
    if (is_of(entry, current)) {
        Py_INCREF(entry);
        put(self, O.last, entry);
        Py_DECREF(entry);
        Py_DECREF(current);
        return Py_NewRef(PyTuple_GET_ITEM(SLOT(self, O.last), 1));
    }
    Py_DECREF(current);
    return PyErr_Occurred() ? NULL : PyObject_CallOneArg(local_attributes, self);
}

static int is_dict_name(PyObject *name)
{
    return name == N.__dict__ || (PyUnicode_Check(name) && PyUnicode_Compare(name, N.__dict__) == 0);
}

static int is_data(PyObject *self, PyObject *name)
{
    PyObject *found = _PyType_Lookup(Py_TYPE(self), name);
    return found && Py_TYPE(found)->tp_descr_set;
}

static PyObject *local_getattro(PyObject *self, PyObject *name)
{
    PyObject *mine = attributes(self), *value;
    if (!mine)
        return NULL;
    if (is_dict_name(name))
        return mine;
    value = PyDict_GetItemWithError(mine, name);
    if (value && is_data(self, name))
        value = NULL;
    Py_XINCREF(value);
    Py_DECREF(mine);
    if (value || PyErr_Occurred())
        return value;
    return PyObject_GenericGetAttr(self, name);
}

/* Sets an attribute, or deletes it if the value is NULL. */
static int local_setattro(PyObject *self, PyObject *name, PyObject *value)
{
    PyObject *mine;
    int failed;
    if (is_dict_name(name)) {
        PyErr_Format(PyExc_AttributeError, "'%.100s' object attribute '__dict__' is read-only",
                     Py_TYPE(self)->tp_name);
        return -1;
    }
    mine = attributes(self);
    if (!mine)
        return -1;
    if (is_data(self, name))
        failed = PyObject_GenericSetAttr(self, name, value);
    else if (value)
        failed = PyDict_SetItem(mine, name, value);
    else if ((failed = PyDict_DelItem(mine, name)) < 0 && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_SetObject(PyExc_AttributeError, name);
    Py_DECREF(mine);
    return failed;
}

static const struct slot local_slots[] = {
    {"__getattribute__", (void *)local_getattro},
    {"__setattr__", (void *)local_setattro},
    {"__delattr__", (void *)local_setattro},
    {0},
};

const struct noun local_noun = {"hubbub.local.local", &O.type, local_fields, NULL, local_slots};
