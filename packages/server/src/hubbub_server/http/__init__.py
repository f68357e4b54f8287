"""The parts of the HTTP server: parsing and framing without I/O, and the connection that drives them."""

__all__: list[str] = []
