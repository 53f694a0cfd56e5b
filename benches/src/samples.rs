//! Samples of one quantity, and what to make of them.

use std::time::{Duration, Instant};

/// Samples of one quantity.
#[derive(Clone, Debug, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    /// Takes one more.
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The value in the middle; `NaN` without samples.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// Half the distance between the quartiles, as a part of the median.
    pub fn spread(&self) -> f64 {
        (self.quantile(0.75) - self.quantile(0.25)) / 2.0 / self.median()
    }

    /// Between neighbours the value is interpolated.
    fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
        let place = part * last as f64;
        let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
        below + (above - below) * place.fract()
    }
}

/// How long `work` takes, in seconds.
pub fn seconds<T>(work: impl FnOnce() -> T) -> f64 {
    let start = Instant::now();
    let made = work();
    let elapsed = start.elapsed();
    drop(made);
    elapsed.as_secs_f64()
}

/// The median time of `count` calls, each timed by itself, in seconds; with a pause before each if one is given.
pub fn median_of_each(count: usize, pause: Option<Duration>, mut call: impl FnMut()) -> f64 {
    let mut samples = Samples::default();
    for _ in 0..count {
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
        samples.push(seconds(&mut call));
    }
    samples.median()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        Samples(values.to_vec())
    }

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        assert_eq!(samples(&[9.0, 1.0, 5.0]).median(), 5.0);
        assert_eq!(samples(&[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert_eq!(samples(&[7.0]).median(), 7.0);
        assert!(samples(&[]).median().is_nan());
    }

    #[test]
    fn the_spread_is_relative_and_blind_to_outliers() {
        assert_eq!(samples(&[10.0, 10.0, 10.0]).spread(), 0.0);
        assert_eq!(samples(&[8.0, 9.0, 10.0, 11.0, 900.0]).spread(), 0.1);
    }

    #[test]
    fn each_call_is_timed() {
        let mut calls = 0;
        assert!(median_of_each(5, Some(Duration::from_micros(1)), || calls += 1) >= 0.0);
        assert_eq!(calls, 5);
    }
}
