"""Sessions of the repository. What they are made of is in tools/.

Packages are found by their pyproject.toml, never listed: a new one needs no edit here.
The sessions that run our code share one environment per Python in .nox/, filled step by
step; a step whose inputs did not change is skipped, so a second run starts at once.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import nox
from nox.command import CommandFailed

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from tools import alone, earlier, pythons, releasing, sanitizers, soaks, testing, typechecks, wheels
from tools.environment import Environment
from tools.packages import Choice, Package, choose, closure, packages, split, versions

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.reuse_existing_virtualenvs = True

STATE = ROOT / ".nox"
REQUIREMENTS = ROOT / "requirements"


def chosen(session: nox.Session) -> Choice:
    """What the session's arguments ask for."""
    try:
        return choose(session.posargs)
    except ValueError as error:
        session.error(str(error))


def all_pythons(session: nox.Session) -> list[str]:
    """The Python that runs nox, then each of the other versions that this machine has."""
    found, missing = pythons.find(versions())
    for version in missing:
        session.log(f"Python {version} is not on this machine")
    return found


def own(session: nox.Session, base: str = sys.executable) -> Environment:
    """The environment, of one Python, in which the packages stand for all that runs them."""
    return Environment(session, STATE / f"python{pythons.version_of(base)}", base)


def place(name: str) -> Path:
    """A folder for the Python that runs nox: ``./do`` may run with another one at the same time."""
    return STATE / f"{name}-python{pythons.version_of(sys.executable)}"


def tool(session: nox.Session, name: str) -> Environment:
    """The environment of a tool."""
    return Environment(session, place(name))


def development(
    session: nox.Session, base: str = sys.executable, testing: bool = True
) -> tuple[Environment, dict[str, str]]:
    """The environment with all packages, and the native ones that could not be built, with the reasons.

    ``testing`` adds what tests and examples need.
    """
    environment = own(session, base)
    unbuilt = environment.packages()
    if testing:
        environment.others("test", *(r for package in packages().values() for r in package.test))
        environment.requirements(*(ROOT / "examples" / name for name in ("demo.txt", "requirements.txt")))
    return environment, unbuilt


def told(unbuilt: dict[str, str]) -> list[str]:
    """A line for each package that could not be built."""
    return [f"{name} could not be built: {reason}" for name, reason in unbuilt.items()]


def warn(session: nox.Session, unbuilt: dict[str, str]) -> None:
    """Says what could not be built."""
    for line in told(unbuilt):
        session.warn(line)


