"""gevent.monkey.api on hubbub: the functions that patches use."""

from __future__ import annotations

from typing import Any

import hubbub_monkey
from hubbub_monkey.patching import originals

from hubbub_gevent import events as _events
from hubbub_gevent.events import DoNotPatch

__all__ = ["get_original", "patch_item", "patch_module", "remove_item"]


def get_original(mod_name: str, item_name: Any) -> Any:
    """What a name was before patching; for several names, a list."""
    return hubbub_monkey.get_original(mod_name, item_name)


def patch_module(
    target_module: Any,
    source_module: Any,
    items: Any = None,
    _warnings: Any = None,
    _patch_kwargs: Any = None,
    _notify_will_subscribers: bool = True,
    _notify_did_subscribers: bool = True,
    _call_hooks: bool = True,
) -> bool:
    """For plug-ins: replace in one module what another implements (``__implements__``).

    :returns: False if a subscriber prevented it.
    """
    names = items if items is not None else getattr(source_module, "__implements__", None)
    if names is None:
        raise AttributeError(f"{source_module!r} does not have __implements__")
    name = target_module.__name__
    try:
        if _call_hooks:
            _hook(source_module, "_gevent_will_monkey_patch", target_module, items)
        if _notify_will_subscribers:
            _events.notify_and_call_entry_points(
                _events.GeventWillPatchModuleEvent(name, source_module, target_module, items)
            )
    except DoNotPatch:
        return False
    for item in names:
        patch_item(target_module, item, getattr(source_module, item))
    if _call_hooks:
        _hook(source_module, "_gevent_did_monkey_patch", target_module, _warnings)
    if _notify_did_subscribers:
        _events.notify_and_call_entry_points(_events.GeventDidPatchModuleEvent(name, source_module, target_module))
    return True


def _hook(module: Any, name: str, *args: Any) -> None:
    function = getattr(module, name, None)
    if function is not None:
        function(*args)


def patch_item(module: Any, attr: str, newitem: Any) -> None:
    """Replace one name, and keep the original."""
    missing = object()
    old = getattr(module, attr, missing)
    if old is not missing:
        originals.setdefault(module.__name__, {}).setdefault(attr, old)
    setattr(module, attr, newitem)


def remove_item(module: Any, attr: str) -> None:
    """Take away one name, and keep the original."""
    old = getattr(module, attr, None)
    if old is not None:
        originals.setdefault(module.__name__, {}).setdefault(attr, old)
        delattr(module, attr)
