//! Times and rates as people type them: `250us`, `1.5ms`, `5s`, `2m`. No I/O.

use std::time::Duration;

/// Reads a time with its unit (`us`, `ms`, `s`, `m`); `0` needs none.
pub fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "" if number == "0" => 1.0,
        _ => return Err(format!("{text:?}: write a number and us, ms, s or m, for instance 1.5ms")),
    };
    let number: f64 = number.parse().map_err(|_| format!("{text:?}: {number:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| format!("{text:?}: too long"))
}

/// Writes nanoseconds with three or four digits and the unit that fits.
pub fn ns(ns: u64) -> String {
    let ns = ns as f64;
    let (value, unit) = match ns {
        n if n < 1e3 => (n, "ns"),
        n if n < 1e6 => (n / 1e3, "us"),
        n if n < 1e9 => (n / 1e6, "ms"),
        n => (n / 1e9, "s"),
    };
    let digits = if unit == "ns" || value >= 100.0 { 0 } else { 2 };
    format!("{value:.digits$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, micros) in
            [("0", 0), ("250us", 250), ("1.5ms", 1_500), ("2s", 2_000_000), ("1m", 60_000_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
        for text in ["", "5", "ms", "1h", "1.2.3s", "-1s", "1 s", "99999999999999999999999s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn nanoseconds_for_people() {
        for (value, text) in [
            (7, "7 ns"),
            (1_500, "1.50 us"),
            (999_000, "999 us"),
            (12_340_000, "12.34 ms"),
            (3_000_000_000, "3.00 s"),
        ] {
            assert_eq!(ns(value), text);
        }
    }
}
