"""Does in a frozen program, which reads no start-up file, what that file does in others."""

import os

if os.environ.get("HUBBUB_GEVENT", "0") not in ("", "0"):
    import hubbub_gevent

    hubbub_gevent.install()
