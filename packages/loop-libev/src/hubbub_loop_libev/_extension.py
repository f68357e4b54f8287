"""Imports the compiled module, or raises an error that says what to do."""

from __future__ import annotations

from hubbub.exceptions import PluginUnavailable

from hubbub_loop_libev._support import unsupported

if reason := unsupported():
    raise PluginUnavailable(reason)
try:
    from hubbub_loop_libev import _libev as extension
except ImportError as error:
    raise ImportError(
        f"the compiled part of hubbub-loop-libev cannot be loaded ({error}); build it for this Python again with: "
        "pip install --force-reinstall --no-binary hubbub-loop-libev hubbub-loop-libev "
        "(in a checkout: pip install -e packages/loop-libev)"
    ) from error

__all__ = ["extension"]
