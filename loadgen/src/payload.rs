//! What the calls and answers carry: seeded text that looks like what MCP servers return, with nothing in it that a
//! gateway should redact, and fake personal data and secrets to plant in it on request. No I/O, no randomness
//! beyond the seed: generator and mock compute the same text independently.

mod technical;

pub use technical::{code, logs};

/// Texts differ from call to call so that no cache or branch predictor learns the one.
pub const VARIANTS: u64 = 8;

/// A small deterministic generator (splitmix64): enough for text, useless for keys.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Same seed, same sequence.
    pub fn new(seed: u64) -> Rng {
        Rng(seed)
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const SUBJECTS: &[&str] = &[
    "The quarterly report",
    "A delayed container",
    "The support team",
    "Our café in Zürich",
    "The maintenance window",
    "The new pricing page",
    "A customer from Köln",
    "The warehouse manager",
    "The nightly import",
    "This ticket",
    "The second draft",
    "An open invoice",
    "The onboarding guide",
    "The search index",
    "The field engineer",
];
const VERBS: &[&str] = &[
    "explains why",
    "was moved because",
    "confirms that",
    "still claims that",
    "shows how",
    "assumes that",
    "was reopened after",
    "depends on whether",
    "does not mention that",
    "was approved since",
];
const REST: &[&str] = &[
    "the delivery to the harbour took longer than planned",
    "two of the pumps were replaced in spring",
    "the discount applies to annual plans only",
    "the translation of the manual is missing a chapter",
    "nobody had checked the \"draft\" flag",
    "the numbers for March were counted twice",
    "the backup finished within the hour",
    "the label on the crate was smudged",
    "stock in the northern region is running low",
    "the old form is kept until the end of the year",
    "the answer should be read by a person first",
    "both sides agreed on a later date",
];
const CUSTOMERS: &[&str] = &[
    "Harbour Tools",
    "Nordlicht Optik",
    "Blue Kettle",
    "Atelier Müller",
    "Fernweh Travel",
    "Quarry & Sons",
    "Paper Mill 9",
];
const STATUSES: &[&str] = &["open", "shipped", "delivered", "returned", "on hold", "cancelled"];
const CURRENCIES: &[&str] = &["EUR", "USD", "CHF", "GBP", "SEK"];

/// `len` bytes of prose, cut at a character boundary and filled up with full stops.
pub fn prose(rng: &mut Rng, len: usize) -> String {
    let mut text = String::with_capacity(len + 128);
    while text.len() < len {
        for part in [rng.pick(SUBJECTS), " ", rng.pick(VERBS), " ", rng.pick(REST)] {
            text.push_str(part);
        }
        text.push_str(if rng.below(5) == 0 { ".\n" } else { ". " });
    }
    cut_to(text, len)
}

/// The first `len` bytes, filled up with full stops where a character would be cut.
fn cut_to(mut text: String, len: usize) -> String {
    let cut = (0..=len).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    text.truncate(cut);
    text.extend(std::iter::repeat_n('.', len - cut));
    text
}

/// `len` bytes of a JSON array of order rows, as an API would return them; prose if `len` is too small for a row.
pub fn rows(rng: &mut Rng, len: usize) -> String {
    const LAST: (&str, &str) = (r#"{"note":""#, r#""}]"#);
    let tail_min = LAST.0.len() + LAST.1.len();
    let mut text = String::with_capacity(len);
    text.push('[');
    loop {
        let row = row(rng);
        if text.len() + row.len() + 1 + tail_min > len {
            break;
        }
        text.push_str(&row);
        text.push(',');
    }
    if text.len() + tail_min > len {
        return prose(rng, len);
    }
    let note = prose(rng, len - text.len() - tail_min).replace(['"', '\n'], " ");
    text + LAST.0 + &note + LAST.1
}

/// One order as a JSON object.
pub fn row(rng: &mut Rng) -> String {
    format!(
        r#"{{"order":"ORD-{:05}","customer":"{}","status":"{}","total":{}.{:02},"currency":"{}","items":{},"express":{},"updated":"2026-{:02}-{:02}","comment":"{}"}}"#,
        rng.below(100_000),
        rng.pick(CUSTOMERS),
        rng.pick(STATUSES),
        rng.below(4_000),
        rng.below(100),
        rng.pick(CURRENCIES),
        1 + rng.below(12),
        rng.below(2) == 0,
        1 + rng.below(12),
        1 + rng.below(28),
        rng.pick(REST).replace('"', "'"),
    )
}

/// What texts are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Payload {
    /// Prose and API JSON in turn.
    Documents,
    /// An array of order rows, as an API returns them.
    ApiJson,
    /// Sentences, some with characters beyond ASCII.
    Prose,
    /// Source code.
    Code,
    /// Log lines.
    Logs,
    /// All four in turn.
    Mixed,
}

/// The form of one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Sentences.
    Prose,
    /// A JSON array.
    Rows,
    /// Source code.
    Code,
    /// Log lines.
    Logs,
}

