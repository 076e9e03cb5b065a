//! Judging an envelope never panics, and a judged message has what its kind promises.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_core::jsonrpc::{McpHeaders, MessageKind, client_message, server_message};

fuzz_target!(|input: (Option<&[u8]>, Option<&[u8]>, Option<&[u8]>, &[u8])| {
    let (version, method, name, body) = input;
    let (mut parser, mut doc) = (Parser::new(JsonLimits::default()), Doc::default());
    if parser.parse(body, &mut doc).is_ok() {
        if let Ok(m) = client_message(&doc, &McpHeaders { version, method, name }, 256) {
            assert_eq!(m.id.is_some(), m.kind != MessageKind::Notification);
            assert_eq!(m.method.is_some(), matches!(m.kind, MessageKind::Request | MessageKind::Notification));
        }
        let _ = server_message(&doc, 256);
    }
});