# -- tests -----------------------------------------------------------------------------------


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests; arguments: packages, loops, then options of pytest."""
    run_tests(session, [sys.executable])


@nox.session(name="tests-all", venv_backend="none")
def tests_all(session: nox.Session) -> None:
    """Run the tests on every Python of this machine; arguments as for tests."""
    run_tests(session, all_pythons(session))


def run_tests(session: nox.Session, bases: list[str]) -> None:
    """Runs the tests package by package, all of them even when one fails; of many packages two side by side."""
    choice = chosen(session)
    options = [*(f"--hubbub-loop={loop}" for loop in choice.loops), *choice.options]
    problems = []
    for base in bases:
        environment, unbuilt = development(session, base)
        folders = [package.folder / "tests" for package in choice.packages_or_all if package.name not in unbuilt]
        if choice.everything:
            folders.append(ROOT / "tests")
        for folder in failing(session, environment, folders, options):
            problems.append(f"{folder.relative_to(ROOT)} failed on {environment.folder.name}")
        problems += told(unbuilt)
    if problems:
        session.error("\n" + "\n".join(problems))


def failing(session: nox.Session, environment: Environment, folders: list[Path], options: list[str]) -> list[Path]:
    """Those folders of tests that do not pass. The output of one at a time is shown while it runs."""
    if len(folders) == 1 or testing.at_once() == 1:
        return [folder for folder in folders if not passes(environment, folder, options)]

    def show(outcome: testing.Outcome) -> None:
        session.log(f"{outcome.name}, {outcome.seconds:.0f} s:")
        print(outcome.output, flush=True)

    ordered = testing.largest_first(folders)
    session.log(f"{testing.at_once()} at a time: {', '.join(str(folder.relative_to(ROOT)) for folder in ordered)}")
    commands = {str(folder): [environment.python, "-m", "pytest", str(folder), *options] for folder in ordered}
    outcomes = testing.side_by_side(commands, testing.at_once(), show)
    return [Path(outcome.name) for outcome in outcomes if outcome.status]


def passes(environment: Environment, folder: Path, options: list[str]) -> bool:
    """Whether a folder of tests passes."""
    try:
        environment.run("-m", "pytest", folder, *options)
    except CommandFailed:
        return False
    return True


@nox.session(venv_backend="none")
def wheel(session: nox.Session) -> None:
    """Build sdists and wheels and run each package's tests on its wheel; arguments: packages.

    A wheel of the stable ABI is tried on every Python of this machine.
    """
    choice = chosen(session)
    builder = building(session)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        built = {
            package.name: wheels.build(builder, package, folder / package.short)
            for package in closure(choice.packages_or_all)
        }
        for package in choice.packages_or_all:
            bases = all_pythons(session) if wheels.is_stable(built[package.name]) else [sys.executable]
            for base in bases:
                environment = Environment(session, folder / "environment", base)
                wheels.try_out(environment, package, built, choice.options)


def building(session: nox.Session) -> Environment:
    """The environment in which packages are built without isolation."""
    builder = tool(session, "build")
    builder.requirements(REQUIREMENTS / "build.txt")
    needed = [requirement for package in packages().values() for requirement in package.building]
    builder.others("build-system", *needed)
    # From their source, and before the others: their headers are compiled against.
    builder.pip("--no-build-isolation", *{package.folder for package in split(needed)[0]})
    return builder


@nox.session(name="alone", venv_backend="none", default=False)
def each_alone(session: nox.Session) -> None:
    """Build all packages into a folder; install each alone from there, and run its README; arguments: packages.

    Without any the pages of the documentation are tried too, with what they name.
    """
    choice = chosen(session)
    index = place("index")
    attempts, failed = [], []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        alone.fill(building(session), packages().values(), index, folder / "built")
        for package in choice.packages_or_all:
            try:
                attempts.append(alone.attempt(Environment(session, folder / package.short), package, index))
            except CommandFailed:
                failed.append(package.name)
        named = {} if choice.packages else alone.pages(ROOT / "docs")
        for wanted, texts in named.items():
            environment = Environment(session, folder / f"pages-{len(attempts)}")
            try:
                attempts.append(alone.follow(environment, list(wanted), texts, index))
            except CommandFailed:
                failed.append(f"what pages with {' '.join(wanted)} show")
    print(alone.table(attempts, pythons.version_of(sys.executable) or ""))
    if failed:
        session.error(f"not to be used alone: {', '.join(failed)}")


@nox.session(venv_backend="none", default=False)
def release(session: nox.Session) -> None:
    """Prepare the release of a package; arguments: package, version, then options of tools/release.py."""
    session.run(sys.executable, str(ROOT / "tools" / "release.py"), *session.posargs, external=True)


@nox.session(venv_backend="none", default=False)
def coverage(session: nox.Session) -> None:
    """Run the tests with coverage measured, and fail below the floor; arguments as for tests.

    Accelerators are off: what is measured is Python. Tests that count memory and time may fail under it, which is said.
    """
    choice = chosen(session)
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "coverage.txt")
    options = [*(f"--hubbub-loop={loop}" for loop in choice.loops), *choice.options]
    settings = {"COVERAGE_FILE": str(place("coverage") / "data"), "HUBBUB_ACCELERATORS": "0"}
    command = ("-m", "coverage")
    environment.run(*command, "erase", env=settings)
    for package in choice.packages_or_all:
        if package.name not in unbuilt:
            tests = ("run", "-m", "pytest", package.folder / "tests", *options)
            environment.run(*command, *tests, env=settings, success_codes=[0, 1])
    environment.run(*command, "combine", "--quiet", env=settings)
    shown = ["--include", ",".join(f"{package.source}/*" for package in choice.packages)] if choice.packages else []
    table = environment.run(
        *command, "report", "--format=markdown", "--fail-under=0", *shown, env=settings, silent=True
    )
    (STATE / "coverage.md").write_text(table)
    warn(session, unbuilt)
    # The floor is for all packages on all loops.
    environment.run(*command, "report", *shown, *([] if choice.everything else ["--fail-under=0"]), env=settings)


@nox.session(venv_backend="none", default=False)
def api(session: nox.Session) -> None:
    """Show what changed in the public API since the last tag, status 1 if something breaks; arguments: packages."""
    choice = chosen(session)
    environment = tool(session, "api")
    environment.requirements(REQUIREMENTS / "api.txt")
    repository = releasing.Repository(ROOT)
    broken = []
    for package in choice.packages_or_all:
        released = repository.released(package)
        if not released:
            session.log(f"{package.name}: never released, so all of it is new")
            continue
        with tempfile.TemporaryDirectory() as scratch:
            tag = f"{package.short}-v{released[-1]}"
            old = repository.export(tag, Path(scratch) / "old", f"packages/{package.short}/src")
            session.log(f"{package.name} since {released[-1]}:")
            folders = (old / "packages" / package.short / "src", package.folder / "src")
            try:
                environment.run(ROOT / "tools" / "api.py", package.source.name, *folders)
            except CommandFailed:
                broken.append(package.name)
    if broken:
        session.error(f"what used these packages may break: {', '.join(broken)}")


@nox.session(venv_backend="none", default=False)
def sanitize(session: nox.Session) -> None:
    """Run the native packages' tests under sanitizers of addresses, leaks, undefined behaviour, and threads."""
    choice = chosen(session)
    environment, unbuilt = development(session)
    native = [package for package in choice.packages_or_all if package.native]
    compiler = environment.run("-c", "import sysconfig; print(sysconfig.get_config_var('CC'))", silent=True).split()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # Beside the environment, and before it on the path: the ordinary builds stay as they are.
        target = ("--no-deps", "--no-build-isolation", "--target", folder / "built")
        environment.pip(*target, *(package.folder for package in native), env=sanitizers.FLAGS)
        settings = sanitizers.settings(folder, compiler, folder / "built")
        options = ["-p", "no:cacheprovider", "--capture=sys", "-m", "not unsanitized", *choice.options]
        for package in native:
            if race := sanitizers.races(package, compiler, folder):
                session.error(race)
        try:
            environment.run("-m", "pytest", *sanitizers.tests(native), *options, env=settings)
        finally:
            for report in sanitizers.reports(folder):
                session.warn(report)
        if sanitizers.reports(folder):
            session.error("the sanitizers have found something")
    warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def stress(session: nox.Session) -> None:
    """Run the tests that count seeds with 1,000 of them; arguments go to pytest."""
    environment, unbuilt = development(session)
    files = [
        path
        for folder in (*(package.folder for package in packages().values()), ROOT)
        for path in sorted((folder / "tests").glob("test_*.py"))
        if "HUBBUB_STRESS_SEEDS" in path.read_text()
    ]
    settings = {"HUBBUB_STRESS_SEEDS": os.environ.get("HUBBUB_STRESS_SEEDS", "1000")}
    limits = ["--timeout=1800", "-o", "faulthandler_timeout=0"]
    environment.run("-m", "pytest", *limits, *files, *session.posargs, env=settings)
    warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def soak(session: nox.Session) -> None:
    """Do everything at random, and nothing may grow; arguments: minutes (10), programs of soak/, then their options."""
    try:
        soaking = soaks.choose(ROOT / "soak", list(session.posargs))
    except ValueError as error:
        session.error(str(error))
    environment, unbuilt = development(session)
    grown = []
    for name, program in soaking.programs.items():
        try:
            environment.run(program, "--minutes", str(soaking.minutes), *soaking.options)
        except CommandFailed:
            grown.append(name)
    warn(session, unbuilt)
    if grown:
        session.error(f"not flat: {', '.join(grown)}")


