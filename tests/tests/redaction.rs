//! What is sensitive reaches neither side, in whatever part of a message and whatever spelling it comes; everything
//! else reaches the other side byte for byte, and the audit record says what was done.
//!
//! Templates have the value's place marked. What must come out is the template with the placeholder in that place, so
//! that one comparison says both that the value is gone and that no other byte has moved.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Next, RawClient, Recorded, RecordingUpstream, Response,
    raw::{self, Rest},
    upstream::write_response,
};

const DRIVERS: [&str; 2] = ["io_uring", "epoll"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

impl Era {
    /// The first members of a request's `_meta`, as far as the era wants any.
    fn meta(self) -> &'static str {
        match self {
            Self::Legacy => "",
            Self::Modern => {
                "\"io.modelcontextprotocol/protocolVersion\":\"2026-07-28\",\
                 \"io.modelcontextprotocol/clientCapabilities\":{},"
            }
        }
    }

    /// The era's header fields for this request.
    fn headers<'a>(self, method: &'a str, name: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
        match self {
            Self::Legacy => vec![("MCP-Protocol-Version", "2025-11-25")],
            Self::Modern => {
                let mut headers = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
                headers.extend(name.map(|name| ("Mcp-Name", name)));
                headers
            }
        }
    }
}

/// How the upstream wraps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wrap {
    Json,
    Sse,
}

/// An upstream that keeps what it got last and answers what it was last told to, a gateway before it, and one
/// connection to the gateway.
struct Line {
    gateway: Gateway,
    client: RawClient,
    answer: Arc<Mutex<Vec<u8>>>,
    seen: Arc<Mutex<Vec<Recorded>>>,
    upstream: RecordingUpstream,
}

impl Line {
    /// `config`: lines of YAML with `{url}` for the upstream's.
    fn start(config: &str) -> Self {
        let (answer, seen) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(Vec::new())));
        let upstream = RecordingUpstream::start({
            let (answer, seen) = (answer.clone(), seen.clone());
            move |request, stream| {
                use std::io::Write;
                seen.lock().unwrap().push(request.clone());
                let message: Value = serde_json::from_slice(request.body()).unwrap_or_default();
                if message.get("method").is_some() && message.get("id").is_some() {
                    let answer = answer.lock().unwrap().clone();
                    stream.write_all(&answer)?;
                } else {
                    write_response(stream, "202 Accepted", &[], "")?;
                }
                Ok(Next::KeepOpen)
            }
        });
        let gateway = Gateway::start(&config.replace("{url}", &upstream.url()));
        let client = RawClient::connect(gateway.mcp_addr);
        Self { gateway, client, answer, seen, upstream }
    }

    /// One upstream named `s` and the usual settings.
    fn usual(driver: &str) -> Self {
        Self::start(&format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nio: {driver}\nservers:\n  s: {{ url: \"{{url}}\" }}\n\
             inspection:\n  mode: redact\n  custom:\n  - {{ id: account, type: ACCOUNT_NUMBER, pattern: 'ACCT-\\d{{6,10}}' }}\n\
             audit: {{ dir: \"{{dir}}/audit\" }}\n"
        ))
    }

    fn exchange(&mut self, server: &str, headers: &[(&str, &str)], body: &[u8]) -> (Vec<Recorded>, Response) {
        self.seen.lock().unwrap().clear();
        self.client.send(raw::post(&format!("/mcp/{server}"), headers, body));
        let response = self.client.read_response();
        (std::mem::take(&mut *self.seen.lock().unwrap()), response)
    }

    fn will_answer(&self, wrap: Wrap, messages: &[Vec<u8>]) {
        *self.answer.lock().unwrap() = http(wrap, messages);
    }

    /// The `call` records by request id.
    fn calls(&self, count: usize) -> HashMap<String, Value> {
        let records = self.gateway.audit_until(count, |record| record["kind"] == "call");
        records.into_iter().map(|record| (record["request_id"].to_string(), record)).collect()
    }
}

/// A response with these messages: one as JSON, or all as events.
fn http(wrap: Wrap, messages: &[Vec<u8>]) -> Vec<u8> {
    let (kind, body) = match wrap {
        Wrap::Json => ("application/json", messages.last().expect("an answer").clone()),
        Wrap::Sse => ("text/event-stream", sse(messages)),
    };
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.into_bytes(), body].concat()
}

fn sse(messages: &[Vec<u8>]) -> Vec<u8> {
    messages.iter().flat_map(|m| [b"event: message\ndata: ", m.as_slice(), b"\n\n"].concat()).collect()
}

/// Every string of a text, decoded, with JSON inside of strings looked into as well.
fn strings(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            out.push(text.clone());
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                strings(&inner, out);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, out)),
        Value::Object(members) => {
            for (key, value) in members {
                out.push(key.clone());
                strings(value, out);
            }
        }
        Value::Number(number) => out.push(number.to_string()),
        Value::Bool(_) | Value::Null => {}
    }
}

#[track_caller]
fn assert_gone(what: &str, wire: &[u8], messages: &[Value], value: &str) {
    assert!(!contains(wire, value.as_bytes()), "{what}: {value:?} in {}", String::from_utf8_lossy(wire));
    let mut all = Vec::new();
    messages.iter().for_each(|message| strings(message, &mut all));
    let leak = all.iter().find(|text| text.contains(value));
    assert!(leak.is_none(), "{what}: {value:?} in {leak:?}");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[track_caller]
fn assert_bytes(what: &str, got: &[u8], want: &[u8]) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
    let around = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(80).min(bytes.len())..(at + 120).min(bytes.len())])
            .into_owned()
    };
    panic!("{what}: differs at byte {at}:\n got …{}…\nwant …{}…", around(got), around(want));
}

