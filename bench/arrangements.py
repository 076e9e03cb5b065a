#!/usr/bin/env python3
"""Which way of measuring latency is the least noisy on this machine? The evidence behind how compare.py does it.

Where generator and mock server share a core there are four ways: the generator sleeps between its calls or polls; when
it polls, it competes with the mock server or yields to it (SCHED_IDLE); and the proxy's core may go to sleep or is kept
awake by a process that spins at SCHED_IDLE. Prints a table in Markdown and writes nothing.

    bench/arrangements.py --rates 2000,10000
"""

import argparse
import itertools
import pathlib
import signal
import sys
import tempfile

sys.dont_write_bytecode = True

from sidebyside import measure, options, report, summary, variants  # noqa: E402
from sidebyside.measure import Load  # noqa: E402
from sidebyside.processes import CannotRun, Servers  # noqa: E402

# name: the generator polls, it yields, the proxy's core is kept awake
ARRANGEMENTS = {
    "sleeps": (False, False, False),
    "polls": (True, False, False),
    "polls, yields": (True, True, False),
    "polls, yields, core awake": (True, True, True),
    "sleeps, core awake": (False, False, True),
}
SIZE = 1 << 10
CONNECTIONS = 64


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that servers are ended
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", default="2000,10000", help="calls per second")
    parser.add_argument("--variants", default="direct,raw,haproxy,tidegate-full")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.5)
    options.add(parser)
    args = parser.parse_args(argv)
    args.name = "arrangements"
    options.check(parser, args)
    chosen = args.variants.split(",")
    missing = [v for v in chosen if v not in variants.VARIANTS or not args.programs.of(v)]
    if missing:
        parser.error(f"--variants: no program for {', '.join(missing)}")
    runs = []
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-", dir=args.work) as temporary, Servers() as servers:
        directory = pathlib.Path(temporary)
        try:
            mock = variants.start_mock(servers, args.programs, {args.cores.mock}, SIZE, "json", directory)
            cores = {args.cores.proxy}
            started = {v: variants.start(v, servers, args.programs, cores, mock[1], directory) for v in chosen}
            watched = [mock[0].pid] + [pid for target in started.values() for pid in target.pids]
            numbers = itertools.count(1)
            for number, (name, (polls, yields, awake)) in itertools.product(range(args.rounds), ARRANGEMENTS.items()):
                spinning = [variants.start_spinner(servers, cores, directory)] if awake else []
                for rate, variant in itertools.product(map(float, args.rates.split(",")), chosen):
                    load = Load(SIZE, CONNECTIONS, args.seconds, 0.3, rate)
                    how = measure.Manner(polls, yields)
                    mine = watched + [p.pid for p in spinning]
                    run = measure.run(
                        load,
                        started[variant],
                        mock,
                        args.cores,
                        mine,
                        next(numbers),
                        args.programs.loadgen,
                        directory,
                        how,
                    )
                    runs.append({"arrangement": name, "variant": variant, "round": number, **run})
                for process in spinning:
                    servers.stop(process)
        except CannotRun as error:
            print(f"arrangements.py: {error}", file=sys.stderr)
            return 2
    print(table(runs))
    print(
        f"\n1 KiB results, {CONNECTIONS} connections, open loop, {args.rounds} rounds of {args.seconds:g} s. {report.quietness(runs)[1]}"
    )
    return 0 if all(run["right"] for run in runs) else 1


def table(runs):
    """Medians over the rounds, in microseconds."""
    median = lambda values: summary.median(list(values))
    rows = []
    for rate, name in itertools.product(sorted({run["rate"] for run in runs}), ARRANGEMENTS):
        for variant in dict.fromkeys(run["variant"] for run in runs):
            mine = [run for run in runs if (run["rate"], run["arrangement"], run["variant"]) == (rate, name, variant)]
            cells = [f"{median(run['latency_us'][q] for run in mine):.0f}" for q in ("p50", "p90", "p99", "p999")]
            rows.append([f"{rate:g}", name, variant, *cells])
    return report.table(["calls/s", "generator", "variant", "p50 us", "p90 us", "p99 us", "p99.9 us"], rows)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
