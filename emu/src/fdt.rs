//! The device tree that tells a kernel what the board has, written from the board's table.
//!
//! Source: Devicetree Specification 0.4; node names and bindings are those of QEMU's `virt`
//! machine, which kernels for it expect.

use vm_fdt::{Error, FdtWriter};

use crate::board::{self, Part, SLOTS, Slot, TIMEBASE_HZ};

/// Interrupt numbers at a hart's own controller, which are those of `mip`.
mod line {
    pub const MACHINE_SOFTWARE: u32 = 3;
    pub const MACHINE_TIMER: u32 = 7;
    pub const SUPERVISOR_EXTERNAL: u32 = 9;
    pub const MACHINE_EXTERNAL: u32 = 11;
}

/// What the serial line's clock runs at, for drivers that compute divisors.
const UART_CLOCK_HZ: u32 = 3_686_400;
/// Bytes that the cache-block instructions work on.
const CACHE_BLOCK: u32 = isa::ext::CACHE_BLOCK as u32;

const PLIC_PHANDLE: u32 = 1;
const FINISHER_PHANDLE: u32 = 2;

fn cpu_phandle(hart: usize) -> u32 {
    3 + 2 * hart as u32
}

fn intc_phandle(hart: usize) -> u32 {
    4 + 2 * hart as u32
}

/// What differs from machine to machine.
#[derive(Clone, Debug)]
pub struct Machine<'a> {
    /// Number of harts.
    pub harts: usize,
    /// Length of guest memory.
    pub ram_bytes: u64,
    /// The extensions, as in `rv64imafdc_zicsr`.
    pub isa: &'a str,
    /// The largest address-translation mode, as in `sv57`.
    pub mmu: &'a str,
    /// The kernel's command line.
    pub bootargs: &'a str,
    /// First byte of an initial RAM disk and of what follows it.
    pub initrd: Option<(u64, u64)>,
}

/// The device tree of a machine, flattened.
pub fn build(machine: &Machine) -> Result<Vec<u8>, Error> {
    let mut fdt = FdtWriter::new()?;
    let root = fdt.begin_node("")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "riscv-virtio")?;
    fdt.property_string("model", "riscv-virtio,emu")?;
    chosen(&mut fdt, machine)?;
    let memory = fdt.begin_node(&format!("memory@{:x}", board::RAM_BASE))?;
    fdt.property_string("device_type", "memory")?;
    fdt.property_array_u64("reg", &[board::RAM_BASE, machine.ram_bytes])?;
    fdt.end_node(memory)?;
    cpus(&mut fdt, machine)?;
    power(&mut fdt, "poweroff", "syscon-poweroff", 0x5555)?;
    power(&mut fdt, "reboot", "syscon-reboot", 0x7777)?;
    let soc = fdt.begin_node("soc")?;
    fdt.property_u32("#address-cells", 2)?;
    fdt.property_u32("#size-cells", 2)?;
    fdt.property_string("compatible", "simple-bus")?;
    fdt.property_null("ranges")?;
    for slot in &SLOTS {
        device(&mut fdt, slot, machine.harts)?;
    }
    fdt.end_node(soc)?;
    fdt.end_node(root)?;
    fdt.finish()
}

fn node_name(slot: &Slot) -> String {
    format!("{}@{:x}", slot.node, slot.base)
}

fn chosen(fdt: &mut FdtWriter, machine: &Machine) -> Result<(), Error> {
    let serial = format!("/soc/{}", node_name(board::place(Part::Uart)));
    let node = fdt.begin_node("aliases")?;
    fdt.property_string("serial0", &serial)?;
    fdt.end_node(node)?;
    let node = fdt.begin_node("chosen")?;
    fdt.property_string("stdout-path", &serial)?;
    if !machine.bootargs.is_empty() {
        fdt.property_string("bootargs", machine.bootargs)?;
    }
    if let Some((start, end)) = machine.initrd {
        fdt.property_u64("linux,initrd-start", start)?;
        fdt.property_u64("linux,initrd-end", end)?;
    }
    fdt.end_node(node)
}

fn cpus(fdt: &mut FdtWriter, machine: &Machine) -> Result<(), Error> {
    let cpus = fdt.begin_node("cpus")?;
    fdt.property_u32("#address-cells", 1)?;
    fdt.property_u32("#size-cells", 0)?;
    fdt.property_u32("timebase-frequency", TIMEBASE_HZ as u32)?;
    for hart in 0..machine.harts {
        let cpu = fdt.begin_node(&format!("cpu@{hart:x}"))?;
        fdt.property_phandle(cpu_phandle(hart))?;
        fdt.property_string("device_type", "cpu")?;
        fdt.property_u32("reg", hart as u32)?;
        fdt.property_string("status", "okay")?;
        fdt.property_string("compatible", "riscv")?;
        fdt.property_string("riscv,isa", machine.isa)?;
        fdt.property_string("riscv,isa-base", "rv64i")?;
        fdt.property_string_list("riscv,isa-extensions", extensions(machine.isa))?;
        fdt.property_u32("riscv,cbom-block-size", CACHE_BLOCK)?;
        fdt.property_u32("riscv,cboz-block-size", CACHE_BLOCK)?;
        fdt.property_string("mmu-type", &format!("riscv,{}", machine.mmu))?;
        let intc = fdt.begin_node("interrupt-controller")?;
        fdt.property_u32("#address-cells", 0)?;
        fdt.property_u32("#interrupt-cells", 1)?;
        fdt.property_null("interrupt-controller")?;
        fdt.property_string("compatible", "riscv,cpu-intc")?;
        fdt.property_phandle(intc_phandle(hart))?;
        fdt.end_node(intc)?;
        fdt.end_node(cpu)?;
    }
    let map = fdt.begin_node("cpu-map")?;
    let cluster = fdt.begin_node("cluster0")?;
    for hart in 0..machine.harts {
        let core = fdt.begin_node(&format!("core{hart}"))?;
        fdt.property_u32("cpu", cpu_phandle(hart))?;
        fdt.end_node(core)?;
    }
    fdt.end_node(cluster)?;
    fdt.end_node(map)?;
    fdt.end_node(cpus)
}

