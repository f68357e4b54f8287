"""Changelogs in the form of Keep a Changelog: https://keepachangelog.com/en/1.1.0/."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date

from packaging.version import InvalidVersion, Version

__all__ = ["KINDS", "UNRELEASED", "Changelog", "Section", "parse", "release"]

KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")
"""The headings below a version, as the form has them."""
UNRELEASED = "Unreleased"
_SECTION = re.compile(r"^## (?P<heading>.*)$", re.MULTILINE)
_HEADING = re.compile(r"\[(?P<name>[^\]]+)\](?: - (?P<day>\d{4}-\d\d-\d\d))?(?P<yanked> \[YANKED\])?")


@dataclass(frozen=True)
class Section:
    """What changed in one version."""

    name: str
    """The version, or ``Unreleased``."""
    day: date | None
    """When it was released."""
    text: str

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not re.search(r"^- ", self.text, re.MULTILINE)


@dataclass(frozen=True)
class Changelog:
    """The sections of a changelog, the newest first."""

    sections: list[Section]

    def find(self, name: str) -> Section | None:
        """The section of a version."""
        return next((section for section in self.sections if section.name == name), None)


def parse(text: str) -> Changelog:
    """Read a changelog.

    :raises ValueError: it is not of the form; the message says where, and what would be right.
    """
    places = list(_SECTION.finditer(text))
    ends = [place.start() for place in places[1:]] + [len(text)]
    sections = [_section(place["heading"], text[place.end() : end]) for place, end in zip(places, ends, strict=True)]
    if not sections or sections[0].name != UNRELEASED:
        raise ValueError(f"the first section is to be '## [{UNRELEASED}]'")
    versions = [Version(section.name) for section in sections[1:]]
    if versions != sorted(set(versions), reverse=True):
        raise ValueError("the versions are to stand once each, the newest first")
    return Changelog(sections)


def _section(heading: str, text: str) -> Section:
    found = _HEADING.fullmatch(heading)
    if found is None or (found["name"] == UNRELEASED) != (found["day"] is None):
        raise ValueError(f"'## {heading}' is to be '## [{UNRELEASED}]' or '## [1.2.3] - 2030-12-31'")
    if found["name"] != UNRELEASED:
        _check_version(found["name"])
    for kind in re.findall(r"^### (.*)$", text, re.MULTILINE):
        if kind not in KINDS:
            raise ValueError(f"'### {kind}' is to be one of {', '.join(KINDS)}")
    return Section(found["name"], date.fromisoformat(found["day"]) if found["day"] else None, text.strip())


def _check_version(text: str) -> None:
    try:
        Version(text)
    except InvalidVersion:
        raise ValueError(
            f"'{text}' is no version: https://packaging.python.org/specifications/version-specifiers/"
        ) from None


def release(text: str, version: str, day: date) -> str:
    """The changelog once what is unreleased has become ``version``.

    :raises ValueError: nothing is unreleased, or there is that version already.
    """
    changelog = parse(text)
    if changelog.sections[0].empty:
        raise ValueError("nothing is unreleased")
    if changelog.find(version):
        raise ValueError(f"{version} has been released")
    heading = f"## [{UNRELEASED}]\n"
    return text.replace(heading, f"{heading}\n## [{version}] - {day.isoformat()}\n", 1)
