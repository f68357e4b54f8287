"""The standard library's :mod:`socket`, with calls that let other greenlets run while they wait.

:class:`socket` is a :class:`socket.socket`; names are looked up by the hub's resolver. Every other public name is the
standard library's own. :func:`wait_read`, :func:`wait_write` and :func:`wait` wait for descriptors of others, such as a
C library's.
"""

from __future__ import annotations

import _socket
import io
import os
import socket as _stdlib
from _socket import socket as _CSocket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from hubbub.abc import READ, WRITE, Address
from hubbub.abc import AddressInfo as Found  # the standard library's AddressInfo is an enumeration
from hubbub.hub import get_hub
from hubbub.io import Socket
from hubbub.lowlevel import Place, as_builtin, wait_readable, wait_writable

from hubbub_net import _ahead, _connect
from hubbub_net._address import is_numeric, numeric
from hubbub_net._observing import IN, OUT, ready_now
from hubbub_net._publicnames import public_names
from hubbub_net._waiting import Deadline, wait_any

_OWN = [
    "create_connection",
    "create_server",
    "fromfd",
    "getaddrinfo",
    "getfqdn",
    "gethostbyaddr",
    "gethostbyname",
    "gethostbyname_ex",
    "getnameinfo",
    "socket",
    "socketpair",
    "wait",
    "wait_read",
    "wait_readwrite",
    "wait_write",
]
__all__ = [*_OWN, *(name for name in public_names(_stdlib) if name not in _OWN)]

_DEFAULT_TIMEOUT: Any = getattr(_stdlib, "_GLOBAL_DEFAULT_TIMEOUT", object())
_create_connection = _stdlib.create_connection
_create_server = _stdlib.create_server
_dup = _stdlib.dup
_socketpair: Callable[..., tuple[_CSocket, _CSocket]] = getattr(_socket, "socketpair", _stdlib.socketpair)
"""That in C is quicker, where there is one: its sockets are not wrapped twice."""
_sendfile = getattr(os, "sendfile", None)
# The numbers: the standard library's properties make enumerations of them.
_family: Any = _CSocket.__dict__["family"].__get__
_type: Any = _CSocket.__dict__["type"].__get__
_PAIR_FAMILY: int = getattr(_stdlib, "AF_UNIX", _stdlib.AF_INET)
_SENDFILE_BLOCK = 1 << 30
_READ_BLOCK = 1 << 18


def __getattr__(name: str) -> Any:
    """Names that are not defined here are the standard library's."""
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return __all__


