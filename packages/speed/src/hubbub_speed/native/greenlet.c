/* Greenlet: making and starting one, its links, and its end. Its body, run, stays in Python: reports read its frame. */
#include "methods.h"

#include <greenlet/greenlet.h>

struct greenlet G;

static const struct field greenlet_fields[] = {
    {"_error", &G.error}, {"_key", &G.key},     {"_links", &G.links}, {"_name", &G.name},     {"_notifying", &G.notifying},
    {"_run", &G.run},     {"_start", &G.start}, {"_state", &G.state}, {"_traceback", &G.traceback}, {"args", &G.args},
    {"kwargs", &G.kwargs}, {"made", &G.made},   {"value", &G.value},  {0}};

enum { FIELDS = sizeof greenlet_fields / sizeof *greenlet_fields - 1 };

static PyObject *python_init, *python_start, *python_finish, *python_ready, *python_rawlink, *python_unlink,
    *python_notify_links;
static PyObject *own_dead, *no_kwargs, *no_args, *new_, *scheduled, *done;
static PyObject *field_names[FIELDS], *field_descriptors[FIELDS];
static const PyGetSetDef *raw_context, *raw_dead; /* greenlet.gr_context, greenlet.dead */

/* Whether a type has what Greenlet itself has where the methods here look: its slots, and its dead. */
static int is_plain_type(PyTypeObject *type)
{
    static struct proof proof;
    int i;
    if (is_proved(&proof, type))
        return 1;
    for (i = 0; i < FIELDS; i++)
        if (_PyType_Lookup(type, field_names[i]) != field_descriptors[i])
            return 0;
    if (_PyType_Lookup(type, N.dead) != own_dead)
        return 0;
    prove(&proof, type);
    return 1;
}

/* Whether it was made, and the collector has not taken it apart. */
static int is_plain(PyObject *self)
{
    return is_plain_type(Py_TYPE(self)) && SLOT(self, G.state) && SLOT(self, G.links) && SLOT(self, G.notifying);
}

/* The loop that it runs on, a new reference. NULL: an exception, or, without one, its parent is no usual hub. */
static PyObject *own_loop(PyObject *self)
{
    PyObject *hub = (PyObject *)PyGreenlet_GetParent((PyGreenlet *)self), *loop = NULL;
    if (hub && PyObject_TypeCheck(hub, hub_type)) {
        loop = loop_of(hub);
        if (loop && !PyObject_TypeCheck(loop, L.type))
            Py_CLEAR(loop);
    }
    Py_XDECREF(hub);
    return loop;
}

/* Puts a callable into the run queue. Steals the reference to it, which may be NULL with an exception. */
static int queue_call(PyObject *loop, PyObject *callable)
{
    int failed = callable ? queue_append(SLOT(loop, L.ready), callable) : -1;
    Py_XDECREF(callable);
    return failed;
}

/* -- making ------------------------------------------------------------------------------------------------------- */

