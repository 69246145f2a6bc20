//! `canary rollout start`.

use super::follow::{self, Until};
use super::needs;
use super::plan::PlanArgs;
use crate::change::{self, ChangeArgs};
use crate::cluster::{block_on, parse_span};
use crate::failure::{Exit, Failure};
use clap::Args;
use model::ModelId;
use schema::StartRequest;
use std::path::Path;
use std::time::Duration;

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
    #[command(flatten)]
    plan: PlanArgs,
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
    let (mut shape, plan) = args.plan.read()?;
    if args.no_shield {
        shape.shield = Some(false);
    }
    let request = StartRequest {
        canary_model_id: args.model,
        upstream: args.upstream,
        plan: Some(shape),
        supersede: args.supersede,
        base_version: args.base_version,
    };
    let exit = change::run(&args.change, certs, "/rollouts", &request)?;
    let client = args.change.client(certs)?;
    block_on(async {
        needs::warn(&client, &plan).await;
        Ok(())
    })?;
    if !args.watch {
        return Ok(exit);
    }
    follow::run(&client, args.change.output, Until::new(args.watch_timeout))
}
