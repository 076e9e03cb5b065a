//! What servers may do to the gateway, and what clients see of it: bad framing, cut answers, answers to something else,
//! second answers, endless ones, late ones, fields that are nobody's business. Each on both I/O drivers and in both eras.
//!
//! The labelled corpus beside the project is replayed where it is there; the cases written here do not need it.

#![allow(unsafe_code)] // connect(2) with AF_UNSPEC, in one function below: the only way to reset a connection at will.

use std::{
    fs, io,
    io::Write,
    net::TcpStream,
    os::fd::AsRawFd,
    process::Command,
    sync::{
        Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Next, Process, RawClient, Recorded, RecordingUpstream, Response, TempDir, project,
    raw::{self, Broken},
    shared_data,
    upstream::write_response,
    wait::{self, SOON},
};

/// Rows at a time, for each driver.
const THREADS: usize = 8;

/// What a server that says nothing is given, and a stream that has begun.
const LIMITS: &str = "limits: { upstream_response_ms: 800, upstream_stream_idle_ms: 1000, response_bytes_max: 65536, sse_event_bytes_max: 16384 }\n";

/// An answer to the id 1.
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Era {
    Legacy,
    Modern,
}

const ERAS: [Era; 2] = [Era::Legacy, Era::Modern];

/// A call of a tool, with this JSON as its id.
fn call(era: Era, path: &str, id: &str) -> Vec<u8> {
    let modern = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
    let (meta, headers) = match era {
        Era::Legacy => ("", &[("MCP-Protocol-Version", "2025-11-25")][..]),
        Era::Modern => (
            modern,
            &[("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/call"), ("Mcp-Name", "t")][..],
        ),
    };
    let params = format!(r#"{{"name":"t","arguments":{{}}{meta}}}"#);
    raw::post(
        path,
        headers,
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{params}}}"#),
    )
}

/// Asks for a stream.
fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: text/event-stream\r\n\r\n").into_bytes()
}

// --- one bad answer -------------------------------------------------------------------------------------------------

/// How the server goes on after the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
    /// It says nothing more and keeps the connection open.
    Stay,
}

/// What the client must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Want {
    /// 502 with an error for the id.
    BadGateway,
    /// 504 with an error for the id.
    Timeout,
    /// 502, or an answer that is cut short.
    BadGatewayOrAbort,
    /// The answer, and nothing of what is behind it.
    Answer,
    /// The answer; 502 where the row's bytes are acceptable HTTP but answer nothing.
    AnswerIfAny,
    /// An event stream whose only message is an error for the id.
    ErrorEvent,
    /// Nothing of it: it comes when nothing was asked.
    Nothing,
    /// Any answer of the gateway's, soon.
    Anything,
}

struct Case {
    name: String,
    bytes: Vec<u8>,
    end: End,
    want: Want,
    /// Whether the server's connection may carry the next request.
    reuse: bool,
    get: bool,
}

/// Runs every case in both eras. Each has a server of its own, and afterwards that server is asked something else: the
/// answer to that must be its own, on a connection that is not spoilt.
fn run(cases: &[Case]) {
    let eras: Vec<(&Case, Era)> = cases.iter().flat_map(|case| ERAS.map(|era| (case, era))).collect();
    let runs: Vec<(&Case, Era)> =
        eras.into_iter().filter(|(case, era)| !(case.get && *era == Era::Modern)).collect();
    on_both_drivers(|driver| {
        let servers: Vec<Scripted> = runs.iter().map(|(case, _)| Scripted::start(case)).collect();
        let urls: Vec<(String, String)> =
            servers.iter().enumerate().map(|(i, server)| (format!("s{i}"), server.upstream.url())).collect();
        let urls: Vec<(&str, &str)> = urls.iter().map(|(name, url)| (name.as_str(), url.as_str())).collect();
        // One worker: connections to servers are kept by each for itself.
        let gateway =
            Gateway::start(&format!("{}io: {driver}\nworkers: 1\n{LIMITS}", Gateway::config(&urls)));
        let reused = AtomicUsize::new(0);
        let wrong = in_parallel(runs.len(), |i| {
            let (case, era) = runs[i];
            one(&gateway, &servers[i], case, era, &format!("/mcp/s{i}"), &reused)
                .map_err(|what| format!("{} ({era:?}): {what}", case.name))
        });
        assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), runs.len(), wrong.join("\n"));
        assert_eq!(metric(&gateway, "tidegate_panics_total"), 0);
        idle(&gateway);
        println!("{driver}: {} answers, {} connections used again", runs.len(), reused.into_inner());
    });
}

