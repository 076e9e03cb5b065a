//! The harness's own promises, checked without the gateway: what it sends, reads, records and ends.

use std::{io::Write, process::Command, time::Duration};

use serde_json::json;
use tidegate_tests::{
    Next, Peer, Process, RawClient, RecordingUpstream,
    raw::{self, Broken},
    upstream::write_response,
};

const CALL: &str = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"echo"}}"#;

#[test]
fn the_upstream_records_exact_bytes_and_answers_with_the_id() {
    let upstream = RecordingUpstream::result(json!({ "content": [] }));
    let request = raw::post("/mcp", &[("X-Odd", "  a\tb ")], CALL);
    let response = raw::exchange(upstream.addr, &request);
    assert_eq!(response.json(), json!({ "jsonrpc": "2.0", "id": "a", "result": { "content": [] } }));
    let [recorded] = &upstream.requests()[..] else { panic!("one request, not {:?}", upstream.requests()) };
    assert_eq!(recorded.bytes, request);
    assert_eq!(recorded.body(), CALL.as_bytes());
    assert_eq!(recorded.request_line(), "POST /mcp HTTP/1.1");
    assert_eq!(recorded.header("x-odd").as_deref(), Some("a\tb"));
}

#[test]
fn requests_on_one_connection_and_in_chunks_are_told_apart() {
    let upstream = RecordingUpstream::result(json!({}));
    let mut client = RawClient::connect(upstream.addr);
    let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n".as_slice();
    client.send([chunked, &raw::post("/", &[], CALL)].concat());
    assert_eq!(client.read_response().status(), 202);
    assert_eq!(client.read_response().status(), 200);
    let requests = upstream.wait_for(2);
    assert_eq!(requests[0].bytes, chunked);
    assert_eq!((requests[1].connection, upstream.connections()), (0, 1));
}

#[test]
fn a_broken_request_is_recorded_as_such() {
    let upstream = RecordingUpstream::result(json!({}));
    let mut client = RawClient::connect(upstream.addr);
    client.send("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n{\"a");
    client.finish_sending();
    let requests = upstream.wait_for(1);
    assert!(!requests[0].complete);
    assert_eq!(requests[0].body(), b"{\"a");
}

#[test]
fn chunks_events_and_broken_responses() {
    let events = ": hello\r\n\r\nid: 1\r\ndata: {\"n\":\r\ndata: 1}\r\n\r\ndata: {\"n\":2}\r\n\r\n";
    let (first, second) = events.split_at(20);
    let mut script =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for part in [first, second, ""] {
        write!(script, "{:x}\r\n{part}\r\n", part.len()).expect("a Vec takes bytes");
    }
    let response = raw::exchange(RecordingUpstream::canned(script.clone()).addr, raw::post("/", &[], CALL));
    assert_eq!(response.events(), [json!({ "n": 1 }), json!({ "n": 2 })]);
    assert_eq!(response.json(), json!({ "n": 2 }));

    let cut = script[..script.len() - 5].to_vec();
    let upstream = RecordingUpstream::start(move |_, stream| stream.write_all(&cut).map(|()| Next::Close));
    let mut client = RawClient::connect(upstream.addr);
    client.send(raw::post("/", &[], CALL));
    assert_eq!(client.try_read_response(), Err(Broken::Closed(Vec::new())));

    let upstream = RecordingUpstream::start(|_, _| Ok(Next::KeepOpen));
    let mut client = RawClient::connect(upstream.addr).with_time_max(Duration::from_millis(20));
    client.send(raw::post("/", &[], CALL));
    assert_eq!(client.try_read_response(), Err(Broken::Late(Vec::new())));
    assert!(!client.is_closed());
    drop(upstream);
    assert!(client.is_closed());
}

#[test]
fn two_lengths_are_malformed() {
    let twice = |_: &_, stream: &mut _| {
        write_response(stream, "200 OK", &[("content-length", "2")], "{}").map(|()| Next::Close)
    };
    let upstream = RecordingUpstream::start(twice);
    let mut client = RawClient::connect(upstream.addr);
    client.send(raw::post("/", &[], CALL));
    assert!(matches!(client.try_read_response(), Err(Broken::Malformed(_))));
}

#[test]
fn processes_end_when_told() {
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    };
    let done = Process::run(shell("echo out; echo err >&2; exit 3"), Duration::from_secs(10));
    assert_eq!((done.status.and_then(|status| status.code()), done.output.as_str()), (Some(3), "out\nerr\n"));

    let late = Process::run(shell("echo started; exec sleep 600"), Duration::from_millis(200));
    assert!(late.status.is_none() && late.output.starts_with("started"), "{late:?}");

    let mut process = Process::start(shell("exec sleep 600"));
    assert!(!process.stop(Duration::from_secs(10)).success());
}

#[test]
fn the_fixture_answers_raw_requests_of_both_eras() {
    for options in [&[][..], &["--json-response", "--stateless"]] {
        let fixture = Peer::fixture_with(options);
        let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {} });
        let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "echo", "arguments": { "message": "hi" }, "_meta": meta } });
        let headers =
            [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "echo")];
        let response = raw::exchange(fixture.addr, raw::post("/mcp", &headers, call.to_string()));
        assert_eq!(response.json()["result"]["content"][0]["text"], "hi", "{}", response.text());
        let kind = response.header("content-type").unwrap_or_default();
        assert_eq!(kind.starts_with("application/json"), !options.is_empty(), "{kind}");

        let initialize = json!({ "jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "raw", "version": "1" } } });
        let response = raw::exchange(fixture.addr, raw::post("/mcp", &[], initialize.to_string()));
        assert_eq!(response.json()["result"]["protocolVersion"], "2025-11-25", "{}", response.text());
        assert_eq!(response.header("mcp-session-id").is_some(), options.is_empty());
    }
}