class socket(Socket):
    """A :class:`socket.socket` whose calls let other greenlets run while they wait.

    Addresses may hold names: the hub's resolver looks them up. ``close`` wakes all greenlets that wait for the socket;
    their calls raise OSError with EBADF.
    """

    __slots__ = ()

    def bind(self, address: Address, /) -> None:
        """:meth:`socket.socket.bind`."""
        super().bind(numeric(address, _family(self)))

    def connect(self, address: Address, /) -> None:
        """:meth:`socket.socket.connect`.

        :raises socket.gaierror: the host is not found.
        :raises TimeoutError: the socket's time limit has passed; the lookup does not count.
        """
        super().connect(numeric(address, _family(self)))

    def connect_ex(self, address: Address, /) -> int:
        """:meth:`socket.socket.connect_ex`: the error's number, or 0."""
        return super().connect_ex(numeric(address, _family(self)))

    def numeric_address(self, address: Address) -> Address:
        """``address`` with its host's name, if it is one, replaced by an address of that host. May wait."""
        try:
            known = _is_known(address[0])
        except (LookupError, TypeError):
            known = False
        return address if known else numeric(address, _family(self))

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Address | None = None, /) -> int:
        """:meth:`socket.socket.sendmsg`."""
        if address is None:
            return super().sendmsg(buffers, ancdata, flags)
        return super().sendmsg(buffers, ancdata, flags, numeric(address, _family(self)))

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """:meth:`socket.socket.sendfile`: by :func:`os.sendfile`, or by reading and sending where that is impossible.

        :param file: open in binary mode.
        :param offset: where to begin, in bytes.
        :param count: bytes at most; None for all.
        :returns: bytes sent. The file's position is after them, also when an error is raised.
        :raises ValueError: the offset or the count is wrong, the file is a text file, or the socket is no stream or
            does not wait.
        """
        self._check_sendfile(file, offset, count)
        source = _file_number(file)
        if source is not None:
            sent = self._sendfile_by_kernel(source, file, offset, count)
            if sent is not None:
                return sent
        return self._sendfile_use_send(file, offset, count)

    def _check_sendfile(self, file: Any, offset: int, count: int | None) -> None:
        self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]  # of the standard library's class
        if self.gettimeout() == 0.0:
            raise ValueError("non-blocking sockets are not supported")

    def _sendfile_by_kernel(self, source: int, file: Any, offset: int, count: int | None) -> int | None:
        """Send by :func:`os.sendfile`. Returns the number of bytes, or None when the kernel cannot send such a file."""
        if _sendfile is None:
            return None
        sent = 0
        try:
            while count is None or sent < count:
                block = _SENDFILE_BLOCK if count is None else min(count - sent, _SENDFILE_BLOCK)
                try:
                    step = _sendfile(self.fileno(), source, offset + sent, block)
                except BlockingIOError:
                    self.wait_writable()
                    continue
                except OSError:
                    if not sent:
                        return None
                    raise
                if not step:
                    break
                sent += step
            return sent
        finally:
            if sent:
                file.seek(offset + sent)

    def _sendfile_use_send(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send by reading and sending. The standard library's TLS sockets call this too."""
        self._check_sendfile(file, offset, count)
        if offset:
            file.seek(offset)
        sent = 0
        try:
            while block := file.read(_READ_BLOCK if count is None else min(count - sent, _READ_BLOCK)):
                with memoryview(block) as view:
                    done = 0
                    while done < len(view):
                        step = self.send(view[done:])
                        done += step
                        sent += step
            return sent
        finally:
            if sent and hasattr(file, "seek"):
                file.seek(offset + sent)


@lru_cache(4096)
def _is_known(host: Any) -> bool:
    """Whether ``host`` is an address of either family. Cached, as a program sends datagrams to the same few hosts.

    The C library refuses an address of the wrong family at once, without a lookup.
    """
    return is_numeric(host, _stdlib.AF_INET) or is_numeric(host, _stdlib.AF_INET6)


def _file_number(file: Any) -> int | None:
    """The descriptor of a file that has a size; None for any other object."""
    try:
        number = int(file.fileno())
        return number if os.fstat(number).st_size else None
    except (AttributeError, io.UnsupportedOperation, OSError):
        return None


# Making sockets -------------------------------------------------------------------------------------------------------


def create_connection(
    address: tuple[str | None, int | str],
    timeout: float | None = _DEFAULT_TIMEOUT,
    source_address: Address | None = None,
    *,
    all_errors: bool = False,
) -> socket:
    """:func:`socket.create_connection`, by Happy Eyeballs (RFC 8305).

    The addresses of the host are tried in order, families in turn: the next one when an attempt fails, and after 250 ms
    of silence, while the earlier ones go on. The first connection wins.

    :param timeout: seconds for each attempt; None for no limit; :func:`getdefaulttimeout` if not given.
    :param source_address: the address to bind to.
    :param all_errors: raise the errors of all addresses, not only that of the last.
    :raises OSError: no address answers; with ``all_errors`` an ExceptionGroup of all errors, in the order of attempts.
    """
    if _stdlib.socket is not socket and _stdlib.create_connection is create_connection:
        # After patching another library, such as one for proxies, has put its class in the place of ours: use that.
        theirs: socket = _create_connection(address, timeout, source_address, all_errors=all_errors)  # type: ignore[assignment]  # or theirs
        return theirs

    def open_socket(info: Found) -> socket:
        new = socket(info[0], info[1], info[2])
        try:
            if timeout is not _DEFAULT_TIMEOUT:
                new.settimeout(timeout)
            if source_address is not None:
                new.bind(source_address)
        except BaseException:
            new.close()
            raise
        return new

    host, port = address
    found = _addresses(host, port)
    if len(found) == 1:
        return _connected(open_socket, found[0], all_errors)
    if not found:
        raise OSError("getaddrinfo returns an empty list")
    result = _connect.race(_connect.interleaved(found), open_socket)
    if not isinstance(result, list):
        return result
    try:
        if all_errors:
            raise ExceptionGroup("create_connection failed", result)
        raise result[-1]
    finally:
        result.clear()  # tracebacks hold this frame


def _addresses(host: Any, port: Any) -> list[Found]:
    if isinstance(host, str) and isinstance(port, int) and host and "%" not in host:
        family, rest = (_stdlib.AF_INET6, (0, 0)) if ":" in host else (_stdlib.AF_INET, ())
        if is_numeric(host, family):
            return [(family, _stdlib.SOCK_STREAM, _stdlib.IPPROTO_TCP, "", (host, port, *rest))]
    return get_hub().resolver.getaddrinfo(host, port, 0, _stdlib.SOCK_STREAM)


def _connected(open_socket: Callable[[Found], socket], info: Found, all_errors: bool) -> socket:
    """Connect to the only address."""
    try:
        new = open_socket(info)
        try:
            new.connect(info[4])
        except BaseException:
            new.close()
            raise
    except OSError as error:
        if all_errors:
            raise ExceptionGroup("create_connection failed", [error]) from None
        raise
    return new


def create_server(
    address: Address,
    *,
    family: int = _stdlib.AF_INET,
    backlog: int | None = None,
    reuse_port: bool = False,
    dualstack_ipv6: bool = False,
) -> socket:
    """:func:`socket.create_server`: a listening TCP socket."""
    listener = _create_server(
        numeric(address, family), family=family, backlog=backlog, reuse_port=reuse_port, dualstack_ipv6=dualstack_ipv6
    )
    return _adopt(listener)


def _adopt(other: _CSocket) -> socket:
    """A cooperative socket in place of another."""
    family, kind, proto = _family(other), _type(other), other.proto
    return socket(family, kind, proto, fileno=other.detach())


def socketpair(family: int | None = None, type: int = _stdlib.SOCK_STREAM, proto: int = 0) -> tuple[socket, socket]:
    """:func:`socket.socketpair`."""
    one, other = _socketpair(_PAIR_FAMILY if family is None else family, type, proto)
    return _adopt(one), _adopt(other)


def fromfd(fd: int, family: int, type: int, proto: int = 0) -> socket:
    """:func:`socket.fromfd`: a socket on a duplicate of ``fd``."""
    return socket(family, type, proto, fileno=_dup(fd))


if hasattr(_stdlib, "fromshare"):

    def fromshare(info: bytes) -> socket:
        """``socket.fromshare``: a socket that another process shared (Windows only)."""
        return socket(0, 0, 0, info)  # type: ignore[arg-type]  # as the standard library does


# Names ----------------------------------------------------------------------------------------------------------------


def getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Found]:
    """:func:`socket.getaddrinfo`, by the hub's resolver."""
    return get_hub().resolver.getaddrinfo(host, port, family, type, proto, flags)


