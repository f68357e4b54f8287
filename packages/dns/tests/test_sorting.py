"""The order of addresses."""

from __future__ import annotations

import socket
import time
from itertools import permutations

import pytest
from hubbub_dns._interfaces import PLAIN, Traits
from hubbub_dns._policy import Policy, parse
from hubbub_dns._sorting import in_order, source_of, steps


def policy_of(text: bytes) -> Policy:
    """What the parser returns."""
    with pytest.raises(StopIteration) as info:
        next(parse(text))
    policy: Policy = info.value.value
    return policy


RFC_6724 = policy_of(
    b"""
label ::1/128 0
label ::/0 1
label ::ffff:0:0/96 4
label 2002::/16 2
label 2001::/32 5
label fc00::/7 13
label ::/96 3
label fec0::/10 11
label 3ffe::/16 12
precedence ::1/128 50
precedence ::/0 40
precedence ::ffff:0:0/96 35
precedence 2002::/16 30
precedence 2001::/32 5
precedence fc00::/7 3
precedence ::/96 1
precedence fec0::/10 1
precedence 3ffe::/16 1
"""
)
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
        assert in_order(given, sources.__getitem__, RFC_6724, dict) == expected


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
        order = in_order(given, sources.__getitem__, traits=lambda: traits)
        assert order == ["2001:db8:2::1", "2001:db8:1::1"]


def test_policy() -> None:
    """A policy of one's own changes the order."""
    sources = {"2001:db8:1::1": "2001:db8:1::2", "192.0.2.1": "192.0.2.2"}
    policy = policy_of(b"precedence ::ffff:0:0/96 100\n")
    assert in_order(list(sources), sources.__getitem__, policy) == ["192.0.2.1", "2001:db8:1::1"]


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


def test_own_network() -> None:
    """Rule 9 for IPv4: within this machine's own network, and there alone, the longest matching prefix comes first."""
    traits = {"192.0.2.77": PLAIN._replace(prefix=24)}
    for given in permutations(["192.0.2.76", "192.0.2.200", "198.51.100.1"]):
        order = in_order(given, lambda _: "192.0.2.77", traits=lambda: traits)
        assert order == ["192.0.2.76", "192.0.2.200", "198.51.100.1"]


def test_thousands_of_addresses() -> None:
    """Ordering 4,000 addresses pauses every few milliseconds, so that others can run."""
    addresses = [f"2001:db8::{number:x}" for number in range(2000)] + [f"192.0.{n >> 8}.{n & 255}" for n in range(2000)]
    working = steps(addresses, source_of)
    gaps, last = [], time.thread_time()
    with pytest.raises(StopIteration) as info:
        while True:
            next(working)
            now = time.thread_time()
            gaps.append(now - last)
            last = now
    gaps.append(time.thread_time() - last)
    assert sorted(info.value.value) == sorted(addresses)
    assert len(gaps) > 40
    assert sorted(gaps)[-3] < 0.01  # two may be somebody else's