/// A server that gives the case's bytes to its first request and a good answer to all others.
struct Scripted {
    upstream: RecordingUpstream,
    /// For [`Want::Nothing`]: tells it to speak unasked, and that it has.
    speak: mpsc::Sender<()>,
    spoken: Mutex<mpsc::Receiver<()>>,
}

impl Scripted {
    fn start(case: &Case) -> Self {
        let (speak, told) = mpsc::channel();
        let (done, spoken) = mpsc::channel();
        let (bytes, end, unasked) = (case.bytes.clone(), case.end, case.want == Want::Nothing);
        let (first, told, done) = (AtomicUsize::new(0), Mutex::new(told), Mutex::new(done));
        let upstream = RecordingUpstream::start(move |request, stream| {
            if first.fetch_add(1, Ordering::Relaxed) > 0 {
                return good(request, stream);
            }
            if unasked {
                good(request, stream)?;
                let _ = told.lock().expect("no panic").recv();
            }
            let written = stream.write_all(&bytes);
            if unasked {
                let _ = done.lock().expect("no panic").send(());
            }
            match end {
                // Refused half way, which is the gateway's right.
                _ if written.is_err() => Ok(Next::Close),
                End::Fin => Ok(Next::Close),
                End::Reset => {
                    reset(stream);
                    Ok(Next::Close)
                }
                End::Stay => Ok(Next::KeepOpen),
            }
        });
        Self { upstream, speak, spoken: Mutex::new(spoken) }
    }
}

/// The answer to any request: its id and, to be told from others, the id again in the result.
fn good(request: &Recorded, stream: &mut TcpStream) -> io::Result<Next> {
    let id = request.json()["id"].clone();
    let body = json!({ "jsonrpc": "2.0", "id": id, "result": { "content": [], "for": id } }).to_string();
    write_response(stream, "200 OK", &[("Content-Type", "application/json")], body).map(|()| Next::KeepOpen)
}

fn one(
    gateway: &Gateway,
    server: &Scripted,
    case: &Case,
    era: Era,
    path: &str,
    reused: &AtomicUsize,
) -> Result<(), String> {
    let mut client = RawClient::connect(gateway.mcp_addr);
    let begun = Instant::now();
    client.send(if case.get { get(path) } else { call(era, path, "1") });
    let answer = client.try_read_response();
    if case.want == Want::Nothing {
        let _ = server.speak.send(());
        server.spoken.lock().expect("no panic").recv_timeout(SOON).map_err(|_| "the server did not speak")?;
    }
    check(case, &answer).map_err(|what| format!("{what}: {answer:?} after {:?}", begun.elapsed()))?;
    if let Ok(answer) = &answer
        && answer.head.headers.iter().any(|(name, _)| !is_ours(name))
    {
        return Err(format!("fields of the server's went through: {:?}", answer.head.headers));
    }
    // The server is asked again, until it can be: the news that it has closed a connection may still be on the way.
    let again = wait::poll(SOON, || {
        let mut client = RawClient::connect(gateway.mcp_addr);
        client.send(call(era, path, "2"));
        client.try_read_response().ok().filter(|answer| answer.status() != 502 || case.end == End::Stay)
    });
    let again = again.ok_or("the next request was not answered")?;
    if again.status() != 200 || again.json()["result"]["for"] != 2 {
        return Err(format!("the next request was answered with {again:?}"));
    }
    let connections: Vec<usize> =
        server.upstream.requests().iter().map(|request| request.connection).collect();
    let shared = connections.last() == connections.first();
    reused.fetch_add(shared.into(), Ordering::Relaxed);
    if shared && !case.reuse {
        return Err("the server's connection was used again".to_owned());
    }
    Ok(())
}

