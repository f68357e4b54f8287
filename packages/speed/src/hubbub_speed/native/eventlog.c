/*
 * The ring of a hub's last events (hubbub._eventlog): what the one in Python notes, noted where the run queue is run,
 * in records of fixed size.
 *
 * A record has the number of a greenlet and a text, an exact str.  So it keeps no greenlet alive, and no code runs when
 * it is overwritten.  While no ring is on, each place that would note something pays for one comparison: is_logged().
 */
#include "methods.h"

#include <greenlet/greenlet.h>

enum kind { RUN, WAKE, SPAWN, TIMER, POLL, ERROR, KINDS };

static const char *const kind_texts[KINDS] = {"run", "wake", "spawn", "timer", "poll", "error"};
static PyObject *kind_names[KINDS];

struct record {
    PyObject *label; /* an exact str, or NULL */
    void *greenlet, *by;
    double began, ended;
    enum kind kind;
};

struct log {
    PyObject_HEAD
    struct record *records;
    struct record *next, *end; /* where the next is written, and where the ring begins anew */
    unsigned long long laps;   /* how often it has */
    double began, now;         /* when the call or the poll began that is under way; when the clock was read last */
    Py_ssize_t known;          /* how many calls of the run queue are older than that */
    void *starter;             /* the main greenlet, if it runs since the ring was put on, perhaps without a turn */
};

static PyTypeObject log_type, *maker_type;
static PyObject *python_make;

static struct log *log_of(PyObject *loop)
{
    PyObject *log = SLOT(loop, L.log);
    return log && Py_IS_TYPE(log, &log_type) ? (struct log *)log : NULL;
}

/* -- whose call it is, and its text, borrowed ------------------------------------------------------------------------ */

/* Nothing but an exact str is kept: anything else might run code when it is dropped. */
static PyObject *text(PyObject *name)
{
    return name && PyUnicode_CheckExact(name) ? name : NULL;
}

/* NULL: it is no function in Python, nor stands for one. */
static PyObject *name_of_function(PyObject *function)
{
    if (function && is_notification(function))
        return N.notification;
    if (function && PyMethod_Check(function))
        function = PyMethod_GET_FUNCTION(function);
    return function && PyFunction_Check(function) ? text(((PyFunctionObject *)function)->func_qualname) : NULL;
}

/* What a greenlet was named, or the function that it runs; NULL: it is a raw one. */
static PyObject *label_of(PyObject *greenlet)
{
    PyObject *name;
    if (!Py_IS_TYPE(greenlet, G.type) && !PyObject_TypeCheck(greenlet, G.type))
        return NULL;
    name = text(SLOT(greenlet, G.name));
    if (!name)
        name = name_of_function(SLOT(greenlet, G.run));
    return name ? name : text(((PyHeapTypeObject *)Py_TYPE(greenlet))->ht_name);
}

/* Whether it is a greenlet, and none that runs the loop. */
static int is_owner(PyObject *object)
{
    return Py_IS_TYPE(object, G.type) || Py_IS_TYPE(object, &PyGreenlet_Type) ||
           (PyGreenlet_Check(object) && !PyObject_TypeCheck(object, runner_type));
}

/* The greenlet that a call of the run queue goes on with; NULL: it is the hub's own. */
static PyObject *owner_of(PyObject *callback)
{
    PyObject *owner = Py_IS_TYPE(callback, W.type) ? SLOT(callback, W.greenlet) : switched_to(callback);
    return owner && is_owner(owner) ? owner : NULL;
}

/* -- records --------------------------------------------------------------------------------------------------------- */

static void add_record(struct log *log, enum kind kind, double began, void *greenlet, PyObject *label, void *by)
{
    struct record *record = log->next;
    PyObject *old = record->label;
    record->kind = kind;
    record->began = began;
    record->ended = log->now;
    record->greenlet = greenlet;
    record->label = Py_XNewRef(label);
    record->by = by;
    if (++log->next == log->end) {
        log->next = log->records;
        log->laps++;
    }
    Py_XDECREF(old);
}

/* What ran until now. */
static void add_run(struct log *log, void *greenlet, PyObject *label)
{
    add_record(log, RUN, log->began, greenlet, label, NULL);
    log->began = log->now;
    log->starter = NULL;
}

static void add_queued(struct log *log, PyObject *callback, enum kind kind, void *by)
{
    PyObject *owner = owner_of(callback);
    if (owner && !PyGreenlet_STARTED((PyGreenlet *)owner))
        kind = SPAWN;
    if (owner)
        add_record(log, kind, log->now, owner, label_of(owner), by);
}

