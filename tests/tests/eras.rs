//! One endpoint, two eras: which requests are let through to the server and which answers to the client, and what
//! either side sees of the other's failures.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener},
    process::Command,
    sync::{Arc, Mutex, mpsc},
};

use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Next, Process, RawClient, Recorded, RecordingUpstream, Response, TempDir, raw,
    upstream::write_response,
    wait::{self, SOON},
};

const DRIVERS: [&str; 2] = ["io_uring", "epoll"];
const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
const LEGACY: &[(&str, &str)] = &[("MCP-Protocol-Version", "2025-11-25")];

fn config(driver: &str, url: &str, limits: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nio: {driver}\nworkers: 1\nservers: {{ s: {{ url: \"{url}\" }} }}\n\
         limits: {{ {limits} }}\ninspection: {{ mode: redact }}\naudit: {{ dir: \"{{dir}}/audit\" }}\n"
    )
}

fn modern<'a>(method: &'a str, name: Option<&'a str>) -> Vec<(&'a str, &'a str)> {
    let mut headers = vec![("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", method)];
    headers.extend(name.map(|name| ("Mcp-Name", name)));
    headers
}

fn post(gateway: &Gateway, headers: &[(&str, &str)], body: &str) -> Response {
    raw::exchange(gateway.mcp_addr, raw::post("/mcp/s", headers, body))
}

fn metric(admin: SocketAddr, name: &str) -> u64 {
    let response = raw::exchange(admin, "GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let text = response.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// What the gateway itself refuses, and what it lets through.
#[test]
fn dispatch() {
    let call = |params: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t"{params}}}}}"#)
    };
    let meta = |version: &str| META.replace("2026-07-28", version);
    let ok = call(&format!(",{META}"));
    let now = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "t")];
    let with = |name: &'static str, value: &'static str| -> Vec<(&str, &str)> {
        now.iter()
            .map(|(n, v)| if *n == name { (name, value) } else { (*n, *v) })
            .filter(|(_, v)| !v.is_empty())
            .collect()
    };
    let plus = |name: &'static str, value: &'static str| -> Vec<(&str, &str)> {
        now.iter().copied().chain([(name, value)]).collect()
    };
    let version = |v: &'static str| vec![("MCP-Protocol-Version", v)];
    let init = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#.to_owned();
    // What it is, header fields, body, and status with code: 0 where the request reaches the server.
    type Case<'a> = (&'a str, Vec<(&'a str, &'a str)>, String, u16, i64);
    let mut cases: Vec<Case<'_>> = vec![
        ("initialize without headers", vec![], init.clone(), 200, 0),
        ("initialize with a version", version("2025-06-18"), init.clone(), 200, 0),
        ("no version", vec![], call(""), 200, 0),
        ("other legacy version", version("2099-01-01"), call(""), 400, -32022),
        ("empty version", vec![("MCP-Protocol-Version", "")], call(""), 400, -32022),
        ("modern", now.to_vec(), ok.clone(), 200, 0),
        (
            "names in other case",
            vec![("mcp-protocol-version", "2026-07-28"), ("MCP-METHOD", "tools/call"), ("mcp-name", "t")],
            ok.clone(),
            200,
            0,
        ),
        (
            "blanks around values",
            vec![
                ("MCP-Protocol-Version", " 2026-07-28\t"),
                ("Mcp-Method", "  tools/call"),
                ("Mcp-Name", "t  "),
            ],
            ok.clone(),
            200,
            0,
        ),
        ("base64 name", with("Mcp-Name", "=?base64?dA==?="), ok.clone(), 200, 0),
        ("modern body, no header", vec![], ok.clone(), 400, -32020),
        ("modern body, legacy header", version("2025-11-25"), ok.clone(), 400, -32020),
        ("modern header, no _meta", now.to_vec(), call(""), 400, -32602),
        (
            "modern header, _meta without version",
            now.to_vec(),
            call(r#","_meta":{"io.modelcontextprotocol/clientCapabilities":{}}"#),
            400,
            -32602,
        ),
        (
            "no capabilities",
            now.to_vec(),
            call(r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}"#),
            400,
            -32602,
        ),
        (
            "capabilities of the wrong type",
            now.to_vec(),
            call(
                r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":[]}"#,
            ),
            400,
            -32602,
        ),
        (
            "future version",
            with("MCP-Protocol-Version", "2027-01-01"),
            call(&format!(",{}", meta("2027-01-01"))),
            400,
            -32022,
        ),
        (
            "header and body of different versions",
            with("MCP-Protocol-Version", "2027-01-01"),
            ok.clone(),
            400,
            -32020,
        ),
        ("no Mcp-Method", with("Mcp-Method", ""), ok.clone(), 400, -32020),
        ("wrong Mcp-Method", with("Mcp-Method", "tools/list"), ok.clone(), 400, -32020),
        ("Mcp-Method in other case", with("Mcp-Method", "Tools/Call"), ok.clone(), 400, -32020),
        ("no Mcp-Name", with("Mcp-Name", ""), ok.clone(), 400, -32020),
        ("wrong Mcp-Name", with("Mcp-Name", "u"), ok.clone(), 400, -32020),
        ("Mcp-Name in other case", with("Mcp-Name", "T"), ok.clone(), 400, -32020),
        ("base64 of another name", with("Mcp-Name", "=?base64?dQ==?="), ok.clone(), 400, -32020),
        ("bad base64", with("Mcp-Name", "=?base64?dA?="), ok.clone(), 400, -32020),
        ("upper-case sentinel", with("Mcp-Name", "=?BASE64?dA==?="), ok.clone(), 400, -32020),
        ("bad Mcp-Param", plus("Mcp-Param-A", "=?base64?dA?="), ok.clone(), 400, -32020),
        ("legacy with a wrong Mcp-Method", vec![("Mcp-Method", "tools/list")], call(""), 400, -32020),
        (
            "unknown method",
            modern("tools/nope", None),
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/nope","params":{{{META}}}}}"#),
            404,
            -32601,
        ),
        (
            "removed method",
            modern("initialize", None),
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{{{META}}}}}"#),
            404,
            -32601,
        ),
        (
            "ping is gone",
            modern("ping", None),
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{{META}}}}}"#),
            404,
            -32601,
        ),
        (
            "discover",
            modern("server/discover", None),
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{META}}}}}"#),
            200,
            0,
        ),
        (
            "alias of a _meta key",
            now.to_vec(),
            call(&format!(",{}", META.replace("protocolVersion", "ProtocolVersion"))),
            400,
            -32600,
        ),
        ("arguments are no object", now.to_vec(), call(&format!(r#","arguments":[],{META}"#)), 400, -32602),
        (
            "params are no object",
            vec![],
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#.into(),
            400,
            -32602,
        ),
        (
            "tool name with a blank",
            vec![],
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a b"}}"#.into(),
            400,
            -32602,
        ),
        (
            "no tool name",
            vec![],
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{}}"#.into(),
            400,
            -32602,
        ),
        ("not JSON", vec![], "{".into(), 400, -32700),
        ("empty", vec![], String::new(), 400, -32700),
        ("byte order mark", vec![], format!("\u{feff}{}", call("")), 400, -32700),
        ("two texts", vec![], call("") + " {}", 400, -32700),
        ("batch", vec![], format!("[{}]", call("")), 400, -32600),
        ("duplicate key", vec![], call(r#","name":"u""#), 400, -32600),
        ("duplicate key, escaped", vec![], call(r#","n\u0061me":"u""#), 400, -32600),
        ("duplicate key, deep", vec![], call(r#","arguments":{"a":[{"b":1,"b":2}]}"#), 400, -32600),
        ("Method", vec![], call("").replace("\"method\"", "\"Method\""), 400, -32600),
        ("also Params", vec![], call("").replace("\"method\"", "\"Params\":{},\"method\""), 400, -32600),
        ("also Arguments", vec![], call(r#","arguments":{},"Arguments":{}"#), 400, -32600),
        ("wrong version of JSON-RPC", vec![], call("").replace("2.0", "1.0"), 400, -32600),
        ("id null", vec![], call("").replace("\"id\":1", "\"id\":null"), 400, -32600),
        ("id fraction", vec![], call("").replace("\"id\":1", "\"id\":1.5"), 400, -32600),
        ("id object", vec![], call("").replace("\"id\":1", "\"id\":{}"), 400, -32600),
        ("id exponent", vec![], call("").replace("\"id\":1", "\"id\":1e0"), 400, -32600),
        (
            "answer in the stateless era",
            version("2026-07-28"),
            r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.into(),
            400,
            -32600,
        ),
        (
            "notification without its era's _meta",
            modern("notifications/cancelled", None),
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#.into(),
            202,
            0,
        ),
        (
            "notification with an id",
            vec![],
            r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#.into(),
            400,
            -32600,
        ),
        ("request without an id", vec![], r#"{"jsonrpc":"2.0","method":"tools/list"}"#.into(), 400, -32600),
    ];
    for v in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        cases.push((v, version(v), call(""), 200, 0));
    }
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({ "content": [] }));
        let gateway = Gateway::start(&config(driver, &upstream.url(), ""));
        for (what, headers, body, status, code) in &cases {
            let before = upstream.requests().len();
            let response = post(&gateway, headers, body);
            assert_eq!(response.status(), *status, "{what}: {}", response.text());
            let reached = upstream.requests().len() - before;
            if *code == 0 {
                assert_eq!(reached, 1, "{what}");
                continue;
            }
            assert_eq!(reached, 0, "{what}");
            let error = response.json();
            assert_eq!(error["error"]["code"], *code, "{what}: {error}");
            assert_eq!(response.header("content-type"), Some("application/json"), "{what}");
            // An error to a readable request carries its id; nothing else has one.
            let sent: Value = serde_json::from_str(body).unwrap_or_default();
            let id = sent
                .get("id")
                .filter(|id| id.is_i64() && (sent.get("method").is_some() || sent.get("Method").is_some()));
            if *what != "answer in the stateless era" {
                assert_eq!(error.get("id"), id, "{what}: {error}");
            }
            if *code == -32022 {
                let data = &error["error"]["data"];
                assert!(data["supported"].as_array().is_some_and(|all| !all.is_empty()), "{what}: {error}");
            }
        }
        let response = post(
            &gateway,
            &with("MCP-Protocol-Version", "2027-01-01"),
            &call(&format!(",{}", meta("2027-01-01"))),
        );
        assert_eq!(
            response.json()["error"]["data"],
            json!({ "supported": ["2026-07-28"], "requested": "2027-01-01" })
        );
    }
}

/// The id of an answer is one of the server's; in an error it would name some request of the client's own.
#[test]
fn refused_answers_get_no_id() {
    let upstream = RecordingUpstream::result(json!({}));
    let gateway = Gateway::start(&config("epoll", &upstream.url(), ""));
    for headers in [&[("MCP-Protocol-Version", "2026-07-28")][..], LEGACY] {
        let response = post(
            &gateway,
            headers,
            r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}"#,
        );
        assert_eq!((response.status(), response.json().get("id")), (400, None), "{headers:?}");
    }
}

/// Header and body disagree in one of the two places, whichever a server would look at.
#[test]
fn fields_of_mcp_that_come_twice() {
    let upstream = RecordingUpstream::result(json!({}));
    let gateway = Gateway::start(&config("epoll", &upstream.url(), ""));
    let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"t",{META}}}}}"#);
    for field in [("Mcp-Method", "tools/call"), ("Mcp-Name", "t"), ("MCP-Protocol-Version", "2025-11-25")] {
        let mut headers = modern("tools/call", Some("t"));
        headers.push(field);
        let response = post(&gateway, &headers, &body);
        assert_eq!(
            (response.status(), &response.json()["error"]["code"]),
            (400, &json!(-32020)),
            "{field:?}"
        );
    }
    assert!(upstream.requests().is_empty());
}

/// An unknown method of the older era: not one that an operator has forbidden, so 400.
#[test]
fn unknown_methods_of_the_older_era() {
    let upstream = RecordingUpstream::result(json!({}));
    let gateway = Gateway::start(&config("epoll", &upstream.url(), ""));
    let response = post(&gateway, LEGACY, r#"{"jsonrpc":"2.0","id":1,"method":"tools/nope"}"#);
    assert_eq!((response.status(), &response.json()["error"]["code"]), (400, &json!(-32601)));
}

#[test]
fn http_around_the_message() {
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({}));
        let gateway = Gateway::start(&config(driver, &upstream.url(), ""));
        let send = |line: &str, fields: &[(&str, &str)], body: &str| {
            let mut text = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n");
            for (name, value) in fields {
                text += &format!("{name}: {value}\r\n");
            }
            if !body.is_empty() {
                text += &format!("Content-Length: {}\r\n", body.len());
            }
            raw::exchange(gateway.mcp_addr, text + "\r\n" + body)
        };
        let json = ("Content-Type", "application/json");
        for (what, line, fields, body, status) in [
            ("plain", "POST /mcp/s", vec![json], body, 200),
            ("a slash behind", "POST /mcp/s/", vec![json], body, 200),
            (
                "type in other case, with parameters",
                "POST /mcp/s",
                vec![("content-type", "Application/JSON ; charset=\"UTF-8\"")],
                body,
                200,
            ),
            (
                "other charset",
                "POST /mcp/s",
                vec![("Content-Type", "application/json; charset=latin1")],
                body,
                415,
            ),
            ("other type", "POST /mcp/s", vec![("Content-Type", "text/plain")], body, 415),
            ("type with a suffix", "POST /mcp/s", vec![("Content-Type", "application/jsonp")], body, 415),
            ("no type", "POST /mcp/s", vec![], body, 415),
            ("encoded", "POST /mcp/s", vec![json, ("Content-Encoding", "gzip")], body, 415),
            ("any answer", "POST /mcp/s", vec![json, ("Accept", "*/*")], body, 200),
            ("any application", "POST /mcp/s", vec![json, ("Accept", "application/*;q=0.5")], body, 200),
            (
                "Accept in two lines",
                "POST /mcp/s",
                vec![json, ("Accept", "text/event-stream"), ("Accept", "Application/Json")],
                body,
                200,
            ),
            ("no answer that MCP has", "POST /mcp/s", vec![json, ("Accept", "text/html")], body, 406),
            ("no such server", "POST /mcp/t", vec![json], body, 404),
            ("no server", "POST /mcp/", vec![json], body, 404),
            ("another path", "POST /", vec![json], body, 404),
            ("below a server", "POST /mcp/s/x", vec![json], body, 404),
            ("PUT", "PUT /mcp/s", vec![json], body, 501),
            ("foreign origin", "POST /mcp/s", vec![json, ("Origin", "https://evil.example")], body, 403),
            ("null origin", "POST /mcp/s", vec![json, ("Origin", "null")], body, 403),
            ("own origin", "POST /mcp/s", vec![json, ("Origin", "http://localhost:6274")], body, 200),
            (
                "GET of the stateless era",
                "GET /mcp/s",
                vec![("MCP-Protocol-Version", "2026-07-28"), ("Accept", "text/event-stream")],
                "",
                405,
            ),
            (
                "DELETE of the stateless era",
                "DELETE /mcp/s",
                vec![("MCP-Protocol-Version", "2026-07-28")],
                "",
                405,
            ),
            (
                "GET of no era",
                "GET /mcp/s",
                vec![("MCP-Protocol-Version", "1"), ("Accept", "text/event-stream")],
                "",
                400,
            ),
            ("GET for a page", "GET /mcp/s", vec![("Accept", "text/html")], "", 406),
            ("GET with a body", "GET /mcp/s", vec![("Accept", "text/event-stream")], "x", 400),
            ("bad session", "POST /mcp/s", vec![json, ("Mcp-Session-Id", "a b")], body, 400),
            ("OPTIONS", "OPTIONS /mcp/s", vec![], "", 204),
        ] {
            let before = upstream.requests().len();
            let response = send(line, &fields, body);
            assert_eq!(response.status(), status, "{what}: {}", response.text());
            assert_eq!(upstream.requests().len() - before, usize::from(status == 200), "{what}");
            if status == 405 {
                assert_eq!(response.header("allow"), Some("POST"), "{what}");
                assert_eq!(response.json()["error"]["code"], -32600, "{what}");
            }
        }
        // Not the client's but the gateway's own Host, and no way around it.
        let text = format!(
            "POST /mcp/s HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        assert_eq!(raw::exchange(gateway.mcp_addr, text).status(), 403);
    }
}

/// A server's answer and what a client must see of it.
struct Passing {
    what: &'static str,
    /// Method asked for; `GET` for the stream, `notify` for a notification.
    asks: &'static str,
    answer: &'static str,
    body: &'static str,
    status: u16,
    /// Exact body, or a code of a JSON-RPC error of the gateway's own.
    sees: Result<&'static str, i64>,
    fields: &'static [(&'static str, Option<&'static str>)],
}

const PASSING: &[Passing] = &[
    Passing {
        what: "legacy refusal of discover",
        asks: "server/discover",
        answer: "400 Bad Request\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
        status: 400,
        sees: Ok(
            r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}"#,
        ),
        fields: &[],
    },
    Passing {
        what: "discover unknown, as text",
        asks: "server/discover",
        answer: "404 Not Found\r\nContent-Type: text/html",
        body: "<html>Cannot POST /mcp\n at Router.handle (/srv/app/node_modules/express/lib/router.js:12:3)</html>",
        status: 404,
        sees: Ok("Not Found"),
        fields: &[("content-type", Some("text/plain; charset=utf-8"))],
    },
    Passing {
        what: "discover not allowed",
        asks: "server/discover",
        answer: "405 Method Not Allowed\r\nAllow: GET, DELETE",
        body: "",
        status: 405,
        sees: Ok("Method Not Allowed"),
        fields: &[("allow", Some("GET, DELETE"))],
    },
    Passing {
        what: "discover answered with the method unknown",
        asks: "server/discover",
        answer: "200 OK\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#,
        status: 200,
        sees: Ok(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"Method not found"}}"#),
        fields: &[],
    },
    Passing {
        what: "stack trace",
        asks: "tools/call",
        answer: "500 Internal Server Error\r\nContent-Type: text/html\r\nServer: Werkzeug/1.0\r\nX-Powered-By: Express\r\nSet-Cookie: a=b",
        body: "<pre>Traceback (most recent call last): File \"/srv/app/secret.py\", line 1</pre>",
        status: 500,
        sees: Err(-32603),
        fields: &[("server", None), ("x-powered-by", None), ("set-cookie", None)],
    },
    Passing {
        what: "error message with JSON-RPC",
        asks: "tools/call",
        answer: "500 Internal Server Error\r\nContent-Type: application/json; charset=utf-8",
        body: r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal"}}"#,
        status: 500,
        sees: Ok(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32603,"message":"Internal"}}"#),
        fields: &[("content-type", Some("application/json"))],
    },
    Passing {
        what: "the gateway's credentials are wrong",
        asks: "tools/call",
        answer: "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"inside\"\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32001,"message":"who are you"}}"#,
        status: 502,
        sees: Err(-32603),
        fields: &[("www-authenticate", None)],
    },
    Passing {
        what: "the gateway may not",
        asks: "tools/call",
        answer: "403 Forbidden\r\nWWW-Authenticate: Bearer scope=\"x\"",
        body: "",
        status: 502,
        sees: Err(-32603),
        fields: &[("www-authenticate", None)],
    },
    Passing {
        what: "session gone",
        asks: "tools/list",
        answer: "404 Not Found\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#,
        status: 404,
        sees: Ok(r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#),
        fields: &[],
    },
    Passing {
        what: "session gone, without words",
        asks: "tools/list",
        answer: "404 Not Found",
        body: "",
        status: 404,
        sees: Err(-32603),
        fields: &[],
    },
    Passing {
        what: "session gone on the stream",
        asks: "GET",
        answer: "404 Not Found\r\nContent-Type: text/plain",
        body: "Session not found",
        status: 404,
        sees: Ok("Not Found"),
        fields: &[],
    },
    Passing {
        what: "no stream",
        asks: "GET",
        answer: "405 Method Not Allowed\r\nAllow: POST\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Method not allowed."},"id":null}"#,
        status: 405,
        sees: Ok(r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Method not allowed."},"id":null}"#),
        fields: &[("allow", Some("POST"))],
    },
    Passing {
        what: "notification taken",
        asks: "notify",
        answer: "202 Accepted\r\nX-Other: y",
        body: "",
        status: 202,
        sees: Ok(""),
        fields: &[("x-other", None), ("content-type", None), ("content-length", Some("0"))],
    },
    Passing {
        what: "notification taken with 200",
        asks: "notify",
        answer: "200 OK",
        body: "",
        status: 200,
        sees: Ok(""),
        fields: &[],
    },
    Passing {
        what: "notification refused",
        asks: "notify",
        answer: "400 Bad Request\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"},"id":null}"#,
        status: 400,
        sees: Ok(r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"no"},"id":null}"#),
        fields: &[],
    },
    Passing {
        what: "moved",
        asks: "tools/call",
        answer: "307 Temporary Redirect\r\nLocation: http://inside.example/mcp",
        body: "",
        status: 502,
        sees: Err(-32603),
        fields: &[("location", None)],
    },
    Passing {
        what: "found",
        asks: "GET",
        answer: "302 Found\r\nLocation: http://inside.example/login",
        body: "",
        status: 502,
        sees: Err(-32603),
        fields: &[("location", None)],
    },
    Passing {
        what: "a page instead of an answer",
        asks: "tools/call",
        answer: "200 OK\r\nContent-Type: text/html",
        body: "<html>login</html>",
        status: 502,
        sees: Err(-32603),
        fields: &[],
    },
    Passing {
        what: "compressed",
        asks: "tools/call",
        answer: "200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip",
        body: r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        status: 502,
        sees: Err(-32603),
        fields: &[("content-encoding", None)],
    },
    Passing {
        what: "the answer to something else",
        asks: "tools/call",
        answer: "200 OK\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","id":"1","result":{}}"#,
        status: 502,
        sees: Err(-32603),
        fields: &[],
    },
    Passing {
        what: "nothing",
        asks: "tools/call",
        answer: "200 OK\r\nContent-Type: application/json",
        body: "",
        status: 502,
        sees: Err(-32603),
        fields: &[],
    },
    Passing {
        what: "a request accepted but not answered",
        asks: "tools/call",
        answer: "200 OK",
        body: "",
        status: 502,
        sees: Err(-32603),
        fields: &[],
    },
    Passing {
        what: "too many",
        asks: "tools/call",
        answer: "429 Too Many Requests\r\nRetry-After: 7",
        body: "slow down",
        status: 429,
        sees: Err(-32603),
        fields: &[("retry-after", Some("7"))],
    },
    Passing {
        what: "a stream for a GET that is not one",
        asks: "GET",
        answer: "200 OK\r\nContent-Type: application/json",
        body: r#"{"jsonrpc":"2.0","id":1,"result":{}}"#,
        status: 502,
        sees: Err(-32603),
        fields: &[],
    },
];

