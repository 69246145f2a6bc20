//! What a routing state means for this node's requests, worked out once for each state instead of once for each request.

use super::upstreams::{Upstream, UpstreamError, Upstreams};
use crate::commit::View;
use crate::model::{Model, ModelId, RoutingState};
use crate::routing::Choice;
use bytes::Bytes;
use http::HeaderValue;
use std::sync::Arc;

/// A routing state, prepared.
pub(super) struct Plan {
    /// The state that this was made from.
    pub(super) state: Arc<RoutingState>,
    /// `x-canary-node`.
    pub(super) node: HeaderValue,
    /// `x-canary-version`.
    pub(super) version: HeaderValue,
    stable: Target,
    canary: Option<Target>,
}

/// One of the two models, prepared.
pub(super) struct Target {
    /// Its name.
    pub(super) model: ModelId,
    /// `x-canary-model`.
    pub(super) name: HeaderValue,
    /// Where it is served.
    pub(super) upstream: Result<Option<Upstream>, UpstreamError>,
    /// The answer when it is served nowhere, to a request with a key.
    pub(super) sticky: Bytes,
    /// The same, to a request without one.
    pub(super) random: Bytes,
}

impl Plan {
    /// Prepares what `view` shows.
    pub(super) fn new(view: &View, upstreams: &Upstreams) -> Self {
        let target = |model| Target::new(model, view, upstreams);
        Self {
            state: Arc::clone(&view.state),
            node: header(&view.me.to_string()),
            version: HeaderValue::from(view.state.version),
            stable: target(&view.state.stable),
            canary: view.state.canary.as_ref().map(|canary| target(&canary.model)),
        }
    }

    /// Whether this still is what `view` shows. States are shared, so the pointer tells; an equal copy is prepared again.
    pub(super) fn is_of(&self, view: &View) -> bool {
        Arc::ptr_eq(&self.state, &view.state)
    }

    /// The model of `choice`. Without a canary every choice is the stable model.
    pub(super) fn target(&self, choice: Choice) -> &Target {
        match choice {
            Choice::Stable => &self.stable,
            Choice::Canary => self.canary.as_ref().unwrap_or(&self.stable),
        }
    }
}

impl Target {
    fn new(model: &Model, view: &View, upstreams: &Upstreams) -> Self {
        // Model ids and node ids hold no character that JSON would escape.
        let answer = |sticky: &str| {
            let (id, version, node) = (&model.id, view.state.version, view.me);
            let text =
                format!(r#"{{"model_selected":"{id}","version":{version},"node_id":"{node}","sticky":{sticky}}}"#);
            Bytes::from(text)
        };
        Self {
            model: model.id.clone(),
            name: header(model.id.as_str()),
            upstream: upstreams.of(model),
            sticky: answer("true"),
            random: answer("false"),
        }
    }
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("model ids and node ids are printable ASCII")
}
