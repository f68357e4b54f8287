"""A site that shows the state of others: ``hubbub-serve site_app:app``."""

import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from flask import Flask, render_template_string

PAGE = """<!doctype html><title>State</title><ul>
{% for url, state in states %}<li>{{ url }}: {{ state }}</li>{% endfor %}</ul>"""

app = Flask(__name__)
app.config["URLS"] = os.environ.get("STATE_OF", "").split()
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def state(url):
    """Whether a server answers."""
    try:
        with opener.open(url, timeout=2) as response:
            return f"{response.status}"
    except OSError as error:
        return f"down: {error}"


@app.get("/")
def index():
    """All servers, asked at the same time."""
    urls = app.config["URLS"]
    with ThreadPoolExecutor(max(len(urls), 1)) as executor:
        return render_template_string(PAGE, states=list(zip(urls, executor.map(state, urls), strict=True)))
