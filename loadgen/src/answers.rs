//! The answers of the mock server to `tools/call`, as the pieces they are put together from: the mock joins them,
//! the generator compares them one by one, and neither copies a megabyte to do so.

use crate::marker::MARKER_LEN;
use crate::payload::{self, Payload, VARIANTS};
use crate::requests::Era;

/// Smallest result text: a marker, a line end and a few words.
pub const RESULT_BYTES_MIN: usize = 64;
/// Largest result text: with JSON escapes it still fits [`crate::http::BODY_BYTES_MAX`].
pub const RESULT_BYTES_MAX: usize = 16 << 20;
/// Seed of all result texts, so that generator and mock agree without talking.
const SEED: u64 = 0x7469_6465;

/// The result texts of one size, each cut in two where something can be planted.
#[derive(Debug)]
pub struct Texts {
    size: usize,
    plain: Vec<[String; 2]>,
    escaped: Vec<[String; 2]>,
}

impl Texts {
    /// Texts that make results of `size` bytes, counted before JSON escaping and with the marker line.
    pub fn new(size: usize, payload: Payload, seed: u64) -> Texts {
        let halves = |variant| {
            let text = payload.text(SEED ^ seed, variant, size.saturating_sub(MARKER_LEN + 1));
            let cut = (0..=text.len() / 2).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
            [text[..cut].to_owned(), text[cut..].to_owned()]
        };
        let plain: Vec<[String; 2]> = (0..VARIANTS).map(halves).collect();
        let escaped = plain.iter().map(|[a, b]| [payload::escape(a), payload::escape(b)]).collect();
        Texts { size, plain, escaped }
    }

    /// Bytes of a result text without anything planted.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Both halves as they are meant, for the call numbered `seq`.
    pub fn plain(&self, seq: u64) -> &[String; 2] {
        &self.plain[(seq % VARIANTS) as usize]
    }

    /// The pieces of the answer to one call. `id` is the JSON text of the request's id, `planted` is a phrase of
    /// [`payload::Plant::phrase`].
    pub fn answer<'a>(
        &'a self,
        era: Era,
        id: &'a [u8],
        marker: &'a [u8],
        seq: u64,
        planted: Option<&'a [String; 3]>,
    ) -> [&'a [u8]; 11] {
        let [head, tail] = &self.escaped[(seq % VARIANTS) as usize];
        let planted = planted.map(|p| p.each_ref().map(|s| s.as_bytes())).unwrap_or([b"", b"", b""]);
        let (open, close): (&[u8], &[u8]) = match era {
            Era::Legacy => (br#","result":{"content":[{"type":"text","text":""#, br#""}],"isError":false}}"#),
            Era::Modern => (
                br#","result":{"resultType":"complete","content":[{"type":"text","text":""#,
                br#""}],"isError":false,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mock","version":"1.0.0"}}}}"#,
            ),
        };
        let start = br#"{"jsonrpc":"2.0","id":"#;
        let [before, value, after] = planted;
        [start, id, open, marker, b"\\n", head.as_bytes(), before, value, after, tail.as_bytes(), close]
    }
}

/// The URI of a text that the mock serves as a resource, and how many bytes it has.
pub fn resource_bytes(uri: &str) -> Option<usize> {
    let bytes = uri.strip_prefix("mock://text/")?.parse().ok()?;
    (1..=RESULT_BYTES_MAX).contains(&bytes).then_some(bytes)
}

/// The text of that resource.
pub fn resource(bytes: usize, payload: Payload, seed: u64) -> String {
    payload.text(SEED ^ seed, 0, bytes)
}

/// `bytes` is exactly the concatenation of `pieces`.
pub fn is_concatenation(bytes: &[u8], pieces: &[&[u8]]) -> bool {
    pieces.iter().try_fold(bytes, |rest, piece| rest.strip_prefix(*piece)).is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker;
    use crate::payload::Plant;
    use serde_json::Value;

    #[test]
    fn answers_are_json_of_the_size_asked_for() {
        for size in [RESULT_BYTES_MIN, 1024, 16_384] {
            let texts = Texts::new(size, Payload::Documents, 0);
            for seq in 0..VARIANTS {
                for era in [Era::Legacy, Era::Modern] {
                    let mark = marker::render(3, seq);
                    let body = texts.answer(era, br#""a-1""#, &mark, seq, None).concat();
                    let value: Value = serde_json::from_slice(&body).expect("JSON");
                    let text = value["result"]["content"][0]["text"].as_str().expect("text");
                    assert_eq!((text.len(), &value["id"]), (size, &Value::from("a-1")));
                    assert!(text.starts_with("mark-"));
                    assert!(is_concatenation(&body, &texts.answer(era, br#""a-1""#, &mark, seq, None)));
                    assert!(!is_concatenation(
                        &body[..body.len() - 1],
                        &texts.answer(era, br#""a-1""#, &mark, seq, None)
                    ));
                    let phrase = Plant::of(seq).phrase(seq);
                    let body = texts.answer(era, b"1", &mark, seq, Some(&phrase)).concat();
                    let value: Value = serde_json::from_slice(&body).expect("JSON");
                    let text = value["result"]["content"][0]["text"].as_str().expect("text");
                    assert!(text.contains(&phrase.concat()));
                }
            }
        }
    }
}
