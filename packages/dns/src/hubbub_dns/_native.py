"""The two calls of c-ares that each look-up makes: by the functions of pycares' extension module itself.

pycares' own methods make a dozen objects of each reply, and take a lock through a context manager at each call: that
costs more than all the rest of a look-up. The extension module is not part of pycares' promises. Where it has other
names, or the system lets no program make functions for C, pycares' methods are used; the replies are the same.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, NamedTuple

import pycares
from pycares import errno as status

from hubbub_dns._answer import AAAA, CNAME, PTR, SOA, A, Record
from hubbub_dns._wire import Reply

__all__ = ["NO_SOCKET", "Answered", "Calls", "calls_of"]

NO_SOCKET = pycares.ARES_SOCKET_BAD
_IN = 1
_REFUSED = 5
_VALUES = {A: "addr", AAAA: "addr", CNAME: "cname", PTR: "dname"}

Answered = Callable[[Reply | None, int | None], None]
"""Gets a reply, or the number of an error of c-ares, once. c-ares calls it, and must not be called from it."""


class Calls(NamedTuple):
    """What is done with a channel, which is the first argument. Both belong to the thread of the channel."""

    query: Callable[[Any, str, int, Answered], None]
    """Begins to ask for the records of a host name."""
    process: Callable[[Any, int, int], None]
    """Lets c-ares read one descriptor, write to another, and check its time limits. Either may be NO_SOCKET."""


def calls_of(channel: pycares.Channel) -> Calls:
    """The quicker ones that this channel can be used with."""
    return _by_functions if _by_functions is not None and hasattr(channel, "_channel") else _BY_METHODS


def _query(channel: Any, name: str, rtype: int, answered: Answered) -> None:
    told = False

    def read(result: Any, error: int | None) -> None:
        nonlocal told
        told = True
        answered(_reply(result) if error is None else None, error)

    try:
        channel.query(name, rtype, callback=read)
    except pycares.AresError as error:
        if not told:
            answered(None, error.args[0])


def _process(channel: Any, readable: int, writable: int) -> None:
    channel.process_fd(readable, writable)


_BY_METHODS = Calls(_query, _process)


def _reply(result: Any) -> Reply:
    """The reply of which pycares has made objects, as far as c-ares tells."""
    records = []
    strange = 0
    for record in result.answer:
        if record.record_class != _IN:
            strange += 1
        elif (value := _VALUES.get(record.type)) is not None:
            ttl = 0 if record.ttl >> 31 else record.ttl
            records.append(Record(record.name, record.type, ttl, getattr(record.data, value)))
    if strange and strange == len(result.answer):
        return Reply(_REFUSED, False)
    soa = [min(record.ttl, record.data.minimum) for record in result.authority if record.type == SOA]
    return Reply(0, False, tuple(records), float(soa[0]) if soa else None)


def _functions() -> Calls | None:
    """None if the extension module is not as known, or the system lets no program make functions for C."""
    try:
        module: Any = importlib.import_module("pycares._cares")
        ffi, lib = module.ffi, module.lib
        parse: Any = pycares.parse_dnsrec
        begin, process_fd, success = lib.ares_query_dnsrec, lib.ares_process_fd, lib.ARES_SUCCESS
        count, record_at = lib.ares_dns_record_rr_cnt, lib.ares_dns_record_rr_get_const
        name_of, type_of, class_of = lib.ares_dns_rr_get_name, lib.ares_dns_rr_get_type, lib.ares_dns_rr_get_class
        ttl_of, text_of = lib.ares_dns_rr_get_ttl, lib.ares_dns_rr_get_str
        address_of, address6_of = lib.ares_dns_rr_get_addr, lib.ares_dns_rr_get_addr6
        answers, authorities = lib.ARES_SECTION_ANSWER, lib.ARES_SECTION_AUTHORITY
        address, address6, target = lib.ARES_RR_A_ADDR, lib.ARES_RR_AAAA_ADDR, lib.ARES_RR_CNAME_CNAME
        make_handle, string, buffer = ffi.new_handle, ffi.string, ffi.buffer
        for_c = ffi.callback("void(void *, ares_status_t, size_t, const ares_dns_record_t *)")
    except (ImportError, AttributeError, TypeError, OSError, MemoryError):
        return None
    waiting: dict[Any, Answered] = {}
    """Who asked, by the handle that c-ares gives back: it must live as long as c-ares has the question."""

    def text(chars: Any) -> str:
        found: bytes = string(chars)
        return found.decode("latin-1")  # in ASCII: c-ares writes other bytes as numbers

    def read(message: Any) -> Reply:
        """Reads addresses and aliases here, and leaves everything else to pycares."""
        records = []
        if not count(message, authorities):
            for place in range(count(message, answers)):
                record = record_at(message, answers, place)
                rtype, ttl = type_of(record), ttl_of(record)
                if class_of(record) != _IN:
                    break
                if rtype == A:
                    value = inet_ntop(AF_INET, buffer(address_of(record, address), 4))
                elif rtype == AAAA:
                    value = inet_ntop(AF_INET6, buffer(address6_of(record, address6), 16))
                elif rtype == CNAME:
                    value = text(text_of(record, target))
                else:
                    break
                records.append(Record(text(name_of(record)), rtype, 0 if ttl >> 31 else ttl, value))
            else:
                return Reply(0, False, tuple(records))
        return _reply(parse(message)[0])

    @for_c  # type: ignore[untyped-decorator]  # of an extension module without types
    def ended(handle: Any, code: int, timeouts: int, message: Any) -> None:
        answered = waiting.pop(handle, None)
        if answered is None:
            return
        reply, error = None, status.ARES_EBADRESP
        try:
            if code != success:
                error = code
            else:
                reply, error = read(message), None
        finally:
            answered(reply, error)

    def query(channel: Any, name: str, rtype: int, answered: Answered) -> None:
        handle = make_handle(answered)
        waiting[handle] = answered
        code = begin(channel._channel[0], name.encode("ascii"), _IN, rtype, ended, handle, ffi.NULL)
        if code != success and waiting.pop(handle, None) is not None:
            answered(None, code)

    def process(channel: Any, readable: int, writable: int) -> None:
        process_fd(channel._channel[0], readable, writable)

    return Calls(query, process)


_by_functions = _functions()
