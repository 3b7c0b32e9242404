//! Numbers for things, so that each is told of once and named by its number from then on.

use std::hash::Hash;

use super::quick::QuickMap;

/// Things that have a number at a time.
pub const MAX_NUMBERS: usize = 1 << 12;

/// The numbers of things, which `K` tells apart, and what is kept with each.
pub struct Numbers<K, V = ()>(QuickMap<K, (u32, V)>);

impl<K, V> Default for Numbers<K, V> {
    fn default() -> Numbers<K, V> {
        Numbers(QuickMap::default())
    }
}

impl<K: Eq + Hash, V> Numbers<K, V> {
    /// Sees to it that so many can get a number without another one's becoming wrong meanwhile: if
    /// need be, all of them get new ones from now on.
    pub fn make_room(&mut self, more: usize) {
        if self.0.len() + more > MAX_NUMBERS {
            self.0.clear();
        }
    }

    /// The number of `key`, and whether it is a new one, with which `keep` is kept.
    pub fn of(&mut self, key: K, keep: impl FnOnce() -> V) -> (u32, bool) {
        if let Some((known, _)) = self.0.get(&key) {
            return (*known, false);
        }
        let number = self.0.len() as u32;
        self.0.insert(key, (number, keep()));
        (number, true)
    }
}
