"""Makes the standard library cooperative on hubbub."""

__all__: list[str] = []
