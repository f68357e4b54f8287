"""Structured concurrency: a block that no greenlet started in it outlives (after :class:`asyncio.TaskGroup`)."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

from greenlet import GreenletExit, getcurrent

from hubbub._identity import Reduce, refuse_copies
from hubbub._interrupt import interrupt
from hubbub._struck import repeatable
from hubbub._waiter import Waiter
from hubbub._waitqueue import WaitQueue
from hubbub.greenlet import Greenlet
from hubbub.scope import Cancelled, CancelScope, shield

if TYPE_CHECKING:
    from typing import Self

__all__ = ["TaskGroup"]


P = ParamSpec("P")
T = TypeVar("T")


class _Task(Greenlet[T]):
    """A member. It tells the group of its failure, not the hub."""

    def __init__(self, group: TaskGroup, function: Callable[..., T], *args: Any, **kwargs: Any) -> None:
        super().__init__(function, *args, **kwargs)
        self._group = group
        self.scope = CancelScope()

    def run(self) -> None:
        """The body, in a scope that the group can cancel."""
        with self.scope:
            super().run()

    def handle_failure(self, error: BaseException) -> None:
        """Tell the group; if the error ends the program, tell the hub too."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            super().handle_failure(error)
            self._group.cancel()
        elif self.keep_failure(error):
            self._group.failed(error)


def _thrown_again(outside: BaseException) -> bool:
    """Have what has interrupted this greenlet raised at its next wait, as something else is raised now.

    False: it is not meant for the greenlet as a whole, or nobody knows.
    """
    if isinstance(outside, Cancelled):
        return True  # its scope does that, for as long as the greenlet is in it
    if not isinstance(outside, (GreenletExit, KeyboardInterrupt, SystemExit)):
        return False
    interrupt(getcurrent(), outside)
    return True


class TaskGroup:
    """``with TaskGroup() as tg: tg.spawn(function, *args)``: the block ends when all its greenlets have ended.

    The first failure, in a greenlet or in the block itself, cancels the rest; an ExceptionGroup of all that failed is
    raised at the end of the block. If the block was killed besides, that is raised at the next wait; a Timeout, or what
    else has interrupted it, is one of the group. The group belongs to one thread.
    """

    __reduce_ex__: ClassVar[Reduce] = refuse_copies

    def __init__(self) -> None:
        self.scope: CancelScope = CancelScope()
        self._tasks: set[_Task[Any]] = set()
        self._errors: list[BaseException] = []
        self._joiners = WaitQueue()
        self._entered = False
        self._ended = False

    def __repr__(self) -> str:
        state = "ended" if self._ended else "cancelled" if self.scope.cancel_called else "active"
        return f"<{type(self).__name__} {state} greenlets={len(self._tasks)} errors={len(self._errors)}>"

    def __len__(self) -> int:
        return len(self._tasks)

    def __bool__(self) -> bool:
        return True

    def spawn(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Greenlet[T]:
        """Start ``function(*args, **kwargs)`` in a greenlet of the group. The group's own greenlets may call this too.

        :raises RuntimeError: the block has not begun, or has ended.
        """
        if not self._entered or self._ended:
            raise RuntimeError(f"{self!r} is not in its block: no greenlet can be started in it")
        task = _Task(self, function, *args, **kwargs)
        try:
            self._tasks.add(task)
            task.rawlink(self._task_ended)
            if self.scope.cancel_called:
                task.scope.cancel()
            task.start()
        except BaseException:  # raised by a signal handler
            if not task.started:
                self._tasks.discard(task)
            raise
        return task

    def cancel(self) -> None:
        """End the block and every greenlet of the group. The block then ends quietly unless something failed."""
        self.scope.cancel()
        for task in list(self._tasks):
            task.scope.cancel()

    def failed(self, error: BaseException) -> None:
        """A member has failed."""
        self._errors.append(error)
        self.cancel()

    @repeatable
    def _task_ended(self, task: Any) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._joiners.wake_all()

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a task group cannot be entered twice")
        self._entered = True
        self.scope.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is not None:
            self.cancel()
        interruption = self._wait_for_all()
        self._ended = True
        mine = isinstance(error, Cancelled) and error.scope is self.scope
        self.scope.__exit__(kind, error, traceback)
        if error is not None and not mine:
            if not isinstance(error, Exception) and not self._errors:
                return False  # a timeout, a kill, Ctrl-C: it belongs to code outside
            if isinstance(error, Exception):
                self._errors.append(error)
        if self._errors:
            errors, self._errors = self._errors, []
            outside = interruption if error is None or isinstance(error, Exception) or mine else error
            if outside is not None and outside not in errors and not _thrown_again(outside):
                errors.append(outside)
            raise BaseExceptionGroup("failures in a task group", errors)
        if interruption is not None and not (isinstance(interruption, Cancelled) and interruption.scope is self.scope):
            raise interruption
        return mine

    def _wait_for_all(self) -> BaseException | None:
        """Wait until every greenlet has ended. What interrupts the wait cancels them, and is returned."""
        interruption: BaseException | None = None
        try:
            self._wait()
        except BaseException as error:
            interruption = error
            self.cancel()
        while self._tasks:
            try:
                with shield():
                    self._wait()
            except BaseException as error:
                interruption = interruption or error
        return interruption

    def _wait(self) -> None:
        while self._tasks:
            waiter = Waiter()
            self._joiners.wait(waiter)
