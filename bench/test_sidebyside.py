"""Tests of the comparison's arithmetic and texts, without any load: python3 -B -m unittest discover -s bench"""

import io
import itertools
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import unittest

sys.dont_write_bytecode = True

import arrangements  # noqa: E402
import compare  # noqa: E402
from sidebyside import measure, memory, processes, report, schedule, summary, targets, variants  # noqa: E402

US = {"count": 100_000, "p50": 10.0, "p90": 12.0, "p99": 20.0, "p999": 30.0}


def run(variant, number, rps, cpu, size=1024, **more):
    proxy = None if cpu is None else {"cpu_us_per_request": cpu, "rss_kib": 2048, "cpu_cores": rps * cpu / 1e6}
    base = dict(wrong=0, calls_lost=0, calls_repeated=0, unsent=0, load_core_busy=0.5, latency_us=US, tree_rss_kib=2048)
    base |= dict(phase="saturation", form="json", seconds=1.0, requests=rps, right=True)
    return {**base, "variant": variant, "round": number, "size": size, "rps": rps, "proxy": proxy, **more}


def late(variant, number, p50, p99=20.0, rates_of="tidegate-full", **more):
    latency = {**US, "p50": p50, "p99": p99}
    more = {"rates_of": rates_of, "share": 50, "rate": 1000.0, "latency_us": latency, **more}
    return run(variant, number, 1000, None if variant == "direct" else 10, phase="latency", **more)


class Saturation(unittest.TestCase):
    def test_ratios_are_taken_within_a_round(self):
        # The machine was twice as fast in round 2: the ratio is the same in both.
        raw = [run("nginx", 1, 100, 20), run("tidegate-full", 1, 150, 10), run("nginx", 2, 200, 10)]
        raw += [run("tidegate-full", 2, 300, 5), run("direct", 1, 300, None), run("direct", 2, 600, None)]
        direct, nginx, full = summary.saturation_rows(raw, ["direct", "nginx", "tidegate-full"])
        self.assertEqual((full["rps_to_nginx"], full["rps_to_direct"], full["cpu_to_nginx"]), (1.5, 0.5, 0.5))
        self.assertEqual((nginx["cpu_to_nginx"], direct["cpu_to_nginx"], direct["cpu_us"]), (1.0, None, None))
        self.assertEqual(full["rps"], [150, 225, 300])
        text = report.saturation_table([direct, nginx, full])
        self.assertEqual(len({line.count("|") for line in text.split("\n")}), 1)

    def test_a_proxy_that_waits_for_load_is_judged_by_its_busy_core(self):
        (row,) = summary.saturation_rows([run("raw", 1, 40_000, 10)], ["raw"])
        self.assertAlmostEqual(row["proxy_cores"], 0.4)
        self.assertAlmostEqual(row["rps_per_core"], 100_000)

    def test_wrong_answers_add_up(self):
        raw = [run("direct", 1, 1, None, wrong=2), run("direct", 2, 1, None, calls_lost=1, calls_repeated=4)]
        (row,) = summary.saturation_rows(raw, ["direct"])
        self.assertEqual((row["wrong"], row["lost_or_repeated"]), (2, 5))

    def test_forms_and_sizes_do_not_mix(self):
        raw = [run("nginx", 1, 100, 20), run("nginx", 1, 50, 20, form="sse"), run("nginx", 1, 10, 20, size=16384)]
        rows = summary.saturation_rows(raw, ["nginx"])
        self.assertEqual(
            [(r["form"], r["size"], r["rps"][1]) for r in rows],
            [("json", 1024, 100), ("json", 16384, 10), ("sse", 1024, 50)],
        )


