//! Curves of a run whose length nobody knows beforehand, in bounded memory.

use serde::Serialize;
use serde::ser::Serializer;

/// Points that a series keeps at the most.
const MAX_POINTS: usize = 60_000;
/// What bins weigh together at the most, unless one alone is heavier.
const MAX_WEIGHT: usize = 400_000;

/// A series that keeps every point until there are too many, then every second, every fourth …
#[derive(Serialize)]
#[serde(transparent)]
pub struct Thinned<T> {
    points: Vec<T>,
    #[serde(skip)]
    stride: u64,
    #[serde(skip)]
    seen: u64,
}

impl<T> Default for Thinned<T> {
    fn default() -> Thinned<T> {
        Thinned::new()
    }
}

impl<T> Thinned<T> {
    /// An empty series.
    pub fn new() -> Thinned<T> {
        Thinned { points: Vec::new(), stride: 1, seen: 0 }
    }

    /// Adds a point.
    pub fn push(&mut self, point: T) {
        if self.seen.is_multiple_of(self.stride) {
            self.points.push(point);
        }
        self.seen += 1;
        if self.points.len() > MAX_POINTS {
            let mut index = 0;
            self.points.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride *= 2;
        }
    }
}

/// What can be summed up with what came later.
pub trait Merge {
    /// Takes in what came later.
    fn merge(&mut self, later: Self);

    /// Memory that it takes, in entries.
    fn weight(&self) -> usize {
        1
    }
}

/// Stretches of a run of equal length, each with the sum of what happened in it. When there are
/// too many, neighbours become one and the length doubles: sums stay exact.
pub struct Bins<T> {
    bins: Vec<(u64, T)>,
    width: u64,
    most: usize,
    weight: usize,
}

impl<T: Merge> Bins<T> {
    /// No more than `most` stretches.
    pub fn new(most: usize) -> Bins<T> {
        Bins { bins: Vec::new(), width: 1, most, weight: 0 }
    }

    /// Adds what happened at `at`, which is not before what was added last.
    pub fn add(&mut self, at: u64, value: T) {
        let bin = at / self.width;
        self.weight += value.weight();
        match self.bins.last_mut() {
            Some((last, sum)) if *last >= bin => {
                let before = sum.weight() + value.weight();
                sum.merge(value);
                self.weight -= before - sum.weight();
            }
            _ => self.bins.push((bin, value)),
        }
        while self.bins.len() > 1 && (self.bins.len() > self.most || self.weight > MAX_WEIGHT) {
            self.halve();
        }
    }

    fn halve(&mut self) {
        self.width *= 2;
        let mut halved: Vec<(u64, T)> = Vec::with_capacity(self.bins.len());
        for (bin, value) in self.bins.drain(..) {
            match halved.last_mut() {
                Some((last, sum)) if *last == bin / 2 => sum.merge(value),
                _ => halved.push((bin / 2, value)),
            }
        }
        self.bins = halved;
        self.weight = self.bins.iter().map(|(_, value)| value.weight()).sum();
    }
}

impl<T: Serialize> Serialize for Bins<T> {
    /// A list of pairs: where the stretch ends, and its sum.
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.bins.iter().map(|(bin, sum)| ((bin + 1) * self.width, sum)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_series_are_thinned_evenly() {
        let mut series = Thinned::new();
        (0..10 * MAX_POINTS as u64).for_each(|i| series.push(i));
        assert!(series.points.len() <= MAX_POINTS);
        assert!(series.points.windows(2).all(|pair| pair[1] - pair[0] == series.stride));
    }

    impl Merge for u64 {
        fn merge(&mut self, later: u64) {
            *self += later;
        }
    }

    #[test]
    fn bins_keep_every_count_and_stay_few() {
        let mut bins = Bins::new(100);
        (0..1_000_000u64).for_each(|at| bins.add(at * 3, 1));
        assert!(bins.bins.len() <= 100 && bins.bins.len() > 40, "{}", bins.bins.len());
        assert_eq!(bins.bins.iter().map(|(_, sum)| sum).sum::<u64>(), 1_000_000);
        let (last, _) = bins.bins.last().expect("some");
        assert_eq!(*last, 2_999_997 / bins.width);
        assert!(bins.bins.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
