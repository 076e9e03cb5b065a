use super::*;
use crate::Context;
use crate::search::Method;

fn import(text: &str) -> Import {
    gitleaks(text, &["built-in".into()]).unwrap_or_else(|e| panic!("{e}"))
}

/// What the imported rules find in `text`, as rule id and value.
fn found(toml: &str, text: &str, key: Option<&str>) -> Vec<(String, String)> {
    let files = [RuleFile { path: "t.toml".into(), text: toml.into() }];
    let sources = Sources {
        builtin: false,
        custom: &[],
        files: &files,
        disabled: &[],
        cache: None,
        method: Method::Fast,
    };
    let engine = Engine::from_sources(&sources).unwrap_or_else(|e| panic!("{e:?}\n{toml}"));
    let ctx = Context { key, ..Context::default() };
    let found = engine.scan_text(&mut engine.new_scratch().expect("memory"), text, &ctx);
    found.iter().map(|f| (engine.rule(f.rule).id.clone(), text[f.start..f.end].to_owned())).collect()
}

/// Exactly these notes, by rule and a part of the text.
#[track_caller]
fn check_notes(import: &Import, expect: &[(&str, &str)]) {
    let got: Vec<String> =
        import.notes.iter().map(|n| format!("{}: {}", n.rule.as_deref().unwrap_or("file"), n.text)).collect();
    for (rule, needle) in expect {
        let there = got.iter().any(|n| n.starts_with(&format!("{rule}: ")) && n.contains(needle));
        assert!(there, "no note for {rule} with {needle:?} in {got:#?}");
    }
    assert_eq!(got.len(), expect.len(), "{got:#?}");
}

const FILE: &str = r#"
title = "test"
[extend]
useDefault = true
disabledRules = ["aws-access-token"]

[allowlist]
paths = ['''\.png$''']
regexes = ['''^xkey-0+$''', '''a*''']
stopwords = ["dummy"]

[[rules]]
id = "Acme_Key"
description = "Acme's key"
regex = '''\b(xkey-[0-9a-f]{16})(?:[\x60'"\s;]|\\[nr]|$)'''
entropy = 2
keywords = ["xkey-"]
tags = ["key"]
[[rules.allowlists]]
regexTarget = "line"
regexes = ['''# sample''']
[[rules.allowlists]]
condition = "AND"
paths = ['''x''']
regexes = ['''y''']

[[rules]]
id = "acme-secret"
description = "named"
regex = '''(?i)[\w.-]{0,50}?(?:acme|acm[_-]?e)(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}([a-z0-9]{20})(?:[\x60'"\s;]|\\[nr]|$)'''
keywords = ["acme"]

[[rules]]
id = "second-group"
regex = '''user=(\w{3,9})&pin=(\w{4,})'''
secretGroup = 2

[[rules]]
id = "bare"
regex = '''\b[0-9a-f]{32}\b'''
keywords = ["vaultx"]

[[rules]]
id = "nothing-fixed"
regex = '''\b[0-9a-f]{32}\b'''

[[rules]]
id = "names-only"
path = '''\.p12$'''

[[rules]]
id = "unicode"
regex = '''\pL{9}'''

[[rules]]
id = "built-in"
regex = '''abcdef'''

[[rules]]
id = "no-such-group"
regex = '''abcdef'''
secretGroup = 3
"#;

