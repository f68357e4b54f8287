"""gevent.contextvars: the standard library's, which tell greenlets apart."""

from __future__ import annotations

from contextvars import Context, ContextVar, Token, copy_context

__all__ = ["Context", "ContextVar", "Token", "copy_context"]

__implements__: list[str] = ["ContextVar", "Context", "copy_context", "Token"]
