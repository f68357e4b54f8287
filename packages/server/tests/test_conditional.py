"""Preconditions, ranges and codings, as tables."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hubbub_server.http.conditional import UNSATISFIABLE, Validators, accepted_codings, precondition, wanted_range

THEN = 1_700_000_000
STRONG, WEAK = Validators('"abc"', THEN), Validators('W/"abc"', THEN)


def date(change: int = 0) -> str:
    return formatdate(THEN + change, usegmt=True)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"IF_NONE_MATCH": '"abc"'}, 304),
        ({"IF_NONE_MATCH": 'W/"abc"'}, 304),
        ({"IF_NONE_MATCH": '"x", W/"y,z" ,"abc"'}, 304),
        ({"IF_NONE_MATCH": "*"}, 304),
        ({"IF_NONE_MATCH": '"ab"'}, 200),
        ({"IF_NONE_MATCH": "abc"}, 200),
        ({"IF_NONE_MATCH": '"x,"abc"'}, 200),
        ({"IF_NONE_MATCH": ""}, 200),
        ({"IF_MODIFIED_SINCE": date()}, 304),
        ({"IF_MODIFIED_SINCE": date(1)}, 304),
        ({"IF_MODIFIED_SINCE": date(-1)}, 200),
        ({"IF_MODIFIED_SINCE": "yesterday"}, 200),
        ({"IF_MODIFIED_SINCE": "Mon, 99 Nov 99999999999 00:00:00 GMT"}, 200),
        ({"IF_NONE_MATCH": '"x"', "IF_MODIFIED_SINCE": date()}, 200),  # the tag counts alone
        ({"IF_MATCH": '"abc"'}, 200),
        ({"IF_MATCH": "*"}, 200),
        ({"IF_MATCH": '"x"'}, 412),
        ({"IF_MATCH": 'W/"abc"'}, 412),
        ({"IF_MATCH": '"abc"', "IF_UNMODIFIED_SINCE": date(-9)}, 200),
        ({"IF_UNMODIFIED_SINCE": date()}, 200),
        ({"IF_UNMODIFIED_SINCE": date(-1)}, 412),
        ({"IF_MATCH": '"abc"', "IF_NONE_MATCH": '"abc"'}, 304),
    ],
)
def test_preconditions(fields: dict[str, str], status: int) -> None:
    """Preconditions are asked in the order of RFC 9110, 13.2.2, and dates that are none are ignored."""
    assert precondition({f"HTTP_{name}": value for name, value in fields.items()}, STRONG) == status


def test_weak_tags() -> None:
    """A weak tag answers If-None-Match, and nothing that needs each byte."""
    assert precondition({"HTTP_IF_NONE_MATCH": '"abc"'}, WEAK) == 304
    assert precondition({"HTTP_IF_MATCH": 'W/"abc"'}, WEAK) == 412
    for field in ('W/"abc"', '"abc"', date()):
        assert wanted_range({"HTTP_RANGE": "bytes=0-1", "HTTP_IF_RANGE": field}, 10, WEAK) is None


@pytest.mark.parametrize(
    ("field", "part"),
    [
        ("bytes=0-3", (0, 4)),
        ("bytes=2-", (2, 8)),
        ("bytes=9-9", (9, 1)),
        ("bytes=5-99999", (5, 5)),
        ("bytes=-3", (7, 3)),
        ("bytes=-99", (0, 10)),
        ("BYTES=0-0", (0, 1)),
        ("bytes=10-", UNSATISFIABLE),
        ("bytes=999999999999999999-", UNSATISFIABLE),
        ("bytes=-0", UNSATISFIABLE),
        ("bytes=3-2", None),
        ("bytes=0-1,3-4", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-\u0662", None),
        ("bytes=+1-2", None),
        ("lines=0-1", None),
        (f"bytes=0-{'9' * 5000}", None),
        ("", None),
    ],
)
def test_ranges(field: str, part: tuple[int, int] | None) -> None:
    """One range of ten bytes is understood in its three forms; what is not valid, and several, give the whole."""
    assert wanted_range({"HTTP_RANGE": field}, 10, STRONG) == part


def test_range_of_nothing() -> None:
    """Of an empty representation no range can be had."""
    for field in ("bytes=0-", "bytes=-1"):
        assert wanted_range({"HTTP_RANGE": field}, 0, STRONG) is UNSATISFIABLE


@pytest.mark.parametrize(
    ("field", "heeded"),
    [('"abc"', True), ('"x"', False), ('W/"abc"', False), (date(), True), (date(1), False), ("nonsense", False)],
)
def test_if_range(field: str, heeded: bool) -> None:
    """A range is given only of the version that the client has a part of."""
    found = wanted_range({"HTTP_RANGE": "bytes=0-1", "HTTP_IF_RANGE": field}, 10, STRONG)
    assert found == ((0, 2) if heeded else None)


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        ("gzip", ["gzip"]),
        ("gzip, br", ["br", "gzip"]),
        ("GZIP;Q=0.5 , br;q=0", ["gzip"]),
        ("*", ["br", "gzip"]),
        ("*;q=0, gzip", ["gzip"]),
        ("*, br;q=0.000", ["gzip"]),
        ("identity", []),
        ("", []),
        ("gzip;q=2, br;q=x", []),
        ("gzip;q=0.5;x=y", []),
        ("x" * 50000, []),
    ],
)
def test_codings(field: str, codings: list[str]) -> None:
    """What has a weight of 0 or is not named is not accepted, and what cannot be understood says nothing."""
    assert accepted_codings(field, ("br", "gzip")) == codings
