/*
 * BaseLoop: the run queue, events, and the turn.
 * The phases are those of the Python method.  A loop of the C table is polled, and its ring read, directly,
 * unless its class has a poll or dispatch of its own.
 */
#include "methods.h"

#include <sys/socket.h>

struct loop L;

static const struct field loop_fields[] = {
    {"ready", &L.ready},     {"handles", &L.handles},   {"hub", &L.hub},           {"time", &L.time},
    {"born", &L.born},       {"in_poll", &L.in_poll},   {"calls", &L.calls},       {"_break", &L.break_},
    {"_heap", &L.heap},      {"_sequence", &L.sequence}, {"_stopped", &L.stopped}, {"_unref", &L.unref},
    {"_witness", &L.witness}, {"checks", &L.checks},    {"destroyed", &L.destroyed}, {"idles", &L.idles},
    {"iteration", &L.iteration}, {"_backend", &L.backend}, {"longest_turn", &L.longest_turn}, {"outside", &L.outside},
    {"prepares", &L.prepares}, {"gil_left", &L.gil_left}, {"told", &L.told}, {"hand_overs", &L.hand_overs},
    {"handed_to", &L.handed_to}, {"log", &L.log}, {"_signal_writer", &L.signal_writer}, {0}};

struct ring B;

static const struct field ring_fields[] = {{"native", &B.native}, {0}};

