//! Names in the environment that look like this program's, and that nothing reads: what was meant by them would not hold,
//! and nobody would be told.

use super::failure::{Exit, Failure};
use clap::Command;
use std::collections::BTreeSet;

/// How the names begin that this program reads, and no other.
const PREFIXES: [&str; 2] = ["CANARY_", "PEERS_"];
/// The members' addresses; what follows has to be a letter, as [`model::Peers`] says.
const MEMBERS: &str = "PEERS_NODE_";
/// What `deploy.sh` reads.
const OF_DEPLOY: &str = "CANARY_BIN";
/// From which likeness on (0 to 1, by Jaro) a name is offered for another, as clap does with flags.
const ALIKE: f64 = 0.7;

/// Fails when this process's environment has a name that looks like one of the program's and is none.
pub(crate) fn check(program: &Command) -> Result<(), Failure> {
    // A name in another encoding is none of ours.
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let known = known(program);
    match names.filter(|name| !is_read(name, &known)).min() {
        None => Ok(()),
        Some(stray) => Err(Failure::message(Exit::Configuration, format!("nothing reads {stray}, which is set"))
            .with_hint(advice(&stray, &known))),
    }
}

/// The names that some command reads.
fn known(program: &Command) -> BTreeSet<String> {
    let mut known: BTreeSet<String> = [OF_DEPLOY].into_iter().chain(crash::VARIABLE).map(str::to_owned).collect();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let names = command.get_arguments().filter_map(|argument| argument.get_env()?.to_str());
        known.extend(names.map(str::to_owned));
        commands.extend(command.get_subcommands());
    }
    known
}

fn is_read(name: &str, known: &BTreeSet<String>) -> bool {
    !PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || name.starts_with(MEMBERS) || known.contains(name)
}

fn advice(stray: &str, known: &BTreeSet<String>) -> String {
    if stray.starts_with("PEERS_") {
        return format!("members are named {MEMBERS}A, {MEMBERS}B, {MEMBERS}C …");
    }
    // All begin alike.
    let own = |name: &str| name.trim_start_matches("CANARY_").to_owned();
    let likeness = |name: &&String| strsim::jaro(&own(stray), &own(name));
    let nearest = known.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|name| likeness(name) >= ALIKE) {
        Some(nearest) => format!("perhaps {nearest} is meant; unset it otherwise"),
        None => "unset it; `canary node --help` lists the names".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_nothing_reads_are_found_and_the_nearest_is_offered() {
        let known = known(&crate::command());
        for read in ["CANARY_UPSTREAMS", "CANARY_CERTS", "CANARY_LOG", "CANARY_BIN", "PEERS_NODE_B", "PATH", "RUST_LOG"]
        {
            assert!(is_read(read, &known), "{read}");
        }
        for (stray, offered) in [
            ("CANARY_UPSTREAM", "CANARY_UPSTREAMS"),
            ("CANARY_CERT", "CANARY_CERTS"),
            ("CANARY_PEERS_EXTRA_SOURCE", "CANARY_PEERS_EXTRA_SOURCES"),
            ("PEERS_NOD_A", "PEERS_NODE_A"),
        ] {
            assert!(!is_read(stray, &known), "{stray}");
            assert!(advice(stray, &known).contains(offered), "{stray}: {}", advice(stray, &known));
        }
        assert!(advice("CANARY_X", &known).contains("--help"));
    }
}
