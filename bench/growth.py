#!/usr/bin/env python3
"""How Tidegate's cost grows: with the payload, the rules, the connections, the servers and the open streams.

Each study varies one thing and keeps the rest. What it costs is CPU time per request, resident memory and the time to
start; what grows neither flat nor linearly is named in the report.

    make bench-growth                           # all of them, in about seven minutes
    bench/growth.py --studies rules,servers     # some
    bench/growth.py --quick                     # every second point, in one round, in under two

Standard library only. Everything is started here, listens on 127.0.0.1, is ended by its process id, and has a
deadline. Exit code 0: all answers right; 1: not; 2: could not run.
"""

import argparse
import contextlib
import itertools
import os
import pathlib
import signal
import sys
import tempfile
import time

sys.dont_write_bytecode = True

from sidebyside import memory, measure, options, report, schedule, summary, variants  # noqa: E402
from sidebyside.growth import Study, slope, write  # noqa: E402
from sidebyside.measure import Load  # noqa: E402
from sidebyside.processes import CannotRun, Servers, raise_open_files  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
STUDIES = ["results", "arguments", "rules", "active", "idle", "servers", "streams"]
# label: what is started. The rest of the variants lie between these two.
MEASURED = {"off": "tidegate-off", "full": "tidegate-full"}
WITH_PEER = {"nginx": "nginx"} | MEASURED

RESULTS = [KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB]
# The largest body the gateway takes by default is 4 MiB: arguments, their JSON escapes and the envelope.
ARGUMENTS = [256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 3 * MIB]
RULES = [10, 30, 100, 300, 1000]
ACTIVE = [1, 4, 16, 64, 256, 1024]
IDLE = [0, 100, 1000, 3000, 10_000]
SERVERS = [1, 10, 100, 1000]
STREAMS = [1, 16, 64, 256, 1024]

BYTES_IN_FLIGHT = MIB  # over all connections, so that large payloads do not only measure memory
STUDY_CONNECTIONS = 16
IDLE_SECONDS = 1.0  # to measure the CPU time of connections that do nothing
KEEPALIVE_MS = 600_000  # no idle connection may be closed while the others are made
RUN_OVERHEAD_SECONDS = 0.15  # starting the generator
START_SECONDS = 0.5  # starting a gateway

IDENTITIES = 'Identities: the gateway does not know callers yet (README, "What it does not do yet"), so there is nothing to vary.'
RULE_KIND = (
    "Rules are rules of the deployment (`inspection.custom`), each with a literal of its own in front "
    "(`ACME0001-\\d{6,10}`), as account numbers and tokens have; all built-in rules but one are off. Rules without a literal "
    "would cost more each; there is no such list of a thousand to be had that anyone would use."
)


