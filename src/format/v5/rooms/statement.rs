//! What members put their names to.

use super::super::{Octets, Said, Signed, Statement, Testimony, Text};
use crate::Invalid;
use model::UnixMillis;

impl<'a> From<&'a model::Statement> for Statement<'a> {
    #[inline]
    fn from(statement: &'a model::Statement) -> Self {
        let model::Statement { cluster, node, at: UnixMillis(at), said } = statement;
        Self { cluster: cluster.into(), node: (*node).into(), at: *at, said: said.into() }
    }
}

impl TryFrom<Statement<'_>> for model::Statement {
    type Error = Invalid;

    #[inline]
    fn try_from(Statement { cluster, node, at, said }: Statement<'_>) -> Result<Self, Invalid> {
        Ok(Self { cluster: cluster.into(), node: node.try_into()?, at: UnixMillis(at), said: said.try_into()? })
    }
}

impl<'a> From<&'a model::Said> for Said<'a> {
    #[inline]
    fn from(said: &'a model::Said) -> Self {
        match said {
            model::Said::Vote { txid, version, digest, against } => Self::Vote {
                txid: (*txid).into(),
                version: *version,
                digest: (*digest).into(),
                against: against.as_ref().map(Text::from),
            },
            model::Said::Accepted { ballot, txid, version, digest, members } => Self::Accepted {
                ballot: (*ballot).into(),
                txid: (*txid).into(),
                version: *version,
                digest: (*digest).into(),
                members: (*members).into(),
            },
            model::Said::Decided { ballot, txid, version, digest } => Self::Decided {
                ballot: (*ballot).into(),
                txid: (*txid).into(),
                version: *version,
                digest: (*digest).into(),
            },
        }
    }
}

impl TryFrom<Said<'_>> for model::Said {
    type Error = Invalid;

    #[inline]
    fn try_from(said: Said<'_>) -> Result<Self, Invalid> {
        Ok(match said {
            Said::Vote { txid, version, digest, against } => Self::Vote {
                txid: txid.try_into()?,
                version,
                digest: digest.into(),
                against: against.map(String::from),
            },
            Said::Accepted { ballot, txid, version, digest, members } => Self::Accepted {
                ballot: ballot.try_into()?,
                txid: txid.try_into()?,
                version,
                digest: digest.into(),
                members: members.try_into()?,
            },
            Said::Decided { ballot, txid, version, digest } => {
                Self::Decided { ballot: ballot.try_into()?, txid: txid.try_into()?, version, digest: digest.into() }
            }
        })
    }
}

impl<'a> From<&'a model::Signed> for Signed<'a> {
    #[inline]
    fn from(signed: &'a model::Signed) -> Self {
        let model::Signed { statement, serial, scheme, signature } = signed;
        let (serial, signature) = (serial.into(), signature.into());
        Self { statement: statement.into(), serial, scheme: *scheme, signature }
    }
}

impl TryFrom<Signed<'_>> for model::Signed {
    type Error = Invalid;

    #[inline]
    fn try_from(Signed { statement, serial, scheme, signature }: Signed<'_>) -> Result<Self, Invalid> {
        let (serial, signature) = (serial.into(), signature.into());
        Ok(Self { statement: statement.try_into()?, serial, scheme, signature })
    }
}

impl<'a> From<&'a model::Testimony> for Testimony<'a> {
    #[inline]
    fn from(model::Testimony { certificate, signed }: &'a model::Testimony) -> Self {
        let certificate = certificate.as_ref().map(Octets::from);
        Self { certificate, signed: signed.into() }
    }
}

impl TryFrom<Testimony<'_>> for model::Testimony {
    type Error = Invalid;

    #[inline]
    fn try_from(Testimony { certificate, signed }: Testimony<'_>) -> Result<Self, Invalid> {
        Ok(Self { certificate: certificate.map(Into::into), signed: signed.try_into()? })
    }
}