impl Payload {
    /// The form of a variant.
    pub fn form(self, variant: u64) -> Form {
        match (self, variant % 4) {
            (Payload::Prose, _) | (Payload::Documents, 0 | 2) | (Payload::Mixed, 0) => Form::Prose,
            (Payload::ApiJson, _) | (Payload::Documents, _) | (Payload::Mixed, 1) => Form::Rows,
            (Payload::Code, _) | (Payload::Mixed, 2) => Form::Code,
            (Payload::Logs, _) | (Payload::Mixed, _) => Form::Logs,
        }
    }

    /// Clean text of `len` bytes, unescaped; same arguments, same bytes.
    pub fn text(self, seed: u64, variant: u64, len: usize) -> String {
        text(self.form(variant), seed, variant, len)
    }
}

/// Clean text of `len` bytes in one form, unescaped.
pub fn text(form: Form, seed: u64, variant: u64, len: usize) -> String {
    let mut rng = Rng::new(seed ^ (variant + 1).wrapping_mul(0xa076_1d64_78bd_642f));
    match form {
        Form::Prose => prose(&mut rng, len),
        Form::Rows => rows(&mut rng, len),
        Form::Code => code(&mut rng, len),
        Form::Logs => logs(&mut rng, len),
    }
}

/// The inside of a JSON string literal of exactly `len` bytes: as much of `text` as fits, then full stops.
pub fn escape_to(text: &str, len: usize) -> String {
    let mut used = 0;
    let fits = text.char_indices().find(|&(_, c)| {
        used += match c {
            '"' | '\\' | '\n' | '\r' | '\t' => 2,
            c if c < ' ' => 6,
            c => c.len_utf8(),
        };
        used > len
    });
    let mut escaped = escape(&text[..fits.map_or(text.len(), |(at, _)| at)]);
    escaped.extend(std::iter::repeat_n('.', len.saturating_sub(escaped.len())));
    escaped
}

/// The inside of a JSON string literal with the meaning of `text`.
pub fn escape(text: &str) -> String {
    let quoted = serde_json::to_string(text).expect("a string is always JSON");
    quoted[1..quoted.len() - 1].to_owned()
}

/// Fake sensitive values, one kind per call in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// An e-mail address.
    Email,
    /// A card number with a right check digit, in groups of four.
    Card,
    /// A GitHub token with a right checksum.
    Token,
}

impl Plant {
    /// The kind that call `seq` plants.
    pub fn of(seq: u64) -> Plant {
        [Plant::Email, Plant::Card, Plant::Token][(seq % 3) as usize]
    }

    /// A phrase around the value of call `seq`: what precedes it, the value, what follows. All need no escaping.
    pub fn phrase(self, seq: u64) -> [String; 3] {
        let mut rng = Rng::new(seq);
        let (before, value, after) = match self {
            Plant::Email => (" Please write to ", email(&mut rng), " about it. "),
            Plant::Card => (" The credit card number is ", card(&mut rng), " as agreed. "),
            Plant::Token => (" Deploys used the token ", github_token(&mut rng), " until May. "),
        };
        [before.to_owned(), value, after.to_owned()]
    }
}

