/* One request, from its head to the end of its response: hubbub_server.http.exchange.Exchange.run. */
#include "usual.h"

/* A request that was read, in objects. */
struct request {
    PyObject *line, *environ, *meaning;
    Py_ssize_t fields, size;
    long long length; /* of the body */
};

static void drop_request(struct request *request)
{
    Py_CLEAR(request->line);
    Py_CLEAR(request->environ);
    Py_CLEAR(request->meaning);
}

/* -- the environ --------------------------------------------------------------------------------------------------- */

static int put_request_line(PyObject *environ, PyObject *line)
{
    PyObject *const variables[] = {Name.REQUEST_METHOD, Name.REQUEST_URI, Name.PATH_INFO, Name.QUERY_STRING,
                                   Name.SERVER_PROTOCOL};
    Py_ssize_t i;
    for (i = 0; i < (Py_ssize_t)Py_ARRAY_LENGTH(variables); i++)
        if (PyDict_SetItem(environ, variables[i], PyTuple_GET_ITEM(line, i)) < 0)
            return FAILED;
    return DONE;
}

static int put_address(PyObject *environ, PyObject *connection)
{
    PyObject *port = SLOT(connection, Connection.port);
    if (PyDict_SetItem(environ, Name.REMOTE_ADDR, SLOT(connection, Connection.host)) < 0)
        return FAILED;
    return port == Py_None || PyDict_SetItem(environ, Name.REMOTE_PORT, port) == 0 ? DONE : FAILED;
}

/* What a subclass or a proxy adds. A refusal is left to Python, which asks again. */
static int adjust(PyObject *environ, PyObject *connection)
{
    PyObject *function = SLOT(connection, Connection.adjust), *done;
    if (function == Py_None)
        return DONE;
    Py_INCREF(function);
    done = PyObject_CallOneArg(function, environ);
    Py_DECREF(function);
    if (done) {
        Py_DECREF(done);
        return DONE;
    }
    if (!PyErr_ExceptionMatches(Part.RequestError))
        return FAILED;
    PyErr_Clear();
    return UNUSUAL;
}

/* Makes the objects of a head. */
static int make_objects(const struct head *head, PyObject *connection, PyObject *base, struct request *request)
{
    int made;
    request->fields = head->fields;
    request->size = head->size;
    request->length = head->length;
    request->line = request_line_of(head);
    if (!request->line)
        return PyErr_Occurred() ? FAILED : UNUSUAL;
    request->meaning = meaning_of(head);
    request->environ = request->meaning ? PyDict_Copy(base) : NULL;
    if (!request->environ)
        return FAILED;
    made = put_fields(request->environ, head);
    if (made == DONE)
        made = put_request_line(request->environ, request->line);
    if (made == DONE)
        made = put_address(request->environ, connection);
    return made;
}

/* Reads a request. By itself, because the parts of a head take much room on the stack. */
#ifdef __GNUC__
__attribute__((noinline))
#endif
static int
read_request(struct usual *self, PyObject *connection, PyObject *service, PyObject *data, struct request *request)
{
    struct head head;
    PyObject *base;
    int found = read_head(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &head);
    memset(request, 0, sizeof *request);
    if (found != DONE)
        return found;
    base = PyObject_GetAttr(service, Name.base_env);
    if (!base)
        found = FAILED;
    else if (!PyDict_CheckExact(base))
        found = UNUSUAL;
    else
        found = make_objects(&head, connection, base, request);
    Py_XDECREF(base);
    drop_head(&head);
    if (found == DONE)
        found = adjust(request->environ, connection);
    if (found != DONE)
        drop_request(request);
    return found;
}

/* -- the exchange -------------------------------------------------------------------------------------------------- */

/* Exchange.__init__, and what Exchange.run sets. Takes over the objects of the request. */
static PyObject *make_exchange(PyObject *connection, struct request *request)
{
    PyObject *made = Exchange.type->tp_alloc(Exchange.type, 0);
    if (!made)
        return NULL;
    SLOT(made, Exchange.connection) = Py_NewRef(connection);
    SLOT(made, Exchange._persists) = Py_NewRef(Py_True);
    SLOT(made, Exchange.body) = Py_NewRef(Py_None);
    SLOT(made, Exchange.head) = Py_NewRef(Py_None);
    SLOT(made, Exchange.started) = Py_NewRef(Py_False);
    SLOT(made, Exchange.ended) = Py_NewRef(Py_False);
    SLOT(made, Exchange._complete) = Py_NewRef(Py_False);
    SLOT(made, Exchange._delimiter) = Py_NewRef(Part.by_length);
    SLOT(made, Exchange._left) = Py_NewRef(Py_None);
    SLOT(made, Exchange._sent) = Py_NewRef(Name.zero);
    SLOT(made, Exchange.request) = request->line;
    SLOT(made, Exchange.environ) = request->environ;
    SLOT(made, Exchange.meaning) = request->meaning;
    SLOT(made, Exchange.deadline) = Py_NewRef(SLOT(SLOT(connection, Connection.clock), Clock.request_deadline));
    request->line = request->environ = request->meaning = NULL;
    return made;
}

