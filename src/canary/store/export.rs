//! `canary store export`.

use super::super::failure::{Exit, Failure};
use super::{Where, check};
use clap::Args;
use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use store::Look;

/// Write all that a node's data directory holds as lines of JSON: identity, every record, their sum, and the history.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary store export data/node-c | jq 'select(.kind == \"damage\")'
  canary store export --out for-support.jsonl

Needs no network, no certificate and no right to write there. Holds no key and no password: the states, who asked for them, from
which address, and the members' votes. What cannot be read is said, and what stands behind it written all the same.

Exit codes: 0 all of it was read, 65 some of it is damaged.")]
pub(super) struct ExportArgs {
    #[command(flatten)]
    place: Where,
    /// A new file to write, instead of stdout.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(args: ExportArgs) -> Result<Exit, Failure> {
    let looks = args.place.look()?;
    match &args.out {
        None => match write(&looks, &mut io::stdout().lock()) {
            // A reader who has seen enough, such as `head`, is no error.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            done => done.map_err(|error| Failure::new(Exit::Failed, error))?,
        },
        Some(path) => new_file(path, &looks)
            .and_then(|mut file| write(&looks, &mut file))
            .map_err(|error| Failure::new(Exit::Failed, anyhow::anyhow!("cannot write {}: {error}", path.display())))?,
    }
    Ok(if looks.iter().all(check::is_sound) { Exit::Done } else { Exit::CorruptData })
}

fn new_file(path: &Path, looks: &[Look]) -> io::Result<impl Write> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = parent.canonicalize()?;
    for look in looks {
        if parent.starts_with(look.dir.canonicalize()?) {
            return Err(io::Error::other("it is in the directory that is looked at, where nothing is changed"));
        }
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn write(looks: &[Look], out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    looks.iter().try_for_each(|look| look.export(&mut out))?;
    out.flush()
}
