/*
 * Socket.recvfrom and sendto: datagrams between IPv4 addresses.
 * As in socket.c the system calls do not wait, and keep the GIL.
 */
#include "methods.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <structmember.h>
#include <sys/socket.h>

static PyTypeObject *socket_type;
static PyObject *python_recvfrom, *python_sendto;
static PyObject *plain_recvfrom; /* of _socket.socket */
Py_ssize_t family_offset;

static int is_ipv4(PyObject *self)
{
    return *(int *)((char *)self + family_offset) == AF_INET;
}

/* -- addresses ---------------------------------------------------------------------------------------------------- */

/* (host, port) */
static PyObject *make_address(const struct sockaddr_in *from)
{
    char host[INET_ADDRSTRLEN];
    if (!inet_ntop(AF_INET, &from->sin_addr, host, sizeof host))
        return PyErr_SetFromErrno(PyExc_OSError);
    return Py_BuildValue("(si)", host, (int)ntohs(from->sin_port));
}

/* The same tuple for the same sender, as long as no other takes its place: most datagrams come from few. */
static PyObject *address_of(const struct sockaddr_in *from)
{
    static struct {
        struct in_addr host;
        in_port_t port;
        PyObject *address;
    } known[64], *place;
    uint32_t host = ntohl(from->sin_addr.s_addr), port = ntohs(from->sin_port);
    place = &known[(host ^ host >> 8 ^ port ^ port >> 6) % Py_ARRAY_LENGTH(known)];
    if (!place->address || place->port != from->sin_port || place->host.s_addr != from->sin_addr.s_addr) {
        PyObject *address = make_address(from);
        if (!address)
            return NULL;
        place->host = from->sin_addr;
        place->port = from->sin_port;
        Py_XSETREF(place->address, address);
    }
    return Py_NewRef(place->address);
}

/* Whether an address is (host, port) with a numeric host; then it is in ``to``. */
static int read_address(PyObject *address, struct sockaddr_in *to)
{
    PyObject *host, *port;
    long number;
    if (!PyTuple_CheckExact(address) || PyTuple_GET_SIZE(address) != 2)
        return 0;
    host = PyTuple_GET_ITEM(address, 0);
    port = PyTuple_GET_ITEM(address, 1);
    if (!PyUnicode_CheckExact(host) || !PyUnicode_IS_COMPACT_ASCII(host) || !PyLong_CheckExact(port))
        return 0;
    number = PyLong_AsLong(port);
    if (number < 0 || number > 0xffff) {
        PyErr_Clear();
        return 0;
    }
    memset(to, 0, sizeof *to);
    to->sin_family = AF_INET;
    to->sin_port = htons((uint16_t)number);
    return strlen(PyUnicode_DATA(host)) == (size_t)PyUnicode_GET_LENGTH(host) &&
           inet_pton(AF_INET, PyUnicode_DATA(host), &to->sin_addr) == 1;
}

/* -- receiving ---------------------------------------------------------------------------------------------------- */

/* What recvfrom() returns. Of a stream there is no address. */
static PyObject *datagram(const char *bytes, Py_ssize_t count, const struct sockaddr_in *from)
{
    PyObject *data = PyBytes_FromStringAndSize(bytes, count), *pair;
    PyObject *address = !data ? NULL : from ? address_of(from) : Py_NewRef(Py_None);
    pair = address ? PyTuple_Pack(2, data, address) : NULL;
    Py_XDECREF(address);
    Py_XDECREF(data);
    return pair;
}

/* recvfrom(2) of up to FEW bytes, by way of a buffer that all sockets share while the GIL is held. */
static PyObject *receive_few_from(int fd, Py_ssize_t size)
{
    static char buffer[FEW];
    struct sockaddr_in from;
    socklen_t length;
    Py_ssize_t count;
    do {
        length = sizeof from;
        count = recvfrom(fd, buffer, (size_t)size, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    } while (count < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (count < 0) {
        why_failed(errno);
        return NULL;
    }
    return datagram(buffer, count, length ? &from : NULL);
}

static PyObject *receive_from(PyObject *self, PyObject *bufsize, long flags)
{
    Py_ssize_t size = PyLong_AsSsize_t(bufsize);
    int fd;
    if (size <= 0 || size > FEW || flags || !is_ipv4(self))
        return PyErr_Occurred() ? NULL : call_plain(plain_recvfrom, self, bufsize, flags);
    fd = descriptor(self);
    return PyErr_Occurred() ? NULL : receive_few_from(fd, size);
}

static PyObject *socket_recvfrom(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    return read_with(receive_from, python_recvfrom, self, args, nargs, kwnames);
}

/* -- sending ------------------------------------------------------------------------------------------------------ */

static PyObject *socket_sendto(PyObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct sockaddr_in to;
    Py_ssize_t count;
    int fd;
    if (kwnames || nargs != 2 || !PyBytes_CheckExact(args[0]) || PyBytes_GET_SIZE(args[0]) > FEW || !is_ipv4(self) ||
        !read_address(args[1], &to))
        return fall_back(python_sendto, self, args, nargs, kwnames);
    if (PySys_Audit("socket.sendto", "OO", self, args[1]) < 0)
        return NULL;
    fd = descriptor(self);
    if (PyErr_Occurred())
        return NULL;
    do
        count = sendto(fd, PyBytes_AS_STRING(args[0]), (size_t)PyBytes_GET_SIZE(args[0]), MSG_DONTWAIT,
                       (struct sockaddr *)&to, sizeof to);
    while (count < 0 && errno == EINTR && !PyErr_CheckSignals());
    if (count >= 0)
        return PyLong_FromSsize_t(count);
    return why_failed(errno) < 0 ? NULL : fall_back(python_sendto, self, args, nargs, kwnames);
}

/* -- learning ----------------------------------------------------------------------------------------------------- */

int learn_datagram(PyObject *base)
{
    PyObject *family = PyObject_GetAttrString(base, "family");
    if (!family)
        return -1;
    if (!Py_IS_TYPE(family, &PyMemberDescr_Type) || ((PyMemberDescrObject *)family)->d_member->type != T_INT)
        PyErr_Format(PyExc_TypeError, "%R has no number of its family", base);
    else
        family_offset = ((PyMemberDescrObject *)family)->d_member->offset;
    Py_DECREF(family);
    plain_recvfrom = PyErr_Occurred() ? NULL : PyObject_GetAttrString(base, "recvfrom");
    return plain_recvfrom ? 0 : -1;
}

static const struct method datagram_methods[] = {
    {&python_recvfrom, {"recvfrom", FASTCALL(socket_recvfrom), "recvfrom($self, bufsize, flags=0, /)\n--\n\n"}},
    {&python_sendto, {"sendto", FASTCALL(socket_sendto), "sendto($self, *args)\n--\n\n"}},
    {0},
};

const struct noun datagram_noun = {"hubbub.io.Socket", &socket_type, NULL, datagram_methods};
