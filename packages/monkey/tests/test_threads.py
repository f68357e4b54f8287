"""Threads on greenlets, in processes of their own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

Python = Callable[..., Any]
FIRST = "import hubbub_monkey\nhubbub_monkey.patch_all()\nimport threading, time\n"


@pytest.fixture
def run(python: Python, loop_name: str) -> Callable[[str], list[str]]:
    """Runs a patched script on one loop; its lines."""

    def run(source: str, first: str = FIRST) -> list[str]:
        lines: list[str] = python(first + source, HUBBUB_LOOP=loop_name).stdout.splitlines()
        return lines

    return run


def test_overlap(run: Callable[..., list[str]]) -> None:
    """A hundred threads that sleep overlap in one native thread, and join waits for them."""
    source = """
natives = set()
def work():
    natives.add(threading.get_native_id())
    time.sleep(0.2)
began = time.monotonic()
threads = [threading.Thread(target=work) for _ in range(100)]
for thread in threads: thread.start()
print(threading.active_count())
for thread in threads: thread.join()
print(len(natives), time.monotonic() - began < 5, threading.active_count(), threads[0])
"""
    first, second = run(source)
    assert first == "101"
    assert second.startswith("1 True 1 <Thread(Thread-1 (work), stopped ")


def test_primitives(run: Callable[..., list[str]]) -> None:
    """Lock, RLock, Condition, Event, Semaphore, Barrier, Timer and local serve greenlets."""
    source = """
done = []
barrier, event, condition, local = threading.Barrier(3), threading.Event(), threading.Condition(), threading.local()
def work(number):
    local.number = number
    barrier.wait()
    with condition:
        done.append(local.number)
        condition.notify()
    event.wait()
    done.append(local.number)
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
with condition:
    condition.wait_for(lambda: len(done) == 3, timeout=10)
threading.Timer(0.01, event.set).start()
for thread in threads: thread.join()
print(sorted(done), hasattr(local, "number"))
"""
    assert run(source) == ["[0, 0, 1, 1, 2, 2] False"]


def test_identity(run: Callable[..., list[str]]) -> None:
    """current_thread and get_ident tell greenlets apart; a bare greenlet's dummy thread goes with it."""
    source = """
import gc, hubbub
main = threading.current_thread()
print(main is threading.main_thread(), main.ident == threading.get_ident())
seen = []
thread = threading.Thread(target=lambda: seen.append((threading.current_thread(), threading.get_ident())))
thread.start(); thread.join()
print(seen == [(thread, thread.ident)])
def bare():
    seen.append(type(threading.current_thread()).__name__)
    seen.append(threading.active_count())
greenlet = hubbub.spawn(bare)
greenlet.join()
del greenlet
time.sleep(0)  # the hub lets go of what it has just called
gc.collect()
print(seen[1:], threading.active_count())
"""
    assert run(source) == ["True True", "True", "['_DummyThread', 2] 1"]


def test_exit(run: Callable[..., list[str]]) -> None:
    """At exit the interpreter waits for threads that are no daemons, and not for daemons."""
    source = """
def late():
    time.sleep(0.1)
    print("late")
threading.Thread(target=late).start()
threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
print("end of script")
"""
    assert run(source) == ["end of script", "late"]


def test_errors(python: Python) -> None:
    """An error in a thread goes to threading.excepthook, and a thread cannot be started twice."""
    source = """
def fail(): 1 / 0
threading.excepthook = lambda args: print(args.exc_type.__name__, args.thread.name)
thread = threading.Thread(target=fail, name="failing")
thread.start(); thread.join()
try: thread.start()
except RuntimeError as error: print(error)
"""
    assert python(FIRST + source).stdout.splitlines() == [
        "ZeroDivisionError failing",
        "threads can only be started once",
    ]


