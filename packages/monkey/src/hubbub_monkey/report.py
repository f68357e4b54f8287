"""What patching did, as frozen records that print themselves."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from typing import Any

__all__ = ["MISSING", "Left", "Replacement", "Report", "Stale"]


class _Missing:
    """The old value of a name that did not exist before."""

    def __repr__(self) -> str:
        return "(nothing)"


MISSING = _Missing()
"""Stands for the value of a name that does not exist."""


@dataclass(frozen=True)
class Replacement:
    """One name that was replaced.

    :param module: the module, ``"ssl"``.
    :param name: the name in it, with dots for attributes of classes: ``"SSLContext.sslsocket_class"``.
    :param old: what was there, or :data:`MISSING`.
    :param new: what is there now.
    :param patch: the entry-point name of the patch that did it.
    :param provider: the distribution that brought the patch.
    """

    module: str
    name: str
    old: Any
    new: Any
    patch: str
    provider: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}: {_shown(self.old)} -> {_shown(self.new)}"


@dataclass(frozen=True)
class Left:
    """A patch that was not applied, and why."""

    patch: str
    reason: str

    def __str__(self) -> str:
        return f"{self.patch}: {self.reason}"


@dataclass(frozen=True)
class Stale:
    """A reference to an original that a module took before patching, and that patching does not reach.

    :param holder: what holds it: a module, or a class in one.
    :param file: where that module is, or an empty string.
    :param name: the name under which it is held; ``"(base class)"`` for a subclass of an original.
    :param original: what it refers to, ``"time.sleep"``.
    :param library: whether the holder belongs to the standard library.
    """

    holder: str
    file: str
    name: str
    original: str
    library: bool

    @cached_property
    def line(self) -> int:
        """The line that binds the name, or 0 where it cannot be told. Read from the file at the first access."""
        return _line(self.file, self.name) if self.file.endswith(".py") else 0

    def __str__(self) -> str:
        where = f"{self.file or '?'}:{self.line}" if self.line else self.file or "?"
        return f"{where}: {self.holder} holds {self.original} as {self.name}; patch before it is imported"


@dataclass(frozen=True)
class Report:
    """The outcome of one call. True when it changed something.

    :param patched: the patches that were applied now, in order.
    :param already: those that were applied before.
    :param left: those that were not applied.
    :param replacements: every name replaced now.
    :param stale: references to originals that were taken before.
    :param warnings: what will not work, and why.
    """

    patched: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    left: tuple[Left, ...] = ()
    replacements: tuple[Replacement, ...] = ()
    stale: tuple[Stale, ...] = ()
    warnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patched)

    def __str__(self) -> str:
        lines: list[str] = []
        for patch in self.patched:
            mine = [item for item in self.replacements if item.patch == patch]
            provider = mine[0].provider if mine else ""
            lines.append(f"patched {patch}" + (f" ({provider})" if provider else ""))
            lines += [f"    {item}" for item in mine]
        lines += [f"patched before: {name}" for name in self.already]
        lines += [f"left {item}" for item in self.left]
        lines += [f"too late: {item}" for item in self.stale if not item.library]
        library = sorted({f"{item.holder}.{item.name}" for item in self.stale if item.library and item.line})
        if library:
            lines.append(f"too late, in the standard library: {', '.join(library)}")
        lines += [f"warning: {text}" for text in self.warnings]
        return "\n".join(lines) or "nothing to patch"


def _shown(value: Any) -> str:
    module = getattr(value, "_made_in", None) or getattr(value, "__module__", None)
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    if isinstance(name, str):
        return f"{module}.{name}" if isinstance(module, str) else name
    text = f"an object of {_shown(type(value))}" if hasattr(value, "_made_in") else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _line(file: str, name: str) -> int:
    """The line of the import or assignment that binds ``name``; 0 if none is found."""
    try:
        with open(file, "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return 0
    for node in ast.walk(tree):
        if name in _bound(node):
            return getattr(node, "lineno", 0)
    return 0


def _bound(node: Any) -> set[str]:
    match node:
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            return {alias.asname or alias.name for alias in names}
        case ast.Assign(targets=targets):
            return {target.id for target in targets if isinstance(target, ast.Name)}
    return set()
