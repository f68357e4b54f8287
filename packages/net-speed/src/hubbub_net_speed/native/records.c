/* hubbub_net._tlsrecords.Incoming: ciphertext that has come, on its way to OpenSSL. */
#include "methods.h"

enum { HEADER = 5, DATA = 23, FIRST_TYPE = 20, LAST_TYPE = 24 };

struct incoming I;

static const struct field incoming_fields[] = {
    {"bio", &I.bio},       {"chunk", &I.chunk},   {"ended", &I.ended},     {"_header", &I.header},
    {"_large", &I.large},  {"_length", &I.length}, {"loose", &I.loose},    {"_missing", &I.missing},
    {"_paired", &I.paired}, {"_start", &I.start}, {"_whole", &I.whole},    {0}};

static PyObject *python_take, *python_feed;
static Py_ssize_t large, longest, most_at_once, receive_size;

/* What is in hand, and where: the slots as C sees them. The object keeps the chunk. */
struct hand {
    PyObject *chunk;
    const unsigned char *bytes; /* from the start on */
    Py_ssize_t start, left, missing;
};

/* The number in a slot; -1 with an exception if there is none. */
static Py_ssize_t number_in(PyObject *self, Py_ssize_t offset)
{
    if (!SLOT(self, offset)) {
        PyErr_SetString(PyExc_AttributeError, "Incoming is not initialised");
        return -1;
    }
    return PyLong_AsSsize_t(SLOT(self, offset));
}

static int look(PyObject *self, struct hand *hand)
{
    hand->chunk = SLOT(self, I.chunk);
    if (!hand->chunk || !PyBytes_CheckExact(hand->chunk) || !SLOT(self, I.bio) || !SLOT(self, I.loose)) {
        PyErr_SetString(PyExc_AttributeError, "Incoming is not initialised");
        return -1;
    }
    hand->start = number_in(self, I.start);
    if (hand->start < 0)
        return -1;
    hand->missing = number_in(self, I.missing);
    if (hand->missing < 0)
        return -1;
    hand->left = PyBytes_GET_SIZE(hand->chunk) - hand->start;
    hand->bytes = (const unsigned char *)PyBytes_AS_STRING(hand->chunk) + hand->start;
    return 0;
}

static Py_ssize_t length_in(const unsigned char *header)
{
    return HEADER + ((Py_ssize_t)header[3] << 8 | header[4]);
}

static int is_bad(const unsigned char *header, Py_ssize_t length)
{
    return header[0] < FIRST_TYPE || header[0] > LAST_TYPE || header[1] != 3 || length > longest;
}

/* _learn() */
static int learn_header(PyObject *self, const unsigned char *bytes)
{
    Py_ssize_t whole = length_in(bytes);
    int is_large = large <= whole && whole <= longest;
    PyObject *header = PyBytes_FromStringAndSize((const char *)bytes, HEADER);
    if (!header)
        return -1;
    put(self, I.header, header);
    Py_DECREF(header);
    if (put_number(self, I.whole, whole) < 0 || put_number(self, I.large, is_large ? whole : 0) < 0)
        return -1;
    put(self, I.paired, is_large && bytes[0] == DATA && bytes[1] == 3 ? Py_True : Py_False);
    return 0;
}

static int is_known(PyObject *self, const unsigned char *bytes, Py_ssize_t left)
{
    PyObject *header = SLOT(self, I.header);
    return left >= HEADER && header && PyBytes_CheckExact(header) && PyBytes_GET_SIZE(header) == HEADER &&
           !memcmp(PyBytes_AS_STRING(header), bytes, HEADER);
}

