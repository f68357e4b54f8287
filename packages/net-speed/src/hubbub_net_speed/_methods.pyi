from collections.abc import Mapping
from typing import Any

LAYOUT: int

def bind(parts: Mapping[str, Any], /) -> Mapping[tuple[type, str], Any]: ...
