//! Source code and log lines: what a gateway sees when agents work on software. Nothing in them looks like an
//! address, a number of a person or a key.

use super::{Rng, cut_to};

const VERBS: &[&str] =
    &["load", "merge", "sort", "render", "queue", "split", "count", "update", "collect", "drop"];
const NOUNS: &[&str] =
    &["order", "page", "ticket", "label", "region", "draft", "shelf", "route", "batch", "row"];
const TYPES: &[&str] = &["usize", "&str", "Vec<Row>", "Option<Order>", "bool", "&mut Shelf"];
const COMMENTS: &[&str] = &[
    "// The caller has checked that there is room.",
    "// Sorted already: the index returns them that way.",
    "// A late update must not win over a newer one.",
    "// \"draft\" rows are shown, but never counted.",
];
const LEVELS: &[&str] = &["INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];
const PARTS: &[&str] = &["import", "search", "billing", "gateway", "mailer", "scheduler", "cache"];
const MESSAGES: &[&str] = &[
    "finished batch",
    "cache miss, loading from store",
    "retrying after a timeout",
    "page rendered",
    "connection returned to pool",
    "queue is longer than usual",
    "\"stock\" is below the threshold",
];

/// `len` bytes of source code.
pub fn code(rng: &mut Rng, len: usize) -> String {
    let mut text = String::with_capacity(len + 512);
    while text.len() < len {
        let (verb, noun, other) = (rng.pick(VERBS), rng.pick(NOUNS), rng.pick(NOUNS));
        let (kind, comment, number) = (rng.pick(TYPES), rng.pick(COMMENTS), rng.below(90));
        text += &format!(
            "fn {verb}_{noun}({other}: {kind}, limit: usize) -> Result<usize, Error> {{\n    {comment}\n    \
             let mut {noun}s = store.all(\"{noun}\")?;\n    {noun}s.retain(|r| r.{other} > {number});\n    \
             for r in {noun}s.iter_mut().take(limit) {{\n        r.state = State::{verb:?};\n    }}\n    \
             Ok({noun}s.len())\n}}\n\n"
        );
    }
    cut_to(text, len)
}

/// `len` bytes of log lines.
pub fn logs(rng: &mut Rng, len: usize) -> String {
    let mut text = String::with_capacity(len + 256);
    let mut second = rng.below(80_000);
    while text.len() < len {
        second += rng.below(4);
        let (hour, minute, rest) = (second / 3_600 % 24, second / 60 % 60, second % 60);
        text += &format!(
            "2026-03-14T{hour:02}:{minute:02}:{rest:02}Z {:<5} {}: {} took={}ms rows={}\n",
            rng.pick(LEVELS),
            rng.pick(PARTS),
            rng.pick(MESSAGES),
            rng.below(900),
            rng.below(500),
        );
    }
    cut_to(text, len)
}
