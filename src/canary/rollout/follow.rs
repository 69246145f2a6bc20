//! Watching a rollout until it is over.

use super::screen;
use crate::cluster::block_on;
use crate::failure::{Exit, Failure};
use crate::output::Output;
use client::Client;
use model::NodeId;
use schema::CurrentRollout;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};
use terminal::CLEAR;

/// How often the nodes are asked: soon enough to see a rollback while it happens.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Without any node for this long there is nothing to watch any more.
const SILENT_FOR: Duration = Duration::from_secs(30);
/// What was measured is told this often where nothing else changes, and the screen is not redrawn.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How long to watch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until(Option<Instant>);

impl Until {
    /// For this long from now, or to the end.
    pub(super) fn new(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    fn is_over(self) -> bool {
        self.0.is_some_and(|end| Instant::now() >= end)
    }
}

/// Shows the rollout until it is over, the time is up, or it is interrupted.
pub(super) fn run(client: &Client, output: Output, until: Until) -> Result<Exit, Failure> {
    block_on(async {
        let mut watch = Watch { client, output, node: None, told: String::new(), told_at: None, heard: Instant::now() };
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            if let Some(exit) = watch.look().await? {
                return Ok(exit);
            }
            if until.is_over() {
                return Err(Failure::message(Exit::TimedOut, "the rollout is not over yet; it goes on")
                    .with_hint("canary rollout status -w watches it again"));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                _ = &mut interrupted => return Ok(Exit::Done),
            }
        }
    })
}

struct Watch<'a> {
    client: &'a Client,
    output: Output,
    /// Who answered last, and is asked first.
    node: Option<NodeId>,
    told: String,
    told_at: Option<Instant>,
    heard: Instant,
}

impl Watch<'_> {
    async fn look(&mut self) -> Result<Option<Exit>, Failure> {
        let Some(current) = self.ask().await? else { return Ok(None) };
        match self.show(&current) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Some(Exit::Done)),
            shown => shown.map_err(|error| Failure::new(Exit::Failed, error))?,
        }
        let outcome = current.rollout.as_ref().and_then(|rollout| rollout.outcome.as_deref());
        Ok(outcome.map(exit))
    }

    /// What the first node that answers shows. A silence is waited out for a while: nodes are restarted, too.
    async fn ask(&mut self) -> Result<Option<CurrentRollout>, Failure> {
        let known = self.node;
        let others = self.client.peers().iter().map(|(node, _)| node).filter(|node| Some(*node) != known);
        match self.client.first_of(known.into_iter().chain(others), "/rollouts/current").await {
            Ok((node, current)) => {
                (self.node, self.heard) = (Some(node), Instant::now());
                Ok(Some(current))
            }
            Err(silent) if known.is_none() || self.heard.elapsed() > SILENT_FOR => Err(silent.into()),
            Err(_) => Ok(None),
        }
    }

    fn show(&mut self, current: &CurrentRollout) -> io::Result<()> {
        let mut out = anstream::stdout();
        if self.output == Output::Table && io::stdout().is_terminal() {
            write!(out, "{CLEAR}{}", screen::rollout(current))?;
            return out.flush();
        }
        let stands = screen::line(current);
        let is_news = screen::state(current) != self.told;
        if is_news || self.told_at.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            (self.told, self.told_at) = (screen::state(current), Some(Instant::now()));
            match self.output {
                Output::Table => writeln!(out, "{stands}")?,
                Output::Json => writeln!(out, "{}", serde_json::to_string(current).map_err(io::Error::other)?)?,
            }
        }
        out.flush()
    }
}

fn exit(outcome: &str) -> Exit {
    match outcome {
        "Promoted" | "FastPromoted" => Exit::Done,
        "RolledBack" => Exit::RolledBack,
        _ => Exit::Refused,
    }
}
