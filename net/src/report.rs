//! What a scan found, added up: counts by type, rule, file, tool and server, and masked samples. The same data as JSON and
//! as one HTML file. Pure: no I/O, and no value of a finding is ever kept.

mod html;

use serde::Serialize;
use std::collections::BTreeMap;
use tidegate_inspect::{Severity, masked};

/// Names counted in one table; the rest is counted under [`OTHERS`]. Names come from what is scanned.
const NAMES_MAX: usize = 10_000;

/// See [`NAMES_MAX`].
const OTHERS: &str = "(others)";

/// Samples kept in all, and of one rule.
const SAMPLES_MAX: usize = 1000;
const SAMPLES_OF_RULE_MAX: usize = 25;

/// Problems kept, such as files that cannot be read.
const PROBLEMS_MAX: usize = 100;

/// Where findings come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Files were inspected.
    Files,
    /// Audit records were added up: they hold counts only.
    Audit,
}

/// One finding, for [`Tally::finding`].
#[derive(Debug, Clone, Copy)]
pub struct Finding<'a> {
    /// File name as given.
    pub file: &'a str,
    /// Line, from 1.
    pub line: usize,
    /// First byte, of the file or, in JSON lines, of the line.
    pub start: usize,
    /// Behind the last byte.
    pub end: usize,
    /// Finding type.
    pub kind: &'a str,
    /// Rule id.
    pub rule: &'a str,
    /// How sure.
    pub confidence: &'static str,
    /// How bad.
    pub severity: Severity,
    /// What the gateway would do.
    pub action: &'static str,
    /// Tool of the message, if it is one.
    pub tool: Option<&'a str>,
    /// The value; only its mask is kept.
    pub value: &'a str,
}

/// A line of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// What is counted.
    pub name: String,
    /// How often.
    pub count: u64,
}

/// A finding with its value masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Where.
    pub file: String,
    /// Where.
    pub line: usize,
    /// Where.
    pub start: usize,
    /// Where.
    pub end: usize,
    /// Finding type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Rule id.
    pub rule: String,
    /// How sure.
    pub confidence: &'static str,
    /// How bad.
    pub severity: &'static str,
    /// What the gateway would do.
    pub action: &'static str,
    /// Four characters of the value at most.
    pub sample: String,
}

/// The sums while they grow.
#[derive(Debug, Default)]
pub struct Tally {
    inputs: u64,
    bytes: u64,
    calls: u64,
    redactions: u64,
    skipped: BTreeMap<String, u64>,
    problems: Vec<String>,
    problems_left_out: u64,
    findings: u64,
    tables: [BTreeMap<String, u64>; TABLES.len()],
    samples: Vec<Sample>,
    samples_of_rule: BTreeMap<String, usize>,
}

/// The tables of a report, in order: key in JSON, heading.
pub const TABLES: [(&str, &str); 9] = [
    ("by_severity", "Severity"),
    ("by_type", "Type"),
    ("by_rule", "Rule"),
    ("by_confidence", "Confidence"),
    ("by_action", "Action"),
    ("by_file", "File"),
    ("by_tool", "Tool"),
    ("by_server", "Server"),
    ("by_decision", "Decisions about calls"),
];

/// Index of a table by its key.
fn table(key: &str) -> usize {
    TABLES.iter().position(|(k, _)| *k == key).unwrap_or_default()
}

impl Tally {
    /// A file or stream was read.
    pub fn input(&mut self, bytes: usize) {
        self.inputs += 1;
        self.bytes += bytes as u64;
    }

    /// A file was left out.
    pub fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.to_owned()).or_default() += 1;
    }

    /// Something could not be read.
    pub fn problem(&mut self, text: String) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(text);
        } else {
            self.problems_left_out += 1;
        }
    }

    /// Findings so far.
    pub fn findings(&self) -> u64 {
        self.findings
    }

    /// Inputs so far.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    fn count(&mut self, key: &str, name: &str, n: u64) {
        let table = &mut self.tables[table(key)];
        let name = if table.len() >= NAMES_MAX && !table.contains_key(name) { OTHERS } else { name };
        match table.get_mut(name) {
            Some(count) => *count += n,
            None => drop(table.insert(name.to_owned(), n)),
        }
    }

    /// Counts a finding.
    pub fn finding(&mut self, f: &Finding<'_>) {
        self.findings += 1;
        for (key, name) in [
            ("by_severity", f.severity.as_str()),
            ("by_type", f.kind),
            ("by_rule", f.rule),
            ("by_confidence", f.confidence),
            ("by_action", f.action),
            ("by_file", f.file),
        ] {
            self.count(key, name, 1);
        }
        if let Some(tool) = f.tool {
            self.count("by_tool", tool, 1);
        }
        let of_rule = self.samples_of_rule.entry(f.rule.to_owned()).or_default();
        if *of_rule < SAMPLES_OF_RULE_MAX && self.samples.len() < SAMPLES_MAX {
            *of_rule += 1;
            self.samples.push(Sample {
                file: f.file.to_owned(),
                line: f.line,
                start: f.start,
                end: f.end,
                kind: f.kind.to_owned(),
                rule: f.rule.to_owned(),
                confidence: f.confidence,
                severity: f.severity.as_str(),
                action: f.action,
                sample: masked(f.value),
            });
        }
    }

    /// Counts an audit record.
    pub fn call(&mut self, file: &str, call: &Call<'_>) {
        self.calls += 1;
        self.redactions += call.redactions;
        self.count("by_decision", call.decision, 1);
        for (kind, n) in call.findings {
            self.findings += n;
            self.count("by_type", kind, *n);
            self.count("by_file", file, *n);
            self.count("by_tool", call.tool.unwrap_or("(no tool)"), *n);
            self.count("by_server", call.server.unwrap_or("(no server)"), *n);
        }
    }

    /// The report.
    pub fn finish(self, source: Source) -> Report {
        let mut tables = BTreeMap::new();
        for ((key, _), counts) in TABLES.iter().zip(self.tables) {
            let mut rows: Vec<Row> = counts.into_iter().map(|(name, count)| Row { name, count }).collect();
            rows.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
            tables.insert(*key, rows);
        }
        let kept = self.samples.len() as u64;
        Report {
            version: env!("CARGO_PKG_VERSION"),
            source,
            inputs: self.inputs,
            bytes: self.bytes,
            calls: self.calls,
            redactions: self.redactions,
            skipped: self.skipped,
            problems: self.problems,
            problems_left_out: self.problems_left_out,
            findings: self.findings,
            tables,
            samples_left_out: if source == Source::Files { self.findings - kept } else { 0 },
            samples: self.samples,
        }
    }
}

