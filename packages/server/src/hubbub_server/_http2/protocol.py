"""h2's connection as this server uses it. No I/O.

h2 keeps the states of streams, the windows and the compression. Fields are not its business here: a request is judged
by the parser that judges those of HTTP/1.1, and what is wrong with one ends its stream and not the connection. So the
decoder shows h2 an empty list of fields, and keeps the true one.
"""

from __future__ import annotations

from typing import Any, Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.settings import SettingCodes, Settings
from hpack import Decoder, Encoder, HPACKError, OversizedHeaderListError

from hubbub_server._http2.frames import PREFACE, ConnectionFault
from hubbub_server.http.limits import Limits

__all__ = ["WINDOW", "Field", "Protocol"]

WINDOW: Final = 65535
"""What every window begins with (RFC 9113, 6.9.2)."""
_TABLE = 4096
"""Most bytes of the encoder's dynamic table, whatever a peer offers to keep."""
_MOST = 2**31 - 1

Field = tuple[bytes, bytes]
"""Name and value."""


class _Decoder(Decoder):
    """Keeps what it has decoded.

    :raises ConnectionFault: from :meth:`decode`.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.fields: list[Field] = []

    def decode(self, data: bytes, raw: bool = False) -> Any:
        # Errors as they are would be taken by h2 for others than they are.
        try:
            self.fields = super().decode(data, raw=True)  # type: ignore[assignment]  # with raw it is pairs of bytes
        except OversizedHeaderListError as error:
            raise ConnectionFault(ErrorCodes.ENHANCE_YOUR_CALM, "A list of fields is too long.") from error
        except (HPACKError, IndexError, UnicodeDecodeError) as error:
            raise ConnectionFault(ErrorCodes.COMPRESSION_ERROR, "A field block cannot be decoded.") from error
        return ()


class _Encoder(Encoder):
    """Keeps no more than :data:`_TABLE` bytes of what was sent."""

    @property
    def header_table_size(self) -> int:
        return int(self.header_table.maxsize)

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        Encoder.header_table_size.fset(self, min(value, _TABLE))  # type: ignore[attr-defined]  # a property


class Protocol(H2Connection):
    """The states of one connection of a client.

    :param limits: what it may do.
    :param extended: offer the extended CONNECT (RFC 8441).
    """

    MAX_CLOSED_STREAMS = 1024
    """Of so many streams that have ended it is remembered how."""

    def __init__(self, limits: Limits, extended: bool = False) -> None:
        super().__init__(
            H2Configuration(
                client_side=False,
                validate_inbound_headers=False,
                normalize_inbound_headers=False,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        window = max(limits.stream_window, WINDOW)
        # A list beyond the limit is refused by a response; one that is far beyond ends the connection.
        self._kept = self.decoder = _Decoder(limits.header_bytes * 2)
        self.encoder = _Encoder()
        self.local_settings = Settings(
            client=False,
            initial_values={
                SettingCodes.MAX_CONCURRENT_STREAMS: limits.concurrent_streams,
                SettingCodes.MAX_HEADER_LIST_SIZE: limits.header_bytes,
                SettingCodes.INITIAL_WINDOW_SIZE: window,
                **({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1} if extended else {}),
            },
        )
        self.initiate_connection()
        self.receive_data(PREFACE)  # which the caller has seen
        # That no peer opens more streams than it may is seen to where these are served: for h2, one more would be an
        # error of the connection, while the peer may just not have heard of the limit yet (RFC 9113, 5.1.2).
        self.local_settings.max_concurrent_streams = _MOST
        self.local_settings.acknowledge()
        # The windows of streams hold the peer back. That of the connection is as large as all of them: a stream whose
        # application does not read must not keep others from their bodies.
        self.increment_flow_control_window(min(limits.concurrent_streams * window, _MOST) - WINDOW)

    @property
    def fields(self) -> list[Field]:
        """Those of the last field block."""
        return self._kept.fields
