//! A whole mesh on one machine, shown from a good canary's way up to the rollback of bad ones.
//!
//! The nodes are processes of the very program that runs this, by its command `node`, and the requests go over HTTPS;
//! only the model servers are stand-ins, within this process. What is shown was measured from answers, at the model
//! servers, or told by the nodes. It leaves nothing behind, however it ends.

mod bad;
mod error;
mod good;
mod ledger;
mod mesh;
mod models;
mod nodes;
mod screen;
mod serving;
mod stage;
mod story;
mod traffic;

pub use error::DemoError;
pub use story::Programme;

use models::{Model, ModelServers};
use nodes::Nodes;
use stage::Stage;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use traffic::Traffic;

/// The whole of it takes less than half of this; a machine that needs longer is too busy to show anything. With what it
/// takes to stop everything it is the minute and a half that is promised.
const LONGEST: Duration = Duration::from_secs(85);
/// Threads for the client and the model servers together; the nodes need the other processors.
const WORKERS: usize = 2;

/// How often it is looked at whether the nodes that are left up still run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The fate of the nodes when all has been shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtTheEnd {
    /// They stop.
    Stop,
    /// They are left up until a signal comes.
    Keep,
}

/// Shows `programme`; leaves nothing behind, however it ends. Fails when something is not as it should be, when it
/// takes too long, or when it is interrupted.
pub fn run(programme: Programme, at_the_end: AtTheEnd) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(DemoError::failed)?;
    runtime.block_on(async {
        // From here on a signal ends the story and not the process, so that everything is cleared away.
        let interruption = Interruption::new()?;
        let stage = Stage::build()?;
        let mut nodes = Nodes::new(&stage)?;
        let told = perform(&stage, &mut nodes, interruption, programme, at_the_end).await;
        nodes.stop().await;
        let told = told.map_err(|ending| ending.failure(&nodes));
        drop(nodes);
        told.and(stage.clear())
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
        DemoError::Wrong(format!("it was not done after {limit} s: is this machine busy with other things?"))
    };
    let told = tokio::select! {
        told = tokio::time::timeout(LONGEST, story::tell(stage, nodes, programme)) => told.unwrap_or_else(|_| Err(too_long())),
        signal = interruption.wait() => return Err(Ending::Interrupted(signal)),
    };
    let (traffic, models) = told.map_err(|failure| first_cause(failure, nodes))?;
    match at_the_end {
        AtTheEnd::Stop => Ok(()),
        AtTheEnd::Keep => tokio::select! {
            failure = stay(stage, nodes, traffic, models) => Err(failure.into()),
            _ = interruption.wait() => Ok(()),
        },
    }
}

/// Leaves the mesh up for someone to try, until a node ends. What is tried is the visitor's: it is no longer compared with
/// what was agreed.
async fn stay(stage: &Stage, nodes: &mut Nodes, mut traffic: Traffic, mut models: ModelServers) -> DemoError {
    match models.add(Model::V5).await {
        Ok(url) => screen::to_try(stage, &models, Model::V5, &url),
        Err(failure) => return failure,
    }
    loop {
        traffic.observe(LOOK_EVERY, |_| false).await;
        if let Err(failure) = nodes.must_run() {
            return failure;
        }
    }
}

/// A node that has ended explains whatever else went wrong.
fn first_cause(failure: DemoError, nodes: &mut Nodes) -> DemoError {
    match nodes.must_run() {
        Ok(()) => failure,
        Err(ended) => DemoError::Wrong(format!("{ended}; what came of it: {failure}")),
    }
}

/// How the demo ends when it does not come to its end by itself.
enum Ending {
    /// Something was not as it should be.
    Failed(DemoError),
    /// Someone has seen enough.
    Interrupted(&'static str),
}

impl From<DemoError> for Ending {
    fn from(failure: DemoError) -> Self {
        Self::Failed(failure)
    }
}

impl Ending {
    /// Shows what the nodes logged, where that may say why.
    fn failure(self, nodes: &Nodes) -> DemoError {
        match self {
            Self::Interrupted(signal) => DemoError::Wrong(format!("ended by {signal}; nothing was left behind")),
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
    fn new() -> Result<Self, DemoError> {
        let listen = |kind| signal(kind).map_err(DemoError::failed);
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
