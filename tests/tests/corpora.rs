//! The labelled corpora that lie beside the project, replayed on the running gateway with both I/O drivers. What the
//! parsers say of each row is tested in `core`; here it is whether any byte of a bad row reaches a server, whether the
//! connection ends in time, and whether the audit log counts what the client saw.
//!
//! A row may be replayed in two forms: as it is, and aimed: with its path changed to that of a configured server and its
//! body changed to an MCP message, so that the defect which the row is about is all that keeps it from that server.

#![allow(unsafe_code)] // connect(2) with AF_UNSPEC, in one function below: the only way to reset a connection at will.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Next, Process, RawClient, RecordingUpstream, TempDir, project,
    raw::{self, Broken},
    shared_data,
    upstream::write_response,
    wait::{self, SOON},
};

/// Connections at a time, for each driver.
const THREADS: usize = 8;

/// Deadlines short enough to be waited for, long enough for a machine that compiles beside the tests.
const LIMITS: &str = "limits: { head_deadline_ms: 300, body_deadline_ms: 300 }\n";

/// Seeds the random splits.
const SEED: u64 = 0x7469_6465;

// --- requests.jsonl -------------------------------------------------------------------------------------------------

/// One row of requests.jsonl.
struct Request {
    name: String,
    bytes: Vec<u8>,
    accept: bool,
    /// Incomplete on purpose: only a deadline or the end of the connection can end it.
    late: bool,
    /// Whole requests: all of an accepted row, those before the bad one of a rejected row.
    count: usize,
    /// What the last answer must be one of; empty: any 4xx or 5xx.
    status: Vec<u16>,
}

fn requests() -> Vec<Request> {
    let request = |row: Value| {
        let accept = row["expect"] == "accept";
        let count = row[if accept { "n_requests" } else { "n_valid_before" }].as_u64();
        let status = match &row["status"] {
            Value::Array(any) => any.iter().filter_map(Value::as_u64).map(|n| n as u16).collect(),
            one => one.as_u64().map(|n| n as u16).into_iter().collect(),
        };
        Request {
            name: text(&row["name"]),
            bytes: bytes(&row),
            accept,
            late: row["when"] == "timeout-or-eof",
            count: count.unwrap_or(accept.into()) as usize,
            status,
        }
    };
    rows("http/requests.jsonl").into_iter().map(request).collect()
}

#[test]
fn http_requests_as_they_are() {
    let rows = requests();
    if rows.is_empty() {
        return;
    }
    on_both_drivers(|driver| {
        let upstream = server();
        let mut gateway = Gateway::start(&config(driver, &upstream, LIMITS));
        let answered = AtomicUsize::new(0);
        let wrong = in_parallel(&rows, |_, row| replay(&gateway, row, &row.bytes, &answered));
        none(&wrong, rows.len());
        assert_eq!(upstream.requests(), [], "no row is for a configured server");
        records_agree(&mut gateway, answered.into_inner());
    });
}

#[test]
fn http_requests_aimed_at_a_server() {
    let rows = requests();
    if rows.is_empty() {
        return;
    }
    let aimed: Vec<(&Request, Vec<u8>)> = rows
        .iter()
        .enumerate()
        .filter_map(|(i, row)| aimed(&row.bytes, &tag(i)).map(|bytes| (row, bytes)))
        .collect();
    on_both_drivers(|driver| {
        let upstream = server();
        let mut gateway = Gateway::start(&config(driver, &upstream, LIMITS));
        let answered = AtomicUsize::new(0);
        let mut wrong = in_parallel(&aimed, |_, (row, bytes)| replay(&gateway, row, bytes, &answered));
        let mut seen = by_tag(&upstream, &mut wrong);
        let mut forwarded = 0;
        for (i, row) in rows.iter().enumerate() {
            let seen = seen.remove(&tag(i)).unwrap_or(0);
            forwarded += usize::from(row.accept && seen > 0);
            if seen > row.count {
                wrong.push(format!("{}: {seen} requests reached the server, not {}", row.name, row.count));
            }
        }
        wrong.extend(seen.keys().map(|tag| format!("a request with the tag {tag:?} reached the server")));
        none(&wrong, aimed.len());
        println!(
            "{driver}: {} rows of {} aimed; {forwarded} good ones reached the server",
            aimed.len(),
            rows.len()
        );
        assert!(
            forwarded >= 10,
            "only {forwarded} accepted rows reached the server: aiming has come to nothing"
        );
        records_agree(&mut gateway, answered.into_inner());
    });
}

