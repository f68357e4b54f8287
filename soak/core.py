"""Everything that hubbub itself has."""

from __future__ import annotations

import os
import queue as native_queue
import signal
import socket
import tempfile
import threading
import time
from random import Random

import hubbub
from hubbub import inspect, lock, pool, queue, subprocess, threadpool
from hubbub.fileobject import FileObject
from hubbub.io import Socket
from hubbub.local import local
from hubbub.lowlevel import get_hub
from hubbub.os import waitpid
from support.meter import Soak


class Failure(Exception):
    """What greenlets fail with on purpose."""


soak = Soak()
soak.expect(Failure, hubbub.Timeout)


def fail(*_: object) -> None:
    """A task that fails."""
    raise Failure


def moment(chance: Random) -> float:
    """A short time in seconds."""
    return chance.choice((0, 0, 0.0005, 0.002, 0.005))


def end(chance: Random, greenlets: list[hubbub.Greenlet]) -> None:
    """End greenlets in any way, and wait for their end."""
    for one in greenlets:
        way = chance.randrange(5)
        if way == 0:
            one.kill(block=False)
        elif way == 1:
            one.kill(Failure("killed"), block=False)
        elif way == 2:
            get_hub().loop.run_callback(one.throw, Failure("thrown"))
    hubbub.sleep(moment(chance))
    hubbub.killall(greenlets)


@soak.deed(30)
def spawns(chance: Random) -> None:
    """Spawn, join, get, link, kill."""
    greenlets = [hubbub.spawn(hubbub.sleep, moment(chance)) for _ in range(20)]
    greenlets += [hubbub.spawn_later(moment(chance), hubbub.sleep, moment(chance)) for _ in range(5)]
    greenlets[0].link(lambda _: hubbub.sleep(0))
    hubbub.spawn(greenlets[1].join)
    if chance.random() < 0.5:
        hubbub.joinall(greenlets, timeout=moment(chance))
    end(chance, greenlets)


@soak.deed()
def failures(chance: Random) -> None:
    """Greenlets fail; some errors are taken."""
    greenlets = [hubbub.spawn(fail) for _ in range(5)]
    hubbub.joinall(greenlets)
    try:
        greenlets[0].get()
    except Failure:
        pass


@soak.deed(20)
def conditions(chance: Random) -> None:
    """Wait for conditions, notify some, end the rest."""
    condition = lock.Condition(lock.RLock() if chance.random() < 0.7 else lock.Semaphore())

    def wait() -> None:
        with condition:
            condition.wait(chance.choice((None, 0.001, 1)))

    waiting = [hubbub.spawn(wait) for _ in range(10)]
    hubbub.sleep(moment(chance))
    with condition:
        condition.notify(chance.randrange(10))
    end(chance, waiting)


@soak.deed(20)
def queues(chance: Random) -> None:
    """Put and get beside kills and time limits; no item is lost."""
    kind = chance.choice((queue.SimpleQueue, queue.Queue, queue.LifoQueue, queue.PriorityQueue))
    items: queue.SimpleQueue[int] = kind(chance.choice((None, 1, 3)))
    got: list[int] = []
    put: list[int] = []

    def give(number: int) -> None:
        items.put(number)
        put.append(number)

    def take() -> None:
        while True:
            got.append(items.get(timeout=chance.choice((None, 0.001))))

    def take_quietly() -> None:
        try:
            take()
        except queue.Empty:
            pass

    givers = [hubbub.spawn(give, number) for number in range(20)]
    takers = [hubbub.spawn(take_quietly) for _ in range(3)]
    hubbub.sleep(moment(chance))
    end(chance, givers + takers)
    while items.qsize():
        got.append(items.get_nowait())
    if sorted(got) != sorted(put):
        raise AssertionError(f"put {sorted(put)}, got {sorted(got)}")


@soak.deed()
def channels(chance: Random) -> None:
    """Meet at a channel."""
    meeting: queue.Channel[int] = queue.Channel()
    end(chance, [hubbub.spawn(meeting.put, 1) for _ in range(5)] + [hubbub.spawn(meeting.get) for _ in range(5)])


