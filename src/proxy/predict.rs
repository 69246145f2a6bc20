//! `POST /predict`: key, choice, answer.

use super::BoxError;
use super::answer::{self, Blame, Problem};
use super::body::{self, Body, Client, Rest, Taken};
use super::forward::{Forwarder, Outgoing, Timeouts, outgoing_stream, outgoing_whole};
use super::key::key_of;
use super::observe::{Observations, Observer, Recording};
use super::plan::{Plan, Prepared, Stickiness, Target};
use super::upstreams::{Upstream, UpstreamError, Upstreams};
use crate::driver::{Handle, boottime};
use crate::health::{Sample, Verdict};
use crate::model::{Model, Time};
use crate::routing::{Bucket, Choice};
use arc_swap::{ArcSwap, Guard};
use bytes::Bytes;
use http::header::{EXPECT, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

const KEY: HeaderName = HeaderName::from_static("x-canary-key");

/// Answers `/predict` on one node. Cheap to clone: all clones share the upstreams' connections and what was observed.
#[derive(Clone)]
pub struct Proxy(Arc<Shared>);

struct Shared {
    handle: Handle,
    upstreams: Upstreams,
    plan: ArcSwap<Plan>,
    forwarder: Forwarder,
    observer: Arc<Observer>,
}

/// What became of one request before it is carried out.
struct Chosen {
    plan: Guard<Arc<Plan>>,
    choice: Choice,
    stickiness: Stickiness,
    at: Time,
}

impl Chosen {
    fn target(&self) -> &Target {
        self.plan.target(self.choice)
    }
}

impl Proxy {
    /// A proxy that follows the state that `handle` shows, with this node's own `upstreams`.
    #[must_use]
    pub fn new(handle: Handle, upstreams: Upstreams) -> Self {
        Self::with_timeouts(handle, upstreams, Timeouts::default())
    }

    /// The same, with other bounds on how long upstreams may take.
    #[must_use]
    pub fn with_timeouts(handle: Handle, upstreams: Upstreams, timeouts: Timeouts) -> Self {
        let plan = ArcSwap::from_pointee(Plan::new(&handle.view(), &upstreams));
        let (forwarder, observer) = (Forwarder::new(timeouts), Arc::default());
        Self(Arc::new(Shared { handle, upstreams, plan, forwarder, observer }))
    }

    /// Answers one `POST /predict`. It always answers; what cannot be done is a problem in the answer.
    pub async fn predict<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let headers = parts.headers;
        let client = if headers.contains_key(EXPECT) { Client::Waits } else { Client::Sends };
        match body::take(body, client).await {
            Ok(Taken::Whole(body)) => self.predict_whole(headers, body).await,
            Ok(Taken::Long(rest)) => self.predict_long(headers, rest).await,
            Err(error) => self.refuse(&headers, &error.into()),
        }
    }

    /// What this node observed in the last minute.
    #[must_use]
    pub fn observations(&self) -> Observations {
        let view = self.0.handle.view();
        let canary = view.state.canary.as_ref().map(|canary| &canary.model.id);
        self.0.observer.observations(boottime(), std::iter::once(&view.state.stable.id).chain(canary))
    }

    /// Whether `model` has an upstream on this node; one without is always ready.
    #[must_use]
    pub fn has_upstream(&self, model: &Model) -> bool {
        !matches!(self.0.upstreams.of(model), Ok(None))
    }

    /// Whether `model` can be served on this node: its upstream, if it has one, answers a GET with a status below 500
    /// within 1 s.
    ///
    /// # Errors
    /// Why it cannot, in words for an operator.
    pub async fn probe(&self, model: &Model) -> Result<(), String> {
        match self.0.upstreams.of(model) {
            Ok(None) => Ok(()),
            Ok(Some(upstream)) => self.0.forwarder.probe(&upstream).await,
            Err(error) => Err(format!("the upstream of {}: {error}", model.id)),
        }
    }

    /// A request whose body is all there, and was looked into.
    async fn predict_whole(&self, headers: HeaderMap, body: Bytes) -> Response<Body> {
        let arrived = boottime();
        let body_key = match key_of(&body) {
            Ok(key) => key,
            Err(error) => return self.refuse(&headers, &Problem::NotJson(error)),
        };
        let chosen = self.choose(header_key(&headers).or(body_key.as_deref()));
        match &chosen.target().upstream {
            Ok(None) => self.decide(&chosen, arrived),
            Ok(Some(upstream)) => {
                let upstream = upstream.clone();
                drop(body_key);
                self.forward(chosen, upstream, headers, outgoing_whole(body)).await
            }
            Err(error) => self.misconfigured(&chosen, error),
        }
    }

    /// A request whose body is too long to be looked into.
    async fn predict_long<B>(&self, headers: HeaderMap, rest: Rest<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let arrived = boottime();
        let chosen = self.choose(header_key(&headers));
        match &chosen.target().upstream {
            Ok(Some(upstream)) => {
                let upstream = upstream.clone();
                self.forward(chosen, upstream, headers, outgoing_stream(rest)).await
            }
            Ok(None) => match rest.drain().await {
                Ok(()) => self.decide(&chosen, arrived),
                Err(error) => Problem::from(error).answer(&chosen.plan, chosen.target()),
            },
            Err(error) => self.misconfigured(&chosen, error),
        }
    }

    /// The choice of a model, by the state and the lease of this very moment.
    fn choose(&self, key: Option<&[u8]>) -> Chosen {
        let view = self.0.handle.view();
        let mut plan = self.0.plan.load();
        if !plan.is_of(&view) {
            let fresh = Arc::new(Plan::new(&view, &self.0.upstreams));
            self.0.plan.store(Arc::clone(&fresh));
            plan = Guard::from_inner(fresh);
        }
        let at = boottime();
        let choice = match &view.state.canary {
            None => Choice::Stable,
            Some(canary) => bucket(&canary.salt, key).choice(view.serving_weight(at)),
        };
        let stickiness = if key.is_some() { Stickiness::Sticky } else { Stickiness::Random };
        Chosen { plan, choice, stickiness, at }
    }

    /// Decides a request that an HTTP server did not see: hands the prepared answer and the time to `answer`.
    ///
    /// Gives none, and does nothing, when a decision is not enough: the body is no JSON, or the model has an upstream.
    pub(super) fn decide_plain(
        &self,
        key: Option<&[u8]>,
        body: &[u8],
        answer: impl FnOnce(&Prepared, Time),
    ) -> Option<()> {
        let arrived = boottime();
        let body_key = key_of(body).ok()?;
        let chosen = self.choose(key.or(body_key.as_deref()));
        if !matches!(chosen.target().upstream, Ok(None)) {
            return None;
        }
        answer(self.decided(&chosen, arrived), chosen.at);
        Some(())
    }

    /// Answers with the decision itself.
    fn decide(&self, chosen: &Chosen, arrived: Time) -> Response<Body> {
        let body = self.decided(chosen, arrived).body.clone();
        answer::decision(body, &chosen.plan, chosen.target())
    }

    /// Counts a decision, and gives the prepared answer.
    fn decided<'a>(&self, chosen: &'a Chosen, arrived: Time) -> &'a Prepared {
        let target = chosen.target();
        let took = chosen.at.since(arrived);
        let sample = Sample { latency: took, full: took, verdict: Verdict::Good };
        self.0.observer.record(&target.model, chosen.at, sample);
        target.decision(chosen.stickiness)
    }

    /// Passes the request on to the model's upstream, and its answer back.
    async fn forward(&self, chosen: Chosen, upstream: Upstream, headers: HeaderMap, body: Outgoing) -> Response<Body> {
        // The plan is held for as long as the upstream takes, so it is counted rather than borrowed.
        let plan = Guard::into_inner(chosen.plan);
        let target = plan.target(chosen.choice);
        let mut recording = Recording::new(Arc::clone(&self.0.observer), target.model.clone(), chosen.at);
        match self.0.forwarder.call(&target.model, &upstream, headers, body).await {
            Ok(response) => {
                recording.on_answer(response.status());
                let idle_timeout = self.0.forwarder.idle_timeout();
                let mut response = response.map(|incoming| Body::streamed(incoming, recording, idle_timeout));
                answer::sign(response.headers_mut(), &plan, target);
                response
            }
            Err(problem) => {
                match problem.blame() {
                    Blame::Upstream => recording.on_failure(),
                    Blame::Client => recording.on_client_failure(),
                }
                problem.answer(&plan, target)
            }
        }
    }

    /// Answers for a model whose agreed URL cannot be called; that counts against it.
    fn misconfigured(&self, chosen: &Chosen, error: &UpstreamError) -> Response<Body> {
        let target = chosen.target();
        let sample = Sample { latency: Duration::ZERO, full: Duration::ZERO, verdict: Verdict::Failed };
        self.0.observer.record(&target.model, chosen.at, sample);
        let problem = Problem::UpstreamUrl { model: target.model.to_string(), error: error.to_string() };
        problem.answer(&chosen.plan, target)
    }

    /// Answers a request whose body cannot be used, in the name of the model that its header, or chance, gives it to.
    /// It is counted for none.
    fn refuse(&self, headers: &HeaderMap, problem: &Problem) -> Response<Body> {
        let chosen = self.choose(header_key(headers));
        problem.answer(&chosen.plan, chosen.target())
    }
}

fn header_key(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(KEY).map(HeaderValue::as_bytes).filter(|key| !key.is_empty())
}

fn bucket(salt: &str, key: Option<&[u8]>) -> Bucket {
    match key {
        Some(key) => Bucket::of_key(salt, key),
        None => Bucket::at_random(random()),
    }
}

/// A number that no one can predict, without a system call: the hasher's keys are drawn once a thread and then counted.
#[allow(clippy::cast_possible_truncation, reason = "half of a hash is as random as the whole")]
fn random() -> u32 {
    RandomState::new().hash_one(()) as u32
}
