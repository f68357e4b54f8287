"""What gevent does and programs rely on, beyond names: waits, pools, queues, signals, on every loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Program = Callable[..., list[str]]


def test_what_is_ready_comes_first(on_loop: Program) -> None:
    """``iwait``, ``wait`` and ``joinall`` yield what is finished before anybody else runs, and then what comes."""
    source = """
    import gevent
    from gevent.event import Event
    ran = []
    done = gevent.spawn(int); done.join()
    event = Event(); event.set()
    other = gevent.spawn(lambda: ran.append("other"))
    waiting = gevent.iwait([other, done, event])
    print(next(waiting) is done, next(waiting) is event, ran)
    print(next(waiting) is other, ran, list(waiting))
    other = gevent.spawn(lambda: ran.append("another"))
    print(gevent.wait([other, done, event], count=2) == [done, event], gevent.joinall([done, other], count=1) == [done])
    print(list(ran), gevent.wait([other, done], count=0), gevent.wait([other, done], timeout=0.5) == [done, other], ran)
    with gevent.iwait([done, Event()]) as waiting:
        next(waiting)
    print(list(waiting))
    """
    assert on_loop(source) == [
        "True True []",
        "True ['other'] []",
        "True True",
        "['other'] [] True ['other', 'another']",
        "[]",
    ]


def test_ready_when_the_time_is_over(on_loop: Program) -> None:
    """What ended before the time ran out is among the results, even if the hub comes to both in one turn."""
    source = """
    import gevent, time
    def busy():
        end = time.monotonic() + 0.06
        while time.monotonic() < end: pass
    greenlet = gevent.spawn(gevent.sleep, 0.01)
    gevent.sleep(0)
    gevent.spawn(busy)
    print(gevent.wait([greenlet, gevent.event.Event()], timeout=0.03) == [greenlet])
    greenlet, other = gevent.spawn(gevent.sleep, 0.01), gevent.spawn(gevent.sleep, 9)
    gevent.sleep(0)
    gevent.spawn(busy)
    print(gevent.joinall([other, greenlet], timeout=0.03) == [greenlet], list(gevent.iwait([other], timeout=0)))
    """
    assert on_loop(source) == ["True", "True []"]


def test_results_that_nobody_has_read(on_loop: Program) -> None:
    """``imap_unordered(...).queue`` holds the results that have come; iterators of pools are gevent's greenlets."""
    source = """
    import gevent, gevent.pool, gevent._imap
    pool = gevent.pool.Pool(2)
    found = pool.imap_unordered(abs, [-1, -2, -3])
    print(isinstance(found, gevent.Greenlet), found.minimal_ident >= 0, found.finished)
    with gevent.Timeout(20):
        while not found.finished: gevent.sleep(0)
    print(found.queue.qsize() >= 3, sorted(found), list(pool.imap(abs, [-1, -2])))
    print(type(pool.imap(abs, [1])) is gevent._imap.IMap is gevent.pool.IMap)
    class Mine(gevent.pool.IMap): pass
    gevent.pool.IMap = Mine
    print(type(pool.imap(abs, [1])) is Mine, pool.map(abs, [-5]))
    """
    assert on_loop(source) == ["True True False", "True [1, 2, 3] [1, 2]", "True", "True [5]"]


def test_sizes_of_queues(program: Program) -> None:
    """A size below 1 is no limit, when made and when assigned; what is no number is refused."""
    source = """
    import warnings; warnings.simplefilter("ignore")
    from gevent import queue
    for kind in (queue.Queue, queue.SimpleQueue, queue.LifoQueue, queue.PriorityQueue):
        made = kind(-1)
        made.put(1, block=False)
        made.maxsize = 1
        full = made.full()
        made.maxsize = -3
        print(kind.__name__, full, made.maxsize, made.full())
        for wrong in ("2", 1.5):
            for use in (kind, lambda size: setattr(made, "maxsize", size)):
                try: use(wrong)
                except TypeError: continue
                print("taken", wrong)
    print(issubclass(queue.LifoQueue, queue.Queue), issubclass(queue.PriorityQueue, queue.SimpleQueue))
    """
    assert program(source) == [
        "Queue True None False",
        "SimpleQueue True None False",
        "LifoQueue True None False",
        "PriorityQueue True None False",
        "True True",
    ]


