//! Everything a request is judged by, immutable, built whole by the control plane and published by generation. A worker
//! compares one atomic for each request and takes the new one when it has changed; a request keeps the one it began with.

use crate::database_cache;
use crate::metrics::{Metrics, ServerMetrics};
use rustls::pki_types::ServerName;
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_core::config::{ActionTable, Config, InspectionConfig, ServerConfig, ServerUrl, TokenScope};
use tidegate_core::http1::HeadLimits;
use tidegate_core::json::JsonLimits;
use tidegate_core::limits::Limits;
use tidegate_inspect::message::{Plan, Tokens};
use tidegate_inspect::replace::Keys;
use tidegate_inspect::{DecodeBounds, Engine, EngineError, Sources};

/// One server, ready for use.
pub struct Server {
    /// Its name, as in the path.
    pub name: String,
    /// Where it is.
    pub url: ServerUrl,
    /// Addresses; empty while its name cannot be resolved.
    pub addrs: Vec<SocketAddr>,
    /// TLS settings and the name its certificate must carry.
    pub tls: Option<(Arc<rustls::ClientConfig>, ServerName<'static>)>,
    /// Head fields of its own, as they are sent.
    pub own_fields: Vec<u8>,
    /// Further client fields that are passed on, lower case.
    pub forward: Vec<String>,
    /// Which tokens are turned back in arguments.
    pub tokens: Tokens,
    /// What is done about findings.
    plans: Plans,
    /// The same for single tools; mostly empty.
    tools: HashMap<String, Plans>,
    /// Counters.
    pub metrics: Arc<ServerMetrics>,
    /// Connections may be shared between generations with the same value.
    pub pool_key: u64,
}

/// What is done about findings, by direction.
pub struct Plans {
    /// Actions for requests.
    pub request: Plan,
    /// Actions for answers.
    pub response: Plan,
}

impl Plans {
    fn new(
        engine: &Engine,
        actions: &ActionTable,
        disabled: &[String],
        limits: &Limits,
        tokens: &Tokens,
    ) -> Plans {
        let decode = DecodeBounds {
            depth_max: limits.decode_depth_max as usize,
            inflated_bytes_max: limits.inflated_bytes_max as usize,
        };
        let finish = |plan: Plan| {
            plan.without(engine, disabled).with_tokens(tokens.clone()).with_decode_bounds(decode)
        };
        let max = limits.findings_max as usize;
        Plans {
            request: finish(Plan::requests(engine, &actions.request, max)),
            response: finish(Plan::answers(engine, &actions.response, max)),
        }
    }
}

impl Server {
    /// The plans for a call of this tool and for its answer; without a tool, those for everything else.
    pub fn plans(&self, tool: Option<&str>) -> &Plans {
        if self.tools.is_empty() {
            return &self.plans;
        }
        tool.and_then(|tool| self.tools.get(tool)).unwrap_or(&self.plans)
    }
}

/// The state of one generation.
pub struct Snapshot {
    /// Counts up from 1.
    pub generation: u64,
    /// The configuration it was built from.
    pub config: Config,
    /// All bounds; counts are for the whole process.
    pub limits: Limits,
    /// Bounds of heads.
    pub head_limits: HeadLimits,
    /// Bounds of JSON texts.
    pub json_limits: JsonLimits,
    /// The detection engine.
    pub engine: Arc<Engine>,
    /// Servers by name.
    pub servers: HashMap<Vec<u8>, Arc<Server>>,
    /// Host names accepted; `None` accepts all.
    hosts: Option<Vec<String>>,
    /// Index of each finding type in the metrics.
    kinds: HashMap<String, usize>,
}

/// A mistake found while building: where, and a sentence.
#[derive(Debug)]
pub struct BuildError {
    /// Key path in the configuration.
    pub path: String,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.problem)
    }
}

/// Mistakes in rules, each with its place in the configuration.
pub fn rule_mistakes(errors: &[EngineError]) -> impl Iterator<Item = BuildError> {
    errors.iter().map(|e| BuildError { path: e.place().to_owned(), problem: e.to_string() })
}

/// Addresses by server name, as resolved by the control plane.
pub type Addresses = HashMap<String, Vec<SocketAddr>>;

