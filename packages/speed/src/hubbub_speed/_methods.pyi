from collections.abc import Mapping
from typing import Any

def bind(parts: Mapping[str, Any], /) -> dict[tuple[type, str], Any]: ...
