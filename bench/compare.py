#!/usr/bin/env python3
"""Side-by-side comparison: direct, nginx pass-through, Tidegate without and with inspection.

One proxy at a time is loaded, on its own core; generator and mock server share another. Variants are interleaved
(A B C D A B C D ...), so that a noisy minute hits all of them. What to trust, in this order: wrong answers (any makes
the comparison invalid), the ratio of CPU time per request within a round, and only on a quiet machine anything
absolute. CPU time per request is steadier than rates, but it too was seen to triple while neighbours compiled: a proxy
that is often interrupted finds its caches cold and one request at a time.

    cargo build --release && bench/compare.py --name first-light
    bench/compare.py --name sizes --sizes 1024,16384 --rounds 5 --seconds 10

Standard library only. Everything is started here, listens on 127.0.0.1, is ended by its process id, and has a
deadline. Exit code 0: all answers right; 1: not; 2: could not run.
"""

import argparse
import ctypes
import datetime
import http.client
import json
import os
import pathlib
import platform
import pwd
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
VARIANTS = {
    "direct": "generator straight to the mock server",
    "nginx": "nginx, pass-through, one worker, keep-alive upstream",
    "tidegate-off": "Tidegate, `inspection: { mode: off }`",
    "tidegate-on": "Tidegate, `inspection: { mode: redact }`",
}
START_SECONDS = 15  # for a server to listen
STOP_SECONDS = 10  # for a server to end after SIGTERM
GRACE_SECONDS = 40  # for a run beyond its planned length
FOREIGN_CORES_QUIET = 0.10  # more CPU used by others: not a quiet machine


class CannotRun(Exception):
    """Something needed is missing or did not start."""


# ---------------------------------------------------------------- processes


def child_setup(core):
    """For preexec_fn: pin to `core`, own session, and die with this script even if it is killed."""
    libc = ctypes.CDLL(None, use_errno=True)

    def setup():
        os.setsid()
        libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
        os.sched_setaffinity(0, {core})

    return setup


