"""What runs the scripts of integration/: it reads what they need, and tells success from failure and from lacking."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the runner ends process groups")

HEAD = """\
# /// script
# dependencies = ["one>=2"]
#
# [tool.hubbub]
# programs = ["a-server"]
# seconds = 20
# ///
"""


@pytest.fixture(scope="module")
def runner(root: Path) -> ModuleType:
    """The module integration/run.py."""
    spec = importlib.util.spec_from_file_location("integration_run", root / "integration" / "run.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    # Its data classes look for their module there.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def script(runner: ModuleType, tmp_path: Path) -> Callable[..., Any]:
    """Makes a script of a body, without metadata."""

    def make(body: str, **needs: Any) -> Any:
        path = tmp_path / "group" / "script.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(body)
        return runner.Script(path, **needs)

    return make


def test_metadata_of_all(runner: ModuleType) -> None:
    """Every script says what it needs, in words that are known, and what it is about."""
    found = runner.scripts.find()
    assert found
    for script in found:
        assert '\n"""' in script.path.read_text(), script.name


def test_metadata(runner: ModuleType, tmp_path: Path) -> None:
    """Dependencies, programs and the time limit are read from the comments at the head."""
    path = tmp_path / "group" / "name.py"
    path.parent.mkdir()
    path.write_text(HEAD)
    script = runner.scripts.read(path)
    assert (script.name, script.dependencies) == ("group/name", ("one>=2",))
    assert (script.programs, script.debian, script.seconds) == (("a-server",), (), 20.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("print(1)\n", "no inline metadata"),
        ("# /// script\n# dependencies = []\n", "no end"),
        ("# /// script\ndependencies = []\n# ///\n", "no comment"),
        ("# /// script\n# dependencies = [\n# ///\n", "name.py"),
        ("# /// script\n# [tool.hubbub]\n# program = []\n# ///\n", "nothing is known of program"),
    ],
)
def test_bad_metadata(runner: ModuleType, tmp_path: Path, text: str, message: str) -> None:
    """Metadata that cannot be used is refused with the file and the reason."""
    path = tmp_path / "name.py"
    path.write_text(text)
    with pytest.raises(runner.scripts.BadScript, match=message):
        runner.scripts.read(path)


def test_choice(runner: ModuleType) -> None:
    """Words name groups or scripts; without any, all are meant; an unknown one is answered with those there are."""
    one, two, three = (runner.Script(Path("/x", name)) for name in ("a/one.py", "b/one.py", "b/two.py"))
    everything = [one, two, three]
    choose = runner.scripts.choose
    assert choose(everything, []) == everything
    assert choose(everything, ["b"]) == [two, three]
    assert choose(everything, ["one", "b/one"]) == [one, two]
    with pytest.raises(runner.scripts.BadScript, match=r"'three' is neither a group .* nor a script .a/one, b/one"):
        choose(everything, ["three"])


@pytest.mark.parametrize(
    ("body", "word", "said"),
    [
        ("print('noise'); print('it works')", "ok", "it works"),
        ("import trial.servers; trial.servers.skip('no moon')", "skipped", "no moon"),
        ("raise ValueError('bad')", "FAILED", "exit status 1: ValueError: bad"),
        ("import os; os.abort()", "FAILED", "exit status -6"),
    ],
)
def test_outcomes(runner: ModuleType, script: Callable[..., Any], body: str, word: str, said: str) -> None:
    """A script's end is told by its exit status and its last line."""
    outcome = runner.run(script(body), sys.executable, {})
    assert (outcome.word, outcome.said[: len(said)]) == (word, said)
    assert outcome.line("x").startswith(f"{word} x")


def test_time_limit(runner: ModuleType, script: Callable[..., Any]) -> None:
    """A script that hangs is ended at its time limit, and its output says where it hung."""
    hanging = script("import time\ndef hanging(): time.sleep(50)\nhanging()", seconds=1.0)
    outcome = runner.run(hanging, sys.executable, {})
    assert (outcome.word, outcome.said) == ("FAILED", "not done after 1 s")
    assert "in hanging" in outcome.output


def test_nothing_left(runner: ModuleType, script: Callable[..., Any], tmp_path: Path) -> None:
    """What a script started and left is ended with it."""
    child = "import time; print('up', flush=True); time.sleep(50)"
    body = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE)
