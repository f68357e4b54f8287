"""Exit, fork, and what was made before patching and is used after it, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hubbub_monkey._ends import EndLock

Python = Callable[..., Any]
FIRST = "import hubbub_monkey\nhubbub_monkey.patch_all()\nimport threading, time, os, sys\n"


@pytest.fixture
def run(python: Python, loop_name: str) -> Callable[..., list[str]]:
    """Runs a patched script on one loop; its lines. Nothing may be said on stderr."""

    def run(source: str, first: str = FIRST) -> list[str]:
        done = python(first + source, HUBBUB_LOOP=loop_name)
        assert done.stderr == ""
        lines: list[str] = done.stdout.splitlines()
        return lines

    return run


# Exit -----------------------------------------------------------------------------------------------------------------


def test_thread_joins_main(run: Callable[..., list[str]]) -> None:
    """Threads that wait for the main thread's end go on at exit, each of them, and the process waits for them."""
    source = """
def wait(main, number):
    main.join()
    print("end", number, main.is_alive())
    time.sleep(0.01)
    print("done", number)
for number in range(3):
    threading.Thread(target=wait, args=(threading.current_thread(), number)).start()
threading.Thread(target=threading.main_thread().join, args=(30,)).start()
print("main")
"""
    lines = run(source)
    assert lines[0] == "main"
    assert sorted(lines[1:]) == sorted([f"end {n} False" for n in range(3)] + [f"done {n}" for n in range(3)])


def test_native_thread_joins_main(run: Callable[..., list[str]]) -> None:
    """A native thread that was started before patching and waits for the main thread goes on at exit too."""
    first = """
import threading
waits = threading.Event()
def wait(main):
    waits.set()
    main.join()
    print("end", main.is_alive())
threading.Thread(target=wait, args=(threading.current_thread(),)).start()
waits.wait()
import warnings
warnings.simplefilter("ignore")
import hubbub_monkey
hubbub_monkey.patch_all()
"""
    assert run("print('main')", first) == ["main", "end False"]


def test_many_join_one(run: Callable[..., list[str]]) -> None:
    """Any number of threads may join one, with and without time limits; all see it ended."""
    source = """
go = threading.Event()
target = threading.Thread(target=go.wait)
seen = []
def join(limit):
    target.join(limit)
    seen.append(target.is_alive())
target.start()
joiners = [threading.Thread(target=join, args=(limit,)) for limit in (None, None, 30, None, 30, 0, 0.001)]
for joiner in joiners: joiner.start()
for joiner in joiners[-2:]: joiner.join()
go.set()
for joiner in joiners: joiner.join()
print(sorted(seen), target.join(), target.is_alive())
"""
    assert run(source) == ["[False, False, False, False, False, True, True] None False"]


def test_kinds_at_exit(run: Callable[..., list[str]]) -> None:
    """At exit: executors end their work, atexit runs after threads, threads may start threads, daemons are left."""
    source = """
import atexit, concurrent.futures, logging
def late(depth):
    time.sleep(0.01)
    print("thread", depth)
    if depth: threading.Thread(target=late, args=(depth - 1,)).start()
executor = concurrent.futures.ThreadPoolExecutor(2)
futures = [executor.submit(time.sleep, 0.02) for _ in range(4)]
futures[-1].add_done_callback(lambda future: print("executor"))
atexit.register(print, "atexit")
def forever():
    logging.warning if threading.current_thread() else None
    time.sleep(1000)
threading.Thread(target=forever, daemon=True).start()
threading.Timer(0.005, print, ("timer",)).start()
threading.Thread(target=late, args=(2,)).start()
print("main")
"""
    lines = run(source)
    assert lines[0] == "main"
    assert lines[-1] == "atexit"
    assert sorted(lines[1:-1]) == ["executor", "thread 0", "thread 1", "thread 2", "timer"]


def test_plain_greenlets_at_exit(run: Callable[..., list[str]]) -> None:
    """Greenlets that have asked for their thread and wait still when the process ends leave quietly."""
    source = """
import hubbub, logging, greenlet
def work():
    logging.getLogger("quiet").debug("asks for the current thread")
    threading.current_thread().name
    time.sleep(1000)
kept = [hubbub.spawn(work) for _ in range(20)]
bare = [greenlet.greenlet(work, hubbub.get_hub()) for _ in range(20)]
for each in bare: hubbub.get_hub().loop.run_callback(each.switch)
time.sleep(0.01)
print(threading.active_count())
"""
    assert run(source) == ["41"]