CLEARED = """
import gevent, gevent.queue
queue = gevent.queue.Queue(2)
queue.put(1); queue.put(2)
putter = gevent.spawn(queue.put, 3)
joiner = gevent.spawn(queue.join)
gevent.sleep(0)
with queue.mutex:
    unfinished = queue.unfinished_tasks - len(queue.queue)
    queue.queue.clear()
    queue.unfinished_tasks = unfinished
    queue.all_tasks_done.notify_all()
    queue.not_full.notify_all()
putter.join(5)
print(putter.successful(), queue.get(), queue.unfinished_tasks)
queue.task_done()
joiner.join(5)
print(joiner.ready(), queue.unfinished_tasks)
"""
JOINED = """
import gevent, gevent.queue
queue = gevent.queue.JoinableQueue()
queue.put("item")
def join(timeout):
    with queue.all_tasks_done:
        return queue.all_tasks_done.wait_for(lambda: not queue.unfinished_tasks, timeout)
print(join(0.01))
waiting = gevent.spawn(join, 20)
gevent.sleep(0)
queue.get(); queue.task_done()
print(waiting.get(timeout=5))
"""
WAITED = """
import gevent, gevent.queue
queue = gevent.queue.Queue(1)
def until(condition, good):
    with condition:
        while not good():
            condition.wait(20)
        return queue.mutex.locked()
not_empty = gevent.spawn(until, queue.not_empty, queue.qsize)
gevent.sleep(0)
queue.put(1)
print(not_empty.get(timeout=5))
not_full = gevent.spawn(until, queue.not_full, lambda: not queue.full())
gevent.sleep(0)
print(not_full.ready(), queue.get(), not_full.get(timeout=5))
with queue.not_empty:
    print(queue.not_empty.wait(0.01), queue.mutex.locked())
for use in (queue.not_empty.wait, queue.not_full.notify):
    try: use()
    except RuntimeError as error: print(error)
"""
KILLED = """
import gevent, gevent.queue
queue = gevent.queue.Queue()
def wait():
    with queue.not_empty:
        return queue.not_empty.wait(20)
first, second = gevent.spawn(wait), gevent.spawn(wait)
gevent.sleep(0)
first.kill(block=False)
queue.put(1)                        # tells the first, which is killed before it can go on
print(second.get(timeout=5), first.ready(), queue.mutex.locked())
"""


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        (CLEARED, ["True 3 1", "True 0"]),
        (JOINED, ["False", "True"]),
        (WAITED, ["True", "False 1 True", "False True", "cannot wait on un-acquired lock"]),
        (KILLED, ["True True False"]),
    ],
    ids=["cleared", "joined", "waited", "killed"],
)
def test_mutex_and_conditions(on_loop: Program, source: str, lines: list[str]) -> None:
    """Queues have the mutex and the conditions of the standard library's, with which programs reach inside."""
    found = on_loop(source)
    assert found[: len(lines)] == lines


def test_event_in_place_of_threadings(on_loop: Program) -> None:
    """After a fork beside threads that live, the child knows of none but its own, and ends."""
    source = """
    import gevent.monkey; gevent.monkey.patch_all()
    import os, threading
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    for thread in threads: thread.start()
    pid = os.fork()
    if not pid:
        alive = threading.enumerate()
        child = threading.Thread(target=int); child.start(); child.join()
        good = alive == [threading.main_thread()] and not any(thread.is_alive() for thread in threads)
        raise SystemExit(0 if good else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), threading.active_count())
    stop.set()
    for thread in threads: thread.join()
    event = threading.Event()
    event._at_fork_reinit(); print(event.is_set())
    event.set(); event._at_fork_reinit(); print(event.is_set(), event.wait(0))
    """
    assert on_loop(source) == ["0 4", "False", "True True"]


def test_condition_of_an_event(on_loop: Program) -> None:
    """``Event._cond`` wakes who waits for the event, and is woken by it."""
    source = """
    import gevent, threading
    import gevent.monkey; gevent.monkey.patch_all()
    event = threading.Event()
    waiting = gevent.spawn(event.wait, 20)
    gevent.sleep(0)
    with event._cond:
        event._cond.notify_all()
    print(waiting.get(timeout=5), event.is_set())
    def wait():
        with event._cond:
            return event._cond.wait(20)
    waiting = gevent.spawn(wait)
    gevent.sleep(0)
    event.set()
    print(waiting.get(timeout=5), event._cond.locked())
    """
    assert on_loop(source) == ["True False", "True False"]


