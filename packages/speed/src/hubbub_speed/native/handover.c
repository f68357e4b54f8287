/*
 * Direct hand-over: a greenlet that begins to wait switches to the next greenlet of the run queue by itself, where it
 * would have switched to the hub, and the hub to that greenlet.  The order is the same, and half of the switches are
 * saved.  The hub gets its turn after each slice, as it would have.
 *
 * It happens only while the hub waits in the middle of a slice, in a call that does nothing but switch: then
 * run_slice() has set how many greenlets are left in the slice (L.hand_overs).  And only to greenlets that have begun:
 * a new one would begin where the stack of the other one ends, and its successors deeper and deeper.
 */
#include "methods.h"

#include <greenlet/greenlet.h>

static PyObject *plain_switch, *gettrace; /* greenlet.switch, a descriptor; greenlet.gettrace */

/* Whether objects of the type have the switch of greenlet itself. */
static int has_plain_switch(PyTypeObject *type, struct proof *proof)
{
    if (_PyType_Lookup(type, N.switch_) != plain_switch)
        return 0;
    prove(proof, type);
    return 1;
}

static int is_plain_greenlet(PyObject *object)
{
    static struct proof proof;
    PyTypeObject *type = Py_TYPE(object);
    return type == &PyGreenlet_Type || is_proved(&proof, type) ||
           (PyGreenlet_Check(object) && has_plain_switch(type, &proof));
}

/* Whether a callable is greenlet.switch, bound to a greenlet. */
static int is_switch(PyObject *callback)
{
    return PyCFunction_Check(callback) &&
           PyCFunction_GET_FUNCTION(callback) == ((PyMethodDescrObject *)plain_switch)->d_method->ml_meth;
}

/* The greenlet to whose own switch a callable is bound, a borrowed reference; NULL: it is another callable. */
PyObject *switched_to(PyObject *callback)
{
    return is_switch(callback) ? PyCFunction_GET_SELF(callback) : NULL;
}

static int is_active(PyObject *greenlet)
{
    return PyGreenlet_ACTIVE((PyGreenlet *)greenlet) > 0;
}

/* Whether the hub has the switch of a greenlet, unless there is another one in its dictionary. */
static int is_plain_hub(PyObject *hub)
{
    static struct proof proof;
    PyTypeObject *type = Py_TYPE(hub);
    return is_proved(&proof, type) || (type->tp_dictoffset > 0 && has_plain_switch(type, &proof));
}

/* What a greenlet has in its own dictionary by a name, a borrowed reference; else NULL. */
static PyObject *own(PyObject *greenlet, PyObject *name)
{
    PyObject *dict = SLOT(greenlet, Py_TYPE(greenlet)->tp_dictoffset);
    return dict && PyDict_GET_SIZE(dict) ? PyDict_GetItemWithError(dict, name) : NULL;
}

static PyObject *own_switch(PyObject *hub)
{
    return own(hub, N.switch_);
}

static PyCFunctionObject *spare; /* a switch that nobody has any more: bound to nothing, unknown to the collector */

static PyObject *bound_switch(PyObject *greenlet)
{
    PyCFunctionObject *bound = spare;
    if (!bound)
        return PyCFunction_New(((PyMethodDescrObject *)plain_switch)->d_method, greenlet);
    spare = NULL;
    bound->m_self = Py_NewRef(greenlet);
    PyObject_GC_Track(bound);
    return (PyObject *)bound;
}

/* Gives up a reference to a callable of the run queue. A switch that nobody else has is kept for the next greenlet. */
void drop_switch(PyObject *callback)
{
    PyCFunctionObject *bound = (PyCFunctionObject *)callback;
    if (spare || Py_REFCNT(callback) != 1 || !PyCFunction_CheckExact(callback) || !is_switch(callback) ||
        bound->m_weakreflist || bound->m_module) {
        Py_DECREF(callback);
        return;
    }
    PyObject_GC_UnTrack(bound);
    spare = bound;
    Py_CLEAR(bound->m_self);
}

/* greenlet.switch, as its attribute: a new reference. */
PyObject *switch_of(PyObject *greenlet)
{
    if (is_plain_greenlet(greenlet) && !own_switch(greenlet) && !PyErr_Occurred())
        return bound_switch(greenlet);
    return PyErr_Occurred() ? NULL : PyObject_GetAttr(greenlet, N.switch_);
}

