//! The command line. Options that QEMU has are spelled as QEMU does and mean the same; one dash
//! or two make no difference.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::jit::Engine;

use super::qemu_compat::{self as qemu, DeviceOption, Drive};
use super::trace_args::TraceArgs;

/// What `--help` says last.
const AFTER_HELP: &str = "\
At a terminal: Ctrl-A x quits, Ctrl-A c is the monitor, Ctrl-A h shows help, Ctrl-A a sends Ctrl-A.
In a pipe as well; lines wait for prompts: (echo ls; printf '\\001x') | emu KERNEL

Exit status: the guest's own (test finisher or tohost; 0 for Ctrl-A x), or
  64  the command line is wrong
  65  kernel, firmware, initrd or device tree cannot be loaded
  66  a disk image cannot be used, or is in use
  71  this host cannot do it (memory, files, sockets)
  74  output could not be written, or nobody reads it any more
  75  the guest is stuck: no hart can ever go on
  76  --max-insns was reached
  77  a checker found something, and --check says stop
  78  the guest is stuck: a trap handler traps itself, for ever
  128+n  signal n ended the run

A line of --trace, from left to right: virtual time in seconds, hart, process id and name; the
access (`*`: no trap, a system call needed the page), its address, and the function that made it
(+ bytes from its start, but for one that the compiler put into another); the page-table entry
where the walk stopped (read write execute user global accessed dirty) and its level (L0: a page of
4 KiB); why:
  lazy: promised, not mapped yet    cow: shared until written    shared, file: of a mapping
  absent: not mapped    text, rdonly, noread, noexec: mapped, but not for this access
  kernel: not for user mode    user: not for the kernel    canon, rsvd, align: not a valid address
  or entry    needA, needD: that bit is the kernel's to set (--ad=fault)
what the kernel did, with frames as physical addresses without their last three digits:
  zeroed, filled: a new frame       copied A>B: frame B is a copy of A (rc: users of A, before>now)
  joined: a frame that others have  writable: its last user needs no copy
  remapped: other permissions       spurious: was allowed already
  refused: the system call failed   KILLED: the process ended
  UNRESOLVED: it will fault again   never returned: the trace ended first
and what it took in instructions from trap to return, and the free pages left. All words of the
columns acc, why and outcome can be in -e: -e 'name=sh store !cow', -e 'va=3000-5fff killed,refused'.
    time h pid cmd  acc    va function pte     lv why  outcome                  insns   free
0.009025 0   3 sh   store 5ec8 run+0x2  r--u--- L0 cow  writable 87fd8 (last)      820  32325
0.009347 0   3 sh   store 5e68 wait     r--u-ad L0 cow  copied 87fd8>87fc7 rc 3>2 2216  32310
Saved traces: emu report --help.

QEMU's spelling is understood, in the part of it that this machine has:
-machine virt -cpu rv64 -bios FILE|none -kernel FILE -initrd FILE -append TEXT -dtb FILE
-m SIZE -smp N -nographic -display none -monitor none -serial mon:stdio
-drive file=F,if=none,format=raw,id=X[,snapshot=on][,readonly=on] -snapshot
-device virtio-blk-device,drive=X[,bus=virtio-mmio-bus.N] -device virtio-rng-device
-global virtio-mmio.force-legacy=on|off -no-reboot
-S -s
-gdb tcp::PORT";

/// What `--version` says. xv6's makefile reads a version of QEMU out of the first line.
const VERSION: &str = concat!("7.2.0 command line, understood by emu ", env!("CARGO_PKG_VERSION"));

/// A RISC-V machine (QEMU's `virt` board) that shows what virtual memory does.
#[derive(Parser, Clone, Debug)]
#[command(
    name = "QEMU emulator version",
    bin_name = "emu",
    version = VERSION,
    after_help = AFTER_HELP,
    override_usage = "emu [OPTIONS] [KERNEL]",
    args_override_self = true
)]
pub struct Args {
    /// Kernel to boot: ELF or a flat Linux Image. Without one, the in-tree kernel. An `fs.img`
    /// beside it is attached as disk.
    #[arg(value_name = "KERNEL", conflicts_with = "kernel")]
    pub kernel_path: Option<PathBuf>,

    /// The same in QEMU's spelling; no disk is attached by itself.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,

    /// Firmware (OpenSBI's fw_jump) to start instead; the kernel is then put at 0x80200000.
    #[arg(long, value_name = "FILE|none", default_value = "none")]
    pub bios: PathBuf,

    /// Initial RAM disk.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,

