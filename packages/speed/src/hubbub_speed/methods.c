/*
 * Methods of hubbub's core in C: those that run for every switch, wait, event and timer.
 *
 * They are set on the core's own classes in place of the Python methods of the same names
 * (hubbub.acceleration says which), work on the same objects, and do the same.  So they may be put in and
 * taken out at any time, with greenlets in the middle of a wait.
 *
 * - A method here does the common case.  Whatever is unusual (keyword arguments, a closed descriptor, a
 *   wait outside a greenlet of the hub's) is handed to the Python method it stands for: see fall_back().
 * - Attributes that core keeps in __slots__ are read and written in place; where they lie is asked of the
 *   classes once, in bind().  A slot that is not set is NULL, and unusual.
 * - A switch may come back much later, in another order, and with an exception: what is used after one is
 *   owned, and what must happen is written after the call on both ways out.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <greenlet/greenlet.h>
#include <sys/socket.h>
#include <time.h>

#ifdef Py_GIL_DISABLED
#error "hubbub-speed is not for free-threaded builds of CPython"
#endif

/* As in hubbub.loop.base: what is called unchecked, how many of those make a turn, stopped timers before a sweep. */
enum { SLICE = 16, SLICES = 64 };
enum { DEADLINE, SEQUENCE, CALLBACK, REPEAT, REF, ENTRY };
enum { SWEEP_ABOVE = 64 };
static const double LOOK_AGAIN = 0.5; /* seconds, as there */

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* -- what bind() learns ------------------------------------------------------------------------------- */

static struct {
    PyTypeObject *type;
    Py_ssize_t loop, switch_, done, since, user, value;
} W;

static struct {
    PyTypeObject *type;
    Py_ssize_t armed, handle, loop, others, ready, since, user, waiter;
} D;

static struct {
    PyTypeObject *type;
    Py_ssize_t closed, level, read, sticky, watchers, write;
} R;

static struct {
    PyTypeObject *type;
    Py_ssize_t ready, handles, hub, time, born, in_poll, calls, break_, heap, sequence, stopped, unref, witness, checks,
        destroyed, idles, iteration, longest_turn, native, outside, prepares;
} L;

static struct {
    PyTypeObject *type;
    Py_ssize_t permits, reserve, waiters, links;
} S;

static struct {
    PyTypeObject *type;
    Py_ssize_t append, pop, puts, getters, peekers, putters, links, queue;
} Q;

static struct {
    PyTypeObject *type;
    Py_ssize_t limit, read, shortens;
} K;

static struct {
    PyTypeObject *type;
    Py_ssize_t fire, greenlet, key, loop, ref, exception, seconds;
} T;

static PyTypeObject *hub_type;
static PyTypeObject *deque_type;
static PyObject *deque_append, *deque_popleft, *deque_pop;
static PyObject *partial_type;
static PyObject *closed_error, *get_hub, *ring_poll;
static PyObject *expired; /* what a greenlet is switched to with when its time is up */

struct field {
    const char *name;
    Py_ssize_t *offset;
};

static const struct field waiter_fields[] = {
    {"_loop", &W.loop}, {"_switch", &W.switch_}, {"done", &W.done}, {"since", &W.since}, {"user", &W.user}, {"value", &W.value}, {0}};
static const struct field direction_fields[] = {
    {"armed", &D.armed}, {"handle", &D.handle}, {"loop", &D.loop},     {"others", &D.others},
    {"ready", &D.ready}, {"since", &D.since},   {"user", &D.user}, {"waiter", &D.waiter}, {0}};
static const struct field readiness_fields[] = {{"closed", &R.closed}, {"level", &R.level},
                                                {"read", &R.read},     {"sticky", &R.sticky},
                                                {"write", &R.write},   {"watchers", &R.watchers}, {0}};
static const struct field loop_fields[] = {
    {"ready", &L.ready},     {"handles", &L.handles},   {"hub", &L.hub},           {"time", &L.time},
    {"born", &L.born},       {"in_poll", &L.in_poll},   {"calls", &L.calls},       {"_break", &L.break_},
    {"_heap", &L.heap},      {"_sequence", &L.sequence}, {"_stopped", &L.stopped}, {"_unref", &L.unref},
    {"_witness", &L.witness}, {"checks", &L.checks},    {"destroyed", &L.destroyed}, {"idles", &L.idles},
    {"iteration", &L.iteration}, {"native", &L.native}, {"longest_turn", &L.longest_turn}, {"outside", &L.outside},
    {"prepares", &L.prepares}, {0}};
static const struct field semaphore_fields[] = {
    {"_permits", &S.permits}, {"_reserve", &S.reserve}, {"_waiters", &S.waiters}, {"_links", &S.links}, {0}};
static const struct field queue_fields[] = {
    {"_append", &Q.append},   {"_pop", &Q.pop},         {"_puts", &Q.puts},   {"_getters", &Q.getters},
    {"_peekers", &Q.peekers}, {"_putters", &Q.putters}, {"_links", &Q.links}, {"queue", &Q.queue}, {0}};

static const struct field socket_fields[] = {
    {"_limit", &K.limit}, {"_read", &K.read}, {"_shortens", &K.shortens}, {0}};
static const struct field timeout_fields[] = {
    {"_fire", &T.fire}, {"_greenlet", &T.greenlet},   {"_key", &T.key}, {"_loop", &T.loop},
    {"_ref", &T.ref},   {"exception", &T.exception}, {"seconds", &T.seconds}, {0}};

static const struct {
    const char *name;
    PyTypeObject **type;
    const struct field *fields;
} layouts[] = {
    {"Waiter", &W.type, waiter_fields},
    {"Direction", &D.type, direction_fields},
    {"Readiness", &R.type, readiness_fields},
    {"BaseLoop", &L.type, loop_fields},
    {"Semaphore", &S.type, semaphore_fields},
    {"SimpleQueue", &Q.type, queue_fields},
    {"Socket", &K.type, socket_fields},
    {"Timeout", &T.type, timeout_fields},
    {0},
};

/* Names of attributes and methods, interned by bind(). */
static struct {
    PyObject *arm_direction, *_abandon, *append, *popleft, *switch_, *loop, *unschedule, *wake, *call_later,
        *cancel_later, *handle_error, *forget, *_fire_watchers, *fire, *READ_BITS, *WRITE_BITS, *STICKY_BITS,
        *turn_seconds, *_sweep, *run_ready, *dispatch, *poll, *_expire, *_alive, *_call_phase, *_call_idles, *_wake_all,
        *_check, *_time_left, *_after_read, *_send_rest, *_expired, *queue, *_hand_over, *_withdraw, *release;
} N;

static const struct {
    PyObject **name;
    const char *text;
} names[] = {
    {&N.arm_direction, "arm_direction"},
    {&N._abandon, "_abandon"},
    {&N.append, "append"},
    {&N.popleft, "popleft"},
    {&N.switch_, "switch"},
    {&N.loop, "loop"},
    {&N.unschedule, "unschedule"},
    {&N.wake, "wake"},
    {&N.call_later, "call_later"},
    {&N.cancel_later, "cancel_later"},
    {&N.handle_error, "handle_error"},
    {&N.forget, "forget"},
    {&N._fire_watchers, "_fire_watchers"},
    {&N.fire, "fire"},
    {&N.READ_BITS, "READ_BITS"},
    {&N.WRITE_BITS, "WRITE_BITS"},
    {&N.STICKY_BITS, "STICKY_BITS"},
    {&N.turn_seconds, "turn_seconds"},
    {&N._sweep, "_sweep"},
    {&N.run_ready, "run_ready"},
    {&N.dispatch, "dispatch"},
    {&N.poll, "poll"},
    {&N._expire, "_expire"},
    {&N._alive, "_alive"},
    {&N._call_phase, "_call_phase"},
    {&N._call_idles, "_call_idles"},
    {&N._wake_all, "_wake_all"},
    {&N._check, "_check"},
    {&N._time_left, "_time_left"},
    {&N._after_read, "_after_read"},
    {&N._send_rest, "_send_rest"},
    {&N._expired, "_expired"},
    {&N.queue, "queue"},
    {&N._hand_over, "_hand_over"},
    {&N._withdraw, "_withdraw"},
    {&N.release, "release"},
    {0},
};

