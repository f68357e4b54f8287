"""What a child process has of its parent's hub: everything in working order, and nothing that is under way."""

import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from importlib.metadata import EntryPoint, EntryPoints
from textwrap import dedent
from time import monotonic

import hubbub
import pytest
from hubbub import plugins
from hubbub.abc import READ
from hubbub.event import AsyncResult, Event
from hubbub.exceptions import LoopDestroyed
from hubbub.io import Socket
from hubbub.lock import Semaphore
from hubbub.lowlevel import hubs
from hubbub.os import waitpid
from hubbub.queue import Channel, Queue, SimpleQueue
from hubbub.subprocess import call
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def in_child(function):
    """Run ``function`` in a child forked here, and wait for it: it must not fail."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(20)
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(waitpid(pid, 0)[1]) == 0


def from_greenlet(function):
    """:func:`in_child`, forked by a greenlet."""
    hubbub.spawn(in_child, function).get(timeout=20)


@pytest.fixture(params=[in_child, from_greenlet])
def forked(request):
    return request.param


class OnlyHere:
    """Greenlets that wait for one thing each, and must go on in the parent alone."""

    def __init__(self):
        self.pid = os.getpid()
        self.ran = []
        self.greenlets = []

    def start(self, wait, *args):
        self.greenlets.append(hubbub.spawn(self.run, wait, args))
        hubbub.sleep(0)

    def run(self, wait, args):
        try:
            wait(*args)
        finally:
            if os.getpid() != self.pid:
                os.write(2, f"a greenlet of the parent that waited in {wait} ran in the child\n".encode())
                os._exit(9)
            self.ran.append(wait)

    def stop(self):
        hubbub.killall(self.greenlets)


@pytest.fixture
def only_here():
    made = OnlyHere()
    yield made
    made.stop()


def test_nothing_of_the_parent_runs(hub, forked, only_here):
    """No greenlet of the parent runs in the child, whatever it waits for and whatever the child does."""
    event, result, semaphore, queue, channel = Event(), AsyncResult(), Semaphore(0), Queue(), Channel()
    left, right = socket.socketpair()
    reader = Socket(fileno=left.detach())
    only_here.start(hubbub.sleep, 0.001)
    only_here.start(event.wait)
    only_here.start(result.get)
    only_here.start(semaphore.acquire)
    only_here.start(queue.get)
    only_here.start(channel.get)
    only_here.start(reader.recv, 1)
    only_here.start(hubbub.spawn(hubbub.sleep, 0.001).join)

    def child():
        event.set()
        result.set(1)
        semaphore.release()
        queue.put(1)
        right.send(b"x")
        hubbub.sleep(0.02)

    forked(child)
    reader.close()
    right.close()


def test_scheduled_calls_are_dropped(hub, forked):
    """What the parent has queued, timed or watched does not happen in the child."""
    left, right = socket.socketpair()
    pid = os.getpid()

    def parent_only():
        if os.getpid() != pid:
            os._exit(9)

    hub.loop.run_callback(parent_only)
    later = hub.loop.timer(0.001)
    later.start(parent_only)
    readable = hub.loop.io(left.fileno(), READ)
    readable.start(parent_only)
    prepare = hub.loop.prepare(ref=False)
    prepare.start(parent_only)

    def child():
        right.send(b"x")
        assert not later.active
        assert not readable.active
        hubbub.sleep(0.01)
        for watcher in (later, readable, prepare):
            watcher.stop()
            watcher.close()
        assert hub.loop.refs == 0
        hub_runs_dry(hub)

    forked(child)
    for watcher in (later, readable, prepare):
        watcher.close()
    left.close()
    right.close()


def hub_runs_dry(hub):
    """Nothing is left to wait for."""
    if hubbub.getcurrent() is hub.main:
        assert hub.join(timeout=5)


def test_everything_works(hub, forked):
    """In the child greenlets, timers, events, pools, the resolver, subprocesses and threads work at once."""
    hub.threadpool.apply(os.getpid)
    hub.resolver.getaddrinfo("localhost", 80)
    pool = ThreadPool(2)
    pool.map(abs, range(4))

    def child():
        assert hubbub.spawn(lambda: 3).get(timeout=5) == 3
        with hubbub.Timeout(0.005, False):
            hubbub.sleep(5)
            raise AssertionError("the timeout did not end the block")
        assert hub.threadpool.apply(os.getpid) == os.getpid()
        assert pool.map(abs, [-1, -2]) == [1, 2]
        assert hub.resolver.getaddrinfo("localhost", 80)
        assert call(["true"]) == 0
        got = []
        thread = threading.Thread(target=lambda: got.append(hubbub.spawn(lambda: 4).get()))
        thread.start()
        thread.join()
        assert got == [4]

    forked(child)
    assert hub.threadpool.apply(os.getpid) == os.getpid()


def test_waiters_of_the_parent_take_nothing(hub, forked, only_here):
    """Permits and items that the child gives go to the child's own greenlets, not to waiters left in the parent."""
    semaphore, queue, simple, channel = Semaphore(0), Queue(), SimpleQueue(), Channel()
    full = Queue(1, [0])
    for wait, *args in (
        (semaphore.acquire,), (queue.get,), (simple.get,), (channel.get,), (full.put, "parent's"),
    ):  # fmt: skip
        only_here.start(wait, *args)

    def child():
        mine = [hubbub.spawn(wait) for wait in (semaphore.acquire, queue.get, simple.get, channel.get)]
        hubbub.sleep(0)
        semaphore.release()
        queue.put("q")
        simple.put("s")
        channel.put("c", timeout=5)
        assert [one.get(timeout=5) for one in mine] == [True, "q", "s", "c"]
        assert full.get() == 0
        assert full.empty()
        full.put("child's", timeout=5)

    forked(child)


