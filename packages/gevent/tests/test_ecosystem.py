"""What products that are built on gevent rely on, beyond its documentation. Each is named in the promise."""

from __future__ import annotations

from collections.abc import Callable

Program = Callable[..., list[str]]


# The hub and the loop -------------------------------------------------------------------------------------------------


def test_watchers_switch(on_loop: Program) -> None:
    """uWSGI: a watcher is started with a greenlet's switch and itself, and the hub's switch returns that watcher."""
    source = """
    import gevent, os
    hub = gevent.get_hub()
    loop = hub.loop
    reader, writer = os.pipe()
    me = gevent.getcurrent()
    io, timer = loop.io(reader, 1), loop.timer(10)
    io.start(me.switch, io)
    timer.start(me.switch, timer)
    os.write(writer, b"x")
    print(hub.switch() is io, io.active)
    io.stop()
    timer.stop()
    quick = loop.timer(0.01)
    quick.start(me.switch, quick)
    print(hub.switch() is quick, io.active, timer.active)
    for watcher in (io, timer, quick):
        watcher.close()
    me.uwsgi_wsgi_req = 1
    """
    assert on_loop(source) == ["True True", "True False False"]


def test_watchers_are_checked(on_loop: Program) -> None:
    """A watcher's callback and arguments may be assigned while it runs, and are looked at then."""
    source = """
    import gevent
    loop = gevent.get_hub().loop
    timer = loop.timer(0.01)
    timer.start(print, "not this")
    timer.args = ("but", "this")
    for name, value in (("callback", 5), ("args", [1]), ("args", 5)):
        try: setattr(timer, name, value)
        except TypeError as error: print(error)
    gevent.sleep(0.05)
    print(loop.timer(1).callback, isinstance(loop.idle(), loop.WatcherType), type(loop.io(0, 1)).__name__)
    """
    assert on_loop(source) == [
        "Expected callable, not 5",
        "Expected tuple, got list",
        "Expected tuple, got int",
        "but this",
        "None True io",
    ]


def test_loop_attributes(on_loop: Program) -> None:
    """volttron, aiologic, gipc: the loop has gevent's attributes, in the main thread it is the default one."""
    source = """
    import gevent, gevent.event, threading
    hub = gevent.get_hub()
    loop = hub.loop
    print(loop.default, loop.MINPRI, loop.MAXPRI, loop.approx_timer_resolution < 0.01, loop.pendingcnt, loop.activecnt)
    print(isinstance(loop.now(), float), loop.update(), loop.iteration > -2, loop.backend, type(loop).__name__)
    call = loop.run_callback(print, "called")
    print(call.pending, bool(call))
    gevent.sleep(0)
    print(call.pending, bool(call))
    stopped = loop.run_callback(print, "never"); stopped.close()
    wakeup = loop.async_(); done = gevent.event.AsyncResult()
    wakeup.start(done.set, 1)
    threading.Thread(target=wakeup.send).start()
    print(done.get(timeout=10)); wakeup.close()
    threading.Thread(target=loop.run_callback_threadsafe, args=(done.set, 2)).start()
    while done.get() != 2: gevent.sleep(0.001)
    other = []
    thread = threading.Thread(target=lambda: other.append(gevent.get_hub().loop.default)); thread.start(); thread.join()
    print(other, loop.install_sigchld())
    loop.ref(); before = loop.activecnt; loop.unref(); print(before - loop.activecnt)
    """
    lines = on_loop(source)
    assert lines[0].startswith("True -2 2 True")
    assert lines[1].startswith("True None True ")
    assert lines[1].endswith(" loop")
    assert lines[2:] == ["True True", "called", "False False", "1", "[False] None", "1"]


def test_core(program: Program) -> None:
    """gevent.core tells the library behind the loop, and what that could ask the kernel with."""
    source = (
        "from gevent import core; print(core.get_version().partition('-')[0], 'epoll' in core.supported_backends())"
    )
    assert program(source, GEVENT_LOOP="libev-cext") == ["libev True"]
    assert program(source, GEVENT_LOOP="libuv-cffi") == ["libuv False"]
    assert program(source, GEVENT_LOOP="stdlib")[0].startswith("stdlib ")


def test_time_of_day(program: Program) -> None:
    """On libev the loop tells the time of day, as gevent's does."""
    source = "import gevent, time; print(abs(gevent.get_hub().loop.now() - time.time()) < 5)"
    assert program(source, GEVENT_LOOP="libev-cext") == ["True"]
    assert program(source, GEVENT_LOOP="libuv-cffi") == ["False"]


def test_hub_attributes(program: Program) -> None:
    """sentry, grpc, parallel-ssh, aiologic: what they read of the hub; its thread pool has ten threads and grows."""
    source = """
    import gevent, gevent.hub, gevent._hub_local, threading
    print(gevent._hub_local.get_hub_if_exists(), gevent.hub._get_hub())
    hub = gevent.get_hub()
    print(hub.thread_ident == threading.get_ident(), hub.main_hub, repr(hub.name), hub.threadpool_size)
    print(hub.threadpool.maxsize, hub.threadpool.apply(len, ("abc",)), hub.threadpool.spawn(len, "ab").get())
    hub.threadpool.maxsize = 40
    print(hub.threadpool.maxsize, hub.loop_class is gevent.config.loop, isinstance(hub.loop, hub.loop_class))
    print(isinstance(hub.resolver, hub.resolver_class), hub.resolver_class.__module__)
    print(isinstance(hub.threadpool, hub.threadpool_class))
    class Resolver:
        def __init__(self, hub=None): pass
        def close(self): print("closed")
    hub.resolver = Resolver()
    hub.destroy()
    print(repr(hub).split(" thread_ident")[0].endswith("destroyed"))
    """
    assert program(source) == [
        "None None",
        "True True '' 10",
        "10 3 2",
        "40 True True",
        "True gevent.resolver.thread",
        "True",
        "closed",
        "True",
    ]


