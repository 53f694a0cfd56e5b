//! Chance that can be repeated: splitmix64.

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// The stream `number` of a seed.
    pub(super) fn of(seed: u64, number: u64) -> Self {
        Random(Random(seed ^ number.wrapping_mul(GOLDEN)).next())
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not, 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.fraction() < probability
    }

    /// From 0 up to, but not, `end`, which is not 0.
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    pub(super) fn up_to(&mut self, max: Duration) -> Duration {
        max.mul_f64(self.fraction())
    }

    /// The time to the next of some events that know nothing of each other and come after `mean` on average. `None`: later
    /// than can be said.
    pub(super) fn interval(&mut self, mean: Duration) -> Option<Duration> {
        let times = -(1.0 - self.fraction()).ln();
        Duration::try_from_secs_f64(mean.as_secs_f64() * times).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_known_sequence() {
        let mut random = Random::new(1_234_567);
        assert_eq!(random.next(), 6_457_827_717_110_365_317);
        assert_eq!(random.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn chance_is_what_was_asked_for() {
        let mut random = Random::new(1);
        let happened = (0..100_000).filter(|_| random.happens(0.25)).count();
        assert!((24_000..26_000).contains(&happened), "{happened}");
        assert!(!(0..1000).any(|_| random.happens(0.0)));
        assert!((0..1000).all(|_| random.happens(1.0)));
        assert!((0..1000).all(|_| random.below(3) < 3 && random.up_to(Duration::from_secs(1)).as_secs() == 0));
        let mean = Duration::from_secs(2);
        let total: Duration = (0..100_000).map(|_| random.interval(mean).unwrap()).sum();
        assert!((1.9..2.1).contains(&(total.as_secs_f64() / 100_000.0)), "{total:?}");
    }
}
