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
    let mut wire = String::new();
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    if screen {
        show_all(rows)?;
    } else {
        rows.values().try_for_each(|row| tell(row, output))?;
    }
    loop {
        if !screen && output == Output::Table {
            tell_wire(rows, &mut wire)?;
        }
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
    let verdict = terminal::verdict(&Verdict::of(&rows));
    terminal::show(&format!("{CLEAR}{}\n{}{verdict}\n", show::table(&rows), show::wire(&rows)))
}

/// Says when there is news of the version of the nodes' protocol.
fn tell_wire(rows: &BTreeMap<NodeId, Row>, said: &mut String) -> io::Result<()> {
    let line = show::wire(&rows.values().cloned().collect::<Vec<_>>());
    if !line.is_empty() && line != *said {
        terminal::show(&format!("{} {line}", now()))?;
        *said = line;
    }
    Ok(())
}

fn now() -> jiff::Timestamp {
    jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default()
}

fn tell(row: &Row, output: Output) -> io::Result<()> {
    let now = now();
    match output {
        Output::Table => terminal::show(&format!("{now} {}\n", show::line(row))),
        Output::Json => {
            let mut shown = show::row_json(row);
            shown["at"] = now.to_string().into();
            terminal::show(&format!("{shown}\n"))
        }
    }
}
