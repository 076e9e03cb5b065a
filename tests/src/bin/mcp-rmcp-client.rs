//! A client made with rmcp, run as its own process like the Python and TypeScript clients, with the same contract:
//! one JSON line per step on stdout, exit code 0 only if every step's content is as expected.
//!
//! ```text
//! mcp-rmcp-client URL --server PROFILE [--pii raw|redacted] [--legacy]
//! ```
//! Without `--legacy` it asks `server/discover` first and falls back to `initialize`. What a server offers is data:
//! `peers/profiles.json`.

use std::{
    env,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rmcp::{
    ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient,
    model::*,
    service::{NotificationContext, RequestContext, RunningService, ServiceError},
    transport::StreamableHttpClientTransport,
};
use serde_json::{Value, json};

const PROFILES: &str = include_str!("../../peers/profiles.json");

/// One step; longer than any server here needs.
const STEP_TIME_MAX: Duration = Duration::from_secs(20);

/// Counts progress and answers questions.
#[derive(Default)]
struct Handler {
    progress: Mutex<Vec<f64>>,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let capabilities = ClientCapabilities::builder().enable_elicitation().build();
        ClientConfig::new(capabilities, Implementation::new("tidegate-rmcp", env!("CARGO_PKG_VERSION")))
    }

    async fn create_elicitation(
        &self,
        _: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(json!({ "name": "Ada" })))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.progress.lock().expect("no panic holds the lock").push(params.progress);
    }
}

/// A tool call's answer; `is_error` covers both `isError` results and JSON-RPC errors.
struct Outcome {
    text: String,
    is_error: bool,
    progress: Vec<f64>,
}

struct Client(RunningService<RoleClient, Handler>);

impl Client {
    async fn connect(url: &str, legacy: bool) -> anyhow::Result<Self> {
        let lifecycle = match legacy {
            true => ClientLifecycleMode::Initialize,
            false => ClientLifecycleMode::Auto {
                preferred_versions: vec![ProtocolVersion::V_2026_07_28],
                legacy_version: None,
            },
        };
        let transport = StreamableHttpClientTransport::from_uri(url);
        Ok(Self(Handler::default().serve_with_lifecycle(transport, lifecycle).await?))
    }

    fn describe(&self) -> anyhow::Result<Value> {
        let server = self.0.peer_info().context("the server has introduced itself")?;
        Ok(json!({ "protocol": server.protocol_version }))
    }

    async fn call(&self, name: &str, arguments: &Value) -> anyhow::Result<Outcome> {
        let taken =
            || std::mem::take(&mut *self.0.service().progress.lock().expect("no panic holds the lock"));
        taken();
        let mut params = CallToolRequestParams::new(name.to_owned());
        params.arguments = arguments.as_object().cloned();
        match self.0.call_tool(params).await {
            Ok(result) => Ok(Outcome {
                text: joined_text(json!(result.content)),
                is_error: result.is_error == Some(true),
                progress: taken(),
            }),
            Err(ServiceError::McpError(error)) => {
                Ok(Outcome { text: error.to_string(), is_error: true, progress: taken() })
            }
            Err(other) => Err(other.into()),
        }
    }

    /// A call that must succeed with the text that `want` describes.
    async fn called(&self, want: &Value) -> anyhow::Result<Outcome> {
        let got = self.call(string(want, "name"), &want["arguments"]).await?;
        ensure!(!got.is_error, "unexpected error: {}", got.text);
        judge_text(&got.text, want)?;
        Ok(got)
    }

    async fn step(&self, name: &str, want: &Value, pii: &str) -> anyhow::Result<Value> {
        match name {
            "tools" => {
                let tools = self.0.list_all_tools().await?;
                let missing: Vec<&Value> = items(want)
                    .iter()
                    .filter(|want| !tools.iter().any(|tool| **want == *tool.name))
                    .collect();
                ensure!(missing.is_empty(), "tools missing: {missing:?}");
                return Ok(json!(tools.len()));
            }
            "call" => drop(self.called(want).await?),
            "big" => {
                let message = string(want, "unit").repeat(want["times"].as_u64().context("times")? as usize);
                let arguments = json!({ string(want, "argument"): message });
                let got = self.call(string(want, "name"), &arguments).await?;
                ensure!(!got.is_error, "unexpected error: {}", got.text);
                let expected = format!("{}{message}", string(want, "prefix"));
                ensure!(got.text == expected, "the long text came back changed ({} bytes)", got.text.len());
                return Ok(json!(got.text.len()));
            }
            "progress" => {
                let progress = self.called(want).await?.progress;
                let least = want["at_least"].as_u64().context("at_least")? as usize;
                ensure!(progress.len() >= least, "{} progress notifications", progress.len());
                ensure!(progress.is_sorted(), "progress went back: {progress:?}");
                return Ok(json!(progress));
            }
            "error" => {
                let got = self.call(string(want, "name"), &want["arguments"]).await?;
                ensure!(got.is_error, "not an error: {}", got.text);
                judge_text(&got.text, want)?;
            }
            "resource" => {
                let result =
                    self.0.read_resource(ReadResourceRequestParams::new(string(want, "uri"))).await?;
                judge_text(&joined_text(json!(result.contents)), want)?;
            }
            "prompt" => {
                let mut params = GetPromptRequestParams::new(string(want, "name"));
                params.arguments = want["arguments"].as_object().cloned();
                let result = self.0.get_prompt(params).await?;
                judge_text(&joined_text(json!(result.messages)), want)?;
            }
            "pii" => {
                let got = self.called(want).await?;
                for value in items(&want["planted"]) {
                    let value = value.as_str().context("planted")?;
                    ensure!(
                        got.text.contains(value) == (pii == "raw"),
                        "{value} with --pii {pii}: {}",
                        got.text
                    );
                }
            }
            "unknown tool" => {
                let got = self.call("no_such_tool", &json!({})).await?;
                ensure!(got.is_error, "not an error: {}", got.text);
                return Ok(json!(got.text));
            }
            _ => bail!("no such step"),
        }
        Ok(Value::Null)
    }
}

