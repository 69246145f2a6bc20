//! The thread of the agreement, with the links to the peers.

use super::error::NodeError;
use super::stages::Stages;
use member::{Driver, DriverError, Inbox, Stopping};
use mesh::{self, Mesh, MeshConfig};
use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use tokio::runtime::{self, Runtime};
use tokio::sync::mpsc;

/// Messages from the mesh that may wait for the driver; beyond that the peers' connections wait.
const MESH_QUEUE: usize = 256;

/// The runtime that the driver and the links share, and the links on it. Nothing moves before it is run: so whoever shows
/// the links can be made before that.
pub(super) struct Bound {
    pub(super) runtime: Runtime,
    pub(super) mesh: Mesh,
    pub(super) events: mpsc::Receiver<mesh::Event>,
}

impl Bound {
    /// Listens for peers on `listener` until the last stage.
    pub(super) fn new(config: MeshConfig, listener: TcpListener, stages: &Stages) -> Result<Self, NodeError> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(NodeError::system("cannot start the runtime of the agreement"))?;
        let (sender, events) = mpsc::channel(MESH_QUEUE);
        let mesh = {
            let _inside = runtime.enter();
            Mesh::start(config, listener, sender, stages.ended.clone())
        };
        Ok(Self { runtime, mesh: mesh.map_err(NodeError::system("cannot listen for peers"))?, events })
    }
}

/// All that runs on the thread.
pub(super) struct Agreement {
    pub(super) runtime: Runtime,
    pub(super) mesh: Mesh,
    pub(super) driver: Driver,
    pub(super) inbox: Inbox,
    pub(super) stages: Stages,
}

impl Agreement {
    /// Runs the driver until it has nothing to do any more, then ends the links. Whatever ends it, ends the node.
    pub(super) fn start(self) -> Result<JoinHandle<Result<(), DriverError>>, NodeError> {
        let Self { runtime, mesh, driver, inbox, stages } = self;
        let agree = move || {
            let _end_all = stages.ended.clone().drop_guard();
            runtime.block_on(async move {
                let stopping = Stopping { leave: stages.leaving, end: stages.served };
                let ended = driver.run(inbox, stopping).await;
                stages.ended.cancel();
                mesh.stopped().await;
                ended
            })
        };
        thread::Builder::new().name("agreement".into()).spawn(agree).map_err(NodeError::system("cannot start a thread"))
    }
}