#[test]
fn http_requests_in_pieces() {
    let mut rows = requests();
    rows.retain(|row| row.accept);
    let variants: Vec<(&Request, Vec<u8>)> = rows
        .iter()
        .enumerate()
        .flat_map(|(i, row)| [Some(row.bytes.clone()), aimed(&row.bytes, &tag(i))].map(|bytes| (row, bytes)))
        .filter_map(|(row, bytes)| Some((row, bytes?)))
        .collect();
    if variants.is_empty() {
        return;
    }
    // A byte at a time takes longer than a message may.
    let limits = "limits: { head_deadline_ms: 10000, body_deadline_ms: 10000 }\n";
    on_both_drivers(|driver| {
        let upstream = server();
        let gateway = Gateway::start(&config(driver, &upstream, limits));
        let wrong = in_parallel(&variants, |i, (row, bytes)| {
            let whole = talk(gateway.mcp_addr, &[bytes], row.count)?;
            let mut random = Random(SEED ^ i as u64);
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            let stride = bytes.len().div_ceil(16).max(1);
            let mut splits = vec![singles];
            splits.extend((1..bytes.len()).step_by(stride).map(|at| vec![&bytes[..at], &bytes[at..]]));
            splits.extend((0..4).map(|_| random.split(bytes)));
            for split in splits {
                let got = talk(gateway.mcp_addr, &split, row.count)?;
                if got != whole {
                    let lengths: Vec<usize> = split.iter().map(|part| part.len()).collect();
                    return Err(format!(
                        "in pieces of {lengths:?} (seed {SEED:#x}): {got:?}; whole: {whole:?}"
                    ));
                }
            }
            Ok(())
        });
        none(&wrong, variants.len());
        healthy(&gateway);
    });
}

/// Sends a row on a connection of its own and holds the gateway to the row's label.
fn replay(gateway: &Gateway, row: &Request, bytes: &[u8], answered: &AtomicUsize) -> Result<(), String> {
    let expected = if row.accept { row.count } else { usize::MAX };
    let begun = Instant::now();
    let answers = talk(gateway.mcp_addr, &[bytes], expected)?;
    let took = begun.elapsed();
    answered.fetch_add(answers.len(), Ordering::Relaxed);
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    let closes = answers.last().is_some_and(|answer| answer.close);
    if row.accept {
        // A refusal before the body, such as of a path that is not served, closes: later requests are not read.
        let cut = closes && statuses.last().is_some_and(|status| *status >= 400);
        return match answers.len() {
            n if n == row.count || (n > 0 && n < row.count && cut) => Ok(()),
            _ => Err(format!("{statuses:?}, want {} answers", row.count)),
        };
    }
    // Good requests, then at most one refusal; both may be missing when an earlier one has closed the connection.
    let refused = match statuses.last() {
        None => true,
        Some(status) if row.status.is_empty() => (400..600).contains(status) && closes,
        Some(status) => row.status.contains(status) && closes,
    };
    let on_its_merits = row.late || statuses.last() != Some(&408);
    match refused && on_its_merits && statuses.len() <= row.count + 1 && took < SOON {
        true => Ok(()),
        false => Err(format!(
            "{statuses:?} (closes: {closes}) after {took:?}; want a refusal, at once unless late"
        )),
    }
}