def test_sockets_go_on(hub, forked):
    """A socket that was waited for in the parent can be waited for in the child."""
    left, right = (Socket(fileno=one.detach()) for one in socket.socketpair())
    reader = hubbub.spawn(left.recv, 1)
    hubbub.sleep(0)
    right.send(b"x")
    assert reader.get(timeout=5) == b"x"

    def child():
        reader = hubbub.spawn(left.recv, 1)
        hubbub.sleep(0)
        assert not reader.ready()
        right.send(b"y")
        assert reader.get(timeout=5) == b"y"

    forked(child)
    reader = hubbub.spawn(left.recv, 1)
    hubbub.sleep(0)
    right.send(b"z")
    assert reader.get(timeout=5) == b"z"
    left.close()
    right.close()


def test_socket_of_another_thread(hub, forked):
    """A socket that only another thread has waited for can be waited for in the child."""
    left, right = (Socket(fileno=one.detach()) for one in socket.socketpair())
    got, done = [], threading.Event()

    def work():
        got.append(left.recv(1))
        done.wait()

    thread = threading.Thread(target=work)
    thread.start()
    right.send(b"x")
    while not got:
        hubbub.sleep(0.001)

    def child():
        reader = hubbub.spawn(left.recv, 1)
        hubbub.sleep(0)
        right.send(b"y")
        assert reader.get(timeout=5) == b"y"

    forked(child)
    done.set()
    thread.join()
    left.close()
    right.close()


def test_fork_in_a_pool_thread(hub):
    """A thread without a hub may fork; in the child it makes one, and those of other threads are gone."""

    def task():
        def child():
            assert hubs() == []
            assert hubbub.spawn(lambda: 3).get(timeout=5) == 3
            assert hubbub.get_hub().threadpool.apply(os.getpid) == os.getpid()

        in_child(child)
        return "parent"

    assert hub.threadpool.apply(task) == "parent"


def test_fork_after_a_hub_in_a_pool_thread(hub, forked):
    """A thread of the pool that has a hub of its own does no harm to a fork."""
    for _ in range(3):
        hub.threadpool.apply(hubbub.sleep, (0.001,))
    forked(lambda: hub.threadpool.apply(hubbub.sleep, (0.001,)))