fn string<'a>(want: &'a Value, key: &str) -> &'a str {
    want[key].as_str().unwrap_or_default()
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

/// The text parts of a tool result, a resource or a prompt.
fn joined_text(parts: Value) -> String {
    let text =
        |part: &Value| part.get("content").unwrap_or(part)["text"].as_str().unwrap_or_default().to_owned();
    items(&parts).iter().map(text).collect()
}

fn judge_text(got: &str, want: &Value) -> anyhow::Result<()> {
    if let Some(text) = want["text"].as_str() {
        ensure!(got == text, "text is {got:?}, not {text:?}");
    }
    ensure!(got.contains(string(want, "contains")), "text {got:?} lacks {:?}", string(want, "contains"));
    Ok(())
}

/// The steps of a profile in the order in which every client runs them: name, kind, what is wanted.
fn steps(profile: &Value) -> Vec<(String, &'static str, Value)> {
    let mut steps = vec![("tools".to_owned(), "tools", profile["tools"].clone())];
    for want in items(&profile["calls"]) {
        steps.push((format!("call {}", string(want, "name")), "call", want.clone()));
    }
    for kind in ["big", "progress", "error", "resource", "prompt", "pii"] {
        if let Some(want) = profile.get(kind) {
            steps.push((kind.to_owned(), kind, want.clone()));
        }
    }
    steps.push(("unknown tool".to_owned(), "unknown tool", Value::Null));
    // An error must not have cost the session.
    steps.push(("call again".to_owned(), "call", profile["calls"][0].clone()));
    steps
}

/// Prints the step's line; gives back whether it was ok.
fn report(step: &str, started: Instant, result: &anyhow::Result<Value>) -> bool {
    let ms = started.elapsed().as_millis() as u64;
    let line = match result {
        Ok(Value::Null) => json!({ "step": step, "ok": true, "ms": ms }),
        Ok(detail) => json!({ "step": step, "ok": true, "detail": detail, "ms": ms }),
        Err(error) => json!({ "step": step, "ok": false, "error": format!("{error:#}"), "ms": ms }),
    };
    println!("{line}");
    result.is_ok()
}

async fn within<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::time::timeout(STEP_TIME_MAX, work).await.context("no answer in time")?
}

// rmcp handles every notification in a task of its own, so on several threads they overtake each other and the
// response. One thread runs tasks in the order in which they became ready, which keeps the order of the wire visible;
// the steps run as a task too, because the main future is polled out of turn.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    tokio::spawn(run()).await?
}

async fn run() -> anyhow::Result<()> {
    let profiles: Value = serde_json::from_str(PROFILES)?;
    let (mut url, mut profile, mut pii, mut legacy) = (None, None, "raw".to_owned(), false);
    let mut args = env::args().skip(1).collect::<Vec<_>>().into_iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--server" => profile = profiles.get(args.next().context("--server needs a value")?),
            "--pii" => pii = args.next().context("--pii needs a value")?,
            "--legacy" => legacy = true,
            _ => url = Some(arg),
        }
    }
    let (Some(url), Some(profile)) = (url, profile) else {
        bail!("usage: mcp-rmcp-client URL --server PROFILE [--pii raw|redacted] [--legacy]");
    };

    let started = Instant::now();
    let client = within(Client::connect(&url, legacy)).await;
    let described = match &client {
        Ok(client) => client.describe(),
        Err(error) => Err(anyhow::anyhow!("{error:#}")),
    };
    let mut ok = report("connect", started, &described);
    if let Ok(client) = client {
        for (name, kind, want) in steps(profile) {
            let started = Instant::now();
            let result = within(client.step(kind, &want, &pii)).await;
            ok &= report(&name, started, &result);
        }
        let started = Instant::now();
        let closed = within(async { Ok(client.0.cancel().await.map(|_| Value::Null)?) }).await;
        ok &= report("close", started, &closed);
    }
    std::process::exit(if ok { 0 } else { 1 })
}
