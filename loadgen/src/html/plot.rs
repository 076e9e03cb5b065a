//! Line plots as inline SVG.

use super::escape;
use std::fmt::Write as _;

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 300.0;
/// Room for the labels at the left, and at the other sides.
const LEFT: f64 = 70.0;
const AROUND: f64 = 26.0;
/// Grid lines of a linear axis, about.
const TICKS: f64 = 5.0;

pub(super) struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
}

pub(super) struct Line {
    pub name: &'static str,
    pub class: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// From 0 (or 1, if logarithmic) to `end`.
pub(super) struct Axis {
    end: f64,
    logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis with round numbers.
    pub fn values(unit: &str, end: f64) -> Axis {
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        let power = 10f64.powf((end / TICKS).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| end / s <= TICKS);
        let step = step.unwrap_or(end);
        let digits = (-step.log10().floor()).max(0.0) as usize;
        let ticks = (0..=TICKS as usize).map(|n| n as f64 * step).filter(|t| *t <= end * (1.0 + 1e-9));
        Axis { end, logarithmic: false, ticks: ticks.map(|t| (t, format!("{t:.digits$} {unit}"))).collect() }
    }

    /// `1/(1-q)` with the usual percentiles as ticks.
    pub fn percentiles(end: f64) -> Axis {
        let known = [(1.0, "0 %"), (2.0, "50 %"), (10.0, "90 %"), (100.0, "99 %"), (1e3, "99.9 %")];
        let further = [(1e4, "99.99 %"), (1e5, "99.999 %"), (1e6, "99.9999 %")];
        let ticks = known.into_iter().chain(further).filter(|(at, _)| *at <= end);
        Axis {
            end: end.max(2.0),
            logarithmic: true,
            ticks: ticks.map(|(at, t)| (at, t.to_owned())).collect(),
        }
    }

    /// Where a value lies, 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let share = if self.logarithmic { value.max(1.0).ln() / self.end.ln() } else { value / self.end };
        share.clamp(0.0, 1.0)
    }
}

impl Plot {
    pub fn render(&self) -> String {
        let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\n");
        let x = |value| LEFT + self.x.place(value) * (WIDTH - LEFT - AROUND);
        let y = |value| HEIGHT - AROUND - self.y.place(value) * (HEIGHT - 2.0 * AROUND);
        for (value, label) in &self.y.ticks {
            let at = y(*value);
            line(&mut out, (LEFT, at), (WIDTH - AROUND, at));
            text(&mut out, "", (LEFT - 6.0, at + 4.0), "end", label);
        }
        for (value, label) in &self.x.ticks {
            let at = x(*value);
            line(&mut out, (at, AROUND), (at, HEIGHT - AROUND));
            text(&mut out, "", (at, HEIGHT - 8.0), "middle", label);
        }
        for (n, l) in self.lines.iter().enumerate() {
            let mut points = String::new();
            for (vx, vy) in &l.points {
                let written = write!(points, "{:.1},{:.1} ", x(*vx), y(*vy));
                debug_assert!(written.is_ok(), "writing to a String cannot fail");
            }
            out += &format!("<polyline class=\"{}\" points=\"{}\"/>\n", l.class, points.trim_end());
            text(&mut out, l.class, (LEFT + 8.0 + 110.0 * n as f64, 16.0), "start", l.name);
        }
        out + "</svg>\n"
    }
}

fn line(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    *out += &format!("<line class=\"grid\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>\n");
}

fn text(out: &mut String, class: &str, (x, y): (f64, f64), anchor: &str, content: &str) {
    let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
    *out += &format!(
        "<text{class} x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
        escape(content)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (end, want) in [(1_234.0, 1_000.0), (0.07, 0.06), (5.0, 5.0), (99_999.0, 80_000.0)] {
            let axis = Axis::values("us", end);
            let (last, label) = axis.ticks.last().expect("ticks");
            assert!((last - want).abs() < want / 1e6, "{end}: {label}");
            assert!((3..=6).contains(&axis.ticks.len()), "{end}: {:?}", axis.ticks);
        }
        assert_eq!(Axis::values("s", f64::NAN).end, 1.0);
        let axis = Axis::percentiles(1_000.0);
        assert_eq!(axis.ticks.len(), 5);
        assert!(
            (axis.place(1.0), axis.place(1_000.0)) == (0.0, 1.0)
                && (axis.place(10.0) - 1.0 / 3.0).abs() < 1e-9
        );
    }

    #[test]
    fn points_outside_stay_on_the_edge() {
        let plot = Plot {
            x: Axis::values("s", 10.0),
            y: Axis::values("us", 10.0),
            lines: vec![Line { name: "a", class: "a", points: vec![(0.0, 0.0), (20.0, 20.0)] }],
        };
        let svg = plot.render();
        assert!(svg.contains("points=\"70.0,274.0 874.0,26.0\""), "{svg}");
    }
}