def test_fork_while_pool_threads_work(hub, forked):
    """A fork while tasks are running: the parent's finish there, the child's pool starts empty."""
    release = threading.Event()
    tasks = [hub.threadpool.spawn(release.wait, 10) for _ in range(3)]

    def child():
        assert len(hub.threadpool) == 0
        assert hub.threadpool.size == 0
        assert hub.threadpool.apply(lambda: 1) == 1
        hub.threadpool.join()

    forked(child)
    release.set()
    assert [task.get(timeout=5) for task in tasks] == [True] * 3


def test_executor_in_the_child(hub, forked):
    """An executor made before the fork works in the child."""
    with ThreadPoolExecutor(2) as executor:
        assert executor.submit(abs, -1).result() == 1
        forked(lambda: executor.submit(abs, -2).result())


@pytest.mark.unsanitized
def test_hook_that_uses_the_pool(hub, loop_name):
    """A hook of register_at_fork that yields or uses the pool works: the hub is ready before it runs."""
    run_script(
        loop_name,
        """
        import os, hubbub
        hub = hubbub.get_hub()
        hub.threadpool.apply(abs, (1,))
        other = hubbub.spawn(lambda: (hubbub.sleep(0.01), os.getpid() == parent or os._exit(9)))
        parent = os.getpid()
        os.register_at_fork(after_in_child=lambda: (hub.threadpool.apply(abs, (1,)), hubbub.sleep(0.03)))
        hubbub.sleep(0)
        pid = os.fork()
        if not pid:
            os._exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        import subprocess
        print(subprocess.call(["true"], preexec_fn=lambda: None))
        other.join()
        """,
        "5\n0\n",
    )


def test_locks_held_elsewhere(hub, forked, only_here):
    """A child does not inherit the wait of others: a semaphore that it holds itself is free again once it releases."""
    semaphore = Semaphore(1)
    semaphore.acquire()
    only_here.start(semaphore.acquire)

    def child():
        semaphore.release()
        assert semaphore.acquire(timeout=5)

    forked(child)


def test_descriptors_are_not_shared(hub, forked):
    """What the child registers with its loop does not reach the parent, and the other way round."""
    left, right = (Socket(fileno=one.detach()) for one in socket.socketpair())

    def child():
        reader = hubbub.spawn(left.recv, 1)
        hubbub.sleep(0)
        reader.kill()
        hub.loop.destroy()

    waiting = hubbub.spawn(left.recv, 1)
    hubbub.sleep(0)
    forked(child)
    right.send(b"x")
    assert waiting.get(timeout=5) == b"x"
    left.close()
    right.close()


def test_no_descriptor_is_left(hub, forked):
    """The child's hub takes as many descriptors as the parent's did."""
    hubbub.sleep(0)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    def child():
        hubbub.sleep(0.001)
        if before:
            assert len(os.listdir("/proc/self/fd")) == before

    in_child(child)


def use_everything():
    """Sockets, threads, child processes and signals, each of which needs the loop."""
    ours, theirs = (Socket(fileno=one.detach()) for one in socket.socketpair())
    reader = hubbub.spawn(theirs.recv, 9)
    hubbub.sleep(0)
    ours.sendall(b"here")
    assert reader.get(timeout=20) == b"here"
    assert hubbub.to_thread(int) == 0
    assert call(["true"]) == 0
    came = Event()
    watcher = hubbub.get_hub().loop.signal(signal.SIGUSR1)
    watcher.start(came.set)
    threading.Timer(0.01, os.kill, [os.getpid(), signal.SIGUSR1]).start()
    assert came.wait(20)
    watcher.close()


@pytest.mark.parametrize("depth", [1, 2])
def test_all_descriptors_may_be_closed(hub, forked, depth):
    """A child may close all its descriptors after the fork, as daemons do, and so may a child of the child."""
    hubbub.sleep(0)

    def child(generations):
        if generations > 1:
            in_child(lambda: child(generations - 1))
            return
        os.closerange(3, 256)
        hubbub.sleep(0.001)
        use_everything()

    forked(lambda: child(depth))