/// Type and value. Secrets are put together here from halves that no scanner takes for one.
fn planted() -> Vec<(&'static str, String)> {
    let secret = |a: &str, b: &str| ("SECRET", format!("{a}{b}"));
    let long = "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sTuVwXyZ0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sTuVwXyZ0aB1cD2eF3gH4iJ5kL6mN7oP8qR9";
    let hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let key = |kind: &str| {
        let line = "MIIEpAIBAAKCAQEA0123456789abcdefghijABCDEFGHIJ0123456789abcdefghij";
        (
            "SECRET",
            format!("-----BEGIN {kind}PRIVATE KEY-----\n{line}\n{line}\n-----END {kind}PRIVATE KEY-----"),
        )
    };
    vec![
        ("EMAIL_ADDRESS", "jane.doe@example.org".to_owned()),
        ("EMAIL_ADDRESS", "a_b+c@mail.example.co.uk".to_owned()),
        ("PHONE_NUMBER", "+1 415 555 2671".to_owned()),
        ("PHONE_NUMBER", "(415) 555-2671".to_owned()),
        ("CREDIT_CARD", "4111 1111 1111 1111".to_owned()),
        ("CREDIT_CARD", "5555555555554444".to_owned()),
        ("CREDIT_CARD", "3782-822463-10005".to_owned()),
        ("US_SSN", "536-90-4399".to_owned()),
        ("IBAN_CODE", "DE89370400440532013000".to_owned()),
        ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32".to_owned()),
        ("IP_ADDRESS", "203.0.113.254".to_owned()),
        ("IP_ADDRESS", "2001:db8:85a3::8a2e:370:7334".to_owned()),
        ("ACCOUNT_NUMBER", "ACCT-1234567".to_owned()),
        secret("AKIA", "ABCDEFGH234567IJ"),
        secret("AIza", "Sy0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sTuVw"),
        secret("GOCSPX-", &long[..28]),
        secret("ghp_", &checked(&long[..30])),
        secret("github_pat_", &format!("{}_{}", &long[..22], &long[..59])),
        secret("glpat-", &long[..20]),
        secret("sk-ant-", &format!("api03-{}AA", &long[..93])),
        secret("hf_", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"),
        secret("gsk_", &long[..52]),
        secret("xoxb-", "123456789012-1234567890123-0aB1cD2eF3gH4iJ5kL6mN7oP"),
        secret("MTIzNDU2Nzg5MDEyMzQ1Njc4", ".GaBcDe.0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sTuVwXyZ0a"),
        secret("123456789:AA", "0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sTuVw"),
        secret("SG.", &format!("{}.{}", &long[..22], &long[..43])),
        secret("sk_live_", &long[..24]),
        secret("shpat_", &hex[..32]),
        secret("sq0atp-", &long[..22]),
        secret("npm_", &checked(&long[30..60])),
        secret("dckr_pat_", &long[..27]),
        secret("dop_v1_", hex),
        secret("dapi", &format!("{}-2", &hex[..32])),
        secret("pul-", &hex[..40]),
        secret("NRAK-", "0123456789ABCDEFGHIJKLMNOPQ"),
        secret("PMAK-", &format!("{}-{}", "0123456789abcdef01234567", "0123456789abcdef0123456789abcdef01")),
        secret("lin_api_", &long[..40]),
        secret("hvs.", &long[..90]),
        secret(
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
            ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sTuVwXyZ0aB1cD2",
        ),
        secret("AGE-SECRET-KEY-1", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7LQPZRY9X8GF2TVDW0S3JN54KHCE"),
        key("RSA "),
        key(""),
    ]
}

/// With the checksum that tokens of GitHub and npm end with: CRC-32 in six digits of base 62.
fn checked(random: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let shift = |c: u32| if c & 1 == 1 { (c >> 1) ^ 0xedb8_8320 } else { c >> 1 };
    let sum = !random.bytes().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(byte), |c, _| shift(c)));
    let digit = |place: u32| char::from(DIGITS[(sum / 62u32.pow(place) % 62) as usize]);
    random.chars().chain((0..6).rev().map(digit)).collect()
}

/// JSON string content, escaped no more than needed.
fn plain(text: &str) -> String {
    let quoted = Value::String(text.to_owned()).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Every character as `\uXXXX`.
fn escaped(text: &str) -> String {
    text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect()
}

/// Fills the marks of a template: `@@` in plain spelling, `@U@` in `\uXXXX`, `@N@` and `@NU@` the same inside of JSON in
/// a string.
fn fill(template: &str, value: &str) -> String {
    template
        .replace("@NU@", &plain(&escaped(value)))
        .replace("@N@", &plain(&plain(value)))
        .replace("@U@", &escaped(value))
        .replace("@@", &plain(value))
}

/// What must come out; in keys the mark says which redaction of the message it is.
fn expected(template: &str, kind: &str, in_key: bool) -> String {
    let mark = if in_key { format!("[REDACTED:{kind}#1]") } else { format!("[REDACTED:{kind}]") };
    ["@NU@", "@N@", "@U@", "@@"].iter().fold(template.to_owned(), |text, place| text.replace(place, &mark))
}

fn places(template: &str) -> u64 {
    ["@NU@", "@N@", "@U@", "@@"].iter().map(|place| template.matches(place).count() as u64).sum()
}

/// Name, method, `Mcp-Name`, members of `params`; `~` is where the era's `_meta` members go.
const REQUESTS: &[(&str, &str, Option<&str>, &str)] = &[
    ("argument", "tools/call", Some("t"), r#""name":"t","arguments":{"text":"see @@ now"},"_meta":{~"n":1}"#),
    ("whole argument", "tools/call", Some("t"), r#""name":"t","arguments":{"text":"@@"},"_meta":{~"n":1}"#),
    (
        "deep",
        "tools/call",
        Some("t"),
        r#""name":"t", "arguments":{"a":[0,{"b":["x","@@",null]}]},"_meta":{~"n":1}"#,
    ),
    (
        "after a newline",
        "tools/call",
        Some("t"),
        r#""name":"t","arguments":{"text":"one\n@@\nthree\t\u0041"},"_meta":{~"n":1}"#,
    ),
    (
        "escaped",
        "tools/call",
        Some("t"),
        r#""name":"t","arguments":{"text":"see @U@ now \/"},"_meta":{~"n":1}"#,
    ),
    ("key", "tools/call", Some("t"), r#""name":"t","arguments":{"x @@ y":[1, 2.50]},"_meta":{~"n":1}"#),
    (
        "nested JSON",
        "tools/call",
        Some("t"),
        r#""name":"t","arguments":{"json":"{\"i\":[\"see @N@ now\"],\"n\":1e2}"},"_meta":{~"n":1}"#,
    ),
    (
        "nested, escaped",
        "tools/call",
        Some("t"),
        r#""name":"t","arguments":{"json":"[\"see @NU@ now\"]"},"_meta":{~"n":1}"#,
    ),
    (
        "_meta",
        "tools/call",
        Some("t"),
        r#""name":"t","arguments":{},"_meta":{~"example.org/note":"see @@ now"}"#,
    ),
    ("prompt", "prompts/get", Some("p"), r#""name":"p","arguments":{"q":"see @@ now"},"_meta":{~"n":1}"#),
    (
        "completion",
        "completion/complete",
        None,
        r#""ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"@@"},"_meta":{~"n":1}"#,
    ),
];

/// Name, method asked for, whether it only makes sense in a stream, messages: the answer last, `#` for its id.
const RESPONSES: &[(&str, &str, &[&str])] = &[
    (
        "text",
        "tools/call",
        &[r#"{"jsonrpc":"2.0","id":#,"result":{"content":[{"type":"text","text":"see @@ now"}]}}"#],
    ),
    (
        "escaped",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0", "result":{"content":[{"type":"text","text":"\/ @U@ \ud83d\ude00 é"}]},"id":# }"#,
        ],
    ),
    (
        "after a newline",
        "tools/call",
        &[r#"{"jsonrpc":"2.0","id":#,"result":{"content":[{"type":"text","text":"a\n@@\r\nb"}]}}"#],
    ),
    (
        "resource",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0","id":#,"result":{"content":[{"type":"resource","resource":{"uri":"mem://a","text":"see @@ now"}}]}}"#,
        ],
    ),
    (
        "twin",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0","id":#,"result":{"content":[{"type":"text","text":"{\"v\":\"see @N@ now\"}"}],"structuredContent":{"v":"see @@ now"}}}"#,
        ],
    ),
    (
        "nested",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0","id":#,"result":{"content":[{"type":"text","text":"{\"v\":\"see @NU@ now\"}"}]}}"#,
        ],
    ),
    (
        "key",
        "tools/call",
        &[r#"{"jsonrpc":"2.0","id":#,"result":{"content":[],"structuredContent":{"x @@ y":{}}}}"#],
    ),
    (
        "_meta",
        "tools/call",
        &[r#"{"jsonrpc":"2.0","id":#,"result":{"content":[],"_meta":{"example.org/n":"see @@ now"}}}"#],
    ),
    (
        "error message",
        "tools/call",
        &[r#"{"jsonrpc":"2.0","id":#,"error":{"code":-32602,"message":"bad: see @@ now"}}"#],
    ),
    (
        "error data",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0","id":#,"error":{"code":-32602,"message":"bad","data":{"why":["see @@ now"]}}}"#,
        ],
    ),
    (
        "description",
        "tools/list",
        &[
            r#"{"jsonrpc":"2.0","id":#,"result":{"tools":[{"name":"t","description":"see @@ now","inputSchema":{"type":"object"}}]}}"#,
        ],
    ),
    (
        "prompt",
        "prompts/get",
        &[
            r#"{"jsonrpc":"2.0","id":#,"result":{"messages":[{"role":"user","content":{"type":"text","text":"see @@ now"}}]}}"#,
        ],
    ),
    (
        "contents",
        "resources/read",
        &[
            r#"{"jsonrpc":"2.0","id":#,"result":{"contents":[{"uri":"mem://a","mimeType":"text/plain","text":"@@"}]}}"#,
        ],
    ),
    (
        "progress",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":"see @@ now"}}"#,
            r#"{"jsonrpc":"2.0","id":#,"result":{"content":[]}}"#,
        ],
    ),
    (
        "log",
        "tools/call",
        &[
            r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":{"k":["see @@ now"]}}}"#,
            r#"{"jsonrpc":"2.0","id":#,"result":{"content":[{"type":"text","text":"and @@"}]}}"#,
        ],
    ),
];

