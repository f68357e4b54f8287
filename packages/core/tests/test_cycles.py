"""Cycles in a graph of waits."""

from __future__ import annotations

from random import Random

import pytest
from hubbub._cycles import cycles


def found(waits):
    return {frozenset(group) for group in cycles(waits)}


@pytest.mark.parametrize(
    ("waits", "expected"),
    [
        ({}, set()),
        ({1: [2], 2: [3]}, set()),
        ({1: [1]}, {frozenset({1})}),
        ({1: [2], 2: [1]}, {frozenset({1, 2})}),
        ({1: [2], 2: [3], 3: [1], 4: [1]}, {frozenset({1, 2, 3})}),
        ({1: [2, 5], 2: [1], 5: [6], 6: [5]}, {frozenset({1, 2}), frozenset({5, 6})}),
        ({0: [1], 1: [2], 2: [9]}, set()),
    ],
)
def test_cycles_are_found(waits, expected):
    """Those that wait for one another are one group; those that merely wait for such a group are in none."""
    assert found(waits) == expected


def test_a_long_chain_needs_no_deep_stack():
    """100,000 waits in a row end in one cycle, without recursion."""
    waits = {number: [number + 1] for number in range(100_000)}
    waits[100_000] = [0]
    assert [len(group) for group in cycles(waits)] == [100_001]


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_those_that_reach_one_another(seed):
    """For random graphs: two nodes are in one group exactly if each can reach the other."""
    random = Random(seed)
    nodes = range(8)
    waits = {node: [other for other in nodes if random.random() < 0.15] for node in nodes}
    reach = {node: set(waits[node]) for node in nodes}
    for _ in nodes:
        for node in nodes:
            reach[node] |= {far for other in reach[node] for far in reach[other]}
    expected = {frozenset(other for other in nodes if other in reach[node] and node in reach[other]) for node in nodes}
    assert found(waits) == {group for group in expected if group}
