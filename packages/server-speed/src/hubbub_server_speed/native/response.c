/* start_response, and the response with a body that is there as a whole. */
#include "usual.h"

#include <stddef.h>
#include <time.h>

enum { MOST = 1 << 16 }; /* bytes of a body that is sent together with its head: Exchange.send_whole */

/* -- start_response ------------------------------------------------------------------------------------------------ */

struct start {
    PyObject_HEAD
    PyObject *exchange;
    vectorcallfunc call;
};

/* Has a method of a Response called: the reference. */
PyObject *by_response(PyObject *exchange, PyObject *name, PyObject *const *args, size_t count, PyObject *kwnames)
{
    PyObject *response = PyObject_CallOneArg(Part.Response, exchange), *method, *result;
    if (!response)
        return NULL;
    method = PyObject_GetAttr(response, name);
    Py_DECREF(response);
    if (!method)
        return NULL;
    result = PyObject_Vectorcall(method, args, count, kwnames);
    Py_DECREF(method);
    return result;
}

/* Response.write */
static PyObject *start_write(PyObject *self, PyObject *data)
{
    PyObject *exchange = ((struct start *)self)->exchange;
    int outcome = PyBytes_CheckExact(data) ? send_piece(exchange, data) : UNUSUAL;
    if (outcome == FAILED)
        return NULL;
    if (outcome == DONE)
        Py_RETURN_NONE;
    return by_response(exchange, Name.write, &data, 1, NULL);
}

static PyMethodDef write_definition = {"write", start_write, METH_O, "write($self, data, /)\n--\n\nPEP 3333."};

/* What response_head() was asked for last: its key, and the head. Most applications say the same again. */
static struct {
    PyObject *key, *head;
} last;

static inline int is_same_str(PyObject *one, PyObject *other)
{
    Py_ssize_t size;
    if (one == other)
        return 1;
    if (!PyUnicode_CheckExact(one) || !PyUnicode_IS_COMPACT_ASCII(one) || !PyUnicode_IS_COMPACT_ASCII(other))
        return 0;
    size = PyUnicode_GET_LENGTH(one);
    return size == PyUnicode_GET_LENGTH(other) &&
           !memcmp(PyUnicode_1BYTE_DATA(one), PyUnicode_1BYTE_DATA(other), (size_t)size);
}

/* Whether two pairs are equal, the other being one of str. */
static inline int is_same_pair(PyObject *one, PyObject *other)
{
    return one == other || (PyTuple_CheckExact(one) && PyTuple_GET_SIZE(one) == 2 &&
                            is_same_str(PyTuple_GET_ITEM(one, 0), PyTuple_GET_ITEM(other, 0)) &&
                            is_same_str(PyTuple_GET_ITEM(one, 1), PyTuple_GET_ITEM(other, 1)));
}

/* Whether it is the last that was asked for. Not equal though it may be: what is not ASCII. */
static int is_last(PyObject *status, PyObject *headers)
{
    Py_ssize_t i, count = PyList_GET_SIZE(headers);
    if (!last.key || PyTuple_GET_SIZE(last.key) != count + 1 || !is_same_str(status, PyTuple_GET_ITEM(last.key, 0)))
        return 0;
    for (i = 0; i < count; i++)
        if (!is_same_pair(PyList_GET_ITEM(headers, i), PyTuple_GET_ITEM(last.key, i + 1)))
            return 0;
    return 1;
}

static int is_pair_of_str(PyObject *pair)
{
    return PyTuple_CheckExact(pair) && PyTuple_GET_SIZE(pair) == 2 && PyUnicode_CheckExact(PyTuple_GET_ITEM(pair, 0)) &&
           PyUnicode_CheckExact(PyTuple_GET_ITEM(pair, 1));
}

