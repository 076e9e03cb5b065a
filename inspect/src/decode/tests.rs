use super::*;
use base64::Engine as _;
use tidegate_core::json::{JsonLimits, Parser};

/// Views of a document, each as text, and what each byte of it stands for.
fn views(json: &str) -> (Doc, Views) {
    let mut doc = Doc::default();
    Parser::new(JsonLimits::default()).parse(json.as_bytes(), &mut doc).expect("JSON");
    let mut views = Views::default();
    views.of(&doc, &DecodeBounds::default(), Joins::All);
    (doc, views)
}

/// In `value` as a JSON string, the text `says` is found in a view, and stands for `stands_for` of the string.
#[track_caller]
fn check(value: &str, says: &str, stands_for: &str) {
    let (doc, views) = views(&serde_json::json!({ "text": value }).to_string());
    let texts: Vec<&str> = views.all().iter().map(|v| views.str(v)).collect();
    let (view, at) = views
        .all()
        .iter()
        .find_map(|v| views.str(v).find(says).map(|at| (v, at)))
        .unwrap_or_else(|| panic!("{says:?} is in none of {texts:?}"));
    let origins = views.origins(view, at, at + says.len());
    assert_eq!(origins.len(), 1, "{origins:?}");
    assert_eq!(
        &doc.str(origins[0].tok)[origins[0].start..origins[0].end],
        stands_for,
        "{says:?} in {value:?}"
    );
}

#[track_caller]
fn check_none(json: &str) {
    let (_, views) = views(json);
    let texts: Vec<&str> = views.all().iter().map(|v| views.str(v)).collect();
    assert!(texts.is_empty() && !views.beyond, "{json}: {texts:?}");
}

#[test]
fn characters() {
    check("a %67%68p_1 b", "ghp_1", "%67%68p_1");
    check("a %2567%252568p_1 b", "ghp_1", "%2567%252568p_1");
    check("x=%C3%A9%41z", "éAz", "%C3%A9%41z");
    check("&#103;&#x68;p&lowbar;1", "ghp_1", "&#103;&#x68;p&lowbar;1");
    check("&amp;#103;hp", "ghp", "&amp;#103;hp");
    check("\\u0067\\x68\\u{70}_\\\\u0031.", "ghp_1", "\\u0067\\x68\\u{70}_\\\\u0031");
    check("\\ud83d\\ude00 g", "😀 g", "\\ud83d\\ude00 g");
    check("a g\u{200b}h\u{ad}p_\u{e0061}1 b", "ghp_1", "g\u{200b}h\u{ad}p_\u{e0061}1");
    check("ｇｈｐ＿１", "ghp_1", "ｇｈｐ＿１");
    check("𝗀𝗁𝗉_𝟏", "ghp_1", "𝗀𝗁𝗉_𝟏");
    check("gһр_1", "ghp_1", "gһр_1");
    check("٤١١١-1111", "4111-1111", "٤١١١-1111");
    check("4111\u{a0}1111", "4111 1111", "4111\u{a0}1111");
}

#[test]
fn layers_of_different_kinds() {
    // Percent-encoded Base64 of a text with entities.
    let inner = "&#103;hp_0123456789";
    let encoded = base64::prelude::BASE64_STANDARD.encode(inner);
    let outer: String = encoded.bytes().map(|b| format!("%{b:02x}")).collect();
    check(&format!("see {outer}."), "ghp_0123456789", &outer);
}

#[test]
fn ordinary_text_has_no_views() {
    for text in [
        "Ein Satz über Größe, и текст по-русски, 日本語のテキスト。",
        "100% sure & done; a=b&c=d \\ no \\n \\t escapes",
        "https://example.com/a%20b?x=1&y=2",
        "emoji 👍🏽 👩‍👩‍👧 ❤️ and flags 🇩🇪",
        "d41d8cd98f00b204e9800998ecf8427e 550e8400-e29b-41d4-a716-446655440000",
        "sha512-Fa2LPmgj7Wnq5+I7wX5cHO7GQcXyhfqqqlFNrJNpkWJAEY4VMzHeKNFSSfXPQwSXNcZDuN8gBNhpSrNFoOLFVA==",
        "/usr/local/share/applications/SomeThing-1.2.3/Contents",
        "internationalization of the characterization",
        "12 34 56 78 90 and 1 2 3 4 5",
    ] {
        check_none(&serde_json::json!({ "text": text }).to_string());
    }
}

#[test]
fn runs() {
    let secret = "token ghp_0123456789abcdef";
    let std = base64::prelude::BASE64_STANDARD.encode(secret);
    check(&format!("x {std} y"), "ghp_0123456789abcdef", &std);
    let url = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(secret);
    check(&format!("https://example.com/{url}"), "ghp_0123456789abcdef", &url);
    check(
        &base64::prelude::BASE64_STANDARD.encode(&std),
        "ghp_0123456789abcdef",
        &base64::prelude::BASE64_STANDARD.encode(&std),
    );
    let wrapped = format!("{}\n{}", &std[..20], &std[20..]);
    check(&wrapped, "ghp_0123456789abcdef", &wrapped);
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    check(&format!("({hex})"), "ghp_0123456789abcdef", &hex);
    for separator in [" ", ":", "-"] {
        let pairs: Vec<String> = secret.bytes().map(|b| format!("{b:02X}")).collect();
        let pairs = pairs.join(separator);
        check(&format!("hex {pairs}"), "ghp_0123456789abcdef", &pairs);
    }
    let spaced: Vec<String> = "ghp_0123456789abcdef".chars().map(String::from).collect();
    check(&spaced.join(" "), "ghp_0123456789abcdef", &spaced.join(" "));
}

