"""Patching and undoing it.

A patch replaces names in a module of the standard library by cooperative ones. Every call here is all or nothing: if
anything fails, what was there before is put back. Repeating a call is harmless.
"""

from __future__ import annotations

import threading
import warnings
from _thread import get_ident
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from greenlet import getcurrent

from hubbub_monkey import _journal, _plan, _stale, _whereabouts, events
from hubbub_monkey._existing import NativeLock, NativeRLock
from hubbub_monkey.exceptions import PatchWarning, Veto
from hubbub_monkey.report import Left, Replacement, Report

__all__ = [
    "get_original",
    "is_anything_patched",
    "is_module_patched",
    "is_object_patched",
    "originals",
    "patch_all",
    "patch_dns",
    "patch_module",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_selectors",
    "patch_signal",
    "patch_socket",
    "patch_ssl",
    "patch_subprocess",
    "patch_thread",
    "patch_time",
    "patched",
    "unpatch_all",
]

_main_thread = threading.main_thread
originals: dict[str, dict[str, Any]] = _journal.originals
"""``{module: {name: what was there before any patch}}``, for what is replaced at present. To be read only."""


def patch_all(**modules: bool | None) -> Report:
    """Apply every installed patch.

    Call it first, before other imports: a module that has run ``from time import sleep`` already keeps the original.
    The report lists such places.

    :param modules: by name (``dns os queue select selectors signal socket ssl subprocess thread time``, or that of any
        entry point in ``hubbub.patches``): False leaves a module alone, True insists on it; the rest is patched if a
        package for it is installed.
    :raises PatchError: an unknown name, one that is insisted on and not installed, or another value than True, False
        and None.
    """
    return _patch(modules, only=False)


def patch_module(*names: str) -> Report:
    """Apply the patches of these names.

    :raises PatchError: one is unknown or not installed.
    :raises TypeError: one is not a string.
    """
    _plan.check_names(names)
    return _patch(dict.fromkeys(names, True), only=True)


def patch_dns() -> Report:
    """Make lookups in :mod:`socket` cooperative."""
    return patch_module("dns")


def patch_os() -> Report:
    """Make :mod:`os` cooperative: ``fork``, ``waitpid`` and their kin."""
    return patch_module("os")


def patch_queue() -> Report:
    """Make :mod:`queue` cooperative."""
    return patch_module("queue")


def patch_select() -> Report:
    """Make :mod:`select` cooperative."""
    return patch_module("select")


def patch_selectors() -> Report:
    """Make :mod:`selectors` cooperative."""
    return patch_module("selectors")


def patch_signal() -> Report:
    """Make :mod:`signal` cooperative."""
    return patch_module("signal")


def patch_socket(dns: bool = True) -> Report:
    """Make :mod:`socket` cooperative.

    :param dns: lookups too.
    """
    return patch_module("socket", *(["dns"] if dns else []))


def patch_ssl() -> Report:
    """Make :mod:`ssl` cooperative, also contexts that were made before."""
    return patch_module("ssl")


def patch_subprocess() -> Report:
    """Make :mod:`subprocess` cooperative."""
    return patch_module("subprocess")


def patch_thread() -> Report:
    """Make threads greenlets: :mod:`threading`, its locks and :class:`threading.local`."""
    return patch_module("threading")


def patch_time() -> Report:
    """Make :func:`time.sleep` cooperative."""
    return patch_module("time")


def unpatch_all() -> tuple[str, ...]:
    """Put back every original.

    Objects made meanwhile (sockets, locks, threads) stay what they are.

    :returns: the names of the patches undone, the newest first.
    """
    with _journal.lock:
        names = tuple(reversed(_journal.applied))
        _undo(names)
        return names


@contextmanager
def patched(*names: str, **modules: bool | None) -> Iterator[Report]:
    """Patch for the length of a block. What was patched before it stays patched after it.

    :param names: patches to apply; without any, all that are installed.
    :param modules: as for :func:`patch_all`.
    """
    _plan.check_names(names)
    report = _patch({**dict.fromkeys(names, True), **modules}, only=bool(names))
    try:
        yield report
    finally:
        with _journal.lock:
            _undo(name for name in reversed(report.patched) if name in _journal.applied)


def get_original(module: str, name: str | list[str] | tuple[str, ...]) -> Any:
    """What ``module.name`` was before patching; for several names, a list. Works for modules that are not patched too.

    :raises AttributeError: there is no such name.
    :raises ImportError: there is no such module.
    :raises TypeError: ``name`` is neither a name nor a list of names.
    """
    if isinstance(name, str):
        return _journal.original(module, name)
    if not isinstance(name, list | tuple):
        raise TypeError(f"expected the name of an attribute of {module!r}, or a list of names, not {name!r}")
    return [_journal.original(module, item) for item in name]


