"""Settings from the command line, the environment and a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hubbub_server._settings import SettingsError, read_settings

FILE = """
application = "site:app"
bind = ["127.0.0.1:1", "unix:/run/x"]
workers = 4
idle-seconds = 5
body_seconds = "none"
reuse-port = true
monkey = false
log-format = "json"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "settings.toml"
    path.write_text(FILE)
    return str(path)


def test_file(file: str) -> None:
    """A file says the same as options would, with dashes or underscores in the names."""
    options = read_settings(["--config", file], {}).options
    assert options.application == "site:app"
    assert options.bind == ["127.0.0.1:1", "unix:/run/x"]
    assert (options.workers, options.idle_seconds, options.body_seconds) == (4, 5.0, None)
    assert (options.reuse_port, options.monkey, options.log_format) == (True, False, "json")
    assert options.backlog == 1024


def test_one_value_for_several(tmp_path: Path) -> None:
    """What may be given several times may be given once."""
    path = tmp_path / "x.toml"
    path.write_text('bind = ":1"\napplication = "x"')
    assert read_settings(["--config", str(path)], {}).options.bind == [":1"]


def test_environment(file: str) -> None:
    """The environment is more than the file; it names the file too; several values are separated by commas."""
    environ = {
        "HUBBUB_SERVE_CONFIG": file,
        "HUBBUB_SERVE_BIND": ":2, :3",
        "HUBBUB_SERVE_WORKERS": "5",
        "HUBBUB_SERVE_REUSE_PORT": "no",
        "HUBBUB_SERVE_IDLE_SECONDS": "none",
        "HUBBUB_LOOP": "stdlib",
        "PATH": "/bin",
    }
    options = read_settings([], environ).options
    assert (options.bind, options.workers, options.reuse_port) == ([":2", ":3"], 5, False)
    assert (options.idle_seconds, options.log_format) == (None, "json")


def test_command_line(file: str) -> None:
    """The command line is more than both, also where it says what is so by default."""
    environ = {"HUBBUB_SERVE_WORKERS": "5", "HUBBUB_SERVE_BACKLOG": "7"}
    given = ["--config", file, "-w", "6", "-b", ":4", "--monkey", "--log-format", "common", "--backlog", "1024"]
    options = read_settings([*given, "other"], environ).options
    assert (options.workers, options.bind, options.monkey) == (6, [":4"], True)
    assert (options.log_format, options.backlog, options.application) == ("common", 1024, "other")


def test_sources(file: str) -> None:
    """Of each setting it is known where it was given."""
    settings = read_settings(["--config", file, "--header-count", "9"], {"HUBBUB_SERVE_WORKERS": "5"})
    assert settings.sources["header_count"] == "command line"
    assert settings.sources["workers"] == "environment, HUBBUB_SERVE_WORKERS"
    assert settings.sources["idle_seconds"] == f"file {file}"
    assert settings.sources["backlog"] == "default"


def test_shown(file: str, tmp_path: Path) -> None:
    """What is shown is a file that says the same, with the sources, and what is not set as comments."""
    first = read_settings(["--config", file, "--error-log", 'a "b" \\ é\x7f'], {})
    shown = tmp_path / "shown.toml"
    shown.write_text(str(first))
    second = read_settings(["--config", str(shown)], {})
    settings = set(first.sources)
    assert {name: getattr(first.options, name) for name in settings} == {
        name: getattr(second.options, name) for name in settings
    }
    assert f"# file {file}\n" in str(first)
    assert "# certfile is not set" in str(first)
    assert set(tomllib.loads(str(first))) < {name.replace("_", "-") for name in settings}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("worker = 4", "has worker, which is no setting; did you mean workers?"),
        ("qwertz = 4", "has qwertz, which is no setting$"),
        ("workers = 0", "workers in '.*': a whole number from 1 up, not '0'"),
        ("workers = true", "workers in '.*' is a text or a number, not True"),
        ("workers = [1]", r"workers in '.*' is a text or a number, not \[1\]"),
        ("workers = {x = 1}", "workers in '.*' is a text or a number"),
        ("bind = [1, {}]", "bind in '.*' is a text or a number"),
        ("reuse-port = 1", "reuse-port in '.*' is true or false, not 1"),
        ("reuse-port = 'yes'", "is true or false"),
        ("log-format = 'xml'", "log-format in '.*' is one of combined, common, json, not 'xml'"),
        ("idle-seconds = -1", "a number above 0 or none, not '-1'"),
        ("control = 1", "control, which is no setting"),
        ("config = 'x'", "config, which is no setting"),
        ("check = true", "check, which is no setting"),
        ("workers = ", "cannot read the settings in '.*': Invalid value"),
        ("", "which application"),
        ("application = 'x'\nkeyfile = 'y'", "keyfile needs certfile"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, message: str) -> None:
    """What is wrong in a file is named, with what would be right."""
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_settings(["--config", str(path)], {})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WORKER", "4", "the environment has HUBBUB_SERVE_WORKER, which is no setting; did you mean workers?"),
        ("WORKERS", "four", "HUBBUB_SERVE_WORKERS: a whole number from 1 up, not 'four'"),
        ("RELOAD", "perhaps", "HUBBUB_SERVE_RELOAD is true or false, not 'perhaps'"),
        ("CONTROL", "3", "no setting"),
    ],
)
def test_bad_environments(name: str, value: str, message: str) -> None:
    """The same for the environment."""
    with pytest.raises(SettingsError, match=message):
        read_settings(["x"], {f"HUBBUB_SERVE_{name}": value})


