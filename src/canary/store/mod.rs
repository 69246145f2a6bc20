//! `canary store`.

mod check;
mod export;

use super::failure::{Exit, Failure};
use clap::{Args, Subcommand};
use model::NodeId;
use std::path::{Path, PathBuf};
use store::{Look, StoreError, StoreFault};

/// Look at what a node has on disk, running or not, and change nothing.
#[derive(Debug, Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, Subcommand)]
enum StoreCommand {
    Check(check::CheckArgs),
    Export(export::ExportArgs),
}

pub(super) fn run(args: StoreArgs) -> Result<Exit, Failure> {
    match args.command {
        StoreCommand::Check(args) => check::run(args),
        StoreCommand::Export(args) => export::run(args),
    }
}

/// Where to look.
#[derive(Debug, Args)]
struct Where {
    /// A node's own folder, or the folder that holds those of all nodes [default: the data directory].
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The data directory.
    #[arg(long, env = "CANARY_DATA", value_name = "DIR", default_value = "./data")]
    data: PathBuf,
}

impl Where {
    /// What is found in each node's folder.
    fn look(self) -> Result<Vec<Look>, Failure> {
        let dir = self.dir.unwrap_or(self.data);
        let nodes = nodes_below(&dir).map_err(|error| {
            let what = anyhow::anyhow!("{} cannot be read: {error}", dir.display());
            Failure::new(Exit::Failed, what).with_hint("name a node's data directory, or set CANARY_DATA")
        })?;
        let dirs = if nodes.is_empty() { vec![dir] } else { nodes };
        dirs.iter().map(|dir| Look::at(dir).map_err(failure)).collect()
    }
}

/// The folders in `dir` that are called as nodes are.
fn nodes_below(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let is_node = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<NodeId>().is_ok());
        if path.is_dir() && path.file_name().is_some_and(is_node) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn failure(error: StoreError) -> Failure {
    let exit = match error.fault() {
        StoreFault::CorruptData => Exit::CorruptData,
        StoreFault::Storage => Exit::StorageError,
        StoreFault::Configuration => Exit::Configuration,
    };
    Failure::new(exit, error)
}
