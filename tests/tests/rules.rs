//! Rules as an operator meets them: rule files, rules switched off by server and tool, the `rules` commands, and the
//! reports of `scan`.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tidegate_tests::{
    Gateway, Next, Process, RecordingUpstream, TempDir, project, raw, upstream::write_response, wait,
};

/// What a command printed and how it ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Run {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", self.out, self.err))
    }
}

/// Runs `tidegate` in this directory with these arguments.
#[track_caller]
fn tidegate(dir: &Path, arguments: &[&str]) -> Run {
    let done = Command::new(project::tidegate())
        .current_dir(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: done.status.code(), out: text(&done.stdout), err: text(&done.stderr) }
}

#[track_caller]
fn all_in(text: &str, needles: &[&str]) {
    for needle in needles {
        assert!(text.contains(needle), "{needle:?} is not in:\n{text}");
    }
}

const ACME: &str = r#"
[[rule]]
id = "acme-key"
description = "Acme's key"
pattern = 'acme_[a-z0-9]{20}'
severity = "high"
allow = ['^acme_0000']
stopwords = ["demo"]
examples = ["acme_|k3j9xq7mw2pl8vr4ty6z"]
counter_examples = ["acme_|k3j9xq7mw2pl8vr4", "acme_|0000xq7mw2pl8vr4ty6z", "acme_|k3j9xq7mdemol8vr4ty6z"]

[[rule]]
id = "email"
type = "EMAIL_ADDRESS"
description = "Only the company's own addresses"
pattern = '[a-z.]{1,64}@acme\.example'
examples = ["jane@acme.example"]
counter_examples = ["jane@example.org"]
"#;

const KEY: &str = "acme_k3j9xq7mw2pl8vr4ty6z";

fn config(inspection: &str) -> String {
    format!(
        "listen: 127.0.0.1:0\nadmin: off\nservers: {{ s: {{ url: \"http://127.0.0.1:1/mcp\" }} }}\ninspection: {inspection}\n"
    )
}

#[test]
fn rule_files_are_checked_with_everything_else() {
    let dir = TempDir::new("rules");
    fs::create_dir(dir.join("rules")).unwrap();
    fs::write(dir.join("rules/acme.toml"), ACME).unwrap();
    fs::write(dir.join("good.yaml"), config("{ rule_files: [rules/acme.toml], disabled_rules: [acme-key] }"))
        .unwrap();
    // Relative to the configuration, not to where the command runs.
    let from_elsewhere = format!("{}/good.yaml", dir.path().display());
    for (at, file) in [(dir.path(), "good.yaml"), (Path::new("/"), from_elsewhere.as_str())] {
        let run = tidegate(at, &["check", "--config", file]);
        assert_eq!(run.code, Some(0), "{}", run.err);
    }
    fs::write(
        dir.join("rules/bad.toml"),
        ACME.replace("acme_|k3j9xq7mw2pl8vr4\"", "acme_|k3j9xq7mw2pl8vr4ty6z\"")
            + "[[rule]]\nid = \"odd\"\ndescription = \"x\"\npatern = 'a'\n\
               [[rule]]\nid = \"broken\"\ndescription = \"x\"\npattern = '('\n\
               [[rule]]\nid = \"broken\"\ndescription = \"x\"\npattern = 'abc'\n\
               [[rule]]\nid = \"No Name\"\ndescription = \"x\"\npattern = 'abc'\n\
               [[rule]]\nid = \"loose\"\ndescription = \"x\"\npattern = 'abcd'\nallow = ['x*']\n",
    )
    .unwrap();
    fs::write(dir.join("rules/syntax.toml"), "[[rule]]\nid = \n").unwrap();
    let servers = "servers: { s: { url: \"http://127.0.0.1:1/mcp\", inspection: { disabled_rules: [none-a], \
                   tools: { t: { disabled_rules: [none-b, ipv4] } } } } }";
    fs::write(
        dir.join("bad.yaml"),
        format!(
            "listen: here\nadmin: off\n{servers}\ninspection: {{ rule_files: [rules/bad.toml, rules/syntax.toml], \
             disabled_rules: [none-c] }}\n"
        ),
    )
    .unwrap();
    let run = tidegate(dir.path(), &["check", "--config", "bad.yaml"]);
    assert_eq!((run.code, run.out.as_str()), (Some(2), ""));
    all_in(
        &run.err,
        &[
            "listen",
            "inspection.rule_files: rules/bad.toml:2: rule `acme-key`: counter-example is found",
            "rule `odd`: unknown field `patern`",
            "rule `broken`:",
            "rule `broken`: this id is used twice",
            "rule `No Name`: id must be",
            "rule `loose`: allow:",
            "rules/syntax.toml: line 2",
            "inspection.disabled_rules: there is no built-in rule `none-c`",
        ],
    );
    all_in(
        &run.err,
        &[
            "servers.s.inspection.disabled_rules: there is no rule `none-a`",
            "servers.s.inspection.tools.t.disabled_rules: there is no rule `none-b`",
        ],
    );
    fs::write(dir.join("missing.yaml"), config("{ rule_files: [none.toml] }")).unwrap();
    let run = tidegate(dir.path(), &["check", "--config", "missing.yaml"]);
    assert_eq!(run.code, Some(2));
    all_in(&run.err, &["inspection.rule_files[0]", "cannot be read"]);
}

