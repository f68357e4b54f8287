/*
 * SimpleQueue.put and get, and the two that do not wait.
 * With a plain deque or list all of it happens in C with the GIL held: no other thread or greenlet runs in between.
 */
#include "methods.h"

struct queue Q;

static const struct field queue_fields[] = {
    {"_append", &Q.append},   {"_pop", &Q.pop},         {"_puts", &Q.puts},   {"_getters", &Q.getters},
    {"_peekers", &Q.peekers}, {"_putters", &Q.putters}, {"_links", &Q.links}, {"queue", &Q.queue}, {0}};

static PyObject *python_queue_put, *python_queue_get;

static int is_plain(PyObject *queue)
{
    return queue && (Py_IS_TYPE(queue, deque_type) || PyList_CheckExact(queue));
}

static PyObject *simplequeue_put(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *append = SLOT(self, Q.append), *puts = SLOT(self, Q.puts), *done;
    if (kwnames || nargs < 1 || nargs > 3 || !append || append == Py_None || !puts || SLOT(self, Q.links) != Py_None ||
        !is_plain(SLOT(self, Q.queue)) || filled(SLOT(self, Q.getters)) || filled(SLOT(self, Q.peekers)))
        return fall_back(python_queue_put, self, args, nargs, kwnames);
    if (puts != Py_None) {
        done = PyIter_Next(puts);
        if (!done)
            return NULL;
        Py_DECREF(done);
    }
    if (is_deque(SLOT(self, Q.queue)))
        return queue_append(SLOT(self, Q.queue), args[0]) < 0 ? NULL : Py_NewRef(Py_None);
    return PyObject_CallOneArg(append, args[0]);
}

static PyObject *simplequeue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *pop = SLOT(self, Q.pop), *queue = SLOT(self, Q.queue);
    if (kwnames || nargs > 2 || !pop || pop == Py_None || !is_plain(queue) || !filled(queue) ||
        filled(SLOT(self, Q.putters)))
        return fall_back(python_queue_get, self, args, nargs, kwnames);
    return is_deque(queue) ? queue_popleft(queue) : PyObject_CallNoArgs(pop);
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
