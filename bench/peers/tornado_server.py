"""Tornado as a peer of the broker: the part of altavoz.v1.json that the load generator uses, with a
set of handlers per topic. Started by the peers runner as `python3 tornado_server.py FOLDER PORT`,
where FOLDER holds the package.
"""

import asyncio
import json
import sys
from collections import defaultdict

folder, port = sys.argv[1:]
sys.path.insert(0, folder)

from tornado.web import Application  # noqa: E402
from tornado.websocket import WebSocketClosedError, WebSocketHandler  # noqa: E402

PUBLISH = '{"op":"publish","topic":"'
subscribers = defaultdict(set)
seqs = defaultdict(int)


class Session(WebSocketHandler):
    def select_subprotocol(self, subprotocols):
        return subprotocols[0] if subprotocols else None

    def check_origin(self, origin):
        return True

    def open(self):
        self.set_nodelay(True)
        self.topics = set()

    def on_message(self, text):
        if text.startswith(PUBLISH):
            end = text.index('"', len(PUBLISH))
            topic = text[len(PUBLISH) : end]
            seqs[topic] += 1
            data = text[end + len('","data":') : -1]
            message = f'{{"topic":"{topic}","seq":{seqs[topic]},"data":{data}}}'
            for session in list(subscribers[topic]):
                session.say(message)
            return
        command = json.loads(text)
        topic = command["topic"]
        subscribers[topic].add(self)
        self.topics.add(topic)
        self.say(json.dumps({"id": command["id"], "ok": {"topic": topic}}, separators=(",", ":")))

    def say(self, message):
        try:
            self.write_message(message)
        except WebSocketClosedError:
            self.on_close()

    def on_close(self):
        for topic in self.topics:
            subscribers[topic].discard(self)


async def main():
    Application([("/ws", Session)]).listen(int(port), "127.0.0.1", backlog=4096)
    await asyncio.Event().wait()


asyncio.run(main())
