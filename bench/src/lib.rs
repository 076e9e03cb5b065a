//! Sample messages for the criterion benchmarks in `benches/`. The side-by-side comparison with other proxies is
//! `compare.py`, its dated outcomes are in `results/`.
//!
//! All samples are seeded: the same on every machine and in every run. Their texts are the load generator's, so that
//! a stage is measured on what the whole is measured on.

pub mod call;

use tidegate_loadgen::payload::{self, Plant, Rng};

/// Sizes of whole messages: the smallest real call, a usual one, a page of rows, and a document.
pub const SIZES: [usize; 4] = [256, 1 << 10, 16 << 10, 1 << 20];
/// Below this, messages have the shape of the era with sessions: the stateless era's `_meta` would fill them.
const MODERN_BYTES_MIN: usize = 512;
/// One value is planted, and one more for each of these.
const BYTES_PER_PLANT: usize = 16 << 10;

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// A `tools/call` request.
    Request,
    /// Its answer.
    Response,
}

/// What it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// One long string of sentences, with escapes.
    Prose,
    /// An array of objects, as an API returns them: many short strings and numbers.
    Rows,
}

/// One message.
#[derive(Clone, Debug)]
pub struct Sample {
    /// For instance `response/rows/16384/planted`.
    pub name: String,
    /// Exactly as many bytes as its size says.
    pub json: String,
    /// The values planted in it: e-mail addresses, cards and tokens in turn.
    pub planted: Vec<String>,
}

/// Every combination of direction, content, size, clean and planted.
pub fn samples() -> Vec<Sample> {
    let mut all = Vec::new();
    for direction in [Direction::Request, Direction::Response] {
        for content in [Content::Prose, Content::Rows] {
            for size in SIZES {
                all.extend([false, true].map(|planted| sample(direction, content, size, planted)));
            }
        }
    }
    all
}

/// One message of exactly `size` bytes, which must be at least 256.
pub fn sample(direction: Direction, content: Content, size: usize, planted: bool) -> Sample {
    assert!(size >= SIZES[0], "{size} bytes do not hold a call and what is planted");
    let phrases: Vec<[String; 3]> = match planted {
        true => (0..(1 + size / BYTES_PER_PLANT) as u64).map(|n| Plant::of(n).phrase(n)).collect(),
        false => Vec::new(),
    };
    let (open, close) = envelope(direction, content, size >= MODERN_BYTES_MIN);
    let room = size - open.len() - close.len();
    let mut rng = Rng::new(size as u64);
    let middle = match content {
        Content::Prose => prose(&mut rng, room, &phrases),
        Content::Rows => rows(&mut rng, room, &phrases),
    };
    let words =
        [format!("{direction:?}"), format!("{content:?}"), size.to_string()].map(|w| w.to_lowercase());
    let name = words.join("/") + if planted { "/planted" } else { "/clean" };
    let planted = phrases.into_iter().map(|[_, value, _]| value).collect();
    Sample { name, json: open + &middle + &close, planted }
}

/// What precedes and follows the content: a string's inside or an array.
fn envelope(direction: Direction, content: Content, modern: bool) -> (String, String) {
    let (quote, field) = match content {
        Content::Prose => ("\"", "text"),
        Content::Rows => ("", "rows"),
    };
    let meta = match (direction, modern) {
        (_, false) => "",
        (Direction::Request, true) => {
            r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"sample","version":"1.0.0"},"io.modelcontextprotocol/clientCapabilities":{}}"#
        }
        (Direction::Response, true) => {
            r#","resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"sample","version":"1.0.0"}}"#
        }
    };
    match (direction, content) {
        (Direction::Request, _) => (
            format!(
                r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"lookup","arguments":{{"{field}":{quote}"#
            ),
            format!("{quote}}}{meta}}}}}"),
        ),
        (Direction::Response, Content::Prose) => (
            r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":""#.to_owned(),
            format!("\"}}]{meta}}}}}"),
        ),
        (Direction::Response, Content::Rows) => (
            r#"{"jsonrpc":"2.0","id":7,"result":{"content":[],"structuredContent":{"rows":"#.to_owned(),
            format!("}}{meta}}}}}"),
        ),
    }
}

/// `room` bytes of the inside of a JSON string, the phrases spread over it.
fn prose(rng: &mut Rng, room: usize, phrases: &[[String; 3]]) -> String {
    let mut out = String::with_capacity(room);
    for (n, phrase) in phrases.iter().enumerate() {
        let phrase = phrase.concat();
        let until = room * (n + 1) / (phrases.len() + 1);
        out += &escaped_prose(rng, until.saturating_sub(out.len() + phrase.len()));
        out += &phrase;
    }
    let rest = room - out.len();
    out + &escaped_prose(rng, rest)
}

/// Sentences that are `len` bytes when escaped.
fn escaped_prose(rng: &mut Rng, len: usize) -> String {
    let mut text = payload::prose(rng, len);
    let mut escaped = payload::escape(&text);
    while escaped.len() > len {
        text.pop();
        let over = escaped.len() - len;
        let keep =
            (0..=text.len().saturating_sub(over.saturating_sub(1))).rev().find(|&i| text.is_char_boundary(i));
        text.truncate(keep.unwrap_or(0));
        escaped = payload::escape(&text);
    }
    let missing = len - escaped.len();
    escaped + &".".repeat(missing)
}

/// An array of `room` bytes, the phrases as comments of rows spread over it.
fn rows(rng: &mut Rng, room: usize, phrases: &[[String; 3]]) -> String {
    const SMALLEST: usize = 32;
    let mut parts = Vec::new();
    let mut used = 2; // the brackets
    for (n, phrase) in phrases.iter().enumerate() {
        let row = format!(r#"{{"comment":"{}"}}"#, phrase.concat().trim());
        let until = room * (n + 1) / (phrases.len() + 1);
        let before = until.saturating_sub(used + row.len() + 2);
        if before >= SMALLEST {
            parts.push(inside_of_rows(rng, before));
            used += before + 1;
        }
        used += row.len() + 1;
        parts.push(row);
    }
    parts.push(inside_of_rows(rng, room - used));
    format!("[{}]", parts.join(","))
}

/// Rows without the brackets of their array.
fn inside_of_rows(rng: &mut Rng, len: usize) -> String {
    let array = payload::rows(rng, len + 2);
    array[1..array.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn samples_are_json_of_the_right_size_with_what_was_planted() {
        let all = samples();
        assert_eq!(all.len(), 2 * 2 * SIZES.len() * 2);
        for sample in &all {
            let size = sample.name.split('/').nth(2).expect("size").parse::<usize>().expect("number");
            assert_eq!(sample.json.len(), size, "{}", sample.name);
            let value: Value =
                serde_json::from_str(&sample.json).unwrap_or_else(|e| panic!("{}: {e}", sample.name));
            assert_eq!((&value["jsonrpc"], &value["id"]), (&Value::from("2.0"), &Value::from(7)));
            assert_eq!(sample.name.ends_with("planted"), !sample.planted.is_empty());
            assert!(sample.planted.iter().all(|v| sample.json.contains(v)), "{}", sample.name);
        }
    }

    #[test]
    fn samples_are_the_same_every_time() {
        let make = || sample(Direction::Response, Content::Rows, 16 << 10, true).json;
        assert_eq!(make(), make());
        assert_ne!(make(), sample(Direction::Response, Content::Prose, 16 << 10, true).json);
    }
}
