/* Semaphore.acquire and release. */
#include "methods.h"

struct semaphore S;

static const struct field semaphore_fields[] = {
    {"_permits", &S.permits}, {"_reserve", &S.reserve}, {"_waiters", &S.waiters}, {"_links", &S.links}, {0}};

static PyObject *python_semaphore_acquire, *python_semaphore_release;

/* Waits for a permit, behind the present waiters. */
static PyObject *acquire_in_turn(PyObject *self, PyObject *waiters)
{
    PyObject *waiter = new_waiter(), *done = NULL;
    if (!waiter)
        return NULL;
    put(waiter, W.user, self);
    if (queue_append(waiters, waiter) == 0) {
        if ((filled(SLOT(self, S.permits)) || SLOT(self, S.reserve) != Py_None) &&
            do_method(self, N._hand_over, NULL) < 0)
            done = NULL;
        else
            done = waiter_wait(waiter, NULL, 0, NULL);
        if (!done)
            settle(self, N._abandon, waiter, NULL);
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
    if (!kwnames && !nargs && waiters && permits && is_deque(waiters) &&
        SLOT(self, S.reserve) == Py_None) {
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
    PyObject *waiters = SLOT(self, S.waiters), *permits = SLOT(self, S.permits), *waiter;
    int woken;
    (void)unused;
    if (waiters && permits && filled(waiters)) {
        waiter = queue_popleft(waiters);
        if (!waiter)
            return NULL;
        if (is_waiter(waiter)) {
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

/* For `with`: no step of Python, where a signal handler could raise, lies between taking the permit and the block. */
static PyObject *semaphore_enter(PyObject *self, PyObject *unused)
{
    PyObject *taken = PyObject_CallMethodNoArgs(self, N.acquire);
    (void)unused;
    if (!taken)
        return NULL;
    Py_DECREF(taken);
    Py_RETURN_NONE;
}

static PyObject *semaphore_exit(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    (void)args, (void)nargs, (void)kwnames;
    if (do_method(self, N.release, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static const struct method semaphore_methods[] = {
    {&python_semaphore_acquire,
     {"acquire", FASTCALL(semaphore_acquire), "acquire($self, blocking=True, timeout=None)\n--\n\n"}},
    {&python_semaphore_release, {"release", semaphore_release, METH_NOARGS, "release($self)\n--\n\n"}},
    {NULL, {"__enter__", semaphore_enter, METH_NOARGS, "__enter__($self)\n--\n\n"}},
    {NULL, {"__exit__", FASTCALL(semaphore_exit), "__exit__($self, kind, error, traceback)\n--\n\n"}},
    {0},
};

const struct noun semaphore_noun = {"hubbub.lock.Semaphore", &S.type, semaphore_fields, semaphore_methods};