@nox.session(venv_backend="none", default=False)
def integration(session: nox.Session) -> None:
    """Try real libraries over real servers; arguments: groups, names of scripts, then options of integration/run.py."""
    state = place("integration")
    # Nothing but our packages and what they need: each script gets an environment of its own above this one.
    base = Environment(session, state / "base")
    unbuilt = base.packages()
    try:
        base.run(ROOT / "integration" / "run.py", "--state", state, *session.posargs)
    finally:
        warn(session, unbuilt)


# -- what is written -------------------------------------------------------------------------


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style and formatting; arguments: packages, then options of ruff check."""
    choice = chosen(session)
    folders = [package.folder for package in choice.packages] or [ROOT]
    environment = tool(session, "lint")
    environment.requirements(REQUIREMENTS / "lint.txt")
    environment.run("-m", "ruff", "check", *choice.options, *folders)
    environment.run("-m", "ruff", "format", "--check", *folders)


@nox.session(venv_backend="none", default=False)
def workflows(session: nox.Session) -> None:
    """Check the workflows and forms of .github; arguments go to zizmor. actionlint is run where it is installed."""
    environment = tool(session, "workflows")
    environment.requirements(REQUIREMENTS / "workflows.txt")
    folder = ROOT / ".github"
    schemas = {
        "github-workflows": (folder / "workflows").glob("*.yml"),
        "dependabot": folder.glob("dependabot.yml"),
        "github-issue-config": (folder / "ISSUE_TEMPLATE").glob("config.yml"),
        "github-issue-forms": (path for path in (folder / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config"),
    }
    for name, files in schemas.items():
        environment.run("-m", "check_jsonschema", "--builtin-schema", f"vendor.{name}", *sorted(files))
    session.run(str(environment.bin / "zizmor"), "--offline", *session.posargs, str(folder), external=True)
    if shutil.which("actionlint"):
        session.run("actionlint", external=True)
    else:
        session.warn("actionlint is not on the path: what it finds is left to CI")


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types, strictly, and that public names have them; arguments: packages, then options of mypy."""
    choice = chosen(session)
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "types.txt")
    folders = [package.folder / "src" for package in choice.packages_or_all]
    environment.run("-m", "mypy", "--strict", *choice.options, *folders)
    if not choice.packages:
        for places in (["tests", "tools"], ["benchmarks"], ["soak"], ["integration/run.py", "integration/support"]):
            paths = (ROOT / place for place in places)
            environment.run("-m", "mypy", "--strict", "--exclude", "tests/typed/", *choice.options, *paths)
    problems = untyped(environment, choice.packages_or_all) + misjudged(environment)
    warn(session, unbuilt)
    if problems:
        session.error("\n" + "\n".join(problems))


