"""What the sessions are made of."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tools import alone, environment, links, packages, pythons, readmes, sanitizers, testing, typechecks, wheels
from tools.environment import Environment

CORE = """
[build-system]
requires = ["hatchling"]
[project]
name = "hubbub"
classifiers = ["Programming Language :: Python :: 3 :: Only", "Programming Language :: Python :: 3.11",
    "Programming Language :: Python :: 3.12"]
dependencies = ["greenlet"]
optional-dependencies = { loop = ["hubbub_loop"] }
[dependency-groups]
test = ["hubbub-kit"]
[tool.hatch.build.targets.wheel]
"""
LOOP = """
[build-system]
requires = ["hatchling"]
[project]
name = "hubbub-loop"
dependencies = ["hubbub", "cffi"]
entry-points = { "hubbub.loops" = { fast = "x:y" } }
[tool.hatch.build.targets.wheel.hooks.custom]
compiling = ["setuptools"]
"""
KIT = """
[build-system]
requires = ["hatchling"]
[project]
name = "hubbub-kit"
dependencies = ["hubbub-loop"]
[tool.hatch.build.targets.wheel]
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of three packages."""
    for short, text in (("core", CORE), ("loop", LOOP), ("kit", KIT)):
        folder = tmp_path / "packages" / short
        folder.mkdir(parents=True)
        (folder / "pyproject.toml").write_text(text)
    return tmp_path


def test_packages(tree: Path) -> None:
    """A package is a folder with a pyproject.toml; one with a build hook is native."""
    found = packages.packages(tree)
    assert list(found) == ["core", "kit", "loop"]
    assert [package.name for package in found.values()] == ["hubbub", "hubbub-kit", "hubbub-loop"]
    assert [package.short for package in found.values() if package.native] == ["loop"]
    assert found["loop"].loops == ["fast"]
    assert found["loop"].building == ["hatchling", "setuptools"]
    assert found["core"].use == ["hatchling", "greenlet", "hubbub_loop"]
    assert packages.versions(tree) == ["3.11", "3.12"]


def test_split(tree: Path) -> None:
    """Requirements are parted into packages of the repository, however they are spelt, and others."""
    ours, others = packages.split(["Hubbub_Loop>=1", "cffi>=1.16; python_version > '3'"], tree)
    assert [package.short for package in ours] == ["loop"]
    assert others == ["cffi>=1.16; python_version > '3'"]


def test_closure(tree: Path) -> None:
    """The siblings that one needs are found through others; what those need for their own tests is not."""
    found = packages.packages(tree)
    assert {package.short for package in packages.closure([found["core"]], tree)} == {"core", "kit", "loop"}
    assert {package.short for package in packages.closure([found["loop"]], tree)} == {"core", "loop"}


def test_choice(tree: Path) -> None:
    """Arguments are packages and loops, then options, among which a word may be anything."""
    choice = packages.choose(["core", "fast", "-k", "core or nonsense"], tree)
    assert [package.short for package in choice.packages] == ["core"]
    assert choice.loops == ["fast"]
    assert choice.options == ["-k", "core or nonsense"]
    assert not choice.everything
    assert packages.choose(["-x"], tree).everything


def test_wrong_choice(tree: Path) -> None:
    """A word that is neither a package nor a loop is answered with those that there are."""
    with pytest.raises(ValueError, match=r"'nonsense' is neither a package \(core, kit, loop\) nor a loop \(fast\)"):
        packages.choose(["core", "nonsense"], tree)


def stand_in(path: Path, version: str) -> None:
    """A program that says it is this Python."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho {version}\n")
    path.chmod(0o755)


