"""Tests of compare.py's arithmetic and texts: python3 -m unittest discover -s bench"""

import sys
import unittest

sys.dont_write_bytecode = True
import compare  # noqa: E402


def run(variant, round_number, rps, cpu, size=1024, **more):
    proxy = None if cpu is None else {"cpu_us_per_request": cpu, "rss_kib": 2048}
    base = dict(wrong=0, calls_lost=0, calls_repeated=0, unsent=0, load_core_busy=0.5, latency_us={"p50": 10.0, "p99": 20.0})
    return {**base, "variant": variant, "round": round_number, "size": size, "rps": rps, "proxy": proxy, **more}


class Summary(unittest.TestCase):
    def test_ratios_are_taken_within_a_round(self):
        # The machine was twice as fast in round 2: the ratio is the same in both.
        raw = [run("nginx", 1, 100, 20), run("tidegate-on", 1, 150, 10), run("nginx", 2, 200, 10)]
        raw += [run("tidegate-on", 2, 300, 5), run("direct", 1, 300, None), run("direct", 2, 600, None)]
        direct, nginx, on = compare.summarise(raw, ["direct", "nginx", "tidegate-on"])
        self.assertEqual((on["rps_to_nginx"], on["rps_to_direct"], on["cpu_to_nginx"]), (1.5, 0.5, 0.5))
        self.assertEqual((nginx["cpu_to_nginx"], direct["cpu_to_nginx"], direct["cpu_us"]), (1.0, None, None))
        self.assertEqual(on["rps"], (150, 225, 300))
        text = compare.table([direct, nginx, on])
        self.assertEqual(len({line.count("|") for line in text.split("\n")}), 1)

    def test_wrong_answers_add_up(self):
        raw = [run("direct", 1, 1, None, wrong=2), run("direct", 2, 1, None, calls_lost=1, calls_repeated=4)]
        (row,) = compare.summarise(raw, ["direct"])
        self.assertEqual((row["wrong"], row["lost_or_repeated"]), (2, 5))


class Texts(unittest.TestCase):
    def test_a_command_names_no_directory_of_this_machine(self):
        inside = str(compare.ROOT / "target/release/tidegate")
        typed = compare.typed_command(["--tidegate", inside, "--loadgen=/somewhere/else/loadgen", "--name", "a b"])
        self.assertEqual(typed, "bench/compare.py --tidegate target/release/tidegate --loadgen=loadgen --name 'a b'")

    def test_the_gateways_config(self):
        text = compare.tidegate_config("127.0.0.1:7", "redact", "audit")
        self.assertIn('servers: { mock: { url: "http://127.0.0.1:7/mcp" } }', text)
        self.assertIn("inspection: { mode: redact }", text)


if __name__ == "__main__":
    unittest.main()