static long bits_of(PyTypeObject *backend, PyObject *name)
{
    long bits;
    PyObject *value = PyObject_GetAttr((PyObject *)backend, name);
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

/* The values of READ_BITS, WRITE_BITS and STICKY_BITS of a backend. */
struct bits {
    long read, write, sticky;
};

/* As Readiness.observed. */
static int tell_observers(PyObject *handle, long events)
{
    PyObject *observers = Py_NewRef(SLOT(handle, R.observers)), *number = PyLong_FromLong(events), *wanted, *done;
    Py_ssize_t i;
    int failed = !number;
    for (i = 0; !failed && i < PyTuple_GET_SIZE(observers); i++) {
        PyObject *observer = PyTuple_GET_ITEM(observers, i);
        long its = 0;
        if ((wanted = PyObject_GetAttr(observer, N.events)))
            its = PyLong_AsLong(wanted);
        Py_XDECREF(wanted);
        failed = PyErr_Occurred() != NULL;
        if (failed || !(its & events))
            continue;
        put(SLOT(handle, R.read), D.unheeded, zero);
        done = PyObject_CallMethodOneArg(observer, N.fired, number);
        failed = !done;
        Py_XDECREF(done);
    }
    Py_XDECREF(number);
    Py_DECREF(observers);
    return failed ? -1 : 0;
}

/* The bits of an observer's events, of those of a backend. */
static long observed_bits(long events, const struct bits *bits)
{
    return (events & bits->read ? (long)C.read : 0) | (events & bits->write ? (long)C.write : 0);
}

static int bits_of_loop(PyObject *self, struct bits *bits);

static PyObject *python_tell_observers;

static PyObject *loop_tell_observers(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct bits bits;
    long events;
    if (nargs != 2 || kwnames || !Py_IS_TYPE(args[0], R.type) || !PyTuple_CheckExact(SLOT(args[0], R.observers)))
        return fall_back(python_tell_observers, self, args, nargs, kwnames);
    events = PyLong_AsLong(args[1]);
    if ((events == -1 && PyErr_Occurred()) || bits_of_loop(self, &bits) < 0 ||
        tell_observers(args[0], observed_bits(events, &bits)) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* Whether a class of loops has a method of this file. */
static int has_ours(PyTypeObject *type, PyObject *name, PyCFunction function, struct proof *proof)
{
    PyObject *method;
    int ours;
    if (is_proved(proof, type))
        return 1;
    method = PyObject_GetAttr((PyObject *)type, name);
    ours = method && Py_IS_TYPE(method, &PyMethodDescr_Type) &&
           ((PyMethodDescrObject *)method)->d_method->ml_meth == function;
    if (ours)
        prove(proof, type);
    Py_XDECREF(method);
    PyErr_Clear();
    return ours;
}

static int tell(PyObject *self, PyObject *handle, long events, const struct bits *bits)
{
    static struct proof proof;
    PyObject *number, *done;
    if (PyTuple_CheckExact(SLOT(handle, R.observers)) &&
        has_ours(Py_TYPE(self), N._tell_observers, (PyCFunction)(void (*)(void))loop_tell_observers, &proof))
        return tell_observers(handle, observed_bits(events, bits));
    number = PyLong_FromLong(events);
    done = number ? PyObject_CallMethodObjArgs(self, N._tell_observers, handle, number, NULL) : NULL;
    Py_XDECREF(number);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int dispatch_one(PyObject *self, PyObject *fd, long events, const struct bits *bits)
{
    PyObject *handle = PyDict_GetItemWithError(SLOT(self, L.handles), fd);
    int failed;
    if (!handle) {
        PyObject *done;
        if (PyErr_Occurred())
            return -1;
        done = PyObject_CallMethodOneArg(SLOT(self, L.backend), N.forget, fd);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    Py_INCREF(handle);
    if (events & bits->sticky)
        put(handle, R.sticky, Py_True);
    if (SLOT(handle, R.observers) != Py_None && tell(self, handle, events, bits) < 0) {
        Py_DECREF(handle);
        return -1;
    }
    failed = events & bits->read ? call_fire(SLOT(handle, R.read)) : 0;
    if (!failed && events & bits->write && SLOT(handle, R.writer) != Py_None)
        failed = call_fire(SLOT(handle, R.writer));
    Py_DECREF(handle);
    return failed;
}

static int bits_of_loop(PyObject *self, struct bits *bits)
{
    static struct proof proof;
    static struct bits known;
    PyTypeObject *backend = Py_TYPE(SLOT(self, L.backend));
    if (!is_proved(&proof, backend)) {
        known.read = bits_of(backend, N.READ_BITS);
        known.write = bits_of(backend, N.WRITE_BITS);
        known.sticky = bits_of(backend, N.STICKY_BITS);
        if (PyErr_Occurred())
            return -1;
        prove(&proof, backend);
    }
    *bits = known;
    return 0;
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

/* Reports the exception that is set; ``callback``: of the run queue, or NULL. */
static int report(PyObject *self, PyObject *callback)
{
    PyObject *error = caught(), *traceback = NULL, *done;
    if (callback) {
        done = PyObject_CallMethodObjArgs(self, N.call_failed, callback, callback, error, callback, NULL);
    } else {
        traceback = PyException_GetTraceback(error);
        done = PyObject_CallMethodObjArgs(self, N.handle_error, Py_None, Py_TYPE(error), error,
                                          traceback ? traceback : Py_None, NULL);
    }
    Py_DECREF(error);
    Py_XDECREF(traceback);
    if (!done)
        return -1;
    Py_DECREF(done);
    return 0;
}

/* Calls the first so many of the run queue; a failure ends the slice. Returns how many calls succeeded, or -1. */
static int run_slice(PyObject *self, PyObject *ready, int most)
{
    int done;
    for (done = 0; done < most; done++) {
        PyObject *callback, *result;
        Py_ssize_t size = PyObject_Size(ready);
        if (size <= 0)
            return size < 0 ? -1 : done;
        callback = queue_popleft(ready);
        if (!callback)
            return -1;
        if (is_logged(self))
            log_taken(self);
        result = call_ready(self, callback, &done, most);
        if (SLOT(self, L.handed_to) != Py_None) {
            Py_SETREF(callback, SLOT(self, L.handed_to));
            SLOT(self, L.handed_to) = Py_NewRef(Py_None);
        }
        if (is_logged(self))
            log_call(self, callback);
        if (!result) {
            int failed = report(self, callback);
            Py_DECREF(callback);
            return failed ? -1 : done;
        }
        Py_DECREF(result);
        drop_switch(callback);
    }
    return done;
}

/* How many times as long as usual a turn may take with so many that are ready. */
static double stretch(PyObject *ready)
{
    double times = 1.0 + (double)PyObject_Size(ready) / C.crowd;
    return times < C.longest ? times : C.longest;
}

static PyObject *loop_run_ready(PyObject *self, PyObject *unused)
{
    PyObject *ready = Py_NewRef(SLOT(self, L.ready));
    double budget = 0.0, before = 0.0, limit = 0.0;
    Py_ssize_t queued = PyObject_Size(ready);
    int slices, most = 1, done = 0;
    (void)unused;
    if (is_logged(self))
        log_turn(self);
    for (slices = 1;; slices++) {
        double now;
        done = run_slice(self, ready, most);
        if (done < 0 || add(self, L.calls, done) < 0) {
            done = -1;
            break;
        }
        queued -= done;
        if (!filled(ready) || SLOT(self, L.break_) == Py_True)
            break;
        now = monotonic();
        if (!limit) {
            PyObject *seconds = PyObject_GetAttr(self, N.turn_seconds);
            budget = seconds ? PyFloat_AsDouble(seconds) : 0.0;
            Py_XDECREF(seconds);
            if (PyErr_Occurred()) {
                done = -1;
                break;
            }
            limit = now + budget * stretch(ready);
        } else if ((now > limit || slices >= (int)C.slices) &&
                   (PyObject_Size(ready) != queued || now > limit + C.overtime)) {
            break;
        } else {
            most = now - before > C.slow * budget ? 1 : 2 * most;
            if (most > (int)C.slice)
                most = (int)C.slice;
        }
        before = now;
    }
    Py_DECREF(ready);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

typedef int (*poll_function)(void *loop, double seconds);
typedef int *(*fired_function)(void *loop);

static int has_our_dispatch(PyTypeObject *type)
{
    static struct proof proof;
    return has_ours(type, N.dispatch, loop_dispatch, &proof);
}

static int has_ring_poll(PyTypeObject *type)
{
    static struct proof proof;
    PyObject *poll;
    int ring;
    if (is_proved(&proof, type))
        return 1;
    poll = PyObject_GetAttr((PyObject *)type, N.poll);
    ring = poll && poll == ring_poll && PyType_IsSubtype(type, B.type);
    if (ring)
        prove(&proof, type);
    Py_XDECREF(poll);
    PyErr_Clear();
    return ring;
}

/* The table of the loop's backend, if it may be polled without its method; else NULL. */
static PyObject *native_table(PyObject *self)
{
    PyObject *backend = SLOT(self, L.backend), *native;
    if (!has_ring_poll(Py_TYPE(backend)) || !has_our_dispatch(Py_TYPE(self)))
        return NULL;
    native = SLOT(backend, B.native);
    return native && native != Py_None ? native : NULL;
}

/* Learns what ends the poll of a loop without its methods. 0: there is no such thing. */
int find_bell(PyObject *self, struct bell *bell)
{
    PyObject *backend = SLOT(self, L.backend), *native;
    if (!has_ring_poll(Py_TYPE(backend)))
        return 0;
    native = SLOT(backend, B.native);
    if (!native || native == Py_None)
        return 0;
    bell->loop = PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 0));
    bell->wake = (wake_function)PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 3));
    bell->owner = Py_NewRef(native); /* keeps the loop's memory if another thread destroys it */
    return 1;
}

/*
 * Sets *timeout to the time that a turn with nothing to run may wait.
 * 0: nothing is left to wait for, 1: it may wait, 2: another thread has queued something, -1: an exception.
 */
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
                return truth < 0 ? -1 : filled(ready) ? 2 : 0; /* 2: another thread has queued it just now */
            }
            rest = C.look_again;
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

/* Reads the clock. If the turn did not wait, the time since the last reading is that of one turn. */
static int read_clock(PyObject *self, double timeout)
{
    PyObject *now = PyFloat_FromDouble(monotonic());
    double last = PyFloat_AsDouble(SLOT(self, L.time)), longest = PyFloat_AsDouble(SLOT(self, L.longest_turn)), took;
    if (!now || PyErr_Occurred()) {
        Py_XDECREF(now);
        return -1;
    }
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

/* Whether this thread has kept the GIL from other native threads for a while; see BaseLoop._share_gil. */
static int has_kept_gil(PyObject *self)
{
    return PyFloat_AsDouble(SLOT(self, L.time)) - PyFloat_AsDouble(SLOT(self, L.gil_left)) > C.gil_kept;
}

/*
 * A poll that does not wait keeps the GIL.  In the microsecond for which it would be released no thread could take it,
 * and a thread that waits for it would count its switch interval, 5 ms, from the start again.  If the GIL is kept, that
 * thread requests it after the interval and gets it.  A loop that always found events at once first polls so, too.
 */
static int poll_once(PyObject *self, poll_function poll, void *loop, double timeout)
{
    int count, kept = timeout == 0.0 || has_kept_gil(self);
    if (kept) {
        count = poll(loop, 0.0);
        /* That poll may have consumed the wake-up of another thread, which has unset in_poll then. */
        if (count || timeout == 0.0 || SLOT(self, L.in_poll) != Py_True)
            return count;
    }
    Py_BEGIN_ALLOW_THREADS
    count = poll(loop, timeout);
    Py_END_ALLOW_THREADS
    if (kept) {
        PyObject *now = PyFloat_FromDouble(monotonic());
        if (now)
            Py_SETREF(SLOT(self, L.gil_left), now);
        else
            PyErr_Clear(); /* no memory: the next poll sets it */
    }
    return count;
}

/* Phase 3 and 4 of a loop of the C table. */
static int poll_table(PyObject *self, PyObject *native, double timeout)
{
    void *loop = PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 0));
    poll_function poll = (poll_function)PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 1));
    fired_function fired = (fired_function)PyLong_AsVoidPtr(PyTuple_GET_ITEM(native, 2));
    struct bits bits;
    int count, i, *ring, failed = 0;
    PyObject *turn;
    if (PyErr_Occurred() || bits_of_loop(self, &bits) < 0)
        return -1;
    count = poll_once(self, poll, loop, timeout);
    put(self, L.in_poll, Py_False);
    if (count < 0) {
        PyObject *number = PyLong_FromLong(count);
        failed = number ? do_method(SLOT(self, L.backend), N._check, number) : -1;
        Py_XDECREF(number);
        return failed;
    }
    failed = read_clock(self, timeout);
    turn = Py_NewRef(SLOT(self, L.iteration));
    for (i = 0; i < count && !failed; i++) {
        PyObject *fd;
        if (SLOT(self, L.iteration) != turn)
            break; /* a signal handler or destructor has waited: another turn has dispatched all of it */
        ring = fired(loop); /* firing may arm a descriptor, which may move the ring */
        fd = PyLong_FromLong(ring[2 * i]);
        failed = fd ? dispatch_one(self, fd, ring[2 * i + 1], &bits) : -1;
        Py_XDECREF(fd);
    }
    Py_DECREF(turn);
    return failed;
}