def test_hub_is_destroyed(on_loop: Program) -> None:
    """The main thread's loop outlives its hub and serves the next, unless it is to be destroyed too."""
    source = """
    import gevent
    first = gevent.get_hub()
    loop = first.loop
    first.destroy()
    second = gevent.get_hub()
    print(second is first, second.loop is loop)
    gevent.sleep(0.001)
    second.destroy(destroy_loop=True)
    print(gevent.get_hub().loop is loop)
    gevent.sleep(0.001)
    """
    assert on_loop(source) == ["False True", "False"]


def test_gipc(on_loop: Program) -> None:
    """gipc: a forked child throws the parent's hub away by hand and makes another."""
    source = """
    import gevent, gevent.hub, os
    hub = gevent.get_hub()
    hub.threadpool.apply(len, ("a",))
    gevent.sleep(0.001)
    child = os.fork()
    if not child:
        del hub.threadpool
        hub._threadpool = None
        gevent.hub.set_hub(None)
        hub.loop.destroy()
        new = gevent.get_hub()
        gevent.sleep(0.001)
        os._exit(42 if new is not hub and new.threadpool.apply(len, ("ab",)) == 2 else 1)
    status = []
    watcher = hub.loop.child(child)
    watcher.start(lambda: status.append(watcher.rstatus))
    while not status: gevent.sleep(0.001)
    print(os.waitstatus_to_exitcode(status[0]))
    """
    assert on_loop(source) == ["42"]


def test_hub_is_patched(program: Program) -> None:
    """parallel-ssh, ZeroNet, raiden, dd-trace, newrelic: attributes of Hub and of its module are assigned and used."""
    source = """
    import gevent, gevent.hub
    from gevent.hub import Hub
    Hub.NOT_ERROR = (*Hub.NOT_ERROR, KeyError)
    seen = []
    def failing(kind): raise kind("!")
    gevent.spawn(failing, KeyError).join()
    handle_error = Hub.handle_error
    def counting(self, context, type, value, tb):
        seen.append(type.__name__)
        if type is not ValueError: handle_error(self, context, type, value, tb)
    Hub.handle_error = counting
    gevent.spawn(failing, ValueError).join()
    gevent.spawn(failing, KeyError).join()
    print(seen)
    switch = Hub.switch
    switches = []
    def switching(self, *args):
        switches.append(1)
        return switch(self, *args)
    Hub.switch = switching
    gevent.sleep(0.001)
    print(len(switches) > 0)
    gevent.hub.sleep = lambda *args: print("slept")
    gevent.hub.sleep(1)
    print([hasattr(gevent.hub, name) for name in ("set_hub", "spawn_raw", "Waiter", "reinit", "GreenletExit")])
    """
    assert program(source) == ["['ValueError', 'KeyError']", "True", "slept", "[True, True, True, True, True]"]


def test_waiter(program: Program) -> None:
    """pika, minemeld: a Waiter is used again after clear()."""
    source = """
    import gevent
    from gevent.hub import Waiter
    waiter = Waiter()
    for number in range(3):
        gevent.get_hub().loop.run_callback_threadsafe(waiter.switch, number)
        print(waiter.get())
        waiter.clear()
    """
    assert program(source) == ["0", "1", "2"]


def test_monitor(program: Program) -> None:
    """raiden: the monitoring thread is switched on in the configuration, reports who blocks, and watches the memory."""
    source = """
    import gevent, gevent.events, io, time
    gevent.config.monitor_thread = True
    gevent.config.max_blocking_time = 0.02
    kinds = []
    gevent.events.subscribers.append(lambda event: kinds.append(type(event).__name__))
    hub = gevent.get_hub()
    hub.exception_stream = io.StringIO()
    monitor = hub.start_periodic_monitoring_thread()
    gevent.sleep(0.01)
    limit = time.monotonic() + 20
    while "EventLoopBlocked" not in kinds and time.monotonic() < limit: pass
    print("PeriodicMonitorThreadStartedEvent" in kinds, "EventLoopBlocked" in kinds)
    print("appears to be blocked" in hub.exception_stream.getvalue())
    class Process:
        uses = 100
        def memory_full_info(self): return type("Info", (), {"uss": self.uses, "rss": 0})
    monitor._process = Process()
    print(monitor.monitor_memory_usage(hub))
    gevent.config.max_memory_usage = "50"
    events = [monitor.monitor_memory_usage(hub), monitor.monitor_memory_usage(hub)]
    Process.uses = 10
    events += [monitor.monitor_memory_usage(hub), monitor.monitor_memory_usage(hub)]
    print([event and type(event).__name__ for event in events])
    called = []
    monitor.add_monitoring_function(called.append, 0.01)
    while not called: gevent.sleep(0.005)
    print(called[0] is hub)
    monitor.kill()
    """
    assert program(source) == [
        "True True",
        "True",
        "-1",
        "['MemoryUsageThresholdExceeded', None, 'MemoryUsageUnderThreshold', None]",
        "True",
    ]


