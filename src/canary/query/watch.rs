//! `canary query --watch`: follows all nodes by long polls until it is interrupted.

use super::{exit, show};
use crate::failure::{Exit, Failure};
use crate::output::Output;
use client::{Client, Followers, Row, Verdict};
use model::NodeId;
use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use terminal::CLEAR;

/// Ends when it is interrupted, or when nobody reads any more.
pub(super) async fn run(client: &Client, output: Output) -> Result<Exit, Failure> {
    let mut rows: BTreeMap<NodeId, Row> = client.compare().await.into_iter().map(|row| (row.node, row)).collect();
    let mut followers = client.follow();
    let shown = show_changes(&mut rows, &mut followers, output).await;
    followers.stop().await;
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::new(Exit::Failed, error)),
        Ok(()) | Err(_) => Ok(exit(&Verdict::of(&rows.into_values().collect::<Vec<_>>()))),
    }
}

async fn show_changes(rows: &mut BTreeMap<NodeId, Row>, followers: &mut Followers, output: Output) -> io::Result<()> {
    let screen = output == Output::Table && io::stdout().is_terminal();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    if screen {
        show_all(rows)?;
    } else {
        rows.values().try_for_each(|row| tell(row, output))?;
    }
    loop {
        let row = tokio::select! {
            row = followers.next() => row,
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
    terminal::show(&format!("{CLEAR}{}\n{}\n", show::table(&rows), terminal::verdict(&Verdict::of(&rows))))
}

fn tell(row: &Row, output: Output) -> io::Result<()> {
    let now = jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default();
    match output {
        Output::Table => terminal::show(&format!("{now} {}\n", show::line(row))),
        Output::Json => {
            let mut shown = show::row_json(row);
            shown["at"] = now.to_string().into();
            terminal::show(&format!("{shown}\n"))
        }
    }
}
