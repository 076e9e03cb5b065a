//! The generator against the mock, as the binaries that are shipped: both eras, all answer forms, both loops, and
//! servers that are wrong in ways a gateway could be.

mod failures;
mod harness;
mod identities;
mod open_loop;
mod output;
mod scenarios;

use harness::{LATE, Mock, framed, right, run, valid, wrong_server};
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn both_eras_and_every_form_of_answer() {
    for mode in ["json", "json-chunked", "sse"] {
        let mock = Mock::start(mode, &["--mode", mode, "--result-size", "3000"]);
        for era in ["modern", "legacy"] {
            let options = [
                "--era",
                era,
                "--connections",
                "8",
                "--requests",
                "400",
                "--warmup",
                "0",
                "--expect-size",
                "3000",
            ];
            let report = valid(&mock.url(), &options);
            assert_eq!(
                (&report["sent"], &report["requests"]),
                (&Value::from(400), &Value::from(400)),
                "{mode} {era}"
            );
            assert_eq!(report["latency_us"]["count"], 400);
        }
        let counts = mock.stop();
        assert_eq!(
            (&counts["tools_calls"], &counts["distinct_markers"]),
            (&Value::from(800), &Value::from(800))
        );
        assert_eq!((&counts["repeated_markers"], &counts["rejected"]), (&Value::from(0), &Value::from(0)));
        assert_eq!((&counts["initialize"], &counts["notifications"]), (&Value::from(8), &Value::from(8)));
        assert_eq!(counts["deleted"], 8, "a polite client ends its sessions");
    }
}

#[test]
fn open_loop_threads_and_warm_up() {
    let mock = Mock::start("open", &["--result-size", "64"]);
    let options = [
        "--rate",
        "1000",
        "--duration",
        "1",
        "--warmup",
        "0.3",
        "--threads",
        "2",
        "--connections",
        "5",
        LATE,
    ];
    let pid = std::process::id().to_string();
    let report = valid(&mock.url(), &[&options[..], &["--expect-size", "64", "--pid", &pid]].concat());
    assert_eq!((&report["sent"], &report["unsent"]), (&Value::from(1_300), &Value::from(0)));
    assert_eq!(report["latency_us"]["count"], 1_000);
    assert!(report["process"]["rss_kib"].as_u64().expect("measured") > 0);
    assert_eq!(mock.stop()["distinct_markers"], 1_300);
}

#[test]
fn large_and_small_messages() {
    let mock = Mock::start("large", &["--result-size", "1048576"]);
    let options = ["--size", "1000000", "--expect-size", "1048576", "--connections", "3", "--requests", "30"];
    valid(&mock.url(), &[&options[..], &["--warmup", "0"]].concat());
    let (output, report) = run(&mock.url(), &["--requests", "10", "--warmup", "0", "--expect-size", "64"]);
    assert_eq!((output.status.code(), &report["wrong_by_kind"]["size"]), (Some(1), &Value::from(10)));
}

#[test]
fn planted_values_are_followed_both_ways() {
    let mock = Mock::start("plant", &["--result-size", "500"]);
    let options = ["--plant", "0.5", "--requests", "300", "--warmup", "0", "--expect-size", "500"];
    let report = valid(&mock.url(), &options);
    let planted = report["planted"].as_u64().expect("count");
    assert!((100..200).contains(&planted));
    let (output, report) = run(&mock.url(), &[&options[..], &["--expect", "redacted"]].concat());
    assert_eq!((output.status.code(), &report["wrong_by_kind"]["leaked"]), (Some(1), &Value::from(planted)));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("INVALID") && text.contains("planted value got through"), "{text}");
    let counts = mock.stop();
    assert_eq!(
        (&counts["notes_verbatim"], &counts["notes_redacted"]),
        (&Value::from(2 * planted), &Value::from(0))
    );
}

#[test]
fn the_mock_answers_pipelined_requests_in_order_however_large() {
    let mock = Mock::start("pipeline", &["--result-size", "400000"]);
    let mut stream = TcpStream::connect(&mock.addr).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("option");
    let request = |id: u32| {
        let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#;
        let body = format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"lookup","_meta":{meta}}}}}"#
        );
        let close = if id == 12 { "Connection: close\r\n" } else { "" };
        format!(
            "POST /mcp HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nMCP-Protocol-Version: 2026-07-28\r\n\
             Mcp-Method: tools/call\r\nMcp-Name: lookup\r\n{close}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    stream.write_all((1..=12).map(request).collect::<String>().as_bytes()).expect("sent");
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).expect("all answers, then the end");
    let text = String::from_utf8(answers).expect("UTF-8");
    let ids: Vec<&str> =
        text.split(r#""jsonrpc":"2.0","id":"#).skip(1).map(|t| t.split(',').next().expect("id")).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"]);
    assert_eq!(mock.stop()["tools_calls"], 12);
}

#[track_caller]
fn found(reply: fn(&str, &str) -> Option<String>, kind: &str) {
    let options = ["--connections", "2", "--requests", "4", "--warmup", "0", "--timeout", "0.4"];
    let (output, report) = run(&wrong_server(reply), &options);
    assert_eq!(output.status.code(), Some(1), "{kind}");
    assert!(report["wrong_by_kind"][kind].as_u64() > Some(0), "{kind}: {report}");
}

#[test]
fn another_servers_answers_are_judged_by_their_meaning() {
    let url = wrong_server(|_, body| Some(framed(&right(body))));
    valid(&url, &["--connections", "2", "--requests", "50", "--warmup", "0"]);
    let closing =
        wrong_server(|_, body| Some(framed(&right(body)).replacen("\r\n", "\r\nConnection: close\r\n", 1)));
    let report = valid(&closing, &["--connections", "2", "--requests", "50", "--warmup", "0"]);
    assert!(report["reconnects"].as_u64() >= Some(48), "{report}");
}

#[test]
fn wrong_answers_are_found() {
    found(|_, body| Some(framed(&right(body).replace("\"id\":", "\"id\":1"))), "id");
    found(|_, body| Some(framed(&right(&body.replace("mark-", "mark+")))), "marker");
    found(|_, body| Some(framed(&right(body)[1..])), "not_json_rpc");
    found(|_, body| Some(framed(&right(body)).replace(" 200 ", " 500 ")), "status");
    found(|_, body| Some(framed(&right(body)).replace("\r\n", "\n")), "framing");
    found(|_, body| Some(framed(&right(body)).replace("Content-Length", "X-Length")), "framing");
    found(|_, body| Some(framed(&right(body)) + "HTTP/1.1 200 OK\r\n"), "unasked");
    found(|_, body| Some(framed(&right(body)).replace("application/json", "text/html")), "media_type");
    found(
        |_, body| Some(framed(&right(body)).replace("application/json", "text/event-stream")),
        "cut_stream",
    );
    found(|_, _| None, "closed");
    found(|_, _| Some("HTTP/1.1 200 OK\r\nContent-Le".to_owned()), "timeout");
}

#[test]
fn nobody_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("bind").local_addr().expect("addr");
    let options = ["--connections", "1", "--duration", "0.3", "--warmup", "0", "--timeout", "0.3"];
    let started = Instant::now();
    let (output, report) = run(&format!("http://{free}/mcp"), &options);
    assert_eq!(output.status.code(), Some(1));
    assert!(report["wrong_by_kind"]["connect"].as_u64() > Some(0), "{report}");
    assert!(started.elapsed() < Duration::from_secs(20));
    let (output, _) = run("http://192.0.2.1/mcp", &[]);
    assert_eq!(output.status.code(), Some(2), "only this machine without --allow-remote");
}