def test_tracers_are_chained(program: Program) -> None:
    """pydevd, dd-trace: the monitor's tracer calls the one that was there, and puts it back."""
    source = """
    import gevent, greenlet
    from gevent._tracer import GreenletTracer
    seen = []
    def mine(event, args): seen.append(event)
    greenlet.settrace(mine)
    tracer = GreenletTracer()
    gevent.sleep(0)
    print(tracer.greenlet_switch_counter > 0, len(seen) > 0)
    tracer.kill()
    print(greenlet.gettrace() is mine)
    """
    assert program(source) == ["True True", "True"]


# Names that are looked for --------------------------------------------------------------------------------------------


def test_private_modules(program: Program) -> None:
    """pika, asyncio-gevent, dd-trace, ZeroNet, instana, locust files: private modules that they import from."""
    source = """
    from gevent._interfaces import ILoop, IWatcher, ICallback
    from zope.interface import implementer
    @implementer(ILoop)
    class Loop: pass
    print(ILoop.implementedBy(Loop))
    import gevent._imap, gevent.pool, gevent.lock, gevent.socket
    print(gevent._imap.Greenlet is gevent.Greenlet, gevent._imap.IMap is gevent.pool.IMap)
    from gevent._threading import Lock, get_ident, get_thread_ident, start_new_thread
    from gevent._semaphore import Semaphore
    from gevent._socketcommon import gethostbyname, wait_read, cancel_wait_ex
    from gevent._socket3 import socket
    from gevent._tracer import GreenletTracer
    from gevent._waiter import Waiter
    from gevent._abstract_linkable import AbstractLinkable
    from gevent._hub_primitives import wait_on_watcher, iwait_on_objects
    from gevent._hub_local import get_hub_if_exists, set_default_hub_class, get_loop, set_loop
    from gevent.libev.corecext import loop as libev
    from gevent.libuv.loop import loop as libuv
    print(Semaphore is gevent.lock.Semaphore, socket is gevent.socket.socket, issubclass(Semaphore, AbstractLinkable))
    print(libev.__module__, libuv.__module__, cancel_wait_ex())
    """
    assert program(source) == [
        "True",
        "True True",
        "True True True",
        "gevent.libev.corecext gevent.libuv.loop [Errno 9] File descriptor was closed in another greenlet",
    ]


def test_names_for_c(program: Program) -> None:
    """uWSGI: names it takes from the dictionaries of the modules; the first item of version_info is at least 1."""
    source = """
    import gevent, gevent.monkey
    names = ("version_info", "spawn", "signal_handler", "sleep", "get_hub", "getcurrent")
    print([name for name in names if name not in vars(gevent)], "patch_all" in vars(gevent.monkey))
    print(gevent.version_info[0] >= 1, isinstance(gevent.version_info, tuple), gevent.__version__)
    """
    assert program(source) == ["[] True", "True True 26.9.0"]


def test_names_are_assigned(program: Program) -> None:
    """dd-trace, ZeroNet: they put classes and functions of their own in the place of gevent's."""
    source = """
    import gevent, gevent.greenlet, gevent.pool, gevent._imap, gevent.hub
    class Traced(gevent.Greenlet):
        pass
    gevent.__datadog_patch = True
    for module in (gevent, gevent.greenlet, gevent.pool, gevent._imap):
        module.Greenlet = Traced
    gevent.pool.Group.greenlet_class = Traced
    gevent.spawn, gevent.spawn_later = Traced.spawn, Traced.spawn_later
    gevent.Greenlet.spawn = classmethod(lambda cls, *args: cls(*args))
    print(type(gevent.pool.Pool(1).spawn(int)).__name__, type(gevent.spawn_later(0, int)).__name__)
    for module, name in ((gevent, "joinall"), (gevent, "wait"), (gevent, "iwait"), (gevent.hub, "spawn_raw")):
        setattr(module, name, print)
    class Map(gevent.pool.IMap): pass
    gevent.pool.IMap = gevent._imap.IMap = Map
    print(list(gevent.pool.Group().imap(len, ["a", "bc"])))
    """
    assert program(source) == ["Traced Traced", "[1, 2]"]


def test_missing_names(program: Program) -> None:
    """A name that is missing says whose gevent this is, and where to report it; so does a missing setting."""
    source = """
    import gevent, gevent.pool
    for name, module in (("_private", gevent), ("_private", gevent.pool), ("nothing", gevent.config)):
        try: getattr(module, name)
        except AttributeError as error: print("hubbub" in str(error), name in str(error), "report" in str(error))
    for statement in ("import gevent._private", "from gevent.hub import _private", "import gevent.libev._private"):
        try: exec(statement)
        except ImportError as error: print("_private" in str(error), "hubbub" in str(error))
    """
    assert program(source) == ["True True True"] * 3 + ["True True"] * 3


def test_event_loops_of_asyncio(program: Program) -> None:
    """gunicorn's gevent worker, sentry, Django: after patching each greenlet may run an event loop of asyncio."""
    source = """
    import gevent.monkey
    gevent.monkey.patch_all()
    import asyncio, gevent
    async def work(number):
        await asyncio.sleep(0.01)
        return number
    print([greenlet.get() for greenlet in [gevent.spawn(asyncio.run, work(number)) for number in range(5)]])
    """
    assert program(source) == ["[0, 1, 2, 3, 4]"]


