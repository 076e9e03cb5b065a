#!/usr/bin/env python3
"""Side by side: direct, a raw byte forwarder, nginx, HAProxy, Tidegate in five settings, and a naive Python gateway.

For every form and size of answer: what each does at saturation, then what it adds to the latency at shares of that. One
proxy at a time is loaded, on a core of its own; all are up, and variants are interleaved (A B C ... A B C ...), so that
a noisy minute hits all of them. What to trust, in this order: wrong answers (any makes the comparison invalid), ratios
within a round, and only on a quiet machine anything absolute.

    make bench                                 # everything, in less than twenty minutes
    bench/compare.py --quick                   # one round, half of saturation only; in four
    bench/compare.py --sizes 1024 --forms json --variants direct,nginx,tidegate-full --no-extras

Standard library only. Everything is started here, listens on 127.0.0.1, is ended by its process id, and has a
deadline. Exit code 0: all answers right; 1: not; 2: could not run.
"""

import argparse
import itertools
import os
import pathlib
import signal
import statistics
import sys
import tempfile

sys.dont_write_bytecode = True

from sidebyside import memory, measure, options, report, schedule, summary, targets, variants  # noqa: E402
from sidebyside.measure import Load  # noqa: E402
from sidebyside.processes import CannotRun, Servers, raise_open_files, rss_kib  # noqa: E402
from sidebyside.variants import FULL, NAIVE, VARIANTS  # noqa: E402

FORMS = ["json", "sse"]
SIZES = [1 << 10, 16 << 10, 128 << 10]
IDLE_SECONDS = 3.0
STEP_OVERHEAD_SECONDS = 0.25  # of starting the generator and of asking the mock server
CELL_OVERHEAD_SECONDS = 8.0  # of starting and ending all servers
EXTRAS_SECONDS = 30.0  # of memory and two cores

# The Python gateway takes 10 ms a KiB: a usual load would measure its queue, a usual time two calls.
NAIVE_CONNECTIONS = 2
NAIVE_CALLS_MIN = 20  # in a latency run; a median of fewer is no median
CONNECTIONS = 64
MEMORY_CONNECTIONS = [100, 1000]
MEMORY_STREAMS = [32, 256]

THOROUGH = dict(
    rounds=3, seconds=1.2, latency_rounds=2, latency_seconds=1.5, naive_seconds=4.0, warmup=0.4, shares="10,50,80"
)
QUICK = dict(rounds=1, seconds=0.8, latency_rounds=1, latency_seconds=0.8, naive_seconds=2.0, warmup=0.3, shares="50")


def load_of(variant, args, size, rate=None):
    if variant == NAIVE:
        return Load(
            size,
            NAIVE_CONNECTIONS if rate is None else CONNECTIONS,
            args.naive_seconds,
            args.warmup,
            rate,
            compare_texts=False,
        )
    seconds = args.seconds if rate is None else args.latency_seconds
    return Load(size, CONNECTIONS, seconds, args.warmup, rate)


def step_seconds(load):
    return load.seconds + load.warmup + STEP_OVERHEAD_SECONDS


def rounds_of(variant, rounds):
    """The Python gateway gets one: its ratios are of hundreds."""
    return 1 if variant == NAIVE else rounds


def planned_seconds(args):
    """How long everything takes if every step takes what it is given."""
    total = EXTRAS_SECONDS if args.extras else 0.0
    for _form, size in itertools.product(args.forms, args.sizes):
        total += CELL_OVERHEAD_SECONDS
        total += sum(step_seconds(load_of(v, args, size)) * rounds_of(v, args.rounds) for v in args.variants)
        total += sum(
            step_seconds(load_of(v, args, size, 1.0)) * rounds_of(v, args.latency_rounds) * len(args.shares)
            for v in args.latency_variants
        )
    return total