class Latency(unittest.TestCase):
    def rows(self, *raw):
        rows = summary.latency_rows(list(raw), list(variants.VARIANTS))
        return {(row["variant"], row["rates_of"]): row for row in rows}

    def test_added_is_over_direct_of_the_same_round(self):
        rows = self.rows(
            late("direct", 1, 10), late("raw", 1, 40), late("tidegate-full", 1, 70),
            late("direct", 2, 110), late("raw", 2, 140), late("tidegate-full", 2, 170),
        )  # fmt: skip
        full = rows["tidegate-full", "tidegate-full"]
        self.assertEqual((full["added_us"]["p50"], full["to_raw"]["p50"], full["total_us"]["p50"]), (60, 2.0, 120))
        self.assertEqual(rows["direct", "tidegate-full"]["added_us"]["p50"], 0)

    def test_rates_of_the_python_gateway_have_a_direct_of_their_own(self):
        naive = dict(rates_of="python")
        rows = self.rows(late("direct", 1, 10), late("direct", 1, 30, **naive), late("python", 1, 5030, **naive))
        self.assertEqual(rows["python", "python"]["added_us"]["p50"], 5000)

    def test_a_percentile_of_too_few_calls_is_none(self):
        few = {**US, "count": 999}
        rows = self.rows(late("direct", 1, 10, latency_us=few), late("raw", 1, 40, latency_us=few))
        self.assertEqual(rows["raw", "tidegate-full"]["added_us"], {"p50": 0.0, "p90": 0.0, "p99": None, "p999": None})
        self.assertIn(" - ", report.latency_table(list(rows.values())))

    def test_a_floor_that_adds_nothing_gives_no_ratio(self):
        rows = self.rows(late("direct", 1, 10), late("raw", 1, 10), late("tidegate-full", 1, 70))
        self.assertIsNone(rows["tidegate-full", "tidegate-full"]["to_raw"]["p50"])

    def test_a_rate_that_was_not_kept_is_seen(self):
        for more, kept in ((dict(), True), (dict(unsent=1), False), (dict(requests=900), False)):
            rows = self.rows(late("raw", 1, 40, **more))
            self.assertEqual(rows["raw", "tidegate-full"]["rate_kept"], kept, more)


class Arrangements(unittest.TestCase):
    def test_the_table_has_medians_of_each_way(self):
        runs = []
        for name, p50 in itertools.product(arrangements.ARRANGEMENTS, (10, 30, 20)):
            runs.append({"arrangement": name, "variant": "raw", "rate": 2000.0, "latency_us": {**US, "p50": p50}})
        lines = arrangements.table(runs).split("\n")
        self.assertEqual(len(lines), 2 + len(arrangements.ARRANGEMENTS))
        self.assertEqual([cell.strip() for cell in lines[2].split("|")[1:5]], ["2000", "sleeps", "raw", "20"])


class Targets(unittest.TestCase):
    FAST = {"full": 12, "off": 7, "nginx": 10}

    def verdicts(self, saturation=(), latency=(), memory_facts=None, two=None):
        rows = targets.all_rows(
            summary.saturation_rows(list(saturation), list(variants.VARIANTS)),
            summary.latency_rows(list(latency), list(variants.VARIANTS)),
            memory_facts or {},
            two,
        )
        return {row.what: row.verdict for row in rows}

    def test_nothing_measured_is_no_pass(self):
        self.assertEqual(set(self.verdicts().values()), {targets.MISSING})

    def test_each_bound_holds_on_its_edge_and_not_beyond(self):
        def all_of(nudge):
            """Everything exactly at its bound, or worse by `nudge`."""
            saturation = [
                run("nginx", 1, 10_000 * nudge, 100), run("tidegate-full", 1, 10_000, 132 * nudge),
                run("tidegate-off", 1, 14_000, 50), run("python", 1, 10_000 / 300 * nudge, 9000),
                run("nginx", 1, 10_000 * nudge, 100, size=16384), run("tidegate-full", 1, 8_000, 100, size=16384),
            ]  # fmt: skip
            latency = [
                late("direct", 1, 10, 20), late("raw", 1, 110, 520),
                late("tidegate-full", 1, 10 + 130 * nudge, 20 + 1000 * nudge),
                late("direct", 1, 10, rates_of="python"), late("python", 1, 10 + 6500, rates_of="python"),
            ]  # fmt: skip
            memory_facts = {
                "idle_without_rules_kib": 20480 * nudge,
                "idle_connection_kib": 8 * nudge,
                "stream_kib": 16 * nudge,
            }
            two = {"own_cores": False, "cpu_ratio": 1.8 / nudge, "rps_ratio": 9}
            return self.verdicts(saturation, latency, memory_facts, two)

        self.assertEqual(set(all_of(1).values()), {targets.PASS})
        worse = all_of(1.01)
        self.assertEqual({what for what, verdict in worse.items() if verdict != targets.FAIL}, set())

    def test_wrong_answers_never_pass(self):
        fast = [run("nginx", 1, 10_000, 100), run("tidegate-full", 1, 20_000, 50, wrong=1)]
        late_ones = [late("direct", 1, 10), late("raw", 1, 110, 520), late("tidegate-full", 1, 60, 100, calls_lost=1)]
        verdicts = self.verdicts(fast, late_ones)
        self.assertEqual(set(verdicts.values()), {targets.FAIL, targets.MISSING})

    def test_a_peer_limited_by_the_load_is_named(self):
        saturation = summary.saturation_rows(
            [run("nginx", 1, 10_000, 50), run("tidegate-full", 1, 10_000, 100)], ["nginx", "tidegate-full"]
        )
        row = targets.throughput(saturation)[0]
        self.assertIn("limit of nginx", row.note)
        self.assertTrue(row.note.endswith("0.50"), row.note)


