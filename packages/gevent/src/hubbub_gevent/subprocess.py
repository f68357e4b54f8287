"""gevent.subprocess on hubbub."""

from __future__ import annotations

import subprocess as _std_subprocess
from subprocess import (
    DEVNULL,
    PIPE,
    STDOUT,
    CalledProcessError,
    CompletedProcess,
    SubprocessError,
    TimeoutExpired,
    list2cmdline,
)
from typing import Any

from hubbub.subprocess import Popen, call, check_call, check_output, getoutput, getstatusoutput, run

from hubbub_gevent.fileobject import FileObject

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "FileObject",
    "Popen",
    "SubprocessError",
    "TimeoutExpired",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "list2cmdline",
    "run",
]

__implements__: list[str] = ["Popen", "call", "check_call", "check_output", "run", "CompletedProcess"]


def __getattr__(name: str) -> Any:
    return getattr(_std_subprocess, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_std_subprocess)})