class Comparison:
    def __init__(self, args, progress):
        self.args, self.progress = args, progress
        self.runs, self.idle = [], []
        self.numbers = itertools.count(1)

    def cell(self, form, size):
        """Everything for one form and size of answer."""
        args = self.args
        with tempfile.TemporaryDirectory(prefix="tidegate-bench-", dir=args.work) as temporary, Servers() as servers:
            directory = pathlib.Path(temporary)
            mock = variants.start_mock(servers, args.programs, {args.cores.mock}, size, form, directory)
            started = {
                v: variants.start(v, servers, args.programs, {args.cores.proxy}, mock[1], directory)
                for v in args.variants
            }
            if not self.idle:
                self.idle = [
                    {
                        "variant": v,
                        "rss_kib": sum(map(rss_kib, t.pids)),
                        "cores": measure.idle_cores(t, IDLE_SECONDS / len(started)),
                    }
                    for v, t in started.items()
                    if t.pid
                ]
            self.progress.step(CELL_OVERHEAD_SECONDS, f"{report.plots.size_name(size)} {form}: all servers are up")
            watched = [mock[0].pid] + [pid for target in started.values() for pid in target.pids]
            self.saturation(form, size, started, mock, watched, directory)
            if args.keep_awake:
                watched.append(variants.start_spinner(servers, {args.cores.proxy}, directory).pid)
            self.latency(form, size, started, mock, watched, directory)

    def measure(self, load, variant, target, mock, watched, directory, **labels):
        cores, number = self.args.cores, next(self.numbers)
        run = measure.run(load, target, mock, cores, watched, number, self.args.programs.loadgen, directory)
        run = {"phase": labels.pop("phase"), "variant": variant, "size": load.size, **labels, **run}
        self.runs.append(run)
        self.progress.step(step_seconds(load), progress_text(run))
        return run

    def saturation(self, form, size, started, mock, watched, directory):
        for number in range(1, self.args.rounds + 1):
            for variant, target in started.items():
                if number <= rounds_of(variant, self.args.rounds):
                    load = load_of(variant, self.args, size)
                    self.measure(
                        load, variant, target, mock, watched, directory, phase="saturation", form=form, round=number
                    )

    def saturated_at(self, form, size, variant):
        """Median requests per second."""
        key = ("saturation", form, size, variant)
        rates = [run["rps"] for run in self.runs if (run["phase"], run["form"], run["size"], run["variant"]) == key]
        return statistics.median(rates) if rates else None

    def latency(self, form, size, started, mock, watched, directory):
        chosen = [variant for variant in self.args.latency_variants if variant != NAIVE]
        common = dict(mock=mock, watched=watched, directory=directory, phase="latency", form=form)
        full = self.saturated_at(form, size, FULL)
        for number in range(1, self.args.latency_rounds + 1):
            for share in self.args.shares:
                for variant in chosen if full else []:
                    load = load_of(variant, self.args, size, full * share / 100)
                    self.measure(load, variant, started[variant], rates_of=FULL, share=share, round=number, **common)
        naive = self.saturated_at(form, size, NAIVE)
        if NAIVE not in self.args.latency_variants:
            return
        for share in self.args.shares:
            load = load_of(NAIVE, self.args, size, (naive or 1.0) * share / 100)
            if not naive or load.rate * load.seconds < NAIVE_CALLS_MIN:
                self.progress.step(
                    step_seconds(load),
                    f"left out: {NAIVE} is too slow for {NAIVE_CALLS_MIN} calls in {load.seconds:g} s",
                )
                continue
            for variant in ("direct", NAIVE):
                self.measure(load, variant, started[variant], rates_of=NAIVE, share=share, round=1, **common)

    def two_cores(self):
        """One worker against two. Where the machine has no core to spare, the second is the load's."""
        args = self.args
        spare = sorted(os.sched_getaffinity(0) - {args.cores.proxy, args.cores.load, args.cores.mock})
        pair = {args.cores.proxy, spare[0] if spare else args.cores.load}
        size, found = 1 << 10, {}
        with tempfile.TemporaryDirectory(prefix="tidegate-bench-", dir=args.work) as temporary, Servers() as servers:
            directory = pathlib.Path(temporary)
            mock = variants.start_mock(servers, args.programs, {args.cores.mock}, size, "json", directory)
            started = {}
            for workers, cores in ((1, {args.cores.proxy}), (2, pair)):
                home = directory / f"workers-{workers}"
                home.mkdir()
                config = variants.gateway_config(mock[1], "redact", True, home, workers)
                started[workers] = variants.start_tidegate(servers, args.programs, cores, config, home)[0]
            watched = [mock[0].pid] + [target.pid for target in started.values()]
            for number, (workers, target) in itertools.product(range(1, args.rounds + 1), started.items()):
                load = load_of(FULL, args, size)
                labels = dict(phase="two-cores", form="json", workers=workers, round=number)
                found.setdefault(workers, []).append(
                    self.measure(load, FULL, target, mock, watched, directory, **labels)
                )
        cpu = [statistics.median(run["proxy"]["cpu_us_per_request"] for run in found[n]) for n in (1, 2)]
        rps = [statistics.median(run["rps"] for run in found[n]) for n in (1, 2)]
        return {
            "own_cores": bool(spare),
            "cpu_us": cpu,
            "rps": rps,
            "cpu_ratio": 2 * cpu[0] / cpu[1],
            "rps_ratio": rps[1] / rps[0],
        }


