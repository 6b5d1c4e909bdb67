//! `tallygate`: parse, wire, run, drain, flush.

#![forbid(unsafe_code)]

mod check;
mod cli;
mod demo;
mod directory;
mod fleet;
mod former_plans;
mod listeners;
mod observe;
mod open_store;
mod plans_gone;
mod run;
mod start_error;
mod wire;

use std::cell::RefCell;
use std::path::Path;
use std::process::ExitCode;

use cli::{Cli, Command};
use config::Config;

#[global_allocator]
static ALLOCATOR: allocator::Mimalloc = allocator::Mimalloc;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let path = cli.config_path();
    match cli.command {
        Command::Run => with_config(&path, run::run),
        Command::Check => check_file(&path),
        Command::Init => cli::init::execute(&path),
        Command::Demo(arguments) => {
            let options = demo::Options {
                once: arguments.once,
                config: cli.config,
                passing: false,
            };
            // Whoever has no file yet wants to see what the gate does all the more.
            if options.config.is_none() && !path.exists() {
                return run::demo_of_nothing(options);
            }
            with_config(&path, |config| run::demo(config, options))
        }
        Command::Client(command) => cli::execute(cli.config.as_deref(), cli.ca_file, command),
        Command::Completions(arguments) => cli::print_completions(&arguments),
    }
}

/// Reads the configuration before anything else is done, and says where it is wrong.
fn with_config(path: &Path, action: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    with_judged(path, check::judge, action)
}

/// `tallygate check`: what `run` would find wrong, and what is worth a second look.
fn check_file(path: &Path) -> ExitCode {
    let seen_warnings = RefCell::new(Vec::new());
    let judge = |config: &Config| {
        let findings = check::judge(config);
        if !findings.is_empty() {
            return findings;
        }
        // A start says it too, with the store that it opens.
        let seen = plans_gone::judge(config);
        seen_warnings.replace(seen.warnings);
        seen.findings
    };
    with_judged(path, judge, |config| {
        for warning in config.warnings().iter().chain(&*seen_warnings.borrow()) {
            eprintln!("{}: warning: {warning}", path.display());
        }
        println!("{} is valid", path.display());
        ExitCode::SUCCESS
    })
}

fn with_judged(
    path: &Path,
    judge: impl FnOnce(&Config) -> Vec<config::Finding>,
    action: impl FnOnce(Config) -> ExitCode,
) -> ExitCode {
    match Config::load_judged(path, |name| std::env::var(name).ok(), judge) {
        Ok(config) => action(config),
        Err(errors) => {
            eprintln!("{}", model::masked(&errors.to_string()));
            ExitCode::from(cli::EXIT_CONFIG)
        }
    }
}
