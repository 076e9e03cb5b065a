//! `tidegate-loadgen`: see the library.

use anyhow::{Context as _, Result};
use clap::Parser as _;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use tidegate_loadgen::cli::{Cli, Command, MockArgs, RunArgs};
use tidegate_loadgen::mock::Mock;
use tidegate_loadgen::plan::{self, Plan};
use tidegate_loadgen::{hgrm, os, run};

/// A run that was started and is not valid.
const INVALID: u8 = 1;
/// Options that make no sense, the code that clap uses too.
const WRONG_USE: u8 = 2;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => generate(&args),
        Command::MockUpstream(args) => serve(&args),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("tidegate-loadgen: {error:#}");
        ExitCode::from(INVALID)
    })
}

fn generate(args: &RunArgs) -> Result<ExitCode> {
    let plan = match Plan::new(args) {
        Ok(plan) => plan,
        Err(mistakes) => return Ok(wrong_use(&mistakes)),
    };
    os::catch_stop_signals()?;
    let finished = run::run(plan)?;
    let report = &finished.report;
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if let Some(path) = &args.json {
        let json = serde_json::to_string_pretty(report)?;
        if to_stdout {
            println!("{json}");
        } else {
            fs::write(path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        }
    }
    if let Some(path) = &args.hgrm {
        write_whole(path, &hgrm::render(&finished.latency))?;
    }
    if to_stdout {
        eprint!("{report}")
    } else {
        print!("{report}")
    }
    Ok(if report.valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

fn serve(args: &MockArgs) -> Result<ExitCode> {
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

/// Whoever waits for the file never reads half of it.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let part = path.with_extension("part");
    fs::write(&part, text)
        .and_then(|()| fs::rename(&part, path))
        .with_context(|| format!("cannot write {}", path.display()))
}

fn wrong_use(mistakes: &[String]) -> ExitCode {
    for mistake in mistakes {
        eprintln!("tidegate-loadgen: {mistake}");
    }
    ExitCode::from(WRONG_USE)
}