/// Calls a tool with this argument; gives what the server got and what the client got.
#[track_caller]
fn call(gateway: &Gateway, upstream: &RecordingUpstream, tool: &str, argument: &str) -> (String, String) {
    let before = upstream.requests().len();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": { "name": tool, "arguments": { "text": argument } } });
    let request = raw::post("/mcp/s", &[("MCP-Protocol-Version", "2025-11-25")], body.to_string());
    let response = raw::exchange(gateway.mcp_addr, request);
    let sent = upstream.requests().get(before).map(|r| String::from_utf8_lossy(r.body()).into_owned());
    (sent.unwrap_or_default(), response.text())
}

#[test]
fn rules_by_file_server_and_tool() {
    const MAIL: &str = "jane@example.org";
    const ADDRESS: &str = "203.0.113.254";
    let answer = format!("{MAIL} {ADDRESS} {KEY}");
    let upstream = RecordingUpstream::result(json!({ "content": [{ "type": "text", "text": answer }] }));
    let dir = TempDir::new("rules");
    let file = dir.join("acme.toml");
    // Without the rule that replaces `email`.
    let (acme, _) = ACME.split_at(ACME.rfind("[[rule]]").unwrap());
    fs::write(&file, acme).unwrap();
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nservers:\n  s:\n    url: \"{}\"\n    inspection:\n      \
         disabled_rules: [ipv4]\n      tools:\n        open: {{ mode: off }}\n        \
         mails: {{ disabled_rules: [email] }}\n        strict: {{ mode: block }}\n        \
         answers: {{ response: {{ types: {{ EMAIL_ADDRESS: off }} }} }}\n\
         inspection: {{ rule_files: [\"{}\"] }}\naudit: {{ dir: \"{{dir}}/audit\" }}\n",
        upstream.url(),
        file.display()
    );
    let gateway = Gateway::start(&yaml);
    // (tool, the argument's parts that reach the server, the answer's parts that reach the client)
    for (tool, sent, got) in [
        ("other", &[ADDRESS][..], &[ADDRESS][..]),
        ("open", &[MAIL, ADDRESS, KEY], &[MAIL, ADDRESS, KEY]),
        ("mails", &[MAIL, ADDRESS], &[MAIL, ADDRESS]),
        ("answers", &[ADDRESS], &[MAIL, ADDRESS]),
    ] {
        let (at_server, at_client) = call(&gateway, &upstream, tool, &answer);
        for (side, text, passes) in [("request", &at_server, sent), ("response", &at_client, got)] {
            for part in [MAIL, ADDRESS, KEY] {
                assert_eq!(text.contains(part), passes.contains(&part), "{tool} {side} {part}: {text}");
            }
        }
    }
    let (at_server, refusal) = call(&gateway, &upstream, "strict", &answer);
    assert!(at_server.is_empty() && refusal.contains("Blocked by the gateway"), "{refusal}");
    let (at_server, refusal) = call(&gateway, &upstream, "strict", "nothing");
    assert!(at_server.contains("nothing") && !refusal.contains(KEY), "{refusal}");

    // The file changes: its rules do, without a signal. `email` is now the deployment's own.
    let next = dir.join("next.toml");
    fs::write(
        &next,
        ACME.replace("acme_[a-z0-9]{20}", "emca_[a-z0-9]{20}")
            .replace("acme_|", "emca_|")
            .replace("^acme_0000", "^emca_0000"),
    )
    .unwrap();
    fs::rename(&next, &file).unwrap();
    wait::until("the rules' reload", wait::START, || {
        let (at_server, _) = call(&gateway, &upstream, "other", &answer);
        (at_server.contains(KEY) && at_server.contains(MAIL)).then_some(())
    });
    let (at_server, _) = call(&gateway, &upstream, "other", &format!("jane@acme.example emca_{}", &KEY[5..]));
    all_in(&at_server, &["[REDACTED:EMAIL_ADDRESS] [REDACTED:SECRET]"]);
    // A mistake keeps the rules as they are, and is told.
    fs::write(&next, "[[rule]]\nid = 1\n").unwrap();
    fs::rename(&next, &file).unwrap();
    wait::until("the refused reload", wait::START, || {
        gateway.output().contains("the old configuration stays").then_some(())
    });
    all_in(&gateway.output(), &["acme.toml:1: rule 1"]);
    let (at_server, _) = call(&gateway, &upstream, "other", KEY);
    all_in(&at_server, &[KEY]);
}