fn ask(gateway: &Gateway, method: &str) -> Response {
    let discover = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{{{META}}}}}"#);
    match method {
        "GET" => raw::exchange(
            gateway.mcp_addr,
            "GET /mcp/s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nMcp-Session-Id: x\r\n\r\n",
        ),
        "notify" => post(gateway, LEGACY, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#),
        "server/discover" => post(gateway, &modern("server/discover", None), &discover),
        _ => post(
            gateway,
            LEGACY,
            &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"t"}}}}"#),
        ),
    }
}

/// A gateway before a server that answers what it is told.
fn scripted(driver: &str) -> (Arc<Mutex<Vec<u8>>>, RecordingUpstream, Gateway) {
    let script: Arc<Mutex<Vec<u8>>> = Arc::default();
    let upstream = RecordingUpstream::start({
        let script = script.clone();
        move |_, stream| stream.write_all(&script.lock().unwrap().clone()).map(|()| Next::KeepOpen)
    });
    let gateway = Gateway::start(&config(driver, &upstream.url(), ""));
    (script, upstream, gateway)
}

fn http(answer: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {answer}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

#[test]
fn what_clients_see_of_a_servers_answer() {
    for driver in DRIVERS {
        let (script, _upstream, gateway) = scripted(driver);
        for case in PASSING {
            *script.lock().unwrap() = http(case.answer, case.body);
            let response = ask(&gateway, case.asks);
            let what = case.what;
            assert_eq!(response.status(), case.status, "{what}: {}", response.text());
            match case.sees {
                Ok(body) => assert_eq!(response.text(), body, "{what}"),
                Err(code) => {
                    assert_eq!(response.json()["error"]["code"], code, "{what}: {}", response.text());
                    let id = (case.asks != "GET").then(|| json!(1));
                    assert_eq!(response.json().get("id"), id.as_ref(), "{what}");
                    assert!(
                        !response.text().contains("inside") && !response.text().contains("/srv"),
                        "{what}"
                    );
                }
            }
            for (name, value) in case.fields {
                assert_eq!(response.header(name), *value, "{what}: {name}");
            }
        }
        *script.lock().unwrap() = http("401 Unauthorized", "");
        assert_eq!(ask(&gateway, "tools/call").json()["error"]["data"]["reason"], "upstream_auth");
    }
}

/// Python's SDK 1.x writes `"id":"server-error"` into errors that belong to no request, also into the ones that make
/// clients fall back (400) and start a new session (404).
#[test]
fn refusals_of_the_python_sdk_pass_with_their_status() {
    let (script, _upstream, gateway) = scripted("epoll");
    for (asks, status) in
        [("server/discover", 400), ("tools/list", 404), ("tools/call", 400), ("server/discover", 406)]
    {
        let body = r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad Request: Missing session ID"}}"#;
        *script.lock().unwrap() = http(&format!("{status} X\r\nContent-Type: application/json"), body);
        let response = ask(&gateway, asks);
        assert_eq!(response.status(), status, "{asks}: {}", response.text());
    }
}

/// Frameworks answer a path or method they do not know with JSON of their own.
#[test]
fn error_statuses_with_other_json_pass_with_their_status() {
    let (script, _upstream, gateway) = scripted("epoll");
    for (asks, status) in [
        ("server/discover", 404),
        ("server/discover", 405),
        ("tools/list", 404),
        ("GET", 405),
        ("notify", 400),
        ("tools/call", 429),
    ] {
        *script.lock().unwrap() = http(
            &format!("{status} X\r\nContent-Type: application/json"),
            r#"{"detail":"Not Found in /srv"}"#,
        );
        let response = ask(&gateway, asks);
        assert_eq!(response.status(), status, "{asks}: {}", response.text());
        assert!(!response.text().contains("/srv"), "{asks}");
    }
}

/// `res.sendStatus(202)` of Express writes the phrase into the body.
#[test]
fn an_accepted_notification_with_words() {
    let (script, _upstream, gateway) = scripted("epoll");
    *script.lock().unwrap() = http("202 Accepted\r\nContent-Type: text/plain; charset=utf-8", "Accepted");
    let response = ask(&gateway, "notify");
    assert_eq!((response.status(), response.text()), (202, String::new()));
}

#[test]
fn sessions_pass_byte_exact_in_their_era_only() {
    let session = "!~aZ09-._=+/\"'`{}|^%20";
    for driver in DRIVERS {
        for sse in [false, true] {
            let upstream = RecordingUpstream::start(move |request, stream| {
                let id = request.json()["id"].clone();
                let body = json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string();
                let (kind, body) = if sse {
                    ("text/event-stream", format!("data: {body}\n\n"))
                } else {
                    ("application/json", body)
                };
                write_response(stream, "200 OK", &[("Content-Type", kind), ("mcp-session-id", session)], body)
                    .map(|()| Next::KeepOpen)
            });
            let gateway = Gateway::start(&config(driver, &upstream.url(), ""));
            let response =
                post(&gateway, &[], r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#);
            assert_eq!(response.head.headers_named("Mcp-Session-Id").collect::<Vec<_>>(), [session]);
            let response =
                post(&gateway, &[("MCP-Session-ID", session)], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
            assert_eq!(response.status(), 200);
            assert_eq!(upstream.requests()[1].headers_named("mcp-session-id"), [session]);

            let mut headers = modern("tools/list", None);
            headers.extend([("Mcp-Session-Id", session), ("Last-Event-ID", "4")]);
            let response = post(
                &gateway,
                &headers,
                &format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{META}}}}}"#),
            );
            assert_eq!(response.status(), 200);
            assert_eq!(response.header("mcp-session-id"), None);
            assert_eq!(
                (
                    upstream.requests()[2].header("mcp-session-id"),
                    upstream.requests()[2].header("last-event-id")
                ),
                (None, None)
            );
            let records = gateway.audit_until(3, |record| record["kind"] == "call");
            assert!(
                records.iter().all(|record| !record.to_string().contains("aZ09")),
                "session ids are recorded as hashes"
            );
            assert_eq!(records.iter().filter(|record| record["session"].is_string()).count(), 1);
        }
    }
}