def test_all_descriptors_may_be_closed_when_the_hub_has_ended(hub):
    """A child that ends its hub first may close all its descriptors at any time: the next hub has new ones."""
    hubbub.sleep(0)

    def child():
        hubbub.sleep(0)
        hubbub.get_hub().destroy()
        os.closerange(3, 256)
        hubbub.sleep(0.001)
        use_everything()

    in_child(child)


def test_a_child_that_does_not_wait_opens_nothing(hub, forked):
    """The descriptors of a hub are closed in a child, and made anew when it first waits."""
    hubbub.sleep(0)

    def child():
        low = os.dup(0)
        os.close(low)  # the least number that is free
        taken = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
        os.closerange(low, taken[-1] + 1)
        hubbub.spawn(hubbub.sleep, 0.001).join()
        use_everything()

    forked(child)


def test_a_destroyed_loop_opens_nothing(hub, forked):
    """A loop that a child destroys before it has needed it stays closed, whoever asks for its backend."""
    hubbub.sleep(0)

    def child():
        loop = hub.loop
        loop.destroy()
        before = os.dup(0)
        os.close(before)
        assert loop.backend.name == loop.name
        loop.ensure_open()
        after = os.dup(0)
        os.close(after)
        assert after == before
        with pytest.raises(LoopDestroyed):
            loop.run()

    forked(child)


def test_a_thread_wakes_a_hub_that_opens_its_descriptors(hub, monkeypatch):
    """A child's first wait ends at once if another thread calls back while the descriptors are being made."""
    hubbub.sleep(0)

    def child():
        loop, came = hub.loop, []
        opening = loop.open

        def open_slowly():
            opening()
            thread = threading.Thread(target=loop.run_callback_threadsafe, args=[came.append, 1])
            thread.start()
            while thread.is_alive():
                pass

        monkeypatch.setattr(type(loop), "open", lambda self: open_slowly())
        timer = loop.timer(30)
        timer.start(came.append, 2)
        loop.run(once=True)
        loop.run(nowait=True)
        assert came == [1]

    in_child(child)


def test_first_need_may_come_from_a_signal_handler(hub):
    """A handler that strikes while a child's hub opens its descriptors runs when they are there, and may wait."""
    hubbub.sleep(0)

    def child():
        began, ended = [], Event()
        opening = hub.loop.open

        def open_and_strike(loop):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not began
            opening()

        def handler(number, frame):
            began.append(number)
            hubbub.sleep(0.001)
            ended.set()

        signal.signal(signal.SIGUSR1, handler)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(hub.loop), "open", open_and_strike)
            assert ended.wait(20)

    in_child(child)


def test_grandchildren(hub, forked):
    """A child may fork again."""
    forked(lambda: forked(lambda: hubbub.spawn(lambda: forked(lambda: hubbub.sleep(0.001))).get(timeout=15)))


def test_signal_watchers_stay_behind(hub, forked):
    """A signal watcher of the parent is not active in the child, where the previous handler is back."""
    previous = signal.getsignal(signal.SIGUSR1)
    watcher = hub.loop.signal(signal.SIGUSR1)
    watcher.start(os._exit, 9)

    def child():
        assert signal.getsignal(signal.SIGUSR1) == previous
        watcher.stop()
        mine = hub.loop.signal(signal.SIGUSR1)
        event = Event()
        mine.start(event.set)
        os.kill(os.getpid(), signal.SIGUSR1)
        assert event.wait(5)

    forked(child)
    watcher.close()


def test_timeouts_stay_behind(hub, forked):
    """A timeout that runs at the fork does not fire in the child, and can be cancelled there."""
    limit = hubbub.Timeout.start_new(0.01)

    def child():
        hubbub.sleep(0.02)
        limit.cancel()

    # The parent waits in another greenlet, so that the limit is not its own.
    try:
        hubbub.spawn(forked, child).join()
    except hubbub.Timeout:
        pass  # in the parent
    finally:
        limit.cancel()
    hubbub.sleep(0.05)


