"""A small altavoz.v1.json server over the websockets library, with permessage-deflate as told.

Arguments: the parameters of ServerPerMessageDeflateFactory as JSON, or null for no compression.
Prints its port.
"""

import asyncio
import json
import sys

from websockets.asyncio.server import serve
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

subscribers = {}
seqs = {}


async def handle(connection):
    async for text in connection:
        command = json.loads(text)
        topic = command["topic"]
        if command["op"] == "subscribe":
            subscribers.setdefault(topic, set()).add(connection)
            ok = {"topic": topic, "epoch": "a", "seq": seqs.get(topic, 0)}
            await connection.send(json.dumps({"id": command["id"], "ok": ok}))
        else:
            seqs[topic] = seqs.get(topic, 0) + 1
            # As it was published, byte for byte.
            data = text[text.index('"data":') + 7 : -1]
            message = f'{{"topic":"{topic}","seq":{seqs[topic]},"data":{data}}}'
            for subscriber in subscribers.get(topic, ()):
                await subscriber.send(message)
    for those in subscribers.values():
        those.discard(connection)


async def main():
    parameters = json.loads(sys.argv[1])
    extensions = [ServerPerMessageDeflateFactory(**parameters)] if parameters is not None else None
    server = await serve(
        handle,
        "127.0.0.1",
        0,
        extensions=extensions,
        compression=None,
        subprotocols=["altavoz.v1.json"],
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
