//! Parsing and inspection of one message, with memory that is kept between messages. Small messages are judged without
//! a pause; large ones are scanned in slices with real pauses, so that one of them cannot hold up its worker.

use crate::worker::{Charge, Ctx, Local, charge};
use std::rc::Rc;
use tidegate_core::json::{Doc, JsonError, JsonLimits, Parser};
use tidegate_core::reason::Reason;
use tidegate_inspect::message::{Inspector, Opened, Plan, Report, SLICE_BYTES, Tokens};

/// A judge that has grown beyond this is not kept.
const KEPT_BYTES: usize = 2 << 20;

/// Parser, document and inspector.
pub struct Judge {
    parser: Parser,
    /// The parsed message.
    pub doc: Doc,
    inspector: Inspector,
    /// The redacted message, after [`tidegate_inspect::message::Verdict::Redacted`].
    pub out: Vec<u8>,
    charge: Option<Charge>,
}

impl Judge {
    /// With these bounds on texts.
    pub fn new(limits: JsonLimits) -> Judge {
        Judge {
            parser: Parser::new(limits),
            doc: Doc::default(),
            inspector: Inspector::new(limits),
            out: Vec::new(),
            charge: None,
        }
    }

    /// The bounds given at construction.
    pub fn limits(&self) -> JsonLimits {
        self.parser.limits()
    }

    /// Bytes of memory held.
    pub fn memory(&self) -> usize {
        self.doc.memory() + self.parser.memory() + self.inspector.memory() + self.out.capacity()
    }

    /// Worth keeping for the next message.
    pub fn is_small(&self) -> bool {
        self.memory() <= KEPT_BYTES
    }

    /// Parses `wire` into `self.doc`.
    ///
    /// # Errors
    /// As [`Parser::parse`].
    pub fn parse(&mut self, wire: &[u8]) -> Result<(), JsonError> {
        self.parser.parse(wire, &mut self.doc)
    }

    /// Reserves the memory of a large parsed message, which may be many times its text.
    ///
    /// # Errors
    /// [`Reason::Overloaded`].
    pub fn charge(&mut self, ctx: &Rc<Ctx>) -> Result<(), Reason> {
        let memory = self.memory();
        if memory > KEPT_BYTES { charge(&mut self.charge, ctx, memory) } else { Ok(()) }
    }

    /// Inspects the message parsed last; `wire` is its text.
    pub async fn inspect(&mut self, ctx: &Ctx, local: &Local, plan: &Plan, wire: &[u8]) -> Report {
        if plan.is_off() {
            return Report::default();
        }
        let engine = &local.snapshot.engine;
        self.inspector.start();
        while !self.inspector.scan_slice(engine, &mut local.scratch.borrow_mut(), plan, &self.doc) {
            if wire.len() > 4 * SLICE_BYTES {
                ctx.pause.wait().await;
            }
        }
        let scratch = &mut local.scratch.borrow_mut();
        self.inspector.finish(engine, scratch, plan, &self.doc, wire, &mut self.out)
    }

    /// Turns the tokens of the request `wire` back: the text is in [`Judge::out`] then.
    pub fn open_tokens(&mut self, tokens: &Tokens, wire: &[u8]) -> Option<Opened> {
        let mut out = Vec::new();
        let opened = self.inspector.open_tokens(tokens, wire, &mut out)?;
        self.out = out;
        Some(opened)
    }

    /// As [`Judge::open_tokens`], for the redacted request in [`Judge::out`].
    pub fn open_tokens_of_redacted(&mut self, tokens: &Tokens) -> Option<Opened> {
        let wire = std::mem::take(&mut self.out);
        let opened = self.open_tokens(tokens, &wire);
        if opened.is_none() {
            self.out = wire;
        }
        opened
    }

    /// Inspects one string: the value of a header field that mirrors an argument.
    pub fn inspect_text(&mut self, local: &Local, plan: &Plan, text: &str, key: &str) -> (Report, String) {
        let scratch = &mut local.scratch.borrow_mut();
        self.inspector.inspect_text(&local.snapshot.engine, scratch, plan, text, Some(key))
    }
}
