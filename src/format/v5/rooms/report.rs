//! Reports of what was measured.

use super::super::{Counts, Recent, Report, Text};
use std::borrow::Cow;

impl<'a> From<&'a model::Report> for Report<'a> {
    #[inline]
    fn from(report: &'a model::Report) -> Self {
        let model::Report { epoch, window, open_ms, stable, canary, recent, ejected } = report;
        Self {
            epoch: *epoch,
            window: *window,
            open_ms: *open_ms,
            stable: stable.into(),
            canary: canary.into(),
            recent: recent.into(),
            ejected: ejected.as_ref().map(Text::from),
        }
    }
}

impl From<Report<'_>> for model::Report {
    #[inline]
    fn from(report: Report<'_>) -> Self {
        let Report { epoch, window, open_ms, stable, canary, recent, ejected } = report;
        Self {
            epoch,
            window,
            open_ms,
            stable: stable.into(),
            canary: canary.into(),
            recent: recent.into_forms().into_iter().map(model::Recent::from).collect(),
            ejected: ejected.map(String::from),
        }
    }
}

impl<'a> From<&'a model::Counts> for Counts<'a> {
    #[inline]
    fn from(model::Counts { requests, errors, client_errors, open, latencies }: &'a model::Counts) -> Self {
        let (requests, errors, client_errors, open) = (*requests, *errors, *client_errors, *open);
        Self { requests, errors, client_errors, open, latencies: Cow::Borrowed(latencies) }
    }
}

impl From<Counts<'_>> for model::Counts {
    #[inline]
    fn from(Counts { requests, errors, client_errors, open, latencies }: Counts<'_>) -> Self {
        Self { requests, errors, client_errors, open, latencies: latencies.into_owned() }
    }
}

impl From<&model::Recent> for Recent {
    #[inline]
    fn from(recent: &model::Recent) -> Self {
        let model::Recent { second, begun, errors, answers, slow } = *recent;
        Self { second, begun, errors, answers, slow }
    }
}

impl From<Recent> for model::Recent {
    #[inline]
    fn from(Recent { second, begun, errors, answers, slow }: Recent) -> Self {
        Self { second, begun, errors, answers, slow }
    }
}
