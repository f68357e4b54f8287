"""What the documents say of names, settings and examples is so."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import hubbub
import pytest
from hubbub import plugins

from tools import chart, growth, performance

if TYPE_CHECKING:
    from conftest import Package

NAMED = re.compile(r"`(?:python -m )?(hubbub(?:_[a-z]+)?(?:\.[A-Za-z_]+)+|hubbub_[a-z]+)(?=[`(])")
"""A dotted name in code. What ends in a call or stands alone is a name; anything else in the quotes is not."""

GROUPS = {
    plugins.LOOPS,
    plugins.RESOLVERS,
    plugins.PATCHES,
    plugins.ACCELERATORS,
    "hubbub.asyncio_accelerators",
    "hubbub.server_accelerators",
    "hubbub.applications",
}
TABLES = ("errors.md", "porting.md", "settings.md")
FOR_DEVELOPERS = {"HUBBUB_STRESS_SEEDS", "HUBBUB_TESTS_AT_ONCE", "HUBBUB_TEST_LOOPS", "HUBBUB_SPEED_METHODS_H"}
"""Variables of the tools and the tests, not of the packages."""


@pytest.mark.parametrize("page", TABLES)
def test_names_exist(root: Path, page: str) -> None:
    """Every name of hubbub's that a table of the documentation has can be imported."""
    names = set(NAMED.findall((root / "docs" / page).read_text())) - GROUPS
    assert len(names) > 2
    for name in sorted(names):
        pkgutil.resolve_name(name)


UNSEEN = {"hubbub.exceptions.StandInRetired", "hubbub_testkit.conformance.kit.Expected"}
"""Errors that nobody meets outside of a loop, or of a test."""


def test_all_errors_are_listed(root: Path, packages: list[Package]) -> None:
    """Every public exception is on the page of errors; those of the facade are gevent's."""
    page = (root / "docs" / "errors.md").read_text()
    found = {
        f"{name}.{public}"
        for package in packages
        if package.short != "gevent"
        for name in package.modules()
        if not any(part.startswith("_") for part in name.split("."))
        for public in getattr(importlib.import_module(name), "__all__", ())
        if is_error(getattr(sys.modules[name], public, None), name)
    }
    assert len(found) > 20
    assert {name for name in found - UNSEEN if not re.search(rf"\b{name.rpartition('.')[2]}`", page)} == set()


def is_error(thing: object, module: str) -> bool:
    """Whether a module defines this exception, or a private one beside it does."""
    return (
        isinstance(thing, type)
        and issubclass(thing, BaseException)
        and thing.__module__.partition(".")[0] == module.partition(".")[0]
    )


def test_all_settings_are_listed(root: Path) -> None:
    """Every environment variable that a package reads is in the table of settings."""
    read: set[str] = set()
    for path in root.glob("packages/*/src/**/*.py"):
        read |= set(re.findall(r"HUBBUB_[A-Z]+(?:_[A-Z]+)*", path.read_text()))
    listed = set(re.findall(r"HUBBUB_[A-Z]+(?:_[A-Z]+)*", (root / "docs" / "settings.md").read_text()))
    read.discard("HUBBUB_SERVE")  # a prefix
    assert read - FOR_DEVELOPERS <= listed
    assert "HUBBUB_LOOP" in read


def test_readme_example(root: Path) -> None:
    """The first example of the README runs, and prints what it says."""
    code = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)[0]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    assert f"# {done.stdout.strip()}" in code


def test_settings_of_the_how_to(root: Path, tmp_path: Path) -> None:
    """hubbub-serve takes the settings that the page on nginx and systemd has, each as it is meant."""
    (settings,) = re.findall(r"```toml\n(.*?)```", (root / "docs" / "howto" / "wsgi.md").read_text(), re.DOTALL)
    (tmp_path / "site.toml").write_text(settings)
    command = [sys.executable, "-m", "hubbub_server", "--config", str(tmp_path / "site.toml"), "--show-config"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.endswith("site.toml")]
    assert len(told) == len(re.findall(r"^[a-z-]+ = ", settings, re.MULTILINE))


def figures(root: Path) -> dict[str, Any]:
    """What was measured."""
    data: dict[str, Any] = json.loads((root / "docs" / "performance.json").read_text())
    return data


def test_chart(root: Path) -> None:
    """The chart of speed shows the rows of the README's table: ``python -m tools.performance`` draws it anew."""
    rows = chart.measured((root / "README.md").read_text())
    assert len(rows) > 3
    assert (root / "docs" / "speed.svg").read_text() == chart.draw(rows)


def test_growth(root: Path) -> None:
    """The plot of growth shows the figures that were measured, of every size."""
    panels = growth.panels(figures(root))
    assert (root / "docs" / "growth.svg").read_text() == growth.draw(panels)
    sizes = [{size for points in panel["series"].values() for size in points} for panel in panels]
    assert sizes == [{64, 1_000, 8_000}, {100, 1_000, 10_000, 50_000}]
    assert all({"hubbub", "gevent"} <= panel["series"].keys() for panel in panels)


def test_page_of_performance(root: Path) -> None:
    """The page and the README's table show the figures that were measured: of each program of the benches, its size,
    and of each that has one, of other servers too."""
    data = figures(root)
    assert (root / "docs" / "performance.md").read_text() == performance.page(data)
    readme = (root / "README.md").read_text()
    assert readme == chart.updated(readme, data)
    assert {row["program"] for row in data["rows"]} == set(bench_programs(root))
    assert {"gevent", "uvicorn"} <= data["servers"]["latency"].keys()


