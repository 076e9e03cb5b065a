"""What open connections and open streams cost a gateway in resident memory.

Resident memory of the process only: the kernel's socket buffers are not in it. A connection is counted after its first
request was answered, as clients keep them; a stream while events flow through it."""

import json
import selectors
import socket
import sys
import time

from . import variants
from .processes import CannotRun, rss_kib, wait_for

SETTLE_SECONDS = 5.0  # the longest wait for memory to come to rest
REST_SECONDS = 0.3  # memory that did not change for so long is at rest
ANSWER_SECONDS = 10.0  # for one answer
STREAMS_SECONDS = 60.0  # for all streams to have their first events
EVENTS_EACH = 3  # a stream has done its growing when so many events went through it
BATCH = 100  # requests under way at a time while connections are made

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


def request(address, path="/mcp/mock"):
    """A call in the form of the stateless era, as bytes."""
    params = {"name": "lookup", "arguments": {"text": "orders of last week"}, "_meta": META}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    return (
        f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\n"
        f"Mcp-Name: lookup\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def settled_rss_kib(pid, clock=time.monotonic, pause=time.sleep):
    """Resident memory once it rests, or after a deadline."""
    deadline, last, since = clock() + SETTLE_SECONDS, rss_kib(pid), clock()
    while clock() < deadline and clock() - since < REST_SECONDS:
        pause(0.05)
        now = rss_kib(pid)
        if now != last:
            last, since = now, clock()
    return last


def split(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


class IdleConnections:
    """Keep-alive connections that have had one answer each."""

    def __init__(self, address):
        self.address, self.request, self.sockets = address, request(address), []

    def grow_to(self, count):
        while len(self.sockets) < count:
            batch = [
                socket.create_connection(split(self.address), ANSWER_SECONDS)
                for _ in range(min(BATCH, count - len(self.sockets)))
            ]
            self.sockets += batch
            for connection in batch:
                connection.sendall(self.request)
            for connection in batch:
                read_answer(connection)

    def alive(self):
        """How many the gateway has not closed."""
        count = 0
        for connection in self.sockets:
            connection.setblocking(False)
            try:
                count += connection.recv(1, socket.MSG_PEEK) != b""
            except BlockingIOError:
                count += 1
            except OSError:
                pass
            finally:
                connection.settimeout(ANSWER_SECONDS)
        return count

    def close(self):
        for connection in self.sockets:
            connection.close()
        self.sockets.clear()


def read_answer(connection):
    """One whole answer with a length, which has to be a 200."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += receive(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise CannotRun(f"an idle connection's first request was answered with {head.splitlines()[0]!r}")
    length = next(line.split(b":", 1)[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    missing = int(length) - len(body)
    while missing > 0:
        missing -= len(receive(connection))


def receive(connection):
    data = connection.recv(65536)
    if not data:
        raise CannotRun("a connection was closed before its answer was complete")
    return data


class Streams:
    """Open event streams, read as events come."""

    def __init__(self, address):
        self.address, self.request = address, request(address)
        self.selector, self.events = selectors.DefaultSelector(), {}

    def grow_to(self, count):
        """Opens streams until there are `count`, and reads until each has had EVENTS_EACH further events."""
        while len(self.events) < count:
            connection = socket.create_connection(split(self.address), ANSWER_SECONDS)
            connection.sendall(self.request)
            connection.setblocking(False)
            self.events[connection] = 0
            self.selector.register(connection, selectors.EVENT_READ)
        wanted = {connection: seen + EVENTS_EACH for connection, seen in self.events.items()}
        self.read_until(lambda: all(self.events[c] >= n for c, n in wanted.items()))

    def read_until(self, done, seconds=STREAMS_SECONDS):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                least = min(self.events.values())
                raise CannotRun(f"{len(self.events)} streams: one has had only {least} events in {seconds:g} s")
            for key, _ in self.selector.select(0.5):
                data = key.fileobj.recv(65536)
                if not data:
                    raise CannotRun("a stream was ended by the gateway")
                self.events[key.fileobj] += data.count(b"\ndata: ")

    def close(self):
        for connection in self.events:
            self.selector.unregister(connection)
            connection.close()
        self.events.clear()


def start_event_server(servers, cores, directory):
    addr_file = directory / "events.addr"
    command = [sys.executable, "-B", variants.PEERS / "event_server.py", addr_file]
    process = servers.start(command, cores, directory / "events.log")
    return wait_for("the event server", process, lambda: addr_file.exists() and addr_file.read_text())


def per_connection(points):
    """KiB for each connection or stream: the slope of a straight line through (count, KiB), by least squares."""
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    square = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / square if square else None
