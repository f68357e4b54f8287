"""gevent.exceptions on hubbub."""

from __future__ import annotations

from greenlet import GreenletExit as GreenletExit
from hubbub.exceptions import BlockingSwitchOutError as BlockingSwitchOutError
from hubbub.exceptions import ConcurrentObjectUseError as ConcurrentObjectUseError
from hubbub.exceptions import HubDestroyed as HubDestroyed
from hubbub.exceptions import InvalidSwitchError as InvalidSwitchError
from hubbub.exceptions import InvalidThreadUseError as InvalidThreadUseError
from hubbub.exceptions import LoopExit

__all__ = [
    "LoopExit",
]
