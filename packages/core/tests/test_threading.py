"""hubbub.threading: the interface of threading on greenlets."""

import inspect
import os
import subprocess
import sys
import threading as standard
from contextvars import ContextVar
from textwrap import dedent

import hubbub
import pytest
from hubbub import threading
from hubbub.os import waitpid

VARIABLE = ContextVar("VARIABLE", default="unset")
LATER = {"setprofile_all_threads", "settrace_all_threads"}  # of native threads alone


def test_names():
    """Every public name of the running interpreter's module is there."""
    assert set(standard.__all__) - LATER <= set(threading.__all__)


@pytest.mark.parametrize("name", ["Thread", "Timer", "Barrier", "Semaphore", "BoundedSemaphore"])
def test_signatures(name):
    """The classes take the parameters of the standard ones."""

    def parameters(cls):
        return [(p.name, p.kind) for p in inspect.signature(cls).parameters.values() if p.name != "context"]

    ours, theirs = getattr(threading, name), getattr(standard, name)
    assert parameters(ours) == parameters(theirs)
    for method in ("start", "run", "join", "is_alive", "cancel", "wait", "reset", "abort", "acquire", "release"):
        if hasattr(theirs, method):
            assert parameters(getattr(ours, method)) == parameters(getattr(theirs, method))


def test_thread_runs_in_a_greenlet(hub):
    """A Thread runs its target with its arguments, in a greenlet of the native thread that started it."""
    seen = []

    def target(*args, **kwargs):
        hubbub.sleep(0.001)
        seen.append((args, kwargs, standard.get_ident(), threading.current_thread()))

    thread = threading.Thread(target=target, args=(1,), kwargs={"key": 2}, name="worker")
    assert not thread.is_alive()
    assert thread.ident is None
    thread.start()
    assert thread.is_alive()
    assert seen == []
    thread.join()
    assert not thread.is_alive()
    assert seen == [((1,), {"key": 2}, standard.get_ident(), thread)]
    assert thread.name == "worker"
    assert thread.native_id == standard.get_native_id()


def test_thread_subclass(hub):
    """run may be overridden."""
    seen = []

    class Mine(threading.Thread):
        def run(self):
            seen.append(self is threading.current_thread())

    mine = Mine()
    mine.start()
    mine.join(5)
    assert seen == [True]


def test_ident(hub):
    """A thread's ident is what get_ident returns in it; those of living threads differ."""
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(threading.get_ident())) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [thread.ident for thread in threads]
    assert len({*seen, threading.get_ident()}) == 6
    assert threading.main_thread().ident == threading.get_ident()


def test_misuse(hub):
    """Starting twice, joining too early, joining oneself and late daemon changes are refused."""
    thread = threading.Thread()
    with pytest.raises(RuntimeError, match="before it is started"):
        thread.join()
    thread.start()
    with pytest.raises(RuntimeError, match="only be started once"):
        thread.start()
    with pytest.raises(RuntimeError, match="daemon"):
        thread.daemon = True
    thread.join()
    with pytest.raises(RuntimeError, match="current thread"):
        threading.current_thread().join()
    with pytest.raises(AssertionError):
        threading.Thread("group")


def test_join_with_a_limit(hub):
    """join returns after its time, whether the thread has ended or not."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait, args=(10,))
    thread.start()
    thread.join(0.001)
    assert thread.is_alive()
    event.set()
    thread.join(5)
    assert not thread.is_alive()


def test_join_from_a_native_thread(hub):
    """A native thread may wait for a Thread of this one."""
    event = threading.Event()
    thread = threading.Thread(target=event.wait, args=(10,))
    thread.start()
    joined = []
    native = standard.Thread(target=lambda: joined.append(thread.join(10)))
    native.start()
    hub.loop.run_callback(event.set)
    while not joined:
        hubbub.sleep(0.001)
    native.join()
    assert not thread.is_alive()


def test_daemon_is_inherited(hub):
    """A thread is a daemon if its creator is."""
    seen = []
    thread = threading.Thread(target=lambda: seen.append(threading.Thread().daemon), daemon=True)
    thread.start()
    thread.join()
    assert seen == [True]
    assert threading.Thread().daemon is False


def test_errors_go_to_the_hook(hub, monkeypatch):
    """What a thread raises goes to excepthook, but for SystemExit, which ends it in silence."""
    seen = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append((args.exc_type, args.thread)))
    failing = threading.Thread(target=lambda: 1 / 0)
    leaving = threading.Thread(target=sys.exit, args=(3,))
    for thread in (failing, leaving):
        thread.start()
        thread.join()
    assert seen == [(ZeroDivisionError, failing)]


def test_default_hook(hub, capsys, monkeypatch):
    """By default the traceback is printed with the thread's name."""
    monkeypatch.setattr(threading, "excepthook", standard.__excepthook__)  # pytest has its own
    thread = threading.Thread(target=lambda: 1 / 0, name="the name")
    thread.start()
    thread.join()
    printed = capsys.readouterr().err
    assert "Exception in thread the name" in printed
    assert "ZeroDivisionError" in printed