/// Changes the row's paths to that of the configured server and its body to an MCP message, wherever that can be done
/// without touching what the row is about; `None` where it cannot.
fn aimed(bytes: &[u8], tag: &str) -> Option<Vec<u8>> {
    let message = format!(r#"{{"jsonrpc":"2.0","id":"{tag}","method":"ping"}}"#);
    let line_end = find(bytes, b"\r\n").filter(|at| *at > 0)?;
    let first = aimed_line(&bytes[..line_end])?;
    let head_end = find(bytes, b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let (mut head, body) = (bytes[line_end..head_end].to_vec(), &bytes[head_end..]);

    // Requests behind the first, smuggled or pipelined.
    let mut new_body = Vec::new();
    for (i, line) in split_keep(body, b"\r\n").into_iter().enumerate() {
        match line.strip_suffix(b"\r\n").and_then(aimed_line) {
            Some(request) if i > 0 || body.starts_with(b"GET ") || body.starts_with(b"POST ") => {
                new_body
                    .extend([request.as_slice(), format!("\r\nUser-Agent: {tag}\r\n").as_bytes()].concat());
            }
            _ => new_body.extend(line),
        }
    }
    // Bodies that are only there to be counted.
    let halves = message.split_at(20);
    let two = find(&new_body, b" world").is_some();
    let chunks = [("hello", if two { halves.0 } else { &message }), (" world", halves.1), ("Z", &message)];
    let chunked = chunks.iter().fold(false, |done, (old, new)| with_chunk(&mut new_body, old, new) || done);
    if !chunked && new_body.starts_with(b"hello") {
        new_body.splice(..5, message.bytes());
    }
    // Whoever states the body's length states the new one; a length that was wrong before stays wrong.
    let stated = if body.starts_with(b"hello") { 5 } else { body.len() };
    let now = stated + new_body.len() - body.len().min(new_body.len());
    head = with_length(&head, stated, now);

    let fields = format!(
        "User-Agent: {tag}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
    );
    let mut lines = split_keep(&head, b"\r\n");
    let is_named = |line: &&[u8], name: &str| {
        line.get(..name.len()).is_some_and(|own| own.eq_ignore_ascii_case(name.as_bytes()))
    };
    for name in ["content-type: ", "accept: ", "user-agent: "] {
        // Two of them are what the row is about.
        if lines.iter().filter(|line| is_named(line, name)).count() == 1 {
            lines.retain(|line| !is_named(line, name));
        }
    }
    let host = lines.iter().position(|line| line.starts_with(b"Host: ") && line.ends_with(b"\r\n"));
    lines.insert(host.unwrap_or(0) + 1, fields.as_bytes());
    Some([first.as_slice(), &lines.concat(), &new_body].concat())
}

/// A request line with a plain target, its target changed. `OPTIONS` is answered by the gateway for any path.
fn aimed_line(line: &[u8]) -> Option<Vec<u8>> {
    let line = std::str::from_utf8(line).ok()?;
    let words: Vec<&str> = line.split(' ').collect();
    let [method, target, version] = words[..] else { return None };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-_".contains(&b));
    let ok = !method.is_empty() && plain(method) && target.starts_with('/') && plain(target);
    let ok = ok && !target.starts_with("//") && matches!(version, "HTTP/1.1" | "HTTP/1.0");
    ok.then(|| format!("{method} /mcp/peer {version}").into_bytes())
}

/// Replaces the first chunk with the data `old` by one with the data `new`, keeping whatever else its size line says.
fn with_chunk(body: &mut Vec<u8>, old: &str, new: &str) -> bool {
    let Some(at) = find(body, old.as_bytes()) else { return false };
    let Some(line_end) = body[..at].strip_suffix(b"\r\n").map(<[u8]>::len) else { return false };
    let line = find_last(&body[..line_end], b"\r\n").map_or(0, |at| at + 2);
    let size = format!("{:x}", old.len());
    let Some(digit) = find(&body[line..line_end], size.as_bytes()) else { return false };
    body.splice(at..at + old.len(), new.bytes());
    body.splice(line + digit..line + digit + size.len(), format!("{:x}", new.len()).bytes());
    true
}

/// The head with lengths changed from `old` to `new` in fields that have to do with length; what asked for a little more
/// than there is asks for as much more afterwards.
fn with_length(head: &[u8], old: usize, new: usize) -> Vec<u8> {
    let lines = split_keep(head, b"\r\n").into_iter().map(|line| {
        let colon =
            find(line, b":").filter(|at| find(&line[..*at].to_ascii_lowercase(), b"length").is_some());
        let Some(colon) = colon else { return line.to_vec() };
        let mut out = line[..colon].to_vec();
        let mut rest = &line[colon..];
        while let Some(digit) = rest.iter().position(u8::is_ascii_digit) {
            let end =
                rest[digit..].iter().position(|b| !b.is_ascii_digit()).map_or(rest.len(), |n| digit + n);
            out.extend(&rest[..digit]);
            let number = std::str::from_utf8(&rest[digit..end]).ok().and_then(|n| n.parse::<usize>().ok());
            match number.filter(|n| (old..old + 64).contains(n) && !rest[digit..].starts_with(b"0")) {
                Some(n) => out.extend((n - old + new).to_string().bytes()),
                None => out.extend(&rest[digit..end]),
            }
            rest = &rest[end..];
        }
        out.extend(rest);
        out
    });
    lines.collect::<Vec<_>>().concat()
}

#[test]
fn aiming_keeps_what_a_row_is_about() {
    let message = r#"{"jsonrpc":"2.0","id":"r0001","method":"ping"}"#;
    let (length, size) = (message.len(), format!("{:x}", message.len()));
    let fields = "User-Agent: r0001\r\nContent-Type: application/json\r\n\
                  Accept: application/json, text/event-stream\r\n";
    for (row, want) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", format!("GET /mcp/peer HTTP/1.1\r\nHost: h\r\n{fields}\r\n")),
        (
            "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +5\r\n\r\nhello",
            format!(
                "POST /mcp/peer HTTP/1.1\r\nHost: h\r\n{fields}Content-Length: +{length}\r\n\r\n{message}"
            ),
        ),
        (
            "POST /x HTTP/1.1\r\nTransfer-Encoding : chunked\r\nHost: h\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
            format!(
                "POST /mcp/peer HTTP/1.1\r\nTransfer-Encoding : chunked\r\nHost: h\r\n{fields}\r\n\
                 {size};x\r\n{message}\r\n0\r\n\r\n"
            ),
        ),
    ] {
        let got = aimed(row.as_bytes(), "r0001").expect("can be aimed");
        assert_eq!(String::from_utf8_lossy(&got), want);
    }
    for row in ["GET /a?x=%00 HTTP/1.1\r\n\r\n", "GET  / HTTP/1.1\r\n\r\n", "\x00", "GET / HTTP/2.0\r\n\r\n"]
    {
        assert_eq!(aimed(row.as_bytes(), "r0001"), None, "{row:?}");
    }
}

// --- jsonrpc_cases.jsonl, json_text_cases.jsonl ---------------------------------------------------------------------

/// Rows that only a gateway with the tool's schema or the server's state can refuse. They must not harm; whether they
/// are passed on is left open here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("hdr/param-missing", "whether a parameter must be mirrored stands in the tool's schema"),
    ("hdr/param-null-extra", "whether a parameter must be mirrored stands in the tool's schema"),
    ("mrtr/state-replay-other-tool", "what a requestState was minted for is known to the server"),
];