static void remember(PyObject *key, PyObject *head)
{
    PyObject *old_key = last.key, *old_head = last.head;
    Py_ssize_t i;
    if (!PyUnicode_CheckExact(PyTuple_GET_ITEM(key, 0)))
        return;
    for (i = 1; i < PyTuple_GET_SIZE(key); i++)
        if (!is_pair_of_str(PyTuple_GET_ITEM(key, i)))
            return;
    last.key = Py_NewRef(key);
    last.head = Py_NewRef(head);
    Py_XDECREF(old_key);
    Py_XDECREF(old_head);
}

/* The head that was made for this before, a new reference; NULL: there is none. */
static PyObject *known_head(PyObject *status, PyObject *headers)
{
    PyObject *key, *head;
    Py_ssize_t i, count;
    if (!PyList_CheckExact(headers))
        return NULL;
    if (is_last(status, headers))
        return Py_NewRef(last.head);
    count = PyList_GET_SIZE(headers);
    key = PyTuple_New(count + 1);
    if (!key)
        return NULL;
    PyTuple_SET_ITEM(key, 0, Py_NewRef(status));
    for (i = 0; i < count; i++)
        PyTuple_SET_ITEM(key, i + 1, Py_NewRef(PyList_GET_ITEM(headers, i)));
    head = Py_XNewRef(PyDict_GetItemWithError(Part.heads, key));
    if (head && Py_IS_TYPE(head, ResponseHead.type))
        remember(key, head);
    Py_DECREF(key);
    return head;
}

/* Response.start */
static PyObject *start_call(PyObject *self, PyObject *const *args, size_t flags, PyObject *kwnames)
{
    PyObject *exchange = ((struct start *)self)->exchange, *head;
    Py_ssize_t count = PyVectorcall_NARGS(flags);
    if (count == 2 && !kwnames && SLOT(exchange, Exchange.head) == Py_None) {
        head = known_head(args[0], args[1]);
        if (head && Py_IS_TYPE(head, ResponseHead.type)) {
            put_new(exchange, Exchange.head, head);
            return PyCFunction_New(&write_definition, self);
        }
        Py_XDECREF(head);
        PyErr_Clear(); /* what cannot be looked up is a matter for the method */
    }
    return by_response(exchange, Name.start, args, (size_t)count, kwnames);
}

static PyObject *new_start(PyObject *exchange)
{
    struct start *made = PyObject_GC_New(struct start, &Start);
    if (!made)
        return NULL;
    made->exchange = Py_NewRef(exchange);
    made->call = start_call;
    PyObject_GC_Track(made);
    return (PyObject *)made;
}

static int start_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((struct start *)self)->exchange);
    return 0;
}

static void start_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_DECREF(((struct start *)self)->exchange);
    PyObject_GC_Del(self);
}

/* Without tp_clear: the other objects of a cycle have one. */
PyTypeObject Start = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hubbub_server_speed.start_response",
    .tp_doc = PyDoc_STR("PEP 3333, \"The start_response() Callable\"."),
    .tp_basicsize = sizeof(struct start),
    .tp_vectorcall_offset = offsetof(struct start, call),
    .tp_call = PyVectorcall_Call,
    .tp_traverse = start_traverse,
    .tp_dealloc = start_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
};

/* -- the head as bytes --------------------------------------------------------------------------------------------- */

/* The number of a second, whose object is the same all that second long. */
static long long number_of(PyObject *second)
{
    static PyObject *seen;
    static long long number;
    if (second != seen) {
        number = PyLong_AsLongLong(second);
        Py_XSETREF(seen, Py_NewRef(second));
    }
    return number;
}

/* The present second, as date() has it. */
static int is_today(PyObject *second)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return PyLong_CheckExact(second) && number_of(second) == (long long)now.tv_sec;
}

enum { NOT_KNOWN = -1 }; /* a size */

static int is_size(PyObject *given, Py_ssize_t size)
{
    if (size == NOT_KNOWN)
        return given == Py_None;
    return PyLong_CheckExact(given) && PyLong_AsSsize_t(given) == size;
}

