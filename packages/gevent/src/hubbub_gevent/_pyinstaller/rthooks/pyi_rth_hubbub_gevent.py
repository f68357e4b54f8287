"""What the start-up file does elsewhere: a frozen program reads none."""

import os

if os.environ.get("HUBBUB_GEVENT", "0") not in ("", "0"):
    import hubbub_gevent

    hubbub_gevent.install()
