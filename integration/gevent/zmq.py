# /// script
# dependencies = ["pyzmq>=26"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""pyzmq's green sockets: requests that overlap through a router, publishing, polling, and how soon a message is had."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import time

import gevent
import zmq.green as zmq
from trial.overlap import overlap

context = zmq.Context()


def answer(router: zmq.Socket) -> None:
    """Answers each request after 0.2 s, all at the same time."""

    def later(frames: list[bytes]) -> None:
        gevent.sleep(0.2)
        router.send_multipart(frames)

    while True:
        gevent.spawn(later, router.recv_multipart())


def request(number: int) -> bytes:
    """One request on a socket of its own."""
    with context.socket(zmq.REQ) as client:
        client.connect("inproc://echo")
        client.send(b"%d" % number)
        return client.recv()


def publish() -> None:
    """A subscriber gets a thousand messages in their order."""
    publisher, subscriber = context.socket(zmq.PUB), context.socket(zmq.SUB)
    port = publisher.bind_to_random_port("tcp://127.0.0.1")
    subscriber.connect(f"tcp://127.0.0.1:{port}")
    subscriber.subscribe(b"")
    reader = gevent.spawn(lambda: [subscriber.recv() for _ in range(1000)])
    gevent.sleep(0.5)
    for number in range(1000):
        publisher.send(b"%d" % number)
    assert reader.get(timeout=20) == [b"%d" % number for number in range(1000)]
    publisher.close()
    subscriber.close()


def poll() -> None:
    """A poll without an event ends in time, and does not stop others."""
    with context.socket(zmq.PULL) as silent:
        silent.bind("inproc://silent")
        ticks: list[int] = []
        ticker = gevent.spawn(lambda: [ticks.append(gevent.sleep(0.01)) for _ in range(1000)])
        poller = zmq.Poller()
        poller.register(silent, zmq.POLLIN)
        begun = time.monotonic()
        assert poller.poll(200) == []
        took = time.monotonic() - begun
        ticker.kill()
    assert 0.15 < took < 2, took
    assert len(ticks) > 5, len(ticks)


def latency() -> tuple[float, float]:
    """A message that comes while somebody polls, or waits to receive, is had at once; the longest waits, in seconds."""
    sender, receiver = context.socket(zmq.PUSH), context.socket(zmq.PULL)
    sender.connect(f"tcp://127.0.0.1:{receiver.bind_to_random_port('tcp://127.0.0.1')}")
    poller = zmq.Poller()
    poller.register(receiver, zmq.POLLIN)
    polled, received = [], []
    for number in range(40):
        # Now and then a poll that finds nothing, and other sockets that come and go with their descriptors.
        if number % 10 == 5:
            assert poller.poll(20) == []
            context.socket(zmq.PUSH).close()
        gevent.spawn_later(0.01, sender.send, b"%d" % number)
        begun = time.monotonic()
        if number % 2:
            assert poller.poll(20000) == [(receiver, zmq.POLLIN)]
            polled.append(time.monotonic() - begun)
            receiver.recv()
        else:
            receiver.recv()
            received.append(time.monotonic() - begun)
    sender.close()
    receiver.close()
    return max(polled), max(received)


router = context.socket(zmq.ROUTER)
router.bind("inproc://echo")
gevent.spawn(answer, router)
done = overlap(request)
assert done.results == [b"%d" % number for number in range(20)]
publish()
poll()
polled, received = latency()
assert polled < 0.5, polled
assert received < 0.5, received
print(f"requests: {done}; a poll took at most {polled * 1000:.0f} ms, a recv {received * 1000:.0f} ms")
