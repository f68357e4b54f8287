/* Counting a request that has ended, where no access log wants an entry: hubbub_server.http.tally.Tally.count. */
#include "usual.h"

enum { BOUNDS = 14, STATUSES = 6, SWITCHED = 101 };
enum { SENT, SECONDS, BY_STATUS, BY_TIME = BY_STATUS + STATUSES, NUMBERS = BY_TIME + BOUNDS + 1 };

static double bounds[BOUNDS];

int learn_bounds(void)
{
    Py_ssize_t i;
    if (!PyTuple_CheckExact(Part.bounds) || PyTuple_GET_SIZE(Part.bounds) != BOUNDS) {
        PyErr_SetString(PyExc_TypeError, "a part is not of the type that is expected");
        return FAILED;
    }
    for (i = 0; i < BOUNDS; i++)
        bounds[i] = PyFloat_AsDouble(PyTuple_GET_ITEM(Part.bounds, i));
    return PyErr_Occurred() ? FAILED : DONE;
}

static int add(PyObject *numbers, Py_ssize_t place, double more)
{
    PyObject *old = PyList_GET_ITEM(numbers, place), *sum;
    if (!PyFloat_CheckExact(old)) {
        PyErr_Format(PyExc_TypeError, "a number of a tally is a float, not %.200s", Py_TYPE(old)->tp_name);
        return FAILED;
    }
    sum = PyFloat_FromDouble(PyFloat_AS_DOUBLE(old) + more);
    return sum ? PyList_SetItem(numbers, place, sum) : FAILED;
}

static int count(PyObject *numbers, long status, double seconds, double sent)
{
    long kind = status / 100;
    int class = 0, failed;
    failed = add(numbers, SENT, sent) < 0 || add(numbers, BY_STATUS + (kind < STATUSES ? kind : 0), 1) < 0;
    if (failed || status == SWITCHED)
        return failed ? FAILED : DONE;
    while (class < BOUNDS && seconds > bounds[class])
        class++;
    failed = add(numbers, SECONDS, seconds) < 0 || add(numbers, BY_TIME + class, 1) < 0;
    return failed ? FAILED : DONE;
}

/* The status of a response, as Exchange.log has it; FAILED, without an exception: the method knows better. */
static long status_of(PyObject *exchange)
{
    PyObject *head = SLOT(exchange, Exchange.head), *code;
    if (head == Py_None || SLOT(exchange, Exchange.started) != Py_True)
        return 0;
    code = Py_IS_TYPE(head, ResponseHead.type) ? SLOT(head, ResponseHead.code) : NULL;
    return code && PyLong_CheckExact(code) ? PyLong_AsLong(code) : FAILED;
}

/* Exchange.log. UNUSUAL: somebody wants an entry, and nothing was counted. */
int count_request(PyObject *tally, PyObject *exchange, double seconds)
{
    PyObject *sent = SLOT(exchange, Exchange._sent), *numbers;
    long status;
    if (!Py_IS_TYPE(tally, Tally.type) || SLOT(tally, Tally.log) != Py_None || !PyLong_CheckExact(sent))
        return UNUSUAL;
    numbers = SLOT(tally, Tally.numbers);
    status = status_of(exchange);
    if (status < 0 || !PyList_CheckExact(numbers) || PyList_GET_SIZE(numbers) != NUMBERS)
        return UNUSUAL;
    return count(numbers, status, seconds, PyLong_AsDouble(sent));
}