/// What goes to the server is made anew: MCP's fields, none of the client's credentials, no hop-by-hop fields.
#[test]
fn what_servers_see_of_a_request() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({}));
        let yaml = config(driver, &upstream.url(), "").replace(
            &format!("{{ url: \"{}\" }}", upstream.url()),
            &format!(
                "{{ url: \"{}?tenant=a\", headers: {{ X-Api-Key: \"k-1\" }}, forward_headers: [x-tenant] }}",
                upstream.url()
            ),
        );
        let gateway = Gateway::start(&yaml);
        let mut headers = modern("ping", None);
        headers.clear();
        headers.extend([
            ("MCP-Protocol-Version", "2025-11-25"),
            ("Authorization", "Bearer client-token"),
            ("Cookie", "a=b"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("X-Api-Key", "stolen"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Proxy-Authorization", "Basic x"),
            ("DPoP", "x"),
            ("X-Tenant", "t1"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("User-Agent", "test/1"),
            ("Mcp-Param-Unknown", "kept"),
        ]);
        let response = post(&gateway, &headers, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
        assert_eq!(response.status(), 200, "{}", response.text());
        let request = &upstream.requests()[0];
        assert_eq!(request.request_line(), "POST /mcp?tenant=a HTTP/1.1");
        assert_eq!(request.headers_named("host"), [upstream.addr.to_string()]);
        for name in ["authorization", "cookie", "x-hop", "x-forwarded-for", "proxy-authorization", "dpop"] {
            assert_eq!(request.headers_named(name), [""; 0], "{name}");
        }
        assert_eq!(request.headers_named("x-api-key"), ["k-1"]);
        assert_eq!(request.headers_named("x-tenant"), ["t1"]);
        assert_eq!(request.headers_named("mcp-param-unknown"), ["kept"]);
        assert_eq!(request.headers_named("user-agent"), ["test/1"]);
        assert_eq!(request.headers_named("mcp-protocol-version"), ["2025-11-25"]);
        assert_eq!(request.headers_named("traceparent").len(), 1);
        assert_eq!(request.headers_named("content-type"), ["application/json"]);
        assert_eq!(request.headers_named("content-length").len(), 1);
    }
}

#[test]
fn input_required_goes_round() {
    for driver in DRIVERS {
        let state = "c3RhdGU=.\\u0041\\/=\\\"";
        let upstream = RecordingUpstream::start(move |request: &Recorded, stream| {
            let id = request.json()["id"].clone();
            let body = if request.json()["params"].get("requestState").is_some() {
                format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"complete","content":[]}}}}"#)
            } else {
                format!(
                    r#"{{"jsonrpc":"2.0","id":{id},"result":{{"resultType":"input_required","inputRequests":{{"a":{{"method":"elicitation/create","params":{{"message":"name?","mode":"form","requestedSchema":{{"type":"object","properties":{{}}}}}}}}}},"requestState":"{state}"}}}}"#
                )
            };
            write_response(stream, "200 OK", &[("Content-Type", "application/json")], body)
                .map(|()| Next::KeepOpen)
        });
        let gateway = Gateway::start(&config(driver, &upstream.url(), ""));
        let headers = modern("tools/call", Some("t"));
        let first = post(
            &gateway,
            &headers,
            &format!(r#"{{"jsonrpc":"2.0","id":"r1","method":"tools/call","params":{{"name":"t",{META}}}}}"#),
        );
        assert!(first.text().contains(&format!("\"requestState\":\"{state}\"")), "{}", first.text());
        assert_eq!(first.json()["result"]["resultType"], "input_required");
        let retry = format!(
            r#"{{"jsonrpc":"2.0","id":"r2","method":"tools/call","params":{{"name":"t","requestState":"{state}","inputResponses":{{"a":{{"action":"accept","content":{{}}}}}},{META}}}}}"#
        );
        let second = post(&gateway, &headers, &retry);
        assert_eq!(
            (&second.json()["id"], &second.json()["result"]["resultType"]),
            (&json!("r2"), &json!("complete"))
        );
        assert_eq!(String::from_utf8_lossy(upstream.requests()[1].body()), retry);
    }
}

