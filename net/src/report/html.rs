//! The report for people: one file, no script, nothing loaded from anywhere, light and dark. Every text that is not
//! written here goes through [`escape`]: names of files, tools and servers come from others.

use super::{Report, Row, Source, TABLES};
use std::fmt::Write;

/// Rows shown of a table; JSON has all.
const ROWS_MAX: usize = 100;

/// Width of the longest bar, in pixels.
const BAR_PX: u64 = 200;

const STYLE: &str = include_str!("style.css");

/// The whole file.
pub(super) fn render(report: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    out.push_str("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n<title>Findings</title>\n");
    let _ = write!(out, "<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Findings</h1>\n");
    facts(&mut out, report);
    for (key, heading) in TABLES {
        table(&mut out, heading, report.tables.get(key).map_or(&[], Vec::as_slice));
    }
    samples(&mut out, report);
    if !report.problems.is_empty() {
        out.push_str("<h2>Not read</h2>\n<ul>\n");
        for problem in &report.problems {
            let _ = writeln!(out, "<li>{}</li>", escape(problem));
        }
        if report.problems_left_out > 0 {
            let _ = writeln!(out, "<li>and {} more</li>", report.problems_left_out);
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn facts(out: &mut String, report: &Report) {
    let mut cards = vec![("findings", report.findings)];
    match report.source {
        Source::Files => cards.push(("files and streams", report.inputs)),
        Source::Audit => {
            cards.extend([("calls", report.calls), ("values replaced", report.redactions)]);
            cards.push(("audit files", report.inputs));
        }
    }
    cards.push(("bytes read", report.bytes));
    out.push_str("<div class=\"cards\">\n");
    for (name, value) in cards {
        let _ = writeln!(out, "<div><b>{}</b><span>{name}</span></div>", grouped(value));
    }
    out.push_str("</div>\n");
    for (why, n) in &report.skipped {
        let _ = writeln!(out, "<p>{} left out: {}.</p>", grouped(*n), escape(why));
    }
    let _ = writeln!(
        out,
        "<p class=\"note\">Made by tidegate {}. Values are masked.</p>",
        escape(report.version)
    );
}

fn table(out: &mut String, heading: &str, rows: &[Row]) {
    let Some(most) = rows.first().map(|r| r.count.max(1)) else { return };
    let _ = write!(out, "<h2>{heading}</h2>\n<table>\n");
    for row in rows.iter().take(ROWS_MAX) {
        let px = (u128::from(row.count) * u128::from(BAR_PX) / u128::from(most)).max(1);
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td><svg width=\"{BAR_PX}\" height=\"10\" \
             aria-hidden=\"true\"><rect width=\"{px}\" height=\"10\" rx=\"2\"/></svg></td></tr>",
            escape(&row.name),
            grouped(row.count)
        );
    }
    out.push_str("</table>\n");
    if rows.len() > ROWS_MAX {
        let _ = writeln!(out, "<p class=\"note\">and {} more</p>", grouped((rows.len() - ROWS_MAX) as u64));
    }
}

fn samples(out: &mut String, report: &Report) {
    if report.samples.is_empty() {
        return;
    }
    out.push_str("<h2>Samples</h2>\n<table>\n<thead><tr>");
    for name in ["place", "type", "rule", "severity", "confidence", "action", "sample"] {
        let _ = write!(out, "<th scope=\"col\">{name}</th>");
    }
    out.push_str("</tr></thead>\n");
    for s in &report.samples {
        let place = format!("{}:{}", s.file, s.line);
        let _ = write!(
            out,
            "<tr><td class=\"place\" title=\"bytes {} to {}\">{}</td>",
            s.start,
            s.end,
            escape(&place)
        );
        for text in [&s.kind, &s.rule] {
            let _ = write!(out, "<td>{}</td>", escape(text));
        }
        let _ = write!(
            out,
            "<td class=\"{0}\">{0}</td><td>{1}</td><td>{2}</td>",
            s.severity, s.confidence, s.action
        );
        let _ = writeln!(out, "<td><code>{}</code></td></tr>", escape(&s.sample));
    }
    out.push_str("</table>\n");
    if report.samples_left_out > 0 {
        let _ = writeln!(out, "<p class=\"note\">and {} more findings</p>", grouped(report.samples_left_out));
    }
}

/// For text and attribute values. Control and direction characters, which could disguise a name, are written out.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') =>
            {
                let _ = write!(out, "\\u{{{:x}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    out
}

/// `1234567` as `1 234 567`, with spaces that do not break.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{a0}');
        }
        out.push(c);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_leave_their_place() {
        assert_eq!(escape("a<b>&\"'\u{202e}\n"), "a&lt;b&gt;&amp;&quot;&#39;\\u{202e}\\u{a}");
    }

    #[test]
    fn numbers() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1\u{a0}000", "1\u{a0}234\u{a0}567"]);
    }
}
