//! `tidegate scan`: the gateway's inspection, offline, over files or standard input.

use crate::cli::{EXIT_FINDINGS, EXIT_OK, EXIT_USAGE, Scan, ScanDirection, ScanFormat, ScanInput};
use crate::control::gateway;
use serde_json::json;
use std::io::{BufWriter, Read, Write};
use std::path::Path;
use tidegate_core::config::Mode;
use tidegate_core::json::{Doc, JsonError, JsonLimits, Parser};
use tidegate_inspect::message::{Found, Inspector, Plan, Verdict, find_in_text, replacement};
use tidegate_inspect::{Confidence, Context, Engine, Scratch};

/// Everything one run needs.
struct Scanner {
    engine: Engine,
    scratch: Scratch,
    plan: Plan,
    inspector: Inspector,
    parser: Parser,
    doc: Doc,
}

/// Runs the command and returns its exit code. Findings go to standard output, mistakes to standard error.
pub fn run(args: &Scan) -> u8 {
    let mut scanner = match Scanner::new(args) {
        Ok(scanner) => scanner,
        Err(mistakes) => {
            mistakes.iter().for_each(|m| eprintln!("tidegate scan: {m}"));
            return EXIT_USAGE;
        }
    };
    let stdin = Path::new("-").to_owned();
    let files = if args.files.is_empty() { std::slice::from_ref(&stdin) } else { &args.files };
    let mut out = BufWriter::new(std::io::stdout().lock());
    let (mut findings, mut failed) = (0, false);
    for file in files {
        let name = if file == &stdin { "<stdin>".into() } else { file.display().to_string() };
        let result =
            read(file, &stdin).and_then(|bytes| scanner.input(args, &name, &bytes, &mut out, &mut failed));
        match result {
            Ok(n) => findings += n,
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return EXIT_USAGE,
            Err(e) => {
                eprintln!("tidegate scan: {name}: {e}");
                failed = true;
            }
        }
    }
    failed |= out.flush().is_err();
    match (failed, findings) {
        (true, _) => EXIT_USAGE,
        (false, 0) => EXIT_OK,
        (false, _) => EXIT_FINDINGS,
    }
}

fn read(file: &Path, stdin: &Path) -> std::io::Result<Vec<u8>> {
    if file != stdin {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    std::io::stdin().lock().read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Scanner {
    fn new(args: &Scan) -> Result<Scanner, Vec<String>> {
        let (config, _) = gateway::load(args.config.as_deref())
            .map_err(|m| m.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let rules = &config.inspection;
        let engine = Engine::build(&rules.custom, &rules.disabled_rules)
            .map_err(|e| e.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let scratch = engine.new_scratch().map_err(|e| vec![e.to_string()])?;
        let plan = match args.direction {
            ScanDirection::Request => Plan::requests(&engine, &rules.actions.request, usize::MAX),
            ScanDirection::Response => Plan::server_texts(&engine, &rules.actions.response, usize::MAX),
        };
        let limits = JsonLimits::default();
        Ok(Scanner {
            engine,
            scratch,
            plan,
            inspector: Inspector::for_documents(limits),
            parser: Parser::new(limits),
            doc: Doc::default(),
        })
    }

    /// Scans one input; returns how many findings it has.
    fn input(
        &mut self,
        args: &Scan,
        name: &str,
        bytes: &[u8],
        out: &mut impl Write,
        failed: &mut bool,
    ) -> std::io::Result<usize> {
        let mut total = 0;
        match args.input {
            ScanInput::Text => {
                let found = self.text(bytes);
                total += found.len();
                self.emit(args, name, None, bytes, &found, out)?;
            }
            ScanInput::Json => match self.document(bytes) {
                Ok(found) => {
                    total += found.len();
                    self.emit(args, name, None, bytes, &found, out)?;
                }
                Err(_) => return Err(std::io::Error::other("not one JSON text; use --input text or jsonl")),
            },
            ScanInput::Jsonl => {
                for (i, line) in bytes.split(|b| *b == b'\n').enumerate() {
                    let line = line.strip_suffix(b"\r").unwrap_or(line);
                    if line.trim_ascii().is_empty() {
                        continue;
                    }
                    match self.document(line) {
                        Ok(found) => {
                            total += found.len();
                            self.emit(args, name, Some(i + 1), line, &found, out)?;
                        }
                        Err(_) => {
                            eprintln!("tidegate scan: {name}:{}: not a JSON text", i + 1);
                            *failed = true;
                        }
                    }
                }
            }
        }
        Ok(total)
    }

    fn text(&mut self, bytes: &[u8]) -> Vec<Found> {
        let (mut found, mut at) = (Vec::new(), 0);
        for chunk in bytes.utf8_chunks() {
            let ctx = Context::default();
            for f in find_in_text(&self.engine, &mut self.scratch, &self.plan, chunk.valid(), &ctx) {
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

    fn emit(
        &mut self,
        args: &Scan,
        name: &str,
        line: Option<usize>,
        bytes: &[u8],
        found: &[Found],
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        if args.redact {
            return self.redact(args, bytes, found, out);
        }
        let (mut counted, mut line_at) = (0, 1);
        for f in found {
            let line = line.unwrap_or_else(|| {
                line_at += memchr::memchr_iter(b'\n', &bytes[counted..f.start.max(counted)]).count();
                counted = f.start.max(counted);
                line_at
            });
            let rule = &self.engine.rules()[usize::from(f.rule.0)];
            let (confidence, action) = (confidence(f.confidence), action(f.mode));
            match args.format {
                ScanFormat::Jsonl => {
                    let finding = json!({
                        "file": name, "line": line, "start": f.start, "end": f.end, "type": rule.kind, "rule": rule.id,
                        "confidence": confidence, "action": action,
                    });
                    writeln!(out, "{finding}")?;
                }
                ScanFormat::Text => {
                    let (start, end, kind, id) = (f.start, f.end, &rule.kind, &rule.id);
                    writeln!(
                        out,
                        "{name}:{line}: {kind} ({id}, {confidence}) at bytes {start}..{end}: {action}"
                    )?;
                }
            }
        }
        Ok(())
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
            for f in found.iter().filter(|f| f.mode >= Mode::Redact) {
                out.write_all(&bytes[at..f.start.max(at)])?;
                let kind = &self.engine.rules()[usize::from(f.rule.0)].kind;
                let value = String::from_utf8_lossy(&bytes[f.start.max(at)..f.end.max(at)]);
                out.write_all(replacement(kind, &value).as_bytes())?;
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

fn confidence(c: Confidence) -> &'static str {
    match c {
        Confidence::Low => "low",
        Confidence::Medium => "medium",
        Confidence::High => "high",
    }
}

fn action(mode: Mode) -> &'static str {
    match mode {
        Mode::Off => "off",
        Mode::Detect => "detect",
        Mode::Redact => "redact",
        Mode::Block => "block",
    }
}
