//! From a tree of right values to the typed [`Config`], with the rules that involve more than one key.
//!
//! What `walk` refused is absent here and takes its default; the mistakes are on the list already.

use super::super::{
    ActionTable, Actions, AuditConfig, Config, CustomRule, Durability, InspectionConfig, IoDriver, LogConfig,
    Mode, RuleFile, Secret, ServerConfig, TokenScope, ToolInspection,
};
use super::text;
use super::walk::{Map, Node, join};
use super::{Env, Mistake};
use crate::limits::{Limits, SPECS};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Shortest `inspection.key`: as many bits as the strongest thing made with it.
const KEY_BYTES_MIN: usize = 32;

/// Largest rule file, in bytes: a thousand rules with many examples have a third of it.
const RULE_FILE_BYTES_MAX: usize = 4 << 20;

/// Makes the configuration. With mistakes on the list it is one of what is right.
pub(super) fn build(root: &Map, env: Env<'_>, mistakes: &mut Vec<Mistake>) -> Config {
    let mut build = Build { env, mistakes };
    let log = root.map("log");
    let (listen, admin) = build.addresses(root);
    let actions = global_actions(root.map("inspection"));
    let demo = root.flag("demo").unwrap_or(false);
    let config = Config {
        listen,
        admin,
        workers: root.count("workers").and_then(|n| usize::try_from(n).ok()),
        io: match root.text("io") {
            Some("io_uring") => IoDriver::IoUring,
            Some("epoll") => IoDriver::Epoll,
            _ => IoDriver::Auto,
        },
        allowed_hosts: build.allowed_hosts(root, listen),
        allowed_origins: build.distinct(root, "", "allowed_origins", |s| text::origin(s).ok()),
        servers: build.servers(root, demo, &actions),
        demo,
        limits: build.limits(root.map("limits")),
        inspection: build.inspection(root.map("inspection"), actions),
        audit: audit(root.map("audit")),
        log: LogConfig {
            level: log.text("level").unwrap_or("info").to_owned(),
            json: log.text("format") == Some("json"),
        },
    };
    Build { env, mistakes }.keyed_actions(&config);
    config
}

struct Build<'a> {
    env: Env<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

