/*
 * SimpleQueue.put and get, and the two that do not wait.
 * With a plain deque or list all of it happens in C with the GIL held: no other thread or greenlet runs in between.
 * Where greenlets wait the mutex is held as well, because another thread may be in the middle of a Python method.
 */
#include "methods.h"

struct queue Q;

static const struct field queue_fields[] = {
    {"_append", &Q.append},     {"_pop", &Q.pop},       {"_puts", &Q.puts},       {"_getters", &Q.getters},
    {"_peekers", &Q.peekers},   {"_putters", &Q.putters}, {"_links", &Q.links},   {"queue", &Q.queue},
    {"_maxsize", &Q.maxsize}, {"_mutex", &Q.mutex}, {0}};

static PyObject *python_queue_put, *python_queue_get;

static int is_plain(PyObject *queue)
{
    return queue && (Py_IS_TYPE(queue, deque_type) || PyList_CheckExact(queue));
}

/* Whether the first of the waiters, if there is one, can be woken from here. */
static int are_known(PyObject *waiters)
{
    PyObject *first;
    int known;
    if (!waiters || !is_deque(waiters))
        return 0;
    if (!Py_SIZE(waiters))
        return 1;
    first = PySequence_GetItem(waiters, 0);
    known = first && is_waiter(first);
    Py_XDECREF(first);
    PyErr_Clear();
    return known;
}

/* Whether items are stored, and taken out, by C functions alone. No queue that was shut down is like that. */
static int stores_in_c(PyObject *self)
{
    PyObject *pop = SLOT(self, Q.pop);
    return pop && pop != Py_None && is_plain(SLOT(self, Q.queue)) && SLOT(self, Q.puts) && SLOT(self, Q.maxsize) &&
           SLOT(self, Q.mutex) && SLOT(self, Q.links) == Py_None && !filled(SLOT(self, Q.peekers)) &&
           are_known(SLOT(self, Q.getters)) && are_known(SLOT(self, Q.putters)) &&
           _PyType_Lookup(Py_TYPE(self), N._put) == _PyType_Lookup(Q.type, N._put);
}

static PyObject *pop_item(PyObject *self)
{
    PyObject *queue = SLOT(self, Q.queue);
    return is_deque(queue) ? queue_popleft(queue) : PyObject_CallNoArgs(SLOT(self, Q.pop));
}

static int store(PyObject *self, PyObject *item)
{
    PyObject *queue = SLOT(self, Q.queue);
    return is_deque(queue) ? queue_append(queue, item) : PyList_Append(queue, item);
}

/* Counts an item and stores it. */
static int insert(PyObject *self, PyObject *item)
{
    PyObject *puts = SLOT(self, Q.puts), *counted;
    if (puts != Py_None) {
        counted = PyIter_Next(puts);
        if (!counted)
            return -1;
        Py_DECREF(counted);
    }
    if (store(self, item) == 0)
        return 0;
    settle(self, N._uncount, NULL, NULL);
    return -1;
}

static int has_room(PyObject *self)
{
    PyObject *most = SLOT(self, Q.maxsize);
    Py_ssize_t limit;
    if (most == Py_None)
        return 1;
    limit = PyLong_AsSsize_t(most);
    if (limit == -1 && PyErr_Occurred()) {
        PyErr_Clear(); /* more than fits into memory */
        return 1;
    }
    return PyObject_Size(SLOT(self, Q.queue)) < limit;
}

/* -- with the mutex held ------------------------------------------------------------------------------------------ */

/* Takes out the first waiter that is not stale, a new reference. NULL: none, or an exception. */
static PyObject *first_waiter(PyObject *waiters)
{
    PyObject *waiter;
    while (filled(waiters)) {
        waiter = queue_popleft(waiters);
        if (!waiter)
            return NULL;
        if (!is_waiter(waiter)) {
            PyErr_SetString(PyExc_SystemError, "among those who wait for a queue is something else");
            Py_DECREF(waiter);
            return NULL;
        }
        if (!is_stale(waiter))
            return waiter;
        Py_DECREF(waiter);
    }
    return NULL;
}

/* Wakes a waiter that was taken out; if that fails, it is the first again. */
static int wake_first(PyObject *waiters, PyObject *waiter, PyObject *value)
{
    if (wake(waiter, value) >= 0)
        return 0;
    settle(waiters, N.appendleft, waiter, NULL);
    return -1;
}

