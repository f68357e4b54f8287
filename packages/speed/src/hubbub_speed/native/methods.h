/*
 * Methods of hubbub's core in C: those that run for every switch, wait, event and timer.
 *
 * They are set on the core's own classes in place of the Python methods of the same names
 * (hubbub.acceleration says which), work on the same objects, and do the same.  So they may be put in and
 * taken out at any time, with greenlets in the middle of a wait.
 *
 * - A method here does the common case.  Whatever is unusual (keyword arguments, a closed descriptor, a
 *   wait outside a greenlet of the hub) is handed to the Python method it stands for: see fall_back().
 * - Attributes that core keeps in __slots__ are read and written in place; bind() learns their offsets from
 *   the classes, once.  A slot that is not set is NULL, and unusual.
 * - A switch may return much later, in another order, and with an exception.  So the method owns the objects
 *   that it uses after a switch, and does what it must do on both ways out.
 */
#ifndef HUBBUB_SPEED_METHODS_H
#define HUBBUB_SPEED_METHODS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <time.h>

#ifdef Py_GIL_DISABLED
#error "hubbub-speed is not for free-threaded builds of CPython"
#endif

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))

/* Not inlined into what waits: else the stack that it needs would be kept and copied of each greenlet that waits. */
#define APART __attribute__((noinline))
#define RARE __attribute__((noinline, cold)) /* likewise, and nearly never called */

/* -- the nouns: what a file here provides for one class of core --------------------------------------------- */

struct field {
    const char *name;
    Py_ssize_t *offset;
};

/* A method, and where the Python method that it stands for is kept, if it is ever needed. */
struct method {
    PyObject **original;
    PyMethodDef definition;
};

#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL | METH_KEYWORDS

/* A special method that the interpreter calls through a slot of the type; object's own descriptor is the model. */
struct slot {
    const char *name;
    void *function;
    PyObject **original;
};

/* The type and the fields are filled in by bind(). */
struct noun {
    const char *name;
    PyTypeObject **type;
    const struct field *fields;
    const struct method *methods;
    const struct slot *slots;
};

extern const struct noun awaitable_noun, event_noun, result_noun, local_noun, ring_noun, readiness_noun, direction_noun, turn_noun, timers_noun, waiter_noun, semaphore_noun,
    queue_noun, socket_noun, timeout_noun, latch_noun, lock_noun, rlock_noun, thread_rlock_noun,
    waitqueue_noun, separation_noun, pauses_noun, workers_noun, worker_noun, task_noun, datagram_noun,
    greenlet_noun, logs_noun;

/* -- where the attributes of core lie ------------------------------------------------------------------------ */

extern struct waiter {
    PyTypeObject *type;
    Py_ssize_t loop, waiting, done, greenlet, since, user, value;
} W;

extern struct direction {
    PyTypeObject *type;
    Py_ssize_t armed, handle, loop, others, ready, since, turn_at, unheeded, user, waiter;
} D;

extern struct readiness {
    PyTypeObject *type;
    Py_ssize_t closed, level, read, sticky, observers, writer;
} R;

extern struct loop {
    PyTypeObject *type;
    Py_ssize_t ready, handles, hub, time, born, in_poll, calls, break_, heap, sequence, stopped, unref, witness, checks,
        destroyed, gil_left, idles, iteration, longest_turn, backend, outside, prepares, told, hand_overs, handed_to, log,
        signal_writer;
} L;

extern struct ring {
    PyTypeObject *type;
    Py_ssize_t native;
} B;

extern struct semaphore {
    PyTypeObject *type;
    Py_ssize_t permits, reserve, waiters, links;
} S;

extern struct latch {
    PyTypeObject *type;
    Py_ssize_t depth, holder, links, waiters;
} H;

extern struct queue {
    PyTypeObject *type;
    Py_ssize_t append, pop, puts, getters, maxsize, mutex, peekers, putters, links, queue;
} Q;

extern struct socket {
    PyTypeObject *type;
    Py_ssize_t limit, read, shortens, skip, skips;
} K;

extern struct timeout {
    PyTypeObject *type;
    Py_ssize_t fire, greenlet, key, loop, ref, exception, seconds;
} T;