@soak.deed(20)
def events(chance: Random) -> None:
    """Events and results, with links and limits."""
    event, result = hubbub.Event(), hubbub.AsyncResult[int]()
    waiting: list[hubbub.Greenlet] = [hubbub.spawn(event.wait, chance.choice((None, 0.001))) for _ in range(5)]
    waiting += [hubbub.spawn(result.get) for _ in range(5)]
    waiting += [hubbub.spawn(hubbub.wait_any, [event, result], chance.choice((None, 0.001))) for _ in range(3)]
    event.rawlink(lambda _: None)
    hubbub.sleep(moment(chance))
    event.set()
    result.set(1)
    end(chance, waiting)


@soak.deed(20)
def locks(chance: Random) -> None:
    """Semaphores and locks; none stays taken."""
    one = chance.choice((lock.Semaphore(2), lock.BoundedSemaphore(2), lock.RLock()))

    def hold() -> None:
        with one:
            hubbub.sleep(moment(chance))

    end(chance, [hubbub.spawn(hold) for _ in range(10)])
    with hubbub.Timeout(5, AssertionError("a lock stayed taken")), one:
        pass


@soak.deed(20)
def limits(chance: Random) -> None:
    """Time limits and scopes around waits."""
    with hubbub.Timeout(moment(chance), False):
        hubbub.sleep(moment(chance))
    with hubbub.move_on_after(moment(chance)), hubbub.shield():
        hubbub.sleep(moment(chance))
    try:
        with hubbub.fail_after(moment(chance)):
            hubbub.Event().wait(0.003)
    except TimeoutError:
        pass


@soak.deed(10)
def task_groups(chance: Random) -> None:
    """Groups that end, fail or are cancelled."""
    try:
        with hubbub.TaskGroup() as group:
            for _ in range(5):
                group.spawn(hubbub.sleep, moment(chance))
            if chance.random() < 0.3:
                group.spawn(fail)
            if chance.random() < 0.3:
                group.cancel()
    except ExceptionGroup:
        pass


@soak.deed(10)
def pools(chance: Random) -> None:
    """Pools of greenlets."""
    one = pool.Pool(chance.randrange(1, 5))
    deed = chance.randrange(4)
    if deed == 0:
        one.map(abs, range(10))
    elif deed == 1:
        list(one.imap_unordered(lambda _: hubbub.sleep(moment(chance)), range(10), maxsize=2))
    elif deed == 2:
        for _ in range(5):
            one.spawn(hubbub.sleep, moment(chance))
        one.kill()
    else:
        one.apply_async(fail)
    one.join()


threads = threadpool.ThreadPool(4)
executor = threadpool.ThreadPoolExecutor(4)


@soak.deed(10)
def thread_pools(chance: Random) -> None:
    """Native threads; some waits are cut short, some failures seen by nobody."""
    deed = chance.randrange(6)
    if deed == 0:
        threads.apply(abs, (-1,))
    elif deed == 1:
        threads.spawn(fail)
    elif deed == 2:
        with hubbub.Timeout(0.001, False):
            threads.apply(time.sleep, (0.003,))
    elif deed == 3:
        executor.submit(abs, -1).result()
    elif deed == 4:
        hubbub.to_thread(abs, -1)
    else:
        mine = threadpool.ThreadPool(2)
        end(chance, [hubbub.spawn(mine.join), hubbub.spawn(mine.map, abs, range(5))])
        mine.join()
        mine.kill()


@soak.deed(3)
def native_threads(chance: Random) -> None:
    """A thread with a hub of its own, which sets an event of ours."""
    event = hubbub.Event()
    box: native_queue.SimpleQueue[int] = native_queue.SimpleQueue()

    def work() -> None:
        hubbub.joinall([hubbub.spawn(hubbub.sleep, 0.001) for _ in range(3)])
        box.put(1)
        event.set()

    thread = threading.Thread(target=work)
    thread.start()
    if not event.wait(20):
        raise AssertionError("another thread's event did not come")
    threads.apply(thread.join)


@soak.deed(2)
def processes(chance: Random) -> None:
    """Child processes, some of which are killed."""
    deed = chance.randrange(3)
    if deed == 0:
        subprocess.run(["true"], check=True)
    elif deed == 1:
        if subprocess.run(["cat"], input=b"x" * 10000, capture_output=True, check=True).stdout != b"x" * 10000:
            raise AssertionError("cat said something else")
    else:
        try:
            subprocess.run(["sleep", "10"], timeout=0.005)
        except subprocess.TimeoutExpired:
            pass


