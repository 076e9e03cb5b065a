//! What a run leaves behind: plots, percentiles, comparisons, the search for the knee, the self-test.

use crate::harness::{LATE, Mock, command, file, run, valid};
use serde_json::Value;
use std::fs;

/// Every element is closed in its turn, every attribute is quoted. Enough for HTML that is written as XML.
fn assert_well_formed(html: &str) {
    let mut open = Vec::new();
    let mut rest = html.strip_prefix("<!DOCTYPE html>").expect("a doctype");
    while let Some(at) = rest.find(['<', '>']) {
        assert!(rest[at..].starts_with('<'), "a bare > near {:?}", &rest[..at.min(80)]);
        let end = rest[at..].find('>').expect("the tag ends") + at;
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        let name: String =
            tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "in {html}");
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

#[test]
fn files_of_a_run() {
    let mock = Mock::start("files", &["--result-size", "64"]);
    let (html, hgrm) = (file(&mock, "r.html", ""), file(&mock, "r.hgrm", ""));
    let options =
        ["--rate", "500", "--duration", "1", "--warmup", "0.2", LATE, "--html", &html, "--hgrm", &hgrm];
    let report = valid(&mock.url(), &options);
    let html = fs::read_to_string(html).expect("written");
    assert_well_formed(&html);
    for loaded in ["http://", "https://", "src=", "href=", "url(", "@import", "<script"] {
        assert!(!html.contains(loaded), "{loaded}");
    }
    assert!(html.matches("<polyline").count() == 5 && html.contains("VALID") && html.contains(&mock.addr));
    let hgrm = fs::read_to_string(hgrm).expect("written");
    let totals: Vec<u64> = hgrm
        .lines()
        .filter(|l| !l.starts_with('#') && !l.contains("Value"))
        .filter_map(|l| l.split_whitespace().nth(2)?.parse().ok())
        .collect();
    assert!(totals.is_sorted() && totals.last() == Some(&500), "{hgrm}");
    assert_eq!(report["percentiles"].as_array().expect("points").last().expect("one")[0], 100.0);
}

#[test]
fn a_wrong_answer_does_not_break_the_report() {
    let mock = Mock::start("broken-html", &["--result-size", "64"]);
    let html = file(&mock, "r.html", "");
    let (_, report) =
        run(&mock.url(), &["--requests", "3", "--warmup", "0", "--tool", "other", "--html", &html]);
    assert_eq!(report["wrong_by_kind"]["rpc_error"], 3);
    let html = fs::read_to_string(html).expect("written");
    assert_well_formed(&html);
    assert!(html.contains("INVALID") && html.contains("rpc_error"));
}

#[test]
fn results_are_compared() {
    let mock = Mock::start("compare", &["--result-size", "64"]);
    let run_to = |name: &str, options: &[&str]| {
        let (_, report) = run(&mock.url(), &[&["--requests", "200", "--warmup", "0"], options].concat());
        file(&mock, name, &report.to_string())
    };
    let (a, b) = (run_to("a.json", &[]), run_to("b.json", &["--connections", "2"]));
    let (code, out, _) = command(&["compare", &a, &b, "--json", "-"]);
    let compared: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!((code, &compared["differences"][0]), (Some(0), &Value::from("connections: 64 and 2")));
    let load = |path: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(path).expect("a file")).expect("JSON")
    };
    let (first, second) =
        (load(&a)["rps"].as_f64().expect("a rate"), load(&b)["rps"].as_f64().expect("a rate"));
    let row = &compared["rows"][0];
    assert!(
        row["name"] == "rps" && (row["ratio"].as_f64().expect("a ratio") - second / first).abs() < 1e-9,
        "{row}"
    );
    let (code, out, _) = command(&["compare", &a, &a, "--limit", "p99_us=0.9"]);
    assert!(code == Some(1) && out.contains("p99_us is 1.000"), "{out}");
    let bad = run_to("bad.json", &["--tool", "other"]);
    let (code, out, _) = command(&["compare", &a, &bad]);
    assert!(code == Some(1) && out.contains("200 wrong answers"), "{out}");
    let none = file(&mock, "none.json", "{}");
    assert_eq!(command(&["compare", &a, &none]).0, Some(2));
    assert_eq!(command(&["compare", &a, "/nonexistent.json"]).0, Some(2));
}

#[test]
fn the_knee_is_searched() {
    let quick = Mock::start("knee", &["--result-size", "64"]);
    let search = |mock: &Mock, bound: &str| {
        let options =
            ["--from", "200", "--to", "400", "--duration", "0.2", "--warmup", "0", "--confirm", "2", LATE];
        let url = mock.url();
        let head = ["find-knee", "--url", &url, "--p99-us", bound, "--progress", "off", "--json", "-"];
        let (code, out, text) = command(&[&head[..], &options].concat());
        (code, serde_json::from_str::<Value>(&out).unwrap_or_else(|e| panic!("{e}: {text}")))
    };
    let (code, found) = search(&quick, "10000000");
    assert_eq!((code, &found["rate"], &found["stopped_by"]), (Some(0), &400.0.into(), &Value::Null));
    assert_eq!(found["runs"].as_array().map(Vec::len), Some(3), "200, 400 and once more");
    let slow = Mock::start("knee-slow", &["--result-size", "64", "--latency", "fixed:5ms"]);
    let (code, found) = search(&slow, "1000");
    assert_eq!((code, &found["rate"], &found["stopped_by"]), (Some(1), &Value::Null, &"too_slow".into()));
    let url = quick.url();
    let (code, _, text) =
        command(&["find-knee", "--url", &url, "--p99-us", "1", "--closed", "--confirm", "0"]);
    assert!(code == Some(2) && text.contains("--closed") && text.contains("--confirm"), "{text}");
}

#[test]
fn the_generator_knows_itself() {
    let (code, out, text) = command(&["self-test", "--seconds", "0.1", "--json", "-"]);
    let found: Value = serde_json::from_str(&out).expect("JSON");
    assert!(
        code == Some(0) && found["ceiling_rps"].as_f64() > Some(100.0) && text.contains("ceiling"),
        "{found}"
    );
    let mock = Mock::start("self", &["--result-size", "64"]);
    let url = mock.url();
    let (_, out, text) = command(&["run", "--url", &url, "--closed", "--requests", "50", "--json", "-"]);
    let report: Value = serde_json::from_str(&out).expect("JSON");
    assert!(
        report["self_test"]["ceiling_rps"].as_f64() > Some(100.0) && text.contains("self-test"),
        "{text}"
    );
}
