//! Adds up recorded audit segments: counts by type, tool and server. Records hold nothing else of what was found.

use crate::progress::Progress;
use crate::report::{Call, Tally};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use tidegate_core::audit::LINE_BYTES_MAX;

/// Positions remembered, to count a line once that a failing disk made the writer write again.
const POSITIONS_MAX: usize = 1 << 20;

/// The fields of a line that are read; unknown ones are of no interest here.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    mcp_server: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    tool_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    decision: Option<Cow<'a, str>>,
    #[serde(default)]
    redaction_count: u64,
    #[serde(default)]
    findings: BTreeMap<String, u64>,
    #[serde(borrow, default)]
    boot: Cow<'a, str>,
    #[serde(default)]
    core: u64,
    #[serde(default)]
    seq: u64,
}

/// What is known of the lines before.
#[derive(Debug, Default)]
pub struct Records {
    seen: HashSet<(String, u64, u64)>,
}

impl Records {
    /// Reads one segment. Lines that are no records are counted and reported once.
    ///
    /// # Errors
    /// As reading does; what was read by then has been counted.
    pub fn read(
        &mut self,
        name: &str,
        from: impl Read,
        tally: &mut Tally,
        progress: &mut Progress,
    ) -> std::io::Result<u64> {
        let mut from = BufReader::with_capacity(1 << 16, from);
        let (mut line, mut bytes, mut wrong) = (Vec::new(), 0, 0);
        loop {
            line.clear();
            // A line that is longer than any record is read in pieces, each of which is none.
            let n = from.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
            if n == 0 {
                break;
            }
            bytes += n;
            let text = line.trim_ascii();
            if !text.is_empty() && !self.line(name, text, tally) {
                wrong += 1;
            }
            progress.show(|| format!("{name}: {} MiB, {} findings", bytes >> 20, tally.findings()));
        }
        tally.input(bytes);
        Ok(wrong)
    }

    /// False when it is no audit line.
    fn line(&mut self, name: &str, text: &[u8], tally: &mut Tally) -> bool {
        let Ok(line) = serde_json::from_slice::<Line<'_>>(text) else { return false };
        if line.kind != "call" {
            return matches!(&*line.kind, "open" | "recovered" | "intent" | "seal");
        }
        if !line.findings.is_empty() && self.seen.len() < POSITIONS_MAX {
            let position = (line.boot.into_owned(), line.core, line.seq);
            if !position.0.is_empty() && !self.seen.insert(position) {
                return true;
            }
        }
        let findings: Vec<(String, u64)> = line.findings.into_iter().collect();
        tally.call(
            name,
            &Call {
                server: line.mcp_server.as_deref(),
                tool: line.tool_name.as_deref(),
                decision: line.decision.as_deref().unwrap_or("allow"),
                findings: &findings,
                redactions: line.redaction_count,
            },
        );
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Source;

    #[test]
    fn records_are_added_up_once() {
        let call = |seq: u64, tool: &str, findings: &str| {
            format!(
                r#"{{"kind":"call","mcp_server":"crm","tool_name":{tool},"decision":"redact","redaction_count":2,"findings":{findings},"boot":"b","core":0,"seq":{seq}}}"#
            ) + "\n"
        };
        let two = r#"{"EMAIL_ADDRESS":2,"SECRET":1}"#;
        let text = [
            "{\"kind\":\"open\",\"v\":1}\n".to_owned(),
            call(1, "\"r\\u0065ad\"", two),
            call(1, "\"read\"", two), // written again
            call(2, "null", "{}"),
            call(3, "null", r#"{"SECRET":4}"#),
            "torn {\n".to_owned(),
            format!("\"{}\"\n", "x".repeat(20_000)),
        ]
        .concat();
        let (mut tally, mut records) = (Tally::default(), Records::default());
        let wrong = records.read("a.ndjson", text.as_bytes(), &mut tally, &mut Progress::new());
        assert!(wrong.is_ok_and(|n| n > 1));
        let report = tally.finish(Source::Audit);
        let rows = |key: &str| -> Vec<(String, u64)> {
            report.tables[key].iter().map(|r| (r.name.clone(), r.count)).collect()
        };
        assert_eq!((report.findings, report.calls, report.redactions), (7, 3, 6));
        assert_eq!(rows("by_type"), [("SECRET".into(), 5), ("EMAIL_ADDRESS".into(), 2)]);
        assert_eq!(rows("by_tool"), [("(no tool)".into(), 4), ("read".into(), 3)]);
        assert_eq!(rows("by_server"), [("crm".into(), 7)]);
        assert_eq!(rows("by_decision"), [("redact".into(), 3)]);
    }
}
