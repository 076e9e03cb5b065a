//! The result as one HTML file: everything inline, no script, nothing loaded from anywhere. No I/O.

mod plot;

use crate::report::{Latency, Report};
use crate::self_test::SelfTest;
use plot::{Axis, Line, Plot};
use std::fmt::Write as _;

const STYLE: &str = include_str!("html/style.css");

/// The whole file.
pub fn render(report: &Report) -> String {
    let mut out = String::with_capacity(64 << 10);
    let verdict = if report.valid { "valid" } else { "invalid" };
    out += "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n";
    out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n";
    push(&mut out, &format!("<title>Load run: {}</title>\n", escape(&target(report))));
    push(&mut out, &format!("<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>Load run</h1>\n"));
    push(&mut out, &format!("<p class=\"{verdict}\">{}</p>\n", verdict.to_uppercase()));
    list(&mut out, "reasons", &report.reasons);
    list(&mut out, "notes", &report.notes);
    out += "<h2>What was asked</h2>\n";
    settings(&mut out, report);
    out += "<h2>Latency</h2>\n";
    latencies(&mut out, report);
    out += "<h2>Latency by percentile</h2>\n";
    out += &by_percentile(report).render();
    out += "<h2>Latency over time</h2>\n";
    out += &over_time(report).render();
    out += "<h2>Answers over time</h2>\n";
    out += &answers(report).render();
    if !report.wrong_by_kind.is_empty() {
        out += "<h2>Wrong answers</h2>\n";
        let rows = report.wrong_by_kind.iter().map(|(kind, n)| ((*kind).to_owned(), n.to_string()));
        facts(&mut out, rows);
        list(&mut out, "notes", &report.examples);
    }
    out += "<h2>The generator's own part</h2>\n";
    generator(&mut out, report);
    out += "</body>\n</html>\n";
    out
}

/// The URL without its scheme: the file holds no link.
fn target(report: &Report) -> String {
    report.url.split_once("://").map_or(report.url.as_str(), |(_, rest)| rest).to_owned()
}

fn settings(out: &mut String, r: &Report) {
    let mut rows = vec![
        ("target".to_owned(), target(r)),
        ("transport".to_owned(), if r.tls { "HTTP/1.1 over TLS" } else { "HTTP/1.1" }.to_owned()),
        ("loop".to_owned(), r.r#loop.to_owned()),
    ];
    let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
    if let Some(rate) = r.rate {
        row("rate, calls/s", rate.to_string());
    }
    row("connections", r.connections.to_string());
    row("threads", r.threads.to_string());
    row("share of connections with sessions", r.legacy_share.to_string());
    if !r.scenario.is_empty() {
        row("scenario", r.scenario.clone());
    }
    row("arguments, bytes", r.argument_bytes.to_string());
    row("measured, s", format!("{:.2}", r.seconds));
    row("answers", r.requests.to_string());
    row("answers/s", format!("{:.0}", r.rps));
    row("wrong", r.wrong.to_string());
    row("never sent", r.unsent.to_string());
    if let Some(p) = &r.process {
        row("process, CPU us/request", format!("{:.2}", p.cpu_us_per_request));
        row("process, cores", format!("{:.2}", p.cpu_cores));
        row("process, RSS MiB", format!("{:.1}", p.rss_kib as f64 / 1024.0));
    }
    facts(out, rows);
}

fn latencies(out: &mut String, r: &Report) {
    out.push_str("<table>\n<tr><th>microseconds</th>");
    for name in ["calls", "p50", "p90", "p99", "p99.9", "p99.99", "max"] {
        push(out, &format!("<th>{name}</th>"));
    }
    out.push_str("</tr>\n");
    latency_row(out, "all", &r.latency_us);
    for step in &r.steps {
        latency_row(out, &format!("{} calls/s", step.rate), &step.latency_us);
    }
    for call in &r.calls {
        latency_row(out, &call.name, &call.latency_us);
    }
    if r.r#loop == "open" {
        latency_row(out, "sent late by the generator", &r.generator.send_lag_us);
    }
    out.push_str("</table>\n");
}

fn latency_row(out: &mut String, name: &str, l: &Latency) {
    push(out, &format!("<tr><td>{}</td><td>{}</td>", escape(name), l.count));
    for value in [l.p50, l.p90, l.p99, l.p999, l.p9999, l.max] {
        push(out, &format!("<td>{value:.1}</td>"));
    }
    out.push_str("</tr>\n");
}

fn generator(out: &mut String, r: &Report) {
    let mut rows = vec![
        ("busiest thread".to_owned(), format!("{:.1} % of its time", r.generator.busy * 100.0)),
        ("CPU us/request".to_owned(), format!("{:.2}", r.own_cpu_us_per_request)),
        ("most calls waiting".to_owned(), format!("{} (bound {})", r.queue.waiting_max, r.queue.calls_max)),
    ];
    if let Some(t) = &r.self_test {
        rows.extend(SelfTest::facts(t));
    }
    facts(out, rows);
}

fn by_percentile(r: &Report) -> Plot {
    // 1/(1-q) on a logarithmic axis: 50 %, 90 %, 99 % ... are about equally far apart.
    let end = r.latency_us.count.max(10) as f64;
    let points = r.percentiles.iter().map(|&(p, us)| ((1.0 / (1.0 - p / 100.0)).min(end).max(1.0), us));
    Plot {
        x: Axis::percentiles(end),
        y: Axis::values("us", r.latency_us.max),
        lines: vec![Line { name: "latency, us", class: "a", points: points.collect() }],
    }
}

fn over_time(r: &Report) -> Plot {
    let line = |name, class, value: fn(&crate::run::Point) -> f64| Line {
        name,
        class,
        points: r.timeline.iter().filter(|p| p.requests > 0).map(|p| (p.at_s, value(p))).collect(),
    };
    let max = r.timeline.iter().map(|p| p.max_us).fold(0.0, f64::max);
    Plot {
        x: Axis::values("s", r.timeline.last().map_or(1.0, |p| p.at_s)),
        y: Axis::values("us", max),
        lines: vec![
            line("max, us", "c", |p| p.max_us),
            line("p99, us", "b", |p| p.p99_us),
            line("p50, us", "a", |p| p.p50_us),
        ],
    }
}

fn answers(r: &Report) -> Plot {
    let mut before = 0.0;
    let points: Vec<(f64, f64)> = r
        .timeline
        .iter()
        .map(|p| {
            let length = (p.at_s - before).max(1e-3);
            before = p.at_s;
            (p.at_s, p.requests as f64 / length)
        })
        .collect();
    let max = points.iter().map(|p| p.1).fold(0.0, f64::max);
    Plot {
        x: Axis::values("s", before),
        y: Axis::values("/s", max),
        lines: vec![Line { name: "answers/s", class: "a", points }],
    }
}

fn facts(out: &mut String, rows: impl IntoIterator<Item = (String, String)>) {
    out.push_str("<table>\n");
    for (name, value) in rows {
        push(out, &format!("<tr><td>{}</td><td>{}</td></tr>\n", escape(&name), escape(&value)));
    }
    out.push_str("</table>\n");
}

fn list(out: &mut String, class: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    push(out, &format!("<ul class=\"{class}\">\n"));
    for line in lines {
        push(out, &format!("<li>{}</li>\n", escape(line)));
    }
    out.push_str("</ul>\n");
}

fn push(out: &mut String, text: &str) {
    let written = out.write_str(text);
    debug_assert!(written.is_ok(), "writing to a String cannot fail");
}

/// Text for HTML, in elements and in attributes. Control characters of a wrong answer are not for a browser.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