fn email(rng: &mut Rng) -> String {
    let first = rng.pick(&["maria", "jonas", "aylin", "peter", "chloe", "tomasz"]);
    let last = rng.pick(&["lindqvist", "okafor", "brandt", "keller", "moreau", "nowak"]);
    let at = rng.pick(&["harbourtools.com", "nordlicht-optik.de", "bluekettle.co.uk", "quarry-sons.net"]);
    format!("{first}.{last}@{at}")
}

/// Sixteen digits in the ranges of an issuer (4..., 51-55...) with a right Luhn digit.
fn card(rng: &mut Rng) -> String {
    let mut digits: Vec<u8> = if rng.below(2) == 0 { vec![4, 5] } else { vec![5, 2] };
    while digits.len() < 15 {
        digits.push(rng.below(10) as u8);
    }
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, &d)| match (i % 2, u32::from(d) * 2) {
            (0, twice) if twice > 9 => twice - 9,
            (0, twice) => twice,
            _ => u32::from(d),
        })
        .sum();
    digits.push(((10 - sum % 10) % 10) as u8);
    let groups: Vec<String> =
        digits.chunks(4).map(|g| g.iter().map(|d| char::from(b'0' + d)).collect()).collect();
    groups.join(" ")
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Thirty random characters and their CRC-32 in base 62. Put together here so that no token stands in the source.
fn github_token(rng: &mut Rng) -> String {
    let body: String = (0..30).map(|_| char::from(BASE62[rng.below(62)])).collect();
    let mut crc = crc32(body.as_bytes());
    let mut sum = [b'0'; 6];
    for slot in sum.iter_mut().rev() {
        *slot = BASE62[(crc % 62) as usize];
        crc /= 62;
    }
    format!("gh{}_{body}{}", 'p', String::from_utf8_lossy(&sum))
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { c >> 1 ^ 0xedb8_8320 } else { c >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_have_the_size_asked_for_and_differ() {
        for payload in <Payload as clap::ValueEnum>::value_variants() {
            for len in [0, 1, 17, 64, 255, 1024, 16_384] {
                for variant in 0..VARIANTS {
                    let t = payload.text(7, variant, len);
                    assert_eq!(t.len(), len, "{payload:?} {variant}");
                    assert_eq!(t, payload.text(7, variant, len), "same seed, same text");
                    assert_eq!(escape_to(&t, len).len(), len);
                    if len > 1000 {
                        assert_ne!(t, payload.text(7, (variant + 4) % VARIANTS, len));
                        assert_ne!(t, payload.text(8, variant, len));
                        let is_json = serde_json::from_str::<serde_json::Value>(&t).is_ok();
                        assert_eq!(payload.form(variant) == Form::Rows, is_json);
                    }
                }
            }
        }
    }

    #[test]
    fn escaped_text_is_cut_between_characters() {
        for len in 0..24 {
            let escaped = escape_to("a\"b\nc\\d\u{1}é", len);
            assert_eq!(escaped.len(), len);
            let text: String = serde_json::from_str(&format!("\"{escaped}\"")).expect("a JSON string");
            assert!("a\"b\nc\\d\u{1}é".starts_with(text.trim_end_matches('.')));
        }
    }

    #[test]
    fn planted_values_pass_the_checks_of_a_validator() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        for seq in 0..300 {
            let [before, value, after] = Plant::of(seq).phrase(seq);
            let phrase = format!("{before}{value}{after}");
            assert_eq!(escape(&phrase), phrase, "needs no escaping");
            match Plant::of(seq) {
                Plant::Email => assert!(value.contains('@')),
                Plant::Token => assert_eq!(value.len(), 40),
                Plant::Card => {
                    let digits: Vec<u32> = value.chars().filter_map(|c| c.to_digit(10)).collect();
                    let luhn: u32 = digits
                        .iter()
                        .rev()
                        .enumerate()
                        .map(|(i, &d)| if i % 2 == 1 { d * 2 / 10 + d * 2 % 10 } else { d })
                        .sum();
                    assert_eq!((digits.len(), luhn % 10), (16, 0), "{value}");
                }
            }
        }
    }
}