/* Whether a head was made on this date, for a body of this size, for GET over HTTP/1.1 on a connection that stays. */
static int is_made_of(PyObject *made_of, Py_ssize_t size)
{
    PyObject *today = PyList_GET_ITEM(Part.today, 1);
    if (!PyTuple_CheckExact(made_of) || PyTuple_GET_SIZE(made_of) != 5)
        return 0;
    return PyTuple_GET_ITEM(made_of, 0) == today && is_today(PyList_GET_ITEM(Part.today, 0)) &&
           is_size(PyTuple_GET_ITEM(made_of, 1), size) && PyTuple_GET_ITEM(made_of, 2) == Py_False &&
           PyTuple_GET_ITEM(made_of, 3) == Name.one &&
           PyTuple_GET_ITEM(made_of, 4) == Py_True;
}

/* ResponseHead.framed for such a request. A new reference. */
static PyObject *framed(PyObject *head, Py_ssize_t size)
{
    PyObject *made = SLOT(head, ResponseHead._made), *given, *result;
    PyObject *stack[] = {head, NULL, Py_False, Name.one, Py_True};
    if (SLOT(head, ResponseHead._adds) == Py_True && PyTuple_CheckExact(made) && PyTuple_GET_SIZE(made) == 2 &&
        is_made_of(PyTuple_GET_ITEM(made, 0), size))
        return Py_NewRef(PyTuple_GET_ITEM(made, 1));
    given = stack[1] = size == NOT_KNOWN ? Py_NewRef(Py_None) : PyLong_FromSsize_t(size);
    result = given ? PyObject_VectorcallMethod(Name.framed, stack, 5, NULL) : NULL;
    Py_XDECREF(given);
    return result;
}

/* Whether a head frames such a response as nearly all are: by its length, which is that of the body. */
static int is_by_length(PyObject *framing, Py_ssize_t size)
{
    PyObject *left = PyTuple_GET_ITEM(framing, 2);
    return PyTuple_GET_ITEM(framing, 1) == Part.by_length && PyLong_CheckExact(left) && PyLong_AsSsize_t(left) == size;
}

/* Whether framing is what ResponseHead.framed returns for a connection that stays. */
static int is_framing(PyObject *framing)
{
    return PyTuple_CheckExact(framing) && PyTuple_GET_SIZE(framing) == 4 &&
           PyBytes_CheckExact(PyTuple_GET_ITEM(framing, 0)) && PyTuple_GET_ITEM(framing, 3) == Py_True;
}

/* -- what the application gives ------------------------------------------------------------------------------------- */

/* Whether the response may be sent here: nothing of it was, and nothing is to be said of it that is not usual. */
static int may_be_sent(PyObject *exchange, PyObject *connection)
{
    int stopping;
    if (SLOT(exchange, Exchange.started) != Py_False || !has_arrived(SLOT(exchange, Exchange.body)) ||
        SLOT(exchange, Exchange._persists) != Py_True ||
        !Py_IS_TYPE(SLOT(exchange, Exchange.head), ResponseHead.type) ||
        SLOT(connection, Connection.adjust) != Py_None ||
        PyTuple_GET_ITEM(SLOT(exchange, Exchange.request), 0) == Name.HEAD)
        return UNUSUAL;
    stopping = is_set(SLOT(connection, Connection.service), STOPPING);
    return stopping < 0 ? FAILED : stopping ? UNUSUAL : DONE;
}

/* Sends head and body, which is all of the response. */
static int send_both(PyObject *exchange, PyObject *connection, PyObject *head, PyObject *body)
{
    struct iovec parts[] = {{PyBytes_AS_STRING(head), (size_t)PyBytes_GET_SIZE(head)},
                            {PyBytes_AS_STRING(body), (size_t)PyBytes_GET_SIZE(body)}};
    if (send_parts(connection, parts, 2) < 0)
        return FAILED;
    put(exchange, Exchange._complete, Py_True);
    return DONE;
}

/* Sends the head, made for a body of the size that is given, and the body: all of it, if that is what the head says; or
 * the first chunk, if its length is not known. */
