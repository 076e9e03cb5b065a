//! The commands of the program: options in, files and an exit code out.

use crate::cli::{CompareArgs, KneeArgs, MockArgs, RunArgs, SelfTestArgs};
use crate::compare::{self, Comparison};
use crate::knee::{Bounds, Knee, Outcome, Search};
use crate::mock::Mock;
use crate::plan::{self, Plan};
use crate::report::Report;
use crate::self_test::{self, Conditions};
use crate::verdict::Invalid;
use crate::{hgrm, html, os, run};
use anyhow::{Context as _, Result};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// A run that was started and is not valid, a comparison with problems, a search without a result.
pub const INVALID: u8 = 1;
/// Options that make no sense, the code that clap uses too.
const WRONG_USE: u8 = 2;
/// Seconds of each run of a search for which no --duration is given.
const KNEE_RUN_SECONDS: f64 = 3.0;

/// `run`
pub fn generate(args: &RunArgs) -> Result<ExitCode> {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(mistakes) => return Ok(wrong_use(&mistakes)),
    };
    os::catch_stop_signals()?;
    let self_test = (!args.no_self_test).then(|| self_test::measure(&conditions(args))).transpose()?;
    let finished = run::run(plan)?;
    let report = Report { self_test, ..finished.report };
    let to_stdout = write_json(args.json.as_deref(), &report)?;
    if let Some(path) = &args.hgrm {
        write_whole(path, &hgrm::render(&finished.latency))?;
    }
    if let Some(path) = &args.html {
        write_whole(path, &html::render(&report))?;
    }
    say(to_stdout, &report.to_string());
    Ok(if report.valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

fn conditions(args: &RunArgs) -> Conditions {
    Conditions { pin_core: args.pin_core, busy_poll: args.busy_poll, part: self_test::QUICK }
}

/// `self-test`
pub fn test_itself(args: &SelfTestArgs) -> Result<ExitCode> {
    if !(0.05..=60.0).contains(&args.seconds) {
        return Ok(wrong_use(&[format!("--seconds {}: must be 0.05..=60", args.seconds)]));
    }
    os::catch_stop_signals()?;
    let part = Duration::from_secs_f64(args.seconds);
    let found = self_test::measure(&Conditions { pin_core: args.pin_core, busy_poll: args.busy_poll, part })?;
    let to_stdout = write_json(args.json.as_deref(), &found)?;
    say(to_stdout, &found.to_string());
    Ok(ExitCode::SUCCESS)
}

/// `compare`
pub fn compare(args: &CompareArgs) -> Result<ExitCode> {
    let read = |path: &Path| {
        let text = fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display()))
    };
    let comparison: Result<Comparison, String> = read(&args.first)
        .and_then(|a| read(&args.second).and_then(|b| compare::compare(&a, &b, &args.limit)));
    match comparison {
        Err(mistake) => Ok(wrong_use(&[mistake])),
        Ok(comparison) => {
            let to_stdout = write_json(args.json.as_deref(), &comparison)?;
            say(to_stdout, &comparison.to_string());
            Ok(if comparison.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
        }
    }
}

/// One run of a search.
#[derive(Debug, Serialize)]
struct Tried {
    rate: f64,
    outcome: Outcome,
    p99_us: f64,
    rps: f64,
    reasons: Vec<String>,
}

/// The result of `find-knee`.
#[derive(Debug, Serialize)]
struct Found {
    p99_us_max: u64,
    bounds: Bounds,
    #[serde(flatten)]
    knee: Knee,
    /// Wrong answers ended the search.
    wrong: u64,
    runs: Vec<Tried>,
}

