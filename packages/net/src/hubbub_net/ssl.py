"""The standard library's :mod:`ssl`, with calls that let other greenlets run while they wait.

:class:`SSLContext` makes cooperative :class:`SSLSocket`s; every other public name is the standard library's own. A
context of the standard library becomes cooperative by ``context.sslsocket_class = hubbub_net.ssl.SSLSocket``.
"""

from __future__ import annotations

import socket as _plain
import ssl as _stdlib
import warnings
from _socket import socket as _CSocket
from functools import partial
from typing import TYPE_CHECKING, Any

from hubbub_net import _ahead
from hubbub_net._publicnames import public_names
from hubbub_net._tlscall import Call
from hubbub_net._tlsreader import Reader
from hubbub_net._tlswire import Wire
from hubbub_net._tlswriter import Writer
from hubbub_net.acceleration import accelerate, accelerate_with_hubs
from hubbub_net.socket import create_connection, socket

if TYPE_CHECKING:
    from typing import Self

    from _typeshed import ReadableBuffer, WriteableBuffer

_OWN = ["SSLContext", "SSLSocket", "create_default_context", "get_server_certificate"]
__all__ = [*_OWN, *(name for name in public_names(_stdlib) if name not in _OWN)]

_DEFAULT_TIMEOUT: Any = object()
_OWN_LIMIT: Any = object()
_setblocking = _CSocket.setblocking  # the class in the module socket may be patched already
_SSLError = _stdlib.SSLError
_WantWrite = _stdlib.SSLWantWriteError
_create_default_context = _stdlib.create_default_context
_create_stdlib_context: Any = _stdlib._create_unverified_context


def __getattr__(name: str) -> Any:
    """Names that are not defined here are the standard library's."""
    return getattr(_stdlib, name)


def __dir__() -> list[str]:
    return __all__


class _Descriptorless:
    """Stands for a context while the standard library makes a socket, whose object of OpenSSL's would be thrown away.

    :meth:`SSLSocket._begin` makes one that works in memory.
    """

    __slots__ = ("_context", "_encode_hostname", "check_hostname")

    def __init__(self, context: Any) -> None:
        self._context = context
        # What is asked for each time: found here, it takes no detour.
        self.check_hostname: Any = context.check_hostname
        self._encode_hostname: Any = context._encode_hostname

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    @staticmethod
    def _wrap_socket(*_: Any, **__: Any) -> bool:
        return True


