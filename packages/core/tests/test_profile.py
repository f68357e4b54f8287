"""The sampling profiler."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import weakref
import xml.etree.ElementTree as ElementTree

import pytest
from hubbub import Event, sleep, spawn
from hubbub.profile import Profile, Profiler


def computes(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(500))


def share(stacks, root):
    return sum(seconds for stack, seconds in stacks.items() if stack[0].endswith(root)) / sum(stacks.values())


class Looking:
    """Has a profiler look ten times, each time when it is told to."""

    looks = 10

    def __init__(self):
        self.due, self.done = threading.Semaphore(0), threading.Semaphore(0)
        self.profiler = Profiler()
        self.left = self.looks
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        self.profiler.look_while(self.pause)
        self.done.release()

    def pause(self, seconds):
        if self.left < self.looks:
            self.done.release()  # the look before this pause
        assert self.due.acquire(timeout=20)
        self.left -= 1
        return self.left > 0


def test_a_hot_greenlet_is_found(hub):
    """What computes has the running time, with the function in which it does; what sleeps has none."""
    looking = Looking()

    def computes_until_seen():
        looking.due.release()
        while not looking.done.acquire(blocking=False):
            sum(range(500))

    def hot():
        for _ in range(looking.looks):
            computes_until_seen()
            sleep(0)

    def cool():
        while looking.left:
            sleep(0.0001)

    for greenlet in [spawn(hot), spawn(cool)]:
        greenlet.join()
    looking.thread.join()
    profile = looking.profiler.profile
    assert profile.looks == looking.looks
    assert share(profile.running, "hot") > 0.7  # beside threads that other tests have left
    assert not any(stack[0].endswith("cool") for stack in profile.running)
    assert any("computes_until_seen (test_profile.py:" in entry for stack in profile.running for entry in stack)


def test_waiting_time_is_charged_to_what_is_waited_in(hub, monkeypatch):
    """A greenlet that waits has the time it waited, below its own line, with the operation as the last entry."""
    monkeypatch.setattr("hubbub.profile._MOST_WAITING", 10**6)  # beside those that other tests have left
    event = Event()

    def waits():
        event.wait()

    greenlet = spawn(waits)
    with Profiler() as profiler:
        sleep(0.3)
    (stack,) = (stack for stack in profiler.profile.waiting if "waits" in stack[0])
    assert stack[-1] == "Event.wait"
    assert "test_profile.py" in stack[-2]
    assert profiler.profile.waiting[stack] == pytest.approx(profiler.profile.seconds, rel=0.5)
    assert not any(entry.startswith("Waiter") for entry in stack)
    event.set()
    greenlet.join()


def test_idle_hubs_do_not_run(hub):
    """A hub that waits for events is charged with nothing."""
    looking, over = Looking(), Event()

    def drive():
        for _ in range(looking.looks):
            while not hub.loop.in_poll:
                time.sleep(0.001)
            looking.due.release()
            assert looking.done.acquire(timeout=20)
        over.set()

    driving = threading.Thread(target=drive)
    driving.start()
    assert over.wait(30)
    driving.join()
    looking.thread.join()
    assert not any("test_idle" in entry for stack in looking.profiler.profile.running for entry in stack)


def test_waits_are_left_out(hub):
    """Without ``waits`` nobody is looked at that waits."""
    with Profiler(waits=False) as profiler:
        sleep(0.01)
    assert profiler.profile.waiting == {}


def test_looking_costs_little():
    """At 100 looks a second, 100 greenlets waiting, looking takes a hundredth of the CPU (2 here, for noise).

    In a process of its own: each native thread that other tests have left would be looked at too.
    """
    program = """
from hubbub import Event, sleep, spawn
from hubbub.profile import Profiler
waiting = [spawn(Event().wait) for _ in range(100)]
with Profiler() as profiler:
    sleep(1)
