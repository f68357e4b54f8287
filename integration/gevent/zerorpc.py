# /// script
# dependencies = ["zerorpc>=0.6.3", "setuptools<81"]
#
# [tool.hubbub]
# environment = { HUBBUB_GEVENT = "1" }
# ///
"""zerorpc over gevent: calls that overlap, streams, errors, heartbeats and lost servers."""

from __future__ import annotations

import gevent.monkey

gevent.monkey.patch_all()

import time

import gevent
import zerorpc
from trial.overlap import overlap
from trial.servers import HOST, free_port


class Service:
    """What the server offers."""

    def wait(self, number: int) -> int:
        """Answers after a while."""
        time.sleep(0.2)
        return number

    def fail(self) -> None:
        """Fails."""
        raise ValueError("as it should")

    @zerorpc.stream
    def count(self, number: int):
        """A stream."""
        return iter(range(number))


address = f"tcp://{HOST}:{free_port()}"
server = zerorpc.Server(Service(), heartbeat=1)
server.bind(address)
serving = gevent.spawn(server.run)

client = zerorpc.Client(address, timeout=20, heartbeat=1)
done = overlap(client.wait)
assert done.results == list(range(20)), done.results
# Latency, without anybody else: each call is a turn on both sides, and no second is lost in a poll.
begun = time.monotonic()
for _ in range(50):
    assert list(client.count(10)) == list(range(10))
took = time.monotonic() - begun
assert took < 10, took
try:
    client.fail()
except zerorpc.RemoteError as error:
    failure = error.msg
assert failure == "as it should", failure
# Several heartbeats go by while many timers come and go beside them.
busy = [gevent.spawn(lambda: [gevent.sleep(0.001) for _ in range(1000)]) for _ in range(20)]
time.sleep(2.5)
assert client.wait(7) == 7
gevent.joinall(busy, raise_error=True)

server.stop()
serving.join(5)
server.close()
try:
    client.wait(1)
except (zerorpc.LostRemote, zerorpc.TimeoutExpired):
    pass
else:
    raise AssertionError("there is no server any more")
client.close()
print(f"calls: {done}; 50 streams in {took:.1f} s")
