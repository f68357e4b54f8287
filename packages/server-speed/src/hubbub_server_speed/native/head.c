/*
 * Reads the head of a request: RFC 9112, sections 2 to 5, with the additions and restrictions of
 * hubbub_server.http.request, whose regular expressions are the tables here.
 */
#include "usual.h"

#include <stdint.h>

enum { TOKEN = 1, PATH = 2, QUERY = 4, VALUE = 8, HOST_NAME = 16, DIGIT = 32, HEX = 64 };
enum { MOST_ESCAPED = 1024, MOST_DIGITS = 18, MOST_KEPT = 256 };

static unsigned char classes[256];
static struct {
    const char *text;
    Py_ssize_t size;
    PyObject *name;
} methods[] = {{"GET", 3, NULL},    {"POST", 4, NULL},    {"HEAD", 4, NULL}, {"PUT", 3, NULL},
               {"DELETE", 6, NULL}, {"OPTIONS", 7, NULL}, {"PATCH", 5, NULL}};

static int classes_of(int c)
{
    int found = 0, is_digit = c >= '0' && c <= '9', is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    int is_word = is_digit || is_letter;
    if (is_word || (c && c < 128 && strchr("!#$%&'*+-.^_`|~", c)))
        found |= TOKEN;
    if (c > 32 && c != 127 && c != '#')
        found |= QUERY | (c != '?' && c != '\\' ? PATH : 0);
    if (c == '\t' || (c >= 32 && c != 127))
        found |= VALUE;
    if (is_word || (c && c < 128 && strchr("-._~!$&'()*+;=", c)))
        found |= HOST_NAME;
    if (is_digit)
        found |= DIGIT;
    if (is_digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        found |= HEX;
    return found;
}

int learn_methods(void)
{
    size_t i;
    for (i = 0; i < 256; i++)
        classes[i] = (unsigned char)classes_of((int)i);
    for (i = 0; i < Py_ARRAY_LENGTH(methods); i++)
        if (!(methods[i].name = PyUnicode_InternFromString(methods[i].text)))
            return FAILED;
    return DONE;
}

static inline int is(const char *c, int class)
{
    return classes[(unsigned char)*c] & class;
}

/* -- the request line ---------------------------------------------------------------------------------------------- */

static const char *read_method(const char *c, const char *end, struct head *head)
{
    size_t i;
    for (i = 0; i < Py_ARRAY_LENGTH(methods); i++)
        if (end - c > methods[i].size && c[methods[i].size] == ' ' &&
            !memcmp(c, methods[i].text, (size_t)methods[i].size)) {
            head->method = methods[i].name;
            return c + methods[i].size + 1;
        }
    return NULL;
}

/* "METHOD /path?query HTTP/1.1" and its line end; returns what follows. Every loop ends at a CR, if not before. */
static const char *read_request_line(const char *c, const char *end, struct head *head)
{
    static const char version[] = " HTTP/1.1\r\n";
    c = read_method(c, end, head);
    if (!c || *c != '/')
        return NULL;
    head->target.start = head->path.start = c;
    head->is_escaped = 0;
    for (; c < end && is(c, PATH); c++)
        head->is_escaped |= *c == '%';
    head->path.size = c - head->path.start;
    head->query.start = c;
    if (c < end && *c == '?')
        for (head->query.start = ++c; c < end && is(c, QUERY); c++)
            ;
    head->query.size = c - head->query.start;
    head->target.size = c - head->target.start;
    if (end - c < (Py_ssize_t)sizeof version - 1 || memcmp(c, version, sizeof version - 1))
        return NULL;
    return c + sizeof version - 1;
}

/* Latin-1, as PEP 3333 has it. */
static PyObject *as_str(struct text text)
{
    return PyUnicode_DecodeLatin1(text.start, text.size, NULL);
}

/* -- the fields ---------------------------------------------------------------------------------------------------- */

/* Where the first byte is that may not stand in a value. The text has a byte that may not. */
static const char *end_of_value(const char *c, const char *end)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    for (;;) {
        for (; end - c >= 8; c += 8) {
            uint64_t word, deleted;
            memcpy(&word, c, 8);
            deleted = word ^ ones * 0x7f;
            if ((((word - ones * 0x20) & ~word) | ((deleted - ones) & ~deleted)) & tops)
                break; /* one of the eight is a control character or a DEL */
        }
        for (; c < end && is(c, VALUE); c++)
            if (*c == '\t' && end - c > 8) {
                c++; /* a tab is none of those that end it: go on by eights */
                break;
            }
        if (c >= end || !is(c, VALUE))
            return c;
    }
}

static int is_host(struct text value)
{
    const char *c = value.start, *end = c + value.size, *digits;
    while (c < end && is(c, HOST_NAME))
        c++;
    if (c == value.start)
        return 0;
    if (c == end)
        return 1;
    if (*c++ != ':')
        return 0;
    for (digits = c; c < end && is(c, DIGIT); c++)
        ;
    return c == end && c - digits <= 5;
}

