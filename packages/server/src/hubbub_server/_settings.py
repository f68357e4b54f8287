"""Where settings come from: the command line, else the environment, else a file, else what they are by default."""

from __future__ import annotations

import argparse
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from hubbub_server._options import OptionParser, make_parser

__all__ = ["PREFIX", "Settings", "SettingsError", "read_settings"]

PREFIX: Final = "HUBBUB_SERVE_"
"""What the names of variables of the environment begin with; ``--stop-seconds`` is ``HUBBUB_SERVE_STOP_SECONDS``."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class SettingsError(ValueError):
    """A setting cannot be understood; the text says which, where it stands, and what would be right."""


class _Given(NamedTuple):
    """One setting as it was given."""

    value: Any
    source: str


class Settings:
    """All settings: their values as attributes of ``options``, and where each was given."""

    def __init__(self, parser: OptionParser, options: argparse.Namespace, found: Mapping[str, _Given]) -> None:
        self.options: argparse.Namespace = options
        self.sources: dict[str, str] = {name: given.source for name, given in found.items()}
        self._actions = parser.settings
        for name, given in found.items():
            setattr(options, name, given.value)

    def __str__(self) -> str:
        """A TOML file that says the same, with the sources as comments. What is not set is a comment as a whole."""
        lines = [(self._line(name), source) for name, source in self.sources.items()]
        width = max(len(line) for line, _ in lines)
        return "".join(f"{line:{width}}  # {source}\n" for line, source in lines)

    def _line(self, name: str) -> str:
        key = name.replace("_", "-")
        value = getattr(self.options, name)
        if value is None:
            return f'{key} = "none"' if _can_be_none(self._actions[name]) else f"# {key} is not set"
        return f"{key} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")


def read_settings(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """The settings of a command line, of the file that it or the environment names, and of the environment.

    :raises SettingsError: something in the file or the environment is not a setting, or has no sense.
    :raises SystemExit: the command line cannot be understood, or asks for help only.
    """
    parser = make_parser()
    found = {name: _Given(action.default, "default") for name, action in parser.settings.items()}
    for action in parser.settings.values():
        action.default = argparse.SUPPRESS  # so that what is there afterwards was given
    options = parser.parse_args(arguments)
    variables = {name.removeprefix(PREFIX).lower(): name for name in environ if name.startswith(PREFIX)}
    file = options.config
    config = variables.pop("config", None)
    if file is None and config is not None:
        file = environ[config]
    if file is not None:
        found.update(_of_file(parser, file))
    for name, variable in variables.items():
        action = _action(parser, name, f"the environment has {variable}")
        found[name] = _Given(_of_text(parser, action, environ[variable], variable), f"environment, {variable}")
    for name in found:
        if hasattr(options, name):
            found[name] = _Given(getattr(options, name), "command line")
    settings = Settings(parser, options, found)
    if options.application is None and not options.show_config:
        raise SettingsError("which application? Give it as module:attribute, or as the setting application")
    if options.keyfile and not options.certfile:
        raise SettingsError("keyfile needs certfile")
    return settings


def _of_file(parser: OptionParser, path: str) -> dict[str, _Given]:
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"cannot read the settings in {path!r}: {error}") from error
    except OSError as error:
        raise SettingsError(f"cannot read the settings: {error}") from error
    found = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        action = _action(parser, name, f"{path!r} has {key}")
        found[name] = _Given(_of_value(parser, action, value, f"{key} in {path!r}"), f"file {path}")
    return found


def _action(parser: OptionParser, name: str, where: str) -> argparse.Action:
    action = parser.settings.get(name)
    if action is None:
        near = difflib.get_close_matches(name, parser.settings, 1)
        hint = f"; did you mean {near[0].replace('_', '-')}?" if near else ""
        raise SettingsError(f"{where}, which is no setting{hint}")
    return action


def _of_value(parser: OptionParser, action: argparse.Action, value: Any, where: str) -> Any:
    """A setting from a value of a TOML file."""
    if action.nargs == 0:
        if isinstance(value, bool):
            return value
        raise SettingsError(f"{where} is true or false, not {value!r}")
    if action.dest in parser.repeated:
        values = value if isinstance(value, list) else [value]
        return [_converted(action, item, where) for item in values]
    return _converted(action, value, where)


def _of_text(parser: OptionParser, action: argparse.Action, text: str, where: str) -> Any:
    """A setting from a variable of the environment. Several values are separated by commas."""
    if action.nargs == 0:
        if text.lower() not in (*_TRUE, *_FALSE):
            raise SettingsError(f"{where} is true or false, not {text!r}")
        return text.lower() in _TRUE
    if action.dest in parser.repeated:
        return [_converted(action, part.strip(), where) for part in text.split(",")]
    return _converted(action, text, where)


def _can_be_none(action: argparse.Action) -> bool:
    """Whether a setting has "none" for a value."""
    try:
        return action.type is not None and _converted(action, "none", "") is None
    except SettingsError:
        return False


def _converted(action: argparse.Action, value: Any, where: str) -> Any:
    """What an option's own reader makes of a value: it is understood, and refused, in the same way everywhere."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise SettingsError(f"{where} is a text or a number, not {value!r}")
    text = str(value)
    read: Any = action.type or str
    try:
        made = read(text)
    except argparse.ArgumentTypeError as error:
        raise SettingsError(f"{where}: {error}") from None
    if action.choices is not None and made not in action.choices:
        raise SettingsError(f"{where} is one of {_listed(action.choices)}, not {text!r}")
    return made


def _listed(choices: Iterable[Any]) -> str:
    return ", ".join(map(str, choices))
