"""Core itself uses nothing that patching replaces."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinFunctionType

import hubbub
import pytest

SOURCES = Path(hubbub.__file__).parent
# What the patches of all packages replace, by module; see their replacements().
REPLACED = {
    "_thread": "LockType RLock _ThreadHandle _local _make_thread_handle _set_sentinel _shutdown allocate allocate_lock "
    "get_ident lock start_joinable_thread start_new start_new_thread",
    "_threading_local": "local",
    "os": "close read readv wait waitpid write writev",
    "queue": "Queue LifoQueue PriorityQueue SimpleQueue",  # all of it is built on threading
    "select": "epoll kqueue poll select",
    "selectors": "DefaultSelector EpollSelector KqueueSelector PollSelector SelectSelector",
    "signal": "set_wakeup_fd",
    "socket": "create_connection create_server fromfd fromshare getaddrinfo getfqdn gethostbyaddr gethostbyname "
    "gethostbyname_ex getnameinfo socket socketpair",
    "ssl": "create_connection",
    "subprocess": "Popen call check_call check_output getoutput getstatusoutput run",
    "threading": "Barrier BoundedSemaphore Condition Event Lock RLock Semaphore Timer _CRLock _allocate_lock "
    "_start_joinable_thread _start_new_thread get_ident local",  # all of it is built on what is replaced
    "time": "monotonic sleep",  # a test that freezes time replaces monotonic wherever it stands
}


BUILDING = SOURCES / "loop" / "native" / "building.py"
"""Runs in build hooks alone."""


def modules() -> list[Path]:
    return sorted({*SOURCES.rglob("*.py")} - {BUILDING})


def dotted(path: Path) -> str:
    return ".".join(("hubbub", *path.relative_to(SOURCES).with_suffix("").parts)).removesuffix(".__init__")


def uses(tree: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """(line, name, whether it is looked up when the module is imported) of every use of a replaced name."""
    aliases = {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    }

    def visit(node: ast.AST, importing: bool) -> Iterator[tuple[int, str, bool]]:
        if isinstance(node, ast.ImportFrom) and node.module in REPLACED:
            for alias in node.names:
                if alias.name in REPLACED[node.module].split():
                    yield node.lineno, f"{node.module}.{alias.name}", importing
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = aliases.get(node.value.id)
            if module in REPLACED and node.attr in REPLACED[module].split():
                yield node.lineno, f"{module}.{node.attr}", importing
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for field, value in ast.iter_fields(node):
            inside = importing and not (function and field == "body")
            if field in ("annotation", "returns"):
                continue  # text: nothing looks them up
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from visit(child, inside)

    yield from visit(tree, True)


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_no_replaced_name_is_looked_up_at_a_call(path):
    """No function of core looks up, when it is called, a name that patching replaces."""
    found = [f"line {line}: {name}" for line, name, importing in uses(ast.parse(path.read_text())) if not importing]
    assert found == []


def test_replaced_names_are_taken_before_anybody_patches():
    """A module of core that takes a name that patching replaces is loaded by ``import hubbub``."""
    code = "import sys, hubbub; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    early = set(done.stdout.split())
    takers = {dotted(path) for path in modules() if any(uses(ast.parse(path.read_text())))}
    # Each is loaded by the patch of its own module, before that replaces anything.
    patches = {"hubbub.os", "hubbub.signal", "hubbub.subprocess"}
    assert takers - early - patches == set()


def test_threads_and_mutexes_come_from_one_place():
    """Only hubbub._originals takes primitives of the modules _thread and threading."""
    for path in modules():
        if path.name != "_originals.py":
            taken = [name for _, name, _ in uses(ast.parse(path.read_text()))]
            assert not [name for name in taken if name.startswith(("_thread.", "threading."))], path


def test_originals_are_the_interpreter_s():
    """What _originals offers belongs to the standard library, and primitives of threads are written in C."""
    made = importlib.import_module("hubbub._originals")
    for name in made.__all__:
        value = getattr(made, name)
        assert value.__module__.split(".")[0] not in ("hubbub", "hubbub_net")
        assert isinstance(value, (BuiltinFunctionType, type)) or name == "socketpair"
    assert not hasattr(made.RLock.acquire, "__code__")


def test_imported_after_others_have_patched():
    """Originals are found even when another library has replaced RLock, allocate_lock and sleep before."""
    code = """
import _thread, time, importlib.machinery, importlib.util, threading
class Cooperative(type(_thread.RLock())):
    pass
lock = _thread.allocate_lock
def allocate_lock(): return lock()
def sleep(seconds): raise AssertionError
_thread.RLock, _thread.allocate_lock, time.sleep = Cooperative, allocate_lock, sleep
from hubbub import _originals
assert type(_originals.RLock()) is _originals.RLock is not Cooperative
assert _originals.allocate_lock is not allocate_lock
ended = _originals.allocate_lock()
ended.acquire()
_originals.start_new_thread(ended.release, ())
assert ended.acquire(True, 10)
_originals.sleep(0)
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], timeout=60, check=True)


USES_EVERYTHING = """
import gc, hubbub
{prepare}
import hubbub.queue, hubbub.event, hubbub.lock, hubbub.thread, hubbub.threadpool, hubbub.pool, hubbub.monitor
from hubbub import _originals
hub = hubbub.get_hub()
made = [kind() for kind in vars(hubbub.queue).values() if isinstance(kind, type) and hasattr(kind, "put")]
made += [hubbub.Event(), hubbub.AsyncResult(), hubbub.Semaphore(), hubbub.Condition(), hubbub.RLock()]
made += [hub.threadpool, hubbub.pool.Pool(2), hubbub.monitor.BlockingDetector()]
hub.threadpool.apply(int)
native = (type(_originals.allocate_lock()), _originals.RLock)
mutexes = [
    (type(owner).__name__, name, value)
    for owner in gc.get_objects()
    if type(owner).__module__.split(".")[0] == "hubbub"
    for name in ("_mutex", "baton", "_running")
    if (value := getattr(owner, name, None)) is not None and not isinstance(value, int)  # a loop counts there
]
assert mutexes
in_c = "hubbub_speed"  # its locks are native ones
wrong = [
    found for found in mutexes
    if not isinstance(found[2], native) and type(found[2]).__module__.split(".")[0] != in_c
]
assert not wrong, wrong
"""


@pytest.mark.unsanitized
@pytest.mark.parametrize("prepare", ["", "import hubbub_monkey; hubbub_monkey.patch_all()"], ids=["plain", "patched"])
def test_mutexes_are_native(prepare):
    """Whatever core makes for itself after patching has native mutexes."""
    if prepare:
        pytest.importorskip("hubbub_monkey")
    code = USES_EVERYTHING.format(prepare=prepare)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
