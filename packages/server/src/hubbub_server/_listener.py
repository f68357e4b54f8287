"""Addresses as users write them, and the listening sockets made from them."""

from __future__ import annotations

import importlib
import os
import re
import socket
import stat
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from hubbub.abc import Address
from hubbub.io import Socket
from hubbub.lowlevel import get_hub

__all__ = ["adopt", "bind", "bind_plain", "loopback_by_default", "parse_address"]

AnySocket = TypeVar("AnySocket", bound=socket.socket)

_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_HOST_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]*)\]|(?P<host>[^:]*)):(?P<port>[0-9]{1,5})", re.ASCII)
_UNIX = "unix:"
_MODE = re.compile(r"0?o?[0-7]{3}", re.ASCII)


def parse_address(address: Any) -> tuple[int, Address]:
    """The family and the address of ``address``.

    Known forms: ``(host, port)``, ``port`` (an int or digits: all addresses, IPv6 with IPv4), ``"host:port"``,
    ``":port"`` and ``"*:port"`` (all IPv4 addresses), ``"[v6]:port"``, ``"unix:path"``, and
    ``"unix:path?mode=660&user=NAME&group=NAME"`` with permissions and owners for the socket's file.

    :raises ValueError: none of these.
    :raises TypeError: neither text, number nor tuple.
    """
    if isinstance(address, tuple):
        return _of_tuple(address)
    if isinstance(address, int) and not isinstance(address, bool):
        return _of_tuple(("", address))
    if isinstance(address, str):
        return _of_text(address)
    raise TypeError(f"an address is a socket, a tuple (host, port), a port or text like 'host:port', not {address!r}")


def _of_tuple(address: tuple[Any, ...]) -> tuple[int, Address]:
    host = address[0]
    if len(address) < 2 or not isinstance(host, str):
        raise ValueError(f"an address tuple is (host, port), not {address!r}")
    port = _port(address[1], address)
    if not host or ":" in host:
        return socket.AF_INET6, (host, port, *address[2:])
    return socket.AF_INET, (host, port)


def _of_text(address: str) -> tuple[int, Address]:
    if address.startswith(_UNIX):
        return socket.AF_UNIX, _unix_path(address)
    if _PORT.fullmatch(address):
        return _of_tuple(("", int(address)))
    match = _HOST_PORT.fullmatch(address)
    if match is None:
        raise ValueError(f"cannot read the address {address!r}; write host:port, :port, [v6]:port, port or unix:path")
    port = _port(match["port"], address)
    if match["v6"] is not None:
        return socket.AF_INET6, (match["v6"], port)
    host = match["host"]
    return socket.AF_INET, ("" if host == "*" else host, port)


class UnixPath(str):
    """The path of a UNIX socket, and what becomes of the file there."""

    __slots__ = ("group", "mode", "user")

    mode: int | None
    """Its permission bits; None for what the umask leaves."""
    user: int
    """The number of its owner; -1 for the user that makes it."""
    group: int

    def prepare(self, sock: socket.socket) -> None:
        """Before the bind: the file is never more open than it is to be (Linux takes its mode from the socket)."""
        if self.mode is not None and sys.platform == "linux":
            os.fchmod(sock.fileno(), self.mode)

    def complete(self) -> None:
        """After the bind.

        :raises OSError: it cannot be given to that owner. Then there is no file.
        """
        try:
            if self.user != -1 or self.group != -1:
                os.chown(self, self.user, self.group)
            if self.mode is not None:
                os.chmod(self, self.mode)
        except OSError:
            os.unlink(self)
            raise


def _unix_path(address: str) -> UnixPath:
    """The path in ``unix:path?mode=660&user=www&group=www``.

    :raises ValueError: no path, or an option that there is not.
    """
    text, _, options = address.removeprefix(_UNIX).partition("?")
    if not text:
        raise ValueError("'unix:' is followed by a path")
    path = UnixPath(text)
    path.mode, path.user, path.group = None, -1, -1
    for option in options.split("&") if options else ():
        name, _, value = option.partition("=")
        if name == "mode" and _MODE.fullmatch(value):
            path.mode = int(value, 8)
        elif name in ("user", "group") and value:
            setattr(path, name, _number(name, value, address))
        else:
            raise ValueError(
                f"cannot read {option!r} in {address!r}; after the path of a UNIX socket there may be ?mode=660,"
                " user=NAME and group=NAME, joined by &"
            )
    return path