@pytest.mark.skipif(sys.platform == "win32", reason="the programs are shell scripts")
def test_pythons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version is looked for on PATH and among pyenv's; a program that runs another one, or none, is no find."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/bin")
    monkeypatch.setenv("PYENV_ROOT", f"{tmp_path}/pyenv")
    stand_in(tmp_path / "bin" / "python2.91", "2.91")
    stand_in(tmp_path / "bin" / "python2.92", "9.9")
    stand_in(tmp_path / "pyenv" / "versions" / "2.92.3" / "bin" / "python", "2.92")
    (tmp_path / "bin" / "python2.93").write_text("#!/no/such/interpreter\n")
    (tmp_path / "bin" / "python2.93").chmod(0o755)
    ours = "{}.{}".format(*sys.version_info)
    found, missing = pythons.find(["2.91", ours, "2.92", "2.93", "2.94"])
    assert found == [
        sys.executable,
        f"{tmp_path}/bin/python2.91",
        f"{tmp_path}/pyenv/versions/2.92.3/bin/python",
    ]
    assert missing == ["2.93", "2.94"]


class Session:
    """Notes what it is told to run."""

    def __init__(self, output: str = "Successfully installed") -> None:
        self.ran: list[tuple[str, ...]] = []
        self.said: list[str] = []
        self.output = output

    def run(self, *words: str, **options: Any) -> str:
        self.ran.append(words)
        if "virtualenv" in words:
            Path(words[-1]).mkdir()
        return self.output

    def log(self, *words: str, **options: Any) -> None:
        self.said.extend(words)


def test_steps_are_remembered(tmp_path: Path) -> None:
    """What was done is not done again until its inputs change, in a later process too."""
    session = Session()
    folder, file = tmp_path / "environment", tmp_path / "some.txt"
    file.write_text("one")
    for _ in range(2):
        Environment(session, folder).requirements(file)
    assert len(session.ran) == 2  # made, and filled
    file.write_text("two")
    Environment(session, folder).requirements(file)
    assert session.ran[-1][1:] == ("-m", "pip", "install", "-r", str(file))
    assert len(session.ran) == 3


def test_another_python_is_another_environment(tmp_path: Path) -> None:
    """An environment of another Python is made anew, and its steps are forgotten."""
    session = Session()
    folder = tmp_path / "environment"
    Environment(session, folder, "one").step("step", "same", "thing")
    Environment(session, folder, "two").step("step", "same", "thing")
    assert [words[-1] for words in session.ran] == [str(folder), "thing", str(folder), "thing"]


def test_a_compiled_module_that_is_gone_is_made_again(tmp_path: Path, tree: Path) -> None:
    """A native package is compiled again when a module of it has gone, and not when one of another Python has."""
    (loop,) = (package for package in packages.packages(tree).values() if package.native)
    source = loop.folder / "src" / "hubbub_loop"
    source.mkdir(parents=True)

    class Compiling(Session):
        def run(self, *words: str, **options: Any) -> str:
            if str(loop.folder) in words:
                (source / "fast.so").write_text("")
            return super().run(*words, **options)

    def builds() -> int:
        session = Compiling()
        assert Environment(session, tmp_path / "environment").editable([loop]) == {}
        return sum(str(loop.folder) in words for words in session.ran)

    (source / "fast.other.so").write_text("")
    assert [builds(), builds()] == [1, 0]
    (source / "fast.other.so").unlink()
    assert builds() == 0
    (source / "fast.so").unlink()
    assert [builds(), builds()] == [1, 0]
    (tmp_path / "environment" / "stamps" / "native-loop-made").unlink()  # of an environment that is older than this
    assert [builds(), builds()] == [1, 0]


def test_failed_step_is_not_remembered(tmp_path: Path) -> None:
    """A step that failed is done again."""
    session = Session()
    made = Environment(session, tmp_path / "environment")

    def fails(*words: str, **options: Any) -> str:
        raise RuntimeError

    session.run, working = fails, session.run  # type: ignore[method-assign]  # that is the point
    with pytest.raises(RuntimeError):
        made.step("step", "same", "thing")
    session.run = working  # type: ignore[method-assign]  # as above
    made.step("step", "same", "thing")
    assert session.ran[-1][-1] == "thing"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ('x.c:1: error: #error "libuv is too old"', "libuv is too old"),
        ("x.c:3:10: fatal error: ev.h: No such file or directory", "ev.h is missing"),
        ("x.c:3:10: fatal error: 'uv.h' file not found", "uv.h is missing"),
        ("error: command 'gcc' failed: No such file or directory", "the compiler gcc is missing"),
        ("/usr/bin/ld: cannot find -luv: No such file or directory", "the library -luv is missing"),
        ("ld: library 'ev' not found", "the library ev is missing"),
        ("something else", ""),
    ],
)
def test_build_failure(output: str, reason: str) -> None:
    """What a build lacked is said in a line."""
    assert environment.build_failure(output) == reason


