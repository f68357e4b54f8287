"""What a WSGI server logs to: an object with ``write``, made of what the server was given."""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["LoggingLogAdapter", "log_for"]


class _NoopLog:
    """A log that drops everything."""

    def write(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""

    def writelines(self, *args: Any, **kwargs: Any) -> None:
        """Nothing."""


class LoggingLogAdapter:
    """A file that writes to a :class:`logging.Logger`; its other attributes are the logger's."""

    __slots__ = ("_level", "_logger")

    def __init__(self, logger: Any, level: int = 20) -> None:
        object.__setattr__(self, "_logger", logger)
        object.__setattr__(self, "_level", level)

    def write(self, msg: str) -> None:
        """Log one line."""
        self._logger.log(self._level, msg.rstrip("\n"))

    def flush(self) -> None:
        """Nothing: no lines are buffered."""

    def writelines(self, lines: Any) -> None:
        """Log several lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._logger, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._logger, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._logger, name)


def log_for(log: Any, level: int = 20) -> Any:
    """The log that ``log`` means: None for none, ``"default"`` for the standard error stream, a logger, or itself."""
    if log is None:
        return _NoopLog()
    if log == "default":
        return sys.stderr
    if hasattr(log, "log") and not hasattr(log, "write"):
        return LoggingLogAdapter(log, level)
    return log