def progress_text(run):
    cpu = f"{run['proxy']['cpu_us_per_request']:9.2f} us/req" if run["proxy"] else " " * 16
    at = f"{run['share']} %" if "share" in run else ""
    verdict = (
        "" if run["right"] else f"  WRONG: {run['wrong_by_kind'] or 'calls lost or repeated'} {run['examples'][:1]}"
    )
    return (
        f"{report.plots.size_name(run['size']):>7} {run['form']:<4} {at:>4} {run['variant']:<18} {run['rps']:>7.0f} req/s {cpu}"
        f"  p50 {run['latency_us']['p50']:>8.1f} us  others {run['foreign_cores']:.2f} cores{verdict}"
    )


def memory_facts(args):
    """Idle memory with and without rules, and what each idle connection and each stream adds."""
    facts, points = {}, {}
    with tempfile.TemporaryDirectory(prefix="tidegate-bench-", dir=args.work) as temporary, Servers() as servers:
        directory = pathlib.Path(temporary)
        mock = variants.start_mock(servers, args.programs, {args.cores.mock}, 1 << 10, "json", directory)
        events = memory.start_event_server(servers, {args.cores.mock}, directory)

        def gateway(name, upstream, more=""):
            home = directory / name
            home.mkdir()
            config = variants.gateway_config(upstream, "redact", True, home, more=more)
            return variants.start_tidegate(servers, args.programs, {args.cores.proxy}, config, home)[0]

        without = gateway("without-rules", mock[1], variants.without_rules())
        facts["idle_without_rules_kib"] = memory.settled_rss_kib(without.pid)
        for name, upstream, kind, counts in (
            ("idle_connection_kib", mock[1], memory.IdleConnections, MEMORY_CONNECTIONS),
            ("stream_kib", events, memory.Streams, MEMORY_STREAMS),
        ):
            target = gateway(name, upstream)
            facts["idle_with_rules_kib"] = memory.settled_rss_kib(target.pid)
            opened = kind(target.address)
            points[name] = []
            for count in counts:
                opened.grow_to(count)
                points[name].append((count, memory.settled_rss_kib(target.pid)))
            opened.close()
            facts[name] = memory.per_connection(points[name])
    return facts | {"points": points}


# ---------------------------------------------------------------- command line


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="side-by-side", help="name of the results folder after the date")
    parser.add_argument("--quick", action="store_true", help="one short round, at half of saturation only")
    parser.add_argument("--variants", help="comma-separated, of: " + ", ".join(VARIANTS) + " [default: all that exist]")
    parser.add_argument("--latency-variants", default=",".join(variants.LATENCY_VARIANTS))
    parser.add_argument("--forms", default=",".join(FORMS), help="forms of the answers")
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="bytes of result text")
    parser.add_argument("--shares", help="per cent of saturation for latency [default: 10,50,80]")
    parser.add_argument("--rounds", type=int, help="of saturation [default: 3]")
    parser.add_argument("--seconds", type=float, help="of one run at saturation [default: 1.2]")
    parser.add_argument("--latency-rounds", type=int, help="[default: 2]")
    parser.add_argument("--latency-seconds", type=float, help="of one run for latency [default: 1.5]")
    parser.add_argument("--naive-seconds", type=float, help="of one run of the Python gateway [default: 4]")
    parser.add_argument("--warmup", type=float, help="seconds before measuring [default: 0.4]")
    parser.add_argument(
        "--keep-awake",
        action="store_true",
        help="the proxy's core never sleeps during latency runs; see bench/README.md",
    )
    parser.add_argument("--no-extras", dest="extras", action="store_false", help="leave out memory and two cores")
    options.add(parser)
    args = parser.parse_args(argv)
    options.check(parser, args)
    for name, value in (QUICK if args.quick else THOROUGH).items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    try:
        args.sizes, args.shares = (
            [int(n) for n in getattr(args, name).split(",") if n] for name in ("sizes", "shares")
        )
    except ValueError:
        parser.error("--sizes and --shares must be whole numbers")
    if not all(0 < share < 100 for share in args.shares) or not all(64 <= size <= 16 << 20 for size in args.sizes):
        parser.error("--shares must be 1..=99, --sizes 64..=16777216")
    if not 1 <= args.rounds <= 100 or not 0 <= args.latency_rounds <= 100 or not 0 <= args.warmup <= 60:
        parser.error("--rounds must be 1..=100, --latency-rounds up to 100, --warmup up to 60")
    if not all(0 < seconds <= 600 for seconds in (args.seconds, args.latency_seconds, args.naive_seconds)):
        parser.error("--seconds, --latency-seconds and --naive-seconds must be above 0, up to 600")
    args.forms = args.forms.split(",")
    if not set(args.forms) <= set(FORMS):
        parser.error(f"--forms: must be of {', '.join(FORMS)}")
    choose_variants(parser, args)
    return args


