"""Task groups: nothing outlives the block, the first failure ends the rest."""

from __future__ import annotations

import hubbub
import pytest
from greenlet import GreenletExit, getcurrent
from hubbub import Event, TaskGroup, Timeout, fail_after, lowlevel, move_on_after, shield, sleep, spawn


class Failure(Exception):
    """Of a member of a group."""


def test_the_block_waits_for_its_greenlets(virtual_clock):
    """The block ends when the last of its greenlets has ended; their values are there."""
    with TaskGroup() as group:
        slow = group.spawn(lambda: (sleep(3), "slow")[1])
        quick = group.spawn(lambda: "quick")
    assert (slow.value, quick.value) == ("slow", "quick")
    assert virtual_clock.now() == pytest.approx(3)


def test_the_first_failure_cancels_the_siblings(hub, capsys):
    """A failing greenlet cancels the others; the block raises an ExceptionGroup; nothing is printed."""
    cleaned = []

    def waits():
        try:
            Event().wait()
        finally:
            cleaned.append(True)

    def fails():
        sleep(0)
        raise ValueError("first")

    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(waits)
        group.spawn(waits)
        group.spawn(fails)
        Event().wait()
    assert [str(error) for error in caught.value.exceptions] == ["first"]
    assert cleaned == [True, True]
    assert capsys.readouterr().err == ""


def test_all_failures_are_in_the_group(hub):
    """Failures of siblings during their cancellation are not lost."""

    def fails_late():
        try:
            Event().wait()
        finally:
            raise KeyError("late")

    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        group.spawn(fails_late)
        sleep(0)
        raise ValueError("body")
    assert {type(error) for error in caught.value.exceptions} == {KeyError, ValueError}


def test_a_failing_body_cancels_the_greenlets(hub):
    """An error in the block itself cancels all greenlets and is raised in the group."""
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as group:
        member = group.spawn(Event().wait)
        sleep(0)
        raise ValueError("body")
    assert [type(error) for error in caught.value.exceptions] == [ValueError]
    assert member.dead


def test_cancel_ends_everything_quietly(hub):
    """Cancelling the group ends block and greenlets without an error."""
    with TaskGroup() as group:
        member = group.spawn(Event().wait)
        group.cancel()
        Event().wait()
        pytest.fail("the block went on")
    assert member.dead


def test_members_may_spawn_members(hub):
    """A greenlet of the group can start others in it, and the block waits for them too."""
    done = []

    def leaf():
        sleep(0.001)
        done.append(True)

    def branch(group):
        sleep(0)
        for _ in range(3):
            group.spawn(leaf)

    with TaskGroup() as group:
        group.spawn(branch, group)
    assert done == [True] * 3


def test_a_member_that_swallows_its_cancellation_still_ends(hub):
    """Swallowing the cancellation once does not keep a member alive."""

    def stubborn():
        try:
            Event().wait()
        except hubbub.Cancelled:
            pass
        Event().wait()

    with TaskGroup() as group:
        group.spawn(stubborn)
        sleep(0)
        group.cancel()


def test_a_deadline_around_the_group_cancels_it(virtual_clock):
    """fail_after around a group cancels its greenlets, waits for their shielded clean-up, and raises TimeoutError."""
    cleaned = []

    def work():
        try:
            sleep(60)
        finally:
            with shield():
                sleep(2)
                cleaned.append(virtual_clock.now())

    with pytest.raises(TimeoutError), fail_after(1), TaskGroup() as group:
        group.spawn(work)
    assert cleaned == [pytest.approx(3)]


def test_killing_the_owner_leaves_no_greenlet(hub):
    """No member outlives a group whose owner is killed while it waits for them."""
    members = []

    def owner():
        with TaskGroup() as group:
            members.append(group.spawn(Event().wait))

    running = spawn(owner)
    sleep(0)
    sleep(0)
    running.kill()
    assert members[0].dead
    assert running.successful()


def test_a_timeout_passes_through_the_group(virtual_clock):
    """A Timeout of the caller ends the group and arrives as itself."""
    limit = hubbub.Timeout(1)
    with pytest.raises(hubbub.Timeout) as caught, limit, TaskGroup() as group:
        member = group.spawn(sleep, 60)
        sleep(60)
    assert caught.value is limit
    assert member.dead


def test_nested_groups(hub):
    """A failure in an inner group comes to the outer one as one error and cancels its other members."""
    with pytest.raises(ExceptionGroup) as caught, TaskGroup() as outer:
        other = outer.spawn(Event().wait)

        def inner():
            with TaskGroup() as group:
                group.spawn(lambda: 1 / 0)

        outer.spawn(inner)
    assert caught.value.subgroup(ZeroDivisionError) is not None
    assert other.dead


def test_spawn_outside_the_block_is_refused(hub):
    """A group that has not begun or has ended starts no greenlets."""
    group = TaskGroup()
    with pytest.raises(RuntimeError, match="not in its block"):
        group.spawn(sleep)
    with group:
        pass
    with pytest.raises(RuntimeError, match="not in its block"):
        group.spawn(sleep)


def test_move_on_after_inside_a_member(virtual_clock):
    """A member's own scope ends by its own deadline, and the group goes on."""
    moved = []

    def work():
        with move_on_after(1) as scope:
            sleep(60)
        moved.append(scope.cancelled_caught)

    with TaskGroup() as group:
        group.spawn(work)
        group.spawn(sleep, 2)
    assert moved == [True]
    assert virtual_clock.now() == pytest.approx(2)


def failing_beside(strike):
    """What a greenlet sees that handles the failure of a member, and is struck by ``strike`` at the same time."""
    seen = []

    def member(owner):
        strike(owner)
        raise Failure

    def work():
        try:
            with Timeout(None) as limit, TaskGroup() as group:
                limits.append(limit)
                group.spawn(member, getcurrent())
                sleep(10)
        except* Failure:
            seen.append("failure")
        sleep(0)
        sleep(0)
        seen.append("unharmed")

    limits = []
    running = spawn(work)
    running.join(timeout=5)
    return running, seen


def test_a_kill_beside_a_failure_is_not_lost(hub):
    """Who is killed when a member fails, and handles the failure, is killed at the next wait."""
    running, seen = failing_beside(lambda owner: owner.kill(block=False))
    assert (seen, type(running.value)) == (["failure"], GreenletExit)


def test_a_timeout_beside_a_failure_is_not_lost(hub, capsys):
    """A Timeout that strikes when a member fails is among what the group raises; ``except*`` passes it on."""
    running, seen = failing_beside(lambda owner: lowlevel.interrupt(owner, Timeout(1)))
    assert seen == ["failure"]
    assert isinstance(running.exception, BaseExceptionGroup)
    assert [type(one) for one in running.exception.exceptions] == [Timeout]


def test_a_kill_in_the_last_wait_beside_a_failure_is_not_lost(hub):
    """The same if the owner waits for its members already."""
    seen = []

    def member(owner):
        sleep(0)
        owner.kill(block=False)
        raise Failure

    def work():
        try:
            with TaskGroup() as group:
                group.spawn(member, getcurrent())
        except* Failure:
            seen.append("failure")
        sleep(0)
        sleep(0)
        seen.append("unharmed")

    running = spawn(work)
    running.join(timeout=5)
    assert (seen, type(running.value)) == (["failure"], GreenletExit)