def test_no_file() -> None:
    """A file that is not there is an error, not a file without settings."""
    with pytest.raises(SettingsError, match=r"No such file or directory: '/nonsense/x\.toml'"):
        read_settings(["x", "--config", "/nonsense/x.toml"], {})


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Nor is one that is not UTF-8 read in some way."""
    path = tmp_path / "x.toml"
    path.write_bytes(b"application = '\xff'")
    with pytest.raises(SettingsError, match="cannot read the settings"):
        read_settings(["--config", str(path)], {})


# As processes ---------------------------------------------------------------------------------------------------------


def run(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hubbub_server", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site_app.py").write_text("def app(environ, start_response):\n    raise NotImplementedError\n")
    (tmp_path / "slow_app.py").write_text(
        "import sys, time\nprint('importing', file=sys.stderr, flush=True)\ntime.sleep(30)\n"
    )
    return tmp_path


def test_version(folder: Path) -> None:
    """--version says which versions there are, and ends."""
    done = run(folder, "--version")
    assert done.returncode == 0
    assert done.stdout.startswith("hubbub-serve 0.")
    assert "CPython" in done.stdout


def test_show_config(folder: Path) -> None:
    """--show-config shows the settings, needs no application, and serves nothing."""
    done = run(folder, "--show-config", env={**os.environ, "HUBBUB_SERVE_WORKERS": "3"})
    assert done.returncode == 0
    assert "workers = 3" in done.stdout
    assert tomllib.loads(done.stdout)["workers"] == 3


@pytest.mark.parametrize("workers", [[], ["-w", "2"]])
def test_check(folder: Path, workers: list[str]) -> None:
    """--check loads the application and ends with 0, or says what is wrong and ends with 1; nothing is bound."""
    good = run(folder, "--check", "site_app:app", "-b", "192.0.2.1:80", *workers)
    assert (good.returncode, good.stderr) == (0, "hubbub-serve: site_app:app can be served\n")
    for wrong in (["site_app:nothing"], ["no_app"], ["site_app:app", "-b", "x"], ["site_app", "--certfile", "/x"]):
        bad = run(folder, "--check", *wrong, *workers)
        assert bad.returncode == 1
        assert bad.stderr.startswith("hubbub-serve: ")
        assert bad.stderr.count("\n") == 1


def test_bad_settings_end_with_2(folder: Path) -> None:
    """A bad setting is one line, and exit status 2, as a bad option has it."""
    done = run(folder, "site_app:app", env={**os.environ, "HUBBUB_SERVE_NONSENSE": "3"})
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("patched", ["--monkey", "--no-monkey"])
def test_ctrl_c_while_starting(folder: Path, patched: str) -> None:
    """Ctrl-C ends it quietly, also while the application is loaded."""
    if patched == "--monkey":
        pytest.importorskip("hubbub_monkey")
    command = [sys.executable, "-m", "hubbub_server", "slow_app", patched]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "importing\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""
