"""The cache of data-stack chunks."""

from __future__ import annotations

import dataclasses
import importlib.machinery
import importlib.util
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hubbub_speed
import pytest
from greenlet import getcurrent, greenlet
from hubbub.plugins import ACCELERATORS, load
from hubbub_speed import _stack_chunks, stack_chunks
from hubbub_speed.stack_chunks import install, statistics, uninstall

CHUNK = 16 * 1024


@pytest.fixture(autouse=True)
def _without_cache() -> Iterator[None]:
    assert uninstall()
    yield
    assert uninstall()


def paused(count: int) -> list[greenlet]:
    """Greenlets that have begun, each with a data stack of its own."""
    found = [greenlet(lambda: getcurrent().parent.switch()) for _ in range(count)]
    for one in found:
        one.switch()
    return found


def finish(greenlets: list[greenlet]) -> None:
    """Runs greenlets to their ends and drops them."""
    while greenlets:
        greenlets.pop().switch()


def run_python(code: str, **environment: str) -> str:
    """What a fresh Python prints."""
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def test_entry_point() -> None:
    """The hub finds the cache as an accelerator."""
    assert load(ACCELERATORS, "stack_chunks") is hubbub_speed.install


def test_hub_installs_it() -> None:
    """The first hub of a process installs the cache, unless HUBBUB_ACCELERATORS is 0."""
    code = "import hubbub, hubbub_speed; hub = hubbub.get_hub(); print(hubbub_speed.statistics().limit); hub.destroy()"
    assert run_python(code, HUBBUB_ACCELERATORS="1") == str(64 * 1024 * 1024)
    assert run_python(code, HUBBUB_ACCELERATORS="0") == "0"


def test_chunks_are_used_again() -> None:
    """With the cache, one greenlet after another runs on the same chunk."""
    install()
    finish(paused(1))
    before = statistics()
    for _ in range(1000):
        finish(paused(1))
    after = statistics()
    assert after.hits - before.hits == 1000
    assert after.misses == before.misses


def test_nothing_without_it() -> None:
    """Without the cache nothing is kept and nothing is counted."""
    before = statistics()
    finish(paused(100))
    assert statistics() == before
    assert before.kept == before.limit == 0


