"""A Python MCP server (mcp 2.x, both eras) for the end-to-end tests.

usage: py_server.py [--port N] [--addr-file FILE] [--json-response]

Listens on 127.0.0.1 only. When it accepts connections, FILE holds {"mcp":"ip:port"}.
The tools are listed under "py" in profiles.json.
"""

import argparse
import json
import os
import socket

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

# Invented. The card number is the published test number; the address uses a reserved domain.
CUSTOMERS = {
    "C-1001": {"name": "Maria Gonzalez", "email": "maria.gonzalez@example.com", "card": "4111 1111 1111 1111"},
}

server = MCPServer("tidegate-py-peer")


@server.tool()
def echo(message: str) -> str:
    """Returns the message unchanged."""
    return message


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two integers."""
    return a + b


@server.tool()
async def slow_count(n: int, ctx: Context) -> str:
    """Counts to n, reporting progress after each step."""
    for step in range(1, n + 1):
        await ctx.report_progress(step, n)
    return f"counted to {n}"


@server.tool()
def customer_lookup(customer_id: str) -> str:
    """Returns an invented customer record with personal data in it."""
    record = CUSTOMERS.get(customer_id, {})
    return json.dumps({"customer_id": customer_id, **record})


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ToolError("failed on purpose")


@server.resource("demo://welcome")
def welcome() -> str:
    """A static text resource."""
    return "Welcome to the Python peer."


@server.prompt()
def greeting(name: str) -> str:
    """Asks for a greeting."""
    return f"Please greet {name}."


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--addr-file")
    parser.add_argument("--json-response", action="store_true")
    args = parser.parse_args()

    listener = socket.create_server(("127.0.0.1", args.port))
    host, port = listener.getsockname()
    if args.addr_file:
        with open(args.addr_file + ".tmp", "w") as out:
            json.dump({"mcp": f"{host}:{port}"}, out)
        os.replace(args.addr_file + ".tmp", args.addr_file)
    app = server.streamable_http_app(json_response=args.json_response)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
