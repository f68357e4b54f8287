"""For a native accelerator of TLS: which methods it has in C, and what they know.

The methods are marked where they are written (``@twin``). An accelerator is found by the entry point ``methods`` in the
group :data:`GROUP`; :class:`hubbub.lowlevel.Twins` says what that has to be.
"""

from __future__ import annotations

from typing import Final

from hubbub.lowlevel import Twins

__all__ = [
    "GROUP",
    "LAYOUT",
    "MIRRORED",
    "PARTS",
    "TWINS",
    "accelerate",
    "accelerate_with_hubs",
    "known_to_c",
    "mirrored",
    "slow_down",
    "twin",
]

GROUP: Final = "hubbub.net_accelerators"
"""The entry-point group."""
LAYOUT: Final = 1
"""The version of the attributes, and of what the methods promise one another."""
_twins = Twins(GROUP, LAYOUT)
PARTS: Final = _twins.parts
"""The classes, functions and numbers that an accelerator knows, by name."""
TWINS: Final = _twins.replaced
"""The methods that an accelerator replaces, and the C file of hubbub-net-speed that has the twin."""
MIRRORED: Final = _twins.copied
"""What stays in Python while methods in C do its work themselves, and their C file."""
twin: Final = _twins.twin
mirrored: Final = _twins.mirrored
known_to_c: Final = _twins.known_to_c
accelerate: Final = _twins.accelerate
accelerate_with_hubs: Final = _twins.accelerate_with_hubs
slow_down: Final = _twins.slow_down
