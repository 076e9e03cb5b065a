//! Each way in which the mock can fail makes a run invalid, under its own name.

use crate::harness::{Mock, run, valid};
use serde_json::Value;

#[track_caller]
fn fails(mode: &str, kind: &str) {
    let mock = Mock::start(&format!("fail-{mode}"), &["--result-size", "4000", "--fail", mode]);
    let options = ["--connections", "2", "--requests", "4", "--warmup", "0", "--timeout", "0.4"];
    let (output, report) = run(&mock.url(), &options);
    assert_eq!(output.status.code(), Some(1), "{mode}");
    assert_eq!(report["invalid"][0], "wrong_answers", "{mode}");
    let kinds: Vec<&String> = report["wrong_by_kind"].as_object().expect("kinds").keys().collect();
    assert_eq!(kinds, [kind], "{mode}: {report}");
    assert!(mock.stop()["failed_on_purpose"].as_u64() > Some(0));
}

#[test]
fn each_failure_has_its_name() {
    fails("hang", "timeout");
    fails("slow", "timeout");
    fails("reset", "reset");
    fails("truncate", "truncated");
}

#[test]
fn a_slow_answer_is_right_if_there_is_time() {
    let mock = Mock::start("slow", &["--result-size", "64", "--fail", "slow"]);
    let options = ["--connections", "2", "--requests", "2", "--warmup", "0", "--expect-size", "64"];
    let report = valid(&mock.url(), &options);
    assert!(report["latency_us"]["min"].as_f64() >= Some(1_999_000.0), "{report}");
}

#[test]
fn a_share_of_the_answers_fails() {
    let mock = Mock::start("share", &["--result-size", "64", "--fail", "reset", "--fail-share", "0.2"]);
    let options = ["--connections", "4", "--requests", "100", "--warmup", "0", "--expect-size", "64"];
    let (_, report) = run(&mock.url(), &options);
    let failed = mock.stop()["failed_on_purpose"].as_u64().expect("a count");
    assert!((5..45).contains(&failed), "{failed}");
    assert_eq!(
        (&report["wrong_by_kind"]["reset"], &report["wrong"]),
        (&Value::from(failed), &Value::from(failed))
    );
}

#[test]
fn latency_is_as_told() {
    let mock = Mock::start("latency", &["--result-size", "64", "--latency", "uniform:10ms..30ms"]);
    let options = ["--connections", "20", "--requests", "200", "--warmup", "0", "--expect-size", "64"];
    let report = valid(&mock.url(), &options);
    let us = |q: &str| report["latency_us"][q].as_f64().expect("a latency");
    assert!(us("min") >= 9_990.0 && us("p50") > 15_000.0 && us("max") >= 25_000.0, "{report}");
}
