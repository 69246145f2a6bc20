//! `canary demo`.
//!
//! The nodes are processes of this very program and the requests go over HTTPS; only the model servers are stand-ins, within
//! this process. What is shown was measured from answers, at the model servers, or told by the nodes. It leaves nothing
//! behind, however it ends.

mod bad;
mod good;
mod keep;
mod ledger;
mod mesh;
mod models;
mod nodes;
mod screen;
mod serving;
mod stage;
mod story;
mod traffic;

use super::failure::{Exit, Failure};
use clap::Args;
use nodes::Nodes;
use stage::Stage;
use std::time::Duration;
use story::Programme;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The whole of it takes less than half of this; a machine that needs longer is too busy to show anything. With what it
/// takes to stop everything it is the minute and a half that is promised.
const LONGEST: Duration = Duration::from_secs(85);
/// Threads for the client and the model servers together; the nodes need the other processors.
const WORKERS: usize = 2;

const ABOUT: &str = "\
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
not.";

/// Run a whole mesh on this machine, alone: a good canary takes over, bad ones are rolled back.
///
/// Needs no arguments and no network, and leaves nothing behind.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
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

/// What becomes of the nodes when all has been shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AtTheEnd {
    Stop,
    Keep,
}

pub(crate) fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let programme = args.programme();
    let at_the_end = if args.keep { AtTheEnd::Keep } else { AtTheEnd::Stop };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, error))?;
    runtime.block_on(async {
        // From here on a signal ends the story and not the process, so that everything is cleared away.
        let interruption = Interruption::new()?;
        let stage = Stage::build()?;
        let mut nodes = Nodes::new(&stage)?;
        let told = perform(&stage, &mut nodes, interruption, programme, at_the_end).await;
        nodes.stop().await;
        let told = told.map_err(|ending| ending.failure(&nodes));
        drop(nodes);
        told.and(stage.clear().map(|()| Exit::Done))
    })
}

async fn perform(
    stage: &Stage,
    nodes: &mut Nodes,
    mut interruption: Interruption,
    programme: Programme,
    at_the_end: AtTheEnd,
) -> Result<(), Ending> {
    let too_long = || {
        let limit = LONGEST.as_secs();
        Failure::message(
            Exit::Failed,
            format!("it was not done after {limit} s: is this machine busy with other things?"),
        )
    };
    let told = tokio::select! {
        told = tokio::time::timeout(LONGEST, story::tell(stage, nodes, programme)) => told.unwrap_or_else(|_| Err(too_long())),
        signal = interruption.wait() => return Err(Ending::Interrupted(signal)),
    };
    let (traffic, models) = told.map_err(|failure| first_cause(failure, nodes))?;
    match at_the_end {
        AtTheEnd::Stop => Ok(()),
        AtTheEnd::Keep => tokio::select! {
            failure = keep::stay(stage, nodes, traffic, models) => Err(failure.into()),
            _ = interruption.wait() => Ok(()),
        },
    }
}

/// A node that has ended explains whatever else went wrong.
fn first_cause(failure: Failure, nodes: &mut Nodes) -> Failure {
    match nodes.must_run() {
        Ok(()) => failure,
        Err(ended) => Failure::message(Exit::Failed, format!("{ended}; what came of it: {failure}")),
    }
}

/// How the demo ends when it does not come to its end by itself.
enum Ending {
    /// Something was not as it should be.
    Failed(Failure),
    /// Someone has seen enough.
    Interrupted(&'static str),
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Ending {
    /// Shows what the nodes logged, where that may say why.
    fn failure(self, nodes: &Nodes) -> Failure {
        match self {
            Self::Interrupted(signal) => {
                Failure::message(Exit::Failed, format!("ended by {signal}; nothing was left behind"))
            }
            Self::Failed(failure) => {
                screen::logs(nodes.last_lines());
                failure
            }
        }
    }
}

/// The signals that ask a program on a terminal to end.
struct Interruption {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interruption {
    fn new() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).map_err(|error| Failure::new(Exit::Failed, error));
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}