/* Who has come into the run queue since the last call. */
static void add_all_queued(struct log *log, PyObject *loop, enum kind kind, void *by)
{
    PyObject *ready = SLOT(loop, L.ready), *callback;
    Py_ssize_t place, size = Py_SIZE(ready);
    for (place = log->known < 0 ? 0 : log->known; place < size; place++) {
        callback = deque_type->tp_as_sequence->sq_item(ready, place);
        if (!callback)
            break; /* it is there: an exception may be set, but not by this */
        add_queued(log, callback, kind, by);
        Py_DECREF(callback);
    }
    log->known = size;
}

/* -- what the loop tells, while a ring is on ------------------------------------------------------------------------- */

/* A turn begins with its run queue. */
void log_turn(PyObject *loop)
{
    struct log *log = log_of(loop);
    if (!log)
        return;
    log->now = monotonic();
    add_all_queued(log, loop, WAKE, log->starter);
    add_record(log, log->starter ? RUN : POLL, log->began, log->starter, NULL, NULL);
    log->began = log->now;
    log->starter = NULL;
}

/* The first call was taken out of the run queue. */
void log_taken(PyObject *loop)
{
    struct log *log = log_of(loop);
    if (log)
        log->known--;
}

/* Something else than the run queue has queued calls: before it did, and then, with ``timer``, if it was a timer. */
void log_queued(PyObject *loop, int timer)
{
    struct log *log = log_of(loop);
    if (!log)
        return;
    log->now = PyFloat_AS_DOUBLE(SLOT(loop, L.time));
    add_all_queued(log, loop, timer ? TIMER : WAKE, NULL);
}

/* The greenlet that runs is about to give way: whom it has woken. */
void log_woken(PyObject *loop, PyObject *greenlet)
{
    struct log *log = log_of(loop);
    if (!log)
        return;
    log->now = monotonic();
    add_all_queued(log, loop, WAKE, greenlet);
}

/* It has given way, at the time of log_woken(). */
void log_ran(PyObject *loop, PyObject *greenlet)
{
    struct log *log = log_of(loop);
    if (!log)
        return;
    add_run(log, greenlet, label_of(greenlet));
}

/* It has put itself into the empty run queue, so it goes on at once. */
void log_next(PyObject *loop, PyObject *greenlet)
{
    struct log *log = log_of(loop);
    if (!log)
        return;
    log->now = monotonic();
    add_record(log, WAKE, log->now, greenlet, label_of(greenlet), greenlet);
    add_run(log, greenlet, label_of(greenlet));
}

/* A call of the run queue has returned. */
void log_call(PyObject *loop, PyObject *callback)
{
    struct log *log = log_of(loop);
    PyObject *owner = owner_of(callback);
    if (!log)
        return;
    log_woken(loop, owner);
    add_run(log, owner, owner ? label_of(owner) : name_of_function(callback));
}

/* -- the ring as an object ------------------------------------------------------------------------------------------- */

static PyObject *log_start(PyObject *self, PyObject *args)
{
    struct log *log = (struct log *)self;
    PyObject *loop, *starter;
    if (!PyArg_ParseTuple(args, "OO!:start", &loop, &PyLong_Type, &starter))
        return NULL;
    log->starter = PyLong_AsVoidPtr(starter);
    if (!log->starter && PyErr_Occurred())
        return NULL;
    if (!PyObject_TypeCheck(loop, L.type) || !PyObject_TypeCheck(SLOT(loop, L.ready), deque_type))
        return PyErr_Format(PyExc_TypeError, "a loop whose run queue is a deque is needed, not %R", loop);
    log->began = log->now = monotonic();
    log->known = Py_SIZE(SLOT(loop, L.ready));
    put(loop, L.log, self);
    Py_RETURN_NONE;
}

static PyObject *log_stop(PyObject *self, PyObject *loop)
{
    if (!PyObject_TypeCheck(loop, L.type))
        return PyErr_Format(PyExc_TypeError, "a loop is needed, not %R", loop);
    if (SLOT(loop, L.log) == self)
        put(loop, L.log, Py_None);
    Py_RETURN_NONE;
}