fn request_body(era: Era, id: &str, method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{params}}}}}"#)
        .replace('~', era.meta())
}

/// A request that has nothing to hide, for tests of answers.
fn clean_request(era: Era, id: &str, method: &str) -> (Option<&'static str>, String) {
    let (name, params) = match method {
        "tools/call" => (Some("t"), r#""name":"t","arguments":{},"_meta":{~"n":1}"#),
        "prompts/get" => (Some("p"), r#""name":"p","_meta":{~"n":1}"#),
        "resources/read" => (Some("mem://a"), r#""uri":"mem://a","_meta":{~"n":1}"#),
        _ => (None, r#""_meta":{~"n":1}"#),
    };
    (name, request_body(era, id, method, params))
}

#[track_caller]
fn assert_record(what: &str, record: Option<&Value>, kind: &str, count: u64) {
    let record = record.unwrap_or_else(|| panic!("{what}: no audit record"));
    assert_eq!(record["pii_redacted"], true, "{what}: {record}");
    assert_eq!(record["redaction_count"], count, "{what}: {record}");
    assert_eq!(record["findings"], json!({ kind: count }), "{what}: {record}");
    assert_eq!(record["decision"], "redact", "{what}: {record}");
}

fn requests_lose_every_value(driver: &str) {
    let mut line = Line::usual(driver);
    let answer =
        |id: &str| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#).into_bytes();
    let (mut id, mut expectations) = (0, Vec::new());
    for (kind, value) in planted() {
        for (place, method, name, params) in REQUESTS {
            for era in ERAS {
                id += 1;
                let what = format!("{driver} {era:?} {kind} {value:.12}… {place}");
                let template = request_body(era, &id.to_string(), method, params);
                line.will_answer(Wrap::Json, &[answer(&id.to_string())]);
                let sent = fill(&template, &value);
                let (seen, response) = line.exchange("s", &era.headers(method, *name), sent.as_bytes());
                assert_eq!(response.status(), 200, "{what}: {}", response.text());
                let [seen] = &seen[..] else { panic!("{what}: {} requests upstream", seen.len()) };
                assert_bytes(&what, seen.body(), expected(&template, kind, *place == "key").as_bytes());
                assert_gone(&what, &seen.bytes, &[seen.json()], &value);
                expectations.push((id, what, kind));
            }
        }
    }
    let records = line.calls(expectations.len());
    for (id, what, kind) in expectations {
        assert_record(&what, records.get(&id.to_string()), kind, 1);
    }
}

#[test]
fn requests_lose_every_value_on_io_uring() {
    requests_lose_every_value("io_uring");
}

#[test]
fn requests_lose_every_value_on_epoll() {
    requests_lose_every_value("epoll");
}

fn answers_lose_every_value(driver: &str) {
    let mut line = Line::usual(driver);
    let (mut id, mut expectations) = (0, Vec::new());
    for (kind, value) in planted() {
        for (place, method, messages) in RESPONSES {
            for (era, wrap) in [
                (Era::Legacy, Wrap::Json),
                (Era::Legacy, Wrap::Sse),
                (Era::Modern, Wrap::Json),
                (Era::Modern, Wrap::Sse),
            ] {
                if wrap == Wrap::Json && messages.len() > 1 {
                    continue;
                }
                id += 1;
                let what = format!("{driver} {era:?} {wrap:?} {kind} {value:.12}… {place}");
                let with_id = |text: &&str| text.replacen("\"id\":#", &format!("\"id\":{id}"), 1);
                let templates: Vec<String> = messages.iter().map(with_id).collect();
                let filled: Vec<_> = templates.iter().map(|t| fill(t, &value).into_bytes()).collect();
                let wanted: Vec<_> =
                    templates.iter().map(|t| expected(t, kind, *place == "key").into_bytes()).collect();
                line.will_answer(wrap, &filled);
                let (name, body) = clean_request(era, &id.to_string(), method);
                let (_, response) = line.exchange("s", &era.headers(method, name), body.as_bytes());
                assert_eq!(response.status(), 200, "{what}: {}", response.text());
                let (want, got) = match wrap {
                    Wrap::Json => (wanted[0].clone(), vec![response.json()]),
                    Wrap::Sse => (sse(&wanted), response.events()),
                };
                assert_bytes(&what, &response.body, &want);
                assert_gone(&what, &response.body, &got, &value);
                let count = templates.iter().map(|t| places(t)).sum();
                expectations.push((id, what, kind, count));
            }
        }
    }
    let records = line.calls(expectations.len());
    for (id, what, kind, count) in expectations {
        assert_record(&what, records.get(&id.to_string()), kind, count);
    }
}

#[test]
fn answers_lose_every_value_on_io_uring() {
    answers_lose_every_value("io_uring");
}

#[test]
fn answers_lose_every_value_on_epoll() {
    answers_lose_every_value("epoll");
}

/// Numbers go whole, and only under a name that tells what they are; what is JSON stays JSON.
#[test]
fn numbers_under_telling_names() {
    let mut line = Line::usual("epoll");
    for (arguments, want, kind) in [
        (r#"{"cardNumber":4111111111111111}"#, r#"{"cardNumber":"[REDACTED:CREDIT_CARD]"}"#, "CREDIT_CARD"),
        (r#"{"ssn" : 536904399 }"#, r#"{"ssn" : "[REDACTED:US_SSN]" }"#, "US_SSN"),
        (r#"{"phone":[4155552671, 1]}"#, r#"{"phone":["[REDACTED:PHONE_NUMBER]", 1]}"#, "PHONE_NUMBER"),
    ] {
        for era in ERAS {
            let body = |arguments: &str| {
                request_body(
                    era,
                    "1",
                    "tools/call",
                    &format!(r#""name":"t","arguments":{arguments},"_meta":{{~"n":1}}"#),
                )
            };
            line.will_answer(Wrap::Json, &[br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.to_vec()]);
            let headers = era.headers("tools/call", Some("t"));
            let (seen, _) = line.exchange("s", &headers, body(arguments).as_bytes());
            assert_bytes(kind, seen[0].body(), body(want).as_bytes());

            // Outside `structuredContent`, where a schema may ask for a number.
            let answer = |v: &str| {
                format!(
                    r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[],"_meta":{{"example.org/v":{v}}}}}}}"#
                )
            };
            for wrap in [Wrap::Json, Wrap::Sse] {
                line.will_answer(wrap, &[answer(arguments).into_bytes()]);
                let (_, response) =
                    line.exchange("s", &headers, clean_request(era, "1", "tools/call").1.as_bytes());
                let want = answer(want).into_bytes();
                assert_bytes(kind, &response.body, &if wrap == Wrap::Sse { sse(&[want]) } else { want });
            }
        }
    }
}

/// JSON that nothing is wrong with, in every odd spelling.
const ODD: &[&str] = &[
    r#"{}"#,
    "{ \"a\"\t:\r\n 1 ,\n\n \"b\" : [ ] , \"c\":[\t[ ] , { } ]  }",
    r#"{"big":[123456789012345678901234567890, -0, -0.0, 1e-400, 1E+2, 0.10, 9007199254740993, 1.7976931348623157e308]}"#,
    r#"{"esc":"\u0041\/\"\\\b\f\n\r\t\u00e9\uD83D\uDE00\u0000 \u007f\u2028"}"#,
    "{\"nfc\":\"caf\u{e9}\",\"nfd\":\"cafe\u{301}\",\"\u{e9}\":1,\"e\u{301}\":2}",
    "{\"astral\":\"\u{1f600}\u{10ffff}\u{10000}\",\"\u{1f600}\":\"\u{2028}\u{feff}\u{200b}\"}",
    r#"{"like":"user@localhost, 127.0.0.1, 4111 1111 1111 1112, 000-12-3456, DE89370400440532013001, ACCT-12, v1.2.3"}"#,
    r#"{"json":"{\"a\":\"\\u0041\\\\n\",\"b\":[1,\"\\\"\"]}","half":"{\"a\": \\","list":"[\"\\n\"]"}"#,
    r#"{"id":4111111111111111,"ts":1700000000000,"x":[true,false,null,"",{"":""}]}"#,
];

#[test]
fn clean_messages_are_untouched() {
    for driver in DRIVERS {
        let mut line = Line::usual(driver);
        for odd in ODD {
            for era in ERAS {
                let body = request_body(
                    era,
                    "\"\\u0061/\\/\"",
                    "tools/call",
                    &format!(
                        "  \"arguments\" :{odd}, \"name\":\"t\" ,\"unknown\":{odd},\"_meta\" : {{ ~ \"o\":{odd} }} "
                    ),
                );
                let answer = format!(" {{\"result\" : {odd},\"id\":\"a//\" , \"jsonrpc\":\"2.0\" }}\n");
                for wrap in [Wrap::Json, Wrap::Sse] {
                    let answer =
                        if wrap == Wrap::Sse { answer.replace(['\r', '\n'], " ") } else { answer.clone() };
                    line.will_answer(wrap, &[answer.clone().into_bytes()]);
                    let (seen, response) =
                        line.exchange("s", &era.headers("tools/call", Some("t")), body.as_bytes());
                    assert_eq!(response.status(), 200, "{driver} {era:?} {odd}: {}", response.text());
                    let sum = |bytes: &[u8]| digest(&SHA256, bytes).as_ref().to_vec();
                    assert_eq!(sum(seen[0].body()), sum(body.as_bytes()), "{driver} {era:?} {odd}");
                    let wanted =
                        if wrap == Wrap::Sse { sse(&[answer.into_bytes()]) } else { answer.into_bytes() };
                    assert_bytes(odd, &response.body, &wanted);
                    assert_eq!(sum(&response.body), sum(&wanted));
                }
            }
        }
        let calls = line.gateway.audit_until(ODD.len() * 4, |record| record["kind"] == "call");
        for record in calls {
            assert_eq!(record["decision"], "allow", "{record}");
            assert_eq!(
                (&record["pii_redacted"], &record["redaction_count"]),
                (&json!(false), &json!(0)),
                "{record}"
            );
        }
    }
}

/// The protocol needs these as they are, whatever they look like.
#[test]
fn protocol_fields_are_never_touched() {
    let secret = format!("{}{}", "AKIA", "ABCDEFGH234567IJ");
    let mail = "jane.doe@example.org";
    for driver in DRIVERS {
        let mut line = Line::usual(driver);
        // An id that looks like an address, a token for progress, a cursor.
        for era in ERAS {
            for wrap in [Wrap::Json, Wrap::Sse] {
                let id = format!("\"{mail}\"");
                let params = format!(
                    r#""cursor":"{mail}","_meta":{{~"progressToken":"{mail}","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#
                );
                let body = request_body(era, &id, "tools/list", &params);
                let answer = format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"tools":[],"nextCursor":"{secret}"}}}}"#
                );
                line.will_answer(wrap, &[answer.clone().into_bytes()]);
                let (seen, response) = line.exchange("s", &era.headers("tools/list", None), body.as_bytes());
                assert_bytes("request", seen[0].body(), body.as_bytes());
                assert_eq!(
                    response.json().to_string(),
                    serde_json::from_str::<Value>(&answer).unwrap().to_string()
                );
            }
        }
        let progress = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":"{mail}","progress":1}}}}"#
        );
        let answer = format!(r#"{{"jsonrpc":"2.0","id":"{mail}","result":{{"content":[]}}}}"#);
        line.will_answer(Wrap::Sse, &[progress.clone().into_bytes(), answer.clone().into_bytes()]);
        let (name, body) = clean_request(Era::Legacy, &format!("\"{mail}\""), "tools/call");
        let (_, response) = line.exchange("s", &Era::Legacy.headers("tools/call", name), body.as_bytes());
        assert_bytes("events", &response.body, &sse(&[progress.into_bytes(), answer.into_bytes()]));

        // Opaque state goes there and back byte for byte; what stands beside it does not.
        let state = format!("{secret}.\\u0041\\/{mail}=");
        let inputs =
            r#""inputRequests":{"k":{"method":"elicitation/create","params":{"message":"for @@?"}}}"#;
        let template = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"resultType":"input_required",{inputs},"requestState":"{state}"}}}}"#
        );
        for wrap in [Wrap::Json, Wrap::Sse] {
            line.will_answer(wrap, &[fill(&template, mail).into_bytes()]);
            let (name, body) = clean_request(Era::Modern, "1", "tools/call");
            let (_, response) = line.exchange("s", &Era::Modern.headers("tools/call", name), body.as_bytes());
            let wanted = expected(&template, "EMAIL_ADDRESS", false).into_bytes();
            assert_bytes(
                "input required",
                &response.body,
                &if wrap == Wrap::Sse { sse(&[wanted]) } else { wanted },
            );
        }
        let params = format!(
            r#""name":"t","arguments":{{}},"requestState":"{state}","inputResponses":{{"k":{{"action":"accept","content":{{"a":"@@"}}}}}},"_meta":{{~"n":1}}"#
        );
        let template = request_body(Era::Modern, "2", "tools/call", &params);
        line.will_answer(
            Wrap::Json,
            &[br#"{"jsonrpc":"2.0","id":2,"result":{"resultType":"complete","content":[]}}"#.to_vec()],
        );
        let body = fill(&template, mail);
        let (seen, _) = line.exchange("s", &Era::Modern.headers("tools/call", Some("t")), body.as_bytes());
        assert_bytes("retry", seen[0].body(), expected(&template, "EMAIL_ADDRESS", false).as_bytes());
    }
}

