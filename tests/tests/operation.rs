//! Life of a running gateway: it says when it is ready, reloads without dropping anything, drains when told, and keeps
//! its evidence through all of that and through a crash.

use std::{
    collections::HashSet,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Next, Process, RawClient, RecordingUpstream, Response, TempDir, audit_records, project, raw,
    upstream::write_response,
    wait::{self, SOON},
};

/// For a reload that compiles patterns while callers keep the processor busy.
const RELOADED: Duration = Duration::from_secs(30);

const DRIVERS: [&str; 2] = ["io_uring", "epoll"];

fn config(driver: &str, url: &str, audit: &str, more: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nio: {driver}\nservers: {{ s: {{ url: \"{url}\" }} }}\n\
         inspection: {{ mode: redact }}\naudit: {{ dir: \"{{dir}}/audit\"{audit} }}\n{more}"
    )
}

fn ping(id: impl std::fmt::Display) -> Vec<u8> {
    raw::post("/mcp/s", &[], format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#))
}

fn fetch(addr: SocketAddr, path: &str) -> Response {
    raw::exchange(addr, format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"))
}

fn metric(admin: SocketAddr, name: &str) -> u64 {
    let text = fetch(admin, "/metrics").text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[track_caller]
fn signal(gateway: &Gateway, name: &str) {
    let mut command = Command::new("kill");
    command.args([name, &gateway.pid().to_string()]);
    assert!(Process::run(command, SOON).success());
}

/// Whether nobody takes connections there any more.
fn refuses(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, SOON).is_err()
}

#[test]
fn admin_says_what_is_going_on() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({}));
        let gateway = Gateway::start(&config(driver, &upstream.url(), "", "workers: 2\n"));
        let addresses: Value =
            serde_json::from_slice(&fs::read(gateway.dir().join("addr.json")).unwrap()).unwrap();
        assert_eq!(
            addresses,
            json!({ "mcp": gateway.mcp_addr.to_string(), "admin": gateway.admin_addr.to_string() })
        );
        assert_eq!(fetch(gateway.admin_addr, "/healthz").json(), json!({ "status": "ok" }));
        assert_eq!(fetch(gateway.admin_addr, "/readyz").json(), json!({ "status": "ready" }));
        assert_eq!(fetch(gateway.admin_addr, "/version").json()["name"], "tidegate");
        assert_eq!(fetch(gateway.admin_addr, "/").status(), 404);
        // Admin is not on the port for clients, and the other way round.
        assert_eq!(fetch(gateway.mcp_addr, "/metrics").status(), 404);
        assert_eq!(raw::exchange(gateway.admin_addr, ping(1)).status(), 404);

        for n in 0..10 {
            assert_eq!(raw::exchange(gateway.mcp_addr, ping(n)).status(), 200);
        }
        let secret = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":"jane.doe@example.org"}}}"#;
        raw::exchange(gateway.mcp_addr, raw::post("/mcp/s", &[], secret));
        raw::exchange(gateway.mcp_addr, raw::post("/mcp/nope", &[], secret));
        let response = fetch(gateway.admin_addr, "/metrics");
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        // Counted when the answer has left.
        let wanted = [
            "tidegate_server_requests_total{server=\"s\",decision=\"allow\"} 10",
            "tidegate_server_requests_total{server=\"s\",decision=\"redact\"} 1",
            "tidegate_findings_total{type=\"EMAIL_ADDRESS\",direction=\"request\"} 1",
            "tidegate_redactions_total 1",
            "tidegate_refusals_total{reason=\"no_route\"} 2",
            "tidegate_config_generation 1",
            "tidegate_reload_failures_total 0",
            "tidegate_panics_total 0",
            "tidegate_audit_failing 0",
        ];
        let text = wait::until("the counters", SOON, || {
            let text = fetch(gateway.admin_addr, "/metrics").text();
            wanted.iter().all(|line| text.lines().any(|own| own == *line)).then_some(text)
        });
        // Each sample belongs to a family that was announced, once.
        let mut families = HashSet::new();
        let mut samples = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(families.insert(rest.split(' ').next().unwrap().to_owned()), "twice: {line}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(samples.insert(name.to_owned()), "twice: {line}");
                let base = name.split('{').next().unwrap();
                let family = ["_bucket", "_sum", "_count"]
                    .iter()
                    .find_map(|end| base.strip_suffix(end))
                    .unwrap_or(base);
                assert!(families.contains(base) || families.contains(family), "unannounced: {line}");
            }
        }
    }
}

/// The segment files, by name.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "ndjson")).collect();
    paths.sort();
    paths
}

