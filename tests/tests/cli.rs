//! The command line: what it prints, where, and with which exit code it ends.

use std::{
    fs::{self, File},
    net::{SocketAddr, TcpListener},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tidegate_tests::{Process, TempDir, project, raw, wait};

/// What a command printed and how it ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.out.lines().map(parse).collect()
    }
}

/// Runs `tidegate` in this directory with these arguments and this standard input.
#[track_caller]
fn tidegate(dir: &Path, arguments: &[&str], input: &[u8]) -> Run {
    let (stdin, stdout, stderr) = (dir.join(".in"), dir.join(".out"), dir.join(".err"));
    fs::write(&stdin, input).unwrap();
    let mut child = Command::new(project::tidegate())
        .current_dir(dir)
        .args(arguments)
        .stdin(File::open(&stdin).unwrap())
        .stdout(File::create(&stdout).unwrap())
        .stderr(File::create(&stderr).unwrap())
        .spawn()
        .expect("the binary runs");
    let status = wait::poll(wait::START, || child.try_wait().unwrap());
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
        panic!("{arguments:?} does not end");
    }
    let text = |path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    Run { code: status.and_then(|status| status.code()), out: text(stdout), err: text(stderr) }
}

fn dir() -> TempDir {
    TempDir::new("cli")
}

#[test]
fn help_and_version() {
    let dir = dir();
    for (arguments, needles) in [
        (
            &["--help"][..],
            &["tidegate run", "check", "schema", "scan", "rules", "demo-server", "Exit codes"][..],
        ),
        (&["run", "--help"], &["--config", "--addr-file", "Examples"]),
        (&["check", "--help"], &["--format", "every mistake at once"]),
        (&["schema", "--help"], &["JSON Schema"]),
        (
            &["scan", "--help"],
            &["--input", "--format", "--direction", "--redact", "--config", "standard input"],
        ),
        (&["demo-server", "--help"], &["--listen"]),
    ] {
        let run = tidegate(dir.path(), arguments, b"");
        assert_eq!((run.code, run.err.as_str()), (Some(0), ""), "{arguments:?}");
        for needle in needles {
            assert!(run.out.contains(needle), "{arguments:?} lacks {needle:?}:\n{}", run.out);
        }
        assert!(run.out.lines().all(|line| line.chars().count() <= 160), "{arguments:?}: long lines");
    }
    let run = tidegate(dir.path(), &["--version"], b"");
    assert_eq!(run.code, Some(0));
    assert!(run.out.starts_with("tidegate ") && run.out.trim_end().split('.').count() == 3, "{:?}", run.out);
    for wrong in [
        &[][..],
        &["walk"],
        &["run", "--confg", "x"],
        &["check"],
        &["scan", "--input", "xml"],
        &["schema", "x"],
    ] {
        let run = tidegate(dir.path(), wrong, b"");
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{wrong:?}: {}", run.out);
        assert!(run.err.contains("--help"), "{wrong:?}: {}", run.err);
    }
}

const GOOD: &str = "listen: 127.0.0.1:0\nadmin: off\nservers: { s: { url: \"http://127.0.0.1:1/mcp\" } }\n";
const BAD: &str = "listen: nowhere\ncolour: red\nworkers: 0\nservers:\n  'a b': { url: \"ftp://x\" }\n  s: { url: \"http://x/mcp\", inspection: { mode: maybe } }\n\
    limits: { body_bytes_max: 0, head_byte_max: 9 }\ninspection: { custom: [ { id: x, pattern: '(' } ] }\naudit: { durability: often }\n";

