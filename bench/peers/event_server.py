"""An MCP server whose every answer is an event stream that stays open: one notification at once and then one each
second, until the client hangs up. One thread, one epoll; for the memory that an open stream costs a gateway.

    event_server.py ADDR_FILE

Writes `ip:port` to ADDR_FILE once it listens. Standard library only.
"""

import json
import os
import selectors
import socket
import sys
import time

EVENT_BYTES = 1024  # of text: what a log line or a piece of a result is
INTERVAL_SECONDS = 1.0
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def event():
    text = ("The nightly export went through without a word. " * (EVENT_BYTES // 40))[:EVENT_BYTES]
    params = {"level": "info", "logger": "export", "data": text}
    message = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
    data = f"event: message\ndata: {message}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def complete(received):
    """The request's head and body have arrived."""
    head, end, body = received.partition(b"\r\n\r\n")
    if not end:
        return False
    lengths = [line.split(b":", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return len(body) >= int(lengths[0]) if lengths else True


class Server:
    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.listener.setblocking(False)
        self.selector.register(self.listener, selectors.EVENT_READ)
        self.received = {}  # connection -> its request so far
        self.streams = set()
        self.event = event()

    def serve(self):
        due = time.monotonic() + INTERVAL_SECONDS
        while True:
            for key, _ in self.selector.select(max(0.0, due - time.monotonic())):
                if key.fileobj is self.listener:
                    self.accept()
                else:
                    self.read(key.fileobj)
            if time.monotonic() >= due:
                due += INTERVAL_SECONDS
                for connection in list(self.streams):
                    self.send(connection, self.event)

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except BlockingIOError:
                return
            connection.setblocking(False)
            self.received[connection] = b""
            self.selector.register(connection, selectors.EVENT_READ)

    def read(self, connection):
        try:
            data = connection.recv(65536)
        except ConnectionError:
            data = b""
        if not data:
            return self.close(connection)
        self.received[connection] += data
        if connection not in self.streams and complete(self.received[connection]):
            self.streams.add(connection)
            self.send(connection, HEAD + self.event)

    def send(self, connection, data):
        """A client that does not read its stream loses it: there is nothing to learn from its queue."""
        try:
            if connection.send(data) < len(data):
                self.close(connection)
        except OSError:
            self.close(connection)

    def close(self, connection):
        if self.received.pop(connection, None) is not None:
            self.streams.discard(connection)
            self.selector.unregister(connection)
            connection.close()


def main(addr_file):
    server = Server()
    host, port = server.listener.getsockname()
    with open(addr_file + ".unfinished", "w") as file:
        file.write(f"{host}:{port}")
    os.rename(addr_file + ".unfinished", addr_file)
    server.serve()


if __name__ == "__main__":
    main(sys.argv[1])
