/*
 * The usual request of hubbub-server in C: its head is parsed, the WSGI application called, its response sent.
 *
 * The methods of hubbub_server are the reference.  What is done here has the same outcome on the same objects; whatever
 * is not usual is left to them, before anything has happened that they would do again:
 *
 * - head.c reads a head by the same grammar.  Of what that allows it takes what clients mostly send, and says of all
 *   else, right or wrong, that it is unusual.  The names of fields it asks the parser about, once (names.c).
 * - service.c has the attributes of the server.
 * - known.c recognises a head that was read before.
 * - request.c makes the objects that Exchange.run makes, has the application called, and hands failures to
 *   Exchange.ends_with.
 * - body.c makes the body of a request, and wsgi.input, which reads one that has arrived.
 * - response.c is start_response, and sends a body that is there as a whole; pieces.c sends one in pieces.
 * - sending.c gives bytes to the kernel.
 * - tally.c counts the request, where nobody wants an entry of an access log.
 * - serving.c is the loop of a connection, from one request to the next.
 *
 * Attributes that the classes keep in __slots__ are read and written in place; bind() learns their offsets, once.
 * Frames of greenlets that wait are copied, so what lives across a call of the application or a wait is small.
 */
#ifndef HUBBUB_SERVER_SPEED_USUAL_H
#define HUBBUB_SERVER_SPEED_USUAL_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <sys/uio.h>

#ifdef Py_GIL_DISABLED
#error "hubbub-server-speed is not for free-threaded builds of CPython"
#endif

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

enum { FAILED = -1, UNUSUAL, DONE, OVER, LINGERS }; /* FAILED: with an exception */

/* -- where the attributes of the server's classes lie -------------------------------------------------------------- */

extern struct clock {
    PyTypeObject *type;
    Py_ssize_t body, idle_deadline, now, request_deadline, watched;
} Clock;

extern struct pace {
    PyTypeObject *type;
    Py_ssize_t gain, ticks;
} Pace;

extern struct body {
    PyTypeObject *type;
    Py_ssize_t _decoder, _early, _left, _source, done, error, expected;
} Body;

extern struct input {
    PyTypeObject *type;
    Py_ssize_t _buffer, _next;
} Input;

extern struct connection {
    PyTypeObject *type;
    Py_ssize_t _body_patience, _buffer, _given, _held, _phase, _pushed, _watched, _work, adjust, clock, deadline, host, parser,
        port, request, service, since, sock;
} Connection;

extern struct exchange {
    PyTypeObject *type;
    Py_ssize_t _complete, _delimiter, _left, _persists, _sent, body, connection, deadline, ended, environ, head,
        meaning, request, started;
} Exchange;

extern struct response_head {
    PyTypeObject *type;
    Py_ssize_t _adds, _made, code;
} ResponseHead;

extern struct tally {
    PyTypeObject *type;
    Py_ssize_t log, numbers;
} Tally;

/* -- what is learnt once ------------------------------------------------------------------------------------------- */

/* Of hubbub_server.acceleration.PARTS, by the same names. */
extern struct parts {
    PyObject *FileWrapper, *Head, *LentRequest, *Meaning, *RequestError, *Response, *Socket, *bounds, *by_chunks,
        *by_length, *date, *heads, *idle, *longest_hold, *never, *nothing, *quick, *reading, *receive, *response_head,
        *running, *sleep, *today, *yield_after;
} Part;

/* Names of attributes, methods and variables, interned. */
extern struct names {
    PyObject *_body_error, *_trailers, *access_log, *application, *base_env, *close, *ends_with, *finish, *framed,
        *goes_on, *lends_request, *limits, *lingers, *log, *may_hold, *next, *recv, *request_id, *send, *start, *stopping,
        *take, *variable, *write;
    PyObject *HEAD, *PATH_INFO, *QUERY_STRING, *REMOTE_ADDR, *REMOTE_PORT, *REQUEST_METHOD, *REQUEST_URI,
        *SERVER_PROTOCOL, *http11, *hubbub_request, *hubbub_request_id, *wsgi_input;
    PyObject *empty, *zero, *one, *keep_alive; /* b"", 0, 1, Meaning(0, True, False, False) */
} Name;

int learn_methods(void);

/* -- the server ---------------------------------------------------------------------------------------------------- */

enum attribute { ACCESS_LOG, APPLICATION, BASE_ENV, LENDS_REQUEST, STOPPING, ATTRIBUTES };

PyObject *attribute_of(PyObject *service, enum attribute attribute);
int is_set(PyObject *service, enum attribute attribute);

/* -- names of header fields ---------------------------------------------------------------------------------------- */

/* REPEATED: a field whose value tends to be that of the request before. OTHER: one that makes a request unusual. */
enum kind { PLAIN, REPEATED, HOST, CONNECTION, LENGTH, OTHER };

struct name {
    PyObject *variable; /* of the environ; empty for a field that is not to be seen */
    PyObject *lowered;  /* bytes; the same */
    PyObject *value;    /* the last that was read, where that is kept; or NULL */
    unsigned char kind, size;
    char text[46];
};

enum { NAMES = 512, MOST_FIELDS = 64 };

