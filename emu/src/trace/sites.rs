//! What is counted for each place in the code.

use std::sync::Arc;

use super::quick::QuickMap;
use super::record::Place;

/// Places that are told apart.
const MAX_SITES: usize = 1 << 16;

/// A value for every place. Programs share addresses, so that one address can be several places.
#[derive(Default)]
pub struct Sites<T> {
    by_pc: QuickMap<u64, Vec<(Arc<Place>, T)>>,
    count: usize,
}

impl<T: Default> Sites<T> {
    /// The value of a place; nothing when there are too many places.
    pub fn at(&mut self, place: &Arc<Place>) -> Option<&mut T> {
        if self.count == MAX_SITES && !self.by_pc.contains_key(&place.pc) {
            return None;
        }
        let here = self.by_pc.entry(place.pc).or_default();
        let same = |(known, _): &(Arc<Place>, T)| Arc::ptr_eq(known, place) || known == place;
        let index = match here.iter().position(same) {
            Some(index) => index,
            None if self.count == MAX_SITES => return None,
            None => {
                self.count += 1;
                here.push((place.clone(), T::default()));
                here.len() - 1
            }
        };
        Some(&mut here[index].1)
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &T)> {
        self.by_pc.values().flatten().map(|(place, value)| (&**place, value))
    }
}