/* -- small things ----------------------------------------------------------------------------------------- */

static void put(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = Py_NewRef(value);
    Py_XDECREF(old);
}

/* time.monotonic() */
static double monotonic(void)
{
#ifdef __APPLE__
    return (double)clock_gettime_nsec_np(CLOCK_UPTIME_RAW) * 1e-9;
#else
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
#endif
}

/* Adds to an int that lives in a slot. */
static int add(PyObject *object, Py_ssize_t offset, long long change)
{
    PyObject *sum;
    long long value = PyLong_AsLongLong(SLOT(object, offset));
    if (value == -1 && PyErr_Occurred())
        return -1;
    sum = PyLong_FromLongLong(value + change);
    if (!sum)
        return -1;
    Py_SETREF(SLOT(object, offset), sum);
    return 0;
}

/* Calls the Python method that stands behind one of ours. */
static PyObject *fall_back(PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *few[8], **all = few, *result;
    Py_ssize_t count = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (count + 1 > (Py_ssize_t)Py_ARRAY_LENGTH(few)) {
        all = PyMem_New(PyObject *, count + 1);
        if (!all)
            return PyErr_NoMemory();
    }
    all[0] = self;
    if (count)
        memcpy(all + 1, args, (size_t)count * sizeof *args);
    result = PyObject_Vectorcall(original, all, (size_t)nargs + 1, kwnames);
    if (all != few)
        PyMem_Free(all);
    return result;
}

static int queue_append(PyObject *queue, PyObject *item)
{
    PyObject *pair[] = {queue, item}, *result;
    if (Py_IS_TYPE(queue, deque_type))
        result = PyObject_Vectorcall(deque_append, pair, 2, NULL);
    else
        result = PyObject_CallMethodOneArg(queue, N.append, item);
    if (!result)
        return -1;
    Py_DECREF(result);
    return 0;
}

static PyObject *queue_popleft(PyObject *queue)
{
    if (Py_IS_TYPE(queue, deque_type))
        return PyObject_Vectorcall(deque_popleft, &queue, 1, NULL);
    return PyObject_CallMethodNoArgs(queue, N.popleft);
}

/* Whether something that can be counted is there and not empty. */
static int filled(PyObject *collection)
{
    return collection && collection != Py_None && PyObject_Size(collection) > 0;
}

/* Calls a method for its effect while an exception is on its way; if the method fails, its exception goes on. */
static void settle(PyObject *object, PyObject *name, PyObject *a, PyObject *b)
{
    PyObject *type, *value, *traceback, *stack[] = {object, a, b}, *result;
    PyErr_Fetch(&type, &value, &traceback);
    result = PyObject_VectorcallMethod(name, stack, b ? 3 : a ? 2 : 1, NULL);
    if (result) {
        Py_DECREF(result);
        PyErr_Restore(type, value, traceback);
    } else {
        Py_XDECREF(type);
        Py_XDECREF(value);
        Py_XDECREF(traceback);
    }
}

static PyObject *set_closed_error(void)
{
    PyObject *error = PyObject_CallNoArgs(closed_error);
    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return NULL;
}

/*
 * The current greenlet and the hub that it belongs to, as new references.  For a greenlet of the hub's that is
 * its parent; for others (the main greenlet, bare ones) the hub of the thread.  -1: an exception.
 */
static int who_waits(PyObject **current, PyObject **hub)
{
    *current = (PyObject *)PyGreenlet_GetCurrent();
    if (!*current)
        return -1;
    *hub = (PyObject *)PyGreenlet_GetParent((PyGreenlet *)*current);
    if (*hub && PyObject_TypeCheck(*hub, hub_type))
        return 0;
    Py_XDECREF(*hub);
    *hub = PyObject_CallNoArgs(get_hub);
    if (*hub)
        return 0;
    Py_DECREF(*current);
    return -1;
}

/* -- Direction -------------------------------------------------------------------------------------------- */

static PyObject *python_direction_wait, *python_direction_fire;

static int still_waits(PyObject *self, PyObject *switch_)
{
    PyObject *others = SLOT(self, D.others);
    if (SLOT(self, D.waiter) == switch_)
        return 1;
    return others && others != Py_None && PySequence_Contains(others, switch_) == 1;
}