def test_wheels(tmp_path: Path) -> None:
    """The modules of a wheel are told from the libraries that it carries, and a stable one by its name."""
    path = tmp_path / "a-1-cp311-abi3-linux_x86_64.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/__init__.py", "a/_m.abi3.so", "a/b/_n.cpython-311-x86_64-linux-gnu.so", "a.libs/libev-1.so.4"):
            archive.writestr(name, "")
    assert wheels.extensions(path) == ["a._m", "a.b._n"]
    assert wheels.carried(path) == ["libev-1.so.4"]
    assert wheels.is_stable(path)
    assert not wheels.is_stable(tmp_path / "a-1-py3-none-any.whl")


SAYS = "import sys; print(sys.argv[1]); sys.exit(int(sys.argv[2]))"


def test_side_by_side() -> None:
    """Each command's whole output is told when it has ended, with its status; one that fails stops no other."""
    heard: list[testing.Outcome] = []
    commands = {
        name: [sys.executable, "-c", SAYS, name, status] for name, status in (("a", "0"), ("b", "3"), ("c", "0"))
    }
    outcomes = testing.side_by_side(commands, 2, heard.append)
    assert [(outcome.name, outcome.status, outcome.output) for outcome in outcomes] == [
        ("a", 0, "a\n"),
        ("b", 3, "b\n"),
        ("c", 0, "c\n"),
    ]
    assert {outcome.name for outcome in heard} == {"a", "b", "c"}


MEETS = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.01)
"""


def test_two_at_a_time(tmp_path: Path) -> None:
    """Two that wait for one another both end: they run at the same time."""
    one, two = str(tmp_path / "one"), str(tmp_path / "two")
    commands = {"one": [sys.executable, "-c", MEETS, one, two], "two": [sys.executable, "-c", MEETS, two, one]}
    assert [outcome.status for outcome in testing.side_by_side(commands, 2, lambda _: None)] == [0, 0]


def test_one_at_a_time(tmp_path: Path) -> None:
    """With a limit of one they follow one another in their order."""
    order: list[str] = []
    commands = {name: [sys.executable, "-c", "pass"] for name in ("c", "a", "b")}
    testing.side_by_side(commands, 1, lambda outcome: order.append(outcome.name))
    assert order == ["c", "a", "b"]


def test_interrupted(tmp_path: Path) -> None:
    """After Ctrl-C nothing more begins."""

    def interrupt(outcome: testing.Outcome) -> None:
        raise KeyboardInterrupt

    touch = "import pathlib, sys, time; time.sleep(0.1); pathlib.Path(sys.argv[1]).touch()"
    commands = {name: [sys.executable, "-c", touch, str(tmp_path / name)] for name in "abcdef"}
    with pytest.raises(KeyboardInterrupt):
        testing.side_by_side(commands, 1, interrupt)
    assert {path.name for path in tmp_path.iterdir()} <= {"a", "b"}


def test_how_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable decides; what is no number of packages is refused; without it there are two at most."""
    monkeypatch.setenv("HUBBUB_TESTS_AT_ONCE", "3")
    assert testing.at_once() == 3
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("HUBBUB_TESTS_AT_ONCE", wrong)
        with pytest.raises(ValueError, match="HUBBUB_TESTS_AT_ONCE"):
            testing.at_once()
    monkeypatch.delenv("HUBBUB_TESTS_AT_ONCE")
    assert testing.at_once() in (1, 2)


def test_largest_first(tmp_path: Path) -> None:
    """The folder with the most tests begins first."""
    for name, size in (("small", 1), ("large", 1000), ("middle", 100)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "test_it.py").write_text("#" * size)
    ordered = testing.largest_first(sorted(tmp_path.iterdir()))
    assert [folder.name for folder in ordered] == ["large", "middle", "small"]