# Being found out ------------------------------------------------------------------------------------------------------


def test_detection(program: Program) -> None:
    """psycopg, kombu, cassandra-driver, sentry, elastic-apm, huey: how they find that gevent is there and active."""
    source = """
    import sys
    import gevent
    print("gevent" in sys.modules, "gevent.monkey" in sys.modules)
    import gevent.monkey
    print([gevent.monkey.is_module_patched(name) for name in ("threading", "socket", "time", "select")])
    print(gevent.monkey.saved, gevent.monkey.get_original("threading", "local").__module__)
    gevent.monkey.patch_all()
    import gevent.socket, gevent.local, socket, threading, select, queue, subprocess, time
    print([gevent.monkey.is_module_patched(name) for name in ("threading", "socket", "time", "select")])
    print(socket.socket is gevent.socket.socket, socket.getaddrinfo is gevent.socket.getaddrinfo)
    print(gevent.monkey.is_object_patched("threading", "local"), threading.local is gevent.local.local)
    print(type(gevent.monkey.saved["threading"]).__name__, gevent.monkey.get_original("json", "loads").__name__)
    print([int(part) for part in gevent.__version__.split(".")] >= [24, 10, 1])
    a, b = socket.socketpair()
    print(type(a) is gevent.socket.socket)
    """
    assert program(source) == [
        "True False",
        "[False, False, False, False]",
        "{} _thread",
        "[True, True, True, True]",
        "True True",
        "True True",
        "dict loads",
        "True",
        "True",
    ]


def test_import_hooks(program: Program) -> None:
    """newrelic, dd-trace, instana: hooks on the names of modules see gevent's being imported, each once."""
    source = """
    import sys
    class Hook:
        def find_spec(self, name, path=None, target=None):
            if name in ("gevent", "gevent.monkey", "gevent.pywsgi"): seen.append(name)
    seen = []
    sys.meta_path.insert(0, Hook())
    import gevent, gevent.pywsgi, gevent.monkey, gevent.hub
    print(seen)
    """
    assert program(source) == ["['gevent', 'gevent.pywsgi', 'gevent.monkey']"]


def test_patch_order(program: Program) -> None:
    """gunicorn: importing gevent.monkey imports neither threading's users nor ssl before they are patched."""
    source = """
    import sys
    before = "ssl" in sys.modules
    import gevent.monkey
    print(before, "ssl" in sys.modules)
    """
    assert program(source) == ["False False"]


# Greenlets, pools, events ---------------------------------------------------------------------------------------------


def test_greenlet_subclasses(program: Program) -> None:
    """engineio, slimta, ZeroNet: subclasses with a constructor of their own, ``_run``, and ``_report_error``."""
    source = """
    import gevent
    class Thread(gevent.Greenlet):
        def __init__(self, target, args=[], kwargs={}):
            super().__init__()
            self.target, self.given = target, (args, kwargs)
        def _run(self):
            return self.target(*self.given[0], **self.given[1])
    class Quiet(gevent.Greenlet):
        def _report_error(self, exc_info):
            print("failed", exc_info[0].__name__)
            super()._report_error((gevent.GreenletExit, gevent.GreenletExit(), None))
    thread = Thread(sum, [[1, 2]]); thread.start(); thread.join(); print(thread.value)
    quiet = Quiet.spawn(lambda: 1 / 0); quiet.join(); print(quiet.successful(), type(quiet.value).__name__)
    sleeper = gevent.spawn(gevent.sleep, 10); gevent.sleep(0)
    print(sleeper.gr_frame is not None, sleeper.args, sleeper.kwargs, sleeper._run is gevent.sleep)
    spawned = []
    gevent.Greenlet.add_spawn_callback(spawned.append)
    new = gevent.spawn(int); print(spawned == [new]); gevent.Greenlet.remove_spawn_callback(spawned.append)
    print(repr(sleeper).split(" at ")[0], repr(sleeper).split(": ")[1]); sleeper.kill()
    print(repr(sleeper).split(": ")[1])
    """
    assert program(source) == [
        "3",
        "failed ZeroDivisionError",
        "True GreenletExit",
        "True (10,) {} True",
        "True",
        "<Greenlet sleep(10)>",
        "sleep(10)>",
    ]


def test_subclasses(program: Program) -> None:
    """parallel-ssh, volttron, huey, kazoo, gnsq: events, results, queues and timeouts are base classes."""
    source = """
    import gevent, queue
    from gevent.event import AsyncResult, Event
    from gevent.queue import Channel, Empty, Full, JoinableQueue, LifoQueue
    class Eof(Event): pass
    class Result(AsyncResult): __slots__ = ("extra",)
    class Expired(gevent.Timeout): pass
    class Way(Channel): pass
    eof = Eof(); eof.set(); result = Result(); result.extra = 1; result.set(2)
    print(eof.wait(), result.get(), eof.linkcount(), result.hub)
    try:
        with Expired(0.001): gevent.sleep(5)
    except Expired as error: print(type(error).__name__)
    way = Way(); gevent.spawn(way.put, 3); print(way.get(), Empty is queue.Empty, Full is queue.Full)
    lifo = LifoQueue(1); lifo.put(1)
    for call in (lambda: lifo.put(2, block=False), lambda: (lifo.get(), lifo.get(timeout=0.001))):
        try: call()
        except (queue.Full, queue.Empty) as error: print(type(error).__name__)
    print(JoinableQueue(items=[1]).queue, lifo.hub is gevent.get_hub())
    """
    assert program(source) == ["True 2 0 None", "Expired", "3 True True", "Full", "Empty", "deque([1]) True"]