def test_no_context_variables(hub):
    """Like a native thread, a Thread starts without the creator's context variables."""
    VARIABLE.set("creator's")
    seen = []
    thread = threading.Thread(target=lambda: seen.append(VARIABLE.get()))
    thread.start()
    thread.join()
    assert seen == ["unset"]


def test_current_thread_of_plain_greenlets(hub):
    """A greenlet that no Thread has started has a stand-in while it lives."""
    seen = []

    def work():
        mine = threading.current_thread()
        assert threading.current_thread() is mine
        assert mine.daemon
        assert mine.is_alive()
        assert mine in threading.enumerate()
        seen.append(mine)

    greenlets = [hubbub.spawn(work) for _ in range(2)]
    hubbub.joinall(greenlets)
    assert [one.successful() for one in greenlets] == [True, True]
    assert seen[0] is not seen[1]
    del greenlets
    assert not any(one.is_alive() for one in seen)
    assert not any(one in threading.enumerate() for one in seen)


def test_enumerate(hub):
    """enumerate lists what runs: the main thread always, a thread from start to end."""
    before = threading.active_count()
    event = threading.Event()
    threads = [threading.Thread(target=event.wait, args=(10,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert set(threads) < set(threading.enumerate())
    assert threading.main_thread() in threading.enumerate()
    assert threading.active_count() == before + 3
    event.set()
    for thread in threads:
        thread.join()
    assert threading.active_count() == before


def test_local(hub):
    """local has attributes of its own in each thread."""
    data = threading.local()
    data.value = "main"
    seen = []
    thread = threading.Thread(target=lambda: seen.append(hasattr(data, "value")))
    thread.start()
    thread.join()
    assert seen == [False]
    assert data.value == "main"


@pytest.mark.parametrize("make", [threading.Lock, threading.RLock, threading.Semaphore, threading.Condition])
def test_mutual_exclusion(hub, make):
    """One thread at a time is between acquire and release."""
    lock, inside, seen = make(), [], []

    def work():
        for _ in range(10):
            with lock:
                inside.append(1)
                hubbub.sleep(0)
                seen.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [1] * 50


def test_condition(hub):
    """A producer and a consumer meet through a condition."""
    condition, items, got = threading.Condition(), [], []

    def consume():
        for _ in range(20):
            with condition:
                assert condition.wait_for(lambda: items, timeout=5)
                got.append(items.pop(0))

    consumer = threading.Thread(target=consume)
    consumer.start()
    for number in range(20):
        with condition:
            items.append(number)
            condition.notify()
        hubbub.sleep(0)
    consumer.join(5)
    assert got == list(range(20))


def test_semaphore(hub):
    """release(n) gives n permits; acquire takes the parameters of threading.Semaphore."""
    semaphore = threading.Semaphore(0)
    assert not semaphore.acquire(blocking=False)
    assert not semaphore.acquire(timeout=0.001)
    semaphore.release(2)
    assert semaphore.acquire()
    assert semaphore.acquire(True, 1)
    assert not semaphore.acquire(False)
    with pytest.raises(ValueError, match="timeout"):
        semaphore.acquire(False, 1)
    with pytest.raises(ValueError, match="one or more"):
        semaphore.release(0)
    with pytest.raises(ValueError):
        threading.Semaphore(-1)


def test_bounded_semaphore(hub):
    """A bounded semaphore refuses more releases than acquires."""
    semaphore = threading.BoundedSemaphore(2)
    semaphore.acquire()
    with pytest.raises(ValueError, match="too many"):
        semaphore.release(2)
    semaphore.release()
    with pytest.raises(ValueError, match="too many"):
        semaphore.release()


def test_barrier(hub):
    """All parties go on together, each with another number; the action runs once before; the barrier is used again."""
    acted = []
    barrier = threading.Barrier(3, lambda: acted.append(barrier.n_waiting))
    rounds = []

    def work():
        for number in range(4):
            rounds.append((number, barrier.wait(5)))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert sorted(rounds) == [(number, index) for number in range(4) for index in range(3)]
    assert [number for number, _ in rounds] == sorted(number for number, _ in rounds)
    assert len(acted) == 4
    assert barrier.n_waiting == 0
    assert barrier.parties == 3


@pytest.mark.parametrize("end", ["timeout", "abort", "reset", "action", "kill"])
def test_broken_barrier(hub, end):
    """Whoever waits gets BrokenBarrierError when a time runs out, the barrier is aborted or reset, or a party fails."""

    def action():
        raise ZeroDivisionError

    barrier = threading.Barrier(3, action)
    outcomes = []

    def work(limit):
        try:
            barrier.wait(limit)
        except threading.BrokenBarrierError:
            outcomes.append("broken")

    first = hubbub.spawn(work, 0.005 if end == "timeout" else 5)
    second = hubbub.spawn(work, 5)
    hubbub.sleep(0)
    assert barrier.n_waiting == 2
    expected = 2
    if end in ("abort", "reset"):
        getattr(barrier, end)()
    elif end == "action":
        with pytest.raises(ZeroDivisionError):
            barrier.wait()
    elif end == "kill":
        second.kill()
        expected = 1
    hubbub.joinall([first, second], timeout=5)
    assert outcomes == ["broken"] * expected
    assert barrier.broken is (end != "reset")
    if barrier.broken:
        with pytest.raises(threading.BrokenBarrierError):
            barrier.wait()
        barrier.reset()
    assert not barrier.broken


def test_barrier_of_nobody(hub):
    """A barrier has at least one party."""
    with pytest.raises(ValueError, match="parties"):
        threading.Barrier(0)
    assert threading.Barrier(1).wait() == 0


def test_timer(hub):
    """A timer calls its function after its time, with arguments, unless it was cancelled."""
    seen = []
    timers = [
        threading.Timer(0.001, seen.append, ["called"]),
        threading.Timer(0.002, lambda **kwargs: seen.append(kwargs), kwargs={"key": 1}),
        threading.Timer(30, seen.append, ["never"]),
    ]
    for timer in timers:
        timer.start()
    timers[2].cancel()
    for timer in timers:
        timer.join(5)
    assert seen == ["called", {"key": 1}]


def test_repr(hub):
    """The repr shows name and state."""
    thread = threading.Thread(name="the name", daemon=True)
    assert repr(thread) == "<Thread(the name, initial daemon)>"
    thread.start()
    assert repr(thread) == f"<Thread(the name, started daemon {thread.ident})>"
    thread.join()
    assert "stopped" in repr(thread)


def run_script(loop_name, text):
    environment = {**os.environ, "HUBBUB_LOOP": loop_name}
    command = [sys.executable, "-c", dedent(text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_process_waits_for_threads(loop_name):
    """The process ends after the threads that are no daemons, and does not wait for daemons."""
    text = """
        import hubbub
        from hubbub.threading import Thread
        def work(seconds, word):
            hubbub.sleep(seconds)
            print(word)
        Thread(target=work, args=(30, "daemon"), daemon=True).start()
        Thread(target=work, args=(0.02, "thread")).start()
        print("main")
    """
    assert run_script(loop_name, text) == "main\nthread\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_in_a_thread(hub):
    """In a child the thread that forked is the main thread, and the only one."""
    sleeper = threading.Thread(target=hubbub.sleep, args=(30,), daemon=True)
    sleeper.start()
    codes = []

    def work():
        pid = os.fork()
        if not pid:
            mine = threading.current_thread()
            alone = threading.enumerate() == [mine]
            os._exit(0 if alone and mine is threading.main_thread() and not sleeper.is_alive() else 9)
        codes.append(waitpid(pid, 0)[1])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert codes == [0]
    assert sleeper.is_alive()