#[test]
fn a_server_that_is_not_there() {
    for driver in DRIVERS {
        // Taken from the kernel and given back: nobody listens there.
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let gateway = Gateway::start(&config(driver, &format!("http://{addr}/mcp"), ""));
        for _ in 0..3 {
            let response = post(&gateway, LEGACY, r#"{"jsonrpc":"2.0","id":"a","method":"ping"}"#);
            assert_eq!((response.status(), &response.json()["id"]), (502, &json!("a")));
            assert_eq!(response.json()["error"]["code"], -32603);
            assert!(!response.text().contains("127.0.0.1"));
        }
        let records = gateway.audit_until(3, |record| record["kind"] == "call");
        assert_eq!(
            (&records[0]["reason"], &records[0]["decision"]),
            (&json!("upstream_connect"), &json!("error"))
        );
    }
}

/// Reads what comes until the connection ends; tells when it has.
fn hanging() -> (RecordingUpstream, mpsc::Receiver<bool>) {
    let (ended, end) = mpsc::channel();
    let ended = Mutex::new(ended);
    let upstream = RecordingUpstream::start(move |request, stream| {
        if request.json()["method"] == "notifications/cancelled" {
            return write_response(stream, "202 Accepted", &[], "").map(|()| Next::KeepOpen);
        }
        stream.set_read_timeout(Some(SOON))?;
        let read = stream.read(&mut [0; 16]);
        let _ = ended
            .lock()
            .unwrap()
            .send(matches!(read, Ok(0)) || read.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionReset));
        Ok(Next::Close)
    });
    (upstream, end)
}