def test_pool_grows(program: Program) -> None:
    """celery: a pool grows and shrinks through its semaphore's counter and its size."""
    source = """
    import gevent
    from gevent.pool import Pool
    pool = Pool(1)
    running = [pool.spawn(gevent.sleep, 10)]
    print(pool.full(), pool.free_count())
    pool._semaphore.counter += 1
    pool.size += 1
    print(pool.full(), pool.free_count())
    running.append(pool.spawn(gevent.sleep, 10))
    print(pool.full(), len(pool))
    pool.kill()
    """
    assert program(source) == ["True 0", "False 1", "True 2"]


def test_threadpool_sizes(program: Program) -> None:
    """A thread pool may have no thread, then all tasks wait; its size can be set within its limit."""
    source = """
    import gevent
    from gevent.threadpool import ThreadPool
    pool = ThreadPool(0)
    task = pool.spawn(len, "ab"); gevent.sleep(0.01); print(task.ready(), len(pool), len(pool.task_queue))
    pool.maxsize = 3; print(task.get(timeout=10))
    pool.size = 3; print(pool.size); pool.size = 1; print(pool.size); pool.size = 0; print(pool.size)
    for name, value in (("size", 4), ("size", -1), ("maxsize", -1), ("maxsize", "1")):
        try: setattr(pool, name, value)
        except (TypeError, ValueError) as error: print(error)
    """
    assert program(source) == [
        "False 1 1",
        "2",
        "3",
        "1",
        "0",
        "Size of the pool cannot be bigger than maxsize: 4 > 3",
        "Size of the pool cannot be negative: -1",
        "maxsize must not be negative: -1",
        "maxsize must be integer: '1'",
    ]


