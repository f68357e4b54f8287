# /// script
# dependencies = [
#     "fastapi>=0.115", "starlette>=0.40", "quart>=0.19", "django>=5", "websocket-client>=1.7", "wsproto>=1.2",
# ]
# ///
"""FastAPI, Starlette, Quart and Django as ASGI applications, served by hubbub-serve --asgi; WebSockets of the first
three."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import hubbub_monkey

hubbub_monkey.patch_all()

import http.client

from trial.overlap import overlap
from trial.servers import HOST, answers, await_true, free_port, scratch, server
from websocket import create_connection

FASTAPI = """
import asyncio
import time
from contextlib import asynccontextmanager
from fastapi import BackgroundTasks, Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from pydantic import BaseModel

@asynccontextmanager
async def lifespan(app):
    yield {"started": "yes"}
    print("ended", flush=True)

app = FastAPI(lifespan=lifespan)
done = []

class Item(BaseModel):
    number: int

async def dependency():
    await asyncio.sleep(0.05)
    yield "there"

@app.get("/wait/{number}")
async def work(number: int, there: str = Depends(dependency)):
    await asyncio.sleep(0.15)
    return number

@app.get("/blocking/{number}")
def blocking(number: int):
    time.sleep(0.2)
    return number

@app.post("/echo")
async def echo(item: Item, request: Request, tasks: BackgroundTasks):
    tasks.add_task(done.append, item.number)
    return [item.number, request.state.started, done[:]]

@app.websocket("/socket/{name}")
async def socket(websocket: WebSocket, name: str):
    await websocket.accept()
    try:
        while True:
            text = await websocket.receive_text()
            await asyncio.sleep(0.2)
            await websocket.send_text(f"{name} {text}")
    except WebSocketDisconnect:
        pass
"""

STARLETTE = """
import asyncio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute

class Passing(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-passed"] = "yes"
        return response

async def work(request):
    await asyncio.sleep(0.2)
    return PlainTextResponse(request.path_params["number"])

async def stream(request):
    async def pieces():
        for number in range(5):
            yield f"{number},"
            await asyncio.sleep(0.01)
    return StreamingResponse(pieces())

async def echo(request):
    body = await request.json()
    return JSONResponse([body["number"], "yes", []])

async def socket(websocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await asyncio.sleep(0.2)
        await websocket.send_text(f"{websocket.path_params['name']} {text}")

app = Starlette(
    routes=[
        Route("/wait/{number}", work),
        Route("/stream", stream),
        Route("/echo", echo, methods=["POST"]),
        WebSocketRoute("/socket/{name}", socket),
    ],
    middleware=[Middleware(Passing)],
)
"""

QUART = """
import asyncio
from quart import Quart, request, websocket

app = Quart(__name__)

@app.before_serving
async def start():
    app.started = "yes"

@app.get("/wait/<int:number>")
async def work(number):
    await asyncio.sleep(0.2)
    return str(number)

@app.get("/stream")
async def stream():
    async def pieces():
        for number in range(5):
            yield f"{number},".encode()
            await asyncio.sleep(0.01)
    return pieces()

@app.post("/echo")
async def echo():
    return [(await request.get_json())["number"], app.started, []]

@app.websocket("/socket/<name>")
async def socket(name):
    while True:
        text = await websocket.receive()
        await asyncio.sleep(0.2)
        await websocket.send(f"{name} {text}")
"""

DJANGO = """
import asyncio
import json
import time
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="x", LOGGING_CONFIG=None)

async def work(request, number):
    await asyncio.sleep(0.2)
    return HttpResponse(str(number))

async def stream(request):
    async def pieces():
        for number in range(5):
            yield f"{number},"
            await asyncio.sleep(0.01)
    return StreamingHttpResponse(pieces())

async def echo(request):
    return JsonResponse([json.loads(request.body)["number"], "yes", []], safe=False)

urlpatterns = [path("wait/<int:number>", work), path("stream", stream), path("echo", echo)]
app = get_asgi_application()
"""

SITES = {
    "fastapi": (FASTAPI, ["wait", "blocking"], False),
    "starlette": (STARLETTE, ["wait"], True),
    "quart": (QUART, ["wait"], True),
    "django": (DJANGO, ["wait"], True),
}


def ask(port: int, path: str, value: object = None) -> bytes:
    """One request, its answer."""
    client = http.client.HTTPConnection(HOST, port, timeout=20)
    try:
        if value is None:
            client.request("GET", path)
        else:
            client.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
        answer = client.getresponse()
        text = answer.read()
        assert answer.status == 200, (answer.status, text[-2000:])
        return text
    finally:
        client.close()


def converse(port: int, number: int) -> str:
    """One WebSocket that says something and waits for the echo."""
    connection = create_connection(f"ws://{HOST}:{port}/socket/{number}", timeout=20)
    connection.send("hello")
    said = connection.recv()
    connection.close()
    return said


slowest = 0.0
for name, (source, paths, streams) in SITES.items():
    port = free_port()
    with scratch({}) as folder:
        Path(folder, f"{name}_site.py").write_text(source)
        command = [sys.executable, "-m", "hubbub_server", "--asgi", f"{name}_site:app", "-b", f"{HOST}:{port}"]
        variables = {**os.environ, "PYTHONPATH": str(folder)}
        with server(command, lambda port=port: answers(port), folder=folder, env=variables):
            for path in paths:
                done = overlap(lambda number, port=port, path=path: int(ask(port, f"/{path}/{number}")))
                assert done.results == list(range(20)), done.results
                slowest = max(slowest, done.took)
            if name != "django":
                done = overlap(lambda number, port=port: converse(port, number))
                assert done.results == [f"{number} hello" for number in range(20)], done.results
            if streams:
                assert ask(port, "/stream") == b"0,1,2,3,4,", name
            assert json.loads(ask(port, "/echo", {"number": 7}))[:2] == [7, "yes"], name
            if name == "fastapi":
                await_true(
                    lambda port=port: 7 in json.loads(ask(port, "/echo", {"number": 8}))[2], what="background task"
                )
        if name == "fastapi":
            logs = "".join(log.read_text() for log in Path(folder).glob("*.log"))
            assert "ended" in logs, logs
print(f"{', '.join(SITES)}: 20 requests of 0.2 s at once took at most {slowest:.2f} s in one process")
