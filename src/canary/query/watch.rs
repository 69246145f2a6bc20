//! `canary query --watch`: follows all nodes by long polls until it is interrupted.

use super::gather;
use super::show;
use super::verdict::{Row, Seen, Verdict};
use crate::failure::{Exit, Failure};
use crate::output::{CLEAR, Output};
use client::{Client, Polled};
use model::NodeId;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long one poll waits. What was measured changes without a new state, so a screen is drawn anew at least this often.
const WAIT: Duration = Duration::from_secs(5);
/// Between two attempts to reach a node that does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Ends when it is interrupted, or when nobody reads any more.
pub(super) async fn run(client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut rows: BTreeMap<NodeId, Row> = gather(client).await.into_iter().map(|row| (row.node, row)).collect();
    let (sender, news) = mpsc::channel(64);
    let mut followers = tokio::task::JoinSet::new();
    for (node, _) in client.peers().iter() {
        followers.spawn(follow(client.clone(), node, sender.clone()));
    }
    let shown = show_changes(&mut rows, news, output).await;
    followers.shutdown().await;
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(Exit::Failed, error)),
        Ok(()) | Err(_) => Ok(Verdict::of(&rows.into_values().collect::<Vec<_>>()).exit()),
    }
}

async fn show_changes(
    rows: &mut BTreeMap<NodeId, Row>,
    mut news: mpsc::Receiver<Row>,
    output: Output,
) -> io::Result<()> {
    let screen = output == Output::Table && io::stdout().is_terminal();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    if screen {
        show_all(rows)?;
    } else {
        rows.values().try_for_each(|row| tell(row, output))?;
    }
    loop {
        let row = tokio::select! {
            row = news.recv() => row,
            _ = &mut interrupted => None,
        };
        let Some(row) = row else { return Ok(()) };
        let changed = rows.get(&row.node).is_none_or(|known| differs(known, &row));
        rows.insert(row.node, row.clone());
        if screen {
            show_all(rows)?;
        } else if changed {
            tell(&row, output)?;
        }
    }
}

/// Sends a row whenever a poll of `node` ends.
async fn follow(client: Client, node: NodeId, news: mpsc::Sender<Row>) {
    let mut known: Option<(Box<schema::ServedState>, String)> = None;
    loop {
        let tag = known.as_ref().map(|(_, tag)| tag.as_str());
        let answer = match client.poll(node, tag, WAIT).await {
            Ok(Polled::State(state, tag)) => {
                known = Some((state, tag));
                Ok(())
            }
            Ok(Polled::Unchanged) => Ok(()),
            Err(error) => {
                known = None;
                Err(error.to_string())
            }
        };
        let failed = answer.is_err();
        let answer = match (&known, answer) {
            (Some((state, _)), Ok(())) => {
                let health = client.health(node).await.ok();
                Ok(Box::new(Seen { state: (**state).clone(), health }))
            }
            (None, Ok(())) => Err("it answered a poll for nothing".into()),
            (_, Err(reason)) => Err(reason),
        };
        if news.send(Row { node, answer }).await.is_err() {
            return;
        }
        if failed {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Whether there is news beyond measurements, which change all the time.
fn differs(known: &Row, new: &Row) -> bool {
    match (&known.answer, &new.answer) {
        (Ok(known), Ok(new)) => known.state != new.state,
        (Err(known), Err(new)) => known != new,
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => true,
    }
}

fn show_all(rows: &BTreeMap<NodeId, Row>) -> io::Result<()> {
    let rows: Vec<Row> = rows.values().cloned().collect();
    write(&format!("{CLEAR}{}\n{}\n", show::table(&rows), Verdict::of(&rows)))
}

fn tell(row: &Row, output: Output) -> io::Result<()> {
    let now = jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default();
    match output {
        Output::Table => write(&format!("{now} {}\n", show::line(row))),
        Output::Json => {
            let mut shown = show::row_json(row);
            shown["at"] = now.to_string().into();
            write(&format!("{shown}\n"))
        }
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())?;
    out.flush()
}
