//! The `tidegate` command.

use clap::Parser;
use std::net::SocketAddr;
use tidegate_core::config::json_schema;
use tidegate_net::cli::{Check, CheckFormat, Cli, Command, EXIT_INTERNAL, EXIT_OK, EXIT_USAGE};
use tidegate_net::control::{self, gateway};
use tidegate_net::{metrics, rules_cmd, scan, snapshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let code = match Cli::parse().command {
        Command::Run(args) => match gateway::run(args.config, args.addr_file) {
            Ok(()) => EXIT_OK,
            Err(e) => {
                eprintln!("{e}");
                if matches!(e, gateway::RunError::Config(_)) { EXIT_USAGE } else { EXIT_INTERNAL }
            }
        },
        Command::Check(args) => check(&args),
        Command::Schema => {
            println!("{}", json_schema());
            EXIT_OK
        }
        Command::Scan(args) => scan::run(&args),
        Command::Rules(command) => rules_cmd::run(&command),
        Command::DemoServer(args) => demo_server(args.listen),
    };
    std::process::exit(code.into());
}

/// Everything `run` would refuse, without starting anything.
fn check(args: &Check) -> u8 {
    let (config, wrong) = gateway::load_what_is_right(Some(&args.config));
    let mut sentences: Vec<String> = wrong.iter().map(ToString::to_string).collect();
    let mut mistakes: Vec<serde_json::Value> =
        wrong.iter().map(|m| serde_json::to_value(m).unwrap_or_default()).collect();
    // What is right may hold mistakes that only show when rules and certificates are loaded.
    if let Some((config, _)) = config {
        let counters = metrics::Metrics::new(1);
        let addresses = snapshot::Addresses::new();
        let built = snapshot::Snapshot::build(&config, config.listen, &addresses, &counters, None, 1);
        for e in built.err().unwrap_or_default() {
            sentences.push(e.to_string());
            mistakes.push(serde_json::json!({ "path": e.path, "problem": e.problem }));
        }
    }
    if args.format == CheckFormat::Text {
        sentences.iter().for_each(|m| eprintln!("{m}"));
    }
    let ok = mistakes.is_empty();
    match args.format {
        CheckFormat::Json => println!("{}", serde_json::json!({ "ok": ok, "mistakes": mistakes })),
        CheckFormat::Text if ok => println!("{}: ok", args.config.display()),
        CheckFormat::Text => eprintln!("{}: {} mistake(s)", args.config.display(), mistakes.len()),
    }
    if ok { EXIT_OK } else { EXIT_USAGE }
}

fn demo_server(listen: SocketAddr) -> u8 {
    match control::serve_demo(listen) {
        Ok(()) => EXIT_OK,
        Err(e) => {
            eprintln!("tidegate demo-server: {listen}: {e}");
            EXIT_USAGE
        }
    }
}
