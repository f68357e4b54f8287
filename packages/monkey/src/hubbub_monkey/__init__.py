"""Makes the standard library cooperative on hubbub.

With ``HUBBUB_MONKEY`` set it is imported before pytest, which would warn that it cannot rewrite the asserts of this
plug-in. It has none: PYTEST_DONT_REWRITE.
"""

import typing

import hubbub.lowlevel

from hubbub_monkey.exceptions import PatchError, PatchWarning, Veto
from hubbub_monkey.patching import (
    get_original,
    is_anything_patched,
    is_module_patched,
    is_object_patched,
    patch_all,
    patch_dns,
    patch_module,
    patch_os,
    patch_queue,
    patch_select,
    patch_selectors,
    patch_signal,
    patch_socket,
    patch_ssl,
    patch_subprocess,
    patch_thread,
    patch_time,
    patched,
    unpatch_all,
)
from hubbub_monkey.report import Left, Replacement, Report, Stale

__all__ = [
    "Left",
    "PatchError",
    "PatchWarning",
    "Replacement",
    "Report",
    "Stale",
    "Veto",
    "get_original",
    "is_anything_patched",
    "is_module_patched",
    "is_object_patched",
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

__version__: str
if not typing.TYPE_CHECKING:
    __getattr__ = hubbub.lowlevel.version_attribute(__name__, "hubbub-monkey")
