//! Where the ends come from that a client can bring about by itself: how many requests of each source, for the largest.
//!
//! The salt and the chosen model are public, so one client can misbehave in the canary's arm alone. Such ends speak against a
//! canary only when they come from many. What is kept is the "space saving" summary of Metwally, Agrawal and El Abbadi
//! (2005): a source that gave more than one of [`KEPT`] is surely in it, and its count is never too low.

use model::{Provoked, Source};
use std::net::IpAddr;

/// Sources that are kept of each way to end. A share of a third is told from one of a fifth, and a report stays short.
const KEPT: usize = 8;
/// Ends from fewer sources than this may be the work of one.
const FEWEST: usize = 5;

/// The ends of one model by source.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources(Vec<Source>);

/// In whatever order they came.
impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        let sorted = |sources: &Self| {
            let mut all = sources.0.clone();
            all.sort_unstable_by_key(|source| (source.end, source.address, source.count));
            all
        };
        sorted(self) == sorted(other)
    }
}

/// One source that gave too large a part of the ends to speak for others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dominant {
    /// Its address, or its network.
    pub address: IpAddr,
    /// Its part of them, 0 to 1.
    pub share: f64,
}

impl Sources {
    /// Counts an end of this kind.
    pub(super) fn add(&mut self, end: Provoked, address: IpAddr, count: u64) {
        let address = model::source(address);
        if let Some(known) = self.of(end).find(|source| source.address == address) {
            known.count = known.count.saturating_add(count);
            return;
        }
        if self.of(end).count() < KEPT {
            self.0.push(Source { end, address, count });
        } else if let Some(least) = self.of(end).min_by_key(|source| source.count) {
            *least = Source { end, address, count: least.count.saturating_add(count) };
        }
    }

    /// Adds what `others` were counted elsewhere.
    pub(super) fn merge(&mut self, others: &[Source]) {
        for Source { end, address, count } in others.iter().take(3 * KEPT) {
            let address = model::source(*address);
            match self.0.iter_mut().find(|known| known.end == *end && known.address == address) {
                Some(known) => known.count = known.count.saturating_add(*count),
                None => self.0.push(Source { end: *end, address, count: *count }),
            }
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Source] {
        &self.0
    }

    /// As many as are kept of each way to end, the largest first: what others are told.
    pub(super) fn largest(&self) -> Vec<Source> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by_key(|source| (source.end, std::cmp::Reverse(source.count)));
        let ends = [Provoked::Unknown, Provoked::Redirect, Provoked::ClientError];
        let of_end = |end| sorted.iter().copied().filter(move |source| source.end == end).take(KEPT);
        ends.into_iter().flat_map(of_end).collect()
    }

    /// The largest source of these ends, where it gave more than a third of all `total` of them, or where there are fewer than
    /// five: then they may be its work alone. None when they come from many.
    #[allow(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
    pub(super) fn dominant(&self, end: Provoked, total: u64) -> Option<Dominant> {
        let mut of_end = self.0.iter().filter(|source| source.end == end);
        let largest = of_end.clone().max_by_key(|source| source.count)?;
        let is_dominant = of_end.by_ref().count() < FEWEST || u128::from(largest.count) * 3 > u128::from(total);
        let share = (largest.count as f64 / total.max(1) as f64).min(1.0);
        is_dominant.then_some(Dominant { address: largest.address, share })
    }

    fn of(&mut self, end: Provoked) -> impl Iterator<Item = &mut Source> {
        self.0.iter_mut().filter(move |source| source.end == end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    const END: Provoked = Provoked::Unknown;

    fn host(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + number))
    }

    #[test]
    fn one_source_among_many_is_found_however_many_there_are() {
        let mut sources = Sources::default();
        for number in 0..1_000 {
            sources.add(END, host(number), 1);
            sources.add(END, host(7_000), 1);
        }
        let dominant = sources.dominant(END, 2_000).expect("one gave half");
        assert_eq!(dominant.address, host(7_000));
        assert!(dominant.share >= 0.5 && dominant.share < 0.7, "{dominant:?}");
        assert_eq!(sources.all().len(), KEPT);
    }

    #[test]
    fn many_alike_are_many_and_few_are_few() {
        let mut sources = Sources::default();
        for number in 0..4 {
            sources.add(END, host(number), 10);
        }
        assert!(sources.dominant(END, 40).is_some(), "four are too few");
        assert_eq!(sources.dominant(Provoked::Redirect, 0), None);
        for number in 4..10_000 {
            sources.add(END, host(number % 500), 1);
        }
        assert_eq!(sources.dominant(END, 10_036), None);
    }

    #[test]
    fn the_largest_are_told_wherever_they_stand() {
        let mut all = Sources::default();
        for thread in 0..8 {
            let mut own = Sources::default();
            (0..8).for_each(|number| own.add(END, host(100 * thread + number), 2));
            all.merge(own.all());
        }
        let mut last = Sources::default();
        last.add(END, host(7_000), 900);
        all.merge(last.all());
        let told = all.largest();
        assert_eq!((told.len(), told[0].address), (KEPT, host(7_000)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_source_and_a_mapped_address_is_the_one_it_maps() {
        let mut sources = Sources::default();
        for end in 0..100_u16 {
            sources.add(END, IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, end, 1)), 1);
        }
        sources.add(END, host(1), 1);
        sources.add(END, "::ffff:10.0.0.1".parse().expect("an address"), 1);
        assert_eq!(sources.all().iter().map(|source| source.count).collect::<Vec<_>>(), [100, 2]);
    }

    #[test]
    fn merging_adds_up_and_reads_no_more_than_is_told() {
        let (mut one, mut other) = (Sources::default(), Sources::default());
        one.add(END, host(1), 3);
        other.add(END, host(1), 4);
        other.add(Provoked::ClientError, host(1), 5);
        one.merge(other.all());
        assert_eq!(one.all().iter().map(|source| source.count).collect::<Vec<_>>(), [7, 5]);
        let hostile: Vec<_> = (0..10_000).map(|at| Source { end: END, address: host(at), count: u64::MAX }).collect();
        one.merge(&hostile);
        assert!(one.all().len() <= 3 * KEPT + 2);
        assert!(one.dominant(END, u64::MAX).is_some());
    }
}
