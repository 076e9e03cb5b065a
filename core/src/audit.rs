//! Audit records: one JSON object per line, at most [`LINE_BYTES_MAX`] bytes, and the lines that open, seal and repair
//! a segment file. Workers encode the body of a record; the writer adds `core`, `seq` and `prev` and ends the line, so
//! that numbering (and later the chain) is in the order of the file.
//!
//! Every string that came from outside is escaped so that no value can end a line, forge a member or reach a terminal
//! as a control sequence. Payload bytes are never recorded, only their SHA-256.

/// Longest line, LF included: below what rsyslog cuts (8,096) and every other shipper's default.
pub const LINE_BYTES_MAX: usize = 8000;

/// Longest body that [`CallRecord::encode`] makes; the rest of the line is the writer's.
pub const BODY_BYTES_MAX: usize = LINE_BYTES_MAX - 256;

/// Least length of a segment's first line: shippers fingerprint the first 1,024 bytes of a file.
pub const OPEN_LINE_BYTES: usize = 1024;

/// What the gateway decided about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Decision {
    /// Passed on as it came.
    #[default]
    Allow,
    /// Passed on with redactions.
    Redact,
    /// Refused because of its content.
    Block,
    /// Refused for any other reason.
    Deny,
    /// Passed on, but there was no good answer.
    Error,
}

impl Decision {
    /// Record value.
    pub fn as_str(self) -> &'static str {
        match self {
            Decision::Allow => "allow",
            Decision::Redact => "redact",
            Decision::Block => "block",
            Decision::Deny => "deny",
            Decision::Error => "error",
        }
    }
}

/// SHA-256 of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Hash {
    /// There is no such payload.
    #[default]
    None,
    /// The digest.
    Is([u8; 32]),
    /// The writer computes it, for many records at a time, and puts it into the [`Gaps`].
    Later,
}

/// Where in a record's body the digests belong that are [`Hash::Later`]: offsets of 64 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gaps {
    /// Of the arguments.
    pub args: Option<u32>,
    /// Of the answer.
    pub answer: Option<u32>,
}

impl Gaps {
    /// Puts `digest` into the body that begins at `body` of `out`.
    pub fn fill(out: &mut [u8], body: usize, gap: u32, digest: &[u8; 32]) {
        let start = body + gap as usize;
        if let Some(place) = out.get_mut(start..start + 64) {
            for (two, byte) in place.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
                *two = hex_digits(*byte);
            }
        }
    }
}

/// Everything one call's record says. Durations in microseconds, sizes in bytes, time in Unix milliseconds.
#[derive(Debug, Clone, Default)]
pub struct CallRecord<'a> {
    /// W3C trace id, 32 hex digits.
    pub trace_id: &'a str,
    /// Who called.
    pub identity: &'a str,
    /// Configured server, if the request got as far as one.
    pub server: Option<&'a str>,
    /// Tool, for `tools/call`.
    pub tool: Option<&'a str>,
    /// JSON-RPC method, or the HTTP method when there is no message.
    pub method: &'a str,
    /// JSON-RPC id in its JSON form.
    pub request_id: Option<&'a [u8]>,
    /// Era of the message.
    pub era: Option<&'static str>,
    /// SHA-256 prefix of the session id.
    pub session: Option<&'a str>,
    /// SHA-256 over the wire bytes of the arguments, as received.
    pub args_hash: Hash,
    /// SHA-256 over the wire bytes of the answer's messages, as received.
    pub response_hash: Hash,
    /// Decision.
    pub decision: Decision,
    /// Label of the reason, when not allowed.
    pub reason: Option<&'static str>,
    /// Which policy decided.
    pub policy: Option<&'a str>,
    /// Replacements made in both directions.
    pub redactions: u64,
    /// Tokens turned back into values for the server.
    pub tokens_opened: u64,
    /// Findings by type.
    pub findings: &'a [(&'a str, u64)],
    /// HTTP status sent.
    pub status: u16,
    /// When the request's head was complete.
    pub timestamp_ms: u64,
    /// From the head to the last byte of the answer.
    pub latency_us: u64,
    /// The gateway's own share of it.
    pub gateway_us: u64,
    /// Waiting for the server.
    pub upstream_us: u64,
    /// Request body bytes received.
    pub bytes_in: u64,
    /// Answer body bytes sent.
    pub bytes_out: u64,
    /// Client address.
    pub peer: &'a str,
    /// Messages relayed in the answer.
    pub messages: u64,
}

