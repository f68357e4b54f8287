/* The response in pieces: what an application yields, or gives to write(), and each of them as a chunk. */
#include "usual.h"

static const char END[] = "0\r\n\r\n";

/* -- one piece ----------------------------------------------------------------------------------------------------- */

enum { MOST_OF_SIZE = 2 * sizeof(size_t) + 2 };

/* Writes the line that says the size of a chunk to the end of a buffer; returns where it begins. */
static char *put_size(char *buffer, size_t size)
{
    char *c = buffer + MOST_OF_SIZE;
    *--c = '\n';
    *--c = '\r';
    do
        *--c = "0123456789abcdef"[size & 15];
    while (size >>= 4);
    return c;
}

/* Exchange.send_piece of one that becomes a chunk, behind the head if that was not sent yet (else empty). */
int send_chunk(PyObject *exchange, PyObject *head, PyObject *piece)
{
    char buffer[MOST_OF_SIZE], *size = put_size(buffer, (size_t)PyBytes_GET_SIZE(piece));
    struct iovec parts[] = {
        {PyBytes_AS_STRING(head), (size_t)PyBytes_GET_SIZE(head)},
        {size, (size_t)(buffer + MOST_OF_SIZE - size)},
        {PyBytes_AS_STRING(piece), (size_t)PyBytes_GET_SIZE(piece)},
        {(char *)END + 1, 2},
    };
    Py_ssize_t before = PyLong_AsSsize_t(SLOT(exchange, Exchange._sent));
    if (before < 0 || put_new(exchange, Exchange._sent, PyLong_FromSsize_t(before + PyBytes_GET_SIZE(piece))) < 0)
        return FAILED;
    return send_piece_parts(SLOT(exchange, Exchange.connection), parts, Py_ARRAY_LENGTH(parts));
}

/* Response.take. OVER: no more is wanted. */
static int take(PyObject *exchange, PyObject *piece)
{
    int outcome = PyBytes_CheckExact(piece) ? send_piece(exchange, piece) : UNUSUAL;
    PyObject *wanted;
    if (outcome != UNUSUAL)
        return outcome;
    wanted = by_response(exchange, Name.take, &piece, 1, NULL);
    outcome = !wanted ? FAILED : wanted == Py_True ? DONE : OVER;
    Py_XDECREF(wanted);
    return outcome;
}

/* -- all of them --------------------------------------------------------------------------------------------------- */

/* Whether the response ends with the last chunk, and without trailers. */
static int ends_plainly(PyObject *exchange)
{
    PyObject *trailers;
    int plainly;
    if (SLOT(exchange, Exchange.started) != Py_True || SLOT(exchange, Exchange._complete) != Py_False ||
        SLOT(exchange, Exchange._delimiter) != Part.by_chunks)
        return 0;
    trailers = PyObject_GetAttr(exchange, Name._trailers);
    plainly = trailers ? PyBytes_CheckExact(trailers) && !PyBytes_GET_SIZE(trailers) : FAILED;
    Py_XDECREF(trailers);
    return plainly;
}

/* Exchange.finish */
static int end(PyObject *exchange, PyObject *connection)
{
    struct iovec last = {(char *)END, sizeof END - 1};
    int plainly = ends_plainly(exchange);
    PyObject *done;
    if (plainly > 0) {
        if (send_parts(connection, &last, 1) < 0)
            return FAILED;
        put(exchange, Exchange._complete, Py_True);
    } else if (!plainly) {
        done = PyObject_CallMethodNoArgs(exchange, Name.finish);
        Py_XDECREF(done);
        return done ? DONE : FAILED;
    }
    return plainly < 0 ? FAILED : DONE;
}

/* Response._send, but for files */
static int send_each(PyObject *exchange, PyObject *connection, PyObject *result)
{
    PyObject *iterator = PyObject_GetIter(result), *piece;
    int outcome = iterator ? DONE : FAILED;
    while (outcome == DONE && (piece = PyIter_Next(iterator))) {
        outcome = take(exchange, piece);
        Py_DECREF(piece);
    }
    Py_XDECREF(iterator);
    if (outcome == FAILED || PyErr_Occurred())
        return FAILED;
    return end(exchange, connection);
}

/* Calls close() of what the application has returned, if it has that. */
static int close_result(PyObject *result)
{
    PyObject *close = PyObject_GetAttr(result, Name.close), *done;
    if (!close) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return FAILED;
        PyErr_Clear();
        return DONE;
    }
    done = close == Py_None ? Py_NewRef(close) : PyObject_CallNoArgs(close);
    Py_DECREF(close);
    Py_XDECREF(done);
    return done ? DONE : FAILED;
}

/* The same after a failure, which close() sees as being handled, and whose place its own failure takes. */
static void close_failed(PyObject *result)
{
    PyObject *type, *error, *traceback, *handled = PyErr_GetHandledException();
    int closed;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback)
        PyException_SetTraceback(error, traceback);
    PyErr_SetHandledException(error);
    closed = close_result(result);
    PyErr_SetHandledException(handled);
    Py_XDECREF(handled);
    if (closed == DONE) {
        PyErr_Restore(type, error, traceback);
        return;
    }
    Py_XDECREF(type);
    Py_XDECREF(error);
    Py_XDECREF(traceback);
}

/* Response.finish for what is iterated */
int send_pieces(PyObject *exchange, PyObject *connection, PyObject *result)
{
    int outcome = send_each(exchange, connection, result);
    put(exchange, Exchange.ended, Py_True);
    if (outcome == DONE)
        return close_result(result);
    close_failed(result);
    return FAILED;
}
