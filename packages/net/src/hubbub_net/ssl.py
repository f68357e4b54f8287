"""The standard library's :mod:`ssl`, with calls that let other greenlets run while they wait.

:class:`SSLContext` makes cooperative :class:`SSLSocket`s; every other public name is the standard library's own. A
context of the standard library becomes cooperative by ``context.sslsocket_class = hubbub_net.ssl.SSLSocket``.
"""

from __future__ import annotations

import socket as _plain
import ssl as _stdlib
import warnings
from _socket import socket as _CSocket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from hubbub.hub import sleep
from hubbub.lock import Semaphore
from hubbub.lowlevel import Readiness, get_hub

from hubbub_net._names import public_names
from hubbub_net._waiting import Deadline
from hubbub_net.socket import create_connection, socket

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import ReadableBuffer

_OWN = ["SSLContext", "SSLSocket", "create_default_context", "get_server_certificate"]
__all__ = [*_OWN, *(name for name in public_names(_stdlib) if name not in _OWN)]

T = TypeVar("T")
_WantRead = _stdlib.SSLWantReadError
_WantWrite = _stdlib.SSLWantWriteError
_EOF = _stdlib.SSL_ERROR_EOF
_END = _stdlib.SSL_ERROR_ZERO_RETURN
_CHUNK = 1 << 20
"""``sendall`` encrypts so many bytes at once."""
_FORESIGHT = 15
"""So many reads may wait first before one is tried again without waiting."""
_DEFAULT_TIMEOUT: Any = object()
_setblocking = _CSocket.setblocking  # what is in the module socket may be patched already
_create_default_context = _stdlib.create_default_context
_create_stdlib_context: Any = _stdlib._create_unverified_context


def __getattr__(name: str) -> Any:
    """What is not defined here is the standard library's."""
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return __all__


