use super::super::{ActionTable, Config, Durability, IoDriver, Mode, TokenScope};
use super::reference::{json_schema, reference_markdown};
use super::schema::{Absent, Field, Kind, ROOT};
use super::{EMBEDDED_DEFAULT, Env, Mistake, load};
use crate::limits::{Limits, SPECS};
use std::path::{Path, PathBuf};

/// A world with some variables and files.
fn load_here(yaml: &str) -> Result<Config, Vec<Mistake>> {
    let var = |name: &str| {
        let value = match name {
            "CRM_KEY" => "s3cr3t-value",
            "PORT" => "3001",
            "FOUR" => "4",
            "YES" => "true",
            "EMPTY" => "",
            "LINES" => "a\nb",
            "RULES" => "rules.toml",
            "FILE" => "file:/run/secrets/key",
            _ => return None,
        };
        Some(value.to_owned())
    };
    let file = |path: &Path| match path.to_str() {
        Some("/run/secrets/key") => Ok("k3y-in-a-file\n".to_owned()),
        Some("rules.toml") => Ok("# none\n".to_owned()),
        Some("big.toml") => Ok("#".repeat(5 << 20)),
        Some("/run/secrets/two-lines") => Ok("one\ntwo\n".to_owned()),
        _ => Err("no such file".to_owned()),
    };
    load(yaml, Env { var: &var, file: &file })
}

fn good(yaml: &str) -> Config {
    load_here(yaml).unwrap_or_else(|mistakes| panic!("{yaml}\n{}", lines(&mistakes)))
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|m| format!("{m}\n")).collect()
}

/// Exactly these mistakes, by path and a part of the line; no line shows a secret.
#[track_caller]
fn check(yaml: &str, expect: &[(&str, &str)]) {
    let mistakes = load_here(yaml).expect_err("should be refused");
    let said = lines(&mistakes);
    for (path, needle) in expect {
        let found = mistakes.iter().any(|m| m.path == *path && m.to_string().contains(needle));
        assert!(found, "no mistake at {path} with {needle:?} for:\n{yaml}\ngot:\n{said}");
    }
    assert_eq!(mistakes.len(), expect.len(), "for:\n{yaml}\ngot:\n{said}");
    for secret in ["s3cr3t-value", "k3y-in-a-file"] {
        assert!(!said.contains(secret), "{said}");
    }
}

/// As [`check`], with `yaml` below a server that is right otherwise.
#[track_caller]
fn check_server(yaml: &str, expect: &[(&str, &str)]) {
    let body = yaml.lines().map(|l| format!("    {l}\n")).collect::<String>();
    check(&format!("servers:\n  crm:\n    url: http://crm/mcp\n{body}"), expect);
}

/// As [`check`], beside `demo: true`.
#[track_caller]
fn check_root(yaml: &str, expect: &[(&str, &str)]) {
    check(&format!("demo: true\n{yaml}\n"), expect);
}

#[test]
fn the_embedded_default_is_right_and_says_what_it_means() {
    let config = load(EMBEDDED_DEFAULT, Env::NONE).expect("the embedded default is right");
    assert_eq!(config, good("demo: true"), "it spells out the defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.admin.map(|a| a.to_string()).as_deref(), Some("127.0.0.1:9090"));
    assert_eq!((config.workers, config.io), (None, IoDriver::Auto));
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.inspection.actions.request.mode("EMAIL_ADDRESS"), Mode::Redact);
    assert_eq!(config.audit.dir, Path::new("./tidegate-data/audit"));
    assert_eq!((config.audit.enabled, config.audit.durability), (true, Durability::Async));
    assert_eq!((config.log.level.as_str(), config.log.json), ("info", false));
}

