//! What is accepted, another parser accepts with the same strings; every token's span is a JSON text of its own.
#![no_main]
use libfuzzer_sys::fuzz_target;
use tidegate_core::json::{Doc, JsonLimits, Kind, Parser};

fuzz_target!(|bytes: &[u8]| {
    let (mut parser, mut doc) = (Parser::new(JsonLimits::default()), Doc::default());
    if parser.parse(bytes, &mut doc).is_err() {
        return;
    }
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).expect("another parser agrees");
    for i in 0..doc.toks().len() as u32 {
        let wire = doc.wire(bytes, i);
        match doc.tok(i).kind {
            Kind::String | Kind::Key => {
                let text: String = serde_json::from_slice(wire).expect("a string");
                assert_eq!(text.as_bytes(), doc.bytes(i));
            }
            _ => drop(serde_json::from_slice::<serde::de::IgnoredAny>(wire).expect("a text")),
        }
    }
});
