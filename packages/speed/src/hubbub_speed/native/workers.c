/*
 * Threads that run jobs: Workers.submit and fetch.
 *
 * To wake a thread costs a switch of the kernel, and two more if that thread has to wait for the GIL.  So a thread that
 * has done its job wakes the loop to which it delivers when it has given up the GIL, as the last thing before it waits.
 * And whoever submits a job, and has nothing else to do, wakes the thread without the GIL.
 *
 * Two threads on two processors that wake one another for a job of a few microseconds take ten times as long as the
 * job.  So both spin before they sleep, without the GIL and for no longer than a sleep would cost: who submits a job
 * and has nothing else to do, until the worker waits again, and a worker that is waited for in this way, until its next
 * job comes.  Who has spun in vain spins more and more rarely.
 */
#include "methods.h"

#include <pythread.h>
#include <sched.h>
#include <stdatomic.h>

/* Seconds: about what it costs to put a thread to sleep and to wake it, and how long it may take to wake one. */
#define SPIN_SECONDS 50e-6
#define TRIAL_SECONDS 200e-6
/* Looks from one reading of the clock to the next. */
enum { LOOKS = 32 };
/* At most every 256th wait begins with spinning, if that is in vain again and again. */
enum { MOST_MISSES = 8 };

static PyTypeObject *workers_type, *worker_type, *task_type;
static struct {
    Py_ssize_t idle, jobs, maxsize, workers, idle_seconds;
} V;
static struct {
    Py_ssize_t baton, done, hand;
} O;
static struct {
    Py_ssize_t outcome, pool;
} J;

static const struct field workers_fields[] = {{"_idle", &V.idle},         {"_jobs", &V.jobs},
                                              {"_maxsize", &V.maxsize},   {"_workers", &V.workers},
                                              {"idle_seconds", &V.idle_seconds}, {0}};
static const struct field worker_fields[] = {{"baton", &O.baton}, {"done", &O.done}, {"hand", &O.hand}, {0}};
static const struct field task_fields[] = {{"outcome", &J.outcome}, {"pool", &J.pool}, {0}};

static PyObject *python_submit, *python_fetch;

/* -- spinning ----------------------------------------------------------------------------------------------------- */

/* Whether to spin: not in the next ``skips`` waits. After a trial that succeeded the other thread spins as well. */
struct spinner {
    unsigned misses, skips;
    int is_tried;
};

static int may_spin(struct spinner *self)
{
    if (!self->skips)
        return 1;
    self->skips--;
    return 0;
}

static void has_spun(struct spinner *self, int in_vain)
{
    self->misses = !in_vain ? 0 : self->misses < MOST_MISSES ? self->misses + 1 : MOST_MISSES;
    self->skips = (1u << self->misses) - 1;
    self->is_tried = 0;
}

/* Tells the processor that this is a loop that only looks. */
static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* Looks whether something has come, until it has or the time is up. Without the GIL. Returns whether it has come. */
static int spin(int (*has_come)(void *), void *where, double seconds)
{
    double end = monotonic() + seconds;
    int look;
    do {
        for (look = 0; look < LOOKS; look++) {
            if (has_come(where))
                return 1;
            relax();
        }
        sched_yield(); /* the other thread may wait for this processor */
    } while (monotonic() < end);
    return 0;
}

/* -- batons ------------------------------------------------------------------------------------------------------- */

/* A lock of the interpreter, as those of _thread, that C can release and acquire without the GIL. */
struct baton {
    PyObject_HEAD
    PyThread_type_lock lock;
    atomic_int rests;   /* its worker waits, or will at once, without the GIL; a hint: perhaps of its last wait */
    atomic_int watched; /* how the submitter of the worker's job spins until the worker rests */
    struct spinner worker, submitter;
};

enum { NOT_WATCHED, WATCHED, TRIED };

static PyTypeObject baton_type;

