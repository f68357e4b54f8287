"""Makes the pictures of the page "Looking into a running program": python docs/pictures/make.py."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PROGRAM = """
import hubbub

def transfer(source, target):
    with source:
        hubbub.sleep(0.01)
        with target:
            pass

def session():
    hubbub.Event().wait()

def score():
    while True:
        rank(range(3000))
        hubbub.sleep(0.001)

def rank(numbers):
    return sorted(numbers, key=lambda number: -number)

def fetch(queue):
    while True:
        queue.get()

def crawl():
    queue = hubbub.Queue()
    with hubbub.TaskGroup() as group:
        for _ in range(3):
            group.spawn(fetch, queue)

alice, bob = hubbub.RLock(), hubbub.RLock()
hubbub.spawn(transfer, alice, bob), hubbub.spawn(transfer, bob, alice)
hubbub.spawn(crawl), hubbub.spawn(score)
for _ in range(4):
    hubbub.spawn(session)
hubbub.sleep(1)
print("ready", flush=True)
hubbub.sleep(600)
"""


def main() -> None:
    """Start the program, ask it, and write what it tells."""
    with tempfile.TemporaryDirectory() as folder:
        program, path = Path(folder, "bank.py"), str(Path(folder, "control"))
        program.write_text(PROGRAM)
        process = subprocess.Popen(
            [sys.executable, str(program)],
            env={**os.environ, "HUBBUB_CONTROL": path},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            process.stdout.readline()
            for name, arguments in {
                "ps": ["ps", path],
                "tree": ["tree", path],
                "top": ["top", path, "--seconds", "2"],
                "flame": ["flame", path, "--seconds", "5", "-o", str(HERE / "flame.svg")],
            }.items():
                said = subprocess.run(
                    [sys.executable, "-m", "hubbub", *arguments], capture_output=True, text=True, check=True
                ).stdout
                if name != "flame":
                    command = f"$ hubbub {name} {process.pid}"
                    text = re.sub(r" +$", "", said, flags=re.MULTILINE)
                    (HERE / f"{name}.txt").write_text(f"{command}\n{text.rstrip()}\n")
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
