//! What stands in place of a finding: masks, keyed hashes, and tokens that one server's answer gives an agent and
//! another server's arguments turn back.

use serde_json::{Value, json};
use tidegate_tests::{Gateway, RecordingUpstream, raw};

const HEADERS: [(&str, &str); 1] = [("MCP-Protocol-Version", "2025-11-25")];
const MAIL: &str = "jane.doe@example.org";

fn call(gateway: &Gateway, server: &str, arguments: &Value) -> Value {
    let body = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": "t", "arguments": arguments }
    });
    let response =
        raw::exchange(gateway.mcp_addr, raw::post(&format!("/mcp/{server}"), &HEADERS, body.to_string()));
    assert_eq!(response.status(), 200, "{}", response.text());
    response.json()
}

fn text(answer: &Value) -> &str {
    answer["result"]["content"][0]["text"].as_str().expect("a text")
}

/// Arguments as the server got them last.
fn received(upstream: &RecordingUpstream) -> Value {
    upstream.requests().last().expect("a request").json()["params"]["arguments"].clone()
}

fn answering(text: &str, number: u64) -> RecordingUpstream {
    RecordingUpstream::result(json!({
        "content": [{ "type": "text", "text": text }], "structuredContent": { "cardNumber": number }
    }))
}

fn config(crm: &RecordingUpstream, mail: &RecordingUpstream, scope: &str, action: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nservers:\n  crm: {{ url: \"{}\" }}\n  \
         mail: {{ url: \"{}\", inspection: {{ detokenize: [EMAIL_ADDRESS] }} }}\n\
         inspection: {{ types: {{ EMAIL_ADDRESS: {action} }}, key: 0123456789abcdef0123456789abcdef, token_scope: {scope} }}\n\
         audit: {{ dir: \"{{dir}}/audit\" }}\n",
        crm.url(),
        mail.url(),
    )
}

#[test]
fn an_agent_uses_an_address_it_never_sees() {
    let crm = answering(&format!("Write to {MAIL}, not to {MAIL}."), 4_111_111_111_111_111);
    let mail = answering("sent", 1);
    let gateway = Gateway::start(&config(&crm, &mail, "deployment", "tokenize"));
    let answer = call(&gateway, "crm", &json!({}));
    let told = text(&answer);
    assert!(!answer.to_string().contains(MAIL), "{answer}");
    let token = told.strip_prefix("Write to ").and_then(|t| t.split_once(',')).expect("a token").0;
    assert!(
        token.starts_with("<EMAIL_ADDRESS:") && told == format!("Write to {token}, not to {token}."),
        "{told}"
    );
    assert_eq!(answer["result"]["structuredContent"]["cardNumber"], 0, "a number stays one");
    assert_eq!(text(&call(&gateway, "crm", &json!({}))), told, "stable");

    // The server that may gets the value, wherever the token stands in the arguments.
    let arguments = json!({ "to": [token], "body": format!("Dear {token}!"), "raw": "<EMAIL_ADDRESS:AAAA>" });
    call(&gateway, "mail", &arguments);
    assert_eq!(
        received(&mail),
        json!({ "to": [MAIL], "body": format!("Dear {MAIL}!"), "raw": "<EMAIL_ADDRESS:AAAA>" })
    );
    // The one that may not gets the token; an address that came as such is still replaced.
    call(&gateway, "crm", &json!({ "to": token, "cc": MAIL }));
    assert_eq!(received(&crm), json!({ "to": token, "cc": token }));
    call(&gateway, "mail", &json!({ "to": MAIL }));
    assert_eq!(received(&mail), json!({ "to": MAIL }), "replaced on the way in, turned back on the way out");

    let records = gateway.audit_until(5, |r| r["kind"] == "call");
    // Of two workers, each has its own order.
    let mut opened: Vec<u64> =
        records.iter().filter(|r| r["kind"] == "call").filter_map(|r| r["tokens_opened"].as_u64()).collect();
    opened.sort_unstable();
    assert_eq!(opened, [1, 2]);
}

#[test]
fn a_token_means_nothing_outside_its_scope() {
    let crm = answering(MAIL, 1);
    let mail = answering("sent", 1);
    let gateway = Gateway::start(&config(&crm, &mail, "server", "tokenize"));
    let answer = call(&gateway, "crm", &json!({}));
    let token = text(&answer).to_owned();
    assert!(token.starts_with("<EMAIL_ADDRESS:"), "{token}");
    call(&gateway, "mail", &json!({ "to": token }));
    assert_eq!(received(&mail), json!({ "to": token }));
}

#[test]
fn masks_and_hashes() {
    let crm = answering(MAIL, 1);
    let mail = answering("sent", 1);
    let gateway = Gateway::start(&config(&crm, &mail, "deployment", "mask"));
    assert_eq!(text(&call(&gateway, "crm", &json!({}))), "****.***@******e.org");
    drop(gateway);
    let gateway = Gateway::start(&config(&crm, &mail, "deployment", "hash"));
    let answer = call(&gateway, "crm", &json!({}));
    let hash = text(&answer).to_owned();
    assert!(hash.starts_with("[EMAIL_ADDRESS:") && hash.len() == "[EMAIL_ADDRESS:]".len() + 16, "{hash}");
    call(&gateway, "crm", &json!({ "q": MAIL }));
    assert_eq!(received(&crm), json!({ "q": hash }), "the same in both directions");
}