/// What the last line of each segment is.
fn last_kinds(dir: &Path) -> Vec<String> {
    let mut kinds = Vec::new();
    for path in segments(dir) {
        let text = fs::read_to_string(path).unwrap();
        assert!(text.ends_with('\n'));
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        kinds.push(last["kind"].as_str().unwrap().to_owned());
    }
    kinds
}

#[test]
fn sigterm_drains() {
    for driver in DRIVERS {
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let upstream = RecordingUpstream::start(move |request, stream| {
            let _ = gone.lock().unwrap().recv_timeout(SOON);
            let body = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": {} }).to_string();
            write_response(stream, "200 OK", &[("Content-Type", "application/json")], body)
                .map(|()| Next::KeepOpen)
        });
        let mut gateway = Gateway::start(&config(driver, &upstream.url(), "", ""));
        let (mcp, admin, audit) = (gateway.mcp_addr, gateway.admin_addr, gateway.audit_dir.clone());
        let mut idle = RawClient::connect(mcp);
        let mut client = RawClient::connect(mcp);
        client.send(ping(1));
        upstream.wait_for(1);
        thread::scope(|scope| {
            let stopping = scope.spawn(|| gateway.stop());
            wait::until("draining", SOON, || {
                let response = fetch(admin, "/readyz");
                (response.status() == 503).then(|| assert_eq!(response.json()["reason"], "draining"))
            });
            assert_eq!(fetch(admin, "/healthz").status(), 200, "alive while it drains");
            assert!(idle.is_closed(), "{driver}: an idle connection is closed");
            wait::until("no new connections", SOON, || refuses(mcp).then_some(()));
            assert!(!stopping.is_finished());
            go.send(()).unwrap();
            let response = client.read_response();
            assert_eq!((response.status(), &response.json()["id"]), (200, &json!(1)));
            assert_eq!(response.header("connection"), Some("close"));
            assert!(client.is_closed());
            let status = stopping.join().unwrap();
            assert_eq!(status.code(), Some(0), "{driver}");
        });
        assert!(last_kinds(&audit).iter().all(|kind| kind == "seal"), "{:?}", last_kinds(&audit));
        let calls: Vec<_> =
            audit_records(&audit).into_iter().filter(|record| record["kind"] == "call").collect();
        assert_eq!((calls.len(), &calls[0]["decision"]), (1, &json!("allow")));
    }
}

/// A request that does not end is given up after `drain_ms`, or at once at a second signal.
#[test]
fn a_drain_has_an_end() {
    for driver in DRIVERS {
        for second_signal in [false, true] {
            let upstream = RecordingUpstream::start(|_, stream| {
                use std::io::Read;
                stream.set_read_timeout(Some(Duration::from_secs(30)))?;
                let _ = stream.read(&mut [0; 16]);
                Ok(Next::Close)
            });
            let limits =
                if second_signal { "limits: { drain_ms: 18000 }\n" } else { "limits: { drain_ms: 500 }\n" };
            let mut gateway = Gateway::start(&config(driver, &upstream.url(), "", limits));
            let (admin, audit) = (gateway.admin_addr, gateway.audit_dir.clone());
            let mut client = RawClient::connect(gateway.mcp_addr);
            client.send(ping(1));
            upstream.wait_for(1);
            let started = Instant::now();
            if second_signal {
                signal(&gateway, "-TERM");
                wait::until("draining", SOON, || (fetch(admin, "/readyz").status() == 503).then_some(()));
            }
            // stop() sends SIGTERM, the second one in one of the cases.
            let status = gateway.stop();
            assert!(
                started.elapsed() < Duration::from_secs(8),
                "{driver} {second_signal}: {:?}",
                started.elapsed()
            );
            assert_eq!(status.code(), Some(0), "{driver} {second_signal}");
            assert!(client.try_read_response().is_err());
            assert!(last_kinds(&audit).iter().all(|kind| kind == "seal"));
        }
    }
}

