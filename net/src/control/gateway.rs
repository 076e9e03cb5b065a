//! `tidegate run`: starts everything in order, publishes snapshots, and ends everything in order.

use super::{admin, demo, resolve, watch};
use crate::audit::Writer;
use crate::logging::Logging;
use crate::metrics::Metrics;
use crate::rt;
use crate::snapshot::{Addresses, Published, Snapshot};
use crate::worker::{self, Parts, Phase};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tidegate_core::config::{self, Config, EMBEDDED_DEFAULT, Env, ServerConfig, ServerUrl};

/// Time for all workers to listen.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Time for one name to resolve.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);
/// How often names are resolved again.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// How often the end of the workers is looked for.
const END_POLL: Duration = Duration::from_millis(20);

/// Why the gateway did not run, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Mistakes of the operator, one sentence each.
    #[error("{}", .0.join("\n"))]
    Config(Vec<String>),
    /// The machine or a defect.
    #[error("{0}")]
    Internal(String),
}

fn internal(what: &str) -> impl Fn(std::io::Error) -> RunError + '_ {
    move |e| RunError::Internal(format!("{what}: {e}"))
}

/// Reads and checks a configuration; also returns the file's bytes. `None` is the embedded default.
///
/// # Errors
/// All mistakes.
pub fn load(file: Option<&Path>) -> Result<(Config, Vec<u8>), Vec<config::Mistake>> {
    match load_what_is_right(file) {
        (Some((config, bytes)), mistakes) if mistakes.is_empty() => Ok((config, bytes)),
        (_, mistakes) => Err(mistakes),
    }
}

/// As [`load`]; with mistakes there may still be a configuration of what is right, for finding more of them.
pub fn load_what_is_right(file: Option<&Path>) -> (Option<(Config, Vec<u8>)>, Vec<config::Mistake>) {
    let text = match file {
        None => EMBEDDED_DEFAULT.to_owned(),
        Some(path) => match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) => {
                let mistake = config::Mistake {
                    path: path.display().to_string(),
                    value: None,
                    problem: format!("cannot be read: {e}"),
                    remedy: "name a readable file".into(),
                };
                return (None, vec![mistake]);
            }
        },
    };
    let var = |name: &str| std::env::var(name).ok();
    let read = |path: &Path| std::fs::read_to_string(beside(file, path)).map_err(|e| e.to_string());
    let (config, mistakes) = config::load_what_is_right(&text, Env { var: &var, file: &read });
    (config.map(|config| (config, text.into_bytes())), mistakes)
}

/// Where a path of the configuration leads: relative ones start at its file.
fn beside(config_file: Option<&Path>, path: &Path) -> PathBuf {
    config_file.and_then(Path::parent).map_or_else(|| path.to_owned(), |dir| dir.join(path))
}

/// The files a configuration was read from, with what was read.
fn files_of(config_file: Option<&Path>, config: &Config, bytes: &[u8]) -> Vec<watch::Loaded> {
    let own = config_file.map(|file| watch::Loaded::new(file.to_owned(), bytes));
    let rules = config
        .inspection
        .rule_files
        .iter()
        .map(|f| watch::Loaded::new(beside(config_file, Path::new(&f.path)), f.text.as_bytes()));
    own.into_iter().chain(rules).collect()
}

fn sentences<T: ToString>(mistakes: &[T]) -> Vec<String> {
    mistakes.iter().map(ToString::to_string).collect()
}

