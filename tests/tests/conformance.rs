//! The official conformance suite, directly and through the gateway: every check of every scenario must end the same
//! on both ways. What the servers themselves fail does not matter; whatever differs is the gateway's doing.

use std::{process::Command, time::Duration};

use tidegate_tests::{Gateway, Peer, Process, TempDir, project};

/// 2025-11-25 speaks in sessions, 2026-07-28 is stateless: a scenario of both runs once on each wire.
const REVISIONS: [&str; 2] = ["2025-11-25", "2026-07-28"];

/// What the gateway passes by its own checks, whatever the server behind it does, and why.
const GATEWAY_PASSES: &[(&str, &str)] = &[(
    "dns-rebinding-protection:localhost-host-rebinding-rejected",
    "it refuses foreign Host and Origin values itself; server-everything takes them",
)];

/// One run of the suite takes 3 to 13 s when nothing else runs.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

#[track_caller]
fn check(peer: Peer) {
    project::installed();
    let gateway = Gateway::start(&Gateway::config(&[("peer", &peer.url())]));
    let out = TempDir::new("conformance");
    let mut differences = String::new();
    for revision in REVISIONS {
        let mut command = Command::new("python3");
        command.env("PYTHONDONTWRITEBYTECODE", "1").arg(project::script("conformance.py"));
        command.args([peer.url(), gateway.url("peer")]).args(["--requirements", revision]);
        command.args(["--deadline", &RUN_TIME_MAX.as_secs().to_string(), "--out"]).arg(out.join(revision));
        for (check, _) in GATEWAY_PASSES {
            command.args(["--gateway-passes", check]);
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
    check(Peer::fixture());
}

#[test]
fn rust_fixture_with_json_answers() {
    check(Peer::fixture_with(&["--json-response"]));
}

#[test]
fn rust_fixture_without_legacy_sessions() {
    check(Peer::fixture_with(&["--json-response", "--stateless"]));
}

#[test]
fn python_server() {
    check(Peer::python());
}

#[test]
fn server_everything() {
    check(Peer::everything());
}