/*
 * As who_waits, for a wait on a loop.  A greenlet that was handed to in the loop's thread has the loop's hub, whoever
 * its parent is: that need not be asked.
 */
int who_waits_on(PyObject *loop, PyObject **current, PyObject **hub)
{
    PyObject *handed_to = SLOT(loop, L.handed_to), *known = SLOT(loop, L.hub);
    if (handed_to == Py_None || !PyObject_TypeCheck(known, hub_type))
        return who_waits(current, hub);
    *current = current_greenlet();
    if (!*current)
        return -1;
    if (switched_to(handed_to) == *current) {
        *hub = Py_NewRef(known);
        return 0;
    }
    Py_DECREF(*current);
    return who_waits(current, hub);
}

/* hub.loop: a new reference. */
PyObject *loop_of(PyObject *hub)
{
    PyObject *loop = Py_IS_TYPE(hub, hub_type) ? own(hub, N.loop) : NULL;
    if (loop)
        return Py_NewRef(loop);
    return PyErr_Occurred() ? NULL : PyObject_GetAttr(hub, N.loop);
}

static int left(PyObject *loop)
{
    return (int)PyLong_AsLong(SLOT(loop, L.hand_overs));
}

static void set_left(PyObject *loop, int count)
{
    PyObject *number = PyLong_FromLong(count);
    if (!number) /* no memory: none is left */
        PyErr_Clear();
    else
        Py_SETREF(SLOT(loop, L.hand_overs), number);
}

/* Whether a trace function of greenlet is set: it is told of each switch, so there must be the same ones. */
static int is_traced(void)
{
    PyObject *function = call_noargs(gettrace);
    int traced = function != Py_None;
    if (!function)
        PyErr_Clear();
    Py_XDECREF(function);
    return traced;
}

/* The greenlet that a callable of the run queue switches to, if that is all it does: a borrowed reference, or NULL. */
static PyObject *target_of(PyObject *callback)
{
    PyObject *target = NULL;
    if (Py_IS_TYPE(callback, W.type))
        target = SLOT(callback, W.greenlet);
    else if (is_switch(callback))
        target = PyCFunction_GET_SELF(callback);
    return target && is_plain_greenlet(target) && is_active(target) ? target : NULL;
}

/*
 * Takes the next greenlet that may be switched to out of the run queue: a new reference.
 * NULL: it is the hub's turn, or there is an exception.
 */
static PyObject *next_greenlet(PyObject *hub, PyObject *loop)
{
    PyObject *ready = SLOT(loop, L.ready), *first, *target, *taken, *last;
    while (left(loop) > 0 && Py_IS_TYPE(ready, deque_type) && Py_SIZE(ready) > 0) {
        first = PySequence_GetItem(ready, 0);
        if (!first)
            return NULL;
        target = target_of(first);
        if (!target || target == hub) {
            Py_DECREF(first);
            return NULL;
        }
        Py_INCREF(target);
        taken = queue_popleft(ready);
        if (!taken) {
            Py_DECREF(first);
            Py_DECREF(target);
            return NULL;
        }
        Py_DECREF(taken);
        if (is_logged(loop))
            log_taken(loop);
        set_left(loop, left(loop) - 1);
        if (Py_IS_TYPE(first, W.type)) {
            if (SLOT(first, W.waiting) != Py_True) { /* its wait is over */
                Py_DECREF(first);
                Py_DECREF(target);
                continue;
            }
            put(first, W.waiting, Py_False);
        }
        last = SLOT(loop, L.handed_to);
        SLOT(loop, L.handed_to) = first;
        drop_switch(last);
        return target;
    }
    return NULL;
}

static int may_hand_over(PyObject *hub, PyObject *loop)
{
    return SLOT(loop, L.hand_overs) != zero && SLOT(loop, L.break_) == Py_False &&
           SLOT(loop, L.hub) == hub && !is_traced();
}

static PyObject *switch_to_hub(PyObject *hub)
{
    return PyGreenlet_Switch((PyGreenlet *)hub, NULL, NULL);
}