/* A baton that nobody has released yet. */
static PyObject *new_baton(void)
{
    struct baton *self = PyObject_New(struct baton, &baton_type);
    if (!self)
        return NULL;
    atomic_init(&self->rests, 0);
    atomic_init(&self->watched, NOT_WATCHED);
    self->worker = self->submitter = (struct spinner){0};
    self->lock = PyThread_allocate_lock();
    if (!self->lock) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    PyThread_acquire_lock(self->lock, NOWAIT_LOCK);
    return (PyObject *)self;
}

static void baton_dealloc(PyObject *self)
{
    PyThread_type_lock lock = ((struct baton *)self)->lock;
    if (lock)
        PyThread_free_lock(lock);
    PyObject_Free(self);
}

static PY_TIMEOUT_T microseconds(double seconds)
{
    double limit = seconds * 1e6;
    return seconds < 0 ? -1 : limit < (double)PY_TIMEOUT_MAX ? (PY_TIMEOUT_T)limit : PY_TIMEOUT_MAX;
}

static void ring(const struct bell *bell)
{
    if (bell->owner)
        bell->wake(bell->loop);
}

static int is_released(void *self)
{
    return PyThread_acquire_lock(((struct baton *)self)->lock, NOWAIT_LOCK);
}

static int rests(void *self)
{
    return atomic_load(&((struct baton *)self)->rests);
}

/* The worker spins if its submitter does, who will have the next job soon, if any. Without the GIL. */
static int spin_for_baton(struct baton *self)
{
    int watched = atomic_load(&self->watched), released;
    atomic_store(&self->rests, 1);
    if (watched != TRIED && !(watched && may_spin(&self->worker)))
        return 0;
    released = spin(is_released, self, SPIN_SECONDS);
    has_spun(&self->worker, !released);
    return released;
}

/*
 * Rings the bell and waits for the baton, without the GIL, at most so many seconds; below 0 there is no limit.
 * Returns whether it came.
 */
static int wait_for_baton(PyObject *object, double seconds, const struct bell *bell)
{
    struct baton *self = (struct baton *)object;
    int came;
    Py_INCREF(self);
    Py_BEGIN_ALLOW_THREADS
    ring(bell);
    came = seconds != 0.0 && spin_for_baton(self);
    if (!came)
        came = PyThread_acquire_lock_timed(self->lock, microseconds(seconds), 0) == PY_LOCK_ACQUIRED;
    Py_END_ALLOW_THREADS
    Py_DECREF(self);
    return came;
}

/*
 * Wakes the worker without the GIL, and spins until it waits again, which is soon if the job is short.  If that was in
 * vain, perhaps as the worker slept, a trial lasts long enough to wake it; the next time it should not sleep.
 */
static void wake_and_spin(struct baton *self)
{
    struct spinner *submitter = &self->submitter;
    int spins = may_spin(submitter), tries = spins && submitter->misses && !submitter->is_tried, resting = 0;
    Py_INCREF(self);
    Py_BEGIN_ALLOW_THREADS
    atomic_store(&self->rests, 0);
    atomic_store(&self->watched, tries ? TRIED : spins ? WATCHED : NOT_WATCHED);
    PyThread_release_lock(self->lock);
    if (spins) {
        resting = spin(rests, self, tries ? TRIAL_SECONDS : SPIN_SECONDS);
        atomic_store(&self->watched, NOT_WATCHED);
    }
    Py_END_ALLOW_THREADS
    if (tries && resting)
        submitter->is_tried = 1;
    else if (spins)
        has_spun(submitter, !resting);
    Py_DECREF(self);
}

static PyObject *baton_acquire(PyObject *self, PyObject *args)
{
    static const struct bell none;
    int blocking = 1;
    double seconds = -1.0;
    if (!PyArg_ParseTuple(args, "|pd:acquire", &blocking, &seconds))
        return NULL;
    return PyBool_FromLong(wait_for_baton(self, blocking ? seconds : 0.0, &none));
}

static PyObject *baton_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    PyThread_release_lock(((struct baton *)self)->lock);
    Py_RETURN_NONE;
}

static PyMethodDef baton_methods[] = {
    {"acquire", baton_acquire, METH_VARARGS, "acquire($self, blocking=True, timeout=-1, /)\n--\n\n"},
    {"release", baton_release, METH_NOARGS, "release($self)\n--\n\n"},
    {0},
};

