"""What a script of integration/ says about itself: inline metadata (PEP 723) at its head.

::

    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["redis>=5"]
    #
    # [tool.hubbub]
    # without-dependencies = ["flask-sockets"]   # installed alone, without what they require themselves
    # programs = ["redis-server"]                # what it starts; looked for on PATH and where Debian puts servers
    # debian = ["redis-server"]                  # the packages that bring them
    # environment = { HUBBUB_GEVENT = "1" }      # variables it is started with
    # seconds = 120                              # its time limit
    # ///
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["FOLDER", "GROUPS", "BadScript", "Script", "choose", "find", "read"]

FOLDER = Path(__file__).resolve().parents[2]
GROUPS = tuple(sorted({path.parent.name for path in FOLDER.glob("*/[!_]*.py")}))

_OPEN, _CLOSE = "# /// script", "# ///"


class BadScript(ValueError):
    """A script's metadata cannot be used, or no script has the name asked for."""


@dataclass(frozen=True)
class Script:
    """One script and its needs."""

    path: Path
    python: str = ""
    dependencies: tuple[str, ...] = ()
    without_dependencies: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    seconds: float = 120.0

    @property
    def group(self) -> str:
        """The folder it is in."""
        return self.path.parent.name

    @property
    def name(self) -> str:
        """What it is called on the command line and in the result, ``group/stem``."""
        return f"{self.group}/{self.path.stem}"


def find() -> list[Script]:
    """All scripts, in the order of their names."""
    return [read(path) for group in GROUPS for path in sorted((FOLDER / group).glob("[!_]*.py"))]


def choose(scripts: list[Script], words: list[str]) -> list[Script]:
    """Those that words name, each a group, ``group/name`` or a name alone; without words, all.

    :raises BadScript: a word that names none.
    """
    chosen = []
    for word in words:
        found = [script for script in scripts if word in (script.group, script.name, script.path.stem)]
        if not found:
            known = ", ".join(script.name for script in scripts)
            raise BadScript(f"{word!r} is neither a group ({', '.join(GROUPS)}) nor a script ({known})")
        chosen += [script for script in found if script not in chosen]
    return chosen if words else scripts


def read(path: Path) -> Script:
    """Read a script's metadata.

    :raises BadScript: there is none, or something in it is not known.
    """
    try:
        data = tomllib.loads(_block(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BadScript(f"{path}: {error}") from error
    settings = data.pop("tool", {}).get("hubbub", {})
    known: dict[str, Any] = {
        "python": data.pop("requires-python", ""),
        "dependencies": tuple(data.pop("dependencies", ())),
        "without_dependencies": tuple(settings.pop("without-dependencies", ())),
        "programs": tuple(settings.pop("programs", ())),
        "debian": tuple(settings.pop("debian", ())),
        "environment": settings.pop("environment", {}),
        "seconds": float(settings.pop("seconds", Script.seconds)),
    }
    if unknown := {*data, *settings}:
        raise BadScript(f"{path}: nothing is known of {', '.join(sorted(unknown))} in the metadata")
    return Script(path, **known)


def _block(text: str) -> str:
    """The TOML of the metadata."""
    lines = text.splitlines()
    if _OPEN not in lines:
        raise ValueError(f"has no inline metadata: a line {_OPEN!r}, TOML in comments, and a line {_CLOSE!r}")
    start = lines.index(_OPEN) + 1
    if _CLOSE not in lines[start:]:
        raise ValueError(f"the inline metadata has no end, a line {_CLOSE!r}")
    block = lines[start : lines.index(_CLOSE, start)]
    if wrong := [line for line in block if line != "#" and not line.startswith("# ")]:
        raise ValueError(f"the inline metadata has a line that is no comment: {wrong[0]!r}")
    return "\n".join(line[2:] for line in block)