#[test]
fn a_server_that_hangs() {
    for driver in DRIVERS {
        let (upstream, end) = hanging();
        let gateway = Gateway::start(&config(driver, &upstream.url(), "upstream_response_ms: 300"));
        let session = [("MCP-Protocol-Version", "2025-06-18"), ("Mcp-Session-Id", "s1")];
        let response = post(
            &gateway,
            &session,
            r#"{"jsonrpc":"2.0","id":"\u0061\"","method":"tools/call","params":{"name":"t"}}"#,
        );
        assert_eq!((response.status(), &response.json()["id"]), (504, &json!("a\"")));
        assert!(end.recv_timeout(SOON).unwrap(), "the connection is given up");
        let requests = upstream.wait_for(2);
        assert_eq!(requests[1].json()["method"], "notifications/cancelled");
        assert_eq!(requests[1].json()["params"]["requestId"], "a\"");
        assert!(requests[1].json().get("id").is_none());
        assert_eq!(requests[1].header("mcp-session-id").as_deref(), Some("s1"));
        assert_eq!(requests[1].header("mcp-protocol-version").as_deref(), Some("2025-06-18"));

        // Nobody cancels an initialize, and in the stateless era closing the connection is enough.
        assert_eq!(
            post(&gateway, &[], r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#).status(),
            504
        );
        let body = format!(r#"{{"jsonrpc":"2.0","id":2,"method":"tools/list","params":{{{META}}}}}"#);
        assert_eq!(post(&gateway, &modern("tools/list", None), &body).status(), 504);
        assert!(end.recv_timeout(SOON).unwrap() && end.recv_timeout(SOON).unwrap());
        // A further exchange, which is behind whatever would have been sent for those two.
        assert_eq!(post(&gateway, LEGACY, r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#).status(), 504);
        let requests = upstream.wait_for(6);
        let cancelled: Vec<_> = requests
            .iter()
            .filter(|r| r.json()["method"] == "notifications/cancelled")
            .map(|r| r.json()["params"]["requestId"].clone())
            .collect();
        assert_eq!(cancelled, [json!("a\""), json!(3)]);
        let records = gateway.audit_until(4, |record| record["kind"] == "call");
        assert!(records.iter().all(|record| record["reason"] == "upstream_timeout"), "{records:?}");
    }
}

/// A session-less client of the older era still says which version it speaks.
#[test]
fn a_cancellation_names_the_version_without_a_session() {
    let (upstream, _end) = hanging();
    let gateway = Gateway::start(&config("epoll", &upstream.url(), "upstream_response_ms: 300"));
    assert_eq!(post(&gateway, LEGACY, r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#).status(), 504);
    let requests = upstream.wait_for(2);
    assert_eq!(requests[1].header("mcp-protocol-version").as_deref(), Some("2025-11-25"));
}

/// An answer that begins and does not end.
#[test]
fn a_server_that_stops_in_the_middle() {
    for driver in DRIVERS {
        for close in [true, false] {
            let upstream = RecordingUpstream::start(move |_, stream| {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"jsonrpc\"")?;
                if !close {
                    stream.set_read_timeout(Some(SOON))?;
                    let _ = stream.read(&mut [0; 16]);
                }
                Ok(Next::Close)
            });
            let gateway = Gateway::start(&config(driver, &upstream.url(), "upstream_response_ms: 300"));
            let response = post(&gateway, LEGACY, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
            assert_eq!(response.status(), if close { 502 } else { 504 });
            assert_eq!(response.json()["id"], 1);
        }
    }
}

/// Answers that are not HTTP, or framed in two ways, or too large.
#[test]
fn servers_that_break_the_rules_of_http() {
    let body = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    let n = body.len();
    for driver in DRIVERS {
        let (script, _upstream, gateway) = scripted(driver);
        for head in [
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {n}\r\nTransfer-Encoding: chunked\r\n\r\n"
            ),
            format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {n}\r\nContent-Length: {}\r\n\r\n",
                n + 1
            ),
            format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: +{n}\r\n\r\n"),
            format!("HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: {n}\n\n"),
            format!("HTTP/1.1 200 OK\r\nContent-Type : application/json\r\nContent-Length: {n}\r\n\r\n"),
            format!("HTTP/1.1 20 OK\r\nContent-Length: {n}\r\n\r\n"),
            "SSH-2.0-OpenSSH_9.2\r\n\r\n".to_owned(),
            format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: {n}\r\n\r\n", "x".repeat(40_000)),
        ] {
            *script.lock().unwrap() = (head.clone() + body).into_bytes();
            let response = ask(&gateway, "tools/call");
            assert_eq!((response.status(), &response.json()["id"]), (502, &json!(1)), "{head:.80}");
        }
        // Something behind the answer: the answer is good, the connection is not.
        *script.lock().unwrap() =
            [http("200 OK\r\nContent-Type: application/json", body), b"HTTP/1.1 200 OK\r\n".to_vec()]
                .concat();
        for _ in 0..3 {
            assert_eq!(ask(&gateway, "tools/call").text(), body);
        }
        // Informational heads come first.
        *script.lock().unwrap() = [
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n".to_vec(),
            http("200 OK\r\nContent-Type: application/json", body),
        ]
        .concat();
        assert_eq!(ask(&gateway, "tools/call").text(), body);
    }
}

#[test]
fn an_answer_over_the_limit() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({ "content": ["x".repeat(100_000)] }));
        let gateway = Gateway::start(&config(driver, &upstream.url(), "response_bytes_max: 65536"));
        let response = ask(&gateway, "tools/call");
        assert_eq!(response.json()["error"]["code"], -32603, "{}", response.text());
        assert_eq!((response.status(), &response.json()["id"]), (200, &json!(1)));
    }
}

#[test]
fn connections_to_servers_are_used_again() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({}));
        let gateway = Gateway::start(&config(driver, &upstream.url(), "upstream_idle_ms: 60000"));
        for _ in 0..20 {
            assert_eq!(ask(&gateway, "tools/list").status(), 200);
        }
        assert_eq!(upstream.connections(), 1);
        assert_eq!(metric(gateway.admin_addr, "tidegate_upstream_connects_total"), 1);
        assert_eq!(metric(gateway.admin_addr, "tidegate_upstream_reused_total"), 19);
    }
}