child.stdout.readline()
sys.stdout = sys.__stdout__
print(child.pid, flush=True)
"""
    outcome = runner.run(script(body), sys.executable, {})
    assert outcome.word == "ok"
    assert outcome.seconds < 40
    end = time.monotonic() + 10
    while running(int(outcome.said)):
        assert time.monotonic() < end
        time.sleep(0.01)


def running(pid: int) -> bool:
    """Whether there is such a process; one that has ended may be there until somebody waits for it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path("/proc", str(pid), "stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] not in "ZX"


def test_lacking_program(runner: ModuleType, script: Callable[..., Any], tmp_path: Path) -> None:
    """A program that nothing brings makes the script skipped, with its name."""
    outcome = runner.attempt(script("", programs=("no-such-server",)), tmp_path, {})
    assert outcome.line("group/script").startswith("skipped group/script: no-such-server (")


def test_lacking_python(runner: ModuleType, script: Callable[..., Any], tmp_path: Path) -> None:
    """A script for another Python is skipped."""
    assert runner.attempt(script("", python=">=9.1"), tmp_path, {}).line("x") == "skipped x: Python >=9.1"
    assert runner.attempt(script("", python=">=3.11,<3.12"), tmp_path, {}).word == (
        "ok" if sys.version_info < (3, 12) else "skipped"
    )


def test_environment(runner: ModuleType, script: Callable[..., Any], tmp_path: Path) -> None:
    """A script's environment is its own, sees the packages of the repository, and is reused until its needs change."""
    body = "import hubbub, sys; print(sys.prefix)"
    first = runner.attempt(script(body), tmp_path, {})
    made = (tmp_path / "group-script" / "stamp").stat().st_mtime_ns
    assert (first.word, first.said) == ("ok", str(tmp_path / "group-script"))
    assert runner.attempt(script(body), tmp_path, {}).word == "ok"
    assert (tmp_path / "group-script" / "stamp").stat().st_mtime_ns == made


OVERLAP = """
import hubbub_monkey
{patch}
import time
from trial.overlap import overlap
print(overlap(lambda number: {job}, jobs=20))
"""


def test_overlap(runner: ModuleType, script: Callable[..., Any]) -> None:
    """Jobs that wait cooperatively overlap."""
    body = OVERLAP.format(patch="hubbub_monkey.patch_all()", job="time.sleep(0.2)")
    outcome = runner.run(script(body), sys.executable, {})
    assert outcome.word == "ok", outcome.output
    assert outcome.said.startswith("20 at once, each 0.2 s at the server, took ")


@pytest.mark.parametrize(
    ("patch", "job", "said"),
    [
        ("hubbub_monkey.patch_all()", "hubbub_monkey.get_original('time', 'sleep')(0.2)", "one after the other"),
        ("pass", "time.sleep(0.2)", "threads are native ones"),
        ("hubbub_monkey.patch_all()", "time.sleep(0.01)", "did not take the 0.2 s"),
        ("hubbub_monkey.patch_all()", "1 / 0", "division by zero"),
    ],
)
def test_no_overlap(runner: ModuleType, script: Callable[..., Any], patch: str, job: str, said: str) -> None:
    """Jobs that block, that run in native threads, that do not take their time or that fail are found out."""
    outcome = runner.run(script(OVERLAP.format(patch=patch, job=job)), sys.executable, {})
    assert outcome.word == "FAILED"
    assert said in outcome.output


def test_command(runner: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command lists scripts, and ends with 2 for a name that there is not."""
    assert runner.main(["--state", str(tmp_path), "--list"]) == 0
    assert capsys.readouterr().out.split() == [script.name for script in runner.scripts.find()]
    assert runner.main(["--state", str(tmp_path), "no-such-script"]) == 2
    assert "no-such-script" in capsys.readouterr().err


def test_summary(
    runner: ModuleType,
    script: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last line counts, and the exit status is 1 when a script failed."""
    monkeypatch.setattr(runner.scripts, "find", lambda: [script("print('fine')")])
    assert runner.main(["--state", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed, 0 skipped"
    monkeypatch.setattr(runner.scripts, "find", lambda: [script("raise SystemExit('oh')")])
    assert runner.main(["--state", str(tmp_path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told == ["FAILED group/script: exit status 1: oh", "    oh", "0 passed, 1 failed, 0 skipped"]