def test_bound() -> None:
    """The cache never holds more than its limit."""
    install(10 * CHUNK + CHUNK // 2)
    greenlets = paused(100)
    kept = []
    while greenlets:
        greenlets.pop().switch()
        kept.append(statistics().kept)
    assert max(kept) == kept[-1] == 10 * CHUNK


def test_limit_of_zero() -> None:
    """With a limit of 0 bytes nothing is kept."""
    install(0)
    finish(paused(10))
    assert statistics().kept == 0


def test_install_again() -> None:
    """Installing again keeps the cache and changes its limit; what is above a lower one is given back."""
    install()
    finish(paused(50))
    assert statistics().kept >= 50 * CHUNK
    install()
    before = statistics()
    assert before.kept >= 50 * CHUNK
    install(20 * CHUNK)
    after = statistics()
    assert after == dataclasses.replace(before, kept=20 * CHUNK, limit=20 * CHUNK)
    finish(paused(20))
    assert statistics().hits == after.hits + 20


def test_chunks_from_before() -> None:
    """Chunks that were allocated before the cache was installed enter it."""
    greenlets = paused(100)
    install()
    finish(greenlets)
    assert statistics().kept == 100 * CHUNK


def test_chunks_from_after() -> None:
    """Chunks from the cache may be freed after it was taken out, and again under a new one."""
    for _ in range(20):
        install()
        finish(paused(50))
        greenlets = paused(50)
        assert uninstall()
        others = paused(20)
        finish(greenlets[25:])
        install()
        finish(greenlets)
        finish(others)
        assert uninstall()
        assert statistics().kept == 0


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks Linux for the size of the process")
def test_memory_is_given_back() -> None:
    """Taking the cache out gives its memory back to the system."""

    def resident() -> int:
        (line,) = (line for line in Path("/proc/self/smaps_rollup").read_text().splitlines() if line.startswith("Rss"))
        return int(line.split()[1]) * 1024

    install()
    finish(paused(2000))
    full = resident()
    kept = statistics().kept
    assert kept >= 2000 * CHUNK
    uninstall()
    # At least the first page of every chunk was in use.
    assert full - resident() > kept // CHUNK * 4096 // 2


def test_arenas_pass_through() -> None:
    """Memory of other sizes, as for ordinary objects, neither enters the cache nor comes from it."""
    install()
    before = statistics()
    for _ in range(3):
        objects = [object() for _ in range(500_000)]
        objects.clear()
    assert statistics() == before


def test_deep_recursion() -> None:
    """A greenlet that needs many chunks, also larger ones, computes what it should."""

    def depth(n: int) -> int:
        return depth(n - 1) + 1 if n else 0

    install()
    for _ in range(20):
        assert greenlet(depth).switch(900) == 900
    assert statistics().hits > 0


def test_threads() -> None:
    """Threads that create greenlets while others install and take out the cache lose nothing."""
    install()
    sums: list[int] = []

    def work() -> None:
        total = 0
        for i in range(3000):
            total += greenlet(lambda n: n).switch(i)
        sums.append(total)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    limit = 0
    while any(thread.is_alive() for thread in threads):
        limit = (limit + 1) % 50
        install(limit * CHUNK)
        assert statistics().kept <= limit * CHUNK
        uninstall()
    for thread in threads:
        thread.join()
    assert sums == [sum(range(3000))] * 4


def test_ended_threads() -> None:
    """The chunks of greenlets of a thread that has ended serve the next thread."""

    def in_thread() -> None:
        thread = threading.Thread(target=lambda: finish(paused(5)))
        thread.start()
        thread.join()

    install()
    in_thread()
    before = statistics()
    in_thread()
    assert statistics().misses == before.misses
    assert statistics().hits >= before.hits + 5


@pytest.mark.unsanitized
def test_fork() -> None:
    """A forked child has the cache, with what was in it, and neither disturbs the other."""
    code = """if True:
        import os
        from greenlet import greenlet
        from hubbub_speed import install, statistics, uninstall
        install()
        keep = [greenlet(lambda: greenlet.getcurrent().parent.switch()) for _ in range(50)]
        for g in keep: g.switch()
        keep.clear()
        before = statistics()
        pid = os.fork()
        for i in range(1000):
            assert greenlet(lambda n: n).switch(i) == i
        after = statistics()
        assert after.hits == before.hits + 1000
        assert after.kept == before.kept > 0
        assert uninstall()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    """
    run_python(code)


def test_another_allocator_on_top(tmp_path: Path) -> None:
    """When something was installed over the cache it cannot be taken out, keeps nothing, and breaks nothing."""
    copy = second_copy(tmp_path)
    install()
    finish(paused(10))
    copy.lib.hs_install(100 * CHUNK)
    greenlets = paused(10)
    assert not uninstall()
    assert statistics().kept == statistics().limit == 0
    finish(greenlets)
    assert statistics().kept == 0
    install()
    assert statistics().limit > 0
    assert copy.lib.hs_uninstall()
    finish(paused(10))
    assert statistics().kept >= 10 * CHUNK
    assert uninstall()


def second_copy(folder: Path) -> Any:
    """The extension module once more, with variables of its own: somebody else's allocator."""
    path = shutil.copy(_stack_chunks.__file__, folder)
    loader = importlib.machinery.ExtensionFileLoader(_stack_chunks.__name__, path)
    spec = importlib.util.spec_from_file_location(_stack_chunks.__name__, path, loader=loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("limit", [-1, 2**63, 2**70])
def test_bad_limit(limit: int) -> None:
    """A limit that is no number of bytes is a ValueError and changes nothing."""
    before = statistics()
    with pytest.raises(ValueError, match="max_bytes"):
        install(limit)
    assert statistics() == before


def test_statistics_are_frozen() -> None:
    """Statistics are a record of one moment."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        statistics().kept = 1  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(("implementation", "free_threaded"), [("pypy", False), ("cpython", True)])
def test_other_pythons(implementation: str, free_threaded: bool) -> None:
    """On PyPy and on free-threaded builds installing is refused with a word on what to do."""
    refuse: Callable[[str, bool], None] = stack_chunks._refuse_what_is_unsafe
    with pytest.raises(RuntimeError, match="uninstall hubbub-speed"):
        refuse(implementation, free_threaded)
