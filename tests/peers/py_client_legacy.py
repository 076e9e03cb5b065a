"""mcp 1.x client: a session opened with initialize; run with the interpreter of the py-legacy environment.

usage: py_client_legacy.py URL --server PROFILE [--pii raw|redacted]
"""

import asyncio
import sys

from mcp import ClientSession, McpError
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult

import steps


class Legacy:
    def __init__(self, session: ClientSession, protocol: str) -> None:
        self.session = session
        self.protocol = protocol

    async def describe(self):
        return {"protocol": self.protocol}

    async def tools(self):
        return [tool.name for tool in (await self.session.list_tools()).tools]

    async def call(self, name, arguments):
        progress: list[float] = []

        async def on_progress(value, total, message):
            progress.append(value)

        try:
            result = await self.session.call_tool(name, arguments, progress_callback=on_progress)
        except McpError as error:
            return steps.Outcome(str(error), True, progress)
        text = "".join(part.text for part in result.content if part.type == "text")
        return steps.Outcome(text, bool(result.isError), progress)

    async def resource(self, uri):
        return "".join(part.text for part in (await self.session.read_resource(uri)).contents)

    async def prompt(self, name, arguments):
        result = await self.session.get_prompt(name, arguments)
        return "".join(message.content.text for message in result.messages)


async def accept(context, params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main() -> int:
    args = steps.arguments()
    async with streamable_http_client(args.url) as (read, write, _):
        async with ClientSession(read, write, elicitation_callback=accept) as session:
            opened = await session.initialize()
            legacy = Legacy(session, str(opened.protocolVersion))
            return 0 if await steps.run(legacy, args.profile, args.pii) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
