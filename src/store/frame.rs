//! The bytes of one record in a segment: a line of text that begins at a multiple of [`SECTOR`].
//!
//! ```text
//! rec <generation> <position> <forced> <length> <body crc> <header crc> {…}\n
//! ```
//!
//! All numbers are hexadecimal, so that people can read a segment with `tr -d '\0'`. No byte of a line is zero, and
//! what a segment has no line in is all zero. That tells two kinds of damage apart that must never be confused. A
//! write that was cut short leaves zeros: of each sector, the device has written all or nothing. A byte that changed
//! later leaves at most one. The first is a record that nobody was told of; the second may be a promise.

use std::ops::Range;

/// Lines begin at multiples of this, in bytes: the smallest piece that disks write as a whole, so that writing one
/// record never rewrites a sector that holds another.
pub const SECTOR: usize = 512;
/// The size of a segment, in bytes. At two to three KiB a commit it is changed every few hundred, and two of them
/// are little on any machine.
pub const SEGMENT: usize = 1024 * 1024;
/// The longest body, in bytes. A snapshot holds two proposals, and after it there must be room for more.
pub(super) const MAX_BODY: usize = 256 * 1024;
/// The longest body of a snapshot: two proposals and what else there is.
pub(super) const MAX_SNAPSHOT: usize = 2 * MAX_BODY + 8 * 1024;

const _: () = assert!(MAX_SNAPSHOT + MAX_BODY + 4 * SECTOR < SEGMENT, "a record must fit behind a snapshot");

const MARK: &str = "rec ";
/// The mark, one number of 16 digits and five of 8, each followed by a space.
const HEADER: usize = MARK.len() + 17 + 5 * 9;
/// How many zero bytes in a line show that it was cut short: one may be a byte that changed.
const ZEROS_OF_A_CUT: usize = 2;

/// What a record says of itself beside its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which use of its file the segment is; counts up, over both files.
    pub generation: u64,
    /// Where in the segment the record begins.
    pub position: usize,
    /// Everything before this was known to be on disk when the record was written.
    pub forced: usize,
}

/// What is found at a place in a segment.
#[derive(Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the variants say what their fields are")]
pub enum Found<'a> {
    /// A record, whole. The next one would begin at `next`.
    Record { header: Header, body: &'a [u8], next: usize },
    /// Nothing.
    Blank,
    /// A write that was cut short.
    Cut,
    /// Something that no crash leaves behind.
    Damage(&'static str),
}

/// How much of a segment a record with a body of `length` bytes takes.
pub(super) const fn space_for(length: usize) -> usize {
    (HEADER + length + 1).next_multiple_of(SECTOR)
}

/// Adds a record and its padding to `bytes`. The body must have no zero byte, and JSON has none.
pub fn encode(bytes: &mut Vec<u8>, header: Header, body: &[u8]) {
    debug_assert!(!body.contains(&0), "JSON escapes control characters");
    let start = bytes.len();
    bytes.extend_from_slice(&header_text(header, body.len(), crc32fast::hash(body)));
    bytes.extend_from_slice(body);
    bytes.push(b'\n');
    bytes.resize(start + space_for(body.len()), 0);
}

/// Looks at what stands at `at`, a multiple of [`SECTOR`], in a segment of at most [`SEGMENT`] bytes.
pub fn look(segment: &[u8], at: usize) -> Found<'_> {
    let sector = part(segment, at..at + SECTOR);
    if is_blank(sector) {
        return Found::Blank;
    }
    let line = &sector[..sector.len().min(HEADER)];
    let Some((header, length, crc)) = parse_header(line) else {
        return if is_cut(line, HEADER) { Found::Cut } else { Found::Damage("its header fails its checksum") };
    };
    if header.position != at {
        return Found::Damage("the record belongs to another place");
    }
    let end = at + HEADER + length;
    if end >= SEGMENT {
        return Found::Damage("the record is longer than the segment");
    }
    let body = part(segment, at + HEADER..end);
    if body.len() == length && crc32fast::hash(body) == crc {
        return Found::Record { header, body, next: at + space_for(length) };
    }
    let line = part(segment, at..end + 1);
    if is_cut(line, end + 1 - at) { Found::Cut } else { Found::Damage("the record fails its checksum") }
}

/// Whether all bytes are zero. A start asks this of every sector, so it looks at many bytes at once.
pub(super) fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |all, byte| all | byte) == 0
}

fn part(segment: &[u8], range: Range<usize>) -> &[u8] {
    let end = range.end.min(segment.len());
    segment.get(range.start..end).unwrap_or_default()
}

/// Whether a line of `length` bytes was cut short. A file that ends too early counts as zeros from there on.
fn is_cut(line: &[u8], length: usize) -> bool {
    let missing = length - line.len();
    missing + line.iter().filter(|byte| **byte == 0).count() >= ZEROS_OF_A_CUT
}

