"""Random frames, right and wrong, in random pieces: the server and the websockets library must read the same."""

from __future__ import annotations

import os
import random
import zlib
from typing import Any

import hubbub
import pytest
from hubbub_server import Limits

pytest.importorskip("hubbub_server.websocket")

SEEDS = int(os.environ.get("HUBBUB_STRESS_SEEDS", "200"))
LIMIT = 5000
COMPRESSED = 4


class Sender:
    """Makes the frames of one client.

    :param seed: of all that is random in it.
    :param make: makes one frame.
    """

    def __init__(self, seed: int, make: Any) -> None:
        self.random = random.Random(seed)
        self.make = make
        self.deflates = self.random.random() < 0.5
        self._compressor = zlib.compressobj(6, zlib.DEFLATED, -15)

    def frames(self) -> bytes:
        """Some messages with control frames between them, and often something wrong."""
        data = b"".join(self._message() for _ in range(self.random.randint(1, 8)))
        if self.random.random() < 0.3:
            data += self.make(8, self.random.choice([b"", b"\x03\xe8", b"\x03\xe9bye", b"\x0f\xa0"]))
        if self.random.random() < 0.5:
            data = self._damaged(data)
        return data

    def _message(self) -> bytes:
        pick = self.random
        opcode = pick.choice([1, 2])
        payload = bytes(pick.choices(b"abcdefgh", k=pick.choice([0, 1, 10, 125, 126, 500, 4999, 5000])))
        rsv = 0
        if self.deflates and pick.random() < 0.7:
            payload = (self._compressor.compress(payload) + self._compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]
            rsv = COMPRESSED
        parts = []
        while pick.random() < 0.4 and payload:
            size = pick.randint(0, len(payload))
            parts.append(payload[:size])
            payload = payload[size:]
        parts.append(payload)
        frames = []
        for number, part in enumerate(parts):
            if pick.random() < 0.2:
                frames.append(self.make(pick.choice([9, 10]), bytes(pick.randint(0, 125))))
            last = number == len(parts) - 1
            frames.append(self.make(0 if number else opcode, part, last, 0 if number else rsv, pick.randbytes(4)))
        return b"".join(frames)

    def _damaged(self, data: bytes) -> bytes:
        pick = self.random
        place = pick.randrange(len(data))
        how = pick.randrange(4)
        if how == 0:
            return data[:place]
        if how == 1:
            return data[:place] + bytes([data[place] ^ 1 << pick.randrange(8)]) + data[place + 1 :]
        if how == 2:
            return data[:place] + pick.randbytes(pick.randint(1, 20)) + data[place:]
        return data[:place] + self.make(pick.randrange(16), b"x" * pick.randint(0, 130), bool(pick.randrange(2)),
                                        pick.randrange(8)) + data[place:]  # fmt: skip

    def pieces(self, data: bytes) -> Any:
        """The same bytes in the pieces in which they are sent."""
        while data:
            size = self.random.choice([1, 2, 5, 100, 4000, 70000])
            yield data[:size]
            data = data[size:]


def reference(data: bytes, deflates: bool) -> tuple[list[Any], set[int]]:
    """The messages that the websockets library reads, and the codes with which reading may end.

    It does not look whether texts are UTF-8. A text that is not may end it at any time.
    """
    from websockets.extensions.permessage_deflate import PerMessageDeflate
    from websockets.protocol import OPEN, SERVER, Protocol

    protocol = Protocol(SERVER, state=OPEN, max_size=100 * LIMIT)  # it would count control frames, and compressed bytes
    if deflates:
        protocol.extensions = [PerMessageDeflate(False, False, 15, 15)]
    protocol.receive_data(data)
    protocol.receive_eof()
    messages: list[Any] = []
    codes: set[int] = set()
    kind, parts = 0, b""
    for frame in protocol.events_received():
        if frame.opcode not in (0, 1, 2):
            continue
        kind, parts = frame.opcode or kind, parts + frame.data
        if len(parts) > LIMIT:
            return messages, {1009, 1007}
        if kind == 1:
            try:
                parts.decode()
            except UnicodeDecodeError as error:
                if frame.fin or error.reason != "unexpected end of data":
                    return messages, {1007}
        if frame.fin:
            messages.append(parts.decode() if kind == 1 else parts)
            kind, parts = 0, b""
    codes.add(protocol.close_sent.code if protocol.close_sent is not None else 1006)
    # What the library checks only once a whole frame is there, and in another order, the server sees before.
    if codes & {1002, 1006, 1007}:
        codes |= {1002, 1006, 1007, 1009}
    return messages, codes


@pytest.mark.parametrize("raw", ["HTTP/1.1", "HTTP/2"], indirect=True)
def test_same_as_websockets(serve: Any, raw: Any, peers: Any, errors: Any) -> None:
    """For each seed: the same messages, in their order, and an end that fits; nothing fails, nothing is left."""
    received: list[Any] = []
    ends: list[Any] = []

    def application(environ: Any, start_response: Any) -> list[bytes]:
        socket = environ["hubbub.websocket"]()
        try:
            while True:
                received.append(socket.receive())
        finally:
            ends.append(socket.close_code)

    server = serve(application, limits=Limits(websocket_message_bytes=LIMIT))
    for seed in range(SEEDS):
        sender = Sender(seed, peers.frame)
        extensions = "permessage-deflate" if sender.deflates else None
        client = raw(server, peers.request(Sec_WebSocket_Extensions=extensions))
        data = sender.frames()
        wanted, codes = reference(data, sender.deflates)
        try:
            for piece in sender.pieces(data):
                client.send(piece)
                hubbub.sleep(0)
            client.client.sock.shutdown(1)
        except OSError:
            pass  # the server has ended it already
        code = client.closing()
        client.client.sock.close()
        with hubbub.Timeout(5):
            while not ends:
                hubbub.sleep(0)
        if sender.deflates and code == 1007:  # what follows the last block of a stream the library does not look at
            wanted = wanted[: len(received)]
        assert received == wanted, f"seed {seed}"
        assert {1005 if code is None else code, ends[0]} & codes, f"seed {seed}: {code}, {ends}, not of {codes}"
        received.clear()
        ends.clear()
    with hubbub.Timeout(5):
        while server.websockets:
            hubbub.sleep(0.001)
    assert errors.getvalue() == ""
