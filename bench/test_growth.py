"""Tests of the growth study without any load: python3 -B -m unittest discover -s bench"""

import os
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True

import growth as script  # noqa: E402
from sidebyside import growth, measure  # noqa: E402
from sidebyside.growth import Study  # noqa: E402


def study(promise, points, **more):
    return Study("key", "Title", "things", "us", promise, {"full": points}, **more)


class Judgement(unittest.TestCase):
    def check(self, promise, points, want):
        found = study(promise, points).deviations()
        self.assertEqual(len(found), len(want), found)
        for sentence, part in zip(found, want):
            self.assertIn(part, sentence)

    def test_linear(self):
        self.check("linear", [(n, 40 + 3 * n) for n in (1, 10, 100, 1000)], [])
        self.check("linear", [(n, 3 * n) for n in (1, 10, 100, 1000)], [])
        self.check("linear", [(n, 40.0) for n in (1, 10, 100, 1000)], [])
        self.check("linear", [(1, 1), (2, 2), (4, 4), (8, 10)], ["from 4 to 8: 2.50 times the cost for 2.00 times"])
        self.check("linear", [(n, n * n) for n in (1, 10, 100)], ["exponent 2.00"] * 2)
        self.check("linear", [(0, 5), (1, 1)], [])

    def test_flat(self):
        self.check("flat", [(1, 40), (10, 44), (100, 49)], [])
        self.check("flat", [(1, 40), (10, 44), (100, 60)], ["60 at 100 against 40 at 1, 1.50 times"])
        self.check("flat", [(1, 80), (10, 40)], ["2.00 times"])  # falling is not flat either
        self.check("flat", [(1, 80)], [])

    def test_slope(self):
        self.assertEqual(growth.slope([(1024, 10.0), (4096, 40.0), (3072, 99.0)]), 30 / 3072)


class Texts(unittest.TestCase):
    def test_a_table_has_every_point_and_a_place_for_missing_ones(self):
        s = Study("k", "T", "bytes", "us", "linear", {"a": [(1024, 1.0), (2048, 2.0)], "b": [(2048, 3.0)]}, sizes=True)
        lines = s.table().split("\n")
        self.assertEqual(len({line.count("|") for line in lines}), 1)
        self.assertEqual([cell.strip() for cell in lines[2].split("|")[1:-1]], ["1 KiB", "1.00", "-"])

    def test_ticks_can_be_read(self):
        xs = list(range(1, 40))
        self.assertEqual(growth.spaced(xs[:8]), xs[:8])
        few = growth.spaced(xs)
        self.assertLessEqual(len(few), 8)
        self.assertEqual((few[0], few[-1]), (1, 39))

    def test_a_report_names_what_deviates_and_what_is_absent(self):
        with tempfile.TemporaryDirectory() as temporary:
            folder = pathlib.Path(temporary) / "results"
            runs = [{"right": True, "foreign_cores": 0.0, "steal_cores": 0.0, "fixed_work_ms": 1.0}]
            studies = [study("flat", [(1, 1.0), (10, 9.0)])]
            right = growth.write(
                folder, "growth", "cmd", {"cpu": "x"}, runs, studies, ["Identities: none."], measure.Cores(0, 1, 1)
            )
            text = (folder / "README.md").read_text()
            self.assertTrue(right)
            self.assertIn("- Title: full: not flat: 9 at 10 against 1 at 1, 9.00 times. **Not explained.**", text)
            self.assertIn("- Identities: none.", text)
            self.assertIn("![Title](key.svg)", text)
            self.assertTrue((folder / "key.svg").exists() and (folder / "summary.json").exists())
            studies[0].reason = "It has to be."
            runs[0]["right"] = False
            self.assertFalse(
                growth.write(folder / "again", "growth", "cmd", {}, runs, studies, [], measure.Cores(0, 1, 1))
            )
            again = (folder / "again/README.md").read_text()
            self.assertIn("INVALID", again)
            self.assertIn("9.00 times. It has to be.", again)


class Points(unittest.TestCase):
    def test_large_payloads_get_few_connections(self):
        self.assertEqual([script.connections_for(n) for n in (1 << 10, 64 << 10, 256 << 10, 4 << 20)], [16, 16, 4, 2])

    def test_custom_rules(self):
        text = script.custom_rules(3)
        self.assertEqual(text.count("pattern:"), 3)
        self.assertIn("{ id: acme-0003, type: ACME, pattern: 'ACME0003-\\d{6,10}' }]", text)

    def test_quick_keeps_the_largest_point(self):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            self.skipTest("a study needs two cores")
        program = os.path.abspath(sys.executable)
        words = [f"--loadgen={program}", f"--tidegate={program}", f"--proxy-core={cores[0]}", f"--load-core={cores[1]}"]
        args = script.parse(words + ["--quick"])
        self.assertEqual(args.points([1, 2, 3, 4]), [2, 4])
        self.assertEqual(args.points([1, 2, 3]), [1, 3])
        self.assertEqual(script.parse(words).points([1, 2, 3]), [1, 2, 3])
        for name in script.STUDIES:
            self.assertTrue(callable(getattr(script.Growth, name)))
            self.assertGreater(script.steps_of(name, args), 0)


if __name__ == "__main__":
    unittest.main()
