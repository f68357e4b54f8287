/*
 * Timers, a base class of loops.
 * A heap of [deadline, sequence, callback, repeat, ref], as heapq keeps one.  Comparing runs no Python code:
 * deadlines are floats and sequence numbers ints.
 */
#include "methods.h"

enum { DEADLINE, SEQUENCE, CALLBACK, REPEAT, REF, ENTRY };

static PyTypeObject *timers_type;
static PyObject *python_loop_call_later, *python_loop_cancel_later;

static int is_entry(PyObject *entry)
{
    return PyList_CheckExact(entry) && PyList_GET_SIZE(entry) == ENTRY &&
           PyFloat_Check(PyList_GET_ITEM(entry, DEADLINE)) && PyLong_CheckExact(PyList_GET_ITEM(entry, SEQUENCE));
}

/* Whether the entry is no reason for the loop to go on. */
static int is_unref(PyObject *entry)
{
    PyObject *ref = PyList_GET_ITEM(entry, REF);
    return ref != Py_True && !PyObject_IsTrue(ref);
}

/* Whether the entry repeats: its callback may then be in the run queue while the entry is in the heap. */
static int repeats(PyObject *entry)
{
    PyObject *repeat = PyList_GET_ITEM(entry, REPEAT);
    return !(PyFloat_CheckExact(repeat) && PyFloat_AS_DOUBLE(repeat) == 0.0) && PyObject_IsTrue(repeat);
}

/* Undoes a change of a count while an exception is set. */
static void settle_count(PyObject *self, Py_ssize_t offset, long long change)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (add(self, offset, change) < 0)
        PyErr_Clear(); /* no memory: at worst the entry counts for too long */
    PyErr_Restore(type, value, traceback);
}

static int before(PyObject *a, PyObject *b)
{
    double left = PyFloat_AS_DOUBLE(PyList_GET_ITEM(a, DEADLINE));
    double right = PyFloat_AS_DOUBLE(PyList_GET_ITEM(b, DEADLINE));
    if (left != right)
        return left < right;
    return PyLong_AsLongLong(PyList_GET_ITEM(a, SEQUENCE)) < PyLong_AsLongLong(PyList_GET_ITEM(b, SEQUENCE));
}

static int heap_push(PyObject *heap, PyObject *entry)
{
    Py_ssize_t place = PyList_GET_SIZE(heap);
    if (PyList_Append(heap, entry) < 0)
        return -1;
    while (place > 0) {
        Py_ssize_t parent = (place - 1) / 2;
        PyObject *above = PyList_GET_ITEM(heap, parent);
        if (!before(entry, above))
            break;
        PyList_SET_ITEM(heap, place, above);
        place = parent;
    }
    PyList_SET_ITEM(heap, place, entry);
    return 0;
}

/* Whether the timer that was started with this callback is still running; -1: an exception. */
int timer_runs(PyObject *loop, PyObject *key, PyObject *callback)
{
    if (is_entry(key))
        return PyList_GET_ITEM(key, CALLBACK) == callback;
    return truth_of(PyObject_CallMethodObjArgs(loop, N.timer_runs, key, callback, NULL)); /* another clock */
}

/* Sifts an entry down from the top. It was changed there, or takes the place of one that was removed. */
static void heap_settle(PyObject *heap, PyObject *entry)
{
    Py_ssize_t size = PyList_GET_SIZE(heap), place = 0, child;
    while ((child = 2 * place + 1) < size) {
        PyObject *smaller = PyList_GET_ITEM(heap, child);
        if (child + 1 < size && before(PyList_GET_ITEM(heap, child + 1), smaller))
            smaller = PyList_GET_ITEM(heap, ++child);
        if (!before(smaller, entry))
            break;
        PyList_SET_ITEM(heap, place, smaller);
        place = child;
    }
    PyList_SET_ITEM(heap, place, entry);
}