def test_reinit_is_harmless(hub, forked):
    """hubbub.reinit, called by hand after a fork, disturbs nothing: it was done already."""

    def child():
        greenlet = hubbub.spawn(lambda: 3)
        hubbub.reinit()
        assert greenlet.get(timeout=5) == 3

    forked(child)
    hubbub.reinit()
    assert hubbub.spawn(lambda: 3).get(timeout=5) == 3


def run_script(loop_name, text, expected, status=0, error=""):
    environment = {**os.environ, "HUBBUB_LOOP": loop_name, "PYTHONWARNINGS": "ignore::DeprecationWarning"}
    command = [sys.executable, "-c", dedent(text)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.returncode) == (expected, status), done.stderr
    assert error in done.stderr
    if not error:
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("return", 0, ""),
        ("raise SystemExit(7)", 7, ""),
        ("raise SystemExit('words')", 1, "words"),
        ("raise ValueError('broken')", 1, "ValueError: broken"),
        ("hubbub.event.Event().wait()", 1, "LoopExit: This operation"),
    ],
)
def test_child_ends_with_the_greenlet_that_forked(loop_name, end, status, error):
    """When the greenlet that forked ends in the child, so does the child; the parent's main program goes on once."""
    run_script(
        loop_name,
        f"""
        import os, hubbub
        def forker():
            pid = os.fork()
            if not pid:
                hubbub.sleep(0.001)
                print("child", flush=True)
                {end}
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            status = hubbub.spawn(forker).get()
            print("parent", status)
        finally:
            print("main")
        """,
        f"child\nparent {status}\nmain\n",
        error=error,
    )


@pytest.mark.parametrize(
    "begin",
    [
        "hubbub.to_thread(int)",
        "_thread.start_new_thread(gate.acquire, ())",
        "hubbub.control.serve('{pid}.socket')",
    ],
    ids=["idle", "busy", "side"],
)
def test_child_tells_a_deadlock_whatever_threads_the_parent_had(loop_name, begin, tmp_path):
    """Threads of the parent, which the interpreter goes on counting in a child, do not hide a deadlock there."""
    run_script(
        loop_name,
        f"""
        import _thread, os, hubbub, hubbub.control
        os.chdir({str(tmp_path)!r})
        gate = _thread.allocate_lock()
        gate.acquire()
        {begin}
        deadline = hubbub.get_hub().loop.now() + 10
        while not _thread._count() and hubbub.get_hub().loop.now() < deadline:
            hubbub.sleep(0.001)
        pid = os.fork()
        if not pid:
            try:
                hubbub.Event().wait()
            except hubbub.LoopExit:
                print("told", flush=True)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        """,
        "told\n",
    )


@pytest.mark.parametrize("moment", ["_forget_parent", "open"], ids=["hook", "first need"])
def test_a_signal_handler_that_raises_strikes_no_hook(loop_name, moment):
    """A signal in the middle of what core does in a child is dealt with after that: the child's hub is whole."""
    run_script(
        loop_name,
        f"""
        import os, signal, sys, hubbub
        from hubbub.loop.base import BaseLoop
        signal.signal(signal.SIGUSR1, lambda *_: struck.append(1) or 1 / 0)
        sys.unraisablehook = lambda _: None  # CPython drops what a hook raises, and tells of it
        struck = []
        whole = BaseLoop.{moment}
        def interrupted(loop):
            os.kill(os.getpid(), signal.SIGUSR1)
            assert not struck
            whole(loop)
        hubbub.sleep(0.001)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        BaseLoop.{moment} = interrupted
        pid = os.fork()
        if not pid:
            try:
                hubbub.sleep(0.001)
            except ZeroDivisionError:  # CPython drops what a hook raises
                assert {moment!r} == "open"
            hubbub.spawn(print, "works", struck, flush=True).join()
            os._exit(signal.pthread_sigmask(signal.SIG_BLOCK, ()) != mask)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask
        """,
        "works [1]\n",
    )


