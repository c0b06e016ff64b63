"""pywebsocket3 as a peer of the broker: the part of altavoz.v1.json that the load generator uses, a
thread for each connection, a set of them per topic. Loaded by its standalone server, which the peers
runner starts with this folder as that of its handlers.
"""

import json
import threading
from collections import defaultdict

PUBLISH = '{"op":"publish","topic":"'
lock = threading.Lock()
subscribers = defaultdict(set)
seqs = defaultdict(int)


def web_socket_do_extra_handshake(request):
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[0]


def web_socket_transfer_data(request):
    mine = set()
    try:
        while (text := request.ws_stream.receive_message()) is not None:
            # One at a time: who publishes next waits, and a stream has one writer.
            with lock:
                handle(request, text, mine)
    finally:
        with lock:
            for topic in mine:
                subscribers[topic].discard(request)


def handle(request, text, mine):
    if text.startswith(PUBLISH):
        end = text.index('"', len(PUBLISH))
        topic = text[len(PUBLISH) : end]
        seqs[topic] += 1
        data = text[end + len('","data":') : -1]
        message = f'{{"topic":"{topic}","seq":{seqs[topic]},"data":{data}}}'
        for subscriber in list(subscribers[topic]):
            try:
                subscriber.ws_stream.send_message(message, binary=False)
            except Exception:
                subscribers[topic].discard(subscriber)
        return
    command = json.loads(text)
    topic = command["topic"]
    subscribers[topic].add(request)
    mine.add(topic)
    answer = {"id": command["id"], "ok": {"topic": topic}}
    request.ws_stream.send_message(json.dumps(answer, separators=(",", ":")), binary=False)
