//! `tidegate scan`: the gateway's inspection, offline, over files, folders or standard input; and reports of it, or of
//! recorded audit segments.

mod audit;
mod inputs;

use crate::cli::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Scan, ScanDirection, ScanFormat, ScanInput};
use crate::control::gateway;
use crate::database_cache;
use crate::progress::Progress;
use crate::report::{Finding, Report, Source, Tally};
use crate::snapshot::rule_mistakes;
use inputs::Entry;
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;
use tidegate_core::json::{Doc, JsonError, JsonLimits, Kind, Parser};
use tidegate_inspect::message::{Found, Inspector, Plan, Tokens, Verdict};
use tidegate_inspect::{Context, Engine, Scratch, Sources, TextFinding};

/// Calls of tools remembered for their answers, in one file.
const CALLS_MAX: usize = 10_000;

/// Everything one run needs.
struct Scanner {
    engine: Engine,
    scratch: Scratch,
    plan: Plan,
    inspector: Inspector,
    parser: Parser,
    doc: Doc,
    /// Tools called in this file, by request id.
    calls: HashMap<Vec<u8>, String>,
}

/// What came of it so far.
struct Outcome {
    out: Box<dyn Write>,
    tally: Tally,
    progress: Progress,
    failed: bool,
}

impl Outcome {
    /// Says on standard error what went wrong, and goes on.
    fn fail(&mut self, text: String) {
        self.progress.wipe();
        eprintln!("tidegate scan: {text}");
        self.tally.problem(text);
        self.failed = true;
    }
}

/// Runs the command and returns its exit code. Findings go to standard output, mistakes to standard error.
pub fn run(args: &Scan) -> u8 {
    run_to(args).unwrap_or_else(|mistakes| {
        mistakes.iter().for_each(|m| eprintln!("tidegate scan: {m}"));
        EXIT_USAGE
    })
}

fn run_to(args: &Scan) -> Result<u8, Vec<String>> {
    let audit = args.input == ScanInput::Audit;
    if audit && args.redact {
        return Err(vec!["--redact: audit records hold no values; leave it out".into()]);
    }
    // Before the output is opened: a wrong configuration leaves an older report as it is.
    let mut scanner = if audit { None } else { Some(Scanner::new(args)?) };
    let mut records = audit::Records::default();
    let out = output(args).map_err(|e| vec![e])?;
    let mut o = Outcome { out, tally: Tally::default(), progress: Progress::new(), failed: false };
    let done = each_input(args, &mut o, &mut |name, mut from, o| match &mut scanner {
        Some(scanner) => {
            let mut bytes = Vec::new();
            from.read_to_end(&mut bytes)?;
            scanner.input(args, name, &bytes, o)
        }
        None => {
            match records.read(name, from, &mut o.tally, &mut o.progress)? {
                0 => {}
                n => o.fail(format!("{name}: {n} line(s) are no audit records")),
            }
            Ok(())
        }
    });
    o.progress.wipe();
    let findings = o.tally.findings();
    let written = done.and_then(|()| finish(args, &mut o.out, std::mem::take(&mut o.tally)));
    Ok(match (o.failed || written.is_err(), findings) {
        (true, _) => EXIT_USAGE,
        (false, 0) => EXIT_OK,
        (false, _) => EXIT_FINDINGS,
    })
}