#[test]
fn check_reports_every_mistake_at_once() {
    let dir = dir();
    fs::write(dir.join("good.yaml"), GOOD).unwrap();
    fs::write(dir.join("bad.yaml"), BAD).unwrap();
    let run = tidegate(dir.path(), &["check", "--config", "good.yaml"], b"");
    assert_eq!((run.code, run.out.trim(), run.err.as_str()), (Some(0), "good.yaml: ok", ""));
    let run = tidegate(dir.path(), &["check", "--config", "good.yaml", "--format", "json"], b"");
    assert_eq!((run.code, &run.lines()[0]), (Some(0), &json!({ "ok": true, "mistakes": [] })));

    let places = [
        "listen",
        "colour",
        "workers",
        "servers.\"a b\"",
        "servers.s.inspection.mode",
        "limits.body_bytes_max",
        "limits.head_byte_max",
        "audit.durability",
    ];
    let run = tidegate(dir.path(), &["check", "--config", "bad.yaml"], b"");
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""));
    for place in places {
        assert!(run.err.contains(place), "{place} is not in:\n{}", run.err);
    }
    // What, why and what to do.
    assert!(run.err.contains("body_bytes_max = 0: must be 1024..=67108864"), "{}", run.err);
    let run = tidegate(dir.path(), &["check", "--config", "bad.yaml", "--format", "json"], b"");
    let report: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((run.code, &report["ok"]), (Some(2), &json!(false)));
    let mistakes = report["mistakes"].as_array().unwrap();
    assert!(mistakes.len() >= places.len(), "{report}");
    assert!(mistakes.iter().all(|m| m["path"].is_string() && m["problem"].is_string()), "{report}");

    // What only shows when the rules are put together, and files that are none.
    fs::write(
        dir.join("rule.yaml"),
        format!(
            "{GOOD}inspection: {{ custom: [ {{ id: x, pattern: '(' }} ], disabled_rules: [no-such-rule] }}\n"
        ),
    )
    .unwrap();
    for (file, needle) in [("rule.yaml", "x"), ("none.yaml", "cannot be read"), (".", "cannot be read")] {
        let run = tidegate(dir.path(), &["check", "--config", file], b"");
        assert_eq!(run.code, Some(2), "{file}");
        assert!(run.err.contains(needle), "{file}: {}", run.err);
        let run = tidegate(dir.path(), &["check", "--config", file, "--format", "json"], b"");
        assert_eq!((run.code, &run.lines()[0]["ok"]), (Some(2), &json!(false)), "{file}");
    }
    // The same words at the start.
    let run = tidegate(dir.path(), &["run", "--config", "bad.yaml"], b"");
    assert_eq!(run.code, Some(2));
    assert!(places.iter().all(|place| run.err.contains(place)), "{}", run.err);
    // A secret of the environment is not shown.
    fs::write(dir.join("secret.yaml"), format!("{GOOD}admin2: \"${{TIDEGATE_TEST_TOKEN}}\"\n")).unwrap();
    let mut command = Command::new(project::tidegate());
    command.args(["check", "--config"]).arg(dir.join("secret.yaml")).env("TIDEGATE_TEST_TOKEN", "t0p-s3cret");
    let done = Process::run(command, wait::SOON);
    assert!(!done.success() && !done.output.contains("t0p-s3cret"), "{}", done.output);
}

#[test]
fn the_schema_is_one() {
    let dir = dir();
    let run = tidegate(dir.path(), &["schema"], b"");
    assert_eq!((run.code, run.err.as_str()), (Some(0), ""));
    let schema: Value = serde_json::from_str(&run.out).unwrap();
    assert!(schema["$schema"].is_string() && schema["properties"]["servers"].is_object(), "{schema}");
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema.to_string().contains("body_bytes_max"));
}

/// The findings of a run as (file, line, start, end, type), which must point at this very text.
fn findings(run: &Run) -> Vec<(String, u64, usize, usize, String)> {
    let mut all = Vec::new();
    for finding in run.lines() {
        let keys: Vec<&String> = finding.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["action", "confidence", "end", "file", "line", "rule", "start", "type"]);
        let text = |key: &str| finding[key].as_str().unwrap().to_owned();
        let number = |key: &str| finding[key].as_u64().unwrap();
        assert!(["low", "medium", "high"].contains(&text("confidence").as_str()));
        assert!(["detect", "redact", "block"].contains(&text("action").as_str()));
        all.push((
            text("file"),
            number("line"),
            number("start") as usize,
            number("end") as usize,
            text("type"),
        ));
    }
    all
}

