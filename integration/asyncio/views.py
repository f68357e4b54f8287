# /// script
# dependencies = ["flask[async]>=3", "django>=5", "gunicorn>=23", "packaging"]
# ///
"""Asynchronous views of Flask and Django as WSGI applications: hubbub-serve, and gunicorn with both workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import hubbub_monkey

hubbub_monkey.patch_all()

import http.client

from trial.overlap import overlap
from trial.servers import HOST, answers, free_port, scratch, server

FLASK = """
import asyncio
from flask import Flask, copy_current_request_context, request

app = Flask(__name__)

@app.get("/wait/<int:number>")
async def work(number):
    await asyncio.gather(asyncio.sleep(0.2), asyncio.sleep(0.1))
    assert request.path == f"/wait/{number}"  # the context of this request, not of another
    return str(number)
"""

DJANGO = """
import asyncio
import django
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path
import time

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", LOGGING_CONFIG=None)

def blocking(number):
    time.sleep(0.1)
    return number

async def work(request, number):
    await asyncio.sleep(0.1)
    return HttpResponse(str(await sync_to_async(blocking)(number)))

def plain(request, number):
    async def wait():
        await asyncio.sleep(0.2)
        return number
    return HttpResponse(str(async_to_sync(wait)()))

urlpatterns = [path("wait/<int:number>", work), path("plain/<int:number>", plain)]
app = get_wsgi_application()
"""

PATCH = """
def post_fork(server, worker):
    import hubbub_monkey
    hubbub_monkey.patch_all()
"""


def commands(port: int) -> dict[str, tuple[list[str], dict[str, str]]]:
    """The servers: how each is started."""
    address = f"{HOST}:{port}"
    gunicorn = [sys.executable, "-m", "gunicorn", "-b", address, "--worker-connections", "50"]
    return {
        "hubbub-serve": ([sys.executable, "-m", "hubbub_server", "-b", address, "--access-log", "none"], {}),
        "gunicorn, hubbub's worker": (
            [*gunicorn, "-c", "python:patching", "-k", "hubbub_server.gunicorn.Worker"],
            {},
        ),
        "gunicorn, gevent's worker on the facade": ([*gunicorn, "-k", "gevent"], {"HUBBUB_GEVENT": "1"}),
    }


def ask(port: int, path: str) -> int:
    """One request, its answer."""
    client = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        client.request("GET", path)
        answer = client.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text[-2000:])
        return int(text)
    finally:
        client.close()


slowest = 0.0
tried = []
for name in commands(0):
    for module, paths in (("flask_site", ["wait"]), ("django_site", ["wait", "plain"])):
        port = free_port()
        command, environment = commands(port)[name]
        with scratch({}) as folder:
            Path(folder, "flask_site.py").write_text(FLASK)
            Path(folder, "django_site.py").write_text(DJANGO)
            Path(folder, "patching.py").write_text(PATCH)
            variables = {**os.environ, **environment, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"}
            with server([*command, f"{module}:app"], lambda port=port: answers(port), folder=folder, env=variables):
                for path in paths:
                    ask(port, f"/{path}/0")  # the first request imports
                    done = overlap(lambda number, port=port, path=path: ask(port, f"/{path}/{number}"))
                    assert done.results == list(range(20)), done.results
                    slowest = max(slowest, done.took)
                    tried.append((name, module, path))
print(f"{len(tried)} times 20 requests of 0.2 s at once, each by a coroutine, at most {slowest:.2f} s")
