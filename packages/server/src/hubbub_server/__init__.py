"""TCP, TLS, UDP, Unix and HTTP/WSGI servers on hubbub."""

__all__: list[str] = []