/* For the ring of events, once before and once after the next greenlet is chosen. */
RARE static void log_current(PyObject *loop, void (*note)(PyObject *loop, PyObject *greenlet))
{
    PyObject *current = current_greenlet();
    if (current)
        note(loop, current);
    else
        PyErr_Clear(); /* no memory: the event is missing */
    Py_XDECREF(current);
}

/*
 * Switches to the next greenlet, or to the hub if it is the hub's turn. The hub has no switch of its own.
 * The next may be the one that calls this, to which a switch comes back at once. It is never the hub that calls this and
 * may hand over: while it runs, no greenlets are left in the slice.
 */
PyObject *hand_over(PyObject *hub, PyObject *loop)
{
    PyObject *target, *result;
    if (!filled(SLOT(loop, L.ready)) || !may_hand_over(hub, loop))
        return switch_to_hub(hub);
    if (is_logged(loop))
        log_current(loop, log_woken);
    target = next_greenlet(hub, loop);
    if (!target)
        return PyErr_Occurred() ? NULL : switch_to_hub(hub);
    if (is_logged(loop))
        log_current(loop, log_ran);
    result = PyGreenlet_Switch((PyGreenlet *)target, NULL, NULL);
    Py_DECREF(target);
    return result;
}

/* Whether a greenlet that goes to the end of the run queue is the next at once. That counts as one that was handed to. */
int is_next(PyObject *hub, PyObject *loop)
{
    PyObject *ready = SLOT(loop, L.ready), *own;
    if (!Py_IS_TYPE(ready, deque_type) || Py_SIZE(ready) > 0 || !may_hand_over(hub, loop) || !is_plain_hub(hub))
        return 0;
    own = own_switch(hub); /* what a separation would put aside it would put back at once */
    if (own && !(is_separation(own) && leads_home(own)))
        return 0;
    set_left(loop, left(loop) - 1);
    return 1;
}

/* For a greenlet that begins to wait: what the switch of the hub does, and returns. */
PyObject *switch_out(PyObject *hub, PyObject *loop)
{
    PyObject *own;
    if (!is_plain_hub(hub))
        return PyObject_CallMethodNoArgs(hub, N.switch_);
    own = own_switch(hub);
    if (!own)
        return PyErr_Occurred() ? NULL : hand_over(hub, loop);
    if (is_separation(own))
        return separated_switch(PyCFunction_GET_SELF(own), hub, loop);
    return PyObject_CallMethodNoArgs(hub, N.switch_);
}

/* Switches to a greenlet that has waited. */
PyObject *switch_to(PyObject *greenlet)
{
    if (is_plain_greenlet(greenlet))
        return PyGreenlet_Switch((PyGreenlet *)greenlet, NULL, NULL);
    return PyObject_CallMethodNoArgs(greenlet, N.switch_);
}

/*
 * For the hub: calls the first of the run queue, a callable that it has taken out.
 * The greenlets to which that leads may hand over to one another until *done is ``most``; each counts as one call.
 */
PyObject *call_ready(PyObject *loop, PyObject *callback, int *done, int most)
{
    int waiter = Py_IS_TYPE(callback, W.type);
    PyObject *target = target_of(callback), *result;
    if (!target)
        return waiter ? waiter_resume(callback) : PyObject_CallNoArgs(callback);
    set_left(loop, most - *done - 1);
    result = waiter ? waiter_resume(callback) : PyGreenlet_Switch((PyGreenlet *)target, NULL, NULL);
    *done = most - 1 - left(loop);
    set_left(loop, 0);
    return result;
}

int learn_handover(void)
{
    PyObject *module;
    PyGreenlet_Import();
    module = PyErr_Occurred() ? NULL : PyImport_ImportModule("greenlet");
    if (!module)
        return -1;
    gettrace = PyObject_GetAttrString(module, "gettrace");
    Py_DECREF(module);
    plain_switch = gettrace ? PyObject_GetAttr((PyObject *)&PyGreenlet_Type, N.switch_) : NULL;
    if (plain_switch && !Py_IS_TYPE(plain_switch, &PyMethodDescr_Type)) {
        PyErr_SetString(PyExc_TypeError, "greenlet.switch is not a method in C");
        return -1;
    }
    return plain_switch ? 0 : -1;
}
