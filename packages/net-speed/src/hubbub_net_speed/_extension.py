"""Imports the compiled module; if that fails, the error says what to do."""

from __future__ import annotations

from hubbub.exceptions import PluginUnavailable

from hubbub_net_speed._support import unsupported

if reason := unsupported():
    raise PluginUnavailable(reason)
try:
    from hubbub_net_speed import _methods as extension
except ImportError as error:
    raise ImportError(
        f"the compiled part of hubbub-net-speed cannot be loaded ({error}); build it for this Python again with: "
        "pip install --force-reinstall --no-binary hubbub-net-speed hubbub-net-speed "
        "(in a checkout: pip install -e packages/net-speed), or go without: HUBBUB_ACCELERATORS=0"
    ) from error

__all__ = ["extension"]
