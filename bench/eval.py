#!/usr/bin/env python3
"""Scores `tidegate scan` on labelled data and prints one table (`make eval`).

usage: eval.py [--data DIR] [--binary FILE] [--only SET,...] [--split NAME] [--misses FILE] [--json FILE]

DIR holds one folder for each set with SPLIT.jsonl: lines of {"id", "text", "spans", "label", ...}, offsets in code
points. A set that is missing is named and the exit code is 2, but for those that are held back; one below its target
makes it 1. Every finding that the scanner prints counts, whatever its confidence. --misses writes what was missed and
what was wrong, for development only.
"""

import argparse
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
INJECTION = {"PROMPT_INJECTION", "TOOL_POISONING", "HIDDEN_TEXT"}
CHECKED = {"CREDIT_CARD", "US_SSN", "IBAN_CODE"}
# Transforms that the target does not ask for.
STRETCH = {"base64_twice", "reversed", "spaced", "concat_expr", "arg_array_of_chars"}
# What patterns can find in the synthetic sentences.
STRUCTURED = {
    "CREDIT_CARD", "PHONE_NUMBER", "EMAIL_ADDRESS", "IBAN_CODE", "US_SSN", "IP_ADDRESS", "US_DRIVER_LICENSE",
    "DOMAIN_NAME",
}
POLISH_CHECKED = {"PESEL", "NIP", "REGON", "IBAN", "CARD", "VIN", "DOWOD"}
# Sets of which there is only a part that is held back.
HELD_BACK = {"sec_trufflehog_tests", "inj_prompts"}


def scan(binary, records, direction, mode, workdir):
    """Findings of each record, as lists of (start, end, type, rule) in code points."""
    found = [[] for _ in records]
    if mode == "messages":
        path = workdir / "messages.jsonl"
        path.write_text("".join(message(r["text"]) + "\n" for r in records), encoding="utf-8")
        command = [binary, "scan", "--input", "jsonl", "--format", "jsonl", "--direction", direction, str(path)]
        for f in run(command):
            found[f["line"] - 1].append((f["start"], f["end"], f["type"], f["rule"]))
        return found
    names = {}
    for i, record in enumerate(records):
        path = workdir / f"{i}.txt"
        path.write_bytes(record["text"].encode("utf-8", "surrogatepass"))
        names[str(path)] = i
    command = [binary, "scan", "--input", "text", "--format", "jsonl", "--direction", direction]
    paths = list(names)
    for at in range(0, len(paths), 500):
        for f in run(command + paths[at : at + 500]):
            i = names[f["file"]]
            raw = records[i]["text"].encode("utf-8", "surrogatepass")
            start = len(raw[: f["start"]].decode("utf-8", "ignore"))
            end = start + len(raw[f["start"] : f["end"]].decode("utf-8", "ignore"))
            found[i].append((start, end, f["type"], f["rule"]))
    return found