class SSLSocket(_stdlib.SSLSocket, socket):  # type: ignore[misc]  # the two disagree on names of parameters only
    """An :class:`ssl.SSLSocket` whose calls let other greenlets run while they wait.

    Made by :meth:`SSLContext.wrap_socket`, on any socket. One greenlet may read while another writes; several writers
    take turns. A time limit is for the whole of a call. A write that was cut short, by its time limit or an exception
    thrown into the greenlet, leaves a half-sent record: the connection can then only be closed.
    """

    do_handshake_on_connect: bool
    suppress_ragged_eofs: bool
    _sslobj: Any
    _turn: Semaphore | None = None  # held by the writer that waits: OpenSSL wants it to come back with the same data
    _vain = 0  # how many reads will wait first, when one without waiting is in vain again
    _silences = 0  # how many reads are still to wait first
    _handle: Readiness | None = None

    @classmethod
    def _create(cls, *, do_handshake_on_connect: bool = True, **options: Any) -> Self:
        new: Self = super()._create(do_handshake_on_connect=False, **options)  # type: ignore[misc]  # typeshed does not list it
        _setblocking(new, False)  # the plain socket may have been told to block, and have left the descriptor so
        new.do_handshake_on_connect = do_handshake_on_connect
        if do_handshake_on_connect and new._sslobj is not None:
            try:
                if new.gettimeout() == 0.0:
                    raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
                new.do_handshake()
            except BaseException:
                new.close()
                raise
        return new

    # Waiting --------------------------------------------------------------------------------------------------------

    def _complete(
        self, attempt: Callable[[], T], name: str, limit: float | None, deadline: Deadline | None = None
    ) -> T:
        """Make ``attempt`` as often as it takes."""
        while True:
            try:
                return attempt()
            except _WantRead:
                if limit == 0.0:
                    raise
                writing = False
            except _WantWrite:
                if limit == 0.0:
                    raise
                writing = True
            if deadline is None:
                deadline = Deadline(limit)
            self._await(writing, name, deadline)

    def _await(self, writing: bool, name: str, deadline: Deadline) -> None:
        try:
            if writing:
                self.wait_writable(deadline.left())
            else:
                self.wait_readable(deadline.left())
        except TimeoutError:
            if deadline.left() != 0.0:
                raise  # thrown in by somebody
            raise TimeoutError(f"The {name} operation timed out") from None

    def do_handshake(self, block: bool = False) -> None:
        """:meth:`ssl.SSLSocket.do_handshake`.

        :param block: wait without limit if the socket does not wait.
        :raises TimeoutError: the time limit has passed.
        """
        self._check_connected()  # type: ignore[attr-defined]  # of the standard library's class
        limit = self.gettimeout()
        if limit == 0.0 and block:
            limit = None
        self._complete(self._sslobj.do_handshake, "handshake", limit)

    def unwrap(self) -> Self:
        """:meth:`ssl.SSLSocket.unwrap`: exchange close_notify. The socket then goes on in plain text.

        :raises TimeoutError: the time limit has passed.
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError(f"No SSL wrapper around {self}")
        plain: Self = self._complete(sslobj.shutdown, "shutdown", self.gettimeout())
        self._sslobj = None
        return plain

    # Receiving ------------------------------------------------------------------------------------------------------

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """:meth:`ssl.SSLSocket.read`: bytes, or their number if there is a ``buffer``.

        :raises TimeoutError: the time limit has passed.
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        wait = self._silences > 0 and self._waits_first(sslobj)
        waited = writing = False
        deadline = None
        while True:
            if wait:
                limit = self.gettimeout()
                if limit is None and not writing:
                    self.wait_readable(None)
                else:
                    if deadline is None:
                        deadline = Deadline(limit)
                    self._await(writing, "read", deadline)
                waited = True
            try:
                data = sslobj.read(len) if buffer is None else sslobj.read(len, buffer)
            except _WantRead:
                if self.gettimeout() == 0.0:
                    raise
                if not waited:
                    self._was_in_vain()
                wait, writing = True, False
            except _WantWrite:
                if self.gettimeout() == 0.0:
                    raise
                wait = writing = True
            except _stdlib.SSLError as error:
                # The second: close_notify came, and ours was sent before.
                if (error.args[0] == _EOF and self.suppress_ragged_eofs) or error.args[0] == _END:
                    return b"" if buffer is None else 0
                raise
            else:
                if not waited:
                    self._vain = 0
                return data

    # An attempt to read that finds nothing costs an exception, which is dear. Where two were in vain, and none between
    # them found something, the next read waits first; then the next three, seven, fifteen, for as long as the attempts
    # between them are in vain too. A peer that sends one message at a time is foreseen, and one that sends much is read
    # without waiting.
    #
    # Only that much can be foreseen which the loop reports for as long as it lasts: OpenSSL reads single records, and
    # leaves in the kernel's buffer what is behind them.

    def _waits_first(self, sslobj: Any) -> bool:
        handle = self._handle
        if handle is None or handle.shared or sslobj.pending() or self.gettimeout() == 0.0:
            return False
        self._silences -= 1
        return True

    def _was_in_vain(self) -> None:
        handle = self._handle
        if handle is None:
            handle = self._handle = get_hub().loop.handle(self.fileno())
            if not handle.always_level:
                handle.always_level = True
                handle.update()
        self._silences = self._vain
        self._vain = min(self._vain * 2 + 1, _FORESIGHT)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """:meth:`ssl.SSLSocket.recv`.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            return socket.recv(self, buflen, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to recv() on {type(self)}")
        data: bytes = self.read(buflen)
        return data

    # Sending --------------------------------------------------------------------------------------------------------

    def write(self, data: ReadableBuffer) -> int:
        """:meth:`ssl.SSLSocket.write`: returns the number of bytes, which is all of them.

        :raises TimeoutError: the time limit has passed.
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        full = False
        if self._turn is None or not self._turn.locked():
            try:
                count: int = sslobj.write(data)
                return count
            except (_WantRead, _WantWrite) as error:
                if self.gettimeout() == 0.0:
                    raise
                full = isinstance(error, _WantWrite)
        return self._write_in_turn(data, full)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """:meth:`ssl.SSLSocket.send`: returns the number of bytes, which is all of them.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            return socket.send(self, data, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to send() on {type(self)}")
        return self.write(data)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """:meth:`ssl.SSLSocket.sendall`; the time limit is for the whole."""
        if self._sslobj is None:
            return socket.sendall(self, data, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to sendall() on {type(self)}")
        if type(data) is bytes and 0 < len(data) <= _CHUNK:
            self.write(data)
            return None
        with memoryview(data) as view, view.cast("B") as octets:
            if len(octets) > _CHUNK:
                self._write_in_turn(octets)
            elif octets:
                self.write(octets)
        return None

    def _write_in_turn(self, data: ReadableBuffer, full: bool = False) -> int:
        """:param full: the kernel has just refused to take more."""
        limit = self.gettimeout()
        deadline = Deadline(limit)
        turn = self._turn
        if turn is None:
            turn = self._turn = Semaphore(1)
        if limit == 0.0 and turn.locked():
            raise _WantWrite(_stdlib.SSL_ERROR_WANT_WRITE, "another greenlet is writing")
        if not turn.acquire(timeout=deadline.left()):
            raise TimeoutError("The write operation timed out")
        try:
            if full:
                self._await(True, "write", deadline)
            with memoryview(data) as view, view.cast("B") as octets:
                return self._write_chunks(octets, limit, deadline)
        finally:
            turn.release()

    def _write_chunks(self, octets: memoryview, limit: float | None, deadline: Deadline) -> int:
        sent = 0
        while True:
            sslobj = self._sslobj
            if sslobj is None:
                raise ValueError("Write on closed or unwrapped SSL socket.")
            with octets[sent : sent + _CHUNK] as chunk:
                count: int = self._complete(partial(sslobj.write, chunk), "write", limit, deadline)
            sent += count
            if sent >= len(octets):
                return sent
            if limit != 0.0:
                sleep(0)

    # Connections ----------------------------------------------------------------------------------------------------

    def accept(self) -> tuple[Self, Any]:
        """:meth:`ssl.SSLSocket.accept`: the new connection, after its handshake, and its address."""
        while True:
            try:
                fd, address = self._accept()  # type: ignore[attr-defined]  # as the standard library does
                break
            except BlockingIOError:
                if self.gettimeout() == 0.0:
                    raise
            self.wait_readable()
        plain = socket(self.family, self.type, self.proto, fileno=fd)
        try:
            wrapped: Any = self.context.wrap_socket(
                plain,
                do_handshake_on_connect=self.do_handshake_on_connect,
                suppress_ragged_eofs=self.suppress_ragged_eofs,
                server_side=True,
            )
        except BaseException:
            plain.close()
            raise
        return wrapped, address

    def shutdown(self, how: int) -> None:
        """:meth:`ssl.SSLSocket.shutdown`. With ``SHUT_RDWR`` the peer gets a close_notify first.

        After ``SHUT_WR`` what the peer has sent can be read. There is no close_notify then: what sends it, as Python
        calls OpenSSL, also throws away what has come. :meth:`unwrap` ends a connection in both directions.
        """
        sslobj = self._sslobj
        if sslobj is not None and how == _plain.SHUT_RDWR:
            self._notify(sslobj)
        if how != _plain.SHUT_WR:
            self._sslobj = None
        socket.shutdown(self, how)

    def _notify(self, sslobj: Any) -> None:
        """Send close_notify, without waiting for the peer's."""
        deadline = Deadline(self.gettimeout())
        while True:
            try:
                sslobj.shutdown()
            except _WantWrite:
                if self.gettimeout() == 0.0:
                    return
            except OSError:
                return  # sent, and the peer's did not come yet; or there was no handshake, or there is no connection
            else:
                return
            self._await(True, "shutdown", deadline)