print(profiler.profile.looks, profiler.profile.cost / profiler.profile.seconds)
"""
    for _ in range(5):  # the first that nothing on the machine has disturbed
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
        looks, share = map(float, done.stdout.split())
        if looks > 20 and share < 0.02:
            return
    pytest.fail(f"{looks} looks took {share} of the time")


def test_speedscope(tmp_path):
    """The file for speedscope has each stack as numbers of frames, with its seconds."""
    profile = Profile(running={("a", "b"): 1.0, ("a",): 2.0}, waiting={("a", "w"): 4.0})
    profile.save(tmp_path / "out.json")
    told = json.loads((tmp_path / "out.json").read_text())
    names = [frame["name"] for frame in told["shared"]["frames"]]
    running, waiting = told["profiles"]
    assert [[names[number] for number in sample] for sample in running["samples"]] == [["a", "b"], ["a"]]
    assert running["weights"] == [1.0, 2.0]
    assert (waiting["unit"], waiting["endValue"]) == ("seconds", 4.0)
    assert Profile.from_dict(json.loads(json.dumps(profile.as_dict()))) == profile


def test_the_picture(tmp_path):
    """The picture is well-formed, needs nothing else, and each frame is as wide as its share."""
    profile = Profile(running={("a", "b<&>"): 1.0, ("a", "c"): 3.0})
    profile.save(tmp_path / "out.svg")
    root = ElementTree.parse(tmp_path / "out.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    widths = {
        group.find(f"{space}title").text.partition(":")[0]: float(group.find(f"{space}rect").get("width"))
        for group in root.iter(f"{space}g")
        if group.get("class") == "frame"
    }
    assert widths["b<&>"] == pytest.approx(widths["a"] / 4, abs=0.1)
    assert widths["running"] == pytest.approx(widths["a"])
    assert "waiting: nothing was seen" in (tmp_path / "out.svg").read_text()
    assert "http" not in (tmp_path / "out.svg").read_text().replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("rate", [0, -1, 1001, float("nan")])
def test_bad_rates_are_refused(rate):
    """A rate that is none is an error at the door; a profiler starts once."""
    with pytest.raises(ValueError, match="rate"):
        Profiler(rate)


def test_once(hub):
    """A profiler cannot be started a second time."""
    with Profiler() as profiler, pytest.raises(RuntimeError, match="once"):
        profiler.start()


def test_short_runs_are_seen(hub):
    """What runs for a millisecond between two waits of the hub is seen, too; the switch interval is put back."""

    seen = 0.0
    end = time.monotonic() + 30

    def bursts():
        while seen < 0.05 and time.monotonic() < end:
            computes(0.001)
            sleep(0.001)

    before = sys.getswitchinterval()
    with Profiler(waits=False) as profiler:
        greenlet = spawn(bursts)
        while greenlet.started:
            sleep(0.05)
            seen = sum(seconds for stack, seconds in list(profiler.profile.running.items()) if "bursts" in stack[0])
    assert sys.getswitchinterval() == before
    assert seen >= 0.05


def test_looks_keep_nothing_alive(hub):
    """What ran when a profiler looked is freed when it has ended, and not when the garbage collector comes."""

    class Thing:
        pass

    gone = []

    def works():
        thing = Thing()
        gone.append(weakref.ref(thing))
        computes(0.02)

    profiler = Profiler(1000)
    gc.disable()
    try:
        with profiler:
            while profiler.profile.looks < 20:
                works()
        left = [thing for thing in gone if thing() is not None]
    finally:
        gc.enable()
    assert any("works" in entry for stack in profiler.profile.running for entry in stack)
    assert left == []


def test_many_that_wait_are_sampled(hub, monkeypatch):
    """Of many greenlets that wait some stand for all: the sum is that of all of them, and a look stays short."""
    described = []
    monkeypatch.setattr("hubbub.profile._waiting_stack", lambda info: described.append(info) or (info.runs, "a wait"))
    event = Event()

    def first():
        event.wait()

    def second():
        event.wait()

    greenlets = [spawn(function) for function in (first, second, second, second) for _ in range(250)]
    sleep(0)
    with Profiler() as profiler:
        sleep(0.05)
    assert len(described) <= 200 * profiler.profile.wait_looks
    stacks = {str(stack[0]).rpartition(".")[2]: seconds for stack, seconds in profiler.profile.waiting.items()}
    waiting = {name: stacks[name] for name in ("first", "second")}  # without those that other tests have left
    total = sum(waiting.values())
    assert total == pytest.approx(1000 * profiler.profile.seconds, rel=0.3)
    assert 0.5 < waiting["second"] / total < 0.95
    event.set()
    for greenlet in greenlets:
        greenlet.join()