impl Snapshot {
    /// Builds a snapshot. `engine`: one built for the same rules, to be used again. Takes up to a second.
    ///
    /// # Errors
    /// All mistakes that only show when rules and certificates are loaded.
    pub fn build(
        config: &Config,
        listen: SocketAddr,
        addresses: &Addresses,
        metrics: &Metrics,
        engine: Option<Arc<Engine>>,
        generation: u64,
    ) -> Result<Snapshot, Vec<BuildError>> {
        let mut errors = Vec::new();
        let engine = match engine {
            Some(engine) => engine,
            None => {
                let (engine, mistakes) = Engine::what_is_right(&Sources {
                    cache: database_cache::shared(),
                    ..Sources::of(&config.inspection)
                });
                errors.extend(rule_mistakes(&mistakes));
                // Without all rules it is good for finding more mistakes only.
                let Some(engine) = engine else { return Err(errors) };
                Arc::new(engine)
            }
        };
        let limits = config.limits;
        let keys = keys(&config.inspection);
        let mut servers = HashMap::new();
        for (name, server) in &config.servers {
            unknown_rules(name, server, &engine, &mut errors);
            let addrs = addresses.get(name).cloned().unwrap_or_default();
            let tokens = tokens(name, server, &config.inspection, keys.clone());
            match build_server(name, server, addrs, &engine, metrics, &limits, &tokens) {
                Ok(built) => drop(servers.insert(name.clone().into_bytes(), Arc::new(built))),
                Err(problem) => errors.push(BuildError { path: format!("servers.{name}"), problem }),
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let kinds = engine
            .rules()
            .iter()
            .map(|r| &r.kind)
            .chain([&"FLOOD".to_owned()])
            .map(|k| (k.clone(), metrics.kind(k)))
            .collect();
        Ok(Snapshot {
            generation,
            config: config.clone(),
            limits,
            head_limits: HeadLimits {
                line_bytes_max: limits.request_line_bytes_max as usize,
                head_bytes_max: limits.head_bytes_max as usize,
                header_count_max: limits.header_count_max as usize,
            },
            json_limits: JsonLimits {
                depth_max: limits.json_depth_max as usize,
                keys_max: limits.object_keys_max as usize,
            },
            engine,
            servers,
            hosts: hosts(config, listen),
            kinds,
        })
    }

    /// Whether requests for this host (without port) are served.
    pub fn host_allowed(&self, host: &[u8]) -> bool {
        let Some(hosts) = &self.hosts else { return true };
        let host = host.strip_suffix(b".").unwrap_or(host);
        hosts.iter().any(|h| h.as_bytes().eq_ignore_ascii_case(host))
    }

    /// Whether a browser page of this origin may call: a configured one, or one from this very machine.
    pub fn origin_allowed(&self, origin: &[u8]) -> bool {
        let configured =
            self.config.allowed_origins.iter().any(|o| o.as_bytes().eq_ignore_ascii_case(origin));
        configured || is_loopback_origin(origin)
    }

    /// Metrics index of a finding type.
    pub fn kind(&self, kind: &str) -> Option<usize> {
        self.kinds.get(kind).copied()
    }
}

fn is_loopback_origin(origin: &[u8]) -> bool {
    let rest = origin.strip_prefix(b"http://").or_else(|| origin.strip_prefix(b"https://"));
    let Some((host, port)) = rest.and_then(tidegate_core::http1::target::split_port) else { return false };
    let port_ok = port.len() <= 5 && port.iter().all(u8::is_ascii_digit);
    port_ok && [&b"localhost"[..], b"127.0.0.1", b"[::1]"].iter().any(|h| host.eq_ignore_ascii_case(h))
}

fn hosts(config: &Config, listen: SocketAddr) -> Option<Vec<String>> {
    if config.allowed_hosts.iter().any(|h| h == "*") {
        return None;
    }
    let mut hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(Into::into).to_vec();
    if !listen.ip().is_unspecified() {
        hosts.push(match listen.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
    }
    hosts.extend(config.allowed_hosts.iter().cloned());
    Some(hosts)
}

/// Reports ids in the lists of a server and its tools that no rule has.
fn unknown_rules(name: &str, server: &ServerConfig, engine: &Engine, errors: &mut Vec<BuildError>) {
    let path = format!("servers.{name}.inspection");
    let tools = server.tools.iter().map(|(tool, t)| (format!("{path}.tools.{tool}"), &t.disabled_rules));
    let mut told: Vec<&str> = Vec::new(); // a tool's list begins with its server's
    for (path, ids) in std::iter::once((path.clone(), &server.disabled_rules)).chain(tools) {
        for id in ids.iter().filter(|id| !engine.knows(id)) {
            if !told.contains(&id.as_str()) {
                let problem = format!("there is no rule `{id}`; `tidegate rules list` shows all");
                errors.push(BuildError { path: format!("{path}.disabled_rules"), problem });
                told.push(id);
            }
        }
    }
}

/// The keys of hashes and tokens, where there are any.
pub fn keys(inspection: &InspectionConfig) -> Option<Arc<Keys>> {
    inspection.key.as_ref().and_then(|key| Keys::new(key.expose().as_bytes())).map(Arc::new)
}

fn tokens(
    name: &str,
    server: &ServerConfig,
    inspection: &InspectionConfig,
    keys: Option<Arc<Keys>>,
) -> Tokens {
    let scope = match inspection.token_scope {
        TokenScope::Deployment => b"deployment".to_vec(),
        TokenScope::Server => format!("server:{name}").into_bytes(),
    };
    Tokens { keys, scope: scope.into(), opens: server.detokenize.clone().into() }
}

fn build_server(
    name: &str,
    config: &ServerConfig,
    addrs: Vec<SocketAddr>,
    engine: &Engine,
    metrics: &Metrics,
    limits: &Limits,
    tokens: &Tokens,
) -> Result<Server, String> {
    let tls = if config.url.tls {
        let client = crate::tls::client_config(config.tls_ca.as_deref())?;
        let name = ServerName::try_from(config.url.host.clone()).map_err(|e| format!("url: {e}"))?;
        Some((client, name))
    } else {
        None
    };
    let mut own_fields = Vec::new();
    for (field, value) in &config.headers {
        own_fields.extend_from_slice(field.as_bytes());
        own_fields.extend_from_slice(b": ");
        own_fields.extend_from_slice(value.expose().as_bytes());
        own_fields.extend_from_slice(b"\r\n");
    }
    let mut hasher = std::hash::DefaultHasher::new();
    (name, config.url.tls, &config.url.authority, &config.tls_ca, &addrs).hash(&mut hasher);
    Ok(Server {
        name: name.to_owned(),
        url: config.url.clone(),
        addrs,
        tls,
        own_fields,
        forward: config.forward_headers.clone(),
        tokens: tokens.clone(),
        plans: Plans::new(engine, &config.inspection, &config.disabled_rules, limits, tokens),
        tools: config
            .tools
            .iter()
            .map(|(tool, t)| {
                let plans = Plans::new(engine, &t.actions, &t.disabled_rules, limits, tokens);
                (tool.clone(), plans)
            })
            .collect(),
        metrics: metrics.server(name),
        pool_key: hasher.finish(),
    })
}

/// Where the control plane puts snapshots and workers find them.
pub struct Published {
    generation: AtomicU64,
    current: Mutex<Arc<Snapshot>>,
}

impl Published {
    /// Begins with `first`.
    pub fn new(first: Snapshot) -> Arc<Published> {
        Arc::new(Published {
            generation: AtomicU64::new(first.generation),
            current: Mutex::new(Arc::new(first)),
        })
    }

    /// Number of the newest snapshot: what workers compare for each request.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The newest snapshot. Takes a lock: only after [`Published::generation`] has changed.
    pub fn current(&self) -> Arc<Snapshot> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces it.
    pub fn publish(&self, next: Snapshot) {
        let generation = next.generation;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
        self.generation.store(generation, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_origins() {
        for ok in ["http://localhost", "https://127.0.0.1:6274", "http://[::1]:1"] {
            assert!(is_loopback_origin(ok.as_bytes()), "{ok}");
        }
        for bad in [
            "null",
            "http://localhost.evil",
            "http://evil",
            "localhost",
            "http://127.0.0.1:x",
            "file://localhost",
        ] {
            assert!(!is_loopback_origin(bad.as_bytes()), "{bad}");
        }
    }
}