def test_error_of_a_signal_callback(on_loop: Program) -> None:
    """What the callback of ``gevent.signal_handler`` raises, now or after a wait, is raised in main, and printed."""
    source = """
    import gevent, gevent.event, io, os, signal
    stream = gevent.get_hub().exception_stream = io.StringIO()
    def at_once(): raise ValueError("at once")
    def later(): gevent.sleep(0.001); raise KeyError("later")
    def exits(): raise gevent.GreenletExit("exits")
    for callback in (at_once, later, exits):
        for wait in (lambda: gevent.sleep(20), gevent.event.Event().wait, gevent.spawn(gevent.sleep, 20).join):
            watched = gevent.signal_handler(signal.SIGUSR1, callback)
            keep = gevent.spawn(gevent.sleep, 20)
            gevent.spawn(os.kill, os.getpid(), signal.SIGUSR1)
            try: wait()
            except BaseException as error: print(type(error).__name__, error)
            watched.cancel(); keep.kill()
    print(stream.getvalue().count("Traceback"))
    """
    expected = ["ValueError at once"] * 3 + ["KeyError 'later'"] * 3 + ["GreenletExit exits"] * 3
    assert on_loop(source) == [*expected, "6"]


def test_greenlet_of_a_signal_callback(on_loop: Program) -> None:
    """The callback runs in a greenlet of ``greenlet_class``, by way of ``handle``."""
    source = """
    import gevent, os, signal
    from gevent.event import AsyncResult
    seen = AsyncResult()
    class Mine(gevent.Greenlet): pass
    class Handler(gevent.signal_handler):
        greenlet_class = Mine
        def handle(self): seen.set((type(gevent.getcurrent()).__name__, self.handler)); super().handle()
    handler = Handler(signal.SIGUSR1, print, "called")
    gevent.spawn(os.kill, os.getpid(), signal.SIGUSR1)
    print(seen.get(timeout=5)[0]); gevent.sleep(0)
    print(gevent.signal_handler.greenlet_class is gevent.Greenlet)
    """
    assert sorted(on_loop(source)) == ["Mine", "True", "called"]


@pytest.mark.parametrize("patched", [False, True])
def test_futures(on_loop: Program, patched: bool) -> None:
    """``concurrent.futures.wait`` and ``as_completed`` wait for the executor's futures, without any time limit."""
    source = f"""
    import gevent, gevent.monkey
    sleep = gevent.monkey.get_original("time", "sleep")
    if {patched}: gevent.monkey.patch_all()
    import concurrent.futures as futures
    from gevent.threadpool import ThreadPoolExecutor
    executor = ThreadPoolExecutor(2)
    def job(number): sleep(0.02); return number
    def jobs(): return [executor.submit(job, number) for number in range(4)]
    def collect():
        done, left = futures.wait(jobs())
        return len(done), len(left), sorted(future.result() for future in futures.as_completed(jobs()))
    print(collect(), gevent.spawn(collect).get())
    print(len(futures.wait(jobs(), return_when=futures.FIRST_COMPLETED).done) > 0)
    print(isinstance(executor, futures.ThreadPoolExecutor), list(executor.map(job, range(3))))
    prepared = []
    with ThreadPoolExecutor(1, initializer=prepared.append, initargs=(7,)) as other:
        other.submit(int).result(); other.submit(int).result()
    print(prepared)
    """
    assert on_loop(source) == ["(4, 0, [0, 1, 2, 3]) (4, 0, [0, 1, 2, 3])", "True", "True [0, 1, 2]", "[7]"]


def test_failed_tasks_are_reported(on_loop: Program) -> None:
    """A task of a thread pool that fails goes to ``hub.handle_error``, whether its result is taken or not."""
    source = """
    import gevent, io
    from gevent.threadpool import ThreadPool, ThreadPoolExecutor
    stream = gevent.get_hub().exception_stream = io.StringIO()
    pool, executor = ThreadPool(1), ThreadPoolExecutor(1)
    def fails(): raise KeyError("lost")
    def exits(): raise gevent.GreenletExit
    for start in (pool.spawn, executor.submit, lambda task: pool.apply_async(task)):
        stream.seek(0); stream.truncate()
        gevent.wait([start(fails)]); start(exits); gevent.sleep(0); pool.join()
        print(stream.getvalue().count("Traceback"), "failed with KeyError" in stream.getvalue())
    print(type(pool.spawn(int)) is gevent.event.AsyncResult, bool(pool), pool.join(), bool(pool))
    """
    assert on_loop(source) == ["1 True"] * 3 + ["True True None False"]