/// What a redaction changes in the body must change in the header fields that repeat it.
#[test]
fn mirrored_headers_agree_with_the_redacted_body() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let decode = |value: &str| match value.strip_prefix("=?base64?").and_then(|v| v.strip_suffix("?=")) {
        Some(inner) => String::from_utf8(STANDARD.decode(inner).expect("base64")).expect("UTF-8"),
        None => value.to_owned(),
    };
    let encode = |value: &str| format!("=?base64?{}?=", STANDARD.encode(value));
    for driver in DRIVERS {
        let mut line = Line::usual(driver);
        line.will_answer(Wrap::Json, &[br#"{"jsonrpc":"2.0","id":1,"result":{"contents":[]}}"#.to_vec()]);
        for (uri, header) in [
            ("crm://people/jane.doe@example.org", "crm://people/jane.doe@example.org".to_owned()),
            ("crm://people/jane.doe@example.org", encode("crm://people/jane.doe@example.org")),
            ("crm://josé/jane.doe@example.org/x", encode("crm://josé/jane.doe@example.org/x")),
            ("crm://clean/josé", encode("crm://clean/josé")),
            ("crm://clean", "crm://clean".to_owned()),
        ] {
            let body = request_body(
                Era::Modern,
                "1",
                "resources/read",
                &format!(r#""uri":"{uri}","_meta":{{~"n":1}}"#),
            );
            let headers = Era::Modern.headers("resources/read", Some(&header));
            let (seen, response) = line.exchange("s", &headers, body.as_bytes());
            assert_eq!(response.status(), 200, "{}", response.text());
            let names = seen[0].headers_named("mcp-name");
            assert_eq!(names.len(), 1, "{names:?}");
            assert_eq!(decode(&names[0]), seen[0].json()["params"]["uri"].as_str().unwrap(), "{uri}");
            assert!(!contains(&seen[0].bytes, b"jane.doe"), "{}", String::from_utf8_lossy(&seen[0].bytes));
            if uri.starts_with("crm://clean") {
                assert_eq!(names[0], header, "untouched where nothing was found");
            }
        }

        let card = "4111 1111 1111 1111";
        for (argument, header) in [
            (format!("\"{card}\""), card.to_owned()),
            (format!("\"{card}\""), encode(card)),
            (format!("\"pay with {card} é\""), encode(&format!("pay with {card} é"))),
            ("\"\\u0034111 1111 1111 1111\"".to_owned(), card.to_owned()),
            ("\"clean\"".to_owned(), "clean".to_owned()),
        ] {
            let params =
                format!(r#""name":"t","arguments":{{"card":{argument},"other":"x"}},"_meta":{{~"n":1}}"#);
            let body = request_body(Era::Modern, "1", "tools/call", &params);
            let mut headers = Era::Modern.headers("tools/call", Some("t"));
            headers.extend([("Mcp-Param-Card", header.as_str()), ("mcp-param-other", "x")]);
            let (seen, response) = line.exchange("s", &headers, body.as_bytes());
            assert_eq!(response.status(), 200, "{}", response.text());
            let sent = seen[0].headers_named("mcp-param-card");
            assert_eq!(sent.len(), 1, "{sent:?}");
            assert_eq!(
                decode(&sent[0]),
                seen[0].json()["params"]["arguments"]["card"].as_str().unwrap(),
                "{argument}"
            );
            assert_eq!(seen[0].headers_named("mcp-param-other"), ["x"]);
            assert!(!contains(&seen[0].bytes, b"1111 1111"), "{}", String::from_utf8_lossy(&seen[0].bytes));
        }

        // A number whose name gives it away, mirrored as digits.
        let params = r#""name":"t","arguments":{"cardNumber":4111111111111111},"_meta":{~"n":1}"#;
        let mut headers = Era::Modern.headers("tools/call", Some("t"));
        headers.push(("Mcp-Param-CardNumber", "4111111111111111"));
        let (seen, _) =
            line.exchange("s", &headers, request_body(Era::Modern, "1", "tools/call", params).as_bytes());
        assert_eq!(seen[0].header("mcp-param-cardnumber").as_deref(), Some("[REDACTED:CREDIT_CARD]"));
        assert_eq!(seen[0].json()["params"]["arguments"]["cardNumber"], "[REDACTED:CREDIT_CARD]");

        // A header without a counterpart in the body is no way out either.
        let mut headers = Era::Modern.headers("tools/call", Some("t"));
        headers.push(("Mcp-Param-Hidden", "jane.doe@example.org"));
        let (_, body) = clean_request(Era::Modern, "1", "tools/call");
        let (seen, _) = line.exchange("s", &headers, body.as_bytes());
        assert!(!contains(&seen[0].bytes, b"jane.doe"), "{}", String::from_utf8_lossy(&seen[0].bytes));
    }
}

/// A value that is found once and stands a second time in the same string, glued to other characters: the mirrored
/// header must follow the body to its final form.
#[test]
fn mirrored_headers_follow_copies_that_are_removed_later() {
    let mut line = Line::usual("epoll");
    line.will_answer(Wrap::Json, &[br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.to_vec()]);
    let value = "536-90-4399";
    let twins = format!("{value} 2{value}");
    let params = format!(r#""name":"t","arguments":{{"q":"{twins}"}},"_meta":{{~"n":1}}"#);
    let mut headers = Era::Modern.headers("tools/call", Some("t"));
    headers.push(("Mcp-Param-Q", &twins));
    let (seen, _) =
        line.exchange("s", &headers, request_body(Era::Modern, "1", "tools/call", &params).as_bytes());
    assert_eq!(seen[0].json()["params"]["arguments"]["q"], "[REDACTED:US_SSN] 2[REDACTED:US_SSN]");
    assert_eq!(seen[0].header("mcp-param-q").as_deref(), Some("[REDACTED:US_SSN] 2[REDACTED:US_SSN]"));
}

#[test]
fn copies_and_keys() {
    for driver in DRIVERS {
        let mut line = Line::usual(driver);
        let text = |t: &str| {
            format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[],"structuredContent":{t}}}}}"#)
        };
        for (given, want) in [
            // Found once; its copies stand where no rule would look twice.
            (
                r#"{"a":"see 536-90-4399","b":"x9536-90-43998y"}"#,
                r#"{"a":"see [REDACTED:US_SSN]","b":"x9[REDACTED:US_SSN]8y"}"#,
            ),
            (
                r#"{"cardNumber":4111111111111111,"ref":"Z4111111111111111Z"}"#,
                r#"{"cardNumber":0,"ref":"Z[REDACTED:CREDIT_CARD]Z"}"#,
            ),
            (
                r#"{"password":"hunter2!","hint":"it is hunter2!!"}"#,
                r#"{"password":"[REDACTED:SECRET]","hint":"it is [REDACTED:SECRET]!"}"#,
            ),
            // Keys stay apart.
            (
                r#"{"a@example.org":1,"b@example.org":2}"#,
                r#"{"[REDACTED:EMAIL_ADDRESS#1]":1,"[REDACTED:EMAIL_ADDRESS#2]":2}"#,
            ),
            (
                r#"{"k":"c@example.org","a@example.org":{"b@example.org":1}}"#,
                r#"{"k":"[REDACTED:EMAIL_ADDRESS]","[REDACTED:EMAIL_ADDRESS#2]":{"[REDACTED:EMAIL_ADDRESS#3]":1}}"#,
            ),
            (
                r#"["a@example.org, b@example.org;c@example.org"]"#,
                r#"["[REDACTED:EMAIL_ADDRESS], [REDACTED:EMAIL_ADDRESS];[REDACTED:EMAIL_ADDRESS]"]"#,
            ),
        ] {
            for wrap in [Wrap::Json, Wrap::Sse] {
                line.will_answer(wrap, &[text(given).into_bytes()]);
                let (name, body) = clean_request(Era::Modern, "1", "tools/call");
                let (_, response) =
                    line.exchange("s", &Era::Modern.headers("tools/call", name), body.as_bytes());
                let want = text(want).into_bytes();
                assert_bytes(given, &response.body, &if wrap == Wrap::Sse { sse(&[want]) } else { want });
            }
        }
    }
}

