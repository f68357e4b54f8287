"""gevent.monkey on hubbub."""

from hubbub_monkey import PatchWarning as MonkeyPatchWarning
from hubbub_monkey.patching import originals as saved  # noqa: F401  # gevent.monkey.saved, which gevent does not list

from hubbub_gevent.monkey._main import main
from hubbub_gevent.monkey._patching import (
    is_anything_patched as is_anything_patched,
)
from hubbub_gevent.monkey._patching import (
    is_module_patched,
    is_object_patched,
    patch_all,
    patch_builtins,
    patch_dns,
    patch_os,
    patch_queue,
    patch_select,
    patch_signal,
    patch_socket,
    patch_ssl,
    patch_subprocess,
    patch_sys,
    patch_thread,
    patch_time,
)
from hubbub_gevent.monkey._patching import (
    patch_contextvars as patch_contextvars,
)
from hubbub_gevent.monkey._patching import (
    patch_selectors as patch_selectors,
)
from hubbub_gevent.monkey.api import get_original, patch_module
from hubbub_gevent.monkey.api import patch_item as patch_item
from hubbub_gevent.monkey.api import remove_item as remove_item

__all__ = [
    "MonkeyPatchWarning",
    "get_original",
    "is_module_patched",
    "is_object_patched",
    "main",
    "patch_all",
    "patch_builtins",
    "patch_dns",
    "patch_module",
    "patch_os",
    "patch_queue",
    "patch_select",
    "patch_signal",
    "patch_socket",
    "patch_ssl",
    "patch_subprocess",
    "patch_sys",
    "patch_thread",
    "patch_time",
]
