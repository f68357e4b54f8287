"""Checks of arguments: the call that gives a wrong one fails at once, with an error that says what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, isasyncgenfunction, iscoroutinefunction
from types import BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import Any

from hubbub._reports import name_of

__all__ = [
    "ASYNCHRONOUS",
    "as_seconds",
    "check_exception",
    "check_function",
    "check_waitable",
    "listed",
    "whole_number",
]

ASYNCHRONOUS = CO_COROUTINE | CO_ASYNC_GENERATOR
"""The flags in the code of functions that only asyncio can run."""


def check_function(function: Any, what: str = "the function to run") -> None:
    """:raises TypeError: ``function`` cannot be called, or is a coroutine function, whose result nobody would await."""
    kind = type(function)
    if kind is MethodType:
        inner = function.__func__
        if type(inner) is FunctionType and not inner.__code__.co_flags & ASYNCHRONOUS:
            return
    if kind is BuiltinFunctionType or (kind is FunctionType and not function.__code__.co_flags & ASYNCHRONOUS):
        return
    if not callable(function):
        raise TypeError(f"{what} must be callable, not {name_of(function)}{_hint(function)}")
    if _is_asynchronous(function):
        raise TypeError(
            f"{what} is a coroutine function, {name_of(function)}: calling it only makes a coroutine, and nobody would "
            "await that. It needs asyncio: run asyncio.run with it, or use the asyncio bridge (hubbub-asyncio)"
        )


def _hint(given: Any) -> str:
    if given is None:
        return ": did you call it? Give the function and its arguments, f, x and not f(x)"
    if type(given) is CoroutineType:
        return ": a coroutine needs asyncio, for instance by the asyncio bridge (hubbub-asyncio)"
    return ""


def _is_asynchronous(function: Any) -> bool:
    # Only the object's type is looked at: a proxy's attributes may say, or do, anything.
    while issubclass(type(function), (partial, MethodType)):
        function = function.func if issubclass(type(function), partial) else function.__func__
    if issubclass(type(function), type):
        return False  # calling a class makes an object
    candidates = (function, type(function).__call__)
    return any(
        type(one) is FunctionType and (iscoroutinefunction(one) or isasyncgenfunction(one)) for one in candidates
    )


def as_seconds(value: float) -> float:
    """``value``, or 0 if it is below 0.

    :raises TypeError: it is no number.
    :raises ValueError: it is NaN.
    """
    try:
        if value > 0.0:
            return value
        if value <= 0.0:
            return 0.0
    except TypeError:
        raise TypeError(f"a time in seconds must be a number, not {value!r}") from None
    raise ValueError("a time in seconds cannot be NaN")


def whole_number(value: Any, what: str, least: int = 0) -> int:
    """``value``, a number of ``what``.

    :raises TypeError: it is no whole number.
    :raises ValueError: it is below ``least``.
    """
    if not isinstance(value, int):
        raise TypeError(f"{what} must be a whole number, not {value!r}")
    if value < least:
        negative = " (negative)" if value < 0 else ""
        raise ValueError(f"{what} must be {least} or more, not {value!r}{negative}")
    return value


def listed(objects: Iterable[Any], what: str) -> list[Any]:
    """``objects`` as a list.

    :raises TypeError: they are no iterable of ``what``.
    """
    try:
        return list(objects)
    except TypeError:
        if isinstance(objects, Iterable):
            raise  # the error comes from the iteration itself
        raise TypeError(f"an iterable of {what} is needed, not {objects!r}") from None


def check_waitable(item: Any) -> None:
    """:raises TypeError: ``item`` has no ``rawlink``: it cannot be waited for."""
    if not hasattr(item, "rawlink"):
        raise TypeError(
            f"cannot wait for {item!r}: what can be waited for has rawlink(), as a greenlet or an event has"
        )


def check_exception(exception: Any) -> None:
    """:raises TypeError: ``exception`` is neither an exception nor a class of exceptions."""
    if not (
        isinstance(exception, BaseException) or (isinstance(exception, type) and issubclass(exception, BaseException))
    ):
        raise TypeError(f"an exception, or a class of exceptions, is needed, not {exception!r}")