def test_exit_functions_older_than_patching(run: Callable[..., list[str]]) -> None:
    """A queue of multiprocessing, whose native thread an exit function joins that is older than hubbub, ends."""
    source = """
queue = multiprocessing.Queue()
queue.put("x")
print(queue.get())
time.sleep(0.01)
"""
    assert run(source, "import multiprocessing.queues\n" + FIRST) == ["x"]


def test_exit_status(python: Python) -> None:
    """sys.exit in the main thread sets the status though threads run on; in a thread it ends only that."""
    source = """
def leave():
    time.sleep(0.01); sys.exit(5)
thread = threading.Thread(target=leave); thread.start(); thread.join()
threading.Thread(target=lambda: (time.sleep(0.02), print("late"))).start()
sys.exit(3)
"""
    assert python(FIRST + source, status=3).stdout == "late\n"


def test_lock_of_an_end() -> None:
    """The lock that stands for a thread's end begins when it is first taken; once released it is an ordinary lock."""
    end = EndLock()
    assert (end.acquire(), end.locked(), end.acquire(False), end.acquire(timeout=0.001)) == (True, True, False, False)
    end.release()
    assert (end.locked(), end.acquire(), end.acquire(False), end.locked()) == (False, True, False, False)
    end.release()
    end.release()
    assert end.acquire(False)


# Fork -----------------------------------------------------------------------------------------------------------------

CHILD = """
import signal
lock, event = threading.Lock(), threading.Event()
def hold():
    with lock: event.wait()
holders = [threading.Thread(target=hold, daemon=True) for _ in range(3)]
for holder in holders: holder.start()
main = threading.main_thread()
def fork():
    before = threading.current_thread() if ask else None
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        mine = threading.current_thread()
        print(threading.active_count(), threading.enumerate() == [mine], threading.main_thread() is mine)
        print(before is None or mine is before, mine.ident == threading.get_ident(), mine.is_alive())
        print([holder.is_alive() for holder in holders], [holder.join(5) for holder in holders])
        print(mine is main or not main.is_alive())
        new = threading.Thread(target=lambda: (time.sleep(0.001), print("new thread")))
        new.start(); new.join()
        print(threading.active_count(), new.is_alive())
        sys.stdout.flush()
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), threading.active_count() - len(holders))
"""


@pytest.mark.parametrize("asks", [True, False])
@pytest.mark.parametrize("place", ["main", "thread", "greenlet", "bare greenlet"])
def test_fork(run: Callable[..., list[str]], place: str, asks: bool) -> None:
    """After a fork, wherever, the child has one thread, the one that forked, and the others count as ended."""
    start = {
        "main": "fork()",
        "thread": "thread = threading.Thread(target=fork); thread.start(); thread.join()",
        "greenlet": "import hubbub; hubbub.spawn(fork).join()",
        "bare greenlet": """
import greenlet, hubbub
done = threading.Event()
hubbub.get_hub().loop.run_callback(greenlet.greenlet(lambda: (fork(), done.set()), hubbub.get_hub()).switch)
done.wait()
""",
    }
    lines = run(f"ask = {asks}\n{CHILD}\n{start[place]}\n")
    assert lines[:-1] == [
        "1 True True",
        "True True True",
        "[False, False, False] [None, None, None]",
        "True",
        "new thread",
        "1 False",
    ]
    # A greenlet that never asked for its thread is no thread.
    assert lines[-1].split() == ["0", "1" if place == "main" or ("greenlet" in place and not asks) else "2"]


@pytest.mark.parametrize("place", ["main", "thread", "greenlet"])
def test_child_exits(run: Callable[..., list[str]], place: str) -> None:
    """A child that a fork made, wherever, can end as any program does, and waits for its own threads."""
    start = {
        "main": "fork()",
        "thread": "thread = threading.Thread(target=fork); thread.start(); thread.join()",
        "greenlet": "import hubbub; hubbub.spawn(fork).join()",
    }
    source = f"""
import signal
def late():
    time.sleep(0.01)
    print("late", flush=True)
def fork():
    pid = os.fork()
    if pid == 0:
        signal.alarm(20)
        threading.Thread(target=late).start()
        return
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
{start[place]}
"""
    assert run(source) == ["late", "0"]