/// A call that a drain cuts off has been made; the evidence must say how it ended.
#[test]
fn a_call_cut_off_by_a_drain_is_recorded() {
    let upstream = RecordingUpstream::start(|_, stream| {
        use std::io::Read;
        stream.set_read_timeout(Some(SOON))?;
        let _ = stream.read(&mut [0; 16]);
        Ok(Next::Close)
    });
    let mut gateway = Gateway::start(&config("epoll", &upstream.url(), "", "limits: { drain_ms: 300 }\n"));
    let mut client = RawClient::connect(gateway.mcp_addr);
    client.send(ping(1));
    upstream.wait_for(1);
    gateway.stop();
    let kinds: Vec<_> = gateway.audit().iter().map(|record| record["kind"].clone()).collect();
    assert!(kinds.contains(&json!("call")), "{kinds:?}");
}

#[test]
fn reloads_change_routes_and_nothing_else() {
    for driver in DRIVERS {
        let (one, two) =
            (RecordingUpstream::result(json!({ "n": 1 })), RecordingUpstream::result(json!({ "n": 2 })));
        let base = config(driver, &one.url(), "", "");
        let mut gateway = Gateway::start(&base);
        let at = |gateway: &Gateway, server: &str| {
            raw::exchange(
                gateway.mcp_addr,
                raw::post(&format!("/mcp/{server}"), &[], r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#),
            )
        };
        let mut kept = RawClient::connect(gateway.mcp_addr);
        kept.send(ping(1));
        assert_eq!(kept.read_response().json()["result"]["n"], 1);
        assert_eq!(at(&gateway, "other").status(), 404);
        let generation = |gateway: &Gateway, n: u64| {
            wait::until(&format!("generation {n}"), RELOADED, || {
                (metric(gateway.admin_addr, "tidegate_config_generation") == n).then_some(())
            });
        };

        // SIGHUP: another server beside it.
        let both = base.replace("servers: {", &format!("servers: {{ other: {{ url: \"{}\" }},", two.url()));
        gateway.reload(&both);
        generation(&gateway, 2);
        assert_eq!(at(&gateway, "other").json()["result"]["n"], 2);
        kept.send(ping(2));
        assert_eq!(kept.read_response().json()["result"]["n"], 1, "the connection lives on");

        // The file alone: the first server elsewhere, the second gone, other modes.
        let third = base.replace(&one.url(), &two.url()).replace("mode: redact", "mode: block");
        fs::write(
            gateway.dir().join("tidegate.yaml"),
            third.replace("{dir}", gateway.dir().to_str().unwrap()),
        )
        .unwrap();
        generation(&gateway, 3);
        assert_eq!(at(&gateway, "other").status(), 404);
        kept.send(ping(3));
        assert_eq!(kept.read_response().json()["result"]["n"], 2);
        let mail = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"a":"jane.doe@example.org"}}}"#;
        kept.send(raw::post("/mcp/s", &[], mail));
        assert_eq!(kept.read_response().json()["result"]["isError"], true);

        // Mistakes and what only a restart can change: the old one stays, and it is counted.
        let failures = |n: u64| {
            wait::until(&format!("{n} refused reloads"), RELOADED, || {
                (metric(gateway.admin_addr, "tidegate_reload_failures_total") >= n).then_some(())
            });
        };
        let path = gateway.dir().join("tidegate.yaml");
        let dir = gateway.dir().to_str().unwrap().to_owned();
        let write_and_signal = |text: &str| {
            fs::write(&path, text.replace("{dir}", &dir)).unwrap();
            signal(&gateway, "-HUP");
        };
        let bad: Vec<(&str, String)> = vec![
            ("not YAML", "servers: [".to_owned()),
            ("unknown key", format!("{third}colour: red\n")),
            ("bad pattern", third.replace("mode: block", "mode: block, custom: [ { id: x, pattern: '(' } ]")),
            (
                "counter-example found",
                third.replace(
                    "mode: block",
                    "mode: block, custom: [ { id: x, pattern: 'a+', counter_examples: ['aa'] } ]",
                ),
            ),
            ("listen", third.replacen("127.0.0.1:0", "127.0.0.1:1", 1)),
            ("workers", format!("{third}workers: 7\n")),
            ("io", third.replace(&format!("io: {driver}"), "io: auto")),
            ("audit", third.replace("{dir}/audit", "{dir}/elsewhere")),
            ("demo", format!("{third}demo: true\n")),
        ];
        let mut refused = metric(gateway.admin_addr, "tidegate_reload_failures_total");
        assert_eq!(refused, 0);
        for (what, text) in &bad {
            write_and_signal(text);
            failures(refused + 1);
            // SIGHUP and the file's watcher may both have tried.
            wait::until("both tries", Duration::from_secs(5), || {
                let now = metric(gateway.admin_addr, "tidegate_reload_failures_total");
                (now >= refused + 2).then_some(())
            });
            refused = metric(gateway.admin_addr, "tidegate_reload_failures_total");
            assert_eq!(metric(gateway.admin_addr, "tidegate_config_generation"), 3, "{what}");
            assert_eq!(at(&gateway, "s").json()["result"]["n"], 2, "{what}");
        }
        assert!(
            gateway.output().contains("a change takes effect only with a restart"),
            "{}",
            gateway.output()
        );
        assert!(!gateway.dir().join("elsewhere").exists());
        // And from there on again.
        write_and_signal(&base);
        generation(&gateway, 4);
        assert_eq!(at(&gateway, "s").json()["result"]["n"], 1);
    }
}