static PyObject *log_failed(PyObject *self, PyObject *args)
{
    struct log *log = (struct log *)self;
    PyObject *ident, *label;
    void *greenlet;
    if (!PyArg_ParseTuple(args, "O!U:failed", &PyLong_Type, &ident, &label))
        return NULL;
    greenlet = PyLong_AsVoidPtr(ident);
    if (!greenlet && PyErr_Occurred())
        return NULL;
    log->now = monotonic();
    add_record(log, ERROR, log->now, greenlet, text(label), NULL);
    Py_RETURN_NONE;
}

static PyObject *entry_of(const struct record *record)
{
    PyObject *greenlet = PyLong_FromVoidPtr(record->greenlet), *by = PyLong_FromVoidPtr(record->by), *entry = NULL;
    if (greenlet && by)
        entry = Py_BuildValue("OddOOO", kind_names[record->kind], record->began, record->ended, greenlet,
                              record->label ? record->label : Py_None, by);
    Py_XDECREF(greenlet);
    Py_XDECREF(by);
    return entry;
}

/* How many records there have been. */
static unsigned long long count_of(const struct log *log)
{
    return log->laps * (unsigned long long)(log->end - log->records) + (unsigned long long)(log->next - log->records);
}

static PyObject *log_entries(PyObject *self, PyObject *unused)
{
    struct log *log = (struct log *)self;
    unsigned long long size = (unsigned long long)(log->end - log->records), end = count_of(log);
    unsigned long long place = end > size ? end - size : 0;
    PyObject *entries = PyList_New(0);
    (void)unused;
    for (; entries && place < end; place++) {
        struct record record;
        PyObject *entry;
        if (count_of(log) - place > size)
            continue; /* making the objects has run destructors, and what they did has taken its place */
        record = log->records[place % size];
        Py_XINCREF(record.label);
        entry = entry_of(&record);
        Py_XDECREF(record.label);
        if (!entry || PyList_Append(entries, entry) < 0)
            Py_CLEAR(entries);
        Py_XDECREF(entry);
    }
    return entries;
}

static void log_dealloc(PyObject *self)
{
    struct log *log = (struct log *)self;
    struct record *record;
    for (record = log->records; record != log->end; record++)
        Py_XDECREF(record->label);
    PyMem_RawFree(log->records);
    PyObject_Free(self);
}

static PyMethodDef log_methods[] = {
    {"start", log_start, METH_VARARGS, "start($self, loop, starter, /)\n--\n\n"},
    {"stop", log_stop, METH_O, "stop($self, loop, /)\n--\n\n"},
    {"failed", log_failed, METH_VARARGS, "failed($self, ident, label, /)\n--\n\n"},
    {"entries", log_entries, METH_NOARGS, "entries($self)\n--\n\n"},
    {0},
};

static PyTypeObject log_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hubbub_speed._methods.EventLog",
    .tp_doc = "A ring of a hub's last events; see hubbub._eventlog.",
    .tp_basicsize = sizeof(struct log),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = log_dealloc,
    .tp_methods = log_methods,
};

static PyObject *logs_make(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct log *log;
    struct record *records;
    Py_ssize_t size;
    if (kwnames || nargs != 2 || !PyObject_TypeCheck(args[0], L.type))
        return fall_back(python_make, self, args, nargs, kwnames);
    size = PyLong_AsSsize_t(args[1]);
    if (size <= 0)
        return PyErr_Occurred() ? NULL : PyErr_Format(PyExc_ValueError, "more than 0 events, not %zd", size);
    records = PyMem_RawCalloc((size_t)size, sizeof *records);
    log = records ? PyObject_New(struct log, &log_type) : NULL;
    if (!log) {
        PyMem_RawFree(records);
        return PyErr_NoMemory();
    }
    log->records = log->next = records;
    log->end = records + size;
    log->laps = 0;
    log->began = log->now = 0.0;
    log->known = 0;
    log->starter = NULL;
    return (PyObject *)log;
}

int learn_eventlog(void)
{
    int i;
    for (i = 0; i < KINDS; i++)
        if (!kind_names[i] && !(kind_names[i] = PyUnicode_InternFromString(kind_texts[i])))
            return -1;
    PyGreenlet_Import();
    return PyErr_Occurred() ? -1 : PyType_Ready(&log_type);
}

static const struct method logs_methods[] = {
    {&python_make, {"make", FASTCALL(logs_make), "make($self, loop, size)\n--\n\n"}},
    {0},
};

const struct noun logs_noun = {"hubbub._eventlog._Logs", &maker_type, NULL, logs_methods};
