"""The HTTP/2 server (RFC 9113). Its modules need the package h2, the extra ``http2``."""

__all__: list[str] = []
