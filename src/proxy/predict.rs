//! A request to the models: key, choice, answer.

use crate::answer::{self, Problem};
use crate::body::{self, Body, Client, Taken};
use crate::counted::Counted;
use crate::fast::request::Plain;
use crate::given::{Effect, Heard, Word};
use crate::headers::{Outbound, Remote};
use crate::key::key_of;
use crate::leftover::Leftover;
use crate::observe::{Observations, Observer};
use crate::random::random_bits;
use crate::recording::{Asked, Recording};
use crate::route::{PREDICT, Route};
use crate::table::{Prepared, Stickiness, Table, Target};
use crate::tester::{Tester, Testers};
use crate::upload::RequestBody;
use crate::upstream::address::Upstreams;
use crate::upstream::client::{Forwarder, PROBE_TIMEOUT, Timeouts};
use crate::upstream::health;
use crate::upstream::pool::Pool;
use arc_swap::{ArcSwap, Guard};
use edge::{client_along, client_behind};
use http::header::{EXPECT, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use judge::{Sample, Samples, Verdict};
use member::{Handle, View, boottime};
use model::{ModelId, Networks, RequestId, Time, Weight};
use rollout::Trial;
use routing::{Bucket, Choice};
use service::{Model, NO_MODEL_SERVER, Smoke, serving_weight};
use std::borrow::Cow;
use std::net::IpAddr;
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
    pub(super) trusted_proxies: Networks,
    pub(super) table: ArcSwap<Table>,
    pub(super) forwarder: Forwarder,
    /// Connections for plain requests.
    pub(super) pool: Pool,
    pub(super) observer: Arc<Observer>,
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
    pub(super) stickiness: Stickiness,
    pub(super) counted: Counted,
    pub(super) at: Time,
    /// The name of the answer.
    pub(super) request: RequestId,
    /// Who asks, if that is known.
    pub(super) client: Option<IpAddr>,
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
        Self { table, choice, at: boottime(), ..*self }
    }
}