#[test]
fn scan_of_text() {
    let dir = dir();
    let text =
        "Résumé\nmail jane.doe@example.org,\r\ncard 4111 1111 1111 1111 and\n\nip 203.0.113.254\nnothing\n";
    fs::write(dir.join("notes.txt"), text).unwrap();
    fs::write(dir.join("clean.txt"), "nothing to see, v1.2.3 at 12:34:56\n").unwrap();
    let run = tidegate(dir.path(), &["scan", "--format", "jsonl", "notes.txt", "clean.txt"], b"");
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""));
    let found = findings(&run);
    let at = |part: &str| (text.find(part).unwrap(), text.find(part).unwrap() + part.len());
    let expect = [
        ("jane.doe@example.org", 2, "EMAIL_ADDRESS"),
        ("4111 1111 1111 1111", 3, "CREDIT_CARD"),
        ("203.0.113.254", 5, "IP_ADDRESS"),
    ];
    assert_eq!(found.len(), expect.len(), "{found:?}");
    for ((file, line, start, end, kind), (value, at_line, of)) in found.iter().zip(expect) {
        assert_eq!(
            (file.as_str(), *line, (*start, *end), kind.as_str()),
            ("notes.txt", at_line, at(value), of)
        );
    }
    // For people.
    let run = tidegate(dir.path(), &["scan", "notes.txt"], b"");
    assert_eq!(run.code, Some(1));
    assert_eq!(run.out.lines().count(), 3);
    assert!(run.out.lines().next().unwrap().starts_with("notes.txt:2: EMAIL_ADDRESS"), "{}", run.out);
    assert!(!run.out.contains("jane"), "a report holds no values");
    // Redacted: everything else stays.
    let run = tidegate(dir.path(), &["scan", "--redact", "notes.txt"], b"");
    let wanted = expect
        .iter()
        .fold(text.to_owned(), |text, (value, _, kind)| text.replace(value, &format!("[REDACTED:{kind}]")));
    assert_eq!((run.code, run.out), (Some(1), wanted));
    // Standard input, by default and by name, beside files.
    let run = tidegate(dir.path(), &["scan", "--format", "jsonl"], text.as_bytes());
    assert_eq!((run.code, findings(&run)[0].0.as_str()), (Some(1), "<stdin>"));
    let run =
        tidegate(dir.path(), &["scan", "--format", "jsonl", "clean.txt", "-", "notes.txt"], text.as_bytes());
    assert_eq!((run.code, findings(&run).len()), (Some(1), 6));
    let run = tidegate(dir.path(), &["scan", "clean.txt"], b"");
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(0), "", ""));
    let run = tidegate(dir.path(), &["scan"], b"");
    assert_eq!((run.code, run.out.as_str()), (Some(0), ""));
    // What cannot be read is said, the rest is done.
    let run = tidegate(dir.path(), &["scan", "--format", "jsonl", "none.txt", "notes.txt"], b"");
    assert_eq!((run.code, findings(&run).len()), (Some(2), 3));
    assert!(run.err.contains("none.txt") && run.err.lines().count() == 1, "{}", run.err);
    // Bytes that are no text do not hide what stands between them.
    let run = tidegate(
        dir.path(),
        &["scan", "--format", "jsonl"],
        b"\xff\xfe jane.doe@example.org \xc3 203.0.113.254\xff",
    );
    let found = findings(&run);
    assert_eq!(found.iter().map(|f| (f.2, f.3)).collect::<Vec<_>>(), [(3, 23), (26, 39)], "{found:?}");
    let run = tidegate(dir.path(), &["scan", "--redact"], b"a\xff jane.doe@example.org");
    assert_eq!(run.code, Some(1));
    assert_eq!(fs::read(dir.join(".out")).unwrap(), b"a\xff [REDACTED:EMAIL_ADDRESS]");
}

