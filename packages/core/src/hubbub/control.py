"""Lets a running process be looked into from outside: ``hubbub ps``, ``tree``, ``top`` and their kin ask here.

Nothing listens unless :func:`serve` is called, or ``HUBBUB_CONTROL`` names a path. Then a native thread answers at a
UNIX socket, also while the hub computes. Only the owner of the process, and root, are answered. Requests read and
change nothing, but with ``allow_exec``.
"""

from __future__ import annotations

import atexit
import errno
import os
import socket as _socket_module
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from hubbub._answers import LONGEST_REQUEST, answer
from hubbub._at_fork import at_fork
from hubbub._kernel import peer_of
from hubbub._originals import socket
from hubbub._reports import complain
from hubbub._sidethread import SideThread

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "IDLE_SECONDS",
    "MOST_CONNECTIONS",
    "ControlServer",
    "answer_to",
    "converse",
    "default_path",
    "serve",
    "serve_from_environment",
]

MOST_CONNECTIONS = 8
"""How many callers are answered at a time."""
IDLE_SECONDS = 60.0
"""How long a connection may stay without a request."""
_FAMILY = getattr(_socket_module, "AF_UNIX", None)
_STREAM = _socket_module.SOCK_STREAM


def default_path(pid: int | None = None) -> str:
    """Where :func:`serve` listens by default, and where ``hubbub ps PID`` looks.

    ``$XDG_RUNTIME_DIR/hubbub-PID.sock``; without that variable in a folder of the user's below ``/tmp``.
    """
    name = f"hubbub-{os.getpid() if pid is None else pid}.sock"
    folder = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/hubbub-{os.getuid()}"
    return os.path.join(folder, name)


def serve(path: str | os.PathLike[str] | None = None, *, allow_exec: bool = False) -> ControlServer:
    """Answer at a UNIX socket, from now on.

    :param path: of the socket; ``{pid}`` in it stands for the number of the process. By default :func:`default_path`.
    :param allow_exec: whether callers may run code.
    :raises OSError: another process answers there, or the system refuses the path.
    """
    server = ControlServer(path, allow_exec=allow_exec)
    server.start()
    return server