/// Everything on the stream that answers a call is the tool's: progress, requests of the server, the result.
#[test]
fn a_tools_settings_hold_for_its_stream() {
    let upstream = RecordingUpstream::start(|_, stream| {
        let progress = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"jane@example.org"}}"#;
        let result =
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"john@example.org"}]}}"#;
        let events = format!("event: message\ndata: {progress}\n\nevent: message\ndata: {result}\n\n");
        write_response(stream, "200 OK", &[("Content-Type", "text/event-stream")], events)?;
        Ok(Next::KeepOpen)
    });
    let gateway = Gateway::start(&format!(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\naudit: {{ dir: \"{{dir}}/audit\" }}\nservers:\n  s:\n    url: \"{}\"\n    \
         inspection: {{ tools: {{ open: {{ response: {{ mode: detect }} }} }} }}\n",
        upstream.url()
    ));
    let (_, text) = call(&gateway, &upstream, "open", "x");
    all_in(&text, &["jane@example.org", "john@example.org"]);
    let (_, text) = call(&gateway, &upstream, "other", "x");
    assert!(!text.contains("@example.org"), "{text}");
    let found = gateway.audit_until(2, |r| r["kind"] == "call");
    assert!(found.iter().all(|r| r["findings"]["EMAIL_ADDRESS"] == 2), "{found:?}");
}

#[test]
fn listed_and_explained() {
    let dir = TempDir::new("rules");
    fs::write(dir.join("acme.toml"), ACME).unwrap();
    fs::write(dir.join("c.yaml"), config("{ rule_files: [acme.toml], disabled_rules: [ipv6], custom: [{ id: own, pattern: 'OWN-\\d{6}' }] }"))
        .unwrap();
    let run = tidegate(dir.path(), &["rules", "list", "--type", "ip_address"]);
    assert_eq!(run.code, Some(0), "{}", run.err);
    all_in(&run.out, &["ipv4", "ipv6", "2 rules", "SEVERITY"]);
    let run = tidegate(dir.path(), &["rules", "list", "--config", "c.yaml", "--format", "json"]);
    let rules = run.json();
    let of = |id: &str| rules.as_array().unwrap().iter().find(|r| r["id"] == id).cloned();
    assert!(of("ipv6").is_none() && of("own").is_some_and(|r| r["family"] == "custom"));
    assert!(
        of("email").is_some_and(|r| r["origin"] == "acme.toml:12" && r["family"] == "acme"),
        "{:?}",
        of("email")
    );
    assert!(
        of("acme-key")
            .is_some_and(|r| r["severity"] == "high" && r["settings"]["stopwords"] == json!(["demo"]))
    );
    for (arguments, needle) in [
        (&["rules", "list", "--type", "NONE"][..], "choose of"),
        (&["rules", "explain", "github"], "did you mean github"),
        (&["rules", "explain", "zzz"], "rules list"),
        (&["rules", "explain", "ipv6", "--config", "c.yaml"], "inspection.disabled_rules"),
        (&["rules", "list", "--config", "none.yaml"], "cannot be read"),
    ] {
        let run = tidegate(dir.path(), arguments);
        assert_eq!((run.code, run.out.as_str()), (Some(2), ""), "{arguments:?}");
        all_in(&run.err, &[needle]);
    }
    let run = tidegate(dir.path(), &["rules", "explain", "github-pat"]);
    assert_eq!(run.code, Some(0));
    all_in(&run.out, &["pattern", "trigger", "validator", "context", "critical", "confidence", "|"]);
    let run = tidegate(dir.path(), &["rules", "explain", "acme-key", "--config", "c.yaml"]);
    all_in(&run.out, &["acme.toml:2", "acme_|k3j9", "allow", "stopwords"]);
    assert!(!run.out.contains(KEY));
}

#[test]
fn tested() {
    let dir = TempDir::new("rules");
    fs::write(dir.join("acme.toml"), ACME).unwrap();
    let run = tidegate(dir.path(), &["rules", "test", "acme.toml", "--verbose"]);
    assert_eq!(run.code, Some(0), "{}{}", run.out, run.err);
    all_in(&run.out, &["acme.toml:2: acme-key: 4 examples, ok", "2 rules, 6 examples: 0 failed"]);
    // Each failure says which check stood against it.
    let cases = [
        ("pattern = 'abc[0-9]{4}'\nexamples = [\"ABC1234\"]", "it would with caseless = true"),
        ("pattern = 'abc[0-9]{4}'\nexamples = [\"abc|12345\"]", "`boundary` forbids"),
        ("pattern = 'abc[0-9]{4}'\nentropy = 3\nexamples = [\"abc1|111\"]", "below entropy = 3"),
        ("pattern = 'abc[0-9]{4}'\nallow = ['1234']\nexamples = [\"abc|1234\"]", "allow"),
        ("pattern = 'abc-[a-z_]{4,20}'\nexamples = [\"abc-your_|token\"]", "sample value"),
        ("pattern = 'abc[0-9]{4}'\nvalidator = \"jwt\"\nexamples = [\"abc|1234\"]", "validator jwt"),
        ("pattern = 'abc[0-9]{4}'\nexamples = [\"abd|1234\"]", "the pattern does not match"),
        ("pattern = 'abc[0-9]{4}'\ncounter_examples = [\"abc|1234\"]", "matches bytes 0..7"),
        (
            "key = 'acme_id'\nvalue = '[0-9]{4}'\nkey_examples = [[\"acme\", \"12|34\"]]",
            "the name does not match",
        ),
        (
            "key = 'acme_id'\nvalue = '[0-9]{4}'\nkey_examples = [[\"acme_id\", \"12|345\"]]",
            "only bytes 0..4",
        ),
    ];
    let file: String = cases
        .iter()
        .enumerate()
        .map(|(i, (body, _))| format!("[[rule]]\nid = \"r{i}\"\ndescription = \"x\"\n{body}\n"))
        .collect();
    fs::write(dir.join("fails.toml"), file).unwrap();
    let run = tidegate(dir.path(), &["rules", "test", "fails.toml"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    for (i, (_, why)) in cases.iter().enumerate() {
        let line = run
            .out
            .lines()
            .find(|l| l.contains(&format!(": r{i}: ")))
            .unwrap_or_else(|| panic!("r{i}: {}", run.out));
        assert!(line.contains(why), "{why:?} is not in {line}");
    }
    let report = tidegate(dir.path(), &["rules", "test", "fails.toml", "--format", "json"]).json();
    assert_eq!((&report["ok"], report["rules"].as_array().map(Vec::len)), (&json!(false), Some(cases.len())));
    fs::write(dir.join("broken.toml"), "[[rule]]\nid = \"a\"\ndescription = \"x\"\npattern = '('\n").unwrap();
    for file in ["broken.toml", "none.toml"] {
        let run = tidegate(dir.path(), &["rules", "test", "acme.toml", file]);
        assert_eq!(run.code, Some(2), "{file}");
        all_in(&run.err, &[file]);
        all_in(&run.out, &["2 rules"]);
    }
    assert_eq!(tidegate(dir.path(), &["rules", "test"]).code, Some(0), "the built-in rules");
}

#[test]
fn imported_and_measured() {
    let dir = TempDir::new("rules");
    fs::write(
        dir.join("gitleaks.toml"),
        "[[rules]]\nid = \"acme\"\ndescription = \"Acme\"\nregex = '''\\b(acme_[a-z0-9]{20})\\b'''\n\
         [[rules]]\nid = \"github-pat\"\nregex = '''ghp_'''\n\
         [[rules]]\nid = \"file\"\npath = '''\\.p12$'''\n",
    )
    .unwrap();
    let run = tidegate(dir.path(), &["rules", "import", "gitleaks", "gitleaks.toml", "--output", "out.toml"]);
    assert_eq!((run.code, run.out.as_str()), (Some(1), ""));
    all_in(&run.err, &["file: left out", "(--replace takes them): github-pat", "1 of 3 rules imported"]);
    assert_eq!(tidegate(dir.path(), &["rules", "test", "out.toml"]).code, Some(0));
    let run = tidegate(dir.path(), &["rules", "import", "gitleaks", "out.toml"]);
    assert_eq!(run.code, Some(2), "a rule file of ours is no gitleaks configuration");
    fs::write(dir.join("c.yaml"), config("{ rule_files: [out.toml] }")).unwrap();
    fs::write(dir.join("key.txt"), KEY).unwrap();
    let run = tidegate(dir.path(), &["scan", "--config", "c.yaml", "key.txt"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    all_in(&run.out, &["key.txt:1: SECRET (acme, high)"]);
    let bench = tidegate(
        dir.path(),
        &["rules", "bench", "--config", "c.yaml", "--text", "key.txt", "--format", "json"],
    );
    let bench = bench.json();
    let cost = bench["costs"].as_array().unwrap().iter().find(|c| c["rule"] == "acme").unwrap().clone();
    assert!(cost["added_ns_per_kib"].is_number() && cost["found"].as_u64() > Some(100), "{cost}");
    assert!(bench["database_ns_per_kib"].as_f64() > Some(0.0));
    let run = tidegate(dir.path(), &["rules", "bench", "--text", "none"]);
    assert_eq!(run.code, Some(2));
}

#[test]
fn reports_over_folders() {
    let dir = TempDir::new("rules");
    fs::create_dir_all(dir.join("data/deep")).unwrap();
    let call = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"<b>read</b>","arguments":{"m":"jane.doe@example.org"}}}"#;
    let answer =
        r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"4111 1111 1111 1111"}]}}"#;
    fs::write(dir.join("data/deep/t.jsonl"), format!("{call}\n{answer}\n")).unwrap();
    fs::write(dir.join("data/a.txt"), "mail jane.doe@example.org\n").unwrap();
    fs::write(dir.join("data/b.bin"), b"jane.doe@example.org\0").unwrap();
    let run = tidegate(dir.path(), &["scan", "data"]);
    assert_eq!(run.code, Some(1), "{}", run.err);
    assert_eq!(run.out.lines().count(), 3, "{}", run.out);
    let run = tidegate(dir.path(), &["scan", "--input", "jsonl", "--format", "json", "data"]);
    let report = run.json();
    assert_eq!((run.code, &report["findings"]), (Some(1), &json!(2)));
    assert_eq!(report["by_tool"], json!([{ "name": "<b>read</b>", "count": 2 }]), "calls and their answers");
    let run = tidegate(dir.path(), &["scan", "--report", "html", "--output", "r.html", "data"]);
    assert_eq!((run.code, run.out.as_str(), run.err.as_str()), (Some(1), "", ""));
    let html = fs::read_to_string(dir.join("r.html")).unwrap();
    all_in(
        &html,
        &["<svg", "EMAIL_ADDRESS", "data/a.txt", "ja…rg", "1 left out: binary files", "prefers-color-scheme"],
    );
    assert!(!html.contains("jane.doe") && !html.contains("4111"), "a report holds no values");
    let run = tidegate(dir.path(), &["scan", "--input", "jsonl", "--report", "html", "data"]);
    all_in(&run.out, &["&lt;b&gt;read&lt;/b&gt;"]);
    assert!(!run.out.contains("<b>read"), "names are escaped");
    let run = tidegate(dir.path(), &["scan", "--redact", "data"]);
    assert_eq!(run.code, Some(2));
    all_in(&run.err, &["is a folder"]);
    let run = tidegate(dir.path(), &["scan", "--report", "json", "--output", "no/such/folder", "data"]);
    assert_eq!(run.code, Some(2));
}

