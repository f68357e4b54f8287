"""Waiting for other processes by the means of multiprocessing, in processes of their own."""

from __future__ import annotations

import multiprocessing
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Python = Callable[..., Any]
FIRST = """
import hubbub_monkey
hubbub_monkey.patch_all()
import multiprocessing, os, queue, threading, time
import hubbub
context = multiprocessing.get_context("fork")
ticks = []
def tick():
    while True:
        ticks.append(1); time.sleep(0.01)
def watched(wait, *args):
    ticks.clear()
    found = wait(*args)
    return found, len(ticks) > 5
threading.Thread(target=tick, daemon=True).start()
def later(function, *args):
    time.sleep(0.5)
    function(*args)
def start(*args):
    child = context.Process(target=later, args=args)
    child.start()
    return child
"""


@pytest.fixture
def run(python: Python, loop_name: str) -> Callable[[str], list[str]]:
    """Runs a patched script on one loop; its lines."""

    def run(source: str, first: str = FIRST) -> list[str]:
        lines: list[str] = python(first + source, HUBBUB_LOOP=loop_name).stdout.splitlines()
        return lines

    return run


def test_others_run(run: Callable[..., list[str]]) -> None:
    """While a greenlet waits for another process, others run."""
    source = """
mine, other = context.Pipe()
channel, simple = context.Queue(), context.SimpleQueue()
semaphore, event = context.Semaphore(0), context.Event()
for wait, *give in (
    (mine.recv, other.send, "it"),
    (channel.get, channel.put, "it"),
    (simple.get, simple.put, "it"),
    (semaphore.acquire, semaphore.release),
    (event.wait, event.set),
):
    child = start(*give)
    print(*watched(wait))
    child.join()
"""
    assert run(source) == ["it True"] * 3 + ["True True"] * 2


def test_readers_of_one_queue(run: Callable[..., list[str]]) -> None:
    """Threads of one process that get from one queue, with a limit and without, do not block one another for good."""
    source = """
channel, found = context.Queue(), []
def get(*args):
    found.append(channel.get(*args))
threads = [threading.Thread(target=get, args=args) for args in ((True, 20), (), (True, 20), ())]
for thread in threads: thread.start()
children = [start(channel.put, number) for number in range(4)]
for thread in threads + children: thread.join()
print(sorted(found))
"""
    assert run(source) == ["[0, 1, 2, 3]"]


def test_limits(run: Callable[..., list[str]]) -> None:
    """Limits of time are kept, and what is to be had is taken without waiting."""
    source = """
semaphore, channel = context.Semaphore(1), context.Queue()
began = time.monotonic()
print(semaphore.acquire(), semaphore.acquire(False), semaphore.acquire(True, 0.2), semaphore.acquire(True, -1))
try: channel.get(timeout=0.2)
except queue.Empty: print("empty", 0.4 <= time.monotonic() - began < 5)
with context.Lock() as held: print(held)
def more(): time.sleep(5)
threading.Thread(target=more, daemon=True).start()
time.sleep(0)
print(semaphore.acquire(True, 0.05), semaphore.release(), semaphore.acquire())
"""
    assert run(source) == ["True False False False", "empty True", "True", "False None True"]


def test_large_message_within_a_process(run: Callable[..., list[str]]) -> None:
    """Two threads of one process exchange a message that is larger than the pipe; a buffer may be filled."""
    source = """
mine, other = context.Pipe()
other.send_bytes(b"into")
room = bytearray(6)
print(mine.recv_bytes_into(room, 1), room)
message = os.urandom(1000) * 2000
threading.Thread(target=other.send_bytes, args=(message,)).start()
print(mine.recv_bytes() == message)
one_way, writer = context.Pipe(duplex=False)
threading.Thread(target=writer.send, args=(message,)).start()
print(one_way.recv() == message)
"""
    assert run(source) == [r"4 bytearray(b'\x00into\x00')", "True", "True"]


def test_killed_reader(run: Callable[..., list[str]]) -> None:
    """A reader that is killed amid a message takes nothing away from the next."""
    source = """
mine, other = context.Pipe()
for piece in (b"\\0", b"\\0\\0\\5ab", b"c"):
    os.write(other.fileno(), piece)
    reader = hubbub.spawn(mine.recv_bytes)
    hubbub.sleep(0.02)
    reader.kill()
os.write(other.fileno(), b"de")
print(mine.recv_bytes())
"""
    assert run(source) == ["b'abcde'"]


def test_killed_waiter_for_a_semaphore(run: Callable[..., list[str]]) -> None:
    """A greenlet that is killed while it waits for a semaphore has not got it."""
    source = """
semaphore = context.Semaphore(0)
waiters = [hubbub.spawn(semaphore.acquire) for _ in range(3)]
hubbub.sleep(0.02)
semaphore.release()
hubbub.killall(waiters)
print(sum(waiter.value is True for waiter in waiters) + semaphore.acquire(False))
"""
    assert run(source) == ["1"]