impl Build<'_> {
    fn mistake(
        &mut self,
        path: &str,
        value: Option<String>,
        problem: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            path: path.to_owned(),
            value,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// True when something at or below `path` is on the list already.
    fn reported(&self, path: &str) -> bool {
        self.mistakes
            .iter()
            .any(|m| m.path.strip_prefix(path).is_some_and(|r| r.is_empty() || r.starts_with(['.', '['])))
    }

    fn addresses(&mut self, root: &Map) -> (SocketAddr, Option<SocketAddr>) {
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let given = |key| root.text(key).and_then(|s| text::address(s).ok());
        let listen = given("listen").unwrap_or(local(8080));
        let admin = match root.text("admin") {
            Some("off") => None,
            _ => Some(given("admin").unwrap_or(local(9090))),
        };
        let same_ip = |a: SocketAddr, b: SocketAddr| {
            a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified()
        };
        if let Some(admin) = admin
            && admin.port() != 0
            && admin.port() == listen.port()
            && same_ip(admin, listen)
            && !self.reported("listen")
            && !self.reported("admin")
        {
            let problem = format!("has the same port as listen ({listen})");
            self.mistake("admin", Some(admin.to_string()), problem, "choose another port, or write off");
        }
        (listen, admin)
    }

    fn allowed_hosts(&mut self, root: &Map, listen: SocketAddr) -> Vec<String> {
        let hosts = self.distinct(root, "", "allowed_hosts", |s| text::allowed_host(s).ok());
        if hosts.len() > 1 && hosts.iter().any(|h| h == "*") {
            self.mistake(
                "allowed_hosts",
                None,
                "has \"*\" beside other names",
                "remove \"*\", or write only [\"*\"]",
            );
        }
        if hosts.is_empty() && !text::is_loopback(listen.ip()) && !self.reported("allowed_hosts") {
            let problem = format!(
                "must name the hosts clients use, because listen = {listen} can be reached from other machines"
            );
            let remedy =
                "write e.g. allowed_hosts: [gw.example.com], or [\"*\"] when something in front checks Host";
            self.mistake("allowed_hosts", None, problem, remedy);
        }
        hosts
    }

    /// The texts of a list in normal form; two that mean the same are a mistake.
    fn distinct(
        &mut self,
        at: &Map,
        path: &str,
        key: &str,
        normal: impl Fn(&str) -> Option<String>,
    ) -> Vec<String> {
        let mut seen = Vec::new();
        for (i, written) in at.texts(key) {
            let Some(value) = normal(written) else { continue };
            if seen.contains(&value) {
                let here = format!("{}[{i}]", join(path, key));
                self.mistake(&here, Some(format!("{written:?}")), "is on the list twice", "remove one");
            } else {
                seen.push(value);
            }
        }
        seen
    }

    fn servers(&mut self, root: &Map, demo: bool, global: &ActionTable) -> BTreeMap<String, ServerConfig> {
        let mut servers = BTreeMap::new();
        let all = root.map("servers");
        for (name, node) in &all.0 {
            let Node::Map(server) = node else { continue };
            let path = join("servers", name);
            if demo && name == "demo" {
                let problem = "the name demo belongs to the built-in demo server";
                self.mistake(&path, None, problem, "choose another name, or write demo: false");
            }
            if let Some(server) = self.server(&path, server, global) {
                servers.insert(name.clone(), server);
            }
        }
        if all.0.is_empty() && !demo && !self.reported("servers") && !self.reported("demo") {
            let remedy = "add e.g. servers: { crm: { url: http://127.0.0.1:3001/mcp } }, or demo: true to try the gateway";
            self.mistake("servers", None, "there is no server", remedy);
        }
        servers
    }

    fn server(&mut self, path: &str, server: &Map, global: &ActionTable) -> Option<ServerConfig> {
        let headers = self.headers(path, server);
        let forward_headers =
            self.distinct(server, path, "forward_headers", |s| Some(s.to_ascii_lowercase()));
        for name in forward_headers.iter().filter(|name| headers.iter().any(|(own, _)| own == *name)) {
            let problem = format!("{name} is also in headers");
            let remedy = "remove it here to send the value of headers, or there to pass on the client's";
            self.mistake(&join(path, "forward_headers"), None, problem, remedy);
        }
        let tls_ca = server.map("tls").text("ca").map(PathBuf::from);
        let given = server.map("inspection");
        let here = join(path, "inspection");
        let inspection = server_actions(given, global);
        let disabled_rules = self.distinct(given, &here, "disabled_rules", |s| Some(s.to_owned()));
        let tools = self.tools(&here, given, &inspection, &disabled_rules);
        let detokenize = self.distinct(given, &here, "detokenize", |s| Some(s.to_owned()));
        let url = text::server_url(server.text("url")?).ok()?;
        if tls_ca.is_some() && !url.tls {
            let problem = "has no effect, because the url begins with http://";
            self.mistake(&join(path, "tls"), None, problem, "write https:// in the url, or remove tls");
        }
        Some(ServerConfig {
            url,
            tls_ca,
            headers,
            forward_headers,
            inspection,
            disabled_rules,
            tools,
            detokenize,
        })
    }

    /// A tool's settings stand to its server's as these to the global ones.
    fn tools(
        &mut self,
        path: &str,
        given: &Map,
        server: &ActionTable,
        disabled: &[String],
    ) -> BTreeMap<String, ToolInspection> {
        let mut tools = BTreeMap::new();
        for (name, node) in &given.map("tools").0 {
            let Node::Map(tool) = node else { continue };
            let here = join(&join(path, "tools"), name);
            let own = self.distinct(tool, &here, "disabled_rules", |s| Some(s.to_owned()));
            let mut disabled_rules = disabled.to_vec();
            disabled_rules.extend(own.into_iter().filter(|id| !disabled.contains(id)));
            let actions = server_actions(tool, server);
            tools.insert(name.clone(), ToolInspection { actions, disabled_rules });
        }
        tools
    }

    fn headers(&mut self, path: &str, server: &Map) -> Vec<(String, Secret)> {
        let mut headers: Vec<(String, Secret)> = Vec::new();
        for (written, node) in &server.map("headers").0 {
            let Node::Text(value) = node else { continue };
            let name = written.to_ascii_lowercase();
            if headers.iter().any(|(other, _)| *other == name) {
                let here = join(&join(path, "headers"), written);
                self.mistake(
                    &here,
                    None,
                    "is there twice; case makes no difference in field names",
                    "remove one",
                );
            } else {
                headers.push((name, Secret::new(value.clone())));
            }
        }
        headers
    }

    fn limits(&mut self, given: &Map) -> Limits {
        let mut limits = Limits::default();
        for spec in SPECS {
            if let Some(value) = given.count(spec.name) {
                let known = limits.set(spec.name, value);
                debug_assert!(known, "{} is a limit", spec.name);
            }
        }
        // A message must fit into the memory for all messages, and a line into the head it is part of.
        for (whole, part) in [
            ("buffered_bytes_max", "body_bytes_max"),
            ("buffered_bytes_max", "response_bytes_max"),
            ("buffered_bytes_max", "sse_event_bytes_max"),
            ("head_bytes_max", "request_line_bytes_max"),
        ] {
            let (Some(w), Some(p)) = (limits.get(whole), limits.get(part)) else { continue };
            if w < p {
                let problem = format!("must not be below limits.{part}, which is {p}");
                let remedy = format!("raise it to {p}, or lower limits.{part}");
                self.mistake(&join("limits", whole), Some(w.to_string()), problem, remedy);
            }
        }
        limits
    }

    fn inspection(&mut self, given: &Map, actions: ActionTable) -> InspectionConfig {
        let mut custom = Vec::new();
        let mut ids = BTreeSet::new();
        for (i, node) in given.items("custom") {
            let Node::Map(rule) = node else { continue };
            let Some(id) = rule.text("id") else { continue };
            if !ids.insert(id) {
                let here = format!("inspection.custom[{i}].id");
                self.mistake(&here, Some(format!("{id:?}")), "another rule has this id", "choose another");
            }
            let Some(pattern) = rule.text("pattern") else { continue };
            let texts = |key| rule.texts(key).map(|(_, s)| s.to_owned()).collect();
            custom.push(CustomRule {
                id: id.to_owned(),
                kind: rule.text("type").unwrap_or("CUSTOM").to_owned(),
                pattern: pattern.to_owned(),
                examples: texts("examples"),
                counter_examples: texts("counter_examples"),
            });
        }
        let disabled_rules = self.distinct(given, "inspection", "disabled_rules", |s| Some(s.to_owned()));
        for id in disabled_rules.iter().filter(|id| ids.contains(id.as_str())) {
            let problem = format!("{id} is a rule of inspection.custom");
            self.mistake("inspection.disabled_rules", None, problem, "remove the rule there, or its id here");
        }
        let token_scope = match given.text("token_scope") {
            Some("server") => TokenScope::Server,
            _ => TokenScope::Deployment,
        };
        let key = given.text("key").map(|key| Secret::new(key.to_owned()));
        if key.as_ref().is_some_and(|key| key.expose().len() < KEY_BYTES_MIN) {
            let problem = format!("has less than {KEY_BYTES_MIN} bytes");
            self.mistake("inspection.key", None, problem, "make one with: openssl rand -base64 33");
        }
        InspectionConfig {
            actions,
            custom,
            rule_files: self.rule_files(given),
            disabled_rules,
            key,
            token_scope,
        }
    }

    /// Hashes and tokens need a key.
    fn keyed_actions(&mut self, config: &Config) {
        if config.inspection.key.is_some() || self.reported("inspection.key") {
            return;
        }
        let keyed = |t: &ActionTable| {
            [&t.request, &t.response].into_iter().any(|a| {
                let mut modes = a.types.values().chain([&a.default]);
                modes.any(|m| matches!(m, Mode::Hash | Mode::Tokenize))
            })
        };
        let of_server = |s: &ServerConfig| {
            !s.detokenize.is_empty() || keyed(&s.inspection) || s.tools.values().any(|t| keyed(&t.actions))
        };
        if keyed(&config.inspection.actions) || config.servers.values().any(of_server) {
            let problem = "is missing, but hash, tokenize and detokenize need it";
            let remedy = "make one with `openssl rand -base64 33` and write e.g. key: file:/etc/tidegate/inspection.key";
            self.mistake("inspection.key", None, problem, remedy);
        }
    }

    fn rule_files(&mut self, given: &Map) -> Vec<RuleFile> {
        let mut files: Vec<RuleFile> = Vec::new();
        for (i, path) in given.texts("rule_files") {
            let here = format!("inspection.rule_files[{i}]");
            let shown = Some(format!("{path:?}"));
            if files.iter().any(|f| f.path == path) {
                self.mistake(&here, shown, "is on the list twice", "remove one");
                continue;
            }
            match (self.env.file)(Path::new(path)) {
                Ok(text) if text.len() > RULE_FILE_BYTES_MAX => {
                    let problem = format!("has more than {RULE_FILE_BYTES_MAX} bytes");
                    self.mistake(&here, shown, problem, "split the file");
                }
                Ok(text) => files.push(RuleFile { path: path.to_owned(), text }),
                Err(why) => {
                    let remedy = "name a readable file; relative paths start at the configuration file";
                    self.mistake(&here, shown, format!("cannot be read: {why}"), remedy);
                }
            }
        }
        files
    }
}

