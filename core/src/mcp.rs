//! The MCP method catalogue of every revision (schema.ts of 2024-11-05 to 2026-07-28) and the rules by which one
//! endpoint serves two eras: the session-based one and the stateless one.

/// The newest revision, and the only one of the stateless era.
pub const MODERN_VERSION: &str = "2026-07-28";

/// Revisions of the session-based era, oldest first.
pub const LEGACY_VERSIONS: &[&str] = &["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];

/// `_meta` key that makes a request a modern one.
pub const META_VERSION: &[u8] = b"io.modelcontextprotocol/protocolVersion";
/// `_meta` key with the client's capabilities, required in the modern era.
pub const META_CAPABILITIES: &[u8] = b"io.modelcontextprotocol/clientCapabilities";

/// Which of the two wire protocols a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 2024-11-05 to 2025-11-25: sessions, GET streams, requests from server to client.
    Legacy,
    /// 2026-07-28: POST only, stateless.
    Modern,
}

impl Era {
    /// Audit value.
    pub fn as_str(self) -> &'static str {
        match self {
            Era::Legacy => "legacy",
            Era::Modern => "modern",
        }
    }
}

/// Which parameter a method's `Mcp-Name` header mirrors, and which names what it acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameParam {
    /// None.
    None,
    /// `params.name`: a tool.
    Tool,
    /// `params.name`: a prompt.
    Prompt,
    /// `params.uri`.
    Uri,
    /// `params.taskId`.
    Task,
}

impl NameParam {
    /// The member of `params`.
    pub fn key(self) -> Option<&'static [u8]> {
        match self {
            NameParam::None => None,
            NameParam::Tool | NameParam::Prompt => Some(b"name"),
            NameParam::Uri => Some(b"uri"),
            NameParam::Task => Some(b"taskId"),
        }
    }
}

/// What a client may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    /// As on the wire.
    pub name: &'static str,
    /// A notification: carries no id.
    pub notification: bool,
    /// Part of the session-based era.
    pub legacy: bool,
    /// Part of the stateless era.
    pub modern: bool,
    /// The named parameter.
    pub param: NameParam,
}

const fn m(name: &'static str, legacy: bool, modern: bool, param: NameParam) -> Method {
    Method { name, notification: false, legacy, modern, param }
}

const fn n(name: &'static str, legacy: bool, modern: bool) -> Method {
    Method { name, notification: true, legacy, modern, param: NameParam::None }
}

/// Every method and notification that clients send, in any revision.
pub const CLIENT_METHODS: &[Method] = &[
    m("tools/call", true, true, NameParam::Tool),
    m("tools/list", true, true, NameParam::None),
    m("resources/read", true, true, NameParam::Uri),
    m("resources/list", true, true, NameParam::None),
    m("resources/templates/list", true, true, NameParam::None),
    m("prompts/get", true, true, NameParam::Prompt),
    m("prompts/list", true, true, NameParam::None),
    m("completion/complete", true, true, NameParam::None),
    m("initialize", true, false, NameParam::None),
    m("ping", true, false, NameParam::None),
    m("logging/setLevel", true, false, NameParam::None),
    m("resources/subscribe", true, false, NameParam::Uri),
    m("resources/unsubscribe", true, false, NameParam::Uri),
    m("tasks/get", true, true, NameParam::Task),
    m("tasks/cancel", true, true, NameParam::Task),
    m("tasks/update", false, true, NameParam::Task),
    m("tasks/result", true, false, NameParam::Task),
    m("tasks/list", true, false, NameParam::None),
    m("server/discover", false, true, NameParam::None),
    m("subscriptions/listen", false, true, NameParam::None),
    n("notifications/initialized", true, false),
    n("notifications/cancelled", true, true),
    n("notifications/progress", true, true),
    n("notifications/roots/list_changed", true, false),
    n("notifications/tasks/status", true, false),
];

impl Method {
    /// The catalogue entry called `name` (exact bytes).
    pub fn find(name: &[u8]) -> Option<&'static Method> {
        CLIENT_METHODS.iter().find(|m| m.name.as_bytes() == name)
    }

    /// Whether this method exists in `era`.
    pub fn in_era(&self, era: Era) -> bool {
        match era {
            Era::Legacy => self.legacy,
            Era::Modern => self.modern,
        }
    }

    /// Streams of this method may stay open without limit and send nothing for long.
    pub fn is_listen(&self) -> bool {
        self.name == "subscriptions/listen"
    }
}

/// Top-level members of a JSON-RPC message.
pub const ENVELOPE_KEYS: &[&[u8]] = &[b"jsonrpc", b"id", b"method", b"params", b"result", b"error"];

/// Members of `params` that decide what a request does; nothing may merely resemble them.
pub const PARAM_KEYS: &[&[u8]] = &[
    b"name",
    b"arguments",
    b"uri",
    b"_meta",
    b"cursor",
    b"requestState",
    b"inputResponses",
    b"taskId",
    b"ref",
    b"argument",
    b"protocolVersion",
    b"capabilities",
    b"clientInfo",
    b"level",
    b"task",
    b"requestId",
    b"progressToken",
];

