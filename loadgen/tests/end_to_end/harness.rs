//! Starting the shipped binary as mock and as generator, and servers of our own.

use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub const BINARY: &str = env!("CARGO_BIN_EXE_tidegate-loadgen");

/// These tests share their cores with others: how late the generator was is not what they are about.
pub const LATE: &str = "--send-lag-max-us=10000000";

pub struct Mock {
    child: Option<Child>,
    pub addr: String,
    pub dir: PathBuf,
}

impl Mock {
    pub fn start(name: &str, options: &[&str]) -> Mock {
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

    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// Stops it as an operator would and returns what it counted.
    pub fn stop(mut self) -> Value {
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
pub fn run(url: &str, options: &[&str]) -> (Output, Value) {
    let open = options.iter().any(|o| ["--rate", "--steps"].contains(o));
    let output = Command::new(BINARY)
        .args(["run", "--url", url, "--json", "-", "--no-self-test"])
        .args(options)
        .args((!open).then_some("--closed"))
        .output()
        .expect("generator runs");
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output, report)
}

pub fn valid(url: &str, options: &[&str]) -> Value {
    let (output, report) = run(url, options);
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(report["wrong"], 0);
    report
}

/// Serves every connection with `reply`, which sees a request's head and body and returns what to send; `None`
/// closes. Ends with the test process.
pub fn wrong_server(reply: fn(&str, &str) -> Option<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let addr = listener.local_addr().expect("addr");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream, reply));
        }
    });
    format!("http://{addr}/mcp")
}

/// Serves one connection, with TLS on it or not.
pub fn serve(stream: impl Read + Write, reply: fn(&str, &str) -> Option<String>) {
    let mut reader = BufReader::new(stream);
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
        let writer = reader.get_mut();
        if writer.write_all(answer.as_bytes()).and_then(|()| writer.flush()).is_err() {
            return;
        }
    }
}

pub fn framed(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A right answer to a call, in a form of its own.
pub fn right(body: &str) -> String {
    let request: Value = serde_json::from_str(body).expect("JSON");
    let text = format!("found {}", request["params"]["arguments"]["marker"].as_str().expect("marker"));
    let result = serde_json::json!({"resultType": "complete", "content": [{"type": "text", "text": text}]});
    serde_json::json!({"jsonrpc": "2.0", "id": request["id"], "result": result}).to_string()
}

/// Runs another command of the binary; returns its exit code, standard output and standard error.
pub fn command(args: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(BINARY).args(args).stdin(Stdio::null()).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A file in a directory that ends with the mock.
pub fn file(mock: &Mock, name: &str, text: &str) -> String {
    let path = mock.dir.join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}
