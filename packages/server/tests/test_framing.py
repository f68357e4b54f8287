"""How responses are framed, as a table."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import pytest
from hubbub_server.http.framing import Delimiter, frame
from hubbub_server.http.response import ResponseHead

CLOSE, KEPT = "Connection: close\r\n", "Connection: keep-alive\r\n"
CHUNKED = "Transfer-Encoding: chunked\r\n"


class Row(NamedTuple):
    """What goes in, and what comes out."""

    code: int
    declared: bool
    known: bool
    head_only: bool
    minor: int
    persists: bool
    delimiter: Delimiter
    says_length: bool
    goes_on: bool
    fields: str


HEAD, LENGTH, CHUNKS, END = Delimiter
NO, YES = False, True
TABLE = [
    #   code declared known HEAD minor keep  ends by said goes on  other fields
    Row(200, NO, YES, NO, 1, YES, LENGTH, YES, YES, ""),
    Row(200, YES, YES, NO, 1, YES, LENGTH, YES, YES, ""),
    Row(200, YES, NO, NO, 1, YES, LENGTH, YES, YES, ""),
    Row(200, NO, NO, NO, 1, YES, CHUNKS, NO, YES, CHUNKED),
    Row(200, NO, YES, NO, 1, NO, LENGTH, YES, NO, CLOSE),
    Row(200, NO, NO, NO, 1, NO, CHUNKS, NO, NO, CHUNKED + CLOSE),
    Row(200, NO, YES, NO, 0, YES, LENGTH, YES, YES, KEPT),
    Row(200, NO, YES, NO, 0, NO, LENGTH, YES, NO, CLOSE),
    Row(200, NO, NO, NO, 0, YES, END, NO, NO, CLOSE),
    Row(200, NO, NO, NO, 0, NO, END, NO, NO, CLOSE),
    Row(200, NO, YES, YES, 1, YES, HEAD, YES, YES, ""),
    Row(200, YES, NO, YES, 1, YES, HEAD, YES, YES, ""),
    Row(200, NO, NO, YES, 1, YES, HEAD, NO, YES, ""),
    Row(200, NO, NO, YES, 0, YES, HEAD, NO, YES, KEPT),
    Row(200, NO, NO, YES, 1, NO, HEAD, NO, NO, CLOSE),
    Row(204, NO, YES, NO, 1, YES, HEAD, NO, YES, ""),
    Row(204, YES, YES, NO, 1, YES, HEAD, NO, YES, ""),
    Row(204, YES, YES, YES, 0, YES, HEAD, NO, YES, KEPT),
    Row(304, NO, YES, NO, 1, YES, HEAD, NO, YES, ""),
    Row(304, YES, YES, NO, 1, YES, HEAD, YES, YES, ""),
    Row(304, NO, YES, YES, 1, NO, HEAD, NO, NO, CLOSE),
    Row(101, NO, NO, NO, 1, YES, HEAD, NO, NO, ""),
    Row(101, YES, YES, NO, 1, NO, HEAD, NO, NO, ""),
    Row(404, NO, YES, NO, 1, YES, LENGTH, YES, YES, ""),
    Row(205, NO, YES, NO, 1, YES, LENGTH, YES, YES, ""),
]


@pytest.mark.parametrize("row", TABLE)
def test_table(row: Row) -> None:
    """Each way of framing follows from the request and from what the application said."""
    made = frame(row.code, row.declared, row.known, row.head_only, row.minor, row.persists)
    assert made == (row.delimiter, row.says_length, row.goes_on, row.fields)


def test_no_way_is_ambiguous() -> None:
    """A client can always tell the end: never two delimiters, none in HTTP/1.0 that it does not know, no connection
    kept that only its end delimits."""
    both = (False, True)
    for code, declared, known, head_only, minor, persists in itertools.product(
        (101, 200, 204, 205, 304, 404, 500), both, both, both, (0, 1), both
    ):
        made = frame(code, declared, known, head_only, minor, persists)
        chunked = CHUNKED in made.fields
        assert not (made.says_length and chunked)
        assert minor or not chunked
        assert (made.delimiter is Delimiter.CHUNKS) == chunked
        assert not (made.persists and made.delimiter is Delimiter.CLOSE)
        assert made.says_length or made.delimiter is not Delimiter.LENGTH
        assert persists or not made.persists
        if code != 101:
            assert (CLOSE in made.fields) == (not made.persists)


@pytest.mark.parametrize("declared", [None, 7])
def test_lengths(declared: int | None) -> None:
    """What was declared counts more than what is there, however often and in which order a head is asked for."""
    head = ResponseHead("200 OK", [] if declared is None else [("Content-Length", str(declared))])
    for given, head_only, minor, persists in itertools.product((5, 0, 5, None), (False, True), (1, 0), (True, False)):
        length = given if declared is None else declared
        data, delimiter, promised, kept = head.framed(given, head_only, minor, persists)
        made = frame(200, declared is not None, given is not None, head_only, minor, persists)
        assert (delimiter, kept) == (made.delimiter, made.persists)
        assert promised == (length if delimiter is Delimiter.LENGTH else None)
        assert data.count(b"Content-Length: %d\r\n" % (length or 0)) == made.says_length
        assert made.fields.encode() in data
        assert data.endswith(b"\r\n\r\n")


def test_an_application_that_closes() -> None:
    """``Connection: close`` of the application's ends the connection, and is said once."""
    data, _, _, kept = ResponseHead("200 OK", [("Connection", "close")]).framed(5, False, 1, True)
    assert not kept
    assert data.count(b"Connection: close\r\n") == 1