/* Body.__init__ for a body of known length; after Body.look_ahead if all of it is there. */
static PyObject *make_body(PyObject *connection, PyObject *length, PyObject *early)
{
    PyObject *made = Body.type->tp_alloc(Body.type, 0);
    if (!made)
        return NULL;
    SLOT(made, Body._source) = Py_NewRef(connection);
    SLOT(made, Body._left) = Py_NewRef(early ? Name.zero : length);
    SLOT(made, Body._decoder) = Py_NewRef(Py_None);
    SLOT(made, Body._early) = Py_NewRef(early ? early : Name.empty);
    SLOT(made, Body.done) = Py_NewRef(early ? Py_True : Py_False);
    SLOT(made, Body.error) = Py_NewRef(Py_None);
    SLOT(made, Body.expected) = Py_NewRef(Py_False);
    return made;
}

static PyObject *make_input(PyObject *body)
{
    PyObject *made = Input.type->tp_alloc(Input.type, 0);
    if (!made)
        return NULL;
    SLOT(made, Input._buffer) = Py_NewRef(Name.empty);
    SLOT(made, Input._next) = PyObject_GetAttr(body, Name.next);
    if (!SLOT(made, Input._next))
        Py_CLEAR(made);
    return made;
}

/* Bytes that were received behind the head: at most this many, from there on; an empty object for none. */
static PyObject *received(PyObject *data, Py_ssize_t from, long long most)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data) - from;
    if (size > most)
        size = (Py_ssize_t)most;
    return size ? PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + from, size) : Py_NewRef(Name.empty);
}

/*
 * The exchange has a body, which the application finds as wsgi.input; the connection gets what follows it, and patience
 * anew. As much of the body as came with the head may be in the connection's buffer already, where Python has put it.
 */
static int add_body(PyObject *exchange, PyObject *connection, PyObject *data, const struct request *request)
{
    PyObject *pace = PyObject_GetAttr(SLOT(connection, Connection.clock), Name.body), *early = NULL, *input;
    PyObject *length = PyTuple_GET_ITEM(SLOT(exchange, Exchange.meaning), 0);
    int failed = !pace || put_new(connection, Connection._body_patience, PyObject_GetAttr(pace, Name.ticks)) < 0;
    Py_XDECREF(pace);
    if (!failed && PyBytes_GET_SIZE(data) - request->size >= request->length) {
        Py_ssize_t end = request->size + (Py_ssize_t)request->length;
        early = received(data, request->size, request->length);
        failed = !early || put_new(connection, Connection._buffer, received(data, end, PY_SSIZE_T_MAX)) < 0;
    } else if (!failed && PyBytes_GET_SIZE(data) > request->size)
        failed = put_new(connection, Connection._buffer, received(data, request->size, PY_SSIZE_T_MAX)) < 0;
    failed = failed || put_new(exchange, Exchange.body, make_body(connection, length, early)) < 0;
    Py_XDECREF(early);
    if (failed)
        return FAILED;
    input = make_input(SLOT(exchange, Exchange.body));
    failed = !input || PyDict_SetItem(SLOT(exchange, Exchange.environ), Name.wsgi_input, input) < 0;
    Py_XDECREF(input);
    return failed ? FAILED : DONE;
}

/* environ["hubbub.request"] */
static int lend(PyObject *exchange, PyObject *connection, PyObject *data, const struct request *request)
{
    PyObject *head = PyBytes_FromStringAndSize(PyBytes_AS_STRING(data), request->size), *lent;
    PyObject *fields = PyLong_FromSsize_t(request->fields);
    PyObject *stack[] = {exchange, connection, head, fields, SLOT(exchange, Exchange.body)};
    int failed;
    lent = head && fields ? PyObject_Vectorcall(Part.LentRequest, stack, 5, NULL) : NULL;
    failed = !lent || PyDict_SetItem(SLOT(exchange, Exchange.environ), Name.hubbub_request, lent) < 0;
    Py_XDECREF(lent);
    Py_XDECREF(fields);
    Py_XDECREF(head);
    return failed ? FAILED : DONE;
}