def untyped(environment: Environment, chosen: list[Package]) -> list[str]:
    """What pyright misses in the public types of packages."""
    with tempfile.TemporaryDirectory() as scratch:
        typechecks.lay_out(packages().values(), Path(scratch))
        return [
            f"{name}: {problem}"
            for package in chosen
            for name in typechecks.importable(package)
            for problem in typechecks.verify(environment, name, Path(scratch))
        ]


def misjudged(environment: Environment) -> list[str]:
    """Where mypy or pyright takes an example of tests/typed otherwise than it says."""
    checkers = {"mypy": ("--strict",), "pyright": ("--pythonpath", environment.python)}
    return [
        problem
        for example in sorted((ROOT / "tests" / "typed").glob("*.py"))
        for checker, options in checkers.items()
        for problem in typechecks.differences(
            checker, example, environment.run("-m", checker, *options, example, silent=True, success_codes=[0, 1])
        )
    ]


@nox.session(venv_backend="none")
def stubtest(session: nox.Session) -> None:
    """Compare the facade with the published types of gevent."""
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "types.txt", REQUIREMENTS / "stubtest.txt")
    # What the facade has beyond the types is no matter; what it has not, or otherwise, is.
    options = ["--ignore-missing-stub", "--ignore-positional-only", "--ignore-disjoint-bases"]
    allowed = packages()["gevent"].folder / "stubtest.txt"
    environment.run(
        *("-m", "mypy.stubtest", "gevent", "--concise", *options, "--allowlist", allowed), env={"HUBBUB_GEVENT": "1"}
    )
    warn(session, unbuilt)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors, follow its links, and run its examples."""
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "docs.txt")
    sphinx = ["-m", "sphinx", "-W", "--keep-going", "-q"]
    source, build = ROOT / "docs", ROOT / "docs" / "_build"
    environment.run(*sphinx, "-b", "html", source, build / "html")
    environment.run("-m", "tools.links", build / "html")
    environment.run(*sphinx, "-b", "doctest", source, build / "doctest")
    warn(session, unbuilt)


# -- to look at ------------------------------------------------------------------------------


@nox.session(venv_backend="none", default=False)
def demo(session: nox.Session) -> None:
    """Run the demonstration on every loop that can be built; arguments go to it."""
    environment = own(session)
    # What the README's first line installs, so that a newcomer waits for nothing else.
    unbuilt = environment.only(["hubbub[all]", *(ROOT / "examples" / "demo.txt").read_text().split()])
    try:
        environment.run(ROOT / "examples" / "demo.py", *session.posargs)
    finally:
        warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Compare with gevent from PyPI, in turn; --against REVISION adds hubbub as it was; see benchmarks/run.py."""
    ours, unbuilt = development(session, testing=False)
    theirs = tool(session, "gevent")
    theirs.requirements(REQUIREMENTS / "gevent.txt")
    try:
        revision, options = earlier.against(session.posargs)
        copy = None if revision is None else earlier.copy_of(revision, ROOT, STATE / "earlier")
    except ValueError as error:
        session.error(str(error))
    before = () if copy is None else ("--before", as_it_was(session, copy).python)
    peers = {name: python for name in ("uvloop", "trio") if (python := peer(session, name))}
    named = (f"--{name}={python.python}" for name, python in peers.items())
    ours.run(
        *(ROOT / "benchmarks" / "run.py", "--hubbub", ours.python, "--gevent", theirs.python, *before, *named),
        *options,
    )
    warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def figures(session: nox.Session) -> None:
    """Measure the rows of docs/performance.md and the README anew; arguments go to benchmarks/run.py."""
    rows = STATE / "figures.json"
    ours, unbuilt = development(session, testing=False)
    theirs = tool(session, "gevent")
    theirs.requirements(REQUIREMENTS / "gevent.txt")
    named = (f"--{name}={found.python}" for name in ("uvloop", "trio") if (found := peer(session, name)))
    command = ("--hubbub", ours.python, "--gevent", theirs.python, *named, "--loop", "libev", "--json", rows)
    ours.run(ROOT / "benchmarks" / "run.py", *command, *session.posargs)
    warn(session, unbuilt)
    ours.run("-m", "tools.performance", "--rows", rows)
    session.run("git", "--no-pager", "diff", "--stat", "README.md", "docs", external=True)


