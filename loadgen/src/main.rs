//! `tidegate-loadgen`: see the library.

use clap::Parser as _;
use std::process::ExitCode;
use tidegate_loadgen::cli::{Cli, Command};
use tidegate_loadgen::{commands, scenario};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(args) => commands::generate(&args),
        Command::FindKnee(args) => commands::find_knee(&args),
        Command::Compare(args) => commands::compare(&args),
        Command::SelfTest(args) => commands::test_itself(&args),
        Command::MockUpstream(args) => commands::serve(&args),
        Command::Scenario(_) => {
            print!("{}", scenario::EXAMPLE);
            Ok(ExitCode::SUCCESS)
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("tidegate-loadgen: {error:#}");
        ExitCode::from(commands::INVALID)
    })
}
