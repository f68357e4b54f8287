# /// script
# dependencies = ["redis>=5"]
#
# [tool.hubbub]
# programs = ["redis-server"]
# debian = ["redis-server"]
# ///
"""redis over redis-server: blocking pops, commands of one pool of connections, and a subscription."""

import hubbub_monkey

hubbub_monkey.patch_all()

import threading

import redis
from trial.overlap import overlap
from trial.servers import HOST, answers, free_port, scratch, server


def publish(client: redis.Redis) -> None:
    """A subscriber gets what another greenlet publishes."""
    with client.pubsub(ignore_subscribe_messages=True) as subscriber:
        subscriber.subscribe("news")
        subscriber.get_message(timeout=5)
        received = []
        thread = threading.Thread(target=lambda: received.append(next(subscriber.listen())["data"]))
        thread.start()
        assert client.publish("news", "hello") == 1
        thread.join(5)
        assert received == [b"hello"], received


port = free_port()
with scratch({}) as folder:
    command = ["redis-server", "--port", str(port), "--bind", HOST, "--save", "", "--appendonly", "no"]
    with server(command, lambda: answers(port), folder=folder):
        client = redis.Redis(HOST, port)

        def wait(number: int) -> int:
            """One command that the server answers late, and two that it answers at once."""
            assert client.blpop([f"nothing-{number}"], timeout=0.2) is None
            client.incr("count")
            return client.incr(f"own-{number}")

        done = overlap(wait)
        assert done.results == [1] * 20
        assert client.get("count") == b"20"
        publish(client)
        client.close()
print(f"blpop: {done}")