/// A key that is not one of `keys` but that some reader could take for one: other case, compatibility forms
/// (U+017F, U+212A, full width), or the key with characters around or inside it that are not letters.
/// Allocates only for keys that are not plain identifiers.
pub fn resembles(key: &[u8], keys: &[&[u8]]) -> bool {
    if keys.contains(&key) {
        return false;
    }
    if key.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        return keys.iter().any(|k| k.eq_ignore_ascii_case(key));
    }
    let Ok(text) = std::str::from_utf8(key) else { return true };
    if text.len() > 256 {
        return false;
    }
    use unicode_normalization::UnicodeNormalization;
    let folded: String = text
        .nfkc()
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{131}' => 'i',
            c => c,
        })
        .filter(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    keys.iter().any(|k| k.eq_ignore_ascii_case(folded.as_bytes()))
}

/// Tool names: 1 to 128 of `A-Z a-z 0-9 _ . - /` (specification, server/tools, "Tool names").
pub fn tool_name_ok(name: &[u8]) -> bool {
    matches!(name.len(), 1..=128)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'/'))
}

/// Names of prompts, URIs and task ids: up to 2,048 bytes without control, invisible or direction characters.
pub fn plain_name_ok(name: &str) -> bool {
    matches!(name.len(), 1..=2048) && !name.chars().any(is_invisible)
}

fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}' | '\u{fff9}'..='\u{fffb}')
}

/// Session ids: visible ASCII (specification 2025-11-25, basic/transports), at most 1,024 bytes.
pub fn session_id_ok(id: &[u8]) -> bool {
    matches!(id.len(), 1..=1024) && id.iter().all(|b| (0x21..=0x7e).contains(b))
}

/// Decodes an `Mcp-Name` or `Mcp-Param-*` value: plain visible text, or `=?base64?...?=` with canonical base64
/// (2026-07-28, basic/transports/streamable-http, "Encoding"). `None`: refuse.
pub fn decode_header_value(value: &[u8]) -> Option<std::borrow::Cow<'_, [u8]>> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    if let Some(inner) = value.strip_prefix(b"=?base64?").and_then(|v| v.strip_suffix(b"?=")) {
        return STANDARD.decode(inner).ok().map(Into::into); // STANDARD refuses trailing bits and missing padding
    }
    value.iter().all(|b| (0x20..=0x7e).contains(b) || *b == b'\t').then(|| value.into())
}

/// Appends the header form of `value`, encoded when it must be.
pub fn encode_header_value(out: &mut Vec<u8>, value: &[u8]) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let plain = value.iter().all(|b| (0x21..=0x7e).contains(b) || *b == b' ')
        && value.trim_ascii().len() == value.len()
        && !(value.starts_with(b"=?base64?") && value.ends_with(b"?="));
    if plain {
        out.extend_from_slice(value);
    } else {
        out.extend_from_slice(format!("=?base64?{}?=", STANDARD.encode(value)).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_are_seen_and_others_are_not() {
        for key in [
            "Method",
            "METHOD",
            "param\u{17f}",
            "\u{ff4d}ethod",
            "method ",
            "method\0",
            "me-thod",
            "i\u{307}d",
        ] {
            assert!(resembles(key.as_bytes(), ENVELOPE_KEYS), "{key:?}");
        }
        for key in ["method", "params", "methods", "x-method-y", "identity", "\u{e9}"] {
            assert!(!resembles(key.as_bytes(), ENVELOPE_KEYS), "{key:?}");
        }
        assert!(
            resembles(b"name\"", PARAM_KEYS)
                && resembles(b"Arguments", PARAM_KEYS)
                && !resembles(b"x", PARAM_KEYS)
        );
    }

    #[test]
    fn names() {
        assert!(tool_name_ok(b"../admin/delete") && tool_name_ok(&[b'a'; 128]));
        for bad in ["", "a b", "r\u{e9}ad", "a\0", "a\u{200b}"] {
            assert!(!tool_name_ok(bad.as_bytes()), "{bad:?}");
        }
        assert!(!tool_name_ok(&[b'a'; 129]));
        assert!(plain_name_ok("test://x/{id}") && !plain_name_ok("a\u{202e}b") && !plain_name_ok(""));
    }

    #[test]
    fn header_values_round_trip_and_have_one_encoding() {
        for v in ["get_weather", "caf\u{e9}", " x", "=?base64?YQ==?=", "a\nb"] {
            let mut out = Vec::new();
            encode_header_value(&mut out, v.as_bytes());
            assert_eq!(decode_header_value(&out).unwrap(), v.as_bytes());
        }
        for bad in ["=?base64?Z2V0X3dlYXRoZXJ=?=", "=?base64?Z2V0?x?=", "=?base64?YQ?=", "caf\u{e9}"] {
            assert_eq!(decode_header_value(bad.as_bytes()), None, "{bad}");
        }
    }
}