class Servers:
    """Everything started, to be ended by process id whatever happens."""

    def __init__(self):
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            self.stop(process)

    def start(self, command, core, log):
        with open(log, "wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, preexec_fn=child_setup(core)
            )
        process.log = log
        self.started.append(process)
        return process

    def stop(self, process):
        if process in self.started:
            self.started.remove(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def wait_for(what, process, probe):
    """Polls `probe` until it returns something, the process ends or the deadline passes."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        result = probe()
        if result:
            return result
        time.sleep(0.02)
    log = pathlib.Path(process.log).read_text(errors="replace")[-2000:]
    raise CannotRun(f"{what} did not start; it said:\n{log}")


def accepts(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=0.5).close()
        return True
    except OSError:
        return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def children_of(pid):
    try:
        text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def cpu_seconds(pid):
    """CPU time of all threads of a process so far."""
    total = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            pass  # a thread that ended meanwhile
    return total / 1e9


def machine_busy_seconds():
    """CPU time used by anyone on this machine, and stolen by its host."""
    fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    hz = os.sysconf("SC_CLK_TCK")
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields[:8]
    return (user + nice + system + irq + softirq) / hz, steal / hz


# ---------------------------------------------------------------- the servers


def start_mock(servers, args, size, directory):
    addr_file = directory / "mock.addr"
    command = [args.loadgen, "mock-upstream", "--listen", "127.0.0.1:0", "--addr-file", addr_file]
    command += ["--result-size", str(size), "--mode", args.mode]
    process = servers.start([str(c) for c in command], args.load_core, directory / "mock.log")
    address = wait_for("mock-upstream", process, lambda: addr_file.exists() and addr_file.read_text())
    return process, address


NGINX_CONFIG = """\
{user}
worker_processes 1;
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log warn;
events {{ worker_connections 8192; use epoll; }}
http {{
    access_log off;
    client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;
    uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5;
    tcp_nodelay on;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    client_max_body_size 64m;
    client_body_buffer_size {body_buffer};
    proxy_max_temp_file_size 0;
    proxy_buffer_size 16k;
    proxy_buffers 16 64k;
    proxy_busy_buffers_size 128k;
    upstream mock {{
        server {upstream};
        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen {address} backlog=4096;
        location = /mcp/mock {{
            proxy_pass http://mock/mcp;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def start_nginx(servers, args, upstream, directory):
    """Debian's nginx with everything it writes below `directory`. Returns worker process id and URL."""
    home = directory / "nginx"
    home.mkdir()
    address = f"127.0.0.1:{free_port()}"
    # A root master would give its worker to another user, who cannot enter the directory.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    body_buffer = max(16 << 10, args.argument_size + 8192)
    config = home / "nginx.conf"
    config.write_text(
        NGINX_CONFIG.format(dir=home, user=user, upstream=upstream, address=address, body_buffer=body_buffer)
    )
    command = [args.nginx, "-e", home / "start.log", "-p", home, "-c", config]
    process = servers.start([str(c) for c in command], args.proxy_core, directory / "nginx.log")
    wait_for("nginx", process, lambda: accepts(address))
    worker = wait_for("nginx worker", process, lambda: children_of(process.pid))
    return worker[0], f"http://{address}/mcp/mock"


def tidegate_config(upstream, mode, audit_dir):
    return (
        "listen: 127.0.0.1:0\n"
        "admin: off\n"
        "workers: 1\n"
        f'servers: {{ mock: {{ url: "http://{upstream}/mcp" }} }}\n'
        f"inspection: {{ mode: {mode} }}\n"
        f"audit: {{ dir: {audit_dir} }}\n"
    )


def start_tidegate(servers, args, upstream, mode, directory):
    home = directory / f"tidegate-{mode}"
    home.mkdir()
    config, addr_file = home / "tidegate.yaml", home / "addr"
    config.write_text(tidegate_config(upstream, mode, home / "audit"))
    command = [args.tidegate, "run", "--config", config, "--addr-file", addr_file]
    process = servers.start([str(c) for c in command], args.proxy_core, home / "log")

    def address():
        try:
            return json.loads(addr_file.read_text())["mcp"]
        except (OSError, ValueError):
            return None

    return process.pid, f"http://{wait_for('tidegate', process, address)}/mcp/mock"


# ---------------------------------------------------------------- one run


def mock_counts(address):
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/stats")
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def measure(args, size, url, proxy_pid, mock, watched, number, directory):
    """One run of the generator. `watched` are the servers whose CPU time is ours, not a neighbour's."""
    mock_process, mock_address = mock
    result = directory / f"run-{number}.json"
    command = [args.loadgen, "run", "--url", url, "--era", args.era, "--connections", args.connections]
    command += ["--duration", args.seconds, "--warmup", args.warmup, "--size", args.argument_size]
    command += ["--expect-size", size, "--run", number, "--json", result]
    command += ["--pid", proxy_pid or mock_process.pid]
    if args.rate:
        command += ["--rate", args.rate]
    if args.busy_poll:
        command += ["--busy-poll"]
    before = mock_counts(mock_address)
    started, (busy, steal) = time.monotonic(), machine_busy_seconds()
    ours = sum(map(cpu_seconds, watched)) + children_cpu_seconds()
    load = cpu_seconds(mock_process.pid) + children_cpu_seconds()
    try:
        done = subprocess.run(
            [str(c) for c in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=args.seconds + args.warmup + GRACE_SECONDS,
            preexec_fn=child_setup(args.load_core),
        )
    except subprocess.TimeoutExpired as error:
        raise CannotRun("the generator did not end in time") from error
    elapsed, (busy_after, steal_after) = time.monotonic() - started, machine_busy_seconds()
    ours = sum(map(cpu_seconds, watched)) + children_cpu_seconds() - ours
    load = cpu_seconds(mock_process.pid) + children_cpu_seconds() - load
    if not result.exists():
        raise CannotRun("the generator gave no result:\n" + done.stdout.decode(errors="replace")[-2000:])
    run = json.loads(result.read_text())
    after = mock_counts(mock_address)
    delta = {key: after[key] - before[key] for key in after}
    run["upstream"] = delta
    run["calls_lost"] = max(0, run["sent"] - delta["distinct_markers"])
    run["calls_repeated"] = delta["repeated_markers"]
    run["foreign_cores"] = round(max(0.0, busy_after - busy - ours) / elapsed, 3)
    run["load_core_busy"] = round(load / elapsed, 3)
    run["steal_cores"] = round((steal_after - steal) / elapsed, 3)
    run["right"] = run["valid"] and run["calls_lost"] == 0 and run["calls_repeated"] == 0
    return run


def children_cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def compare_size(args, size, raw, numbers):
    """All rounds for one result size; appends to `raw`."""
    with tempfile.TemporaryDirectory(prefix="tidegate-compare-") as temporary, Servers() as servers:
        directory = pathlib.Path(temporary)
        mock = start_mock(servers, args, size, directory)
        targets = {}
        for variant in args.variants:
            if variant == "direct":
                targets[variant] = (None, f"http://{mock[1]}/mcp")
            elif variant == "nginx":
                targets[variant] = start_nginx(servers, args, mock[1], directory)
            else:
                mode = {"tidegate-off": "off", "tidegate-on": "redact"}[variant]
                targets[variant] = start_tidegate(servers, args, mock[1], mode, directory)
        watched = [mock[0].pid] + [pid for pid, _ in targets.values() if pid]
        for round_number in range(1, args.rounds + 1):
            for variant, (pid, url) in targets.items():
                run = measure(args, size, url, pid, mock, watched, next(numbers), directory)
                used = run.pop("process")  # of the mock server, if there is no proxy
                run.update(variant=variant, round=round_number, size=size, proxy=used if pid else None)
                del run["url"], run["run"]
                raw.append(run)
                print(progress_line(run), file=sys.stderr, flush=True)


def progress_line(run):
    cpu = f"{run['proxy']['cpu_us_per_request']:7.2f} us/req" if run["proxy"] else " " * 14
    verdict = "" if run["right"] else f"  WRONG: {run['wrong_by_kind'] or 'calls lost or repeated'}"
    return (
        f"{run['size']:>8} B  round {run['round']}  {run['variant']:<13} {run['rps']:>9.0f} req/s {cpu}"
        f"  p50 {run['latency_us']['p50']:>8.1f} us  others {run['foreign_cores']:.2f} cores{verdict}"
    )


# ---------------------------------------------------------------- the report


def spread(values):
    """(min, median, max)"""
    return (min(values), statistics.median(values), max(values)) if values else None


def paired_ratio(runs, variant, base, value):
    """Median over the rounds of value(variant) / value(base) within the same round."""
    by_round = {run["round"]: value(run) for run in runs if run["variant"] == base}
    ratios = [
        value(run) / by_round[run["round"]]
        for run in runs
        if run["variant"] == variant and by_round.get(run["round"]) and value(run) is not None
    ]
    return statistics.median(ratios) if ratios else None


def proxy_cpu(run):
    return run["proxy"]["cpu_us_per_request"] if run["proxy"] else None


def summarise(raw, variants):
    """One row for each size and variant."""
    rows = []
    for size in sorted({run["size"] for run in raw}):
        of_size = [run for run in raw if run["size"] == size]
        for variant in variants:
            runs = [run for run in of_size if run["variant"] == variant]
            if not runs:
                continue
            rows.append(
                {
                    "size": size,
                    "variant": variant,
                    "rounds": len(runs),
                    "rps": spread([run["rps"] for run in runs]),
                    "cpu_us": spread([proxy_cpu(run) for run in runs if run["proxy"]]),
                    "p50_us": statistics.median(run["latency_us"]["p50"] for run in runs),
                    "p99_us": statistics.median(run["latency_us"]["p99"] for run in runs),
                    "load_core_busy": statistics.median(run["load_core_busy"] for run in runs),
                    "rss_kib": max((run["proxy"]["rss_kib"] for run in runs if run["proxy"]), default=None),
                    "rps_to_nginx": paired_ratio(of_size, variant, "nginx", lambda run: run["rps"]),
                    "rps_to_direct": paired_ratio(of_size, variant, "direct", lambda run: run["rps"]),
                    "cpu_to_nginx": paired_ratio(of_size, variant, "nginx", proxy_cpu),
                    "wrong": sum(run["wrong"] for run in runs),
                    "lost_or_repeated": sum(run["calls_lost"] + run["calls_repeated"] for run in runs),
                    "unsent": sum(run["unsent"] for run in runs),
                }
            )
    return rows


def table(rows):
    """Markdown, aligned enough to be read in a terminal."""
    head = ["result", "variant", "req/s min / median / max", "proxy CPU us/req min / median / max", "CPU to nginx"]
    head += ["req/s to nginx", "req/s to direct", "p50 us", "p99 us", "RSS MiB", "load core busy", "wrong", "lost or repeated"]
    number = lambda value, digits: "-" if value is None else f"{value:.{digits}f}"
    three = lambda values, digits: "-" if values is None else " / ".join(f"{v:.{digits}f}" for v in values)
    cells = [head] + [
        [
            f"{row['size']} B",
            row["variant"],
            three(row["rps"], 0),
            three(row["cpu_us"], 2),
            number(row["cpu_to_nginx"], 2),
            number(row["rps_to_nginx"], 2),
            number(row["rps_to_direct"], 2),
            number(row["p50_us"], 1),
            number(row["p99_us"], 1),
            number(row["rss_kib"] and row["rss_kib"] / 1024, 1),
            number(row["load_core_busy"], 2),
            str(row["wrong"]),
            str(row["lost_or_repeated"]),
        ]
        for row in rows
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def output_of(command):
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace").strip() if done.returncode == 0 else ""


def machine(args):
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    commit = output_of(["git", "rev-parse", "HEAD"]) or "none"
    dirty = bool(output_of(["git", "status", "--porcelain"]))
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in cpuinfo,
        "kernel": platform.release(),
        "memory_mib": int(memory.group(1)) // 1024 if memory else None,
        "commit": commit + (" with uncommitted changes" if dirty else ""),
        "nginx": output_of([args.nginx, "-v"]) if args.nginx else "not installed",
        "tidegate": output_of([args.tidegate, "--version"]) if args.tidegate else "not built",
        "generator": output_of([args.loadgen, "--version"]),
        "proxy_core": args.proxy_core,
        "load_core": args.load_core,
    }


def typed_command(argv):
    """The command as anyone would type it at the top of the tree; paths outside lose their directories."""

    def shorten(word):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if value.startswith("/"):
            path = pathlib.Path(value)
            value = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        return option + equals + value

    return " ".join(shlex.quote(shorten(word)) for word in ["bench/compare.py"] + argv)


def write_results(args, facts, raw, rows, out):
    out.mkdir(parents=True, exist_ok=False)
    (out / "raw.json").write_text(json.dumps({"machine": facts, "command": facts["command"], "runs": raw}, indent=1) + "\n")
    foreign = spread([run["foreign_cores"] for run in raw])
    steal = spread([run["steal_cores"] for run in raw])
    quiet = foreign[2] <= FOREIGN_CORES_QUIET and steal[2] <= FOREIGN_CORES_QUIET
    right = all(run["right"] for run in raw)
    loop = f"open loop at {args.rate:g} calls/s" if args.rate else "closed loop"
    text = [
        f"# {args.name}, {args.date}",
        "",
        f"`{facts['command']}`",
        "",
        table(rows),
        "",
        f"{args.connections} connections, {loop}, {args.era} era, {args.mode} answers, arguments of "
        f"{args.argument_size} bytes, {args.rounds} rounds of {args.seconds:g} s after {args.warmup:g} s of warm-up, "
        "variants interleaved. `result` is the size of the result text. Ratios are medians of the ratios within a "
        "round. CPU is that of all threads of the proxy (of nginx: its worker), from schedstat. Where the load core was busy "
        "above 0.9, generator and mock server were the limit, and the proxy could have done more.",
        "",
        "**All answers were right**, every call arrived once."
        if right
        else "**INVALID: wrong, lost or repeated answers; see raw.json.**",
        ""
        if quiet
        else f"\n**The machine was not quiet**: others used {foreign[1]:.2f} cores (median; at most {foreign[2]:.2f}), "
        f"{steal[2]:.2f} were stolen at most. Nothing absolute here means anything; look at ratios, with care.\n",
        "| machine | |",
        "|---|---|",
    ]
    text += [f"| {key.replace('_', ' ')} | {value} |" for key, value in facts.items() if key != "command"]
    text += ["", "Variants: " + "; ".join(f"*{name}*: {VARIANTS[name]}" for name in args.variants) + ".", ""]
    (out / "README.md").write_text("\n".join(text))
    return right, quiet


# ---------------------------------------------------------------- command line


def executable(path):
    found = shutil.which(str(path)) if path else None
    return str(pathlib.Path(found).resolve()) if found else None


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="comparison", help="name of the results folder after the date")
    parser.add_argument("--variants", help="comma-separated, of: " + ", ".join(VARIANTS) + " [default: all that exist]")
    parser.add_argument("--sizes", default="1024", help="bytes of result text, comma-separated")
    parser.add_argument("--argument-size", type=int, default=256, help="bytes of the arguments of a call")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--warmup", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--rate", type=float, help="calls per second in an open loop, for latency [default: closed loop]")
    parser.add_argument("--busy-poll", action="store_true", help="the generator never sleeps (with --rate)")
    parser.add_argument("--era", choices=["modern", "legacy"], default="modern")
    parser.add_argument("--mode", choices=["json", "json-chunked", "sse"], default="json", help="form of the answers")
    parser.add_argument("--proxy-core", type=int, default=0)
    parser.add_argument("--load-core", type=int, default=1, help="core of the generator and the mock server")
    parser.add_argument("--tidegate", default=os.environ.get("TIDEGATE_BIN", ROOT / "target/release/tidegate"))
    parser.add_argument("--loadgen", default=os.environ.get("LOADGEN_BIN", ROOT / "target/release/tidegate-loadgen"))
    parser.add_argument("--nginx", default=os.environ.get("NGINX_BIN", "nginx"))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "bench/results")
    parser.add_argument("--date", default=datetime.date.today().isoformat())
    args = parser.parse_args(argv)
    try:
        args.sizes = [int(size) for size in args.sizes.split(",")]
    except ValueError:
        parser.error(f"--sizes {args.sizes}: must be numbers")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,60}", args.name):
        parser.error(f"--name {args.name}: must be lower-case letters, digits and dashes")
    if not 1 <= args.rounds <= 1000 or not 0 < args.seconds <= 600 or not 0 <= args.warmup <= 60:
        parser.error("--rounds must be 1..=1000, --seconds up to 600, --warmup up to 60")
    cores = os.sched_getaffinity(0)
    if args.proxy_core == args.load_core or not {args.proxy_core, args.load_core} <= cores:
        parser.error(f"--proxy-core and --load-core must be two different cores of {sorted(cores)}")
    args.loadgen, args.nginx, args.tidegate = map(executable, (args.loadgen, args.nginx, args.tidegate))
    if not args.loadgen:
        parser.error("tidegate-loadgen not found: cargo build --release -p tidegate-loadgen, or --loadgen PATH")
    needs = {"nginx": args.nginx, "tidegate-off": args.tidegate, "tidegate-on": args.tidegate}
    chosen = args.variants.split(",") if args.variants else [v for v in VARIANTS if needs.get(v, True)]
    for variant in chosen:
        if variant not in VARIANTS:
            parser.error(f"--variants: {variant!r} is none of {', '.join(VARIANTS)}")
        if not needs.get(variant, True):
            parser.error(f"--variants: the program for {variant} was not found")
    for variant in VARIANTS:
        if variant not in chosen and not args.variants:
            print(f"left out, not installed: {variant}", file=sys.stderr)
    args.variants = chosen
    return args


def results_folder(args):
    base = args.out / f"{args.date}-{args.name}"
    candidates = [base] + [base.with_name(f"{base.name}-{n}") for n in range(2, 100)]
    return next(path for path in candidates if not path.exists())


def main(argv):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that servers are ended
    args = parse(argv)
    facts = machine(args)
    facts["command"] = typed_command(argv)
    raw, numbers = [], iter(range(1, 65_536))
    try:
        for size in args.sizes:
            compare_size(args, size, raw, numbers)
    except CannotRun as error:
        print(f"compare.py: {error}", file=sys.stderr)
        return 2
    rows = summarise(raw, args.variants)
    out = results_folder(args)
    right, quiet = write_results(args, facts, raw, rows, out)
    print(table(rows))
    print(f"\n{'all answers right' if right else 'INVALID: wrong answers'}; "
          f"{'quiet machine' if quiet else 'the machine was NOT quiet'}; results in {os.path.relpath(out)}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
