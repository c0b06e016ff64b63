"""Subscribes and publishes with pywebsocket3's client, and prints every message that comes.

Its client is an example beside the library, found in the folder that PYWEBSOCKET_EXAMPLES names.
It can ask for no subprotocol, so the broker's default answers.

Arguments: URL, topic, and one or more values to publish, as JSON.
"""

import json
import os
import socket
import sys
from types import SimpleNamespace
from urllib.parse import urlsplit

sys.path.insert(0, os.environ["PYWEBSOCKET_EXAMPLES"])

from echo_client import ClientHandshakeProcessor, ClientRequest
from pywebsocket3.stream import Stream, StreamOptions

url, topic, *values = sys.argv[1:]
address = urlsplit(url)
connection = socket.create_connection((address.hostname, address.port), timeout=20)
ClientHandshakeProcessor(
    connection,
    SimpleNamespace(
        resource=address.path,
        server_host=address.hostname,
        server_port=address.port,
        use_tls=False,
        origin=None,
        use_permessage_deflate=False,
    ),
).handshake()
options = StreamOptions()
options.mask_send = True
options.unmask_receive = False
request = ClientRequest(connection)
stream = Stream(request, options)

stream.send_message(json.dumps({"id": "sub", "op": "subscribe", "topic": topic}))
print(stream.receive_message())
for value in values:
    stream.send_message('{"id":"pub","op":"publish","topic":%s,"data":%s}' % (json.dumps(topic), value))
for _ in range(2 * len(values)):
    print(stream.receive_message())
stream.close_connection()
print("closed", request.ws_close_code)
