//! The translated code of a machine, and how it and the interpreter call each other.

use super::asm::Asm;
use super::buffer::Buffer;
use super::bulk::Bulk;
use super::chooser;
use super::site::{Site, Sites};
use super::stubs::{Guest, Stubs};
use super::translate::{Emit, Features, Host, MAX_REFUSED};

use crate::board::RAM_BASE;
use crate::events::Events;
use crate::exec::code::{Block, Code};
use crate::exec::{Cpu, System};
use crate::hart::Hart;
use crate::hart::state::Context;
use crate::mem::{PAGE_SIZE, Ram};
use crate::mmu::Tables;
use crate::mmu::memo::Slots;

/// Translated code, and how it is made.
#[derive(Debug)]
pub struct Translator {
    buffer: Buffer,
    host: Host,
    /// How often a block is interpreted before it is translated.
    warm: u8,
    stubs: Stubs,
    untranslated: u64,
    /// Bytes of the buffer's parts that are stubs.
    fixed: [usize; 2],
    /// What translated loops do; their code points at it.
    #[expect(clippy::vec_box, reason = "they must stay where they are")]
    loops: Vec<Box<Bulk>>,
    /// Memos for the accesses of more code.
    slots: Slots,
    sites: Sites,
}

impl Translator {
    /// A translator for this host, of blocks that were interpreted `warm` times.
    pub fn new<E: Events>(
        warm: u8,
        ram: &Ram,
        code: &Code,
        tables: &Tables,
    ) -> std::io::Result<Translator> {
        let guest = Guest {
            ram: ram.host_address(RAM_BASE).unwrap_or(0),
            flags: ram.flags_address(),
            lines: code.lines_address(),
            tables: tables.pages_address(),
        };
        let host = Host {
            features: Features::detect(),
            ram: guest.ram,
            fences_are_told: E::FENCES || E::WALKS,
            returns_are_told: E::RETURNS,
            hears: E::hears,
            hints_may_stop: E::STORES,
        };
        Translator::for_host(warm, guest, host)
    }

    fn for_host(warm: u8, guest: Guest, host: Host) -> std::io::Result<Translator> {
        let mut buffer = Buffer::new()?;
        let mut asm = Asm::new(buffer.next());
        let stubs = super::stubs::emit(&mut asm, &guest);
        let untranslated = super::stubs::emit_untranslated(&mut asm, stubs.leave);
        buffer.add(&asm);
        let fixed = buffer.used();
        let (loops, slots, sites) = (Vec::new(), Slots::default(), Sites::default());
        Ok(Translator { buffer, host, warm, stubs, untranslated, fixed, loops, slots, sites })
    }

    /// The code of a block, once it was executed often enough: it will be now, at `pc`, with these
    /// registers.
    #[inline]
    pub fn code(&mut self, block: &Block, pc: u64, x: &[u64; 256]) -> Option<u64> {
        match block.native.get() {
            0 => self.warm_up(block, pc, x),
            code => Some(code),
        }
    }

    #[inline(never)]
    fn warm_up(&mut self, block: &Block, pc: u64, x: &[u64; 256]) -> Option<u64> {
        let warmth = block.warmth.get();
        if warmth < self.warm {
            block.warmth.set(warmth + 1);
            return None;
        }
        if warmth == Block::NEVER || self.buffer.full() {
            return None;
        }
        let place = self.buffer.place();
        let bulk = if block.probed { None } else { Bulk::of(block.insts()).map(Box::new) };
        let learn = (&mut self.slots, &mut self.sites);
        let mut emit = Emit::new(block, &self.stubs, learn, &self.host, place);
        emit.block(bulk.as_deref(), chooser::pages(block, pc, x));
        self.buffer.add(&emit.asm);
        self.loops.extend(bulk);
        let [code, _] = place.0;
        block.native.set(code);
        Some(code)
    }

    /// A site remembers no more for some time. Its code is being executed.
    fn go_direct(&mut self, site: &mut Site) {
        if site.direct == 0 {
            if self.buffer.full() {
                return;
            }
            // SAFETY: the block's code is being executed, so that it exists.
            let block = unsafe { &*site.block };
            let place = self.buffer.place();
            let learn = (&mut self.slots, &mut self.sites);
            let mut emit = Emit::new(block, &self.stubs, learn, &self.host, place);
            emit.direct(site);
            let asm = emit.asm;
            self.buffer.add(&asm);
            [site.direct, _] = place.0;
        }
        self.sites.go_direct(site, &mut self.buffer);
    }

    /// To be called between turns, when `retired` instructions were executed.
    pub fn between_turns(&mut self, retired: u64) {
        self.sites.try_again(retired, &mut self.buffer);
    }

    /// Where jumps to a block lead: to its code, or out.
    pub fn entry(&self, block: &Block) -> u64 {
        match block.native.get() {
            0 => self.untranslated,
            code => code,
        }
    }

    /// Makes a jump lead to `code`. `jump`: what translated code returned, not zero.
    pub fn link(&mut self, jump: u32, code: u64) {
        self.buffer.patch(jump, code);
    }

    /// Whether it is time for [`Translator::reset`].
    pub fn full(&self) -> bool {
        self.buffer.full()
    }

    /// Forgets all code. No block may exist any more, and no hart may be in one.
    pub fn reset(&mut self) {
        self.buffer.truncate(self.fixed);
        self.loops.clear();
        self.sites.clear();
    }
}