def test_context_and_fork(program: Program) -> None:
    """opentelemetry, gunicorn: greenlets start with an empty context, and reinit() makes a forked child work."""
    source = """
    import contextvars, gevent, gevent.hub, os
    variable = contextvars.ContextVar("variable", default="empty"); variable.set("full")
    print(gevent.spawn(variable.get).get(), gevent.spawn_later(0, variable.get).get())
    child = os.fork()
    if not child:
        gevent.hub.reinit()
        os._exit(gevent.spawn(lambda: gevent.sleep(0.001) or 7).get())
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert program(source) == ["empty empty", "7"]


def test_tree_is_shown(program: Program) -> None:
    """raiden: format_run_info and the tree of greenlets tell who spawned whom, and how it ended."""
    source = """
    import gevent, re
    from gevent.util import GreenletTree, format_run_info
    def parent():
        gevent.getcurrent().spawn_tree_locals["request"] = 1
        child = gevent.spawn(gevent.sleep, 10); child.name = "child"
        gevent.sleep(0)
        return child
    greenlet = gevent.spawn(parent); greenlet.name = "parent"; greenlet.join()
    def shown(text): return [re.sub("0x[0-9a-f]+", "X", line) for line in text.splitlines()]
    lines = shown(GreenletTree.current_tree().format({"running_stacks": False}))
    at = next(number for number, line in enumerate(lines) if "parent" in line)
    print(*(line for line in lines[at:] if "Parent" not in line), sep="\\n")
    print(any("in parent" in line for line in format_run_info()))
    """
    lines = program(source)
    assert lines[0] == ' +--- <Greenlet "parent" at X: parent>; finished with value <Greenlet "child" at X'
    assert [line.strip(" :|") for line in lines[1:3]] == [
        "Spawned at",
        'File "' + lines[2].split('"')[1] + '", line 9, in <module>',
    ]
    words = [line.strip(" :|") for line in lines]
    assert words[words.index("Spawn Tree Locals") + 1] == "{'request': 1}"
    assert '+--- <Greenlet "child" at X: sleep(10)>' in words
    assert lines[-1] == "True"


# Sockets and servers --------------------------------------------------------------------------------------------------


def test_sockets(on_loop: Program) -> None:
    """locust, psycopg2: what a socket shows of itself, and the waits for descriptors of C libraries."""
    source = """
    import gevent, inspect, socket as stdlib
    from gevent import socket, ssl
    sock = socket.socket()
    print(repr(sock).split(" at ")[0], sock.closed, sock.hub is gevent.get_hub(), sock._sock is sock)
    sock.close(); print(repr(sock).split(" at ")[0], sock.closed)
    a, b = socket.socketpair()
    print(b.send(b"x", 0, 1.0), socket.wait_read(a.fileno(), timeout=1), socket.wait_write(a.fileno(), timeout=1))
    a.recv(1)
    for error in ({}, {"timeout_exc": KeyError("mine")}):
        try: socket.wait_read(a.fileno(), 0.001, **error)
        except (TimeoutError, KeyError) as caught: print(type(caught).__name__)
    try:
        while True: b.send(bytes(65536), 0, 0.01)
    except TimeoutError: print("full")
    closing = gevent.spawn_later(0.001, a.close)
    try: a.recv(1); print(len(a.recv(1)))
    except OSError as caught: print(caught.errno)
    defaults = [inspect.getfullargspec(module.create_connection).defaults for module in (socket, stdlib)]
    print(defaults[0] == defaults[1], issubclass(ssl.SSLSocket, socket.socket), ssl._create_unverified_context)
    """
    lines = on_loop(source)
    assert lines[:7] == [
        "<gevent._socket3.socket False True True",
        "<gevent._socket3.socket [closed] True",
        "1 None None",
        "TimeoutError",
        "KeyError",
        "full",
        "1",
    ]
    assert lines[7].startswith("True True <function")


def test_closed_descriptors(on_loop: Program) -> None:
    """A socket that is closed while somebody selects it counts as ready; one closed before is an error."""
    source = """
    import gevent
    from gevent import select, selectors, socket
    a, b = socket.socketpair()
    gevent.spawn(a.close)
    print([item.closed for item in select.select([a], [], [], 10)[0]])
    selector = selectors.DefaultSelector(hub=gevent.get_hub())
    print(selector.hub is gevent.get_hub(), selector.register(b, selectors.EVENT_WRITE).fd > 0, len(selector.select(5)))
    sock = socket.socket(); fd = sock.fileno(); sock.close()
    for call in (lambda: select.select([fd], [], []), lambda: selectors.GeventSelector().register(fd, 1)):
        try: call()
        except (OSError, ValueError) as error: print(type(error).__name__)
    """
    assert on_loop(source) == ["[True]", "True True 1", "OSError", "ValueError"]


def test_multi_process_recipe(on_loop: Program) -> None:
    """The recipe for pywsgi in several processes: a listener by _tcp_listener, or init_socket() before the forks."""
    source = """
    import gevent.monkey; gevent.monkey.patch_all()
    import inspect, os, signal, urllib.request
    from gevent.pywsgi import WSGIServer
    from gevent.server import _tcp_listener
    print(list(inspect.signature(_tcp_listener).parameters))
    def application(environ, start_response):
        start_response("200 OK", [])
        return [str(os.getpid()).encode()]
    def serve(server):
        server.start_accepting()
        server._stop_event.wait()
    for listener in (_tcp_listener(("127.0.0.1", 0)), ("127.0.0.1", 0)):
        server = WSGIServer(listener, application, log=None)
        server.init_socket() if server.closed else None
        server._stop_event.clear()
        child = os.fork()
        if not child:
            serve(server)
        url = f"http://127.0.0.1:{server.server_port}/"
        print(int(urllib.request.urlopen(url, timeout=20).read()) == child)
        os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
        server.close()
    """
    assert on_loop(source) == ["['address', 'backlog', 'reuse_addr', 'family']", "True", "True"]


def test_gunicorn(program: Program) -> None:
    """gunicorn: a listener made from a descriptor, a handler with an argument of its own, a pool, and a slow end."""
    source = """
    import gevent
    from functools import partial
    from gevent import socket
    from gevent.pool import Pool
    from gevent.server import StreamServer
    listener = socket.create_server(("127.0.0.1", 0))
    mine = socket.socket(fileno=listener.detach())
    def handle(name, sock, address): sock.sendall(name)
    pool = Pool(5)
    server = StreamServer(mine, handle=partial(handle, b"gunicorn"), spawn=pool)
    server.max_accept = 1
    server.start()
    print(socket.create_connection(mine.getsockname()).recv(100), server.full(), server.pool.free_count(), pool.size)
    server.close(); server.stop(timeout=1)
    """
    assert program(source) == ["b'gunicorn' False 5 5"]


def test_close_lets_handlers_begin(on_loop: Program) -> None:
    """gunicorn, reloading: a handler that was spawned begins before close() takes the listener away, which it asks."""
    source = """
    import gevent, socket as native
    from gevent import event, socket
    from gevent.server import StreamServer
    accepted = event.Event()
    names = []
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    def spawn(function, *args):
        accepted.set()
        gevent.spawn(function, *args)
    server = StreamServer(listener, lambda sock, _: names.append(listener.getsockname()), spawn=spawn)
    server.start()
    client = native.create_connection(address)
    accepted.wait()
    print(names)
    server.close()
    print(names == [address], listener.fileno())
    """
    assert on_loop(source) == ["[]", "True -1"]


def test_handler_without_spawn(program: Program) -> None:
    """With ``spawn=None`` a handler runs on the hub; it may wait there."""
    source = """
    import gevent, io
    from gevent import socket
    from gevent.server import StreamServer
    def handle(sock, address):
        sock.sendall(b"here")
        gevent.sleep(0.01)
        sock.sendall(b" still")
    server = StreamServer(("127.0.0.1", 0), handle, spawn=None); server.start()
    stream = gevent.get_hub().exception_stream = io.StringIO()
    client = socket.create_connection(server.address)
    print(client.recv(10), client.recv(10), client.recv(10), repr(stream.getvalue()))
    try: StreamServer(("127.0.0.1", 0))
    except TypeError as error: print(error)
    try: StreamServer(("127.0.0.1", 0), handle, certifle="a")
    except TypeError as error: print(error)
    server.stop()
    """
    assert program(source) == [
        "b'here' b' still' b'' ''",
        "'handle' must be provided",
        "unexpected arguments: certifle",
    ]


PYWSGI = """
import gevent.monkey; gevent.monkey.patch_all()
import gevent, http.client, io, socket
from gevent.pywsgi import Environ, WSGIHandler, WSGIServer, _InvalidClientInput, _NoopLog
def ask(server, request=b"GET / HTTP/1.0\\r\\n\\r\\n"):
    with socket.create_connection(server.address, timeout=20) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))
