"""Counting requests as they end: numbers in places that are known beforehand. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hubbub_server.http.accesslog import Entry, EntryLog, LogStream

__all__ = ["BOUNDS", "STATUSES", "Tally"]

BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the classes of response times, in seconds; a last class has no bound."""
STATUSES: Final = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""Classes of responses; of requests that had none, ``none``."""
_SWITCHED: Final = 101
_SENT, _SECONDS, _STATUSES = range(3)
_TIMES: Final = _STATUSES + len(STATUSES)


class Tally:
    """An access log that counts, and says nothing itself. An exchange knows it, and makes no entry if nobody else wants
    one.

    :param log: the access log besides, or None.
    """

    __slots__ = ("log", "numbers", "stream")

    def __init__(self, log: EntryLog | None) -> None:
        self.log: EntryLog | None = log
        self.stream: LogStream | None = getattr(log, "stream", None)
        """That of the log besides."""
        self.numbers: list[float] = [0.0] * (_TIMES + len(BOUNDS) + 1)
        """Bytes of bodies, the sum of all response times, requests by their responses, and by their times."""

    def count(self, status: int, seconds: float, sent: int) -> None:
        """A request has ended.

        :param status: that of its response, or 0.
        :param seconds: what it took.
        :param sent: bytes of the body of the response.
        """
        numbers = self.numbers
        numbers[_SENT] += sent
        kind = status // 100
        numbers[_STATUSES + (kind if 0 < kind < len(STATUSES) else 0)] += 1
        if status != _SWITCHED:  # a WebSocket lasts as long as it likes, and says nothing of response times
            numbers[_SECONDS] += seconds
            numbers[_TIMES + bisect_left(BOUNDS, seconds)] += 1

    def write(self, entry: Entry) -> None:
        """Count a request that was refused, and have it logged."""
        self.count(entry.status, entry.seconds, entry.sent)
        if self.log is not None:
            self.log.write(entry)

    @property
    def sent(self) -> float:
        """Bytes of bodies of responses."""
        return self.numbers[_SENT]

    @property
    def seconds(self) -> float:
        """The sum of all response times."""
        return self.numbers[_SECONDS]

    @property
    def statuses(self) -> list[float]:
        """Requests by their responses, see :data:`STATUSES`."""
        return self.numbers[_STATUSES:_TIMES]

    @property
    def times(self) -> list[float]:
        """Requests by their response times, see :data:`BOUNDS`."""
        return self.numbers[_TIMES:]