static int is_plain_function(PyObject *function)
{
    return PyFunction_Check(function) &&
           !(((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR));
}

/* Whether the function to run is of a usual kind, and certainly no coroutine function. */
static int is_usual(PyObject *run)
{
    return is_plain_function(run) || PyCFunction_CheckExact(run) ||
           (Py_IS_TYPE(run, &PyMethod_Type) && is_plain_function(PyMethod_GET_FUNCTION(run)));
}

static int copy_context_into(PyObject *self)
{
    PyObject *context = PyContext_CopyCurrent();
    int failed = context ? raw_context->set(self, context, raw_context->closure) : -1;
    Py_XDECREF(context);
    return failed;
}

/* Sets the slots. -1: an exception. */
static int fill(PyObject *self, PyObject *loop, PyObject *args, PyObject *kwargs)
{
    PyObject *rest = PyTuple_GetSlice(args, 1, PyTuple_GET_SIZE(args)), *words;
    words = kwargs && PyDict_GET_SIZE(kwargs) ? PyDict_Copy(kwargs) : Py_NewRef(no_kwargs);
    if (!rest || !words) {
        Py_XDECREF(rest);
        Py_XDECREF(words);
        return -1;
    }
    put(self, G.made, SLOT(loop, L.time));
    put(self, G.run, PyTuple_GET_ITEM(args, 0));
    Py_XSETREF(SLOT(self, G.args), rest);
    Py_XSETREF(SLOT(self, G.kwargs), words);
    put(self, G.value, Py_None);
    put(self, G.error, Py_None);
    put(self, G.traceback, Py_None);
    put(self, G.key, Py_None);
    put(self, G.start, Py_None);
    put(self, G.state, new_);
    put(self, G.links, Py_None);
    put(self, G.notifying, Py_False);
    put(self, G.name, Py_None);
    return 0;
}

static int call_spawn_hook(PyObject *self)
{
    PyObject *hook, *told;
    if (_PyType_Lookup(G.type, N.spawn_hook) == Py_None)
        return 0;
    hook = PyObject_GetAttr((PyObject *)G.type, N.spawn_hook);
    told = hook ? PyObject_CallOneArg(hook, self) : NULL;
    Py_XDECREF(hook);
    Py_XDECREF(told);
    return told ? 0 : -1;
}

static int init_in_python(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *bound = PyMethod_New(python_init, self), *result = bound ? PyObject_Call(bound, args, kwargs) : NULL;
    Py_XDECREF(bound);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static int greenlet_init(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *hub, *loop;
    int failed;
    if (!PyTuple_GET_SIZE(args) || !is_usual(PyTuple_GET_ITEM(args, 0)) || !is_plain_type(Py_TYPE(self)) ||
        (kwargs && PyDict_Contains(kwargs, N.context)))
        return PyErr_Occurred() ? -1 : init_in_python(self, args, kwargs);
    hub = current_hub();
    loop = hub ? loop_of(hub) : NULL;
    if (!loop || !PyObject_TypeCheck(loop, L.type)) {
        failed = loop ? init_in_python(self, args, kwargs) : -1;
        Py_XDECREF(hub);
        Py_XDECREF(loop);
        return failed;
    }
    failed = PyGreenlet_SetParent((PyGreenlet *)self, (PyGreenlet *)hub);
    Py_DECREF(hub);
    if (failed == 0)
        failed = copy_context_into(self);
    if (failed == 0)
        failed = fill(self, loop, args, kwargs);
    Py_DECREF(loop);
    return failed < 0 ? -1 : call_spawn_hook(self);
}

static PyObject *greenlet_start(PyObject *self, PyObject *unused)
{
    PyObject *loop = is_plain(self) ? own_loop(self) : NULL;
    int failed = 0;
    (void)unused;
    if (!loop)
        return PyErr_Occurred() ? NULL : fall_back(python_start, self, NULL, 0, NULL);
    if (SLOT(self, G.state) == new_) {
        put(self, G.state, scheduled);
        failed = queue_call(loop, switch_of(self));
    }
    Py_DECREF(loop);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* -- links -------------------------------------------------------------------------------------------------------- */

static int schedule_links(PyObject *self)
{
    PyObject *loop;
    int failed;
    if (SLOT(self, G.notifying) == Py_True)
        return 0;
    loop = own_loop(self);
    if (!loop)
        return PyErr_Occurred() ? -1 : do_method(self, N._schedule_links, NULL);
    put(self, G.notifying, Py_True);
    failed = queue_call(loop, PyObject_GetAttr(self, N._notify_links));
    Py_DECREF(loop);
    return failed;
}

static PyObject *greenlet_rawlink(PyObject *self, PyObject *callback)
{
    PyObject *links = is_plain(self) ? SLOT(self, G.links) : NULL;
    int failed = 0;
    if (!links || !PyCallable_Check(callback) || (links != Py_None && !PyList_CheckExact(links)))
        return fall_back(python_rawlink, self, &callback, 1, NULL);
    if (links != Py_None) {
        failed = PyList_Append(links, callback);
    } else {
        links = PyList_New(1);
        if (!links)
            return NULL;
        PyList_SET_ITEM(links, 0, Py_NewRef(callback));
        Py_SETREF(SLOT(self, G.links), links);
    }
    if (!failed && SLOT(self, G.state) == done)
        failed = schedule_links(self);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *greenlet_unlink(PyObject *self, PyObject *callback)
{
    PyObject *links = is_plain(self) ? SLOT(self, G.links) : NULL;
    if (!links || (links != Py_None && !PyList_CheckExact(links)))
        return fall_back(python_unlink, self, &callback, 1, NULL);
    if (!filled(links))
        Py_RETURN_NONE;
    if (PyList_GET_ITEM(links, 0) != callback) /* one that compares equal may stand before it */
        return fall_back(python_unlink, self, &callback, 1, NULL);
    if (PyList_SetSlice(links, 0, 1, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* A link has failed: the exception is set. -1: so has the report. */
static int tell_of_link(PyObject *self, PyObject *link)
{
    PyObject *error = caught(), *before[3], *told;
    PyErr_GetExcInfo(&before[0], &before[1], &before[2]);
    /* As in an except clause; it takes the references. */
    PyErr_SetExcInfo(Py_NewRef(Py_TYPE(error)), Py_NewRef(error), PyException_GetTraceback(error));
    told = PyObject_CallMethodObjArgs(self, N._link_failed, link, error, NULL);
    PyErr_SetExcInfo(before[0], before[1], before[2]);
    Py_DECREF(error);
    Py_XDECREF(told);
    return told ? 0 : -1;
}

static PyObject *greenlet_notify_links(PyObject *self, PyObject *unused)
{
    PyObject *links, *link, *result;
    (void)unused;
    if (!is_plain(self))
        return fall_back(python_notify_links, self, NULL, 0, NULL);
    put(self, G.notifying, Py_False);
    while ((links = SLOT(self, G.links)) && filled(links)) {
        if (!PyList_CheckExact(links))
            return fall_back(python_notify_links, self, NULL, 0, NULL);
        link = Py_NewRef(PyList_GET_ITEM(links, 0));
        if (PyList_SetSlice(links, 0, 1, NULL) < 0) {
            Py_DECREF(link);
            return NULL;
        }
        result = PyObject_CallOneArg(link, self);
        if (!result && tell_of_link(self, link) < 0) {
            Py_DECREF(link);
            return NULL;
        }
        Py_DECREF(link);
        Py_XDECREF(result);
    }
    Py_RETURN_NONE;
}

/* Whether a callable is the method above, bound to a greenlet. */
int is_notification(PyObject *callable)
{
    return PyCFunction_Check(callable) && PyCFunction_GET_FUNCTION(callable) == greenlet_notify_links;
}

/* -- the end ------------------------------------------------------------------------------------------------------ */

static PyObject *greenlet_finish(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (!is_plain(self))
        return fall_back(python_finish, self, NULL, 0, NULL);
    put(self, G.state, done);
    put(self, G.args, no_args);
    put(self, G.kwargs, no_kwargs);
    if (SLOT(self, G.links) && filled(SLOT(self, G.links)) && schedule_links(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *greenlet_ready(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (!is_plain(self))
        return fall_back(python_ready, self, NULL, 0, NULL);
    if (SLOT(self, G.state) == done)
        Py_RETURN_TRUE;
    return raw_dead->get(self, raw_dead->closure);
}

/* -- learning ----------------------------------------------------------------------------------------------------- */

/* An attribute in C of greenlet.greenlet. */
static const PyGetSetDef *raw_attribute(const char *name)
{
    PyObject *descriptor = PyObject_GetAttrString((PyObject *)&PyGreenlet_Type, name); /* kept for ever */
    if (descriptor && !Py_IS_TYPE(descriptor, &PyGetSetDescr_Type)) {
        PyErr_Format(PyExc_TypeError, "greenlet.%s is not an attribute in C", name);
        return NULL;
    }
    return descriptor ? ((PyGetSetDescrObject *)descriptor)->d_getset : NULL;
}

int learn_greenlet(PyObject *parts)
{
    int i;
    PyGreenlet_Import();
    if (PyErr_Occurred())
        return -1;
    for (i = 0; i < FIELDS; i++) {
        field_names[i] = PyUnicode_InternFromString(greenlet_fields[i].name);
        field_descriptors[i] = field_names[i] ? Py_XNewRef(_PyType_Lookup(G.type, field_names[i])) : NULL;
        if (!field_descriptors[i])
            return -1;
    }
    own_dead = Py_XNewRef(_PyType_Lookup(G.type, N.dead));
    no_kwargs = wanted_object(parts, "no_kwargs");
    no_args = PyTuple_New(0);
    new_ = PyLong_FromLong((long)C.new_);
    scheduled = PyLong_FromLong((long)C.scheduled);
    done = PyLong_FromLong((long)C.done);
    raw_context = raw_attribute("gr_context");
    raw_dead = raw_attribute("dead");
    return own_dead && no_kwargs && no_args && new_ && scheduled && done && raw_context && raw_dead ? 0 : -1;
}

static const struct slot greenlet_slots[] = {{"__init__", (void *)greenlet_init, &python_init}, {0}};

static const struct method greenlet_methods[] = {
    {&python_start, {"start", greenlet_start, METH_NOARGS, "start($self)\n--\n\n"}},
    {&python_finish, {"_finish", greenlet_finish, METH_NOARGS, "_finish($self)\n--\n\n"}},
    {&python_ready, {"ready", greenlet_ready, METH_NOARGS, "ready($self)\n--\n\n"}},
    {&python_rawlink, {"rawlink", greenlet_rawlink, METH_O, "rawlink($self, callback)\n--\n\n"}},
    {&python_unlink, {"unlink", greenlet_unlink, METH_O, "unlink($self, callback)\n--\n\n"}},
    {&python_notify_links, {"_notify_links", greenlet_notify_links, METH_NOARGS, "_notify_links($self)\n--\n\n"}},
    {0},
};

const struct noun greenlet_noun = {"hubbub.greenlet.Greenlet", &G.type, greenlet_fields, greenlet_methods, greenlet_slots};
