//! A request to the models: key, choice, answer.

use crate::answer::{self, Problem};
use crate::body::{self, Body, Client, Taken};
use crate::headers::{Outbound, Remote};
use crate::key::key_of;
use crate::leftover::Leftover;
use crate::observe::{Observations, Observer, Recording};
use crate::route::Route;
use crate::table::{Prepared, Stickiness, Table, Target};
use crate::tester::{Tester, Testers};
use crate::upload::RequestBody;
use crate::upstream::address::Upstreams;
use crate::upstream::client::{Forwarder, PROBE_TIMEOUT, Timeouts};
use crate::upstream::health;
use crate::upstream::pool::Pool;
use arc_swap::{ArcSwap, Guard};
use http::header::{EXPECT, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use judge::{Sample, Samples, Verdict};
use member::{Handle, View, boottime};
use model::{ModelId, Networks, Time, Weight};
use rollout::Trial;
use routing::{Bucket, Choice};
use service::{Model, NO_MODEL_SERVER, Smoke, serving_weight};
use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio_util::task::TaskTracker;

const KEY: HeaderName = HeaderName::from_static("x-canary-key");

/// Answers requests to the models on one node. Cheap to clone: all clones share the upstreams' connections and what was
/// observed.
#[derive(Clone)]
pub struct Proxy(pub(super) Arc<Shared>);

pub(super) struct Shared {
    handle: Handle,
    upstreams: Upstreams,
    testers: Testers,
    trusted_proxies: Networks,
    pub(super) table: ArcSwap<Table>,
    pub(super) forwarder: Forwarder,
    /// Connections for plain requests.
    pub(super) pool: Pool,
    observer: Arc<Observer>,
}

/// The settings of a node about the requests to its models.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where the models are served, over what the agreed state says.
    pub upstreams: Upstreams,
    /// How long they may take.
    pub timeouts: Timeouts,
    /// Who may choose a model.
    pub testers: Testers,
    /// Whose word about the way of a request is believed.
    pub trusted_proxies: Networks,
}

/// What became of one request before it is carried out.
pub(super) struct Chosen {
    pub(super) table: Guard<Arc<Table>>,
    pub(super) choice: Choice,
    stickiness: Stickiness,
    counted: Counted,
    pub(super) at: Time,
}

/// Whether a request is part of what is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Yes,
    No,
}

/// What became of a plain request.
pub(super) enum Decided {
    /// It is answered.
    Answered,
    /// The upstream of what was chosen is to answer it.
    Upstream(Chosen),
    /// It is not as plain as it looks; nothing was done.
    NotPlain,
}

impl Chosen {
    pub(super) fn target(&self) -> &Target {
        self.table.target(self.choice)
    }

    /// The same for as long as an upstream may take: with a plan that is counted rather than borrowed.
    pub(super) fn held(self) -> Self {
        Self { table: Guard::from_inner(Guard::into_inner(self.table)), ..self }
    }

    /// The same request with another choice, from now on.
    pub(super) fn instead(&self, choice: Choice) -> Self {
        let table = Guard::from_inner(Arc::clone(&self.table));
        Self { table, choice, stickiness: self.stickiness, counted: self.counted, at: boottime() }
    }
}

impl Proxy {
    /// A proxy that follows the state that `handle` shows. Its tasks are counted in `tasks`. They are none of a request's way to its answer: connections to upstreams, and the closing of those that
    /// were kept for long enough.
    pub fn new(handle: Handle, settings: Settings, tasks: TaskTracker) -> Self {
        let Settings { upstreams, timeouts, testers, trusted_proxies } = settings;
        let table = ArcSwap::from_pointee(Table::new(&handle.view(), &upstreams));
        let (pool, forwarder) = (Pool::new(tasks.clone()), Forwarder::new(timeouts, tasks));
        let observer = Arc::new(Observer::new(timeouts));
        Self(Arc::new(Shared { handle, upstreams, testers, trusted_proxies, table, forwarder, pool, observer }))
    }

