"""The benchmarks: each of the small programs runs, and the table says which rows are slower."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools import earlier

FOLDER = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(FOLDER))

import run  # noqa: E402  # beside the programs


def row(**changed: Any) -> run.Row:
    """A row in which hubbub takes half of gevent's time."""
    usual = {"size": None, "unit": "seconds", "hubbub": 1e-6, "gevent": 2e-6, "before": None}
    return run.Row(**{"program": "sleep0", "loop": "libev", "rival_loop": "libev-cext", **usual, **changed})


@pytest.mark.parametrize(
    ("changed", "slower"),
    [
        ({}, False),
        ({"gevent": 0.9e-6}, True),
        ({"before": 1.5e-6}, False),
        ({"before": 0.97e-6}, False),
        ({"before": 0.9e-6}, True),
    ],
)
def test_slower_rows_are_told(changed: dict[str, Any], slower: bool) -> None:
    """A row is slower if gevent costs less, or hubbub did before, by more than noise; it is red, or says so."""
    one = row(**changed)
    assert one.slower is slower
    assert (run.RED in run.shown(one, "sleep0", 10, True)) is slower
    assert run.shown(one, "sleep0", 10, False).endswith("slower") is slower


def test_a_quick_run_has_one_size_of_each_program() -> None:
    """A full run has a row for each size of a program, a quick one only the usual size, with fewer operations."""
    full, quick = list(run.works(["sleepers"], False)), list(run.works(["sleepers"], True))
    assert [work.size for work in full] == [10_000, 100, 1_000, 50_000]
    assert [(work.size, work.operations) for work in quick] == [(10_000, 1_000)]
    assert quick[0].options == ["--size=10000", "--operations=1000", "--repeat=2"]


def test_every_row_has_its_program() -> None:
    """Each program says how many operations it makes."""
    assert all(work.program for work in run.works(run.programs(), True))


@pytest.mark.parametrize(
    "program",
    [
        *("local_read", "result", "queue_nowait", "queue_pingpong", "channel_pingpong", "event_pingpong", "rlock"),
        *("lock_contended", "sleep0_ten", "threadpool_apply", "spawn_raw", "memory_blocked", "tcp_echo", "http_pieces"),
    ],
)
def test_a_program_prints_its_cost(program: str) -> None:
    """A program, run alone, prints what an operation costs: a positive number of seconds, or bytes."""
    command = [sys.executable, str(FOLDER / f"{program}.py"), "hubbub", "--operations", "3000"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=150)
    ((unit, cost),) = json.loads(done.stdout).items()
    assert unit == ("bytes" if program == "memory_blocked" else "seconds")
    assert cost > 0


def fake(folder: Path, name: str, cost: float | None) -> str:
    """An interpreter for which every operation of every program costs so many seconds; None: every program fails."""
    path = folder / name
    path.write_text("#!/bin/sh\n" + ("exit 3\n" if cost is None else f"echo '{{\"seconds\": {cost}}}'\n"))
    path.chmod(0o755)
    return str(path)


def rows(tmp_path: Path, before: float | None, peers: dict[str, str], gevent: float | None = 2e-6) -> list[run.Row]:
    """Of the echo server, on two loops."""
    ours, theirs = fake(tmp_path, "hubbub", 1e-6), fake(tmp_path, "gevent", gevent)
    (tmp_path / "hubbub").write_text(
        "#!/bin/sh\nif [ $1 = -c ]; then echo ev uv; else echo '{\"seconds\": 1e-6}'; fi\n"
    )
    pairs = run.pairs(ours, theirs, [])
    return list(run.compare(run.Work("tcp_echo", 100), pairs, fake(tmp_path, "before", before), 2, peers))


def test_what_gevent_dies_of_has_a_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A program that ends gevent ends no comparison: the row says that it failed, and is not slower."""
    found = rows(tmp_path, 3e-6, {}, gevent=None)
    assert [(row.hubbub, row.gevent, row.slower) for row in found] == [(1e-6, None, False)] * 2
    assert "tcp_echo 100 cannot be measured with" in capsys.readouterr().out
    assert run.shown(found[0], "tcp_echo 100", 14, False).split() == [
        *("tcp_echo", "100", "ev", "1.00", "libev-cext", "failed", "3.00", "3.00"),
    ]  # fmt: skip


def test_an_earlier_hubbub_is_compared(tmp_path: Path) -> None:
    """Each row says what it cost with an earlier hubbub, if one is given."""
    assert [(row.loop, row.hubbub, row.gevent, row.before) for row in rows(tmp_path, 3e-6, {})] == [
        ("ev", 1e-6, 2e-6, 3e-6), ("uv", 1e-6, 2e-6, 3e-6),
    ]  # fmt: skip


def test_an_earlier_hubbub_that_cannot_run_a_program_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where an earlier hubbub lacks what a program needs, that is told, and the row shows the others."""
    assert [(row.hubbub, row.before, row.slower) for row in rows(tmp_path, None, {})] == [(1e-6, None, False)] * 2
    assert capsys.readouterr().out.count("tcp_echo 100 cannot be measured with") == 2