fn audit(given: &Map) -> AuditConfig {
    AuditConfig {
        enabled: given.flag("enabled").unwrap_or(true),
        dir: given.text("dir").unwrap_or("./tidegate-data/audit").into(),
        durability: match given.text("durability") {
            Some("group") => Durability::Group,
            Some("strict") => Durability::Strict,
            _ => Durability::Async,
        },
        segment_bytes_max: given.count("segment_bytes_max").unwrap_or(67_108_864),
        segment_age_s_max: given.count("segment_age_s_max").unwrap_or(600),
        ring_bytes: given.count("ring_bytes").unwrap_or(33_554_432),
    }
}

/// Direction types, types, direction mode, mode: the first of these that says something about a finding decides.
fn global_actions(given: &Map) -> ActionTable {
    let direction = |name| Actions {
        default: mode(given.map(name)).or(mode(given)).unwrap_or(Mode::Redact),
        types: types(given, name),
    };
    ActionTable { request: direction("request"), response: direction("response") }
}

/// The same order for the server's own settings; the global ones, types included, only where it sets no mode.
fn server_actions(given: &Map, global: &ActionTable) -> ActionTable {
    let direction = |name, global: &Actions| {
        let mut actions = match mode(given.map(name)).or(mode(given)) {
            Some(default) => Actions { default, types: BTreeMap::new() },
            None => global.clone(),
        };
        actions.types.extend(types(given, name));
        actions
    };
    ActionTable {
        request: direction("request", &global.request),
        response: direction("response", &global.response),
    }
}

fn mode(given: &Map) -> Option<Mode> {
    given.text("mode").and_then(mode_called)
}

fn types(given: &Map, direction: &str) -> BTreeMap<String, Mode> {
    let mut types = BTreeMap::new();
    for map in [given.map("types"), given.map(direction).map("types")] {
        for name in map.0.keys() {
            if let Some(mode) = map.text(name).and_then(mode_called) {
                types.insert(name.clone(), mode);
            }
        }
    }
    types
}

fn mode_called(word: &str) -> Option<Mode> {
    match word {
        "off" => Some(Mode::Off),
        "detect" => Some(Mode::Detect),
        "mask" => Some(Mode::Mask),
        "tokenize" => Some(Mode::Tokenize),
        "hash" => Some(Mode::Hash),
        "redact" => Some(Mode::Redact),
        "block" => Some(Mode::Block),
        _ => None,
    }
}
