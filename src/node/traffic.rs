//! The models' traffic, as the member asks about it.

use judge::Samples;
use member::{Probing, Traffic};
use proxy::Proxy;
use rollout::Trial;
use service::{Model, Rate, Smoke};

/// Asks upstreams, and counts requests, through the proxy that serves them.
pub(super) struct ProxyTraffic(pub(super) Proxy);

impl Traffic for ProxyTraffic {
    fn probe(&self, model: &Model, smoke: Option<&Smoke>) -> Option<Probing> {
        let proxy = self.0.clone();
        if !proxy.has_upstream(model) && !proxy.lacks_upstream(model) {
            return None;
        }
        let (model, smoke) = (model.clone(), smoke.cloned());
        Some(Box::pin(async move { proxy.probe(&model, smoke.as_ref()).await }))
    }

    fn count(&self, trial: Option<&Trial>) {
        self.0.count(trial);
    }

    fn counted(&self) -> Samples {
        self.0.counted()
    }

    fn rate(&self) -> Rate {
        Rate::of(self.0.observations().overall.requests, judge::SPAN)
    }
}
