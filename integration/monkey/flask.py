# /// script
# dependencies = ["flask>=3", "werkzeug>=3"]
# ///
"""Flask: views that use an executor, for ten clients at once, on the server that Werkzeug brings."""

import hubbub_monkey

hubbub_monkey.patch_all()

import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from flask import Flask
from trial.overlap import overlap
from werkzeug.serving import make_server

app = Flask(__name__)
natives: set[int] = set()


def work(seconds: float) -> float:
    """Something that takes time."""
    natives.add(threading.get_native_id())
    time.sleep(seconds)
    return seconds


@app.get("/fresh")
def fresh() -> str:
    """An executor for each request."""
    with ThreadPoolExecutor(2) as executor:
        return f"{sum(executor.map(work, (0.2, 0.2)))}"


shared = ThreadPoolExecutor(40)


@app.get("/shared")
def from_shared() -> str:
    """One executor for all."""
    return f"{sum(future.result() for future in [shared.submit(work, 0.2) for _ in range(2)])}"


server = make_server("127.0.0.1", 0, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
texts = []
for path in ("fresh", "shared"):
    took = overlap(lambda number, path=path: urllib.request.urlopen(f"{address}/{path}").read(), jobs=10)
    assert took.results == [b"0.4"] * 10
    assert took.took < 1, f"ten clients took {took.took:.2f} s"
    texts.append(f"{path} executor: {took}")
assert natives == {threading.get_native_id()}
server.shutdown()
print("; ".join(texts))
