//! A histogram as `.hgrm` text, the percentile format of HdrHistogram's tools and plotter. No I/O.

use hdrhistogram::Histogram;
use std::fmt::Write as _;

/// Lines for each halving of the distance to 100 %, as HdrHistogram's own tools print.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
/// Values are recorded in nanoseconds and printed in microseconds.
const NS_PER_UNIT: f64 = 1_000.0;

/// The points of the distribution: percentile 0 to 100, value in microseconds, calls up to there.
pub fn points(histogram: &Histogram<u64>) -> Vec<(f64, f64, u64)> {
    let mut total = 0;
    let each = histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE).map(|step| {
        total += step.count_since_last_iteration();
        (step.quantile_iterated_to() * 100.0, step.value_iterated_to() as f64 / NS_PER_UNIT, total)
    });
    each.collect()
}

/// The whole file.
pub fn render(histogram: &Histogram<u64>) -> String {
    let mut out =
        format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for (percentile, value, total) in points(histogram) {
        let quantile = percentile / 100.0;
        let written = if quantile < 1.0 {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {total:>10} {:>14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(out, "{value:>12.3} {quantile:>14.12} {total:>10}")
        };
        debug_assert!(written.is_ok(), "writing to a String cannot fail");
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_UNIT, histogram.stdev() / NS_PER_UNIT);
    let max = histogram.max() as f64 / NS_PER_UNIT;
    out += &format!("#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]\n");
    out += &format!("#[Max     = {max:>12.3}, Total count    = {:>12}]\n", histogram.len());
    out += &format!("#[Buckets = {:>12}, SubBuckets     = {:>12}]\n", histogram.buckets(), 2_048);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_and_values_rise() {
        let mut h = Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("bounds");
        (1..=10_000u64).for_each(|us| h.record(us * 1_000).expect("in bounds"));
        let points = points(&h);
        assert!(points.windows(2).all(|p| p[0].1 <= p[1].1 && p[0].2 <= p[1].2));
        let &(percentile, value, total) = points.last().expect("points");
        assert_eq!((percentile, total), (100.0, 10_000));
        assert!((value - 10_000.0).abs() < 10.0);
        let text = render(&h);
        assert!(text.contains("Total count    =        10000]"), "{text}");
        let middle = text.lines().find(|l| l.contains(" 0.500000000000 ")).expect("the median");
        let columns: Vec<&str> = middle.split_whitespace().collect();
        assert_eq!(columns[3], "2.00");
        assert!((columns[2].parse::<f64>().expect("a count") - 5_000.0).abs() < 5.0, "{middle}");
        assert!((columns[0].parse::<f64>().expect("a value") - 5_000.0).abs() < 5.0);
    }

    #[test]
    fn an_empty_histogram_is_a_file_too() {
        assert!(render(&Histogram::new(3).expect("bounds")).contains("Total count    =            0]"));
    }
}
