"""Datagrams by the methods in C and by those in Python: the same results, addresses and errors."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import hubbub
import pytest
from hubbub.io import Socket
from hubbub_speed.methods import install_methods, uninstall_methods


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    """Each test leaves the methods as a hub would have them."""
    yield
    assert install_methods()


def both(run: Callable[[], Any]) -> Any:
    """What ``run()`` returns, with the methods of either kind."""
    assert install_methods()
    ours = run()
    uninstall_methods()
    assert run() == ours
    return ours


def outcome(call: Callable[..., Any], *args: Any) -> Any:
    """What a call returns, or the type and words of its error."""
    try:
        return call(*args)
    except Exception as error:
        return type(error), str(error)


def bound(family: int = socket.AF_INET) -> Socket:
    """A socket with an address of this machine, whose reads end after ten seconds."""
    sock = Socket(family, socket.SOCK_DGRAM)
    sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
    sock.settimeout(10)
    return sock


def test_a_conversation() -> None:
    """Each datagram arrives whole, with the address of its sender; an empty one too."""

    def talk() -> list[Any]:
        with closing(bound()) as one, closing(bound()) as two:
            said = []
            for data in (b"", b"x", b"y" * 1_000, b"z" * 60_000):
                assert one.sendto(data, two.getsockname()) == len(data)
                got, sender = two.recvfrom(65_536)
                assert sender == one.getsockname()
                said.append(got)
            return said

    assert both(talk) == [b"", b"x", b"y" * 1_000, b"z" * 60_000]


def test_a_long_datagram_is_cut() -> None:
    """A read of fewer bytes than were sent gets the first of them, and the rest is lost."""

    def cut() -> list[bytes]:
        with closing(bound()) as one, closing(bound()) as two:
            one.sendto(b"abcdef", two.getsockname())
            one.sendto(b"next", two.getsockname())
            return [two.recvfrom(3)[0], two.recvfrom(9)[0]]

    assert both(cut) == [b"abc", b"next"]


@pytest.mark.parametrize("receive", ["recv", "recvfrom"])
def test_the_length_of_a_datagram_that_is_cut(receive: str) -> None:
    """A read with MSG_TRUNC, for which the system tells the length of the whole datagram, is the standard library's."""

    def read(kind: type[socket.socket]) -> Any:
        with closing(kind(socket.AF_INET, socket.SOCK_DGRAM)) as mine, closing(bound()) as other:
            mine.bind(("127.0.0.1", 0))
            mine.settimeout(10)
            other.sendto(b"abcdef", mine.getsockname())
            try:
                got = getattr(mine, receive)(3, socket.MSG_TRUNC)
            except ValueError as error:  # from CPython 3.15 on
                return str(error)
            return len(got if receive == "recv" else got[0])

    assert both(lambda: read(Socket)) == read(socket.socket)


def test_many_senders() -> None:
    """Each of a hundred senders is told from the others, also if they come in turn."""
    senders = [bound() for _ in range(100)]

    def tell() -> None:
        with closing(bound()) as mine:
            for _ in range(3):
                for sender in senders:
                    sender.sendto(b"x", mine.getsockname())
                    assert mine.recvfrom(9) == (b"x", sender.getsockname())

    both(tell)
    for sender in senders:
        sender.close()


def test_a_sender_that_is_seen_again_costs_no_new_address() -> None:
    """The address of a sender is one object as long as the same sender comes."""
    assert install_methods()
    with closing(bound()) as one, closing(bound()) as two:
        for _ in range(2):
            one.sendto(b"x", two.getsockname())
        assert two.recvfrom(9)[1] is two.recvfrom(9)[1]


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", -1),
        ("127.0.0.1", 65_536),
        ("127.0.0.1", 1 << 80),
        ("127.0.0.1", "80"),
        ("127.0.0.1", 80, 0),
        ("127.0.0.1",),
        ["127.0.0.1", 80],
        ("127.0.0.1\0", 80),
        ("127.0.0.256", 80),
        ("\N{SNOWMAN}", 80),
        ("", 9),
        (None, 9),
        (b"127.0.0.1", 9),
        None,
        7,
    ],
    ids=repr,
)
def test_unusual_addresses(address: Any) -> None:
    """An address that is no pair of a numeric host and a port has the same outcome with either kind of methods."""

    def send() -> Any:
        with closing(bound()) as sock:
            return [outcome(sock.sendto, b"x", address), outcome(sock.sendto, b"x", 0, address)]

    both(send)


