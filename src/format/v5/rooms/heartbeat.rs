//! Heartbeats.

use super::super::{Hearing, Heartbeat, Stage, Standing};
use crate::Invalid;
use crate::parts::same_words;
use model::Time;

same_words!(Standing = agreement::Readiness { Follows, Ready, Leads, Leaves });

impl<'a> From<&'a agreement::Heartbeat> for Heartbeat<'a> {
    #[inline]
    fn from(heartbeat: &'a agreement::Heartbeat) -> Self {
        let agreement::Heartbeat {
            sent,
            echo,
            wants_echo,
            stage,
            incarnation,
            committed: (version, digest),
            accepted,
            promise,
            readiness,
            hears,
        } = heartbeat;
        Self {
            sent: sent.as_micros(),
            echo: echo.map(Time::as_micros),
            wants_echo: *wants_echo,
            stage: stage.into(),
            incarnation: incarnation.into(),
            committed: (*version, (*digest).into()),
            accepted: *accepted,
            promise: (*promise).into(),
            standing: (*readiness).into(),
            hears: hears.into(),
        }
    }
}

impl TryFrom<Heartbeat<'_>> for agreement::Heartbeat {
    type Error = Invalid;

    #[inline]
    fn try_from(heartbeat: Heartbeat<'_>) -> Result<Self, Invalid> {
        let Heartbeat {
            sent,
            echo,
            wants_echo,
            stage,
            incarnation,
            committed: (version, digest),
            accepted,
            promise,
            standing,
            hears,
        } = heartbeat;
        Ok(Self {
            sent: Time::from_micros(sent),
            echo: echo.map(Time::from_micros),
            wants_echo,
            stage: stage.try_into()?,
            incarnation: incarnation.into(),
            committed: (version, digest.into()),
            accepted,
            promise: promise.try_into()?,
            readiness: standing.into(),
            hears: hears.try_into()?,
        })
    }
}

impl From<&agreement::Hearing> for Hearing {
    #[inline]
    fn from(agreement::Hearing(node, ago, standing): &agreement::Hearing) -> Self {
        Self((*node).into(), *ago, (*standing).into())
    }
}

impl TryFrom<Hearing> for agreement::Hearing {
    type Error = Invalid;

    #[inline]
    fn try_from(Hearing(node, ago, standing): Hearing) -> Result<Self, Invalid> {
        Ok(Self(node.try_into()?, ago, standing.into()))
    }
}

impl<'a> From<&'a agreement::Stage> for Stage<'a> {
    #[inline]
    fn from(stage: &'a agreement::Stage) -> Self {
        match stage {
            agreement::Stage::Blank { seen } => Self::Blank { seen: seen.into() },
            agreement::Stage::Rejoining => Self::Rejoining,
            agreement::Stage::Member => Self::Member,
            agreement::Stage::Founder { founders } => Self::Founder { founders: founders.into() },
        }
    }
}

impl TryFrom<Stage<'_>> for agreement::Stage {
    type Error = Invalid;

    #[inline]
    fn try_from(stage: Stage<'_>) -> Result<Self, Invalid> {
        Ok(match stage {
            Stage::Blank { seen } => Self::Blank { seen: seen.try_into()? },
            Stage::Rejoining => Self::Rejoining,
            Stage::Member => Self::Member,
            Stage::Founder { founders } => Self::Founder { founders: founders.try_into()? },
        })
    }
}