/// The code of our table of denials, where it is another one than the corpus gives; and why.
fn documented_code(row: &Value) -> i64 {
    let theirs = row["jsonrpc_error"].as_i64().unwrap_or_default();
    match (row["name"].as_str().unwrap_or_default(), row["category"].as_str(), theirs) {
        // Duplicate keys are JSON, but no valid request; a lone surrogate is not even JSON.
        ("dup/truncate-surrogate", ..) => -32700,
        (_, Some("duplicate-key"), _) => -32600,
        _ => theirs,
    }
}

#[test]
fn jsonrpc_bodies() {
    let rows = rows("jsonrpc/jsonrpc_cases.jsonl");
    if rows.is_empty() {
        return;
    }
    for (name, reason) in ELSEWHERE {
        println!("only asserted not to harm: {name}: {reason}");
    }
    on_both_drivers(|driver| {
        let upstream = server();
        let mut gateway = Gateway::start(&config(driver, &upstream, ""));
        let answered = AtomicUsize::new(0);
        let mut wrong = in_parallel(&rows, |i, row| {
            answered.fetch_add(1, Ordering::Relaxed);
            jsonrpc_row(&gateway, row, &tag(i))
        });
        let seen = bodies_by_tag(&upstream);
        for (i, row) in rows.iter().enumerate() {
            let name = row["name"].as_str().unwrap_or_default();
            let (seen, want) = (seen.get(&tag(i)).map_or(&[][..], Vec::as_slice), bytes(row));
            let accept = row["expect"] == "accept";
            let elsewhere = ELSEWHERE.iter().any(|(known, _)| *known == name);
            if seen.iter().any(|body| *body != want) {
                wrong.push(format!("{name}: the server got other bytes than the client sent"));
            }
            if seen.len() != usize::from(accept) && !(elsewhere && seen.len() <= 1) {
                wrong.push(format!(
                    "{name}: reached the server {} times, label {}",
                    seen.len(),
                    row["expect"]
                ));
            }
        }
        none(&wrong, rows.len());
        records_agree(&mut gateway, answered.into_inner());
    });
}

fn jsonrpc_row(gateway: &Gateway, row: &Value, tag: &str) -> Result<(), String> {
    let body = bytes(row);
    let mut headers = vec![("User-Agent", tag)];
    match row["headers"].as_object() {
        Some(own) => {
            headers.extend(own.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?))))
        }
        None => match row["protocol"].as_str() {
            Some("any") | None => {}
            Some(version) => headers.push(("MCP-Protocol-Version", version)),
        },
    }
    let mut client = RawClient::connect(gateway.mcp_addr);
    client.send(raw::post("/mcp/peer", &headers, &body));
    let answer = client.try_read_response().map_err(|broken| broken.to_string())?;
    if row["expect"] == "accept" || ELSEWHERE.iter().any(|(name, _)| row["name"] == *name) {
        let ok = matches!(answer.status(), 200 | 202) || row["expect"] != "accept";
        return if ok { Ok(()) } else { Err(format!("{} {}", answer.status(), answer.text())) };
    }
    let shown = || format!("{} {}", answer.status(), answer.text());
    if !(400..500).contains(&answer.status()) || answer.header("content-type") != Some("application/json") {
        return Err(format!("{}, want 4xx with a JSON-RPC error", shown()));
    }
    let error: Value =
        serde_json::from_slice(&answer.body).map_err(|error| format!("{error}: {}", shown()))?;
    let want = documented_code(row);
    if error["jsonrpc"] != "2.0" || error["error"]["code"] != want || !error["error"]["message"].is_string() {
        return Err(format!("{}, want {want}", shown()));
    }
    if error.get("id") != readable_id(&body, want).as_ref() {
        return Err(format!("{}, want the id {:?}", shown(), readable_id(&body, want)));
    }
    Ok(())
}

