//! The models' traffic, as the member asks about it.

use judge::Samples;
use member::{Probing, Traffic};
use proxy::Proxy;
use rollout::Trial;
use service::{Model, Smoke};

/// Asks upstreams, and counts requests, through the proxy that serves them.
pub(super) struct ProxyTraffic(pub(super) Proxy);

impl Traffic for ProxyTraffic {
    fn probe(&self, model: &Model, smoke: Option<&Smoke>) -> Option<Probing> {
        let (proxy, model, smoke) = (self.0.clone(), model.clone(), smoke.cloned());
        if !proxy.has_upstream(&model) {
            if proxy.lacks_upstream(&model) {
                let model = &model.id;
                tracing::warn!(%model, "The model has no model server on this node: its requests get the choice as answer");
            }
            return None;
        }
        Some(Box::pin(async move { proxy.probe(&model, smoke.as_ref()).await }))
    }

    fn count(&self, trial: Option<&Trial>) {
        self.0.count(trial);
    }

    fn counted(&self) -> Samples {
        self.0.counted()
    }
}
