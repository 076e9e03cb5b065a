use super::super::wire::{read_some, read_to_end, write_all};
use super::*;
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

struct Server {
    addr: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("bound");
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(serve(listener, async { drop(stopped.await) }));
    Server { addr, stop: Some(stop), task }
}

/// An HTTP answer, its body as far as it has been read.
struct Answer {
    status: u16,
    headers: String,
    stream: TcpStream,
    /// Read, but not used yet.
    rest: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    /// The whole body of a connection that closes, without chunk sizes.
    async fn body(mut self) -> String {
        let chunked = self.header("transfer-encoding") == Some("chunked");
        let read = read_to_end(&mut self.stream, &mut self.rest);
        timeout(Duration::from_secs(10), read).await.expect("in time").expect("reads");
        let raw = String::from_utf8(self.rest).expect("text");
        if !chunked {
            return raw;
        }
        let (mut rest, mut body) = (raw.as_str(), String::new());
        while let Some((size, after)) = rest.split_once("\r\n") {
            let size = usize::from_str_radix(size, 16).expect("a chunk size");
            body.push_str(&after[..size]);
            rest = &after[size + 2..];
        }
        body
    }

    async fn json(self) -> Value {
        let body = self.body().await;
        serde_json::from_str(&body).unwrap_or_else(|e| panic!("{e}: {body}"))
    }

    /// The JSON-RPC messages of a stream that ends.
    async fn events(self) -> Vec<Value> {
        assert_eq!(self.header("content-type"), Some("text/event-stream"));
        assert_eq!(self.header("x-accel-buffering"), Some("no"));
        let body = self.body().await;
        body.lines()
            .filter_map(|l| l.strip_prefix("data: "))
            .map(|d| serde_json::from_str(d).expect("JSON"))
            .collect()
    }

    /// Reads an open stream up to a line that contains `needle`.
    async fn until(&mut self, needle: &str) -> String {
        loop {
            while let Some(end) = self.rest.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8(self.rest.drain(..=end).collect()).expect("text");
                if line.contains(needle) {
                    return line;
                }
            }
            let read = timeout(Duration::from_secs(10), read_some(&mut self.stream, &mut self.rest)).await;
            assert!(read.expect("in time").expect("reads") > 0, "the stream ended before {needle}");
        }
    }
}

impl Server {
    async fn send(&self, method: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.addr).await.expect("connects");
        let mut request =
            format!("{method} /mcp HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if headers.iter().all(|(name, _)| *name != "Host") {
            request.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        write_all(&mut stream, request.as_bytes()).await.expect("writes");
        let mut rest = Vec::new();
        let end = loop {
            match rest.windows(4).position(|w| w == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => assert!(
                    read_some(&mut stream, &mut rest).await.expect("reads") > 0,
                    "no answer to {request}"
                ),
            }
        };
        let headers = String::from_utf8(rest.drain(..end).collect()).expect("text");
        let status = headers[9..12].parse().expect("a status");
        Answer { status, headers, stream, rest }
    }

    async fn post(&self, more: &[(&str, &str)], body: &str) -> Answer {
        let mut headers =
            vec![("Content-Type", "application/json"), ("Accept", "application/json, text/event-stream")];
        headers.retain(|(name, _)| more.iter().all(|(other, _)| other != name));
        headers.extend(more);
        self.send("POST", &headers, body).await
    }

    /// A right request of 2026-07-28.
    async fn modern(&self, method: &str, params: Value) -> Answer {
        let name = params.get("name").or(params.get("uri")).and_then(Value::as_str).map(str::to_owned);
        let mut headers = vec![("MCP-Protocol-Version", MODERN), ("Mcp-Method", method)];
        if let Some(name) = &name {
            headers.push(("Mcp-Name", name));
        }
        self.post(&headers, &modern_body(method, params)).await
    }