/// Servers close idle connections whenever they like; clients must not notice.
#[test]
fn a_kept_connection_that_was_closed_is_replaced() {
    for driver in DRIVERS {
        let (closed, closing) = mpsc::channel();
        let closed = Mutex::new(closed);
        let upstream = RecordingUpstream::start(move |request, stream| {
            let body = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": {} }).to_string();
            write_response(stream, "200 OK", &[("Content-Type", "application/json")], body)?;
            stream.shutdown(Shutdown::Both)?;
            let _ = closed.lock().unwrap().send(());
            Ok(Next::Close)
        });
        let gateway = Gateway::start(&config(driver, &upstream.url(), "upstream_idle_ms: 60000"));
        let mut client = RawClient::connect(gateway.mcp_addr);
        for n in 0..50 {
            client.send(raw::post(
                "/mcp/s",
                LEGACY,
                format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"ping"}}"#),
            ));
            let response = client.read_response();
            assert_eq!((response.status(), &response.json()["id"]), (200, &json!(n)), "{}", response.text());
            closing.recv_timeout(SOON).unwrap();
        }
        assert_eq!((upstream.connections(), upstream.requests().len()), (50, 50));
        let records = gateway.audit_until(50, |record| record["kind"] == "call");
        assert!(records.iter().all(|record| record["decision"] == "allow"));
    }
}