#[test]
fn every_key_reaches_its_place() {
    let config = good(
        r#"
listen: 0.0.0.0:8443
admin: off
workers: 4
io: epoll
allowed_hosts: [GW.Example.com, "::1"]
allowed_origins: ["https://App.example.com:443"]
demo: false
servers:
  crm:
    url: "https://crm:${PORT}/mcp"
    tls: { ca: /etc/ssl/corp.pem }
    headers: { X-Api-Key: "Key ${CRM_KEY}", Authorization: "file:/run/secrets/key", X-Plain: "$${A} $1 $$" }
    forward_headers: [X-Tenant]
    inspection: { disabled_rules: [a], tools: { "read file": { mode: block, disabled_rules: [b, a] }, t: {} } }
limits: { body_bytes_max: 1048576 }
inspection:
  mode: detect
  custom: [{ id: account-number, type: ACCOUNT_NUMBER, pattern: 'ACCT-\d{6,10}', examples: [ACCT-123456], counter_examples: ["1"] }]
  disabled_rules: [us-ssn]
  rule_files: ["${RULES}"]
audit: { enabled: false, dir: /var/lib/audit, durability: strict, segment_bytes_max: 65536, segment_age_s_max: 5, ring_bytes: 1048576 }
log: { level: "info,tidegate=debug", format: json }
"#,
    );
    assert_eq!(config.listen.to_string(), "0.0.0.0:8443");
    assert_eq!((config.admin, config.workers, config.io), (None, Some(4), IoDriver::Epoll));
    assert_eq!(config.allowed_hosts, ["gw.example.com", "[::1]"]);
    assert_eq!(config.allowed_origins, ["https://app.example.com"]);
    let crm = &config.servers["crm"];
    assert_eq!((crm.url.authority.as_str(), crm.url.path.as_str(), crm.url.tls), ("crm:3001", "/mcp", true));
    assert_eq!(crm.tls_ca.as_deref(), Some(Path::new("/etc/ssl/corp.pem")));
    let headers: Vec<_> = crm.headers.iter().map(|(n, v)| (n.as_str(), v.expose())).collect();
    assert_eq!(
        headers,
        [("authorization", "k3y-in-a-file"), ("x-api-key", "Key s3cr3t-value"), ("x-plain", "${A} $1 $$")]
    );
    assert_eq!(crm.forward_headers, ["x-tenant"]);
    assert_eq!(config.limits.body_bytes_max, 1_048_576);
    let rule = &config.inspection.custom[0];
    assert_eq!((rule.id.as_str(), rule.kind.as_str()), ("account-number", "ACCOUNT_NUMBER"));
    assert_eq!(rule.pattern, r"ACCT-\d{6,10}");
    assert_eq!((rule.examples.len(), rule.counter_examples.len()), (1, 1));
    assert_eq!(config.inspection.disabled_rules, ["us-ssn"]);
    let files: Vec<_> =
        config.inspection.rule_files.iter().map(|f| (f.path.as_str(), f.text.as_str())).collect();
    assert_eq!(files, [("rules.toml", "# none\n")]);
    assert_eq!(crm.disabled_rules, ["a"]);
    assert_eq!(crm.tools["read file"].disabled_rules, ["a", "b"]);
    assert_eq!(crm.tools["t"].disabled_rules, ["a"]);
    assert_eq!(crm.tools["read file"].actions.request.mode("X"), Mode::Block);
    assert_eq!(crm.tools["t"].actions, crm.inspection);
    assert!(!config.audit.enabled);
    assert_eq!((config.audit.durability, config.audit.segment_age_s_max), (Durability::Strict, 5));
    assert_eq!((config.audit.segment_bytes_max, config.audit.ring_bytes), (65_536, 1_048_576));
    assert_eq!((config.log.level.as_str(), config.log.json), ("info,tidegate=debug", true));
    assert!(!format!("{config:?}").contains("s3cr3t"), "Debug hides secrets");
    assert_eq!(good("demo: true\nworkers: \"${FOUR}\"").workers, Some(4));
    assert_eq!(
        good("servers: { demo: { url: http://a/ } }").servers.len(),
        1,
        "demo is free when demo is false"
    );
}