/* Hands the next item to the greenlet that has waited longest. */
static int serve_getter(PyObject *self)
{
    PyObject *waiters = Py_NewRef(SLOT(self, Q.getters)), *waiter = first_waiter(waiters), *item = NULL;
    int failed = 0;
    if (waiter) {
        item = pop_item(self);
        if (!item) {
            settle(waiters, N.appendleft, waiter, NULL);
            failed = -1;
        } else if (wake_first(waiters, waiter, item) < 0) {
            settle(self, N._unget, item, NULL);
            failed = -1;
        }
    } else if (PyErr_Occurred()) {
        failed = -1;
    }
    Py_XDECREF(item);
    Py_XDECREF(waiter);
    Py_DECREF(waiters);
    return failed;
}

/* Stores the item of the greenlet that has waited longest to put one. There is room. */
static int serve_putter(PyObject *self)
{
    PyObject *waiters = Py_NewRef(SLOT(self, Q.putters)), *waiter = first_waiter(waiters);
    int failed = 0;
    if (waiter) {
        failed = insert(self, SLOT(waiter, W.value));
        if (failed)
            settle(waiters, N.appendleft, waiter, NULL);
        else
            failed = wake_first(waiters, waiter, Py_None);
    } else if (PyErr_Occurred()) {
        failed = -1;
    }
    Py_XDECREF(waiter);
    Py_DECREF(waiters);
    return failed;
}

static int serve(PyObject *self)
{
    int failed = 0;
    while (!failed) {
        if (filled(SLOT(self, Q.getters)) && filled(SLOT(self, Q.queue)))
            failed = serve_getter(self);
        else if (filled(SLOT(self, Q.putters)) && has_room(self))
            failed = serve_putter(self);
        else
            break;
    }
    return failed;
}

/* -- waiting ------------------------------------------------------------------------------------------------------ */

/* Joins the waiters with a new waiter. Its greenlet waits by finish(), without the mutex. */
static int join(PyObject *self, PyObject *waiters, PyObject *waiter)
{
    put(waiter, W.user, self);
    return queue_append(waiters, waiter);
}

/* Waits, and returns what the waiter was handed; ``abandon`` is the method for a wait that ends with an exception. */
static PyObject *finish(PyObject *self, PyObject *waiter, PyObject *abandon)
{
    PyObject *woken = waiter_wait(waiter, NULL, 0, NULL), *value;
    put(waiter, W.user, Py_None);
    if (!woken) {
        settle(self, abandon, waiter, NULL);
        return NULL;
    }
    Py_DECREF(woken);
    if (Py_IS_TYPE(SLOT(waiter, W.value), failure_type)) /* raises what is in it */
        return PyObject_CallMethodOneArg(self, N._received, waiter);
    value = SLOT(waiter, W.value);
    SLOT(waiter, W.value) = Py_NewRef(Py_None);
    return value;
}

enum outcome { FAILED, DONE, WAITS, UNUSUAL };

/* With the mutex held. ``waiter`` is NULL if there seemed to be no need to wait. */
static enum outcome try_put(PyObject *self, PyObject *item, PyObject *waiter)
{
    if (!stores_in_c(self))
        return UNUSUAL;
    if (serve(self) < 0)
        return FAILED;
    if (has_room(self))
        return insert(self, item) < 0 || serve(self) < 0 ? FAILED : DONE;
    if (!waiter)
        return UNUSUAL;
    put(waiter, W.value, item);
    return join(self, SLOT(self, Q.putters), waiter) < 0 ? FAILED : WAITS;
}

/* The same. */
static enum outcome try_get(PyObject *self, PyObject *waiter, PyObject **item)
{
    if (!stores_in_c(self))
        return UNUSUAL;
    if (serve(self) < 0)
        return FAILED;
    if (filled(SLOT(self, Q.queue))) {
        *item = pop_item(self);
        if (!*item)
            return FAILED;
        if (serve(self) == 0)
            return DONE;
        settle(self, N._unget, *item, NULL);
        Py_CLEAR(*item);
        return FAILED;
    }
    return !waiter ? UNUSUAL : join(self, SLOT(self, Q.getters), waiter) < 0 ? FAILED : WAITS;
}

/* Puts an item where greenlets wait, or may have to. */
static PyObject *put_in_turn(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *waiter = NULL, *mutex = Py_NewRef(SLOT(self, Q.mutex)), *done = NULL;
    enum outcome outcome = FAILED;
    if (has_room(self) || (waiter = new_waiter())) {
        if (do_method(mutex, N.acquire, NULL) == 0) {
            outcome = try_put(self, args[0], waiter);
            settle(mutex, N.release, NULL, NULL);
        }
    }
    if (outcome == DONE)
        done = Py_NewRef(Py_None);
    else if (outcome == WAITS)
        done = finish(self, waiter, N._abandon_put);
    else if (outcome == UNUSUAL)
        done = fall_back(python_queue_put, self, args, nargs, NULL);
    Py_XDECREF(waiter);
    Py_DECREF(mutex);
    return done;
}

