"""The programs of ``./do soak``: files of the folder, found by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Soaking", "choose"]


@dataclass(frozen=True)
class Soaking:
    """What the arguments of the session say."""

    programs: dict[str, Path]
    minutes: float
    options: list[str]


def choose(folder: Path, words: list[str]) -> Soaking:
    """Sort arguments: numbers of minutes and names of programs in any order, then options of theirs.

    :raises ValueError: a word is neither.
    """
    there = {path.stem: path for path in sorted(folder.glob("*.py"))}
    wanted: dict[str, Path] = {}
    minutes, rest = 10.0, list(words)
    while rest and not rest[0].startswith("-"):
        word = rest.pop(0)
        if word in there:
            wanted[word] = there[word]
        else:
            try:
                minutes = float(word)
            except ValueError:
                problem = f"{word!r} is neither a number of minutes nor a program ({', '.join(there)})"
                raise ValueError(problem) from None
    return Soaking(wanted or there, minutes, rest)
