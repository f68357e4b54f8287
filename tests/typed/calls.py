"""What type checkers know of calls. Nobody runs this.

``./do types`` has mypy and pyright find an error in each line that says ``wrong``, and in no other.
"""

from __future__ import annotations

from contextvars import Context
from typing import assert_type

import hubbub
from hubbub import Greenlet, TaskGroup, joinall, spawn, spawn_later, to_thread, with_timeout
from hubbub.pool import Group, Pool
from hubbub.threadpool import ThreadPool, ThreadPoolExecutor


def work(size: int, name: str = "") -> bytes:
    return name.encode() * size


def nothing() -> None: ...


class Worker(Greenlet[str]):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def _run(self) -> str:
        return "x" * self.size


# Greenlets ------------------------------------------------------------------------------------------------------------

assert_type(spawn(work, 1), Greenlet[bytes])
assert_type(spawn(work, 1).get(), bytes)
assert_type(spawn(work, 1, name="a").get(timeout=1), bytes)
assert_type(spawn(work, 1, context=Context()).get(), bytes)
assert_type(spawn(nothing).get(), None)
assert_type(spawn(lambda: 3).get(), int)
number: int = spawn(work, 1).get()  # wrong: bytes
spawn(work)  # wrong: size is missing
spawn(work, "1")  # wrong: size is no text
spawn(work, 1, nmae="a")  # wrong: no such argument
spawn(work, 1, "a", 2)  # wrong: one too many
spawn(nothing, 1)  # wrong: it takes none
spawn(3)  # wrong: not callable

assert_type(spawn_later(0.5, work, 1), Greenlet[bytes])
assert_type(spawn_later(0.5, work, 1, context=Context()).get(), bytes)
spawn_later(0.5, work)  # wrong: size is missing
spawn_later("0.5", work, 1)  # wrong: seconds are a number
spawn_later(work, 1)  # wrong: seconds come first

assert_type(Greenlet(work, 1), Greenlet[bytes])
assert_type(Greenlet(work, 1, context=Context()).get(), bytes)
assert_type(Greenlet.spawn(work, 1).get(), bytes)
assert_type(Greenlet.spawn_later(0.5, work, 1).get(), bytes)
Greenlet(work)  # wrong: size is missing
Greenlet.spawn(work)  # wrong: size is missing
Greenlet.spawn_later(0.5, work)  # wrong: size is missing

assert_type(Worker(3).get(), str)
assert_type(Worker.spawn(3), Worker)
assert_type(Worker.spawn_later(0.5, 3), Worker)
Worker.spawn("3")  # wrong: size is no text
Worker.spawn()  # wrong: size is missing

anything: Greenlet[object] = spawn(work, 1)
bare: Greenlet = spawn(work, 1)
mixed: list[Greenlet] = [spawn(work, 1), spawn(nothing)]

assert_type(joinall([spawn(work, 1)]), list[Greenlet[bytes]])
assert_type(hubbub.wait([spawn(work, 1)], timeout=1), list[Greenlet[bytes]])
assert_type(hubbub.wait(timeout=1), bool)
for greenlet in hubbub.iwait([spawn(work, 1)]):
    assert_type(greenlet.get(), bytes)
joinall(spawn(work, 1))  # wrong: a list is needed

# Groups and pools -----------------------------------------------------------------------------------------------------

pool = Pool(3)
assert_type(Group().spawn(work, 1).get(), bytes)
assert_type(pool.spawn(work, 1), Greenlet[bytes])
assert_type(pool.apply(work, (1,)), bytes)
assert_type(pool.map(work, [1, 2]), list[bytes])
assert_type(pool.map_async(work, [1, 2]).get(), list[bytes])
assert_type(list(pool.imap(work, [1, 2])), list[bytes])
assert_type(list(pool.imap(work, [1, 2], ["a", "b"], maxsize=2)), list[bytes])
assert_type(next(pool.imap_unordered(work, [1, 2])), bytes)
pool.spawn(work)  # wrong: size is missing
pool.spawn(work, "1")  # wrong: size is no text
pool.map(work, ["1"])  # wrong: sizes are no texts
pool.map(nothing, [1])  # wrong: it takes none
pool.imap(work, ["1"])  # wrong: sizes are no texts
pool.imap(work, [1], [2])  # wrong: names are no numbers
pool.imap(work)  # wrong: of what

with TaskGroup() as group:
    assert_type(group.spawn(work, 1), Greenlet[bytes])
    group.spawn(work)  # wrong: size is missing
    group.spawn(work, name="a")  # wrong: size is missing

# Threads --------------------------------------------------------------------------------------------------------------

threads = ThreadPool(3)
executor = ThreadPoolExecutor(3)
assert_type(to_thread(work, 1), bytes)
assert_type(threads.spawn(work, 1).get(), bytes)
assert_type(threads.apply(work, (1,)), bytes)
assert_type(threads.map(work, [1, 2]), list[bytes])
assert_type(executor.submit(work, 1).result(), bytes)
to_thread(work)  # wrong: size is missing
threads.spawn(work)  # wrong: size is missing
threads.spawn(work, "1")  # wrong: size is no text
executor.submit(work)  # wrong: size is missing

# Limits ---------------------------------------------------------------------------------------------------------------

assert_type(with_timeout(1, work, 1), bytes)
assert_type(with_timeout(None, work, 1, timeout_value=None), bytes | None)
with_timeout(1, work)  # wrong: size is missing
with_timeout("1", work, 1)  # wrong: seconds are a number

# Raw greenlets --------------------------------------------------------------------------------------------------------

hubbub.spawn_raw(work, 1)
hubbub.spawn_raw(work)  # wrong: size is missing

# Settings -------------------------------------------------------------------------------------------------------------

hubbub.configure(loop="libev", resolver=None, accelerators=False, threadpool_size=5)
hubbub.configure(lop="libev")  # wrong: no such setting
hubbub.configure(loop=5)  # wrong: a name or a class
hubbub.configure("libev")  # wrong: by name only
hubbub.configure(threadpool_size="5")  # wrong: a number
