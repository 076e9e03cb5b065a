//! One call through everything the gateway does with its bytes, without sockets: heads, JSON, envelope, inspection both
//! ways, audit records. What a socket costs is the kernel's; this is ours, and it can be counted exactly.

use crate::{Content, Direction, Sample, sample};
use tidegate_core::audit::{CallRecord, Hash, Position, finish};
use tidegate_core::config::{Actions, Mode};
use tidegate_core::http1::HeadLimits;
use tidegate_core::http1::reader::{Message, RequestReader, ResponseReader, Step};
use tidegate_core::http1::request::{Known, RequestHead};
use tidegate_core::http1::response::ResponseHead;
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_core::jsonrpc::{Id, McpHeaders, client_message, server_message};
use tidegate_inspect::message::{Inspector, Plan, Verdict};
use tidegate_inspect::{Engine, Scratch};

const LIMITS: HeadLimits = HeadLimits { line_bytes_max: 8192, head_bytes_max: 32768, header_count_max: 100 };
const BODY_BYTES_MAX: usize = 8 << 20;
const ID_BYTES_MAX: usize = 256;

/// What a worker keeps between calls.
pub struct Worker<'a> {
    engine: &'a Engine,
    plan: Plan,
    scratch: Scratch,
    parser: Parser,
    doc: Doc,
    inspector: Inspector,
    redacted: Vec<u8>,
    request_head: RequestHead,
    response_head: ResponseHead,
    buf: Vec<u8>,
    record: Vec<u8>,
}

/// A request and its answer, as they come over the wire.
pub struct Call {
    request: Vec<u8>,
    response: Vec<u8>,
    planted: bool,
}

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes to the server.
    pub to_server: usize,
    /// Bytes to the client.
    pub to_client: usize,
    /// Bytes of audit lines.
    pub recorded: usize,
}

impl Call {
    /// A small request and an answer of `response_bytes`; `planted`: with values that must be redacted.
    pub fn new(response_bytes: usize, planted: bool) -> Call {
        let request = sample(Direction::Request, Content::Prose, 512, planted);
        let response = sample(Direction::Response, Content::Rows, response_bytes, planted);
        Call { request: request_bytes(&request), response: response_bytes_of(&response), planted }
    }
}

fn request_bytes(sample: &Sample) -> Vec<u8> {
    let head = format!(
        "POST /mcp/crm HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\nAccept: application/json, \
         text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: lookup\r\n\
         User-Agent: sample/1.0\r\nContent-Length: {}\r\n\r\n",
        sample.json.len()
    );
    (head + &sample.json).into_bytes()
}

fn response_bytes_of(sample: &Sample) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        sample.json.len()
    );
    (head + &sample.json).into_bytes()
}

