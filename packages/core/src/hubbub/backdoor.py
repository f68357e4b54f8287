"""A Python prompt inside a running process, for its developers: ``python -m hubbub.backdoor PORT`` to try it.

Whoever can connect can do whatever the process can: there is no password. So it listens on UNIX sockets (with mode
0600) and loopback addresses alone, unless told otherwise. Connect with ``nc`` or ``socat readline``.
"""

from __future__ import annotations

import builtins
import errno
import os
import socket
import sys
from code import InteractiveConsole
from collections.abc import Callable
from contextvars import ContextVar
from ipaddress import ip_address
from types import CodeType
from typing import TYPE_CHECKING, Any, NoReturn

from greenlet import GreenletExit

from hubbub._originals import socket as _socket
from hubbub.greenlet import Greenlet
from hubbub.hub import get_hub, sleep
from hubbub.io import Socket
from hubbub.waiting import killall

if TYPE_CHECKING:
    from typing import Self

__all__ = ["BackdoorServer", "main"]

_EOT = "\x04"
_session: ContextVar[_Console | None] = ContextVar("_session", default=None)


class BackdoorServer:
    """Serves a Python prompt to each connection, in a greenlet of its own with streams of its own.

    :param listener: ``(address, port)`` with a numeric address, the path of a UNIX socket, or a listening socket.
    :param locals: the names that sessions share; a session's own assignments go to a copy.
    :param banner: the first text that is sent; None: the interpreter's version.
    :param allow_remote: whether it may listen on an address that other machines can reach.
    :raises ValueError: the address is not local, and ``allow_remote`` is false.
    :raises OSError: the system refuses the address.
    """

    def __init__(
        self,
        listener: Any,
        locals: dict[str, Any] | None = None,
        banner: str | None = None,
        *,
        allow_remote: bool = False,
    ) -> None:
        self._locals = locals or {}
        self._banner = banner if banner is not None else f"Python {sys.version} on {sys.platform}"
        self._path: str | bytes | None = None
        self._sessions: set[Greenlet] = set()
        self._acceptor: Greenlet | None = None
        self._listener = self._listen(listener, allow_remote)

    def _listen(self, listener: Any, allow_remote: bool) -> Socket:
        if isinstance(listener, _socket):
            _check_local(listener.family, listener.getsockname(), allow_remote)
            return Socket(fileno=os.dup(listener.fileno()))
        if isinstance(listener, (str, bytes, os.PathLike)):
            self._path = os.fspath(listener)
            return _listen_on_path(self._path)
        host = "127.0.0.1" if listener[0] == "localhost" else listener[0]
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        address = (host, *listener[1:])
        _check_local(family, address, allow_remote)
        return _listen_on(Socket(family, socket.SOCK_STREAM), address)

    @property
    def address(self) -> Any:
        """Where it listens."""
        return self._listener.getsockname()

    def start(self) -> None:
        """Accept connections, from now on."""
        if self._acceptor is None:
            self._acceptor = Greenlet.spawn(self._accept)

    def serve_forever(self) -> None:
        """Accept connections until :meth:`stop`."""
        self.start()
        if self._acceptor is not None:
            self._acceptor.join()

    def stop(self) -> None:
        """Close the listener, and end all sessions. Idempotent."""
        if self._acceptor is not None:
            self._acceptor.kill()
        if self._listener.fileno() >= 0:
            self._listener.close()
            if self._path is not None:
                os.unlink(self._path)
        killall(self._sessions)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED):
                    raise
                sleep(0.1)
                continue
            session = Greenlet.spawn(self._serve, connection)
            self._sessions.add(session)
            session.rawlink(self._sessions.discard)

    def _serve(self, connection: Socket) -> None:
        console = _Console(connection, dict(self._locals))
        _streams.enter()
        try:
            _session.set(console)
            console.interact(self._banner, "")
        except (OSError, EOFError, SystemExit, GreenletExit):
            pass  # the peer has gone, or has ended the session
        finally:
            _streams.leave()
            console.close()


def _check_local(family: int, address: Any, allow_remote: bool) -> None:
    if allow_remote or family not in (socket.AF_INET, socket.AF_INET6):
        return
    if not ip_address(address[0]).is_loopback:
        raise ValueError(
            f"{address[0]!r} can be reached by other machines, and whoever connects may do anything; "
            "say allow_remote=True if that is what you want"
        )


