//! From the command line to what a machine is made of: which kernel, which disks, what in which
//! slot, and where everything goes in memory.

use std::path::{Path, PathBuf};

use super::args::{Ad, Args, Virtio};
use super::failure::Failure;
use super::qemu_compat::{DeviceKind, Drive};
use crate::board::{KERNEL_BEHIND_FIRMWARE, RAM_BASE, VIRTIO_SLOTS};
use crate::bus::VirtioChoice;
use crate::dev::virtio::Backend;
use crate::dev::virtio::blk::Blk;
use crate::dev::virtio::disk::{Disk, DiskError, Mode};
use crate::dev::virtio::mmio::Version;
use crate::dev::virtio::rng::Rng;
use crate::dev::{Dma, NotMemory};
use crate::fdt;
use crate::loader::{self, Extent, LoadError, Problem, Program, TestSymbols};

/// Alignment of the device tree, as QEMU places it.
const DTB_ALIGN: u64 = 2 << 20;
/// Longest command line.
const MAX_APPEND: usize = 64 << 10;
/// Boot block and superblock of an xv6 file system: what the image beside a kernel has at least.
const LEAST_IMAGE: u64 = 2 * abi::fs::BSIZE as u64;
/// The first bytes of a flattened device tree.
const FDT_MAGIC: [u8; 4] = [0xd0, 0x0d, 0xfe, 0xed];

/// What backs the virtio slots.
pub type Backends = [Option<Box<dyn Backend>>; VIRTIO_SLOTS];

/// Files in memory, ready to be put there as often as the machine is reset.
#[derive(Debug)]
pub struct Boot {
    firmware: Option<Program>,
    kernel: Program,
    initrd: Option<(u64, Vec<u8>)>,
    dtb: (u64, Vec<u8>),
    /// Where all harts start.
    pub entry: u64,
}

impl Boot {
    /// Address of the device tree, for a1.
    pub fn dtb_address(&self) -> u64 {
        self.dtb.0
    }

    /// The names that test programs define.
    pub fn symbols(&self) -> &TestSymbols {
        &self.kernel.symbols
    }

    /// Puts everything into memory, which is zero before.
    pub fn load(&self, mem: &mut dyn Dma) -> Result<(), NotMemory> {
        if let Some(firmware) = &self.firmware {
            firmware.load(mem)?;
        }
        self.kernel.load(mem)?;
        if let Some((pa, bytes)) = &self.initrd {
            mem.write_bytes(*pa, bytes)?;
        }
        mem.write_bytes(self.dtb.0, &self.dtb.1)
    }

    /// Reads the files and finds places for them: programs where they want to be, the device
    /// tree and the RAM disk at the end of memory.
    pub fn prepare(args: &Args, kernel: &Path) -> Result<Boot, Failure> {
        let ram = Extent::of(args.memory);
        let program = Program::open_kernel(kernel, ram)?;
        let firmware = match args.bios.to_str() {
            Some("none") => None,
            _ => Some(Program::open_firmware(&args.bios, ram)?),
        };
        let at = |path: &Path| {
            let path = path.to_owned();
            move |problem| Failure::from(LoadError { path, problem })
        };
        let low_end = firmware.as_ref().map_or(RAM_BASE, |f| f.extent().1);
        if let Some(firmware) = &firmware {
            program.check_clear_of("the firmware", firmware.extent()).map_err(at(kernel))?;
        }
        let low_end = low_end.max(program.extent().1);
        let initrd_bytes = match &args.initrd {
            Some(path) => Some((path, loader::read_file(path).map_err(at(path))?)),
            None => None,
        };
        // The tree's length does not depend on where the RAM disk is.
        let dtb = device_tree(args, initrd_bytes.as_ref().map(|_| (0, 0)))?;
        let dtb_at = below(ram.end, dtb.len() as u64, DTB_ALIGN);
        check_room(dtb_at, low_end, ram).map_err(at(kernel))?;
        let initrd = match initrd_bytes {
            Some((path, bytes)) => {
                let start = below(dtb_at, bytes.len() as u64, 4096);
                check_room(start, low_end, ram).map_err(at(path))?;
                Some((start, bytes))
            }
            None => None,
        };
        let range = initrd.as_ref().map(|(start, bytes)| (*start, start + bytes.len() as u64));
        let entry = firmware.as_ref().map_or(program.entry, |f| f.entry);
        if firmware.is_some() && program.entry != KERNEL_BEHIND_FIRMWARE {
            eprintln!(
                "emu: note: firmware of the usual kind starts {KERNEL_BEHIND_FIRMWARE:#x}, but the \
                 kernel starts at {:#x}",
                program.entry
            );
        }
        let dtb = (dtb_at, device_tree(args, range)?);
        Ok(Boot { firmware, kernel: program, initrd, dtb, entry })
    }
}

/// The highest aligned place for `len` bytes below `end`.
fn below(end: u64, len: u64, align: u64) -> u64 {
    end.saturating_sub(len) / align * align
}

/// Fails if something that goes to the end of memory would be where programs are.
fn check_room(start: u64, low_end: u64, ram: Extent) -> Result<(), Problem> {
    if start >= low_end { Ok(()) } else { Err(Problem::NoRoom { ram_end: ram.end }) }
}

