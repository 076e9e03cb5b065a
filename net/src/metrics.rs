//! Counters of the workers, in Prometheus form. Each worker has its own set and is its only writer; reading adds them
//! up. Labels are bounded: reasons, decisions, finding types and configured servers.

use crossbeam::utils::CachePadded;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tidegate_core::audit::Decision;
use tidegate_core::reason::Reason;

/// What the audit writer tells of itself.
#[derive(Debug, Clone, Copy)]
pub struct AuditState {
    /// Calls are recorded.
    pub enabled: bool,
    /// Records written since the start.
    pub written: u64,
    /// Disk errors since the start.
    pub errors: u64,
    /// The disk refuses.
    pub failing: bool,
}

/// A counter or gauge with one writer.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`. Only the owning worker calls this.
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Subtracts `n`, for gauges.
    pub fn sub(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_sub(n), Ordering::Relaxed);
    }

    /// Sets the value, for gauges.
    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the latency histograms, in microseconds.
pub const BUCKETS_US: &[u64] = &[
    10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000, 500_000,
    1_000_000, 5_000_000, 30_000_000,
];

/// A histogram with one writer.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [Counter; 22],
    sum: Counter,
}
const _: () = assert!(BUCKETS_US.len() + 1 == 22);

impl Histogram {
    /// Records a duration.
    pub fn record_us(&self, us: u64) {
        self.buckets[BUCKETS_US.partition_point(|b| *b < us)].add(1);
        self.sum.add(us);
    }
}

/// Most finding types that are told apart; further ones count as the last.
pub const KINDS_MAX: usize = 128;

/// One worker's counters.
#[derive(Debug)]
pub struct WorkerMetrics {
    /// Connections accepted.
    pub accepted: Counter,
    /// Connections open now.
    pub connections: Counter,
    /// Connections closed at once because of the limit.
    pub refused: Counter,
    /// HTTP requests, by whatever end.
    pub requests: Counter,
    /// By decision.
    pub decisions: [Counter; 5],
    /// By reason.
    pub reasons: [Counter; Reason::ALL.len()],
    /// Findings in requests and answers, by type index.
    pub findings: [[Counter; KINDS_MAX]; 2],
    /// Replacements made.
    pub redactions: Counter,
    /// Request body bytes.
    pub bytes_in: Counter,
    /// Answer body bytes.
    pub bytes_out: Counter,
    /// Event streams open now.
    pub streams: Counter,
    /// Events relayed.
    pub events: Counter,
    /// New connections to servers.
    pub upstream_connects: Counter,
    /// Requests sent on a pooled connection.
    pub upstream_reused: Counter,
    /// Tasks that ended with a panic.
    pub panics: Counter,
    /// Bytes of bodies held now.
    pub buffered: Counter,
    /// The gateway's own time for a request.
    pub gateway: Histogram,
    /// Waiting for the server, to the first byte of its answer.
    pub upstream: Histogram,
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        let counters = || std::array::from_fn(|_| Counter::default());
        WorkerMetrics {
            accepted: Counter::default(),
            connections: Counter::default(),
            refused: Counter::default(),
            requests: Counter::default(),
            decisions: Default::default(),
            reasons: std::array::from_fn(|_| Counter::default()),
            findings: [counters(), counters()],
            redactions: Counter::default(),
            bytes_in: Counter::default(),
            bytes_out: Counter::default(),
            streams: Counter::default(),
            events: Counter::default(),
            upstream_connects: Counter::default(),
            upstream_reused: Counter::default(),
            panics: Counter::default(),
            buffered: Counter::default(),
            gateway: Histogram::default(),
            upstream: Histogram::default(),
        }
    }
}

/// Requests to one server, by worker and decision.
#[derive(Debug)]
pub struct ServerMetrics {
    workers: Vec<CachePadded<[Counter; 5]>>,
}

impl ServerMetrics {
    /// Counts one request. Only worker `worker` calls this with its number.
    pub fn count(&self, worker: usize, decision: Decision) {
        if let Some(w) = self.workers.get(worker) {
            w[decision as usize].add(1);
        }
    }
}