/// The id an error must carry: one that stands in a JSON object and is itself valid. What is not JSON has none.
fn readable_id(body: &[u8], code: i64) -> Option<Value> {
    let message: Value = serde_json::from_slice(body).ok().filter(|_| code != -32700)?;
    let id = message.get("id")?;
    let valid = match id {
        Value::String(text) => text.len() <= 256 && !text.chars().any(char::is_control),
        Value::Number(number) => number.as_i64().is_some_and(|n| n.unsigned_abs() < 1 << 53),
        _ => false,
    };
    valid.then(|| id.clone())
}

#[test]
fn json_texts_as_arguments() {
    let rows = rows("jsonrpc/json_text_cases.jsonl");
    if rows.is_empty() {
        return;
    }
    let call = |text: &[u8], at: &str| {
        let head = format!(
            r#"{{"jsonrpc":"2.0","id":"{at}","method":"tools/call","params":{{"name":"t","arguments":{{"v":"#
        );
        [head.as_bytes(), text, b"}}}"].concat()
    };
    on_both_drivers(|driver| {
        let upstream = server();
        let mut gateway = Gateway::start(&config(driver, &upstream, ""));
        let wrong = in_parallel(&rows, |i, row| {
            let text = bytes(row);
            let accept = row["expect"] == "accept";
            let mut client = RawClient::connect(gateway.mcp_addr);
            client.send(raw::post("/mcp/peer", &[("User-Agent", &tag(i))], call(&text, &tag(i))));
            let inside = client.try_read_response().map_err(|broken| broken.to_string())?;
            let mut client = RawClient::connect(gateway.mcp_addr);
            client.send(raw::post("/mcp/peer", &[("User-Agent", "alone")], &text));
            let alone = client.try_read_response().map_err(|broken| broken.to_string())?;
            let want = if accept { 200 } else { 400 };
            match (inside.status() == want, alone.status() == 400) {
                (true, true) => Ok(()),
                _ => Err(format!(
                    "as an argument: {} {}; alone: {}",
                    inside.status(),
                    inside.text(),
                    alone.status()
                )),
            }
        });
        let seen = bodies_by_tag(&upstream);
        let mut wrong = wrong;
        for (i, row) in rows.iter().enumerate() {
            let want = if row["expect"] == "accept" { vec![call(&bytes(row), &tag(i))] } else { Vec::new() };
            if seen.get(&tag(i)).cloned().unwrap_or_default() != want {
                wrong.push(format!(
                    "{}: the server did not get the very bytes, or got what it must not",
                    row["name"]
                ));
            }
        }
        if seen.contains_key("alone") {
            wrong.push("a JSON text that is no message reached the server".to_owned());
        }
        none(&wrong, rows.len());
        records_agree(&mut gateway, 2 * rows.len());
    });
}

// --- sequences.jsonl ------------------------------------------------------------------------------------------------

/// Idle time after which the gateway closes a connection, in the race against it.
const IDLE_MS: u64 = 400;

#[test]
fn http_sequences() {
    let rows = rows("http/sequences.jsonl");
    if rows.is_empty() {
        return;
    }
    on_both_drivers(|driver| {
        for row in &rows {
            let name = row["name"].as_str().unwrap_or_default();
            let steps = row["steps"].as_array().map_or(&[][..], Vec::as_slice);
            if steps.iter().any(|step| step.get("h2").is_some()) {
                println!("left out: {name}: HTTP/2 is not offered");
                continue;
            }
            let limits = format!(
                "limits: {{ keepalive_idle_ms: {IDLE_MS}, write_deadline_ms: 300, head_deadline_ms: 300, body_deadline_ms: 300 }}\n"
            );
            let big = name == "slow-read";
            let upstream =
                if big { RecordingUpstream::result(json!({ "t": "x".repeat(15 << 20) })) } else { server() };
            let mut gateway = Gateway::start(&config(driver, &upstream, &limits));
            match name {
                "slow-read" => slow_read(&gateway, steps),
                "pipelined-100" => pipelined(&mut gateway, &upstream, steps),
                "pipelined-then-rst" => pipelined_then_reset(&gateway, &upstream, steps),
                "keepalive-race" => keepalive_race(&gateway, &upstream, steps),
                "expect-100-no-wait" => expect_no_wait(&gateway, steps),
                other => {
                    println!("{other}: played as it is, with no assertion of its own");
                    play(&gateway, steps);
                }
            }
            healthy(&gateway);
        }
    });
}

/// What a step sends, for the configured server.
fn sent(step: &Value) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(step["send_b64"].as_str()?).expect("base64");
    let text = String::from_utf8_lossy(&bytes).replace("POST /mcp HTTP", "POST /mcp/peer HTTP");
    Some(text.into_bytes())
}

