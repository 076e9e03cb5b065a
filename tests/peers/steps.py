"""The steps every Python client runs, and how they are judged. What a server offers is data: profiles.json.

One JSON line per step goes to stdout: {"step", "ok", "ms", ...}. The exit code is 0 only if every step was ok.
"""

import argparse
import asyncio
import json
import pathlib
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Any, Awaitable, Callable, Protocol

#: One step; longer than any server here needs, shorter than the SDKs' own 60 s limits.
STEP_SECONDS_MAX = 20


@dataclass
class Outcome:
    """A tool call's answer. `is_error` covers both isError results and JSON-RPC errors."""

    text: str
    is_error: bool
    progress: list[float]


class Adapter(Protocol):
    async def describe(self) -> dict[str, Any]: ...
    async def tools(self) -> list[str]: ...
    async def call(self, name: str, arguments: dict[str, Any]) -> Outcome: ...
    async def resource(self, uri: str) -> str: ...
    async def prompt(self, name: str, arguments: dict[str, str]) -> str: ...


def arguments() -> argparse.Namespace:
    profiles = json.loads((pathlib.Path(__file__).parent / "profiles.json").read_text())
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--server", choices=sorted(profiles), required=True)
    parser.add_argument("--pii", choices=["raw", "redacted"], default="raw")
    args = parser.parse_args()
    args.profile = profiles[args.server]
    return args


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what[:600])


def judge_text(got: str, want: dict[str, Any]) -> None:
    if "text" in want:
        expect(got == want["text"], f"text is {got!r}, not {want['text']!r}")
    expect(want.get("contains", "") in got, f"text {got!r} lacks {want.get('contains')!r}")


async def run(adapter: Adapter, profile: dict[str, Any], pii: str) -> bool:
    ok = True

    async def step(name: str, work: Callable[[], Awaitable[Any]]) -> None:
        nonlocal ok
        start = time.monotonic()
        line: dict[str, Any] = {"step": name, "ok": True}
        try:
            detail = await asyncio.wait_for(work(), STEP_SECONDS_MAX)
            if detail is not None:
                line["detail"] = detail
        except Exception as error:
            ok = False
            line |= {"ok": False, "error": f"{type(error).__name__}: {error}"[:1000]}
            traceback.print_exc(file=sys.stderr)
        line["ms"] = round((time.monotonic() - start) * 1000)
        print(json.dumps(line), flush=True)

    async def listed() -> int:
        names = await adapter.tools()
        missing = [name for name in profile["tools"] if name not in names]
        expect(not missing, f"tools missing: {missing}")
        return len(names)

    async def called(want: dict[str, Any]) -> None:
        got = await adapter.call(want["name"], want["arguments"])
        expect(not got.is_error, f"unexpected error: {got.text}")
        judge_text(got.text, want)

    async def big() -> int:
        want = profile["big"]
        message = want["unit"] * want["times"]
        got = await adapter.call(want["name"], {want["argument"]: message})
        expect(not got.is_error, f"unexpected error: {got.text}")
        expect(got.text == want["prefix"] + message, f"the long text came back changed ({len(got.text)} characters)")
        return len(got.text)

    async def progressed() -> list[float]:
        want = profile["progress"]
        got = await adapter.call(want["name"], want["arguments"])
        expect(not got.is_error, f"unexpected error: {got.text}")
        judge_text(got.text, want)
        expect(len(got.progress) >= want["at_least"], f"{len(got.progress)} progress notifications")
        expect(got.progress == sorted(got.progress), f"progress went back: {got.progress}")
        return got.progress

    async def failed() -> None:
        want = profile["error"]
        got = await adapter.call(want["name"], want["arguments"])
        expect(got.is_error, f"not an error: {got.text}")
        judge_text(got.text, want)

    async def unknown() -> str:
        got = await adapter.call("no_such_tool", {})
        expect(got.is_error, f"not an error: {got.text}")
        return got.text[:200]

    async def planted() -> None:
        want = profile["pii"]
        got = await adapter.call(want["name"], want["arguments"])
        expect(not got.is_error, f"unexpected error: {got.text}")
        judge_text(got.text, want)
        for value in want["planted"]:
            expect((value in got.text) == (pii == "raw"), f"{value!r} with --pii {pii}: {got.text!r}")

    async def resource() -> None:
        judge_text(await adapter.resource(profile["resource"]["uri"]), profile["resource"])

    async def prompt() -> None:
        want = profile["prompt"]
        judge_text(await adapter.prompt(want["name"], want["arguments"]), want)

    await step("connect", adapter.describe)
    await step("tools", listed)
    for want in profile["calls"]:
        await step(f"call {want['name']}", lambda want=want: called(want))
    for name, work in [
        ("big", big),
        ("progress", progressed),
        ("error", failed),
        ("resource", resource),
        ("prompt", prompt),
        ("pii", planted),
    ]:
        if name in profile:
            await step(name, work)
    await step("unknown tool", unknown)
    # An error must not have cost the session.
    await step("call again", lambda: called(profile["calls"][0]))
    return ok
