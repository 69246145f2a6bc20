//! How often rollouts are judged rightly, on made-up traffic: `cargo run --release --example judge`.
//!
//! It runs whole rollouts, 5 → 20 → 50 → 100 % on three nodes with the usual limits, by the code that judges real ones,
//! and prints what it measured beside what is asked for. The same seed gives the same table. It ends with status 1 when
//! something that is asked for is missed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table")]
#![allow(clippy::cast_precision_loss, reason = "counts of a simulation are small")]

mod cases;
mod course;
mod equal;
mod evasions;
mod node;
mod rollout;
mod strangers;
mod table;
mod traffic;
mod world;

use cases::Cases;
use std::process::ExitCode;

const USAGE: &str = "usage: judge [--seed NUMBER] [--rollouts NUMBER] [--only limits|equal|strangers|evasions]";

fn main() -> ExitCode {
    let Some(cases) = parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("seed {}, {} rollouts a case\n", cases.seed, cases.rollouts);
    let rows = cases.rows();
    print!("{}", table::table(&rows));
    match rows.iter().any(|row| row.holds == Some(false)) {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Cases> {
    let mut cases = Cases { seed: 1, rollouts: 1_000, only: None };
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--seed" => cases.seed = value.parse().ok()?,
            "--rollouts" => cases.rollouts = value.parse().ok().filter(|rollouts| *rollouts > 0)?,
            "--only" => cases.only = Some(value),
            _ => return None,
        }
    }
    Some(cases)
}