fn slow_read(gateway: &Gateway, steps: &[Value]) {
    let mut client = RawClient::connect(gateway.mcp_addr);
    client.send(sent(&steps[1]).expect("a request"));
    let mut rest = {
        let head = client.read_head().expect("an answer begins");
        head.rest().expect("framed")
    };
    // Nothing more is read until the gateway has given up.
    wait::until("the stalled connection to be closed", SOON, || {
        (metric(gateway, "tidegate_connections") == 0).then_some(())
    });
    let end = loop {
        match client.read_piece(&mut rest) {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert!(matches!(end, Err(Broken::Closed(_) | Broken::Reset)), "cut short, not {end:?}");
}

fn pipelined(gateway: &mut Gateway, upstream: &RecordingUpstream, steps: &[Value]) {
    let bytes = sent(&steps[0]).expect("requests");
    let count = bytes.windows(5).filter(|window| window == b"POST ").count();
    let answers = talk(gateway.mcp_addr, &[&bytes], count).expect("answers");
    assert!(answers.len() == count && answers.iter().all(|answer| answer.status == 200), "{answers:?}");
    assert_eq!(upstream.requests().len(), count);
    records_agree(gateway, count);
    gateway.restart();
}

fn pipelined_then_reset(gateway: &Gateway, upstream: &RecordingUpstream, steps: &[Value]) {
    let mut stream = TcpStream::connect(gateway.mcp_addr).expect("the gateway listens");
    stream.write_all(&sent(&steps[0]).expect("requests")).expect("taken");
    upstream.wait_for(1);
    reset(&stream);
    idle(gateway);
    // Whatever reached the server is on record; what did not need not be.
    let forwarded = upstream.requests().len();
    gateway.audit_until(forwarded, |record| record["kind"] == "call" && record["upstream_us"] != 0);
}

fn keepalive_race(gateway: &Gateway, upstream: &RecordingUpstream, steps: &[Value]) {
    let request = sent(&steps[0]).expect("a request");
    // The moment is approached from both sides: the gateway looks at its deadlines every few tens of milliseconds.
    let offsets: Vec<u64> = (0..40).map(|i| IDLE_MS - 20 + i * 3).collect();
    let (first, second) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let race = |offset: u64| {
        let mut client = RawClient::connect(gateway.mcp_addr);
        client.send(&request);
        let answer = client.try_read_response().map_err(|broken| broken.to_string())?;
        first.fetch_add(1, Ordering::Relaxed);
        pass(Duration::from_millis(offset));
        let taken = client.try_send(&request).is_ok();
        match client.try_read_response() {
            Ok(again) if again == answer => {
                second.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(Broken::Closed(rest)) if rest.is_empty() => Ok(()),
            Err(Broken::Reset) => Ok(()),
            other => Err(format!("after {offset} ms (taken: {taken}): {other:?}")),
        }
    };
    let wrong: Vec<String> = thread::scope(|scope| {
        let race = &race;
        let races: Vec<_> = offsets.iter().map(|offset| scope.spawn(move || race(*offset))).collect();
        races.into_iter().filter_map(|race| race.join().expect("no panic").err()).collect()
    });
    none(&wrong, offsets.len());
    // No request was forwarded without its answer reaching the client.
    let (first, second) = (first.into_inner(), second.into_inner());
    assert_eq!(upstream.requests().len(), first + second);
    println!("of {first} races against the idle deadline {second} were served");
}

fn expect_no_wait(gateway: &Gateway, steps: &[Value]) {
    let request = sent(&steps[0]).expect("a request");
    let answers = talk(gateway.mcp_addr, &[&request, &request], 2).expect("answers");
    assert!(answers.len() == 2 && answers.iter().all(|answer| answer.status == 200), "{answers:?}");
}

/// Any other sequence: its steps in order, with no wait longer than a second.
fn play(gateway: &Gateway, steps: &[Value]) {
    let mut client = RawClient::connect(gateway.mcp_addr).with_time_max(Duration::from_secs(1));
    for step in steps {
        if let Some(bytes) = sent(step) {
            let _ = client.try_send(bytes);
        } else if step.get("read_response").is_some() {
            let _ = client.try_read_response();
        } else if let Some(ms) = step["sleep_ms"].as_u64() {
            pass(Duration::from_millis(ms.min(1000)));
        } else if step.get("half_close").is_some() {
            client.finish_sending();
        }
    }
}

// --- the talking ----------------------------------------------------------------------------------------------------

/// A whole answer, without its interim ones.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    close: bool,
    head: String,
    body: String,
}

/// Sends the parts, one write each, and reads until the gateway closes. Once `count` answers are there the sending side
/// is closed, so that the gateway has no reason to stay.
fn talk(addr: SocketAddr, parts: &[&[u8]], count: usize) -> Result<Vec<Answer>, String> {
    let to_head = parts.concat().starts_with(b"HEAD ");
    let mut stream = TcpStream::connect_timeout(&addr, SOON).map_err(|error| error.to_string())?;
    stream.set_nodelay(true).map_err(|error| error.to_string())?;
    stream.set_write_timeout(Some(SOON)).map_err(|error| error.to_string())?;
    for part in parts {
        // Refused half way: the answer says why.
        if stream.write_all(part).is_err() {
            break;
        }
    }
    let end = Instant::now() + SOON;
    let (mut bytes, mut buffer, mut finished) = (Vec::new(), [0; 16 << 10], false);
    loop {
        if !finished && answers(&bytes, to_head).0.len() >= count {
            let _ = stream.shutdown(Shutdown::Write);
            finished = true;
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("still open after {SOON:?}: {:?}", String::from_utf8_lossy(&bytes)));
        }
        stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => bytes.extend(&buffer[..read]),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            // A reset: what came before counts.
            Err(_) => break,
        }
    }
    match answers(&bytes, to_head) {
        (answers, 0) => Ok(answers),
        (answers, rest) => Err(format!("{rest} bytes behind {answers:?}")),
    }
}

