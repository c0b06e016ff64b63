"""Subscribes and publishes with Python's `websockets`, and prints every message that comes.

Arguments: URL, topic, and one or more values to publish, as JSON.
"""

import json
import sys

from websockets.sync.client import connect

url, topic, *values = sys.argv[1:]
with connect(url, subprotocols=["altavoz.v1.json"]) as socket:
    print("subprotocol", socket.subprotocol)
    socket.send(json.dumps({"id": "sub", "op": "subscribe", "topic": topic}))
    print(socket.recv(timeout=20))
    for value in values:
        socket.send('{"id":"pub","op":"publish","topic":%s,"data":%s}' % (json.dumps(topic), value))
    for _ in range(2 * len(values)):
        print(socket.recv(timeout=20))
print("closed", socket.close_code)