#[test]
fn a_configuration_with_everything() {
    let import = import(FILE);
    check_notes(
        &import,
        &[
            ("file", "[extend] is not followed"),
            ("file", "inspection.disabled_rules: [aws-access-token]"),
            ("acme-key", "is called `acme-key` here"),
            ("acme-key", "tags"),
            ("acme-key", "must hold together"),
            ("acme-key", "\"a*\" is left out"),
            ("acme-secret", "\"a*\" is left out"),
            ("second-group", "\"a*\" is left out"),
            ("bare", "no fixed text"),
            ("bare", "\"a*\" is left out"),
            ("nothing-fixed", "no 3 fixed characters"),
            ("names-only", "file names"),
            ("unicode", "Unicode class"),
            ("no-such-group", "there are 0 groups"),
        ],
    );
    assert_eq!((import.read, import.rules), (9, 4));
    assert_eq!(import.known, ["built-in"]);
    assert_eq!(import.notes.iter().filter(|n| n.left_out).count(), 4);
    let of = |text: &str| {
        found(&import.toml, text, None).iter().map(|(id, v)| format!("{id} {v}")).collect::<Vec<_>>()
    };
    assert_eq!(of("k: xkey-0123456789abcdef;"), ["acme-key xkey-0123456789abcdef"]);
    for nothing in [
        "xkey-0000000000000000",
        "xkey-0123456789abcdef # sample",
        "xkey-0000000000000001",
        "xkey-0123456789abcdefX",
        "9e107d9d372bb6826bd81d3542a419d6",
    ] {
        assert_eq!(of(nothing), [""; 0], "{nothing}");
    }
    assert_eq!(of("ACME_TOKEN = \"abcdefghij0123456789\""), ["acme-secret abcdefghij0123456789"]);
    assert_eq!(of("acme: dummyefghij0123456789"), [""; 0], "a stop word of the whole file");
    assert_eq!(of("user=jane&pin=1234 x"), ["second-group 1234"]);
    assert_eq!(of("vaultx_id = 9e107d9d372bb6826bd81d3542a419d6"), ["bare 9e107d9d372bb6826bd81d3542a419d6"]);
    // Names are also those of JSON members.
    let member = found(&import.toml, "abcdefghij0123456789", Some("acmeToken"));
    assert_eq!(member.len(), 1, "{member:?}");
}

#[test]
fn what_is_no_configuration() {
    for (text, needle) in [("", "no [[rules]]"), ("rules = 1", "no [[rules]]"), ("a = 1\n[[", "line 2")] {
        let error = gitleaks(text, &[]).expect_err(text);
        assert!(error.contains(needle), "{error}");
    }
    // Wrong types are like missing keys.
    let odd =
        import("[[rules]]\nid = 1\nregex = 2\n[[rules]]\nregex = 'abcdef'\nentropy = 'x'\nkeywords = 3\n");
    assert_eq!(odd.rules, 1, "{odd:?}");
}

#[test]
fn strings_survive() {
    for s in ["", "a", "it's", "'''", "ends'", "a\nb\u{7f}\"\\", "é '' x"] {
        let table: Table = format!("k = {}", quoted(s)).parse().unwrap_or_else(|e| panic!("{s:?}: {e}"));
        assert_eq!(string(&table, "k"), Some(s));
    }
}

/// A damaged file is refused with something to read, or imported; it never stops the process. The same for rule files.
#[test]
fn damaged_files_are_answered() {
    const MARKS: &[u8] = b"[](){}|\\?*+^$-:<>='\"\n,.#aP9\xc3";
    let whole = import(FILE).toml;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut read, mut refused) = (0, 0);
    for round in 0..400 {
        let mut bytes = if round % 2 == 0 { FILE } else { &whole }.as_bytes().to_vec();
        for _ in 0..=next(4) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = MARKS[next(MARKS.len())],
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, MARKS[next(MARKS.len())]),
            }
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match gitleaks(&text, &[]) {
            Ok(import) => {
                read += 1;
                assert!(import.notes.iter().all(|n| !n.text.is_empty()), "{text}");
            }
            Err(e) => {
                refused += 1;
                assert!(!e.is_empty(), "{text}");
            }
        }
        let mut mistakes = Vec::new();
        let files = [RuleFile { path: "t.toml".into(), text }];
        let rules = crate::rules::of_files(&files, &mut mistakes);
        assert!(mistakes.iter().all(|m| m.starts_with("t.toml")), "{mistakes:?}");
        assert!(rules.len() <= 16);
    }
    assert!(read > 20 && refused > 20, "{read} {refused}");
}