/// A request that may have been acted on is never sent twice.
#[test]
fn a_request_that_got_through_is_not_repeated() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::start(|request, stream| {
            if request.json()["method"] == "tools/call" {
                return Ok(Next::Close); // read, and gone without a word
            }
            let body = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": {} }).to_string();
            write_response(stream, "200 OK", &[("Content-Type", "application/json")], body)
                .map(|()| Next::KeepOpen)
        });
        let gateway = Gateway::start(&config(driver, &upstream.url(), "upstream_idle_ms: 60000"));
        assert_eq!(ask(&gateway, "tools/list").status(), 200);
        let response = ask(&gateway, "tools/call");
        assert_eq!((response.status(), &response.json()["id"]), (502, &json!(1)));
        let calls = upstream.requests().iter().filter(|r| r.json()["method"] == "tools/call").count();
        assert_eq!((calls, upstream.connections()), (1, 1), "the kept connection was used, once");
    }
}

#[test]
fn connection_close_of_a_server_is_heeded() {
    let upstream = RecordingUpstream::start(|request, stream| {
        let body = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": {} }).to_string();
        write_response(
            stream,
            "200 OK",
            &[("Content-Type", "application/json"), ("Connection", "close")],
            body,
        )
        .map(|()| Next::KeepOpen)
    });
    let gateway = Gateway::start(&config("epoll", &upstream.url(), ""));
    for _ in 0..3 {
        let response = ask(&gateway, "tools/list");
        assert_eq!(response.status(), 200);
        assert_eq!(response.header("connection"), None, "that was for the gateway");
    }
    assert_eq!(upstream.connections(), 3);
}