/// Ends the callers when it goes.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reloading while requests are under way: none fails.
#[test]
fn reloads_drop_nothing() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({ "text": "jane.doe@example.org" }));
        // Room for what four callers ask while a busy disk takes its time: a full ring refuses calls.
        let base = config(driver, &upstream.url(), ", ring_bytes: 134217728", "");
        let mut gateway = Gateway::start(&base);
        let (stop, mcp) = (AtomicBool::new(false), gateway.mcp_addr);
        thread::scope(|scope| {
            // A test that fails must not wait for its callers.
            let _stops = Stops(&stop);
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = RawClient::connect(mcp);
                        let mut count = 0;
                        while !stop.load(Ordering::Relaxed) {
                            client.send(ping(count));
                            let response = client.read_response();
                            assert_eq!((response.status(), &response.json()["id"]), (200, &json!(count)));
                            assert!(!response.text().contains("jane.doe"), "{}", response.text());
                            count += 1;
                        }
                        count
                    })
                })
                .collect();
            for n in 2..8 {
                // Rules too, so that each worker has to change its database under way.
                let yaml = base.replace(
                    "mode: redact",
                    &format!("mode: redact, custom: [ {{ id: r{n}, pattern: 'zz{n}[0-9]+' }} ]"),
                );
                gateway.reload(&yaml);
                wait::until("the reload", RELOADED, || {
                    (metric(gateway.admin_addr, "tidegate_config_generation") >= n).then_some(())
                });
            }
            stop.store(true, Ordering::Relaxed);
            for caller in callers {
                assert!(caller.join().unwrap() > 10);
            }
        });
        assert_eq!(metric(gateway.admin_addr, "tidegate_reload_failures_total"), 0);
    }
}