def test_interrupt(run: Callable[..., list[str]]) -> None:
    """Ctrl-C that finds a thread at work ends it and reaches the main thread, not threading.excepthook."""
    source = """
import os, signal
threading.excepthook = lambda args: print("hook", args.exc_type.__name__)
thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGINT))
try:
    thread.start()
    time.sleep(30)
except KeyboardInterrupt:
    print("main")
thread.join()
print(thread.is_alive())
"""
    assert run(source) == ["main", "False"]


def test_handler_in_main_thread(run: Callable[..., list[str]]) -> None:
    """A signal handler finds itself in the main thread, whichever greenlet waits, and may take locks that it holds."""
    source = """
import signal
lock = threading.RLock()
def handler(*_):
    with lock:
        print(threading.current_thread() is threading.main_thread())
signal.signal(signal.SIGALRM, handler)
with lock:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(0.3)
"""
    assert run(source) == ["True"]


def test_existing_locks(run: Callable[..., list[str]]) -> None:
    """Locks made before patching, in modules, objects, lists, closures, conditions and queues, become cooperative."""
    first = """
import logging, queue, threading, time, concurrent.futures.thread
class Holder:
    def __init__(self): self.lock = threading.RLock()
    def use(self, number):
        with self.lock:
            order.append(number); time.sleep(0.01); order.append(number)
order = []
holder, listed, event, fifo = Holder(), [threading.Lock()], threading.Event(), queue.Queue(1)
handler = logging.StreamHandler()
def closure():
    inner = threading.Lock()
    return lambda: inner
closed = closure()
import hubbub_monkey
hubbub_monkey.patch_all()
"""
    source = """
import hubbub.thread
locks = [holder.lock, listed[0], closed(), event._cond._lock, fifo.mutex, fifo.not_full._lock, handler.lock,
         logging._lock, concurrent.futures.thread._global_shutdown_lock]
print({type(lock).__module__ for lock in locks}, fifo.mutex is fifo.not_full._lock)
threads = [threading.Thread(target=holder.use, args=(number,)) for number in range(3)]
threads += [threading.Thread(target=fifo.put, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
print([fifo.get() for _ in range(3)])
for thread in threads: thread.join()
print(order)
"""
    assert run(source, first) == ["{'hubbub.thread'} True", "[0, 1, 2]", "[0, 0, 1, 1, 2, 2]"]


def test_existing_locks_of_unusual_holders(python: Python) -> None:
    """Objects whose classes are made in C, or refuse assignments and items, get their locks exchanged as others do."""
    source = """
import threading
class Local(threading.local):
    __slots__ = ("slot",)
    def __init__(self): self.slot, self.lock = threading.RLock(), threading.RLock()
class Refusing:
    __slots__ = ("lock", "__dict__")
    def __init__(self):
        object.__setattr__(self, "lock", threading.RLock())
        object.__setattr__(self, "other", threading.RLock())
    def __setattr__(self, name, value): raise AttributeError(name)
class Frozen(dict):
    def __init__(self, **items): super().__init__(**items); self.lock = threading.RLock()
    def __setitem__(self, name, value): raise TypeError(name)
    def items(self): raise TypeError("none")
class Listed(list):
    def __init__(self, *items): super().__init__(items); self.lock = threading.RLock()
    def __setitem__(self, index, value): raise TypeError(index)
class Failure(Exception):
    def __init__(self): self.lock = threading.RLock()
class Base:
    lock = threading.RLock()
local, refusing, failure, base = Local(), Refusing(), Failure(), Base()
frozen, listed = Frozen(lock=threading.RLock()), Listed(threading.RLock())
import hubbub_monkey
hubbub_monkey.patch_all()
found = [local.slot, local.lock, refusing.lock, refusing.other, frozen.lock, frozen["lock"], listed.lock, listed[0],
         failure.lock, base.lock]
print({type(lock).__module__ for lock in found})
"""
    assert python(source).stdout.splitlines() == ["{'hubbub.thread'}"]


