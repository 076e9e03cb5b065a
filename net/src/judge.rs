//! Parsing and inspection of one message, with memory that is kept between messages. Small messages are judged without
//! a pause; large ones are scanned in slices with real pauses, so that one of them cannot hold up its worker.

use crate::worker::{Ctx, Local};
use tidegate_core::json::{Doc, JsonError, JsonLimits, Parser};
use tidegate_inspect::message::{Inspector, Plan, Report, SLICE_BYTES};

/// A judge that has grown beyond this is not kept.
const KEPT_BYTES: usize = 1 << 20;

/// Parser, document and inspector.
pub struct Judge {
    parser: Parser,
    /// The parsed message.
    pub doc: Doc,
    inspector: Inspector,
    /// The redacted message, after [`tidegate_inspect::message::Verdict::Redacted`].
    pub out: Vec<u8>,
}

impl Judge {
    /// With these bounds on texts.
    pub fn new(limits: JsonLimits) -> Judge {
        Judge {
            parser: Parser::new(limits),
            doc: Doc::default(),
            inspector: Inspector::new(limits),
            out: Vec::new(),
        }
    }

    /// The bounds given at construction.
    pub fn limits(&self) -> JsonLimits {
        self.parser.limits()
    }

    /// Worth keeping for the next message.
    pub fn is_small(&self) -> bool {
        self.doc.padded().len().max(self.out.capacity()) <= KEPT_BYTES
    }

    /// Parses `wire` into `self.doc`.
    ///
    /// # Errors
    /// As [`Parser::parse`].
    pub fn parse(&mut self, wire: &[u8]) -> Result<(), JsonError> {
        self.parser.parse(wire, &mut self.doc)
    }

    /// Inspects the message parsed last; `wire` is its text.
    pub async fn inspect(&mut self, ctx: &Ctx, local: &Local, plan: &Plan, wire: &[u8]) -> Report {
        if plan.is_off() {
            return Report::default();
        }
        let engine = &local.snapshot.engine;
        self.inspector.start();
        while !self.inspector.scan_slice(engine, &mut local.scratch.borrow_mut(), &self.doc) {
            if wire.len() > 4 * SLICE_BYTES {
                ctx.pause.wait().await;
            }
        }
        let scratch = &mut local.scratch.borrow_mut();
        self.inspector.finish(engine, scratch, plan, &self.doc, wire, &mut self.out)
    }

    /// Inspects one string: the value of a header field that mirrors an argument.
    pub fn inspect_text(&mut self, local: &Local, plan: &Plan, text: &str, key: &str) -> (Report, String) {
        let scratch = &mut local.scratch.borrow_mut();
        self.inspector.inspect_text(&local.snapshot.engine, scratch, plan, text, Some(key))
    }
}
