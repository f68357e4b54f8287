/* One request, from its head to the end of its response: hubbub_server.http.exchange.Exchange.run. */
#include "usual.h"

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

/* Makes the objects of a head, but for what the environ has of the connection. */
static int make_objects(const struct head *head, PyObject *base, struct request *request)
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
    return made == DONE ? put_request_line(request->environ, request->line) : made;
}

/* Reads a head. By itself, because the parts of a head take much room on the stack. */
#ifdef __GNUC__
__attribute__((noinline))
#endif
static int
read_new(struct usual *self, PyObject *base, PyObject *data, struct request *request)
{
    struct head head;
    int found = read_head(self, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), &head);
    if (found != DONE)
        return found;
    found = make_objects(&head, base, request);
    if (found == DONE)
        keep_head(self, data, &head, base, request);
    drop_head(&head);
    return found;
}

/* Makes the objects of a head that was read before. */
static int recall(const struct known_head *known, struct request *request)
{
    PyObject *environ;
    request->fields = known->fields;
    request->size = known->size;
    request->length = known->length;
    request->line = Py_NewRef(known->line);
    request->meaning = Py_NewRef(known->meaning);
    environ = Py_NewRef(known->environ); /* its own: while it is copied, the head may be forgotten */
    request->environ = PyDict_Copy(environ);
    Py_DECREF(environ);
    return request->environ ? DONE : FAILED;
}

/* The same for what the data begins with, seen before or not. */
static int read_any(struct usual *self, PyObject *base, PyObject *data, struct request *request)
{
    struct known_head *known = find_head(self, data);
    if (known && known->environ && is_made_over(known, base))
        return recall(known, request);
    return PyDict_CheckExact(base) ? read_new(self, base, data, request) : UNUSUAL;
}

static int read_request(struct usual *self, PyObject *connection, PyObject *service, PyObject *data,
                        struct request *request)
{
    PyObject *base = attribute_of(service, BASE_ENV);
    int found;
    memset(request, 0, sizeof *request);
    if (!base)
        return FAILED;
    found = read_any(self, base, data, request);
    Py_DECREF(base);
    if (found == DONE)
        found = put_address(request->environ, connection);
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
    lends = is_set(service, LENDS_REQUEST);
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
    PyObject *log = attribute_of(service, ACCESS_LOG);
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
    int outcome = is_set(service, STOPPING);
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