def test_existing_locks_that_are_keys(python: Python) -> None:
    """A lock that is a key, or that an object made in C keeps where nothing can be assigned, stays what it is."""
    source = """
import threading, warnings
key, part = threading.RLock(), threading.RLock()
table, cut = {key: "value"}, slice(part)
import hubbub_monkey
warnings.simplefilter("ignore")
hubbub_monkey.patch_all()
print(table[key], type(key).__module__, cut.stop is part, type(part).__module__)
"""
    assert python(source).stdout.splitlines() == ["value _thread True _thread"]


def test_one_lock_stays_one(python: Python) -> None:
    """A lock that somebody keeps where nothing can be put in its place stays native everywhere."""
    source = """
import threading
class Slotted:
    __slots__ = ("lock", "empty")
    def __init__(self): self.lock = threading.Lock()
slotted = Slotted()
lock = threading.Lock()
pair = (lock,)
acquired = threading.Lock()
acquire = acquired.acquire
def default(lock=threading.Lock()): return lock
inner = default()
condition = threading.Condition()
hidden = condition._lock, condition
import hubbub_monkey
import warnings; warnings.simplefilter("ignore")
hubbub_monkey.patch_all()
print(lock is pair[0], acquire.__self__ is acquired, inner is default(), condition._lock is hidden[0])
print(type(slotted.lock).__module__, type(lock).__module__)
with condition: print("taken")
hubbub_monkey.unpatch_all()
print(type(slotted.lock).__module__)
"""
    assert python(source).stdout.splitlines() == ["True True True True", "hubbub.thread _thread", "taken", "_thread"]


def test_unpatch(python: Python) -> None:
    """unpatch_all gives native threads and locks back, to objects made before patching too."""
    source = """
import _thread, logging, queue, threading
native = type(threading.Lock())
fifo = queue.Queue()
before = threading.Thread.__init__, threading.Lock, threading.local, _thread.allocate_lock
import hubbub_monkey
with hubbub_monkey.patched():
    print(type(fifo.mutex) is native, threading.Lock is before[1])
print(type(fifo.mutex) is native, type(fifo.not_empty._lock) is native)
print((threading.Thread.__init__, threading.Lock, threading.local, _thread.allocate_lock) == before)
thread = threading.Thread(target=lambda: print(threading.get_native_id() != threading.main_thread().native_id))
thread.start(); thread.join()
"""
    assert python(source).stdout.splitlines() == ["False False", "True True", "True", "True"]


def test_running_threads(python: Python) -> None:
    """A native thread that ran before patching is warned of, and is joined without stopping other greenlets."""
    source = """
import os, threading, time, warnings
reader, writer = os.pipe()
early = threading.Thread(target=os.read, args=(reader, 1), name="early bird")
early.start()
import hubbub_monkey
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    hubbub_monkey.patch_all()
print([str(item.message).partition(";")[0] for item in caught])
import hubbub
go = hubbub.Event()
def end():
    go.wait()
    os.write(writer, b".")
hubbub.spawn(end)
early.join(timeout=0.01)
print(early.is_alive())
go.set()
early.join()
print(early.is_alive())
"""
    assert python(source).stdout.splitlines() == [
        "['threads run already and stay native: early bird']",
        "True",
        "False",
    ]


def test_asyncio(run: Callable[..., list[str]]) -> None:
    """asyncio runs; to_thread and run_in_executor use native threads, in which asyncio may run again."""
    source = """
import asyncio
def work():
    time.sleep(0.1)
    return threading.get_native_id(), asyncio.run(asyncio.sleep(0, "inner"))
async def main():
    loop = asyncio.get_running_loop()
    results = await asyncio.gather(*[asyncio.to_thread(work) for _ in range(3)], loop.run_in_executor(None, work))
    return {ident != threading.main_thread().native_id for ident, _ in results}, {inner for _, inner in results}
print(asyncio.run(main()))
"""
    assert run(source) == ["({True}, {'inner'})"]


