"""The end of a worker whose supervisor is gone, also if the worker computes and does not notice."""

from __future__ import annotations

import faulthandler

from hubbub.lowlevel import start_native_thread

from hubbub_server._outlet import native_select

__all__ = ["end_without_supervisor"]


def end_without_supervisor(control: int, seconds: float, errors: int) -> None:
    """When the other end of ``control`` is closed: end this process after so many seconds, unless it has ended then.

    A native thread waits for that, which costs nothing meanwhile. The end itself is C's, and says where the process
    stands. Only C code that keeps the GIL for ever is in the way.

    :param errors: a descriptor for its last words.
    """

    def wait() -> None:
        poll = native_select.poll()
        poll.register(control, 0)  # the end of the other side is always reported
        while not poll.poll():
            pass
        faulthandler.dump_traceback_later(seconds, exit=True, file=errors)

    start_native_thread(wait, ())