/* -- heads that come again ----------------------------------------------------------------------------------------- */

enum { HEADS = 4, MOST_OF_HEAD = 512, MOST_OF_LINE = 192 };

/* A head that may come again, and what was made of it. Nothing that could be a secret is kept so. */
struct known_head {
    PyObject *line, *meaning, *environ, *base; /* NULL: it was seen once */
    PyObject *entries;                         /* of the base, see known.c */
    long long length;                          /* of the body */
    Py_ssize_t fields;                         /* where they begin */
    Py_ssize_t size;                           /* 0: there is none */
    char text[MOST_OF_HEAD];
};

/* The accelerator of one HeadParser. */
struct usual {
    PyObject_HEAD
    PyObject *parser;
    Py_ssize_t request_line, header_count, header_bytes, field_bytes; /* limits */
    long long body_bytes;
    int known;
    struct name *expected[MOST_FIELDS]; /* the names of the head before, in their order; NULL: none was so long */
    struct name names[NAMES];
    int replaced; /* the number of the head that was forgotten last */
    struct known_head heads[HEADS];
};

extern PyTypeObject Usual;

int find_name(struct usual *self, const char *text, Py_ssize_t size, struct name **found);
void forget_names(struct usual *self);

/* -- heads --------------------------------------------------------------------------------------------------------- */

/* A request that was read, in objects. */
struct request {
    PyObject *line, *environ, *meaning;
    Py_ssize_t fields, size;
    long long length; /* of the body */
};

struct text {
    const char *start;
    Py_ssize_t size;
};

struct line {
    PyObject *variable, *lowered; /* references of its own */
    PyObject *known;              /* the same: the value, if it is kept; or NULL */
    struct text value;
};

/* A head that was read: where its parts are in the text. */
struct head {
    PyObject *method; /* borrowed, lives for ever */
    struct text target, path, query;
    int is_escaped;    /* whether the path has % in it */
    int says_keep_alive;
    int is_common; /* whether all its fields are of the kinds whose values may be kept */
    long long length;
    Py_ssize_t fields; /* where they begin */
    Py_ssize_t size;   /* with the empty line at the end */
    Py_ssize_t count;
    struct line lines[MOST_FIELDS];
};

int read_head(struct usual *self, const char *text, Py_ssize_t size, struct head *head);
void drop_head(struct head *head);
PyObject *request_line_of(const struct head *head);
PyObject *meaning_of(const struct head *head);
int put_fields(PyObject *environ, const struct head *head);
PyObject *raw_fields_of(const struct head *head);

struct known_head *find_head(struct usual *self, PyObject *data);
int is_made_over(const struct known_head *known, PyObject *base);
void keep_head(struct usual *self, PyObject *data, const struct head *head, PyObject *base,
               const struct request *request);
int visit_heads(struct usual *self, visitproc visit, void *arg);
void forget_heads(struct usual *self);

/* -- requests and responses ---------------------------------------------------------------------------------------- */

int serve_request(struct usual *self, PyObject *connection, PyObject *data);
PyObject *receive(PyObject *connection, PyObject *size);
PyObject *received(PyObject *data, Py_ssize_t from, long long most);
int add_body(PyObject *exchange, PyObject *connection, PyObject *data, const struct request *request);
int learn_input(void);
int answer(PyObject *exchange, PyObject *connection, PyObject *service);
PyObject *by_response(PyObject *exchange, PyObject *name, PyObject *const *args, size_t count, PyObject *kwnames);
int send_piece(PyObject *exchange, PyObject *piece);
int send_chunk(PyObject *exchange, PyObject *head, PyObject *piece);
int send_pieces(PyObject *exchange, PyObject *connection, PyObject *result);
int learn_sockets(void);
int send_parts(PyObject *connection, const struct iovec *parts, int count);
int send_piece_parts(PyObject *connection, const struct iovec *parts, int count);

extern PyTypeObject Start, *ReadyInput;

/* -- counting ------------------------------------------------------------------------------------------------------ */

int learn_bounds(void);
int count_request(PyObject *tally, PyObject *exchange, double seconds);

/* -- small things -------------------------------------------------------------------------------------------------- */

static inline void put(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = Py_NewRef(value);
    Py_XDECREF(old);
}

/* Puts a new reference, which is NULL after a failure. */
static inline int put_new(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    if (!value)
        return FAILED;
    SLOT(object, offset) = value;
    Py_XDECREF(old);
    return DONE;
}

/* time.monotonic(), and as an object */
double seconds_now(void);
PyObject *monotonic(void);

/* Whether there is no body, or one of which all has arrived, and soundly. */
static inline int has_arrived(PyObject *body)
{
    if (body == Py_None)
        return 1;
    return Py_IS_TYPE(body, Body.type) && SLOT(body, Body.done) == Py_True && SLOT(body, Body.error) == Py_None;
}

/* Whether an attribute is true. */
static inline int is_true(PyObject *object, PyObject *name)
{
    PyObject *value = PyObject_GetAttr(object, name);
    int truth = value == Py_False ? 0 : value == Py_True ? 1 : value ? PyObject_IsTrue(value) : FAILED;
    Py_XDECREF(value);
    return truth;
}

#endif
