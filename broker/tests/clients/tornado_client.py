"""Subscribes and publishes with Tornado's WebSocket client, and prints every message that comes.

Arguments: URL, topic, and one or more values to publish, as JSON.
"""

import asyncio
import json
import sys

from tornado.websocket import websocket_connect


async def main(url, topic, *values):
    socket = await websocket_connect(url, subprotocols=["altavoz.v1.json"])
    print("subprotocol", socket.selected_subprotocol)
    await socket.write_message(json.dumps({"id": "sub", "op": "subscribe", "topic": topic}))
    print(await socket.read_message())
    for value in values:
        publish = '{"id":"pub","op":"publish","topic":%s,"data":%s}' % (json.dumps(topic), value)
        await socket.write_message(publish)
    for _ in range(2 * len(values)):
        print(await socket.read_message())
    socket.close(1000)
    assert await socket.read_message() is None
    print("closed", socket.close_code)


asyncio.run(asyncio.wait_for(main(*sys.argv[1:]), timeout=30))
