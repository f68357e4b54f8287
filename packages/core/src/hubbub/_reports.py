"""Reports failures to a hub, even if the report itself fails; also errors of results that nobody has asked for."""

from __future__ import annotations

import sys
import traceback
from types import NoneType, SimpleNamespace
from typing import Any

from hubbub._originals import get_ident
from hubbub._originals import write as _os_write
from hubbub._struck import is_of_handler
from hubbub.exceptions import HubDestroyed

__all__ = ["Unseen", "careful_name_of", "complain", "context_of", "last_words", "name_of", "tell", "text_of"]


def tell(hub: Any, context: object, error: BaseException, tb: Any = None) -> None:
    """Have ``hub`` report that ``context`` failed with ``error``. Raises nothing but HubDestroyed, which ends the hub.

    If the hub's ``handle_error`` raises, both errors are written to the standard error stream that the process began
    with. What belongs to the main greenlet, such as Ctrl-C, is raised there, soon.
    """
    try:
        hub.handle_error(context, type(error), error, tb if tb is not None else error.__traceback__)
    except BaseException as failure:
        if isinstance(failure, HubDestroyed):  # thrown in while the main greenlet dealt with the error, perhaps
            raise
        last_words(context, error, failure)
        _pass_on(hub, failure)


def _pass_on(hub: Any, failure: BaseException) -> None:
    try:
        if isinstance(failure, hub.SYSTEM_ERROR) or is_of_handler(failure):
            hub.raise_soon(failure)
    except Exception:  # the hub is half made or half torn down, and cannot take the error
        _write("hubbub: it could not be raised in the main greenlet either\n")


def last_words(context: object, error: BaseException | None, failure: BaseException) -> None:
    """Write both errors to the standard error stream that the process began with. Raises nothing."""
    try:
        lines = [
            *([] if error is None else traceback.format_exception(error)),
            f"{context_of(context)} failed with {type(error).__name__}\n",
        ]
        if failure is not error:
            lines += ["The report of that failed too:\n", *traceback.format_exception(failure, chain=False)]
    except BaseException as third:
        names = ", then ".join(type(one).__name__ for one in (error, failure, third))
        lines = [f"hubbub: a failure and the reports of it failed with {names}\n"]
    _write("".join(lines))


def complain(what: str, failure: BaseException) -> None:
    """Write that ``what`` failed to the standard error stream that the process began with. Never raises."""
    last_words(what, failure, failure)


def context_of(context: object) -> str:
    """``context`` as a text for people."""
    return context if type(context) is str else name_of(context)


def name_of(item: object) -> str:
    """The repr of ``item``, or if that fails something that says so. Never raises."""
    try:
        return repr(item)
    except BaseException as error:
        return f"<{type(item).__name__} whose repr failed with {type(error).__name__}>"


def careful_name_of(item: object) -> str:
    """``item`` for people, as :func:`name_of`, without running any code but hubbub's and the interpreter's."""
    kind = type(item)
    if kind in (bool, int, float, str, bytes, NoneType):
        return repr(item)
    module = getattr(kind.__repr__, "__module__", None)
    if isinstance(module, str) and module.partition(".")[0].startswith("hubbub"):
        return name_of(item)
    return f"<{kind.__module__}.{kind.__qualname__} object at {id(item):#x}>"


def text_of(item: object) -> str:
    """``item`` as a text, as :func:`name_of`."""
    try:
        return str(item)
    except BaseException as error:
        return f"<{type(item).__name__} whose str failed with {type(error).__name__}>"


def _write(text: str) -> None:
    try:
        if sys.__stderr__ is not None:
            sys.__stderr__.write(text)
            sys.__stderr__.flush()
            return
    except BaseException:  # noqa: S110  # the next way is tried
        pass
    try:
        _os_write(2, text.encode(errors="backslashreplace"))
    except BaseException:  # noqa: S110  # no way is left to report anything
        pass


class Unseen:
    """Belongs to a result that holds an error. If both are freed before a caller has asked for it, it is reported.

    :param hub: whose ``handle_error`` is told; None: :func:`sys.unraisablehook`.
    :param context: what failed.
    """

    __slots__ = ("context", "error", "hub")

    def __init__(self, hub: Any, context: object, error: BaseException) -> None:
        self.hub: Any = hub
        self.context: object = context
        self.error: BaseException | None = error

    def seen(self) -> None:
        """A caller has asked for the error: it is not reported."""
        self.error, self.context = None, None

    def __del__(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            self._report(error)

    def _report(self, error: BaseException) -> None:
        hub = self.hub
        if hub is None:
            _unraisable(self.context, error)
        elif isinstance(error, hub.NOT_ERROR):
            pass
        elif get_ident() == hub.thread_ident and not isinstance(error, hub.SYSTEM_ERROR):
            tell(hub, self.context, error)  # at once: the loop may never run again
        elif not hub.loop.destroyed:
            hub.loop.run_callback_threadsafe(tell, hub, self.context, error)


def _unraisable(context: object, error: BaseException) -> None:
    try:
        sys.unraisablehook(
            SimpleNamespace(
                exc_type=type(error),
                exc_value=error,
                exc_traceback=error.__traceback__,
                err_msg="Nobody has asked for the failure of",
                object=context,
            )
        )
    except BaseException as failure:
        last_words(context, error, failure)
