//! Real clients against real servers, through the gateway. Every client runs the same steps (`peers/profiles.json`):
//! list, call, a 300 KB text, progress, errors, a resource, a prompt, a question to the user, and a record with
//! personal data in it, which must arrive without that data.

use std::fmt::Write;

use tidegate_tests::{Client, Gateway, Peer};

/// Cells that fail without the gateway as well, each with the reason. Checked by `clients_pass_without_the_gateway`.
const LEFT_OUT: &[(Client, &str, &str)] = &[];

fn clients(profile: &str) -> impl Iterator<Item = Client> {
    Client::ALL.into_iter().filter(move |client| {
        let reason = LEFT_OUT.iter().find(|(left_out, server, _)| left_out == client && *server == profile);
        if let Some((_, _, reason)) = reason {
            eprintln!("left out: {client} x {profile}: {reason}");
        }
        reason.is_none()
    })
}

/// Every client through the gateway; for one that fails, whether it fails directly too.
#[track_caller]
fn check(peer: Peer) {
    let profile = peer.profile;
    let gateway = Gateway::start(&Gateway::config(&[(profile, &peer.url())]));
    let mut failures = String::new();
    for client in clients(profile) {
        let through = client.run(&gateway.url(profile), profile, true);
        if through.success() {
            continue;
        }
        let direct = client.run(&peer.url(), profile, false);
        let direct = if direct.success() { "passes" } else { "fails too" };
        let _ = write!(
            failures,
            "\n{client} x {profile} fails ({direct} without the gateway):\n{}",
            through.output
        );
    }
    assert!(failures.is_empty(), "{failures}\nthe gateway:\n{}", gateway.output());
}

#[test]
fn clients_pass_against_the_rust_fixture() {
    check(Peer::fixture());
}

#[test]
fn clients_pass_against_a_fixture_that_answers_in_json_without_sessions() {
    check(Peer::fixture_with(&["--json-response"]));
}

#[test]
fn clients_pass_against_the_python_server() {
    check(Peer::python());
}

#[test]
fn clients_pass_against_server_everything() {
    check(Peer::everything());
}

#[test]
#[ignore = "needs no gateway: for work on the peers themselves"]
fn clients_pass_without_the_gateway() {
    let mut failures = String::new();
    for peer in
        [Peer::fixture(), Peer::fixture_with(&["--json-response"]), Peer::python(), Peer::everything()]
    {
        for client in clients(peer.profile) {
            let done = client.run(&peer.url(), peer.profile, false);
            if !done.success() {
                let _ = write!(failures, "\n{client} x {} fails:\n{}", peer.profile, done.output);
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