/// What an audit record says about a call.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// Configured server.
    pub server: Option<&'a str>,
    /// Tool called.
    pub tool: Option<&'a str>,
    /// What the gateway decided.
    pub decision: &'a str,
    /// Findings by type.
    pub findings: &'a [(String, u64)],
    /// Values replaced.
    pub redactions: u64,
}

/// The sums.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Of the program.
    pub version: &'static str,
    /// Where findings come from.
    pub source: Source,
    /// Files and streams read.
    pub inputs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Audit records of calls.
    pub calls: u64,
    /// Values replaced, as the audit records say.
    pub redactions: u64,
    /// Files left out, by reason.
    pub skipped: BTreeMap<String, u64>,
    /// What could not be read.
    pub problems: Vec<String>,
    /// Further problems.
    pub problems_left_out: u64,
    /// All findings.
    pub findings: u64,
    /// See [`TABLES`].
    #[serde(flatten)]
    pub tables: BTreeMap<&'static str, Vec<Row>>,
    /// Some findings.
    pub samples: Vec<Sample>,
    /// Findings that are not in `samples`.
    pub samples_left_out: u64,
}

impl Report {
    /// One JSON document.
    pub fn json(&self) -> String {
        let text = serde_json::to_string_pretty(self);
        text.unwrap_or_default() + "\n" // plain data: it cannot fail
    }

    /// One HTML file without anything outside of it.
    pub fn html(&self) -> String {
        html::render(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding<'a>(file: &'a str, rule: &'a str, value: &'a str) -> Finding<'a> {
        Finding {
            file,
            line: 3,
            start: 1,
            end: 9,
            kind: "SECRET",
            rule,
            confidence: "high",
            severity: Severity::Critical,
            action: "redact",
            tool: Some("read"),
            value,
        }
    }

    #[test]
    fn sums_and_samples() {
        let mut tally = Tally::default();
        tally.input(100);
        for i in 0..30 {
            tally.finding(&finding("a", "one", &format!("value-number-{i}-with-a-tail")));
        }
        tally.finding(&finding("<b>&\"", "two", "short"));
        tally.skip("binary");
        let report = tally.finish(Source::Files);
        assert_eq!((report.findings, report.samples.len(), report.samples_left_out), (31, 26, 5));
        let row = |name: &str, count| Row { name: name.to_owned(), count };
        assert_eq!(report.tables["by_rule"], [row("one", 30), row("two", 1)]);
        assert_eq!(report.tables["by_tool"], [row("read", 31)]);
        for text in [report.json(), report.html()] {
            assert!(!text.contains("value-number") && !text.contains("short"), "values are masked: {text}");
            assert!(text.contains("va…il"), "{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&report.json()).expect("is JSON");
        assert_eq!((&json["findings"], &json["by_rule"][0]["count"]), (&31.into(), &30.into()));
        let html = report.html();
        assert!(html.contains("&lt;b&gt;&amp;&quot;") && !html.contains("<b>&"), "names are escaped");
        for outside in ["http:", "https:", "src=", "href=", "<script", "@import", "url("] {
            assert!(!html.contains(outside), "{outside}");
        }
    }

    #[test]
    fn names_from_outside_are_bounded() {
        let mut tally = Tally::default();
        for i in 0..NAMES_MAX + 7 {
            tally.count("by_tool", &format!("tool-{i}"), 1);
        }
        let report = tally.finish(Source::Audit);
        assert_eq!(report.tables["by_tool"][0], Row { name: OTHERS.to_owned(), count: 7 });
    }
}