/// Written digit by digit: a start does this for all that it reads.
fn header_text(header: Header, length: usize, body_crc: u32) -> [u8; HEADER] {
    let Header { generation, position, forced } = header;
    let mut text = [b' '; HEADER];
    text[..MARK.len()].copy_from_slice(MARK.as_bytes());
    let mut at = MARK.len();
    let mut put = |text: &mut [u8; HEADER], number: u64, digits: usize| {
        for (place, digit) in text[at..at + digits].iter_mut().rev().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (4 * place) & 15) as usize];
        }
        at += digits + 1;
        at
    };
    put(&mut text, generation, 16);
    for number in [position as u64, forced as u64, length as u64] {
        put(&mut text, number, 8);
    }
    let end = put(&mut text, u64::from(body_crc), 8);
    let crc = crc32fast::hash(&text[..end]);
    put(&mut text, u64::from(crc), 8);
    text
}

/// The header, the body's length and the body's checksum, if the header's own checksum holds. The last byte, a space,
/// carries nothing and is not looked at: a line that is cut there has lost no more than its body.
fn parse_header(line: &[u8]) -> Option<(Header, usize, u32)> {
    let text = std::str::from_utf8(line.get(..HEADER - 1)?).ok()?;
    let mut words = text.strip_prefix(MARK)?.split(' ');
    let mut number = || u64::from_str_radix(words.next()?, 16).ok();
    let (generation, position, forced, length, crc) = (number()?, number()?, number()?, number()?, number()?);
    let header =
        Header { generation, position: usize::try_from(position).ok()?, forced: usize::try_from(forced).ok()? };
    let (length, crc) = (usize::try_from(length).ok()?, u32::try_from(crc).ok()?);
    // Written anew, it must be the same text to the letter, its own checksum included.
    let expected = header_text(header, length, crc);
    (expected[..HEADER - 1] == *text.as_bytes()).then_some((header, length, crc))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"promised":{"round":3}}"#;

    fn segment_with(body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; SECTOR];
        encode(&mut bytes, Header { generation: 7, position: SECTOR, forced: SECTOR }, body);
        bytes.resize(16 * SECTOR, 0);
        bytes
    }

    #[test]
    fn a_record_survives_its_bytes() {
        let segment = segment_with(BODY);
        let header = Header { generation: 7, position: SECTOR, forced: SECTOR };
        assert_eq!(look(&segment, 0), Found::Blank);
        assert_eq!(look(&segment, SECTOR), Found::Record { header, body: BODY, next: 2 * SECTOR });
        assert_eq!(look(&segment, 2 * SECTOR), Found::Blank);
        assert_eq!(look(&segment, 16 * SECTOR), Found::Blank, "past the end there is nothing");
    }

    #[test]
    fn every_changed_byte_is_damage_or_does_no_harm() {
        let body = [b'x'; 1200];
        let sound = segment_with(&body);
        let Found::Record { header, .. } = look(&sound, SECTOR) else { panic!("the record is sound") };
        let end = SECTOR + HEADER + body.len();
        for place in SECTOR..end + 1 {
            for value in 0..=u8::MAX {
                let mut segment = sound.clone();
                if segment[place] == value {
                    continue;
                }
                segment[place] = value;
                match look(&segment, SECTOR) {
                    Found::Damage(_) => {}
                    Found::Record { header: found, body: read, .. } => assert_eq!((found, read), (header, &body[..])),
                    other @ (Found::Blank | Found::Cut) => panic!("byte {place} as {value} was taken for {other:?}"),
                }
            }
        }
    }

    #[test]
    fn every_cut_is_a_cut() {
        for body in [BODY.to_vec(), vec![b'x'; 1200], vec![b'x'; SECTOR - HEADER]] {
            let sound = segment_with(&body);
            let last = SECTOR + HEADER + body.len();
            for place in SECTOR + 1..last {
                let mut segment = sound.clone();
                segment[place..].fill(0);
                assert_eq!(look(&segment, SECTOR), Found::Cut, "cut at {place}");
                segment.truncate(place);
                assert_eq!(look(&segment, SECTOR), Found::Cut, "short at {place}");
            }
            let mut segment = sound;
            segment[last..].fill(0);
            assert!(matches!(look(&segment, SECTOR), Found::Record { .. }), "only the end of the line is missing");
        }
    }

    #[test]
    fn a_lost_sector_is_a_cut() {
        let sound = segment_with(&[b'x'; 1200]);
        for lost in 1..3 {
            let mut segment = sound.clone();
            let start = SECTOR + lost * SECTOR;
            segment[start..start + SECTOR].fill(0);
            assert_eq!(look(&segment, SECTOR), Found::Cut);
        }
    }
}