def bench_programs(root: Path) -> list[str]:
    """The files of ``benchmarks/`` that are programs."""
    stems = (path.stem for path in (root / "benchmarks").glob("[!_]*.py"))
    return sorted(stem for stem in stems if stem not in {"run", "shim"})


def test_figures_are_what_the_benches_write() -> None:
    """What the two benches write as JSON replaces the figures of the same programs, in one size, of one loop."""

    def row(program: str, loop: str, hubbub: float, gevent: float | None = 2e-6) -> dict[str, Any]:
        shown = {"program": program, "size": None, "unit": "seconds", "loop": loop, "references": {"c-epoll": 5e-7}}
        return {**shown, "hubbub": hubbub, "gevent": gevent}

    old = performance.merged({}, [row("sleep0", "libev", 1e-6), row("rlock", "libev", 3e-6)], {}, date(2031, 5, 6))
    new = performance.merged(
        old,
        [row("sleep0", "libev", 1.23456e-6, None), row("sleep0", "libuv", 9e-6)],
        {"hello": {"bjoern": {"cpu": 8.76543}}},
        date(2031, 6, 7),
    )
    assert new["where"]["month"] == "June 2031"
    assert [(row["program"], row["hubbub"], row["gevent"]) for row in new["rows"]] == [
        ("rlock", 3e-6, 2e-6), ("sleep0", 1.235e-6, None),
    ]  # fmt: skip
    assert new["servers"] == {"hello": {"bjoern": {"cpu": 8.765}}}
    assert performance.merged(new, [], {}, date(2032, 1, 1)) == new


def test_page_tells_slower_rows(root: Path) -> None:
    """A row in which hubbub costs more has a bold ratio; what gevent could not run is said to have failed."""
    costs = {"rlock": 2e-6, "sleep0": 1e-7, "memory_blocked": None}
    rows: list[dict[str, Any]] = [
        {"program": name, "size": None, "unit": "seconds", "hubbub": 1e-6, "gevent": cost, "references": {}}
        for name, cost in costs.items()
    ]
    text = performance.page({"where": figures(root)["where"], "rows": rows, "servers": {}})
    assert re.findall(r"^\| `(\w+)` \|.*\| (\S+) \| (\S*) \|$", text, re.MULTILINE) == [
        ("rlock", "2.00", "2.00"), ("sleep0", "0.10", "**0.10**"), ("memory_blocked", "failed", ""),
    ]  # fmt: skip


def test_table_of_speed_is_measured_by_one_command(root: Path) -> None:
    """Every row of the README's table has a program that measures it; ``./do figures`` puts figures and month in."""
    readme = (root / "README.md").read_text()
    assert [what for what, _, _ in chart.measured(readme)] == list(chart.PROGRAMS)
    rows = [
        {"program": program, "size": size, "hubbub": (3 + number) * 1e-6, "gevent": (3 + number) * 1e-3}
        for number, (program, size) in enumerate(chart.PROGRAMS.values())
    ]
    where = {"python": "3.11", "month": "May 2031"}
    fresh = chart.updated(readme, {"where": where, "rows": rows})
    assert chart.measured(fresh) == [
        (what, 3.0 + number, 1000 * (3.0 + number)) for number, what in enumerate(chart.PROGRAMS)
    ]
    assert ", May 2031; `./do bench`" in fresh
    assert "(pywsgi) |" in fresh
    assert chart.measured(chart.updated(readme, {"where": where, "rows": rows[:1]}))[1:] == chart.measured(readme)[1:]


def test_all_extras_are_listed(root: Path, packages: list[Package]) -> None:
    """The quickstart says what every package and every extra of it brings."""
    rows = re.findall(r"^\| (`hubbub.*?) \|", (root / "docs" / "quickstart.md").read_text(), re.MULTILINE)
    assert len(rows) > 5
    for package in packages:
        name = package.project["name"]
        own = [row for row in rows if re.search(rf"`{name}[`\[]", row)]
        extras = set(package.project.get("optional-dependencies", {}))
        assert extras <= {extra for row in own for extra in re.findall(r"\[([\w-]+)\]", row)}, name
        assert own or name.removeprefix("hubbub-").removeprefix("loop-") in {
            extra for row in rows for extra in re.findall(r"\[([\w-]+)\]", row)
        }, name


def test_gallery_is_whole(root: Path) -> None:
    """Every example is on the page of examples."""
    page = (root / "docs" / "examples.md").read_text()
    assert {path.name for path in (root / "examples").glob("*.py") if path.name not in page} == set()


@pytest.fixture(scope="module")
def reference(request: pytest.FixtureRequest) -> ModuleType:
    """The generator of the reference."""
    path = request.config.rootpath / "docs" / "conf.py"
    spec = importlib.util.spec_from_file_location("docs_conf", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_reference_by_public_name(root: Path, reference: ModuleType) -> None:
    """Every name of ``import hubbub`` has its entry under that name, once."""
    page = reference.package_page("", root / "packages" / "core" / "src" / "hubbub")
    entries = re.findall(r"^\.\. auto(?:class|exception|function|data):: (\S+)", page, re.MULTILINE)
    own = {f"hubbub.{name}" for name in hubbub.__all__ if reference.is_own(hubbub, name)}
    assert own <= set(entries)
    assert len(entries) == len(set(entries))
    assert "hubbub.pool.Pool" in entries


def test_reference_shows_what_is_inherited(reference: ModuleType) -> None:
    """What a public class has from a private base is in its entry: ``Pool.map``."""
    pool = importlib.import_module("hubbub.pool")
    assert any("inherited-members" in line for line in reference.directive(pool, "Pool"))
