//! `tallygate completions`: scripts by which a shell completes commands.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::{Cli, Error, Output};

/// Arguments of `completions`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn print(
    arguments: &CompletionsArguments,
    output: &mut Output,
) -> Result<ExitCode, Error> {
    // The generator panics if it cannot write, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "tallygate",
        &mut script,
    );
    output.bytes(&script)?;
    Ok(ExitCode::SUCCESS)
}