/// `find-knee`
pub fn find_knee(args: &KneeArgs) -> Result<ExitCode> {
    let bounds = Bounds { from: args.from, to: args.to, precision: args.precision, confirm: args.confirm };
    let mistakes = knee_mistakes(args);
    if !mistakes.is_empty() {
        return Ok(wrong_use(&mistakes));
    }
    os::catch_stop_signals()?;
    let (mut search, mut runs, mut wrong) = (Search::new(bounds), Vec::new(), 0);
    let first_run = args.run.run.unwrap_or_else(plan::run_number);
    while let Some(rate) = search.next()
        && !os::stopped()
    {
        let mut run_args = args.run.clone();
        run_args.rate = Some(rate);
        run_args.duration = Some(args.run.duration.unwrap_or(KNEE_RUN_SECONDS));
        run_args.run = Some(first_run.wrapping_add(runs.len() as u16));
        let plan = match Plan::new(&run_args) {
            Ok(plan) => plan,
            Err(mistakes) => return Ok(wrong_use(&mistakes)),
        };
        let report = run::run(plan)?.report;
        let outcome = outcome(&report, args.p99_us);
        eprintln!("{rate:>12.0} /s  p99 {:>10.1} us  {outcome:?}", report.latency_us.p99);
        let (p99_us, rps) = (report.latency_us.p99, report.rps);
        runs.push(Tried { rate, outcome, p99_us, rps, reasons: report.reasons });
        if report.wrong > 0 {
            wrong = report.wrong;
            eprintln!("wrong answers end the search: {:?}", report.examples);
            break;
        }
        search.tell(rate, outcome);
    }
    let found = Found { p99_us_max: args.p99_us, bounds, knee: search.knee(), wrong, runs };
    let to_stdout = write_json(args.run.json.as_deref(), &found)?;
    let (text, good) = sentence(&found);
    say(to_stdout, &text);
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

fn knee_mistakes(args: &KneeArgs) -> Vec<String> {
    let mut mistakes = Vec::new();
    let r = &args.run;
    if r.rate.is_some() || r.steps.is_some() || r.closed || r.requests.is_some() {
        mistakes
            .push("find-knee chooses the rates: leave out --rate, --steps, --closed, --requests".to_owned());
    }
    if r.html.is_some() || r.hgrm.is_some() {
        mistakes.push("--html, --hgrm: of a single run only; use run --rate with the rate found".to_owned());
    }
    if !(plan::RATE_MIN * 64.0..=plan::RATE_MAX).contains(&args.from)
        || !(args.from..=plan::RATE_MAX).contains(&args.to)
    {
        mistakes.push(format!(
            "--from, --to: must be rates up to {}, the first not above the second",
            plan::RATE_MAX
        ));
    }
    if !(0.001..=1.0).contains(&args.precision) {
        mistakes.push(format!("--precision {}: must be 0.001..=1", args.precision));
    }
    if !(1..=20).contains(&args.confirm) {
        mistakes.push(format!("--confirm {}: must be 1..=20", args.confirm));
    }
    mistakes
}

/// What a run says about its rate.
fn outcome(report: &Report, p99_us_max: u64) -> Outcome {
    if report.invalid.contains(&Invalid::GeneratorSaturated) {
        Outcome::GeneratorSaturated
    } else if report.valid && report.unsent == 0 && report.latency_us.p99 <= p99_us_max as f64 {
        Outcome::Held
    } else {
        Outcome::TooSlow
    }
}

fn sentence(found: &Found) -> (String, bool) {
    let bound = found.p99_us_max;
    match found.knee {
        _ if found.wrong > 0 => ("no knee: there were wrong answers\n".to_owned(), false),
        Knee { rate: None, .. } => {
            (format!("no rate was found at which p99 stays under {bound} us\n"), false)
        }
        Knee { rate: Some(rate), confirmed: false, .. } => (
            format!("not confirmed: p99 was under {bound} us at {rate:.0} calls/s, but not in every run\n"),
            false,
        ),
        Knee { rate: Some(rate), stopped_by: Some(Outcome::GeneratorSaturated), .. } => (
            format!(
                "at least {rate:.0} calls/s with p99 under {bound} us; above it the generator is the limit\n"
            ),
            false,
        ),
        Knee { rate: Some(rate), stopped_by: None, .. } => (
            format!("{rate:.0} calls/s with p99 under {bound} us; no higher rate was allowed (--to)\n"),
            true,
        ),
        Knee { rate: Some(rate), .. } => {
            (format!("{rate:.0} calls/s is the highest with p99 under {bound} us\n"), true)
        }
    }
}

/// `mock-upstream`
pub fn serve(args: &MockArgs) -> Result<ExitCode> {
    let settings = match plan::mock_settings(args) {
        Ok(settings) => settings,
        Err(mistakes) => return Ok(wrong_use(&mistakes)),
    };
    os::catch_stop_signals()?;
    if let Some(core) = args.pin_core {
        os::pin_to_core(core).with_context(|| format!("cannot pin to core {core}"))?;
    }
    let mock = Mock::bind(args.listen, settings)?;
    eprintln!("mock MCP server on http://{}/mcp", mock.addr());
    if let Some(path) = &args.addr_file {
        write_whole(path, &mock.addr().to_string())?;
    }
    let counts = mock.serve(&AtomicBool::new(false))?;
    println!("{}", counts.to_json());
    Ok(ExitCode::SUCCESS)
}

/// Writes JSON where it was asked for; `true` if that was standard output.
fn write_json(path: Option<&Path>, value: &impl Serialize) -> Result<bool> {
    let Some(path) = path else { return Ok(false) };
    let json = serde_json::to_string_pretty(value)?;
    if path == Path::new("-") {
        println!("{json}");
        return Ok(true);
    }
    write_whole(path, &(json + "\n"))?;
    Ok(false)
}

/// For people: on standard output, unless JSON is there.
fn say(json_on_stdout: bool, text: &str) {
    if json_on_stdout { eprint!("{text}") } else { print!("{text}") }
}

/// Whoever waits for the file never reads half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    // A device or a pipe cannot be replaced, only written to.
    let plain = fs::metadata(path).map_or(true, |m| m.is_file());
    let part = path.with_extension("part");
    let written = match plain {
        true => fs::write(&part, text).and_then(|()| fs::rename(&part, path)),
        false => fs::write(path, text),
    };
    written.with_context(|| format!("cannot write {}", path.display()))
}

fn wrong_use(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("tidegate-loadgen: {mistake}");
    }
    ExitCode::from(WRONG_USE)
}
