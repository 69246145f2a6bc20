//! The log lines: where they go and what they look like.

use super::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How much is logged, and in which form; it goes to stderr.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What is logged: a level, or targets with levels such as info,canary::mesh=debug.
    #[arg(long, env = "CANARY_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// Form of the log lines [default: text on a terminal, json otherwise].
    #[arg(long, value_name = "FORM")]
    log_format: Option<LogFormat>,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

impl LogArgs {
    /// Begins to log.
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::builder().parse(&self.log).map_err(|error| {
            Failure::message(Exit::Usage, format!("{:?} is not a log filter: {error}", self.log))
                .with_hint("use a level such as info, or targets such as info,canary::mesh=debug")
        })?;
        let terminal = stderr().is_terminal();
        let format = self.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = fmt().with_env_filter(filter).with_writer(stderr);
        let started = match format {
            LogFormat::Text => lines.with_ansi(colours).try_init(),
            LogFormat::Json => {
                lines.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
            }
        };
        started.map_err(|error| Failure::message(Exit::Failed, format!("cannot start logging: {error}")))
    }
}
