"""A Flask application whose views wait for other servers: ``hubbub-serve flask_app:app``.

hubbub-serve patches the standard library first (with hubbub-monkey installed), so urllib, threads and locks are
cooperative: ten slow servers are asked in the time of the slowest, and other requests are served meanwhile.
"""

import urllib.request
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, jsonify, request

app = Flask(__name__)
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str) -> str:
    """What a server says, or why it does not."""
    try:
        with direct.open(url, timeout=5) as response:
            return f"{response.status} {len(response.read())} bytes"
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"


@app.get("/")
def index() -> str:
    """A page that needs nobody else."""
    return "ask /check?url=http://... for one or more servers\n"


@app.get("/check")
def check() -> object:
    """All servers of the query at the same time."""
    urls = [url for url in request.args.getlist("url") if url.startswith(("http://", "https://"))][:20]
    with ThreadPoolExecutor(max(len(urls), 1)) as executor:
        return jsonify(dict(zip(urls, executor.map(ask, urls), strict=True)))
