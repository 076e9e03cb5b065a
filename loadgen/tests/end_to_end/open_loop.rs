//! The timetable: what waits is counted from when it was due, and whose fault it was is told apart.

use crate::harness::{LATE, Mock, framed, right, run, valid, wrong_server};
use serde_json::Value;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// Calls before the stall, and how long nobody is answered.
const CALLS_BEFORE: u64 = 300;
const STALL: Duration = Duration::from_millis(200);

/// Right answers, but for one stall of everything in the middle.
fn stalling(_: &str, body: &str) -> Option<String> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    static EVERYBODY: Mutex<()> = Mutex::new(());
    let turn = EVERYBODY.lock();
    if CALLS.fetch_add(1, Ordering::Relaxed) % (2 * CALLS_BEFORE) == CALLS_BEFORE {
        thread::sleep(STALL); // this is the stall that is measured
    }
    drop(turn);
    Some(framed(&right(body)))
}

#[test]
fn a_stall_hits_every_call_that_was_due_in_it() {
    let url = wrong_server(stalling);
    let common = ["--connections", "4", "--warmup", "0", LATE];
    // Twice as many calls as there are between two stalls: each run meets exactly one.
    let open = valid(&url, &[&common[..], &["--rate", "1000", "--requests", "600"]].concat());
    let us = |report: &Value, q: &str| report["latency_us"][q].as_f64().expect("a latency");
    let stall = STALL.as_micros() as f64;
    assert!(us(&open, "p999") > stall * 0.9, "{open}");
    // Two hundred of the six hundred calls were due in it, and waited for a hundred milliseconds on average.
    assert!(us(&open, "p90") > stall * 0.4, "{open}");
    let closed = valid(&url, &[&common[..], &["--requests", "600"]].concat());
    // The closed loop asked nothing meanwhile: four calls of six hundred know of the stall, too few for p99.
    assert!(us(&closed, "max") > stall * 0.9 && us(&closed, "p99") < stall * 0.5, "{closed}");
}

#[test]
fn steps_are_reported_one_by_one() {
    let mock = Mock::start("steps", &["--result-size", "64"]);
    let report =
        valid(&mock.url(), &["--steps", "200:500ms,400:500ms", "--warmup", "0.1", "--threads", "2", LATE]);
    let counts: Vec<u64> = report["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|s| s["latency_us"]["count"].as_u64())
        .collect();
    assert_eq!((counts, &report["sent"]), (vec![100, 200], &Value::from(320)));
    assert_eq!(report["rate"], 400.0);
    let timeline = report["timeline"].as_array().expect("points");
    let answers: u64 = timeline.iter().filter_map(|p| p["requests"].as_u64()).sum();
    assert!(timeline.len() >= 10 && answers == 320, "{timeline:?}");
}

#[test]
fn a_generator_that_is_late_says_that_it_is() {
    let mock = Mock::start("late", &["--result-size", "64"]);
    let options = ["--rate", "500", "--duration", "0.4", "--warmup", "0"];
    // No call is rendered and written within a microsecond.
    let (output, report) = run(&mock.url(), &[&options[..], &["--send-lag-max-us", "1"]].concat());
    assert_eq!((output.status.code(), &report["valid"]), (Some(1), &Value::from(false)));
    assert_eq!(report["invalid"], serde_json::json!(["generator_saturated"]));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("INVALID") && text.contains("--busy-poll"), "says what to do: {text}");
    assert!(report["generator"]["send_lag_us"]["p99"].as_f64() > Some(1.0));
    valid(&mock.url(), &[&options[..], &[LATE]].concat());
}

#[test]
fn a_target_that_is_too_slow_is_not_the_generators_fault() {
    let mock = Mock::start("too-slow", &["--result-size", "64", "--latency", "fixed:50ms"]);
    let options =
        ["--rate", "1000", "--duration", "20", "--warmup", "0", "--connections", "2", "--queue", "50", LATE];
    let (output, report) = run(&mock.url(), &options);
    assert_eq!((output.status.code(), &report["wrong"]), (Some(1), &Value::from(0)));
    assert_eq!(report["invalid"], serde_json::json!(["target_too_slow"]));
    assert!(
        report["queue"]["waiting_max"].as_u64() > Some(50) && report["seconds"].as_f64() < Some(10.0),
        "{report}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("the target cannot keep this rate"));
}

#[test]
fn what_waits_in_the_queue_counts_its_wait() {
    let mock = Mock::start("queue", &["--result-size", "64", "--latency", "fixed:20ms"]);
    // One connection answers 50 calls a second; of 30 due at once the last waits for more than half a second.
    let options = ["--rate", "1000", "--requests", "30", "--warmup", "0", "--connections", "1", LATE];
    let report = valid(&mock.url(), &options);
    assert!(report["latency_us"]["max"].as_f64() > Some(550_000.0), "{report}");
    assert!(report["latency_us"]["min"].as_f64() >= Some(19_980.0), "the mock is never early: {report}");
}
