/*
 * Heads that come again, to the byte: what was made of one serves the next. hubbub_server.http.request.HeadParser
 * remembers request lines and blocks of fields, of the same length and likewise without what could be a secret.
 *
 * A head is kept when it comes for the second time. Its environ is copied as a whole then, with what every request's
 * environ starts with; that may change, so it is held against what it was.
 */
#include "usual.h"

#include <stddef.h>

/* -- what every environ starts with -------------------------------------------------------------------------------- */

#if PY_VERSION_HEX < 0x030C0000
/* The version of a dict, which no other has, nor the same one after a change. */
static PyObject *entries_of(PyObject *base)
{
    return PyLong_FromUnsignedLongLong(((PyDictObject *)base)->ma_version_tag);
}

static int has_entries(PyObject *base, PyObject *entries)
{
    return PyLong_AsUnsignedLongLong(entries) == ((PyDictObject *)base)->ma_version_tag;
}
#else
/* Keys and values, in turn. */
static PyObject *entries_of(PyObject *base)
{
    PyObject *entries = PyTuple_New(2 * PyDict_GET_SIZE(base)), *key, *value;
    Py_ssize_t place = 0, i = 0;
    while (entries && PyDict_Next(base, &place, &key, &value)) {
        PyTuple_SET_ITEM(entries, i++, Py_NewRef(key));
        PyTuple_SET_ITEM(entries, i++, Py_NewRef(value));
    }
    return entries;
}

static int has_entries(PyObject *base, PyObject *entries)
{
    PyObject *key, *value;
    Py_ssize_t place = 0, i = 0, size = PyTuple_GET_SIZE(entries);
    if (2 * PyDict_GET_SIZE(base) != size)
        return 0;
    for (; PyDict_Next(base, &place, &key, &value); i += 2)
        if (key != PyTuple_GET_ITEM(entries, i) || value != PyTuple_GET_ITEM(entries, i + 1))
            return 0;
    return 1;
}
#endif

/* Whether the environ of a head was made over this base, as it is now. */
int is_made_over(const struct known_head *known, PyObject *base)
{
    return known->base == base && has_entries(base, known->entries);
}

/* -- the heads ----------------------------------------------------------------------------------------------------- */

/* The head at the beginning of the data, if it was seen. */
struct known_head *find_head(struct usual *self, PyObject *data)
{
    struct known_head *known;
    for (known = self->heads; known < self->heads + HEADS; known++)
        if (known->size && known->size <= PyBytes_GET_SIZE(data) &&
            !memcmp(PyBytes_AS_STRING(data), known->text, (size_t)known->size))
            return known;
    return NULL;
}

/* Puts another in its place. What was there goes last: that may call anything. */
static void replace(struct known_head *known, const struct known_head *made)
{
    PyObject *old[] = {known->line, known->meaning, known->environ, known->base, known->entries};
    size_t i;
    known->line = made->line;
    known->meaning = made->meaning;
    known->environ = made->environ;
    known->base = made->base;
    known->entries = made->entries;
    known->length = made->length;
    known->fields = made->fields;
    known->size = made->size;
    for (i = 0; i < Py_ARRAY_LENGTH(old); i++)
        Py_XDECREF(old[i]);
}

static void note_head(struct known_head *known, const char *text, Py_ssize_t size)
{
    struct known_head seen;
    memset(&seen, 0, offsetof(struct known_head, text));
    memcpy(known->text, text, (size_t)size);
    seen.size = size;
    replace(known, &seen);
}

static void drop_made(struct known_head *made)
{
    Py_XDECREF(made->line);
    Py_XDECREF(made->meaning);
    Py_XDECREF(made->environ);
    Py_XDECREF(made->base);
    Py_XDECREF(made->entries);
}

/* For a head that was seen before. Without memory for it, it stays one that was seen once. */
static void keep_objects(struct usual *self, PyObject *data, PyObject *base, const struct request *request)
{
    struct known_head made, *known;
    memset(&made, 0, offsetof(struct known_head, text));
    made.line = Py_NewRef(request->line);
    made.meaning = Py_NewRef(request->meaning);
    made.base = Py_NewRef(base);
    made.length = request->length;
    made.fields = request->fields;
    made.size = request->size;
    made.entries = entries_of(base);
    made.environ = made.entries ? PyDict_Copy(request->environ) : NULL;
    known = made.environ ? find_head(self, data) : NULL; /* only now: what was called may have done anything */
    if (known)
        replace(known, &made);
    else
        drop_made(&made);
    PyErr_Clear();
}

/* After a head was read, and before its environ has anything of the connection. */
void keep_head(struct usual *self, PyObject *data, const struct head *head, PyObject *base,
               const struct request *request)
{
    if (find_head(self, data))
        keep_objects(self, data, base, request);
    else if (head->is_common && head->size <= MOST_OF_HEAD && head->fields - 2 <= MOST_OF_LINE) {
        self->replaced = (self->replaced + 1) % HEADS;
        note_head(&self->heads[self->replaced], PyBytes_AS_STRING(data), head->size);
    }
}

int visit_heads(struct usual *self, visitproc visit, void *arg)
{
    struct known_head *known;
    for (known = self->heads; known < self->heads + HEADS; known++) {
        Py_VISIT(known->line);
        Py_VISIT(known->meaning);
        Py_VISIT(known->environ);
        Py_VISIT(known->base);
        Py_VISIT(known->entries);
    }
    return 0;
}

void forget_heads(struct usual *self)
{
    struct known_head *known;
    for (known = self->heads; known < self->heads + HEADS; known++)
        note_head(known, "", 0);
}