def test_threads_of_native_threads(run: Callable[..., list[str]]) -> None:
    """What a thread starts that has to be native is native too, also after it has waited for something."""
    source = """
import asyncio
def work():
    threading.Event().wait(0.01)  # which makes a hub
    idents = []
    thread = threading.Thread(target=lambda: idents.append(threading.get_native_id()))
    thread.start(); thread.join()
    return threading.get_native_id() not in idents
async def main(): return await asyncio.to_thread(work)
print(asyncio.run(main()))
"""
    assert run(source) == ["True"]


def test_thread_pool(run: Callable[..., list[str]]) -> None:
    """hubbub's own pool, and the resolver behind it, keep to native threads after patching, many at once."""
    source = """
import hubbub, socket
main = threading.main_thread().native_id
def look_up():
    socket.getaddrinfo("localhost", 80)
    return hubbub.to_thread(threading.get_native_id) != main
greenlets = [hubbub.spawn(look_up) for _ in range(100)]
hubbub.joinall(greenlets, raise_error=True)
print({greenlet.value for greenlet in greenlets})
"""
    assert run(source) == ["{True}"]


def test_pools(run: Callable[..., list[str]]) -> None:
    """ThreadPoolExecutor, ProcessPoolExecutor and the pools and queues of multiprocessing work."""
    source = """
import concurrent.futures, multiprocessing, multiprocessing.pool
def square(number):
    time.sleep(0.01)
    return number * number
def main():
    for kind in (concurrent.futures.ThreadPoolExecutor, concurrent.futures.ProcessPoolExecutor):
        with kind(2) as executor:
            print(list(executor.map(square, range(4))))
    for kind in (multiprocessing.pool.ThreadPool, multiprocessing.Pool):
        with kind(2) as pool:
            print(pool.map(square, range(4)))
    channel = multiprocessing.Queue()
    child = multiprocessing.Process(target=channel.put, args=("from the child",))
    child.start()
    print(channel.get(timeout=20))
    child.join()
if __name__ == "__main__":
    main()
"""
    assert run(source) == ["[0, 1, 4, 9]"] * 4 + ["from the child"]


def test_waiting_for_processes(run: Callable[..., list[str]]) -> None:
    """Joining a process, and waiting for the results of pools of processes, lets other greenlets run."""
    source = """
import concurrent.futures, multiprocessing
ticks = []
def tick():
    while True:
        ticks.append(1); time.sleep(0.01)
def watched(wait):
    ticks.clear()
    wait()
    return len(ticks) > 5
def main():
    threading.Thread(target=tick, daemon=True).start()
    child = multiprocessing.Process(target=time.sleep, args=(0.5,))
    child.start()
    print(watched(child.join))
    with concurrent.futures.ProcessPoolExecutor(1) as executor:
        print(watched(executor.submit(time.sleep, 0.5).result))
    with multiprocessing.Pool(1) as pool:
        print(watched(pool.apply_async(time.sleep, (0.5,)).get))
if __name__ == "__main__":
    main()
"""
    assert run(source) == ["True"] * 3


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_start_methods(run: Callable[..., list[str]], method: str) -> None:
    """Every way of starting processes works, from any thread and for pools, and others run meanwhile."""
    source = f"""
import concurrent.futures, multiprocessing
def double(number):
    return number * 2
def put(channel, number):
    channel.put(double(number))
def main():
    context = multiprocessing.get_context({method!r})
    beats = []
    def beat():
        while True:
            beats.append(1); time.sleep(0.005)
    threading.Thread(target=beat, daemon=True).start()
    channel = context.Queue()
    def start(number):
        child = context.Process(target=put, args=(channel, number))
        child.start()
        child.join()
        print(child.exitcode)
    start(1)
    thread = threading.Thread(target=start, args=(2,))
    thread.start(); thread.join()
    print(sorted(channel.get(timeout=20) for _ in range(2)))
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
        print(list(executor.map(double, range(3))))
    with context.Pool(2) as pool:
        print(pool.map(double, range(3)))
    print(len(beats) > 5)
if __name__ == "__main__":
    main()
"""
    assert run(source) == ["0", "0", "[2, 4]", "[0, 2, 4]", "[0, 2, 4]", "True"]