class SSLContext(_stdlib.SSLContext):
    """An :class:`ssl.SSLContext` whose ``wrap_socket`` makes a cooperative :class:`SSLSocket`."""

    __slots__ = ()
    sslsocket_class = SSLSocket
    if TYPE_CHECKING:

        def wrap_socket(
            self,
            sock: Any,
            server_side: bool = False,
            do_handshake_on_connect: bool = True,
            suppress_ragged_eofs: bool = True,
            server_hostname: str | bytes | None = None,
            session: _stdlib.SSLSession | None = None,
        ) -> SSLSocket: ...


def create_default_context(
    purpose: _stdlib.Purpose = _stdlib.Purpose.SERVER_AUTH,
    *,
    cafile: Any = None,
    capath: Any = None,
    cadata: Any = None,
) -> SSLContext:
    """:func:`ssl.create_default_context`."""
    return _cooperative(_create_default_context(purpose, cafile=cafile, capath=capath, cadata=cadata))


def _cooperative(context: Any) -> SSLContext:
    """``context`` of the running interpreter, with its settings, as one of ours."""
    context.__class__ = SSLContext
    made: SSLContext = context
    return made


def _create_unverified_context(*args: Any, **options: Any) -> SSLContext:
    """``ssl._create_unverified_context``, which programs use although it is private."""
    return _cooperative(_create_stdlib_context(*args, **options))


