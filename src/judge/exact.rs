//! The exact chance that a sequential test ends, for tests of it and of what is said of its power.

/// The logarithm of the evidence after so many requests, of which so many ended badly, against a rate.
pub(super) type Evidence = fn(u64, u64, f64) -> f64;

/// The chance that the evidence has reached the threshold after each number of requests up to `n`, looked at after
/// each: exact, by the distribution of k among the paths that have not.
pub(super) fn crossed(evidence: Evidence, n: u64, p: f64, p0: f64, threshold: f64) -> Vec<f64> {
    let (mut open, mut ever) = (vec![1.0], 0.0);
    let mut all = vec![0.0];
    for n in 1..=n {
        let mut next = vec![0.0; open.len() + 1];
        for (k, chance) in open.iter().enumerate() {
            next[k] += chance * (1.0 - p);
            next[k + 1] += chance * p;
        }
        for (k, chance) in (0..).zip(&mut next) {
            if evidence(n, k, p0) >= threshold {
                ever += std::mem::take(chance);
            }
        }
        open = next;
        all.push(ever);
    }
    all
}