def test_references_are_shown_beside_a_row(tmp_path: Path) -> None:
    """Asyncio, uvloop and trio, as far as they are there, are references of the echo server, in table and JSON."""
    peers = {"uvloop": fake(tmp_path, "uvloop", 0.5e-6), "asyncio": fake(tmp_path, "asyncio", 4e-6)}
    first, second = rows(tmp_path, 1e-6, peers)
    costs = {
        "uvloop-protocols": 0.5e-6, "uvloop-streams": 0.5e-6, "asyncio-protocols": 4e-6, "asyncio-streams": 4e-6,
    }  # fmt: skip
    assert first.references == second.references == costs
    assert not first.slower  # whatever a library of another kind costs
    lines = list(run.shown_references(first, 14))
    assert [line.split() for line in lines[::2]] == [
        ["uvloop-protocols", "0.50", "0.50", "reference"], ["asyncio-protocols", "4.00", "4.00", "reference"],
    ]  # fmt: skip
    assert run.shown(first, "tcp_echo 100", 14, False).index("2.00") == lines[0].index("0.50")
    assert list(run.shown_references(row(), 14)) == []


@pytest.mark.parametrize("name", ["asyncio-streams", "asyncio-protocols", "c-epoll"])
def test_a_reference_prints_its_cost(name: str) -> None:
    """The echo server of asyncio, by either interface, and the one in C print what an operation costs."""
    if name == "c-epoll" and not shutil.which("cc"):
        pytest.skip("there is no C compiler")
    program = str(FOLDER / "peers" / "tcp_echo_peers.py")
    command = [sys.executable, program, name, "--operations=500", "--size=20", "--repeat=2"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=150)
    assert json.loads(done.stdout)["seconds"] > 0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["--quick", "sleep0"], (None, ["--quick", "sleep0"])),
        (["--against", "v1", "--quick", "sleep0"], ("v1", ["--quick", "sleep0"])),
        (["sleep0", "--against=v1"], ("v1", ["sleep0"])),
    ],
)
def test_the_revision_to_compare_with(words: list[str], found: tuple[str | None, list[str]]) -> None:
    """``--against`` stands anywhere among the arguments; the others go on as they are."""
    assert earlier.against(words) == found


def test_a_revision_is_wanted() -> None:
    """``--against`` alone is refused, with what to do."""
    with pytest.raises(ValueError, match="--against needs a revision"):
        earlier.against(["sleep0", "--against"])


def test_the_tree_as_it_was(tmp_path: Path) -> None:
    """A revision is copied as a whole, once, by its commit; what is none is refused, and nothing is left of it."""
    tree, copies = tmp_path / "tree", tmp_path / "copies"
    tree.mkdir()

    def git(*words: str) -> str:
        options = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(["git", *options, *words], cwd=tree, check=True, stdout=subprocess.PIPE, text=True)
        return done.stdout.strip()

    git("init", "-q")
    for text in ("first", "second"):
        (tree / "file").write_text(text)
        git("add", "file")
        git("commit", "-q", "-m", text)
    copy = earlier.copy_of("HEAD~1", tree, copies)
    assert copy == copies / git("rev-parse", "HEAD~1")[:12]
    assert (copy / "file").read_text() == "first"
    assert earlier.copy_of(git("rev-parse", "HEAD~1"), tree, copies) == copy
    assert list(copies.iterdir()) == [copy]
    assert len(git("worktree", "list").splitlines()) == 1
    with pytest.raises(ValueError, match="no revision HEAD~7"):
        earlier.copy_of("HEAD~7", tree, copies)
    assert list(copies.iterdir()) == [copy]


def test_servers_are_compared(tmp_path: Path) -> None:
    """The comparison of servers says of each what a request costs it, also as JSON."""
    compare = [sys.executable, str(FOLDER / "servers" / "compare.py"), "--hubbub", sys.executable, "--loop", "stdlib"]
    result = tmp_path / "figures.json"
    subprocess.run([*compare, "--quick", "--json", str(result), "realistic"], check=True, timeout=150)
    ((name, figures),) = json.loads(result.read_text())["realistic"].items()
    assert name == "hubbub stdlib"
    assert 0 < figures["kernel"] < figures["cpu"]
    assert 0 < figures["p50"] <= figures["p99"]


def test_a_server_that_fails_is_left_out() -> None:
    """A server that cannot be measured is named, and does not end the comparison."""
    compare = [sys.executable, str(FOLDER / "servers" / "compare.py"), "--hubbub", sys.executable, "--loop", "nothing"]
    done = subprocess.run([*compare, "--quick", "hello"], capture_output=True, text=True, check=True, timeout=150)
    assert "hubbub nothing cannot be measured" in done.stdout