/// Nothing but the binary in an empty directory.
#[test]
fn it_runs_without_a_configuration() {
    for port in [8080, 9090] {
        if TcpListener::bind(("127.0.0.1", port)).is_err() {
            eprintln!(
                "LEFT OUT: port {port} is taken, so `tidegate run` without a configuration cannot be tried"
            );
            return;
        }
    }
    let dir = TempDir::new("zero");
    let addr_file = dir.join("addr.json");
    let mut command = Command::new(project::tidegate());
    command.current_dir(dir.path()).arg("run").arg("--addr-file").arg(&addr_file);
    let mut process = Process::start(command);
    let ready = process.ready(&addr_file);
    assert_eq!(ready, json!({ "mcp": "127.0.0.1:8080", "admin": "127.0.0.1:9090" }));
    let addr: SocketAddr = "127.0.0.1:8080".parse().unwrap();
    let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let response = raw::exchange(addr, raw::post("/mcp/demo", &[], initialize));
    assert_eq!(
        (response.status(), &response.json()["result"]["protocolVersion"]),
        (200, &json!("2025-11-25")),
        "{}",
        response.text()
    );
    assert!(process.output().contains("http://127.0.0.1:8080/mcp/demo"), "{}", process.output());
    assert!(process.stop(SOON).success());
    let records = audit_records(&dir.join("tidegate-data/audit"));
    assert!(
        records.iter().any(|record| record["kind"] == "call" && record["mcp_server"] == "demo"),
        "{records:?}"
    );
}

