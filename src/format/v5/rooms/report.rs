//! Reports of what was measured.
//!
//! This version took a request that its client gave up for a good one, and one that was answered with a status 3xx or 4xx for
//! a request like any other. So what it tells can speak against a canary and never for it.

use super::super::{Counts, Recent, Report, Text};
use std::borrow::Cow;
use std::collections::BTreeMap;

impl<'a> From<&'a model::Report> for Report<'a> {
    #[inline]
    fn from(report: &'a model::Report) -> Self {
        let model::Report { epoch, window, open_ms, stable, canary, told, recent, ejected, judging: _ } = report;
        let with = |routed: &model::Counts, of: fn(&model::Told) -> &model::Counts| match told {
            Some(told) => Counts::of_all(&[routed, of(told)]),
            None => Counts::of_all(&[routed]),
        };
        Self {
            epoch: *epoch,
            window: *window,
            open_ms: *open_ms,
            stable: with(stable, |told| &told.stable),
            canary: with(canary, |told| &told.canary),
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
            told: None,
            recent: recent.into_forms().into_iter().map(model::Recent::from).collect(),
            ejected: ejected.map(String::from),
            judging: model::Judging::Lenient,
        }
    }
}

impl Counts<'_> {
    /// What all of these add up to, in the words of this version.
    fn of_all(all: &[&model::Counts]) -> Self {
        let sum = |of: fn(&model::Counts) -> u64| all.iter().fold(0_u64, |sum, counts| sum.saturating_add(of(counts)));
        let beside = sum(|counts| counts.unknown).saturating_add(sum(|counts| counts.redirects));
        let client_errors = sum(|counts| counts.client_errors);
        let times = all.iter().flat_map(|counts| [&counts.latencies, &counts.late, &counts.waits]);
        Self {
            requests: sum(|counts| counts.requests).saturating_add(client_errors).saturating_add(beside),
            errors: sum(|counts| counts.errors),
            client_errors,
            open: sum(|counts| counts.open),
            latencies: Cow::Owned(together(times)),
        }
    }
}

/// Histograms in pairs, as one.
fn together<'a>(all: impl Iterator<Item = &'a Vec<(u32, u32)>>) -> Vec<(u32, u32)> {
    let mut sum: BTreeMap<u32, u32> = BTreeMap::new();
    for times in all {
        let mut value = 0_u32;
        for (difference, count) in times {
            value = value.saturating_add(*difference);
            let known = sum.entry(value).or_default();
            *known = known.saturating_add(*count);
        }
    }
    let mut before = 0;
    sum.into_iter().map(|(value, count)| (value - std::mem::replace(&mut before, value), count)).collect()
}

impl From<Counts<'_>> for model::Counts {
    #[inline]
    fn from(Counts { requests, errors, client_errors, open, latencies }: Counts<'_>) -> Self {
        Self {
            requests: requests.saturating_sub(client_errors),
            errors,
            client_errors,
            open,
            latencies: latencies.into_owned(),
            ..Self::default()
        }
    }
}

impl From<&model::Recent> for Recent {
    #[inline]
    fn from(recent: &model::Recent) -> Self {
        let model::Recent { second, begun, errors, answers, slow, unknown, redirects, client_errors } = *recent;
        let begun = begun.saturating_add(unknown).saturating_add(redirects).saturating_add(client_errors);
        Self { second, begun, errors, answers, slow }
    }
}

impl From<Recent> for model::Recent {
    #[inline]
    fn from(Recent { second, begun, errors, answers, slow }: Recent) -> Self {
        Self { second, begun, errors, answers, slow, ..Self::default() }
    }
}