static int join_waiters(PyObject *self, PyObject *switch_)
{
    PyObject *done;
    if (SLOT(self, D.waiter) == Py_None) {
        put(self, D.waiter, switch_);
        return 0;
    }
    done = PyObject_CallMethodOneArg(self, N.queue, switch_);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* 1: an event, 0: the time is up, -1: an exception. */
static int wait_for_event(PyObject *self, PyObject *hub, PyObject *switch_)
{
    int woken;
    do {
        PyObject *result = PyObject_CallMethodNoArgs(hub, N.switch_);
        if (!result) {
            settle(self, N._abandon, switch_, NULL);
            return -1;
        }
        woken = !still_waits(self, switch_);
        Py_DECREF(result);
        if (!woken && result == expired) { /* compared, not used */
            settle(self, N._abandon, switch_, NULL);
            return PyErr_Occurred() ? -1 : 0;
        }
    } while (!woken);
    return 1;
}

static int wait_until(PyObject *self, PyObject *loop, PyObject *hub, PyObject *switch_, PyObject *timeout)
{
    int outcome;
    PyObject *key, *expire = PyObject_CallFunctionObjArgs(partial_type, switch_, expired, NULL);
    if (!expire)
        return -1;
    key = PyObject_CallMethodObjArgs(loop, N.call_later, timeout, expire, NULL);
    if (!key) {
        settle(self, N._abandon, switch_, NULL);
        Py_DECREF(expire);
        return -1;
    }
    outcome = wait_for_event(self, hub, switch_);
    settle(loop, N.cancel_later, key, expire);
    Py_DECREF(expire);
    Py_DECREF(key);
    return outcome >= 0 && PyErr_Occurred() ? -1 : outcome;
}

static PyObject *direction_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *handle = SLOT(self, D.handle), *loop = SLOT(self, D.loop), *current, *hub, *switch_;
    int outcome;
    if (kwnames || nargs > 1 || !PyObject_TypeCheck(loop, L.type) || SLOT(handle, R.closed) != Py_False)
        return fall_back(python_direction_wait, self, args, nargs, kwnames);
    if (who_waits(&current, &hub) < 0)
        return NULL;
    if (hub != SLOT(loop, L.hub) || current == hub) {
        Py_DECREF(hub);
        Py_DECREF(current);
        return fall_back(python_direction_wait, self, args, nargs, kwnames);
    }
    if (SLOT(self, D.armed) != Py_True) {
        PyObject *done = PyObject_CallMethodOneArg(loop, N.arm_direction, self);
        if (!done) {
            Py_DECREF(hub);
            Py_DECREF(current);
            return NULL;
        }
        Py_DECREF(done);
    }
    switch_ = PyObject_GetAttr(current, N.switch_);
    Py_DECREF(current);
    if (!switch_ || join_waiters(self, switch_) < 0) {
        Py_XDECREF(switch_);
        Py_DECREF(hub);
        return NULL;
    }
    put(self, D.since, SLOT(loop, L.time));
    Py_INCREF(self);
    Py_INCREF(loop);
    Py_INCREF(handle);
    if (nargs && args[0] != Py_None)
        outcome = wait_until(self, loop, hub, switch_, args[0]);
    else
        outcome = wait_for_event(self, hub, switch_);
    if (outcome > 0 && SLOT(handle, R.closed) != Py_False) {
        set_closed_error();
        outcome = -1;
    }
    Py_DECREF(switch_);
    Py_DECREF(hub);
    Py_DECREF(handle);
    Py_DECREF(loop);
    Py_DECREF(self);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

static PyObject *direction_fire(PyObject *self, PyObject *unused)
{
    PyObject *waiter = SLOT(self, D.waiter), *loop = SLOT(self, D.loop);
    int failed;
    (void)unused;
    if (waiter == Py_None && (SLOT(self, D.armed) != Py_True || SLOT(SLOT(self, D.handle), R.level) != Py_True)) {
        put(self, D.ready, Py_True);
        Py_RETURN_NONE;
    }
    if (waiter == Py_None || SLOT(self, D.others) != Py_None || !PyObject_TypeCheck(loop, L.type))
        return fall_back(python_direction_fire, self, NULL, 0, NULL);
    SLOT(self, D.waiter) = Py_NewRef(Py_None);
    failed = queue_append(SLOT(loop, L.ready), waiter);
    Py_DECREF(waiter);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* -- BaseLoop: the turn ------------------------------------------------------------------------------------- */

static long bits_of(PyObject *loop, PyObject *name)
{
    long bits;
    PyObject *value = PyObject_GetAttr(loop, name);
    if (!value)
        return -1;
    bits = PyLong_AsLong(value);
    Py_DECREF(value);
    return bits;
}

static int call_fire(PyObject *direction)
{
    PyObject *done;
    if (Py_IS_TYPE(direction, D.type))
        done = direction_fire(direction, NULL);
    else
        done = PyObject_CallMethodNoArgs(direction, N.fire);
    if (!done)
        return -1;
    Py_DECREF(done);
    return 0;
}

/* What READ_BITS, WRITE_BITS and STICKY_BITS of a loop are. */
struct bits {
    long read, write, sticky;
};

static int dispatch_one(PyObject *self, PyObject *fd, long events, const struct bits *bits)
{
    PyObject *done, *handle = PyDict_GetItemWithError(SLOT(self, L.handles), fd);
    int failed;
    if (!handle) {
        if (PyErr_Occurred())
            return -1;
        done = PyObject_CallMethodOneArg(self, N.forget, fd);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    Py_INCREF(handle);
    if (events & bits->sticky)
        put(handle, R.sticky, Py_True);
    if (SLOT(handle, R.watchers) != Py_None) {
        PyObject *number = PyLong_FromLong(events);
        done = number ? PyObject_CallMethodObjArgs(self, N._fire_watchers, handle, number, NULL) : NULL;
        Py_XDECREF(number);
        if (!done) {
            Py_DECREF(handle);
            return -1;
        }
        Py_DECREF(done);
    }
    failed = events & bits->read ? call_fire(SLOT(handle, R.read)) : 0;
    if (!failed && events & bits->write)
        failed = call_fire(SLOT(handle, R.write));
    Py_DECREF(handle);
    return failed;
}

static int bits_of_loop(PyObject *self, struct bits *bits)
{
    bits->read = bits_of(self, N.READ_BITS);
    bits->write = bits_of(self, N.WRITE_BITS);
    bits->sticky = bits_of(self, N.STICKY_BITS);
    return PyErr_Occurred() ? -1 : 0;
}

static PyObject *loop_dispatch(PyObject *self, PyObject *events)
{
    PyObject *iterator, *event;
    struct bits bits;
    if (bits_of_loop(self, &bits) < 0)
        return NULL;
    iterator = PyObject_GetIter(events);
    if (!iterator)
        return NULL;
    while ((event = PyIter_Next(iterator))) {
        long mask = -1;
        int failed = 1;
        if (!PyTuple_Check(event) || PyTuple_GET_SIZE(event) != 2)
            PyErr_Format(PyExc_TypeError, "poll must return pairs of a descriptor and its events, not %R", event);
        else if ((mask = PyLong_AsLong(PyTuple_GET_ITEM(event, 1))) != -1 || !PyErr_Occurred())
            failed = dispatch_one(self, PyTuple_GET_ITEM(event, 0), mask, &bits);
        Py_DECREF(event);
        if (failed)
            break;
    }
    Py_DECREF(iterator);
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

/* Reports the exception that is set. */
static int report(PyObject *self, PyObject *callback)
{
    PyObject *type, *value, *traceback, *done;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    done = PyObject_CallMethodObjArgs(self, N.handle_error, callback, type, value, traceback ? traceback : Py_None, NULL);
    Py_DECREF(type);
    Py_DECREF(value);
    Py_XDECREF(traceback);
    if (!done)
        return -1;
    Py_DECREF(done);
    return 0;
}

/* Calls the first SLICE of the run queue; a failure ends the slice. Returns how many went well, or -1. */
static int run_slice(PyObject *self, PyObject *ready)
{
    int done;
    for (done = 0; done < SLICE; done++) {
        PyObject *callback, *result;
        Py_ssize_t size = PyObject_Size(ready);
        if (size <= 0)
            return size < 0 ? -1 : done;
        callback = queue_popleft(ready);
        if (!callback)
            return -1;
        result = PyObject_CallNoArgs(callback);
        if (!result) {
            int failed = report(self, callback);
            Py_DECREF(callback);
            return failed ? -1 : done;
        }
        Py_DECREF(result);
        Py_DECREF(callback);
    }
    return done;
}

static PyObject *loop_run_ready(PyObject *self, PyObject *unused)
{
    PyObject *ready = Py_NewRef(SLOT(self, L.ready));
    double limit = 0.0;
    int slice, done = 0;
    (void)unused;
    for (slice = 0; slice < SLICES; slice++) {
        double now;
        done = run_slice(self, ready);
        if (done < 0 || add(self, L.calls, done) < 0) {
            done = -1;
            break;
        }
        if (!filled(ready) || SLOT(self, L.break_) == Py_True)
            break;
        now = monotonic();
        if (!limit) {
            PyObject *seconds = PyObject_GetAttr(self, N.turn_seconds);
            limit = now + (seconds ? PyFloat_AsDouble(seconds) : 0.0);
            Py_XDECREF(seconds);
            if (PyErr_Occurred()) {
                done = -1;
                break;
            }
        } else if (now > limit) {
            break;
        }
    }
    Py_DECREF(ready);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* -- BaseLoop: timers ----------------------------------------------------------------------------------------
 * A heap of [deadline, sequence, callback, repeat, ref], as heapq keeps one.  Comparing runs no Python code:
 * deadlines are floats and sequence numbers ints.
 */

static PyObject *python_loop_call_later, *python_loop_cancel_later;

static int is_entry(PyObject *entry)
{
    return PyList_CheckExact(entry) && PyList_GET_SIZE(entry) == ENTRY &&
           PyFloat_Check(PyList_GET_ITEM(entry, DEADLINE)) && PyLong_CheckExact(PyList_GET_ITEM(entry, SEQUENCE));
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

/* The first entry, as a new reference; the heap is not empty. */
static PyObject *heap_pop(PyObject *heap)
{
    Py_ssize_t size = PyList_GET_SIZE(heap) - 1, place = 0, child;
    PyObject *first = Py_NewRef(PyList_GET_ITEM(heap, 0)), *last = Py_NewRef(PyList_GET_ITEM(heap, size));
    if (PyList_SetSlice(heap, size, size + 1, NULL) < 0) {
        Py_DECREF(last);
        Py_DECREF(first);
        return NULL;
    }
    if (!size) {
        Py_DECREF(last);
        return first;
    }
    /* The place at the top still holds the heap's own reference to the first, which goes. */
    Py_DECREF(first);
    while ((child = 2 * place + 1) < size) {
        PyObject *smaller = PyList_GET_ITEM(heap, child);
        if (child + 1 < size && before(PyList_GET_ITEM(heap, child + 1), smaller))
            smaller = PyList_GET_ITEM(heap, ++child);
        if (!before(smaller, last))
            break;
        PyList_SET_ITEM(heap, place, smaller);
        place = child;
    }
    PyList_SET_ITEM(heap, place, last);
    return first;
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
    if (!PyList_GET_ITEM(entry, REPEAT) || heap_push(SLOT(self, L.heap), entry) < 0 ||
        (PyList_GET_ITEM(entry, REF) != Py_True && !PyObject_IsTrue(PyList_GET_ITEM(entry, REF)) &&
         add(self, L.unref, 1) < 0)) {
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
    if (PyList_GET_ITEM(key, CALLBACK) != args[1]) {
        if (filled(SLOT(self, L.ready))) {
            done = PyObject_CallMethodOneArg(self, N.unschedule, args[1]);
            if (!done)
                return NULL;
            Py_DECREF(done);
        }
        Py_RETURN_NONE;
    }
    if (PyList_SetItem(key, CALLBACK, Py_NewRef(Py_None)) < 0)
        return NULL;
    if (PyList_GET_ITEM(key, REF) != Py_True && !PyObject_IsTrue(PyList_GET_ITEM(key, REF)) && add(self, L.unref, -1) < 0)
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
    if (stopped > SWEEP_ABOVE && stopped * 2 > size) {
        done = PyObject_CallMethodNoArgs(self, N._sweep);
        if (!done)
            return NULL;
        Py_DECREF(done);
    }
    Py_RETURN_NONE;
}

/* Takes the first entry, which is due, off the heap and queues its callback. 1: no more this turn. */
static int expire_one(PyObject *self, PyObject *heap, double now)
{
    PyObject *entry = heap_pop(heap), *deadline;
    double repeat, next;
    int failed = 0;
    if (!entry)
        return -1;
    if (PyList_GET_ITEM(entry, CALLBACK) == Py_None) {
        Py_DECREF(entry);
        return add(self, L.stopped, -1);
    }
    failed = queue_append(SLOT(self, L.ready), PyList_GET_ITEM(entry, CALLBACK));
    repeat = PyFloat_AsDouble(PyList_GET_ITEM(entry, REPEAT));
    if (failed || (repeat == -1.0 && PyErr_Occurred())) {
        Py_DECREF(entry);
        return -1;
    }
    if (!repeat) {
        failed = PyList_SetItem(entry, CALLBACK, Py_NewRef(Py_None));
        if (!failed && PyList_GET_ITEM(entry, REF) != Py_True && !PyObject_IsTrue(PyList_GET_ITEM(entry, REF)))
            failed = add(self, L.unref, -1);
        Py_DECREF(entry);
        return failed;
    }
    next = PyFloat_AS_DOUBLE(PyList_GET_ITEM(entry, DEADLINE)) + repeat;
    if (next < now)
        next = now;
    deadline = PyFloat_FromDouble(next);
    failed = !deadline || PyList_SetItem(entry, DEADLINE, deadline) < 0 || add(self, L.sequence, 1) < 0 ||
             PyList_SetItem(entry, SEQUENCE, Py_NewRef(SLOT(self, L.sequence))) < 0 || heap_push(heap, entry) < 0;
    Py_DECREF(entry);
    return failed ? -1 : next <= now; /* it lags behind: once a turn */
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
    while (!end && PyList_GET_SIZE(heap)) {
        if (!is_entry(PyList_GET_ITEM(heap, 0))) {
            PyErr_SetString(PyExc_SystemError, "the heap of timers holds something else");
            return NULL;
        }
        if (PyFloat_AS_DOUBLE(PyList_GET_ITEM(PyList_GET_ITEM(heap, 0), DEADLINE)) > now)
            break;
        end = expire_one(self, heap, now);
    }
    if (end < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* -- BaseLoop: one turn ----------------------------------------------------------------------------------------
 * The phases are those of the Python method.  A loop of the C table is polled, and its ring read, directly,
 * unless its class has a poll or dispatch of its own.
 */

typedef int (*poll_function)(void *loop, double seconds);
typedef int *(*fired_function)(void *loop);

/* Calls a method for its effect. */
static int do_method(PyObject *self, PyObject *name, PyObject *argument)
{
    PyObject *done = argument ? PyObject_CallMethodOneArg(self, name, argument) : PyObject_CallMethodNoArgs(self, name);
    if (!done)
        return -1;
    Py_DECREF(done);
    return 0;
}

static int truth_of(PyObject *answer)
{
    int truth = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return truth;
}

/* Whether the loop may be polled without its method. */
static int is_native(PyObject *self)
{
    static PyTypeObject *known;
    static unsigned int version;
    PyTypeObject *type = Py_TYPE(self);
    PyObject *native = SLOT(self, L.native), *poll, *dispatch;
    if (!native || native == Py_None)
        return 0;
    if (type == known && version && type->tp_version_tag == version)
        return 1;
    poll = PyObject_GetAttr((PyObject *)type, N.poll);
    dispatch = PyObject_GetAttr((PyObject *)type, N.dispatch);
    if (poll && poll == ring_poll && dispatch && Py_IS_TYPE(dispatch, &PyMethodDescr_Type) &&
        ((PyMethodDescrObject *)dispatch)->d_method->ml_meth == (PyCFunction)loop_dispatch) {
        known = type;
        version = type->tp_version_tag;
    }
    Py_XDECREF(poll);
    Py_XDECREF(dispatch);
    PyErr_Clear();
    return type == known;
}

/* How long a turn with nothing to run may wait: sets *timeout, or returns 0 if this turn was the last, else 1. */
static int time_to_wait(PyObject *self, double *timeout)
{
    PyObject *witness = SLOT(self, L.witness), *ready = SLOT(self, L.ready), *heap = SLOT(self, L.heap), *left;
    double rest = -1.0;
    int truth;
    if (witness == Py_None || SLOT(witness, D.waiter) == Py_None) {
        truth = truth_of(PyObject_CallMethodNoArgs(self, N._alive));
        if (truth < 0)
            return -1;
        if (!truth) {
            PyObject *outside = Py_NewRef(SLOT(self, L.outside));
            truth = outside == Py_None ? 0 : truth_of(PyObject_CallNoArgs(outside));
            Py_DECREF(outside);
            if (truth <= 0) {
                *timeout = 0.0;
                return truth < 0 ? -1 : filled(ready) ? 2 : 0; /* 2: queued by another thread just now */
            }
            rest = LOOK_AGAIN;
        }
    }
    put(self, L.in_poll, Py_True);
    *timeout = rest;
    if (filled(ready)) {
        *timeout = 0.0;
    } else if (PyList_GET_SIZE(heap)) {
        left = PyObject_CallMethodNoArgs(self, N._time_left);
        if (!left)
            return -1;
        *timeout = PyFloat_AsDouble(left);
        Py_DECREF(left);
        if (PyErr_Occurred())
            return -1;
    }
    return 1;
}

/* Phase 3 and 4 of a loop of the C table. */
static int poll_native(PyObject *self, double timeout)
{
    PyObject *native = SLOT(self, L.native);
    void *loop = PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 0));
    poll_function poll = (poll_function)PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 1));
    fired_function fired = (fired_function)PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 2));
    struct bits bits;
    int count, i, *ring, failed = 0;
    if (PyErr_Occurred() || bits_of_loop(self, &bits) < 0)
        return -1;
    Py_BEGIN_ALLOW_THREADS
    count = poll(loop, timeout);
    Py_END_ALLOW_THREADS
    put(self, L.in_poll, Py_False);
    if (count < 0) {
        PyObject *number = PyLong_FromLong(count);
        failed = number ? do_method(self, N._check, number) : -1;
        Py_XDECREF(number);
        return failed;
    }
    for (i = 0; i < count && !failed; i++) {
        PyObject *fd;
        ring = fired(loop); /* firing may arm a descriptor, and the ring move */
        fd = PyLong_FromLong(ring[2 * i]);
        failed = fd ? dispatch_one(self, fd, ring[2 * i + 1], &bits) : -1;
        Py_XDECREF(fd);
    }
    return failed;
}

static int poll_any(PyObject *self, double timeout)
{
    PyObject *seconds = PyFloat_FromDouble(timeout), *events;
    int failed = 0;
    if (!seconds)
        return -1;
    events = PyObject_CallMethodOneArg(self, N.poll, seconds);
    Py_DECREF(seconds);
    if (!events)
        return -1;
    put(self, L.in_poll, Py_False);
    if (!(PyTuple_CheckExact(events) && !PyTuple_GET_SIZE(events)) && !(PyList_CheckExact(events) && !PyList_GET_SIZE(events)))
        failed = do_method(self, N.dispatch, events);
    Py_DECREF(events);
    return failed;
}

/* Reads the clock; a turn that did not wait tells how long the last one took. */
static int read_clock(PyObject *self, double timeout)
{
    PyObject *now = PyFloat_FromDouble(monotonic());
    double last = PyFloat_AsDouble(SLOT(self, L.time)), longest = PyFloat_AsDouble(SLOT(self, L.longest_turn)), took;
    if (!now || PyErr_Occurred())
        return -1;
    took = PyFloat_AS_DOUBLE(now) - last;
    Py_SETREF(SLOT(self, L.time), now);
    if (timeout == 0.0 && took > longest) {
        PyObject *record = PyFloat_FromDouble(took);
        if (!record)
            return -1;
        Py_SETREF(SLOT(self, L.longest_turn), record);
    }
    return 0;
}

static int poll_and_dispatch(PyObject *self, double timeout)
{
    int failed = is_native(self) ? poll_native(self, timeout) : poll_any(self, timeout);
    if (!failed && read_clock(self, timeout) < 0)
        failed = -1;
    if (!failed)
        return PyErr_CheckSignals() < 0 ? report(self, Py_None) : 0;
    /* One of Python's signal handlers raised; no event may be lost to it. */
    put(self, L.in_poll, Py_False);
    settle(self, N._wake_all, NULL, NULL);
    return report(self, Py_None);
}

static PyObject *loop_turn(PyObject *self, PyObject *nowait)
{
    double timeout = 0.0;
    int going;
    if (add(self, L.iteration, 1) < 0 || do_method(self, N.run_ready, NULL) < 0)
        return NULL;
    if (SLOT(self, L.break_) == Py_True || SLOT(self, L.destroyed) == Py_True)
        Py_RETURN_FALSE;
    if (filled(SLOT(self, L.prepares)) && do_method(self, N._call_phase, SLOT(self, L.prepares)) < 0)
        return NULL;
    if (nowait != Py_True && !filled(SLOT(self, L.ready)) && !filled(SLOT(self, L.idles))) {
        going = time_to_wait(self, &timeout);
        if (going != 1)
            return going < 0 ? NULL : PyBool_FromLong(going);
    }
    if (poll_and_dispatch(self, timeout) < 0)
        return NULL;
    if (PyList_GET_SIZE(SLOT(self, L.heap)) && do_method(self, N._expire, NULL) < 0)
        return NULL;
    if (filled(SLOT(self, L.checks)) && do_method(self, N._call_phase, SLOT(self, L.checks)) < 0)
        return NULL;
    if (filled(SLOT(self, L.idles)) && !filled(SLOT(self, L.ready)) && do_method(self, N._call_idles, NULL) < 0)
        return NULL;
    Py_RETURN_TRUE;
}

/* -- Waiter --------------------------------------------------------------------------------------------------- */

static PyObject *python_waiter_init, *python_waiter_wait;

static PyObject *waiter_init(PyObject *self, PyObject *unused)
{
    PyObject *current, *hub, *loop, *switch_;
    int is_hub;
    (void)unused;
    if (who_waits(&current, &hub) < 0)
        return NULL;
    is_hub = current == hub;
    loop = PyObject_GetAttr(hub, N.loop);
    switch_ = loop ? PyObject_GetAttr(current, N.switch_) : NULL;
    Py_DECREF(hub);
    Py_DECREF(current);
    if (!switch_) {
        Py_XDECREF(loop);
        return NULL;
    }
    if (is_hub || !PyObject_TypeCheck(loop, L.type)) {
        Py_DECREF(switch_);
        Py_DECREF(loop);
        return fall_back(python_waiter_init, self, NULL, 0, NULL);
    }
    put(self, W.since, SLOT(loop, L.time));
    put(self, W.done, Py_False);
    put(self, W.user, Py_None);
    put(self, W.value, Py_None);
    Py_XSETREF(SLOT(self, W.loop), loop);
    Py_XSETREF(SLOT(self, W.switch_), switch_);
    Py_RETURN_NONE;
}

/* 1: woken, 0: the time is up, -1: an exception. */
static int wait_for_waker(PyObject *self, PyObject *loop, PyObject *hub)
{
    while (SLOT(self, W.done) != Py_True) {
        PyObject *result = PyObject_CallMethodNoArgs(hub, N.switch_);
        if (!result) {
            if (SLOT(self, W.done) == Py_True)
                settle(loop, N.unschedule, SLOT(self, W.switch_), NULL);
            return -1;
        }
        Py_DECREF(result);
        if (result == expired) /* compared, not used */
            return SLOT(self, W.done) == Py_True;
    }
    return 1;
}

static PyObject *waiter_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *loop = SLOT(self, W.loop), *hub, *expire, *key;
    double seconds;
    int outcome;
    if (kwnames || nargs > 1 || !loop || !PyObject_TypeCheck(loop, L.type))
        return fall_back(python_waiter_wait, self, args, nargs, kwnames);
    hub = Py_NewRef(SLOT(loop, L.hub));
    Py_INCREF(loop);
    Py_INCREF(self);
    if (!nargs || args[0] == Py_None) {
        outcome = wait_for_waker(self, loop, hub);
    } else {
        seconds = PyFloat_AsDouble(args[0]);
        outcome = -1;
        expire = seconds == -1.0 && PyErr_Occurred()
                     ? NULL
                     : PyObject_CallFunctionObjArgs(partial_type, SLOT(self, W.switch_), expired, NULL);
        if (expire) {
            PyObject *after = PyFloat_FromDouble(seconds > 0.0 || seconds != seconds ? seconds : 0.0);
            key = after ? PyObject_CallMethodObjArgs(loop, N.call_later, after, expire, NULL) : NULL;
            Py_XDECREF(after);
            if (key) {
                outcome = wait_for_waker(self, loop, hub);
                settle(loop, N.cancel_later, key, expire);
                if (PyErr_Occurred())
                    outcome = -1;
                Py_DECREF(key);
            }
            Py_DECREF(expire);
        }
    }
    Py_DECREF(self);
    Py_DECREF(loop);
    Py_DECREF(hub);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* 1: woken, 0: nobody is there to wake, -1: an exception. */
static int wake(PyObject *self, PyObject *value)
{
    PyObject *loop = SLOT(self, W.loop);
    double since = PyFloat_AsDouble(SLOT(self, W.since)), born = PyFloat_AsDouble(SLOT(loop, L.born));
    if (PyErr_Occurred())
        return -1;
    if (since < born)
        return 0;
    put(self, W.value, value);
    put(self, W.done, Py_True);
    if (queue_append(SLOT(loop, L.ready), SLOT(self, W.switch_)) < 0)
        return -1;
    if (SLOT(loop, L.in_poll) == Py_True) { /* never in the loop's own thread */
        PyObject *done = PyObject_CallMethodNoArgs(loop, N.wake);
        if (!done)
            return -1;
        Py_DECREF(done);
    }
    return 1;
}

static PyObject *python_waiter_wake;

static PyObject *waiter_wake(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *loop = SLOT(self, W.loop);
    int outcome;
    if (kwnames || nargs > 1 || !loop || !PyObject_TypeCheck(loop, L.type))
        return fall_back(python_waiter_wake, self, args, nargs, kwnames);
    outcome = wake(self, nargs ? args[0] : Py_None);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* -- Semaphore ------------------------------------------------------------------------------------------------- */

static PyObject *python_semaphore_acquire, *python_semaphore_release;

/* Waits for a permit, behind those who wait already. */
static PyObject *acquire_in_turn(PyObject *self, PyObject *waiters)
{
    PyObject *waiter = PyObject_CallNoArgs((PyObject *)W.type), *done = NULL;
    int in_queue;
    if (!waiter)
        return NULL;
    put(waiter, W.user, self);
    if (queue_append(waiters, waiter) == 0) {
        if ((filled(SLOT(self, S.permits)) || SLOT(self, S.reserve) != Py_None) && do_method(self, N._hand_over, NULL) < 0)
            done = NULL;
        else
            done = waiter_wait(waiter, NULL, 0, NULL);
        if (!done) {
            PyObject *type, *value, *traceback;
            PyErr_Fetch(&type, &value, &traceback);
            in_queue = truth_of(PyObject_CallMethodOneArg(self, N._withdraw, waiter));
            if (!in_queue) /* a permit was handed over already */
                in_queue = do_method(self, N.release, NULL);
            if (in_queue >= 0) {
                PyErr_Restore(type, value, traceback);
            } else {
                Py_XDECREF(type);
                Py_XDECREF(value);
                Py_XDECREF(traceback);
            }
        }
    }
    put(waiter, W.user, Py_None);
    Py_DECREF(waiter);
    return done;
}

static PyObject *semaphore_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *waiters = SLOT(self, S.waiters), *permits = SLOT(self, S.permits), *permit;
    if (!kwnames && nargs <= 2 && waiters && permits && !filled(waiters) && filled(permits)) {
        permit = PyObject_Vectorcall(deque_pop, &permits, 1, NULL);
        if (!permit)
            return NULL;
        Py_DECREF(permit);
        Py_RETURN_TRUE;
    }
    if (!kwnames && !nargs && waiters && permits && Py_IS_TYPE(waiters, deque_type) && SLOT(self, S.reserve) == Py_None) {
        PyObject *done;
        Py_INCREF(self);
        done = acquire_in_turn(self, waiters);
        Py_DECREF(self);
        return done;
    }
    return fall_back(python_semaphore_acquire, self, args, nargs, kwnames);
}

static PyObject *semaphore_release(PyObject *self, PyObject *unused)
{
    PyObject *waiters = SLOT(self, S.waiters), *permits = SLOT(self, S.permits), *waiter, *loop;
    int woken;
    (void)unused;
    if (waiters && permits && filled(waiters)) {
        waiter = queue_popleft(waiters);
        if (!waiter)
            return NULL;
        if (Py_IS_TYPE(waiter, W.type) && (loop = SLOT(waiter, W.loop)) && PyObject_TypeCheck(loop, L.type)) {
            woken = wake(waiter, Py_None);
            Py_DECREF(waiter);
            if (woken)
                return woken < 0 ? NULL : PyLong_FromLong(0);
        } else {
            Py_DECREF(waiter);
            PyErr_SetString(PyExc_SystemError, "among those who wait for a semaphore is something else");
            return NULL;
        }
    } else if (waiters && permits && SLOT(self, S.links) == Py_None && SLOT(self, S.reserve) == Py_None) {
        return queue_append(permits, Py_None) < 0 ? NULL : PyLong_FromSsize_t(PyObject_Size(permits));
    }
    return fall_back(python_semaphore_release, self, NULL, 0, NULL);
}

/* -- SimpleQueue ------------------------------------------------------------------------------------------------
 * With a plain deque or list all of it happens in C with the GIL held: nobody can come in between.
 */

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

/* -- Socket -------------------------------------------------------------------------------------------------------
 * The calls of the standard library's socket, made when they are likely to succeed.
 */

static PyObject *python_socket_recv, *python_socket_sendall;
static PyObject *plain_recv, *plain_send; /* of the class under the standard library's socket */

static int may_wait(PyObject *limit, long flags)
{
#ifdef MSG_DONTWAIT
    if (flags & MSG_DONTWAIT)
        return 0;
#endif
    return !(PyFloat_Check(limit) && PyFloat_AS_DOUBLE(limit) == 0.0);
}

/* Waits for data, if it is likely that there is none. -1: an exception, a time-out among them. */
static int wait_for_data(PyObject *self, PyObject *read, PyObject *limit)
{
    PyObject *answer;
    int ready;
    put(read, D.user, self);
    answer = direction_wait(read, &limit, 1, NULL);
    if (SLOT(read, D.waiter) == Py_None)
        put(read, D.user, Py_None);
    if (!answer)
        return -1;
    ready = answer == Py_True;
    Py_DECREF(answer);
    if (ready)
        return 0;
    PyErr_SetString(PyExc_TimeoutError, "timed out");
    return -1;
}

/* Sets whether the next read may try at once. */
static int after_read(PyObject *self, PyObject *read, PyObject *data, PyObject *bufsize, long flags)
{
    Py_ssize_t size = PyBytes_GET_SIZE(data);
    int is_short = size > 0 && !flags && size < PyLong_AsSsize_t(bufsize);
    PyObject *done, *stack[] = {self, read, is_short ? Py_True : Py_False};
    if (SLOT(self, K.shortens) == Py_True && SLOT(read, D.waiter) == Py_None) {
        put(read, D.ready, is_short ? SLOT(SLOT(read, D.handle), R.sticky) : Py_True);
        return 0;
    }
    done = PyObject_VectorcallMethod(N._after_read, stack, 3, NULL);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *socket_recv(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *read = SLOT(self, K.read), *limit = SLOT(self, K.limit), *stack[3] = {self}, *data;
    long flags = 0;
    int patient;
    if (kwnames || nargs < 1 || nargs > 2 || !PyLong_CheckExact(args[0]) || !read || !limit)
        return fall_back(python_socket_recv, self, args, nargs, kwnames);
    if (nargs == 2 && (flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    patient = may_wait(limit, flags);
    Py_INCREF(read);
    if (read != Py_None && patient && (SLOT(read, D.ready) != Py_True || SLOT(read, D.waiter) != Py_None)) {
        Py_INCREF(limit);
        patient = wait_for_data(self, read, limit);
        Py_DECREF(limit);
        if (patient < 0) {
            Py_DECREF(read);
            return NULL;
        }
        patient = 1;
    }
    memcpy(stack + 1, args, (size_t)nargs * sizeof *args);
    data = PyObject_Vectorcall(plain_recv, stack, (size_t)nargs + 1, NULL);
    if (data) {
        if (read != Py_None && after_read(self, read, data, args[0], flags) < 0)
            Py_CLEAR(data);
    } else if (patient && PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        PyErr_Clear();
        data = fall_back(python_socket_recv, self, args, nargs, kwnames);
    }
    Py_DECREF(read);
    return data;
}

static PyObject *socket_sendall(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *stack[4] = {self}, *count, *limit = SLOT(self, K.limit);
    long flags = 0;
    Py_ssize_t sent = 0;
    if (kwnames || nargs < 1 || nargs > 2 || !PyBytes_CheckExact(args[0]) || !limit)
        return fall_back(python_socket_sendall, self, args, nargs, kwnames);
    if (nargs == 2 && (flags = PyLong_AsLong(args[1])) == -1 && PyErr_Occurred())
        return NULL;
    memcpy(stack + 1, args, (size_t)nargs * sizeof *args);
    count = PyObject_Vectorcall(plain_send, stack, (size_t)nargs + 1, NULL);
    if (count) {
        sent = PyLong_AsSsize_t(count);
        Py_DECREF(count);
        if (sent == PyBytes_GET_SIZE(args[0]))
            Py_RETURN_NONE;
    } else if (may_wait(limit, flags) && PyErr_ExceptionMatches(PyExc_BlockingIOError)) {
        PyErr_Clear();
    }
    if (PyErr_Occurred())
        return NULL;
    stack[1] = PyMemoryView_FromObject(args[0]);
    stack[2] = stack[1] ? PyLong_FromSsize_t(sent) : NULL;
    stack[3] = stack[2] ? PyLong_FromLong(flags) : NULL;
    count = stack[3] ? PyObject_VectorcallMethod(N._send_rest, stack, 4, NULL) : NULL;
    Py_XDECREF(stack[1]);
    Py_XDECREF(stack[1] ? stack[2] : NULL);
    Py_XDECREF(stack[1] && stack[2] ? stack[3] : NULL);
    return count;
}

/* -- Timeout ------------------------------------------------------------------------------------------------------ */

static PyObject *python_timeout_init, *python_timeout_start, *python_timeout_cancel;

static PyObject *timeout_init(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *seconds = nargs ? args[0] : Py_None;
    if (kwnames || nargs > 4 || !(seconds == Py_None || PyLong_CheckExact(seconds) ||
                                  (PyFloat_CheckExact(seconds) && PyFloat_AS_DOUBLE(seconds) == PyFloat_AS_DOUBLE(seconds))))
        return fall_back(python_timeout_init, self, args, nargs, kwnames);
    put(self, T.seconds, seconds);
    put(self, T.exception, nargs > 1 ? args[1] : Py_None);
    put(self, T.ref, nargs > 2 ? args[2] : Py_True);
    put(self, T.key, Py_None);
    put(self, T.loop, Py_None);
    put(self, T.greenlet, Py_None);
    put(self, T.fire, Py_None);
    Py_RETURN_NONE;
}

static PyObject *timeout_start(PyObject *self, PyObject *unused)
{
    PyObject *seconds = SLOT(self, T.seconds), *fire, *hub, *loop, *current, *stack[5], *key = NULL;
    (void)unused;
    if (!seconds || SLOT(self, T.fire) != Py_None || !SLOT(self, T.ref) ||
        !(PyFloat_CheckExact(seconds) || PyLong_CheckExact(seconds)))
        return fall_back(python_timeout_start, self, NULL, 0, NULL);
    if (who_waits(&current, &hub) < 0)
        return NULL;
    loop = PyObject_GetAttr(hub, N.loop);
    Py_DECREF(hub);
    fire = loop ? PyObject_GetAttr(self, N._expired) : NULL;
    stack[0] = loop;
    stack[1] = fire ? PyFloat_FromDouble(PyFloat_AsDouble(seconds)) : NULL;
    if (stack[1] && PyFloat_AS_DOUBLE(stack[1]) < 0.0)
        Py_SETREF(stack[1], PyFloat_FromDouble(0.0));
    stack[2] = fire;
    stack[3] = Py_False; /* no repetition */
    stack[4] = SLOT(self, T.ref);
    if (stack[1] && !PyErr_Occurred())
        key = PyObject_VectorcallMethod(N.call_later, stack, 5, NULL);
    if (fire)
        Py_XDECREF(stack[1]);
    if (key) {
        put(self, T.greenlet, current);
        put(self, T.loop, loop);
        put(self, T.fire, fire);
        put(self, T.key, key);
        Py_DECREF(key);
    }
    Py_XDECREF(fire);
    Py_XDECREF(loop);
    Py_DECREF(current);
    if (!key)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *timeout_cancel(PyObject *self, PyObject *unused)
{
    PyObject *fire = SLOT(self, T.fire), *stack[3], *done;
    (void)unused;
    if (!fire)
        return fall_back(python_timeout_cancel, self, NULL, 0, NULL);
    if (fire == Py_None)
        Py_RETURN_NONE;
    SLOT(self, T.fire) = Py_NewRef(Py_None);
    put(self, T.greenlet, Py_None);
    stack[0] = SLOT(self, T.loop);
    stack[1] = SLOT(self, T.key);
    stack[2] = fire;
    done = PyObject_VectorcallMethod(N.cancel_later, stack, 3, NULL);
    Py_DECREF(fire);
    return done;
}

/* -- binding ------------------------------------------------------------------------------------------------------ */

#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL | METH_KEYWORDS

static struct {
    PyTypeObject **type;
    PyObject **original;
    PyMethodDef method;
} methods[] = {
    {&D.type, &python_direction_wait, {"wait", FASTCALL(direction_wait), "wait($self, timeout=None)\n--\n\n"}},
    {&D.type, &python_direction_fire, {"fire", direction_fire, METH_NOARGS, "fire($self)\n--\n\n"}},
    {&L.type, NULL, {"turn", loop_turn, METH_O, "turn($self, nowait)\n--\n\n"}},
    {&L.type, NULL, {"run_ready", loop_run_ready, METH_NOARGS, "run_ready($self)\n--\n\n"}},
    {&L.type, NULL, {"dispatch", loop_dispatch, METH_O, "dispatch($self, events)\n--\n\n"}},
    {&L.type,
     &python_loop_call_later,
     {"call_later", FASTCALL(loop_call_later), "call_later($self, after, callback, repeat=0.0, ref=True)\n--\n\n"}},
    {&L.type,
     &python_loop_cancel_later,
     {"cancel_later", FASTCALL(loop_cancel_later), "cancel_later($self, key, callback)\n--\n\n"}},
    {&L.type, NULL, {"_expire", loop_expire, METH_NOARGS, "_expire($self)\n--\n\n"}},
    {&W.type, &python_waiter_init, {"__init__", waiter_init, METH_NOARGS, "__init__($self)\n--\n\n"}},
    {&W.type, &python_waiter_wait, {"wait", FASTCALL(waiter_wait), "wait($self, timeout=None)\n--\n\n"}},
    {&W.type, &python_waiter_wake, {"wake", FASTCALL(waiter_wake), "wake($self, value=None)\n--\n\n"}},
    {&S.type,
     &python_semaphore_acquire,
     {"acquire", FASTCALL(semaphore_acquire), "acquire($self, blocking=True, timeout=None)\n--\n\n"}},
    {&S.type, &python_semaphore_release, {"release", semaphore_release, METH_NOARGS, "release($self)\n--\n\n"}},
    {&Q.type,
     &python_queue_put,
     {"put", FASTCALL(simplequeue_put), "put($self, item, block=True, timeout=None)\n--\n\n"}},
    {&Q.type,
     &python_queue_get,
     {"get", FASTCALL(simplequeue_get), "get($self, block=True, timeout=None)\n--\n\n"}},
    {&K.type, &python_socket_recv, {"recv", FASTCALL(socket_recv), "recv($self, bufsize, flags=0, /)\n--\n\n"}},
    {&K.type,
     &python_socket_sendall,
     {"sendall", FASTCALL(socket_sendall), "sendall($self, data, flags=0, /)\n--\n\n"}},
    {&T.type,
     &python_timeout_init,
     {"__init__", FASTCALL(timeout_init), "__init__($self, seconds=None, exception=None, ref=True, priority=-1)\n--\n\n"}},
    {&T.type, &python_timeout_start, {"start", timeout_start, METH_NOARGS, "start($self)\n--\n\n"}},
    {&T.type, &python_timeout_cancel, {"cancel", timeout_cancel, METH_NOARGS, "cancel($self)\n--\n\n"}},
    {&T.type, NULL, {"close", timeout_cancel, METH_NOARGS, "close($self)\n--\n\n"}},
    {0},
};

static int find_slot(PyObject *type, const struct field *field)
{
    PyObject *descriptor = PyObject_GetAttrString(type, field->name);
    if (!descriptor)
        return -1;
    if (!Py_IS_TYPE(descriptor, &PyMemberDescr_Type) ||
        ((PyMemberDescrObject *)descriptor)->d_member->type != T_OBJECT_EX) {
        PyErr_Format(PyExc_TypeError, "%R has no slot %s", type, field->name);
        Py_DECREF(descriptor);
        return -1;
    }
    *field->offset = ((PyMemberDescrObject *)descriptor)->d_member->offset;
    Py_DECREF(descriptor);
    return 0;
}

static PyObject *wanted(PyObject *from, const char *name)
{
    PyObject *found = PyMapping_GetItemString(from, name);
    if (!found && PyErr_ExceptionMatches(PyExc_KeyError))
        PyErr_Format(PyExc_TypeError, "%s is missing", name);
    return found; /* kept for ever */
}

static int learn_types(PyObject *from)
{
    int i;
    for (i = 0; layouts[i].name; i++) {
        const struct field *field;
        PyObject *type = wanted(from, layouts[i].name);
        if (!type)
            return -1;
        for (field = layouts[i].fields; field->name; field++)
            if (find_slot(type, field) < 0)
                return -1;
        *layouts[i].type = (PyTypeObject *)type;
    }
    hub_type = (PyTypeObject *)wanted(from, "Hub");
    closed_error = wanted(from, "closed_error");
    get_hub = wanted(from, "get_hub");
    ring_poll = wanted(from, "ring_poll");
    return hub_type && closed_error && get_hub && ring_poll ? 0 : -1;
}

static int learn_others(void)
{
    int i;
    PyObject *collections = PyImport_ImportModule("collections"), *functools = PyImport_ImportModule("functools");
    PyObject *deque = collections ? PyObject_GetAttrString(collections, "deque") : NULL;
    PyObject *base = PyObject_GetAttrString((PyObject *)K.type->tp_base, "__base__");
    plain_recv = base ? PyObject_GetAttrString(base, "recv") : NULL;
    plain_send = base ? PyObject_GetAttrString(base, "send") : NULL;
    Py_XDECREF(base);
    partial_type = functools ? PyObject_GetAttrString(functools, "partial") : NULL;
    Py_XDECREF(functools);
    Py_XDECREF(collections);
    if (!deque || !partial_type || !plain_recv || !plain_send)
        return -1;
    deque_type = (PyTypeObject *)deque;
    deque_append = PyObject_GetAttrString(deque, "append");
    deque_popleft = PyObject_GetAttrString(deque, "popleft");
    deque_pop = PyObject_GetAttrString(deque, "pop");
    expired = PyObject_CallNoArgs((PyObject *)&PyBaseObject_Type);
    if (!deque_append || !deque_popleft || !deque_pop || !expired)
        return -1;
    for (i = 0; names[i].name; i++)
        if (!(*names[i].name = PyUnicode_InternFromString(names[i].text)))
            return -1;
    return 0;
}

static int add_method(PyObject *result, int i)
{
    PyObject *type = (PyObject *)*methods[i].type, *original, *ours, *key;
    int failed = -1;
    original = PyObject_GetAttrString(type, methods[i].method.ml_name);
    if (!original)
        return -1;
    if (methods[i].original)
        *methods[i].original = Py_NewRef(original);
    ours = PyDescr_NewMethod(*methods[i].type, &methods[i].method);
    key = Py_BuildValue("(Os)", type, methods[i].method.ml_name);
    if (ours && key)
        failed = PyDict_SetItem(result, key, ours);
    Py_XDECREF(key);
    Py_XDECREF(ours);
    Py_DECREF(original);
    return failed;
}

PyDoc_STRVAR(bind_doc,
             "bind(parts, /)\n--\n\n"
             "Learn the layout of core's classes; returns {(class, name): method}. Once per process.\n\n"
             ":raises TypeError: core is not laid out as expected.");

static PyObject *bind_parts(PyObject *module, PyObject *parts)
{
    static PyObject *result;
    PyObject *found;
    int i;
    (void)module;
    if (result)
        return Py_NewRef(result);
    if (learn_types(parts) < 0 || learn_others() < 0)
        return NULL;
    found = PyDict_New();
    if (!found)
        return NULL;
    for (i = 0; methods[i].type; i++)
        if (add_method(found, i) < 0) {
            Py_DECREF(found);
            return NULL;
        }
    result = found;
    return Py_NewRef(result);
}

static PyMethodDef functions[] = {{"bind", bind_parts, METH_O, bind_doc}, {0}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "hubbub_speed._methods",
    .m_doc = "Methods of hubbub's core in C; see hubbub_speed.methods.",
    .m_size = -1,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit__methods(void);

PyMODINIT_FUNC PyInit__methods(void)
{
    PyGreenlet_Import();
    if (PyErr_Occurred())
        return NULL;
    return PyModule_Create(&definition);
}