#[test]
fn the_narrowest_setting_decides() {
    // Expectations: request and response action for A, B (named nowhere unless said) with the server's settings.
    let actions = |global: &str, server: &str| -> ActionTable {
        let yaml =
            format!("servers: {{ s: {{ url: http://a/, inspection: {server} }} }}\ninspection: {global}");
        good(&yaml).servers["s"].inspection.clone()
    };
    for (global, server, expect) in [
        ("{}", "{}", "A redact redact B redact redact"),
        ("{ mode: detect }", "{}", "A detect detect B detect detect"),
        ("{ mode: detect, request: { mode: block } }", "{}", "A block detect B block detect"),
        ("{ request: { mode: block }, types: { A: off } }", "{}", "A off off B block redact"),
        ("{ types: { A: off }, request: { types: { A: block } } }", "{}", "A block off B redact redact"),
        ("{ types: { A: off } }", "{ mode: detect }", "A detect detect B detect detect"),
        ("{ types: { A: off } }", "{ request: { mode: detect } }", "A detect off B detect redact"),
        ("{ types: { A: off } }", "{ types: { A: block } }", "A block block B redact redact"),
        ("{ request: { types: { A: off } } }", "{ types: { A: block } }", "A block block B redact redact"),
        ("{ types: { A: off } }", "{ types: { B: block } }", "A off off B block block"),
        (
            "{}",
            "{ mode: off, types: { A: block }, response: { types: { A: detect } } }",
            "A block detect B off off",
        ),
        ("{}", "{ mode: block, response: { mode: off } }", "A block off B block off"),
    ] {
        let table = actions(global, server);
        let show = |t: &str| {
            format!("{t} {:?} {:?}", table.request.mode(t), table.response.mode(t)).replace("Mode::", "")
        };
        let got = format!("{} {}", show("A"), show("B")).to_lowercase();
        assert_eq!(got, expect.to_lowercase(), "global {global} server {server}");
    }
}

#[test]
fn documents_that_are_no_configuration() {
    for empty in ["", " \n", "# nothing\n", "---\n", "null", "~"] {
        check(empty, &[("config file", "is empty")]);
    }
    for other in ["- a\n", "hello", "42", "[]"] {
        check(other, &[("config file", "is not a mapping")]);
    }
    check("{}", &[("servers", "there is no server")]);
    check(
        "demo: true\nlisten: [\n",
        &[("line 2, column 9", "not valid YAML: unclosed bracket '['; correct")],
    );
    check("demo: true\n---\ndemo: true\n", &[("line 3, column 1", "more than one YAML document")]);
    check("demo: true\ndemo: true\n", &[("line 2, column 1", "the key demo appears twice")]);
    check(
        "demo: true\nservers: { a: { url: http://a }, a: { url: ftp://b } }\n",
        &[("line 2, column 34", "the key a appears twice"), ("servers.a.url", "must begin with http://")],
    );
    let bad = load_here("headers: \"s3cr3t-value\n").expect_err("an open quote");
    assert!(!lines(&bad).contains("s3cr3t"), "the reader's excerpt is not shown: {}", lines(&bad));
}

#[test]
fn unknown_keys_come_with_a_guess_and_the_valid_ones() {
    check_root("lisen: 1", &[("lisen", "did you mean listen? Valid keys here: listen, admin, workers")]);
    check_root("zzz: 1", &[("zzz", "unknown key; Valid keys here: listen")]);
    check_root("\"a.b\": 1", &[("\"a.b\"", "unknown key")]);
    check_root(
        "limits: { body_max: 1, head-bytes-max: 4096 }",
        &[("limits.body_max", "unknown key"), ("limits.head-bytes-max", "did you mean head_bytes_max?")],
    );
    check_server(
        "tls: { cert: a }\nheader: { X-Key: \"${CRM_KEY}\" }",
        &[("servers.crm.tls.cert", "Valid keys here: ca"), ("servers.crm.header", "did you mean headers?")],
    );
    check_root(
        "inspection: { requests: {}, response: { type: {} }, custom: [{ id: a, pattern: b, name: c }] }",
        &[
            ("inspection.requests", "did you mean request?"),
            ("inspection.response.type", "did you mean types?"),
            ("inspection.custom[0].name", "unknown key"),
        ],
    );
    check_server("inspection: { custom: [] }", &[("servers.crm.inspection.custom", "unknown key")]);
}

