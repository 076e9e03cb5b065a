"""What was promised, as rows that pass or fail. All are ratios within one run of the comparison, or bounds.

A row without its measurement is `not measured`, never a pass."""

import dataclasses

from .summary import find
from .variants import FULL, NAIVE, PEER

KIB = 1024
PROXY_CORE_BUSY = 0.90  # a proxy below this at saturation was not the limit: the load was

PASS, FAIL, MISSING = "pass", "FAIL", "not measured"


@dataclasses.dataclass(frozen=True)
class Row:
    what: str
    wanted: str
    measured: str
    verdict: str
    note: str = ""


def at_least(what, bound, value, unit="x", note=""):
    return row(what, f">= {bound:g} {unit}", value, unit, value is not None and value >= bound, note)


def at_most(what, bound, value, unit="x", note=""):
    return row(what, f"<= {bound:g} {unit}", value, unit, value is not None and value <= bound, note)


WRONG = "wrong answers"


def spoilt(*rows):
    """A figure out of runs with wrong, lost or repeated answers is none: a refusal is faster than an answer."""
    return WRONG if any(r and r["wrong"] + r["lost_or_repeated"] for r in rows) else ""


def row(what, wanted, value, unit, holds, note):
    holds = holds and WRONG not in note
    if value is None:
        return Row(what, wanted, "-", MISSING, note)
    return Row(what, wanted, f"{value:.3g} {unit}", PASS if holds else FAIL, note)


def throughput(saturation):
    def to_nginx(variant, size):
        mine, peer = (find(saturation, form="json", size=size, variant=name) for name in (variant, PEER))
        limited = [r["variant"] for r in (mine, peer) if r and (r["proxy_cores"] or 1) < PROXY_CORE_BUSY]
        note = f"the load was the limit of {' and '.join(limited)}; by CPU per request it would be " if limited else ""
        note += f"{mine['per_core_to_nginx']:.2f}" if limited and mine and mine["per_core_to_nginx"] else ""
        note = spoilt(mine, peer) or note
        return (mine["rps_to_nginx"] if mine else None), note

    rows = []
    for variant, size, bound in ((FULL, KIB, 1.0), ("tidegate-off", KIB, 1.4), (FULL, 16 * KIB, 0.8)):
        value, note = to_nginx(variant, size)
        rows.append(at_least(f"requests/s on one core, {size // KIB} KiB, {variant} to nginx", bound, value, note=note))
    full, nginx, naive = (find(saturation, form="json", size=KIB, variant=name) for name in (FULL, PEER, NAIVE))
    rows.append(
        at_most("CPU per request, 1 KiB, full to nginx", 1.32, full and full["cpu_to_nginx"], note=spoilt(full, nginx))
    )
    rows.append(
        at_least(
            "requests/s on one core, 1 KiB, full to the Python gateway",
            300,
            full and full["rps_to_python"],
            note=spoilt(full, naive),
        )
    )
    return rows


def added_latency(latency):
    full = find(latency, form="json", size=KIB, share=50, variant=FULL, rates_of=FULL)
    naive = find(latency, form="json", size=KIB, share=50, variant=NAIVE, rates_of=NAIVE)
    added = full["added_us"] if full else {"p50": None, "p99": None}
    to_raw = full["to_raw"] if full else {"p50": None, "p99": None}
    of_naive = naive["added_us"]["p50"] if naive else None
    to_naive = added["p50"] / of_naive if added["p50"] is not None and of_naive else None
    note = spoilt(full) or ("" if not full or full["rate_kept"] else "the rate was not kept")
    return [
        at_most("added p50 at half of saturation, 1 KiB, full to the raw forwarder", 1.3, to_raw["p50"], note=note),
        at_most("added p99 at half of saturation, 1 KiB, full to the raw forwarder", 2, to_raw["p99"], note=note),
        at_most("added p99 at half of saturation, 1 KiB, full", 1000, added["p99"], "us", note),
        at_most(
            "added p50, 1 KiB, full to the Python gateway, each at half of its own saturation",
            0.02,
            to_naive,
            note=spoilt(full, naive),
        ),
    ]


def memory(facts):
    """`facts`: KiB by name, from the memory part; a missing one was not measured."""
    idle = facts.get("idle_without_rules_kib")
    return [
        at_most("idle memory without the built-in rules", 20, idle and idle / KIB, "MiB"),
        at_most("memory for each idle connection", 8, facts.get("idle_connection_kib"), "KiB"),
        at_most("memory for each active event stream", 16, facts.get("stream_kib"), "KiB"),
    ]


def two_cores(facts):
    """`facts`: None, or what the part with two workers found."""
    what = "two cores against one"
    if not facts:
        return [at_least(what, 1.8, None)]
    if facts["own_cores"]:
        return [at_least(what, 1.8, facts["rps_ratio"], note="requests/s, load on cores of its own")]
    note = "twice the CPU per request of one worker over that of two: the load shares the second core"
    return [at_least(what, 1.8, facts["cpu_ratio"], note=note)]


def all_rows(saturation, latency, memory_facts, two_core_facts):
    return throughput(saturation) + added_latency(latency) + memory(memory_facts) + two_cores(two_core_facts)