def _number(kind: str, value: str, address: str) -> int:
    """The number of a user or group.

    :raises ValueError: there is none of that name.
    """
    if value.isdecimal():
        return int(value)
    try:
        if kind == "user":
            return int(importlib.import_module("pwd").getpwnam(value).pw_uid)  # by name: Windows has no such module
        return int(importlib.import_module("grp").getgrnam(value).gr_gid)
    except KeyError:
        raise ValueError(f"there is no {kind} {value!r}, which {address!r} names") from None


def _port(port: Any, address: Any) -> int:
    number = int(port) if isinstance(port, int) or (isinstance(port, str) and _PORT.fullmatch(port)) else -1
    if not 0 <= number <= 65535:
        raise ValueError(f"a port is 0 to 65535; cannot use {address!r}")
    return number


def loopback_by_default(address: str) -> str:
    """The same address, on the IPv4 loopback interface if it is only a port: for what is not for everybody."""
    if address.isdecimal() or address.startswith(":"):
        return f"127.0.0.1:{address.removeprefix(':')}"
    return address


def _numeric(family: int, address: Address, kind: int, lookup: Callable[..., Any]) -> Address:
    """The same address with the name, if it has one, looked up."""
    host = address[0]
    if not host:
        return address
    try:
        socket.inet_pton(family, host)
    except OSError:
        return lookup(host, address[1], family, kind, 0, socket.AI_PASSIVE)[0][4]
    return address


def bind(
    family: int,
    address: Address,
    kind: int = socket.SOCK_STREAM,
    backlog: int = 128,
    reuse_addr: bool = True,
    reuse_port: bool = False,
) -> Socket:
    """A socket bound to ``address`` (as :func:`parse_address` gives it), listening if it is a stream.

    The file of a UNIX socket without a listener is replaced.

    :param reuse_addr: SO_REUSEADDR; not on Windows, where it means something else.
    :param reuse_port: SO_REUSEPORT: several processes may listen, the kernel spreads the connections.
    :raises OSError: from :manpage:`bind(2)`, naming the address.
    """
    if family != getattr(socket, "AF_UNIX", None):
        address = _numeric(family, address, kind, lambda *args: get_hub().resolver.getaddrinfo(*args))
    return _bound(Socket(family, kind), address, backlog, reuse_addr, reuse_port)


def bind_plain(family: int, address: Address, backlog: int | None, reuse_port: bool) -> socket.socket:
    """The same for a process without a hub: an ordinary socket. It listens unless ``backlog`` is None."""
    if family != getattr(socket, "AF_UNIX", None):
        address = _numeric(family, address, socket.SOCK_STREAM, socket.getaddrinfo)
    return _bound(socket.socket(family, socket.SOCK_STREAM), address, backlog, True, reuse_port)


def _bound(sock: AnySocket, address: Address, backlog: int | None, reuse_addr: bool, reuse_port: bool) -> AnySocket:
    try:
        _configure(sock, address, reuse_addr, reuse_port)
        sock.bind(address)
        if isinstance(address, UnixPath):
            address.complete()
        if sock.type == socket.SOCK_STREAM and backlog is not None:
            sock.listen(backlog)
    except OSError as error:
        sock.close()
        error.strerror = f"{error.strerror}: {address!r}"
        raise
    except BaseException:
        sock.close()
        raise
    return sock


def _configure(sock: socket.socket, target: Address, reuse_addr: bool, reuse_port: bool) -> None:
    family = sock.family
    if family == getattr(socket, "AF_UNIX", None):
        _remove_stale(target)
        if isinstance(target, UnixPath):
            target.prepare(sock)
        return
    if reuse_addr and os.name != "nt":
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if family == socket.AF_INET6 and not target[0]:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)


def _remove_stale(path: str) -> None:
    """Remove the file of a UNIX socket whose listener is gone; bind(2) does not."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError:
            return


def adopt(sock: socket.socket) -> Socket:
    """A cooperative socket for the descriptor of ``sock``: itself, or a duplicate."""
    if isinstance(sock, Socket):
        return sock
    fd = os.dup(sock.fileno())
    try:
        return Socket(sock.family, sock.type, sock.proto, fileno=fd)
    except BaseException:
        os.close(fd)
        raise