impl CallRecord<'_> {
    /// Replaces `out` with the record's body: a JSON object without its end.
    pub fn encode(&self, out: &mut Vec<u8>) -> Gaps {
        out.clear();
        let mut gaps = Gaps::default();
        begin(out, "call", self.timestamp_ms);
        text(out, "trace_id", Some(self.trace_id), 64);
        text(out, "identity", Some(self.identity), 256);
        text(out, "mcp_server", self.server, 64);
        text(out, "tool_name", self.tool, 128);
        text(out, "method", Some(self.method), 64);
        gaps.args = hash(out, "args_hash", &self.args_hash);
        gaps.answer = hash(out, "response_hash", &self.response_hash);
        text(out, "decision", Some(self.decision.as_str()), 16);
        text(out, "reason", self.reason, 64);
        text(out, "policy", self.policy, 128);
        name(out, "pii_redacted");
        out.extend_from_slice(if self.redactions > 0 { b"true" } else { b"false" });
        number(out, "redaction_count", self.redactions);
        if self.tokens_opened > 0 {
            number(out, "tokens_opened", self.tokens_opened);
        }
        name(out, "findings");
        out.push(b'{');
        for (i, (kind, count)) in self.findings.iter().take(64).enumerate() {
            out.extend_from_slice(if i == 0 { b"\"" } else { b",\"" });
            escape(out, kind, 64);
            out.extend_from_slice(b"\":");
            digits(out, *count);
        }
        out.push(b'}');
        number(out, "status", self.status.into());
        name(out, "latency_ms");
        digits(out, self.latency_us / 1000);
        out.push(b'.');
        let frac = (self.latency_us % 1000) as u32;
        out.extend_from_slice(&[
            b'0' + (frac / 100) as u8,
            b'0' + (frac / 10 % 10) as u8,
            b'0' + (frac % 10) as u8,
        ]);
        number(out, "gateway_us", self.gateway_us);
        number(out, "upstream_us", self.upstream_us);
        number(out, "bytes_in", self.bytes_in);
        number(out, "bytes_out", self.bytes_out);
        number(out, "messages", self.messages);
        request_id(out, self.request_id);
        text(out, "era", self.era, 16);
        text(out, "session", self.session, 64);
        text(out, "peer", Some(self.peer), 64);
        debug_assert!(out.len() <= BODY_BYTES_MAX);
        gaps
    }

    /// Replaces `out` with the body of the line that is accepted before the server sees a byte. It carries the call's
    /// particulars inside `intent`, so that a reader counting calls by their fields sees each call once.
    pub fn encode_intent(&self, out: &mut Vec<u8>) -> Gaps {
        out.clear();
        begin(out, "intent", self.timestamp_ms);
        out.extend_from_slice(b",\"intent\":{\"v\":1");
        text(out, "trace_id", Some(self.trace_id), 64);
        text(out, "identity", Some(self.identity), 256);
        text(out, "mcp_server", self.server, 64);
        text(out, "tool_name", self.tool, 128);
        text(out, "method", Some(self.method), 64);
        request_id(out, self.request_id);
        let args = hash(out, "args_hash", &self.args_hash);
        out.push(b'}');
        debug_assert!(out.len() <= BODY_BYTES_MAX);
        Gaps { args, answer: None }
    }
}

/// Where a line stands: `(boot, core, seq)` is unique and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'a> {
    /// Names one run of the gateway, 16 hex digits.
    pub boot: &'a str,
    /// Worker.
    pub core: usize,
    /// Counts the lines of this worker's stream from 0.
    pub seq: u64,
}

/// Appends what the writer adds to a record's body: position, place of the chain, end of line.
pub fn finish(out: &mut Vec<u8>, at: Position<'_>) {
    out.extend_from_slice(b",\"boot\":\"");
    out.extend_from_slice(at.boot.as_bytes());
    out.push(b'"');
    number(out, "core", at.core as u64);
    number(out, "seq", at.seq);
    out.extend_from_slice(b",\"prev\":null}\n");
}

fn begin(out: &mut Vec<u8>, kind: &str, timestamp_ms: u64) {
    out.extend_from_slice(b"{\"kind\":\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\",\"timestamp\":\"");
    write_timestamp(out, timestamp_ms);
    out.push(b'"');
}

/// First line of a segment, padded to [`OPEN_LINE_BYTES`]. `uid` is 32 hex digits, unique for each file.
pub fn open_line(out: &mut Vec<u8>, uid: &str, segment: u64, timestamp_ms: u64, at: Position<'_>) {
    let start = out.len();
    begin(out, "open", timestamp_ms);
    text(out, "uid", Some(uid), 32);
    number(out, "v", 1);
    number(out, "segment", segment);
    out.extend_from_slice(b",\"pad\":\"");
    let mut tail = Vec::new();
    finish(&mut tail, at);
    let pad = OPEN_LINE_BYTES.saturating_sub(out.len() - start + 1 + tail.len());
    out.resize(out.len() + pad, b' ');
    out.push(b'"');
    out.extend_from_slice(&tail);
}