def connections_for(size):
    return max(2, min(STUDY_CONNECTIONS, BYTES_IN_FLIGHT // size))


class Growth:
    def __init__(self, args, planned):
        self.args, self.runs, self.numbers = args, [], itertools.count(1)
        self.progress = schedule.Progress(planned)

    @contextlib.contextmanager
    def place(self):
        with (
            tempfile.TemporaryDirectory(prefix="tidegate-growth-", dir=self.args.work) as temporary,
            Servers() as servers,
        ):
            yield servers, pathlib.Path(temporary)

    def mock(self, servers, directory, size=KIB):
        return variants.start_mock(servers, self.args.programs, {self.args.cores.mock}, size, "json", directory)

    def gateway(self, servers, home, upstream, **more):
        """A gateway with everything on. Returns it and the seconds it took to listen."""
        home.mkdir()
        config = variants.gateway_config(
            upstream, "redact", True, home, limits=f"keepalive_idle_ms: {KEEPALIVE_MS}", **more
        )
        started = time.monotonic()
        target, _ = variants.start_tidegate(servers, self.args.programs, {self.args.cores.proxy}, config, home)
        return target, time.monotonic() - started

    def measure(self, study, x, started, mock, directory, load):
        """Rounds of `load` against each of `started` (series -> target), interleaved. Returns series -> medians."""
        watched = [mock[0].pid] + [pid for target in started.values() for pid in target.pids]
        programs, cores = self.args.programs, self.args.cores
        mine = {series: [] for series in started}
        for number, (series, target) in itertools.product(range(1, self.args.rounds + 1), started.items()):
            run = measure.run(load, target, mock, cores, watched, next(self.numbers), programs.loadgen, directory)
            self.runs.append({"study": study, "x": x, "series": series, "round": number, **run})
            mine[series].append(run)
            if not run["right"]:
                what = run["wrong_by_kind"] or "calls lost or repeated"
                print(f"WRONG: {study} {x} {series}: {what} {run['examples'][:1]}", file=sys.stderr)
        found = {
            series: {
                "cpu_us": summary.median([run["proxy"]["cpu_us_per_request"] for run in runs]),
                "rps": summary.median([run["rps"] for run in runs]),
                "p50_us": summary.median([run["latency_us"]["p50"] for run in runs]),
            }
            for series, runs in mine.items()
        }
        for series, medians in found.items():
            line = f"{study:<9} {x:>8} {series:<5} {medians['cpu_us']:>9.2f} us/req {medians['rps']:>7.0f} req/s"
            self.progress.step(self.step_seconds(), line)
        return found

    def step_seconds(self):
        return self.args.rounds * (self.args.seconds + self.args.warmup + RUN_OVERHEAD_SECONDS) + START_SECONDS

    def load(self, size=KIB, connections=STUDY_CONNECTIONS, arguments=256):
        return Load(size, connections, self.args.seconds, self.args.warmup, arguments_bytes=arguments)

    def sizes(self, key, sizes, load_of, title, x_label, note):
        """CPU time per request against a size, for nginx, off and full."""
        series = {name: [] for name in WITH_PEER if self.args.programs.of(WITH_PEER[name])}
        for size in sizes:
            with self.place() as (servers, directory):
                load = load_of(size)
                mock = self.mock(servers, directory, load.size)
                place = (servers, self.args.programs, {self.args.cores.proxy}, mock[1], directory, load.arguments_bytes)
                started = {name: variants.start(WITH_PEER[name], *place) for name in series}
                for name, found in self.measure(key, size, started, mock, directory, load).items():
                    series[name].append((size, found["cpu_us"]))
        per_kib = {name: slope(points) for name, points in series.items() if len(points) > 1}
        note += (
            " Each further KiB costs "
            + ", ".join(f"{name} {1024 * cost:.2f} us" for name, cost in per_kib.items())
            + "."
        )
        return [Study(key, title, x_label, "CPU us/request", "linear", series, sizes=True, note=note)]

    def results(self):
        load_of = lambda size: self.load(size, connections_for(size))
        note = (
            f"{STUDY_CONNECTIONS} connections, fewer where more than {plots_size(BYTES_IN_FLIGHT)} would be under way."
        )
        return self.sizes(
            "results",
            self.args.points(RESULTS),
            load_of,
            "CPU time against the size of the result",
            "bytes of result text",
            note,
        )

    def arguments(self):
        load_of = lambda size: self.load(KIB, connections_for(size), size)
        note = "Results of 1 KiB."
        return self.sizes(
            "arguments",
            self.args.points(ARGUMENTS),
            load_of,
            "CPU time against the size of the arguments",
            "bytes of arguments",
            note,
        )

    def rules(self):
        """One gateway for each number of rules, messages of 1 and of 16 KiB."""
        cost = {f"{plots_size(size)} results": [] for size in (KIB, 16 * KIB)}
        start, resident = [], []
        for count in self.args.points(RULES):
            for size in (KIB, 16 * KIB):
                with self.place() as (servers, directory):
                    mock = self.mock(servers, directory, size)
                    target, seconds = self.gateway(servers, directory / "gateway", mock[1], more=custom_rules(count))
                    if size == KIB:
                        start.append((count, seconds))
                        resident.append((count, memory.settled_rss_kib(target.pid) / 1024))
                    found = self.measure("rules", count, {"full": target}, mock, directory, self.load(size))
                    cost[f"{plots_size(size)} results"].append((count, found["full"]["cpu_us"]))
        return [
            Study(
                "rules-cpu",
                "CPU time against the number of rules",
                "rules",
                "CPU us/request",
                "flat",
                cost,
                log_y=False,
                note=RULE_KIND,
            ),
            Study(
                "rules-start",
                "Time to start against the number of rules",
                "rules",
                "seconds",
                "linear",
                {"full": start},
            ),
            Study(
                "rules-memory",
                "Memory at rest against the number of rules",
                "rules",
                "MiB",
                "linear",
                {"full": resident},
                log_y=False,
            ),
        ]

    def active(self):
        """CPU time and requests per second against the connections that are all busy."""
        cost = {name: [] for name in WITH_PEER if self.args.programs.of(WITH_PEER[name])}
        latency = {name: [] for name in cost}
        with self.place() as (servers, directory):
            mock = self.mock(servers, directory)
            cores = {self.args.cores.proxy}
            started = {
                name: variants.start(WITH_PEER[name], servers, self.args.programs, cores, mock[1], directory)
                for name in cost
            }
            for count in self.args.points(ACTIVE):
                medians = self.measure("active", count, started, mock, directory, self.load(connections=count))
                for name, found in medians.items():
                    cost[name].append((count, found["cpu_us"]))
                    latency[name].append((count, found["p50_us"]))
        reason = (
            "A single connection pays for every wake-up alone; with more, one turn of the event loop serves several. "
            "Compare with nginx, whose cost falls and rises in the same places."
        )
        return [
            Study(
                "active-cpu",
                "CPU time against active connections",
                "active connections",
                "CPU us/request",
                "flat",
                cost,
                log_y=False,
                reason=reason,
            ),
            Study(
                "active-p50",
                "p50 in a closed loop against active connections",
                "active connections",
                "us",
                "linear",
                latency,
            ),
        ]

    def idle(self):
        """Memory, CPU at rest and the cost of a request while so many connections do nothing."""
        resident, resting, cost = [], [], []
        with self.place() as (servers, directory):
            mock = self.mock(servers, directory)
            target, _ = self.gateway(servers, directory / "gateway", mock[1])
            idle = memory.IdleConnections(target.address)
            for count in self.args.points(IDLE):
                idle.grow_to(count)
                resident.append((count, memory.settled_rss_kib(target.pid) / 1024))
                resting.append((count, 100 * measure.idle_cores(target, IDLE_SECONDS)))
                found = self.measure("idle", count, {"full": target}, mock, directory, self.load())
                cost.append((count, found["full"]["cpu_us"]))
                if idle.alive() != count:
                    raise CannotRun(f"of {count} idle connections only {idle.alive()} are left")
            note = per_each("connection", resident) + again(idle, target, self.args.points(IDLE)[-1])
        note += " Each connection has had one answer."
        active = f"{STUDY_CONNECTIONS} other connections were busy."
        return [
            Study(
                "idle-memory",
                "Memory against idle connections",
                "idle connections",
                "MiB",
                "linear",
                {"full": resident},
                log_y=False,
                note=note,
            ),
            Study(
                "idle-rest",
                "CPU at rest against idle connections",
                "idle connections",
                "% of a core",
                "linear",
                {"full": resting},
                log_y=False,
            ),
            Study(
                "idle-cpu",
                "CPU time of a request against idle connections",
                "idle connections",
                "CPU us/request",
                "flat",
                {"full": cost},
                log_y=False,
                note=active,
            ),
        ]

    def servers(self):
        start, resident, cost = [], [], []
        for count in self.args.points(SERVERS):
            with self.place() as (servers, directory):
                mock = self.mock(servers, directory)
                target, seconds = self.gateway(servers, directory / "gateway", mock[1], server_count=count)
                start.append((count, seconds))
                resident.append((count, memory.settled_rss_kib(target.pid) / 1024))
                found = self.measure("servers", count, {"full": target}, mock, directory, self.load())
                cost.append((count, found["full"]["cpu_us"]))
        note = "All servers have the same settings and the same address; requests go to one of them."
        return [
            Study(
                "servers-cpu",
                "CPU time of a request against configured servers",
                "servers",
                "CPU us/request",
                "flat",
                {"full": cost},
                log_y=False,
                note=note,
            ),
            Study(
                "servers-start",
                "Time to start against configured servers",
                "servers",
                "seconds",
                "linear",
                {"full": start},
                log_y=False,
            ),
            Study(
                "servers-memory",
                "Memory at rest against configured servers",
                "servers",
                "MiB",
                "linear",
                {"full": resident},
                log_y=False,
            ),
        ]

    def streams(self):
        resident = []
        with self.place() as (servers, directory):
            events = memory.start_event_server(servers, {self.args.cores.mock}, directory)
            target, _ = self.gateway(servers, directory / "gateway", events)
            streams = memory.Streams(target.address)
            for count in self.args.points(STREAMS):
                streams.grow_to(count)
                resident.append((count, memory.settled_rss_kib(target.pid) / 1024))
                self.progress.step(self.step_seconds(), f"streams   {count:>8} full  {resident[-1][1]:>9.1f} MiB")
            note = per_each("stream", resident) + again(streams, target, self.args.points(STREAMS)[-1])
        note += " Through each flows an event of 1 KiB each second."
        return [
            Study(
                "streams-memory",
                "Memory against active event streams",
                "active event streams",
                "MiB",
                "linear",
                {"full": resident},
                log_y=False,
                note=note,
            )
        ]


def per_each(what, resident):
    """`resident`: (count, MiB)."""
    return f"{memory.per_connection([(x, 1024 * y) for x, y in resident]):.2f} KiB for each {what} (least squares)."


def again(opened, target, count):
    """Memory that is kept for the next ones is no leak; memory that grows with every round would be."""
    opened.close()
    closed = memory.settled_rss_kib(target.pid) / 1024
    opened.grow_to(count)
    second = memory.settled_rss_kib(target.pid) / 1024
    opened.close()
    return f" After all were closed: {closed:.1f} MiB; with as many opened a second time: {second:.1f} MiB."


def custom_rules(count):
    """For `more` of `gateway_config`."""
    rules = ", ".join(
        f"{{ id: acme-{n:04}, type: ACME, pattern: 'ACME{n:04}-\\d{{6,10}}' }}" for n in range(1, count + 1)
    )
    return f"{variants.without_rules()}, custom: [{rules}]"


def plots_size(size):
    return report.plots.size_name(size)


def steps_of(study, args):
    """How many steps of progress a study takes."""
    peers = len(WITH_PEER)
    points = {
        "results": RESULTS,
        "arguments": ARGUMENTS,
        "rules": RULES,
        "active": ACTIVE,
        "idle": IDLE,
        "servers": SERVERS,
        "streams": STREAMS,
    }
    each = {"results": peers, "arguments": peers, "rules": 2, "active": peers}
    return len(args.points(points[study])) * each.get(study, 1)


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="growth", help="name of the results folder after the date")
    parser.add_argument("--quick", action="store_true", help="every second point, one round")
    parser.add_argument("--studies", default=",".join(STUDIES), help="of: " + ", ".join(STUDIES))
    parser.add_argument("--rounds", type=int, help="of each point; medians are reported [default: 3]")
    parser.add_argument("--seconds", type=float, default=0.8, help="of one run [default: %(default)s]")
    parser.add_argument("--warmup", type=float, default=0.3)
    options.add(parser)
    args = parser.parse_args(argv)
    options.check(parser, args)
    args.studies = args.studies.split(",")
    if not set(args.studies) <= set(STUDIES):
        parser.error(f"--studies: must be of {', '.join(STUDIES)}")
    if args.rounds is None:
        args.rounds = 1 if args.quick else 3
    if not 1 <= args.rounds <= 100:
        parser.error("--rounds must be 1..=100")
    if not 0 < args.seconds <= 600 or not 0 <= args.warmup <= 60:
        parser.error("--seconds must be above 0, up to 600; --warmup up to 60")
    if not args.programs.tidegate:
        parser.error("tidegate not found: cargo build --release -p tidegate-net, or --tidegate PATH")
    # The last point is the one that shows growth: it stays.
    args.points = (lambda points: points[::-1][::2][::-1]) if args.quick else (lambda points: points)
    return args


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that servers are ended
    args = parse(argv)
    files = raise_open_files()
    absent = [IDENTITIES]
    if "idle" in args.studies and files < max(IDLE) + 1000:
        print(
            f"growth.py: only {files} open files are allowed: raise `ulimit -Hn` above {max(IDLE) + 1000}",
            file=sys.stderr,
        )
        return 2
    command = report.typed_command("bench/growth.py", argv)
    facts = report.machine(args.programs, args.cores, args.work)
    growth, studies, failed = None, [], []
    planned = sum(steps_of(study, args) for study in args.studies)
    growth = Growth(args, 0.0)
    growth.progress.planned = planned * growth.step_seconds()
    for key in args.studies:
        try:
            studies += getattr(growth, key)()
        except CannotRun as error:
            print(f"growth.py: {key}: {error}", file=sys.stderr)
            failed.append(key)
            absent.append(f"{key}: could not be measured: {str(error).splitlines()[0]}")
    if not growth.runs:
        return 2
    folder = report.results_folder(args.out, args.date, args.name)
    right = write(folder, f"{args.name}, {args.date}", command, facts, growth.runs, studies, absent, args.cores)
    for study in studies:
        print(f"{study.title}\n\n{study.table()}\n")
    print(f"{'all answers right' if right else 'INVALID: wrong answers'}; results in {os.path.relpath(folder)}")
    return 2 if failed else 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