/// The extensions of an ISA string one by one: letters behind the base, then words.
fn extensions(isa: &str) -> Vec<String> {
    let mut words = isa.trim_start_matches("rv64").split('_');
    let letters = words.next().unwrap_or_default();
    letters.chars().map(String::from).chain(words.map(String::from)).collect()
}

fn power(fdt: &mut FdtWriter, name: &str, compatible: &str, value: u32) -> Result<(), Error> {
    let node = fdt.begin_node(name)?;
    fdt.property_u32("value", value)?;
    fdt.property_u32("offset", 0)?;
    fdt.property_u32("regmap", FINISHER_PHANDLE)?;
    fdt.property_string("compatible", compatible)?;
    fdt.end_node(node)
}

fn device(fdt: &mut FdtWriter, slot: &Slot, harts: usize) -> Result<(), Error> {
    let node = fdt.begin_node(&node_name(slot))?;
    fdt.property_array_u64("reg", &[slot.base, slot.size])?;
    let compatible = slot.compatible.iter().map(|name| (*name).to_owned()).collect();
    fdt.property_string_list("compatible", compatible)?;
    if let Some(irq) = slot.irq {
        fdt.property_u32("interrupts", irq)?;
        fdt.property_u32("interrupt-parent", PLIC_PHANDLE)?;
    }
    let to_harts = |lines: [u32; 2]| -> Vec<u32> {
        (0..harts)
            .flat_map(|hart| lines.into_iter().flat_map(move |line| [intc_phandle(hart), line]))
            .collect()
    };
    match slot.part {
        Part::Uart => fdt.property_u32("clock-frequency", UART_CLOCK_HZ)?,
        Part::Finisher => fdt.property_phandle(FINISHER_PHANDLE)?,
        Part::Clint => {
            let lines = to_harts([line::MACHINE_SOFTWARE, line::MACHINE_TIMER]);
            fdt.property_array_u32("interrupts-extended", &lines)?;
        }
        Part::Plic => {
            fdt.property_phandle(PLIC_PHANDLE)?;
            fdt.property_u32("riscv,ndev", board::INTERRUPT_SOURCES - 1)?;
            let lines = to_harts([line::MACHINE_EXTERNAL, line::SUPERVISOR_EXTERNAL]);
            fdt.property_array_u32("interrupts-extended", &lines)?;
            fdt.property_null("interrupt-controller")?;
            fdt.property_u32("#address-cells", 0)?;
            fdt.property_u32("#interrupt-cells", 1)?;
        }
        Part::Rtc | Part::Virtio(_) => {}
    }
    fdt.end_node(node)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    fn machine() -> Machine<'static> {
        Machine {
            harts: 2,
            ram_bytes: 128 << 20,
            isa: "rv64imafdc_zicsr_zba",
            mmu: "sv57",
            bootargs: "run=\"ls\"",
            initrd: Some((0x8400_0000, 0x8400_1000)),
        }
    }

    #[test]
    fn extensions_come_one_by_one() {
        assert_eq!(extensions("rv64imc_zicsr_zba"), ["i", "m", "c", "zicsr", "zba"]);
    }

    #[test]
    fn the_tree_is_a_tree() {
        let tree = build(&machine()).expect("a tree");
        assert_eq!(tree[..4], [0xd0, 0x0d, 0xfe, 0xed]);
        assert_eq!(u32::from_be_bytes([tree[4], tree[5], tree[6], tree[7]]) as usize, tree.len());
    }

    /// `dtc`, where it is installed, reads the tree without a word of complaint about what is
    /// ours, and shows what is expected.
    #[test]
    fn dtc_understands_it() {
        let dtc = Command::new("dtc")
            .args(["-I", "dtb", "-O", "dts"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut dtc) = dtc else { return };
        let tree = build(&machine()).expect("a tree");
        dtc.stdin.take().expect("piped").write_all(&tree).expect("dtc reads");
        let output = dtc.wait_with_output().expect("dtc ends");
        let (dts, complaints) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{complaints}");
        assert_eq!(complaints, "");
        for expected in [
            "bootargs = \"run=\\\"ls\\\"\"",
            "stdout-path = \"/soc/serial@10000000\"",
            "reg = <0x00 0x80000000 0x00 0x8000000>",
            "timebase-frequency = <0x989680>",
            "interrupts-extended = <0x04 0x0b 0x04 0x09 0x06 0x0b 0x06 0x09>",
            "virtio_mmio@10008000",
            "mmu-type = \"riscv,sv57\"",
        ] {
            assert!(dts.contains(expected), "{expected}\n{dts}");
        }
    }
}
