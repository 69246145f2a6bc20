//! Numbers that nobody can predict, without a system call for each.

use std::cell::Cell;
use std::hash::{BuildHasher, RandomState};

thread_local! {
    static SOURCE: Source = Source { keys: RandomState::new(), drawn: Cell::new(0) };
}

/// A thread's own. A hash under keys that the system has drawn is a number that only who has the keys can tell; one of a
/// count never comes again before the count does.
struct Source {
    keys: RandomState,
    drawn: Cell<u64>,
}

/// 64 random bits.
pub(super) fn random_bits() -> u64 {
    SOURCE.with(|source| {
        source.drawn.set(source.drawn.get().wrapping_add(1));
        source.keys.hash_one(source.drawn.get())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_number_comes_twice_on_any_thread() {
        const EACH: usize = 10_000;
        let draw = || (0..EACH).map(|_| random_bits()).collect::<Vec<_>>();
        let drawn = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(draw)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it only draws")).collect::<Vec<_>>()
        });
        assert_eq!(drawn.iter().collect::<HashSet<_>>().len(), 4 * EACH);
        // Each bit is as often 0 as 1: 20 000 expected, with a deviation of 100; seven of them on either side.
        for bit in 0..64 {
            let ones = drawn.iter().filter(|number| (*number >> bit) & 1 == 1).count();
            assert!((19_300..=20_700).contains(&ones), "bit {bit}: {ones} of {}", 4 * EACH);
        }
    }
}
