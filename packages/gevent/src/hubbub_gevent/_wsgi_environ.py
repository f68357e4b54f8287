"""WSGI environments: dictionaries, some of which show no secrets."""

from __future__ import annotations

from typing import Any

__all__ = ["Environ", "SecureEnviron", "WSGISecureEnviron"]


class Environ(dict[str, Any]):
    """A dict that stays of its class when copied, and becomes a plain one when pickled."""

    __slots__ = ()

    def copy(self) -> Environ:
        """A copy of the same class."""
        return self.__class__(self)

    def iteritems(self) -> Any:
        """The same as ``items``."""
        return self.items()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (dict, (), None, None, iter(self.items()))


class SecureEnviron(Environ):
    """An environment whose repr shows no secrets."""

    default_secure_repr: Any = True
    default_whitelist_keys: Any = ()
    default_print_masked_keys: Any = True
    __slots__ = ("print_masked_keys", "secure_repr", "whitelist_keys")

    def __getattr__(self, name: str) -> Any:
        if name in SecureEnviron.__slots__:
            return getattr(type(self), f"default_{name}")
        raise AttributeError(name)

    def __repr__(self) -> str:
        if not self.secure_repr:
            return dict.__repr__(self)
        if not self.whitelist_keys:
            return f"<pywsgi.SecureEnviron dict (keys: {len(self)}) at {id(self)}>"
        if self.print_masked_keys:
            return repr({key: (value if key in self.whitelist_keys else "<MASKED>") for key, value in self.items()})
        shown = {key: value for key, value in self.items() if key in self.whitelist_keys}
        hidden = len(self) - len(shown)
        if not hidden:
            return repr(shown)
        return f"{repr(shown)[:-1]}{', ' if shown else ''}(hidden keys: {hidden})}}"

    __str__ = __repr__


class WSGISecureEnviron(SecureEnviron):
    """An environment whose repr shows the client's address and the host that was asked for."""

    default_whitelist_keys: Any = ("REMOTE_ADDR", "REMOTE_PORT", "HTTP_HOST")
    default_print_masked_keys = False
