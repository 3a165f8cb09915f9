"""A server of python-socketio for suites of our client: python genuine-server.py PORT [msgpack]"""

import asyncio
import logging
import sys

import socketio
from aiohttp import web

port, mode = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "default"
io = socketio.AsyncServer(
    async_mode="aiohttp",
    serializer=mode,
    ping_interval=1,
    ping_timeout=1.5,
    namespaces=["/", "/admin", "/tenant-1"],
    async_handlers=False,  # events of one client are handled in their order
)
tokens = {}
# A POST that is cut is decoded as far as it has come, and the error is logged with its traceback.
logging.disable(logging.CRITICAL)


@io.on("connect", namespace="*")
async def connect(ns, sid, environ, auth):
    token = (auth or {}).get("token")
    if ns == "/admin" and token != "secret":
        raise socketio.exceptions.ConnectionRefusedError("forbidden", {"need": "secret"})
    tokens[sid] = token


@io.on("echo", namespace="*")
async def echo(ns, sid, *args):
    await io.emit("echo", args, to=sid, namespace=ns)


@io.on("echo-ack", namespace="*")
async def echo_ack(ns, sid, *args):
    return args


@io.on("ask-me", namespace="*")
async def ask_me(ns, sid, x):
    async def answer(*args):
        await io.emit("answer", args, to=sid, namespace=ns)

    await io.emit("question", x, to=sid, namespace=ns, callback=answer)


@io.on("whoami", namespace="*")
async def whoami(ns, sid):
    return {"transport": io.transport(sid, ns), "token": tokens.get(sid)}


@io.on("big", namespace="*")
async def big(ns, sid, size):
    return "b" * size


@io.on("bye", namespace="*")
async def bye(ns, sid):
    await io.disconnect(sid, namespace=ns)


async def serve():
    app = web.Application()
    io.attach(app)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
    print(f"listening {port}", flush=True)
    await asyncio.Event().wait()


asyncio.run(serve())
