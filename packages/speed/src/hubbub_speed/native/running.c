/* Separation: the switch to the hub while event loops of asyncio run in the thread. */
#include "methods.h"

struct separation P;

static const struct field separation_fields[] = {
    {"_exchange", &P.exchange}, {"_get", &P.get}, {"home", &P.home}, {"plain", &P.plain}, {"_put", &P.put}, {"_tasks", &P.tasks}, {0}};

static PyObject *python_switch;

/* What asyncio keeps in the state of the native thread but belongs to one greenlet. References are owned. */
struct kept {
    PyObject *loop, *task, *firstiter, *finalizer;
    int depth;
};

/* Removes the current task of the loop and returns it: a new reference; NULL if there is none, or an exception. */
static PyObject *take_task(PyObject *self, PyObject *loop)
{
    PyObject *tasks = SLOT(self, P.tasks), *task, *stack[2] = {loop, Py_None};
    if (tasks == Py_None) {
        task = PyObject_Vectorcall(SLOT(self, P.exchange), stack, 2, NULL);
        if (task == Py_None)
            Py_CLEAR(task);
        return task;
    }
    task = Py_XNewRef(PyDict_GetItemWithError(tasks, loop));
    if (task && PyDict_DelItem(tasks, loop) < 0)
        Py_CLEAR(task);
    return task;
}

static int give_task(PyObject *self, PyObject *loop, PyObject *task)
{
    PyObject *tasks = SLOT(self, P.tasks), *done, *stack[2] = {loop, task};
    if (tasks != Py_None)
        return PyDict_SetItem(tasks, loop, task);
    done = PyObject_Vectorcall(SLOT(self, P.exchange), stack, 2, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int set_loop(PyObject *self, PyObject *loop)
{
    PyObject *done = PyObject_CallOneArg(SLOT(self, P.put), loop);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int put_aside(PyObject *self, struct kept *kept)
{
    PyThreadState *state = PyThreadState_Get();
    kept->task = take_task(self, kept->loop);
    if ((!kept->task && PyErr_Occurred()) || set_loop(self, Py_None) < 0)
        return -1;
    kept->firstiter = state->async_gen_firstiter;
    kept->finalizer = state->async_gen_finalizer;
    kept->depth = state->coroutine_origin_tracking_depth;
    state->async_gen_firstiter = state->async_gen_finalizer = NULL;
    state->coroutine_origin_tracking_depth = 0;
    return 0;
}

static int put_back(PyObject *self, struct kept *kept)
{
    PyThreadState *state = PyThreadState_Get();
    PyObject *firstiter = state->async_gen_firstiter, *finalizer = state->async_gen_finalizer;
    state->async_gen_firstiter = kept->firstiter;
    state->async_gen_finalizer = kept->finalizer;
    state->coroutine_origin_tracking_depth = kept->depth;
    Py_XDECREF(firstiter);
    Py_XDECREF(finalizer);
    if (set_loop(self, kept->loop) < 0)
        return -1;
    return kept->task ? give_task(self, kept->loop, kept->task) : 0;
}

/* A switch to whoever runs the loop. With a hub, it may be the switch of a greenlet that waits: see switch_out(). */
struct way {
    PyObject *hub, *loop, *const *args;
    Py_ssize_t nargs;
};

static PyObject *go(PyObject *self, const struct way *way)
{
    if (way->hub && SLOT(self, P.plain) == SLOT(self, P.home))
        return hand_over(way->hub, way->loop);
    return PyObject_Vectorcall(SLOT(self, P.plain), way->args, way->nargs, NULL);
}

static PyObject *switch_apart(PyObject *self, const struct way *way)
{
    PyObject *result, *type, *value, *traceback;
    struct kept kept = {0};
    kept.loop = PyObject_CallNoArgs(SLOT(self, P.get));
    if (!kept.loop)
        return NULL;
    if (kept.loop == Py_None) {
        Py_DECREF(kept.loop);
        return go(self, way);
    }
    Py_INCREF(self); /* the hub may have dropped it when the switch returns */
    if (put_aside(self, &kept) < 0) {
        result = NULL;
    } else {
        result = go(self, way);
        PyErr_Fetch(&type, &value, &traceback);
        if (put_back(self, &kept) < 0) {
            Py_CLEAR(result);
            Py_XDECREF(type);
            Py_XDECREF(value);
            Py_XDECREF(traceback);
        } else {
            PyErr_Restore(type, value, traceback);
        }
    }
    Py_XDECREF(kept.task);
    Py_DECREF(kept.loop);
    Py_DECREF(self);
    return result;
}

static int is_whole(PyObject *self)
{
    PyObject *tasks = SLOT(self, P.tasks);
    return SLOT(self, P.plain) && SLOT(self, P.get) && SLOT(self, P.put) && SLOT(self, P.exchange) && tasks &&
           (tasks == Py_None || PyDict_CheckExact(tasks));
}

static PyObject *separation_switch(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    const struct way way = {NULL, NULL, args, nargs};
    if (kwnames || !is_whole(self))
        return fall_back(python_switch, self, args, nargs, kwnames);
    return switch_apart(self, &way);
}

/* Whether a callable is the method of this file, bound to a separation. */
int is_separation(PyObject *callable)
{
    return PyCFunction_Check(callable) &&
           PyCFunction_GET_FUNCTION(callable) == (PyCFunction)(void (*)(void))separation_switch &&
           Py_IS_TYPE(PyCFunction_GET_SELF(callable), P.type);
}

/* Whether such a method leads to the hub, and not to a stand-in. */
int leads_home(PyObject *callable)
{
    PyObject *self = PyCFunction_GET_SELF(callable);
    return SLOT(self, P.plain) && SLOT(self, P.plain) == SLOT(self, P.home);
}

PyObject *separated_switch(PyObject *self, PyObject *hub, PyObject *loop)
{
    const struct way way = {hub, loop, NULL, 0};
    return is_whole(self) ? switch_apart(self, &way) : PyObject_CallMethodNoArgs(hub, N.switch_);
}

static const struct method separation_methods[] = {
    {&python_switch, {"switch", FASTCALL(separation_switch), "switch($self, *args)\n--\n\n"}},
    {0},
};

const struct noun separation_noun = {"hubbub.running_loop.Separation", &P.type, separation_fields, separation_methods};
