"""Variables with a value for each hub, for modules that the hub does not know."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

from hubbub._arguments import check_function
from hubbub._current import get_hub
from hubbub._reports import name_of, tell

if TYPE_CHECKING:
    from hubbub.hub import Hub

__all__ = ["HubLocal", "end_locals", "renew_locals"]

T = TypeVar("T")


def _check_functions(*functions: object) -> None:
    for function in functions:
        if function is not None:
            check_function(function, "what makes, ends or renews values")


class HubLocal(Generic[T]):
    """A variable with a value for each hub. The value is made when it is first asked for, and ends with its hub.

    As :class:`trio.lowlevel.RunVar`, and besides: as an attribute of a class of hubs it is an attribute of each hub,
    which can be assigned and deleted.

    :param doc: what it is, for people.
    :param make: returns the value for a hub. None: :meth:`provide` gives this function later.
    :param end: called with the value when the hub is destroyed. Not called when the value is replaced or forgotten:
        callers may go on using it.
    :param renew: called with the value in the child after a fork, if its hub goes on there.
    :raises TypeError: ``doc`` is no text, or one of the others no function.
    """

    def __init__(
        self,
        doc: str,
        make: Callable[[Any], T] | None = None,
        *,
        end: Callable[[T], object] | None = None,
        renew: Callable[[T], object] | None = None,
    ) -> None:
        if not isinstance(doc, str):
            raise TypeError(f"the first argument says what the variable is, as text, not {name_of(doc)}")
        _check_functions(make, end, renew)
        self.__doc__ = doc
        self._make = make
        self._end = end
        self._renew = renew

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.__doc__}>"

    def provide(
        self,
        make: Callable[[Any], T],
        *,
        end: Callable[[T], object] | None = None,
        renew: Callable[[T], object] | None = None,
    ) -> None:
        """Say how values are made, ended and renewed, if the module that makes them is loaded after the declaration.

        :raises RuntimeError: the variable is provided already.
        """
        _check_functions(make, end, renew)
        if self._make is not None:
            raise RuntimeError(f"{self!r} is provided already")
        self._make, self._end, self._renew = make, end, renew

    def get(self, hub: Hub | None = None) -> T:
        """The value for ``hub``, by default this thread's hub. If there is none it is made.

        :raises LookupError: there is none, and no function to make one was given.
        """
        if hub is None:
            hub = get_hub()
        try:
            found: T = hub.locals[self]
            return found
        except KeyError:
            pass
        return self._made(hub)  # out here, so that its errors do not tell of the KeyError

    def _made(self, hub: Hub) -> T:
        if self._make is None:
            raise LookupError(f"{self!r} has no value for {hub!r}, and nobody has provided a way to make one")
        value = self._make(hub)
        kept: T = hub.locals.setdefault(self, value)
        if kept is not value and self._end is not None:  # another greenlet has made one while this one waited
            self._end(value)
        return kept

    def if_made(self, hub: Hub | None = None) -> T | None:
        """The value for ``hub``, by default this thread's hub; None if there is none."""
        return (get_hub() if hub is None else hub).locals.get(self)

    def set(self, value: T, hub: Hub | None = None) -> None:
        """Make ``value`` the value for ``hub``, by default this thread's hub."""
        (get_hub() if hub is None else hub).locals[self] = value

    def forget(self, hub: Hub | None = None) -> None:
        """Drop the value for ``hub``, by default this thread's hub. Harmless if there is none."""
        (get_hub() if hub is None else hub).locals.pop(self, None)

    def end(self, value: T) -> None:
        """End ``value``: its hub is being destroyed."""
        if self._end is not None:
            self._end(value)

    def renew(self, value: T) -> None:
        """Renew ``value``: its hub goes on in the child of a fork."""
        if self._renew is not None:
            self._renew(value)

    # As an attribute of a class of hubs -----------------------------------------------------------------------------

    @overload
    def __get__(self, hub: None, owner: type[Hub]) -> Self: ...

    @overload
    def __get__(self, hub: Hub, owner: type[Hub]) -> T: ...

    def __get__(self, hub: Hub | None, owner: type[Hub]) -> Self | T:
        return self if hub is None else self.get(hub)

    def __set__(self, hub: Hub, value: T) -> None:
        self.set(value, hub)

    def __delete__(self, hub: Hub) -> None:
        self.forget(hub)


def end_locals(hub: Hub) -> None:
    """End all values of ``hub``, the newest first. A failure is reported, and the others are ended all the same."""
    while hub.locals:
        variable, value = hub.locals.popitem()
        _report_failure(hub, variable.end, value)


def renew_locals(hub: Hub) -> None:
    """In the child after a fork: renew all values of ``hub``. A failure is reported, as by :func:`end_locals`."""
    for variable, value in list(hub.locals.items()):
        _report_failure(hub, variable.renew, value)


def _report_failure(hub: Hub, function: Callable[[Any], None], value: Any) -> None:
    try:
        function(value)
    except BaseException as error:
        tell(hub, value, error)
