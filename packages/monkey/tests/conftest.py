"""A made-up module with patches for it, so that the engine is tried without touching the standard library."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hubbub_monkey
import pytest
from hubbub import plugins
from hubbub.patches import ModulePatch


def old() -> str:
    """The function that is replaced."""
    return "old"


def new() -> str:
    """The function that replaces it."""
    return "new"


class Kind:
    """A class whose attribute is replaced."""

    def method(self) -> str:
        """What is replaced in it."""
        return "old"


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module called ``hb_target``."""
    module = ModuleType("hb_target")
    module.function = old  # type: ignore[attr-defined]
    module.other = old  # type: ignore[attr-defined]
    module.Kind = Kind  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hb_target", module)
    return module


@pytest.fixture
def patches(target: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The only installed patches: ``first`` for a function, ``second`` (after it) for a class attribute."""
    found: dict[str, Any] = {
        "first": ModulePatch("hb_target", lambda: {"hb_target": {"function": new}}),
        "second": ModulePatch("hb_target", lambda: {"hb_target": {"Kind.method": new, "added": new}}, ("first",)),
    }
    monkeypatch.setattr(plugins, "names", lambda group: tuple(sorted(found)))
    monkeypatch.setattr(plugins, "load", lambda group, name: found[name])
    yield found
    hubbub_monkey.unpatch_all()


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in a process of its own, or ``python`` with arguments."""

    def run(source: str = "", *arguments: str, status: int | None = 0, **environment: str) -> Any:
        import os

        command = [sys.executable, "-W", "error::ResourceWarning", *arguments]
        if source:
            script = tmp_path / "script.py"
            script.write_text(source)
            command.append(str(script))
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=50, cwd=tmp_path, env={**os.environ, **environment}
        )
        assert status is None or done.returncode == status, done.stderr
        return done

    return run