def test_fork_waits_for_locks_that_ask_for_it(run: Callable[..., list[str]]) -> None:
    """A lock made before patching that is kept free at forks by os.register_at_fork is so after patching too."""
    first = """
import threading, os, time, sys
lock = threading.Lock()
os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock._at_fork_reinit)
import concurrent.futures.thread, logging
import hubbub_monkey
hubbub_monkey.patch_all()
"""
    source = """
inside = threading.Event()
state = []
def hold():
    with lock:
        state.append("begun"); inside.set(); time.sleep(0.02); state.append("over")
thread = threading.Thread(target=hold); thread.start(); inside.wait()
pid = os.fork()
if pid == 0:
    print(type(lock).__module__, state, lock.acquire(False), flush=True)
    with concurrent.futures.ThreadPoolExecutor() as executor:
        print(executor.submit(int, "3").result(), flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), lock.acquire(False))
hubbub_monkey.unpatch_all()
lock.acquire(False); lock.release()
print(os.waitstatus_to_exitcode(os.waitpid(os.fork() or os._exit(7), 0)[1]), lock.acquire(False))
"""
    assert run(source, first) == ["hubbub.thread ['begun', 'over'] True", "3", "0 True", "7 True"]


def test_no_warning_of_threads_that_are_greenlets(python: Python) -> None:
    """CPython warns of a fork beside other threads; those that are greenlets of the same native thread do not count."""
    source = """
events = [threading.Event() for _ in range(10)]
threads = [threading.Thread(target=event.wait) for event in events]
for thread in threads: thread.start()
pid = os.fork()
if pid == 0: os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
for event in events: event.set()
for thread in threads: thread.join()
"""
    script = "import warnings; warnings.simplefilter('error', DeprecationWarning)\n" + FIRST + source
    done = python(script)
    assert (done.stdout, done.stderr) == ("0\n", "")


# Made before patching, used after -------------------------------------------------------------------------------------


def test_threads_made_before(run: Callable[..., list[str]]) -> None:
    """Threads and timers made before patching and started after it are greenlets, are joined, and awaited at exit."""
    first = """
import threading, time, os, sys
def work(): seen.append(threading.get_native_id()); time.sleep(0.01)
seen = []
threads = [threading.Thread(target=work) for _ in range(3)]
timers = [threading.Timer(0.01, work) for _ in range(2)]
cancelled = threading.Timer(30, work)
late = threading.Thread(target=lambda: (time.sleep(0.05), print("late")))
over = threading.Thread(target=int); over.start(); over.join()
import hubbub_monkey
hubbub_monkey.patch_all()
"""
    source = """
print(over.is_alive(), over.join(), [thread.is_alive() for thread in threads])
for thread in [*threads, *timers, cancelled]: thread.start()
try: threads[0].start()
except RuntimeError as error: print(error)
cancelled.cancel()
for thread in [*threads, *timers, cancelled]: thread.join()
print(seen == [threading.get_native_id()] * 5, threads[0].is_alive(), "stopped" in repr(threads[0]))
print(threading.active_count())
late.start()
"""
    assert run(source, first) == [
        "False None [False, False, False]",
        "threads can only be started once",
        "True False True",
        "1",
        "late",
    ]


def test_threads_made_while_patched(run: Callable[..., list[str]]) -> None:
    """Threads made while patched and started after unpatching are native, are joined, and exit waits for them."""
    source = """
native = []
made = [threading.Thread(target=lambda: native.append(threading.get_native_id())) for _ in range(2)]
late = threading.Thread(target=lambda: (time.sleep(0.05), print("late")))
hubbub_monkey.unpatch_all()
for thread in made: thread.start()
for thread in made: thread.join()
print(threading.main_thread().native_id not in native, len(native), threading.active_count())
late.start()
"""
    assert run(source) == ["True 2 1", "late"]


def test_things_made_before(run: Callable[..., list[str]]) -> None:
    """Queues, executors, semaphores, barriers, conditions and futures made before patching serve threads after it."""
    first = """
import concurrent.futures, queue, threading, time, os, sys
class Holder: pass
holder = Holder()
holder.simple, simple = queue.SimpleQueue(), queue.SimpleQueue()
simple.put("kept")
queues = [queue.Queue(1), queue.LifoQueue(1), queue.PriorityQueue(1), holder.simple]
executor = concurrent.futures.ThreadPoolExecutor(3)
future = concurrent.futures.Future()
semaphore, bounded, barrier = threading.Semaphore(0), threading.BoundedSemaphore(1), threading.Barrier(3)
condition, event = threading.Condition(), threading.Event()
import hubbub_monkey
print(hubbub_monkey.patch_all().warnings)
"""
    source = """
ticks = []
def tick():
    while True: ticks.append(1); time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
def later(function, *args): threading.Timer(0.01, function, args).start()
print(simple.get())
for each in queues:
    later(each.put, 1)
    print(each.get(timeout=20), end=" ")
natives = set(executor.map(lambda _: (time.sleep(0.01), threading.get_native_id())[1], range(9)))
print(natives == {threading.get_native_id()})
later(future.set_result, "result"); print(future.result(20))
later(semaphore.release); print(semaphore.acquire(timeout=20), bounded.acquire())
later(event.set); print(event.wait(20))
def notify():
    with condition: condition.notify()
later(notify)
with condition: print(condition.wait(20))
for _ in range(2): threading.Thread(target=barrier.wait).start()
print(barrier.wait(20) in range(3), len(ticks) > 3)
"""
    assert run(source, first) == ["()", "kept", "1 1 1 1 True", "result", "True True", "True", "True", "True True"]


