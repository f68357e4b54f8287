"""The policy table, and reading gai.conf."""

from __future__ import annotations

import pytest
from hubbub_dns._policy import DEFAULT, Policy, parse, properties


def policy_of(text: bytes) -> Policy:
    """What the parser returns."""
    with pytest.raises(StopIteration) as info:
        next(parse(text))
    assert isinstance(info.value.value, Policy)
    return info.value.value


@pytest.mark.parametrize(
    ("address", "scope", "precedence", "label"),
    [
        ("::1", 2, 50, 0),
        ("2001:db8::1", 14, 40, 1),
        ("192.0.2.1", 14, 10, 4),
        ("127.0.0.1", 2, 10, 4),
        ("169.254.1.1", 2, 10, 4),
        ("10.0.0.1", 14, 10, 4),
        ("2002:c000:201::1", 14, 30, 2),
        ("2001::1", 14, 40, 7),
        ("fd00::1", 14, 40, 6),
        ("::192.0.2.1", 14, 20, 3),
        ("fec0::1", 5, 40, 5),
        ("3ffe::1", 14, 40, 1),
        ("fe80::1", 2, 40, 1),
        ("fe80::1%lo", 2, 40, 1),
        ("ff05::1", 5, 40, 1),
        ("::ffff:127.0.0.1", 14, 10, 4),
    ],
)
def test_default(address: str, scope: int, precedence: int, label: int) -> None:
    """The table and the scopes are glibc's."""
    assert properties(address, DEFAULT)[1:] == (scope, precedence, label)


def test_replaced() -> None:
    """A table of which the file has lines is replaced, the others stay; the longest prefix counts."""
    policy = policy_of(
        b"# x\nprecedence ::ffff:0:0/96 100 # more\nprecedence 2001:db8::/32 70\nprecedence 2001:db8::1 80\n"
    )
    assert properties("192.0.2.1", policy).precedence == 100
    assert properties("2001:db8::2", policy).precedence == 70
    assert properties("2001:db8::1", policy).precedence == 80
    assert properties("2001:db9::1", policy).precedence == 40
    assert properties("192.0.2.1", policy).label == 4
    policy = policy_of(b"label fd00::/8 77\nscopev4 ::ffff:10.0.0.0/104 5\n")
    assert properties("fd00::1", policy).label == 77
    assert properties("2002::1", policy).label == 1
    assert properties("10.0.0.1", policy).scope == 5
    assert properties("192.0.2.1", policy).scope == 14


@pytest.mark.parametrize(
    "text", [b"", b"reload yes\n", b"label x 1\nlabel ::/129 1\nlabel ::/0\nlabel ::/0 -1\n\xff\0\n", b"precedence 1"]
)
def test_nonsense(text: bytes) -> None:
    """Lines that make no sense change nothing."""
    assert policy_of(text) is DEFAULT