_create_default_https_context = create_default_context

if hasattr(_stdlib, "wrap_socket"):

    def wrap_socket(
        sock: Any,
        keyfile: str | None = None,
        certfile: str | None = None,
        server_side: bool = False,
        cert_reqs: int = _stdlib.CERT_NONE,
        ssl_version: int = _stdlib.PROTOCOL_TLS,
        ca_certs: str | None = None,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = True,
        ciphers: str | None = None,
    ) -> SSLSocket:
        """``ssl.wrap_socket`` of Python 3.11, deprecated there and gone after it.

        :raises ValueError: a server without a certificate, or a key without one.
        """
        warnings.warn(
            "ssl.wrap_socket() is deprecated, use SSLContext.wrap_socket()", category=DeprecationWarning, stacklevel=2
        )
        if (server_side or keyfile) and not certfile:
            raise ValueError("certfile must be specified")
        context = SSLContext(ssl_version)
        context.verify_mode = _stdlib.VerifyMode(cert_reqs)
        if ca_certs:
            context.load_verify_locations(ca_certs)
        if certfile:
            context.load_cert_chain(certfile, keyfile)
        if ciphers:
            context.set_ciphers(ciphers)
        return context.wrap_socket(
            sock,
            server_side=server_side,
            do_handshake_on_connect=do_handshake_on_connect,
            suppress_ragged_eofs=suppress_ragged_eofs,
        )


def get_server_certificate(
    addr: tuple[str, int],
    ssl_version: int = _stdlib.PROTOCOL_TLS_CLIENT,
    ca_certs: str | None = None,
    timeout: float | None = _DEFAULT_TIMEOUT,
) -> str:
    """:func:`ssl.get_server_certificate`: the certificate of the server at ``addr``, in PEM.

    :param ca_certs: a file of authorities; if given, the certificate must be valid.
    :param timeout: seconds; None for no limit.
    """
    context = SSLContext(ssl_version)
    context.check_hostname = False
    if ca_certs is None:
        context.verify_mode = _stdlib.CERT_NONE
    else:
        context.verify_mode = _stdlib.CERT_REQUIRED
        context.load_verify_locations(ca_certs)
    limits: dict[str, Any] = {} if timeout is _DEFAULT_TIMEOUT else {"timeout": timeout}
    with (
        create_connection(addr, **limits) as plain,
        context.wrap_socket(plain, server_hostname=addr[0]) as wrapped,
    ):
        certificate = wrapped.getpeercert(True)
    if certificate is None:
        raise _stdlib.SSLError("the server showed no certificate")
    return _stdlib.DER_cert_to_PEM_cert(certificate)
