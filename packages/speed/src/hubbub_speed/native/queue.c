/*
 * SimpleQueue.put and get.
 * With a plain deque or list all of it happens in C with the GIL held: nobody can come in between.
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
    return PyObject_CallOneArg(append, args[0]);
}

static PyObject *simplequeue_get(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *pop = SLOT(self, Q.pop), *queue = SLOT(self, Q.queue);
    if (kwnames || nargs > 2 || !pop || pop == Py_None || !is_plain(queue) || !filled(queue) ||
        filled(SLOT(self, Q.putters)))
        return fall_back(python_queue_get, self, args, nargs, kwnames);
    return PyObject_CallNoArgs(pop);
}

static const struct method queue_methods[] = {
    {&python_queue_put, {"put", FASTCALL(simplequeue_put), "put($self, item, block=True, timeout=None)\n--\n\n"}},
    {&python_queue_get, {"get", FASTCALL(simplequeue_get), "get($self, block=True, timeout=None)\n--\n\n"}},
    {0},
};

const struct noun queue_noun = {"hubbub.queue.SimpleQueue", &Q.type, queue_fields, queue_methods};