def test_lock_as_class_attribute(python: Python) -> None:
    """A class may keep threading.Lock or RLock as an attribute and call it on its instances."""
    source = """
class Holder:
    lock_class, rlock_class = threading.Lock, threading._CRLock
print(Holder().lock_class().acquire(), Holder().rlock_class().acquire())
"""
    assert python(FIRST + source).stdout == "True True\n"


def test_logging(run: Callable[..., list[str]]) -> None:
    """Loggers that were made before patching may be used from many threads at once."""
    first = """
import logging, sys
class Slow(logging.StreamHandler):
    def emit(self, record):
        time.sleep(0.01)
        super().emit(record)
logging.basicConfig(handlers=[Slow(sys.stdout)], format="%(message)s")
import hubbub_monkey
hubbub_monkey.patch_all()
import threading, time
"""
    source = """
threads = [threading.Thread(target=logging.warning, args=(f"line {number}",)) for number in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    assert run(source, first) == [f"line {number}" for number in range(5)]


def test_signal_ends_wait(run: Callable[..., list[str]]) -> None:
    """The main thread may wait on an Event that a signal handler sets, with nothing else to do."""
    source = """
import os, signal
event = threading.Event()
signal.signal(signal.SIGUSR1, lambda *_: event.set())
pid = os.getpid()
if os.fork() == 0:
    time.sleep(0.2)
    os.kill(pid, signal.SIGUSR1)
    os._exit(0)
print(event.wait())
"""
    assert run(source) == ["True"]


def test_native_thread_lets_go_before_its_end(run: Callable[..., list[str]]) -> None:
    """A helper thread that stays native holds nothing that it was given any more when join returns."""
    source = """
import gc, sys, weakref, _thread
import multiprocessing.queues  # whose threads stay native
gc.disable()
sys.setswitchinterval(1e-6)
class Held: pass
def body(held):
    pass
body.__module__ = "multiprocessing.queues"
alive = 0
for _ in range(200):
    held = Held()
    reference = weakref.ref(held)
    thread = threading.Thread(target=body, args=(held,))
    thread_reference = weakref.ref(thread)
    del held
    thread.start()
    thread.join()
    del thread
    alive += reference() is not None or thread_reference() is not None
print(alive)
"""
    assert run(source) == ["0"]


def test_arguments_of_rlock(run: Callable[..., list[str]]) -> None:
    """threading.RLock takes any arguments before CPython 3.15, as CPython's; its class may be subclassed."""
    source = """
import sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
lock = threading.RLock() if sys.version_info >= (3, 15) else threading.RLock(1, any=2)
print(lock.acquire(), lock.acquire(), type(lock) is type(threading.RLock()) is threading._CRLock)
class Own(threading._CRLock):
    def __init__(self, a, *, b):
        super().__init__()
print(Own(1, b=2).acquire())
try: print(threading._CRLock(1).acquire())
except TypeError: print(sys.version_info >= (3, 15))
"""
    assert run(source) == ["True True True", "True", "True"]


def test_rlock_names_the_original_module(python: Python) -> None:
    """The class of a re-entrant lock names the module of CPython's; trio sees by it that signal handlers may enter it.

    Reports tell the two apart all the same.
    """
    source = """
import hubbub_monkey, _thread
shown = repr(_thread.RLock()).split(" at ")[0]
report = str(hubbub_monkey.patch_all())
import threading
print(type(threading.RLock()).__module__, repr(threading.RLock()).split(" at ")[0] == shown)
print("_thread.RLock: _thread.RLock -> hubbub_monkey.threads.RLock" in report)
print("-> an object of hubbub_monkey.threads.RLock" in report)
"""
    assert python(source).stdout.splitlines() == ["_thread True", "True", "True"]


