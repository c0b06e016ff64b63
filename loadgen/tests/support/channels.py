"""A Pusher Channels server (protocol 7) of one app, with client events on private channels, and at
/echo one that sends back what it gets. Prints its port, and runs until it is killed."""

import asyncio
import hashlib
import hmac
import json
import sys

from websockets.asyncio.server import serve

KEY, SECRET = sys.argv[1:3]

members = {}  # of each channel
alive = set()  # those who have answered a ping


async def channels(socket, socket_id):
    def send(event, data=None, **members):
        return socket.send(json.dumps({"event": event, **members, "data": data}))

    established = {"socket_id": socket_id, "activity_timeout": 120}
    await send("pusher:connection_established", json.dumps(established))
    async for text in socket:
        message = json.loads(text)
        event, data = message["event"], message.get("data")
        if event == "pusher:subscribe":
            channel = data["channel"]
            signed = f"{socket_id}:{channel}".encode()
            signature = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            if data["auth"] != f"{KEY}:{signature}":
                error = {"type": "AuthError", "error": "wrong signature", "status": 401}
                await send("pusher:subscription_error", error, channel=channel)
                continue
            members.setdefault(channel, set()).add(socket)
            await send("pusher_internal:subscription_succeeded", "{}", channel=channel)
            await send("pusher:ping", {})
        elif event == "pusher:pong":
            alive.add(socket)
        elif event == "pusher:ping":
            await send("pusher:pong", {})
        elif event.startswith("client-") and socket in members.get(message["channel"], ()):
            channel = message["channel"]
            for other in members[channel] - {socket}:
                if other in alive:
                    await other.send(json.dumps({"event": event, "channel": channel, "data": data}))
        else:
            await send("pusher:error", {"code": 4301, "message": f"{event} is not allowed"})


async def handle(socket):
    path = socket.request.path.split("?")[0]
    if path == "/echo":
        async for message in socket:
            await socket.send(message)
    elif path == f"/app/{KEY}":
        try:
            await channels(socket, f"{id(socket)}.1")
        finally:
            alive.discard(socket)
            for sockets in members.values():
                sockets.discard(socket)


async def main():
    async with serve(handle, "127.0.0.1", 0) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