static int write_to(PyObject *bio, PyObject *data)
{
    PyObject *stack[] = {bio, data}, *done;
    Py_INCREF(bio);
    done = PyObject_VectorcallMethod(N.write, stack, 2, NULL);
    Py_DECREF(bio);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* _give() */
static int give(PyObject *self, const struct hand *hand, Py_ssize_t count)
{
    PyObject *bio = SLOT(self, I.bio), *chunk = Py_NewRef(hand->chunk), *view;
    int failed;
    if (count == PyBytes_GET_SIZE(chunk))
        failed = write_to(bio, chunk);
    else {
        view = PyMemoryView_FromMemory((char *)hand->bytes, count, PyBUF_READ);
        failed = view ? write_to(bio, view) : -1;
        if (view && let_go(view) < 0)
            failed = -1;
    }
    if (!failed) {
        if (count < hand->left)
            failed = put_number(self, I.start, hand->start + count);
        else {
            put(self, I.chunk, nothing);
            put(self, I.start, zero);
        }
    }
    Py_DECREF(chunk);
    return failed;
}

Py_ssize_t incoming_feed(PyObject *self, Py_ssize_t most)
{
    struct hand hand;
    Py_ssize_t want, given, useful = 1;
    if (look(self, &hand) < 0)
        return -1;
    if (!PyBytes_GET_SIZE(hand.chunk))
        return 0;
    if (SLOT(self, I.loose) != Py_False)
        return give(self, &hand, hand.left) < 0 ? -1 : 1;
    want = hand.missing;
    if (!want) {
        if (!is_known(self, hand.bytes, hand.left)) {
            if (hand.left < HEADER)
                return 0;
            if (learn_header(self, hand.bytes) < 0)
                return -1;
        }
        want = number_in(self, I.whole);
        if (want < 0)
            return -1;
        put(self, I.length, SLOT(self, I.large));
        if (want > hand.left || want > longest)
            useful = is_bad(hand.bytes, want); /* OpenSSL reports a bad header at once, without the rest of the record */
        else if (most > 1 && SLOT(self, I.paired) == Py_True && want <= hand.left - want &&
                 is_known(self, hand.bytes + want, hand.left - want)) {
            useful = most_at_once;
            want *= most_at_once;
        }
    } else if (want > hand.left)
        useful = 0;
    given = smaller(want, hand.left);
    if (want - given != hand.missing && put_number(self, I.missing, want - given) < 0)
        return -1;
    return give(self, &hand, given) < 0 ? -1 : useful;
}

/* What follows offset start of one bytes object, and then all of another. */
static PyObject *joined(const struct hand *hand, PyObject *data)
{
    PyObject *both = PyBytes_FromStringAndSize(NULL, hand->left + PyBytes_GET_SIZE(data));
    if (both) {
        memcpy(PyBytes_AS_STRING(both), hand->bytes, (size_t)hand->left);
        memcpy(PyBytes_AS_STRING(both) + hand->left, PyBytes_AS_STRING(data), (size_t)PyBytes_GET_SIZE(data));
    }
    return both;
}

Py_ssize_t incoming_take(PyObject *self, PyObject *data, Py_ssize_t most)
{
    const unsigned char *bytes = (const unsigned char *)PyBytes_AS_STRING(data);
    Py_ssize_t size = PyBytes_GET_SIZE(data), useful = 0, more;
    struct hand hand;
    if (look(self, &hand) < 0)
        return -1;
    if (!PyBytes_GET_SIZE(hand.chunk) && !hand.missing && SLOT(self, I.loose) == Py_False && HEADER < size &&
        size < large && size == length_in(bytes)) { /* mostly: one record, and a small one */
        put(self, I.length, zero);
        return write_to(SLOT(self, I.bio), data) < 0 ? -1 : 1;
    }
    if (PyBytes_GET_SIZE(hand.chunk)) { /* mostly the beginning of a record, which need not be copied */
        useful = incoming_feed(self, 1);
        if (useful < 0 || look(self, &hand) < 0)
            return -1;
    }
    if (hand.start < PyBytes_GET_SIZE(hand.chunk)) {
        data = joined(&hand, data);
        if (!data)
            return -1;
        put(self, I.chunk, data);
        Py_DECREF(data);
    } else
        put(self, I.chunk, data);
    put(self, I.start, zero);
    more = incoming_feed(self, most);
    return more ? more : useful;
}

Py_ssize_t incoming_appetite(PyObject *self)
{
    struct hand hand;
    Py_ssize_t length, begun;
    if (look(self, &hand) < 0)
        return -1;
    length = number_in(self, I.length);
    if (length <= 0)
        return length < 0 ? -1 : receive_size;
    begun = hand.missing ? length - hand.missing : hand.left;
    return receive_size / length * length - ((begun % length) + length) % length;
}

int incoming_ready(PyObject *self)
{
    struct hand hand;
    int pending, loose;
    Py_ssize_t length;
    if (look(self, &hand) < 0)
        return -1;
    if (hand.missing)
        return hand.left >= hand.missing;
    loose = SLOT(self, I.loose) == Py_True;
    pending = is_pending(SLOT(self, I.bio));
    if (pending < 0)
        return -1;
    if (pending && !loose)
        return 1;
    if (loose || hand.left < HEADER)
        return loose && hand.left > 0;
    length = length_in(hand.bytes);
    return length <= hand.left || is_bad(hand.bytes, length);
}

Py_ssize_t incoming_bound(PyObject *self)
{
    struct hand hand;
    if (look(self, &hand) < 0)
        return -1;
    return hand.left + (hand.missing ? longest : 0);
}

/* How many records; -2: it is no small number. */
static Py_ssize_t most_of(PyObject *const *args, Py_ssize_t nargs, Py_ssize_t at)
{
    Py_ssize_t most = 1;
    if (nargs > at) {
        most = PyLong_CheckExact(args[at]) ? PyLong_AsSsize_t(args[at]) : -2;
        if (most == -1 && PyErr_Occurred())
            PyErr_Clear();
        if (most < 0)
            return -2;
    }
    return most;
}

static PyObject *method_take(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t most = most_of(args, nargs, 1), useful;
    if (kwnames || nargs < 1 || nargs > 2 || most < 0 || !PyBytes_CheckExact(args[0]))
        return fall_back(python_take, self, args, nargs, kwnames);
    useful = incoming_take(self, args[0], most);
    return useful < 0 ? NULL : PyLong_FromSsize_t(useful);
}

static PyObject *method_feed(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    Py_ssize_t most = most_of(args, nargs, 0), useful;
    if (kwnames || nargs > 1 || most < 0)
        return fall_back(python_feed, self, args, nargs, kwnames);
    useful = incoming_feed(self, most);
    return useful < 0 ? NULL : PyLong_FromSsize_t(useful);
}

int learn_records(PyObject *parts)
{
    large = wanted_number(parts, "large");
    longest = large < 0 ? -1 : wanted_number(parts, "longest");
    most_at_once = longest < 0 ? -1 : wanted_number(parts, "most");
    receive_size = most_at_once < 0 ? -1 : wanted_number(parts, "receive");
    return receive_size < 0 ? -1 : 0;
}

static const struct method incoming_methods[] = {
    {&python_feed, {"feed", FASTCALL(method_feed), "feed($self, most=1)\n--\n\n"}},
    {&python_take, {"take", FASTCALL(method_take), "take($self, data, most=1)\n--\n\n"}},
    {0},
};

const struct noun incoming_noun = {"Incoming", &I.type, incoming_fields, incoming_methods};