impl Proxy {
    /// A proxy that follows the state that `handle` shows. Its tasks are counted in `tasks`. They are none of a request's
    /// way to its answer: connections to upstreams, and the closing of those that were kept for long enough.
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
        let key = body_key(&body);
        let readable = key.as_ref().ok().and_then(Option::as_deref);
        let key_or_none = header_key(&parts.headers).or(readable);
        let trusted = &self.0.trusted_proxies;
        let source = remote.map(|remote| client_behind(trusted, remote.address.ip(), &parts.headers));
        let counted = match tester {
            None if route.is_work(&parts.method, parts.uri.path()) => {
                self.counted_once(&parts, key_or_none, source, &body)
            }
            None | Some(_) => Counted::No,
        };
        let mut chosen = self.choose(tester, key_or_none, counted);
        if !chosen.table.counts(parts.uri.path()) {
            chosen.counted = Counted::No;
        }
        chosen.client = source;
        let chosen = self.begun(chosen);
        match (&chosen.target().upstream, route) {
            (Ok(None), Route::Prediction) => match key {
                Ok(_) => self.decide_at_end(&chosen, body).await,
                Err(error) => Problem::NotJson(error).answer(&chosen),
            },
            (Ok(None), Route::BesidePrediction | Route::Inference) => {
                body.discard(client).await;
                let (method, model) = (parts.method, chosen.target().model.to_string());
                let problem = match route {
                    Route::Prediction | Route::BesidePrediction => Problem::NoSuchMethod { method, model },
                    Route::Inference => Problem::NoUpstream { model },
                };
                problem.answer(&chosen)
            }
            (Ok(Some(_)) | Err(_), _) => {
                let leftover = Leftover::of(parts.version, client, &self.0.forwarder.tasks);
                self.pass(chosen, Outbound::new(route, remote, parts), body, leftover).await
            }
        }
    }

    /// Counts a request to `model` that its client tells of. One that was answered here, and is named, is counted already: only
    /// how it ended is corrected, as far as that may be. One without a name was served elsewhere, and counts by itself.
    pub fn record_outcome(&self, model: &ModelId, sample: Sample, request: Option<RequestId>) -> Heard {
        let observer = &self.0.observer;
        let now = boottime();
        let Some(request) = request else {
            observer.told(model, now - sample.full, now, sample);
            return Heard::Counted;
        };
        let word = if sample.verdict == Verdict::Good { Word::Good } else { Word::Failed };
        match observer.given.hear(request, model, word, now) {
            Ok(effect) => {
                match effect {
                    Effect::Nothing => {}
                    Effect::Amends(amendment) => observer.amend(&amendment),
                    // It began when it was answered here, whatever its client took for its latency.
                    Effect::Counts { started } => observer.told(model, started, now, sample),
                }
                Heard::Counted
            }
            Err(unheard) => unheard,
        }
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
        let request = RequestId { node: view.me, number: random_bits() };
        Chosen { table, choice, stickiness, counted, at, request, client: None }
    }

    /// Decides a request from `remote` that an HTTP server did not see: hands the prepared answer, and what was chosen, to
    /// `answer`, when the decision is all there is to it.
    pub(super) fn decide_plain(
        &self,
        plain: &Plain<'_, '_>,
        remote: Option<Remote>,
        answer: impl FnOnce(&Prepared, &Chosen),
    ) -> Decided {
        let Ok(body_key) = key_of(plain.body) else { return Decided::NotPlain };
        let key = plain.key.or(body_key.as_deref());
        let trusted = &self.0.trusted_proxies;
        let source = remote.map(|remote| client_along(trusted, remote.address.ip(), plain.ways()));
        let mut chosen = self.choose(None, key, self.counted_once_plain(plain, key, source));
        if !chosen.table.counts(PREDICT) {
            chosen.counted = Counted::No;
        }
        chosen.client = source;
        if !chosen.table.has_joined {
            return Decided::NotPlain;
        }
        match chosen.target().upstream {
            Ok(None) => {
                let chosen = self.begun(chosen);
                answer(self.decided(&chosen), &chosen);
                Decided::Answered
            }
            Ok(Some(_)) => Decided::Upstream(chosen),
            Err(_) => Decided::NotPlain,
        }
    }

    /// Answers with the decision itself, when the body has ended as it may.
    async fn decide_at_end<B: RequestBody>(&self, chosen: &Chosen, body: Taken<B>) -> Response<Body> {
        match body.drain().await {
            Ok(()) => self.decide(chosen),
            Err(error) => Problem::from(error).answer(chosen),
        }
    }

    pub(super) fn decide(&self, chosen: &Chosen) -> Response<Body> {
        let body = self.decided(chosen).body.clone();
        answer::decision(body, chosen)
    }

    /// Gives the prepared answer. It is the node's own and not the model's, so that it is no evidence about the model, whatever
    /// was asked: counted as good, it would promote a model that nobody serves. Its client may tell of it where it would count:
    /// one client's repeats are one witness, and a tester is none.
    fn decided<'a>(&self, chosen: &'a Chosen) -> &'a Prepared {
        let target = chosen.target();
        self.0.observer.pass_over(&target.model, chosen.at);
        if chosen.counted != Counted::No {
            self.0.observer.given.decide(chosen.request, &target.model, chosen.at);
        }
        target.decision(chosen.stickiness)
    }

    /// Begins to record a request that goes to an upstream.
    pub(super) fn recording(&self, chosen: &Chosen) -> Recording {
        match chosen.counted {
            Counted::Once(_) | Counted::Yes => {
                let Chosen { request, client: source, at: started, .. } = *chosen;
                let model = chosen.target().model.clone();
                Recording::new(Arc::clone(&self.0.observer), Asked { request, source, model, started })
            }
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
        problem.answer(&chosen)
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

#[allow(clippy::cast_possible_truncation, reason = "half of the bits are as random as all")]
fn random() -> u32 {
    random_bits() as u32
}