@pytest.mark.parametrize("accelerators", ["1", "0"])
def test_copy_of_a_local_with_slots(program: Program, accelerators: str) -> None:
    """A copied ``local`` has the values of its slots, and those of this greenlet's attributes, and is independent."""
    source = """
    from copy import copy
    import gevent
    from gevent.local import local
    gevent.sleep(0)
    class Slotted(local):
        __slots__ = ("shared", "unset")
        def __init__(self, shared):
            self.shared = shared
    one = Slotted([1])
    one.path = "one"
    two = copy(one)
    two.path = "two"
    print(one.path, two.path, two.shared is one.shared, hasattr(two, "unset"))
    """
    assert program(source, HUBBUB_ACCELERATORS=accelerators) == ["one two True False"]


def test_a_thread_that_ends_after_a_waiter(on_loop: Program) -> None:
    """The hub of a thread whose last greenlet a Waiter has woken ends with the thread, and leaves no hub."""
    source = """
    import gc, sys, threading
    from gevent.hub import Hub, Waiter, get_hub
    sys.unraisablehook = print
    def body():
        waiter = Waiter()
        get_hub().loop.timer(0.001).start(waiter.switch, "value")
        print(waiter.get())
        waiter = Waiter()
        get_hub().loop.timer(0.001).start(waiter.throw, KeyError)
        try:
            waiter.get()
        except KeyError:
            print("KeyError")
    for _ in range(2):
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
    gc.collect()
    print(sum(isinstance(thing, Hub) for thing in gc.get_objects()))
    """
    assert on_loop(source) == ["value", "KeyError", "value", "KeyError", "0"]


def test_every_hub_is_watched(on_loop: Program) -> None:
    """With ``config.monitor_thread`` each hub has its monitor as soon as it runs, in threads of pools too."""
    source = """
    import gevent
    from gevent.threadpool import ThreadPool
    gevent.config.monitor_thread = True
    def monitor():
        gevent.sleep(0.001)
        return gevent.get_hub().periodic_monitoring_thread
    one, other = monitor(), ThreadPool(1).apply(monitor)
    print(type(one).__name__, type(other).__name__, one is not other)
    """
    assert on_loop(source) == ["PeriodicMonitoringThread PeriodicMonitoringThread True"]


def test_priority_of_an_active_watcher(on_loop: Program) -> None:
    """``watcher.priority`` can be set while the watcher is stopped, and is refused while it is active."""
    source = """
    import gevent, os
    loop = gevent.get_hub().loop
    for watcher in (loop.timer(9), loop.io(os.pipe()[0], 1), loop.idle(), loop.prepare(), loop.async_(), loop.fork()):
        watcher.priority = 1
        watcher.start(int)
        try: watcher.priority = 2
        except AttributeError: pass
        else: print("taken", watcher)
        print(watcher.priority, end=" ")
        watcher.stop()
        watcher.priority = -2
        try: watcher.priority = "x"
        except TypeError: print(watcher.priority)
    """
    assert on_loop(source) == ["1 -2"] * 6


def test_waiter_shows_itself(program: Program) -> None:
    """A Waiter's text tells who waits, and the value or error that came."""
    source = """
    import gevent
    from gevent.hub import Waiter
    waiter = Waiter(); print(waiter)
    waiter.switch(3); print(waiter)
    waiter.clear(); waiter.throw(KeyError("k")); print(waiter)
    waiter.clear(); waiter.switch(waiter); print(str(waiter).startswith("<Waiter greenlet=None value=<gevent."))
    waiter.clear(); greenlet = gevent.spawn(waiter.get); gevent.sleep(0); print(repr(greenlet) in str(waiter))
    """
    assert program(source) == [
        "<Waiter greenlet=None>",
        "<Waiter greenlet=None value=3>",
        "<Waiter greenlet=None exc_info=(KeyError('k'),)>",
        "True",
        "True",
    ]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("gevent.sleep('1')", "sleep takes a number of seconds, not '1'"),
        ("gevent.sleep(None)", "sleep takes a number of seconds, not None"),
        ("gevent.spawn(5)", "must be callable, not 5"),
        ("gevent.spawn(print('x'))", None),
        ("gevent.spawn_later(1)", "spawn_later needs a function to run"),
        ("gevent.spawn(coroutine)", "is a coroutine function"),
        ("gevent.Greenlet(coroutine)", "is a coroutine function"),
        ("gevent.spawn_raw(5)", "function must be callable"),
        ("gevent.signal_handler(10, 5)", "signal handler must be callable"),
        ("gevent.event.AsyncResult().set_exception(5)", "must be an exception, not 5"),
        ("gevent.pool.Pool(1).spawn(5)", "must be callable, not 5"),
        ("gevent.threadpool.ThreadPoolExecutor(1, initializer=5)", "initializer must be a callable"),
    ],
)
def test_bad_arguments(program: Program, call: str, said: str | None) -> None:
    """What cannot be right is a TypeError at the call, which says what was given."""
    source = f"""
    import gevent, gevent.event, gevent.pool, gevent.threadpool
    async def coroutine(): pass
    try: print({call})
    except TypeError as error: print(error)
    """
    lines = program(source)
    if said is None:
        assert lines[0] == "x"  # gevent runs nothing then, as it does without a function
    else:
        assert said in lines[-1]