def choose_variants(parser, args):
    chosen = args.variants.split(",") if args.variants else [v for v in VARIANTS if args.programs.of(v)]
    for variant in chosen:
        if variant not in VARIANTS:
            parser.error(f"--variants: {variant!r} is none of {', '.join(VARIANTS)}")
        if not args.programs.of(variant):
            parser.error(f"--variants: the program for {variant} was not found")
    for variant in VARIANTS:
        if variant not in chosen and not args.variants:
            print(f"left out, not installed: {variant}", file=sys.stderr)
    args.variants = chosen
    args.latency_variants = [v for v in args.latency_variants.split(",") if v in chosen]
    if FULL not in chosen or "direct" not in chosen or not args.latency_rounds:
        args.latency_variants = []  # nothing to take the rates from, or to subtract
    args.extras = args.extras and args.programs.tidegate is not None


def planned_text(args):
    return (
        f"{CONNECTIONS} connections ({NAIVE_CONNECTIONS} for the Python gateway at saturation), stateless era, arguments of 256 bytes. "
        f"Runs of each variant: {args.rounds} x {args.seconds:g} s at saturation, {args.latency_rounds} x {args.latency_seconds:g} s at "
        f"each rate, 1 x {args.naive_seconds:g} s of the Python gateway, each after {args.warmup:g} s of warm-up. The generator compares "
        "every byte of every answer; of the Python gateway's only form, id and marker, because Presidio takes order numbers for "
        "telephone numbers and replaces them."
    )


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that servers are ended
    args = parse(argv)
    raise_open_files()
    command = report.typed_command("bench/compare.py", argv)
    facts = report.machine(args.programs, args.cores, args.work)
    comparison = Comparison(args, schedule.Progress(planned_seconds(args)))
    other, failed = {}, False
    try:
        for form, size in itertools.product(args.forms, args.sizes):
            comparison.cell(form, size)
        if args.extras:
            other["two_cores"] = comparison.two_cores()
            other["memory"] = memory_facts(args)
    except CannotRun as error:
        print(f"compare.py: {error}", file=sys.stderr)
        failed = True
    runs = comparison.runs
    if not runs:
        return 2
    saturation = summary.saturation_rows(runs, args.variants)
    latency = summary.latency_rows(runs, args.latency_variants)
    rows = targets.all_rows(saturation, latency, other.get("memory", {}), other.get("two_cores"))
    folder = report.results_folder(args.out, args.date, args.name)
    other["idle"] = comparison.idle
    right, quiet = report.write_results(
        folder,
        f"{args.name}, {args.date}",
        facts,
        command,
        args.cores,
        runs,
        saturation,
        latency,
        other,
        rows,
        planned_text(args),
        args.keep_awake,
    )
    print(report.saturation_table(saturation), report.latency_table(latency), report.target_table(rows), sep="\n\n")
    print(
        f"\n{'all answers right' if right else 'INVALID: wrong answers'}; "
        f"{'quiet machine' if quiet else 'the machine was NOT quiet'}; results in {os.path.relpath(folder)}"
    )
    return 2 if failed else 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