static int send_response(PyObject *exchange, PyObject *connection, PyObject *body, Py_ssize_t given)
{
    Py_ssize_t size = PyBytes_GET_SIZE(body);
    PyObject *framing = framed(SLOT(exchange, Exchange.head), given), *head;
    int outcome = UNUSUAL;
    if (!framing)
        return FAILED;
    head = is_framing(framing) ? PyTuple_GET_ITEM(framing, 0) : Name.empty;
    if (head != Name.empty && is_by_length(framing, size) && size <= MOST) {
        put(exchange, Exchange.started, Py_True);
        put(exchange, Exchange._left, given == NOT_KNOWN ? Name.zero : PyTuple_GET_ITEM(framing, 2));
        put(exchange, Exchange._sent, PyTuple_GET_ITEM(framing, 2));
        outcome = send_both(exchange, connection, head, body);
    } else if (head != Name.empty && given == NOT_KNOWN && PyTuple_GET_ITEM(framing, 1) == Part.by_chunks) {
        put(exchange, Exchange.started, Py_True);
        put(exchange, Exchange._delimiter, Part.by_chunks);
        outcome = send_chunk(exchange, head, body);
    }
    Py_DECREF(framing);
    return outcome;
}

/* Exchange.send_whole. UNUSUAL: nothing was done yet. */
static int send_whole(PyObject *exchange, PyObject *connection, PyObject *body)
{
    int outcome = may_be_sent(exchange, connection);
    return outcome == DONE ? send_response(exchange, connection, body, PyBytes_GET_SIZE(body)) : outcome;
}

/* Exchange.send_piece of a chunk, or of the whole body, by the length that was declared. UNUSUAL: nothing was done yet. */
int send_piece(PyObject *exchange, PyObject *piece)
{
    PyObject *connection = SLOT(exchange, Exchange.connection);
    int outcome;
    if (!PyBytes_GET_SIZE(piece) || SLOT(exchange, Exchange.ended) != Py_False)
        return UNUSUAL;
    if (SLOT(exchange, Exchange.started) == Py_True)
        return SLOT(exchange, Exchange._delimiter) == Part.by_chunks ? send_chunk(exchange, Name.empty, piece) : UNUSUAL;
    outcome = may_be_sent(exchange, connection);
    return outcome == DONE ? send_response(exchange, connection, piece, NOT_KNOWN) : outcome;
}

/* Response.finish */
static int finish(PyObject *exchange, PyObject *connection, PyObject *result)
{
    PyObject *body, *done;
    int outcome = UNUSUAL;
    int is_plain = PyList_CheckExact(result) || PyTuple_CheckExact(result);
    if (!is_plain && !Py_IS_TYPE(result, (PyTypeObject *)Part.FileWrapper))
        return send_pieces(exchange, connection, result);
    if (is_plain && PySequence_Fast_GET_SIZE(result) == 0 && SLOT(exchange, Exchange._complete) == Py_True)
        return DONE; /* write() had all of it */
    if (is_plain && PySequence_Fast_GET_SIZE(result) == 1) {
        body = Py_NewRef(PySequence_Fast_GET_ITEM(result, 0));
        if (PyBytes_CheckExact(body))
            outcome = send_whole(exchange, connection, body);
        Py_DECREF(body);
    }
    if (outcome != UNUSUAL)
        return outcome;
    done = by_response(exchange, Name.finish, &result, 1, NULL);
    Py_XDECREF(done);
    return done ? DONE : FAILED;
}

/* WSGIServer.serve_request, for an exchange whose environ is complete. */
int answer(PyObject *exchange, PyObject *connection, PyObject *service)
{
    PyObject *application = attribute_of(service, APPLICATION), *result;
    PyObject *stack[] = {SLOT(exchange, Exchange.environ), application ? new_start(exchange) : NULL};
    int outcome = FAILED;
    if (stack[1]) {
        Py_INCREF(stack[0]);
        result = PyObject_Vectorcall(application, stack, 2, NULL);
        Py_DECREF(stack[0]);
        if (result) {
            outcome = finish(exchange, connection, result);
            Py_DECREF(result);
        }
    }
    Py_XDECREF(stack[1]);
    Py_XDECREF(application);
    return outcome;
}
