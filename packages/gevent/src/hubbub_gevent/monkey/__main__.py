"""``python -m gevent.monkey script``: see :mod:`gevent.monkey`."""

from __future__ import annotations

from hubbub_gevent.monkey import main

main()
