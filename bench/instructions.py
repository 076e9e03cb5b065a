#!/usr/bin/env python3
"""Counts the instructions of one call through everything but sockets, and compares them with `instructions.json`.

Times on shared machines say little; instruction counts repeat to the last digit for one binary. So these gate:
`make test` fails when a call has become dearer (or so much cheaper that the kept numbers are out of date).

    bench/instructions.py            compare; exit 0 within the tolerance, 1 not, 2 could not count
    bench/instructions.py --record   keep today's numbers, after an intended change
    bench/instructions.py --json     print the counts

Needs valgrind. The build is the `count` profile of Cargo.toml: optimised, without link-time optimisation.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
KEPT = ROOT / "bench" / "instructions.json"
CALLS = 3  # as in src/bin/one-call.rs
TOLERANCE = 0.05  # what inlining shifts when unrelated code changes
TOLERANCE_OTHER_COMPILER = 0.25
COUNT_SECONDS_MAX = 600
BUILD_SECONDS_MAX = 1800


class CannotCount(Exception):
    """Something needed is missing or failed."""


def run(command, seconds, **more):
    try:
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=seconds, check=True, **more)
    except FileNotFoundError as error:
        raise CannotCount(f"{command[0]} is missing: {error}") from error
    except subprocess.TimeoutExpired as error:
        raise CannotCount(f"{command[0]} did not end within {seconds} s") from error
    except subprocess.CalledProcessError as error:
        raise CannotCount(f"{command[0]} failed:\n{error.stderr[-3000:]}") from error


def build():
    cargo = os.environ.get("CARGO", "cargo")
    command = [cargo, "build", "--locked", "--profile", "count", "-p", "tidegate-bench", "--bin", "one-call"]
    out = run([*command, "--message-format", "json"], BUILD_SECONDS_MAX, cwd=ROOT).stdout
    found = [json.loads(line).get("executable") for line in out.splitlines() if line.startswith("{")]
    binaries = [path for path in found if path and pathlib.Path(path).name == "one-call"]
    if not binaries:
        raise CannotCount("cargo did not say where it put one-call")
    return binaries[-1]


def count(binary):
    """Instructions of one call, by kind."""
    with tempfile.TemporaryDirectory(prefix="tidegate-count-") as directory:
        profile = pathlib.Path(directory) / "callgrind.out"
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={profile}"]
        # The same environment everywhere: its size moves the stack, and alignment moves a few instructions.
        env = {"PATH": os.environ.get("PATH", ""), "RUST_BACKTRACE": "0"}
        run([*valgrind, "--collect-atstart=no", "--toggle-collect=*measured_*", binary], COUNT_SECONDS_MAX, env=env)
        text = run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", profile], 120, env=env).stdout
    return parse(text)


def parse(annotated):
    """Counts out of what `callgrind_annotate --inclusive=yes` prints."""
    pattern = re.compile(r"^\s*([\d,]+)\s.*one_call::measured_(\w+)", re.MULTILINE)
    totals = {}
    for number, kind in pattern.findall(annotated):
        totals[kind] = max(totals.get(kind, 0), int(number.replace(",", "")))
    if not totals:
        raise CannotCount("no counts in what callgrind_annotate printed")
    return {kind: total // CALLS for kind, total in sorted(totals.items())}


def compiler():
    return run(["rustc", "--version"], 60, cwd=ROOT).stdout.split()[1]


def compare(kept, counts, rustc):
    """Lines for people, and whether all is within the tolerance."""
    tolerance = TOLERANCE if rustc == kept["rustc"] else TOLERANCE_OTHER_COMPILER
    lines, good = [], set(counts) == set(kept["counts"])
    if not good:
        lines.append(f"kinds differ: counted {sorted(counts)}, kept {sorted(kept['counts'])}")
    for kind in sorted(set(counts) & set(kept["counts"])):
        ratio = counts[kind] / kept["counts"][kind]
        verdict = "ok" if abs(ratio - 1) <= tolerance + 1e-9 else ("DEARER" if ratio > 1 else "CHEAPER: keep it with --record")
        good &= verdict == "ok"
        lines.append(f"{kind:<12} {counts[kind]:>12,} instructions a call, {ratio:.3f} of the kept ones  {verdict}")
    return lines, good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="keep the counts")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    options = parser.parse_args()
    try:
        counts, rustc = count(build()), compiler()
    except CannotCount as error:
        print(f"instructions: {error}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps({"rustc": rustc, "counts": counts}, indent=1))
    if options.record:
        KEPT.write_text(json.dumps({"rustc": rustc, "counts": counts}, indent=1) + "\n")
        return 0
    lines, good = compare(json.loads(KEPT.read_text()), counts, rustc)
    print("\n".join(lines), file=sys.stderr if options.json else sys.stdout)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
