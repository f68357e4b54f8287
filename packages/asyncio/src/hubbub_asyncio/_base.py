"""asyncio's event loop with the private parts that hubbub's uses and replaces, which type checkers do not know."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any

__all__ = ["SelectorEventLoop"]

if TYPE_CHECKING:

    class SelectorEventLoop(asyncio.SelectorEventLoop):
        """As :class:`asyncio.SelectorEventLoop`."""

        _closed: bool
        _clock_resolution: float
        _current_handle: asyncio.Handle | None
        _debug: bool
        _ready: deque[Any]
        _scheduled: list[Any]
        _signal_handlers: dict[int, Any]
        _stopping: bool
        _task_factory: Any
        _thread_id: int | None
        _timer_cancelled_count: int

        def __init__(self, selector: Any = None) -> None: ...
        def _asyncgen_firstiter_hook(self, agen: Any) -> None: ...
        def _asyncgen_finalizer_hook(self, agen: Any) -> None: ...
        def _call_soon(self, callback: Any, args: Any, context: Context | None) -> asyncio.Handle: ...
        def _check_callback(self, callback: Callable[..., Any], method: str) -> None: ...
        def _check_closed(self) -> None: ...
        def _check_running(self) -> None: ...
        def _check_signal(self, sig: int) -> None: ...
        def _make_socket_transport(self, *args: Any, **kwargs: Any) -> Any: ...

else:
    from asyncio.unix_events import _UnixSelectorEventLoop as SelectorEventLoop
