"""Tests of the instruction gate's arithmetic; run by `make test`, without valgrind."""

import unittest

import instructions

ANNOTATED = """
3,000,003 (60.00%)  bench/src/bin/one-call.rs:one_call::measured_1k [/x/one-call]
3,000,003 (60.00%)  ???:one_call::measured_1k [/x/one-call]
  900,000 (20.00%)  bench/src/bin/one-call.rs:one_call::measured_1k_planted [/x/one-call]
1,000,000 (20.00%)  bench/src/call.rs:tidegate_bench::call::Worker::carry [/x/one-call]
"""
KEPT = {"rustc": "1.2.3", "counts": {"1k": 1000}}


class Parse(unittest.TestCase):
    def test_each_kind_once(self):
        self.assertEqual(instructions.parse(ANNOTATED), {"1k": 1000001, "1k_planted": 300000})

    def test_nothing_is_an_error(self):
        with self.assertRaises(instructions.CannotCount):
            instructions.parse("no such line")


class Compare(unittest.TestCase):
    def good(self, counts, rustc="1.2.3"):
        return instructions.compare(KEPT, counts, rustc)[1]

    def test_within_and_beyond_the_tolerance(self):
        self.assertTrue(self.good({"1k": 1050}))
        self.assertTrue(self.good({"1k": 950}))
        self.assertFalse(self.good({"1k": 1051}))
        self.assertFalse(self.good({"1k": 949}), "numbers that are out of date")

    def test_another_compiler_moves_more(self):
        self.assertTrue(self.good({"1k": 1250}, rustc="1.2.4"))
        self.assertFalse(self.good({"1k": 1251}, rustc="1.2.4"))

    def test_the_kinds_must_be_the_same(self):
        self.assertFalse(self.good({"1k": 1000, "2k": 1}))
        self.assertFalse(self.good({}))


if __name__ == "__main__":
    unittest.main()