class Texts(unittest.TestCase):
    def test_a_command_names_no_directory_of_this_machine(self):
        inside = str(report.ROOT / "target/release/tidegate")
        typed = report.typed_command(
            "bench/compare.py", ["--tidegate", inside, "--loadgen=/somewhere/else/loadgen", "--name", "a b"]
        )
        self.assertEqual(typed, "bench/compare.py --tidegate target/release/tidegate --loadgen=loadgen --name 'a b'")

    def test_a_machine_is_quiet_when_nobody_else_works_and_its_speed_is_steady(self):
        calm = dict(foreign_cores=0.02, steal_cores=0.0, fixed_work_ms=0.9)
        for more, quiet in (({}, True), ({"foreign_cores": 0.5}, False), ({"steal_cores": 0.5}, False)):
            self.assertEqual(report.quietness([calm | more] * 3)[0], quiet, more)
        self.assertTrue(report.quietness([calm, calm | {"fixed_work_ms": 1.0}])[0])
        self.assertFalse(report.quietness([calm, calm, calm | {"fixed_work_ms": 1.9}])[0])

    def test_the_file_system_is_that_of_the_nearest_mount(self):
        mounts = "a / ext4 rw 0 0\nb /proc proc rw 0 0\nc / overlay rw 0 0\nd /proc/sys tmpfs rw 0 0\n"
        for path, kind in (
            ("/nowhere/x", "overlay"),
            ("/proc", "proc"),
            ("/proc/sys/kernel", "tmpfs"),
            ("/procx", "overlay"),
        ):
            self.assertEqual(report.filesystem_of(path, mounts), kind)

    def test_the_gateways_config(self):
        home = pathlib.Path("home")
        text = variants.gateway_config("127.0.0.1:7", "redact", False, home, workers=2, server_count=3)
        self.assertIn('  mock: { url: "http://127.0.0.1:7/mcp" }\n  s1:', text)
        self.assertIn("inspection: { mode: redact }\naudit: { enabled: false }\n", text)
        self.assertEqual(text.count("url:"), 3)
        self.assertIn("audit: { dir: home/audit }", variants.gateway_config("a:1", "off", True, home))

    def test_all_builtin_rules_can_be_switched_off(self):
        ids = variants.rule_ids()
        self.assertEqual(len(ids), len(set(ids)))
        self.assertGreater(len(ids), 100)
        self.assertIn(ids[-1], variants.without_rules())

    def test_an_open_loop_polls_and_yields_only_to_a_neighbour(self):
        closed, open_loop = measure.Load(1024, 64, 1, 1), measure.Load(1024, 64, 1, 1, rate=10.0)
        alone, shared = measure.Cores(0, 1, 2), measure.Cores(0, 1, 1)
        self.assertEqual(measure.Manner.usual(closed, shared), measure.Manner(polls=False, yields=False))
        self.assertEqual(measure.Manner.usual(open_loop, shared), measure.Manner(polls=True, yields=True))
        self.assertEqual(measure.Manner.usual(open_loop, alone), measure.Manner(polls=True, yields=False))

    def test_the_generators_command(self):
        words = lambda load, polls: measure.command_of(load, "http://u", 1, 2, "r.json", "loadgen", polls)
        plain = words(measure.Load(1024, 64, 1, 1), False)
        self.assertTrue({"--busy-poll", "--rate"}.isdisjoint(plain))
        self.assertIn("--closed", plain)
        self.assertEqual(plain[plain.index("--expect-size") + 1], "1024")
        self.assertTrue(
            {"--busy-poll", "--rate", "10.000"} <= set(words(measure.Load(1024, 64, 1, 1, rate=10.0), True))
        )
        self.assertNotIn("--expect-size", words(measure.Load(1024, 64, 1, 1, compare_texts=False), False))


