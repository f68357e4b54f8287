"""gevent.monkey on hubbub."""

from hubbub_monkey import PatchWarning as MonkeyPatchWarning
from hubbub_monkey.patching import originals as saved

from hubbub_gevent.monkey._main import main
from hubbub_gevent.monkey._patching import (
    is_anything_patched,
    is_module_patched,
    is_object_patched,
    patch_all,
    patch_builtins,
    patch_contextvars,
    patch_dns,
    patch_os,
    patch_queue,
    patch_select,
    patch_selectors,
    patch_signal,
    patch_socket,
    patch_ssl,
    patch_subprocess,
    patch_sys,
    patch_thread,
    patch_time,
)
from hubbub_gevent.monkey.api import get_original, patch_item, patch_module, remove_item

__all__ = [
    "MonkeyPatchWarning",
    "get_original",
    "is_anything_patched",
    "is_module_patched",
    "is_object_patched",
    "main",
    "patch_all",
    "patch_builtins",
    "patch_contextvars",
    "patch_dns",
    "patch_item",
    "patch_module",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_selectors",
    "patch_signal",
    "patch_socket",
    "patch_ssl",
    "patch_subprocess",
    "patch_sys",
    "patch_thread",
    "patch_time",
    "remove_item",
    "saved",
]
