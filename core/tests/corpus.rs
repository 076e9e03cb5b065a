//! Replays the labelled corpora through the pure parsers. The corpora lie beside the project and are not part of it;
//! without them these tests say so and check nothing more than the unit tests do.

use base64::{Engine, engine::general_purpose::STANDARD};
use std::path::PathBuf;
use tidegate_core::http1::HeadLimits;
use tidegate_core::http1::reader::{RequestReader, Step};
use tidegate_core::http1::request::RequestHead;
use tidegate_core::json::{Doc, JsonLimits, Parser};

fn rows(file: &str) -> Vec<serde_json::Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("left out: no {file} beside the project");
        return Vec::new();
    };
    text.lines().map(|l| serde_json::from_str(l).expect("a JSON row")).collect()
}

fn bytes(row: &serde_json::Value) -> Vec<u8> {
    STANDARD.decode(row["bytes_b64"].as_str().expect("bytes")).expect("base64")
}

#[derive(Debug, PartialEq)]
enum Verdict {
    Accept(u64),
    Reject(u64),
    Incomplete(u64),
}

fn classify(input: &[u8], step: usize) -> Verdict {
    let limits = HeadLimits { line_bytes_max: 8192, head_bytes_max: 32768, header_count_max: 100 };
    let (mut reader, mut head) = (RequestReader::new(limits, 4 << 20), RequestHead::default());
    let (mut buf, mut n, mut inside) = (Vec::new(), 0, false);
    for part in input.chunks(step.max(1)) {
        buf.extend_from_slice(part);
        loop {
            match reader.advance(&mut buf, &mut head) {
                Ok(Step::More) => break,
                Ok(Step::Head) => inside = true,
                Ok(Step::Message(m)) => {
                    n += 1;
                    inside = false;
                    buf.drain(..m.end);
                    if !head.keep_alive {
                        return Verdict::Accept(n);
                    }
                }
                Err(_) => return Verdict::Reject(n),
            }
        }
    }
    if inside || !buf.is_empty() || n == 0 { Verdict::Incomplete(n) } else { Verdict::Accept(n) }
}

#[test]
fn http_requests() {
    let mut wrong = Vec::new();
    for row in rows("http/requests.jsonl") {
        let input = bytes(&row);
        let got = classify(&input, input.len());
        let n = |key: &str| row[key].as_u64().unwrap_or(0);
        let ok = match (row["expect"].as_str(), row["when"].as_str()) {
            (Some("accept"), _) => {
                matches!(got, Verdict::Accept(m) if row.get("n_requests").is_none_or(|n| n == m))
            }
            (_, Some("timeout-or-eof")) => {
                matches!(got, Verdict::Incomplete(m) | Verdict::Reject(m) if m <= n("n_valid_before"))
            }
            _ => matches!(got, Verdict::Reject(m) if m <= n("n_valid_before")),
        };
        if !ok {
            wrong.push(format!("{}: {got:?}, want {} {}", row["name"], row["expect"], row["when"]));
        }
        let stride = (input.len() / 64).max(1);
        for step in (1..input.len().min(4096)).step_by(stride) {
            let split = classify(&input, step);
            if split != got {
                wrong.push(format!("{}: {split:?} in steps of {step}, {got:?} at once", row["name"]));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn json_texts() {
    let (mut parser, mut doc) = (Parser::new(JsonLimits::default()), Doc::default());
    let mut wrong = Vec::new();
    for row in rows("jsonrpc/json_text_cases.jsonl") {
        let input = bytes(&row);
        let got = parser.parse(&input, &mut doc);
        if got.is_ok() != (row["expect"] == "accept") {
            wrong.push(format!("{}: {got:?}, want {}: {}", row["name"], row["expect"], row["why"]));
        }
        if got.is_ok() {
            for (i, t) in doc.toks().iter().enumerate() {
                let wire = &input[t.start as usize..t.end as usize];
                let value: Result<serde_json::Value, _> = serde_json::from_slice(wire);
                assert!(value.is_ok(), "{}: token {i} spans {wire:?}", row["name"]);
            }
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn jsonrpc_bodies() {
    use tidegate_core::jsonrpc::{McpHeaders, client_message};
    // Rows that need a tool's schema, a server's state or a session; judged end to end or not at all.
    const ELSEWHERE: &[&str] = &["hdr/param-missing", "hdr/param-null-extra", "mrtr/state-replay-other-tool"];
    let (mut parser, mut doc) = (Parser::new(JsonLimits::default()), Doc::default());
    let mut wrong = Vec::new();
    for row in rows("jsonrpc/jsonrpc_cases.jsonl") {
        let input = bytes(&row);
        let header = |name: &str| {
            row["headers"]
                .as_object()
                .and_then(|h| h.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)))
                .and_then(|(_, v)| v.as_str())
                .map(str::as_bytes)
        };
        let headers = McpHeaders {
            version: header("mcp-protocol-version"),
            method: header("mcp-method"),
            name: header("mcp-name"),
        };
        let got = match parser.parse(&input, &mut doc) {
            Ok(()) => client_message(&doc, &headers, 256).map(|_| ()).map_err(|r| r.reason.public()),
            Err(e) => Err(match e {
                tidegate_core::json::JsonError::DuplicateKey => {
                    tidegate_core::reason::Reason::JsonDuplicateKey
                }
                _ => tidegate_core::reason::Reason::JsonInvalid,
            }
            .public()),
        };
        let ok = got.is_ok() == (row["expect"] == "accept");
        if !ok && !ELSEWHERE.contains(&row["name"].as_str().unwrap_or_default()) {
            wrong.push(format!("{}: {got:?}, want {}: {}", row["name"], row["expect"], row["why"]));
        }
    }
    assert!(wrong.is_empty(), "{} rows\n{}", wrong.len(), wrong.join("\n"));
}
