"""The headers of native backends: found by a function, and complete."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hubbub.loop import native
from hubbub.loop.native import building

COMPILER = shutil.which("cc")
# As much as a third party writes first: it does not link, but each declaration is used as it is declared.
PROGRAM = """
#include "hb.cdef.h"
#include "hb_shared.h"
struct hb_loop { struct hb_owner owner; struct hb_ring ring; struct hb_table handles; struct hb_bell bell; };
int hb_own(hb_loop *loop) { return loop ? hb_take_over(&loop->owner) : -ENXIO; }
int *hb_fired(hb_loop *loop) { return loop ? loop->ring.pairs : 0; }
"""


def test_both_headers_are_where_the_function_says():
    """include_folder is the folder of both headers, and cdef the text of the first."""
    folder = Path(native.include_folder())
    assert (folder / "hb_shared.h").is_file()
    assert native.cdef() == (folder / "hb.cdef.h").read_text()


def test_cffi_reads_the_declarations():
    """cffi takes the text as it stands."""
    cffi = pytest.importorskip("cffi")
    ffi = cffi.FFI()
    ffi.cdef(native.cdef())
    assert ffi.typeof("hb_loop *").kind == "pointer"


@pytest.mark.skipif(COMPILER is None, reason="no C compiler")
def test_a_package_of_others_compiles_against_them(tmp_path):
    """A C file that has only the folder on its path finds all that it needs, without a warning."""
    source = tmp_path / "mine.c"
    source.write_text(PROGRAM)
    flags = ["-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", f"-I{native.include_folder()}"]
    done = subprocess.run([COMPILER, *flags, str(source)], capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr


def test_tags_of_wheels():
    """A wheel of the stable ABI is for the oldest Python that the package takes, on this platform."""
    pytest.importorskip("packaging")
    assert building.stable_tag(">=3.11").startswith("cp311-abi3-")


def test_a_new_module_replaces_older_builds(tmp_path):
    """A module is put in place as a whole, and a build for one version does not hide one for all."""
    package, scratch = tmp_path / "package", tmp_path / "scratch"
    for folder in (package, scratch):
        folder.mkdir()
    (package / "_mine.cpython-311-x86_64-linux-gnu.so").write_text("old")
    (package / "_mine.abi3.so").write_text("old")
    built = scratch / "_mine.abi3.so"
    built.write_text("new")
    building.put(built, package)
    assert {path.name: path.read_text() for path in package.iterdir()} == {"_mine.abi3.so": "new"}
