//! Numbers for places, so that each is told of once and named by its number from then on.

use std::sync::Arc;

use super::quick::QuickMap;
use super::record::Place;

/// Places that have a number at a time.
pub const MAX_PLACES: usize = 1 << 12;

/// The numbers of places: by where they are in memory, and by address if nothing else is known.
#[derive(Default)]
pub struct Numbers(QuickMap<(usize, u64), (Arc<Place>, u32)>);

impl Numbers {
    /// Sees to it that this many places can get a number without another one's becoming wrong
    /// meanwhile: if need be, all of them get new ones from now on.
    pub fn make_room(&mut self, places: usize) {
        if self.0.len() + places > MAX_PLACES {
            self.0.clear();
        }
    }

    /// A place's number, and whether it is a new one.
    pub fn of(&mut self, place: &Arc<Place>) -> (u32, bool) {
        let bare = place.function.is_none() && place.file.is_none();
        let key = (if bare { 0 } else { Arc::as_ptr(place).addr() }, place.pc);
        if let Some((_, known)) = self.0.get(&key) {
            return (*known, false);
        }
        let number = self.0.len() as u32;
        // It is kept, so that nothing else can be at its address.
        self.0.insert(key, (place.clone(), number));
        (number, true)
    }
}
