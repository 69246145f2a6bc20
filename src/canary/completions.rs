//! `canary completions`.

use super::failure::{Exit, Failure};
use clap::Args;
use clap_complete::Shell;
use std::io::Write;

/// Print a completion script for a shell.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary completions bash > ~/.local/share/bash-completion/completions/canary
  canary completions zsh > ~/.zfunc/_canary
  canary completions fish > ~/.config/fish/completions/canary.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: CompletionsArgs) -> Result<Exit, Failure> {
    // Into memory first: the generator panics when it cannot write, as when the reader has gone away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "canary", &mut script);
    let _ = std::io::stdout().write_all(&script);
    Ok(Exit::Done)
}
