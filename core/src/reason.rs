//! The one table from a refusal to what everybody sees of it: HTTP status, JSON-RPC code, public sentence, metric
//! label. Sentences never contain anything of the message. Source: the denial table of the product's protocol notes
//! and the MCP specification's error codes (2026-07-28, basic/index, "Error codes").

/// Why a message was not passed on as it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Bytes are not an HTTP/1.1 message.
    HttpMalformed,
    /// Contradictory or forbidden message framing.
    HttpFraming,
    /// Request line, head or field count over the limit.
    HeadTooLarge,
    /// `Host` missing, repeated or not a host.
    HostInvalid,
    /// `Host` is not on the allow-list.
    HostDenied,
    /// `Origin` is not on the allow-list.
    OriginDenied,
    /// `Expect` other than `100-continue`.
    ExpectUnsupported,
    /// A method other than GET, HEAD, POST, DELETE, OPTIONS.
    MethodUnsupported,
    /// A method that this resource does not offer.
    MethodNotAllowed,
    /// No server is configured at this path.
    NoRoute,
    /// The request head took too long.
    HeadTimeout,
    /// The request body took too long.
    BodyTimeout,
    /// The request body is over the limit.
    BodyTooLarge,
    /// `Content-Type` is not `application/json` in UTF-8, or the body is encoded.
    ContentTypeUnsupported,
    /// `Accept` excludes what MCP answers with.
    NotAcceptable,
    /// The body is not one strict JSON text.
    JsonInvalid,
    /// The JSON is nested too deeply or an object has too many members.
    JsonTooComplex,
    /// An object has the same key twice.
    JsonDuplicateKey,
    /// A key looks like a protocol key but is not.
    KeyAlias,
    /// Not a JSON-RPC 2.0 message as MCP restricts it.
    EnvelopeInvalid,
    /// A batch where none is accepted.
    BatchRefused,
    /// A method that this revision does not have.
    MethodUnknown,
    /// Parameters of the wrong shape.
    ParamsInvalid,
    /// `_meta` lacks what 2026-07-28 requires.
    MetaMissing,
    /// MCP header fields and body disagree.
    HeaderMismatch,
    /// A protocol version that is not served.
    VersionUnsupported,
    /// A session id with forbidden characters, or where none is allowed.
    SessionInvalid,
    /// Inspection blocked the request.
    RequestBlocked,
    /// Inspection blocked the answer; the server did act.
    ResponseBlocked,
    /// The server could not be reached.
    UpstreamConnect,
    /// The server's name has no address.
    UpstreamResolve,
    /// The server did not answer in time.
    UpstreamTimeout,
    /// The server closed the connection before a whole answer.
    UpstreamClosed,
    /// The server's answer is not acceptable HTTP or JSON-RPC.
    UpstreamProtocol,
    /// The server refused the gateway's credentials.
    UpstreamAuth,
    /// The server's answer is over the limit.
    UpstreamTooLarge,
    /// The server answered with an error that carries no JSON-RPC message.
    UpstreamStatus,
    /// The server's stream ended without the answer.
    StreamBroken,
    /// The audit log cannot take a record.
    AuditUnavailable,
    /// A limit on connections, streams or memory is reached.
    Overloaded,
    /// The gateway is shutting down.
    Draining,
    /// The client went away.
    ClientGone,
    /// A defect of the gateway.
    Internal,
}

/// What a [`Reason`] means to client, operator and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Public {
    /// HTTP status of the answer.
    pub status: u16,
    /// JSON-RPC error code.
    pub code: i32,
    /// Sentence for the client.
    pub message: &'static str,
    /// Metric label and audit `reason`; snake case, never changes.
    pub label: &'static str,
}

const fn row(status: u16, code: i32, label: &'static str, message: &'static str) -> Public {
    Public { status, code, message, label }
}

