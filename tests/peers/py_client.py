"""mcp 2.x client: asks server/discover first and falls back to initialize.

usage: py_client.py URL --server PROFILE [--pii raw|redacted]
"""

import asyncio
import sys

from mcp import Client, MCPError
from mcp_types import ElicitResult

import steps


class Modern:
    def __init__(self, client: Client) -> None:
        self.client = client

    async def describe(self):
        return {"protocol": self.client.protocol_version}

    async def tools(self):
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, name, arguments):
        progress: list[float] = []

        async def on_progress(value, total, message):
            progress.append(value)

        try:
            result = await self.client.call_tool(name, arguments, progress_callback=on_progress)
        except MCPError as error:
            return steps.Outcome(str(error), True, progress)
        text = "".join(part.text for part in result.content if part.type == "text")
        return steps.Outcome(text, bool(result.is_error), progress)

    async def resource(self, uri):
        return "".join(part.text for part in (await self.client.read_resource(uri)).contents)

    async def prompt(self, name, arguments):
        result = await self.client.get_prompt(name, arguments)
        return "".join(message.content.text for message in result.messages)


async def accept(context, params):
    return ElicitResult(action="accept", content={"name": "Ada"})


async def main() -> int:
    args = steps.arguments()
    async with Client(args.url, elicitation_callback=accept) as client:
        return 0 if await steps.run(Modern(client), args.profile, args.pii) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