    /// The kernel's command line.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub append: String,

    /// Device tree to hand over instead of the generated one.
    #[arg(long, value_name = "FILE")]
    pub dtb: Option<PathBuf>,

    /// Write the device tree to a file, and end.
    #[arg(long, value_name = "FILE")]
    pub dump_dtb: Option<PathBuf>,

    /// Guest memory.
    #[arg(short, long, value_name = "SIZE", default_value = "128M", value_parser = qemu::parse_memory)]
    pub memory: u64,

    /// Number of harts, 1 to 8.
    #[arg(long, value_name = "N", default_value = "1", value_parser = qemu::parse_smp)]
    pub smp: usize,

    /// A disk image: file=FILE,id=ID[,if=none][,format=raw][,snapshot=on][,readonly=on].
    #[arg(long, value_name = "LIST")]
    pub drive: Vec<Drive>,

    /// A device: virtio-blk-device,drive=ID or virtio-rng-device, [,bus=virtio-mmio-bus.N].
    #[arg(long, value_name = "LIST")]
    pub device: Vec<DeviceOption>,

    /// Keep what the guest writes to disks in memory.
    #[arg(long)]
    pub snapshot: bool,

    /// Version of virtio: 1 (legacy), 2 (modern), or 2 unless the driver turns away from it.
    #[arg(long, value_name = "VERSION", value_enum, default_value_t)]
    pub virtio: Virtio,

    /// virtio-mmio.force-legacy=on|off, as --virtio=legacy|modern.
    #[arg(long, value_name = "NAME=VALUE", value_parser = qemu::parse_global)]
    pub global: Option<bool>,

    /// End instead of starting again when the guest resets the machine.
    #[arg(long)]
    pub no_reboot: bool,

    /// Varies the length of the harts' turns, and the entropy device's bytes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,

    /// What `time` follows: retired instructions, or the host's clock.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub clock: Clock,

    /// Accessed and dirty bits: updated by the machine, or left to the kernel by page faults.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub ad: Ad,

    /// How instructions are executed; the run is the same.
    #[arg(long, value_name = "HOW", value_enum, default_value_t)]
    pub engine: Engine,

    /// Stop after that many instructions (of all harts together).
    #[arg(long, value_name = "N")]
    pub max_insns: Option<u64>,

    /// Say at the end how many instructions were retired.
    #[arg(long)]
    pub count: bool,

    /// Write the memory between begin_signature and end_signature to a file at the end.
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,

    /// Bytes on a line of the signature.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub signature_granularity: u8,

    /// Wait for gdb on that port.
    #[arg(long, value_name = "tcp::PORT", value_parser = qemu::parse_gdb)]
    pub gdb: Option<u16>,

    /// As -gdb tcp::1234.
    #[arg(short = 's', long)]
    pub gdb_default: bool,

    /// Do not start until gdb says so.
    #[arg(short = 'S', long)]
    pub stopped: bool,

    /// What is watched.
    #[command(flatten)]
    pub trace: TraceArgs,

    /// virt, which it is.
    #[arg(short = 'M', long, value_name = "NAME", value_parser = qemu::parse_machine, hide = true)]
    pub machine: Option<()>,

    /// rv64, which it is.
    #[arg(long, value_name = "NAME", value_parser = qemu::parse_cpu, hide = true)]
    pub cpu: Option<()>,

    /// There are no graphics.
    #[arg(long, hide = true)]
    pub nographic: bool,

    /// There are no graphics.
    #[arg(long, value_name = "none", value_parser = qemu::parse_none, hide = true)]
    pub display: Option<()>,

    /// The monitor is behind Ctrl-A c.
    #[arg(long, value_name = "none", value_parser = qemu::parse_none, hide = true)]
    pub monitor: Option<()>,

    /// The serial line is at standard input and output.
    #[arg(long, value_name = "mon:stdio", value_parser = qemu::parse_serial, hide = true)]
    pub serial: Option<()>,
}

/// `--virtio`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Virtio {
    /// Version 2, and version 1 from the beginning if the driver turns away from that.
    #[default]
    Auto,
    /// Version 1.
    Legacy,
    /// Version 2.
    Modern,
}

/// `--clock`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clock {
    /// Time follows retired instructions.
    #[default]
    Virtual,
    /// Time follows the host's clock; runs do not repeat.
    Host,
}

/// `--ad`.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ad {
    /// The machine sets the bits.
    #[default]
    Update,
    /// The machine raises a page fault.
    Fault,
}