def as_it_was(session: nox.Session, copy: Path) -> Environment:
    """An environment with the packages of a copy of another revision."""
    # Inside the copy, so that none outlives what it has installed.
    environment = Environment(session, copy / ".nox" / place(copy.name).name)
    warn(session, environment.packages(copy))
    return environment


def peer(session: nox.Session, name: str) -> Environment | None:
    """An environment with something to compare with that not every machine can have; None if this one cannot."""
    environment = tool(session, name)
    try:
        environment.requirements(REQUIREMENTS / f"{name}.txt")
    except CommandFailed:
        session.warn(f"{name} cannot be installed here: the others are compared without it")
        return None
    return environment


@nox.session(venv_backend="none", default=False, name="bench-servers")
def bench_servers(session: nox.Session) -> None:
    """Compare servers with gevent's, uvicorn and others; arguments go to benchmarks/servers/compare.py."""
    ours, unbuilt = development(session, testing=False)
    rivals = {name: tool(session, name) for name in ("gevent", "uvicorn")}
    for name, environment in rivals.items():
        environment.requirements(REQUIREMENTS / f"{name}.txt")
    for name in ("bjoern", "fastwsgi", "granian", "gunicorn"):
        if found := peer(session, name):
            rivals[name] = found
    ours.run(
        ROOT / "benchmarks" / "servers" / "compare.py",
        *(f"--{name}={environment.python}" for name, environment in {"hubbub": ours, **rivals}.items()),
        *session.posargs,
    )
    warn(session, unbuilt)