#[test]
fn wrong_types() {
    check_root("listen: 8080", &[("listen", "= 8080: must be text, not a number")]);
    check_root("listen:", &[("listen", "has no value; delete the line, or write e.g. 127.0.0.1:8080")]);
    check_root(
        "workers: many\nio: 1",
        &[("workers", "\"many\": must be auto or a whole number"), ("io", "a word")],
    );
    check_root("workers: \"4\"", &[("workers", "must be auto or a whole number, not text")]);
    check_root("admin: false", &[("admin", "must be text, not true or false")]);
    check_root(
        "allowed_hosts: gw.example.com",
        &[("allowed_hosts", "must be a list, not text; write [ … ] around it")],
    );
    check_root(
        "allowed_hosts: [1, [], gw]",
        &[("allowed_hosts[0]", "put it in quotes"), ("allowed_hosts[1]", "not a list")],
    );
    check("demo: \"yes\"", &[("demo", "must be true or false, not text")]);
    check("servers: [a]", &[("servers", "must be a mapping of keys to values, not a list")]);
    check("servers: { a: http://a }", &[("servers.a", "must be a mapping of keys to values, not text")]);
    check(
        "servers: { a: {} }",
        &[("servers.a.url", "is missing; add it, e.g. url: http://127.0.0.1:3001/mcp")],
    );
    check_root(
        "inspection: { mode: false, types: { A: 1 } }",
        &[("inspection.mode", "write off"), ("inspection.types.A", "a word")],
    );
    check_root(
        "limits: { body_bytes_max: 4MiB }",
        &[("limits.body_bytes_max", "must be a whole number, not text")],
    );
    check_server(
        "headers: { X-Key: 12345 }",
        &[("servers.crm.headers.X-Key", "X-Key: must be text, not a number; put it in quotes")],
    );
}

#[test]
fn words_and_ranges() {
    let limit = "= 0: must be 1024..=67108864 (largest request body held for inspection; larger ones are \
                 answered 413); delete the line to get 4194304";
    check_root("limits: { body_bytes_max: 0 }", &[("limits.body_bytes_max", limit)]);
    check_root("workers: 0", &[("workers", "must be auto or 1..=1024")]);
    check_root("workers: 1025", &[("workers", "delete the line to get auto")]);
    check_root(
        "limits: { json_depth_max: 65, drain_ms: -1, id_bytes_max: 16.5 }",
        &[
            ("limits.json_depth_max", "must be 8..=64"),
            ("limits.drain_ms", "= -1: must be 0..=3600000"),
            ("limits.id_bytes_max", "= 16.5: must be 16..=1024"),
        ],
    );
    check_root("io: iouring", &[("io", "must be one of auto, io_uring, epoll; did you mean io_uring?")]);
    check_root(
        "inspection: { mode: deny }",
        &[(
            "inspection.mode",
            "must be one of off, detect, mask, tokenize, hash, redact, block; write e.g. off",
        )],
    );
    check_root(
        "audit: { durability: sync, segment_bytes_max: 1, segment_age_s_max: 0, ring_bytes: 1 }",
        &[
            ("audit.durability", "did you mean async?"),
            ("audit.segment_bytes_max", "must be 65536..="),
            ("audit.segment_age_s_max", "must be 1..=86400"),
            ("audit.ring_bytes", "delete the line to get 33554432"),
        ],
    );
    check_root(
        "log: { level: inof, format: xml }",
        &[("log.level", "is not a log level"), ("log.format", "text, json")],
    );
    for spec in SPECS {
        let yaml = |n: u64| format!("demo: true\nlimits: {{ {}: {n} }}", spec.name);
        check(&yaml(spec.max + 1), &[(&format!("limits.{}", spec.name), spec.reason)]);
    }
}

#[test]
fn addresses_hosts_and_origins() {
    check_root("listen: localhost:80", &[("listen", "write 127.0.0.1 in place of localhost")]);
    check_root("listen: 127.0.0.1", &[("listen", "must be an IP address and a port")]);
    check_root("admin: on", &[("admin", "must be an IP address and a port")]);
    check_root("listen: 127.0.0.1:9090", &[("admin", "has the same port as listen")]);
    check_root("listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nio: x", &[("io", "")]);
    check_root(
        "listen: 0.0.0.0:80",
        &[("allowed_hosts", "listen = 0.0.0.0:80 can be reached from other machines")],
    );
    check_root("listen: 10.0.0.1:80\nallowed_hosts: []", &[("allowed_hosts", "[\"*\"]")]);
    check_root(
        "listen: 0.0.0.0:80\nallowed_hosts: [\"a:1\"]",
        &[("allowed_hosts[0]", "must not have a port")],
    );
    check_root("allowed_hosts: [\"*\", a]", &[("allowed_hosts", "has \"*\" beside other names")]);
    check_root("allowed_hosts: [a, A]", &[("allowed_hosts[1]", "is on the list twice")]);
    check_root(
        "allowed_origins: [https://a/, \"*\", https://b, https://b:443]",
        &[
            ("allowed_origins[0]", "no final slash"),
            ("allowed_origins[1]", "would accept every web page"),
            ("allowed_origins[3]", "is on the list twice"),
        ],
    );
    for fine in ["127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
        good(&format!("demo: true\nlisten: \"{fine}\""));
    }
}