def is_module_patched(module: str) -> bool:
    """Whether anything in ``module`` is replaced at present."""
    return bool(_journal.replaced(module))


def is_object_patched(module: str, name: str) -> bool:
    """Whether ``module.name`` is replaced at present."""
    return bool(_journal.replaced(module, name))


def is_anything_patched() -> bool:
    """Whether any patch is in force."""
    return bool(_journal.applied)


def _patch(asked: Mapping[str, bool | None], only: bool) -> Report:
    """What all patching functions call: choose, plan, set, check, report."""
    with _journal.lock:
        wanted, left = _plan.choose(asked)
        if only:
            names = {_plan.ALIASES.get(name, name) for name, wish in asked.items() if wish}
            wanted = [name for name in wanted if name in names]
            left = []
        troubles = [*_misplaced(), *_contradictions(left), *_half(wanted, left, asked)]
        already = tuple(name for name in wanted if name in _journal.applied)
        done: list[str] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", PatchWarning)
            steps = _plan.plan(name for name in wanted if name not in _journal.applied)
            try:
                for step in steps:
                    _apply(step, done, left)
                report = _report(done, already, left, troubles, caught)
                events.publish(events.DidPatchAll(report))
            except BaseException:
                _undo(reversed(done))
                raise
        try:
            _warn(report, caught)
        except BaseException:  # warnings may be made errors
            _undo(reversed(done))
            raise
    return report


def _warn(report: Report, caught: list[warnings.WarningMessage]) -> None:
    for item in caught:
        if not issubclass(item.category, PatchWarning):
            warnings.warn_explicit(item.message, item.category, item.filename, item.lineno)
    for text in report.warnings:
        warnings.warn(text, PatchWarning, stacklevel=_whereabouts.callers_level())


def _apply(step: _plan.Step, done: list[str], left: list[Left]) -> None:
    try:
        events.publish(events.WillPatch(step.name, step.replacements))
    except Veto as veto:
        left.append(Left(step.name, f"vetoed: {veto}" if str(veto) else "vetoed by a subscriber"))
        return
    entry = _journal.Applied(step.name)
    _journal.applied[step.name] = entry
    done.append(step.name)
    for planned in step.replacements:
        # A veto may have prevented what this step was planned to replace.
        old = _journal.current(planned.module, planned.name)
        item = Replacement(planned.module, planned.name, old, planned.new, planned.patch, planned.provider)
        entry.replacements.append(item)
        _journal.substitute(item)
    if step.installed is not None:
        entry.ending = step.installed()
    events.publish(events.DidPatch(step.name, step.replacements))


def _undo(names: Iterable[str]) -> None:
    for name in tuple(names):
        _journal.restore(_journal.applied[name])


def _report(done: list[str], already: tuple[str, ...], left: list[Left], troubles: list[str], caught: Any) -> Report:
    replacements = tuple(item for name in done for item in _journal.applied[name].replacements)
    texts = [str(item.message) for item in caught if issubclass(item.category, PatchWarning)]
    texts += _whereabouts.old_objects(replacements, NativeLock, NativeRLock)
    return Report(
        patched=tuple(done),
        already=already,
        left=tuple(left),
        replacements=replacements,
        stale=tuple(_stale.find(replacements)),
        warnings=tuple(troubles + texts) if done or troubles else (),
    )


def _misplaced() -> Iterator[str]:
    """What is wrong with the time or place of the call that patches."""
    if get_ident() != _main_thread().ident:
        yield "patching from another thread than the main one: the main thread's hub, locks and signals are not covered"
    elif getcurrent().parent is not None:
        yield "patching in a greenlet: others already run on what is being replaced; patch first, in the main greenlet"


def _contradictions(left: list[Left]) -> Iterator[str]:
    for item in left:
        if item.patch in _journal.applied:
            yield f"{item.patch} was to be left alone, and is patched already; unpatch_all() puts it back"


def _half(wanted: list[str], left: list[Left], asked: Mapping[str, bool | None]) -> Iterator[str]:
    """The modules that block all greenlets, because threads become greenlets and no installed package patches these."""
    missing = [item for item in left if item.patch in _plan.PROVIDERS and asked.get(item.patch) is not False]
    if "threading" not in wanted or not missing:
        return
    packages = sorted({_plan.PROVIDERS[item.patch] for item in missing})
    yield (
        f"threads become greenlets, and {', '.join(item.patch for item in missing)} will stop all of them whenever one "
        f"waits there: {' and '.join(packages)} is not installed"
    )
