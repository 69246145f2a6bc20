//! `canary demo`.

use super::cluster::unusable;
use super::failure::{Exit, Failure};
use clap::Args;
use demo::{AtTheEnd, DemoError, Programme};

/// Run a whole mesh on this machine, alone: a good canary takes over, bad ones are rolled back.
///
/// Needs no arguments and no network, and leaves nothing behind.
#[derive(Debug, Args)]
#[command(after_help = "\
Starts three nodes on 127.0.0.11, 127.0.0.12 and 127.0.0.13 with throw-away certificates, small
model servers, and a client that keeps asking all nodes over HTTPS. Then it starts three rollouts,
each once, and only looks on:

  a good v2     takes 5, 20, 50 and 100 % by itself and becomes the stable model; then a node is
                killed and comes back
  a faulty v3   answers some requests with an error, and is rolled back by itself
  a slow v4     answers too late, and is rolled back by itself

It shows what was agreed and how fast, what users really got, and what the bad models did before
they were stopped.

Examples:
  canary demo
  canary demo --good        only v2
  canary demo --bad         only v3 and v4
  canary demo --keep        leave it up at the end, with commands to try

Exit code: 0 when everything was as it should be, within a minute and a half; else 1, with what was
not.")]
pub(crate) struct DemoArgs {
    /// Only the good canary.
    #[arg(long)]
    good: bool,
    /// Only the bad canaries.
    #[arg(long)]
    bad: bool,
    /// Leave it up at the end, until Ctrl-C.
    #[arg(long)]
    keep: bool,
}

impl DemoArgs {
    const fn programme(&self) -> Programme {
        match (self.good, self.bad) {
            (true, false) => Programme::Good,
            (false, true) => Programme::Bad,
            (true, true) | (false, false) => Programme::Whole,
        }
    }
}

pub(crate) fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let at_the_end = if args.keep { AtTheEnd::Keep } else { AtTheEnd::Stop };
    demo::run(args.programme(), at_the_end).map(|()| Exit::Done).map_err(failure)
}

fn failure(error: DemoError) -> Failure {
    let hint = match error {
        DemoError::Certificates(error) => return unusable(error, Exit::Failed),
        DemoError::Failed(_) | DemoError::Wrong(_) => return Failure::new(Exit::Failed, error),
        DemoError::Slow(_) => "is this machine busy with other things?",
        DemoError::NoDirectory(_) => "set TMPDIR to a directory that can be written",
        DemoError::PortTaken { .. } => {
            "stop it; the demo always uses ports 60001 to 60003 and 50051 to 50053 on 127.0.0.11 to 13"
        }
        DemoError::NoSuchAddress(_) => {
            "Linux answers on all of 127.0.0.0/8; on macOS add the addresses first: \
             for i in 11 12 13; do sudo ifconfig lo0 alias 127.0.0.$i; done"
        }
    };
    Failure::new(Exit::Failed, error).with_hint(hint)
}
