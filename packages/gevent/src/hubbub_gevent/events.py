"""gevent.events on hubbub."""

from __future__ import annotations

from typing import Any

from zope.event import notify, subscribers  # type: ignore[import-untyped]  # no types

from hubbub_gevent._zope import Attribute, Interface, implementer

__all__ = [
    "DoNotPatch",
    "EventLoopBlocked",
    "GeventDidPatchAllEvent",
    "GeventDidPatchBuiltinModulesEvent",
    "GeventDidPatchModuleEvent",
    "GeventPatchEvent",
    "GeventWillPatchAllEvent",
    "GeventWillPatchEvent",
    "GeventWillPatchModuleEvent",
    "IEventLoopBlocked",
    "IGeventDidPatchAllEvent",
    "IGeventDidPatchBuiltinModulesEvent",
    "IGeventDidPatchEvent",
    "IGeventDidPatchModuleEvent",
    "IGeventPatchEvent",
    "IGeventWillPatchAllEvent",
    "IGeventWillPatchEvent",
    "IGeventWillPatchModuleEvent",
    "IMemoryUsageThresholdExceeded",
    "IMemoryUsageUnderThreshold",
    "IPeriodicMonitorThread",
    "IPeriodicMonitorThreadStartedEvent",
    "MemoryUsageThresholdExceeded",
    "MemoryUsageUnderThreshold",
    "PeriodicMonitorThreadStartedEvent",
    "subscribers",
]


def notify_and_call_entry_points(event: Any) -> None:
    """Tell all subscribers, and the plug-ins of the event's entry-point group."""
    from importlib.metadata import entry_points

    notify(event)
    for entry in entry_points(group=event.ENTRY_POINT_NAME):
        if entry.dist is None or entry.dist.name != "gevent":  # if gevent is installed, its plug-ins are its own
            entry.load()(event)


class IPeriodicMonitorThread(Interface):
    """The thread that watches a hub."""

    def add_monitoring_function(function: Any, period: Any) -> None:
        """Call ``function(hub)`` every ``period`` seconds."""


class IPeriodicMonitorThreadStartedEvent(Interface):
    """A monitor thread has started."""

    monitor: Any = Attribute("The thread")


@implementer(IPeriodicMonitorThreadStartedEvent)
class PeriodicMonitorThreadStartedEvent:
    """A monitor thread has started."""

    ENTRY_POINT_NAME = "gevent.plugins.hub.periodic_monitor_thread_started"

    def __init__(self, monitor: Any) -> None:
        self.monitor = monitor


class IEventLoopBlocked(Interface):
    """The loop did not turn for too long."""

    greenlet: Any = Attribute("The greenlet that ran")
    blocking_time: Any = Attribute("How long, in seconds")
    info: Any = Attribute("Lines that tell more")
    hub: Any = Attribute("The hub")


@implementer(IEventLoopBlocked)
class EventLoopBlocked:
    """The loop did not turn for too long."""

    def __init__(self, greenlet: Any, blocking_time: float, info: Any, *, hub: Any = None) -> None:
        self.greenlet = greenlet
        self.blocking_time = blocking_time
        self.info = info
        self.hub = hub


class IMemoryUsageThresholdExceeded(Interface):
    """The process uses too much memory."""

    mem_usage: Any = Attribute("Bytes in use")
    max_allowed: Any = Attribute("Bytes allowed")
    memory_info: Any = Attribute("What psutil says")


class _Memory:
    def __init__(self, mem_usage: int, max_allowed: int, memory_info: Any) -> None:
        self.mem_usage = mem_usage
        self.max_allowed = max_allowed
        self.memory_info = memory_info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} used={self.mem_usage} max={self.max_allowed} details={self.memory_info!r}>"


@implementer(IMemoryUsageThresholdExceeded)
class MemoryUsageThresholdExceeded(_Memory):
    """The process uses too much memory."""


class IMemoryUsageUnderThreshold(Interface):
    """The process uses no longer too much memory."""

    mem_usage: Any = Attribute("Bytes in use")
    max_allowed: Any = Attribute("Bytes allowed")
    max_memory_usage: Any = Attribute("The most bytes seen meanwhile")
    memory_info: Any = Attribute("What psutil says")


@implementer(IMemoryUsageUnderThreshold)
class MemoryUsageUnderThreshold(_Memory):
    """The process uses no longer too much memory."""

    def __init__(self, mem_usage: int, max_allowed: int, memory_info: Any, max_usage: int) -> None:
        super().__init__(mem_usage, max_allowed, memory_info)
        self.max_memory_usage = max_usage