#[test]
fn reports_over_audit_segments() {
    let upstream =
        RecordingUpstream::result(json!({ "content": [{ "type": "text", "text": "jane.doe@example.org" }] }));
    let mut gateway = Gateway::start(&Gateway::config(&[("s", &upstream.url())]));
    for tool in ["one", "one", "two"] {
        let (_, answer) = call(&gateway, &upstream, tool, "call 203.0.113.254");
        all_in(&answer, &["[REDACTED:EMAIL_ADDRESS]"]);
    }
    assert!(gateway.stop().success());
    let dir = gateway.dir();
    let run = tidegate(dir, &["scan", "--input", "audit", "--report", "json", "audit"]);
    let report = run.json();
    assert_eq!(
        (run.code, &report["calls"], &report["findings"]),
        (Some(1), &json!(3), &json!(6)),
        "{report}"
    );
    assert_eq!(report["by_server"], json!([{ "name": "s", "count": 6 }]));
    assert_eq!(report["by_tool"][0], json!({ "name": "one", "count": 4 }));
    assert_eq!(report["by_decision"], json!([{ "name": "redact", "count": 3 }]));
    assert_eq!(report["samples"], json!([]));
    let run = tidegate(dir, &["scan", "--input", "audit", "audit"]);
    all_in(&run.out, &["3 calls, 6 findings", "IP_ADDRESS", "one"]);
    let run = tidegate(dir, &["scan", "--input", "audit", "--redact", "audit"]);
    assert_eq!(run.code, Some(2));
    fs::write(dir.join("no.ndjson"), "{}\nx\n").unwrap();
    let run = tidegate(dir, &["scan", "--input", "audit", "no.ndjson"]);
    assert_eq!(run.code, Some(2));
    all_in(&run.err, &["2 line(s) are no audit records"]);
}

/// The help teaches, and fits a terminal.
#[test]
fn help() {
    for (command, needles) in [
        (&["rules"][..], &["list", "explain", "test", "import", "bench", "rule_files", "Exit codes"][..]),
        (&["rules", "list"], &["--type", "--family", "--format"]),
        (&["rules", "test"], &["--config", "counter-example", "Exits with"]),
        (&["rules", "explain"], &["ID"]),
        (&["rules", "import"], &["gitleaks", "--output", "line by line"]),
        (&["rules", "bench"], &["--text", "--config"]),
        (&["scan"], &["--report", "--output", "audit"]),
    ] {
        let mut arguments = command.to_vec();
        arguments.push("--help");
        let mut all = Command::new(project::tidegate());
        all.args(&arguments);
        let done = Process::run(all, wait::START);
        assert!(done.success(), "{}", done.output);
        all_in(&done.output, needles);
        assert!(
            done.output.lines().all(|line| line.chars().count() <= 160),
            "{arguments:?}: {}",
            done.output
        );
    }
}
