"""Messages in frames: the limit on their size, and permessage-deflate (RFC 7692). No I/O.

Frames are wsproto's. Its extension for compression inflates without a limit, and loses track of a compressed message
in whose middle a ping arrives, so there is one of our own here, made by the same interface.
"""

from __future__ import annotations

import re
import zlib
from typing import Any, Final, Protocol

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, Opcode, RsvBits

from hubbub_server.websocket._usual import header_size

__all__ = ["SHORT", "Deflate", "Measure", "MessageLimit", "comma_separated", "negotiate"]

_NAME: Final = "permessage-deflate"
_NO_BITS = RsvBits(False, False, False)
_RSV1 = RsvBits(True, False, False)
_TAIL: Final = b"\x00\x00\xff\xff"
"""What ends a flush, and is not sent (RFC 7692, 7.2.1)."""
SHORT: Final = 64
"""A message of fewer bytes is not compressed."""
_SLACK = 1024
"""A compressed message may be so much longer than itself; what deflate adds to that is one part in 3,000."""
_STREAMS = 16
"""Most ends of deflate streams in a message. It takes one; each costs more than the two bytes that it is sent in."""
_BITS: Final = 12
"""The window, 4 KiB, that is used unless the client wants a smaller one. A larger one costs 300 KiB a connection."""
_MEMORY: Final = 5
_WINDOW = re.compile(r"(?:[89]|1[0-5])", re.ASCII)
_FLAGS = ("server_no_context_takeover", "client_no_context_takeover")
_SIZES = ("server_max_window_bits", "client_max_window_bits")


class Measure(Protocol):
    """What is known of the messages that are received. (Types of wsproto's extensions are not told to users.)"""

    limit: int | None
    """Bytes of a message; None for no limit."""
    parsed: int
    """Bytes of the frames that wsproto has parsed to their ends."""


class MessageLimit(Extension):
    """Ends a connection whose message gets too long, as early as that can be known. Not negotiated.

    :param limit: bytes; None for no limit.
    """

    name = "limit"
    bits: int | None = None
    """What the server compresses with, if it does."""

    def __init__(self, limit: int | None) -> None:
        self.limit: int | None = limit
        self.parsed: int = 0
        """Bytes of the frames that wsproto has parsed to their ends."""
        self._frame = 0
        """Those of the one that is being received."""
        self._left = -1
        """How much longer the message may get that is being received; below 0: there is none, or no limit."""
        self._data = False
        """Whether the frame that is being received is one of a message."""

    def enabled(self) -> bool:
        """Always."""
        return True

    def offer(self) -> bool | str:
        """Nothing: it is the server's own affair."""
        return False

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int) -> Any:
        """A frame begins; wsproto calls this again if it did not have the whole header yet."""
        return self._begin(opcode, payload_length, 0) or _NO_BITS

    def _begin(self, opcode: Opcode, length: int, slack: int) -> CloseReason | None:
        """A frame begins.

        :param slack: how much longer than its message it may be.
        """
        self._data = not opcode.iscontrol()
        self._frame = header_size(length) + length
        if self._data and opcode is not Opcode.CONTINUATION and self.limit is not None:
            self._left = self.limit
        if self._data and 0 <= self._left < length - slack:
            return CloseReason.MESSAGE_TOO_BIG
        return None

    def frame_inbound_payload_data(self, proto: Any, data: Any) -> Any:
        """A part of a frame."""
        return self._counted(data) if self._data else data

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        """A frame has ended, and with ``fin`` its message."""
        self.parsed += self._frame
        if fin and self._data:
            self._left = -1
        return None

    def _counted(self, data: Any) -> Any:
        if self._left >= 0:
            if len(data) > self._left:
                return CloseReason.MESSAGE_TOO_BIG
            self._left -= len(data)
        return data


