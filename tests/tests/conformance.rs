//! The official conformance suite, directly and through the gateway: every check of every scenario must end the same
//! on both ways. What the servers themselves fail does not matter; whatever differs is the gateway's doing. Where the
//! gateway is right and the server is not, the check is named below, and then the gateway has to pass it.

use std::{process::Command, time::Duration};

use tidegate_tests::{Gateway, Peer, Process, TempDir, project};

/// 2025-11-25 speaks in sessions, 2026-07-28 is stateless: a scenario of both runs once on each wire.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// What the gateway answers itself, and rightly, where a server of the older era refuses every modern request with its
/// own 400: an option of conformance.py, `scenario:check`. The rules are the specification's for 2026-07-28.
const BEFORE_A_LEGACY_SERVER: &[(&str, &str)] = &[
    // Foreign Host and Origin values are refused in both eras; server-everything takes them.
    ("--gateway-passes", "dns-rebinding-protection:localhost-host-rebinding-rejected"),
    // A request without its required metadata: 400, -32602.
    ("--gateway-passes", "server-stateless:sep-2575-request-meta-invalid-missing-meta"),
    ("--gateway-passes", "server-stateless:sep-2575-request-meta-invalid-missing-protocol-version"),
    ("--gateway-passes", "server-stateless:sep-2575-request-meta-invalid-missing-client-capabilities"),
    // Headers that contradict the body: 400, -32020.
    ("--gateway-passes", "server-stateless:sep-2575-http-server-header-mismatch-400"),
    ("--gateway-passes", "tasks-request-headers:tasks-headers-reject-mismatched-method"),
    // Methods that this revision does not have: 404, -32601.
    ("--gateway-passes", "server-stateless:sep-2575-http-server-method-not-found-404"),
    ("--gateway-passes", "server-stateless:sep-2575-http-server-method-not-found-404-initialize"),
    ("--gateway-passes", "server-stateless:sep-2575-http-server-method-not-found-404-ping"),
    ("--gateway-passes", "server-stateless:sep-2575-http-server-method-not-found-404-logging-setlevel"),
    ("--gateway-passes", "server-stateless:sep-2575-http-server-method-not-found-404-resources-subscribe"),
    ("--gateway-passes", "server-stateless:sep-2575-http-server-method-not-found-404-resources-unsubscribe"),
    ("--gateway-passes", "tasks-dispatch-and-envelope:sep-2663-tasks-result-removed-method-not-found"),
    ("--gateway-passes", "tasks-dispatch-and-envelope:tasks-removed-tasks-list"),
    // The gateway's errors carry the request's id; one that comes from server-everything says `"id":null`.
    ("--gateway-fails-less", "server-stateless:sep-2575-http-server-error-jsonrpc-id"),
];

/// One run of the suite takes 3 to 13 s when nothing else runs.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

#[track_caller]
fn check(peer: Peer, apart: &[(&str, &str)]) {
    project::installed();
    let gateway = Gateway::start(&Gateway::config(&[("peer", &peer.url())]));
    let out = TempDir::new("conformance");
    let mut differences = String::new();
    for revision in REVISIONS {
        let mut command = Command::new("python3");
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(project::script("conformance.py"));
        command.args([peer.url(), gateway.url("peer")]).args(["--requirements", revision]);
        command.args(["--deadline", &RUN_TIME_MAX.as_secs().to_string(), "--out"]).arg(out.join(revision));
        for (option, check) in apart {
            command.args([option, check]);
        }
        // Both ways, and a little for the comparison.
        let done = Process::run(command, RUN_TIME_MAX * 2 + Duration::from_secs(10));
        println!("{}", done.output);
        if !done.success() {
            differences += &done.output;
        }
    }
    assert!(differences.is_empty(), "{differences}\nthe gateway:\n{}", gateway.output());
}

#[test]
fn rust_fixture() {
    check(Peer::fixture(), &[]);
}

#[test]
fn rust_fixture_with_json_answers() {
    check(Peer::fixture_with(&["--json-response"]), &[]);
}

#[test]
fn rust_fixture_without_legacy_sessions() {
    check(Peer::fixture_with(&["--json-response", "--stateless"]), &[]);
}

#[test]
fn python_server() {
    check(Peer::python(), &[]);
}

#[test]
fn server_everything() {
    check(Peer::everything(), BEFORE_A_LEGACY_SERVER);
}