fn output(args: &Scan) -> Result<Box<dyn Write>, String> {
    let Some(path) = &args.output else { return Ok(Box::new(BufWriter::new(std::io::stdout()))) };
    let file = File::create(path).map_err(|e| format!("--output {}: {e}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

/// The report, where one was asked for.
fn finish(args: &Scan, out: &mut impl Write, tally: Tally) -> std::io::Result<()> {
    let audit = args.input == ScanInput::Audit;
    let report = tally.finish(if audit { Source::Audit } else { Source::Files });
    match args.format() {
        ScanFormat::Html => out.write_all(report.html().as_bytes())?,
        ScanFormat::Json => out.write_all(report.json().as_bytes())?,
        ScanFormat::Jsonl if audit => writeln!(out, "{}", json!(report))?,
        ScanFormat::Text if audit => summary(&report, out)?,
        ScanFormat::Text | ScanFormat::Jsonl => {}
    }
    out.flush()
}

/// Counts for people.
fn summary(report: &Report, out: &mut impl Write) -> std::io::Result<()> {
    writeln!(
        out,
        "{} calls, {} findings, {} values replaced",
        report.calls, report.findings, report.redactions
    )?;
    for (key, heading) in crate::report::TABLES {
        let rows = report.tables.get(key).map_or(&[][..], Vec::as_slice);
        for (i, row) in rows.iter().enumerate() {
            if i == 0 {
                writeln!(out, "\n{heading}")?;
            }
            let name: String = row.name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            writeln!(out, "{:>12}  {name}", row.count)?;
        }
    }
    Ok(())
}

type Each<'a> = dyn FnMut(&str, Box<dyn Read>, &mut Outcome) -> std::io::Result<()> + 'a;

/// Calls `each` for everything that is to be read. `Err`: nobody reads what is written any more.
fn each_input(args: &Scan, o: &mut Outcome, each: &mut Each<'_>) -> std::io::Result<()> {
    let stdin = Path::new("-").to_owned();
    let files = if args.files.is_empty() { std::slice::from_ref(&stdin) } else { &args.files };
    let mut one = |name: &str, from: std::io::Result<Box<dyn Read>>, o: &mut Outcome| match from
        .and_then(|from| each(name, from, o))
    {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(e),
        Err(e) => {
            o.fail(format!("{name}: {e}"));
            Ok(())
        }
        Ok(()) => Ok(()),
    };
    for file in files {
        if *file == stdin {
            one("<stdin>", Ok(Box::new(std::io::stdin())), o)?;
            continue;
        }
        if args.redact && file.is_dir() {
            o.fail(format!("{}: is a folder; --redact takes files", file.display()));
            continue;
        }
        let mut broken = None;
        inputs::entries(file, args.input, &mut |entry| {
            if broken.is_some() {
                return;
            }
            match entry {
                Entry::Skipped(why) => o.tally.skip(why),
                Entry::Failed(path, why) => o.fail(format!("{}: {why}", path.display())),
                Entry::File(path) => {
                    let name = path.display().to_string();
                    let (inputs, mib, found) = (o.tally.inputs(), o.tally.bytes() >> 20, o.tally.findings());
                    o.progress.show(|| format!("{inputs} files, {mib} MiB, {found} findings: {name}"));
                    let from = File::open(&path).map(|file| Box::new(file) as Box<dyn Read>);
                    broken = one(&name, from, o).err();
                }
            }
        });
        if let Some(e) = broken {
            return Err(e);
        }
    }
    Ok(())
}

impl Scanner {
    fn new(args: &Scan) -> Result<Scanner, Vec<String>> {
        let (config, _) = gateway::load(args.config.as_deref())
            .map_err(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let rules = &config.inspection;
        let engine = Engine::from_sources(&Sources { cache: database_cache::shared(), ..Sources::of(rules) })
            .map_err(|e| rule_mistakes(&e).map(|m| m.to_string()).collect::<Vec<_>>())?;
        let scratch = engine.new_scratch().map_err(|e| vec![e.to_string()])?;
        let scope = Arc::from(&b"deployment"[..]);
        let tokens = Tokens { keys: crate::snapshot::keys(rules), scope, opens: Arc::default() };
        let plan = match args.direction {
            ScanDirection::Request => Plan::requests(&engine, &rules.actions.request, usize::MAX),
            ScanDirection::Response => Plan::server_texts(&engine, &rules.actions.response, usize::MAX),
        };
        let plan = plan.with_tokens(tokens);
        let limits = JsonLimits::default();
        Ok(Scanner {
            engine,
            scratch,
            plan,
            inspector: Inspector::for_documents(limits),
            parser: Parser::new(limits),
            doc: Doc::default(),
            calls: HashMap::new(),
        })
    }

    /// Scans one input.
    fn input(&mut self, args: &Scan, name: &str, bytes: &[u8], o: &mut Outcome) -> std::io::Result<()> {
        o.tally.input(bytes.len());
        self.calls.clear();
        match args.input {
            ScanInput::Text => {
                let found = self.text(bytes);
                self.emit(args, name, None, bytes, &found, None, o)?;
            }
            ScanInput::Json => match self.document(bytes) {
                Ok(found) => {
                    let tool = self.tool();
                    self.emit(args, name, None, bytes, &found, tool.as_deref(), o)?;
                }
                Err(_) => return Err(std::io::Error::other("not one JSON text; use --input text or jsonl")),
            },
            ScanInput::Jsonl | ScanInput::Audit => {
                let lines = bytes.strip_suffix(b"\n").unwrap_or(bytes).split(|b| *b == b'\n');
                for (i, line) in lines.enumerate() {
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if line.trim_ascii().is_empty() {
                        // One line of output for each of the input, so that they can be put side by side.
                        if args.redact && !bytes.is_empty() {
                            o.out.write_all(b"\n")?;
                        }
                        continue;
                    }
                    match self.document(line) {
                        Ok(found) => {
                            let tool = self.tool();
                            self.emit(args, name, Some(i + 1), line, &found, tool.as_deref(), o)?;
                        }
                        Err(_) => {
                            o.fail(format!("{name}:{}: not a JSON text", i + 1));
                            if args.redact {
                                o.out.write_all(b"\"[UNREADABLE]\"\n")?;
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The tool that the document calls, or answers for.
    fn tool(&mut self) -> Option<String> {
        let doc = &self.doc;
        let object = |i: Option<u32>| i.filter(|i| doc.tok(*i).kind == Kind::Object);
        let string = |i: Option<u32>| i.filter(|i| doc.tok(*i).kind == Kind::String);
        let root = object((!doc.toks().is_empty()).then_some(0))?;
        let id = doc.get(root, b"id").map(|id| doc.bytes(id).to_vec());
        if string(doc.get(root, b"method")).is_some_and(|m| doc.bytes(m) == b"tools/call") {
            let params = object(doc.get(root, b"params"))?;
            let tool = doc.str(string(doc.get(params, b"name"))?).to_owned();
            if let Some(id) = id.filter(|_| self.calls.len() < CALLS_MAX) {
                self.calls.insert(id, tool.clone());
            }
            return Some(tool);
        }
        self.calls.get(&id?).cloned()
    }

    fn text(&mut self, bytes: &[u8]) -> Vec<Found> {
        let (mut found, mut at) = (Vec::new(), 0);
        for chunk in bytes.utf8_chunks() {
            let ctx = Context::default();
            let inspector = &mut self.inspector;
            for f in inspector.find_in_text(&self.engine, &mut self.scratch, &self.plan, chunk.valid(), &ctx)
            {
                let (start, end, mode) = (at + f.start, at + f.end, self.plan.mode_of(&f));
                found.push(Found { start, end, rule: f.rule, confidence: f.confidence, mode });
            }
            at += chunk.valid().len() + chunk.invalid().len();
        }
        found
    }

    fn document(&mut self, bytes: &[u8]) -> Result<Vec<Found>, JsonError> {
        match self.parser.parse(bytes, &mut self.doc) {
            Ok(()) | Err(JsonError::DuplicateKey) => {}
            Err(e) => return Err(e),
        }
        Ok(self.inspector.report(&self.engine, &mut self.scratch, &self.plan, &self.doc, bytes))
    }

    /// Counts the findings, and writes them in the formats that list them.
    #[allow(clippy::too_many_arguments)]
    fn emit(
        &mut self,
        args: &Scan,
        name: &str,
        line: Option<usize>,
        bytes: &[u8],
        found: &[Found],
        tool: Option<&str>,
        o: &mut Outcome,
    ) -> std::io::Result<()> {
        let (mut counted, mut line_at) = (0, 1);
        for f in found {
            let line = line.unwrap_or_else(|| {
                line_at += memchr::memchr_iter(b'\n', &bytes[counted..f.start.max(counted)]).count();
                counted = f.start.max(counted);
                line_at
            });
            let rule = &self.engine.rules()[usize::from(f.rule.0)];
            let finding = Finding {
                file: name,
                line,
                start: f.start,
                end: f.end,
                kind: &rule.kind,
                rule: &rule.id,
                confidence: f.confidence.as_str(),
                severity: rule.severity,
                action: (f.mode).as_str(),
                tool,
                value: &String::from_utf8_lossy(&bytes[f.start..f.end]),
            };
            o.tally.finding(&finding);
            if !args.redact {
                list(args.format(), &finding, &mut o.out)?;
            }
        }
        if args.redact { self.redact(args, bytes, found, &mut o.out) } else { Ok(()) }
    }

    /// Prints the input with its findings replaced.
    fn redact(
        &mut self,
        args: &Scan,
        bytes: &[u8],
        found: &[Found],
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        if args.input == ScanInput::Text {
            let mut at = 0;
            for f in found.iter().filter(|f| f.mode.removes()) {
                out.write_all(&bytes[at..f.start.max(at)])?;
                let value = String::from_utf8_lossy(&bytes[f.start.max(at)..f.end.max(at)]);
                let f = TextFinding { rule: f.rule, start: f.start, end: f.end, confidence: f.confidence };
                out.write_all(self.plan.replacement(&self.engine, &f, &value).as_bytes())?;
                at = f.end.max(at);
            }
            return out.write_all(&bytes[at..]);
        }
        let mut redacted = Vec::new();
        let report = self.inspector.inspect(
            &self.engine,
            &mut self.scratch,
            &self.plan,
            &self.doc,
            bytes,
            &mut redacted,
        );
        match report.verdict {
            Verdict::Pass => out.write_all(bytes)?,
            Verdict::Redacted => out.write_all(&redacted)?,
            Verdict::Blocked => out.write_all(b"\"[BLOCKED]\"")?,
        }
        if args.input == ScanInput::Jsonl { out.write_all(b"\n") } else { Ok(()) }
    }
}

/// One finding, in the formats that list them.
fn list(format: ScanFormat, f: &Finding<'_>, out: &mut impl Write) -> std::io::Result<()> {
    let Finding { file, line, start, end, kind, rule, confidence, action, .. } = f;
    match format {
        ScanFormat::Jsonl => {
            let finding = json!({
                "file": file, "line": line, "start": start, "end": end, "type": kind, "rule": rule,
                "confidence": confidence, "action": action,
            });
            writeln!(out, "{finding}")
        }
        ScanFormat::Text => {
            writeln!(out, "{file}:{line}: {kind} ({rule}, {confidence}) at bytes {start}..{end}: {action}")
        }
        ScanFormat::Json | ScanFormat::Html => Ok(()),
    }
}
