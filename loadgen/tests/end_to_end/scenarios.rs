//! Mixes of calls from a file. Bounds on latencies leave room for the three digits of the histogram.

use crate::harness::{LATE, Mock, command, file, run, valid};
use serde_json::Value;

#[test]
fn the_example_runs_as_printed() {
    let (code, example, _) = command(&["scenario", "--example"]);
    assert_eq!(code, Some(0));
    let mock = Mock::start("example", &["--result-size", "1024"]);
    let path = file(&mock, "day.yaml", &example);
    let options = [
        "--rate",
        "400",
        "--duration",
        "1.5",
        "--warmup",
        "0",
        "--connections",
        "16",
        "--threads",
        "2",
        LATE,
    ];
    let report = valid(&mock.url(), &[&options[..], &["--scenario", &path, "--queue", "100000"]].concat());
    assert_eq!((&report["scenario"], &report["streams"]), (&Value::from("a working day"), &Value::from(4)));
    let calls = report["calls"].as_array().expect("kinds of calls");
    let count = |c: &Value| c["latency_us"]["count"].as_u64().expect("a count");
    assert_eq!(calls.len(), 8);
    assert_eq!(calls.iter().map(count).sum::<u64>(), 600, "each call is of one kind");
    assert!(calls.iter().all(|c| count(c) > 0 && c["wrong"] == 0), "{calls:?}");
    let held = &calls[6];
    assert!(held["timed"] == false && held["latency_us"]["min"].as_f64() >= Some(499_500.0), "{held}");
    assert_eq!(report["latency_us"]["count"], 600 - count(held), "the held call is not part of the whole");
    let counts = mock.stop();
    for what in ["reads", "listings", "planted_results", "initialize"] {
        assert!(counts[what].as_u64() > Some(0), "{what}: {counts}");
    }
    assert_eq!((&counts["streams"], &counts["rejected"]), (&4.into(), &calls[7]["latency_us"]["count"]));
}

#[test]
fn mistakes_are_reported_together() {
    let mock = Mock::start("mistakes", &[]);
    let path = file(&mock, "bad.yaml", "calls:\n- { call: tools/call, size: 5 }\n- { call: tools/lists }\n");
    let (output, _) = run(&mock.url(), &["--scenario", &path, "--connections", "0"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    for part in ["--connections 0", "calls[0].size", "calls[1].call"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn answers_are_checked_for_their_kind() {
    let mock = Mock::start("kinds", &["--result-size", "64"]);
    for (call, kind) in [
        ("{ call: tools/call, error: -32602 }", "no_error"),
        ("{ call: tools/call, tool: other, error: -32000 }", "rpc_error"),
        ("{ call: resources/read, uri: 'mock://nothing' }", "rpc_error"),
        ("{ call: tools/call, result: 65 }", "size"),
    ] {
        let path = file(&mock, "one.yaml", &format!("calls: [{call}]"));
        let options = ["--requests", "3", "--connections", "1", "--warmup", "0", "--scenario", &path];
        let (output, report) = run(&mock.url(), &options);
        assert_eq!((output.status.code(), &report["wrong_by_kind"][kind]), (Some(1), &3.into()), "{call}");
    }
}

#[test]
fn streamed_answers_and_every_payload() {
    let mode = ["--mode", "sse", "--events", "3", "--event-interval", "2ms", "--hold", "10ms", "--seed", "9"];
    for payload in ["documents", "api-json", "prose", "code", "logs", "mixed"] {
        let mock =
            Mock::start(payload, &[&mode[..], &["--result-size", "5000", "--payload", payload]].concat());
        let options =
            ["--requests", "16", "--connections", "4", "--warmup", "0", "--size", "3000", "--seed", "9"];
        let known = ["--expect-size", "5000", "--payload", payload, "--plant", "0.5"];
        let report = valid(&mock.url(), &[&options[..], &known].concat());
        assert!(
            report["latency_us"]["min"].as_f64() >= Some(15_900.0),
            "three events and the hold: {report}"
        );
        let (_, other) = run(&mock.url(), &[&options[..8], &["--seed", "8"], &known].concat());
        assert!(other["wrong_by_kind"]["text"].as_u64() > Some(0), "another seed, another text: {other}");
    }
}
