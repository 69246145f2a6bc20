//! A request on its way to its model; and to the stable model, when the canary cannot be asked.

use crate::answer::{self, Blame, Problem};
use crate::body::{self, Body, Client, End, Source, Taken};
use crate::fast::relay::{Begun, Underway};
use crate::headers::{Outbound, Remote};
use crate::leftover::{Leftover, Upload};
use crate::predict::{Chosen, Proxy};
use crate::recording::Recording;
use crate::route::Route;
use crate::upload::{Progress, RequestBody};
use crate::upstream::client::{EndsByClose, Forwarder};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use member::boottime;
use routing::Choice;

/// What can be sent a second time, and to whom.
struct Second {
    choice: Choice,
    /// Whether that may be done though the first one may have been carried out.
    repeatable: bool,
    outbound: Outbound,
    bytes: Bytes,
}

/// What is kept of a request for a second try: all of it, if there is somebody to send it to.
fn second<B>(chosen: &Chosen, outbound: &Outbound, body: &Taken<B>) -> Option<Second> {
    let choice = chosen.table.substitute(chosen.choice, outbound.route)?;
    match body {
        Taken::Whole(bytes) => {
            let (repeatable, outbound, bytes) = (outbound.is_repeatable(), outbound.clone(), bytes.clone());
            Some(Second { choice, repeatable, outbound, bytes })
        }
        Taken::Long(_) => None,
    }
}