def test_executors_of_a_view(run: Callable[..., list[str]]) -> None:
    """Ten requests at once, each waiting for an executor of its own, have their tasks run at the same time."""
    source = """
import http.server, socketserver, urllib.request
from concurrent.futures import ThreadPoolExecutor
meeting = threading.Barrier(20)
natives = set()
def task(number):
    natives.add(threading.get_native_id())
    meeting.wait(20)  # until there are two of each request
    return number
class View(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with ThreadPoolExecutor(2) as executor:
            body = repr(list(executor.map(task, range(2)))).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), View)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}"
with ThreadPoolExecutor(10) as clients:
    print(set(clients.map(lambda _: urllib.request.urlopen(url, timeout=30).read(), range(10))))
print(natives == {threading.get_native_id()})
server.shutdown(); server.server_close()
"""
    assert run(source) == ["{b'[0, 1]'}", "True"]


@pytest.mark.skipif(sys.version_info < (3, 14), reason="there is no such executor")
def test_executor_of_interpreters(run: Callable[..., list[str]]) -> None:
    """InterpreterPoolExecutor keeps native threads, and waiting for it lets other greenlets run."""
    source = """
from concurrent.futures import InterpreterPoolExecutor
import math
ticks = []
def tick():
    while True: ticks.append(1); time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
with InterpreterPoolExecutor(2) as executor:
    print(list(executor.map(math.factorial, range(4))))
    executor.submit(time.localtime).result()
print(len(ticks) > 3)
"""
    assert run(source) == ["[1, 1, 2, 6]", "True"]


def test_handler_takes_locks_and_logs(run: Callable[..., list[str]]) -> None:
    """A signal handler that takes an RLock and logs, 1,400 times a second, never meets a lock that is half taken."""
    source = """
import io, logging, signal
lock, count = threading.RLock(), [0, 0]
logging.basicConfig(stream=io.StringIO(), level=logging.INFO)
def handler(*_):
    count[0] += 1
    with lock:
        logging.info("handler")
        logging.getLogger(f"handler.{count[0] % 50}").debug("takes the lock of the module")
def work(number):
    for turn in range(400):
        with lock:
            logging.info("%s %s", number, turn)
            logging.getLogger(f"work.{turn % 50}").debug("too")
        if turn % 20 == number: time.sleep(0.0005)
    count[1] += 1
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
work(3)
for thread in threads: thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
print(count[0] > 20, count[1], lock.acquire(False), logging._lock.acquire(False))
"""
    assert run(source) == ["True 4 True True"]


@pytest.mark.parametrize("place", ["busy thread", "waiting thread", "busy greenlet"])
def test_exit_from_a_signal_handler(python: Python, loop_name: str, place: str) -> None:
    """sys.exit in a signal handler ends the process with its status, whoever runs when the signal comes."""
    source = f"""
import hubbub, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
def busy():
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(1000): pass
    time.sleep(0)
def wait():
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
    time.sleep(1000)
place = {place!r}
if place == "busy greenlet": hubbub.spawn(busy)
else: threading.Thread(target=busy if "busy" in place else wait, daemon=True).start()
time.sleep(20)
print("not reached")
"""
    assert python(FIRST + source, status=3, HUBBUB_LOOP=loop_name).stdout == ""


def test_no_time(python: Python) -> None:
    """A time limit that is no number is refused by locks and all that is built on them, as by CPython's."""
    source = """
import sys
nan, lock = float("nan"), threading.Lock()
lock.acquire()
event = threading.Event().wait if sys.version_info >= (3, 14) else lock.acquire  # it looks at it since then
for wait in (lock.acquire, threading.RLock().acquire, event):
    try: wait(timeout=nan)
    except ValueError as error: print("ValueError")
"""
    assert python(FIRST + source).stdout.split() == ["ValueError"] * 3