@soak.deed(1)
def forks(chance: Random) -> None:
    """A child that goes on with greenlets."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with hubbub.Timeout(10):
                hubbub.joinall([hubbub.spawn(hubbub.sleep, 0.001) for _ in range(3)])
                code = 0 if threadpool.ThreadPool(1).apply(abs, (-1,)) == 1 else 2
        finally:
            os._exit(code)
    with hubbub.Timeout(25, AssertionError("the child hangs")):
        _, status = waitpid(pid, 0)
    if status:
        raise AssertionError(f"the child ended with {status}")


def pair() -> tuple[Socket, Socket]:
    """Two connected sockets."""
    ours, theirs = (Socket(one.family, one.type, one.proto, one.detach()) for one in socket.socketpair())
    return ours, theirs


@soak.deed(20)
def sockets(chance: Random) -> None:
    """Echo over a pair of sockets; readers are killed and time out."""
    ours, theirs = pair()

    def echo() -> None:
        while data := theirs.recv(4096):
            theirs.sendall(data)

    echoing = hubbub.spawn(echo)
    data = bytes(chance.randrange(1, 20000))
    sending = hubbub.spawn(ours.sendall, data)
    got = 0
    with hubbub.Timeout(20, AssertionError("an echo did not come")):
        while got < len(data):
            got += len(ours.recv(65536))
    sending.join()
    reading = hubbub.spawn(ours.recv, 1)
    with hubbub.Timeout(moment(chance), False):
        ours.recv(1)
    reading.kill()
    ours.close()
    echoing.join()
    theirs.close()


@soak.deed(10)
def connections(chance: Random) -> None:
    """Listen, connect, accept on the loopback address."""
    listener = Socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    accepting = hubbub.spawn(lambda: listener.accept()[0])
    client = Socket(socket.AF_INET, socket.SOCK_STREAM)
    client.settimeout(20)
    client.connect(listener.getsockname())
    server = accepting.get()
    client.sendall(b"x")
    if server.recv(1) != b"x":
        raise AssertionError("another octet came")
    waiting = hubbub.spawn(lambda: listener.accept())
    hubbub.sleep(moment(chance))
    waiting.kill()
    for one in (client, server, listener):
        one.close()


@soak.deed(5)
def files(chance: Random) -> None:
    """Pipes and regular files."""
    ours, theirs = os.pipe()
    reader, writer = FileObject(ours, "rb"), FileObject(theirs, "wb")

    def write() -> None:
        writer.write(b"line\n" * 100)
        writer.close()

    writing = hubbub.spawn(write)
    if len(list(reader)) != 100:
        raise AssertionError("lines are missing")
    writing.join()
    reader.close()
    with tempfile.TemporaryFile() as file:
        get_hub().file_pool.apply(file.write, (b"x",))


@soak.deed(5)
def watchers(chance: Random) -> None:
    """Watchers of all kinds, stopped and closed in any order."""
    loop = get_hub().loop
    ours, theirs = pair()
    made = [
        loop.timer(0.001, 0.001),
        loop.io(ours.fileno(), 1),
        loop.idle(),
        loop.prepare(),
        loop.check(),
        loop.async_(),
    ]
    made += [loop.signal(signal.SIGUSR2), loop.stat("/tmp", 1.0), loop.fork()]
    for watcher in made:
        watcher.start(lambda: None)
    os.kill(os.getpid(), signal.SIGUSR2)
    hubbub.sleep(0.002)
    chance.shuffle(made)
    for watcher in made:
        watcher.close()
    ours.close()
    theirs.close()


@soak.deed(5)
def locals_(chance: Random) -> None:
    """Greenlet-local data."""
    mine = local()

    def use() -> None:
        mine.value = object()
        hubbub.sleep(moment(chance))

    end(chance, [hubbub.spawn(use) for _ in range(5)])


@soak.deed(1)
def reports(chance: Random) -> None:
    """Look at everything."""
    if "Hub" not in inspect.report():
        raise AssertionError("the report names no hub")
    get_hub().statistics()


if __name__ == "__main__":
    soak.main()