impl Proxy {
    /// Passes a request on to the upstream of the model that was chosen, and its answer back.
    pub(super) async fn pass<B: RequestBody + Send + 'static>(
        &self,
        chosen: Chosen,
        outbound: Outbound,
        body: Taken<B>,
        leftover: Leftover,
    ) -> Response<Body> {
        let chosen = chosen.held();
        let second = second(&chosen, &outbound, &body);
        let first = self.attempt(&chosen, outbound, body, leftover).await;
        self.settle(&chosen, first, second).await
    }

    /// Answers a request of which the beginning was carried out without the server.
    pub async fn carry_on<B: RequestBody + Send + 'static>(
        &self,
        underway: Underway,
        route: Route,
        remote: Option<Remote>,
        request: Request<B>,
    ) -> Response<Body> {
        let Underway { chosen, begun } = underway;
        let (parts, body) = request.into_parts();
        // It was read once, so it is all there.
        let body = match body::take(body, Client::Sends, route.reading(&parts.headers)).await {
            Ok(body) => body,
            Err(error) => return Problem::from(error).answer(&chosen),
        };
        let second = second(&chosen, &Outbound::new(route, remote, parts), &body);
        let first = match begun {
            Begun::Failed(problem) => Err(problem),
            Begun::Answering { recording, upstream, heard, until } => {
                let answer = self.0.forwarder.resume(&chosen.target().model, upstream, heard, until).await;
                self.attempted(&chosen, recording, None, answer)
            }
        };
        self.settle(&chosen, first, second).await
    }

    /// The answer that a first try gave, or that of a second try.
    async fn settle(
        &self,
        chosen: &Chosen,
        first: Result<Response<Body>, Problem>,
        second: Option<Second>,
    ) -> Response<Body> {
        match (first, second) {
            (Ok(response), _) => response,
            (Err(problem), Some(Second { choice, repeatable, outbound, bytes }))
                if problem.blame() == Blame::Upstream && (repeatable || problem.was_not_sent()) =>
            {
                let mut response = self.stand_in(&chosen.instead(choice), outbound, bytes).await;
                answer::sign_shielded(response.headers_mut(), chosen.target());
                response
            }
            (Err(problem), _) => problem.answer(chosen),
        }
    }

    /// The answer of the model that stands in for another.
    async fn stand_in(&self, chosen: &Chosen, outbound: Outbound, bytes: Bytes) -> Response<Body> {
        if matches!(chosen.target().upstream, Ok(None)) {
            return self.decide(chosen);
        }
        match self.attempt(chosen, outbound, Taken::<Full<Bytes>>::Whole(bytes), Leftover::Left).await {
            Ok(response) => response,
            Err(problem) => problem.answer(chosen),
        }
    }

    /// One try: an answer that has begun, or why there is none. Either is counted.
    async fn attempt<B: RequestBody + Send + 'static>(
        &self,
        chosen: &Chosen,
        outbound: Outbound,
        body: Taken<B>,
        leftover: Leftover,
    ) -> Result<Response<Body>, Problem> {
        let mut recording = self.recording(chosen);
        let upload = match &body {
            Taken::Whole(_) => None,
            Taken::Long(rest) => Some(rest.progress()),
        };
        match &upload {
            None => recording.on_whole(),
            Some(progress) => recording.on_upload(progress.clone()),
        }
        let answer = self.call(chosen, outbound, body, leftover).await;
        self.attempted(chosen, recording, upload, answer)
    }

    /// What came of a try, counted and signed.
    fn attempted(
        &self,
        chosen: &Chosen,
        mut recording: Recording,
        upload: Option<Progress>,
        answer: Result<Response<Incoming>, Problem>,
    ) -> Result<Response<Body>, Problem> {
        match answer {
            Ok(mut response) => {
                recording.on_answer(chosen.table.verdict(response.status()));
                let Forwarder { timeouts, tasks, .. } = &self.0.forwarder;
                let line = response.extensions_mut().remove();
                let ends_by_close = response.extensions_mut().remove::<EndsByClose>().is_some();
                let end = if upload.is_some() && ends_by_close && response.status().is_client_error() {
                    End::MayBeReset
                } else {
                    End::Clean
                };
                let source = Source { line, upload, end, idle_timeout: timeouts.idle, tasks: tasks.clone() };
                let mut response = response.map(|incoming| Body::streamed(incoming, recording, source));
                answer::sign_over(response.headers_mut(), chosen);
                Ok(response)
            }
            Err(problem) => {
                // A model that gives up on a client that does not send has not failed.
                let is_stalled = |upload: &Progress| upload.is_stalled(boottime());
                match problem.blame() {
                    Blame::Upstream if upload.as_ref().is_some_and(is_stalled) => recording.on_client_failure(),
                    Blame::Upstream => recording.on_failure(),
                    Blame::Elsewhere => recording.on_client_failure(),
                }
                Err(problem)
            }
        }
    }

    async fn call<B: RequestBody + Send + 'static>(
        &self,
        chosen: &Chosen,
        outbound: Outbound,
        body: Taken<B>,
        leftover: Leftover,
    ) -> Result<Response<Incoming>, Problem> {
        let target = chosen.target();
        let model = &target.model;
        let upstream = match &target.upstream {
            Ok(Some(upstream)) => upstream,
            Ok(None) => return Err(Problem::NoUpstream { model: model.to_string() }),
            Err(error) => return Err(Problem::UpstreamUrl { model: model.to_string(), error: error.to_string() }),
        };
        let url = outbound.route.url(upstream, &outbound.asked).ok_or(Problem::UrlTooLong)?;
        let forwarder = &self.0.forwarder;
        match body {
            Taken::Whole(bytes) => {
                let request = |outbound: Outbound, url, bytes| outbound.with_body(url, Either::Left(Full::new(bytes)));
                let again = outbound.is_repeatable().then(|| request(outbound.clone(), url.clone(), bytes.clone()));
                forwarder.call(model, request(outbound, url, bytes), again, None).await
            }
            Taken::Long(rest) => {
                let progress = rest.progress();
                let request = outbound.with_body(url, Either::Right(Upload::new(rest, leftover).boxed_unsync()));
                forwarder.call(model, request, None, Some(progress)).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::table::Table;
    use crate::{Proxy, Route, Settings, Upstreams};
    use bytes::Bytes;
    use http::{Request, StatusCode};
    use http_body_util::Full;
    use member::{Handle, IsolationPolicy, Stage, View, boottime};
    use model::{NodeId, NodeSet, Weight};
    use service::Shield;
    use service::{Canary, Model, RoutingState};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio_util::task::TaskTracker;

    fn view() -> View {
        let mut state = RoutingState::initial("v1".parse().expect("v1 is a model id"));
        let model = Model { id: "v2".parse().expect("v2 is a model id"), upstream: None };
        state.canary = Some(Canary { model, weight: Weight::FULL, salt: "rollout-1".to_owned() });
        View {
            me: NodeId::A,
            members: NodeSet::first(3),
            stage: Stage::Member,
            digest: state.digest(),
            state: Arc::new(state),
            lease_end: boottime() + Duration::from_secs(3_600),
            on_isolation: IsolationPolicy::Stable,
            coordinator: Some(NodeId::A),
            in_touch: true,
            pending: None,
            ejected: None,
            peers: [].into(),
        }
    }

    #[tokio::test]
    async fn the_shield_is_what_the_plan_says() {
        // Nothing listens there.
        let upstreams: Upstreams = "v2=http://127.24.0.9:1/".parse().expect("a good list");
        let (handle, _publisher, _requests) = Handle::new(view());
        let settings = Settings { upstreams: upstreams.clone(), ..Settings::default() };
        let proxy = Proxy::new(handle.clone(), settings, TaskTracker::new());
        for (shield, status, model) in
            [(Shield::On, StatusCode::OK, "v1"), (Shield::Off, StatusCode::BAD_GATEWAY, "v2")]
        {
            proxy.0.table.store(Arc::new(Table::new(&handle.view(), &upstreams).with_shield(shield)));
            let request = Request::post("/predict").body(Full::<Bytes>::from("{}")).expect("a request");
            let answer = proxy.answer(Route::Prediction, None, request).await;
            assert_eq!(answer.status(), status, "{shield:?}");
            assert_eq!(answer.headers()["x-canary-model"], model, "{shield:?}");
            assert_eq!(answer.headers().contains_key("x-canary-shielded"), shield == Shield::On);
        }
    }
}
