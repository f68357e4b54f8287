"""asyncio after patching: an event loop in each greenlet, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Python = Callable[..., Any]
PATCH = "import hubbub_monkey\nhubbub_monkey.patch_all()\n"
ORDERS = pytest.mark.parametrize("first", [PATCH, "import asyncio\n" + PATCH], ids=["patched-first", "asyncio-first"])

RUN = """
import asyncio, hubbub, time

async def work(number):
    mine, task = asyncio.get_running_loop(), asyncio.current_task()
    await asyncio.sleep(.01)
    time.sleep(.01)
    assert asyncio.get_running_loop() is mine and asyncio.current_task() is task
    return number

greenlets = [hubbub.spawn(asyncio.run, work(number)) for number in range(5)]
print([greenlet.get() for greenlet in greenlets])
"""


@ORDERS
def test_run_in_several_greenlets(python: Python, first: str) -> None:
    """Each of several greenlets of a thread calls asyncio.run at the same time and gets its result."""
    assert python(first + RUN).stdout == "[0, 1, 2, 3, 4]\n"


def test_run_in_threads(python: Python) -> None:
    """The same in threads, which are greenlets, in main beside them, and with blocking calls in the coroutines."""
    program = """
import asyncio, threading, time
overlap, most = 0, 0
async def work():
    global overlap, most
    overlap += 1
    most = max(most, overlap)
    time.sleep(.02)
    await asyncio.sleep(.02)
    overlap -= 1
threads = [threading.Thread(target=lambda: asyncio.run(work())) for _ in range(4)]
for thread in threads: thread.start()
asyncio.run(work())
for thread in threads: thread.join()
print(most)
"""
    assert python(PATCH + program).stdout == "5\n"


def test_nothing_is_imported(python: Python) -> None:
    """Patching imports no asyncio, and sees to it when that is imported."""
    program = "import sys; print('asyncio' in sys.modules)\n" + RUN
    assert python(PATCH + program).stdout == "False\n[0, 1, 2, 3, 4]\n"


def test_left(python: Python) -> None:
    """asyncio=False leaves it alone."""
    program = """
import hubbub_monkey
hubbub_monkey.patch_all(asyncio=False)
import asyncio
print(hasattr(asyncio.events._set_running_loop, "native"))
"""
    assert python(program).stdout == "False\n"


@ORDERS
def test_the_loop_that_was_set(python: Python, first: str) -> None:
    """asyncio.set_event_loop is for the greenlet that calls it."""
    program = """
import asyncio, threading, warnings
warnings.simplefilter("ignore", DeprecationWarning)
mine, other = asyncio.new_event_loop(), asyncio.new_event_loop()
asyncio.set_event_loop(mine)
thread = threading.Thread(target=asyncio.set_event_loop, args=(other,))
thread.start()
thread.join()
print(asyncio.get_event_loop() is mine)
mine.close(), other.close()
"""
    assert python(first + program).stdout == "True\n"


def test_undone(python: Python) -> None:
    """unpatch_all puts back what was there, also the event loop that was set."""
    program = """
import asyncio, warnings
warnings.simplefilter("ignore", DeprecationWarning)
from asyncio import events
before = events._set_running_loop, asyncio._set_running_loop
mine = asyncio.new_event_loop()
asyncio.set_event_loop(mine)
import hubbub_monkey
hubbub_monkey.patch_all()
print(asyncio.get_event_loop() is mine)
hubbub_monkey.unpatch_all()
print(before == (events._set_running_loop, asyncio._set_running_loop), asyncio.get_event_loop() is mine)
mine.close()
"""
    assert python(program).stdout.split() == ["True"] * 3


def test_debug_mode(python: Python) -> None:
    """PYTHONASYNCIODEBUG changes nothing for other greenlets."""
    assert python(PATCH + RUN, PYTHONASYNCIODEBUG="1").stdout == "[0, 1, 2, 3, 4]\n"


def test_executors(python: Python) -> None:
    """asyncio.to_thread and run_in_executor work in several event loops at once."""
    program = """
import asyncio, hubbub, time
async def work(number):
    return await asyncio.to_thread(lambda: (time.sleep(.01), number)[1])
print([g.get() for g in [hubbub.spawn(asyncio.run, work(number)) for number in range(3)]])
"""
    assert python(PATCH + program).stdout == "[0, 1, 2]\n"


def test_subprocesses(python: Python) -> None:
    """Subprocesses of asyncio work in several event loops at once, in threads that are greenlets."""
    program = """
import asyncio, sys, threading
results = []
async def work(number):
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", f"print({number})", stdout=-1)
    output, _ = await process.communicate()
    results.append((int(output), process.returncode))
threads = [threading.Thread(target=lambda n=n: asyncio.run(work(n))) for n in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sorted(results))
"""
    assert python(PATCH + program).stdout == "[(0, 0), (1, 0), (2, 0)]\n"


SIGNALS = """
import asyncio, os, signal, threading
heard, ready = [], threading.Barrier(4)
async def listen(number):
    caught = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, print, "replaced")
    loop.add_signal_handler(signal.SIGUSR1, caught.set)
    await asyncio.to_thread(ready.wait)
    for _ in range(1 if number < 2 else 2):
        async with asyncio.timeout(10):
            await caught.wait()
        caught.clear()
    assert loop.remove_signal_handler(signal.SIGUSR1) and not loop.remove_signal_handler(signal.SIGUSR1)
    heard.append(number)
threads = [threading.Thread(target=asyncio.run, args=(listen(number),)) for number in range(3)]
before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
for thread in threads: thread.start()
ready.wait()
os.kill(os.getpid(), signal.SIGUSR1)
threads[0].join(); threads[1].join()
os.kill(os.getpid(), signal.SIGUSR1)
threads[2].join()
print(sorted(heard), signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN)
"""


@ORDERS
def test_signals_in_several_event_loops(python: Python, first: str) -> None:
    """Each event loop of several greenlets hears of a signal; one that has had enough leaves it to the others."""
    assert python(first + SIGNALS).stdout == "[0, 1, 2] True\n"
