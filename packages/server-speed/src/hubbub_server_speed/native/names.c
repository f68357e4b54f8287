/* The names of header fields that a parser was asked about. */
#include "usual.h"

static const struct {
    const char *variable;
    enum kind kind;
} meant[] = {
    {"HTTP_HOST", HOST},
    {"HTTP_CONNECTION", CONNECTION},
    {"CONTENT_LENGTH", LENGTH},
    {"HTTP_TRANSFER_ENCODING", OTHER},
    {"HTTP_EXPECT", OTHER},
    {"HTTP_UPGRADE", OTHER},
    {"HTTP_HTTP2_SETTINGS", OTHER},
    /* Nothing that tells who somebody is or what he may do: what is kept here outlives its request. */
    {"HTTP_USER_AGENT", REPEATED},
    {"HTTP_ACCEPT", REPEATED},
    {"HTTP_ACCEPT_ENCODING", REPEATED},
    {"HTTP_ACCEPT_LANGUAGE", REPEATED},
    {"HTTP_CACHE_CONTROL", REPEATED},
    {"HTTP_PRAGMA", REPEATED},
    {"HTTP_PRIORITY", REPEATED},
    {"HTTP_DNT", REPEATED},
    {"HTTP_UPGRADE_INSECURE_REQUESTS", REPEATED},
    {"HTTP_SEC_CH_UA", REPEATED},
    {"HTTP_SEC_CH_UA_MOBILE", REPEATED},
    {"HTTP_SEC_CH_UA_PLATFORM", REPEATED},
    {"HTTP_SEC_FETCH_DEST", REPEATED},
    {"HTTP_SEC_FETCH_MODE", REPEATED},
    {"HTTP_SEC_FETCH_SITE", REPEATED},
    {"HTTP_SEC_FETCH_USER", REPEATED},
    {"HTTP_X_FORWARDED_PROTO", REPEATED},
    {"HTTP_X_REQUESTED_WITH", REPEATED},
    {"CONTENT_TYPE", REPEATED},
};

void forget_names(struct usual *self)
{
    int i;
    self->known = 0;
    for (i = 0; i < NAMES; i++) {
        self->names[i].size = 0;
        Py_CLEAR(self->names[i].variable);
        Py_CLEAR(self->names[i].lowered);
        Py_CLEAR(self->names[i].value);
    }
}

static enum kind kind_of(PyObject *variable)
{
    size_t i;
    for (i = 0; i < Py_ARRAY_LENGTH(meant); i++)
        if (PyUnicode_CompareWithASCIIString(variable, meant[i].variable) == 0)
            return meant[i].kind;
    return PLAIN;
}

/* The place of a name, which is its own or free. */
static struct name *place_of(struct usual *self, const char *text, Py_ssize_t size)
{
    unsigned hash = 2166136261u;
    Py_ssize_t i;
    struct name *name;
    for (i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 16777619u;
    for (hash ^= hash >> 15;; hash++) {
        name = &self->names[hash % NAMES];
        if (!name->size || (name->size == size && !memcmp(name->text, text, (size_t)size)))
            return name;
    }
}

/* Asks the parser. */
static int ask(struct usual *self, const char *text, Py_ssize_t size)
{
    struct name *name;
    PyObject *given = PyBytes_FromStringAndSize(text, size), *variable = NULL, *lowered = NULL;
    char low[sizeof name->text];
    Py_ssize_t i;
    if (given)
        variable = PyObject_CallMethodOneArg(self->parser, Name.variable, given);
    Py_XDECREF(given);
    if (!variable) {
        if (!PyErr_ExceptionMatches(Part.RequestError))
            return FAILED;
        PyErr_Clear(); /* the parser will refuse it again */
        return UNUSUAL;
    }
    if (!PyUnicode_CheckExact(variable)) {
        Py_DECREF(variable);
        return UNUSUAL;
    }
    for (i = 0; i < size; i++)
        low[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 32) : text[i];
    lowered = PyBytes_FromStringAndSize(low, PyUnicode_GET_LENGTH(variable) ? size : 0);
    if (!lowered) {
        Py_DECREF(variable);
        return FAILED;
    }
    PyUnicode_InternInPlace(&variable);
    if (self->known >= NAMES / 2)
        forget_names(self);
    name = place_of(self, text, size); /* only now: the parser may have done anything */
    if (!name->size)
        self->known++;
    memcpy(name->text, text, (size_t)size);
    name->size = (unsigned char)size;
    name->kind = (unsigned char)kind_of(variable);
    Py_XSETREF(name->variable, variable);
    Py_XSETREF(name->lowered, lowered);
    return DONE;
}

/* What is known of a name that is made of the characters of a token. It is known until the next is asked for. */
int find_name(struct usual *self, const char *text, Py_ssize_t size, struct name **found)
{
    int asked;
    if (size > (Py_ssize_t)sizeof (*found)->text)
        return UNUSUAL;
    *found = place_of(self, text, size);
    if ((*found)->size)
        return DONE;
    asked = ask(self, text, size);
    if (asked == DONE)
        *found = place_of(self, text, size);
    return asked;
}