#[test]
fn compressed_texts_and_their_bound() {
    use std::io::Write;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        base64::prelude::BASE64_STANDARD.encode(encoder.finish().unwrap())
    };
    let encoded = gzip(b"token ghp_0123456789abcdef");
    check(&encoded, "ghp_0123456789abcdef", &encoded);
    let most = DecodeBounds::default().inflated_bytes_max;
    for (size, beyond) in [(most, false), (most + 1, true)] {
        let (_, views) = views(&serde_json::json!([gzip(&vec![b'a'; size])]).to_string());
        assert_eq!(views.beyond, beyond, "{size}");
    }
}

#[test]
fn too_deep_is_reported() {
    let mut text = "ghp_0123456789abcdef".to_owned();
    for depth in 1..=4 {
        text = base64::prelude::BASE64_STANDARD.encode(&text);
        let (_, views) = views(&serde_json::json!([text]).to_string());
        assert_eq!(views.beyond, depth > DecodeBounds::default().depth_max, "{depth}");
    }
}

/// The text that pieces make, and how many strings it comes from.
#[track_caller]
fn check_joined(json: &str, says: &str, strings: usize) {
    let (_, views) = views(json);
    let texts: Vec<&str> = views.all().iter().map(|v| views.str(v)).collect();
    let found = views.all().iter().find_map(|v| views.str(v).find(says).map(|at| (v, at)));
    let (view, at) = found.unwrap_or_else(|| panic!("{says:?} is in none of {texts:?}"));
    assert_eq!(view.trust, Trust::Joined);
    assert_eq!(views.origins(view, at, at + says.len()).len(), strings, "{json}");
}

/// A long text of ordinary lines is no reason for a verdict.
#[test]
fn many_lines() {
    let line = "0123456789 ünïcode \"line\"\n2026-11-20T12:00:00Z info started/worker\n";
    let (_, views) = views(&serde_json::json!([line.repeat(20_000)]).to_string());
    assert!(!views.beyond);
}

#[test]
fn pieces() {
    let whole = "ghp_0123456789abcdef";
    check_joined(r#"{"a":"ghp_01234","b":"56789abcdef"}"#, whole, 2);
    check_joined(r#"{"a":"it is ghp_01234","n":1,"b":"56789abcdef indeed"}"#, whole, 2);
    check_joined(r#"["ghp_0","123","45","6789abcdef"]"#, whole, 4);
    check_joined(
        r#"{"result":{"content":[{"text":"part: ghp_01234"},{"text":"56789abcdef ok"}]}}"#,
        whole,
        2,
    );
    check_joined(r#"["ghp_01234\n  56789abcdef"]"#, whole, 1);
    check_joined(r#"["ghp_01234\n56789\nabcdef\n"]"#, whole, 1);
    check_joined(r#"["x = \"ghp_01234\" + \"56789abcdef\";"]"#, whole, 1);
    let single: Vec<String> = whole.chars().map(String::from).collect();
    check_joined(&serde_json::json!(single).to_string(), whole, whole.len());
}

/// Every view is UTF-8 and maps into the strings of its document, whatever the bytes.
#[test]
fn maps_stay_within_bounds() {
    let mut state = 7u64;
    let mut next = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let parts = [
        "%",
        "%4",
        "%41",
        "%25",
        "%C3%A9",
        "%ff",
        "&",
        "&#",
        "&#65;",
        "&#xfffffff;",
        "&amp;",
        "&lowbar;",
        "\\",
        "\\u",
        "\\u0041",
        "\\ud800",
        "\\ud83d\\ude00",
        "\\x4",
        "\\u{110000}",
        "é",
        "а",
        "ｇ",
        "\u{200b}",
        "😀",
        "\u{e0041}",
        "Zm9vYmFyYmF6cXV4Zm9v",
        "\n",
        "=",
        "\"",
        " + ",
        "66 6f 6f 62 61 72 62 61 7a 66 6f 6f",
        "x",
        " ",
        "a b c d e f g h i j k l m n",
        "/",
        "H4sIAAAAAAACA8tIzcnJBwCGphA2BQAAAA==",
    ];
    for _ in 0..3000 {
        let mut strings = Vec::new();
        for _ in 0..1 + next(3) {
            strings.push((0..next(12)).map(|_| parts[next(parts.len())]).collect::<String>());
        }
        let (doc, views) = views(&serde_json::json!(strings).to_string());
        for view in views.all() {
            let text = views.str(view);
            assert!(!text.is_empty());
            for (at, c) in text.char_indices() {
                for origin in views.origins(view, at, at + c.len_utf8()) {
                    let string = doc.str(origin.tok);
                    assert!(
                        string.get(origin.start..origin.end).is_some(),
                        "{origin:?} in {string:?} for {text:?}"
                    );
                }
            }
        }
    }
}

/// Prints the views of the JSON text in the file that TEXT names, and what deriving them costs.
#[test]
#[ignore = "a tool: prints, asserts nothing"]
fn views_of_a_file() {
    let json = std::fs::read_to_string(std::env::var("TEXT").expect("TEXT names a file")).expect("readable");
    let (doc, mut views) = views(&json);
    for view in views.all() {
        println!("{:?} {}", view.trust, views.str(view));
    }
    let rounds = 1 + (100 << 20) / json.len() / 4;
    let started = std::time::Instant::now();
    for _ in 0..rounds {
        views.of(&doc, &DecodeBounds::default(), Joins::Blocks);
    }
    let each = started.elapsed() / rounds as u32;
    println!("{} views, {} of {} bytes, {each:?}", views.all().len(), views.len(), json.len());
}
