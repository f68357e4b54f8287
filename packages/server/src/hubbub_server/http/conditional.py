"""What a client wants of a representation that it may have already: preconditions, ranges, codings. No I/O.

RFC 9110, 12.5.3 (Accept-Encoding), 13 (preconditions) and 14 (ranges).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

__all__ = ["UNSATISFIABLE", "Validators", "accepted_codings", "precondition", "wanted_range"]

_ELEMENT = re.compile(r'\s*((?:W/)?"[\x21\x23-\x7e\x80-\xff]*")?\s*(?:,|$)', re.ASCII)
_RANGE = re.compile(r"bytes=\s*(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))\s*", re.ASCII | re.IGNORECASE)
_CODING = re.compile(
    r"\s*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)\s*(?:;\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*)?", re.ASCII | re.IGNORECASE
)

UNSATISFIABLE: Final = (-1, -1)
"""What :func:`wanted_range` says of a range that begins behind the end: 416."""


class Validators(NamedTuple):
    """By what a client names the representation that it has."""

    tag: str
    """The entity tag, with its quotes, and ``W/`` before it if it is weak."""
    modified: int
    """Seconds of the epoch."""


def precondition(environ: Mapping[str, Any], validators: Validators) -> int:
    """The status that the preconditions of a GET or HEAD ask for: 304, 412, or 200 (RFC 9110, 13.2.2)."""
    match = environ.get("HTTP_IF_MATCH")
    if match is not None:
        if not _is_listed(match, validators.tag, weakly=False):
            return 412
    else:
        since = _seconds(environ.get("HTTP_IF_UNMODIFIED_SINCE"))
        if since is not None and validators.modified > since:
            return 412
    match = environ.get("HTTP_IF_NONE_MATCH")
    if match is not None:
        return 304 if _is_listed(match, validators.tag, weakly=True) else 200
    since = _seconds(environ.get("HTTP_IF_MODIFIED_SINCE"))
    return 304 if since is not None and validators.modified <= since else 200


def _is_listed(field: str, tag: str, weakly: bool) -> bool:
    """Whether a field names the tag, or is ``*``."""
    if field.strip() == "*":
        return True
    if weakly:
        return tag.removeprefix("W/") in (found.removeprefix("W/") for found in _tags(field))
    return not tag.startswith("W/") and tag in _tags(field)


def _tags(field: str) -> list[str]:
    """The tags of a list; none if it is not one."""
    found = []
    place = 0
    while place < len(field):
        match = _ELEMENT.match(field, place)
        if match is None:
            return []
        if match[1] is not None:
            found.append(match[1])
        place = match.end()
    return found


def _seconds(field: str | None) -> int | None:
    """A date in seconds of the epoch; None for none, or for what is no date, which is to be ignored."""
    if field is None:
        return None
    try:
        return int(parsedate_to_datetime(field).timestamp())
    except (ValueError, TypeError, OverflowError):
        return None


def wanted_range(environ: Mapping[str, Any], size: int, validators: Validators) -> tuple[int, int] | None:
    """The part of a representation of ``size`` bytes that a GET asks for: where it begins, and how long it is.

    None for the whole: no range, one that is not understood, one for another version (``If-Range``), or several, of
    which a server may make the whole (RFC 9110, 14.2). :data:`UNSATISFIABLE` if there is nothing of it.
    """
    match = _RANGE.fullmatch(environ.get("HTTP_RANGE", ""))
    if match is None or not _is_for(environ.get("HTTP_IF_RANGE"), validators):
        return None
    first, last, suffix = match.groups()
    if suffix is not None:
        length = min(int(suffix), size)
        return (size - length, length) if length else UNSATISFIABLE
    begin, end = int(first), int(last) if last else size - 1
    if end < begin and last:
        return None  # not valid, so it is ignored
    return (begin, min(end, size - 1) - begin + 1) if begin < size else UNSATISFIABLE


def _is_for(field: str | None, validators: Validators) -> bool:
    """Whether ``If-Range`` names this version, by a strong tag or exactly its date."""
    if field is None:
        return True
    if field.lstrip().startswith(('"', "W/")):
        return field.strip() == validators.tag and not validators.tag.startswith("W/")
    return _seconds(field) == validators.modified and not validators.tag.startswith("W/")


def accepted_codings(field: str, known: Iterable[str]) -> list[str]:
    """Those of the content codings that a client accepts, in the order in which they are ``known``.

    Its weights only tell what it accepts at all: whoever has made several variants has made the first for a reason.
    """
    weights: dict[str, float] = {}
    for part in field.split(","):
        match = _CODING.fullmatch(part)
        if match is not None:
            weights[match[1].lower()] = 1.0 if match[2] is None else float(match[2])
    others = weights.get("*", 0.0)
    return [coding for coding in known if weights.get(coding, others) > 0.0]