def test_killed_writer(run: Callable[..., list[str]]) -> None:
    """A writer that is killed amid a message closes the connection: the reader gets an error, not half a message."""
    source = """
mine, other = context.Pipe()
writer = hubbub.spawn(mine.send_bytes, bytes(3_000_000))
hubbub.sleep(0.02)
writer.kill()
print(mine.closed)
try: other.recv_bytes()
except OSError as error: print(error)
"""
    assert run(source) == ["True", "got end of file during message"]


def test_closed(run: Callable[..., list[str]]) -> None:
    """Closing wakes who waits; the end of the other side is EOFError, an unwelcome size an OSError."""
    source = """
mine, other = context.Pipe()
def wait():
    try: mine.recv()
    except OSError as error: return error
reader = hubbub.spawn(wait)
hubbub.sleep(0.02)
mine.close()
print(reader.get(timeout=20))
mine, other = context.Pipe()
other.send_bytes(b"long")
try: mine.recv_bytes(2)
except OSError as error: print(error)
mine, other = context.Pipe()
other.close()
try: mine.recv()
except EOFError: print("end")
for number in range(100):
    mine, other = context.Pipe()
    hubbub.spawn(mine.send, number)
    assert other.recv() == number
    mine.close(); other.close()
"""
    assert run(source) == ["handle is closed", "bad message length", "end"]


def test_helpers_and_children(run: Callable[..., list[str]]) -> None:
    """Native threads and children use the same objects."""
    source = """
channel, answers = context.Queue(), context.Queue()
def serve():
    while (question := channel.get()) is not None:
        answers.put(question * 2)
children = [context.Process(target=serve) for _ in range(2)]
for child in children: child.start()
for number in range(50): channel.put(number)
print(sorted(answers.get() for _ in range(50)) == list(range(0, 100, 2)))
for _ in children: hubbub.to_thread(channel.put, None)
for child in children: child.join()
print(hubbub.to_thread(answers.get, False) if not answers.empty() else "none", [child.exitcode for child in children])
"""
    assert run(source) == ["True", "none [0, 0]"]


def test_undone(python: Python) -> None:
    """``multiprocessing=False`` leaves it, unpatch_all puts back what was there, and nothing is imported for it."""
    source = """
import sys, hubbub_monkey
before = list(sys.meta_path)
hubbub_monkey.patch_all(multiprocessing=False)
import multiprocessing.connection, multiprocessing.synchronize
kind, lock = multiprocessing.connection.Connection, multiprocessing.synchronize.SemLock
native = kind._recv_bytes, kind._send_bytes, kind._close, lock._make_methods, lock.__enter__
hubbub_monkey.patch_module("multiprocessing")
now = kind._recv_bytes, kind._send_bytes, kind._close, lock._make_methods, lock.__enter__
print(any(old is new for old, new in zip(native, now)))
made = multiprocessing.Lock()
hubbub_monkey.unpatch_all()
print((kind._recv_bytes, kind._send_bytes, kind._close, lock._make_methods, lock.__enter__) == native)
print(made.acquire(), made.acquire(True, 0.01))
"""
    assert python(source).stdout.splitlines() == ["False", "True", "True False"]
    late = "import sys, hubbub_monkey; hubbub_monkey.patch_all(); print('multiprocessing.synchronize' in sys.modules)"
    assert python(late).stdout == "False\n"


def test_connection_over_a_socket(python: Python) -> None:
    """A connection over the descriptor of a socket, which is non-blocking, waits in a native thread too."""
    source = """
import socket, threading, time, hubbub
from multiprocessing.connection import Connection
one, other = socket.socketpair()
mine, theirs = Connection(one.detach()), Connection(other.detach())
waiting = hubbub.spawn(hubbub.to_thread, lambda: (theirs.recv(), len(theirs.recv_bytes()), theirs.send(b"x" * 1000000)))
time.sleep(0.02)
mine.send("first")
time.sleep(0.02)
mine.send_bytes(b"x" * 1000000)
print(waiting.ready(), len(mine.recv()), waiting.get())
"""
    assert python(FIRST + source).stdout == "False 1000000 ('first', 1000000, None)\n"


def test_a_copy_of_multiprocessing(python: Python, tmp_path: Path) -> None:
    """The package multiprocess, which is multiprocessing under another name, lets others run in the same way."""
    original = Path(multiprocessing.__file__).parent
    for path in original.rglob("*.py"):
        copied = tmp_path / "multiprocess" / path.relative_to(original)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(re.sub(r"\bmultiprocessing\b", "multiprocess", path.read_text()))
    source = f"""
import sys; sys.path.insert(0, {str(tmp_path)!r})
import multiprocess
from multiprocess.dummy import Pool as Threads
copied = multiprocess.get_context("fork")
with copied.Pool(2) as pool:
    print(*pool.map(abs, [-1, -2, -3]), *watched(pool.apply, time.sleep, (0.3,)))
with Threads(2) as pool:
    print(*set(pool.map(lambda _: threading.get_native_id() == threading.main_thread().native_id, range(4))))
channel = copied.Queue()
child = copied.Process(target=later, args=(channel.put, "it"))
child.start()
print(*watched(channel.get))
child.join()
"""
    assert python(FIRST + source).stdout.splitlines() == ["1 2 3 None True", "True", "it True"]