/// The device tree that is handed over.
pub fn device_tree(args: &Args, initrd: Option<(u64, u64)>) -> Result<Vec<u8>, Failure> {
    if let Some(path) = &args.dtb {
        let read = loader::read_file(path).and_then(|tree| {
            if tree.starts_with(&FDT_MAGIC) { Ok(tree) } else { Err(Problem::NotTree) }
        });
        return read.map_err(|problem| LoadError { path: path.clone(), problem }.into());
    }
    if args.append.len() > MAX_APPEND || args.append.contains('\0') {
        return Err(Failure::Usage("-append is too long or holds a zero byte".to_owned()));
    }
    let machine = fdt::Machine {
        harts: args.smp,
        ram_bytes: args.memory,
        isa: &isa::ext::IsaString { svadu: args.ad == Ad::Update }.to_string(),
        mmu: "sv57",
        bootargs: &args.append,
        initrd,
    };
    fdt::build(&machine).map_err(|error| Failure::Usage(format!("device tree: {error}")))
}

/// The kernel to boot, and whether an image beside it is to be attached.
pub fn kernel(args: &Args) -> Result<(PathBuf, bool), Failure> {
    match (&args.kernel_path, &args.kernel) {
        (Some(path), _) => Ok((path.clone(), true)),
        (None, Some(path)) => Ok((path.clone(), false)),
        (None, None) => in_tree_kernel().map(|path| (path, true)).ok_or(Failure::NoKernel),
    }
}

/// `target/guest/kernel.elf`, beside where the emulator itself was built or in this folder.
fn in_tree_kernel() -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let target = program.as_deref().and_then(Path::parent).and_then(Path::parent);
    let places = target.into_iter().chain([Path::new("target")]);
    places.map(|target| target.join("guest/kernel.elf")).find(|path| path.is_file())
}

/// `fs.img` beside a kernel, or one folder up as in xv6's tree.
fn image_beside(kernel: &Path) -> Option<PathBuf> {
    let folder = kernel.parent()?;
    let up = folder.parent().filter(|_| folder.ends_with("kernel"));
    let folders = std::iter::once(folder).chain(up);
    folders.map(|folder| folder.join("fs.img")).find(|path| path.is_file())
}

/// The files behind the disks.
pub fn images(args: &Args, kernel: &Path, beside: bool) -> Vec<PathBuf> {
    if args.drive.is_empty() && beside {
        return image_beside(kernel).into_iter().collect();
    }
    args.drive.iter().map(|drive| drive.file.clone()).collect()
}

/// Which version of virtio was asked for.
pub fn virtio(args: &Args) -> VirtioChoice {
    match (args.virtio, args.global) {
        (Virtio::Legacy, _) | (Virtio::Auto, Some(true)) => VirtioChoice::Fixed(Version::Legacy),
        (Virtio::Modern, _) | (Virtio::Auto, Some(false)) => VirtioChoice::Fixed(Version::Modern),
        (Virtio::Auto, None) => VirtioChoice::Auto,
    }
}

/// Opens the disks and fills the virtio slots.
pub fn backends(args: &Args, kernel: &Path, beside: bool) -> Result<Backends, Failure> {
    let mut slots = Backends::default();
    let mut drives: Vec<Option<&Drive>> = args.drive.iter().map(Some).collect();
    // Devices with a place of their own first, so that the others do not take it.
    let (placed, free): (Vec<_>, Vec<_>) = args.device.iter().partition(|d| d.slot.is_some());
    for device in placed.into_iter().chain(free) {
        let backend: Box<dyn Backend> = match &device.kind {
            DeviceKind::Rng => Box::new(Rng::new(args.seed)),
            DeviceKind::Blk { drive: id } => {
                let wanted = |drive: &&mut Option<&Drive>| {
                    drive.is_some_and(|drive| drive.id.as_ref() == Some(id))
                };
                let drive = drives.iter_mut().find(wanted).and_then(Option::take);
                let drive = drive.ok_or_else(|| {
                    Failure::Usage(format!("-device wants drive {id}, which no -drive is"))
                })?;
                Box::new(disk(args, &drive.file, drive.mode)?)
            }
        };
        let slot = match device.slot {
            Some(slot) => Some(slot),
            None => slots.iter().position(Option::is_none),
        };
        let place = slot.and_then(|slot| slots.get_mut(slot)).filter(|place| place.is_none());
        *place.ok_or_else(|| Failure::Usage("two devices want one virtio slot".to_owned()))? =
            Some(backend);
    }
    if let Some(unused) = drives.into_iter().flatten().next() {
        let file = unused.file.display();
        return Err(Failure::Usage(format!("drive {file} is used by no -device; add one")));
    }
    if beside
        && args.drive.is_empty()
        && slots[0].is_none()
        && let Some(image) = image_beside(kernel)
    {
        let len = image.metadata().map_or(0, |meta| meta.len());
        if (1..LEAST_IMAGE).contains(&len) {
            return Err(DiskError::CutOff { path: image, needs: LEAST_IMAGE, len }.into());
        }
        slots[0] = Some(Box::new(disk(args, &image, Mode::ReadWrite)?));
        let kept = if args.snapshot { "changes are not kept" } else { "changes are kept" };
        eprintln!("emu: disk: {} ({kept})", image.display());
    }
    Ok(slots)
}

fn disk(args: &Args, file: &Path, mode: Mode) -> Result<Blk, Failure> {
    let mode = if args.snapshot && mode == Mode::ReadWrite { Mode::Snapshot } else { mode };
    let name = file.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
    Ok(Blk::new(Disk::open(file, mode)?, &name))
}