/// Everything that is measured.
#[derive(Debug)]
pub struct Metrics {
    workers: Vec<Arc<CachePadded<WorkerMetrics>>>,
    servers: Mutex<BTreeMap<String, Arc<ServerMetrics>>>,
    kinds: Mutex<Vec<String>>,
    /// Reloads that took effect, and that failed.
    pub reloads: [AtomicU64; 2],
}

const DECISIONS: [Decision; 5] =
    [Decision::Allow, Decision::Redact, Decision::Block, Decision::Deny, Decision::Error];

impl Metrics {
    /// Counters for `workers` workers.
    pub fn new(workers: usize) -> Arc<Metrics> {
        Arc::new(Metrics {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            servers: Mutex::default(),
            kinds: Mutex::default(),
            reloads: Default::default(),
        })
    }

    /// The counters of one worker.
    pub fn worker(&self, worker: usize) -> Arc<CachePadded<WorkerMetrics>> {
        self.workers[worker].clone()
    }

    /// The counters of a server, kept over reloads. Control plane only.
    pub fn server(&self, name: &str) -> Arc<ServerMetrics> {
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            Arc::new(ServerMetrics { workers: self.workers.iter().map(|_| CachePadded::default()).collect() })
        };
        servers.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// The index under which findings of this type are counted. Control plane only.
    pub fn kind(&self, kind: &str) -> usize {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(i) = kinds.iter().position(|k| k == kind) {
            return i;
        }
        if kinds.len() < KINDS_MAX {
            kinds.push(kind.to_owned());
        }
        kinds.len() - 1
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.workers.iter().map(|w| of(w)).fold(0, u64::wrapping_add)
    }

    /// Prometheus text exposition, version 0.0.4.
    pub fn render(&self, audit: &AuditState, generation: u64) -> String {
        let mut out = String::with_capacity(16 << 10);
        type Simple = (&'static str, &'static str, &'static str, fn(&WorkerMetrics) -> u64);
        let simple: [Simple; 13] = [
            ("connections_accepted_total", "counter", "Client connections accepted.", |w| w.accepted.get()),
            (
                "connections_refused_total",
                "counter",
                "Client connections closed because of the limit.",
                |w| w.refused.get(),
            ),
            ("connections", "gauge", "Client connections open.", |w| w.connections.get()),
            ("requests_total", "counter", "HTTP requests received.", |w| w.requests.get()),
            ("redactions_total", "counter", "Values replaced.", |w| w.redactions.get()),
            ("request_body_bytes_total", "counter", "Request body bytes received.", |w| w.bytes_in.get()),
            ("response_body_bytes_total", "counter", "Answer body bytes sent.", |w| w.bytes_out.get()),
            ("streams", "gauge", "Event streams open.", |w| w.streams.get()),
            ("events_total", "counter", "Server-sent events relayed.", |w| w.events.get()),
            ("upstream_connects_total", "counter", "Connections opened to servers.", |w| {
                w.upstream_connects.get()
            }),
            ("upstream_reused_total", "counter", "Requests sent on a kept connection.", |w| {
                w.upstream_reused.get()
            }),
            ("panics_total", "counter", "Connections ended by a defect of the gateway.", |w| w.panics.get()),
            ("buffered_bytes", "gauge", "Bytes of bodies held.", |w| w.buffered.get()),
        ];
        for (name, kind, help, of) in simple {
            header(&mut out, name, kind, help);
            let _ = writeln!(out, "tidegate_{name} {}", self.sum(of));
        }
        header(&mut out, "decisions_total", "counter", "Requests by decision.");
        for (i, d) in DECISIONS.iter().enumerate() {
            let n = self.sum(|w| w.decisions[i].get());
            let _ = writeln!(out, "tidegate_decisions_total{{decision=\"{}\"}} {n}", d.as_str());
        }
        header(&mut out, "refusals_total", "counter", "Requests not answered as asked, by reason.");
        for (i, r) in Reason::ALL.iter().enumerate() {
            let n = self.sum(|w| w.reasons[i].get());
            if n > 0 {
                let _ = writeln!(out, "tidegate_refusals_total{{reason=\"{}\"}} {n}", r.label());
            }
        }
        header(&mut out, "findings_total", "counter", "Findings by type and direction.");
        for (i, kind) in self.kinds.lock().unwrap_or_else(PoisonError::into_inner).iter().enumerate() {
            for (d, direction) in ["request", "response"].iter().enumerate() {
                let n = self.sum(|w| w.findings[d][i].get());
                if n > 0 {
                    let labels = format!("type=\"{kind}\",direction=\"{direction}\"");
                    let _ = writeln!(out, "tidegate_findings_total{{{labels}}} {n}");
                }
            }
        }
        header(&mut out, "server_requests_total", "counter", "Requests by server and decision.");
        for (name, server) in self.servers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (i, d) in DECISIONS.iter().enumerate() {
                let n: u64 = server.workers.iter().map(|w| w[i].get()).sum();
                let labels = format!("server=\"{name}\",decision=\"{}\"", d.as_str());
                let _ = writeln!(out, "tidegate_server_requests_total{{{labels}}} {n}");
            }
        }
        self.histogram(
            &mut out,
            "gateway_duration_microseconds",
            "The gateway's own time for a request.",
            |w| &w.gateway,
        );
        self.histogram(&mut out, "upstream_duration_microseconds", "Waiting for the server's answer.", |w| {
            &w.upstream
        });
        let gauges = [
            ("audit_records_total", "counter", "Audit records written.", audit.written),
            ("audit_errors_total", "counter", "Failed writes or syncs of the audit log.", audit.errors),
            ("audit_failing", "gauge", "1 while the audit log cannot be written.", audit.failing.into()),
            ("audit_enabled", "gauge", "0 when calls leave no evidence.", audit.enabled.into()),
            ("config_generation", "gauge", "Number of the configuration in force.", generation),
            (
                "reloads_total",
                "counter",
                "Configuration reloads that took effect.",
                self.reloads[0].load(Ordering::Relaxed),
            ),
            (
                "reload_failures_total",
                "counter",
                "Configuration reloads refused.",
                self.reloads[1].load(Ordering::Relaxed),
            ),
        ];
        for (name, kind, help, value) in gauges {
            header(&mut out, name, kind, help);
            let _ = writeln!(out, "tidegate_{name} {value}");
        }
        out
    }