/// Servers whose settings differ, and what becomes of a finding of each type in each direction.
#[test]
fn modes_by_server_type_and_direction() {
    let servers = [
        ("global", "", [["redact", "detect"], ["redact", "detect"]]),
        ("off", "mode: off", [["off", "off"], ["off", "off"]]),
        ("detect", "mode: detect", [["detect", "detect"], ["detect", "detect"]]),
        ("redact", "mode: redact", [["redact", "redact"], ["redact", "redact"]]),
        ("block", "mode: block", [["block", "block"], ["block", "block"]]),
        ("typed", "types: { EMAIL_ADDRESS: block }", [["block", "detect"], ["block", "detect"]]),
        ("asking", "mode: detect, request: { mode: block }", [["block", "block"], ["detect", "detect"]]),
        (
            "answering",
            "mode: redact, response: { types: { IP_ADDRESS: block, EMAIL_ADDRESS: off } }",
            [["redact", "redact"], ["off", "block"]],
        ),
    ];
    let mut config = "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nservers:\n".to_owned();
    for (name, inspection, _) in servers {
        config += &format!("  {name}: {{ url: \"{{url}}\", inspection: {{ {inspection} }} }}\n");
    }
    config +=
        "inspection: { mode: redact, types: { IP_ADDRESS: detect } }\naudit: { dir: \"{dir}/audit\" }\n";
    let mut line = Line::start(&config);
    let values = [("EMAIL_ADDRESS", "jane.doe@example.org"), ("IP_ADDRESS", "203.0.113.254")];
    let (mut id, mut expectations) = (0, Vec::new());
    for (server, _, outcomes) in servers {
        for (v, (kind, value)) in values.iter().enumerate() {
            for era in ERAS {
                // To the server.
                id += 1;
                let what = format!("{server} {kind} {era:?} request");
                let params = r#""name":"t","arguments":{"v":"@@"},"_meta":{~"n":1}"#;
                let template = request_body(era, &id.to_string(), "tools/call", params);
                let clean = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[]}}}}"#);
                line.will_answer(Wrap::Json, &[clean.clone().into_bytes()]);
                let headers = era.headers("tools/call", Some("t"));
                let (seen, response) = line.exchange(server, &headers, fill(&template, value).as_bytes());
                assert_eq!(response.status(), 200, "{what}: {}", response.text());
                let outcome = outcomes[0][v];
                match outcome {
                    "block" => {
                        assert!(seen.is_empty(), "{what}");
                        assert_tool_error(&what, &response.json(), era, id, false);
                    }
                    "redact" => {
                        assert_bytes(&what, seen[0].body(), expected(&template, kind, false).as_bytes())
                    }
                    _ => assert_bytes(&what, seen[0].body(), fill(&template, value).as_bytes()),
                }
                expectations.push((id, what, outcome, *kind));

                // From the server.
                for wrap in [Wrap::Json, Wrap::Sse] {
                    id += 1;
                    let what = format!("{server} {kind} {era:?} {wrap:?} answer");
                    let template = format!(
                        r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"@@"}}]}}}}"#
                    );
                    line.will_answer(wrap, &[fill(&template, value).into_bytes()]);
                    let (name, body) = clean_request(era, &id.to_string(), "tools/call");
                    let (_, response) =
                        line.exchange(server, &era.headers("tools/call", name), body.as_bytes());
                    assert_eq!(response.status(), 200, "{what}: {}", response.text());
                    let outcome = outcomes[1][v];
                    let bytes = |message: String| match wrap {
                        Wrap::Json => message.into_bytes(),
                        Wrap::Sse => sse(&[message.into_bytes()]),
                    };
                    match outcome {
                        "block" => {
                            assert_tool_error(&what, &response.json(), era, id, true);
                            assert_gone(&what, &response.body, &[response.json()], value);
                        }
                        "redact" => {
                            assert_bytes(&what, &response.body, &bytes(expected(&template, kind, false)))
                        }
                        _ => assert_bytes(&what, &response.body, &bytes(fill(&template, value))),
                    }
                    expectations.push((id, what, outcome, *kind));
                }
            }
        }
    }
    let records = line.calls(expectations.len());
    for (id, what, outcome, kind) in expectations {
        let record = &records[&id.to_string()];
        let (decision, count) = match outcome {
            "block" => ("block", 0),
            "redact" => ("redact", 1),
            _ => ("allow", 0),
        };
        assert_eq!(record["decision"], decision, "{what}: {record}");
        assert_eq!(record["redaction_count"], count, "{what}: {record}");
        let found = if outcome == "off" { json!({}) } else { json!({ kind: 1 }) };
        assert_eq!(record["findings"], found, "{what}: {record}");
    }
}