static PyTypeObject baton_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "hubbub_speed._methods.Baton",
    .tp_basicsize = sizeof(struct baton),
    .tp_dealloc = baton_dealloc,
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_methods = baton_methods,
};

/* -- delivering --------------------------------------------------------------------------------------------------- */

/* Wakes a loop, or leaves that to the caller, who then has its bell. */
static int wake_loop(PyObject *loop, struct bell *bell)
{
    if (SLOT(loop, L.in_poll) != Py_True)
        return 0;
    if (bell->owner || !find_bell(loop, bell))
        return do_method(loop, N.wake, NULL);
    put(loop, L.in_poll, Py_False);
    return 0;
}

static int arrive_on(PyObject *loop, PyObject *task, struct bell *bell)
{
    PyObject *arrive;
    int failed;
    if (SLOT(loop, L.destroyed) == Py_True)
        return 0;
    arrive = PyObject_GetAttr(task, N.arrive);
    failed = arrive ? queue_append(SLOT(loop, L.ready), arrive) : -1;
    Py_XDECREF(arrive);
    return failed ? -1 : wake_loop(loop, bell);
}

/* What _Task.deliver does. */
static int deliver_task(PyObject *task, struct bell *bell)
{
    PyObject *hub, *loop;
    int failed;
    if (SLOT(task, J.outcome) == Py_None)
        return 0;
    hub = PyObject_GetAttr(SLOT(task, J.pool), N.hub);
    loop = hub ? PyObject_GetAttr(hub, N.loop) : NULL;
    Py_XDECREF(hub);
    if (!loop)
        return -1;
    failed = PyObject_TypeCheck(loop, L.type) ? arrive_on(loop, task, bell) : do_method(task, N.deliver, NULL);
    Py_DECREF(loop);
    return failed;
}

/* What _Worker.deliver does. The caller rings the bell, and gives it back. */
static int deliver(PyObject *worker, struct bell *bell)
{
    PyObject *done = Py_NewRef(SLOT(worker, O.done)), *job;
    Py_ssize_t i;
    int failed = 0;
    bell->owner = NULL;
    for (i = 0; !failed && i < PyList_GET_SIZE(done); i++) {
        job = Py_NewRef(PyList_GET_ITEM(done, i));
        failed = Py_IS_TYPE(job, task_type) ? deliver_task(job, bell) : do_method(job, N.deliver, NULL);
        Py_DECREF(job);
    }
    if (!failed)
        failed = PyList_SetSlice(done, 0, PyList_GET_SIZE(done), NULL);
    Py_DECREF(done);
    return failed;
}

static int deliver_and_ring(PyObject *worker)
{
    struct bell bell;
    int failed = deliver(worker, &bell);
    ring(&bell);
    Py_XDECREF(bell.owner);
    return failed;
}

/* -- the wait for a job ------------------------------------------------------------------------------------------- */

/* 1: the thread is to have its next job, 0: it is to end, -1: an exception. */
static int belongs(PyObject *self, PyObject *worker)
{
    return PySet_Contains(SLOT(self, V.workers), worker);
}

static int are_too_many(PyObject *self)
{
    return PySet_GET_SIZE(SLOT(self, V.workers)) > PyLong_AsLong(SLOT(self, V.maxsize));
}

/* Moves the next job into the hand of a worker. */
static int take_job(PyObject *self, PyObject *worker)
{
    PyObject *jobs = SLOT(self, V.jobs), *job = queue_popleft(jobs);
    int failed = job ? PyList_Append(SLOT(worker, O.hand), job) : -1;
    if (job && failed)
        settle(jobs, N.appendleft, job, NULL);
    Py_XDECREF(job);
    return failed;
}

/* From now on the worker has a baton that can be waited for here. Nobody knows the old one: it is not idle yet. */
static int give_baton(PyObject *worker)
{
    PyObject *baton;
    if (Py_IS_TYPE(SLOT(worker, O.baton), &baton_type))
        return 0;
    baton = new_baton();
    if (!baton)
        return -1;
    Py_SETREF(SLOT(worker, O.baton), baton);
    return 0;
}

