//! Reminders that a certificate or a list of revoked ones ends: early enough, and not too often.
//!
//! It reads no clock and writes no log: what is due follows from the time, what there is, and what was said.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY_HOURS: i64 = 24;
/// Days before the end at which a certificate is mentioned, the nearest first: a month for who renews by hand, then
/// ever shorter.
const CERTIFICATE_DAYS: [i64; 4] = [3, 7, 14, 30];
/// The same for a list of revoked certificates, which takes less work: time enough over a weekend.
const LIST_DAYS: [i64; 1] = [3];

/// What can come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Kind {
    /// The node's own certificate.
    Node,
    /// An authority's.
    Authority,
    /// A list of revoked certificates.
    RevocationList,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Node, Self::Authority, Self::RevocationList];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Authority => "ca",
            Self::RevocationList => "crl",
        }
    }
}

/// From when until when something counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) kind: Kind,
    pub(super) subject: String,
    pub(super) serial: String,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
}

/// What is to be said of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Two thirds of its time are over: the usual time for a new one.
    Renew,
    /// It ends soon.
    Ending,
    /// It has ended.
    Ended,
}

/// How near the end is; a later one is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Far,
    Days(i64),
    LastDay,
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Said {
    stage: Stage,
    at: Timestamp,
    renew: bool,
}

/// What was said of what there is.
#[derive(Debug, Default)]
pub(super) struct Reminders(BTreeMap<(Kind, String), Said>);

impl Reminders {
    /// What is to be said at `now`. What is no longer among `lives` is forgotten.
    pub(super) fn due<'a>(&mut self, now: Timestamp, lives: &'a [Lifetime]) -> Vec<(&'a Lifetime, Word)> {
        let mut words = Vec::new();
        let mut said = BTreeMap::new();
        for life in lives {
            let key = (life.kind, life.serial.clone());
            let before = self.0.get(&key).copied().unwrap_or(Said { stage: Stage::Far, at: now, renew: false });
            let stage = stage(now, life);
            let renew = is_old(now, life);
            if renew && !before.renew && stage != Stage::Ended {
                words.push((life, Word::Renew));
            }
            let again = repeat(life.kind, stage).is_some_and(|every| now.duration_since(before.at) >= every);
            let speak = stage != Stage::Far && (stage != before.stage || again);
            if speak {
                words.push((life, if stage == Stage::Ended { Word::Ended } else { Word::Ending }));
            }
            said.insert(key, Said { stage, at: if speak { now } else { before.at }, renew });
        }
        self.0 = said;
        words
    }
}

fn stage(now: Timestamp, life: &Lifetime) -> Stage {
    let left = life.until.duration_since(now);
    let days: &[i64] = match life.kind {
        Kind::Node | Kind::Authority => &CERTIFICATE_DAYS,
        Kind::RevocationList => &LIST_DAYS,
    };
    let within = |days: i64| left <= SignedDuration::from_hours(DAY_HOURS * days);
    if left <= SignedDuration::ZERO {
        Stage::Ended
    } else if within(1) {
        Stage::LastDay
    } else {
        days.iter().copied().find(|days| within(*days)).map_or(Stage::Far, Stage::Days)
    }
}

/// How often it is said again at this stage.
const fn repeat(kind: Kind, stage: Stage) -> Option<SignedDuration> {
    match (stage, kind) {
        (Stage::Far | Stage::Days(_), _) => None,
        (Stage::LastDay, _) | (Stage::Ended, Kind::RevocationList) => Some(HOUR),
        (Stage::Ended, Kind::Node | Kind::Authority) => Some(MINUTE),
    }
}