def test_executor_with_native_workers(run: Callable[..., list[str]]) -> None:
    """An executor whose workers ran before patching goes on with native ones, and waiting for it lets others run."""
    first = """
import concurrent.futures, threading, time, os, sys, warnings
started = threading.Event()
executor = concurrent.futures.ThreadPoolExecutor(3)
executor.submit(int).result()
warnings.simplefilter("ignore")
import hubbub_monkey
hubbub_monkey.patch_all()
"""
    source = """
ticks = []
def tick():
    while True: ticks.append(1); time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
native_sleep = hubbub_monkey.get_original("time", "sleep")
futures = [executor.submit(native_sleep, 0.05) for _ in range(6)]
print({future.result(20) for future in futures}, len(ticks) > 5)
"""
    assert run(source, first) == ["{None} True"]


def test_queues_that_native_threads_wait_for(run: Callable[..., list[str]]) -> None:
    """A native thread that has waited for a queue, condition or event since before patching is woken from greenlets."""
    first = """
import queue, threading, time, os, sys, warnings
fifo, simple, condition, event = queue.Queue(2), queue.SimpleQueue(), threading.Condition(), threading.Event()
def in_condition():
    with condition: condition.wait(); return "condition"
waits = [fifo.get, simple.get, in_condition, lambda: event.wait() and "event"]
got = []
threads = [threading.Thread(target=lambda wait=wait: got.append(wait())) for wait in waits]
for thread in threads: thread.start()
while not (fifo.not_empty._waiters and condition._waiters and event._cond._waiters): time.sleep(0.001)
warnings.simplefilter("ignore")
import hubbub_monkey
hubbub_monkey.patch_all()
"""
    source = """
import hubbub
def wake():
    fifo.put("queue"); simple.put("simple"); event.set()
    with condition: condition.notify()
hubbub.spawn(wake).join()
for thread in threads: thread.join(20)
print(sorted(got), threading.active_count())
fifo.put(1); print(fifo.get(), fifo.qsize())
"""
    assert run(source, first) == ["['condition', 'event', 'queue', 'simple'] 1", "1 0"]


def test_queues_go_back(python: Python) -> None:
    """unpatch_all puts back the native queues, with the items that are in them."""
    source = """
import queue
native = queue.SimpleQueue()
kept = native
import hubbub_monkey
hubbub_monkey.patch_all()
print(type(native).__module__, native is kept)
native.put(1); kept.put(2)
hubbub_monkey.unpatch_all()
print(type(native).__module__, native is kept, native.get(), native.get())
"""
    assert python(source).stdout.splitlines() == ["hubbub.queue True", "_queue True 1 2"]


# The table of threads -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["hubbub.spawn", "bare", "subclass"])
def test_ended_greenlets_are_no_threads(run: Callable[..., list[str]], kind: str) -> None:
    """A greenlet that asked for its thread is none any more when it has ended, though it is kept for its result."""
    source = f"""
import gc, greenlet, hubbub
class Own(hubbub.Greenlet): pass
def bare(function):
    made = greenlet.greenlet(function, hubbub.get_hub())
    hubbub.get_hub().loop.run_callback(made.switch)
    return made
spawn = {{"hubbub.spawn": hubbub.spawn, "bare": bare, "subclass": Own.spawn}}[{kind!r}]
most = []
def ask():
    threading.current_thread()
    most.append(len(threading._active))
kept = [spawn(ask) for _ in range(100)]
while len(most) < 100: time.sleep(0.001)
print(threading.active_count(), len(threading._active), len(threading.enumerate()), list(threading._active.values()))
waiting = [spawn(lambda: (threading.current_thread(), time.sleep(1000))) for _ in range(200)]
time.sleep(0.01)
print(threading.active_count())
for _ in range(1000):
    kept.append(spawn(ask))
while len(most) < 1100: time.sleep(0.001)
print(dict.__len__(threading._active) < 700, threading.active_count())
del waiting, kept
"""
    lines = run(source)
    assert lines[0].startswith("1 1 1 [<_MainThread(MainThread, started ")
    assert lines[1:] == ["201", "True 201"]