"""


def test_pywsgi_handler(program: Program) -> None:
    """gevent-websocket, ws4py, locust: a handler is a base class whose steps are overridden and attributes read."""
    source = f"""{PYWSGI}
steps = []
class Handler(WSGIHandler):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        steps.append("init")
    pass
def wrap(name):
    original = getattr(WSGIHandler, name)
    def step(self, *args, **kwargs):
        steps.append(name)
        return original(self, *args, **kwargs)
    setattr(Handler, name, step)
for name in ("handle", "read_requestline", "handle_one_request", "get_environ", "handle_one_response",
             "run_application", "start_response", "process_result", "write", "finalize_headers", "format_request",
             "log_request"):
    wrap(name)
NAMES = ("application environ server socket rfile client_address headers path requestline request_version command "
         "status code result headers_sent response_headers response_length response_use_chunked "
         "provided_content_length provided_date close_connection time_start time_finish wsgi_input "
         "ignored_socket_errors").split()
def application(environ, start_response):
    handler = start_response.__self__ if hasattr(start_response, "__self__") else None
    start_response("200 OK", [("Content-Type", "text/plain"), ("X", "y")])
    found["missing"] = [name for name in NAMES if not hasattr(gevent.getcurrent().handler, name)]
    found["values"] = [getattr(gevent.getcurrent().handler, name) for name in ("path", "command", "code", "status")]
    return [b"ok"]
found = {{}}
class Server(WSGIServer):
    def handle(self, sock, address):
        handler = gevent.getcurrent().handler = self.handler_class(sock, address, self)
        handler.handle()
server = Server(("127.0.0.1", 0), application, handler_class=Handler, log=io.StringIO())
server.start()
print(ask(server).split(b"\\r\\n")[0])
print(found["missing"], found["values"])
print(steps)
server.stop()
"""
    lines = program(source)
    assert lines[0] == "b'HTTP/1.1 200 OK'"
    assert lines[1] == "[] ['/', 'GET', 200, '200 OK']"
    for step in ("init", "read_requestline", "run_application", "process_result", "finalize_headers", "log_request"):
        assert f"'{step}'" in lines[2]


def test_pywsgi_socket(program: Program) -> None:
    """simple-websocket: the connection is found by SERVER_SOFTWARE and the file below wsgi.input, and duplicated."""
    source = f"""{PYWSGI}
def application(environ, start_response):
    rfile = environ["wsgi.input"].rfile
    raw = rfile.raw if hasattr(rfile, "raw") else rfile
    sock = raw._sock.dup()
    sock.sendall(environ["SERVER_SOFTWARE"][:6].encode() + b" took over")
    sock.close()
    environ["wsgi.input"].socket = None
    return []
server = WSGIServer(("127.0.0.1", 0), application, log=None, error_log=None)
gevent.get_hub().exception_stream = None
server.start()
print(ask(server, b"GET / HTTP/1.1\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\n\\r\\n"))
server.stop()
"""
    assert program(source)[0].startswith("b'gevent took over")


def test_pywsgi_bad_clients(program: Program) -> None:
    """locust rewrites the log of TLS clients at a plain port: it has the socket and the words that are looked for."""
    source = f"""{PYWSGI}
server = WSGIServer(("127.0.0.1", 0), lambda environ, start: [], log=None, error_log=io.StringIO())
server.start()
print(ask(server, b"\\x16\\x03\\x01 / HTTP/1.1\\r\\n\\r\\n").split(b"\\r\\n")[0])
text = server.error_log.getvalue()
print("gevent._socket3.socket at" in text, "Invalid HTTP method: '\\\\x16\\\\x03" in text)
server.stop()
"""
    assert program(source) == ["b'HTTP/1.1 400 Bad Request'", "True True"]


def test_pywsgi_text_body(program: Program) -> None:
    """gevent-websocket's error path returns text: the status is sent, the error reported, the connection ended."""
    source = f"""{PYWSGI}
def application(environ, start_response):
    start_response("400 Bad Request", [])
    return ["text"]
server = WSGIServer(("127.0.0.1", 0), application, log=None)
stream = gevent.get_hub().exception_stream = io.StringIO()
server.start()
answer = ask(server, b"GET / HTTP/1.1\\r\\nHost: h\\r\\n\\r\\n")
print(answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 500")), b"text" in answer, "TypeError" in stream.getvalue())
server.stop()
"""
    assert program(source) == ["True False True"]


# Settings -------------------------------------------------------------------------------------------------------------