extern struct greenlet {
    PyTypeObject *type;
    Py_ssize_t error, key, links, name, notifying, run, start, state, traceback, args, kwargs, made, value;
} G;

extern struct separation {
    PyTypeObject *type;
    Py_ssize_t exchange, get, home, plain, put, tasks;
} P;

/* -- what is learnt once ------------------------------------------------------------------------------------- */

extern PyTypeObject *deque_type, *failure_type, *hub_type, *runner_type, *waitqueue_type;
extern PyObject *deque_pop, *make_way, *partial_type, *ring_poll, *local_attributes;
extern PyObject *zero;    /* 0 */
extern PyObject *expired; /* the value passed to a greenlet that is switched to because its time is up */
extern Py_ssize_t family_offset; /* of _socket.socket: where it keeps the number of its family */

/* Numbers that core defines, see hubbub.acceleration.CONSTANTS. */
extern struct constants {
    double slice, slices; /* how many callables at most are called unchecked, and how many slices make a turn */
    double slow;          /* the share of a turn's budget from which on a slice is a slow one */
    double crowd, longest; /* how many callables lengthen a turn by its own time, and how many times it may become as long */
    double overtime;      /* seconds: how long it may go on beyond that while nothing is queued */
    double few_ready;      /* so many at most have their turn before the next poll */
    double in_bulk;       /* bytes: of a stream of which so many have come, more comes while they are read */
    double sweep_above;   /* stopped timers in the heap */
    double look_again;    /* seconds */
    double read, write;   /* the events of an observer, as bits */
    double new_, scheduled, done; /* the states of a greenlet */
    double gil_kept;      /* seconds: how long a busy loop may keep other native threads from running */
} C;

/* Names of attributes and methods, interned. */
extern struct names {
    PyObject *arm_direction, *_abandon, *append, *popleft, *switch_, *loop, *unschedule, *wake, *call_later,
        *cancel_later, *call_failed, *handle_error, *forget, *_tell_observers, *events, *fired, *fire, *READ_BITS,
        *WRITE_BITS, *STICKY_BITS, *turn_seconds, *_sweep, *run_ready, *dispatch, *poll, *_expire, *_alive, *_call_phase, *_call_idles, *_wake_all,
        *_check, *_time_left, *_after_read, *_open, *_found_nothing, *_send_rest, *_expired, *queue, *_hand_over, *acquire,
        *main, *release, *timer_runs, *_share_gil, *__dict__, *abandon, *withdraw, *put, *get, *hub,
        *_is_late, *_go_on_waiting, *appendleft, *_put, *_unget, *_uncount, *_received, *_abandon_put, *_abandon_get, *hold,
        *let_go, *deliver, *arrive, *_get_up, *_next_thread,
        *context, *spawn_hook, *dead, *_schedule_links, *_notify_links, *_link_failed, *notification;
} N;

/* Learn the rest of core's parts; -1: an exception. */
int learn_common(PyObject *parts);
int learn_socket(void);
int learn_datagram(PyObject *base);
int learn_handover(void);
int learn_workers(void);
int learn_eventlog(void);
int learn_greenlet(PyObject *parts);

/* A part by its name, kept for ever; NULL: an exception. */
PyObject *wanted(PyObject *parts, const char *name);

/* One of hubbub.acceleration.OBJECTS, likewise. */
PyObject *wanted_object(PyObject *parts, const char *name);

/* What ends the poll of a loop, also without the GIL. */
typedef void (*wake_function)(void *loop);

struct bell {
    PyObject *owner; /* NULL: there is nothing to ring */
    wake_function wake;
    void *loop;
};

/* Reads of a socket.  NULL without an exception: there is nothing. */
typedef PyObject *(*receive_function)(PyObject *self, PyObject *bufsize, long flags);

enum { FEW = 66 << 10 }; /* bytes: so many are received or sent with the GIL */

/* -- what the files use of one another ------------------------------------------------------------------------- */