static double idle_seconds(PyObject *self)
{
    PyObject *seconds = SLOT(self, V.idle_seconds);
    return seconds == Py_None ? -1.0 : PyFloat_AsDouble(seconds);
}

/* Delivers and waits, as one of the idle workers. 1: it was woken, 0: the time is up, -1: an exception. */
static int idle(PyObject *self, PyObject *worker)
{
    struct bell bell;
    int woken = -1, failed = deliver(worker, &bell);
    double limit = failed ? 0.0 : idle_seconds(self);
    if (failed || PyErr_Occurred())
        ring(&bell);
    else
        woken = wait_for_baton(SLOT(worker, O.baton), limit, &bell);
    Py_XDECREF(bell.owner);
    return woken;
}

static PyObject *workers_fetch(PyObject *self, PyObject *worker)
{
    int going, woken;
    if (!Py_IS_TYPE(worker, worker_type))
        return fall_back(python_fetch, self, &worker, 1, NULL);
    while ((going = belongs(self, worker)) > 0) {
        if (are_too_many(self))
            return fall_back(python_fetch, self, &worker, 1, NULL);
        if (filled(SLOT(self, V.jobs)))
            return take_job(self, worker) < 0 || deliver_and_ring(worker) < 0 ? NULL : Py_NewRef(Py_True);
        if (give_baton(worker) < 0 || queue_append(SLOT(self, V.idle), worker) < 0)
            return NULL;
        woken = idle(self, worker);
        if (!woken) {
            int up = truth_of(PyObject_CallMethodOneArg(self, N._get_up, worker));
            if (up)
                return up < 0 ? NULL : Py_NewRef(Py_False);
        }
        if (woken < 0)
            return NULL;
    }
    return going < 0 ? NULL : Py_NewRef(Py_False);
}

/* -- submitting --------------------------------------------------------------------------------------------------- */

/*
 * Wakes an idle worker.  ``lends``: without the GIL, so that the worker finds it free.  The kernel often runs the thread
 * that was woken in the place of the one that wakes it.
 */
static int wake_worker(PyObject *worker, int lends)
{
    PyObject *baton = SLOT(worker, O.baton);
    if (!Py_IS_TYPE(baton, &baton_type))
        return do_method(baton, N.release, NULL);
    if (lends)
        wake_and_spin((struct baton *)baton);
    else
        PyThread_release_lock(((struct baton *)baton)->lock);
    return 0;
}

/* What _next_thread does. */
static int next_thread(PyObject *self, int lends)
{
    PyObject *worker;
    int failed;
    if (!filled(SLOT(self, V.idle)))
        return do_method(self, N._next_thread, NULL);
    worker = PyObject_CallOneArg(deque_pop, SLOT(self, V.idle));
    failed = worker ? wake_worker(worker, lends) : -1;
    Py_XDECREF(worker);
    return failed;
}

static PyObject *workers_submit(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (kwnames || nargs < 1 || nargs > 2)
        return fall_back(python_submit, self, args, nargs, kwnames);
    if (queue_append(SLOT(self, V.jobs), args[0]) < 0 || next_thread(self, nargs == 2 && args[1] == Py_True) < 0) {
        settle(self, N.withdraw, args[0], NULL);
        return NULL;
    }
    Py_RETURN_NONE;
}

int learn_workers(void)
{
    return PyType_Ready(&baton_type);
}

static const struct method workers_methods[] = {
    {&python_submit, {"submit", FASTCALL(workers_submit), "submit($self, job, lends=False)\n--\n\n"}},
    {&python_fetch, {"fetch", workers_fetch, METH_O, "fetch($self, worker)\n--\n\n"}},
    {0},
};

const struct noun workers_noun = {"hubbub._workers.Workers", &workers_type, workers_fields, workers_methods};
const struct noun worker_noun = {"hubbub._workers._Worker", &worker_type, worker_fields, NULL};
const struct noun task_noun = {"hubbub.threadpool._Task", &task_type, task_fields, NULL};
