"""gevent.util on hubbub."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator
from functools import update_wrapper
from typing import Any, ClassVar

from greenlet import getcurrent, greenlet
from hubbub import inspect as _inspect
from hubbub.greenlet import Greenlet
from hubbub.lowlevel import get_hub, instances

from hubbub_gevent.local import all_local_dicts_for_greenlet

__all__ = [
    "GreenletTree",
    "assert_switches",
    "format_run_info",
    "print_run_info",
    "wrap_errors",
]


_FailedToSwitch = _inspect.FailedToSwitch


class wrap_errors:
    """A callable that returns errors of the given classes instead of raising them."""

    def __init__(self, errors: Any, func: Callable[..., Any]) -> None:
        self.__errors = errors
        self.__func = func
        update_wrapper(self, func)

    @property
    def func(self) -> Callable[..., Any]:
        """The wrapped function."""
        return self.__func

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped function."""
        try:
            return self.__func(*args, **kwargs)
        except self.__errors as error:
            return error

    def __str__(self) -> str:
        return str(self.__func)

    def __repr__(self) -> str:
        return repr(self.__func)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__func, name)


def print_run_info(
    thread_stacks: bool = True, greenlet_stacks: bool = True, limit: Any = Ellipsis, file: Any = None
) -> None:
    """Print what :func:`format_run_info` gives, by default to stderr."""
    lines = format_run_info(thread_stacks=thread_stacks, greenlet_stacks=greenlet_stacks, limit=limit)
    (file or sys.stderr).write("\n".join(lines) + "\n")


def format_run_info(
    thread_stacks: bool = True,
    greenlet_stacks: bool = True,
    limit: Any = Ellipsis,
    current_thread_ident: int | None = None,
) -> list[str]:
    """Lines that tell what native threads and greenlets are doing."""
    limit = None if limit is Ellipsis else limit
    lines: list[str] = []
    _format_threads(lines, thread_stacks, limit)
    lines += ["*" * 80, "* Greenlets", "*" * 80]
    for tree in GreenletTree.forest():
        lines.append("---- Thread boundary")
        lines += tree.format_lines(details={"running_stacks": greenlet_stacks, "running_stack_limit": limit})
    return lines


dump_stacks = format_run_info
"""An older name of :func:`format_run_info`."""


def _format_threads(lines: list[str], stacks: bool, limit: int | None) -> None:
    import threading

    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines += ["*" * 80, "* Threads"]
    for ident, frame in sys._current_frames().items():
        lines.append("*" * 80)
        lines.append(f"Thread 0x{ident:x} ({names.get(ident, 'unknown')})")
        if stacks:
            lines += "".join(traceback.format_stack(frame, limit)).splitlines()
    del frame  # one of them is this function's own


class GreenletTree:
    """A tree of greenlets, each below its spawner or parent."""

    DEFAULT_DETAILS: ClassVar[dict[str, Any]] = {
        "running_stacks": True,
        "running_stack_limit": None,
        "spawning_stacks": True,
        "locals": True,
    }
    greenlet: Any = None
    is_current_tree = False

    def __init__(self, greenlet: Any) -> None:
        self.greenlet = greenlet
        self.child_trees: list[GreenletTree] = []

    def add_child(self, tree: Any) -> None:
        """Add ``tree`` below this one."""
        if tree is not self:
            self.child_trees.append(tree)

    @property
    def root(self) -> bool:
        """Whether this tree is below no other."""
        return _owner(self.greenlet) is None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.greenlet, name)

    def format_lines(self, details: Any = True) -> list[str]:
        """Lines with this greenlet and those below."""
        wishes: dict[str, Any] = {}
        if details:
            wishes = {**self.DEFAULT_DETAILS, **(details if isinstance(details, dict) else {})}
        return list(self._lines([], wishes))

    def format(self, details: Any = True) -> str:
        """:meth:`format_lines` as one text."""
        return "\n".join(self.format_lines(details))

    def __str__(self) -> str:
        return self.format(False)

    def _lines(self, path: list[bool], wishes: dict[str, Any]) -> Iterator[str]:
        """:param path: for this tree and those above it but the root, whether another follows at the same level."""
        yield f"{_branch(path)}{_shown(self.greenlet, _described)}"
        margin = f"{' :' if not path or path[0] else '  '}{' ' * (4 + 6 * len(path))}"
        yield from (f"{margin}{line}" for line in self._facts(wishes))
        for number, child in enumerate(self.child_trees, 1):
            yield from child._lines([*path, number < len(self.child_trees)], wishes)

    def _facts(self, wishes: dict[str, Any]) -> Iterator[str]:
        item = self.greenlet
        if wishes:
            yield f"Parent: {_shown(item.parent)}"
        if wishes.get("running_stacks") and item.gr_frame is not None and not item.dead:
            yield "Running:"
            yield from _stack_lines(item.gr_frame, wishes.get("running_stack_limit"))
        if wishes.get("spawning_stacks") and getattr(item, "spawning_stack", None) is not None:
            yield "Spawned at:"
            yield from _stack_lines(item.spawning_stack, wishes.get("spawning_stack_limit"))
        if not wishes.get("locals"):
            return
        shared = getattr(item, "spawn_tree_locals", None)
        spawner = _owner(item)
        if shared and shared is not getattr(spawner, "spawn_tree_locals", None):
            yield "Spawn Tree Locals"
            yield _shown(shared)
        found = [entry for entry in all_local_dicts_for_greenlet(item) if entry[1]]
        if found:
            yield "Greenlet Locals:"
        for (kind, ident), values in found:
            yield f"  Local {kind} at {ident:#x}"
            yield f"    {_shown(values)}"

    @classmethod
    def forest(cls) -> list[Any]:
        """The trees of all greenlets that are reachable."""
        found = [item for item in instances(greenlet) if not getattr(item, "greenlet_tree_is_ignored", False)]
        here = getcurrent()
        trees = {id(item): cls(item) for item in [*found, here]}
        for item in [*found, here]:
            while (owner := _owner(item)) is not None and id(owner) not in trees:
                trees[id(owner)] = cls(owner)
                item = owner
        while (owner := _owner(here)) is not None:
            here = owner
        roots = []
        for tree in trees.values():
            owner = _owner(tree.greenlet)
            if owner is None:
                roots.append(tree)
            else:
                trees[id(owner)].add_child(tree)
        trees[id(here)].is_current_tree = True
        return roots

    @classmethod
    def current_tree(cls) -> Any:
        """The tree that the current greenlet is in."""
        return next(tree for tree in cls.forest() if tree.is_current_tree)


