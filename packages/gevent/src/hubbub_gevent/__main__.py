"""``python -m hubbub_gevent [-m module | script] args``: runs a program in which ``import gevent`` means hubbub."""

from __future__ import annotations

import sys

from hubbub_monkey.__main__ import run

from hubbub_gevent.installing import install

__all__ = ["main"]


def main() -> None:
    """The command."""
    arguments = sys.argv[1:]
    module = None
    if arguments[:1] == ["-m"] and len(arguments) > 1:
        module, arguments = arguments[1], arguments[2:]
    if module is None and (not arguments or arguments[0].startswith("-")):
        sys.exit("usage: python -m hubbub_gevent (script | -m module) [arguments]")
    install()
    run(module, arguments)


if __name__ == "__main__":
    main()
