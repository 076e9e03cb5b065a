//! Two results side by side: what the second is in relation to the first. Pure: JSON in, a table out.

use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// What is compared: name, where it stands in a result, digits.
const ROWS: &[(&str, &[&str], usize)] = &[
    ("rps", &["rps"], 0),
    ("p50_us", &["latency_us", "p50"], 1),
    ("p90_us", &["latency_us", "p90"], 1),
    ("p99_us", &["latency_us", "p99"], 1),
    ("p999_us", &["latency_us", "p999"], 1),
    ("p9999_us", &["latency_us", "p9999"], 1),
    ("max_us", &["latency_us", "max"], 1),
    ("cpu_us_per_request", &["process", "cpu_us_per_request"], 2),
    ("rss_kib", &["process", "rss_kib"], 0),
    ("own_cpu_us_per_request", &["own_cpu_us_per_request"], 2),
    ("wrong", &["wrong"], 0),
];

/// What must be the same for two results to be about the same load.
const SETTINGS: &[&str] = &[
    "era",
    "legacy_share",
    "loop",
    "rate",
    "connections",
    "argument_bytes",
    "result_bytes",
    "scenario",
    "payload",
    "seed",
    "tls",
    "streams",
    "plant_in",
    "expect",
];

/// One row.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What is compared.
    pub name: &'static str,
    /// In the first result.
    pub a: Option<f64>,
    /// In the second.
    pub b: Option<f64>,
    /// The second divided by the first, where both are known and the first is not zero.
    pub ratio: Option<f64>,
    #[serde(skip)]
    digits: usize,
}

/// A bound on a ratio.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Name of the row.
    pub name: String,
    /// Largest ratio.
    pub ratio: f64,
}

/// The comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// All rows.
    pub rows: Vec<Row>,
    /// Settings that are not the same.
    pub differences: Vec<String>,
    /// Results that are invalid, and ratios above their limit.
    pub problems: Vec<String>,
}

impl std::str::FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Limit, String> {
        let names = || ROWS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        let (name, ratio) = text.split_once('=').ok_or("write NAME=RATIO, for instance p99_us=1.1")?;
        if !ROWS.iter().any(|(known, ..)| *known == name) {
            return Err(format!("{name:?}: must be one of {}", names()));
        }
        match ratio.parse::<f64>() {
            Ok(ratio) if ratio > 0.0 && ratio.is_finite() => Ok(Limit { name: name.to_owned(), ratio }),
            _ => Err(format!("{ratio:?}: must be a number above 0")),
        }
    }
}

/// Compares two results of `run --json`. `Err` says which of them is none.
pub fn compare(a: &Value, b: &Value, limits: &[Limit]) -> Result<Comparison, String> {
    for (which, value) in [("the first file", a), ("the second file", b)] {
        if !value["valid"].is_boolean() || !value["latency_us"].is_object() {
            return Err(format!("{which} is no result of run --json"));
        }
    }
    let rows: Vec<Row> = ROWS
        .iter()
        .map(|&(name, path, digits)| {
            let at = |v: &Value| path.iter().fold(v, |v, key| &v[*key]).as_f64();
            let (a, b) = (at(a), at(b));
            let ratio = a.zip(b).filter(|(a, _)| *a != 0.0).map(|(a, b)| b / a);
            Row { name, a, b, ratio, digits }
        })
        .collect();
    let differences = SETTINGS
        .iter()
        .filter(|key| a[**key] != b[**key])
        .map(|key| format!("{key}: {} and {}", a[*key], b[*key]))
        .collect();
    let mut problems = Vec::new();
    for (which, value) in [("the first", a), ("the second", b)] {
        if value["valid"] != true {
            problems.push(format!("{which} result is invalid: {}", reasons(value)));
        }
    }
    for limit in limits {
        let row = rows.iter().find(|r| r.name == limit.name);
        match row.and_then(|r| r.ratio) {
            Some(ratio) if ratio <= limit.ratio => {}
            Some(ratio) => {
                problems.push(format!("{} is {ratio:.3} of the first, limit {}", limit.name, limit.ratio));
            }
            None => problems
                .push(format!("{} is not in both results, so its limit cannot be checked", limit.name)),
        }
    }
    Ok(Comparison { rows, differences, problems })
}

fn reasons(result: &Value) -> String {
    let list = result["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let text = list.collect::<Vec<_>>().join("; ");
    if text.is_empty() { "it does not say why".to_owned() } else { text }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<24} {:>14} {:>14} {:>9}", "", "first", "second", "ratio")?;
        for row in &self.rows {
            let number =
                |n: Option<f64>, digits: usize| n.map_or("-".to_owned(), |n| format!("{n:.digits$}"));
            let (a, b, ratio) = (number(row.a, row.digits), number(row.b, row.digits), number(row.ratio, 3));
            writeln!(f, "{:<24} {a:>14} {b:>14} {ratio:>9}", row.name)?;
        }
        for difference in &self.differences {
            writeln!(f, "note: not the same load: {difference}")?;
        }
        for problem in &self.problems {
            writeln!(f, "PROBLEM: {problem}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn result(rps: f64, p99: f64) -> Value {
        json!({"valid": true, "rps": rps, "wrong": 0, "era": "modern", "connections": 64,
            "latency_us": {"p50": 10.0, "p99": p99}, "process": {"cpu_us_per_request": 8.0}})
    }

    #[test]
    fn ratios_are_second_to_first() {
        let c = compare(&result(1000.0, 50.0), &result(1500.0, 40.0), &[]).expect("two results");
        let ratio = |name| c.rows.iter().find(|r| r.name == name).expect("a row").ratio;
        assert_eq!((ratio("rps"), ratio("p99_us"), ratio("p50_us")), (Some(1.5), Some(0.8), Some(1.0)));
        assert_eq!((ratio("wrong"), ratio("rss_kib")), (None, None), "nothing to divide by");
        assert_eq!((c.differences.len(), c.problems.len()), (0, 0));
        let text = c.to_string();
        assert!(text.contains("rps") && text.contains("1.500"), "{text}");
    }

    #[test]
    fn problems_are_said() {
        let limits: Vec<Limit> =
            ["p99_us=1.1", "rss_kib=2"].iter().map(|t| t.parse().expect("a limit")).collect();
        let (a, mut b) = (result(1000.0, 50.0), result(1000.0, 60.0));
        b["valid"] = json!(false);
        b["reasons"] = json!(["2 wrong answers"]);
        b["connections"] = json!(8);
        let c = compare(&a, &b, &limits).expect("two results");
        assert_eq!(c.differences, ["connections: 64 and 8"]);
        assert_eq!(c.problems.len(), 3, "{:?}", c.problems);
        assert!(
            c.problems[0].contains("2 wrong answers") && c.problems[1].contains("1.200"),
            "{:?}",
            c.problems
        );
        assert!(compare(&a, &json!({}), &[]).expect_err("no result").contains("second"));
        for text in ["p99_us", "p98=1", "rps=0", "rps=x"] {
            assert!(text.parse::<Limit>().is_err(), "{text}");
        }
    }
}