def test_untyped() -> None:
    """Each public name without a known type is named with the reason; that there are no public names is said, too."""
    diagnostic = {"message": "Type is missing\n\u00a0 Inferred type is int"}
    symbols = [
        {"name": "kit.a", "isExported": True, "isTypeKnown": True, "diagnostics": []},
        {"name": "kit.b", "isExported": True, "isTypeKnown": False, "diagnostics": [diagnostic]},
        {"name": "kit._c", "isExported": False, "isTypeKnown": False, "diagnostics": [diagnostic]},
    ]
    report = {"generalDiagnostics": [], "typeCompleteness": {"symbols": symbols}}
    assert typechecks.untyped(report) == ["kit.b: Type is missing Inferred type is int"]
    assert typechecks.untyped({"generalDiagnostics": [], "typeCompleteness": {"symbols": []}}) != []
    assert typechecks.untyped({"generalDiagnostics": [{"message": "No py.typed file found"}]}) != []


@pytest.mark.parametrize(
    "output",
    [
        "tests/typed/calls.py:2: error: No overload variant  [call-overload]\ntests/typed/calls.py:2: note: x\n",
        "/tree/calls.py\n  /tree/calls.py:2:5 - error: No overloads\n  /tree/calls.py:2:9 - error: Argument missing\n",
    ],
    ids=["mypy", "pyright"],
)
def test_differences(tmp_path: Path, output: str) -> None:
    """A checker must find an error in each line that says wrong, and in no other."""
    example = tmp_path / "calls.py"
    example.write_text("one()\ntwo()  # wrong: too few\n")
    assert typechecks.differences("it", example, output) == []
    assert typechecks.differences("it", example, "") == ["calls.py:2: it lets it pass"]
    example.write_text("one()\ntwo()\n")
    assert typechecks.differences("it", example, output) == ["calls.py:2: it finds an error"]


def test_lay_out(tmp_path: Path) -> None:
    """Packages stand side by side under the names by which they are imported; modules beside them do not."""
    folder = tmp_path / "packages" / "kit"
    for name in ("hubbub_kit", "hubbub_kit_more"):
        (folder / "src" / name).mkdir(parents=True)
        (folder / "src" / name / "__init__.py").touch()
    (folder / "src" / "hubbub_kit_start.py").touch()
    kit = packages.Package(folder, {"project": {"name": "hubbub-kit"}})
    (tmp_path / "all").mkdir()
    typechecks.lay_out([kit], tmp_path / "all")
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["hubbub_kit", "hubbub_kit_more"]
    assert (tmp_path / "all" / "hubbub_kit" / "__init__.py").exists()