/// A refusal in the form of a tool's result.
#[track_caller]
fn assert_tool_error(what: &str, answer: &Value, era: Era, id: u64, ran: bool) {
    assert_eq!(answer["id"], id, "{what}: {answer}");
    assert_eq!(answer["result"]["isError"], true, "{what}: {answer}");
    let kind = answer["result"].get("resultType");
    assert_eq!(kind, (era == Era::Modern).then_some(&json!("complete")), "{what}: {answer}");
    let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_default();
    assert_eq!(text.contains("was executed"), ran, "{what}: {text}");
}

fn blocking(driver: &str) -> Line {
    Line::start(&format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nio: {driver}\nservers: {{ s: {{ url: \"{{url}}\" }} }}\n\
         inspection: {{ mode: block }}\naudit: {{ dir: \"{{dir}}/audit\" }}\n"
    ))
}

#[test]
fn what_is_blocked_gets_the_refusal_that_fits_it() {
    let mail = "jane.doe@example.org";
    for driver in DRIVERS {
        let mut line = blocking(driver);
        for era in ERAS {
            // Other methods: an error of the gateway's own.
            let params = format!(r#""name":"p","arguments":{{"q":"{mail}"}},"_meta":{{~"n":1}}"#);
            let body = request_body(era, "\"a\"", "prompts/get", &params);
            let (seen, response) =
                line.exchange("s", &era.headers("prompts/get", Some("p")), body.as_bytes());
            assert!(seen.is_empty());
            assert_eq!((response.status(), &response.json()["error"]["code"]), (200, &json!(40302)));
            assert_eq!(response.json()["id"], "a");
            assert!(!response.text().contains(mail));

            let answer = format!(r#"{{"jsonrpc":"2.0","id":7,"result":{{"messages":["{mail}"]}}}}"#);
            for wrap in [Wrap::Json, Wrap::Sse] {
                line.will_answer(wrap, &[answer.clone().into_bytes()]);
                let (name, body) = clean_request(era, "7", "prompts/get");
                let (_, response) = line.exchange("s", &era.headers("prompts/get", name), body.as_bytes());
                let error = &response.json()["error"];
                assert_eq!((response.status(), &error["code"]), (200, &json!(40302)));
                assert!(error["message"].as_str().unwrap().contains("was executed"), "{error}");
                assert_eq!(response.json()["id"], 7);
                assert!(!response.text().contains(mail));
            }

            // A notification: never a result.
            let body = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":1,"progress":1,"message":"{mail}","_meta":{{{}"n":1}}}}}}"#,
                era.meta()
            );
            let (seen, response) =
                line.exchange("s", &era.headers("notifications/progress", None), body.as_bytes());
            assert!(seen.is_empty());
            assert!((400..500).contains(&response.status()), "{}", response.status());
            assert!(response.json().get("id").is_none() && response.json().get("result").is_none());
        }
        // A header that mirrors something.
        let mut headers = Era::Modern.headers("tools/call", Some("t"));
        headers.push(("Mcp-Param-X", mail));
        let (_, body) = clean_request(Era::Modern, "9", "tools/call");
        let (seen, response) = line.exchange("s", &headers, body.as_bytes());
        assert!(seen.is_empty());
        assert_tool_error("header", &response.json(), Era::Modern, 9, false);
    }
}

/// Older era: a server's request on the stream, and a client's answer to one.
#[test]
fn blocked_conversation_in_the_other_direction() {
    let mail = "jane.doe@example.org";
    for driver in DRIVERS {
        let mut line = blocking(driver);
        let ask = format!(
            r#"{{"jsonrpc":"2.0","id":"ask-1","method":"elicitation/create","params":{{"message":"for {mail}?"}}}}"#
        );
        let clean = r#"{"jsonrpc":"2.0","id":8,"method":"roots/list"}"#;
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
        line.will_answer(Wrap::Sse, &[ask.into_bytes(), clean.into(), answer.into()]);
        let (name, body) = clean_request(Era::Legacy, "1", "tools/call");
        let mut headers = Era::Legacy.headers("tools/call", name);
        headers.push(("Mcp-Session-Id", "abc-1"));
        let (_, response) = line.exchange("s", &headers, body.as_bytes());
        assert_bytes("the rest of the stream", &response.body, &sse(&[clean.into(), answer.into()]));
        let aside =
            tidegate_tests::wait::until("an error at the upstream", tidegate_tests::wait::SOON, || {
                let requests = line.upstream.requests();
                requests.into_iter().find(|request| request.complete && request.json()["id"] == "ask-1")
            });
        assert!(aside.json()["error"]["code"].is_i64(), "{}", aside.json());
        assert_eq!(aside.header("mcp-session-id").as_deref(), Some("abc-1"));
        assert_eq!(aside.header("mcp-protocol-version").as_deref(), Some("2025-11-25"));

        for body in [
            format!(
                r#"{{"jsonrpc":"2.0","id":21,"result":{{"action":"accept","content":{{"m":"{mail}"}}}}}}"#
            ),
            format!(r#"{{"jsonrpc":"2.0","id":22,"error":{{"code":1,"message":"{mail}"}}}}"#),
        ] {
            let (_, response) = line.exchange(
                "s",
                &[("MCP-Protocol-Version", "2025-11-25"), ("Mcp-Session-Id", "abc-1")],
                body.as_bytes(),
            );
            assert!((400..500).contains(&response.status()), "{}", response.status());
            let id = serde_json::from_str::<Value>(&body).unwrap()["id"].clone();
            let aside =
                tidegate_tests::wait::until("an error at the upstream", tidegate_tests::wait::SOON, || {
                    let requests = line.upstream.requests();
                    requests.into_iter().find(|request| request.complete && request.json()["id"] == id)
                });
            assert!(aside.json()["error"].is_object(), "{}", aside.json());
            assert!(!contains(&aside.bytes, mail.as_bytes()));
        }
        // Clean ones pass.
        let body = r#"{"jsonrpc":"2.0","id":23,"result":{"action":"decline"}}"#;
        let (seen, response) = line.exchange("s", &[("MCP-Protocol-Version", "2025-11-25")], body.as_bytes());
        assert_eq!(response.status(), 202);
        assert_bytes("answer", seen[0].body(), body.as_bytes());
    }
}

/// Text of about `length` bytes with addresses (and once a key) at the places that slicing might get wrong. Gives the
/// text with marks, so that what is sent and what must come out are made from the same thing.
fn long_text(prefix: usize, length: usize) -> String {
    const SLICE: usize = 64 << 10;
    let words = "the quick brown fox, \\\"jumps\\\" over\\n the lazy dog é 12 34 ";
    let mut text = "@@ ".to_owned();
    let mut next = 1;
    let marked = |text: &str| text.matches("@@").count() * ("jane.doe@example.org".len() - 2);
    let mut extra = marked(&text);
    while text.len() + extra < length {
        // So that the address begins 0 to 20 bytes before the border.
        let target = next * SLICE - (next * 7) % 21;
        let at = prefix + text.len() + extra;
        if at + words.len() + 1 > target && at <= target {
            text += &" ".repeat(target - at);
            text += "@@ ";
            extra += marked("@@");
            next += 1;
        } else if at > target {
            next += 1;
        } else {
            text += words;
        }
    }
    text + " @@"
}

fn long_bodies(driver: &str) {
    let mut line = Line::usual(driver);
    line.client = RawClient::connect(line.gateway.mcp_addr).with_time_max(std::time::Duration::from_secs(60));
    let mail = "jane.doe@example.org";
    for length in [1 << 20, 4_000_000] {
        for era in ERAS {
            let around = request_body(
                era,
                "1",
                "tools/call",
                r#""name":"t","arguments":{"text":"TEXT"},"_meta":{~"n":1}"#,
            );
            let text = long_text(around.find("TEXT").unwrap(), length);
            let template = around.replace("TEXT", &text);
            line.will_answer(Wrap::Json, &[br#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#.to_vec()]);
            let headers = era.headers("tools/call", Some("t"));
            let (seen, response) = line.exchange("s", &headers, fill(&template, mail).as_bytes());
            assert_eq!(response.status(), 200, "{}", response.text());
            assert_bytes(
                "a long request",
                seen[0].body(),
                expected(&template, "EMAIL_ADDRESS", false).as_bytes(),
            );

            for wrap in [Wrap::Json, Wrap::Sse] {
                let around =
                    r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"TEXT"}]}}"#;
                let template = around.replace("TEXT", &long_text(around.find("TEXT").unwrap(), length));
                line.will_answer(wrap, &[fill(&template, mail).into_bytes()]);
                let (name, body) = clean_request(era, "1", "tools/call");
                let (_, response) = line.exchange("s", &era.headers("tools/call", name), body.as_bytes());
                let want = expected(&template, "EMAIL_ADDRESS", false).into_bytes();
                let want = if wrap == Wrap::Sse { sse(&[want]) } else { want };
                assert_bytes("a long answer", &response.body, &want);
            }
        }
    }
}

#[test]
fn long_bodies_on_io_uring() {
    long_bodies("io_uring");
}

#[test]
fn long_bodies_on_epoll() {
    long_bodies("epoll");
}

/// A key that is longer than what is scanned twice at a border, at every kind of border.
#[test]
fn long_secrets_across_borders() {
    let mut line = Line::usual("epoll");
    let line_of_key = "MIIEpAIBAAKCAQEA0123456789abcdefghijABCDEFGHIJ0123456789abcdefghij";
    let kind = "RSA PRIVATE ";
    let body: String = (0..26).map(|_| format!("{line_of_key}\\n")).collect();
    let key = format!("-----BEGIN {kind}KEY-----\\n{body}-----END {kind}KEY-----");
    for before in [0usize, 3, 20, 30, 500, 1023, 1024, 1025, 1500, 1780] {
        let filler = "a b ".repeat((64 << 10) / 4);
        let template = format!(
            r#"{{"jsonrpc":"2.0","id":1,"result":{{"content":[{{"type":"text","text":"{} % end"}}]}}}}"#,
            &filler[..(64 << 10) - 70 - before]
        );
        line.will_answer(Wrap::Json, &[template.replace('%', &key).into_bytes()]);
        let (name, request) = clean_request(Era::Legacy, "1", "tools/call");
        let (_, response) = line.exchange("s", &Era::Legacy.headers("tools/call", name), request.as_bytes());
        assert_bytes(
            &format!("{before}"),
            &response.body,
            template.replace('%', "[REDACTED:SECRET]").as_bytes(),
        );
    }
}

/// Records never hold what was removed or what was asked, and the hash is of what was sent.
#[test]
fn records_hold_hashes_and_no_payload() {
    let mut line = Line::usual("epoll");
    let arguments = r#"{ "text" : "jane.doe@example.org" }"#;
    let answer = br#"{"jsonrpc":"2.0","id":5,"result":{"content":["536-90-4399"]}}"#;
    line.will_answer(Wrap::Json, &[answer.to_vec()]);
    let params = format!(r#""name":"lookup","arguments":{arguments},"_meta":{{~"n":1}}"#);
    let body = request_body(Era::Modern, "5", "tools/call", &params);
    let mut headers = Era::Modern.headers("tools/call", Some("lookup"));
    headers.push(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
    let (_, response) = line.exchange("s", &headers, body.as_bytes());
    let record = &line.calls(1)["5"];
    let hex =
        |bytes: &[u8]| digest(&SHA256, bytes).as_ref().iter().map(|b| format!("{b:02x}")).collect::<String>();
    let hash = |key: &str| record[key].as_str().unwrap_or_default();
    assert_eq!(hash("args_hash"), hex(arguments.as_bytes()), "{record}");
    assert_eq!(hash("response_hash"), hex(answer), "{record}");
    assert_eq!(record["tool_name"], "lookup");
    assert_eq!(record["mcp_server"], "s");
    assert_eq!(record["method"], "tools/call");
    assert_eq!(record["identity"], "anonymous");
    assert_eq!(record["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(record["findings"], json!({ "EMAIL_ADDRESS": 1, "US_SSN": 1 }));
    assert_eq!(record["redaction_count"], 2);
    assert_eq!(record["bytes_in"], body.len());
    assert_eq!(record["bytes_out"], response.body.len());
    assert_eq!(record["status"], 200);
    for text in line.gateway.audit().iter().map(Value::to_string) {
        assert!(!text.contains("jane.doe") && !text.contains("536-90") && text.len() < 8000, "{text}");
    }
}

/// An id is the client's own business towards the server, but the audit log is kept for years.
#[test]
#[ignore = "the gateway records request ids and tool names as they are, with what they may contain"]
fn records_hold_no_finding_in_ids_or_names() {
    let mut line = Line::usual("epoll");
    let secret = format!("{}{}", "AKIA", "ABCDEFGH234567IJ");
    line.will_answer(
        Wrap::Json,
        &[br#"{"jsonrpc":"2.0","id":"jane.doe@example.org","result":{"content":[]}}"#.to_vec()],
    );
    let params = format!(r#""name":"{secret}","arguments":{{}},"_meta":{{~"n":1}}"#);
    let body = request_body(Era::Legacy, "\"jane.doe@example.org\"", "tools/call", &params);
    line.exchange("s", &[], body.as_bytes());
    for record in line.gateway.audit_until(1, |record| record["kind"] == "call") {
        let text = record.to_string();
        assert!(!text.contains("jane.doe") && !text.contains(&secret), "{text}");
    }
}

/// A container in the place of a cursor is not a cursor.
#[test]
fn exempt_names_do_not_hide_whole_objects() {
    let mut line = Line::usual("epoll");
    line.will_answer(
        Wrap::Json,
        &[br#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"nextCursor":{"x":"jane.doe@example.org"}}}"#
            .to_vec()],
    );
    for key in ["cursor", "taskId", "resultType", "protocolVersion"] {
        let params = format!(
            r#""name":"t","arguments":{{}},"{key}":{{"x":["jane.doe@example.org"]}},"_meta":{{~"n":1}}"#
        );
        let body = request_body(Era::Legacy, "1", "tools/call", &params);
        let (seen, response) = line.exchange("s", &[], body.as_bytes());
        assert!(seen.iter().all(|request| !contains(&request.bytes, b"jane.doe")), "{key}");
        assert!(!response.text().contains("jane.doe"), "{key}");
    }
}

/// What stands in a stream outside of data lines is relayed too.
#[test]
#[ignore = "comments, event names and ids of a stream are relayed without inspection"]
fn comments_of_a_stream_are_no_way_out() {
    let mut line = Line::usual("epoll");
    let body = b": jane.doe@example.org\n\nid: jane.doe@example.org\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    *line.answer.lock().unwrap() = [head.as_bytes(), body].concat();
    let (name, request) = clean_request(Era::Legacy, "1", "tools/call");
    let (_, response) = line.exchange("s", &Era::Legacy.headers("tools/call", name), request.as_bytes());
    assert!(!response.text().contains("jane.doe"), "{}", response.text());
}

/// The framing of a redacted answer is right on a connection that is used again.
#[test]
fn lengths_are_made_anew() {
    let mut line = Line::usual("io_uring");
    for _ in 0..3 {
        line.will_answer(
            Wrap::Json,
            &[br#"{"jsonrpc":"2.0","id":1,"result":{"content":["jane.doe@example.org"]}}"#.to_vec()],
        );
        let (name, body) = clean_request(Era::Modern, "1", "tools/call");
        line.client.send(raw::post("/mcp/s", &Era::Modern.headers("tools/call", name), body));
        let head = line.client.read_head().expect("a head");
        let mut rest = head.rest().expect("a framing");
        assert!(matches!(rest, Rest::Length(_)), "{rest:?}");
        let mut body = Vec::new();
        while let Some(piece) = line.client.read_piece(&mut rest).expect("a body") {
            body.extend(piece);
        }
        assert_bytes(
            "body",
            &body,
            br#"{"jsonrpc":"2.0","id":1,"result":{"content":["[REDACTED:EMAIL_ADDRESS]"]}}"#,
        );
    }
    let params = r#""name":"t","arguments":{"a":"jane.doe@example.org"},"_meta":{~"n":1}"#;
    let body = request_body(Era::Modern, "1", "tools/call", params);
    let (seen, _) = line.exchange("s", &Era::Modern.headers("tools/call", Some("t")), body.as_bytes());
    let length: usize = seen[0].header("content-length").unwrap().parse().unwrap();
    assert_eq!(length, seen[0].body().len());
    assert_eq!(seen[0].headers_named("content-length").len(), 1);
}
