//! `canary rollout start`.

use super::follow::{self, Until};
use crate::change::{self, ChangeArgs};
use crate::cluster::parse_span;
use crate::failure::{Exit, Failure};
use clap::Args;
use model::{ModelId, Weight};
use schema::{HoldShape, PlanShape, StartRequest};
use service::MAX_APPROVALS;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest plan file: a plan of as many steps as there may be is a hundredth of it.
const MAX_PLAN: u64 = 1024 * 1024;

/// Start a rollout: the canary's share grows by a plan, judged at each step by the requests that it serves.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  canary rollout start v2                                  5, 20, 50, 100 %, each held for 30 s
  canary rollout start v2 --upstream http://127.0.0.1:9002/predict -w
  canary rollout start v2 --steps 1,10,100 --hold 10m
  canary rollout start v2 --steps 5,50,100 --approvals 2   100 % only when two operators have approved it
  canary rollout start v2 --plan plan.toml

A plan file has steps = [{ setWeight = 5 }, { pause = { duration = \"10m\" } }, { setWeight = 50, approvals = 2 },
{ pause = {} }] and gates, minSample, progressDeadlineSeconds, consecutiveErrorLimit, smoke, shield; README lists them all.

Exit code: 0 started (with -w: promoted); 4 refused or voted down (with -w: or aborted); 5 with -w: rolled back; 3 no
majority or nobody reachable; 124 the outcome is not known yet, or with -w: not over in time.")]
pub(super) struct StartArgs {
    /// The model on trial.
    #[arg(value_name = "MODEL")]
    model: ModelId,
    /// Where it is served, on every node; a node's own CANARY_UPSTREAMS goes over it.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,
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
    /// Let users see the failures of the canary's upstream, instead of sending their requests to the stable model.
    #[arg(long)]
    no_shield: bool,
    /// End the rollout that is open, if there is one.
    #[arg(long)]
    supersede: bool,
    /// Refuse unless the state is at this version.
    #[arg(long, value_name = "VERSION")]
    base_version: Option<u64>,
    /// Stay, and show how it does until it is over.
    #[arg(long, short)]
    watch: bool,
    /// With -w: give up watching after this time; the rollout goes on.
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "watch")]
    watch_timeout: Option<Duration>,
    #[command(flatten)]
    change: ChangeArgs,
}

pub(super) fn run(args: StartArgs, certs: &Path) -> Result<Exit, Failure> {
    let plan = plan(&args)?;
    let request = StartRequest {
        canary_model_id: args.model,
        upstream: args.upstream,
        plan: Some(plan),
        supersede: args.supersede,
        base_version: args.base_version,
    };
    let exit = change::run(&args.change, certs, "/rollouts", &request)?;
    if !args.watch {
        return Ok(exit);
    }
    follow::run(&args.change.client(certs)?, args.change.output, Until::new(args.watch_timeout))
}

fn plan(args: &StartArgs) -> Result<PlanShape, Failure> {
    let mut shape = match &args.plan {
        Some(path) => read(path)?,
        None if args.steps.is_empty() => PlanShape { hold: args.hold.map(HoldShape), ..PlanShape::usual() },
        None => PlanShape::of_weights(&args.steps, args.hold),
    };
    if let Some(approvals) = args.approvals {
        shape = shape.with_approvals(approvals);
    }
    if args.no_shield {
        shape.shield = Some(false);
    }
    // The node says the same, but here nothing is sent for a plan that is none.
    shape.plan().map_err(|error| wrong(args.plan.as_deref(), &error.to_string()))?;
    Ok(shape)
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