@as_builtin
def gethostbyname(_: Place, hostname: Any, /) -> str:
    """:func:`socket.gethostbyname`, by the hub's resolver."""
    return get_hub().resolver.gethostbyname(hostname)


@as_builtin
def gethostbyname_ex(_: Place, hostname: Any, /) -> tuple[str, list[str], list[str]]:
    """:func:`socket.gethostbyname_ex`, by the hub's resolver."""
    return get_hub().resolver.gethostbyname_ex(hostname)


@as_builtin
def gethostbyaddr(_: Place, ip_address: Any, /) -> tuple[str, list[str], list[str]]:
    """:func:`socket.gethostbyaddr`, by the hub's resolver."""
    return get_hub().resolver.gethostbyaddr(ip_address)


@as_builtin
def getnameinfo(_: Place, sockaddr: Address, flags: int, /) -> tuple[str, str]:
    """:func:`socket.getnameinfo`, by the hub's resolver."""
    return get_hub().resolver.getnameinfo(sockaddr, flags)


def getfqdn(name: str = "") -> str:
    """:func:`socket.getfqdn`, by the hub's resolver."""
    return get_hub().resolver.getfqdn(name)


# Descriptors of others ------------------------------------------------------------------------------------------------


def _number(fd: Any) -> int:
    return int(fd if isinstance(fd, int) else fd.fileno())


def wait_read(fd: Any, timeout: float | None = None, timeout_exc: Any = None) -> None:
    """Wait until ``fd`` is readable.

    :param fd: a descriptor, or an object with ``fileno()``, that can be polled.
    :param timeout: seconds, or None for no limit.
    :param timeout_exc: what to raise when the time is up; TimeoutError if None.
    :raises OSError: EBADF, ``fd`` is closed, or was closed meanwhile through hubbub.
    """
    if not (_ahead.noted and _ahead.readable(_number(fd))) and not wait_readable(fd, timeout):
        raise timeout_exc if timeout_exc is not None else TimeoutError("timed out")


def wait_write(fd: Any, timeout: float | None = None, timeout_exc: Any = None) -> None:
    """Wait until ``fd`` is writable; otherwise as :func:`wait_read`."""
    if not wait_writable(fd, timeout):
        raise timeout_exc if timeout_exc is not None else TimeoutError("timed out")


def wait_readwrite(fd: Any, timeout: float | None = None, timeout_exc: Any = None) -> None:
    """Wait until ``fd`` is readable or writable; otherwise as :func:`wait_read`."""
    if not wait(fd, READ | WRITE, timeout):
        raise timeout_exc if timeout_exc is not None else TimeoutError("timed out")


def wait(fd: Any, events: int, timeout: float | None = None) -> int:
    """Wait for any of ``events`` of ``fd``.

    :param events: :data:`hubbub.abc.READ`, :data:`hubbub.abc.WRITE` or both.
    :param timeout: seconds, or None for no limit.
    :returns: the events that are there; 0 when the time ran out first.
    :raises OSError: EBADF, ``fd`` is closed, or was closed meanwhile through hubbub.
    """
    number = _number(fd)
    deadline = Deadline(timeout)
    while True:
        found = ready_now(number, events)
        if events & READ and _ahead.noted and _ahead.readable(number):
            found |= READ
        if found:
            return found
        seen = wait_any({number: events}, deadline.left())
        if seen is None:
            return 0
        if bits := seen.get(number, 0):
            return ((READ if bits & ~OUT else 0) | (WRITE if bits & ~IN else 0)) & events