class IGeventPatchEvent(Interface):
    """Something about patching."""

    source: Any = Attribute("Where replacements come from")
    target: Any = Attribute("What is replaced")


@implementer(IGeventPatchEvent)
class GeventPatchEvent:
    """Something about patching."""

    def __init__(self, source: Any, target: Any) -> None:
        self.source = source
        self.target = target

    def __repr__(self) -> str:
        return f"<{type(self).__name__} source={self.source!r} target={self.target!r} at {id(self):x}>"


class IGeventWillPatchEvent(IGeventPatchEvent):
    """Before patching; a subscriber may raise DoNotPatch."""


class DoNotPatch(BaseException):
    """Raised by a subscriber to prevent patching."""


@implementer(IGeventWillPatchEvent)
class GeventWillPatchEvent(GeventPatchEvent):
    """Before patching."""


class IGeventDidPatchEvent(IGeventPatchEvent):
    """After patching."""


@implementer(IGeventDidPatchEvent)
class GeventDidPatchEvent(GeventPatchEvent):
    """After patching."""


class IGeventWillPatchModuleEvent(IGeventWillPatchEvent):
    """Before a module is patched."""

    module_name: Any = Attribute("Its name")
    target_item_names: Any = Attribute("What is replaced in it")


@implementer(IGeventWillPatchModuleEvent)
class GeventWillPatchModuleEvent(GeventWillPatchEvent):
    """Before a module is patched."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.will_patch_module"

    def __init__(self, module_name: str, source: Any, target: Any, items: Any) -> None:
        super().__init__(source, target)
        self.module_name = module_name
        self.target_item_names = items


class IGeventDidPatchModuleEvent(IGeventDidPatchEvent):
    """After a module was patched."""

    module_name: Any = Attribute("Its name")


@implementer(IGeventDidPatchModuleEvent)
class GeventDidPatchModuleEvent(GeventDidPatchEvent):
    """After a module was patched."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.did_patch_module"

    def __init__(self, module_name: str, source: Any, target: Any) -> None:
        super().__init__(source, target)
        self.module_name = module_name


class IGeventWillPatchAllEvent(IGeventWillPatchEvent):
    """Before anything is patched."""

    patch_all_arguments: Any = Attribute("The arguments of patch_all")
    patch_all_kwargs: Any = Attribute("Further arguments, for plug-ins")

    def will_patch_module(module_name: Any) -> Any:
        """Whether a module is going to be patched."""


class _PatchAll:
    def __init__(self, patch_all_arguments: Any, patch_all_kwargs: Any) -> None:
        super().__init__(None, None)  # type: ignore[call-arg]  # of the event class beside
        self._patch_all_arguments = patch_all_arguments
        self._patch_all_kwargs = patch_all_kwargs

    @property
    def patch_all_arguments(self) -> dict[str, Any]:
        """The arguments of patch_all."""
        return dict(self._patch_all_arguments)

    @property
    def patch_all_kwargs(self) -> dict[str, Any]:
        """Further arguments, for plug-ins."""
        return dict(self._patch_all_kwargs)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._patch_all_arguments!r} at {id(self):x}>"


@implementer(IGeventWillPatchAllEvent)
class GeventWillPatchAllEvent(_PatchAll, GeventWillPatchEvent):
    """Before anything is patched."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.will_patch_all"

    def will_patch_module(self, module_name: str) -> Any:
        """Whether a module is going to be patched."""
        return self.patch_all_arguments.get(module_name)


class IGeventDidPatchBuiltinModulesEvent(IGeventDidPatchEvent):
    """After the standard library was patched."""

    patch_all_arguments: Any = Attribute("The arguments of patch_all")
    patch_all_kwargs: Any = Attribute("Further arguments, for plug-ins")


@implementer(IGeventDidPatchBuiltinModulesEvent)
class GeventDidPatchBuiltinModulesEvent(_PatchAll, GeventDidPatchEvent):
    """After the standard library was patched."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.did_patch_builtins"


class IGeventDidPatchAllEvent(IGeventDidPatchEvent):
    """After everything."""


@implementer(IGeventDidPatchAllEvent)
class GeventDidPatchAllEvent(_PatchAll, GeventDidPatchEvent):
    """After everything."""

    ENTRY_POINT_NAME = "gevent.plugins.monkey.did_patch_all"
