"""debugpy on patched programs: the tests speak its protocol (DAP), as an editor does."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("debugpy")
if sys.version_info < (3, 12):
    pytest.skip("before CPython 3.12 debugpy relies on sys.settrace alone", allow_module_level=True)

PROGRAM = """
import hubbub, threading, time
def work(number):
    number += 1
    time.sleep(0.01)
    return number
def run(together):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
        if not together: thread.join()
    for thread in threads: thread.join()
    hubbub.spawn(work, 7).join()
    work(9)
"""
EARLY = "import hubbub_monkey\nhubbub_monkey.patch_all()\n" + PROGRAM + "run(True)\nprint('end')\n"
LATE = """
import hubbub_monkey
hubbub_monkey.patch_all()
import debugpy, sys
debugpy.connect(int(sys.argv[1]))
debugpy.wait_for_client()
""" + PROGRAM + "run(False)\nprint('end')\n"  # fmt: skip


class Editor:
    """The side of the protocol that an editor has."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._file = connection.makefile("rb")
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The body of the answer."""
        number = self.tell(command, **arguments)
        while True:
            message = self._read()
            if message["type"] == "response" and message["request_seq"] == number:
                assert message["success"], message
                body: dict[str, Any] = message.get("body") or {}
                return body
            self._events.append(message)

    def tell(self, command: str, **arguments: Any) -> int:
        """Ask without waiting for the answer; the question's number."""
        self._number += 1
        question = {"seq": self._number, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(question).encode()
        self._connection.sendall(b"Content-Length: %d\r\n\r\n" % len(data) + data)
        return self._number

    def event(self, name: str) -> dict[str, Any]:
        """The body of the next event of that name."""
        while True:
            message = self._events.pop(0) if self._events else self._read()
            if message.get("event") == name:
                body: dict[str, Any] = message.get("body") or {}
                return body

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        size = 0
        while (line := self._file.readline()) != b"\r\n":
            assert line, "the program has ended"
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self._file.read(size))
        return message


@pytest.fixture
def debugged(tmp_path: Path) -> Iterator[Callable[..., tuple[Editor, subprocess.Popen[str]]]]:
    """Runs a program that connects to an editor, with a breakpoint in a line of it."""
    started: list[subprocess.Popen[str]] = []
    editors: list[Editor] = []

    def start(source: str, line: str, loop: str) -> tuple[Editor, subprocess.Popen[str]]:
        script = tmp_path / "debugged.py"
        script.write_text(source)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(60)
            port = str(listener.getsockname()[1])
            command = [sys.executable, "-X", "frozen_modules=off"]
            if source is EARLY:
                command += ["-m", "debugpy", "--connect", port, "--wait-for-client"]
            process = subprocess.Popen(
                [*command, str(script), port],
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "HUBBUB_LOOP": loop, "PYTHONWARNINGS": "ignore", "PYDEVD_CONNECT_TIMEOUT": "60"},
            )
            started.append(process)
            connection, _ = listener.accept()
        connection.settimeout(60)
        editor = Editor(connection)
        editors.append(editor)
        editor.ask("initialize", adapterID="test", pathFormat="path")
        attached = editor.tell("attach", justMyCode=False)
        assert attached
        editor.event("initialized")
        number = source.splitlines().index(line) + 1
        editor.ask("setBreakpoints", source={"path": str(script)}, breakpoints=[{"line": number}])
        editor.ask("configurationDone")
        return editor, process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for editor in editors:
        editor.close()


def top(editor: Editor, thread: int) -> dict[str, Any]:
    """The innermost frame of a thread that has stopped."""
    while not (frames := editor.ask("stackTrace", threadId=thread)["stackFrames"]):
        pass  # debugpy gives it half a second to stand still, which is not enough on a busy machine
    frame: dict[str, Any] = frames[0]
    return frame


def look(editor: Editor, steps: int) -> tuple[str, int, str]:
    """Step on from a breakpoint in ``work``; the thread's name, how far that led, and what an expression was there."""
    thread = editor.event("stopped")["threadId"]
    threads = {one["id"]: one["name"].partition("-")[0] for one in editor.ask("threads")["threads"]}
    frame = top(editor, thread)
    scope = editor.ask("scopes", frameId=frame["id"])["scopes"][0]["variablesReference"]
    names = [one["name"] for one in editor.ask("variables", variablesReference=scope)["variables"]]
    assert (frame["name"], names) == ("work", ["number"])
    value = editor.ask("evaluate", expression="number * 2", frameId=frame["id"], context="repl")["result"]
    for _ in range(steps):
        editor.ask("next", threadId=thread)
        assert editor.event("stopped")["threadId"] == thread
    last = top(editor, thread)["line"]
    editor.ask("continue", threadId=thread)
    return threads[thread], last - frame["line"], value


@pytest.mark.parametrize("source", [EARLY, LATE], ids=["before", "after"])
def test_breakpoints(debugged: Any, source: str, loop_name: str) -> None:
    """debugpy, imported before or after patching, stops in each thread and greenlet, evaluates there, and steps over a
    wait. If it was imported before, all others stand still meanwhile, so that each of them stops in its turn."""
    editor, process = debugged(source, "    number += 1", loop_name)
    seen = [look(editor, steps) for steps in (1, 1, 1, 2, 2)]
    assert seen == [
        ("Thread", 1, "0"),
        ("Thread", 1, "2"),
        ("Thread", 1, "4"),
        ("Dummy", 2, "14"),
        ("MainThread", 2, "18"),
    ]
    output, _ = process.communicate(timeout=100)
    assert output == "end\n"
    assert process.returncode == 0
