//! `regions`: the address space of a process that has mapped one page of each kind.
#![no_std]
#![no_main]

use abi::stat::{RegionInfo, RegionKind};
use ulib::{Args, MAP_PRIVATE, MAP_SHARED, O_RDONLY, PAGE, PROT_EXEC, PROT_READ, PROT_WRITE};
use ulib::{Scratch, malloc, mmap_anonymous, mmap_file, open, println, sys};

ulib::main!(main);

const MAX: usize = 32;
const NONE: RegionInfo = RegionInfo { start: 0, end: 0, kind: 0, prot: 0, present: 0 };

static REGIONS: Scratch<[RegionInfo; MAX]> = Scratch::new([NONE; MAX]);

fn main(_: Args) -> i32 {
    malloc(1);
    mmap_anonymous(PAGE, MAP_PRIVATE);
    mmap_anonymous(PAGE, MAP_SHARED);
    let fd = open(c"README", O_RDONLY);
    mmap_file(fd, PAGE, PROT_READ, MAP_SHARED);
    mmap_file(fd, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);

    let regions = REGIONS.take();
    // SAFETY: the array has room for MAX rows.
    let count = unsafe { sys::regions(regions.as_mut_ptr(), MAX as i32) };
    if count < 0 {
        println!("regions: not known to this kernel");
        return 1;
    }
    println!("{:>10} {:>10} prot {:>8} kind", "start", "end", "present");
    for region in &regions[..(count as usize).min(MAX)] {
        let bit = |bit: u32, letter: char| if region.prot & bit != 0 { letter } else { '-' };
        println!(
            "{:10x} {:10x} {}{}{}  {:8} {}",
            region.start,
            region.end,
            bit(PROT_READ, 'r'),
            bit(PROT_WRITE, 'w'),
            bit(PROT_EXEC, 'x'),
            region.present,
            kind_name(region.kind)
        );
    }
    0
}

fn kind_name(kind: u32) -> &'static str {
    const NAMES: [(RegionKind, &str); 8] = [
        (RegionKind::Image, "image"),
        (RegionKind::Guard, "guard"),
        (RegionKind::Stack, "stack"),
        (RegionKind::Heap, "heap"),
        (RegionKind::AnonPrivate, "anonymous, private"),
        (RegionKind::AnonShared, "anonymous, shared"),
        (RegionKind::FilePrivate, "file, private"),
        (RegionKind::FileShared, "file, shared"),
    ];
    NAMES.iter().find(|(known, _)| *known as u32 == kind).map_or("?", |(_, name)| name)
}
