"""Cycles in a graph of waits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["cycles"]


def cycles(waits: Mapping[int, Iterable[int]]) -> Iterator[tuple[int, ...]]:
    """The nodes that can reach one another, each group once and in the order of a walk (Tarjan, 1972).

    :param waits: the nodes that each node waits for.
    """
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    path: list[int] = []
    for start in waits:
        if start not in order:
            yield from _from(start, waits, order, lowest, path)


def _from(
    start: int, waits: Mapping[int, Iterable[int]], order: dict[int, int], lowest: dict[int, int], path: list[int]
) -> Iterator[tuple[int, ...]]:
    # Without recursion: chains of waits can be long.
    work = [(start, iter(waits.get(start, ())))]
    on_path = {start}
    order[start] = lowest[start] = len(order)
    path.append(start)
    while work:
        node, left = work[-1]
        for other in left:
            if other not in order:
                order[other] = lowest[other] = len(order)
                path.append(other)
                on_path.add(other)
                work.append((other, iter(waits.get(other, ()))))
                break
            if other in on_path:
                lowest[node] = min(lowest[node], order[other])
        else:
            work.pop()
            if work:
                above = work[-1][0]
                lowest[above] = min(lowest[above], lowest[node])
            if lowest[node] == order[node]:
                group = _cut(path, node)
                on_path.difference_update(group)
                if len(group) > 1 or node in waits.get(node, ()):
                    yield group


def _cut(path: list[int], node: int) -> tuple[int, ...]:
    place = path.index(node)
    group = tuple(path[place:])
    del path[place:]
    return group