/// The whole answers in `bytes`, and how many bytes are left behind them.
fn answers(mut bytes: &[u8], to_head: bool) -> (Vec<Answer>, usize) {
    let mut all = Vec::new();
    while let Some((answer, length)) = next_answer(bytes, to_head) {
        bytes = &bytes[length..];
        if answer.status >= 200 {
            all.push(answer);
        }
    }
    (all, bytes.len())
}

fn next_answer(bytes: &[u8], to_head: bool) -> Option<(Answer, usize)> {
    let body_at = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..body_at]).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let field =
        |name: &str| head.split("\r\n").skip(1).find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let bodyless = to_head || status < 200 || status == 204;
    let length = if bodyless { 0 } else { field("Content-Length")?.parse().ok()? };
    let body = String::from_utf8_lossy(bytes.get(body_at..body_at + length)?).into_owned();
    let close = field("Connection").is_some_and(|value| value == "close");
    Some((Answer { status, close, head, body }, body_at + length))
}

/// A server that answers JSON-RPC requests and offers no stream.
fn server() -> RecordingUpstream {
    RecordingUpstream::start(|request, stream| {
        let body: Value = serde_json::from_slice(request.body()).unwrap_or_default();
        let json = [("Content-Type", "application/json")];
        match body.get("id") {
            Some(id) => {
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string();
                write_response(stream, "200 OK", &json, answer)?;
            }
            None if request.body().is_empty() => write_response(stream, "405 Method Not Allowed", &[], "")?,
            None => write_response(stream, "202 Accepted", &[], "")?,
        }
        Ok(Next::KeepOpen)
    })
}

fn config(driver: &str, upstream: &RecordingUpstream, more: &str) -> String {
    format!("{}io: {driver}\nallowed_hosts: [\"*\"]\n{more}", Gateway::config(&[("peer", &upstream.url())]))
}

fn tag(i: usize) -> String {
    format!("r{i:04}")
}

/// How many requests of each tag the server saw; complains of such as are not whole.
fn by_tag(upstream: &RecordingUpstream, wrong: &mut Vec<String>) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for request in upstream.requests() {
        let tag = request.header("user-agent").unwrap_or_default();
        let body = request.body();
        if !request.complete || !(body.is_empty() || serde_json::from_slice::<Value>(body).is_ok()) {
            wrong.push(format!("{tag}: the server got {:?}", String::from_utf8_lossy(&request.bytes)));
        }
        *seen.entry(tag).or_default() += 1;
    }
    seen
}

fn bodies_by_tag(upstream: &RecordingUpstream) -> HashMap<String, Vec<Vec<u8>>> {
    let mut seen: HashMap<String, Vec<Vec<u8>>> = HashMap::new();
    for request in upstream.requests() {
        seen.entry(request.header("user-agent").unwrap_or_default())
            .or_default()
            .push(request.body().to_vec());
    }
    seen
}

/// Ends the gateway and compares its log with what the clients saw: one record for each answer, each refusal with its
/// reason.
fn records_agree(gateway: &mut Gateway, answered: usize) {
    healthy(gateway);
    let status = gateway.stop();
    assert!(status.success(), "ended with {status}: {}", gateway.output());
    let calls: Vec<Value> = gateway.audit().into_iter().filter(|record| record["kind"] == "call").collect();
    assert_eq!(calls.len(), answered, "records of calls, and answers seen by clients");
    let silent: Vec<&Value> = calls
        .iter()
        .filter(|call| {
            call["status"].as_u64().is_none_or(|status| status >= 400) && !call["reason"].is_string()
        })
        .collect();
    assert!(silent.is_empty(), "refusals without a reason: {silent:?}");
}