class Deflate(MessageLimit):
    """permessage-deflate, with a limit on what messages inflate to.

    :param limit: bytes of a message, inflated; None for no limit.
    :param bits: of the server's window, 9 to 15.
    :param client_bits: of the client's.
    :param forgets: whether the server begins each message anew.
    :param client_forgets: whether the client does.
    """

    name = _NAME

    def __init__(self, limit: int | None, bits: int, client_bits: int, forgets: bool, client_forgets: bool) -> None:
        super().__init__(limit)
        self.bits: int = bits
        self._client_bits = client_bits
        self._forgets = forgets
        self._client_forgets = client_forgets
        self._compressor: Any = None
        self._decompressor: Any = None
        self._compressed = False
        """Whether the message that is being received is."""
        self._streams = 0
        """How many streams of deflate have ended in this message."""

    def frame_inbound_header(self, proto: Any, opcode: Opcode, rsv: RsvBits, payload_length: int) -> Any:
        """A frame begins. The first of a message says whether that is compressed (RFC 7692, 6)."""
        if opcode.iscontrol() or opcode is Opcode.CONTINUATION:
            if rsv.rsv1:
                return CloseReason.PROTOCOL_ERROR
        else:
            self._compressed = rsv.rsv1
            self._streams = 0
        return self._begin(opcode, payload_length, _SLACK if self._compressed else 0) or _RSV1

    def frame_inbound_payload_data(self, proto: Any, data: Any) -> Any:
        """A part of a frame, inflated. Nothing is inflated beyond the limit."""
        if not self._data:
            return data
        return self._inflate(data) if self._compressed else self._counted(data)

    def frame_inbound_complete(self, proto: Any, fin: bool) -> Any:
        """A frame has ended, and with ``fin`` its message."""
        if not (fin and self._data and self._compressed):
            return super().frame_inbound_complete(proto, fin)
        self.parsed += self._frame
        last = self._inflate(_TAIL)
        self._left = -1
        if self._client_forgets:
            self._decompressor = None
        return last

    def _inflate(self, data: Any) -> Any:
        inflated = bytearray()
        try:
            while True:
                if self._decompressor is None:
                    self._decompressor = zlib.decompressobj(-self._client_bits)
                most = self._left - len(inflated) + 1 if self._left >= 0 else 0
                inflated += self._decompressor.decompress(data, most)
                if not self._decompressor.eof or 0 <= self._left < len(inflated):
                    return self._counted(bytes(inflated))
                # A block that says it is the last of its stream: another stream may follow (RFC 7692, 7.2.3.5).
                data, self._decompressor = self._decompressor.unused_data, None
                self._streams += 1
                if self._streams > _STREAMS:
                    return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA

    def frame_outbound(self, proto: Any, opcode: Opcode, rsv: RsvBits, data: Any, fin: bool) -> tuple[RsvBits, bytes]:
        """A frame to send, which is a whole message: compressed if that is worth it."""
        if opcode.iscontrol() or len(data) < SHORT:
            return rsv, data
        if self._compressor is None:
            self._compressor = _compressor(self.bits)
        compressed = _whole(self._compressor, data)
        if self._forgets:
            self._compressor = None
        return _RSV1, compressed

    def forget(self) -> None:
        """A message is sent that this object has not compressed: the next one begins anew, and refers to none."""
        self._compressor = None


def _compressor(bits: int) -> Any:
    return zlib.compressobj(zlib.Z_DEFAULT_COMPRESSION, zlib.DEFLATED, -bits, _MEMORY)


def _whole(compressor: Any, data: bytes) -> bytes:
    compressed: bytes = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return compressed[: -len(_TAIL)]


def comma_separated(value: str) -> list[str]:
    """The elements of a list in a header field (RFC 9110, 5.6.1). Empty ones are left out."""
    return [element for part in value.split(",") if (element := part.strip(" \t"))]


def negotiate(offers: str, limit: int | None) -> tuple[Deflate, str] | None:
    """Accept the first offer of compression that can be met (RFC 7692, 5 and 7.1).

    :param offers: what ``Sec-WebSocket-Extensions`` of the request says.
    :param limit: see :class:`Deflate`.
    :returns: the extension, and what the field of the response says; None if there is no such offer.
    """
    for offer in comma_separated(offers):
        name, *given = [part.strip(" \t") for part in offer.split(";")]
        if name.lower() == _NAME:
            wanted = _parameters(given)
            if wanted is not None:
                return _accepted(wanted, limit)
    return None


def _parameters(given: list[str]) -> dict[str, str | None] | None:
    """The parameters of an offer; None if one is not known, not valid, or there twice (RFC 7692, 7.1)."""
    found: dict[str, str | None] = {}
    for part in given:
        name, equals, raw = part.partition("=")
        name, value = name.strip(" \t").lower(), raw.strip(" \t").strip('"') if equals else None
        known = (name in _FLAGS and value is None) or (
            name in _SIZES and (_WINDOW.fullmatch(value) if value is not None else name == _SIZES[1])
        )
        if not known or name in found:
            return None
        found[name] = value
    # zlib cannot make a window of 256 bytes.
    return None if found.get(_SIZES[0]) == "8" else found


def _accepted(wanted: dict[str, str | None], limit: int | None) -> tuple[Deflate, str]:
    said = [_NAME, *(flag for flag in _FLAGS if flag in wanted)]
    bits = min(int(wanted.get(_SIZES[0]) or 15), _BITS)
    said.append(f"{_SIZES[0]}={bits}")
    client_bits = 15
    if _SIZES[1] in wanted:
        offered = int(wanted[_SIZES[1]] or 15)
        if offered > 8:  # else it keeps its own, smaller one, which any other can read
            client_bits = min(offered, _BITS)
            said.append(f"{_SIZES[1]}={client_bits}")
    return Deflate(limit, bits, client_bits, *(flag in wanted for flag in _FLAGS)), "; ".join(said)