/// Runs the gateway until it is told to end.
///
/// # Errors
/// See [`RunError`].
pub fn run(config_file: Option<PathBuf>, addr_file: Option<PathBuf>) -> Result<(), RunError> {
    let (config, bytes) = load(config_file.as_deref()).map_err(|m| RunError::Config(sentences(&m)))?;
    let logging = Logging::start(&config.log).map_err(|e| RunError::Config(vec![e.to_string()]))?;
    let driver = rt::choose_driver(config.io).map_err(|e| RunError::Config(vec![e]))?;
    let cores = rt::allowed_cores();
    let workers = config.workers.unwrap_or(cores.len());
    let mut sockets = Vec::new();
    let mut listen = config.listen;
    for _ in 0..workers {
        let bind =
            |e: std::io::Error| RunError::Config(vec![format!("listen = {listen}: cannot be bound: {e}")]);
        let socket = rt::bind(listen).map_err(bind)?;
        listen = socket.local_addr().map_err(internal("listen"))?;
        sockets.push(socket);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(internal("control plane"))?;
    let metrics = Metrics::new(workers);
    let (writer, sinks) =
        Writer::start(&config.audit, workers).map_err(|e| RunError::Config(vec![e.to_string()]))?;
    let watched = watch::Files::new(files_of(config_file.as_deref(), &config, &bytes));
    let control =
        Control { config_file, addr_file, logging, metrics, listen, demo: None, engine_of: None, watched };
    let threads = Threads { sockets, sinks, cores, workers, driver };
    let result = runtime.block_on(control.run(config, threads, &writer));
    writer.stop();
    tracing::info!("ended");
    result
}

struct Threads {
    sockets: Vec<std::net::TcpListener>,
    sinks: Vec<crate::audit::Sink>,
    cores: Vec<usize>,
    workers: usize,
    driver: rt::Driver,
}

struct Control {
    config_file: Option<PathBuf>,
    addr_file: Option<PathBuf>,
    logging: Logging,
    metrics: Arc<Metrics>,
    listen: SocketAddr,
    demo: Option<SocketAddr>,
    engine_of: Option<Arc<Snapshot>>,
    watched: watch::Files,
}

impl Control {
    async fn run(mut self, mut config: Config, threads: Threads, writer: &Writer) -> Result<(), RunError> {
        let mut shutdowns = watch::Shutdowns::install().map_err(internal("signals"))?;
        let mut reloads =
            watch::reloads(self.watched.clone()).map_err(internal("watching the configuration"))?;
        if config.demo {
            let listener =
                tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(internal("demo server"))?;
            self.demo = Some(listener.local_addr().map_err(internal("demo server"))?);
            tokio::spawn(demo::serve(listener, std::future::pending()));
        }
        self.add_demo(&mut config);
        let addresses = resolve_all(&config).await;
        let first = self.build(&config, &addresses, 1).map_err(RunError::Config)?;
        let published = Published::new(first);
        self.engine_of = Some(published.current());
        let phase = Arc::new(Phase::default());
        let workers = threads.workers;
        let handles = self.start_workers(threads, &published, &phase)?;
        self.until_listening(&phase, workers, &handles).await?;
        let admin = self.start_admin(&config, &published, &phase, workers, writer).await?;
        self.write_addr_file(admin)?;
        tracing::info!(mcp = %self.listen, workers, servers = config.servers.len(), "listening");
        if cfg!(not(feature = "hyperscan")) {
            tracing::warn!("built without Hyperscan: inspection takes a hundred times as long");
        }
        if self.config_file.is_none() {
            print_welcome(self.listen);
        }
        let mut again =
            tokio::time::interval_at(tokio::time::Instant::now() + RESOLVE_INTERVAL, RESOLVE_INTERVAL);
        let mut ended = tokio::time::interval(Duration::from_millis(500));
        let mut died = false;
        loop {
            tokio::select! {
                _ = shutdowns.next() => break,
                Some(reason) = reloads.recv() => self.reload(&mut config, &published, &format!("{reason:?}")).await,
                _ = again.tick() => self.refresh(&config, &published).await,
                _ = ended.tick() => if handles.iter().any(std::thread::JoinHandle::is_finished) { died = true; break },
            }
        }
        tracing::info!(
            drain_ms = config.limits.drain_ms,
            "draining: no new connections; requests under way may end"
        );
        phase.drain();
        while !handles.iter().all(std::thread::JoinHandle::is_finished) {
            tokio::select! {
                _ = shutdowns.next() => phase.stop(),
                () = tokio::time::sleep(END_POLL) => {}
            }
        }
        for handle in handles {
            died |= !matches!(handle.join(), Ok(Ok(())));
        }
        if died { Err(RunError::Internal("a worker ended unexpectedly; see the log".into())) } else { Ok(()) }
    }

    fn add_demo(&self, config: &mut Config) {
        let Some(addr) = self.demo else { return };
        let url = ServerUrl {
            tls: false,
            host: addr.ip().to_string(),
            port: addr.port(),
            authority: addr.to_string(),
            path: "/mcp".into(),
        };
        let server = ServerConfig {
            url,
            tls_ca: None,
            headers: Vec::new(),
            forward_headers: Vec::new(),
            inspection: config.inspection.actions.clone(),
            disabled_rules: Vec::new(),
            tools: Default::default(),
            detokenize: Vec::new(),
        };
        config.servers.insert("demo".into(), server);
    }

    /// The same way for start and reload: the whole snapshot or nothing.
    fn build(
        &self,
        config: &Config,
        addresses: &Addresses,
        generation: u64,
    ) -> Result<Snapshot, Vec<String>> {
        let same = |s: &&Arc<Snapshot>| {
            let (a, b) = (&s.config.inspection, &config.inspection);
            a.custom == b.custom && a.rule_files == b.rule_files && a.disabled_rules == b.disabled_rules
        };
        let engine = self.engine_of.as_ref().filter(same).map(|s| s.engine.clone());
        Snapshot::build(config, self.listen, addresses, &self.metrics, engine, generation)
            .map_err(|errors| sentences(&errors))
    }

    fn start_workers(
        &self,
        threads: Threads,
        published: &Arc<Published>,
        phase: &Arc<Phase>,
    ) -> Result<Vec<std::thread::JoinHandle<std::io::Result<()>>>, RunError> {
        let Threads { sockets, sinks, cores, workers, driver } = threads;
        let mut handles = Vec::new();
        for (worker, (listener, audit)) in sockets.into_iter().zip(sinks).enumerate() {
            let parts = Parts {
                worker,
                workers,
                // More workers than cores: the kernel places them better than we could.
                core: (workers <= cores.len()).then(|| cores[worker]),
                driver,
                listener,
                published: published.clone(),
                audit,
                metrics: self.metrics.worker(worker),
                phase: phase.clone(),
            };
            let body = move || {
                let result = worker::run(parts);
                if let Err(error) = &result {
                    tracing::error!(worker, %error, "a worker failed");
                }
                result
            };
            let thread = std::thread::Builder::new().name(format!("worker-{worker}"));
            handles.push(thread.spawn(body).map_err(internal("starting a worker"))?);
        }
        Ok(handles)
    }

    async fn until_listening<T>(
        &self,
        phase: &Phase,
        workers: usize,
        handles: &[std::thread::JoinHandle<T>],
    ) -> Result<(), RunError> {
        let start = Instant::now();
        while phase.listening() < workers {
            if handles.iter().any(std::thread::JoinHandle::is_finished) || start.elapsed() > START_DEADLINE {
                phase.stop();
                return Err(RunError::Internal("not all workers could start; see the log".into()));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    async fn start_admin(
        &self,
        config: &Config,
        published: &Arc<Published>,
        phase: &Arc<Phase>,
        workers: usize,
        writer: &Writer,
    ) -> Result<Option<SocketAddr>, RunError> {
        let Some(addr) = config.admin else { return Ok(None) };
        let listener = tokio::net::TcpListener::bind(addr)
            .await
            .map_err(|e| RunError::Config(vec![format!("admin = {addr}: cannot be bound: {e}")]))?;
        let bound = listener.local_addr().map_err(internal("admin"))?;
        let (audit, phase) = (writer.shared(), phase.clone());
        let (metrics, published, audit_state) = (self.metrics.clone(), published.clone(), writer.shared());
        let sources = admin::Sources {
            ready: Arc::new(move || {
                if phase.is_draining() {
                    Err("draining")
                } else if phase.listening() < workers {
                    Err("starting")
                } else if audit.is_failing() {
                    Err("the audit log cannot be written")
                } else {
                    Ok(())
                }
            }),
            metrics: Arc::new(move || metrics.render(&audit_state.state(), published.generation())),
        };
        tokio::spawn(admin::serve(listener, sources, std::future::pending()));
        Ok(Some(bound))
    }

    fn write_addr_file(&self, admin: Option<SocketAddr>) -> Result<(), RunError> {
        let Some(path) = &self.addr_file else { return Ok(()) };
        let content =
            serde_json::json!({ "mcp": self.listen.to_string(), "admin": admin.map(|a| a.to_string()) });
        let mut temporary = path.clone().into_os_string();
        temporary.push(".new");
        // Renamed into place, so that whoever waits for the file never reads half of it.
        std::fs::write(&temporary, format!("{content}\n"))
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(|e| RunError::Config(vec![format!("--addr-file {}: {e}", path.display())]))
    }

    async fn reload(&mut self, config: &mut Config, published: &Published, reason: &str) {
        let outcome = self.try_reload(config, published).await;
        self.metrics.reloads[usize::from(outcome.is_err())].fetch_add(1, Ordering::Relaxed);
        match outcome {
            Ok(()) => tracing::info!(reason, generation = published.generation(), "configuration reloaded"),
            Err(mistakes) => {
                for mistake in mistakes {
                    tracing::error!(reason, "reload refused, the old configuration stays: {mistake}");
                }
            }
        }
    }

    async fn try_reload(&mut self, config: &mut Config, published: &Published) -> Result<(), Vec<String>> {
        let (mut next, bytes) = load(self.config_file.as_deref()).map_err(|m| sentences(&m))?;
        // From here on, even if it is refused: the mistake may be in a file that has just been named.
        self.watched.set(files_of(self.config_file.as_deref(), &next, &bytes));
        let fixed = [
            ("listen", next.listen != config.listen),
            ("admin", next.admin != config.admin),
            ("workers", next.workers != config.workers),
            ("io", next.io != config.io),
            ("demo", next.demo != config.demo),
            ("audit", next.audit != config.audit),
        ];
        let changed: Vec<String> = fixed
            .iter()
            .filter(|(_, changed)| *changed)
            .map(|(key, _)| format!("{key}: a change takes effect only with a restart"))
            .collect();
        if !changed.is_empty() {
            return Err(changed);
        }
        self.add_demo(&mut next);
        let mut addresses = resolve_all(&next).await;
        keep_known(&mut addresses, &next, &published.current());
        let snapshot = self.build(&next, &addresses, published.generation() + 1)?;
        self.logging.set_level(&next.log.level).map_err(|e| vec![e.to_string()])?;
        published.publish(snapshot);
        self.engine_of = Some(published.current());
        *config = next;
        Ok(())
    }

    /// Names may have moved: a new snapshot when an address has changed.
    async fn refresh(&mut self, config: &Config, published: &Published) {
        let mut addresses = resolve_all(config).await;
        let current = published.current();
        keep_known(&mut addresses, config, &current);
        let known = |name: &str| addresses.get(name).map_or(&[][..], Vec::as_slice);
        let changed = current.servers.values().any(|s| known(&s.name) != s.addrs);
        if changed {
            match self.build(config, &addresses, published.generation() + 1) {
                Ok(snapshot) => published.publish(snapshot),
                Err(errors) => {
                    tracing::error!("new addresses could not be taken over: {}", errors.join("; "))
                }
            }
        }
    }
}

/// A name server that fails takes nothing away: servers that could not be resolved keep their addresses.
fn keep_known(addresses: &mut Addresses, config: &Config, current: &Snapshot) {
    for server in current.servers.values() {
        let same = config.servers.get(&server.name).is_some_and(|c| c.url == server.url);
        if same && !addresses.contains_key(&server.name) {
            addresses.insert(server.name.clone(), server.addrs.clone());
        }
    }
}

async fn resolve_all(config: &Config) -> Addresses {
    let mut out = Addresses::new();
    for (name, server) in &config.servers {
        match resolve::resolve(&server.url, RESOLVE_DEADLINE).await {
            Ok(mut addrs) => {
                addrs.sort_unstable();
                drop(out.insert(name.clone(), addrs));
            }
            Err(error) => tracing::warn!(server = name, %error, "a server's name cannot be resolved"),
        }
    }
    out
}

fn print_welcome(listen: SocketAddr) {
    println!(
        r#"Tidegate is running with its built-in demo server. Try a call; the answer's personal data is redacted:

  curl -s http://{listen}/mcp/demo \
    -H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' \
    -H 'MCP-Protocol-Version: 2026-07-28' -H 'Mcp-Method: tools/call' -H 'Mcp-Name: customer_lookup' \
    -d '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"customer_lookup","arguments":{{"customer_id":"C-1001"}},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}'

For an MCP client (mcp.json):

  {{"mcpServers": {{"demo": {{"type": "http", "url": "http://{listen}/mcp/demo"}}}}}}

Audit records: ./tidegate-data/audit. Your own servers: tidegate run --config tidegate.yaml; see tidegate run --help.
"#
    );
}