/// A [`Cpu`] as translated code passes it on.
#[derive(Debug)]
struct Raw<E> {
    hart: *mut Hart,
    sys: *mut System,
    events: *mut E,
}

impl<E> Raw<E> {
    /// # Safety
    /// Inside of [`Cpu::run_native`] only, which has the references exclusively, and not twice at
    /// the same time.
    unsafe fn cpu(&mut self) -> Cpu<'_, E>
    where
        E: Events,
    {
        // SAFETY: by this function's contract.
        unsafe { Cpu { hart: &mut *self.hart, sys: &mut *self.sys, events: &mut *self.events } }
    }
}

/// Executes instruction `index` of `block`. Returns whether the block goes on.
unsafe extern "sysv64" fn rare<E: Events>(
    raw: *mut Raw<E>,
    block: *const Block,
    index: u32,
) -> u32 {
    // SAFETY: translated code passes on what `run_native` gave it, and a block that lives until
    // the end of the turn.
    let (mut cpu, block) = unsafe { ((*raw).cpu(), &*block) };
    let start = cpu.hart.ctx.page.wrapping_add(block.pa % PAGE_SIZE);
    u32::from(cpu.rare(block, index as usize, start))
}

/// Makes a site look into the fast TLB at once.
unsafe extern "sysv64" fn go_direct<E: Events>(raw: *mut Raw<E>, site: *mut Site) {
    // SAFETY: as in `rare`; sites are kept as long as their code.
    let (cpu, site) = unsafe { ((*raw).cpu(), &mut *site) };
    if let Some(native) = cpu.sys.native.as_mut() {
        native.go_direct(site);
    }
}

/// Does many rounds of the loop `block` at once, if possible.
unsafe extern "sysv64" fn bulk<E: Events>(
    raw: *mut Raw<E>,
    block: *const Block,
    bulk: *const Bulk,
) {
    // SAFETY: as in `rare`; what the loop does is kept as long as its code.
    let (cpu, block, bulk) = unsafe { ((*raw).cpu(), &*block, &*bulk) };
    let refused = if bulk.run(cpu.hart) { 0 } else { block.refused.get().saturating_add(1) };
    block.refused.set(refused.min(MAX_REFUSED));
}

/// Tells the observer that `block` is entered.
unsafe extern "sysv64" fn probe<E: Events>(raw: *mut Raw<E>, block: *const Block) {
    // SAFETY: as in `rare`.
    let (mut cpu, block) = unsafe { ((*raw).cpu(), &*block) };
    let start = cpu.hart.ctx.page.wrapping_add(block.pa % PAGE_SIZE);
    cpu.probe(start);
}

/// Tells the observer of a hint: instruction `index` of `block`.
unsafe extern "sysv64" fn hint<E: Events>(raw: *mut Raw<E>, block: *const Block, index: u32) {
    // SAFETY: as in `rare`.
    let (mut cpu, block) = unsafe { ((*raw).cpu(), &*block) };
    let start = cpu.hart.ctx.page.wrapping_add(block.pa % PAGE_SIZE);
    cpu.hint(block, index as usize, start);
}

impl<E: Events> Cpu<'_, E> {
    /// Executes the translation of `block`, which starts at `pc`, and what follows it, until there
    /// is something else to do: the hart's pc and budget say where it is. Returns the jump that
    /// led there, if it can be linked, or zero; nothing if there is no translation. `link`: what
    /// this returned before, if it is the jump that leads here.
    pub(crate) fn run_native(&mut self, block: &Block, pc: u64, link: u32) -> Option<u32> {
        let native = self.sys.native.as_mut()?;
        let code = native.code(block, pc, &self.hart.ctx.x)?;
        let enter = native.stubs.enter;
        if self.sys.points.breakpoints.is_empty() {
            if link != 0 {
                native.link(link, code);
            }
            let jump = self.hart.jumps.at(pc);
            if std::ptr::eq(jump.block, block) {
                jump.code = code;
            }
        }
        Some(self.enter_native(enter, code, pc))
    }

    fn enter_native(&mut self, enter: u64, code: u64, pc: u64) -> u32 {
        type Enter = unsafe extern "sysv64" fn(*mut Context, u64) -> u32;
        let hart: *mut Hart = self.hart;
        let mut raw = Raw { hart, sys: &raw mut *self.sys, events: &raw mut *self.events };
        // SAFETY: the hart is borrowed exclusively; these are plain writes to its context.
        let context = unsafe {
            let context = &raw mut (*hart).ctx;
            (*context).page = pc & !(PAGE_SIZE - 1);
            (*context).cpu = (&raw mut raw).expose_provenance();
            (*context).rare = rare::<E> as *const () as usize;
            (*context).probe = probe::<E> as *const () as usize;
            (*context).hint = hint::<E> as *const () as usize;
            (*context).bulk = bulk::<E> as *const () as usize;
            (*context).go_direct = go_direct::<E> as *const () as usize;
            (*context).jumps = (*hart).jumps.address();
            context
        };
        // SAFETY: `enter` is the address of the stub with this signature.
        let enter: Enter = unsafe { std::mem::transmute(enter as usize) };
        // SAFETY: `code` is that of a live block; translated code accesses the context, guest
        // memory through the fast TLB, and what it passes on to `rare` and `probe`.
        unsafe { enter(context, code) }
    }
}