    fn histogram(&self, out: &mut String, name: &str, help: &str, of: fn(&WorkerMetrics) -> &Histogram) {
        header(out, name, "histogram", help);
        let mut cumulated = 0;
        for (i, bound) in BUCKETS_US.iter().map(ToString::to_string).chain(["+Inf".to_owned()]).enumerate() {
            cumulated += self.sum(|w| of(w).buckets[i].get());
            let _ = writeln!(out, "tidegate_{name}_bucket{{le=\"{bound}\"}} {cumulated}");
        }
        let _ = writeln!(out, "tidegate_{name}_sum {}", self.sum(|w| of(w).sum.get()));
        let _ = writeln!(out, "tidegate_{name}_count {cumulated}");
    }
}

fn header(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP tidegate_{name} {help}\n# TYPE tidegate_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_are_cumulative_and_sums_are_over_workers() {
        let m = Metrics::new(2);
        m.worker(0).gateway.record_us(10);
        m.worker(1).gateway.record_us(11);
        m.worker(1).gateway.record_us(u64::MAX >> 20);
        m.server("crm").count(1, Decision::Redact);
        assert_eq!((m.kind("A"), m.kind("B"), m.kind("A")), (0, 1, 0));
        m.worker(0).findings[1][1].add(3);
        let text = m.render(&AuditState { enabled: true, written: 5, errors: 0, failing: false }, 1);
        for line in [
            "tidegate_gateway_duration_microseconds_bucket{le=\"10\"} 1",
            "tidegate_gateway_duration_microseconds_bucket{le=\"20\"} 2",
            "tidegate_gateway_duration_microseconds_bucket{le=\"+Inf\"} 3",
            "tidegate_gateway_duration_microseconds_count 3",
            "tidegate_server_requests_total{server=\"crm\",decision=\"redact\"} 1",
            "tidegate_findings_total{type=\"B\",direction=\"response\"} 3",
            "tidegate_audit_records_total 5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
    }
}