impl Reason {
    /// Every reason, in declaration order: the bound of the metric label.
    pub const ALL: &'static [Reason] = {
        use Reason::*;
        &[
            HttpMalformed,
            HttpFraming,
            HeadTooLarge,
            HostInvalid,
            HostDenied,
            OriginDenied,
            ExpectUnsupported,
            MethodUnsupported,
            MethodNotAllowed,
            NoRoute,
            HeadTimeout,
            BodyTimeout,
            BodyTooLarge,
            ContentTypeUnsupported,
            NotAcceptable,
            JsonInvalid,
            JsonTooComplex,
            JsonDuplicateKey,
            KeyAlias,
            EnvelopeInvalid,
            BatchRefused,
            MethodUnknown,
            ParamsInvalid,
            MetaMissing,
            HeaderMismatch,
            VersionUnsupported,
            SessionInvalid,
            RequestBlocked,
            ResponseBlocked,
            UpstreamConnect,
            UpstreamResolve,
            UpstreamTimeout,
            UpstreamClosed,
            UpstreamProtocol,
            UpstreamAuth,
            UpstreamTooLarge,
            UpstreamStatus,
            StreamBroken,
            AuditUnavailable,
            Overloaded,
            Draining,
            ClientGone,
            Internal,
        ]
    };

    /// The table.
    pub const fn public(self) -> Public {
        use Reason::*;
        match self {
            HttpMalformed => row(400, -32600, "http_malformed", "malformed HTTP message"),
            HttpFraming => row(400, -32600, "http_framing", "ambiguous or forbidden message framing"),
            HeadTooLarge => row(431, -32600, "head_too_large", "request head is too large"),
            HostInvalid => row(400, -32600, "host_invalid", "Host is missing or not valid"),
            HostDenied => row(403, -32600, "host_denied", "this Host is not served here"),
            OriginDenied => row(403, -32600, "origin_denied", "this Origin is not allowed"),
            ExpectUnsupported => {
                row(417, -32600, "expect_unsupported", "only Expect: 100-continue is supported")
            }
            MethodUnsupported => row(501, -32600, "method_unsupported", "HTTP method is not supported"),
            MethodNotAllowed => row(405, -32600, "method_not_allowed", "HTTP method is not allowed here"),
            NoRoute => row(404, -32600, "no_route", "no MCP server is configured at this path"),
            HeadTimeout => row(408, -32600, "head_timeout", "request head was not received in time"),
            BodyTimeout => row(408, -32600, "body_timeout", "request body was not received in time"),
            BodyTooLarge => row(413, -32600, "body_too_large", "request body is too large"),
            ContentTypeUnsupported => row(
                415,
                -32600,
                "content_type",
                "Content-Type must be application/json in UTF-8, not encoded",
            ),
            NotAcceptable => row(
                406,
                -32600,
                "not_acceptable",
                "Accept must include application/json and text/event-stream",
            ),
            JsonInvalid => {
                row(400, -32700, "json_invalid", "Parse error: the body is not one strict JSON text")
            }
            JsonTooComplex => {
                row(400, -32700, "json_too_complex", "Parse error: JSON is nested too deeply or too wide")
            }
            JsonDuplicateKey => {
                row(400, -32600, "json_duplicate_key", "Invalid Request: an object has a key twice")
            }
            KeyAlias => row(400, -32600, "key_alias", "Invalid Request: a key resembles a protocol key"),
            EnvelopeInvalid => {
                row(400, -32600, "envelope_invalid", "Invalid Request: not a valid MCP message")
            }
            BatchRefused => row(400, -32600, "batch_refused", "Invalid Request: batches are not accepted"),
            MethodUnknown => row(400, -32601, "method_unknown", "Method not found"),
            ParamsInvalid => row(400, -32602, "params_invalid", "Invalid params"),
            MetaMissing => {
                row(400, -32602, "meta_missing", "Invalid params: required _meta members are missing")
            }
            HeaderMismatch => {
                row(400, -32020, "header_mismatch", "Header mismatch: MCP headers and body disagree")
            }
            VersionUnsupported => row(400, -32022, "version_unsupported", "Unsupported protocol version"),
            SessionInvalid => row(400, -32600, "session_invalid", "Mcp-Session-Id is not valid"),
            RequestBlocked => {
                row(200, 40302, "request_blocked", "Blocked by the gateway: sensitive data in the request")
            }
            ResponseBlocked => row(
                200,
                40302,
                "response_blocked",
                "Blocked by the gateway: sensitive data in the answer. The request was executed",
            ),
            UpstreamConnect => row(502, -32603, "upstream_connect", "the MCP server cannot be reached"),
            UpstreamResolve => row(502, -32603, "upstream_resolve", "the MCP server's address is not known"),
            UpstreamTimeout => row(504, -32603, "upstream_timeout", "the MCP server did not answer in time"),
            UpstreamClosed => row(502, -32603, "upstream_closed", "the MCP server closed the connection"),
            UpstreamProtocol => row(502, -32603, "upstream_protocol", "the MCP server's answer is not valid"),
            UpstreamAuth => {
                row(502, -32603, "upstream_auth", "the MCP server refused the gateway's credentials")
            }
            UpstreamTooLarge => {
                row(200, -32603, "upstream_too_large", "the MCP server's answer is too large")
            }
            UpstreamStatus => row(502, -32603, "upstream_status", "the MCP server answered with an error"),
            StreamBroken => {
                row(502, -32603, "stream_broken", "the MCP server's stream ended without an answer")
            }
            AuditUnavailable => row(503, -32603, "audit_unavailable", "the audit log cannot take records"),
            Overloaded => row(503, -32603, "overloaded", "the gateway is at a limit"),
            Draining => row(503, -32603, "draining", "the gateway is shutting down"),
            ClientGone => row(499, -32603, "client_gone", "the client closed the connection"),
            Internal => row(500, -32603, "internal", "internal error"),
        }
    }

    /// Metric label and audit `reason`.
    pub const fn label(self) -> &'static str {
        self.public().label
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_of_errors_is_up_to_date() {
        const MARK: &str = "<!-- generated:";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ERRORS.md");
        let text = std::fs::read_to_string(path).expect("docs/ERRORS.md");
        let (intro, rest) = text.split_once(MARK).expect("the mark of the generated part");
        let note = rest.lines().next().unwrap_or_default();
        let mut want =
            format!("{intro}{MARK}{note}\n\n| reason | HTTP | code | message |\n|---|---|---|---|\n");
        for r in Reason::ALL {
            let p = r.public();
            want += &format!("| `{}` | {} | {} | {} |\n", p.label, p.status, p.code, p.message);
        }
        want += "\n`method_unknown` is 404 in 2026-07-28. `request_blocked` and `response_blocked` of `tools/call` are \
            results with\n`isError`, so that the model reads them; blocked notifications and client answers are 400. On \
            an event stream that has\nbegun, an error is the stream's last event.\n";
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &want).expect("docs/ERRORS.md can be written");
        }
        assert_eq!(text, want, "run UPDATE_DOCS=1 cargo test -p tidegate-core");
    }

    #[test]
    fn labels_are_unique_and_codes_stay_out_of_reserved_ranges() {
        let mut labels: Vec<_> = Reason::ALL.iter().map(|r| r.label()).collect();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Reason::ALL.len());
        for (i, r) in Reason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, i, "ALL is in declaration order");
            let code = r.public().code;
            let standard = [-32700, -32600, -32601, -32602, -32603, -32020, -32021, -32022].contains(&code);
            assert!(standard || !(-32768..=-32000).contains(&code), "{r:?} uses a reserved code");
        }
    }
}