/// A hung server does not harm another one.
#[test]
fn servers_do_not_disturb_each_other() {
    for driver in DRIVERS {
        let (hung, _end) = hanging();
        let fine = RecordingUpstream::result(json!({}));
        let yaml = config(driver, &hung.url(), "")
            .replace("servers: {", &format!("servers: {{ fine: {{ url: \"{}\" }},", fine.url()));
        let gateway = Gateway::start(&yaml);
        let mut waiting = Vec::new();
        for n in 0..30 {
            let mut client = RawClient::connect(gateway.mcp_addr);
            client.send(raw::post(
                "/mcp/s",
                LEGACY,
                format!(r#"{{"jsonrpc":"2.0","id":{n},"method":"ping"}}"#),
            ));
            waiting.push(client);
        }
        hung.wait_for(30);
        for _ in 0..20 {
            let response = raw::exchange(
                gateway.mcp_addr,
                raw::post("/mcp/fine", LEGACY, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
            );
            assert_eq!(response.status(), 200);
        }
    }
}

/// An MCP server over TLS: answers what was asked, echoing arguments; `prompts/get` as a stream.
const TLS_SERVER: &str = r#"
import http.server, json, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *args): pass
    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        arguments = message["params"].get("arguments", {})
        answer = json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": {"content": [], "structuredContent": arguments}})
        self.send_response(200)
        if message["method"] == "prompts/get":
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for part in (": one\n\n", "data: " + answer + "\n\n"):
                self.wfile.write(("%x\r\n%s\r\n" % (len(part), part)).encode())
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer.encode())
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open(sys.argv[3] + ".new", "w") as file:
    json.dump({"mcp": "127.0.0.1:%d" % server.server_port}, file)
import os
os.rename(sys.argv[3] + ".new", sys.argv[3])
server.serve_forever()
"#;

#[test]
fn servers_over_tls() {
    let dir = TempDir::new("tls");
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let openssl = |arguments: &[&str]| {
        let mut command = Command::new("openssl");
        command.args(arguments);
        Process::run(command, wait::START)
    };
    if Command::new("openssl").arg("version").output().is_err()
        || Command::new("python3").arg("-V").output().is_err()
    {
        eprintln!("LEFT OUT: openssl and python3 are needed to test servers over TLS");
        return;
    }
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
    for ca in ["ca", "other"] {
        let (k, c) = (path(&format!("{ca}.key")), path(&format!("{ca}.pem")));
        let done = openssl(
            &[&["req", "-x509", "-subj", "/CN=Test CA", "-keyout", &k, "-out", &c], &key[..]].concat(),
        );
        assert!(done.success(), "{}", done.output);
    }
    let (ca_key, ca, server_key, server) =
        (path("ca.key"), path("ca.pem"), path("server.key"), path("server.pem"));
    let done = openssl(
        &[
            &[
                "req",
                "-x509",
                "-CA",
                &ca,
                "-CAkey",
                &ca_key,
                "-subj",
                "/CN=server",
                "-keyout",
                &server_key,
                "-out",
                &server,
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
            ],
            &key[..],
        ]
        .concat(),
    );
    assert!(done.success(), "{}", done.output);
    let addr_file = dir.join("addr.json");
    let mut command = Command::new("python3");
    command.args(["-c", TLS_SERVER, &server, &server_key]).arg(&addr_file);
    let mut process = Process::start(command);
    let addr = process.ready(&addr_file)["mcp"].as_str().unwrap().to_owned();
    let port = addr.rsplit_once(':').unwrap().1;
    fs::write(dir.join("empty.pem"), "").unwrap();

    for driver in DRIVERS {
        let yaml = format!(
            "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nio: {driver}\nworkers: 1\nservers:\n\
             \x20 good: {{ url: \"https://localhost:{port}/mcp\", tls: {{ ca: \"{ca}\" }} }}\n\
             \x20 name: {{ url: \"https://127.0.0.1:{port}/mcp\", tls: {{ ca: \"{ca}\" }} }}\n\
             \x20 authority: {{ url: \"https://localhost:{port}/mcp\", tls: {{ ca: \"{}\" }} }}\n\
             \x20 plain: {{ url: \"http://localhost:{port}/mcp\" }}\n\
             inspection: {{ mode: redact }}\naudit: {{ dir: \"{{dir}}/audit\" }}\n",
            path("other.pem")
        );
        let gateway = Gateway::start(&yaml);
        let call = |server: &str, method: &str, arguments: &str| {
            let body = format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{"name":"t","arguments":{arguments}}}}}"#
            );
            let mut client = RawClient::connect(gateway.mcp_addr).with_time_max(wait::START);
            client.send(raw::post(&format!("/mcp/{server}"), LEGACY, body));
            client.read_response()
        };
        for _ in 0..5 {
            let response = call("good", "tools/call", r#"{"a":"jane.doe@example.org"}"#);
            assert_eq!(response.status(), 200, "{driver}: {} {}", response.text(), gateway.output());
            assert_eq!(response.json()["result"]["structuredContent"]["a"], "[REDACTED:EMAIL_ADDRESS]");
        }
        assert_eq!(
            metric(gateway.admin_addr, "tidegate_upstream_connects_total"),
            1,
            "the TLS connection is kept"
        );
        let response = call("good", "prompts/get", r#"{"a":"x"}"#);
        assert!(response.text().starts_with(": one\n\ndata: "), "{}", response.text());
        let long = format!("{{\"a\":\"{}\"}}", "long text ".repeat(200_000));
        let response = call("good", "tools/call", &long);
        assert_eq!(response.json()["result"]["structuredContent"].to_string(), long);
        for server in ["name", "authority", "plain"] {
            let response = call(server, "tools/call", "{}");
            assert_eq!(
                (response.status(), &response.json()["id"]),
                (502, &json!(1)),
                "{server}: {}",
                response.text()
            );
        }
        assert_eq!(call("good", "tools/call", "{}").status(), 200);
    }
}