def test_a_hook_that_fails_keeps_none_from_being_called(loop_name):
    """What fails of that which core does at a fork is reported, and the rest is done."""
    run_script(
        loop_name,
        """
        import os, hubbub
        from hubbub import _at_fork
        _at_fork._in_child.insert(0, lambda: 1 / 0)
        hubbub.sleep(0.001)
        pid = os.fork()
        if not pid:
            hubbub.sleep(0.001)
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
        "7\n",
        error="a hook of __main__ at a fork failed with ZeroDivisionError",
    )


def test_what_the_parent_held_is_not_let_go_in_the_child(hub):
    """A wait of the parent that ends in a child, when it is collected, takes nothing from what keeps its loop going."""
    loop = hub.loop
    held = loop.hold()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            assert loop.refs == 0
            own = loop.hold()
            loop.let_go(held)
            assert loop.refs == 1
            loop.let_go(own)
            status = loop.refs
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    loop.let_go(held)
    assert loop.refs == 0


@pytest.fixture
def slow_plugin(tmp_path, monkeypatch):
    """Installs a plug-in, whose module calls what a test puts into this list when it is half imported."""
    calls = []
    (tmp_path / "slow_plugin.py").write_text("import hubbub.plugins\nhubbub.plugins.when_half(__name__)\nPlugin = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(plugins, "when_half", lambda name: calls and calls.pop()(), raising=False)
    entry = EntryPoint("slow", "slow_plugin:Plugin", plugins.RESOLVERS)
    monkeypatch.setattr(plugins, "entry_points", lambda: EntryPoints([entry]))
    plugins.forget()
    yield calls
    monkeypatch.undo()
    plugins.forget()
    sys.modules.pop("slow_plugin", None)


def load_slow_plugin():
    assert plugins.load(plugins.RESOLVERS, "slow") == 7


def test_a_fork_waits_for_plug_ins_being_imported(slow_plugin):
    """A plug-in that is half imported in another thread at the time of a fork can be imported in the child."""
    half, goes_on = threading.Event(), threading.Event()
    slow_plugin.append(lambda: half.set() or goes_on.wait(20))
    importer = threading.Thread(target=load_slow_plugin)
    importer.start()
    assert half.wait(20)
    whole = threading.Timer(0.1, goes_on.set)
    whole.start()
    in_child(load_slow_plugin)
    assert goes_on.is_set()
    importer.join(20)
    whole.join(20)


def test_a_plug_in_may_fork_while_it_is_imported(slow_plugin):
    """A fork does not wait for the imports of its own thread."""
    started = monotonic()
    slow_plugin.append(lambda: in_child(enter_and_leave))
    load_slow_plugin()
    assert monotonic() - started < plugins.importing.patience


def test_imports_do_not_wait_for_each_other(slow_plugin):
    """While one thread is in the middle of an import, another one begins and ends its own."""
    other = threading.Thread(target=enter_and_leave)
    slow_plugin.append(lambda: other.start() or other.join(20))
    load_slow_plugin()
    assert not other.is_alive()


def enter_and_leave():
    with plugins.importing:
        pass


def test_a_fork_does_not_wait_for_ever(slow_plugin, monkeypatch):
    """A fork in an import that another thread waits for comes about all the same, and others import again after it."""
    monkeypatch.setattr(plugins.importing, "patience", 0.05)
    half, goes_on = threading.Event(), threading.Event()
    slow_plugin.append(lambda: half.set() or goes_on.wait(20))
    importer = threading.Thread(target=load_slow_plugin)
    importer.start()
    assert half.wait(20)
    in_child(enter_and_leave)
    assert not goes_on.is_set()
    goes_on.set()
    importer.join(20)
    in_child(load_slow_plugin)