def test_broken_links(tmp_path: Path) -> None:
    """Links of a site are followed to the file and to the place in it; those to other sites are not."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "b.html").write_text('<h1 id="here">b</h1><a href="../a.html#top">a</a><img src="no.svg">')
    good = '<p id="top"></p><a href="more/b.html#here"></a><a href="https://x.test/no"></a><a href="#top"></a>'
    (tmp_path / "a.html").write_text(f'{good}<a href="more/b.html#there"></a><a href="c.html"></a>')
    assert list(links.broken(tmp_path)) == [
        "a.html: more/b.html#there names no place in that page",
        "a.html: c.html is not there",
        "more/b.html: no.svg is not there",
    ]


def test_table_of_attempts() -> None:
    """A package that was installed alone is a row with what pip was told, what that brought, and what was run."""
    one = alone.Attempt(["hubbub-net[x]", "more"], 4, 41, 6.6)
    assert alone.table([one], "3.11").splitlines() == [
        "| pip install, on Python 3.11 | distributions | examples | seconds |",
        "|---|---|---|---|",
        "| hubbub-net[x] more | 4 | 41 | 7 |",
    ]


def test_index_is_filled_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    """An index holds the sdist and the wheel of each package; a package is installed from it as its README says."""

    def build(builder: Environment, package: packages.Package, out: Path) -> Path:
        out.mkdir(parents=True)
        for name in (f"{package.name}.tar.gz", f"{package.name}.whl"):
            (out / name).write_text(name)
        return out / f"{package.name}.whl"

    monkeypatch.setattr(wheels, "build", build)
    session = Session()
    index = tmp_path / "index"
    made = Environment(session, tmp_path / "environment")
    alone.fill(made, packages.packages(tree).values(), index, tmp_path / "built")
    assert {path.name for path in index.iterdir()} == {
        f"{name}{ending}" for name in ("hubbub", "hubbub-loop", "hubbub-kit") for ending in (".tar.gz", ".whl")
    }
    package = packages.packages(tree)["core"]
    (package.folder / "src" / "hubbub").mkdir(parents=True)
    (package.folder / "src" / "hubbub" / "py.typed").write_text("")
    (package.folder / "README.md").write_text("```\npip install 'hubbub[loop]'\n```\n")
    package.settings["project"]["version"] = "0.1"
    session.output = "hubbub==0.1\npip==1\nexamples: 3 failed: 0"
    attempt = alone.attempt(made, package, index)
    assert (attempt.installed, attempt.brought, attempt.examples) == (["hubbub[loop]"], 1, 3)
    assert ("-m", "pip", "install", "--find-links", str(index), "hubbub[loop]") in [words[1:] for words in session.ran]


def test_pages_name_what_they_need(tmp_path: Path) -> None:
    """A page with examples is tried with what it has its reader install, whatever kinds of blocks it has."""
    (tmp_path / "howto").mkdir()
    (tmp_path / "a.md").write_text('```{doctest}\n>>> 1\n1\n```\n\n```toml\nx = "it\'s"\n```\n')
    (tmp_path / "b.md").write_text("```\nnot an example\n```\n")
    (tmp_path / "howto" / "c.md").write_text("```\npip install hubbub-net more\n```\n\n```pycon\n>>> 2\n2\n```\n")
    assert alone.pages(tmp_path) == {
        ("hubbub[all]",): [tmp_path / "a.md"],
        ("hubbub-net", "more"): [tmp_path / "howto" / "c.md"],
    }
    for name in ("a.md", "howto/c.md"):
        done = subprocess.run(
            [sys.executable, *readmes.run(tmp_path / name)], capture_output=True, text=True, timeout=150
        )
        assert done.stdout == "examples: 1 failed: 0\n"


def test_only_what_was_asked_for(tmp_path: Path, root: Path) -> None:
    """Requirements bring the packages of the repository that they name, editable, with what those need, and no more."""
    session = Session()
    made = Environment(session, tmp_path / "environment")
    for _ in range(2):
        assert made.only(["hubbub[net]", "rich>=13"]) == {}
    _, others, editable = (words[4:] for words in session.ran)
    assert "rich>=13" in others
    assert not any(word.startswith(("hubbub", "pytest")) for word in others)
    folders = {word for word in editable if word.startswith(str(root))}
    assert folders == {str(root / "packages" / short) for short in ("core", "net")}


def test_what_pip_says_is_kept(tmp_path: Path) -> None:
    """Each step of an environment is said in a line; what pip printed is in its log."""
    session = Session("much")
    made = Environment(session, tmp_path / "environment")
    made.pip("--no-deps", "one>=1", "/a/b/two.whl")
    made.pip("-r", "x.txt", what="a few")
    assert session.said == [
        "environment: making the environment",
        "environment: installing one>=1 two.whl",
        "environment: installing a few",
    ]
    assert (made.folder / "pip.log").read_text().count("\nmuch\n") == 2


def test_a_thread_that_ended_during_the_search_for_leaks_is_no_finding(tmp_path: Path) -> None:
    """The leak checker says that it could not look at a thread; only a report that says something else is one."""
    ended = "==12==Unable to get registers from thread 11.\n"
    leak = "==13==ERROR: LeakSanitizer: detected memory leaks\nDirect leak of 8 byte(s)"
    (tmp_path / "report.12").write_text(ended * 2)
    assert sanitizers.reports(tmp_path) == []
    (tmp_path / "report.13").write_text(f"{ended}\n{leak}\n")
    assert sanitizers.reports(tmp_path) == [leak]
