//! Whether a request counts as evidence for or against its model.

use crate::body::Taken;
use crate::fast::request::Plain;
use crate::predict::{Chosen, Proxy};
use crate::repeats::{Asker, Asking, Beginning, Fingerprint};
use crate::route::PREDICT;
use crate::upload::RequestBody;
use http::request::Parts;
use std::net::IpAddr;

/// Whether a request is part of what is observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// It is, if none that is equal to it has begun of late.
    Once(Fingerprint),
    Yes,
    No,
}

impl Proxy {
    /// Settles, as a request begins, whether it is counted.
    pub(super) fn begun(&self, chosen: Chosen) -> Chosen {
        let counted = match chosen.counted {
            Counted::Once(print) if !self.0.observer.repeats.is_first(print, chosen.at) => Counted::No,
            Counted::Once(_) | Counted::Yes => Counted::Yes,
            Counted::No => Counted::No,
        };
        Chosen { counted, ..chosen }
    }

    /// Whether a request is counted that is of use as evidence.
    pub(super) fn counted_once<B: RequestBody>(
        &self,
        parts: &Parts,
        key: Option<&[u8]>,
        client: Option<IpAddr>,
        body: &Taken<B>,
    ) -> Counted {
        let repeats = &self.0.observer.repeats;
        let Some(body) = body.beginning().filter(|_| repeats.is_on()) else { return Counted::Yes };
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        let asking = Asking { asker: Asker::new(key, client), method: parts.method.as_str(), path, query, body };
        Counted::Once(repeats.print(&asking))
    }

    /// The same for a plain one.
    pub(super) fn counted_once_plain(
        &self,
        plain: &Plain<'_, '_>,
        key: Option<&[u8]>,
        client: Option<IpAddr>,
    ) -> Counted {
        let repeats = &self.0.observer.repeats;
        if !repeats.is_on() {
            return Counted::Yes;
        }
        let (asker, body) = (Asker::new(key, client), Beginning::whole(plain.body));
        let asking = Asking { asker, method: "POST", path: PREDICT, query: plain.query, body };
        Counted::Once(repeats.print(&asking))
    }
}
