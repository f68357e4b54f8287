/*
 * Locks: each operation is one step, with the GIL held, and `with` calls it without a step of Python in between.
 * So a signal handler that raises, or takes the same lock, never finds an operation half done.
 */
#include "methods.h"

struct latch H;

static PyTypeObject *lock_type, *rlock_type, *thread_rlock_type;

static const struct field latch_fields[] = {
    {"_depth", &H.depth}, {"_holder", &H.holder}, {"_links", &H.links}, {"_waiters", &H.waiters}, {0}};

/* What each of the three kinds of lock has of its own. */
struct kind {
    PyObject *acquire, *release, *enter, *exit; /* the methods in Python */
};

static struct kind lock, rlock, thread_rlock;

static int is_whole(PyObject *self)
{
    PyObject *holder = SLOT(self, H.holder), *waiters = SLOT(self, H.waiters);
    return holder && PyDict_CheckExact(holder) && waiters && is_deque(waiters) && SLOT(self, H.depth);
}

/* 1: taken, 0: another greenlet holds it, or waits for it, -1: an exception. */
static int try_to_take(PyObject *self, PyObject *who)
{
    if (filled(SLOT(self, H.waiters)) || PyDict_GET_SIZE(SLOT(self, H.holder)))
        return 0;
    return PyDict_SetItem(SLOT(self, H.holder), zero, who) < 0 ? -1 : 1;
}

/* Releases the lock, and hands it over to the first waiter, if there is one. */
static int hand_on(PyObject *self)
{
    PyObject *holder = Py_NewRef(SLOT(self, H.holder)), *waiters = Py_NewRef(SLOT(self, H.waiters)), *waiter;
    int failed = 0, handed = 0;
    while (!failed && !handed && filled(waiters)) {
        waiter = queue_popleft(waiters);
        if (!waiter) {
            failed = 1;
        } else if (!is_waiter(waiter)) {
            PyErr_SetString(PyExc_SystemError, "among those who wait for a lock is something else");
            failed = 1;
        } else if (PyDict_SetItem(holder, zero, SLOT(waiter, W.value)) < 0) {
            failed = 1;
        } else {
            handed = wake(waiter, SLOT(waiter, W.value)); /* for whom the lock is now held; see Latch._pass_on */
            failed = handed < 0;
        }
        Py_XDECREF(waiter);
    }
    if (!failed && !handed)
        failed = PyDict_DelItem(holder, zero) < 0;
    Py_DECREF(waiters);
    Py_DECREF(holder);
    return failed ? -1 : 0;
}

/* -- waiting ------------------------------------------------------------------------------------------------------ */

/* As Latch._wait_turn without a limit; ``self`` and ``who`` are the caller's own references. */
static PyObject *join_and_wait(PyObject *self, PyObject *who, PyObject *waiter)
{
    PyObject *waiters = SLOT(self, H.waiters), *done = NULL;
    put(waiter, W.value, who);
    put(waiter, W.user, self);
    if (queue_append(waiters, waiter) < 0)
        return NULL;
    if (PyDict_GET_SIZE(SLOT(self, H.holder)) || do_method(self, N._hand_over, NULL) == 0)
        done = waiter_wait(waiter, NULL, 0, NULL);
    put(waiter, W.user, Py_None);
    if (!done)
        settle(self, N._abandon, waiter, NULL);
    return done;
}

/* The same for a lock that code out of the loop's sight may release: the loop goes on meanwhile. */
static PyObject *wait_patiently(PyObject *self, PyObject *who, PyObject *waiter)
{
    PyObject *loop = Py_NewRef(SLOT(waiter, W.loop)), *held = PyObject_CallMethodNoArgs(loop, N.hold), *done = NULL;
    if (held) {
        done = join_and_wait(self, who, waiter);
        settle(loop, N.let_go, held, NULL);
        if (PyErr_Occurred())
            Py_CLEAR(done);
        Py_DECREF(held);
    }
    Py_DECREF(loop);
    return done;
}

/* Waits for the lock. NULL without an exception: this thread is just making its hub. */
static PyObject *wait_turn(const struct kind *kind, PyObject *self, PyObject *who)
{
    PyObject *waiter, *done;
    int making = kind == &rlock ? 0 : truth_of(PyObject_CallNoArgs(make_way));
    if (making || !(waiter = new_waiter()))
        return NULL;
    Py_INCREF(self);
    done = kind == &rlock ? join_and_wait(self, who, waiter) : wait_patiently(self, who, waiter);
    Py_DECREF(self);
    Py_DECREF(waiter);
    return done;
}

/* Whether acquire() was called so that it waits. */
static int waits(PyObject *const *args, Py_ssize_t nargs)
{
    return !nargs || args[0] == Py_True;
}

/* Whether acquire() was called in the common way: without a time limit, and at most with a bool. */
static int is_plain_call(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return !kwnames && (!nargs || (nargs == 1 && PyBool_Check(args[0])));
}

/* -- locks that any greenlet may release -------------------------------------------------------------------------- */

/* A fresh object that stands for this hold of the lock, and tells which greenlet took it, as _hold in thread.py. */
static PyObject *new_hold(void)
{
    PyObject *current = current_greenlet(), *who;
    if (!current)
        PyErr_Clear(); /* the interpreter is exiting, and greenlets do not work any more */
    who = PyFloat_FromDouble((double)(uintptr_t)current);
    Py_XDECREF(current);
    return who;
}

