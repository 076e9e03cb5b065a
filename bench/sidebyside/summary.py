"""From runs to rows. Everything is a median over rounds of what was taken within one round, so that a noisy minute,
which hits all variants of its round, does not favour one of them."""

import statistics

from .variants import NAIVE

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
# A percentile stands on the calls beyond it: with fewer than these it is the luck of a few.
CALLS_BEYOND_MIN = 10
RATE_KEPT_MIN = 0.98  # of the rate asked for; less, and the latency is that of a queue


def spread(values):
    """[min, median, max]"""
    return [min(values), statistics.median(values), max(values)] if values else None


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def paired_ratio(runs, variant, base, value):
    """Median over the rounds of value(variant) / value(base) within the same round."""
    by_round = {run["round"]: value(run) for run in runs if run["variant"] == base}
    ratios = [
        value(run) / by_round[run["round"]]
        for run in runs
        if run["variant"] == variant and by_round.get(run["round"]) and value(run) is not None
    ]
    return statistics.median(ratios) if ratios else None


def proxy_cpu_us(run):
    return run["proxy"]["cpu_us_per_request"] if run["proxy"] else None


def rps_per_core(run):
    """Requests per second for each core that the proxy kept busy: where the load was the limit, the proxy could have
    done more, and this says how much more."""
    return run["rps"] / run["proxy"]["cpu_cores"] if run["proxy"] and run["proxy"]["cpu_cores"] else None


def cells(runs):
    """(form, size) in the order of the report."""
    return sorted({(run["form"], run["size"]) for run in runs})


def saturation_rows(runs, variants):
    """One row for each form, size and variant."""
    rows = []
    runs = [run for run in runs if run["phase"] == "saturation"]
    for form, size in cells(runs):
        of_cell = [run for run in runs if (run["form"], run["size"]) == (form, size)]
        for variant in variants:
            mine = [run for run in of_cell if run["variant"] == variant]
            if not mine:
                continue
            proxied = [run for run in mine if run["proxy"]]
            rows.append(
                {
                    "form": form,
                    "size": size,
                    "variant": variant,
                    "rps": spread([run["rps"] for run in mine]),
                    "rps_per_core": median([rps_per_core(run) for run in mine]),
                    "cpu_us": spread([proxy_cpu_us(run) for run in proxied]),
                    "proxy_cores": median([run["proxy"]["cpu_cores"] for run in proxied]),
                    "load_core_busy": median([run["load_core_busy"] for run in mine]),
                    "rss_kib": max((run["tree_rss_kib"] for run in proxied), default=None),
                    "rps_to_nginx": paired_ratio(of_cell, variant, "nginx", lambda run: run["rps"]),
                    "per_core_to_nginx": paired_ratio(of_cell, variant, "nginx", rps_per_core),
                    "cpu_to_nginx": paired_ratio(of_cell, variant, "nginx", proxy_cpu_us),
                    "rps_to_direct": paired_ratio(of_cell, variant, "direct", lambda run: run["rps"]),
                    "rps_to_python": paired_ratio(of_cell, variant, "python", lambda run: run["rps"]),
                    "per_core_to_python": paired_ratio(of_cell, variant, "python", rps_per_core),
                    "wrong": sum(run["wrong"] for run in mine),
                    "lost_or_repeated": sum(run["calls_lost"] + run["calls_repeated"] for run in mine),
                }
            )
    return rows


def percentile(run, name):
    """Microseconds, or None where too few calls lie beyond it."""
    latency = run["latency_us"]
    enough = latency["count"] * (1 - QUANTILES[name]) >= CALLS_BEYOND_MIN
    return latency[name] if enough else None


def rate_kept(run):
    due = run["rate"] * run["seconds"]
    return run["unsent"] == 0 and run["requests"] >= RATE_KEPT_MIN * due - 2  # the first and the last may lie outside


def latency_rows(runs, variants):
    """One row for each form, size, share of saturation and variant. Added latency is a variant's percentile minus
    that of `direct` at the same rate in the same round; `rates_of` says whose saturation the rate is a share of."""
    rows = []
    runs = [run for run in runs if run["phase"] == "latency"]
    for form, size in cells(runs):
        of_cell = [run for run in runs if (run["form"], run["size"]) == (form, size)]
        for rates_of, share in sorted(
            {(run["rates_of"], run["share"]) for run in of_cell}, key=lambda k: (k[0] == NAIVE, k)
        ):
            alike = [run for run in of_cell if (run["rates_of"], run["share"]) == (rates_of, share)]
            by_round = {(run["variant"], run["round"]): run for run in alike}
            for variant in variants:
                mine = [run for run in alike if run["variant"] == variant]
                if mine:
                    rows.append(latency_row(mine, by_round) | {"form": form, "size": size, "variant": variant})
    return rows


def latency_row(mine, by_round):
    def added(run, name):
        direct = by_round.get(("direct", run["round"]))
        own, base = percentile(run, name), percentile(direct, name) if direct else None
        return own - base if own is not None and base is not None else None

    def to_raw(run, name):
        """Ratio of what both add; of two differences, so that it means nothing where the floor adds nothing."""
        floor = by_round.get(("raw", run["round"]))
        own, base = added(run, name), added(floor, name) if floor else None
        return own / base if own is not None and base is not None and base > 0 else None

    first = mine[0]
    return {
        "rates_of": first["rates_of"],
        "share": first["share"],
        "rate": median([run["rate"] for run in mine]),
        "total_us": {name: median([percentile(run, name) for run in mine]) for name in QUANTILES},
        "added_us": {name: median([added(run, name) for run in mine]) for name in QUANTILES},
        "to_raw": {name: median([to_raw(run, name) for run in mine]) for name in QUANTILES},
        "cpu_us": median([proxy_cpu_us(run) for run in mine]),
        "rate_kept": all(rate_kept(run) for run in mine),
        "wrong": sum(run["wrong"] for run in mine),
        "lost_or_repeated": sum(run["calls_lost"] + run["calls_repeated"] for run in mine),
    }


def find(rows, **wanted):
    """The one row with these values, or None."""
    return next((row for row in rows if all(row.get(key) == value for key, value in wanted.items())), None)
