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

use std::process::ExitCode;

use cli::{Cli, Command};
use config::Config;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let path = cli.config_path();
    match cli.command {
        Command::Run => with_config(&path, run::run),
        Command::Check => {
            let judge = |config: &Config| {
                let mut findings = check::judge(config);
                // A start says it too, with the store that it opens.
                if findings.is_empty() {
                    findings.extend(plans_gone::judge(config));
                }
                findings
            };
            with_judged(&path, judge, |config| {
                for warning in config.warnings() {
                    eprintln!("{}: warning: {warning}", path.display());
                }
                println!("{} is valid", path.display());
                ExitCode::SUCCESS
            })
        }
        Command::Init => cli::init::execute(&path),
        Command::Demo(arguments) => {
            let options = demo::Options {
                once: arguments.once,
                config: cli.config,
            };
            // Whoever has no file yet wants to see what the gate does all the more.
            if options.config.is_none() && !path.exists() {
                return run::demo_of_nothing(options);
            }
            with_config(&path, |config| run::demo(config, options))
        }
        Command::Client(command) => cli::execute(cli.config.as_deref(), command),
        Command::Completions(arguments) => cli::print_completions(&arguments),
    }
}

/// Reads the configuration before anything else is done, and says where it is wrong.
fn with_config(path: &std::path::Path, action: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    with_judged(path, check::judge, action)
}

fn with_judged(
    path: &std::path::Path,
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