#[test]
fn servers_and_their_headers() {
    check(
        "demo: true\nservers: { demo: { url: http://a } }",
        &[("servers.demo", "belongs to the built-in demo server")],
    );
    check(
        "servers: { Crm: { url: http://a }, a.b: { url: http://a } }",
        &[("servers.Crm", "a server name is 1 to 63 of a-z"), ("servers.\"a.b\"", "a server name is")],
    );
    check(
        "servers: { crm: { url: \"ftp://x\" } }",
        &[(
            "servers.crm.url",
            "servers.crm.url = \"ftp://x\": must begin with http:// or https://; write e.g. http://127.0.0.1:3001/mcp",
        )],
    );
    check_server("tls: { ca: /a.pem }", &[("servers.crm.tls", "has no effect")]);
    for name in [
        "Connection",
        "te",
        "Upgrade",
        "Transfer-Encoding",
        "Host",
        "Content-Length",
        "Content-Type",
        "Cookie",
        "Mcp-Session-Id",
        "MCP-Anything",
        "Last-Event-ID",
        "Accept-Encoding",
        "Proxy-Authorization",
        "\"a b\"",
        "\"\"",
    ] {
        let plain = name.trim_matches('"');
        let path = if plain == name {
            format!("servers.crm.headers.{plain}")
        } else {
            format!("servers.crm.headers.{name}")
        };
        check_server(&format!("headers: {{ {name}: x }}"), &[(&path, "")]);
        check_server(&format!("forward_headers: [{name}]"), &[("servers.crm.forward_headers[0]", "")]);
    }
    check_server(
        "forward_headers: [Authorization, DPoP]",
        &[
            ("servers.crm.forward_headers[0]", "the server's own credential goes into headers"),
            ("servers.crm.forward_headers[1]", "must not reach a server"),
        ],
    );
    check_server("headers: { X-A: a, x-a: b }", &[("servers.crm.headers.x-a", "is there twice")]);
    check_server(
        "forward_headers: [X-A, x-a]",
        &[("servers.crm.forward_headers[1]", "is on the list twice")],
    );
    check_server(
        "headers: { X-A: a }\nforward_headers: [x-a]",
        &[("servers.crm.forward_headers", "x-a is also in headers")],
    );
}

#[test]
fn variables_and_files() {
    check_root(
        "listen: \"127.0.0.1:${NOPE}\"",
        &[("listen", "the environment variable NOPE is not set; set NOPE")],
    );
    check_root(
        "log: { level: \"${NOPE},${ALSO}\" }",
        &[("log.level", "variable NOPE"), ("log.level", "variable ALSO")],
    );
    check_root("listen: \"${CRM_KEY}\"", &[("listen", "= \"${CRM_KEY}\": must be an IP address")]);
    check_root("workers: \"${CRM_KEY}\"", &[("workers", "= \"${CRM_KEY}\": must be auto or a whole number")]);
    check_root("io: \"${CRM_KEY}\"", &[("io", "= \"${CRM_KEY}\": must be one of")]);
    for broken in ["${", "${}", "${A B}", "${1A}", "x${A"] {
        check_root(
            &format!("audit: {{ dir: \"{broken}\" }}"),
            &[("audit.dir", "has ${ without a variable name")],
        );
    }
    assert_eq!(
        good("demo: true\naudit: { dir: \"a$${PORT}/${PORT}$\" }").audit.dir,
        Path::new("a${PORT}/3001$")
    );
    let header = |value: &str, needle: &str| {
        check_server(&format!("headers: {{ X-A: \"{value}\" }}"), &[("servers.crm.headers.X-A", needle)]);
    };
    header("${EMPTY}", "the value is empty");
    header("${LINES}", "contains a line break");
    header("a\\0b", "contains a line break or NUL");
    header("s3cr3t-value\\x7f", "not visible ASCII");
    header("s3cr3t-value ", "begins or ends with a space");
    header("file:run/key", "must begin with /");
    header("file:/nowhere", "/nowhere cannot be read: no such file");
    header("file:/run/secrets/two-lines", "contains a line break");
    let from_variable = good("servers: { a: { url: http://a, headers: { X-A: \"${FILE}\" } } }");
    assert_eq!(
        from_variable.servers["a"].headers[0].1.expose(),
        "file:/run/secrets/key",
        "a value names no file"
    );
}