/// Last line of a segment: how many lines it has before this one.
pub fn seal_line(out: &mut Vec<u8>, segment: u64, lines: u64, timestamp_ms: u64, at: Position<'_>) {
    begin(out, "seal", timestamp_ms);
    number(out, "segment", segment);
    number(out, "lines", lines);
    finish(out, at);
}

/// Tells, in a new segment, of an older one that was not sealed: `torn_bytes` at its end were not a whole line and have
/// been closed with LF.
pub fn recovered_line(out: &mut Vec<u8>, file: &str, torn: (u64, Hash), timestamp_ms: u64, at: Position<'_>) {
    begin(out, "recovered", timestamp_ms);
    text(out, "file", Some(file), 128);
    number(out, "torn_bytes", torn.0);
    hash(out, "torn_sha256", &torn.1);
    finish(out, at);
}

fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn number(out: &mut Vec<u8>, key: &str, value: u64) {
    name(out, key);
    digits(out, value);
}

/// Decimal digits.
pub fn digits(out: &mut Vec<u8>, mut n: u64) {
    let mut buf = [0u8; 20];
    let mut at = buf.len();
    loop {
        at -= 1;
        buf[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&buf[at..]);
}

fn text(out: &mut Vec<u8>, key: &str, value: Option<&str>, bytes_max: usize) {
    name(out, key);
    match value {
        Some(v) => {
            out.push(b'"');
            escape(out, v, bytes_max);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
}

/// The id as a JSON value: numbers as they are, strings escaped anew.
fn request_id(out: &mut Vec<u8>, id: Option<&[u8]>) {
    match id {
        Some(id) if id.first() != Some(&b'"') => {
            name(out, "request_id");
            out.extend_from_slice(&id[..id.len().min(32)]);
        }
        Some(id) => {
            let inner = id.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\"")).unwrap_or(id);
            name(out, "request_id");
            out.push(b'"');
            // Already valid JSON string content; only what could disturb a line or terminal is escaped further.
            let content = std::str::from_utf8(inner).unwrap_or_default();
            escape_content(out, content);
            out.push(b'"');
        }
        None => text(out, "request_id", None, 0),
    }
}

/// Hex digits.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes.iter().flat_map(|b| hex_digits(*b)));
}

fn hex_digits(byte: u8) -> [u8; 2] {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]
}

/// Appends a digest; returns where its digits belong when they come later.
fn hash(out: &mut Vec<u8>, key: &str, value: &Hash) -> Option<u32> {
    name(out, key);
    match value {
        Hash::Is(bytes) => {
            out.push(b'"');
            hex(out, bytes);
            out.push(b'"');
            None
        }
        Hash::Later => {
            out.push(b'"');
            let gap = out.len() as u32;
            out.extend_from_slice(&[b'0'; 64]);
            out.push(b'"');
            Some(gap)
        }
        Hash::None => {
            out.extend_from_slice(b"null");
            None
        }
    }
}

