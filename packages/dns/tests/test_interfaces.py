"""What the system tells of its own addresses."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from hubbub_dns import _interfaces
from hubbub_dns._interfaces import PLAIN, Traits, current_traits, traits_of_all


def message(
    family: int, prefix: int, flags: int, index: int, address: str, attribute: int = 1, kind: int = 20
) -> bytes:
    """A message of the kernel's, rtnetlink(7)."""
    packed = socket.inet_pton(family, address)
    attributes = _interfaces._ATTRIBUTE.pack(4 + len(packed), attribute) + packed
    content = _interfaces._ABOUT.pack(family, prefix, flags, 0, index) + attributes
    return _interfaces._HEADER.pack(16 + len(content), kind, 2, 1, 0) + content


def test_messages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefix and flags come from the kernel's messages, the kind of the interface from its own file."""
    index = socket.if_nametoindex("lo")
    (tmp_path / "lo").mkdir()
    (tmp_path / "lo" / "type").write_text("776\n")
    dump = [
        message(socket.AF_INET, 24, 0, 999_999, "192.0.2.1"),
        message(socket.AF_INET6, 64, 0x20, 999_999, "2001:db8::2"),
        message(socket.AF_INET6, 48, 0x10, index, "2001:db8::3", attribute=2),
        message(socket.AF_INET, 24, 0, 1, "192.0.2.9", kind=16),
    ]
    monkeypatch.setattr(_interfaces, "_dumped", lambda: iter(dump))
    assert traits_of_all(tmp_path) == {
        "192.0.2.1": Traits(24, deprecated=False, home=False, tunnelled=False),
        "2001:db8::2": Traits(64, deprecated=True, home=False, tunnelled=False),
        "2001:db8::3": Traits(48, deprecated=False, home=True, tunnelled=True),
    }


@pytest.mark.parametrize("cut", range(60))
def test_broken_messages(monkeypatch: pytest.MonkeyPatch, cut: int) -> None:
    """Messages that are cut off, or whose lengths are wrong, are passed over."""
    whole = message(socket.AF_INET6, 64, 0, 1, "2001:db8::2")
    for dump in (whole[:cut], whole[:cut] + b"\0" * 20, whole[:cut] + b"\xff" * 20):
        monkeypatch.setattr(_interfaces, "_dumped", lambda dump=dump: iter([dump]))
        assert all(isinstance(traits, Traits) for traits in traits_of_all().values())


def test_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system does not tell, nothing is known."""
    monkeypatch.setattr(_interfaces, "_NETLINK", None)
    assert traits_of_all() == {}


@pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")
def test_this_machine() -> None:
    """The loopback address has eight bits of network, and nothing unusual."""
    assert current_traits()["127.0.0.1"] == PLAIN._replace(prefix=8)