def test_environment_variables(program: Program) -> None:
    """Each GEVENT_ variable is read and checked, and given to what it is for."""
    source = """
    import gevent
    from gevent import config
    print(config.resolver.__module__, config.fileobject.__name__, config.max_blocking_time, config.max_memory_usage)
    print(config.memory_monitor_period, config.monitor_thread, config.disable_watch_children)
    print(config.resolver_nameservers, config.resolver_timeout, config.threadpool_idle_task_timeout, config.ares_tries)
    print(gevent.get_hub().resolver.__class__.__module__, config.threadpool.__name__, config.format_context(1))
    print(gevent.spawn(int).spawn_tree_locals, sorted(config.settings)[0])
    import gevent.fileobject; print(gevent.fileobject.FileObject is config.fileobject)
    """
    assert program(
        source,
        GEVENT_RESOLVER="block",
        GEVENT_FILE="thread",
        GEVENT_MAX_BLOCKING_TIME="0.5",
        GEVENT_MONITOR_MEMORY_MAX="2mb",
        GEVENT_MONITOR_MEMORY_PERIOD="3",
        GEVENT_TRACK_GREENLET_TREE="no",
        GEVENT_NOWAITPID="yes",
        GEVENT_RESOLVER_NAMESERVERS="127.0.0.1, 127.0.0.2",
        GEVENT_RESOLVER_TIMEOUT="4",
        GEVENT_THREADPOOL_IDLE_TASK_TIMEOUT="9",
        GEVENTARES_TRIES="5",
    ) == [
        "gevent.resolver.blocking FileObjectThread 0.5 2097152",
        "3.0 False True",
        "['127.0.0.1', '127.0.0.2'] 4.0 9.0 5",
        "gevent.resolver.blocking ThreadPool 1",
        "None ares_flags",
        "True",
    ]


def test_settings_are_checked(program: Program) -> None:
    """A value that makes no sense is refused where it is assigned, and changes nothing."""
    source = """
    from gevent import config
    for name, value in (("max_blocking_time", -1), ("max_blocking_time", "x"), ("monitor_thread", "maybe"),
                        ("resolver", "nonsense"), ("loop", "nonsense"), ("max_memory_usage", "1xb")):
        try: setattr(config, name, value)
        except (ValueError, ImportError) as error: print(type(error).__name__, error)
    config.resolver = ["nonsense", "block"]
    print(config.resolver.__module__, config.max_blocking_time)
    config.set("loop", "libuv-cffi")
    import gevent
    print(gevent.get_hub().loop.name)
    """
    lines = program(source)
    assert [line.split()[0] for line in lines[:6]] == ["ValueError"] * 3 + ["ImportError"] * 2 + ["ValueError"]
    assert "Choose" in lines[3] or "choose" in lines[3]
    assert lines[6:] == ["gevent.resolver.blocking 0.1", "libuv"]


def test_queue_is_left_alone(program: Program) -> None:
    """GEVENT_MONKEY_DISABLE_QUEUE_QUEUE leaves queue.Queue as it is, and patches the other classes."""
    source = """
    import queue
    plain = queue.Queue
    import gevent.monkey; gevent.monkey.patch_all()
    import gevent.queue
    print(queue.Queue is plain, queue.LifoQueue is gevent.queue.LifoQueue)
    print(gevent.monkey.is_object_patched("queue", "Queue"))
    """
    assert program(source, GEVENT_MONKEY_DISABLE_QUEUE_QUEUE="1") == ["True True", "False"]


def test_plugins(program: Program, tmp_path: object) -> None:
    """Entry points are called with gevent's events, in the order of patching; those of an installed gevent are not."""
    source = """
    import sys
    from pathlib import Path
    info = Path("plugin-1.dist-info"); info.mkdir()
    Path("plugin.py").write_text("seen = []\\ndef note(event): seen.append(type(event).__name__)\\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: plugin\\nVersion: 1\\n")
    groups = ("will_patch_all", "will_patch_module", "did_patch_module", "did_patch_builtins", "did_patch_all")
    (info / "entry_points.txt").write_text("".join(
        f"[gevent.plugins.monkey.{group}]\\nplugin = plugin:note\\n" for group in groups))
    own = Path("gevent-26.9.0.dist-info"); own.mkdir()
    (own / "METADATA").write_text("Metadata-Version: 2.1\\nName: gevent\\nVersion: 26.9.0\\n")
    (own / "entry_points.txt").write_text("[gevent.plugins.monkey.will_patch_all]\\nx = gevent.monkey:_not_there\\n")
    sys.path.insert(0, ".")
    import gevent.monkey, plugin
    gevent.monkey.patch_all()
    print(plugin.seen[0], plugin.seen[1], plugin.seen[2], plugin.seen[-2], plugin.seen[-1])
    """
    assert program(source) == [
        "GeventWillPatchAllEvent GeventWillPatchModuleEvent GeventDidPatchModuleEvent "
        "GeventDidPatchBuiltinModulesEvent GeventDidPatchAllEvent"
    ]


def test_full_of_a_subclass(program: Program) -> None:
    """A server's class may have a full() of its own: it decides when nothing more is accepted."""
    source = """
    import gevent
    from gevent import socket
    from gevent.server import StreamServer
    class Server(StreamServer):
        asked = 0
        def full(self):
            Server.asked += 1
            return super().full()
    server = Server(("127.0.0.1", 0), lambda sock, address: sock.sendall(b"here"), spawn=5)
    server.start()
    print(socket.create_connection(server.address).recv(100), Server.asked > 0, server.full())
    server.stop()
    """
    assert program(source) == ["b'here' True False"]


def test_on_expiration(program: Program) -> None:
    """dramatiq: a class of time limits may do something of its own when the time is up."""
    source = """
    import gevent
    class Limit(gevent.Timeout):
        def _on_expiration(self, prev_greenlet, ex):
            print(prev_greenlet is gevent.getcurrent().parent or prev_greenlet is me, ex is self)
            super()._on_expiration(prev_greenlet, ex)
    me = gevent.getcurrent()
    try:
        with Limit(0.01): gevent.sleep(10)
    except Limit as error: print(error)
    """
    assert program(source) == ["True True", "0.01 seconds"]