class ControlServer:
    """A UNIX socket at which this process tells of itself. The parameters are those of :func:`serve`."""

    def __init__(self, path: str | os.PathLike[str] | None = None, *, allow_exec: bool = False) -> None:
        self._pattern = os.fspath(path) if path is not None else None
        self.allow_exec = allow_exec
        self._open()
        _servers.add(self)

    def _open(self) -> None:
        self.path: str = self._expanded()
        """Where it listens."""
        self._acceptor: SideThread | None = None
        self._callers: set[SideThread] = set()
        self._connections: set[Any] = set()
        self._listener: Any = _listen(self.path, self._pattern is None)

    def __repr__(self) -> str:
        state = "closed" if self._listener is None else "read-only" if not self.allow_exec else "may run code"
        return f"<{type(self).__name__} {self.path} {state}>"

    def _expanded(self) -> str:
        if self._pattern is None:
            return default_path()
        return os.path.abspath(self._pattern.replace("{pid}", str(os.getpid())))

    def start(self) -> None:
        """Answer, from now on. A second call does nothing."""
        if self._acceptor is None and self._listener is not None:
            self._acceptor = SideThread(self._accept, "the control socket")
            self._acceptor.start()

    def stop(self) -> None:
        """End all connections, and remove the socket. Harmless a second time."""
        listener, self._listener = self._listener, None
        _servers.discard(self)
        if listener is None:
            return
        acceptor = self._acceptor
        if acceptor is not None:
            acceptor.stop(wait=False)
            _wake(listener, self.path)
            acceptor.stop()
        listener.close()
        _unlink(self.path)
        for connection in list(self._connections):
            _shut(connection)
        for caller in list(self._callers):
            caller.stop()

    def unlink(self) -> None:
        """Remove the socket from the file system. Who is connected is answered still."""
        if self._listener is not None:
            _unlink(self.path)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self) -> None:
        listener, acceptor = self._listener, self._acceptor
        while acceptor is not None and not acceptor.stopping:
            try:
                connection = _accepted(listener)
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM) and acceptor.pause(0.1):
                    continue
                if error.errno in (errno.ECONNABORTED, errno.EINTR):
                    continue
                if not acceptor.stopping:
                    complain("the control socket", error)
                return
            if acceptor.stopping:
                connection.close()
                return
            self._begin(connection)

    def _begin(self, connection: Any) -> None:
        if not _is_trusted(connection):
            _turn_away(connection, "only the owner of the process is answered")
        elif len(self._connections) >= MOST_CONNECTIONS:
            _turn_away(connection, f"{MOST_CONNECTIONS} callers are being answered: try again")
        else:
            self._connections.add(connection)
            caller = SideThread(lambda: self._serve(connection, caller), "a caller of the control socket")
            self._callers.add(caller)
            try:
                caller.start()
            except RuntimeError:  # no thread can be started
                self._forget(connection, caller)
                _turn_away(connection, "the process cannot start a thread")

    def _serve(self, connection: Any, caller: SideThread) -> None:
        try:
            converse(connection, self.allow_exec, caller.pause)
        finally:
            self._forget(connection, caller)
            connection.close()

    def _forget(self, connection: Any, caller: SideThread) -> None:
        self._connections.discard(connection)
        self._callers.discard(caller)

    def _renew(self) -> None:
        """In the child after a fork: the parent answers at its path; the child has one of its own or none."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.close()
        for connection in self._connections:
            connection.close()
        if self.path != self._expanded():
            self._open()
            self.start()


_servers: set[ControlServer] = set()


def _listen(path: str, may_make_folder: bool) -> Any:
    if _FAMILY is None:
        raise OSError(errno.EAFNOSUPPORT, "this system has no UNIX sockets")
    if may_make_folder:
        _make_folder(os.path.dirname(path))
    _remove_stale(path)
    listener = socket(_FAMILY, _STREAM)
    try:
        listener.bind(path)
        try:
            os.chmod(path, 0o600)  # nobody can connect before listen()
            listener.listen(MOST_CONNECTIONS)
        except BaseException:
            _unlink(path)
            raise
    except BaseException:
        listener.close()
        raise
    return listener


def _make_folder(folder: str) -> None:
    """:raises PermissionError: the folder belongs to somebody else, or others may write to it."""
    os.makedirs(folder, 0o700, exist_ok=True)
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "this must be a folder that only its owner can write to", folder)


def _remove_stale(path: str) -> None:
    """Remove a socket that a process has left behind.

    :raises OSError: EADDRINUSE, a process listens there, or it is no socket.
    """
    try:
        is_socket = stat.S_ISSOCK(os.lstat(path).st_mode)
    except FileNotFoundError:
        return
    if is_socket:
        with socket(_FAMILY or 0, _STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
                return
            except OSError:
                pass  # it is listened to, but not at once
    raise OSError(errno.EADDRINUSE, "another process listens there" if is_socket else "this is no socket", path)


def _accepted(listener: Any) -> Any:
    """The next connection. ``accept`` makes one of the class that the module has now, and patching has replaced it."""
    descriptor, _ = listener._accept()
    return socket(fileno=descriptor)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # somebody has removed it


def _wake(listener: Any, path: str) -> None:
    """End a wait in ``accept``: by a connection, or if the path is gone, by what Linux does at a shutdown."""
    with socket(_FAMILY or 0, _STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            _shut(listener)


def _shut(connection: Any) -> None:
    try:
        connection.shutdown(_socket_module.SHUT_RDWR)
    except OSError:
        pass  # it is closed, or not connected


def _is_trusted(connection: Any) -> bool:
    """Whether a caller is the owner of this process, or root. Where the system does not tell, the socket's mode has
    kept all others out."""
    peer = peer_of(connection)
    return peer is None or peer[1] in (0, os.geteuid())


def _turn_away(connection: Any, why: str) -> None:
    with connection:
        try:
            connection.settimeout(1.0)
            connection.sendall(b'{"error": "%s"}\n' % why.encode())
        except OSError:
            pass  # it has gone


def converse(connection: Any, allow_exec: bool, pause: Callable[[float], bool]) -> None:
    """Answer the requests of one caller, a line each, until it leaves. For native threads.

    :param pause: waits, for answers that take time; returns False when the conversation is to end.
    """
    connection.settimeout(IDLE_SECONDS)
    waiting = bytearray()
    try:
        while (line := _next_line(connection, waiting)) is not None:
            connection.sendall(answer(line, allow_exec, pause) + b"\n")
    except OSError:
        pass  # it has gone, or said nothing for too long


def _next_line(connection: Any, waiting: bytearray) -> bytes | None:
    """The next request without its line break; None: there is none, or it is too long and was refused."""
    while (end := waiting.find(b"\n")) < 0:
        if len(waiting) > LONGEST_REQUEST:
            connection.sendall(b'{"error": "a request has at most %d bytes"}\n' % LONGEST_REQUEST)
            return None
        data = connection.recv(4096)
        if not data:
            return None
        waiting += data
    line = bytes(waiting[:end])
    del waiting[: end + 1]
    return line


def answer_to(path: str, allow_exec: bool = False) -> None:
    """Connect to a caller that listens at ``path``, and answer it. Runs in a thread of its own."""

    def run() -> None:
        with socket(_FAMILY or 0, _STREAM) as connection:
            connection.connect(path)
            if _is_trusted(connection):
                converse(connection, allow_exec, thread.pause)

    thread = SideThread(run, "answering a caller from outside")
    thread.start()


def _remove_sockets() -> None:
    """The process ends: leave no socket behind. Nobody is waited for."""
    for server in list(_servers):
        server.unlink()


atexit.register(_remove_sockets)


def _after_fork_in_child() -> None:
    for server in list(_servers):
        try:
            server._renew()
        except OSError as error:
            complain("the control socket of a child process", error)


at_fork(in_child=_after_fork_in_child)


def serve_from_environment(path: str) -> None:
    """Serve at ``path``, which ``HUBBUB_CONTROL`` names. A failure is reported and changes nothing else."""
    try:
        serve(path)
    except OSError as error:
        sys.stderr.write(f"hubbub: HUBBUB_CONTROL={path}: {error}\n")