#[test]
fn rules_limits_and_many_mistakes_at_once() {
    check_root(
        "inspection: { types: { email: off }, disabled_rules: [A, b, b] }",
        &[
            ("inspection.types.email", "a finding type is"),
            ("inspection.disabled_rules[0]", "must be 1 to 64 of a-z"),
            ("inspection.disabled_rules[2]", "is on the list twice"),
        ],
    );
    check_root(
        "inspection: { disabled_rules: [a], custom: [{ id: a, pattern: x }, { id: a, pattern: \"\" }, {}, 1] }",
        &[
            ("inspection.custom[1].id", "another rule has this id"),
            ("inspection.custom[1].pattern", "is empty"),
            ("inspection.custom[2].id", "is missing"),
            ("inspection.custom[2].pattern", "is missing"),
            ("inspection.custom[3]", "must be a mapping"),
            ("inspection.disabled_rules", "a is a rule of inspection.custom"),
        ],
    );
    check_root(
        "inspection: { rule_files: [\"\", none.toml, rules.toml, rules.toml, big.toml, 1] }",
        &[
            ("inspection.rule_files[0]", "is not a path"),
            ("inspection.rule_files[1]", "cannot be read: no such file"),
            ("inspection.rule_files[3]", "is on the list twice"),
            ("inspection.rule_files[4]", "has more than"),
            ("inspection.rule_files[5]", "must be text"),
        ],
    );
    check_server(
        "inspection: { disabled_rules: [x, x], tools: { \"\": {}, t: { custom: [], mode: x, disabled_rules: [B, y, y] } } }",
        &[
            ("servers.crm.inspection.disabled_rules[1]", "is on the list twice"),
            ("servers.crm.inspection.tools.\"\"", "a tool name has"),
            ("servers.crm.inspection.tools.t.custom", "unknown key"),
            ("servers.crm.inspection.tools.t.mode", "must be one of"),
            ("servers.crm.inspection.tools.t.disabled_rules[0]", "must be 1 to 64"),
            ("servers.crm.inspection.tools.t.disabled_rules[2]", "is on the list twice"),
        ],
    );
    check_root(
        "limits: { buffered_bytes_max: 5000000, head_bytes_max: 1024 }",
        &[
            ("limits.buffered_bytes_max", "must not be below limits.response_bytes_max, which is 16777216"),
            ("limits.head_bytes_max", "must not be below limits.request_line_bytes_max"),
        ],
    );
    check(
        "listen: here\nworker: 1\nio: x\nservers: { A: { url: ftp://x, headers: { Host: y } } }\nlimits: { drain_ms: -1 }",
        &[
            ("worker", "did you mean workers?"),
            ("listen", "= \"here\": must be an IP address"),
            ("io", "must be one of"),
            ("servers.A", "a server name is"),
            ("servers.A.url", "must begin with http://"),
            ("servers.A.headers.Host", "is made from the server's url"),
            ("limits.drain_ms", "= -1"),
        ],
    );
}

#[test]
fn the_schema_has_every_key_with_readable_defaults() {
    let schema: serde_json::Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    let body = &schema["properties"]["limits"]["properties"]["body_bytes_max"];
    assert_eq!(
        (&body["minimum"], &body["maximum"], &body["default"]),
        (&1024.into(), &67_108_864.into(), &4_194_304.into())
    );
    let server = &schema["properties"]["servers"]["additionalProperties"];
    assert_eq!(server["required"], serde_json::json!(["url"]));
    assert_eq!(server["additionalProperties"], false);
    walk(ROOT, &schema);

    fn walk(fields: &[Field], schema: &serde_json::Value) {
        assert_eq!(schema["additionalProperties"], false);
        for f in fields {
            let p = &schema["properties"][f.name];
            assert!(p["description"].is_string() && !f.doc.ends_with('.'), "{}", f.name);
            if let Absent::Is(_) = f.absent {
                assert!(!p["default"].is_null(), "the default of {} is JSON", f.name);
            }
            match f.kind {
                Kind::Section(below) => walk(below, p),
                Kind::Map(_, Kind::Section(below)) => walk(below, &p["additionalProperties"]),
                Kind::List(Kind::Section(below)) => walk(below, &p["items"]),
                _ => {}
            }
        }
    }
}