def message(text):
    """The JSON-RPC message of a record; one in an SSE stream may be cut into chunks at a marker."""
    text = text.replace("\0CHUNK\0", "")
    if text.startswith("event:") or text.startswith("data:"):
        text = "".join(line[5:].strip() for line in text.split("\n") if line.startswith("data:"))
    return json.dumps(json.loads(text), ensure_ascii=False) if "\n" in text else text


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(command[:6])}: exit code {done.returncode}: {done.stderr[:500]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def overlaps(p, g):
    shared = max(0, min(p[1], g["end"]) - max(p[0], g["start"]))
    return shared > 0 and shared * 2 >= min(p[1] - p[0], g["end"] - g["start"])


def is_positive(record):
    return record["label"] in ("secret", "pii", "injection", "attack", "valid", "jailbreak", "malicious_tool")


class Spans:
    """Recall and precision by span; a prediction on an undecided span counts for nothing."""

    def __init__(self, records, found, gold_types=None):
        self.gold = self.hit = self.right = self.wrong_labelled = self.wrong = 0
        self.by_type = collections.defaultdict(lambda: [0, 0])
        self.notes = []
        for record, predictions in zip(records, found):
            gold, ignored = record.get("spans", []), record.get("ign_spans", [])
            if gold_types is not None:
                ignored = ignored + [g for g in gold if g["type"] not in gold_types]
                gold = [g for g in gold if g["type"] in gold_types]
            for g in gold:
                hit = any(overlaps(p, g) for p in predictions)
                kind = self.by_type[g.get("tier") or g["type"]]
                kind[0] += hit
                kind[1] += 1
                self.gold += 1
                self.hit += hit
                if not hit:
                    self.notes.append(note("miss", record, g["start"], g["end"], g["type"]))
            for p in predictions:
                if any(overlaps(p, g) for g in gold):
                    self.right += 1
                elif any(overlaps(p, g) for g in ignored):
                    pass
                else:
                    labelled = any(overlaps(p, g) for g in record.get("neg_spans", []))
                    self.wrong_labelled += labelled
                    self.wrong += 1
                    kind = "wrong, reviewed" if labelled else "wrong, not reviewed"
                    self.notes.append(note(kind, record, p[0], p[1], f"{p[2]} {p[3]}"))

    recall = property(lambda s: ratio(s.hit, s.gold))
    precision_labelled = property(lambda s: ratio(s.right, s.right + s.wrong_labelled))
    precision = property(lambda s: ratio(s.right, s.right + s.wrong))


def note(kind, record, start, end, what):
    text = record["text"]
    around = text[max(0, start - 60) : start] + "⟦" + text[start:end] + "⟧" + text[end : end + 30]
    return {"kind": kind, "id": record["id"], "what": what, "group": record.get("group"), "text": around[:400]}


def ratio(a, b):
    return a / b if b else float("nan")


class Table:
    def __init__(self):
        self.rows, self.notes = [], {}

    def row(self, name, measure, value, target=None, least=True, count=None):
        """One line; `least` says whether the target is a lower bound."""
        met = None if target is None else (value >= target if least else value <= target)
        self.rows.append(
            {"set": name, "measure": measure, "value": value, "target": target, "least": least, "met": met, "of": count}
        )

    def show(self):
        print(f"{'set':34} {'measure':44} {'value':>8} {'target':>8}")
        for r in self.rows:
            target = "" if r["target"] is None else ("≥ " if r["least"] else "≤ ") + f"{r['target']:g}"
            mark = {None: "", True: "  met", False: "  MISSED"}[r["met"]]
            of = f" of {r['of']}" if r["of"] is not None else ""
            print(f"{r['set']:34} {r['measure'] + of:44} {r['value']:8.3f} {target:>8}{mark}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, default=ROOT.parent / "shared/data/inspection")
    parser.add_argument("--binary", default=os.environ.get("TIDEGATE_BIN", str(ROOT / "target/release/tidegate")))
    parser.add_argument("--only", default="")
    parser.add_argument("--split", default="dev")
    parser.add_argument("--misses", type=pathlib.Path)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    only = set(filter(None, args.only.split(",")))
    table, missing = Table(), []

    def evaluate(name, measure, direction="response", mode="text"):
        if only and name not in only:
            return
        path = args.data / name / f"{args.split}.jsonl"
        if not path.exists():
            missing.append(name)
            return
        print(f"{name} ...", file=sys.stderr)
        with open(path, encoding="utf-8") as lines:
            records = [json.loads(line) for line in lines]
        with tempfile.TemporaryDirectory() as workdir:
            measure(table, name, records, scan(args.binary, records, direction, mode, pathlib.Path(workdir)))

    for name, recall in [
        ("sec_gitleaks_fixtures", 0.97), ("sec_betterleaks_fixtures", None), ("sec_kingfisher_examples", 0.70),
        ("sec_noseyparker_examples", 0.65), ("sec_titus_examples", 0.70), ("sec_secretlint", None),
        ("sec_leaky_repo", None),
    ]:
        evaluate(name, documents(recall, only_types={"SECRET"}))
    evaluate("sec_trufflehog_tests", documents(0.70, 0.35, only_types={"SECRET"}))
    evaluate("sec_creddata", spans(0.33, 0.85, only_types={"SECRET"}))
    evaluate("sec_credsweeper_samples", spans(None, None, only_types={"SECRET"}))
    evaluate("pii_presidio_synth", spans(0.90, None, gold_types=STRUCTURED))
    evaluate("pii_presidio_recognizer_tests", documents(0.72, 0.25))
    evaluate("pii_pl_bench", spans(0.80, 0.90, gold_types=POLISH_CHECKED))
    evaluate("pii_nannigalaxy", spans(None, None))
    for name, most in [("fp_json_api", 0.3), ("fp_json_config", 1.0), ("fp_text_code", 2.5)]:
        evaluate(name, benign(most))
    evaluate("evasion_mcp", evasions, mode="messages")
    evaluate("inj_injecagent", injection("setting", {"enhanced": 0.95}, 0.005))
    evaluate("inj_agentdojo", injection("attack", {}, None))
    evaluate("inj_bipia", injection(None, {}, None))
    evaluate("inj_mcp_tools", injection(None, {}, 0.005, by_label=True))
    evaluate("inj_agt_smoke", injection("attack_class", {}, None))
    evaluate("inj_prompts", injection(None, {}, None, by_label=True))
    evaluate("mix_agent_egress_bench", documents(None))

    table.show()
    if args.misses:
        with open(args.misses, "w", encoding="utf-8") as out:
            for name, notes in table.notes.items():
                for n in notes:
                    out.write(json.dumps({"set": name, **n}, ensure_ascii=False) + "\n")
    if args.json:
        args.json.write_text(json.dumps(table.rows, indent=1) + "\n")
    if missing:
        print("not there: " + ", ".join(missing), file=sys.stderr)
        if not set(missing) <= HELD_BACK:
            return 2
    return 1 if any(r["met"] is False for r in table.rows) else 0


def of_types(found, types):
    return found if types is None else [[p for p in predictions if p[2] in types] for predictions in found]


def documents(recall=None, flagged=None, only_types=None):
    def measure(table, name, records, found):
        found = of_types(found, only_types)
        pairs = list(zip(records, found))
        positive = [(r, f) for r, f in pairs if is_positive(r)]
        negative = [(r, f) for r, f in pairs if not is_positive(r)]
        table.row(name, "document recall", ratio(sum(bool(f) for _, f in positive), len(positive)), recall, True, len(positive))
        if negative:
            value = ratio(sum(bool(f) for _, f in negative), len(negative))
            table.row(name, "negatives flagged", value, flagged, False, len(negative))
        notes = []
        for r, f in positive:
            if not f:
                span = (r.get("spans") or [{"start": 0, "end": 0}])[0]
                notes.append(note("miss", r, span["start"], span["end"], str(r.get("meta", {}).get("rule") or r.get("meta", {}).get("entity"))))
        for r, f in negative:
            notes.extend(note("wrong", r, p[0], p[1], f"{p[2]} {p[3]}") for p in f)
        table.notes[name] = notes

    return measure


def spans(recall=None, precision=None, only_types=None, gold_types=None):
    def measure(table, name, records, found):
        s = Spans(records, of_types(found, only_types), gold_types)
        table.row(name, "span recall", s.recall, recall, True, s.gold)
        table.row(name, "precision, reviewed", s.precision_labelled, precision)
        table.row(name, "precision, all", s.precision)
        for kind, (hit, gold) in sorted(s.by_type.items(), key=lambda kv: -kv[1][1])[:14]:
            table.row(name, f"  {kind}", ratio(hit, gold), None, True, gold)
        table.notes[name] = s.notes

    return measure


def benign(most):
    def measure(table, name, records, found):
        size = sum(len(r["text"].encode("utf-8", "surrogatepass")) for r in records) / 1e6
        strict = of_types(found, {"SECRET"} | CHECKED)
        table.row(name, "secret, card, SSN, IBAN hits per MB", sum(map(len, strict)) / size, most, False)
        flagged = sum(any(p[2] in INJECTION for p in f) for f in found)
        table.row(name, "injection: documents per MB", flagged / size, 1.0, False)
        others = collections.Counter(p[2] for f in found for p in f if p[2] not in INJECTION | CHECKED | {"SECRET"})
        for kind, n in others.most_common(12):
            table.row(name, f"  {kind} per MB", n / size)
        table.notes[name] = [note("wrong", r, p[0], p[1], f"{p[2]} {p[3]}") for r, f in zip(records, found) for p in f]

    return measure


def evasions(table, name, records, found):
    """The share of values found in their plain form that each transform and place does not hide."""
    form = lambda r: r["meta"]["channel"] if r["meta"]["transform"] == "plain" else r["meta"]["transform"]
    ours = [[p for p in f if p[2] not in INJECTION] for f in found]
    plain = {r["group"] for r, f in zip(records, ours) if is_positive(r) and form(r) == "arg_value" and f}
    counts, controls, notes = collections.defaultdict(lambda: [0, 0]), collections.Counter(), []
    for r, f in zip(records, ours):
        if not is_positive(r):
            controls[form(r)] += bool(f)
            notes.extend(note("wrong", r, p[0], p[1], f"{form(r)} {p[2]} {p[3]}") for p in f)
        elif r["group"] in plain:
            counts[form(r)][0] += bool(f)
            counts[form(r)][1] += 1
            if not f:
                notes.append(note("miss", r, 0, 0, form(r)))
    required = [v for k, v in counts.items() if k not in STRETCH]
    table.row(name, "plain values found", ratio(counts["arg_value"][0], sum(form(r) == "arg_value" and is_positive(r) for r in records)))
    table.row(name, "required transforms", ratio(sum(a for a, _ in required), sum(b for _, b in required)), 1.0)
    table.row(name, "controls flagged", sum(controls.values()), 0, False)
    for k, (a, b) in sorted(counts.items()):
        table.row(name, f"  {k}{' (stretch)' if k in STRETCH else ''}", ratio(a, b), None, True, b)
    table.notes[name] = notes


def injection(field, targets, flagged, by_label=False):
    def measure(table, name, records, found):
        found = of_types(found, INJECTION)
        groups = collections.defaultdict(list)
        notes = []
        for r, f in zip(records, found):
            if not is_positive(r):
                groups["benign"].append(bool(f))
                notes.extend(note("wrong", r, p[0], p[1], f"{p[2]} {p[3]}") for p in f)
            else:
                groups[str(r["meta"].get(field)) if field else r["label"]].append(bool(f))
                if not f:
                    span = (r.get("spans") or [{"start": 0, "end": min(300, len(r["text"]))}])[0]
                    notes.append(note("miss", r, span["start"], span["end"], str(r["meta"].get(field) or r["label"])))
        for group, flags in sorted(groups.items()):
            value = ratio(sum(flags), len(flags))
            if group == "benign":
                table.row(name, "benign flagged", value, flagged, False, len(flags))
            else:
                table.row(name, group, value, targets.get(group), True, len(flags))
        table.notes[name] = notes

    return measure


if __name__ == "__main__":
    sys.exit(main())
