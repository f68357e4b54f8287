/*
 * Methods of hubbub-asyncio's event loop and transport in C: those that run for every callback and every message.
 *
 * They are set on the classes of hubbub_asyncio in place of the Python methods of the same names
 * (hubbub_asyncio.acceleration says which), work on the same objects, and do the same.
 *
 * - A method here does the common case.  Whatever is unusual is handed to the Python method it stands for.
 * - Attributes that the classes keep in __slots__ are read and written in place; bind() learns their offsets, once.
 *   A slot that is not set is NULL, and unusual.
 * - A callback may switch greenlets, and return much later.  So what is used after one is owned.
 */
#ifndef HUBBUB_ASYNCIO_SPEED_METHODS_H
#define HUBBUB_ASYNCIO_SPEED_METHODS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#error "hubbub-asyncio-speed is not for free-threaded builds of CPython"
#endif

#define SLOT(object, offset) (*(PyObject **)((char *)(object) + (offset)))
#define FASTCALL(function) ((PyCFunction)(void (*)(void))(function)), METH_FASTCALL | METH_KEYWORDS

struct field {
    const char *name;
    Py_ssize_t *offset;
};

/* A method, and where the Python method that it stands for is kept. */
struct method {
    PyObject **original;
    PyMethodDef definition;
};

/* What a file here provides for one class. The type and the fields are filled in by bind(). */
struct noun {
    const char *name;
    PyTypeObject **type;
    const struct field *fields;
    const struct method *methods;
};

extern const struct noun loop_noun, handle_noun, watch_noun, transport_noun, rounds_noun;

/* Names of attributes and methods, interned. */
extern struct names {
    PyObject *iteration, *ready, *switch_, *turn_seconds, *unschedule, *_call_ready, *_park, *_queue_due, *_stay,
        *_take_turns, *_wake, *_still_runs, *_run, *_cancelled, *append, *popleft, *context, *loop, *data_received, *_fatal_error,
        *_read_ready__on_eof, *_write_later, *recv, *send, *fileno;
} N;

/* Calls the Python method in whose place one of this package stands. */
PyObject *fall_back(PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* A part by its name, kept for ever; NULL: an exception. */
PyObject *wanted(PyObject *parts, const char *name);
/* An attribute of a module, kept for ever; NULL: an exception. */
PyObject *imported(const char *module, const char *name);
/* What a method of a built-in class does, if its definition has these flags; NULL: an exception. */
PyCFunction function_of(PyObject *type, PyObject *name, int flags);

/* Takes the exception that is set. NULL: it is one that ends the program, and stays set. */
PyObject *take_error(void);
/* Takes the exception that is set, whatever it is; sets one that was taken. */
PyObject *take_any_error(void);
void give_back_error(PyObject *error);
/* Calls a function as an except clause would that has caught the error. */
PyObject *call_handling(PyObject *error, PyObject *callable, PyObject *const *args, size_t nargs);

/* Whether the greenlet that runs the event loop goes on to run callbacks; -1: an exception. */
int goes_on(PyObject *loop);
extern PyTypeObject *deque_type;

int learn_callbacks(PyObject *parts);
int learn_rounds(PyObject *parts);
int learn_transport(PyObject *parts);

static inline void put(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = Py_NewRef(value);
    Py_XDECREF(old);
}

#endif
