//! The reading of the two segments: to the member's memory, or to the place that is corrupt.

use super::disk::Side;
use super::frame::{Found, Header, SECTOR, SEGMENT, is_blank, look};
use format::Version;
use format::disk::{self, Snapshot};

/// A record that cannot be read, and cannot have come about by a crash.
#[derive(Debug, PartialEq, Eq)]
pub struct Damage {
    /// The segment that it is in.
    pub side: Side,
    /// Where it begins.
    pub offset: usize,
    /// What is wrong there.
    pub what: String,
}

/// The segment to believe.
#[derive(Debug, PartialEq, Eq)]
pub struct Current {
    /// Which of the two it is.
    pub side: Side,
    /// Which use of its file.
    pub generation: u64,
    /// The version of its snapshot and its records.
    pub version: Version,
    /// Its snapshot, with the records after it taken into account.
    pub snapshot: Snapshot,
    /// How many records there are after the snapshot.
    pub records: usize,
    /// Where a write was cut short, if one was.
    pub cut_at: Option<usize>,
}

/// Finds the segment to believe, and adds up its records. None when neither was ever finished: a first start that did
/// not get far, or no start at all. Fails when something was changed or lost that no crash changes or loses.
pub fn recover(segments: [&[u8]; 2]) -> Result<Option<Current>, Damage> {
    let [even, odd] = segments;
    let heads = [head(Side::Even, even)?, head(Side::Odd, odd)?];
    let behind = |side| Damage { side, offset: 0, what: "its snapshot is missing, though there are records".into() };
    let (side, generation) = match heads {
        [Head::Begun(even), Head::Begun(odd)] if even.abs_diff(odd) != 1 => {
            let what = format!("it is generation {odd} and its neighbour {even}: they are not of the same time");
            return Err(Damage { side: Side::Odd, offset: 0, what });
        }
        [Head::Begun(even), Head::Begun(odd)] if even > odd => (Side::Even, even),
        [Head::Begun(_), Head::Begun(odd)] => (Side::Odd, odd),
        [Head::Begun(even), Head::Unfinished { newest }] if newest <= Some(even) => (Side::Even, even),
        [Head::Unfinished { newest }, Head::Begun(odd)] if newest <= Some(odd) => (Side::Odd, odd),
        [Head::Unfinished { newest: None }, Head::Unfinished { newest: None }] => return Ok(None),
        [Head::Unfinished { newest: Some(_) }, _] => return Err(behind(Side::Even)),
        [_, Head::Unfinished { .. }] => return Err(behind(Side::Odd)),
        [Head::Unfinished { newest: None }, Head::Begun(_)] => unreachable!("None is less than any generation"),
    };
    replay(side, generation, segments[side as usize]).map(Some)
}

/// The format that a segment's snapshot names, if it has one; whether it can be read is another question.
pub fn format_of(segment: &[u8]) -> Option<u64> {
    match look(segment, 0) {
        Found::Record { body, .. } => disk::format_in(body).ok(),
        Found::Blank | Found::Cut | Found::Damage(_) => None,
    }
}

/// Something in a segment.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub(super) offset: usize,
    pub(super) found: Found<'a>,
}

/// All that is in a segment, damage and what stands behind it included.
pub(super) fn pieces(segment: &[u8]) -> Vec<Piece<'_>> {
    let (mut pieces, mut offset) = (Vec::<Piece<'_>>::new(), 0);
    while offset < segment.len() {
        let found = look(segment, offset);
        let next = if let Found::Record { next, .. } = &found { *next } else { offset + SECTOR };
        // What a damaged record's further sectors hold begins no record: it is part of the same damage.
        let is_news = match &found {
            Found::Record { .. } => true,
            Found::Cut | Found::Damage(_) => {
                !matches!(pieces.last(), Some(Piece { found: Found::Cut | Found::Damage(_), .. }))
            }
            Found::Blank => false,
        };
        if is_news {
            pieces.push(Piece { offset, found });
        }
        offset = next;
    }
    pieces
}

/// How a segment begins.
#[derive(Clone, Copy, Debug)]
enum Head {
    /// With the snapshot of this generation.
    Begun(u64),
    /// With no snapshot: it is blank, or was being begun or wiped. The newest generation of a record in it.
    Unfinished { newest: Option<u64> },
}

fn head(side: Side, segment: &[u8]) -> Result<Head, Damage> {
    match look(segment, 0) {
        Found::Record { header, .. } => Ok(Head::Begun(header.generation)),
        Found::Blank | Found::Cut => {
            let newest = records_from(segment, SECTOR).map(|header| header.generation).max();
            Ok(Head::Unfinished { newest })
        }
        Found::Damage(what) => Err(Damage { side, offset: 0, what: what.into() }),
    }
}

fn replay(side: Side, generation: u64, segment: &[u8]) -> Result<Current, Damage> {
    let damage = |offset, what: String| Damage { side, offset, what };
    let Found::Record { body, mut next, .. } = look(segment, 0) else {
        return Err(damage(0, "its snapshot is missing".into()));
    };
    let (version, snapshot) =
        disk::decode_snapshot(body).map_err(|error| damage(0, format!("the snapshot: {error}")))?;
    let mut current = Current { side, generation, version, snapshot, records: 0, cut_at: None };
    while next < SEGMENT {
        match look(segment, next) {
            Found::Record { header, .. } if header.generation != generation => {
                return Err(damage(next, format!("a record of generation {} in {generation}", header.generation)));
            }
            Found::Record { body, next: after, .. } => {
                let record = disk::decode_record(body, version).map_err(|error| damage(next, error.to_string()))?;
                current.snapshot.durable.apply(&record);
                current.records += 1;
                next = after;
            }
            Found::Damage(what) => return Err(damage(next, what.into())),
            Found::Blank | Found::Cut => {
                // Records behind the gap may have reached the disk before it did, as long as nothing was forced. One
                // that knew this place to be on disk shows that something is lost that was promised.
                let forced = |header: &Header| header.generation == generation && header.forced > next;
                if records_from(segment, next + SECTOR).any(|header| forced(&header)) {
                    return Err(damage(next, "a record is missing, though later ones are there".into()));
                }
                let rest = segment.get(next..).unwrap_or_default();
                current.cut_at = (!is_blank(rest)).then_some(next);
                break;
            }
        }
    }
    Ok(current)
}

/// The whole records at or after `start`, wherever they begin.
fn records_from(segment: &[u8], start: usize) -> impl Iterator<Item = Header> {
    (start..segment.len()).step_by(SECTOR).filter_map(|at| match look(segment, at) {
        Found::Record { header, .. } => Some(header),
        Found::Blank | Found::Cut | Found::Damage(_) => None,
    })
}
