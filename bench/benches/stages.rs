//! Each stage of a request by itself, on realistic messages. Every benchmark asserts its own output, so that a stage
//! that does nothing is not fast. Run with `make bench-micro`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use tidegate_bench::call::{Call, Worker};
use tidegate_bench::{Content, Direction, sample};
use tidegate_core::audit::{CallRecord, Hash, Position, finish};
use tidegate_core::config::{Actions, Mode};
use tidegate_core::http1::HeadLimits;
use tidegate_core::http1::request::{Parsed, RequestHead, parse};
use tidegate_core::json::{Doc, JsonLimits, Parser};
use tidegate_core::jsonrpc::{McpHeaders, client_message};
use tidegate_inspect::Engine;
use tidegate_inspect::message::{Inspector, Plan, Verdict};
use tidegate_net::sha256;

const SIZES: [usize; 4] = [256, 1 << 10, 16 << 10, 1 << 20];

fn http_head(c: &mut Criterion) {
    let head = b"POST /mcp/crm HTTP/1.1\r\nHost: gw.example.com\r\nContent-Type: application/json\r\nAccept: application/json, \
        text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: search\r\nUser-Agent: \
        agent/1.0\r\nContent-Length: 300\r\n\r\n";
    let limits = HeadLimits { line_bytes_max: 8192, head_bytes_max: 32768, header_count_max: 100 };
    let mut parsed = RequestHead::default();
    c.bench_function("http_head", |b| {
        b.iter(|| assert_eq!(parse(black_box(head), &limits, &mut parsed), Ok(Parsed::Complete(head.len()))));
    });
}

fn json(c: &mut Criterion) {
    let mut group = c.benchmark_group("json_parse");
    let (mut parser, mut doc) = (Parser::new(JsonLimits::default()), Doc::default());
    for content in [Content::Prose, Content::Rows] {
        for size in SIZES {
            let message = sample(Direction::Response, content, size, false).json;
            group.throughput(Throughput::Bytes(message.len() as u64));
            group.bench_with_input(
                BenchmarkId::new(format!("{content:?}"), size),
                message.as_bytes(),
                |b, m| {
                    b.iter(|| parser.parse(black_box(m), &mut doc).expect("a valid sample"));
                },
            );
            assert_eq!(doc.wire_len(), message.len());
        }
    }
    group.finish();
    let request = sample(Direction::Request, Content::Prose, 1 << 10, false).json;
    parser.parse(request.as_bytes(), &mut doc).expect("a valid sample");
    let headers =
        McpHeaders { version: Some(b"2026-07-28"), method: Some(b"tools/call"), name: Some(b"lookup") };
    c.bench_function("envelope", |b| {
        b.iter(|| assert!(client_message(black_box(&doc), &headers, 256).is_ok()));
    });
}

fn inspect(c: &mut Criterion) {
    let engine = Engine::builtin().expect("the built-in rules");
    let mut scratch = engine.new_scratch().expect("scratch");
    let actions = Actions { default: Mode::Redact, types: Default::default() };
    let plan = Plan::new(&engine, &actions, usize::MAX);
    let (mut parser, mut doc) = (Parser::new(JsonLimits::default()), Doc::default());
    let (mut inspector, mut out) = (Inspector::new(JsonLimits::default()), Vec::new());
    let mut group = c.benchmark_group("inspect");
    for planted in [false, true] {
        for content in [Content::Prose, Content::Rows] {
            for size in SIZES {
                let message = sample(Direction::Response, content, size, planted).json;
                parser.parse(message.as_bytes(), &mut doc).expect("a valid sample");
                group.throughput(Throughput::Bytes(message.len() as u64));
                let name = format!("{content:?}/{}", if planted { "planted" } else { "clean" });
                group.bench_function(BenchmarkId::new(name, size), |b| {
                    b.iter(|| {
                        let report = inspector.inspect(
                            &engine,
                            &mut scratch,
                            &plan,
                            &doc,
                            message.as_bytes(),
                            &mut out,
                        );
                        assert_eq!(report.verdict == Verdict::Redacted, planted);
                    });
                });
            }
        }
    }
    group.finish();
}

fn audit(c: &mut Criterion) {
    let record = CallRecord {
        trace_id: "0af7651916cd43dd8448eb211c80319c",
        identity: "anonymous",
        server: Some("crm"),
        tool: Some("search"),
        method: "tools/call",
        request_id: Some(b"12345"),
        args_hash: Hash::Is([7; 32]),
        response_hash: Hash::Is([8; 32]),
        timestamp_ms: 1_700_000_000_000,
        latency_us: 180,
        status: 200,
        peer: "127.0.0.1:40000",
        ..CallRecord::default()
    };
    let mut out = Vec::new();
    c.bench_function("audit_record", |b| {
        b.iter(|| {
            black_box(&record).encode(&mut out);
            finish(&mut out, Position { boot: "0123456789abcdef", core: 0, seq: 1 });
            assert!(out.ends_with(b"\n"));
        });
    });
}

/// What the audit writer does with the payloads of a batch, beside what one after another would cost.
fn hash(c: &mut Criterion) {
    const BATCH: usize = 128;
    let mut group = c.benchmark_group("audit_hash");
    for size in [256, 1 << 10, 16 << 10] {
        let payloads: Vec<String> =
            (0..BATCH).map(|_| sample(Direction::Response, Content::Rows, size, false).json).collect();
        let payloads: Vec<&[u8]> = payloads.iter().map(String::as_bytes).collect();
        let expected = sha256::one(payloads[0]);
        group.throughput(Throughput::Bytes((BATCH * size) as u64));
        let mut out = Vec::new();
        group.bench_function(BenchmarkId::new("batch", size), |b| {
            b.iter(|| {
                sha256::each(black_box(&payloads), &mut out);
                assert_eq!((out.len(), out[BATCH - 1]), (BATCH, expected));
            });
        });
        group.bench_function(BenchmarkId::new("one_by_one", size), |b| {
            b.iter(|| {
                for payload in black_box(&payloads) {
                    assert_eq!(sha256::one(payload), expected);
                }
            });
        });
    }
    group.finish();
}

/// Everything the gateway does with the bytes of a call, without sockets. There is no policy yet.
fn call(c: &mut Criterion) {
    let engine = Engine::builtin().expect("the built-in rules");
    let mut worker = Worker::new(&engine);
    let mut group = c.benchmark_group("call");
    for planted in [false, true] {
        for size in [1 << 10, 16 << 10, 128 << 10] {
            let call = Call::new(size, planted);
            group.throughput(Throughput::Bytes(size as u64));
            let name = if planted { "planted" } else { "clean" };
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| assert_eq!(worker.carry(black_box(&call)).to_client == size, !planted));
            });
        }
    }
    group.finish();
}

criterion_group!(stages, http_head, json, inspect, audit, hash, call);
criterion_main!(stages);