/* Removes the first entry; the heap is not empty. */
static int heap_pop(PyObject *heap)
{
    Py_ssize_t size = PyList_GET_SIZE(heap) - 1;
    PyObject *first = PyList_GET_ITEM(heap, 0), *last = Py_NewRef(PyList_GET_ITEM(heap, size));
    if (PyList_SetSlice(heap, size, size + 1, NULL) < 0) {
        Py_DECREF(last);
        return -1;
    }
    if (!size) { /* it was the only one */
        Py_DECREF(last);
        return 0;
    }
    heap_settle(heap, last);
    Py_DECREF(first); /* the heap's own reference */
    return 0;
}

static PyObject *loop_call_later(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *entry, *deadline;
    double after;
    if (kwnames || nargs < 2 || nargs > 4 || !PyList_CheckExact(SLOT(self, L.heap)))
        return fall_back(python_loop_call_later, self, args, nargs, kwnames);
    after = PyFloat_AsDouble(args[0]);
    if (after != after || (after == -1.0 && PyErr_Occurred())) {
        PyErr_Clear();
        return fall_back(python_loop_call_later, self, args, nargs, kwnames);
    }
    if (add(self, L.sequence, 1) < 0)
        return NULL;
    deadline = PyFloat_FromDouble(monotonic() + after);
    if (!deadline)
        return NULL;
    entry = PyList_New(ENTRY);
    if (!entry) {
        Py_DECREF(deadline);
        return NULL;
    }
    PyList_SET_ITEM(entry, DEADLINE, deadline);
    PyList_SET_ITEM(entry, SEQUENCE, Py_NewRef(SLOT(self, L.sequence)));
    PyList_SET_ITEM(entry, CALLBACK, Py_NewRef(args[1]));
    PyList_SET_ITEM(entry, REPEAT, nargs > 2 ? Py_NewRef(args[2]) : PyFloat_FromDouble(0.0));
    PyList_SET_ITEM(entry, REF, Py_NewRef(nargs > 3 ? args[3] : Py_True));
    if (!PyList_GET_ITEM(entry, REPEAT) || (is_unref(entry) && add(self, L.unref, 1) < 0)) {
        Py_DECREF(entry);
        return NULL;
    }
    if (heap_push(SLOT(self, L.heap), entry) < 0) {
        if (is_unref(entry))
            settle_count(self, L.unref, -1);
        Py_DECREF(entry);
        return NULL;
    }
    return entry;
}

static PyObject *loop_cancel_later(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *heap = SLOT(self, L.heap), *key, *done;
    Py_ssize_t size;
    long long stopped;
    if (kwnames || nargs != 2 || !is_entry(args[0]) || !PyList_CheckExact(heap))
        return fall_back(python_loop_cancel_later, self, args, nargs, kwnames);
    key = args[0];
    if ((PyList_GET_ITEM(key, CALLBACK) != args[1] || repeats(key)) && filled(SLOT(self, L.ready)) &&
        do_method(self, N.unschedule, args[1]) < 0)
        return NULL;
    if (PyList_GET_ITEM(key, CALLBACK) != args[1])
        Py_RETURN_NONE;
    if (is_unref(key) && add(self, L.unref, -1) < 0)
        return NULL;
    if (PyList_SetItem(key, CALLBACK, Py_NewRef(Py_None)) < 0)
        return NULL;
    size = PyList_GET_SIZE(heap);
    if (size && PyList_GET_ITEM(heap, size - 1) == key) {
        if (PyList_SetSlice(heap, size - 1, size, NULL) < 0)
            return NULL;
        Py_RETURN_NONE;
    }
    if (add(self, L.stopped, 1) < 0)
        return NULL;
    stopped = PyLong_AsLongLong(SLOT(self, L.stopped));
    if ((double)stopped > C.sweep_above && stopped * 2 > size) {
        done = PyObject_CallMethodNoArgs(self, N._sweep);
        if (!done)
            return NULL;
        Py_DECREF(done);
    }
    Py_RETURN_NONE;
}

