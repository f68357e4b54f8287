"""gevent._threading on hubbub: the original primitives, whatever is patched."""

from __future__ import annotations

from hubbub_monkey import get_original

__all__ = ["Lock", "get_ident", "get_thread_ident", "start_new_thread"]

Lock, get_thread_ident, start_new_thread = get_original("_thread", ["allocate_lock", "get_ident", "start_new_thread"])
get_ident = get_thread_ident