def _owner(item: Any) -> Any:
    """The greenlet below which a greenlet is shown: its spawner or parent."""
    if getattr(item, "greenlet_tree_is_root", False):
        return None
    spawner = getattr(item, "spawning_greenlet", None)
    owner = spawner() if spawner is not None else None
    return owner if owner is not None else item.parent


def _branch(path: list[bool]) -> str:
    if not path:
        return ""
    return f" {''.join('|    ' if more else '     ' for more in path[:-1])}+--- "


def _shown(item: Any, show: Callable[[Any], str] = repr) -> str:
    """``show(item)``, or a note that it failed: the object may be half made or half torn down."""
    try:
        return show(item)
    except Exception as error:
        return f"<{type(item).__name__} at {id(item):#x}, which cannot be shown: {type(error).__name__}: {error}>"


def _described(item: Any) -> str:
    if isinstance(item, Greenlet) and hasattr(item, "_state"):
        item.name  # noqa: B018 - makes the name, so that it is shown
        return f"{item!r}{_outcome(item)}"
    return f"{item!r}{'' if item else '; not running'}"


def _outcome(item: Greenlet) -> str:
    if not item.ready():
        return "" if item else "; not running"
    if item.exception is not None:
        return f"; finished with exception {item.exception!r}"
    return "; finished" if item.value is None else f"; finished with value {repr(item.value)[:30]}"


def _stack_lines(frame: Any, limit: int | None) -> list[str]:
    """The frames of a stack, the outermost first, as tracebacks show them."""
    found: list[traceback.FrameSummary] = []
    while frame is not None and (limit is None or len(found) < limit):
        found.insert(0, traceback.FrameSummary(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
        frame = frame.f_back
    return [line for text in traceback.format_list(found) for line in text.splitlines()]


class assert_switches:
    """Fails if the block never switches to another greenlet, or blocks longer than it may.

    :raises AssertionError: at the end of the block.
    """

    hub: Any = None
    tracer: Any = None

    def __init__(self, max_blocking_time: float | None = None, hub_only: bool = False) -> None:
        self.hub = get_hub()
        self.max_blocking_time = max_blocking_time
        self.hub_only = hub_only

    def __enter__(self) -> assert_switches:
        self.tracer = _inspect.assert_switches(self.max_blocking_time, self.hub_only)
        self.tracer.__enter__()
        return self

    def __exit__(self, kind: Any, value: Any, tb: Any) -> None:
        tracer, self.tracer = self.tracer, None
        tracer.__exit__(kind, value, tb)


def clear_stack_frames(frame: Any) -> None:
    """Clear the variables of those frames of a stack that do not run."""
    while frame is not None:
        try:
            frame.clear()
        except RuntimeError:
            pass  # the frame runs
        frame = frame.f_back