/// Fields the gateway writes itself, or passes on from servers.
fn is_ours(name: &str) -> bool {
    const OURS: &[&str] = &[
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "cache-control",
        "x-accel-buffering",
        "allow",
        "retry-after",
        "mcp-session-id",
        "mcp-protocol-version",
    ];
    OURS.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn check(case: &Case, answer: &Result<Response, Broken>) -> Result<(), String> {
    let good = |answer: &Response| {
        let json = answer.json();
        answer.status() == 200 && json["id"] == 1 && json.get("result").is_some()
    };
    let error = |answer: &Response| {
        let id = (!case.get).then(|| json!(1));
        let json = answer.json();
        answer.header("content-type") == Some("application/json")
            && json.get("id") == id.as_ref()
            && json["error"]["code"] == -32603
    };
    let stream = |answer: &Response| answer.header("content-type") == Some("text/event-stream");
    let ok = match (case.want, answer) {
        (_, Err(Broken::Late(_))) => return Err("it hung".to_owned()),
        (_, Err(Broken::Malformed(_))) => false,
        (Want::BadGateway | Want::BadGatewayOrAbort, Ok(answer)) => answer.status() == 502 && error(answer),
        (Want::Timeout, Ok(answer)) => answer.status() == 504 && error(answer),
        (Want::BadGatewayOrAbort, Err(_)) => true,
        (Want::Answer, Ok(answer)) => {
            good(answer) && (answer.body == ANSWER.as_bytes() || stream(answer) && answer.events().len() == 1)
        }
        (Want::AnswerIfAny, Ok(answer)) => match find(&case.bytes, b"Content-Length: 0\r\n") {
            Some(_) => answer.status() == 502 && error(answer),
            None => good(answer),
        },
        (Want::ErrorEvent, Ok(answer)) => {
            let events = if stream(answer) { answer.events() } else { Vec::new() };
            matches!(&events[..], [error] if error["id"] == 1 && error["error"]["code"] == -32603)
        }
        (Want::Nothing, Ok(answer)) => answer.status() == 200 && answer.json()["result"]["for"] == 1,
        (Want::Anything, _) => true,
        (_, Err(_)) => false,
    };
    if ok { Ok(()) } else { Err(format!("want {:?}", case.want)) }
}

/// Rows whose label is not what an MCP client needs.
fn labelled_otherwise(name: &str) -> Option<(Want, &'static str)> {
    match name {
        // An error event would be a second answer, too.
        "sse-after-response" => Some((Want::Answer, "the first answer is delivered, the second is not")),
        // Without any event the client would wait for its own timeout.
        "sse-no-blank" => Some((Want::ErrorEvent, "the cut event is not delivered, an error event says so")),
        _ => None,
    }
}

#[test]
fn http_responses() {
    let Some(data) = shared_data() else { return };
    let text = fs::read_to_string(data.join("http/responses.jsonl")).expect("the corpus can be read");
    let cases: Vec<Case> = text
        .lines()
        .map(|line| {
            let row: Value = serde_json::from_str(line).expect("a JSON row");
            let name = row["name"].as_str().expect("a name").to_owned();
            let end = match row["end"].as_str() {
                Some("fin") => End::Fin,
                Some("rst") => End::Reset,
                _ => End::Stay,
            };
            let want = match row["downstream"].as_str() {
                Some("502") => Want::BadGateway,
                Some("502-or-abort") => Want::BadGatewayOrAbort,
                Some("504") => Want::Timeout,
                Some("200") => Want::AnswerIfAny,
                Some("200 first only") => Want::Answer,
                Some("error event") => Want::ErrorEvent,
                Some("none") => Want::Nothing,
                _ => Want::Anything,
            };
            let other = labelled_otherwise(&name);
            if let Some((_, why)) = other {
                println!("{name}: {why}");
            }
            Case {
                bytes: STANDARD.decode(row["bytes_b64"].as_str().expect("bytes")).expect("base64"),
                end,
                want: other.map_or(want, |(want, _)| want),
                reuse: row["upstream_conn"] == "reuse_ok",
                get: row["request_method"] == "GET",
                name,
            }
        })
        .collect();
    run(&cases);
}

/// A JSON answer with these fields.
fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{fields}\r\n{body}")
}