/// Lists are signed anew in time by whoever signs them; certificates are made by people.
fn is_old(now: Timestamp, life: &Lifetime) -> bool {
    let (age, whole) = (now.duration_since(life.from), life.until.duration_since(life.from));
    match life.kind {
        Kind::Node | Kind::Authority => age.as_secs().saturating_mul(3) >= whole.as_secs().saturating_mul(2),
        Kind::RevocationList => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn hours(hours: i64) -> Timestamp {
        START + SignedDuration::from_hours(hours)
    }

    fn life(kind: Kind, days: i64) -> Lifetime {
        let (from, until) = (START, hours(DAY_HOURS * days));
        Lifetime { kind, subject: "it".into(), serial: "0a".into(), from, until }
    }

    /// What is said over the whole life and two hours more, looking every ten minutes: the hours left, and the word.
    fn told(kind: Kind, days: i64) -> Vec<(i64, Word)> {
        let (life, mut reminders, mut told) = ([life(kind, days)], Reminders::default(), Vec::new());
        for ten_minutes in 0..=(days * DAY_HOURS + 2) * 6 {
            let now = START + SignedDuration::from_mins(10 * ten_minutes);
            let left = life[0].until.duration_since(now).as_hours();
            told.extend(reminders.due(now, &life).into_iter().map(|(_, word)| (left, word)));
        }
        told
    }

    #[test]
    fn a_certificate_is_mentioned_at_30_14_7_3_and_1_days_and_then_every_hour() {
        let told = told(Kind::Node, 90);
        let early: Vec<i64> = told.iter().filter(|(left, _)| *left > 24).map(|(left, _)| left / DAY_HOURS).collect();
        assert_eq!(early, [30, 30, 14, 7, 3], "{told:?}");
        assert_eq!(told[0], (720, Word::Renew));
        let last_day = told.iter().filter(|(left, word)| *left <= 24 && *word == Word::Ending);
        assert_eq!(last_day.map(|(left, _)| *left).collect::<Vec<_>>(), (1..=24).rev().collect::<Vec<_>>());
    }

    #[test]
    fn the_time_to_renew_is_said_once_when_it_is_not_near_the_end() {
        let told = told(Kind::Authority, 300);
        let renew: Vec<i64> = told.iter().filter(|(_, word)| *word == Word::Renew).map(|(left, _)| *left).collect();
        assert_eq!(renew, [100 * DAY_HOURS]);
    }

    #[test]
    fn what_has_ended_is_said_every_minute_and_a_list_every_hour() {
        let often = |kind: Kind| {
            let (life, mut reminders) = ([life(kind, 1)], Reminders::default());
            let looks = (0..360).map(|look| hours(24) + SignedDuration::from_secs(10 * look));
            let words = looks.map(|now| reminders.due(now, &life));
            words.filter(|words| words.iter().any(|(_, word)| *word == Word::Ended)).count()
        };
        assert_eq!([Kind::Node, Kind::Authority, Kind::RevocationList].map(often), [60, 60, 1]);
    }

    #[test]
    fn a_list_is_mentioned_from_three_days_on() {
        let early: Vec<_> = told(Kind::RevocationList, 90).into_iter().filter(|(left, _)| *left > 24).collect();
        assert_eq!(early, [(72, Word::Ending)]);
    }

    #[test]
    fn a_new_one_begins_anew_and_an_old_one_is_told_at_the_first_look() {
        let mut reminders = Reminders::default();
        let old = life(Kind::Node, 90);
        let new = Lifetime { serial: "0b".into(), until: hours(DAY_HOURS * 170), ..old.clone() };
        let late = hours(DAY_HOURS * 80);
        assert_eq!(reminders.due(late, std::slice::from_ref(&old)), [(&old, Word::Renew), (&old, Word::Ending)]);
        assert_eq!(reminders.due(late, std::slice::from_ref(&old)), []);
        assert_eq!(reminders.due(late, std::slice::from_ref(&new)), []);
        assert_eq!(
            reminders.due(late, std::slice::from_ref(&old)).len(),
            2,
            "what was said of one that is gone is forgotten"
        );
    }

    #[test]
    fn a_clock_that_is_set_back_brings_no_flood() {
        let (life, mut reminders) = ([life(Kind::Node, 90)], Reminders::default());
        assert_eq!(reminders.due(hours(DAY_HOURS * 90), &life).len(), 1);
        let back = hours(DAY_HOURS * 90 - 1);
        assert_eq!(reminders.due(back, &life).len(), 1);
        assert!((1..60).all(|second| reminders.due(back + SignedDuration::from_secs(second), &life).is_empty()));
    }
}
