/*
 * Methods of hubbub-net's TLS in C: those that run for every read, every write and every record.
 *
 * They are set on the classes of hubbub_net in place of the Python methods of the same names
 * (hubbub_net.acceleration says which), work on the same objects, and do the same.  OpenSSL is reached through the
 * standard library's objects, as from Python.
 *
 * - A method here does the common case.  Whatever is unusual is handed to the Python method it stands for.
 * - Attributes that the classes keep in __slots__ are read and written in place; bind() learns their offsets, once.
 *   A slot that is not set is NULL, and unusual.
 * - To receive may switch greenlets, and OpenSSL's reads and writes release the GIL.  So there is no state but that of
 *   the connection, and what is used after such a call is owned.
 */
#ifndef HUBBUB_NET_SPEED_METHODS_H
#define HUBBUB_NET_SPEED_METHODS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#ifdef Py_GIL_DISABLED
#error "hubbub-net-speed is not for free-threaded builds of CPython"
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

extern const struct noun incoming_noun, turns_noun, wire_noun, reader_noun, writer_noun, call_noun, socket_noun;

/* -- where the attributes lie --------------------------------------------------------------------------------- */

extern struct incoming {
    PyTypeObject *type;
    Py_ssize_t bio, chunk, ended, header, large, length, loose, missing, paired, start, whole;
} I;

extern struct turns {
    PyTypeObject *type;
    Py_ssize_t behind, held;
} T;

extern struct wire {
    PyTypeObject *type;
    Py_ssize_t incoming, outgoing, readers, sslobj, unsent, writers;
} W;

extern struct call {
    PyTypeObject *type;
    Py_ssize_t deadline, limit, operation, sock;
} C;

/* -- what is learnt once ----------------------------------------------------------------------------------------- */

/* Names of attributes and methods, interned. */
extern struct names {
    PyObject *_encrypt, *_end_of_data, *_fill, *_with_more, *_write_in_turn, *come_to_an_end, *complete, *drain, *errno_, *gettimeout,
        *is_late, *late, *leave, *pending, *push_quietly, *read, *recv, *release, *wait_readable, *wait_writable, *with_traceback, *write;
} N;

/* Exceptions of the module ssl. */
extern PyObject *ssl_error, *want_read_error, *want_write_error;
extern PyObject *nothing, *zero; /* b"", 0 */
/* The number RECORD of hubbub_net: bytes of plain text in a record, at most. */
extern Py_ssize_t record_size;

int learn_records(PyObject *parts);
int learn_wire(PyObject *parts);
int learn_reader(PyObject *parts);
int learn_writer(PyObject *parts);

/* Calls the Python method in whose place one of this package stands. */
PyObject *fall_back(PyObject *original, PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames);
/* A part by its name, kept for ever; NULL: an exception. */
PyObject *wanted(PyObject *parts, const char *name);
/* A part that is a number; -1: an exception. */
Py_ssize_t wanted_number(PyObject *parts, const char *name);
/* An attribute of a module, kept for ever; NULL: an exception. */
PyObject *imported(const char *module, const char *name);

/* Takes the exception that is set, whatever it is; sets one that was taken. */
PyObject *take_error(void);
void give_back_error(PyObject *error);
/* Calls a method as an except clause would that has caught the error. */
PyObject *call_handling(PyObject *error, PyObject *name, PyObject *const *args, size_t nargs);

/* -- what the files use of one another -------------------------------------------------------------------------- */

/* What was received goes on to OpenSSL: how many reads can make progress; -1: an exception. */
Py_ssize_t incoming_feed(PyObject *self, Py_ssize_t most);
Py_ssize_t incoming_take(PyObject *self, PyObject *data, Py_ssize_t most);
/* How many bytes to receive; -1: an exception. */
Py_ssize_t incoming_appetite(PyObject *self);
/* Whether OpenSSL can make progress although no more is received; -1: an exception. */
int incoming_ready(PyObject *self);
/* How many bytes of ciphertext have come, at most, with the beginning of a record that OpenSSL has. */
Py_ssize_t incoming_bound(PyObject *self);

/* A socket's time limit; a new reference. */
PyObject *limit_of(PyObject *sock);
/* Receives for a read: how many of OpenSSL's reads can make progress, and what incoming_bound() says then; -1: an
 * exception. */
Py_ssize_t receive_first(PyObject *self, PyObject *sock, PyObject *limit, Py_ssize_t most, Py_ssize_t *bound);
/* Whether a call with this time limit waits: it is not 0; -1: an exception. */
int may_wait(PyObject *limit);
/* Raises an error, with another one as its cause; NULL: an exception is set already. */
void raise_from(PyObject *error, PyObject *cause);
/* Sends ciphertext that nothing must precede: whether the kernel took all; -1: an exception. */
int wire_send(PyObject *self, PyObject *sock, PyObject *ciphertext);

/* The pending bytes of a buffer in memory, or of OpenSSL's object; whether there are any. -1: an exception. */
Py_ssize_t pending_in(PyObject *object);
int is_pending(PyObject *object);
/* Gives up a memoryview of memory that will not stay; -1: an exception. */
int let_go(PyObject *view);

/* -- small things -------------------------------------------------------------------------------------------------- */

static inline void put(PyObject *object, Py_ssize_t offset, PyObject *value)
{
    PyObject *old = SLOT(object, offset);
    SLOT(object, offset) = Py_NewRef(value);
    Py_XDECREF(old);
}

static inline int put_number(PyObject *object, Py_ssize_t offset, Py_ssize_t number)
{
    PyObject *value = PyLong_FromSsize_t(number), *old = SLOT(object, offset);
    if (!value)
        return -1;
    SLOT(object, offset) = value;
    Py_XDECREF(old);
    return 0;
}

static inline Py_ssize_t smaller(Py_ssize_t a, Py_ssize_t b)
{
    return a < b ? a : b;
}

#endif