fn unsafe_char(c: char) -> bool {
    matches!(c, '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn escape_char(out: &mut Vec<u8>, c: char) {
    let mut units = [0u16; 2];
    for unit in c.encode_utf16(&mut units) {
        out.extend_from_slice(b"\\u");
        hex(out, &unit.to_be_bytes());
    }
}

/// Appends at most `bytes_max` bytes of `value` (cut at a character, with `…` when cut), escaped.
fn escape(out: &mut Vec<u8>, value: &str, bytes_max: usize) {
    let mut cut = value.len().min(bytes_max);
    while !value.is_char_boundary(cut) {
        cut -= 1;
    }
    let plain = |b: &u8| matches!(b, 0x20..=0x7e) && !matches!(b, b'"' | b'\\');
    if value.as_bytes()[..cut].iter().all(plain) {
        out.extend_from_slice(&value.as_bytes()[..cut]);
    } else {
        escape_slowly(out, &value[..cut]);
    }
    if cut < value.len() {
        out.extend_from_slice("…".as_bytes());
    }
}

fn escape_slowly(out: &mut Vec<u8>, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c if unsafe_char(c) => escape_char(out, c),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn escape_content(out: &mut Vec<u8>, content: &str) {
    for c in content.chars() {
        if unsafe_char(c) {
            escape_char(out, c)
        } else {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes())
        }
    }
}

/// Appends RFC 3339 in UTC with milliseconds, 24 bytes for years 0 to 9999.
pub fn write_timestamp(out: &mut Vec<u8>, unix_ms: u64) {
    let (days, ms) = (unix_ms / 86_400_000, unix_ms % 86_400_000);
    // Days to civil date, era of 400 years beginning 0000-03-01.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = (yoe + era * 400 + u64::from(month <= 2)) % 10_000;
    let two =
        |out: &mut Vec<u8>, n: u64| out.extend_from_slice(&[b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]);
    two(out, year / 100);
    two(out, year % 100);
    out.push(b'-');
    two(out, month);
    out.push(b'-');
    two(out, day);
    out.push(b'T');
    two(out, ms / 3_600_000);
    out.push(b':');
    two(out, ms / 60_000 % 60);
    out.push(b':');
    two(out, ms / 1000 % 60);
    out.push(b'.');
    out.push(b'0' + (ms / 100 % 10) as u8);
    two(out, ms % 100);
    out.push(b'Z');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_json_line_with_every_contract_field() {
        let record = CallRecord {
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            identity: "anonymous",
            tool: Some("a\n\u{202e}\"\u{1b}[2J"),
            request_id: Some("\"x\\\"\u{202e}\"".as_bytes()),
            args_hash: Hash::Later,
            response_hash: Hash::Is([0xcd; 32]),
            redactions: 2,
            tokens_opened: 3,
            findings: &[("SECRET", 2)],
            latency_us: 1234,
            timestamp_ms: 1_700_000_000_007,
            ..CallRecord::default()
        };
        let mut out = Vec::new();
        let gaps = record.encode(&mut out);
        Gaps::fill(&mut out, 0, gaps.args.unwrap(), &[0xab; 32]);
        assert_eq!(gaps.answer, None);
        finish(&mut out, Position { boot: "b00t", core: 1, seq: 7 });
        assert!(out.is_ascii() && out.iter().filter(|b| **b == b'\n').count() == 1);
        let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
        for key in [
            "trace_id",
            "identity",
            "mcp_server",
            "tool_name",
            "args_hash",
            "response_hash",
            "pii_redacted",
            "redaction_count",
            "tokens_opened",
            "timestamp",
            "latency_ms",
            "method",
            "decision",
            "reason",
            "policy",
            "findings",
            "status",
            "session",
            "request_id",
            "gateway_us",
            "upstream_us",
            "bytes_in",
            "bytes_out",
            "core",
            "seq",
            "prev",
        ] {
            assert!(v.get(key).is_some(), "{key}");
        }
        assert_eq!(v["tool_name"], "a\n\u{202e}\"\u{1b}[2J");
        assert_eq!(v["request_id"], "x\"\u{202e}");
        assert_eq!(
            (&v["args_hash"], &v["response_hash"]),
            (&"ab".repeat(32).into(), &"cd".repeat(32).into())
        );
        assert_eq!((v["latency_ms"].as_f64(), v["seq"].as_u64()), (Some(1.234), Some(7)));
        assert_eq!(v["timestamp"], "2023-11-14T22:13:20.007Z");
        record.encode_intent(&mut out);
        finish(&mut out, Position { boot: "b00t", core: 1, seq: 8 });
        let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (v["kind"].as_str(), v["intent"]["identity"].as_str()),
            (Some("intent"), Some("anonymous"))
        );
    }

    #[test]
    fn the_longest_record_fits_its_line() {
        let long = "\u{1}".repeat(5000);
        let findings: Vec<_> = (0..100).map(|_| (long.as_str(), u64::MAX)).collect();
        let id = format!("\"{}\"", "\\u0001".repeat(256));
        let record = CallRecord {
            identity: &"i".repeat(1000),
            tool: Some(&"t".repeat(1000)),
            request_id: Some(id.as_bytes()),
            findings: &findings[..1],
            ..CallRecord::default()
        };
        let mut out = Vec::new();
        record.encode(&mut out);
        finish(&mut out, Position { boot: "0123456789abcdef", core: usize::MAX, seq: u64::MAX });
        assert!(out.len() <= LINE_BYTES_MAX, "{}", out.len());
    }

    #[test]
    fn segment_lines() {
        let mut out = Vec::new();
        let at = Position { boot: "b00t", core: 1, seq: 9 };
        open_line(&mut out, "0123456789abcdef0123456789abcdef", 3, 0, at);
        assert!(out.len() >= OPEN_LINE_BYTES && out[..256].windows(8).any(|w| w == b"01234567"));
        let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (v["kind"].as_str(), v["timestamp"].as_str()),
            (Some("open"), Some("1970-01-01T00:00:00.000Z"))
        );
        out.clear();
        recovered_line(&mut out, "audit-x.ndjson", (5, Hash::Is([1; 32])), 951_782_400_000, at);
        let v: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(
            (v["torn_bytes"].as_u64(), v["timestamp"].as_str()),
            (Some(5), Some("2000-02-29T00:00:00.000Z"))
        );
    }
}
