//! What one node measured, with every way to end told apart.

use crate::parts::same_words;
use crate::v5::{List, Text};
use crate::{Form, Invalid};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::net::IpAddr;

/// Measurements since a window began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report<'a> {
    /// The version whose step was measured.
    pub epoch: u64,
    /// Counts the windows of the step.
    pub window: u32,
    /// Milliseconds since the window began.
    pub open_ms: u64,
    /// The stable model.
    #[serde(borrow)]
    pub stable: Counts<'a>,
    /// The model on trial.
    #[serde(borrow)]
    pub canary: Counts<'a>,
    /// What applications told.
    #[serde(borrow)]
    pub told: Option<Box<Told<'a>>>,
    /// The canary in the last seconds.
    pub recent: List<'a, Recent>,
    /// Why the node has stopped serving the canary by itself.
    #[serde(borrow)]
    pub ejected: Option<Text<'a>>,
}

/// What applications told of both models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told<'a> {
    /// The stable model.
    #[serde(borrow)]
    pub stable: Counts<'a>,
    /// The model on trial.
    #[serde(borrow)]
    pub canary: Counts<'a>,
}

/// Pairs of microseconds, as differences, and how many took that long.
type Times<'a> = Cow<'a, [(u32, u32)]>;

/// The counts of one model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts<'a> {
    /// Requests whose end is known: good and failed ones.
    pub requests: u64,
    /// Those that failed.
    pub errors: u64,
    /// Requests beside them whose client left first.
    pub unknown: u64,
    /// Requests beside them with a status 3xx.
    pub redirects: u64,
    /// Requests beside them with a status 4xx.
    pub client_errors: u64,
    /// Requests beside them that are no evidence.
    pub uncounted: u64,
    /// Requests that have not ended.
    pub open: u64,
    /// The times of good answers.
    pub latencies: Times<'a>,
    /// The times of those that passed the limit without one.
    pub late: Times<'a>,
    /// The times after which clients left.
    pub waits: Times<'a>,
    /// Where the ends came from that clients can bring about.
    pub sources: List<'a, Source>,
}

/// How many requests of one source ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The way.
    pub end: Provoked,
    /// The address, or the network.
    pub address: IpAddr,
    /// How many.
    pub count: u64,
}

/// An end that a client can bring about by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Provoked {
    /// It left.
    Unknown,
    /// A status 3xx.
    Redirect,
    /// A status 4xx.
    ClientError,
}

/// The counts since one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// The second of the step.
    pub second: u32,
    /// Requests that have begun, without the last three.
    pub begun: u64,
    /// Those that failed.
    pub errors: u64,
    /// Answers, and requests without one when the limit was passed.
    pub answers: u64,
    /// Those that were too slow.
    pub slow: u64,
    /// Requests whose client left first.
    pub unknown: u64,
    /// Requests with a status 3xx.
    pub redirects: u64,
    /// Requests with a status 4xx.
    pub client_errors: u64,
}

same_words!(Provoked = model::Provoked { Unknown, Redirect, ClientError });

impl<'a> Form<'a> for Report<'a> {
    type Value = model::Report;

    #[inline]
    fn of(report: &'a model::Report) -> Self {
        let model::Report { epoch, window, open_ms, stable, canary, told, recent, ejected, judging: _ } = report;
        Self {
            epoch: *epoch,
            window: *window,
            open_ms: *open_ms,
            stable: stable.into(),
            canary: canary.into(),
            told: told.as_deref().map(|told| Box::new(told.into())),
            recent: recent.into(),
            ejected: ejected.as_ref().map(Text::from),
        }
    }
}

impl TryFrom<Report<'_>> for model::Report {
    type Error = Invalid;

    #[inline]
    fn try_from(report: Report<'_>) -> Result<Self, Invalid> {
        let Report { epoch, window, open_ms, stable, canary, told, recent, ejected } = report;
        Ok(Self {
            epoch,
            window,
            open_ms,
            stable: stable.into(),
            canary: canary.into(),
            told: told.map(|told| Box::new((*told).into())),
            recent: recent.into_forms().into_iter().map(model::Recent::from).collect(),
            ejected: ejected.map(String::from),
            judging: model::Judging::Strict,
        })
    }
}

impl<'a> From<&'a model::Told> for Told<'a> {
    fn from(model::Told { stable, canary }: &'a model::Told) -> Self {
        Self { stable: stable.into(), canary: canary.into() }
    }
}

impl From<Told<'_>> for model::Told {
    fn from(Told { stable, canary }: Told<'_>) -> Self {
        Self { stable: stable.into(), canary: canary.into() }
    }
}

impl<'a> From<&'a model::Counts> for Counts<'a> {
    #[inline]
    fn from(counts: &'a model::Counts) -> Self {
        let model::Counts { requests, errors, unknown, redirects, client_errors, uncounted, open, .. } = *counts;
        let model::Counts { latencies, late, waits, sources, .. } = counts;
        Self {
            requests,
            errors,
            unknown,
            redirects,
            client_errors,
            uncounted,
            open,
            latencies: Cow::Borrowed(latencies),
            late: Cow::Borrowed(late),
            waits: Cow::Borrowed(waits),
            sources: sources.into(),
        }
    }
}

impl From<Counts<'_>> for model::Counts {
    #[inline]
    fn from(counts: Counts<'_>) -> Self {
        let Counts { requests, errors, unknown, redirects, client_errors, uncounted, open, .. } = counts;
        let Counts { latencies, late, waits, sources, .. } = counts;
        Self {
            requests,
            errors,
            unknown,
            redirects,
            client_errors,
            uncounted,
            open,
            latencies: latencies.into_owned(),
            late: late.into_owned(),
            waits: waits.into_owned(),
            sources: sources.into_forms().into_iter().map(model::Source::from).collect(),
        }
    }
}

impl<'a> Form<'a> for Source {
    type Value = model::Source;

    fn of(model::Source { end, address, count }: &'a model::Source) -> Self {
        Self { end: (*end).into(), address: *address, count: *count }
    }
}

impl From<Source> for model::Source {
    fn from(Source { end, address, count }: Source) -> Self {
        Self { end: end.into(), address, count }
    }
}

impl<'a> Form<'a> for Recent {
    type Value = model::Recent;

    fn of(recent: &'a model::Recent) -> Self {
        let model::Recent { second, begun, errors, answers, slow, unknown, redirects, client_errors } = *recent;
        Self { second, begun, errors, answers, slow, unknown, redirects, client_errors }
    }
}

impl From<Recent> for model::Recent {
    fn from(recent: Recent) -> Self {
        let Recent { second, begun, errors, answers, slow, unknown, redirects, client_errors } = recent;
        Self { second, begun, errors, answers, slow, unknown, redirects, client_errors }
    }
}
