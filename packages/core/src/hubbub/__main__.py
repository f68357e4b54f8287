"""``python -m hubbub``: the command ``hubbub``."""

import sys

from hubbub._command.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