PyObject *fall_back(PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *call_noargs(PyObject *function);
int queue_append(PyObject *queue, PyObject *item);
PyObject *queue_popleft(PyObject *queue);
void settle(PyObject *object, PyObject *name, PyObject *a, PyObject *b);
PyObject *caught(void);
PyObject *set_closed_error(void);
PyObject *current_greenlet(void); /* a new reference */
PyObject *current_hub(void);      /* likewise */
int who_waits(PyObject **current, PyObject **hub);
int who_waits_on(PyObject *loop, PyObject **current, PyObject **hub);
int do_method(PyObject *self, PyObject *name, PyObject *argument);
int truth_of(PyObject *answer);
PyObject *direction_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *direction_fire(PyObject *self, PyObject *unused);
PyObject *waiter_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
PyObject *waiter_resume(PyObject *self);
PyObject *new_waiter(void);
PyObject *switch_of(PyObject *greenlet);
void drop_switch(PyObject *callback);
PyObject *loop_of(PyObject *hub);
PyObject *switch_out(PyObject *hub, PyObject *loop);
int is_next(PyObject *hub, PyObject *loop);
PyObject *waiter_rest(PyObject *self, PyObject *seconds, PyObject *ref);
PyObject *switch_to(PyObject *greenlet);
PyObject *hand_over(PyObject *hub, PyObject *loop);
PyObject *switched_to(PyObject *callback);
void log_turn(PyObject *loop);
void log_taken(PyObject *loop);
void log_queued(PyObject *loop, int timer);
void log_woken(PyObject *loop, PyObject *greenlet);
void log_ran(PyObject *loop, PyObject *greenlet);
void log_next(PyObject *loop, PyObject *greenlet);
void log_call(PyObject *loop, PyObject *callback);
PyObject *call_ready(PyObject *loop, PyObject *callback, int *done, int most);
int is_notification(PyObject *callable);
int is_separation(PyObject *callable);
int leads_home(PyObject *callable);
PyObject *separated_switch(PyObject *self, PyObject *hub, PyObject *loop);
PyObject *waitqueue_wait(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
int wake(PyObject *self, PyObject *value);
int is_stale(PyObject *self);
int descriptor(PyObject *self);
int why_failed(int error);
PyObject *call_plain(PyObject *method, PyObject *self, PyObject *argument, long flags);
PyObject *read_with(receive_function call, PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                    PyObject *kwnames);
int find_bell(PyObject *loop, struct bell *bell);
int timer_runs(PyObject *loop, PyObject *key, PyObject *callback);

/* -- small things ----------------------------------------------------------------------------------------------- */

static inline void put(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = Py_NewRef(value);
    Py_XDECREF(old);
}

/* time.monotonic() */
static inline double monotonic(void)
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
static inline int add(PyObject *object, Py_ssize_t offset, long long change)
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

/* Whether the events of a loop are noted in a ring of eventlog.c. */
static inline int is_logged(PyObject *loop)
{
    return SLOT(loop, L.log) != Py_None;
}

/* Whether an object is a waiter that may be woken. */
static inline int is_waiter(PyObject *object)
{
    return Py_IS_TYPE(object, W.type) && SLOT(object, W.loop) && PyObject_TypeCheck(SLOT(object, W.loop), L.type);
}

/* Whether an object is a deque of the loop or a wait queue, with the deque's own methods. */
static inline int is_deque(PyObject *queue)
{
    return Py_IS_TYPE(queue, deque_type) || Py_IS_TYPE(queue, waitqueue_type);
}

/* Types that are known to have core's own version of a method, for as long as they are not changed. */
struct proof {
    PyTypeObject *type;
    unsigned int version;
};

static inline int is_proved(const struct proof *proof, PyTypeObject *type)
{
    return proof->type == type && proof->version && proof->version == type->tp_version_tag;
}

static inline void prove(struct proof *proof, PyTypeObject *type)
{
    proof->type = type;
    proof->version = type->tp_version_tag;
}

/* Whether a container is set and not empty. */
static inline int filled(PyObject *collection)
{
    if (!collection || collection == Py_None)
        return 0;
    return is_deque(collection) || PyList_CheckExact(collection) ? Py_SIZE(collection) > 0 : PyObject_Size(collection) > 0;
}

#endif
