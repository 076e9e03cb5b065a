"""The dated results folder: README.md, raw.jsonl (one run a line), summary.json and plots."""

import json
import os
import pathlib
import platform
import re
import shlex
import subprocess

from . import plots
from .measure import Cores
from .summary import QUANTILES, find, spread
from .variants import FULL, LATENCY_VARIANTS, VARIANTS

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
FOREIGN_CORES_QUIET = 0.10  # more CPU used by others: not a quiet machine
SLOWER_QUIET = 1.25  # the same work took so many times as long at worst as at best: not a steady one


def output_of(command):
    try:
        done = subprocess.run(command, capture_output=True, timeout=30, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).decode(errors="replace").strip() if done.returncode == 0 else ""


def machine(programs, cores: Cores, work):
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    memory = re.search(r"^MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text(), re.MULTILINE)
    commit = output_of(["git", "rev-parse", "HEAD"]) or "none"
    dirty = bool(output_of(["git", "status", "--porcelain"]))
    version = lambda program, *words: (
        (output_of([program, *words]) or "?").splitlines()[0] if program else "not installed"
    )
    presidio = "import importlib.metadata as m; print(*(f'{p} {m.version(p)}' for p in ('fastapi', 'httpx', 'presidio-analyzer')))"
    return {
        "cpu": model.group(1) if model else platform.machine(),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in cpuinfo,
        "kernel": platform.release(),
        "memory_mib": int(memory.group(1)) // 1024 if memory else None,
        "commit": commit + (" with uncommitted changes" if dirty else ""),
        "tidegate": version(programs.tidegate, "--version"),
        "generator": version(programs.loadgen, "--version"),
        "nginx": version(programs.nginx, "-v"),
        "haproxy": version(programs.haproxy, "-v"),
        "python": version(programs.python, "--version") + ", " + version(programs.python, "-c", presidio),
        "audit_segments_on": filesystem_of(work),
        "proxy_core": cores.proxy,
        "generator_core": cores.load,
        "mock_server_core": cores.mock,
    }


def filesystem_of(path, mounts=None):
    """Its type: the longest mount point above `path` decides, the last one mounted there."""
    text = mounts if mounts is not None else pathlib.Path("/proc/mounts").read_text()
    path = pathlib.Path(path).resolve()
    above = [line.split()[1:3] for line in text.splitlines() if path.is_relative_to(line.split()[1])]
    longest = max((len(point) for point, _ in above), default=0)
    return next((kind for point, kind in reversed(above) if len(point) == longest), "?")


def typed_command(script, argv):
    """The command as anyone would type it at the top of the tree; paths outside lose their directories."""

    def shorten(word):
        option, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if value.startswith("/"):
            path = pathlib.Path(value)
            value = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name
        return option + equals + value

    return " ".join(shlex.quote(shorten(word)) for word in [script] + argv)


def results_folder(out, date, name):
    base = out / f"{date}-{name}"
    candidates = [base] + [base.with_name(f"{base.name}-{n}") for n in range(2, 100)]
    return next(path for path in candidates if not path.exists())


def table(head, rows):
    """Markdown, aligned enough to be read in a terminal."""
    cells = [head] + rows
    widths = [max(len(line[i]) for line in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in cells]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def per_second(value):
    """Three digits that mean something, whether of tens of thousands or of three."""
    return "-" if value is None else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def three(values, digits):
    return "-" if values is None else " / ".join(f"{value:.{digits}f}" for value in values)


def saturation_table(rows):
    head = ["result", "variant", "req/s min / median / max", "proxy core busy", "req/s per busy core"]
    head += ["CPU us/req min / median / max", "CPU to nginx", "req/s to nginx", "req/s to direct", "RSS MiB"]
    head += ["load core busy", "wrong", "lost or repeated"]
    cells = [
        [
            f"{plots.size_name(row['size'])} {row['form']}",
            row["variant"],
            " / ".join(map(per_second, row["rps"])),
            number(row["proxy_cores"], 2),
            per_second(row["rps_per_core"]),
            three(row["cpu_us"], 1),
            number(row["cpu_to_nginx"], 2),
            number(row["rps_to_nginx"], 3),
            number(row["rps_to_direct"], 3),
            number(row["rss_kib"] and row["rss_kib"] / 1024, 1),
            number(row["load_core_busy"], 2),
            str(row["wrong"]),
            str(row["lost_or_repeated"]),
        ]
        for row in rows
    ]
    return table(head, cells)


def latency_table(rows):
    head = ["result", "% of saturation", "calls/s", "variant", "p50 us", "+p50", "+p90", "+p99", "+p99.9"]
    head += ["+p50 to raw", "+p99 to raw", "CPU us/req", "rate kept", "wrong"]
    cells = [
        [
            f"{plots.size_name(row['size'])} {row['form']}",
            f"{row['share']} of {row['rates_of']}",
            per_second(row["rate"]),
            row["variant"],
            number(row["total_us"]["p50"], 1),
            *(number(row["added_us"][name], 1) for name in QUANTILES),
            number(row["to_raw"]["p50"], 2),
            number(row["to_raw"]["p99"], 2),
            number(row["cpu_us"], 1),
            "yes" if row["rate_kept"] else "NO",
            str(row["wrong"]),
        ]
        for row in rows
    ]
    return table(head, cells)


def target_table(rows):
    return table(
        ["target", "wanted", "measured", "verdict", "note"],
        [[row.what, row.wanted, row.measured, row.verdict, row.note] for row in rows],
    )


def quietness(runs):
    """(quiet, sentence)"""
    foreign, steal, work = (
        spread([run[key] for run in runs]) for key in ("foreign_cores", "steal_cores", "fixed_work_ms")
    )
    slower = work[2] / work[0]
    quiet = foreign[1] <= FOREIGN_CORES_QUIET and steal[1] <= FOREIGN_CORES_QUIET and slower <= SLOWER_QUIET
    numbers = (
        f"others used {foreign[1]:.2f} cores (median of the runs; at most {foreign[2]:.2f}), {steal[1]:.2f} were stolen "
        f"by the host (at most {steal[2]:.2f}), and the same work before each run took {work[0]:.2f} ms at best, "
        f"{work[1]:.2f} in the median and {work[2]:.2f} at worst"
    )
    if quiet:
        return True, f"The machine was quiet: {numbers}."
    return False, (
        f"**The machine was not quiet**: {numbers}. Nothing absolute here means anything; look at ratios, with care."
    )


ARRANGEMENT = """\
Saturation: closed loop. All proxies are up, one at a time is loaded, on core {proxy}; variants are interleaved. Where the
load core was busy above 0.9, generator and mock server were the limit and the proxy could have done more: *req/s per
busy core* is what it would do at the same CPU per request. CPU is that of all threads of the proxy (of nginx: its
worker), from schedstat.

Latency: open loop, the latency of a call counts from the moment it was due. *Added* (+) is the variant's percentile minus
that of `direct` at the same rate in the same round. All compiled proxies get the same rates, shares of what `{full}`
does at that size; the Python gateway gets shares of its own. A percentile with fewer than ten calls beyond it is not
given. The generator polls without sleeping{where}.{awake}
"""

AWAKE = """ A process that spins at SCHED_IDLE keeps the proxy's core from sleeping, as a server with C-states
switched off would; it loses its core to the proxy the moment there is something to do."""

SHARED = (
    " on core {load} and yields to the mock server, which shares it (SCHED_IDLE): next to a generator that never sleeps "
    "the mock server would wait for a slice of the scheduler, milliseconds"
)


def arrangement(cores, keep_awake):
    where = (
        SHARED.format(load=cores.load)
        if cores.shared
        else f" on core {cores.load}, the mock server has core {cores.mock}"
    )
    return ARRANGEMENT.format(proxy=cores.proxy, full=FULL, where=where, awake=AWAKE if keep_awake else "")


def machine_table(facts):
    return "\n".join(
        ["| machine | |", "|---|---|"] + [f"| {key.replace('_', ' ')} | {value} |" for key, value in facts.items()]
    )


def draw(saturation, latency, folder):
    """Writes the plots; returns their names and titles."""
    drawn = []

    def save(name, title, svg):
        (folder / name).write_text(svg)
        drawn.append((name, title))

    for form in sorted({row["form"] for row in saturation}):
        rows = [row for row in saturation if row["form"] == form]
        sizes = sorted({row["size"] for row in rows})
        names = [name for name in VARIANTS if find(rows, variant=name)]
        groups = [plots.size_name(size) for size in sizes]
        column = lambda key, names: {
            name: [(find(rows, variant=name, size=size) or {}).get(key) for size in sizes] for name in names
        }
        rates = {name: [v and v[1] for v in values] for name, values in column("rps", names).items()}
        title = f"Requests per second at saturation, one core, {form}"
        save(f"requests-{form}.svg", title, plots.bars(title, "requests/s", groups, rates, log_y=True))
        costs = {name: [v and v[1] for v in values] for name, values in column("cpu_us", names).items() if any(values)}
        if costs:
            title = f"CPU time per request at saturation, {form}"
            save(f"cpu-{form}.svg", title, plots.bars(title, "us/request", groups, costs, log_y=True))
    for form, size in sorted({(row["form"], row["size"]) for row in latency}):
        for quantile in ("p50", "p99"):
            rows = [row for row in latency if (row["form"], row["size"]) == (form, size) and row["variant"] != "direct"]
            series = {
                name: [
                    (row["share"], row["added_us"][quantile])
                    for row in rows
                    if row["variant"] == name and (row["added_us"][quantile] or 0) > 0
                ]
                for name in LATENCY_VARIANTS
            }
            shares = sorted({row["share"] for row in rows})
            if not any(series.values()) or len(shares) < 2:
                continue  # one point for each variant is better read in the table
            title = f"Added {quantile}, {plots.size_name(size)} {form}"
            svg = plots.lines(title, "load, % of saturation", "added us", series, log_x=False, x_ticks=shares)
            save(f"added-{quantile}-{form}-{size}.svg", title, svg)
    return drawn


def write_results(
    folder, title, facts, command, cores, runs, saturation, latency, other, targets, planned, keep_awake=False
):
    """`other`: what the idle, memory and two-core parts found. Returns (right, quiet)."""
    folder.mkdir(parents=True, exist_ok=False)
    with open(folder / "raw.jsonl", "w") as raw:
        for run in runs:
            raw.write(json.dumps(run, separators=(",", ":")) + "\n")
    summary = {"machine": facts, "command": command, "saturation": saturation, "latency": latency, **other}
    summary["targets"] = [vars(row) for row in targets]
    (folder / "summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    drawn = draw(saturation, latency, folder)
    right = all(run["right"] for run in runs)
    quiet, quiet_sentence = quietness(runs)
    verdict = (
        "All answers were right, every call arrived once."
        if right
        else "**INVALID: wrong, lost or repeated answers; see raw.jsonl.**"
    )
    text = [f"# {title}", "", f"`{command}`", "", verdict, quiet_sentence, "", planned, ""]
    text += ["## Targets", "", target_table(targets), ""]
    text += ["## Saturation", "", saturation_table(saturation), ""]
    if latency:
        text += ["## Added latency", "", latency_table(latency), ""]
    text += ["## Idle, memory, two cores", "", *other_lines(other), ""]
    text += ["## Plots", ""] + [f"![{words}]({name})" for name, words in drawn] + [""]
    text += ["## How it was measured", "", arrangement(cores, keep_awake), machine_table(facts), ""]
    used = [name for name in VARIANTS if find(saturation, variant=name)]
    text += ["Variants: " + "; ".join(f"*{name}*: {VARIANTS[name]}" for name in used) + ".", ""]
    text += ["`raw.jsonl` holds every run of the generator, `summary.json` the numbers of the tables.", ""]
    (folder / "README.md").write_text("\n".join(text))
    return right, quiet


def other_lines(other):
    lines = []
    if other.get("idle"):
        rows = [[row["variant"], f"{row['rss_kib'] / 1024:.1f}", f"{100 * row['cores']:.3f}"] for row in other["idle"]]
        lines += ["Started, before any request:", "", table(["variant", "RSS MiB", "CPU, % of a core"], rows), ""]
    facts = other.get("memory") or {}
    idle = facts.get("idle_with_rules_kib"), facts.get("idle_without_rules_kib")
    if all(idle):
        lines += [
            f"- Idle gateway: {idle[0] / 1024:.1f} MiB; with every built-in rule but one switched off: {idle[1] / 1024:.1f} MiB."
        ]
    if facts.get("idle_connection_kib") is not None:
        counts = " and ".join(str(count) for count, _ in facts["points"]["idle_connection_kib"])
        lines += [
            f"- Each idle client connection, after one call: {facts['idle_connection_kib']:.1f} KiB (between {counts} connections)."
        ]
    if facts.get("stream_kib") is not None:
        counts = " and ".join(str(count) for count, _ in facts["points"]["stream_kib"])
        lines += [
            f"- Each active event stream, with an event of 1 KiB each second: {facts['stream_kib']:.1f} KiB (between {counts} streams)."
        ]
    two = other.get("two_cores")
    if two:
        lines += [
            f"- One worker: {two['cpu_us'][0]:.1f} us CPU per request, {two['rps'][0]:.0f} requests/s; two: {two['cpu_us'][1]:.1f} us, {two['rps'][1]:.0f} requests/s."
        ]
    return lines
