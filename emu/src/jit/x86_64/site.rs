//! The places of translated code that access memory, and what they learn.
//!
//! An access remembers the page that it went to, which nearly always is the page that it goes to
//! next. Where it is not, as in a walk through a large structure, remembering costs more than it
//! saves: such a place is made to look into the fast TLB at once, for some time.

use super::buffer::Buffer;
use crate::exec::code::Block;
use crate::mmu::memo::Slot;

/// A miss speaks against remembering if there were fewer instructions since the last one,
pub const SOON: i32 = 128;
/// or fewer than these and the page is one of the last [`FEW`] different ones.
pub const LATELY: i32 = 320;
/// Pages that a place is said to go to and fro between; more are a walk through memory.
pub const FEW: i32 = 8;
/// So many misses in a row that speak against remembering are too many.
pub const STRIKES: i32 = 16;
/// After so many instructions, as a power of two, every place may try again.
const PERIOD: u32 = 26;

/// A load or store, or several that are done together. Translated code knows the fields.
#[repr(C)]
#[derive(Debug)]
pub struct Site {
    /// What it remembers: the memo's number and limit.
    pub slot: u32,
    /// Where accesses have to begin in the page to end there.
    pub limit: u32,
    /// The low half of the budget when it last went to another page.
    pub missed: i32,
    /// When misses that return to a page speak against remembering.
    pub lately: i32,
    /// Misses in a row that spoke against remembering.
    pub strikes: i32,
    /// Pages that it went to, as bits, by number modulo 64.
    pub pages: u64,
    /// How many they are.
    pub count: i32,
    /// The block that it is in, while that exists.
    pub block: *const Block,
    /// Its first instruction in the block.
    pub index: usize,
    /// Where its code begins.
    pub head: u64,
    /// Where what follows it begins.
    pub back: u64,
    /// Where its code begins for what the fast TLB does not have.
    pub slow: u64,
    /// Its code that looks into the fast TLB at once, or zero.
    pub direct: u64,
}

impl Site {
    /// The site at `index` of `block`, whose code is from `head` to `back`.
    pub fn new(slot: Slot, block: *const Block, index: usize, head: u64, back: u64) -> Site {
        let (slot, limit, lately) = (slot.number.into(), slot.limit.into(), LATELY);
        let (missed, strikes, pages, count, slow, direct) = (0, 0, 0, 0, 0, 0);
        Site {
            slot,
            limit,
            missed,
            lately,
            strikes,
            pages,
            count,
            block,
            index,
            head,
            back,
            slow,
            direct,
        }
    }
}

/// All sites, and which of them look into the fast TLB at once.
#[derive(Debug, Default)]
pub struct Sites {
    /// Translated code points at them.
    #[expect(clippy::vec_box, reason = "they must stay where they are")]
    all: Vec<Box<Site>>,
    /// Where the code of those begins that do, and what was there before.
    direct: Vec<(u64, [u8; 5])>,
    /// The period of the last retrial.
    period: u64,
}

impl Sites {
    /// Adds one, and says where it is.
    pub fn add(&mut self, site: Site) -> u64 {
        let site = Box::new(site);
        let address = std::ptr::from_ref(&*site).expose_provenance();
        self.all.push(site);
        address as u64
    }

    /// From now on a site does what `site.direct` says.
    pub fn go_direct(&mut self, site: &Site, buffer: &mut Buffer) {
        let old = buffer.put_jump(site.head, site.direct);
        self.direct.extend(old.map(|old| (site.head, old)));
    }

    /// Lets sites try again when it is time; `retired` instructions were executed.
    pub fn try_again(&mut self, retired: u64, buffer: &mut Buffer) {
        if self.period != retired >> PERIOD {
            self.period = retired >> PERIOD;
            for (head, code) in self.direct.drain(..) {
                buffer.write(head, &code);
            }
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.all.clear();
        self.direct.clear();
    }
}