static int poll_native(PyObject *self, PyObject *native, double timeout)
{
    int failed;
    Py_INCREF(native); /* keeps the loop's memory if another thread destroys it */
    failed = poll_table(self, native, timeout);
    Py_DECREF(native);
    return failed;
}

static int is_empty(PyObject *events)
{
    if (PyTuple_CheckExact(events))
        return !PyTuple_GET_SIZE(events);
    return PyList_CheckExact(events) && !PyList_GET_SIZE(events);
}

static int poll_any(PyObject *self, double timeout)
{
    PyObject *seconds = PyFloat_FromDouble(timeout), *events, *began, *turn = SLOT(self, L.iteration);
    double before = has_kept_gil(self) ? monotonic() : 0.0;
    int failed = 0;
    if (!seconds)
        return -1;
    Py_INCREF(turn);
    events = PyObject_CallMethodOneArg(SLOT(self, L.backend), N.poll, seconds);
    Py_DECREF(seconds);
    if (!events) {
        Py_DECREF(turn);
        return -1;
    }
    put(self, L.in_poll, Py_False);
    failed = read_clock(self, timeout);
    if (!failed && before) {
        began = PyFloat_FromDouble(before);
        failed = began ? do_method(self, N._share_gil, began) : -1;
        Py_XDECREF(began);
    }
    if (!failed && !is_empty(events) && SLOT(self, L.iteration) == turn)
        failed = do_method(self, N.dispatch, events);
    Py_DECREF(turn);
    Py_DECREF(events);
    return failed;
}

