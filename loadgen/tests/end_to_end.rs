//! The generator against the mock, as the binaries that are shipped: both eras, all answer forms, both loops, and
//! servers that are wrong in ways a gateway could be.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_tidegate-loadgen");

/// These tests share their cores with others: how late the generator was is not what they are about.
const LATE: &str = "--send-lag-max-us=10000000";

struct Mock {
    child: Option<Child>,
    addr: String,
    dir: PathBuf,
}

impl Mock {
    fn start(name: &str, options: &[&str]) -> Mock {
        let dir = std::env::temp_dir().join(format!("tidegate-loadgen-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("temp dir");
        let file = dir.join("addr");
        let child = Command::new(BINARY)
            .args(["mock-upstream", "--addr-file"])
            .arg(&file)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("mock starts");
        let deadline = Instant::now() + Duration::from_secs(20);
        let addr = loop {
            match std::fs::read_to_string(&file) {
                Ok(addr) => break addr,
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                Err(e) => panic!("the mock did not start: {e}"),
            }
        };
        Mock { child: Some(child), addr, dir }
    }

    fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// Stops it as an operator would and returns what it counted.
    fn stop(mut self) -> Value {
        let child = self.child.take().expect("still running");
        let killed =
            Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        assert!(killed.success());
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).expect("one line of JSON")
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// In a closed loop, unless the options say otherwise.
fn run(url: &str, options: &[&str]) -> (Output, Value) {
    let open = options.iter().any(|o| ["--rate", "--steps"].contains(o));
    let output = Command::new(BINARY)
        .args(["run", "--url", url, "--json", "-"])
        .args(options)
        .args((!open).then_some("--closed"))
        .output()
        .expect("generator runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, report)
}

fn valid(url: &str, options: &[&str]) -> Value {
    let (output, report) = run(url, options);
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["wrong"], 0);
    report
}

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

/// Serves every connection with `reply`, which sees a request's head and body and returns what to send; `None`
/// closes. Ends with the test process.
fn wrong_server(reply: fn(&str, &str) -> Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("addr");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve_wrongly(stream, reply));
        }
    });
    format!("http://{addr}/mcp")
}

fn serve_wrongly(stream: TcpStream, reply: fn(&str, &str) -> Option<String>) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let mut writer = stream;
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let Some(answer) = reply(&head, &String::from_utf8_lossy(&body)) else { return };
        if writer.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn framed(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A right answer to a call, in a form of its own.
fn right(body: &str) -> String {
    let request: Value = serde_json::from_str(body).expect("JSON");
    let text = format!("found {}", request["params"]["arguments"]["marker"].as_str().expect("marker"));
    let result = serde_json::json!({"resultType": "complete", "content": [{"type": "text", "text": text}]});
    serde_json::json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string()
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