def test_submodules_are_attributes(program: Program) -> None:
    """After ``import gevent`` every submodule is its attribute, but for gevent.monkey, gevent.signal, and nonsense."""
    source = """
    import gevent, sys
    print(gevent._imap.IMap.__name__, gevent.pool.Pool.__name__, gevent._hub_local.get_hub is gevent.get_hub)
    print(hasattr(gevent, "monkey"), hasattr(gevent, "nonsense"), hasattr(gevent, "__wrapped__"))
    print(hasattr(gevent, "signal"), "gevent.monkey" in sys.modules)
    import gevent.signal
    print(callable(gevent.signal.signal))
    import gevent.monkey
    print(gevent.monkey.saved)
    """
    assert program(source) == ["IMap Pool True", "False False False", "False False", "True", "{}"]


def test_shapes(program: Program) -> None:
    """Names are of the kind that gevent's are, and take their arguments in gevent's ways."""
    source = """
    import gevent, gevent.hub, gevent.select, gevent.thread, gevent.signal, gevent.event, gevent.os, os
    read, write = os.pipe(); os.write(write, b"x")
    poll = gevent.select.poll()
    poll.register(fd=read, eventmask=gevent.select.POLLIN)
    print(isinstance(poll, gevent.select.poll), poll.poll(timeout=0) == [(read, gevent.select.POLLIN)])
    poll.modify(fd=read, eventmask=0); print(poll.poll(timeout=1)); poll.unregister(fd=read)
    print(gevent.select.select(rlist=[read], wlist=[], xlist=[], timeout=0) == ([read], [], []))
    selector = gevent.selectors.DefaultSelector()
    selector.register(fileobj=read, events=1, data="d"); print(selector.select(timeout=0)[0][0].data)
    selector.modify(fileobj=read, events=1, data="e"); print(selector.unregister(fileobj=read).data)
    epoll = gevent.select.epoll(sizehint=-1, flags=0)
    epoll.register(fd=read, eventmask=1); print(epoll.poll(timeout=0, maxevents=1) == [(read, 1)])
    print(gevent.thread.LockType.__module__, gevent.thread.allocate_lock is gevent.thread.LockType)
    print(gevent.signal.set_wakeup_fd(fd=-1), gevent.event.AsyncResult.value, gevent.hub.Hub.ident_registry)
    try: gevent.os.waitpid(pid=-1, options=os.WNOHANG)
    except ChildProcessError: print("no children")
    print(gevent.version_info.major, gevent.version_info == (20, 0, 0, "dev", 0))
    """
    assert program(source) == [
        "True True",
        "[]",
        "True",
        "d",
        "e",
        "True",
        "gevent.thread True",
        "-1 None None",
        "no children",
        "20 True",
    ]


def test_tls_socket_is_made_by_its_class(on_loop: Program) -> None:
    """``gevent.ssl.SSLSocket(sock, _context=...)`` is a TLS socket, of a subclass too, even without a socket."""
    source = """
    import gevent, trustme
    from gevent import socket, ssl
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("localhost").configure_cert(server); authority.configure_trust(client)
    class Mine(ssl.SSLSocket):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.mine = True
    one, other = socket.socketpair()
    greenlet = gevent.spawn(ssl.SSLSocket, one, server_side=True, _context=server)
    mine = Mine(other, server_hostname="localhost", _context=client)
    theirs = greenlet.get(timeout=20)
    mine.sendall(b"hello"); print(theirs.recv(10), type(mine).__name__, type(theirs).__name__, mine.mine)
    print(isinstance(mine, socket.socket), mine.version() == theirs.version(), other.fileno())
    print(type(ssl.SSLSocket(do_handshake_on_connect=False)).__name__)
    """
    assert on_loop(source) == ["b'hello' Mine SSLSocket True", "True True -1", "SSLSocket"]