def _listen_on(listener: Socket, address: Any) -> Socket:
    try:
        if listener.family != getattr(socket, "AF_UNIX", None):
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener


def _listen_on_path(path: str | bytes) -> Socket:
    listener = Socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        return _listen_on(listener, path)
    finally:
        os.umask(mask)


class _Console(InteractiveConsole):
    """One session."""

    def __init__(self, connection: Socket, names: dict[str, Any]) -> None:
        names.setdefault("__name__", "__console__")
        names.setdefault("exit", _leave)
        names.setdefault("quit", _leave)
        super().__init__(names, "<backdoor>")
        self._connection = connection
        self._file = connection.makefile("rw", encoding="utf-8", errors="replace", newline="\n")

    def raw_input(self, prompt: str = "") -> str:
        """The next line."""
        self.write(prompt)
        line = self.readline()
        if not line or line.startswith(_EOT):
            raise EOFError
        return line.rstrip("\r\n")

    def write(self, data: str) -> int:  # type: ignore[override]  # a stream's write tells how much
        """Send text at once."""
        self._file.write(data)
        self._file.flush()
        return len(data)

    def readline(self, size: int = -1) -> str:
        """A line with its end, or nothing at the end of the connection."""
        line: str = self._file.readline(size)
        return line

    def flush(self) -> None:
        """Does nothing: :meth:`write` sends at once."""

    def isatty(self) -> bool:
        """False: a connection is no terminal."""
        return False

    def runcode(self, code: CodeType) -> None:
        """Run what was entered; SystemExit ends the session and nothing else."""
        try:
            exec(code, self.locals)
        except (SystemExit, GreenletExit):
            raise
        except BaseException:
            self.showtraceback()

    def show(self, value: Any) -> None:
        """:func:`sys.displayhook` of the session, which has a ``_`` of its own."""
        if value is not None:
            self.write(f"{value!r}\n")
            self.locals["_"] = value

    def close(self) -> None:
        """End the connection."""
        try:
            self._file.close()
        except OSError:
            pass  # the peer has gone before all was sent
        finally:
            self._connection.close()


def _leave(code: Any = None) -> NoReturn:
    """End the session (not the process)."""
    raise SystemExit(code)


# The process has one set of standard streams: while there are sessions, each access looks for its own session --------


class _Stream:
    """Takes a standard stream's place: sessions get their connection, all other code gets the original stream."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.original: Any = None

    def __getattr__(self, name: str) -> Any:
        session = _session.get()
        if session is not None and hasattr(session, name):
            return getattr(session, name)
        return getattr(self.original, name)


class _Streams:
    """Replaces the standard streams for as long as there are sessions."""

    def __init__(self) -> None:
        self._count = 0
        self._streams = {name: _Stream(name) for name in ("stdin", "stdout", "stderr")}
        self._display: Callable[[Any], Any] = sys.displayhook

    def enter(self) -> None:
        """A session begins."""
        self._count += 1
        if self._count > 1:
            return
        for name, stream in self._streams.items():
            stream.original = getattr(sys, name)
            setattr(sys, name, stream)
        self._display, sys.displayhook = sys.displayhook, self._show

    def leave(self) -> None:
        """A session ends."""
        self._count -= 1
        if self._count:
            return
        for name, stream in self._streams.items():
            if getattr(sys, name) is stream:
                setattr(sys, name, stream.original)
        sys.displayhook = self._display

    def _show(self, value: Any) -> None:
        session = _session.get()
        if session is not None:
            session.show(value)
        else:
            self._display(value)


_streams = _Streams()


def main(arguments: list[str] | None = None) -> None:
    """Serve a prompt on a port of the loopback address, or on the path of a UNIX socket."""
    given = sys.argv[1:] if arguments is None else arguments
    if len(given) != 1:
        raise SystemExit("usage: python -m hubbub.backdoor PORT-OR-PATH")
    listener: Any = ("127.0.0.1", int(given[0])) if given[0].isdigit() else given[0]
    server = BackdoorServer(listener, {"hub": get_hub(), "builtins": builtins})
    sys.stderr.write(f"a prompt for everybody on this machine at {server.address}\n")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.stop()


if __name__ == "__main__":
    main()
