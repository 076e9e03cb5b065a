//! Turns tokens in a call's arguments back into the values they stand for.
//!
//! Runs behind inspection: what a token stands for was found and judged when the token was made, and goes only to servers
//! that the configuration names for its type.

use super::{Inspector, Spans};
use crate::replace::{self, Keys};
use crate::{Confidence, RuleIdx, TextFinding};
use std::sync::Arc;
use tidegate_core::json::{self, Doc, Kind, TokIdx};

/// What tokens are made with, and which are turned back.
#[derive(Debug, Clone, Default)]
pub struct Tokens {
    /// Without, hashes and tokens are placeholders.
    pub keys: Option<Arc<Keys>>,
    /// A token can be turned back only in the scope it was made in.
    pub scope: Arc<[u8]>,
    /// Finding types that are turned back in arguments.
    pub opens: Arc<[String]>,
}

/// What was turned back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Tokens.
    pub count: u64,
    /// Decoded strings with tokens: as they were and as they are now.
    pub replaced: Vec<(String, String)>,
}

impl Inspector {
    /// Writes the request `wire` to `out` with the tokens in its `params.arguments` turned back; `None`, and nothing
    /// written, when there is none that can be.
    pub fn open_tokens(&mut self, tokens: &Tokens, wire: &[u8], out: &mut Vec<u8>) -> Option<Opened> {
        let keys = tokens.keys.as_ref()?;
        let named = |kind: &String| memchr::memmem::find(wire, kind.as_bytes()).is_some();
        if !tokens.opens.iter().any(named) {
            return None;
        }
        let mut doc = Doc::default();
        self.parser.parse(wire, &mut doc).ok()?;
        let arguments = doc.get(0, b"params").and_then(|params| doc.get(params, b"arguments"))?;
        let mut opened = Opened::default();
        let mut at = 0;
        out.clear();
        for i in arguments..doc.tok(arguments).next {
            if doc.tok(i).kind == Kind::String {
                at = open_string(keys, tokens, &doc, wire, i, at, out, &mut opened);
            }
        }
        if opened.count == 0 {
            return None;
        }
        out.extend_from_slice(&wire[at..]);
        Some(opened)
    }
}

/// Appends `wire` from `at` to the last token of one string, with its tokens turned back; returns how far it came.
#[allow(clippy::too_many_arguments)]
fn open_string(
    keys: &Keys,
    tokens: &Tokens,
    doc: &Doc,
    wire: &[u8],
    i: TokIdx,
    mut at: usize,
    out: &mut Vec<u8>,
    opened: &mut Opened,
) -> usize {
    let text = doc.str(i);
    // In JSON within a string, a value must be a string's inside there, too.
    let nested = matches!(text.trim_start().as_bytes(), [b'{' | b'[', ..]);
    let mut spans = Spans::new(doc, wire, i);
    let (mut now, mut text_at) = (String::new(), 0);
    for token in replace::tokens(text) {
        if token.start < text_at || !tokens.opens.iter().any(|k| k == token.kind) {
            continue;
        }
        let Some(mut value) = keys.open(&token, &tokens.scope) else { continue };
        if nested {
            let mut inner = Vec::with_capacity(value.len());
            json::escape_into(&mut inner, &value);
            value = String::from_utf8(inner).unwrap_or_default();
        }
        let place = TextFinding {
            rule: RuleIdx(0),
            start: token.start,
            end: token.end,
            confidence: Confidence::High,
        };
        let span = spans.next(&place);
        out.extend_from_slice(&wire[at..span.start]);
        json::escape_into(out, &value);
        at = span.end;
        now.push_str(&text[text_at..token.start]);
        now.push_str(&value);
        text_at = token.end;
        opened.count += 1;
    }
    if text_at > 0 {
        now.push_str(&text[text_at..]);
        opened.replaced.push((text.to_owned(), now));
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_core::json::JsonLimits;

    fn tokens(scope: &[u8], opens: &[&str]) -> Tokens {
        let opens = opens.iter().map(|s| (*s).to_owned()).collect();
        Tokens { keys: Some(Arc::new(Keys::new(&[7; 32]).unwrap())), scope: scope.into(), opens }
    }

    #[track_caller]
    fn check(tokens: &Tokens, wire: &str, expect: Option<&str>) {
        let mut out = Vec::new();
        let opened = Inspector::new(JsonLimits::default()).open_tokens(tokens, wire.as_bytes(), &mut out);
        assert_eq!(opened.map(|_| String::from_utf8(out).unwrap()).as_deref(), expect, "{wire}");
    }

    #[test]
    fn only_in_arguments_and_only_the_named_types() {
        let here = tokens(b"crm", &["EMAIL_ADDRESS"]);
        let mail = here.keys.as_ref().unwrap().token("EMAIL_ADDRESS", b"crm", "a\"b@example.org").unwrap();
        let phone = here.keys.as_ref().unwrap().token("PHONE_NUMBER", b"crm", "+442071838750").unwrap();
        let call = |inside: &str| {
            format!(r#"{{"method":"tools/call","params":{{"name":"{mail}","arguments":{inside}}}}}"#)
        };
        check(
            &here,
            &call(&format!(r#"{{"to":["x {mail}, \u003c{}"],"tel":"{phone}"}}"#, &mail[1..])),
            Some(&call(&format!(r#"{{"to":["x a\"b@example.org, a\"b@example.org"],"tel":"{phone}"}}"#))),
        );
        check(&here, &call(&format!(r#"{{"tel":"{phone}"}}"#)), None);
        check(
            &here,
            &call(&format!(r#"{{"json":"{{\"to\":\"{mail}\"}}"}}"#)),
            Some(&call(r#"{"json":"{\"to\":\"a\\\"b@example.org\"}"}"#)),
        );
        check(&tokens(b"mail", &["EMAIL_ADDRESS"]), &call(&format!(r#"{{"to":"{mail}"}}"#)), None);
        check(&tokens(b"crm", &[]), &call(&format!(r#"{{"to":"{mail}"}}"#)), None);
        check(&Tokens { keys: None, ..here }, &call(&format!(r#"{{"to":"{mail}"}}"#)), None);
    }
}
