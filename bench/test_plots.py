"""Tests of the plots: python3 -B -m unittest discover -s bench"""

import re
import sys
import unittest
import xml.etree.ElementTree as tree

sys.dont_write_bytecode = True

from sidebyside import plots  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg):
    return [element.text for element in tree.fromstring(svg).iter(f"{SVG}text")]


def points(svg):
    """Of each line, in pixels."""
    lines = tree.fromstring(svg).iter(f"{SVG}polyline")
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points").split()] for line in lines]


class Axes(unittest.TestCase):
    def test_a_linear_axis_starts_at_zero_and_ends_above_the_largest(self):
        axis = plots.Axis([3, 42], (0, 100), log=False)
        self.assertEqual(axis.ticks, [0, 10, 20, 30, 40, 50])
        self.assertEqual((axis.at(0), axis.at(25), axis.at(50)), (0, 50, 100))

    def test_a_log_axis_has_whole_decades_and_equal_steps(self):
        axis = plots.Axis([2, 300], (400, 0), log=True)
        self.assertEqual(axis.ticks, [1, 10, 100, 1000])
        steps = [axis.at(a) - axis.at(b) for a, b in ((1, 10), (10, 100), (100, 1000))]
        for step in steps:
            self.assertAlmostEqual(step, 400 / 3)

    def test_edges(self):
        self.assertEqual(plots.Axis([10], (0, 1), log=True).ticks, [10, 100])
        self.assertEqual(plots.Axis([0, 0], (0, 1), log=False).low, 0)
        self.assertGreater(plots.Axis([0.031], (0, 1), log=False).high, 0.031)
        with self.assertRaises(ValueError):
            plots.Axis([None, 0, -1], (0, 1), log=True)


class Numbers(unittest.TestCase):
    def test_short_names(self):
        for value, want in ((0.25, "0.25"), (40, "40"), (1500, "1.5k"), (2_500_000, "2.5M")):
            self.assertEqual(plots.number(value), want)
        for value, want in ((64, "64 B"), (1024, "1 KiB"), (1536, "1.5 KiB"), (4 << 20, "4 MiB")):
            self.assertEqual(plots.size_name(value), want)


class Charts(unittest.TestCase):
    def lines(self, **more):
        series = {"a & b": [(1, 10.0), (100, 1000.0), (10, 100.0)], "gone": [(1, None)]}
        return plots.lines("Cost < size", "bytes", "us/request", series, **more)

    def test_everything_is_labelled_and_well_formed(self):
        words = texts(self.lines())
        self.assertTrue({"Cost < size", "bytes", "us/request", "a & b", "10", "100", "1k"} <= set(words), words)
        self.assertNotIn("gone", words)

    def test_a_power_law_is_straight_on_log_axes(self):
        (line,) = points(self.lines())
        (x1, y1), (x2, y2), (x3, y3) = line
        self.assertLess(x1, x2)  # in the order of x, whatever the order given
        self.assertAlmostEqual((y2 - y1) / (x2 - x1), (y3 - y2) / (x3 - x2), places=2)
        self.assertGreater(y1, y3)  # up is less

    def test_ticks_can_be_chosen_and_named(self):
        svg = plots.lines(
            "t",
            "x",
            "y",
            {"a": [(10, 1), (50, 2), (80, 4)]},
            log_x=False,
            x_ticks=[10, 50, 80],
            x_name=lambda x: f"{x} %",
        )
        self.assertTrue({"10 %", "50 %", "80 %"} <= set(texts(svg)))

    def test_all_marks_lie_inside(self):
        for svg in (
            self.lines(),
            self.lines(log_x=False, log_y=False),
            plots.bars("t", "y", ["g"], {"a": [3.0], "b": [0.5]}),
        ):
            for x, y in re.findall(r'x="(-?[\d.]+)" y="(-?[\d.]+)"', svg):
                self.assertTrue(0 <= float(x) <= plots.WIDTH and 0 <= float(y) <= plots.HEIGHT, (x, y))
            for line in points(svg):
                self.assertTrue(
                    all(
                        plots.LEFT <= x <= plots.LEFT + plots.PLOT_W and plots.TOP <= y <= plots.TOP + plots.PLOT_H
                        for x, y in line
                    )
                )

    def test_bars_are_as_high_as_their_values(self):
        svg = plots.bars("t", "y", ["one", "two"], {"a": [10.0, 5.0], "b": [None, 2.5]})
        heights = [float(e.get("height")) for e in tree.fromstring(svg).iter(f"{SVG}rect") if e.get("class") != "back"]
        self.assertEqual(len(heights), 3)
        self.assertAlmostEqual(heights[0], 2 * heights[1], places=0)
        self.assertAlmostEqual(heights[1], 2 * heights[2], places=0)

    def test_colours_follow_the_readers_preference(self):
        self.assertIn("prefers-color-scheme: dark", self.lines())


if __name__ == "__main__":
    unittest.main()