static int poll_and_dispatch(PyObject *self, double timeout)
{
    PyObject *native = native_table(self);
    int failed = native ? poll_native(self, native, timeout) : poll_any(self, timeout);
    if (!failed)
        put(self, L.told, Py_True);
    if (!failed && PyErr_CheckSignals() < 0)
        failed = -1;
    if (failed) {
        /* A signal handler of Python has raised an error; no event may be lost by that. */
        put(self, L.in_poll, Py_False);
        if (SLOT(self, L.told) == Py_False)
            settle(self, N._wake_all, NULL, NULL);
        failed = report(self, NULL);
        put(self, L.told, Py_True);
    }
    return failed;
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
    put(self, L.told, Py_False);
    if (nowait != Py_True && !filled(SLOT(self, L.ready)) && !filled(SLOT(self, L.idles))) {
        going = time_to_wait(self, &timeout);
        if (going != 1) {
            put(self, L.told, Py_True);
            return going < 0 ? NULL : PyBool_FromLong(going);
        }
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

static PyObject *python_loop_wake;

static PyObject *loop_wake(PyObject *self, PyObject *unused)
{
    struct bell bell;
    (void)unused;
    if (SLOT(self, L.in_poll) != Py_True)
        Py_RETURN_NONE;
    if (!find_bell(self, &bell))
        return PyObject_CallOneArg(python_loop_wake, self);
    put(self, L.in_poll, Py_False);
    bell.wake(bell.loop);
    Py_DECREF(bell.owner);
    Py_RETURN_NONE;
}

/* Not by the socket's method, which gives up the GIL. The reference to the socket keeps its descriptor from others. */
static PyObject *loop_write_to_self(PyObject *self, PyObject *unused)
{
    PyObject *writer = SLOT(self, L.signal_writer);
    int fd;
    (void)unused;
    if (!writer || writer == Py_None)
        Py_RETURN_NONE; /* the loop is gone */
    Py_INCREF(writer);
    fd = PyObject_AsFileDescriptor(writer);
    PyErr_Clear();
    if (fd >= 0)
        (void)!send(fd, "", 1, MSG_DONTWAIT); /* full: the poll ends anyway */
    Py_DECREF(writer);
    Py_RETURN_NONE;
}

static const struct method turn_methods[] = {
    {NULL, {"turn", loop_turn, METH_O, "turn($self, nowait)\n--\n\n"}},
    {NULL, {"run_ready", loop_run_ready, METH_NOARGS, "run_ready($self)\n--\n\n"}},
    {&python_tell_observers,
     {"_tell_observers", FASTCALL(loop_tell_observers), "_tell_observers($self, handle, bits)\n--\n\n"}},
    {NULL, {"dispatch", loop_dispatch, METH_O, "dispatch($self, events)\n--\n\n"}},
    {NULL, {"_write_to_self", loop_write_to_self, METH_NOARGS, "_write_to_self($self)\n--\n\n"}},
    {&python_loop_wake, {"wake", loop_wake, METH_NOARGS, "wake($self)\n--\n\n"}},
    {0},
};

const struct noun ring_noun = {"hubbub.loop.ring.RingBackend", &B.type, ring_fields, NULL};
const struct noun turn_noun = {"hubbub.loop.base.BaseLoop", &L.type, loop_fields, turn_methods};
