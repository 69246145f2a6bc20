//! The plan that a command is given, by options or in a file.

use crate::failure::{Exit, Failure};
use clap::Args;
use model::Weight;
use schema::{HoldShape, PlanShape};
use service::{MAX_APPROVALS, Plan};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest plan file: a plan of as many steps as there may be is a hundredth of it.
const MAX_PLAN: u64 = 1024 * 1024;

// No doc comment: that would be the help of commands that take nothing else.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The weights in per cent, rising.
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = Weight::from_percent, conflicts_with = "plan")]
    steps: Vec<Weight>,
    /// How long each weight is held; at most 31 days.
    #[arg(long, value_name = "TIME", value_parser = parse_hold, conflicts_with = "plan")]
    hold: Option<Duration>,
    /// How many different operators have to approve the last step before it is entered: `canary rollout approve`. In a
    /// plan file any step but the first may have approvals.
    #[arg(long, value_name = "COUNT", conflicts_with = "plan", value_parser = clap::value_parser!(u8).range(1..=MAX_APPROVALS.into()))]
    approvals: Option<u8>,
    /// Read the plan from this file, TOML when its name ends in .toml, else JSON.
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
}

impl PlanArgs {
    /// The document of the plan, which is one, and the plan. Fails with what is wrong with it.
    pub(super) fn read(&self) -> Result<(PlanShape, Plan), Failure> {
        let mut shape = match &self.plan {
            Some(path) => read(path)?,
            None if self.steps.is_empty() => PlanShape { hold: self.hold.map(HoldShape), ..PlanShape::usual() },
            None => PlanShape::of_weights(&self.steps, self.hold),
        };
        if let Some(approvals) = self.approvals {
            shape = shape.with_approvals(approvals);
        }
        // The node says the same, but here nothing is sent for a plan that is none.
        let plan = shape.plan().map_err(|error| wrong(self.plan.as_deref(), &error.to_string()))?;
        Ok((shape, plan))
    }
}

fn read(path: &Path) -> Result<PlanShape, Failure> {
    let failed = |error: std::io::Error| wrong(Some(path), &error.to_string());
    let mut text = String::new();
    File::open(path).map_err(failed)?.take(MAX_PLAN).read_to_string(&mut text).map_err(failed)?;
    if path.extension().is_some_and(|end| end.eq_ignore_ascii_case("toml")) {
        toml::from_str(&text).map_err(|error| wrong(Some(path), error.to_string().trim_end()))
    } else {
        serde_json::from_str(&text).map_err(|error| wrong(Some(path), &error.to_string()))
    }
}

fn wrong(path: Option<&Path>, error: &str) -> Failure {
    let place = path.map_or_else(|| "the plan".to_owned(), |path| path.display().to_string());
    Failure::message(Exit::Usage, format!("{place}: {error}"))
        .with_hint("canary rollout start --help shows a plan; README lists its fields")
}

/// Reads `30s` or `1h30m`, or a number of seconds.
fn parse_hold(text: &str) -> Result<Duration, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let hold = if is_number { text.parse().ok().map(Duration::from_secs) } else { schema::parse_span(text) };
    hold.ok_or_else(|| format!("{text:?} is no duration such as 30s"))
}
