//! The store of a simulated member.

use super::platter::{Fate, Shared};
use super::rules::{Rule, Without};
use ::store::{Log, Room, StoreError, StoreIdentity};
use model::{Incarnation, NodeId};
use service::{Durable, Record};
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// What becomes of the failures of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failures {
    /// The member is told.
    Told,
    /// The store goes on as if nothing had failed.
    Hidden,
}

/// The store of a member that runs on such a disk.
pub(crate) struct SimulatedStore {
    log: Log<Without>,
    disk: Shared,
    failures: Failures,
    dropped_end: Rc<Cell<bool>>,
}

impl SimulatedStore {
    /// Starts on `disk`, as [`Store::open`](::store::Store::open) does, without this rule.
    pub(crate) fn open(
        disk: &Shared,
        node: NodeId,
        fresh: Incarnation,
        (omitted, failures): (Option<Rule>, Failures),
    ) -> Result<(Self, Durable), StoreError> {
        let identity = StoreIdentity { node, cluster: "c-1.canary".into() };
        let rules = Without::rule(omitted);
        let dropped_end = rules.dropped_end();
        let log = Log::open_with(rules, Box::new(disk.clone()), Path::new("/simulated"), identity, fresh)?;
        let durable = log.durable().clone();
        Ok((Self { log, disk: disk.clone(), failures, dropped_end }, durable))
    }

    /// The same store on a copy of its disk, without this rule.
    pub(crate) fn fork(&self, disk: &Shared, (omitted, failures): (Option<Rule>, Failures)) -> Self {
        let rules = Without::rule(omitted);
        let dropped_end = rules.dropped_end();
        let log = self.log.fork(rules, Box::new(disk.clone()));
        Self { log, disk: disk.clone(), failures, dropped_end }
    }

    pub(crate) fn append(&mut self, records: &[Record]) -> Result<(), StoreError> {
        match self.log.append(records) {
            Err(error) if self.failures == Failures::Hidden && self.disk.lock().spoilt == Some(Fate::Fails) => {
                tracing::debug!(%error, "ignored");
                self.disk.lock().spoilt = None;
                Ok(())
            }
            done => done,
        }
    }

    pub(crate) fn force(&mut self) -> Result<(), StoreError> {
        self.log.force()
    }

    pub(crate) fn has_room(&self) -> Room {
        self.disk.lock().room
    }

    /// Whether the start dropped the end of the log.
    pub(crate) fn dropped_end(&self) -> bool {
        self.dropped_end.get()
    }
}