/// A JSON answer of the right length.
fn plain(body: &str) -> String {
    answer(&format!("Content-Length: {}\r\n", body.len()), body)
}

/// Events in one chunk each, with the last chunk.
fn events(events: &[&str]) -> String {
    let mut out =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    for event in events {
        out += &format!("{:x}\r\n{event}\r\n", event.len());
    }
    out + "0\r\n\r\n"
}

#[test]
fn answers_written_here() {
    use End::{Fin, Reset, Stay};
    use Want::{Answer, BadGateway, ErrorEvent, Nothing, Timeout};
    let (length, half) = (ANSWER.len(), &ANSWER[..20]);
    let good = plain(ANSWER);
    let event = format!("data: {ANSWER}\n\n");
    let progress = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{}}\n\n";
    let smuggled = plain(r#"{"jsonrpc":"2.0","id":2,"result":{"for":"another"}}"#);
    let cases: Vec<(&str, String, End, Want)> = vec![
        ("good", good.clone(), Stay, Answer),
        ("two in one", format!("{good}{smuggled}"), Stay, Answer),
        ("unasked", smuggled.clone(), Stay, Nothing),
        ("nothing", String::new(), Fin, BadGateway),
        ("nothing, reset", String::new(), Reset, BadGateway),
        ("nothing, ever", String::new(), Stay, Timeout),
        ("half a head", "HTTP/1.1 200 OK\r\nContent-".to_owned(), Stay, Timeout),
        ("half a head, cut", "HTTP/1.1 200 OK\r\nContent-".to_owned(), Fin, BadGateway),
        ("half a body", answer(&format!("Content-Length: {length}\r\n"), half), Stay, Timeout),
        ("half a body, cut", answer(&format!("Content-Length: {length}\r\n"), half), Fin, BadGateway),
        ("half a body, reset", answer(&format!("Content-Length: {length}\r\n"), half), Reset, BadGateway),
        (
            "no last chunk",
            answer("Transfer-Encoding: chunked\r\n", &format!("{length:x}\r\n{ANSWER}\r\n")),
            Fin,
            BadGateway,
        ),
        (
            "two lengths",
            answer(&format!("Content-Length: {length}\r\nContent-Length: {length}\r\n"), ANSWER),
            Stay,
            BadGateway,
        ),
        (
            "length and chunks",
            answer("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
            Stay,
            BadGateway,
        ),
        ("bare LF", good.replace("\r\n", "\n"), Fin, BadGateway),
        ("folded", answer(&format!("X: a\r\n b\r\nContent-Length: {length}\r\n"), ANSWER), Fin, BadGateway),
        ("another protocol", "SSH-2.0-x\r\n".to_owned(), Stay, BadGateway),
        ("switching", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_owned(), Stay, BadGateway),
        ("interim flood", "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000), Stay, BadGateway),
        (
            "redirect",
            "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Stay,
            BadGateway,
        ),
        (
            "login",
            "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Stay,
            BadGateway,
        ),
        ("HTML", good.replace("application/json", "text/html"), Stay, BadGateway),
        ("no type", good.replace("Content-Type: application/json\r\n", ""), Stay, BadGateway),
        ("UTF-16", good.replace("json\r\n", "json; charset=utf-16\r\n"), Stay, BadGateway),
        (
            "encoded",
            answer(&format!("Content-Encoding: gzip\r\nContent-Length: {length}\r\n"), ANSWER),
            Stay,
            BadGateway,
        ),
        (
            "accepted, not answered",
            "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n".to_owned(),
            Stay,
            Want::Anything,
        ),
        ("not JSON", plain("{\"jsonrpc\":\"2.0\",\"id\":1,"), Stay, BadGateway),
        ("two texts", plain(&format!("{ANSWER}{ANSWER}")), Stay, BadGateway),
        ("key twice", plain(r#"{"jsonrpc":"2.0","id":1,"result":{},"result":{"a":1}}"#), Stay, BadGateway),
        ("key in another case", plain(r#"{"jsonrpc":"2.0","id":1,"Result":{}}"#), Stay, BadGateway),
        ("batch", plain(&format!("[{ANSWER}]")), Stay, BadGateway),
        ("other id", plain(&ANSWER.replace(":1,", ":7,")), Stay, BadGateway),
        ("id of another type", plain(&ANSWER.replace(":1,", ":\"1\",")), Stay, BadGateway),
        ("id of another form", plain(&ANSWER.replace(":1,", ":1.0,")), Stay, BadGateway),
        ("no id", plain(r#"{"jsonrpc":"2.0","result":{}}"#), Stay, BadGateway),
        (
            "null id",
            plain(r#"{"jsonrpc":"2.0","id":null,"error":{"code":1,"message":"x"}}"#),
            Stay,
            BadGateway,
        ),
        (
            "result and error",
            plain(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":"x"}}"#),
            Stay,
            BadGateway,
        ),
        ("a request", plain(r#"{"jsonrpc":"2.0","id":1,"method":"roots/list"}"#), Stay, BadGateway),
        ("event", events(&[&event]), Stay, Answer),
        ("event of another id", events(&[&event.replace(":1,", ":7,")]), Stay, ErrorEvent),
        ("second answer in events", events(&[&event, &event]), Stay, Answer),
        ("events end early", events(&[progress]), Stay, Want::Anything),
        ("event is not JSON", events(&["data: {\n\n"]), Stay, ErrorEvent),
        ("event cut", events(&[&event[..event.len() - 1]]), Stay, ErrorEvent),
        ("no event", events(&[]), Stay, ErrorEvent),
        ("events cut", events(&[]).replace("0\r\n\r\n", ""), Fin, ErrorEvent),
        ("events reset", events(&[]).replace("0\r\n\r\n", ""), Reset, ErrorEvent),
        ("events stall", events(&[]).replace("0\r\n\r\n", ""), Stay, ErrorEvent),
        ("events in bad chunks", events(&[]).replace("0\r\n\r\n", "zz\r\n"), Stay, ErrorEvent),
    ];
    let cases: Vec<Case> = cases
        .into_iter()
        .map(|(name, text, end, want)| Case {
            name: name.to_owned(),
            bytes: text.into_bytes(),
            end,
            want,
            reuse: KEPT.contains(&name),
            get: false,
        })
        .collect();
    run(&cases);
}

/// Whole answers with nothing behind them, after which the server's connection may carry the next request.
const KEPT: &[&str] = &["good", "event", "accepted, not answered", "events end early"];

// --- sizes ----------------------------------------------------------------------------------------------------------

/// A JSON answer of exactly so many bytes.
fn sized(bytes: usize) -> String {
    let frame = r#"{"jsonrpc":"2.0","id":1,"result":{"t":""}}"#;
    frame.replace("\"\"", &format!("\"{}\"", "x".repeat(bytes - frame.len())))
}

#[test]
fn answers_at_their_size_limit() {
    let chunked = |body: &str| {
        let chunks: String = body
            .as_bytes()
            .chunks(1000)
            .map(|part| format!("{:x}\r\n{}\r\n", part.len(), String::from_utf8_lossy(part)))
            .collect();
        answer("Transfer-Encoding: chunked\r\n", &(chunks + "0\r\n\r\n"))
    };
    let until_close = |body: &str| answer("Connection: close\r\n", body);
    let event = |bytes: usize| events(&[&format!("data: {}\n\n", sized(bytes))]);
    // An event is measured with its field name and blank line.
    let (whole, in_event) = (65536, 16384 - 8);
    for (name, answer, fits) in [
        ("length", plain(&sized(whole)), true),
        ("length + 1", plain(&sized(whole + 1)), false),
        ("chunks", chunked(&sized(whole)), true),
        ("chunks + 1", chunked(&sized(whole + 1)), false),
        ("until close", until_close(&sized(whole)), true),
        ("until close + 1", until_close(&sized(whole + 1)), false),
        ("event", event(in_event), true),
        ("event, far over", event(256 << 10), false),
    ] {
        on_both_drivers(|driver| {
            let close = name.starts_with("until");
            let answer = answer.clone();
            let upstream = RecordingUpstream::start(move |_, stream| {
                // The gateway hangs up on what is too large.
                let _ = stream.write_all(answer.as_bytes());
                Ok(if close { Next::Close } else { Next::KeepOpen })
            });
            let gateway = Gateway::start(&format!(
                "{}io: {driver}\n{LIMITS}",
                Gateway::config(&[("s", &upstream.url())])
            ));
            for era in ERAS {
                let answer = raw::exchange(gateway.mcp_addr, call(era, "/mcp/s", "1"));
                let json = answer.json();
                assert_eq!(
                    (answer.status(), &json["id"]),
                    (200, &json!(1)),
                    "{name}, {era:?}: {}",
                    answer.text()
                );
                assert_eq!(
                    json.get("result").is_some() && json["result"]["isError"] != true,
                    fits,
                    "{name}, {era:?}"
                );
            }
            let reason =
                |record: &Value| record["kind"] == "call" && record["reason"] == "upstream_too_large";
            if !fits {
                gateway.audit_until(2, reason);
            }
            idle(&gateway);
        });
    }
}

// --- fields ---------------------------------------------------------------------------------------------------------

/// Fields that stay between server and gateway.
const PRIVATE: &[(&str, &str)] = &[
    ("Set-Cookie", "sid=secret; Path=/"),
    ("Server", "Internal/1.2.3"),
    ("X-Powered-By", "Secret"),
    ("Location", "http://internal.test/"),
    ("WWW-Authenticate", "Bearer realm=\"internal\""),
    ("Proxy-Authenticate", "Basic"),
    ("Via", "1.1 internal"),
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("TE", "trailers"),
    ("Trailer", "X-T"),
    ("Upgrade", "h2c"),
    ("Alt-Svc", "h3=\":443\""),
    ("Refresh", "0; url=http://internal.test/"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Strict-Transport-Security", "max-age=1"),
    ("X-Accel-Redirect", "/secret"),
    ("Connection", "x-private"),
    ("X-Private", "secret"),
];

#[test]
fn private_fields_of_servers_stay_behind() {
    on_both_drivers(|driver| {
        let upstream = RecordingUpstream::start(|request, stream| {
            let mut fields = PRIVATE.to_vec();
            fields.push(("Mcp-Session-Id", "s-1"));
            fields.push(("Retry-After", "7"));
            let want = request.header("x-want");
            let (status, kind, body) = match (want.as_deref(), request.body().is_empty()) {
                (_, true) => {
                    ("405 Method Not Allowed", "text/html", "<h1>at /srv/internal.js:7</h1>".to_owned())
                }
                (Some("json"), _) => ("200 OK", "application/json", ANSWER.to_owned()),
                (Some("events"), _) => ("200 OK", "text/event-stream", format!("data: {ANSWER}\n\n")),
                (Some(status), _) => (status, "text/html", "<h1>at /srv/internal.js:7</h1>".to_owned()),
                (None, _) => return Ok(Next::Close),
            };
            fields.push(("Content-Type", kind));
            write_response(stream, status, &fields, body).map(|()| Next::KeepOpen)
        });
        let server = format!("servers:\n  s: {{ url: \"{}\", forward_headers: [x-want] }}\n", upstream.url());
        let config = Gateway::config(&[]).replace("servers:\n", &server);
        let gateway = Gateway::start(&format!("{config}io: {driver}\n{LIMITS}"));
        for era in ERAS {
            for (want, status) in [
                ("json", 200),
                ("events", 200),
                ("500 Oops", 500),
                ("404 Not Found", 404),
                ("400 Bad Request", 400),
                ("503 Later", 503),
                ("302 Found", 502),
                ("403 Forbidden", 502),
                ("401 Unauthorized", 502),
            ] {
                let request = String::from_utf8(call(era, "/mcp/s", "1")).expect("text");
                let request = request.replacen("\r\n", &format!("\r\nX-Want: {want}\r\n"), 1);
                let answer = raw::exchange(gateway.mcp_addr, request);
                assert_eq!(answer.status(), status, "{want}, {era:?}: {}", answer.text());
                assert_eq!(answer.json()["id"], 1, "{want}, {era:?}: {}", answer.text());
                public(&answer, &format!("{want}, {era:?}"));
                let session = answer.header("mcp-session-id");
                assert!(era == Era::Legacy || session.is_none(), "no session in the stateless era");
            }
        }
        let answer = raw::exchange(gateway.mcp_addr, get("/mcp/s"));
        assert_eq!(answer.status(), 405);
        public(&answer, "GET");
    });
}

#[track_caller]
fn public(answer: &Response, what: &str) {
    for (name, value) in &answer.head.headers {
        assert!(
            is_ours(name) && !value.contains("internal") && !value.contains("secret"),
            "{what}: {name}: {value}"
        );
    }
    assert!(!answer.text().contains("internal"), "{what}: {}", answer.text());
}

// --- streams that do not end ----------------------------------------------------------------------------------------

#[test]
fn a_timeout_of_the_older_era_is_told_to_the_server() {
    on_both_drivers(|driver| {
        let upstream = RecordingUpstream::start(|request, stream| match request.json()["id"] {
            Value::Null => write_response(stream, "202 Accepted", &[], "").map(|()| Next::KeepOpen),
            _ => Ok(Next::KeepOpen),
        });
        let gateway =
            Gateway::start(&format!("{}io: {driver}\n{LIMITS}", Gateway::config(&[("s", &upstream.url())])));
        for (era, told) in [(Era::Modern, 0), (Era::Legacy, 1)] {
            let answer = raw::exchange(gateway.mcp_addr, call(era, "/mcp/s", "\"a-7\""));
            assert_eq!((answer.status(), &answer.json()["id"]), (504, &json!("a-7")));
            let seen = upstream.wait_for(if told == 1 { 3 } else { 1 });
            if told == 1 {
                assert_eq!(seen[2].json()["method"], "notifications/cancelled");
                assert_eq!(seen[2].json()["params"]["requestId"], "a-7");
            }
        }
        idle(&gateway);
    });
}

/// A server that never stops sending events to a client that has stopped reading: the gateway must stop reading too, give
/// up after the write deadline and hold no more than a few buffers meanwhile.
#[test]
fn endless_events_and_a_client_that_does_not_read() {
    on_both_drivers(|driver| {
        let (sent, written) = mpsc::channel();
        let sent = Mutex::new(sent);
        let upstream = RecordingUpstream::start(move |_, stream| {
            let event = format!(
                "data: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"level\":\"info\",\"data\":\"{}\"}}}}\n\n",
                "x".repeat(8000)
            );
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
            )?;
            let mut total = 0;
            while total < 256 << 20 && stream.write_all(chunk.as_bytes()).is_ok() {
                total += chunk.len();
            }
            let _ = sent.lock().expect("no panic").send(total);
            Ok(Next::Close)
        });
        let limits = "limits: { write_deadline_ms: 300 }\n";
        let gateway =
            Gateway::start(&format!("{}io: {driver}\n{limits}", Gateway::config(&[("s", &upstream.url())])));
        let before = resident_kb(gateway.pid());
        let mut client = RawClient::connect(gateway.mcp_addr);
        client.send(call(Era::Modern, "/mcp/s", "1"));
        client.read_head().expect("the stream begins");
        let total = written.recv_timeout(Duration::from_secs(30)).expect("the gateway gives up");
        idle(&gateway);
        // What fits into socket buffers on the way, and no more.
        assert!(total < 64 << 20, "the server could send {total} bytes that nobody read");
        let grown = resident_kb(gateway.pid()).saturating_sub(before);
        assert!(grown < 32 << 10, "the gateway has grown by {grown} KiB");
    });
}

fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the gateway runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

// --- the talking ----------------------------------------------------------------------------------------------------

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

/// Calls `work` for each number below `count`, on several threads; what it complains of.
fn in_parallel(count: usize, work: impl Fn(usize) -> Result<(), String> + Sync) -> Vec<String> {
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= count {
                        return;
                    }
                    if let Err(what) = work(i) {
                        wrong.lock().expect("no panic").push(what);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no panic")
}

/// Resets the connection at once, whoever else holds the socket.
fn reset(stream: &TcpStream) {
    let none = libc::sockaddr { sa_family: libc::AF_UNSPEC as libc::sa_family_t, sa_data: [0; 14] };
    // SAFETY: the descriptor is open as long as the stream is borrowed, and the address is a whole sockaddr of the given
    // length. The assertion below would see it do nothing.
    let done = unsafe { libc::connect(stream.as_raw_fd(), &none, size_of_val(&none) as libc::socklen_t) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}