static int is_keep_alive(struct text value)
{
    return value.size == 10 && (!memcmp(value.start, "keep-alive", 10) || !memcmp(value.start, "Keep-Alive", 10));
}

static int read_length(struct usual *self, struct text value, struct head *head)
{
    Py_ssize_t i;
    if (value.size < 1 || value.size > MOST_DIGITS)
        return UNUSUAL;
    head->length = 0;
    for (i = 0; i < value.size; i++) {
        if (!is(value.start + i, DIGIT))
            return UNUSUAL;
        head->length = head->length * 10 + (value.start[i] - '0');
    }
    return self->body_bytes < 0 || head->length <= self->body_bytes;
}

/* What a field means, if that is usual. */
static int heed(struct usual *self, enum kind kind, struct text value, struct head *head, int *hosts)
{
    switch (kind) {
    case PLAIN:
    case REPEATED:
        return DONE;
    case HOST:
        return ++*hosts == 1 && is_host(value);
    case CONNECTION:
        head->says_keep_alive = is_keep_alive(value);
        return head->says_keep_alive;
    case LENGTH:
        return read_length(self, value, head);
    default:
        return UNUSUAL;
    }
}

/* Reads the name of a field. Clients send theirs in the same order again and again. */
static int read_name(struct usual *self, const char *start, const char *end, Py_ssize_t place, struct name **name)
{
    const char *c = start;
    int found;
    *name = self->expected[place];
    if (*name && (*name)->size && end - c > (*name)->size && c[(*name)->size] == ':' &&
        !memcmp(c, (*name)->text, (*name)->size))
        return DONE;
    while (c < end && is(c, TOKEN))
        c++;
    if (c == start || c == end || *c != ':')
        return UNUSUAL;
    found = find_name(self, start, c - start, name);
    if (found == DONE)
        self->expected[place] = *name;
    return found;
}

/* Whether the text begins with the value that was read last, and the end of the line. */
static int is_known(const struct name *name, const char *c, const char *end)
{
    Py_ssize_t size = name->value ? PyUnicode_GET_LENGTH(name->value) : 0;
    return size && end - c >= size + 2 && c[size] == '\r' && c[size + 1] == '\n' &&
           !memcmp(c, PyUnicode_1BYTE_DATA(name->value), (size_t)size);
}

/* Keeps a value for the next request that has the same. Returns whether it is kept. */
static int keep_value(struct name *name, struct text value)
{
    PyObject *made;
    if (name->kind < REPEATED || name->kind > CONNECTION || !value.size || value.size > MOST_KEPT)
        return 0;
    made = as_str(value);
    if (!made)
        return FAILED;
    Py_XSETREF(name->value, made);
    return 1;
}

/* Reads one field and moves *at behind its line end. */
static int read_field(struct usual *self, const char **at, const char *end, struct head *head, int *hosts)
{
    const char *c;
    struct line *line = &head->lines[head->count];
    struct name *name;
    int found, known;
    if (head->count >= MOST_FIELDS || head->count >= self->header_count)
        return UNUSUAL;
    found = read_name(self, *at, end, head->count, &name);
    if (found != DONE)
        return found;
    for (c = *at + name->size + 1; c < end && (*c == ' ' || *c == '\t'); c++)
        ;
    line->value.start = c;
    known = is_known(name, c, end);
    c = known ? c + PyUnicode_GET_LENGTH(name->value) : end_of_value(c, end);
    if (end - c < 2 || c[0] != '\r' || c[1] != '\n' || (self->field_bytes >= 0 && c - *at > self->field_bytes))
        return UNUSUAL;
    *at = c + 2;
    while (c > line->value.start && (c[-1] == ' ' || c[-1] == '\t'))
        c--;
    line->value.size = c - line->value.start;
    if (heed(self, name->kind, line->value, head, hosts) != DONE)
        return UNUSUAL;
    head->is_common &= name->kind != PLAIN;
    if (!known)
        known = keep_value(name, line->value);
    if (known < 0)
        return FAILED;
    line->variable = Py_NewRef(name->variable);
    line->lowered = Py_NewRef(name->lowered);
    line->known = known ? Py_NewRef(name->value) : NULL;
    head->count++;
    return DONE;
}

void drop_head(struct head *head)
{
    while (head->count) {
        struct line *line = &head->lines[--head->count];
        Py_DECREF(line->variable);
        Py_DECREF(line->lowered);
        Py_XDECREF(line->known);
    }
}

/* Reads a whole head at the beginning of the text, which may go on behind it. If DONE, it is to be dropped. */
int read_head(struct usual *self, const char *text, Py_ssize_t size, struct head *head)
{
    const char *c, *end = text + size;
    int hosts = 0, found = DONE;
    head->count = 0;
    head->length = 0;
    head->says_keep_alive = 0;
    head->is_common = 1;
    c = read_request_line(text, end, head);
    if (!c || c - text - 2 > self->request_line)
        return UNUSUAL;
    head->fields = c - text;
    while (found == DONE && c < end && *c != '\r')
        found = read_field(self, &c, end, head, &hosts);
    head->size = c + 2 - text;
    if (found == DONE && (end - c < 2 || c[1] != '\n' || head->size > self->header_bytes || hosts != 1))
        found = UNUSUAL;
    if (found != DONE)
        drop_head(head);
    return found;
}

