//! Many calls at once: no error, no lost or repeated audit record, memory that stays flat; and a crash in the middle.
//! The load generator checks every answer by itself and shares no code with the gateway.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    time::Duration,
};

use serde_json::Value;
use tidegate_tests::{Gateway, Process, TempDir, audit_records, project, wait};

const CONNECTIONS: &str = "64";
const RUN_TIME_MAX: Duration = Duration::from_secs(180);

fn mock(dir: &TempDir) -> (Process, String) {
    let addr_file = dir.join("mock.json");
    let mut command = Command::new(project::binary("tidegate-loadgen"));
    command
        .args(["mock-upstream", "--listen", "127.0.0.1:0", "--result-size", "1024", "--addr-file"])
        .arg(&addr_file);
    let process = Process::start(command);
    let addr = wait::until("the mock's address", wait::START, || {
        fs::read_to_string(&addr_file).ok().filter(|a| !a.trim().is_empty())
    });
    (process, format!("http://{}/mcp", addr.trim()))
}

fn generator(url: &str, requests: u64, json: &std::path::Path) -> Command {
    let mut command = Command::new(project::binary("tidegate-loadgen"));
    command.args([
        "run",
        "--closed",
        "--url",
        url,
        "--connections",
        CONNECTIONS,
        "--warmup",
        "0",
        "--requests",
    ]);
    command.arg(requests.to_string()).arg("--json").arg(json);
    command
}

/// Resident memory of a process, in KiB.
fn rss(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the gateway runs");
    let line = status.lines().find(|l| l.starts_with("VmRSS:")).expect("a process has memory");
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number of KiB")
}

/// Size of all files of a directory.
fn bytes_in(dir: &std::path::Path) -> u64 {
    let files = fs::read_dir(dir).expect("the audit directory").filter_map(Result::ok);
    files.filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum()
}

/// Each worker's lines are numbered without a gap or a repetition.
fn assert_gapless(records: &[Value]) {
    let mut streams: BTreeMap<(String, u64), Vec<u64>> = BTreeMap::new();
    for r in records {
        let stream =
            (r["boot"].as_str().unwrap_or_default().to_owned(), r["core"].as_u64().unwrap_or(u64::MAX));
        streams.entry(stream).or_default().push(r["seq"].as_u64().expect("every line has a number"));
    }
    for (stream, numbers) in streams {
        assert!(numbers.iter().enumerate().all(|(i, n)| *n == i as u64), "{stream:?} has a gap");
    }
}

fn calls(records: &[Value]) -> Vec<&Value> {
    records.iter().filter(|r| r["kind"] == "call" && r["tool_name"].is_string()).collect()
}

fn check_load(io: &str, requests: u64) {
    let dir = TempDir::new("load");
    let (_mock, url) = mock(&dir);
    let config = Gateway::config(&[("mock", &url)]) + &format!("workers: 2\nio: {io}\n");
    let mut gateway = Gateway::start(&config);
    let first = dir.join("first.json");
    let done = Process::run(generator(&gateway.url("mock"), requests / 5, &first), RUN_TIME_MAX);
    assert!(done.success(), "{}", done.output);
    let before = rss(gateway.pid());
    let second = dir.join("second.json");
    let mut command = generator(&gateway.url("mock"), requests - requests / 5, &second);
    command.args(["--run", "2"]);
    let done = Process::run(command, RUN_TIME_MAX);
    assert!(done.success(), "{}", done.output);
    let after = rss(gateway.pid());
    assert!(after < before + before / 4 + 8192, "memory grew from {before} to {after} KiB");
    assert!(gateway.stop().success());
    let records = gateway.audit();
    assert_gapless(&records);
    let calls = calls(&records);
    assert_eq!(calls.len() as u64, requests, "one record for each call");
    let traces: BTreeSet<_> = calls.iter().map(|r| r["trace_id"].as_str().expect("a trace id")).collect();
    assert_eq!(traces.len() as u64, requests);
    assert!(calls.iter().all(|r| r["status"] == 200 && r["decision"] != "error" && r["decision"] != "deny"));
    let intents: BTreeSet<_> = records.iter().filter_map(|r| r["intent"]["trace_id"].as_str()).collect();
    assert!(intents.is_subset(&traces), "every announced call has ended");
}

#[test]
fn a_hundred_thousand_calls_on_io_uring() {
    check_load("auto", 100_000);
}

#[test]
fn many_calls_on_epoll() {
    check_load("epoll", 30_000);
}

#[test]
fn a_crash_in_the_middle_leaves_at_most_a_torn_line() {
    let dir = TempDir::new("crash");
    let (_mock, url) = mock(&dir);
    let mut gateway = Gateway::start(&Gateway::config(&[("mock", &url)]));
    for round in 0..5 {
        let before = bytes_in(&gateway.audit_dir);
        let mut command = generator(&gateway.url("mock"), 10_000_000, &dir.join("out.json"));
        command.args(["--run", &(round + 1).to_string()]);
        let _generator = Process::start(command);
        wait::until("records on disk", wait::SOON, || {
            (bytes_in(&gateway.audit_dir) > before + 1_000_000).then_some(())
        });
        gateway.kill();
        // A whole line anywhere but at the end of a file would make this panic.
        assert_gapless(&audit_records(&gateway.audit_dir));
        gateway.restart();
        let recovered = gateway.audit_until(round + 1, |r| r["kind"] == "recovered");
        let files: BTreeSet<_> = recovered.iter().map(|r| r["file"].as_str().expect("a file")).collect();
        assert_eq!(files.len(), recovered.len(), "each unsealed segment is told of once");
    }
    assert!(gateway.stop().success());
    for entry in fs::read_dir(&gateway.audit_dir).expect("the audit directory") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|e| e != "ndjson") {
            continue; // the lock
        }
        let bytes = fs::read(&path).expect("a segment");
        assert_eq!(bytes.last(), Some(&b'\n'), "{}: no line is left open", path.display());
    }
}
