# /// script
# dependencies = ["gevent==26.9.0"]
#
# [tool.hubbub]
# seconds = 400
# ///
"""Small random programs, run by gevent itself and on the facade: every greenlet has the same results with both."""

from __future__ import annotations

import json
import os
import subprocess
import sys

PROGRAMS = 150
TRIES = 4
"""A program whose outcome depends on the time may differ now and then, but not always."""

KNOWN = {
    18: "how many turns a result takes to its reader",
    34: "an item goes straight to who waits for it; with gevent it is in the queue until that one runs",
}
"""Programs with another outcome, for a reason."""

PROGRAM = r"""
import json, random, sys
import gevent, gevent.event, gevent.lock, gevent.pool, gevent.queue

gevent.get_hub().exception_stream = None
KINDS = (
    "set clear wait put get putnb getnb acquire try release sleep0 sleep kill fail join getg arset arexc arget arwait "
    "spawn apply imap imapu map jput jget jdone jjoin chput chget rlock timeout iwait waitall group gjoin size ready"
).split()


def double(number):
    gevent.sleep(0)
    return number * 2


def bad(number):
    gevent.sleep(0)
    raise KeyError(number)


def run(seed):
    chance = random.Random(seed)
    events = [gevent.event.Event() for _ in range(2)]
    queue = gevent.queue.Queue(chance.choice([None, 1, 2]))
    tasks, channel = gevent.queue.JoinableQueue(), gevent.queue.Channel()
    semaphore, rlock = gevent.lock.Semaphore(chance.choice([0, 1, 2])), gevent.lock.RLock()
    result, pool, group = gevent.event.AsyncResult(), gevent.pool.Pool(2), gevent.pool.Group()
    greenlets, logs = [], []

    def step(me, kind, other, flag, number):
        limit = 0.03 + 0.01 * (number % 13)  # seldom two at the same time
        task = bad if flag else double
        aside = other is not me
        return {
            "set": events[flag].set, "clear": events[flag].clear, "wait": lambda: events[flag].wait(limit),
            "put": lambda: queue.put(number, timeout=limit), "get": lambda: queue.get(timeout=limit),
            "putnb": lambda: queue.put_nowait(number), "getnb": queue.get_nowait,
            "acquire": lambda: semaphore.acquire(timeout=limit), "try": lambda: semaphore.acquire(blocking=False),
            "release": lambda: semaphore.release() is not None,
            "sleep0": lambda: gevent.sleep(0), "sleep": lambda: gevent.sleep(0.01),
            "kill": lambda: other.kill(block=bool(flag)) if aside else None,
            "fail": lambda: other.kill(ValueError(number), block=bool(flag)) if aside else None,
            "join": lambda: other.join(timeout=limit) if aside else None,
            "getg": lambda: other.get(timeout=limit) if aside else None,
            "arset": lambda: None if result.ready() else result.set(number),
            "arexc": lambda: None if result.ready() else result.set_exception(KeyError(number)),
            "arget": lambda: result.get(timeout=limit), "arwait": lambda: result.wait(timeout=limit),
            "spawn": lambda: pool.spawn(task, number).get(), "apply": lambda: pool.apply(task, (number,)),
            "imap": lambda: list(pool.imap(double, range(3))),
            "imapu": lambda: sorted(pool.imap_unordered(double, range(3))), "map": lambda: pool.map(task, range(3)),
            "jput": lambda: tasks.put(number), "jget": lambda: tasks.get(timeout=limit), "jdone": tasks.task_done,
            "jjoin": lambda: tasks.join(timeout=limit), "chput": lambda: channel.put(number, timeout=limit),
            "chget": lambda: channel.get(timeout=limit),
            "rlock": lambda: (rlock.acquire(), rlock.acquire(), rlock.release(), gevent.sleep(0), rlock.release())[2],
            "timeout": lambda: gevent.with_timeout(0.01, gevent.sleep, 5, timeout_value="late"),
            "iwait": lambda: len(gevent.wait([item for item in greenlets if item is not me], timeout=limit, count=1)),
            "waitall": lambda: len(gevent.wait(events, timeout=limit)),
            "group": lambda: group.spawn(double, number).get(), "gjoin": lambda: group.join(timeout=limit),
            "size": lambda: (queue.qsize(), queue.empty(), queue.full()),
            "ready": lambda: (other.ready(), bool(other), other.successful()) if aside else None,
        }[kind]

    def body(log, steps):
        for kind, place, flag, number in steps:
            try:
                log.append([kind, repr(step(gevent.getcurrent(), kind, greenlets[place], flag, number)())])
            except gevent.Timeout:
                log.append([kind, "Timeout"])
            except Exception as error:
                log.append([kind, type(error).__name__])

    count = chance.randint(2, 4)
    for _ in range(count):
        steps = [
            (chance.choice(KINDS), chance.randrange(count), chance.randrange(2), chance.randrange(100))
            for _ in range(chance.randint(2, 6))
        ]
        logs.append([])
        greenlets.append(gevent.spawn(body, logs[-1], steps))
    gevent.joinall(greenlets, timeout=5)
    states = [(item.ready(), item.successful(), repr(item.exception)) for item in greenlets]
    gevent.killall(greenlets, timeout=5)
    pool.kill(), group.kill(), gevent.sleep(0)
    rest = queue.qsize(), semaphore.counter, tasks.unfinished_tasks, len(pool), pool.free_count(), len(group)
    return [logs, states, rest]


for seed in map(int, sys.argv[1:]):
    print(json.dumps([seed, run(seed)]), flush=True)
"""


def outcomes(facade: bool, seeds: list[int]) -> dict[int, object]:
    """What each program comes to."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("HUBBUB_GEVENT", "GEVENT"))}
    if facade:
        variables["HUBBUB_GEVENT"] = "1"
    command = [sys.executable, "-c", PROGRAM, *map(str, seeds)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150, env=variables)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(line) for line in done.stdout.splitlines())


seeds = [seed for seed in range(PROGRAMS) if seed not in KNOWN]
for _ in range(TRIES):
    theirs, ours = outcomes(False, seeds), outcomes(True, seeds)
    different = [seed for seed in seeds if theirs[seed] != ours[seed]]
    if len(different) < len(seeds):
        print(f"{len(different)} of {len(seeds)} differ: {different}")
    seeds = different
    if not seeds:
        break
for seed in seeds:
    print(f"program {seed}\n  gevent {theirs[seed]}\n  facade {ours[seed]}")
assert not seeds, f"{len(seeds)} programs differ each time"
print(f"{PROGRAMS - len(KNOWN)} programs, the same with both")
