//! The signals that a node obeys, and what it looks after while it waits for them.

use super::certificates::Certificates;
use super::clock::{ClockWatch, say_jump};
use super::config::NodeConfig;
use super::error::NodeError;
use super::stages::Stages;
use jiff::Timestamp;
use member::{boottime, unix_millis};
use model::{NodeId, Peers};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// How often the certificates' files are looked at: a new one is in use before whoever copied it has logged out.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// The signals that a node obeys.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they do not end the process by themselves.
    pub(super) fn listen() -> Result<Self, NodeError> {
        let listen_for = |kind| signal(kind).map_err(NodeError::system("cannot listen for signals"));
        Ok(Self {
            terminate: listen_for(SignalKind::terminate())?,
            interrupt: listen_for(SignalKind::interrupt())?,
            hang_up: listen_for(SignalKind::hangup())?,
        })
    }

    /// Waits until the signal `kind` comes once more: whoever asks twice does not want to wait. What matters is on disk at
    /// any moment, as with kill -9. One of each kind is not twice: a terminal and a script may both pass a stop on.
    pub(super) async fn end_at_the_next(mut self, kind: SignalKind, me: NodeId) {
        let again = if kind == SignalKind::interrupt() { &mut self.interrupt } else { &mut self.terminate };
        again.recv().await;
        tracing::warn!(node = %me, "Told to stop a second time: ending at once, with what was in flight");
        // What shells say of a process that a signal has ended.
        std::process::exit(128 + kind.as_raw_value());
    }
}

/// Waits for SIGTERM or SIGINT and says which it was, and loads certificates anew on SIGHUP or when their files have changed.
pub(super) async fn obey_signals(
    config: &NodeConfig,
    peers: &Peers,
    certificates: &mut Certificates,
    signals: &mut Signals,
    stages: &Stages,
) -> SignalKind {
    let mut clock = ClockWatch::default();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let kind = loop {
        tokio::select! {
            () = stages.leaving.cancelled() => return SignalKind::terminate(),
            _ = signals.terminate.recv() => break SignalKind::terminate(),
            _ = signals.interrupt.recv() => break SignalKind::interrupt(),
            _ = signals.hang_up.recv() => certificates.reload(config, peers),
            _ = look.tick() => {
                if let Some(jump_ms) = clock.look(boottime(), unix_millis()) {
                    say_jump(jump_ms, Timestamp::now());
                }
                certificates.reload_if_changed(config, peers);
            }
        }
        certificates.remind(config.crl_policy);
    };
    tracing::info!(node = %config.me, "Stopping: finishing the requests in flight");
    stages.leaving.cancel();
    kind
}

/// Goes on serving for as long as whoever sends requests here takes to notice that it should not. What stops a node
/// from within leaves no time for that.
pub(super) async fn linger(config: &NodeConfig, stages: &Stages) {
    tokio::select! {
        () = tokio::time::sleep(config.stop_delay) => {}
        () = stages.closing.cancelled() => {}
    }
    stages.closing.cancel();
}