    /// A session, by version asked for.
    async fn session(&self, version: &str) -> (String, Value) {
        let body = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": version, "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } });
        let answer = self.post(&[], &body.to_string()).await;
        assert_eq!(answer.status, 200);
        let session = answer.header("mcp-session-id").expect("a session").to_owned();
        (session, answer.json().await)
    }

    async fn legacy(&self, session: &str, method: &str, params: Value) -> Answer {
        let body = json!({ "jsonrpc": "2.0", "id": "a", "method": method, "params": params });
        self.post(&[("Mcp-Session-Id", session), ("MCP-Protocol-Version", "2025-11-25")], &body.to_string())
            .await
    }

    async fn shut_down(mut self) {
        if let Some(stop) = self.stop.take() {
            stop.send(()).expect("still serving");
        }
        timeout(Duration::from_secs(10), self.task)
            .await
            .expect("in time")
            .expect("no panic")
            .expect("ends cleanly");
    }
}

fn modern_body(method: &str, mut params: Value) -> String {
    params["_meta"][META_VERSION] = json!(MODERN);
    params["_meta"][META_CAPABILITIES] = json!({});
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params }).to_string()
}

#[tokio::test]
async fn the_modern_era() {
    let server = start().await;
    let customer = json!({ "name": "customer_lookup", "arguments": { "customer_id": "c-1" } });
    for (method, params, pointer, expect) in [
        ("server/discover", json!({}), "/result/supportedVersions", json!([MODERN])),
        ("tools/list", json!({}), "/result/tools/1/name", json!("customer_lookup")),
        ("tools/list", json!({}), "/result/cacheScope", json!("public")),
        (
            "tools/list",
            json!({}),
            "/result/_meta/io.modelcontextprotocol~1serverInfo/name",
            json!("tidegate-demo"),
        ),
        ("resources/list", json!({}), "/result/resources/0/uri", json!("demo://welcome")),
        ("resources/templates/list", json!({}), "/result/ttlMs", json!(3_600_000)),
        (
            "resources/read",
            json!({ "uri": "demo://welcome" }),
            "/result/contents/0/mimeType",
            json!("text/plain"),
        ),
        ("resources/read", json!({ "uri": "demo://nope" }), "/error/code", json!(-32602)),
        ("prompts/list", json!({}), "/result/prompts/0/name", json!("greeting")),
        (
            "prompts/get",
            json!({ "name": "greeting", "arguments": { "name": "Ada" } }),
            "/result/messages/0/content/text",
            json!("Please greet Ada warmly."),
        ),
        ("prompts/get", json!({ "name": "other" }), "/error/code", json!(-32602)),
        (
            "tools/call",
            json!({ "name": "echo", "arguments": { "message": "h\u{e9}llo" } }),
            "/result/content/0/text",
            json!("h\u{e9}llo"),
        ),
        ("tools/call", json!({ "name": "echo" }), "/result/isError", json!(true)),
        (
            "tools/call",
            json!({ "name": "add", "arguments": { "a": 2, "b": 3 } }),
            "/result/structuredContent",
            json!({ "sum": 5 }),
        ),
        (
            "tools/call",
            customer.clone(),
            "/result/structuredContent/email",
            json!("jordan.example@example.com"),
        ),
        ("tools/call", customer, "/result/resultType", json!("complete")),
        ("tools/call", json!({ "name": "nope" }), "/error/message", json!("Unknown tool: nope")),
        (
            "tools/call",
            json!({ "name": "slow_count", "arguments": { "n": 21 } }),
            "/result/isError",
            json!(true),
        ),
    ] {
        let answer = server.modern(method, params).await;
        assert_eq!((answer.status, answer.header("mcp-session-id")), (200, None), "{method}");
        let body = answer.json().await;
        assert_eq!(body["id"], 7, "{method}");
        assert_eq!(body.pointer(pointer), Some(&expect), "{method}: {body}");
    }
    let text = server
        .modern("tools/call", json!({ "name": "customer_lookup", "arguments": { "customer_id": "c" } }));
    let text = text.await.json().await["result"]["content"][0]["text"].to_string();
    for planted in [
        "jordan.example@example.com",
        "+1-202-555-0143",
        "4111 1111 1111 1111",
        "536-22-8743",
        "GB82 WEST",
        "ghp_",
    ] {
        assert!(text.contains(planted), "{planted} in {text}");
    }
    for method in ["initialize", "ping", "logging/setLevel", "no/such"] {
        let answer = server.modern(method, json!({})).await;
        assert_eq!(answer.status, 404, "{method}");
        assert_eq!(answer.json().await["error"]["code"], -32601, "{method}");
    }
    let notification =
        json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 1 } });
    let headers = [("MCP-Protocol-Version", MODERN)];
    assert_eq!(server.post(&headers, &notification.to_string()).await.status, 202);
    for method in ["GET", "DELETE"] {
        let answer = server.send(method, &[headers[0], ("Accept", "*/*")], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
}

#[tokio::test]
async fn what_is_refused() {
    let server = start().await;
    let list = modern_body("tools/list", json!({}));
    let call = modern_body("tools/call", json!({ "name": "echo", "arguments": { "message": "x" } }));
    let version = ("MCP-Protocol-Version", MODERN);
    let (is_list, is_call) = (("Mcp-Method", "tools/list"), ("Mcp-Method", "tools/call"));
    let other_version = list.replace(MODERN, "2030-01-01");
    let no_capabilities = list.replace("clientCapabilities", "other");
    let no_meta = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(BODY_BYTES_MAX));
    for (headers, body, status, code) in [
        (&[version, is_list][..], list.as_str(), 200, None),
        (&[version, is_call, ("Mcp-Name", "=?base64?ZWNobw==?=")], &call, 200, None),
        (&[is_list], &list, 400, Some(-32020)),
        (&[version], &list, 400, Some(-32020)),
        (&[version, is_call], &list, 400, Some(-32020)),
        (&[version, is_list, is_list], &list, 400, Some(-32020)),
        (&[version, is_call], &call, 400, Some(-32020)),
        (&[version, is_call, ("Mcp-Name", "Echo")], &call, 400, Some(-32020)),
        (&[version, is_call, ("Mcp-Name", "=?base64?????=")], &call, 400, Some(-32020)),
        (&[("MCP-Protocol-Version", "2025-11-25"), is_list], &list, 400, Some(-32020)),
        (&[("MCP-Protocol-Version", "2030-01-01"), is_list], &other_version, 400, Some(-32022)),
        (&[("MCP-Protocol-Version", "2030-01-01"), is_list], no_meta, 400, Some(-32022)),
        (&[version, is_list], &no_capabilities, 400, Some(-32602)),
        (&[version, is_list], no_meta, 400, Some(-32602)),
        (&[version], r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, 400, Some(-32600)),
        (&[], "{", 400, Some(-32700)),
        (&[], "[]", 400, Some(-32600)),
        (&[], r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, 400, Some(-32600)),
        (&[], r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, 400, Some(-32600)),
        (&[], r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, 400, Some(-32600)),
        (&[], r#"{"jsonrpc":"2.0","id":1}"#, 400, Some(-32600)),
        (&[], r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, 400, Some(-32600)),
        (&[], &large, 413, Some(-32600)),
        (&[("Content-Type", "text/plain")], &list, 415, Some(-32600)),
        (&[("Content-Type", "Application/JSON; charset=utf-8"), version, is_list], &list, 200, None),
        (&[("Accept", "application/json")], &list, 406, Some(-32600)),
        (&[("Accept", "*/*"), version, is_list], &list, 200, None),
        (&[("Accept", "application/*;q=1, text/*"), version, is_list], &list, 200, None),
        (&[("Host", "evil.example")], &list, 403, Some(-32600)),
        (&[("Origin", "https://evil.example")], &list, 403, Some(-32600)),
        (&[("Origin", "null")], &list, 403, Some(-32600)),
        (&[("Origin", "http://localhost.evil.example")], &list, 403, Some(-32600)),
        (&[("Origin", "http://localhost:5173"), version, is_list], &list, 200, None),
    ] {
        let answer = server.post(headers, body).await;
        let shown = &body[..body.len().min(200)];
        assert_eq!(answer.status, status, "{headers:?} {shown}");
        assert_eq!(answer.json().await["error"]["code"].as_i64(), code, "{headers:?} {shown}");
    }
    assert_eq!(server.send("PUT", &[], "").await.status, 405);
}

#[tokio::test]
async fn the_legacy_era() {
    let server = start().await;
    for (asked, given) in [
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        (MODERN, "2025-11-25"),
        ("x", "2025-11-25"),
    ] {
        assert_eq!(server.session(asked).await.1["result"]["protocolVersion"], given, "{asked}");
    }
    let (session, _) = server.session("2025-11-25").await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    assert_eq!(server.post(&[("Mcp-Session-Id", &session)], notification).await.status, 202);
    for (method, params, pointer, expect) in [
        ("ping", json!({}), "/result", json!({})),
        ("logging/setLevel", json!({ "level": "info" }), "/result", json!({})),
        ("logging/setLevel", json!({ "level": "loud" }), "/error/code", json!(-32602)),
        ("tools/list", json!({}), "/result/tools/3/name", json!("slow_count")),
        (
            "tools/call",
            json!({ "name": "add", "arguments": { "a": 0.5, "b": 1 } }),
            "/result/structuredContent/sum",
            json!(1.5),
        ),
        ("resources/list", json!({}), "/result/resources/0/name", json!("welcome")),
        (
            "resources/templates/list",
            json!({}),
            "/result/resourceTemplates/0/uriTemplate",
            json!("demo://customer/{id}"),
        ),
        (
            "resources/read",
            json!({ "uri": "demo://customer/c-9" }),
            "/result/contents/0/uri",
            json!("demo://customer/c-9"),
        ),
        ("resources/read", json!({ "uri": "demo://customer/" }), "/error/code", json!(-32002)),
        ("prompts/list", json!({}), "/result/prompts/0/arguments/0/required", json!(true)),
        ("prompts/get", json!({ "name": "greeting" }), "/error/code", json!(-32602)),
        ("server/discover", json!({}), "/error/code", json!(-32601)),
    ] {
        let answer = server.legacy(&session, method, params).await;
        assert_eq!(answer.status, 200, "{method}");
        let body = answer.json().await;
        assert_eq!(body["id"], "a");
        assert_eq!(body.pointer(pointer), Some(&expect), "{method}: {body}");
        assert!(body.pointer("/result/resultType").is_none(), "that is of the other era: {body}");
    }
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    assert_eq!(server.post(&[], ping).await.status, 400, "no session");
    assert_eq!(server.post(&[("Mcp-Session-Id", "x")], ping).await.status, 404, "another session");
    let bad = [("Mcp-Session-Id", session.as_str()), ("MCP-Protocol-Version", "2024-01-01")];
    assert_eq!(server.post(&bad, ping).await.status, 400, "an unknown version");
    let own = [("Mcp-Session-Id", session.as_str()), ("Accept", "text/event-stream")];
    assert_eq!(server.send("GET", &own[1..], "").await.status, 400);
    assert_eq!(server.send("GET", &[own[0], ("Accept", "application/json")], "").await.status, 406);
    let mut stream = server.send("GET", &own, "").await;
    assert_eq!(stream.status, 200);
    stream.until(": keep-alive").await;
    assert_eq!(server.send("DELETE", &own[..1], "").await.status, 204);
    timeout(Duration::from_secs(10), read_to_end(&mut stream.stream, &mut stream.rest))
        .await
        .expect("the stream ends with its session")
        .expect("reads");
    assert!(stream.rest.ends_with(b"0\r\n\r\n"), "it ends as a stream should");
    assert_eq!(server.send("DELETE", &own[..1], "").await.status, 404);
    assert_eq!(server.legacy(&session, "ping", json!({})).await.status, 404);
}

#[tokio::test]
async fn counting_reports_progress_in_both_eras() {
    let server = start().await;
    let params = |token: Value| json!({ "name": "slow_count", "arguments": { "n": 3, "delay_ms": 1 }, "_meta": { "progressToken": token } });
    let modern = server.modern("tools/call", params(json!(9_007_199_254_740_993_u64))).await.events().await;
    assert_eq!(modern.len(), 4);
    for (i, event) in modern[..3].iter().enumerate() {
        assert_eq!(event["method"], "notifications/progress");
        let expect = json!({ "progressToken": 9_007_199_254_740_993_u64, "progress": i + 1, "total": 3, "message": format!("{} of 3", i + 1) });
        assert_eq!(event["params"], expect);
    }
    assert_eq!((&modern[3]["id"], &modern[3]["result"]["resultType"]), (&json!(7), &json!("complete")));
    let (session, _) = server.session("2025-06-18").await;
    let legacy = server.legacy(&session, "tools/call", params(json!("t"))).await.events().await;
    assert_eq!((legacy.len(), &legacy[2]["params"]["progressToken"]), (4, &json!("t")));
    assert_eq!(
        legacy[3]["result"],
        json!({ "content": [{ "type": "text", "text": "Counted to 3." }], "isError": false })
    );
    let silent = json!({ "name": "slow_count", "arguments": { "n": 0 } });
    assert_eq!(server.modern("tools/call", silent).await.events().await.len(), 1, "only the result");
}

#[tokio::test]
async fn a_subscription_is_acknowledged_and_ends_with_a_result() {
    let server = start().await;
    let filter = json!({ "notifications": {
        "toolsListChanged": true, "promptsListChanged": false, "resourceSubscriptions": ["demo://welcome", "demo://nope"], "other": true } });
    let mut stream = server.modern("subscriptions/listen", filter).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    let first = stream.until("data: ").await;
    let first: Value = serde_json::from_str(first.trim_start_matches("data: ")).expect("JSON");
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    assert_eq!(first["params"]["_meta"][META_SUBSCRIPTION], 7);
    assert_eq!(
        first["params"]["notifications"],
        json!({ "toolsListChanged": true, "resourceSubscriptions": ["demo://welcome"] })
    );
    stream.until(": keep-alive").await;
    let (stop, stopping) = (server.shut_down(), async {
        let last = stream.until("data: ").await;
        serde_json::from_str::<Value>(last.trim_start_matches("data: ")).expect("JSON")
    });
    let ((), last) = tokio::join!(stop, stopping);
    assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!(7), &json!("complete")));
    assert_eq!(last["result"]["_meta"][META_SUBSCRIPTION], 7);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream() {
    let server = start().await;
    let mut stream = server.modern("subscriptions/listen", json!({})).await;
    stream.until("data: ").await;
    let counting = server
        .modern("tools/call", json!({ "name": "slow_count", "arguments": { "n": 20, "delay_ms": 500 } }))
        .await;
    drop((stream, counting));
    // Shutdown waits for open streams; with both clients gone there are none.
    server.shut_down().await;
}

#[test]
fn mirrored_values() {
    for (value, expect) in [
        ("plain", Some("plain")),
        ("=?base64?aMOpbGxv?=", Some("h\u{e9}llo")),
        ("=?base64??=", Some("")),
        ("=?base64?YQ==?=", Some("a")),
        ("=?base64?YQ?=", None),
        ("=?base64?YR==?=", None),
        ("=?base64?====?=", None),
        ("=?base64?/w==?=", None),
        ("=?BASE64?YQ==?=", Some("=?BASE64?YQ==?=")),
    ] {
        assert_eq!(decode_mirrored(value).as_deref(), expect, "{value}");
    }
}
