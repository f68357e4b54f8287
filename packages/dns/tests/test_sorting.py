"""The order of addresses."""

from __future__ import annotations

import socket
from itertools import permutations

import pytest
from hubbub_dns._interfaces import PLAIN, Traits
from hubbub_dns._policy import parse
from hubbub_dns._sorting import in_order, source_of

SIX_TO_FOUR = "2002:c633:6401::2"
# RFC 6724, section 10.2: what the source address of each destination is, and the order.
EXAMPLES = [
    ({"2001:db8:1::1": "2001:db8:1::2", "198.51.100.121": "169.254.13.78"}, ["2001:db8:1::1", "198.51.100.121"]),
    ({"2001:db8:1::1": "fe80::1", "198.51.100.121": "198.51.100.117"}, ["198.51.100.121", "2001:db8:1::1"]),
    ({"2001:db8:1::1": "2001:db8:1::2", "10.1.2.3": "10.1.2.4"}, ["2001:db8:1::1", "10.1.2.3"]),
    ({"2001:db8:1::1": "2001:db8:1::2", "fe80::1": "fe80::2"}, ["fe80::1", "2001:db8:1::1"]),
    (
        {"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2002:c633:6401::2"},
        ["2002:c633:6401::1", "2001:db8:1::1"],
    ),
    (
        {"2002:c633:6401::1": "2002:c633:6401::2", "2001:db8:1::1": "2001:db8:1::2"},
        ["2001:db8:1::1", "2002:c633:6401::1"],
    ),
    ({"2001:db8:1::1": None, "192.0.2.1": "192.0.2.2"}, ["192.0.2.1", "2001:db8:1::1"]),
    ({"2001:db8:3ffe::1": "2001:db8:1::1", "2001:db8:1::9": "2001:db8:1::1"}, ["2001:db8:1::9", "2001:db8:3ffe::1"]),
    ({"fec0::1": "fec0::2", "2001:db8::1": "fec0::2"}, ["fec0::1", "2001:db8::1"]),
    ({"::1": "::1", "127.0.0.1": "127.0.0.1"}, ["::1", "127.0.0.1"]),
    ({"::1": None, "127.0.0.1": "127.0.0.1"}, ["127.0.0.1", "::1"]),
]


@pytest.mark.parametrize(("sources", "expected"), EXAMPLES)
def test_examples(sources: dict[str, str | None], expected: list[str]) -> None:
    """The examples of RFC 6724 come out as written there, whatever the order given."""
    for given in permutations(sources):
        assert in_order(given, sources.__getitem__) == expected


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        (PLAIN._replace(deprecated=True), PLAIN),
        (PLAIN, PLAIN._replace(home=True)),
        (PLAIN._replace(tunnelled=True), PLAIN),
        (PLAIN._replace(deprecated=True, home=True), PLAIN),
    ],
)
def test_traits(worse: Traits, better: Traits) -> None:
    """Rules 3, 4 and 7: addresses reached from a deprecated, no home, or a tunnelled address come later."""
    sources = {"2001:db8:1::1": "2001:db8:5::1", "2001:db8:2::1": "2001:db8:6::1"}
    traits = {"2001:db8:5::1": worse, "2001:db8:6::1": better}
    for given in permutations(sources):
        order = in_order(given, sources.__getitem__, traits=traits.__getitem__)
        assert order == ["2001:db8:2::1", "2001:db8:1::1"]


def test_policy() -> None:
    """A policy of one's own changes the order."""
    sources = {"2001:db8:1::1": "2001:db8:1::2", "192.0.2.1": "192.0.2.2"}
    steps = parse(b"precedence ::ffff:0:0/96 100\n")
    with pytest.raises(StopIteration) as info:
        next(steps)
    assert in_order(list(sources), sources.__getitem__, info.value.value) == ["192.0.2.1", "2001:db8:1::1"]


def test_order_given_is_kept() -> None:
    """Addresses that no rule prefers stay in the order given: name servers balance load by it."""
    addresses = ["192.0.2.9", "198.51.100.1", "192.0.2.1"]
    for given in permutations(addresses):
        assert in_order(given, lambda _: "192.0.2.77") == list(given)


def test_one_address() -> None:
    """A single address is not looked into."""

    def source(address: str) -> str:
        raise AssertionError(address)

    assert in_order(["192.0.2.1"], source) == ["192.0.2.1"]
    assert in_order([], source) == []


def test_source_of() -> None:
    """The source address is what the kernel would use; None for what cannot be reached."""
    assert source_of("127.0.0.1") == "127.0.0.1"
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        assert probe.connect_ex(("fe80::1", 9)) != 0  # without a scope there is no way to it
    assert source_of("fe80::1") is None