    /// Answers one request that came in by `route` from `remote`. It always answers; what cannot be done is a problem in
    /// the answer.
    pub async fn answer<B: RequestBody + Send + 'static>(
        &self,
        route: Route,
        remote: Option<Remote>,
        request: Request<B>,
    ) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let client = if parts.headers.contains_key(EXPECT) { Client::Waits } else { Client::Sends };
        if !self.0.handle.view().stage.has_joined() {
            body::discard_sent(body, client).await;
            return edge::Problem::not_joined().into_answer().map(Body::whole);
        }
        let climbs = route.is_left_by(parts.uri.path());
        let admitted = if climbs { Err(Problem::PathClimbs) } else { Tester::of(&parts.headers) };
        let tester = match admitted {
            Ok(tester) => tester,
            Err(problem) => {
                body::discard_sent(body, client).await;
                return self.refuse(None, &parts.headers, &problem);
            }
        };
        if tester.is_some()
            && let Err(refused) = self.0.testers.admit(remote, &parts.headers, &self.0.trusted_proxies)
        {
            body::discard_sent(body, client).await;
            return refused.into_answer().map(Body::whole);
        }
        let body = match body::take(body, client, route.reading(&parts.headers)).await {
            Ok(body) => body,
            Err(error) => return self.refuse(tester, &parts.headers, &error.into()),
        };
        let arrived = boottime();
        let key = body_key(&body);
        let readable = key.as_ref().ok().and_then(Option::as_deref);
        let counted = match tester {
            None if route.is_work(&parts.method, parts.uri.path()) => Counted::Yes,
            None | Some(_) => Counted::No,
        };
        let chosen = self.choose(tester, header_key(&parts.headers).or(readable), counted);
        match (&chosen.target().upstream, route) {
            (Ok(None), Route::Prediction) => match key {
                Ok(_) => self.decide_at_end(&chosen, arrived, body).await,
                Err(error) => Problem::NotJson(error).answer(&chosen.table, chosen.target()),
            },
            (Ok(None), Route::BesidePrediction | Route::Inference) => {
                body.discard(client).await;
                let (method, model) = (parts.method, chosen.target().model.to_string());
                let problem = match route {
                    Route::Prediction | Route::BesidePrediction => Problem::NoSuchMethod { method, model },
                    Route::Inference => Problem::NoUpstream { model },
                };
                problem.answer(&chosen.table, chosen.target())
            }
            (Ok(Some(_)) | Err(_), _) => {
                let leftover = Leftover::of(parts.version, client, &self.0.forwarder.tasks);
                self.pass(chosen, Outbound::new(route, remote, parts), body, leftover).await
            }
        }
    }

    /// Counts a request that was served elsewhere.
    pub fn record_outcome(&self, model: &ModelId, sample: Sample) {
        self.0.observer.record(model, boottime(), sample);
    }

    /// The observations of this node in the last minute.
    pub fn observations(&self) -> Observations {
        let view = self.0.handle.view();
        let canary = view.state.canary.as_ref().map(|canary| &canary.model.id);
        self.0.observer.observations(boottime(), std::iter::once(&view.state.stable.id).chain(canary))
    }

    /// The place where this node's own configuration serves `model`, if it does.
    pub fn own_upstream(&self, model: &ModelId) -> Option<String> {
        self.0.upstreams.iter().find(|(own, _)| *own == model).map(|(_, upstream)| upstream.uri().to_string())
    }

    /// Whether `model` has an upstream on this node.
    pub fn has_upstream(&self, model: &Model) -> bool {
        !matches!(self.0.upstreams.of(model), Ok(None))
    }

    /// Whether requests for `model` would be answered with the choice alone on this node, though it has an upstream for the
    /// stable model.
    pub fn lacks_upstream(&self, model: &Model) -> bool {
        !self.has_upstream(model) && self.has_upstream(&self.0.handle.view().state.stable)
    }

    /// Whether `model` can be served on this node: its upstream answers a GET with a status below 500 within 1 s, and passes
    /// the smoke test, if there is one; or neither it nor the stable model has one. Else why it cannot, in words for an
    /// operator.
    pub async fn probe(&self, model: &Model, smoke: Option<&Smoke>) -> Result<(), String> {
        match (self.0.upstreams.of(model), smoke) {
            (Ok(None), _) if self.lacks_upstream(model) => Err(format!("{}: {NO_MODEL_SERVER}", model.id)),
            (Ok(None), _) => Ok(()),
            (Ok(Some(upstream)), None) => self.0.forwarder.ask(upstream.uri(), PROBE_TIMEOUT).await,
            (Ok(Some(upstream)), Some(smoke)) => health::smoke_test(&self.0.forwarder, &upstream, smoke).await,
            (Err(error), _) => Err(format!("the upstream of {}: {error}", model.id)),
        }
    }

    /// Counts the requests to the models of `trial` from now on, from nothing; or for none.
    pub fn count(&self, trial: Option<&Trial>) {
        self.0.observer.count(trial);
    }

    /// The count since then.
    pub fn counted(&self) -> Samples {
        self.0.observer.counted()
    }

    /// The choice of a model, by the state and the lease of this very moment.
    fn choose(&self, tester: Option<Tester>, key: Option<&[u8]>, counted: Counted) -> Chosen {
        let view = self.0.handle.view();
        let mut table = self.0.table.load();
        if !table.is_of(&view) {
            let fresh = Arc::new(Table::new(&view, &self.0.upstreams));
            self.0.table.store(Arc::clone(&fresh));
            table = Guard::from_inner(fresh);
        }
        let at = boottime();
        let choice = tester.map_or_else(|| by_weight(&view, at, key), |tester| by_wish(&view, at, tester));
        let stickiness = if key.is_some() { Stickiness::Sticky } else { Stickiness::Random };
        Chosen { table, choice, stickiness, counted, at }
    }

    /// Decides a request that an HTTP server did not see: hands the prepared answer and the time to `answer`, when the
    /// decision is all there is to it.
    pub(super) fn decide_plain(
        &self,
        key: Option<&[u8]>,
        body: &[u8],
        answer: impl FnOnce(&Prepared, Time),
    ) -> Decided {
        let arrived = boottime();
        let Ok(body_key) = key_of(body) else { return Decided::NotPlain };
        let chosen = self.choose(None, key.or(body_key.as_deref()), Counted::Yes);
        if !chosen.table.has_joined {
            return Decided::NotPlain;
        }
        match chosen.target().upstream {
            Ok(None) => {
                answer(self.decided(&chosen, arrived), chosen.at);
                Decided::Answered
            }
            Ok(Some(_)) => Decided::Upstream(chosen),
            Err(_) => Decided::NotPlain,
        }
    }

    /// Answers with the decision itself, when the body has ended as it may.
    async fn decide_at_end<B: RequestBody>(&self, chosen: &Chosen, arrived: Time, body: Taken<B>) -> Response<Body> {
        match body.drain().await {
            Ok(()) => self.decide(chosen, arrived),
            Err(error) => Problem::from(error).answer(&chosen.table, chosen.target()),
        }
    }

    pub(super) fn decide(&self, chosen: &Chosen, arrived: Time) -> Response<Body> {
        let body = self.decided(chosen, arrived).body.clone();
        answer::decision(body, &chosen.table, chosen.target())
    }

    /// Counts a decision, and gives the prepared answer.
    fn decided<'a>(&self, chosen: &'a Chosen, arrived: Time) -> &'a Prepared {
        let target = chosen.target();
        match chosen.counted {
            Counted::Yes => {
                let took = chosen.at.since(arrived);
                let sample = Sample { latency: took, full: took, verdict: Verdict::Good };
                self.0.observer.record(&target.model, chosen.at, sample);
            }
            Counted::No => self.0.observer.pass_over(&target.model, chosen.at),
        }
        target.decision(chosen.stickiness)
    }

    /// Begins to record a request that goes to an upstream.
    pub(super) fn recording(&self, chosen: &Chosen) -> Recording {
        match chosen.counted {
            Counted::Yes => Recording::new(Arc::clone(&self.0.observer), chosen.target().model.clone(), chosen.at),
            Counted::No => {
                self.0.observer.pass_over(&chosen.target().model, chosen.at);
                Recording::kept_out()
            }
        }
    }

    /// Answers a request that cannot be used, in the name of the model that its headers, or chance, give it to. It is
    /// counted for none.
    fn refuse(&self, tester: Option<Tester>, headers: &HeaderMap, problem: &Problem) -> Response<Body> {
        let chosen = self.choose(tester, header_key(headers), Counted::No);
        problem.answer(&chosen.table, chosen.target())
    }
}