/* -- what is made of it -------------------------------------------------------------------------------------------- */

static int hex(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

/* A path without its escapes, as urllib.parse.unquote_to_bytes has it: what is no escape stays. */
static PyObject *unescaped(struct text path)
{
    char plain[MOST_ESCAPED];
    const char *c = path.start, *end = c + path.size;
    Py_ssize_t size = 0;
    while (c < end)
        if (*c == '%' && end - c > 2 && is(c + 1, HEX) && is(c + 2, HEX)) {
            plain[size++] = (char)(hex(c[1]) << 4 | hex(c[2]));
            c += 3;
        } else
            plain[size++] = *c++;
    return PyUnicode_DecodeLatin1(plain, size, NULL);
}

/* An empty named tuple, to be filled at once. */
static PyObject *new_named(PyObject *type, Py_ssize_t size)
{
    PyObject *made = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, size);
#if PY_VERSION_HEX >= 0x030E0000
    if (made)
        ((PyTupleObject *)made)->ob_hash = -1; /* not known yet: PyTuple_Type.tp_new */
#endif
    return made;
}

/* A Head. NULL without an exception: it is unusual after all. */
PyObject *request_line_of(const struct head *head)
{
    PyObject *made;
    if (head->is_escaped && head->path.size > MOST_ESCAPED)
        return NULL;
    made = new_named(Part.Head, 7);
    if (!made)
        return NULL;
    PyTuple_SET_ITEM(made, 0, Py_NewRef(head->method));
    PyTuple_SET_ITEM(made, 1, as_str(head->target));
    PyTuple_SET_ITEM(made, 2, head->is_escaped ? unescaped(head->path) : as_str(head->path));
    PyTuple_SET_ITEM(made, 3, as_str(head->query));
    PyTuple_SET_ITEM(made, 4, Py_NewRef(Name.http11));
    PyTuple_SET_ITEM(made, 5, Py_NewRef(Name.one));
    PyTuple_SET_ITEM(made, 6, Py_NewRef(Py_None));
    if (!PyTuple_GET_ITEM(made, 1) || !PyTuple_GET_ITEM(made, 2) || !PyTuple_GET_ITEM(made, 3))
        Py_CLEAR(made);
    return made;
}

PyObject *meaning_of(const struct head *head)
{
    PyObject *made;
    if (!head->length)
        return Py_NewRef(head->says_keep_alive ? Name.keep_alive : Part.nothing);
    made = new_named(Part.Meaning, 4);
    if (!made)
        return NULL;
    PyTuple_SET_ITEM(made, 0, PyLong_FromLongLong(head->length));
    PyTuple_SET_ITEM(made, 1, Py_NewRef(head->says_keep_alive ? Py_True : Py_None));
    PyTuple_SET_ITEM(made, 2, Py_NewRef(Py_False));
    PyTuple_SET_ITEM(made, 3, Py_NewRef(Py_False));
    if (!PyTuple_GET_ITEM(made, 0))
        Py_CLEAR(made);
    return made;
}

/* Sets the variables of the fields. UNUSUAL: one is there more than once, or in the environ of every request. */
int put_fields(PyObject *environ, const struct head *head)
{
    Py_ssize_t i, size = PyDict_GET_SIZE(environ);
    for (i = 0; i < head->count; i++) {
        const struct line *line = &head->lines[i];
        PyObject *value;
        int failed;
        if (!PyUnicode_GET_LENGTH(line->variable))
            continue;
        value = line->known ? Py_NewRef(line->known) : as_str(line->value);
        failed = !value || PyDict_SetItem(environ, line->variable, value) < 0;
        Py_XDECREF(value);
        if (failed)
            return FAILED;
        if (PyDict_GET_SIZE(environ) != ++size)
            return UNUSUAL;
    }
    return DONE;
}

PyObject *raw_fields_of(const struct head *head)
{
    PyObject *pairs = PyList_New(0), *value, *pair;
    Py_ssize_t i;
    for (i = 0; pairs && i < head->count; i++) {
        const struct line *line = &head->lines[i];
        int failed;
        if (!PyBytes_GET_SIZE(line->lowered))
            continue;
        value = PyBytes_FromStringAndSize(line->value.start, line->value.size);
        pair = value ? PyTuple_Pack(2, line->lowered, value) : NULL;
        failed = !pair || PyList_Append(pairs, pair) < 0;
        Py_XDECREF(pair);
        Py_XDECREF(value);
        if (failed)
            Py_CLEAR(pairs);
    }
    return pairs;
}