/*
 * Queues the callback of the first entry, which is due and repeats, and sets its next time.
 * 1: that is due already, and has to wait for the next turn.
 */
static int expire_again(PyObject *self, PyObject *heap, PyObject *entry, double repeat, double now)
{
    PyObject *callback = PyList_GET_ITEM(entry, CALLBACK), *ready = SLOT(self, L.ready), *deadline;
    double next = PyFloat_AS_DOUBLE(PyList_GET_ITEM(entry, DEADLINE)) + repeat;
    int queued = PySequence_Contains(ready, callback);
    if (queued < 0 || (!queued && queue_append(ready, callback) < 0))
        return -1;
    if (next < now)
        next = now;
    deadline = PyFloat_FromDouble(next);
    if (!deadline)
        return -1;
    if (add(self, L.sequence, 1) < 0) {
        Py_DECREF(deadline);
        return -1;
    }
    PyList_SetItem(entry, DEADLINE, deadline);
    PyList_SetItem(entry, SEQUENCE, Py_NewRef(SLOT(self, L.sequence)));
    heap_settle(heap, entry);
    return next <= now;
}

/* Deals with the first entry, which is due. After a failure it is still there. 1: no more this turn. */
static int expire_one(PyObject *self, PyObject *heap, double now)
{
    PyObject *entry = PyList_GET_ITEM(heap, 0), *callback = PyList_GET_ITEM(entry, CALLBACK);
    double repeat;
    if (callback == Py_None)
        return add(self, L.stopped, -1) < 0 || heap_pop(heap) < 0 ? -1 : 0;
    repeat = PyFloat_AsDouble(PyList_GET_ITEM(entry, REPEAT));
    if (repeat == -1.0 && PyErr_Occurred())
        return -1;
    if (repeat)
        return expire_again(self, heap, entry, repeat, now);
    if (is_unref(entry) && add(self, L.unref, -1) < 0)
        return -1;
    if (queue_append(SLOT(self, L.ready), callback) < 0) {
        if (is_unref(entry))
            settle_count(self, L.unref, 1);
        return -1;
    }
    PyList_SetItem(entry, CALLBACK, Py_NewRef(Py_None));
    return heap_pop(heap);
}

static PyObject *loop_expire(PyObject *self, PyObject *unused)
{
    PyObject *heap = SLOT(self, L.heap), *time;
    double now = monotonic();
    int end = 0;
    (void)unused;
    time = PyFloat_FromDouble(now);
    if (!time)
        return NULL;
    Py_SETREF(SLOT(self, L.time), time);
    if (is_logged(self))
        log_queued(self, 0);
    while (!end && PyList_GET_SIZE(heap)) {
        if (!is_entry(PyList_GET_ITEM(heap, 0))) {
            PyErr_SetString(PyExc_SystemError, "the heap of timers holds something else");
            return NULL;
        }
        if (PyFloat_AS_DOUBLE(PyList_GET_ITEM(PyList_GET_ITEM(heap, 0), DEADLINE)) > now)
            break;
        end = expire_one(self, heap, now);
    }
    if (is_logged(self))
        log_queued(self, 1);
    if (end < 0)
        return NULL;
    Py_RETURN_NONE;
}

static const struct method timers_methods[] = {
    {&python_loop_call_later,
     {"call_later", FASTCALL(loop_call_later), "call_later($self, after, callback, repeat=0.0, ref=True)\n--\n\n"}},
    {&python_loop_cancel_later,
     {"cancel_later", FASTCALL(loop_cancel_later), "cancel_later($self, key, callback)\n--\n\n"}},
    {NULL, {"_expire", loop_expire, METH_NOARGS, "_expire($self)\n--\n\n"}},
    {0},
};

const struct noun timers_noun = {"hubbub.loop.timers.Timers", &timers_type, NULL, timers_methods};