/// It runs and has not panicked.
fn healthy(gateway: &Gateway) {
    assert_eq!(metric(gateway, "tidegate_panics_total"), 0, "{}", gateway.output());
}

/// Waits until nothing is held for any client.
fn idle(gateway: &Gateway) {
    for name in ["tidegate_connections", "tidegate_streams", "tidegate_buffered_bytes"] {
        wait::until(&format!("{name} to be 0"), SOON, || (metric(gateway, name) == 0).then_some(()));
    }
}

fn metric(gateway: &Gateway, name: &str) -> u64 {
    let answer = raw::exchange(gateway.admin_addr, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").text();
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{answer}"))
}

/// Runs `test` with each I/O driver, both at a time.
fn on_both_drivers(test: impl Fn(&str) + Sync) {
    thread::scope(|scope| {
        for driver in drivers() {
            let run = thread::Builder::new().name((*driver).to_owned());
            run.spawn_scoped(scope, || test(driver)).expect("a thread");
        }
    });
}

/// The drivers this machine allows: containers often forbid io_uring.
fn drivers() -> &'static [&'static str] {
    static DRIVERS: OnceLock<&[&str]> = OnceLock::new();
    DRIVERS.get_or_init(|| {
        let dir = TempDir::new("probe");
        let yaml = "listen: 127.0.0.1:0\nadmin: off\ndemo: true\nio: io_uring\naudit: { dir: audit }\n";
        fs::write(dir.join("probe.yaml"), yaml).expect("a fresh directory takes a file");
        let mut command = Command::new(project::tidegate());
        command.current_dir(dir.path()).args(["run", "--config", "probe.yaml", "--addr-file", "addr.json"]);
        let mut process = Process::start(command);
        let refused = wait::until("the gateway to start or to refuse", wait::START, || {
            let refused = process.exited().map(|_| process.output().contains("io_uring cannot be used"));
            refused.or_else(|| dir.join("addr.json").exists().then_some(false))
        });
        if refused {
            println!("left out: io_uring is not available here: {}", process.output());
            return &["epoll"];
        }
        &["io_uring", "epoll"]
    })
}

/// Calls `work` for each item, on several threads; what it complains of, with the item's name.
fn in_parallel<T: Named + Sync>(
    items: &[T],
    work: impl Fn(usize, &T) -> Result<(), String> + Sync,
) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(i) else { return };
                    if let Err(what) = work(i, item) {
                        wrong.lock().expect("no panic").push(format!("{}: {what}", item.name()));
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no panic")
}

trait Named {
    fn name(&self) -> String;
}

impl Named for Value {
    fn name(&self) -> String {
        text(&self["name"])
    }
}

impl Named for Request {
    fn name(&self) -> String {
        self.name.clone()
    }
}

impl Named for (&Request, Vec<u8>) {
    fn name(&self) -> String {
        format!("{} as {:?}", self.0.name, String::from_utf8_lossy(&self.1[..self.1.len().min(600)]))
    }
}

#[track_caller]
fn none(wrong: &[String], of: usize) {
    assert!(wrong.is_empty(), "{} of {of}\n{}", wrong.len(), wrong.join("\n"));
}

/// Lets time pass that a scenario is about; nothing is synchronised by it.
fn pass(time: Duration) {
    let _ = wait::poll(time, || None::<()>);
}

/// Resets the connection at once, whoever else holds the socket.
fn reset(stream: &TcpStream) {
    let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the descriptor is open as long as the stream is borrowed, and the address is a whole sockaddr of the given
    // length. `pipelined_then_reset` would wait in vain for the connection to end if this did nothing.
    let done = unsafe { libc::connect(stream.as_raw_fd(), &none, size_of_val(&none) as libc::socklen_t) };
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

fn rows(file: &str) -> Vec<Value> {
    let Some(data) = shared_data() else { return Vec::new() };
    let text = fs::read_to_string(data.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
    text.lines().map(|line| serde_json::from_str(line).expect("a JSON row")).collect()
}

fn bytes(row: &Value) -> Vec<u8> {
    STANDARD.decode(row["bytes_b64"].as_str().expect("bytes")).expect("base64")
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

fn find_last(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).rposition(|window| window == pattern)
}

/// The parts of `bytes` up to and with each `end`.
fn split_keep<'a>(mut bytes: &'a [u8], end: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    while let Some(at) = find(bytes, end) {
        let (part, rest) = bytes.split_at(at + end.len());
        parts.push(part);
        bytes = rest;
    }
    if !bytes.is_empty() {
        parts.push(bytes);
    }
    parts
}

/// SplitMix64: small, seeded, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n.max(1) as u64) as usize
    }

    /// Cuts into pieces of random lengths.
    fn split<'a>(&mut self, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            let (part, rest) = bytes.split_at(1 + self.below(bytes.len().min(40)));
            parts.push(part);
            bytes = rest;
        }
        parts
    }
}
