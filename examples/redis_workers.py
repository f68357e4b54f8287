"""Workers that take jobs from a list in redis: ``python -m hubbub_monkey redis_workers.py --workers 100``.

A job is a URL; its size goes to the hash ``sizes``. A job is moved to the list ``running`` while a worker has it, so
that none is lost if the process dies. With the standard library patched each worker is a greenlet.
"""

import argparse
import threading
import urllib.request

import redis

direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def size(url: str) -> str:
    """The length of a page in bytes, or the reason why there is none."""
    try:
        with direct.open(url, timeout=10) as response:
            return str(len(response.read()))
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


def work(client: redis.Redis, ending: threading.Event) -> None:
    """Do one job after the other."""
    while not ending.is_set():
        job = client.blmove("jobs", "running", 1, "LEFT", "RIGHT")
        if job is not None:
            client.hset("sizes", job, size(job))
            client.lrem("running", 1, job)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redis", default="redis://127.0.0.1:6379/0")
    parser.add_argument("--workers", type=int, default=20)
    options = parser.parse_args()
    pool = redis.ConnectionPool.from_url(options.redis, decode_responses=True, max_connections=options.workers + 1)
    client = redis.Redis(connection_pool=pool)
    for _ in client.lrange("running", 0, -1):  # of a process that has died
        client.lmove("running", "jobs", "LEFT", "RIGHT")
    ending = threading.Event()
    workers = [threading.Thread(target=work, args=(client, ending)) for _ in range(options.workers)]
    for worker in workers:
        worker.start()
    try:
        ending.wait()
    except KeyboardInterrupt:
        ending.set()  # each worker ends after its job
    for worker in workers:
        worker.join()