static int note_request_id(PyObject *exchange)
{
    PyObject *id = PyDict_GetItemWithError(SLOT(exchange, Exchange.environ), Name.hubbub_request_id);
    if (!id)
        return PyErr_Occurred() ? FAILED : DONE;
    return PyObject_SetAttr(exchange, Name.request_id, id) < 0 ? FAILED : DONE;
}

/* What the exchange needs besides; what was received behind the request goes back to the connection. */
static int complete(PyObject *exchange, PyObject *connection, PyObject *service, PyObject *data,
                    const struct request *request)
{
    int failed = 0, lends;
    if (request->length)
        failed = add_body(exchange, connection, data, request) < 0;
    else if (PyBytes_GET_SIZE(data) > request->size)
        failed = put_new(connection, Connection._buffer, received(data, request->size, PY_SSIZE_T_MAX)) < 0;
    if (failed || (SLOT(connection, Connection.adjust) != Py_None && note_request_id(exchange) < 0))
        return FAILED;
    lends = is_true(service, Name.lends_request);
    return lends > 0 ? lend(exchange, connection, data, request) : lends < 0 ? FAILED : DONE;
}

/* -- the application ----------------------------------------------------------------------------------------------- */

/* Exchange.ends_with, for the exception that is set. DONE: the exception is dealt with, FAILED: it goes on. */
static int settle(PyObject *exchange)
{
    PyObject *type, *error, *traceback, *answered;
    int goes_on;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    answered = PyObject_CallMethodOneArg(exchange, Name.ends_with, error);
    goes_on = answered ? PyObject_IsTrue(answered) : FAILED;
    Py_XDECREF(answered);
    if (goes_on > 0) {
        PyErr_Restore(type, error, traceback);
        return FAILED;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
    return goes_on == 0 ? DONE : FAILED;
}

/* Writes the entry of the access log, whether the request has ended with an exception or not. */
static int log_request(PyObject *exchange, double began, int outcome)
{
    PyObject *type, *error, *traceback, *when, *done;
    PyErr_Fetch(&type, &error, &traceback);
    when = PyFloat_FromDouble(began);
    done = when ? PyObject_CallMethodOneArg(exchange, Name.log, when) : NULL;
    Py_XDECREF(when);
    if (!done) {
        Py_XDECREF(type);
        Py_XDECREF(error);
        Py_XDECREF(traceback);
        return FAILED;
    }
    Py_DECREF(done);
    PyErr_Restore(type, error, traceback);
    return outcome;
}

static int have_answered(PyObject *exchange, PyObject *connection, PyObject *service)
{
    int outcome;
    put(connection, Connection.request, exchange);
    outcome = answer(exchange, connection, service);
    if (outcome < 0)
        outcome = settle(exchange);
    put(connection, Connection.request, Py_None);
    put(exchange, Exchange.ended, Py_True);
    return outcome;
}

static int serve_exchange(PyObject *exchange, PyObject *connection, PyObject *service)
{
    PyObject *log = PyObject_GetAttr(service, Name.access_log);
    double began;
    int outcome;
    if (!log)
        return FAILED;
    began = log == Py_None ? 0.0 : seconds_now();
    outcome = have_answered(exchange, connection, service);
    if (log != Py_None) {
        int counted = outcome == DONE ? count_request(log, exchange, seconds_now() - began) : UNUSUAL;
        outcome = counted == UNUSUAL ? log_request(exchange, began, outcome) : counted;
    }
    Py_DECREF(log);
    return outcome;
}

/* Serves the request at the beginning of the data. OVER and LINGERS: the connection is to end. */
int serve_request(struct usual *self, PyObject *connection, PyObject *data)
{
    PyObject *service = SLOT(connection, Connection.service), *exchange, *goes_on;
    struct request request;
    int outcome = is_true(service, Name.stopping);
    if (outcome)
        return outcome < 0 ? FAILED : UNUSUAL;
    outcome = read_request(self, connection, service, data, &request);
    if (outcome != DONE)
        return outcome;
    exchange = make_exchange(connection, &request);
    if (!exchange) {
        drop_request(&request);
        return FAILED;
    }
    outcome = complete(exchange, connection, service, data, &request);
    if (outcome == DONE)
        outcome = serve_exchange(exchange, connection, service);
    if (outcome == DONE &&
        (SLOT(exchange, Exchange._persists) != Py_True || !has_arrived(SLOT(exchange, Exchange.body)))) {
        goes_on = PyObject_CallMethodNoArgs(exchange, Name.goes_on);
        if (!goes_on)
            outcome = FAILED;
        else if (goes_on != Py_True)
            outcome = is_true(exchange, Name.lingers) ? LINGERS : OVER;
        Py_XDECREF(goes_on);
    }
    Py_DECREF(exchange);
    return outcome;
}
