"""The demonstration and the other examples, on a small tree of files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hubbub import plugins

LOOPS = plugins.names(plugins.LOOPS)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with three files to serve."""
    folder = tmp_path / "tree"
    folder.mkdir()
    for name in ("one", "two & more", "three"):
        (folder / f"{name}.py").write_text(f"print({name!r})\n" * 1000)
    return folder


def start(example: Path, *arguments: object, loop: str = "stdlib") -> subprocess.Popen[str]:
    """An example in a process of its own."""
    command = [sys.executable, *(["-m", "hubbub_monkey"] if example.name == "crawl.py" else []), str(example)]
    return subprocess.Popen(
        [*command, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "HUBBUB_LOOP": loop, "COLUMNS": "120"},
    )


def facts(output: str) -> list[dict[str, Any]]:
    """What a crawl said."""
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("loop", LOOPS)
def test_crawl(root: Path, tree: Path, loop: str) -> None:
    """A crawl fetches every page, plain and over TLS, and counts no failure."""
    process = start(root / "examples" / "crawl.py", "--tree", tree, "--crawlers", 3, loop=loop)
    output, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    end = facts(output)[-1]
    assert (end["event"], end["requests"], end["failures"]) == ("end", 6, 0)


def test_crawl_file_gone(root: Path, tree: Path) -> None:
    """A file that goes while the crawl runs is named with its address, and the exit status is not 0."""
    for number in range(150):  # fetched before it, so that there is time
        (tree / f"{number}.py").write_text("")
    process = start(root / "examples" / "crawl.py", "--tree", tree, "--crawlers", 1)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["event"] == "start"
    gone = tree / "two & more.py"
    gone.unlink()
    output, errors = process.communicate(timeout=150)
    assert process.returncode == 1, errors
    failures = [fact for fact in facts(output) if fact["event"] == "failure"]
    assert failures
    assert all("two%20%26%20more.py" in fact["url"] and str(gone) in fact["reason"] for fact in failures)


def test_crawl_port_in_use(root: Path, tree: Path) -> None:
    """A port that is in use is named, and the exit status is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = start(root / "examples" / "crawl.py", "--tree", tree, "--port", port)
        output, _ = process.communicate(timeout=150)
    assert process.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in facts(output)[-1]["text"]


def test_demo(root: Path, tree: Path) -> None:
    """The demonstration ends with a table that has a row for every installed loop."""
    pytest.importorskip("rich", reason="the demonstration's own requirement")
    process = start(root / "examples" / "demo.py", "--tree", tree, "--crawlers", 3)
    output, errors = process.communicate(timeout=150)
    assert process.returncode == 0, errors
    rows = [line for line in output.splitlines() if line.startswith("│")]
    assert {row.split("│")[1].strip() for row in rows} == set(LOOPS)


def test_demo_unknown_loop(root: Path) -> None:
    """A loop that is not installed is an error that lists those that are."""
    pytest.importorskip("rich", reason="the demonstration's own requirement")
    process = start(root / "examples" / "demo.py", "--loop", "nonsense")
    _, errors = process.communicate(timeout=150)
    assert process.returncode == 1
    assert "no loop 'nonsense'" in errors
    assert all(name in errors for name in LOOPS)


def test_demo_failure(root: Path, tree: Path) -> None:
    """What goes wrong on a loop is named below the table, and the exit status is not 0."""
    pytest.importorskip("rich", reason="the demonstration's own requirement")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = start(root / "examples" / "demo.py", "--tree", tree, "--loop", "stdlib", "--port", port)
        _, errors = process.communicate(timeout=150)
    assert process.returncode == 1
    assert f"stdlib: cannot listen on 127.0.0.1:{port}" in errors
