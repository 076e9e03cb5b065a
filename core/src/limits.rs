//! Every bound of the gateway: a name, a unit, a default and the reason for it.
//!
//! [`Limits`] is the checked form; `limits:` in the configuration sets each of them by the same name. No value
//! means "no limit". The table [`SPECS`] is the single source for checking, the JSON Schema and the docs.

/// What one limit is called, which values it takes and why it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitSpec {
    /// Key below `limits:` in the configuration; ends with its unit.
    pub name: &'static str,
    /// Smallest accepted value.
    pub min: u64,
    /// Largest accepted value.
    pub max: u64,
    /// Value when the key is absent.
    pub default: u64,
    /// One sentence for the reference and for error messages.
    pub reason: &'static str,
}

macro_rules! limits {
    ($( $(#[$doc:meta])* $name:ident: $min:expr, $default:expr, $max:expr, $reason:expr; )*) => {
        /// All limits, checked. Units are in the names (`_bytes`, `_ms`, counts without one).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits { $( #[doc = $reason] pub $name: u64, )* }

        impl Default for Limits {
            fn default() -> Self { Limits { $( $name: $default, )* } }
        }

        /// Specification of every limit, in declaration order.
        pub const SPECS: &[LimitSpec] = &[ $( LimitSpec {
            name: stringify!($name), min: $min, max: $max, default: $default, reason: $reason,
        }, )* ];

        impl Limits {
            /// Sets the limit called `name`; false when there is none of that name. Does not check the range.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name { $( stringify!($name) => { self.$name = value; true } )* _ => false }
            }

            /// The value of the limit called `name`.
            pub fn get(&self, name: &str) -> Option<u64> {
                match name { $( stringify!($name) => Some(self.$name), )* _ => None }
            }
        }
    };
}

limits! {
    request_line_bytes_max: 256, 8192, 65536, "longest request line; longer ones are answered 431";
    head_bytes_max: 1024, 32768, 262144, "largest request or response head; a larger request head is answered 431";
    header_count_max: 8, 100, 256, "most header fields in one head; more are answered 431";
    body_bytes_max: 1024, 4194304, 67108864, "largest request body held for inspection; larger ones are answered 413";
    response_bytes_max: 1024, 16777216, 268435456, "largest upstream JSON answer held for inspection; larger ones become an error";
    sse_event_bytes_max: 1024, 4194304, 67108864, "largest single server-sent event; a larger one ends the stream with an error event";
    head_deadline_ms: 100, 10000, 600000, "time to receive a whole request head, from its first byte; then 408";
    body_deadline_ms: 100, 30000, 600000, "time to receive a whole request body; then 408";
    write_deadline_ms: 100, 30000, 600000, "time a client may refuse to take bytes before its connection is closed";
    keepalive_idle_ms: 100, 75000, 3600000, "time a client connection may stay open without a request";
    upstream_connect_ms: 10, 5000, 600000, "time to open a connection to a server; then 502";
    upstream_response_ms: 10, 60000, 3600000, "time a server may take to begin and finish a JSON answer; then 504";
    upstream_stream_idle_ms: 1000, 300000, 86400000, "silence allowed on an answer stream before it is ended with an error event";
    upstream_idle_ms: 10, 4000, 600000, "time a pooled upstream connection is kept; below the 5 s that common servers use";
    upstream_idle_max: 0, 256, 65536, "most idle connections kept for each server, over all workers";
    connections_max: 1, 16384, 1048576, "most client connections, over all workers; further ones are closed at once";
    streams_max: 1, 8192, 1048576, "most event streams open at one time, over all workers; then GET and subscriptions/listen are answered 503";
    buffered_bytes_max: 1048576, 536870912, 68719476736, "most bytes of bodies held at one time, over all workers; then 503";
    json_depth_max: 8, 64, 64, "deepest JSON nesting; deeper messages are refused";
    object_keys_max: 16, 10000, 1000000, "most members of one JSON object";
    id_bytes_max: 16, 256, 1024, "longest JSON-RPC string id, in bytes";
    decode_depth_max: 1, 3, 8, "deepest encoding within encodings that inspection undoes; what lies deeper cannot be looked into, and is blocked where something may be redacted";
    inflated_bytes_max: 4096, 1048576, 67108864, "most bytes that inspection inflates of one message's compressed texts; more are blocked in the same way";
    findings_max: 16, 4096, 65536, "most findings in one message; more block it";
    drain_ms: 0, 30000, 3600000, "time that requests in flight get after SIGTERM";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_lies_in_its_range_and_every_name_ends_with_a_unit() {
        for s in SPECS {
            assert!(s.min <= s.default && s.default <= s.max, "{}", s.name);
            assert!(s.name.ends_with("_ms") || s.name.ends_with("_max"), "{}", s.name);
            assert_eq!(Limits::default().get(s.name), Some(s.default));
        }
    }
}
