//! The program `tallygate`: reads the command line and the configuration, and runs the command.

#![forbid(unsafe_code)]

mod agents;
mod check;
mod cli;
mod demo;
mod directory;
mod fleet;
mod former_plans;
mod listeners;
mod missing_plans;
mod observe;
mod open_store;
mod options;
mod run;
mod start_error;
mod trust;
mod webhooks;

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
                temporary: false,
            };
            // The demo needs no file: people without one want to see what the gate does most of
            // all.
            if options.config.is_none() && !path.exists() {
                return run::demo_without_file(options);
            }
            with_config(&path, |config| run::demo(config, options))
        }
        Command::Client(command) => cli::execute(cli.config.as_deref(), cli.ca_file, command),
        Command::Completions(arguments) => cli::print_completions(&arguments),
    }
}

/// Reads the configuration before anything else is done, and prints where it is wrong.
fn with_config(path: &Path, action: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    with_judged(path, check::judge, action)
}

/// Runs `tallygate check`: prints what `run` would refuse, and what deserves a second look.
fn check_file(path: &Path) -> ExitCode {
    let store_warnings = RefCell::new(Vec::new());
    let judge = |config: &Config| {
        let findings = check::judge(config);
        if !findings.is_empty() {
            return findings;
        }
        // A start reports this too, with the store that it opens.
        let found = missing_plans::judge(config);
        store_warnings.replace(found.warnings);
        found.findings
    };
    with_judged(path, judge, |config| {
        for warning in config.warnings().iter().chain(&*store_warnings.borrow()) {
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