/// The defaults that `build` applies are those the tables promise.
#[test]
fn writing_out_every_default_changes_nothing() {
    fn spelled(fields: &[Field]) -> serde_json::Value {
        let of = |f: &Field| match (f.kind, f.absent) {
            (Kind::Section(below), _) => Some(spelled(below)),
            (_, Absent::Is(json)) => serde_json::from_str(json).ok(),
            (_, Absent::Count(n)) => Some(n.into()),
            (_, Absent::Required | Absent::Means(_)) => None,
        };
        fields
            .iter()
            .filter_map(|f| Some((f.name.to_owned(), of(f)?)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
    let mut all = spelled(ROOT);
    all["demo"] = true.into();
    assert_eq!(good(&all.to_string()), good("demo: true"));
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

#[test]
fn the_reference_is_up_to_date() {
    let path = docs().join("CONFIG.md");
    let made = reference_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &made).expect("docs/CONFIG.md can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "docs/CONFIG.md is not up to date; run UPDATE_DOCS=1 cargo test -p tidegate-core config"
    );
}

/// Blocks marked `yaml` in docs/CONFIG.md, and in other documents those whose first line is `# tidegate.yaml`.
#[test]
fn every_example_in_the_docs_is_right() {
    let mut seen = 0;
    let documents =
        std::fs::read_dir(docs()).expect("docs/ exists").filter_map(Result::ok).map(|entry| entry.path());
    for path in documents.filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = std::fs::read_to_string(&path).expect("a document is text");
        for block in
            text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block)
        {
            if path.ends_with("CONFIG.md") || block.starts_with("# tidegate.yaml") {
                let var = |_: &str| Some("x".to_owned());
                let file = |_: &Path| Ok("x\n".to_owned());
                let result = load(block, Env { var: &var, file: &file });
                assert!(result.is_ok(), "{}:\n{block}\n{}", path.display(), lines(&result.unwrap_err()));
                seen += 1;
            }
        }
    }
    assert!(seen >= 3, "found {seen} examples");
}

#[test]
fn hashes_and_tokens_need_a_key() {
    let missing = "is missing, but hash, tokenize and detokenize need it";
    for inspection in [
        "inspection: { mode: hash }",
        "inspection: { types: { EMAIL_ADDRESS: tokenize } }",
        "servers: { a: { url: http://a, inspection: { detokenize: [EMAIL_ADDRESS] } } }",
        "servers: { a: { url: http://a, inspection: { response: { mode: hash } } } }",
        "servers: { a: { url: http://a, inspection: { tools: { t: { mode: tokenize } } } } }",
    ] {
        let yaml = format!("demo: true\n{inspection}\n");
        let mistakes = load_here(&yaml).unwrap_err();
        assert!(mistakes.iter().any(|m| m.path == "inspection.key" && m.problem == missing), "{yaml}");
    }
    let key = |n: usize| format!("demo: true\ninspection: {{ mode: hash, key: {} }}\n", "k".repeat(n));
    let config = load_here(&key(32)).unwrap();
    assert_eq!(config.inspection.token_scope, TokenScope::Deployment);
    assert!(!format!("{config:?}").contains("kkkk"));
    assert!(load_here(&key(31)).unwrap_err().iter().any(|m| m.path == "inspection.key"));
}

/// A damaged file is refused with something to read, or accepted; it never stops the process.
#[test]
fn damaged_files_are_answered() {
    const MARKS: &[u8] = b"{}[]:,#&*!|>'\"%@`-?$ \n\t0aA~/.";
    let whole = reference_markdown();
    let example =
        whole.split("```yaml\n").nth(3).and_then(|rest| rest.split_once("```")).expect("three examples").0;
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..3000 {
        let mut bytes = example.as_bytes().to_vec();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            match next(3) {
                0 => bytes[at] = MARKS[next(MARKS.len())],
                1 => drop(bytes.remove(at)),
                _ => bytes.truncate(at + 1),
            }
        }
        let yaml = String::from_utf8_lossy(&bytes);
        if let Err(mistakes) = load_here(&yaml) {
            assert!(
                mistakes.iter().all(|m| !m.path.is_empty() && !m.problem.is_empty() && !m.remedy.is_empty()),
                "{yaml}"
            );
            assert!(!mistakes.is_empty(), "{yaml}");
        }
    }
}