STOPPED = """
import gevent, time
from gevent import pywsgi, socket
started, go = gevent.event.Event(), gevent.event.Event()
def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        started.set(); go.wait(20)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"answer"]
server = pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None, spawn={spawn}); server.start()
def ask(path):
    client = socket.create_connection(server.address)
    client.sendall(f"GET {{path}} HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n".encode())
    return client
def rest(client):
    data = b""
    while piece := client.recv(1000): data += piece
    return data
idle = ask("/"); print(b"Connection" in idle.recv(1000))
slow = ask("/slow"); started.wait(20)
begun = time.monotonic()
stopping = gevent.spawn(server.stop, 20)
print(rest(idle), time.monotonic() - begun < 5)
go.set()
answer = rest(slow)
print(b"Connection: close" in answer, answer.endswith(b"answer"))
stopping.join(20); print(stopping.ready(), time.monotonic() - begun < 10)
"""


@pytest.mark.parametrize("spawn", ["'default'", "4"])
def test_stop_ends_idle_connections(on_loop: Program, spawn: str) -> None:
    """``server.stop()`` closes idle keep-alive connections at once; the answer that runs says ``Connection: close``."""
    assert on_loop(STOPPED.format(spawn=spawn)) == ["False", "b'' True", "True True", "True True"]


def test_not_modified_with_a_length(on_loop: Program) -> None:
    """A 304 may say how long the body would be (RFC 9110, 15.4.5); the connection goes on after it."""
    source = """
    from gevent import pywsgi, socket
    def application(environ, start_response):
        start_response("304 Not Modified", [("Content-Length", "1234"), ("ETag", '"x"')])
        return []
    server = pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None); server.start()
    client = socket.create_connection(server.address)
    for _ in range(2):
        client.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        answer = client.recv(1000)
        print(answer.split(b"\\r\\n")[0], b"Content-Length: 1234" in answer, answer.endswith(b"\\r\\n\\r\\n"))
    """
    assert on_loop(source) == ["b'HTTP/1.1 304 Not Modified' True True"] * 2


def test_chunks_count_and_not_a_length(on_loop: Program) -> None:
    """Of a request with chunks and a length the application sees no length, and the connection ends (RFC 9112, 6.3)."""
    source = """
    from gevent import pywsgi, socket
    def application(environ, start_response):
        print(environ["PATH_INFO"], environ.get("CONTENT_LENGTH"), environ["wsgi.input"].read())
        start_response("200 OK", [("Content-Length", "0")])
        return []
    server = pywsgi.WSGIServer(("127.0.0.1", 0), application, log=None); server.start()
    client = socket.create_connection(server.address)
    head = b"POST /first HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 99\\r\\nTransfer-Encoding: chunked\\r\\n\\r\\n"
    client.sendall(head + b"2\\r\\nab\\r\\n0\\r\\n\\r\\nGET /second HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
    answer = b""
    while piece := client.recv(1000): answer += piece
    print(b"Connection: close" in answer, answer.count(b"HTTP/1.1"))
    """
    assert on_loop(source) == ["/first None b'ab'", "True 1"]


def test_backdoor_shows_a_module(on_loop: Program) -> None:
    """At the prompt of the backdoor ``__builtins__`` is the module, so that ``locals()`` is short."""
    source = """
    import gevent
    from gevent import socket
    from gevent.backdoor import BackdoorServer
    server = BackdoorServer(("127.0.0.1", 0), locals={"mine": 1}); server.start()
    client = socket.create_connection(server.address)
    def until_prompt():
        data = b""
        while not data.endswith(b">>> "): data += client.recv(1000)
        return data
    until_prompt()
    client.sendall(b"locals()\\n")
    shown = until_prompt()
    print(b"<module 'builtins' (built-in)>" in shown, b"'mine': 1" in shown, len(shown) < 500)
    """
    assert on_loop(source) == ["True True True"]


