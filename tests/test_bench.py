"""The benchmarks: each of the small programs runs, and the table says which rows are slower."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

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
    assert quick[0].options == ["--size=10000", "--operations=1000"]


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
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=50)
    ((unit, cost),) = json.loads(done.stdout).items()
    assert unit == ("bytes" if program == "memory_blocked" else "seconds")
    assert cost > 0


def test_servers_are_compared(tmp_path: Path) -> None:
    """The comparison of servers says of each what a request costs it, also as JSON."""
    compare = [sys.executable, str(FOLDER / "servers" / "compare.py"), "--hubbub", sys.executable, "--loop", "stdlib"]
    result = tmp_path / "figures.json"
    subprocess.run([*compare, "--quick", "--json", str(result), "realistic"], check=True, timeout=50)
    ((name, figures),) = json.loads(result.read_text())["realistic"].items()
    assert name == "hubbub stdlib"
    assert 0 < figures["kernel"] < figures["cpu"]
    assert 0 < figures["p50"] <= figures["p99"]


def test_a_server_that_fails_is_left_out() -> None:
    """A server that cannot be measured is named, and does not end the comparison."""
    compare = [sys.executable, str(FOLDER / "servers" / "compare.py"), "--hubbub", sys.executable, "--loop", "nothing"]
    done = subprocess.run([*compare, "--quick", "hello"], capture_output=True, text=True, check=True, timeout=50)
    assert "hubbub nothing cannot be measured" in done.stdout