class Schedule(unittest.TestCase):
    def test_the_estimate_follows_what_steps_really_take(self):
        now, out = [0.0], io.StringIO()
        progress = schedule.Progress(100, clock=lambda: now[0], out=out)
        now[0] = 50.0  # a quarter of the work took twice as long as planned
        progress.step(25, "something")
        self.assertEqual(progress.left_seconds(), 150)
        self.assertEqual(out.getvalue(), " 25 %   2:30 left  something\n")

    def test_the_defaults_keep_what_was_promised(self):
        program = os.path.abspath(sys.executable)
        words = [f"--{name}={program}" for name in ("tidegate", "loadgen", "forwarder", "nginx", "haproxy", "python")]
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            self.skipTest("a comparison needs two cores")
        words += [f"--proxy-core={cores[0]}", f"--load-core={cores[1]}"]
        self.assertLess(compare.planned_seconds(compare.parse(words)), 20 * 60)
        self.assertLess(compare.planned_seconds(compare.parse(words + ["--quick"])), 4 * 60)


class Memory(unittest.TestCase):
    def test_the_slope_is_found_below_a_constant(self):
        self.assertAlmostEqual(memory.per_connection([(0, 20_000), (100, 20_800), (1000, 28_000)]), 8.0)
        self.assertIsNone(memory.per_connection([(5, 1), (5, 2)]))

    def test_memory_at_rest(self):
        clock = itertools.count(0, 0.1)
        kib = memory.settled_rss_kib(os.getpid(), clock=lambda: next(clock), pause=lambda _: None)
        self.assertGreater(kib, 1000)

    def test_idle_connections_are_counted_after_an_answer_and_while_alive(self):
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve():
                for _ in range(2):
                    connection, _ = server.accept()
                    open_ones.append(connection)
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

            open_ones = []
            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            opened = memory.IdleConnections("%s:%d" % server.getsockname())
            opened.grow_to(2)
            thread.join(10)
            self.assertEqual(opened.alive(), 2)
            open_ones[0].close()
            opened.sockets[0].recv(1)  # waits for the end to arrive
            self.assertEqual(opened.alive(), 1)
            opened.close()
            open_ones[1].close()

    def test_streams_get_their_events(self):
        with tempfile.TemporaryDirectory() as temporary, processes.Servers() as servers:
            address = memory.start_event_server(servers, os.sched_getaffinity(0), pathlib.Path(temporary))
            connection = socket.create_connection(memory.split(address), 10)
            connection.sendall(memory.request(address))
            received = b""
            while b"\r\n\r\n" not in received or received.count(b"\ndata: ") < 1:
                received += memory.receive(connection)
            connection.close()
            self.assertTrue(received.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream"))


class Processes(unittest.TestCase):
    def test_everything_started_is_ended(self):
        with tempfile.TemporaryDirectory() as temporary:
            with processes.Servers() as servers:
                log = pathlib.Path(temporary) / "log"
                process = servers.start(["sleep", "60"], os.sched_getaffinity(0), log, yields=True)
                self.assertEqual(os.sched_getscheduler(process.pid), os.SCHED_IDLE)
                self.assertGreater(processes.rss_kib(process.pid), 0)
            self.assertIsNotNone(process.returncode)

    def test_a_server_that_ends_says_why(self):
        with tempfile.TemporaryDirectory() as temporary, processes.Servers() as servers:
            process = servers.start(
                ["sh", "-c", "echo no such port; exit 3"], os.sched_getaffinity(0), pathlib.Path(temporary) / "log"
            )
            with self.assertRaisesRegex(processes.CannotRun, "it said:\nno such port"):
                processes.wait_for("it", process, lambda: None)

    def test_a_generator_without_end_is_ended(self):
        with self.assertRaisesRegex(processes.CannotRun, "did not end in time"):
            measure.finish(["sleep", "60"], None, 0.05)


class NaiveGateway(unittest.TestCase):
    def test_its_lock_file_pins_everything(self):
        text = (variants.PEERS / "requirements.txt").read_text()
        packages = [line for line in text.splitlines() if line and not line.startswith("#")]
        self.assertEqual([line for line in packages if "==" not in line], [])
        self.assertTrue(
            {"fastapi", "httpx", "presidio_analyzer", "uvicorn"} <= {line.split("==")[0] for line in packages}
        )

    def test_it_is_python(self):
        subprocess.run(
            [
                sys.executable,
                "-B",
                "-c",
                "import ast, sys; ast.parse(open(sys.argv[1]).read())",
                variants.PEERS / "naive_gateway.py",
            ],
            check=True,
            timeout=30,
        )


if __name__ == "__main__":
    unittest.main()