static PyObject *lock_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    if (is_plain_call(args, nargs, kwnames) && is_whole(self)) {
        PyObject *who = new_hold();
        int taken = who ? try_to_take(self, who) : -1;
        PyObject *done = taken > 0 ? Py_NewRef(Py_True) : NULL;
        if (!taken && waits(args, nargs))
            done = wait_turn(&lock, self, who);
        Py_XDECREF(who);
        if (done || PyErr_Occurred())
            return done;
    }
    return fall_back(lock.acquire, self, args, nargs, kwnames);
}

static PyObject *lock_release(PyObject *self, PyObject *unused)
{
    (void)unused;
    if (!is_whole(self) || !PyDict_GET_SIZE(SLOT(self, H.holder)) || SLOT(self, H.links) != Py_None)
        return fall_back(lock.release, self, NULL, 0, NULL);
    if (hand_on(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* -- locks that their owner may take again -------------------------------------------------------------------------- */

static int owns(PyObject *self, PyObject *who)
{
    return PyDict_GetItemWithError(SLOT(self, H.holder), zero) == who;
}

static PyObject *main_greenlet(PyObject *runner)
{
    PyObject *hub = PyObject_GetAttr(runner, N.hub), *main_ = hub ? PyObject_GetAttr(hub, N.main) : NULL;
    Py_XDECREF(hub);
    return main_;
}

/* The current greenlet, a new reference; in the hub the main greenlet, if that holds this lock of threads. */
static PyObject *current_owner(const struct kind *kind, PyObject *self)
{
    PyObject *current = current_greenlet(), *main_;
    if (!current || kind != &thread_rlock || !PyObject_TypeCheck(current, runner_type))
        return current;
    main_ = main_greenlet(current);
    if (main_ && owns(self, main_)) {
        Py_DECREF(current);
        return main_;
    }
    if (!main_)
        Py_CLEAR(current);
    Py_XDECREF(main_);
    return current;
}

static PyObject *acquire_again(const struct kind *kind, PyObject *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames)
{
    if (is_plain_call(args, nargs, kwnames) && is_whole(self)) {
        PyObject *who = current_owner(kind, self);
        PyObject *done;
        int taken;
        if (!who && !PyErr_ExceptionMatches(PyExc_RuntimeError))
            return NULL;
        if (!who) { /* the interpreter is exiting, and greenlets do not work any more */
            PyErr_Clear();
            return fall_back(kind->acquire, self, args, nargs, kwnames);
        }
        if (owns(self, who))
            taken = add(self, H.depth, 1) < 0 ? -1 : 1;
        else
            taken = try_to_take(self, who);
        done = taken > 0 ? Py_NewRef(Py_True) : NULL;
        if (!taken && waits(args, nargs))
            done = wait_turn(kind, self, who);
        Py_DECREF(who);
        if (done || PyErr_Occurred())
            return done;
    }
    return fall_back(kind->acquire, self, args, nargs, kwnames);
}

static PyObject *release_again(const struct kind *kind, PyObject *self)
{
    PyObject *who = is_whole(self) && SLOT(self, H.links) == Py_None ? current_owner(kind, self) : NULL;
    int mine = who && owns(self, who), failed;
    Py_XDECREF(who);
    if (!mine) {
        PyErr_Clear();
        return fall_back(kind->release, self, NULL, 0, NULL);
    }
    if (PyObject_IsTrue(SLOT(self, H.depth)))
        failed = add(self, H.depth, -1);
    else
        failed = hand_on(self);
    if (failed < 0)
        return NULL;
    Py_RETURN_NONE;
}

#define AGAIN(name)                                                                                                   \
    static PyObject *name##_acquire(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)       \
    {                                                                                                                 \
        return acquire_again(&name, self, args, nargs, kwnames);                                                      \
    }                                                                                                                 \
    static PyObject *name##_release(PyObject *self, PyObject *unused)                                                 \
    {                                                                                                                 \
        (void)unused;                                                                                                 \
        return release_again(&name, self);                                                                            \
    }

AGAIN(rlock)
AGAIN(thread_rlock)

/* -- with ------------------------------------------------------------------------------------------------------------ */

/* Looked up by name: a subclass may have its own acquire and release. */
static PyObject *enter(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyObject_CallMethodNoArgs(self, N.acquire);
}

static PyObject *leave(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)args, (void)nargs, (void)kwnames;
    if (do_method(self, N.release, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

#define METHODS(name, limit)                                                                                          \
    static const struct method name##_methods[] = {                                                                   \
        {&name.acquire,                                                                                               \
         {"acquire", FASTCALL(name##_acquire), "acquire($self, blocking=True, timeout=" limit ")\n--\n\n"}},          \
        {&name.release, {"release", name##_release, METH_NOARGS, "release($self)\n--\n\n"}},                          \
        {&name.enter, {"__enter__", enter, METH_NOARGS, "__enter__($self)\n--\n\n"}},                                 \
        {&name.exit, {"__exit__", FASTCALL(leave), "__exit__($self, *error)\n--\n\n"}},                               \
        {0},                                                                                                          \
    };

METHODS(lock, "-1")
METHODS(rlock, "None")
METHODS(thread_rlock, "-1")

static PyTypeObject *latch_type;

const struct noun latch_noun = {"hubbub._latch.Latch", &latch_type, latch_fields, NULL};
const struct noun lock_noun = {"hubbub.thread.LockType", &lock_type, NULL, lock_methods};
const struct noun rlock_noun = {"hubbub.lock.RLock", &rlock_type, NULL, rlock_methods};
const struct noun thread_rlock_noun = {"hubbub.thread.RLock", &thread_rlock_type, NULL, thread_rlock_methods};