def test_reports_of_half_made_greenlets(on_loop: Program) -> None:
    """A report goes on whatever it meets: greenlets whose constructor failed or was left out, values without a repr."""
    source = """
    import gevent, gevent.event, gevent.local, gevent.util, io
    class Unmade(gevent.Greenlet):
        def __init__(self): pass
    class Shy:
        def __repr__(self): raise RuntimeError("not me")
    kept = [Unmade()]
    for wrong in (5, None.__class__):
        try: gevent.spawn(wrong, Shy())
        except TypeError as error: kept.append(error)
    values = gevent.local.local(); values.shy = Shy()
    gevent.getcurrent().spawn_tree_locals = {"shy": Shy()}
    asleep = gevent.spawn(gevent.sleep, 9, Shy()); gevent.sleep(0)
    report = "\\n".join(gevent.util.format_run_info())
    print("__init__ was not called" in report, "not me" in report, "Greenlets" in report)
    stream = io.StringIO(); gevent.util.print_run_info(file=stream); print(len(stream.getvalue()) > 100)
    asleep.kill()
    try: gevent.event.Event().wait()
    except gevent.hub.LoopExit as error: print("block forever" in str(error))
    """
    assert on_loop(source) == ["True True True", "True", "True"]


def test_locks_can_be_linked(on_loop: Program) -> None:
    """Locks have of semaphores what gevent's have: a counter, a wait that takes nothing, and links."""
    source = """
    import gevent, gevent.thread
    lock = gevent.thread.allocate_lock()
    print(lock.counter, lock.wait(), lock.acquire(), lock.counter, lock.wait(0.001))
    waiting = gevent.spawn(lambda: gevent.wait([lock], timeout=20))
    gevent.sleep(0); print(waiting.ready())
    lock.release()
    print(waiting.get(timeout=5) == [lock], isinstance(lock, gevent.thread.LockType), lock.counter, lock.linkcount())
    with lock: print(gevent.wait([lock], timeout=0.001))
    """
    assert on_loop(source) == ["1 1 True 0 0", "False", "True True 1 0", "[]"]


def test_callbacks_wait(on_loop: Program) -> None:
    """What runs in the hub may wait by all means of gevent's, where gevent raises BlockingSwitchOutError."""
    source = """
    import os, signal
    import gevent
    from gevent.event import AsyncResult, Event
    from gevent.hub import Waiter
    from gevent.lock import BoundedSemaphore
    from gevent.queue import Channel, Queue
    hub, done = gevent.get_hub(), []
    def by_all_means(where):
        gevent.sleep(0); gevent.sleep(0.001)
        worker = gevent.spawn(gevent.sleep, 0.002); worker.join(); assert worker.dead
        queue, channel, event, result = Queue(), Channel(), Event(), AsyncResult()
        gevent.spawn(lambda: (gevent.sleep(0.001), queue.put(1), channel.put(2), event.set(), result.set(3)))
        assert [queue.get(), channel.get(), event.wait(), result.get()] == [1, 2, True, 3]
        lock = BoundedSemaphore(1); lock.acquire()
        gevent.spawn_later(0.001, lock.release); lock.acquire()
        waiter = Waiter(); hub.loop.run_callback(waiter.switch, 5); assert waiter.get() == 5
        waiter = Waiter(); hub.loop.run_callback(waiter.throw, ValueError("thrown"))
        try: waiter.get()
        except ValueError: pass
        with hub.loop.timer(0.001) as timer: hub.wait(timer)
        assert gevent.with_timeout(0.001, Queue().get, timeout_value=7) == 7
        assert hub.threadpool.spawn(lambda: 8).get() == 8
        done.append(where)
    hub.loop.run_callback(by_all_means, "callback")
    timer = hub.loop.timer(0.001); timer.start(by_all_means, "timer")
    gevent.spawn(int).rawlink(lambda _: by_all_means("link"))
    signal.signal(signal.SIGUSR1, lambda *_: by_all_means("handler"))
    hub.loop.run_callback(os.kill, os.getpid(), signal.SIGUSR1)
    class Dying:
        def __del__(self): by_all_means("destructor")
    hub.loop.run_callback([Dying()].clear)
    with gevent.Timeout(20):
        while len(done) < 5: gevent.sleep(0.001)
    print(sorted(done))
    """
    assert on_loop(source) == ["['callback', 'destructor', 'handler', 'link', 'timer']"]