class SSLSocket(_stdlib.SSLSocket, socket):  # type: ignore[misc]  # the two disagree on names of parameters only
    """An :class:`ssl.SSLSocket` whose calls let other greenlets run while they wait.

    :meth:`SSLContext.wrap_socket` makes it, on any socket. Greenlets may read while others write; several readers, and
    several writers, take turns: first come, first served. A time limit is for the whole of a call. When a write ends
    early, by its time limit or an interrupt, what it has encrypted already is sent before everything that is written
    later.

    A connection belongs to one native thread at a time.
    """

    do_handshake_on_connect: bool
    server_side: bool
    suppress_ragged_eofs: bool
    _connected: bool
    _sslobj: Any  # None where there is no TLS (yet, or any more); else there is a reader and a writer
    _tls_reader: Reader
    _tls_writer: Writer
    _rest = b""
    """Plain text that came after the end of TLS."""

    @classmethod
    def _create(cls, sock: Any, *, do_handshake_on_connect: bool = True, context: Any, **options: Any) -> Self:
        early = sock._surrender() if isinstance(sock, SSLSocket) else b""
        new: Self = super()._create(  # type: ignore[misc]  # typeshed does not list it
            sock=sock, do_handshake_on_connect=False, context=_Descriptorless(context), **options
        )
        new._context = context  # type: ignore[attr-defined]  # of the standard library's class
        connected = new._sslobj is not None
        new._sslobj = None
        _setblocking(new, False)  # the plain socket may have left its descriptor in blocking mode
        new.do_handshake_on_connect = do_handshake_on_connect
        if connected:
            try:
                new._begin(early)
                if do_handshake_on_connect:
                    if new.gettimeout() == 0.0:
                        raise ValueError("do_handshake_on_connect should not be specified for non-blocking sockets")
                    new.do_handshake()
            except BaseException:
                new.close()
                raise
        return new

    def _begin(self, early: bytes = b"") -> None:
        """Begin TLS with OpenSSL working in memory, instead of the standard library's object on the descriptor.

        :param early: ciphertext that has come already.
        """
        context: Any = self.context
        wrap = partial(
            context._wrap_bio,
            server_side=self.server_side,
            server_hostname=self.server_hostname,
            owner=self,
            session=self._session,  # type: ignore[attr-defined]  # of the standard library's class
        )
        accelerate()
        wire = Wire(wrap, early)
        self._sslobj = wire.sslobj
        self._tls_reader = Reader(wire)
        self._tls_writer = Writer(wire, self._tls_reader)

    def _end(self) -> None:
        """End TLS: the socket goes on in plain text."""
        self._sslobj = None
        self._note_rest()

    def do_handshake(self, block: bool = False) -> None:
        """:meth:`ssl.SSLSocket.do_handshake`.

        :param block: wait without limit if the socket does not wait.
        :raises TimeoutError: the time limit has passed.
        """
        self._check_connected()  # type: ignore[attr-defined]  # of the standard library's class
        sslobj = self._sslobj
        if sslobj is None:
            self.getpeername()  # raises EBADF if the socket is closed
            raise ValueError(f"No SSL wrapper around {self}")
        limit = self.gettimeout()
        if limit == 0.0 and block:
            limit = None
        self._tls_reader.wire.complete(Call(self, "handshake", limit), sslobj.do_handshake)
        self._tls_reader.settle(self)

    def unwrap(self) -> Self:
        """:meth:`ssl.SSLSocket.unwrap`: exchange close_notify. The socket then goes on in plain text.

        :raises TimeoutError: the time limit has passed.
        """
        sslobj = self._sslobj
        if sslobj is None:
            raise ValueError(f"No SSL wrapper around {self}")
        wire = self._tls_reader.wire
        wire.complete(Call(self, "shutdown", self.gettimeout()), sslobj.shutdown)
        self._rest = wire.incoming.rest()
        self._end()
        return self

    def _surrender(self) -> bytes:
        """Give up what was received from the descriptor and not used, for a new owner of the descriptor."""
        if self._sslobj is None:
            rest, self._rest = self._rest, b""
            return rest
        return self._tls_reader.wire.incoming.rest()

    # Reading --------------------------------------------------------------------------------------------------------

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        """:meth:`ssl.SSLSocket.read`: bytes, or their number if there is a ``buffer``.

        It returns all that has come, as far as there is room, and not only one record.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            raise ValueError("Read on closed or unwrapped SSL socket.")
        if buffer is None:
            return self._tls_reader.read(self, len)
        with memoryview(buffer) as view, view.cast("B") as octets:
            if view.readonly:
                kind = type(buffer).__name__
                raise TypeError(f"read() argument 2 must be read-write bytes-like object, not {kind}")
            return self._tls_reader.read_into(self, octets[:len] if 0 < len < octets.nbytes else octets)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """:meth:`ssl.SSLSocket.recv`.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            if self._rest:
                return self._take_rest(buflen, flags)
            return socket.recv(self, buflen, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to recv() on {type(self)}")
        return self._tls_reader.read(self, buflen)

    def recv_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> int:
        """:meth:`ssl.SSLSocket.recv_into`.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None and self._rest:
            with memoryview(buffer) as view, view.cast("B") as octets:
                data = self._take_rest(min(nbytes or octets.nbytes, octets.nbytes), flags)
                octets[: len(data)] = data
            return len(data)
        return super().recv_into(buffer, nbytes, flags)

    def recvfrom(self, buflen: int = 1024, flags: int = 0) -> tuple[bytes, Any]:
        """:meth:`ssl.SSLSocket.recvfrom`: only after :meth:`unwrap`."""
        if self._sslobj is None and self._rest:
            return self._take_rest(buflen, flags), None
        return super().recvfrom(buflen, flags)

    def recvfrom_into(self, buffer: WriteableBuffer, nbytes: int | None = None, flags: int = 0) -> tuple[int, Any]:
        """:meth:`ssl.SSLSocket.recvfrom_into`: only after :meth:`unwrap`."""
        if self._sslobj is None and self._rest:
            return self.recv_into(buffer, nbytes, flags), None
        return super().recvfrom_into(buffer, nbytes or 0, flags)

    def _take_rest(self, count: int, flags: int) -> bytes:
        data = self._rest[:count]
        if not flags & _plain.MSG_PEEK:
            self._rest = self._rest[count:]
            self._note_rest()
        return data

    def _note_rest(self) -> None:
        _ahead.note_if(self, bool(self._rest))

    def pending(self) -> int:
        """:meth:`ssl.SSLSocket.pending`: how many bytes are decrypted. Records that have come are decrypted first."""
        return 0 if self._sslobj is None else self._tls_reader.pending(self)

    def has_ahead(self) -> bool:
        """Whether a read would return at once, whatever the kernel says: more was received than was read."""
        return bool(self._rest) if self._sslobj is None else self._tls_reader.has_ahead()

    def wait_readable(self, timeout: float | None = _OWN_LIMIT) -> None:
        """Wait until data was read ahead or the descriptor is readable.

        :param timeout: seconds, or None for no limit; the socket's own limit if not given.
        :raises TimeoutError: the time has run out.
        :raises OSError: EBADF, the socket was closed.
        """
        if not self.has_ahead():
            socket.wait_readable(self, *(() if timeout is _OWN_LIMIT else (timeout,)))

    # Writing --------------------------------------------------------------------------------------------------------

    def write(self, data: ReadableBuffer) -> int:
        """:meth:`ssl.SSLSocket.write`: returns the number of bytes, which is all of them.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            raise ValueError("Write on closed or unwrapped SSL socket.")
        return self._tls_writer.write(self, data)

    def send(self, data: ReadableBuffer, flags: int = 0) -> int:
        """:meth:`ssl.SSLSocket.send`: returns the number of bytes, which is all of them.

        :raises TimeoutError: the time limit has passed.
        """
        if self._sslobj is None:
            return socket.send(self, data, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to send() on {type(self)}")
        return self._tls_writer.write(self, data)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> None:
        """:meth:`ssl.SSLSocket.sendall`; the time limit is for the whole."""
        if self._sslobj is None:
            return socket.sendall(self, data, flags)
        if flags:
            raise ValueError(f"non-zero flags not allowed in calls to sendall() on {type(self)}")
        if type(data) is bytes:
            if data:
                self._tls_writer.write(self, data)
            return None
        with memoryview(data) as view:
            if view.nbytes:
                self._tls_writer.write(self, view)
        return None

    # Connecting and ending ------------------------------------------------------------------------------------------

    def _real_connect(self, address: Any, only_number: bool) -> int | None:
        """Connect as the standard library's method does, with OpenSSL working in memory.

        :param only_number: return the error number of a failed connection instead of raising.
        """
        if self.server_side:
            raise ValueError("can't connect in server-side mode")
        if self._connected or self._sslobj is not None:
            raise ValueError("attempt to connect already-connected SSLSocket!")
        self._begin()
        try:
            error = None
            if only_number:
                error = socket.connect_ex(self, address)
            else:
                socket.connect(self, address)
            if not error:
                self._connected = True
                if self.do_handshake_on_connect:
                    self.do_handshake()
        except BaseException:
            self._sslobj = None
            raise
        return error

    def accept(self) -> tuple[Self, Any]:
        """:meth:`ssl.SSLSocket.accept`: the new connection, after its handshake, and its address."""
        while True:
            try:
                fd, address = self._accept()  # type: ignore[attr-defined]  # as the standard library does
                break
            except BlockingIOError:
                if self.gettimeout() == 0.0:
                    raise
            socket.wait_readable(self)
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
        """:meth:`ssl.SSLSocket.shutdown`. The peer gets a close_notify first, unless ``how`` is ``SHUT_RD``.

        After ``SHUT_WR`` what the peer still sends can be read; after ``SHUT_RD`` writes go on, encrypted.
        ``SHUT_RDWR`` ends TLS, and what has come and was not read is lost.
        """
        if self._sslobj is not None:
            if how == _plain.SHUT_RD:
                self._tls_reader.wire.read_ended = True
            else:
                self._notify(self._sslobj)
                self._tls_writer.ended = True
        if how == _plain.SHUT_RDWR:
            self._end()
        socket.shutdown(self, how)

    def _notify(self, sslobj: Any) -> None:
        """Send close_notify, without waiting for the peer's."""
        wire = self._tls_reader.wire
        if wire.writers.held:
            return  # a writer is in the middle of a record, which the shutdown cuts off
        self._tls_reader.keep_decrypted()
        try:
            sslobj.shutdown()
        except _SSLError:
            pass  # the peer's close_notify has not come yet, or there was no handshake
        try:
            wire.flush(Call(self, "shutdown", self.gettimeout()))
        except (_WantWrite, ConnectionError):
            return  # the kernel does not take it, or the peer is gone

    def _real_close(self) -> None:  # type: ignore[override]  # as the standard library's TLS sockets
        _ahead.forget(self.fileno())
        super()._real_close()

    def detach(self) -> int:
        """:meth:`socket.socket.detach`. What was read ahead is lost; call :meth:`unwrap` first."""
        _ahead.forget(self.fileno())
        return super().detach()


class SSLContext(_stdlib.SSLContext):
    """An :class:`ssl.SSLContext` whose ``wrap_socket`` makes a cooperative :class:`SSLSocket`."""

    __slots__ = ()
    sslsocket_class: type[SSLSocket] = SSLSocket
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
    """``context``, made by the standard library, with its class changed to the cooperative one; its settings stay."""
    context.__class__ = SSLContext
    made: SSLContext = context
    return made


def _create_unverified_context(*args: Any, **options: Any) -> SSLContext:
    """``ssl._create_unverified_context``: private, but in use by programs."""
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
        """``ssl.wrap_socket`` of Python 3.11, deprecated there and removed in 3.12.

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


accelerate_with_hubs()  # all that is marked is there now