/* Takes an item where greenlets wait, or waits for one. */
static PyObject *get_in_turn(PyObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *waiter = NULL, *mutex = Py_NewRef(SLOT(self, Q.mutex)), *item = NULL;
    enum outcome outcome = FAILED;
    if (filled(SLOT(self, Q.queue)) || (waiter = new_waiter())) {
        if (do_method(mutex, N.acquire, NULL) == 0) {
            outcome = try_get(self, waiter, &item);
            settle(mutex, N.release, NULL, NULL);
        }
    }
    if (outcome == WAITS)
        item = finish(self, waiter, N._abandon_get);
    else if (outcome == UNUSUAL)
        item = fall_back(python_queue_get, self, args, nargs, NULL);
    Py_XDECREF(waiter);
    Py_DECREF(mutex);
    return item;
}

/* -- the methods --------------------------------------------------------------------------------------------------- */

/* Whether a call asks to wait without a limit, by the arguments from ``block`` on. */
static int waits(PyObject *const *args, Py_ssize_t nargs)
{
    return (nargs < 1 || args[0] == Py_True) && (nargs < 2 || args[1] == Py_None);
}

static PyObject *simplequeue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *append = SLOT(self, Q.append), *done;
    if (kwnames || nargs < 1 || nargs > 3)
        return fall_back(python_queue_put, self, args, nargs, kwnames);
    if (append && append != Py_None && SLOT(self, Q.puts) && SLOT(self, Q.links) == Py_None &&
        is_plain(SLOT(self, Q.queue)) && !filled(SLOT(self, Q.getters)) && !filled(SLOT(self, Q.peekers)))
        return insert(self, args[0]) < 0 ? NULL : Py_NewRef(Py_None);
    if (!stores_in_c(self))
        return fall_back(python_queue_put, self, args, nargs, kwnames);
    if (!waits(args + 1, nargs - 1) && !has_room(self))
        return fall_back(python_queue_put, self, args, nargs, kwnames);
    Py_INCREF(self);
    done = put_in_turn(self, args, nargs);
    Py_DECREF(self);
    return done;
}

static PyObject *simplequeue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *pop = SLOT(self, Q.pop), *queue = SLOT(self, Q.queue), *item;
    if (kwnames || nargs > 2 || !pop || pop == Py_None || !is_plain(queue))
        return fall_back(python_queue_get, self, args, nargs, kwnames);
    if (filled(queue) && !filled(SLOT(self, Q.putters)))
        return pop_item(self);
    if (!stores_in_c(self) || (!waits(args, nargs) && !filled(queue)))
        return fall_back(python_queue_get, self, args, nargs, kwnames);
    Py_INCREF(self);
    item = get_in_turn(self, args, nargs);
    Py_DECREF(self);
    return item;
}

/* Whether the type has the method of this file, and does not override it. */
static int has(PyObject *self, PyObject *name, void *function)
{
    PyObject *found = _PyType_Lookup(Py_TYPE(self), name);
    return found && Py_IS_TYPE(found, &PyMethodDescr_Type) &&
           (void *)((PyMethodDescrObject *)found)->d_method->ml_meth == function;
}

static PyObject *simplequeue_put_nowait(PyObject *self, PyObject *item)
{
    PyObject *stack[] = {self, item, Py_False};
    if (has(self, N.put, (void *)simplequeue_put))
        return simplequeue_put(self, stack + 1, 2, NULL);
    return PyObject_VectorcallMethod(N.put, stack, 3, NULL);
}

static PyObject *simplequeue_get_nowait(PyObject *self, PyObject *unused)
{
    PyObject *stack[] = {self, Py_False};
    (void)unused;
    if (has(self, N.get, (void *)simplequeue_get))
        return simplequeue_get(self, stack + 1, 1, NULL);
    return PyObject_VectorcallMethod(N.get, stack, 2, NULL);
}

static const struct method queue_methods[] = {
    {&python_queue_put, {"put", FASTCALL(simplequeue_put), "put($self, item, block=True, timeout=None)\n--\n\n"}},
    {&python_queue_get, {"get", FASTCALL(simplequeue_get), "get($self, block=True, timeout=None)\n--\n\n"}},
    {NULL, {"put_nowait", simplequeue_put_nowait, METH_O, "put_nowait($self, item)\n--\n\n"}},
    {NULL, {"get_nowait", simplequeue_get_nowait, METH_NOARGS, "get_nowait($self)\n--\n\n"}},
    {0},
};

const struct noun queue_noun = {"hubbub.queue.SimpleQueue", &Q.type, queue_fields, queue_methods};
