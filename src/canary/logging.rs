//! The log lines: where they go and what they look like.

use super::failure::{Exit, Failure};
use clap::{Args, ValueEnum};
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

/// How much is logged, and in which form; it goes to stderr.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// What is logged: a level, or targets with levels such as info,mesh=debug.
    #[arg(long, env = "CANARY_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
    /// Form of the log lines [default: text on a terminal, json otherwise].
    #[arg(long, value_name = "FORM")]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for programs.
    Json,
}

impl LogArgs {
    pub(crate) fn start(&self) -> Result<(), Failure> {
        let filter = EnvFilter::builder().parse(in_rooms(&self.log)).map_err(|error| {
            Failure::message(Exit::Usage, format!("{:?} is not a log filter: {error}", self.log))
                .with_hint("use a level such as info, or targets such as info,mesh=debug")
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

/// The rooms of the program that log, by whose names their lines go.
const ROOMS: [&str; 8] = ["audit", "canary", "edge", "member", "mesh", "node", "store", "tls"];

/// The filter with what 0.1.0 called its targets said as they are called now: all of them stood below `canary`, and what is
/// the room `member` was `driver`.
fn in_rooms(filter: &str) -> String {
    let mut directives = Vec::new();
    for directive in filter.split(',') {
        directives.push(directive.to_owned());
        let (target, level) = directive.split_once('=').unwrap_or((directive, ""));
        let at = |target: &str| if level.is_empty() { target.to_owned() } else { format!("{target}={level}") };
        if target == "canary" {
            directives.extend(ROOMS.map(at));
        } else if let Some(room) = target.strip_prefix("canary::") {
            directives.push(at(room));
            directives.extend(room.strip_prefix("driver").map(|rest| at(&format!("member{rest}"))));
        }
    }
    directives.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_of_0_1_0_means_what_it_meant() {
        assert_eq!(in_rooms("info"), "info");
        assert_eq!(in_rooms("warn,mesh=debug"), "warn,mesh=debug");
        assert_eq!(in_rooms("info,canary::mesh=debug"), "info,canary::mesh=debug,mesh=debug");
        let all =
            "canary=debug,audit=debug,canary=debug,edge=debug,member=debug,mesh=debug,node=debug,store=debug,tls=debug";
        assert_eq!(in_rooms("canary=debug"), all);
        let journal = "canary::driver::journal=warn,driver::journal=warn,member::journal=warn";
        assert_eq!(in_rooms("canary::driver::journal=warn"), journal);
        for filter in ["info,canary::mesh=debug", "canary=debug", "canary", "[{peer=1}]=info"] {
            assert!(EnvFilter::builder().parse(in_rooms(filter)).is_ok(), "{filter}");
        }
    }
}