#[test]
fn scan_of_json() {
    let dir = dir();
    let escaped: String = "jane.doe@example.org".chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
    let document = format!(
        "{{ \"id\" : \"a@example.org\",\n \"b\":[\"x {escaped} y\", {{\"c@example.org\":1}}],\n \"cardNumber\":4111111111111111,\n \"n\":\"{{\\\"m\\\":\\\"\\\\u0064@example.org\\\"}}\" }}\n"
    );
    fs::write(dir.join("d.json"), &document).unwrap();
    let run = tidegate(dir.path(), &["scan", "--input", "json", "--format", "jsonl", "d.json"], b"");
    assert_eq!((run.code, run.err.as_str()), (Some(1), ""));
    let found = findings(&run);
    let parts: Vec<(u64, &str, &str)> =
        found.iter().map(|f| (f.1, &document[f.2..f.3], f.4.as_str())).collect();
    assert_eq!(
        parts,
        [
            (1, "a@example.org", "EMAIL_ADDRESS"),
            (2, escaped.as_str(), "EMAIL_ADDRESS"),
            (2, "c@example.org", "EMAIL_ADDRESS"),
            (3, "4111111111111111", "CREDIT_CARD"),
            (4, "\\\\u0064@example.org", "EMAIL_ADDRESS"),
        ]
    );
    let run = tidegate(dir.path(), &["scan", "--input", "json", "--redact", "d.json"], b"");
    let mail = "[REDACTED:EMAIL_ADDRESS]";
    let wanted = document
        .replace("\"a@example.org\"", &format!("\"{mail}\""))
        .replace(&escaped, mail)
        .replace("c@example.org", "[REDACTED:EMAIL_ADDRESS#3]")
        .replace("4111111111111111", "\"[REDACTED:CREDIT_CARD]\"")
        .replace("\\\\u0064@example.org", mail);
    assert_eq!((run.code, run.out), (Some(1), wanted));
    for bad in ["{", "{} {}", "", "\u{feff}{}"] {
        let run = tidegate(dir.path(), &["scan", "--input", "json"], bad.as_bytes());
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{bad:?}");
        assert!(run.err.contains("<stdin>"), "{bad:?}: {}", run.err);
    }
}

#[test]
fn scan_of_json_lines() {
    let dir = dir();
    let lines = [
        r#"{"a":"clean"}"#,
        r#"{"a":"jane.doe@example.org"}"#,
        "",
        r#"{"a":"#,
        r#"  ["203.0.113.254", "é jane.doe@example.org"]  "#,
        r#"{"k":"jane.doe@example.org","k":1}"#,
        r#""jane.doe@example.org""#,
    ];
    let text = lines.join("\r\n") + "\n";
    fs::write(dir.join("m.jsonl"), &text).unwrap();
    let run = tidegate(dir.path(), &["scan", "--input", "jsonl", "--format", "jsonl", "m.jsonl"], b"");
    assert_eq!(run.code, Some(2), "a line that is no JSON is a mistake");
    assert!(run.err.contains("m.jsonl:4:"), "{}", run.err);
    let found = findings(&run);
    let parts: Vec<(u64, &str)> = found.iter().map(|f| (f.1, &lines[f.1 as usize - 1][f.2..f.3])).collect();
    let mail = "jane.doe@example.org";
    assert_eq!(parts, [(2, mail), (5, "203.0.113.254"), (5, mail), (6, mail), (7, mail)]);

    let text = [lines[0], lines[1], lines[2], lines[4], lines[6], ""].join("\n");
    let run = tidegate(dir.path(), &["scan", "--input", "jsonl", "--redact"], text.as_bytes());
    let wanted =
        text.replace(mail, "[REDACTED:EMAIL_ADDRESS]").replace("203.0.113.254", "[REDACTED:IP_ADDRESS]");
    assert_eq!((run.code, run.out), (Some(1), wanted));
}