/// The key in a body that was read. Whether one has to be JSON is for its model to say, where there is one.
fn body_key<B>(body: &Taken<B>) -> Result<Option<Cow<'_, [u8]>>, serde_json::Error> {
    match body {
        Taken::Long(_) => Ok(None),
        Taken::Whole(bytes) => key_of(bytes),
    }
}

fn by_weight(view: &View, at: Time, key: Option<&[u8]>) -> Choice {
    let Some(canary) = &view.state.canary else { return Choice::Stable };
    let bucket = key.map_or_else(|| Bucket::at_random(random()), |key| Bucket::of_key(&canary.salt, key));
    bucket.choice(serving_weight(view, at))
}

/// A tester gets the canary only where others might: not on a node that is isolated or drained, and not after a rollback.
fn by_wish(view: &View, at: Time, tester: Tester) -> Choice {
    match tester {
        Tester::Always if serving_weight(view, at) > Weight::ZERO => Choice::Canary,
        Tester::Always | Tester::Never => Choice::Stable,
    }
}

fn header_key(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(KEY).map(HeaderValue::as_bytes).filter(|key| !key.is_empty())
}

/// A number that no one can predict, without a system call: the hasher's keys are drawn once a thread and then counted.
#[allow(clippy::cast_possible_truncation, reason = "half of a hash is as random as the whole")]
fn random() -> u32 {
    RandomState::new().hash_one(()) as u32
}