impl<'a> Worker<'a> {
    /// A worker that redacts.
    ///
    /// # Panics
    /// When there is no memory for Hyperscan's scratch.
    pub fn new(engine: &'a Engine) -> Worker<'a> {
        let actions = Actions { default: Mode::Redact, types: Default::default() };
        Worker {
            engine,
            plan: Plan::new(engine, &actions, usize::MAX),
            scratch: engine.new_scratch().expect("scratch"),
            parser: Parser::new(JsonLimits::default()),
            doc: Doc::default(),
            inspector: Inspector::new(JsonLimits::default()),
            redacted: Vec::new(),
            request_head: RequestHead::default(),
            response_head: ResponseHead::default(),
            buf: Vec::new(),
            record: Vec::new(),
        }
    }

    /// The whole way of one call.
    ///
    /// # Panics
    /// When a stage refuses the sample, or redacts it although nothing is planted, or not although something is.
    pub fn carry(&mut self, call: &Call) -> Outcome {
        let mut record = CallRecord {
            trace_id: "0af7651916cd43dd8448eb211c80319c",
            identity: "anonymous",
            server: Some("crm"),
            method: "tools/call",
            args_hash: Hash::Later,
            timestamp_ms: 1_700_000_000_000,
            status: 200,
            peer: "127.0.0.1:40000",
            ..CallRecord::default()
        };
        // To the server.
        self.take(&call.request);
        let body = self.read_request();
        let wire = &self.buf[body.body.clone()];
        self.parser.parse(wire, &mut self.doc).expect("strict JSON");
        let value = |k| self.request_head.value(&self.buf, k);
        let headers = McpHeaders {
            version: value(Known::ProtocolVersion),
            method: value(Known::McpMethod),
            name: value(Known::McpName),
        };
        let message = client_message(&self.doc, &headers, ID_BYTES_MAX).expect("a valid call");
        let id = Id::copy(&self.doc, message.id.expect("an id"), wire);
        let tool = self.doc.str(message.name.expect("a tool")).to_owned();
        let redacted = self.inspect(&body);
        assert_eq!(redacted, call.planted, "the request");
        let mut out = Vec::with_capacity(512);
        out.extend_from_slice(
            b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nContent-Type: application/json\r\n",
        );
        for (known, name, value) in self.request_head.iter_known(&self.buf) {
            let passes = matches!(
                known,
                Some(
                    Known::Accept
                        | Known::UserAgent
                        | Known::ProtocolVersion
                        | Known::McpMethod
                        | Known::McpName
                )
            );
            if passes {
                out.extend_from_slice(name);
                out.extend_from_slice(b": ");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
        }
        out.extend_from_slice(b"\r\n");
        let to_server = out.len() + if redacted { self.redacted.len() } else { body.body.len() };
        (record.tool, record.request_id) = (Some(tool.as_str()), Some(id.as_json()));
        record.encode_intent(&mut self.record);
        let mut recorded = self.record.len();
        // And back.
        self.take(&call.response);
        let body = self.read_response();
        self.parser.parse(&self.buf[body.body.clone()], &mut self.doc).expect("strict JSON");
        let answer = server_message(&self.doc, ID_BYTES_MAX).expect("a valid answer");
        assert!(id.matches(&self.doc, answer.id.expect("an id")));
        let redacted = self.inspect(&body);
        assert_eq!(redacted, call.planted, "the answer");
        let to_client = if redacted { self.redacted.len() } else { body.body.len() };
        record.response_hash = Hash::Later;
        record.encode(&mut self.record);
        finish(&mut self.record, Position { boot: "0123456789abcdef", core: 0, seq: 1 });
        recorded += self.record.len();
        Outcome { to_server, to_client, recorded }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.buf.clear();
        self.buf.extend_from_slice(bytes);
    }

    fn read_request(&mut self) -> Message {
        let mut reader = RequestReader::new(LIMITS, BODY_BYTES_MAX);
        loop {
            match reader.advance(&mut self.buf, &mut self.request_head).expect("a valid request") {
                Step::Message(message) => return message,
                Step::Head => {}
                Step::More => panic!("the request is cut short"),
            }
        }
    }

    fn read_response(&mut self) -> Message {
        let mut reader = ResponseReader::new(LIMITS, BODY_BYTES_MAX, false);
        loop {
            match reader.advance(&mut self.buf, &mut self.response_head).expect("a valid answer") {
                Step::Message(message) => return message,
                Step::Head => {}
                Step::More => panic!("the answer is cut short"),
            }
        }
    }

    fn inspect(&mut self, body: &Message) -> bool {
        let wire = &self.buf[body.body.clone()];
        let Worker { engine, scratch, plan, doc, inspector, redacted, .. } = self;
        let report = inspector.inspect(engine, scratch, plan, doc, wire, redacted);
        assert_ne!(report.verdict, Verdict::Blocked);
        report.verdict == Verdict::Redacted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_carried_whole() {
        let engine = Engine::builtin().expect("the built-in rules");
        let mut worker = Worker::new(&engine);
        for size in [1 << 10, 16 << 10] {
            let clean = worker.carry(&Call::new(size, false));
            assert_eq!(clean.to_client, size);
            assert!(clean.to_server > 512 && clean.recorded > 600, "{clean:?}");
            let planted = worker.carry(&Call::new(size, true));
            assert_ne!(planted.to_client, size, "redacted");
        }
    }
}
