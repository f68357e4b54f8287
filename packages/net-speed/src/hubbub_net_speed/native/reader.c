/* hubbub_net._tlsreader.Reader: reading a TLS connection. */
#include "methods.h"

static struct reader {
    PyTypeObject *type;
    Py_ssize_t clear, failure, more, wire;
} R;

static const struct field reader_fields[] = {
    {"clear", &R.clear}, {"_failure", &R.failure}, {"_more", &R.more}, {"wire", &R.wire}, {0}};

static PyObject *python_read, *python_read_into;
static PyObject *partial, *note_if, *noted, *text_read;

/* A read that is under way. */
struct reading {
    PyObject *reader, *wire, *sslobj, *incoming, *sock;
    PyObject *limit;
    char *room;       /* where data goes */
    Py_ssize_t size;  /* of the room */
    Py_ssize_t count; /* what of it is filled */
    Py_ssize_t most;  /* how much is asked for in all: it may be more than there is room for */
    Py_ssize_t records; /* how many of them OpenSSL holds, as far as that is known */
    Py_ssize_t bound;   /* how much data these and what follows them can be, at most */
};

/* Whether nothing but ciphertext is left over, nobody else receives, and the handshake is over. */
static int is_usual(PyObject *self)
{
    PyObject *wire = SLOT(self, R.wire), *incoming, *readers;
    if (!SLOT(self, R.more) || SLOT(self, R.failure) != Py_None || !SLOT(self, R.clear) ||
        !PyBytes_CheckExact(SLOT(self, R.clear)) || PyBytes_GET_SIZE(SLOT(self, R.clear)) || !wire ||
        !Py_IS_TYPE(wire, W.type))
        return 0;
    incoming = SLOT(wire, W.incoming);
    readers = SLOT(wire, W.readers);
    return incoming && Py_IS_TYPE(incoming, I.type) && SLOT(incoming, I.loose) == Py_False && SLOT(incoming, I.bio) &&
           SLOT(incoming, I.chunk) && PyBytes_CheckExact(SLOT(incoming, I.chunk)) && readers &&
           Py_IS_TYPE(readers, T.type) && SLOT(readers, T.held) == Py_False && SLOT(wire, W.sslobj) &&
           SLOT(wire, W.outgoing);
}

static void begin(struct reading *r, PyObject *self, PyObject *sock)
{
    memset(r, 0, sizeof *r);
    r->reader = self;
    r->sock = sock;
    r->wire = Py_NewRef(SLOT(self, R.wire));
    r->sslobj = Py_NewRef(SLOT(r->wire, W.sslobj));
    r->incoming = Py_NewRef(SLOT(r->wire, W.incoming));
    r->limit = limit_of(sock);
}

static void finish(struct reading *r)
{
    Py_XDECREF(r->limit);
    Py_DECREF(r->incoming);
    Py_DECREF(r->sslobj);
    Py_DECREF(r->wire);
}

/* Whether nothing has changed that matters while others ran. */
static int is_settled(const struct reading *r)
{
    PyObject *clear = SLOT(r->reader, R.clear);
    return SLOT(r->incoming, I.loose) == Py_False && clear && PyBytes_CheckExact(clear) && !PyBytes_GET_SIZE(clear) &&
           SLOT(r->reader, R.failure) == Py_None;
}

static int has_chunk(const struct reading *r)
{
    PyObject *chunk = SLOT(r->incoming, I.chunk);
    return !chunk || !PyBytes_CheckExact(chunk) || PyBytes_GET_SIZE(chunk);
}