@pytest.mark.parametrize("args", [(), (b"x",), (b"x", 0, ("127.0.0.1", 9), 1), ("x", ("127.0.0.1", 9))], ids=repr)
def test_wrong_arguments(args: tuple[Any, ...]) -> None:
    """Wrong arguments of sendto() get the errors of the standard library."""

    def send() -> Any:
        with closing(bound()) as sock:
            return outcome(sock.sendto, *args)

    assert both(send)[0] is TypeError


def test_errors_of_the_system() -> None:
    """A datagram that is too long, a closed socket and a read that may not wait raise the system's errors."""

    def fail() -> list[Any]:
        with closing(bound()) as sock:
            target = sock.getsockname()
            errors = [outcome(sock.sendto, b"x" * 65_536, target)]
            sock.settimeout(0)
            errors.append(outcome(sock.recvfrom, 9))
        errors += [outcome(sock.sendto, b"x", target), outcome(sock.recvfrom, 9)]
        return errors

    numbers = (errno.EMSGSIZE, errno.EAGAIN, errno.EBADF, errno.EBADF)
    for (_, words), number in zip(both(fail), numbers, strict=True):
        assert words.startswith(f"[Errno {number}]")


def test_other_families() -> None:
    """Datagrams of IPv6 and UNIX sockets, and the bytes of a stream, which have no sender."""

    def run() -> Any:
        with closing(bound(socket.AF_INET6)) as six:
            six.sendto(b"six", six.getsockname())
            data, sender = six.recvfrom(9)
            assert sender == six.getsockname()
        one, two = (Socket(each.family, each.type, 0, each.detach()) for each in socket.socketpair())
        with closing(one), closing(two):
            one.sendall(b"pair")
            return [data, two.recvfrom(9)]

    assert both(run) == [b"six", (b"pair", None)]


def test_a_stream_has_no_sender() -> None:
    """Bytes of a TCP connection come without an address."""

    def run() -> Any:
        with closing(Socket()) as listener, closing(Socket()) as one:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            one.connect(listener.getsockname())
            with closing(listener.accept()[0]) as two:
                two.sendall(b"x")
                return one.recvfrom(9)

    assert both(run) == (b"x", None)


def test_a_subclass_is_asked_for_the_numeric_address() -> None:
    """What is no numeric address is looked up by ``numeric_address``, if a subclass has it."""

    class Named(Socket):
        def numeric_address(self, address: Any) -> Any:
            return ("127.0.0.1", address[1]) if address[0] == "here" else address

    def send() -> bytes:
        with closing(bound()) as mine, closing(Named(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
            sock.sendto(b"a", ("here", mine.getsockname()[1]))
            sock.sendto(b"b", 0, ("here", mine.getsockname()[1]))
            return mine.recvfrom(9)[0] + mine.recvfrom(9)[0]

    assert both(send) == b"ab"


def test_sending_is_audited() -> None:
    """sendto() raises the same auditing event as the standard library's."""
    seen: list[Any] = []

    def hook(event: str, args: Any) -> None:
        if event == "socket.sendto" and seen is not None and len(seen) < 10:
            seen.append(args)

    sys.addaudithook(hook)

    def send() -> int:
        seen.clear()
        with closing(bound()) as sock:
            sock.sendto(b"x", target := sock.getsockname())
            assert seen == [(sock, target)]
        return len(seen)

    both(send)
    seen += [None] * 10


def test_a_greenlet_waits_for_a_datagram() -> None:
    """A greenlet that waits for a datagram is woken by it, whichever methods it began to wait with."""

    def run() -> Any:
        with closing(bound()) as one, closing(bound()) as two:
            waiting = hubbub.spawn(two.recvfrom, 9)
            hubbub.sleep(0)
            one.sendto(b"late", two.getsockname())
            return waiting.get()[0]

    assert both(run) == b"late"
