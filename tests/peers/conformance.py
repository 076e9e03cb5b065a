#!/usr/bin/env python3
"""Runs the official MCP conformance suite against a server, directly and through the gateway, and compares.

usage: conformance.py DIRECT_URL [GATEWAY_URL] --requirements REV --out DIR [--deadline SECONDS]
                      [--gateway-passes SCENARIO:CHECK ...] [--gateway-fails-less SCENARIO:CHECK ...]

With two URLs the exit code is 0 if every scenario ended the same on both ways, 1 if anything differs. A difference is
the gateway's defect: which scenarios the server itself passes does not matter here. With one URL it prints what that
server passes and exits 0. 2: the suite could not be run to its end.

Compared are, per scenario, all checks by name and verdict. INFO checks log single requests, and how many there are
depends on timing; of those only the names are compared.

A gateway that checks more than the server behind it may pass what the server fails. Such checks are named one by one
with --gateway-passes; then the gateway must pass them, whatever the server does. A check that is made several times
in a scenario may fail through the gateway only for what the server itself answered: with --gateway-fails-less it must
fail less often than directly.

With GATEWAY_TOKEN in the environment, every request to the gateway carries it as a bearer token.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

PEERS = pathlib.Path(__file__).resolve().parents[2] / ".cache" / "peers" / "node" / "node_modules"
NODE = PEERS / ".bin" / "node"
SUITE = PEERS / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"

#: Directory of one scenario's results: server-NAME-2026-01-01T00-00-00-000Z
RESULT_DIR = re.compile(r"^server-(?P<scenario>.+?)-\d{4}-\d\d-\d\dT[\d-]+Z$")

Checks = list[dict]


def run_suite(url: str, revision: str, out: pathlib.Path, deadline_s: float, token: str | None) -> dict[str, Checks]:
    """Every scenario's checks, by scenario name, in the suite's order."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    preload = ["--import", pathlib.Path(__file__).parent.resolve() / "bearer.mjs"] if token else []
    env = {**os.environ, "BEARER_TOKEN": token} if token else None
    command = [NODE, *preload, SUITE, "server", "--url", url, "--requirements", revision, "-o", out / "results"]
    with open(out / "suite.log", "wb") as log:
        # run() ends the child by its pid when the deadline passes.
        try:
            status = subprocess.run(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, timeout=deadline_s, env=env
            )
        except subprocess.TimeoutExpired:
            give_up(f"the suite was not done with {url} after {deadline_s:.0f} s; see {out / 'suite.log'}")
    # 0: all scored scenarios passed, 1: some failed. Anything else is not a verdict.
    if status.returncode not in (0, 1):
        give_up(f"the suite ended with {status.returncode} on {url}; see {out / 'suite.log'}")
    results = {}
    for folder in sorted((out / "results").glob("server-*"), key=lambda folder: folder.name[-24:]):
        match = RESULT_DIR.match(folder.name)
        if match and (folder / "checks.json").is_file():
            results[match["scenario"]] = json.loads((folder / "checks.json").read_text())
    if not results:
        give_up(f"the suite wrote no results for {url}; see {out / 'suite.log'}")
    return results


def give_up(why: str) -> None:
    print(f"conformance: {why}", file=sys.stderr)
    sys.exit(2)


def verdicts(checks: Checks) -> collections.Counter:
    counted = collections.Counter((check["id"], check["status"]) for check in checks)
    return collections.Counter({key: 1 if key[1] == "INFO" else n for key, n in counted.items()})


def tally(checks: Checks | None) -> str:
    if checks is None:
        return "not run"
    by_status = collections.Counter(check["status"] for check in checks)
    status = "FAIL" if by_status["FAILURE"] else "pass"
    text = f"{status} {by_status['SUCCESS']}/{by_status['FAILURE']}"
    for name, sign in (("WARNING", "w"), ("SKIPPED", "s")):
        if by_status[name]:
            text += f" {by_status[name]}{sign}"
    return text


def differences(direct: Checks | None, proxied: Checks | None, passes: set[str], fails_less: set[str]) -> list[str]:
    """One line for each verdict that only one way has; the sets hold ids of checks that are judged apart."""
    if direct is None or proxied is None:
        return ["the scenario ran on one way only"]
    left, right = verdicts(direct), verdicts(proxied)
    lines = []
    for name in sorted(passes):
        if {status for (own, status) in right if own == name} != {"SUCCESS"}:
            lines.append(f"gateway: {name} is to be passed by the gateway itself, and is not")
    for name in sorted(fails_less):
        counts = [side[name, "FAILURE"] for side in (left, right)]
        if counts[1] >= counts[0]:
            lines.append(f"gateway: {name} is to fail less often than directly; direct x{counts[0]}, gateway x{counts[1]}")
    for side in (left, right):
        for key in [key for key in side if key[0] in passes | fails_less]:
            del side[key]
    for side, extra, checks in (("direct", left - right, direct), ("gateway", right - left, proxied)):
        for (name, status), count in sorted(extra.items()):
            reason = next((c.get("errorMessage") for c in checks if (c["id"], c["status"]) == (name, status)), None)
            lines.append(f"{side} only: {name} {status} x{count}" + (f": {reason}"[:300] if reason else ""))
    return lines


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("direct")
    parser.add_argument("gateway", nargs="?")
    parser.add_argument("--requirements", required=True, metavar="REV")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--gateway-passes", action="append", default=[], metavar="SCENARIO:CHECK")
    parser.add_argument("--gateway-fails-less", action="append", default=[], metavar="SCENARIO:CHECK")
    parser.add_argument("--deadline", type=float, default=180, help="seconds for one run of the suite")
    args = parser.parse_args()
    if not (NODE.exists() and SUITE.exists()):
        give_up("the suite is not installed; run tests/peers/setup.sh")

    runs, seconds = [], []
    for name, url in (("direct", args.direct), ("gateway", args.gateway)):
        if url:
            start = time.monotonic()
            token = os.environ.get("GATEWAY_TOKEN") if name == "gateway" else None
            runs.append(run_suite(url, args.requirements, args.out / name, args.deadline, token))
            seconds.append(time.monotonic() - start)

    columns = ["direct", "gateway"][: len(runs)]
    print(f"{args.requirements:<48}" + "".join(f"{column:<18}" for column in columns))
    found = []
    for scenario in dict.fromkeys(name for run in runs for name in run):
        row = [run.get(scenario) for run in runs]
        apart = [
            {check for name, _, check in (item.partition(":") for item in items) if name == scenario}
            for items in (args.gateway_passes, args.gateway_fails_less)
        ]
        lines = differences(*row, *apart) if len(runs) == 2 else []
        found += [f"{scenario}: {line}" for line in lines]
        print(f"{scenario:<48}" + "".join(f"{tally(cell):<18}" for cell in row) + ("DIFFERS" if lines else ""))
    totals = []
    for run in runs:
        by_status = collections.Counter(check["status"] for checks in run.values() for check in checks)
        totals.append(f"{by_status['SUCCESS']} passed, {by_status['FAILURE']} failed")
    for column, total, time_s in zip(columns, totals, seconds):
        print(f"{column}: {total}, {time_s:.1f} s")
    for line in found:
        print(f"DIFFERS {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