/* An error of a read: perhaps it means the end of the stream, and then there is none any more. */
static int end_of_data(struct reading *r)
{
    PyObject *error, *done;
    if (!PyErr_ExceptionMatches(PyExc_OSError))
        return -1;
    error = take_error();
    done = call_handling(error, N._end_of_data, (PyObject *[]){r->reader, r->sock, error}, 3);
    Py_DECREF(error);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* partial(sslobj.read, *arguments), until it succeeds. */
static PyObject *complete(struct reading *r, PyObject *size, PyObject *octets)
{
    PyObject *read = PyObject_GetAttr(r->sslobj, N.read), *attempt, *call = NULL, *result = NULL;
    attempt = read ? PyObject_CallFunctionObjArgs(partial, read, size, octets, NULL) : NULL;
    if (attempt)
        call = PyObject_CallFunctionObjArgs((PyObject *)C.type, r->sock, text_read, r->limit, NULL);
    if (call)
        result = PyObject_VectorcallMethod(N.complete, (PyObject *[]){r->wire, call, attempt}, 3, NULL);
    Py_XDECREF(call);
    Py_XDECREF(attempt);
    Py_XDECREF(read);
    return result;
}

/* One read of OpenSSL's into the room: how many bytes; -1: an exception. */
static Py_ssize_t decrypt(struct reading *r)
{
    Py_ssize_t size = smaller(r->size - r->count, record_size), count = -1;
    PyObject *number = PyLong_FromSsize_t(size), *view, *done;
    if (!number)
        return -1;
    view = PyMemoryView_FromMemory(r->room + r->count, size, PyBUF_WRITE);
    if (view) {
        done = PyObject_VectorcallMethod(N.read, (PyObject *[]){r->sslobj, number, view}, 3, NULL);
        if (done) {
            count = PyLong_AsSsize_t(done);
            Py_DECREF(done);
        }
        if (let_go(view) < 0)
            count = -1;
    }
    Py_DECREF(number);
    if (count > 0)
        r->count += count;
    return count;
}

/* Fills the room with what else has come, as _collect() does. */
static int collect(struct reading *r)
{
    Py_ssize_t count, pending;
    while (r->count < r->size) {
        if (r->records <= 0) {
            pending = pending_in(r->sslobj);
            if (pending < 0)
                return -1;
            r->records = pending ? 1 : incoming_feed(r->incoming, (r->most - r->count) / record_size);
            if (r->records <= 0)
                return (int)r->records;
        }
        for (; r->records > 0 && r->count < r->size; r->records--) {
            count = decrypt(r);
            if (count > 0)
                continue;
            if (!count) {
                put(r->incoming, I.ended, Py_True);
                return 0;
            }
            if (PyErr_ExceptionMatches(want_read_error)) {
                PyErr_Clear();
                put(r->reader, R.more, Py_True);
                return 0;
            }
            if (PyErr_ExceptionMatches(ssl_error)) {
                PyObject *error = take_error(), *bare;
                bare = PyObject_VectorcallMethod(N.with_traceback, (PyObject *[]){error, Py_None}, 2, NULL);
                Py_DECREF(error);
                if (!bare)
                    return -1;
                put(r->reader, R.failure, bare);
                Py_DECREF(bare);
                return 0;
            }
            return -1;
        }
    }
    return 0;
}

/* Finds out whether something is left to read, as look_ahead() does. */
static int look_ahead(struct reading *r)
{
    int more = PyBytes_GET_SIZE(SLOT(r->reader, R.clear)) > 0 || SLOT(r->reader, R.failure) != Py_None ||
               SLOT(r->incoming, I.ended) == Py_True;
    if (!more)
        more = incoming_ready(r->incoming);
    if (!more)
        more = is_pending(r->sslobj);
    if (more < 0)
        return -1;
    put(r->reader, R.more, more ? Py_True : Py_False);
    if (more || PyDict_GET_SIZE(noted)) {
        PyObject *stack[] = {r->sock, more ? Py_True : Py_False}, *done = PyObject_Vectorcall(note_if, stack, 2, NULL);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    return 0;
}

/* What OpenSSL or incoming holds from earlier: 1: something; 0: nothing that is whole; -1: an exception. */
static int go_on(struct reading *r)
{
    Py_ssize_t decrypted = pending_in(r->sslobj), given = decrypted < 0 ? -1 : pending_in(SLOT(r->incoming, I.bio)), left;
    left = given < 0 ? -1 : incoming_bound(r->incoming);
    if (left < 0)
        return -1;
    r->bound = decrypted + given + left;
    if (decrypted || given)
        return 1;
    r->records = incoming_feed(r->incoming, r->most / record_size);
    return r->records < 0 ? -1 : r->records > 0;
}

/* Has OpenSSL get something to read. 1: it has; 0: not, although something is left over; -1: an exception. */
static int prepare(struct reading *r, int left_over)
{
    if (left_over)
        return go_on(r);
    r->records = receive_first(r->wire, r->sock, r->limit, r->most / record_size, &r->bound);
    return r->records < 0 ? -1 : 1;
}

/* What complete() does after the end of an attempt: sends what OpenSSL has written. */
static int answer(struct reading *r, int failed)
{
    PyObject *error = NULL, *done;
    int pending = failed;
    if (!failed)
        pending = is_pending(SLOT(r->wire, W.outgoing));
    else
        error = take_error();
    done = pending > 0 ? PyObject_VectorcallMethod(N.push_quietly, (PyObject *[]){r->wire, r->sock}, 2, NULL) : NULL;
    if (pending > 0 && !done)
        Py_CLEAR(error);
    if (error)
        give_back_error(error);
    if (pending > 0 && !done)
        return -1;
    Py_XDECREF(done);
    return pending < 0 ? -1 : 0;
}

/* After the first attempt of a read: 1: it has data, or found the end; 0: it has to be completed; -1: an exception. */
static int judge(struct reading *r, int succeeded, int left_over)
{
    if (succeeded)
        return !left_over || answer(r, 0) == 0 ? 1 : -1;
    if (PyErr_ExceptionMatches(want_read_error)) {
        PyErr_Clear();
        return 0;
    }
    if (left_over && PyErr_ExceptionMatches(ssl_error))
        answer(r, 1);
    return -1;
}

/* The Python method for what is left to do after the first data of a read. */
static PyObject *with_more(struct reading *r, PyObject *data)
{
    PyObject *wanted = PyLong_FromSsize_t(r->most), *records = PyLong_FromSsize_t(r->records - 1), *all = NULL;
    if (wanted && records)
        all = PyObject_VectorcallMethod(N._with_more, (PyObject *[]){r->reader, r->sock, data, wanted, records}, 5, NULL);
    Py_XDECREF(records);
    Py_XDECREF(wanted);
    return all;
}

/* Whether a read of one record is all there is to do. */
static int is_all(const struct reading *r, Py_ssize_t count, Py_ssize_t size)
{
    return 0 < count && count < size && SLOT(r->reader, R.more) == Py_False && r->records < 2 && !has_chunk(r);
}

/* What read() goes on with after its first data, in Python or at once. */
static PyObject *read_rest(struct reading *r, PyObject *data, Py_ssize_t size)
{
    if (!data)
        return end_of_data(r) < 0 ? NULL : Py_NewRef(nothing);
    if (!PyBytes_CheckExact(data) || !is_all(r, PyBytes_GET_SIZE(data), size))
        Py_SETREF(data, with_more(r, data));
    return data;
}

static PyObject *read_complete(struct reading *r)
{
    Py_ssize_t size = smaller(r->most, record_size);
    PyObject *number = PyLong_FromSsize_t(size), *data = number ? complete(r, number, NULL) : NULL;
    Py_XDECREF(number);
    return read_rest(r, data, size);
}

/* The data of one record. */
static PyObject *read_one(struct reading *r, int left_over)
{
    Py_ssize_t size = smaller(r->most, record_size);
    PyObject *number, *data;
    if (r->bound)
        size = smaller(size, r->bound);
    number = PyLong_FromSsize_t(size);
    if (!number)
        return NULL;
    data = PyObject_VectorcallMethod(N.read, (PyObject *[]){r->sslobj, number}, 2, NULL);
    Py_DECREF(number);
    switch (judge(r, data != NULL, left_over)) {
    case 0:
        return read_complete(r);
    case -1:
        Py_CLEAR(data);
    }
    return read_rest(r, data, size);
}

/* The data of several records, decrypted into one object, which nobody sees before it is done. */
static PyObject *read_several(struct reading *r, int left_over)
{
    PyObject *data;
    Py_ssize_t count;
    int verdict;
    r->size = smaller(r->most, r->bound);
    data = PyBytes_FromStringAndSize(NULL, r->size);
    if (!data)
        return NULL;
    r->room = PyBytes_AS_STRING(data);
    count = decrypt(r);
    verdict = judge(r, count >= 0, left_over);
    if (verdict <= 0 || !count) {
        Py_DECREF(data);
        if (verdict < 0)
            return read_rest(r, NULL, 0);
        return verdict ? with_more(r, nothing) : read_complete(r);
    }
    r->records--;
    if (collect(r) < 0) {
        Py_DECREF(data);
        return NULL;
    }
    if (r->count < r->size && _PyBytes_Resize(&data, r->count) < 0)
        return NULL;
    if (look_ahead(r) < 0)
        Py_CLEAR(data);
    return data;
}

static PyObject *read_usual(struct reading *r)
{
    int left_over = SLOT(r->reader, R.more) != Py_False;
    switch (prepare(r, left_over)) {
    case 0:
        return read_complete(r);
    case -1:
        return read_rest(r, NULL, 0);
    }
    if (!is_settled(r) || (r->records < 2 && !has_chunk(r) && r->bound <= record_size))
        return read_one(r, left_over);
    return read_several(r, left_over);
}

static PyObject *method_read(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct reading r;
    PyObject *data = NULL;
    Py_ssize_t most;
    if (kwnames || nargs != 2 || !PyLong_CheckExact(args[1]) || !is_usual(self))
        return fall_back(python_read, self, args, nargs, kwnames);
    most = PyLong_AsSsize_t(args[1]);
    if (most < 1) {
        PyErr_Clear();
        return fall_back(python_read, self, args, nargs, kwnames);
    }
    begin(&r, self, args[0]);
    r.most = most;
    if (r.limit)
        data = read_usual(&r);
    finish(&r);
    return data;
}

/* What read_into() goes on with after its first data, in Python. */
static PyObject *fill(const struct reading *r, PyObject *octets, PyObject *count)
{
    return PyObject_VectorcallMethod(N._fill, (PyObject *[]){r->reader, r->sock, octets, count}, 4, NULL);
}

static PyObject *into_failed(struct reading *r)
{
    return end_of_data(r) < 0 ? NULL : Py_NewRef(zero);
}

static PyObject *into_complete(struct reading *r, PyObject *octets)
{
    PyObject *size = PyLong_FromSsize_t(r->size), *done = size ? complete(r, size, octets) : NULL;
    Py_ssize_t count;
    Py_XDECREF(size);
    if (!done)
        return into_failed(r);
    count = PyLong_AsSsize_t(done);
    if (count < 0)
        Py_CLEAR(done);
    else if (!is_all(r, count, r->size))
        Py_SETREF(done, fill(r, octets, done));
    return done;
}

static PyObject *into_usual(struct reading *r, PyObject *octets)
{
    int left_over = SLOT(r->reader, R.more) != Py_False, verdict;
    Py_ssize_t count;
    PyObject *done;
    switch (prepare(r, left_over)) {
    case 0:
        return into_complete(r, octets);
    case -1:
        return into_failed(r);
    }
    count = decrypt(r);
    verdict = judge(r, count >= 0, left_over);
    if (verdict <= 0)
        return verdict ? into_failed(r) : into_complete(r, octets);
    if (count && !is_all(r, count, r->size) && is_settled(r)) {
        r->records--;
        if (collect(r) < 0 || look_ahead(r) < 0)
            return NULL;
        return PyLong_FromSsize_t(r->count);
    }
    done = PyLong_FromSsize_t(count);
    if (done && !is_all(r, count, r->size))
        Py_SETREF(done, fill(r, octets, done));
    return done;
}

static PyObject *method_read_into(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct reading r;
    PyObject *done = NULL;
    Py_buffer octets;
    if (kwnames || nargs != 2 || !is_usual(self))
        return fall_back(python_read_into, self, args, nargs, kwnames);
    if (PyObject_GetBuffer(args[1], &octets, PyBUF_WRITABLE) < 0)
        return NULL;
    if (octets.len) {
        begin(&r, self, args[0]);
        r.room = octets.buf;
        r.size = r.most = octets.len;
        if (r.limit)
            done = into_usual(&r, args[1]);
        finish(&r);
    } else
        done = Py_NewRef(zero);
    PyBuffer_Release(&octets);
    return done;
}

int learn_reader(PyObject *parts)
{
    note_if = wanted(parts, "note_if");
    noted = note_if ? wanted(parts, "noted") : NULL;
    partial = noted ? imported("functools", "partial") : NULL;
    text_read = partial ? PyUnicode_InternFromString("read") : NULL;
    if (text_read && !PyDict_CheckExact(noted))
        PyErr_SetString(PyExc_TypeError, "noted is not a dict");
    return text_read && PyDict_CheckExact(noted) ? 0 : -1;
}

static const struct method reader_methods[] = {
    {&python_read_into, {"read_into", FASTCALL(method_read_into), "read_into($self, sock, octets)\n--\n\n"}},
    {&python_read, {"read", FASTCALL(method_read), "read($self, sock, wanted)\n--\n\n"}},
    {0},
};

const struct noun reader_noun = {"Reader", &R.type, reader_fields, reader_methods};