/// With `group` the answer's record is on disk before the client sees the answer, with `strict` also the intent before
/// the server sees the request.
#[test]
fn what_was_answered_is_on_disk() {
    for driver in DRIVERS {
        for durability in ["group", "strict"] {
            let dir: Arc<Mutex<PathBuf>> = Arc::default();
            let missing = Arc::new(Mutex::new(Vec::new()));
            let upstream = RecordingUpstream::start({
                let (dir, missing) = (dir.clone(), missing.clone());
                move |request, stream| {
                    let id = request.json()["id"].clone();
                    let records = audit_records(&dir.lock().unwrap());
                    if !records.iter().any(|r| r["kind"] == "intent" && r["intent"]["request_id"] == id) {
                        missing.lock().unwrap().push(id.clone());
                    }
                    let body = json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string();
                    write_response(stream, "200 OK", &[("Content-Type", "application/json")], body)
                        .map(|()| Next::KeepOpen)
                }
            });
            let gateway =
                Gateway::start(&config(driver, &upstream.url(), &format!(", durability: {durability}"), ""));
            *dir.lock().unwrap() = gateway.audit_dir.clone();
            let mut client = RawClient::connect(gateway.mcp_addr);
            for n in 0..25 {
                client.send(ping(n));
                assert_eq!(client.read_response().status(), 200);
                let records = gateway.audit();
                assert!(
                    records.iter().any(|r| r["kind"] == "call" && r["request_id"] == n),
                    "{driver} {durability}: {n} is answered and not recorded"
                );
            }
            // Refusals as well.
            client.send(raw::post("/mcp/s", &[], r#"{"jsonrpc":"2.0","id":"no","method":"nope"}"#));
            client.read_response();
            assert!(gateway.audit().iter().any(|r| r["request_id"] == "no" && r["decision"] == "deny"));
            if durability == "strict" {
                assert_eq!(
                    *missing.lock().unwrap(),
                    Vec::<Value>::new(),
                    "{driver}: called before the intent was written"
                );
            }
        }
    }
}

/// A call whose server is still silent is on disk all the same: what a crash would interrupt is known. One that ends at once
/// needs no announcement.
#[test]
fn a_call_under_way_is_announced_and_a_quick_one_is_not() {
    for driver in DRIVERS {
        let (go, wait_for_it) = mpsc::channel::<()>();
        let wait_for_it = Mutex::new(wait_for_it);
        let upstream = RecordingUpstream::start(move |request, stream| {
            let id = request.json()["id"].clone();
            if id == 1 {
                let _ = wait_for_it.lock().unwrap().recv();
            }
            let body = json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string();
            write_response(stream, "200 OK", &[("Content-Type", "application/json")], body)
                .map(|()| Next::KeepOpen)
        });
        let gateway = Gateway::start(&config(driver, &upstream.url(), "", ""));
        let mut client = RawClient::connect(gateway.mcp_addr);
        client.send(ping(1));
        let announced = gateway.audit_until(1, |r| r["kind"] == "intent");
        assert_eq!(announced[0]["intent"]["request_id"], 1);
        assert!(!gateway.audit().iter().any(|r| r["kind"] == "call"), "{driver}: not ended");
        drop(go);
        assert_eq!(client.read_response().status(), 200);
        const QUICK: i64 = 200;
        for n in 2..2 + QUICK {
            client.send(ping(n));
            assert_eq!(client.read_response().status(), 200);
        }
        let calls = gateway.audit_until(1 + QUICK as usize, |r| r["kind"] == "call");
        let ids: HashSet<_> = calls.iter().map(|r| r["request_id"].as_i64()).collect();
        assert_eq!(ids.len() as i64, 1 + QUICK, "{driver}: each call once");
        let hashes: HashSet<_> = calls.iter().map(|r| r["response_hash"].to_string()).collect();
        assert_eq!(hashes.len() as i64, 1 + QUICK, "{driver}: of different answers");
        let announced = gateway.audit().iter().filter(|r| r["kind"] == "intent").count() as i64;
        assert!(announced < 1 + QUICK, "{driver}: calls that end at once are not announced");
    }
}

/// `audit.enabled: false` leaves nothing behind, and says so.
#[test]
fn without_audit_there_is_no_evidence() {
    let upstream = RecordingUpstream::result(json!({}));
    let gateway = Gateway::start(&config("epoll", &upstream.url(), ", enabled: false", ""));
    let answer = raw::exchange(gateway.mcp_addr, ping(1));
    assert_eq!(answer.status(), 200);
    assert!(!gateway.audit_dir.exists());
    assert_eq!(metric(gateway.admin_addr, "tidegate_audit_enabled"), 0);
    assert!(gateway.output().contains("CALLS LEAVE NO EVIDENCE"), "{}", gateway.output());
}

/// Names, first and last lines, numbering and rotation of segments.
#[test]
fn segments_are_what_shippers_expect() {
    for driver in DRIVERS {
        let upstream = RecordingUpstream::result(json!({}));
        let mut gateway =
            Gateway::start(&config(driver, &upstream.url(), ", segment_bytes_max: 65536", "workers: 1\n"));
        let mut client = RawClient::connect(gateway.mcp_addr);
        for n in 0..800 {
            client.send(ping(n));
            client.read_response();
        }
        drop(client);
        assert!(gateway.stop().success());
        let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        let names: Vec<String> = segments(&gateway.audit_dir).iter().map(name).collect();
        assert!(names.len() >= 3, "{names:?}");
        let (mut seq, mut calls) = (0, 0);
        for (index, name) in names.iter().enumerate() {
            let parts: Vec<&str> =
                name.strip_prefix("audit-").unwrap().strip_suffix(".ndjson").unwrap().split('-').collect();
            assert!(
                parts.len() == 3
                    && parts[1] == "c0"
                    && parts[2].len() == 8
                    && parts[2].parse::<usize>() == Ok(index),
                "{name}"
            );
            let text = fs::read_to_string(gateway.audit_dir.join(name)).unwrap();
            // A batch that the writer has taken from the ring stays together.
            assert!(text.len() < 65536 + (1 << 20), "{name}: {}", text.len());
            let lines: Vec<&str> = text.lines().collect();
            assert!(lines[0].len() >= 1023 && text.ends_with('\n'));
            assert!(lines.iter().all(|line| line.len() < 8000));
            for (at, line) in lines.iter().enumerate() {
                let record: Value = serde_json::from_str(line).unwrap();
                let kind = if at == 0 { Some("open") } else { (at + 1 == lines.len()).then_some("seal") };
                assert_eq!(
                    kind.is_some_and(|kind| record["kind"] == kind),
                    kind.is_some(),
                    "{name}:{at} {record}"
                );
                assert_eq!((&record["seq"], &record["core"]), (&json!(seq), &json!(0)), "{name}:{at}");
                if at == 0 {
                    let uid = record["uid"].as_str().unwrap();
                    assert!(uid.len() == 32 && line[..256].contains(uid));
                }
                let time = record["timestamp"].as_str().unwrap();
                assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
                seq += 1;
                calls += u32::from(record["kind"] == "call");
            }
        }
        assert_eq!(calls, 800, "each call once");
    }
}

#[test]
fn a_crash_loses_nothing_that_was_answered() {
    for driver in DRIVERS {
        for round in 0..3 {
            let upstream = RecordingUpstream::result(json!({}));
            let mut gateway =
                Gateway::start(&config(driver, &upstream.url(), ", durability: group", "workers: 2\n"));
            let (mcp, answered) = (gateway.mcp_addr, Mutex::new(HashSet::new()));
            thread::scope(|scope| {
                for caller in 0..4u64 {
                    let answered = &answered;
                    scope.spawn(move || {
                        let mut client = RawClient::connect(mcp);
                        for n in 0.. {
                            let id = caller * 1_000_000 + n;
                            if client.try_send(ping(id)).is_err() || client.try_read_response().is_err() {
                                return;
                            }
                            answered.lock().unwrap().insert(id);
                        }
                    });
                }
                wait::until("some answers", SOON, || {
                    (answered.lock().unwrap().len() > 40 + 37 * round).then_some(())
                });
                gateway.kill();
            });
            let answered = answered.into_inner().unwrap();
            let ids = |records: &[Value]| -> Vec<u64> {
                records
                    .iter()
                    .filter(|r| r["kind"] == "call")
                    .filter_map(|r| r["request_id"].as_u64())
                    .collect()
            };
            let before = ids(&gateway.audit());
            let unique: HashSet<u64> = before.iter().copied().collect();
            assert_eq!(unique.len(), before.len(), "each call once");
            let lost: Vec<_> = answered.difference(&unique).collect();
            assert!(lost.is_empty(), "{driver}: answered and lost: {lost:?}");
            let old = segments(&gateway.audit_dir);
            let sizes: Vec<u64> = old.iter().map(|path| fs::metadata(path).unwrap().len()).collect();

            gateway.restart();
            assert_eq!(raw::exchange(gateway.mcp_addr, ping(7_000_000)).status(), 200);
            let records = gateway.audit_until(1, |r| r["request_id"] == 7_000_000);
            assert_eq!(records.len(), 1);
            let recovered = gateway.audit_until(1, |r| r["kind"] == "recovered");
            assert_eq!(recovered.len(), old.len(), "{recovered:?}");
            for (path, size) in old.iter().zip(sizes) {
                // At most an LF was added.
                let now = fs::read(path).unwrap();
                assert!((size..=size + 1).contains(&(now.len() as u64)), "{}", path.display());
                assert!(now.ends_with(b"\n"));
                let torn = now
                    .split(|b| *b == b'\n')
                    .filter(|line| !line.is_empty() && serde_json::from_slice::<Value>(line).is_err())
                    .count();
                assert!(torn <= 1, "{}", path.display());
                let name = path.file_name().unwrap().to_str().unwrap();
                assert!(recovered.iter().any(|r| r.to_string().contains(name)), "{name}: {recovered:?}");
            }
            // Recovered once: the next start has nothing more to say about them.
            assert!(gateway.stop().success());
            gateway.restart();
            let boots: HashSet<String> = gateway.audit().iter().map(|r| r["boot"].to_string()).collect();
            assert_eq!(boots.len(), 3, "each run has its name");
        }
    }
}

/// A tail that a crash has torn, made by hand.
#[test]
fn a_torn_tail_is_closed_and_described() {
    let upstream = RecordingUpstream::result(json!({}));
    let mut gateway = Gateway::start(&config("epoll", &upstream.url(), "", "workers: 1\n"));
    raw::exchange(gateway.mcp_addr, ping(1));
    gateway.audit_until(1, |r| r["kind"] == "call");
    gateway.kill();
    let path = segments(&gateway.audit_dir).remove(0);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, [&whole[..], b"{\"kind\":\"call\",\"ti"].concat()).unwrap();
    gateway.restart();
    let recovered = gateway.audit_until(1, |r| r["kind"] == "recovered");
    assert_eq!(recovered.len(), 1);
    assert!(recovered[0].to_string().contains(path.file_name().unwrap().to_str().unwrap()));
    assert_eq!(fs::read(&path).unwrap(), [&whole[..], b"{\"kind\":\"call\",\"ti\n"].concat());
    assert!(gateway.stop().success());
    gateway.restart();
    wait::until("the third run's segment", SOON, || (segments(&gateway.audit_dir).len() == 3).then_some(()));
}

/// A segment of an earlier run is recovered once, not at every start.
#[test]
fn a_segment_is_recovered_once() {
    let upstream = RecordingUpstream::result(json!({}));
    let mut gateway = Gateway::start(&config("epoll", &upstream.url(), "", "workers: 1\n"));
    raw::exchange(gateway.mcp_addr, ping(1));
    gateway.audit_until(1, |r| r["kind"] == "call");
    gateway.kill();
    for n in 2..5 {
        gateway.restart();
        assert_eq!(raw::exchange(gateway.mcp_addr, ping(n)).status(), 200);
        gateway.audit_until(1, |r| r["kind"] == "call" && r["request_id"] == n);
        assert!(gateway.stop().success());
    }
    let recovered = gateway.audit().iter().filter(|r| r["kind"] == "recovered").count();
    assert_eq!(recovered, 1);
}

/// Ports that are taken, a directory that cannot be written: one sentence and exit code 2.
#[test]
fn starts_that_cannot_be() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap();
    let dir = TempDir::new("refused");
    fs::write(dir.join("file"), "").unwrap();
    let base =
        config("epoll", "http://127.0.0.1:1/mcp", "", "").replace("{dir}", dir.path().to_str().unwrap());
    for (what, yaml, needle) in [
        ("admin port", base.replacen("admin: 127.0.0.1:0", &format!("admin: {taken}"), 1), "admin"),
        ("listen port", base.replacen("listen: 127.0.0.1:0", &format!("listen: {taken}"), 1), "listen"),
        ("audit below a file", base.replace("/audit", "/file/audit"), "audit"),
        (
            "no such file for a secret",
            base.replace(
                "} }\ninspection",
                ", headers: { Authorization: \"file:/nowhere/x\" } } }\ninspection",
            ),
            "servers.s.headers",
        ),
        (
            "variable that is not set",
            base.replace("url: \"http://127.0.0.1:1", "url: \"${TIDEGATE_TEST_UNSET}"),
            "TIDEGATE_TEST_UNSET",
        ),
    ] {
        fs::write(dir.join("c.yaml"), &yaml).unwrap();
        let mut command = Command::new(project::tidegate());
        command.arg("run").arg("--config").arg(dir.join("c.yaml")).arg("--addr-file").arg(dir.join("addr"));
        let done = Process::run(command, SOON);
        assert_eq!(done.status.and_then(|s| s.code()), Some(2), "{what}: {}", done.output);
        assert!(done.output.contains(needle), "{what}: {}", done.output);
        assert!(!dir.join("addr").exists(), "{what}");
    }
}