/// What is reported as redacted comes out redacted, also where the document has a key twice.
#[test]
fn documents_with_a_key_twice_are_redacted() {
    let dir = dir();
    let document = br#"{"k":"jane.doe@example.org","k":1}"#;
    let run = tidegate(dir.path(), &["scan", "--input", "json", "--redact"], document);
    assert_eq!(run.out, r#"{"k":"[REDACTED:EMAIL_ADDRESS]","k":1}"#);
}

/// Mistakes in rules are mistakes like others.
#[test]
fn check_reports_patterns_beside_other_mistakes() {
    let dir = dir();
    fs::write(dir.join("bad.yaml"), BAD).unwrap();
    let run = tidegate(dir.path(), &["check", "--config", "bad.yaml"], b"");
    assert!(run.err.contains("inspection.custom"), "{}", run.err);
}

/// A pipe of documents through `--redact` keeps one document per line, whatever happens to one of them.
#[test]
fn redacted_lines_correspond() {
    let dir = dir();
    let run = tidegate(dir.path(), &["scan", "--input", "jsonl", "--redact"], b"1\n{\n\n3\n");
    assert_eq!(run.out.lines().count(), 4, "{:?}", run.out);
}

#[test]
fn scan_with_a_configuration() {
    let dir = dir();
    fs::write(
        dir.join("c.yaml"),
        format!(
            "{GOOD}inspection:\n  mode: redact\n  types: {{ IP_ADDRESS: 'off' }}\n  request: {{ types: {{ EMAIL_ADDRESS: block }} }}\n  \
             response: {{ types: {{ EMAIL_ADDRESS: detect }} }}\n  disabled_rules: [us-ssn]\n  custom:\n  - {{ id: account, type: ACCOUNT_NUMBER, pattern: 'ACCT-\\d{{6,10}}' }}\n"
        ),
    )
    .unwrap();
    let text = b"ACCT-1234567 jane.doe@example.org 203.0.113.254 536-90-4399";
    let actions = |direction: &str| {
        let run = tidegate(
            dir.path(),
            &["scan", "--config", "c.yaml", "--direction", direction, "--format", "jsonl"],
            text,
        );
        assert_eq!(run.code, Some(1));
        let lines = run.lines();
        lines
            .iter()
            .map(|l| {
                format!(
                    "{} {} {}",
                    l["type"].as_str().unwrap(),
                    l["rule"].as_str().unwrap(),
                    l["action"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(actions("request"), ["ACCOUNT_NUMBER account redact", "EMAIL_ADDRESS email block"]);
    assert_eq!(actions("response"), ["ACCOUNT_NUMBER account redact", "EMAIL_ADDRESS email detect"]);
    // Without it the rules are the built-in ones.
    let run = tidegate(dir.path(), &["scan", "--format", "jsonl"], text);
    let kinds: Vec<String> = findings(&run).into_iter().map(|f| f.4).collect();
    assert_eq!(kinds, ["EMAIL_ADDRESS", "IP_ADDRESS", "US_SSN"]);
    let run =
        tidegate(dir.path(), &["scan", "--redact", "--direction", "response", "--config", "c.yaml"], text);
    assert_eq!(run.out, "[REDACTED:ACCOUNT_NUMBER] jane.doe@example.org 203.0.113.254 536-90-4399");

    fs::write(dir.join("bad.yaml"), BAD).unwrap();
    for file in ["bad.yaml", "none.yaml"] {
        let run = tidegate(dir.path(), &["scan", "--config", file], text);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{file}");
        assert!(!run.err.is_empty());
    }
}

/// A reader that has seen enough is no mistake.
#[test]
fn scan_into_a_pipe_that_closes() {
    let dir = dir();
    let text = "jane.doe@example.org\n".repeat(200_000);
    fs::write(dir.join("big.txt"), text).unwrap();
    let mut command = Command::new("sh");
    let script = format!("{} scan big.txt | head -n 1", project::tidegate().display());
    command.current_dir(dir.path()).args(["-c", &script]);
    let done = Process::run(command, wait::START);
    assert!(done.success(), "{}", done.output);
    assert_eq!(done.output.lines().count(), 1, "{}", done.output);
    assert!(!done.output.contains("panicked"), "{}", done.output);
}

#[test]
fn the_demo_server_runs_alone() {
    let mut command = Command::new(project::tidegate());
    command.args(["demo-server", "--listen", "127.0.0.1:0"]).stdin(Stdio::null());
    let mut process = Process::start(command);
    let addr: SocketAddr = wait::until("its address", wait::START, || {
        let output = process.output();
        let (_, rest) = output.split_once("http://")?;
        rest.split_once("/mcp")?.0.parse().ok()
    });
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}"#;
    let response = raw::exchange(addr, raw::post("/mcp", &[], body));
    assert_eq!((response.status(), &response.json()["id"]), (200, &json!(1)), "{}", response.text());
    let meta = json!({ "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {} });
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": { "_meta": meta } });
    let headers = [("MCP-Protocol-Version", "2026-07-28"), ("Mcp-Method", "tools/list")];
    let response = raw::exchange(addr, raw::post("/mcp", &headers, list.to_string()));
    assert!(
        response.json()["result"]["tools"].as_array().is_some_and(|tools| !tools.is_empty()),
        "{}",
        response.text()
    );
    assert!(process.stop(wait::SOON).success());

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(project::tidegate());
    command.args(["demo-server", "--listen", &taken.local_addr().unwrap().to_string()]);
    let done = Process::run(command, wait::SOON);
    assert_eq!(done.status.and_then(|s| s.code()), Some(2), "{}", done.output);
}
