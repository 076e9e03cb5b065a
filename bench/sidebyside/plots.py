"""Line and bar charts as SVG text. Readable on light and dark pages: colours come from the reader's preference."""

import html
import math

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 84, 176, 48, 60  # room for the axis, the legend, the title, the axis
PLOT_W, PLOT_H = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
# Told apart by colour-blind readers too (Okabe and Ito), with marks of different shape besides.
COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7a7a7a", "#8a6d1d", "#4b4fc4", "#b0302f"]
MARKS = ["circle", "square", "diamond", "triangle"]

STYLE = """\
<style>
  .back { fill: #ffffff } .ink { fill: #1b1f24 } .faint { fill: #57606a }
  .axis { stroke: #57606a; stroke-width: 1 } .grid { stroke: #d0d7de; stroke-width: 1 }
  text { font: 12px system-ui, sans-serif } .title { font-size: 15px; font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    .back { fill: #0d1117 } .ink { fill: #e6edf3 } .faint { fill: #9198a1 }
    .axis { stroke: #9198a1 } .grid { stroke: #30363d }
  }
</style>"""


class Axis:
    """Maps values to a range of pixels, linearly from zero or logarithmically between whole decades."""

    def __init__(self, values, pixels, log):
        values = [value for value in values if value is not None and (value > 0 or not log)]
        if not values:
            raise ValueError("nothing to draw")
        self.start, self.end = pixels
        self.log = log
        if log:
            self.low = math.floor(math.log10(min(values)) + 1e-9)
            self.high = max(self.low + 1, math.ceil(math.log10(max(values)) - 1e-9))
            self.ticks = [10.0**n for n in range(self.low, self.high + 1)]
        else:
            step = nice_step(max(max(values), 1e-9) / 5)
            self.low, self.high = 0.0, step * math.ceil(max(max(values), 1e-9) / step - 1e-9)
            self.ticks = [step * n for n in range(round(self.high / step) + 1)]

    def at(self, value):
        place = math.log10(value) if self.log else value
        return self.start + (self.end - self.start) * (place - self.low) / (self.high - self.low)


def nice_step(raw):
    """The next of 1, 2, 5 times a power of ten."""
    decade = 10 ** math.floor(math.log10(raw))
    return next(m * decade for m in (1, 2, 5, 10) if m * decade >= raw * (1 - 1e-9))


def number(value):
    """1500000 -> 1.5M, 0.25 -> 0.25"""
    for bound, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= bound:
            return f"{value / bound:.3g}{letter}"
    return f"{value:.3g}"


def size_name(value):
    """4096 -> 4 KiB"""
    for bound, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= bound:
            return f"{value / bound:.3g} {unit}"
    return f"{value:.3g} B"


def lines(title, x_label, y_label, series, log_x=True, log_y=True, x_ticks=None, x_name=number):
    """`series`: name -> [(x, y), ...]; points without a y are left out. Labels name their units. `x_ticks`: where the
    x axis is marked instead of its decades."""
    series = {name: [(x, y) for x, y in points if y is not None] for name, points in series.items()}
    series = {name: points for name, points in series.items() if points}
    xs, ys = ([point[i] for points in series.values() for point in points] for i in (0, 1))
    y_axis = Axis(ys, (TOP + PLOT_H, TOP), log_y)
    x_axis = Axis(xs, (LEFT, LEFT + PLOT_W), log_x)
    if x_ticks:
        x_axis.ticks = x_ticks
        if log_x:  # between the marks rather than between decades
            x_axis.low, x_axis.high = math.log10(min(xs)), max(math.log10(max(xs)), math.log10(min(xs)) + 1e-9)
    body = frame(title, x_label, y_label, y_axis)
    for tick in x_axis.ticks:
        body += [rule(x_axis.at(tick), TOP, x_axis.at(tick), TOP + PLOT_H, "grid")]
        body += [text(x_axis.at(tick), TOP + PLOT_H + 18, x_name(tick), "faint", "middle")]
    for index, (name, points) in enumerate(series.items()):
        colour, shape = COLOURS[index % len(COLOURS)], MARKS[index % len(MARKS)]
        places = [(x_axis.at(x), y_axis.at(y)) for x, y in sorted(points)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [mark(x, y, shape, colour) for x, y in places]
        body += legend(index, name, colour, shape)
    return document(title, body)


def bars(title, y_label, groups, series, log_y=False):
    """`groups`: names along the x axis; `series`: name -> one value for each group, or None."""
    values = [value for row in series.values() for value in row]
    y_axis = Axis(values, (TOP + PLOT_H, TOP), log_y)
    body = frame(title, "", y_label, y_axis)
    room = PLOT_W / len(groups)
    thick = room * 0.84 / len(series)
    for g, group in enumerate(groups):
        body.append(text(LEFT + room * (g + 0.5), TOP + PLOT_H + 18, group, "faint", "middle"))
    for index, (name, row) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        for g, value in enumerate(row):
            if value is None or (log_y and value <= 0):
                continue
            x, y = LEFT + room * (g + 0.08) + thick * index, y_axis.at(value)
            body.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(1.0, thick - 1):.1f}" height="{TOP + PLOT_H - y:.1f}" '
                f'fill="{colour}"><title>{html.escape(name)}: {number(value)}</title></rect>'
            )
        body += legend(index, name, colour, "square")
    return document(title, body)


def frame(title, x_label, y_label, y_axis):
    middle = TOP + PLOT_H / 2
    body = [text(LEFT, 26, title, "ink title", "start")]
    for tick in y_axis.ticks:
        body.append(rule(LEFT, y_axis.at(tick), LEFT + PLOT_W, y_axis.at(tick), "grid"))
        body.append(text(LEFT - 8, y_axis.at(tick) + 4, number(tick), "faint", "end"))
    body.append(rule(LEFT, TOP + PLOT_H, LEFT + PLOT_W, TOP + PLOT_H, "axis"))
    body.append(text(LEFT + PLOT_W / 2, HEIGHT - 16, x_label, "ink", "middle"))
    body.append(text(18, middle, y_label, "ink", "middle", f' transform="rotate(-90 18 {middle})"'))
    return body


def legend(index, name, colour, shape):
    x, y = LEFT + PLOT_W + 20, TOP + 8 + 22 * index
    return [mark(x, y, shape, colour), text(x + 12, y + 4, name, "ink", "start")]


def mark(x, y, shape, colour):
    if shape == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
    corners = {
        "square": [(-4, -4), (4, -4), (4, 4), (-4, 4)],
        "diamond": [(0, -5), (5, 0), (0, 5), (-5, 0)],
        "triangle": [(0, -5), (5, 4), (-5, 4)],
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon points="{points}" fill="{colour}"/>'


def rule(x1, y1, x2, y2, style):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def text(x, y, words, style, anchor, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{style}" text-anchor="{anchor}"{more}>{html.escape(words)}</text>'


def document(title, body):
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    back = f'<rect class="back" width="{WIDTH}" height="{HEIGHT}"/>'
    return "\n".join([head, f"<title>{html.escape(title)}</title>", STYLE, back, *body, "</svg>"]) + "\n"
