//! The registers as gdb is told of them: integer, floating-point, control and status, and the
//! mode a hart is in.
//!
//! Source: gdb's manual, "RISC-V Features"; the numbers are those of its `riscv-tdep.h`, which
//! gdbstub_arch's register ids follow.

use std::fmt::Write;

use isa::{csr, fp_reg_name, int_reg_name};

/// Number of the first CSR, and of the mode.
const CSR0: u16 = 65;
const PRIVILEGE: u16 = 4161;

/// The description, with those CSRs that exist.
pub fn describe(exists: impl Fn(u16) -> bool) -> String {
    let mut xml = "<?xml version=\"1.0\"?><!DOCTYPE target SYSTEM \"gdb-target.dtd\">\
                   <target version=\"1.0\"><architecture>riscv:rv64</architecture>\
                   <feature name=\"org.gnu.gdb.riscv.cpu\">"
        .to_owned();
    for number in 0..32 {
        // gdb wants the frame pointer called fp.
        let name = if number == 8 { "fp" } else { int_reg_name(number) };
        let kind = match name {
            "ra" => "code_ptr",
            "sp" | "gp" | "tp" | "fp" => "data_ptr",
            _ => "int",
        };
        register(&mut xml, name, 64, kind, number as u16);
    }
    register(&mut xml, "pc", 64, "code_ptr", 32);
    xml.push_str("</feature><feature name=\"org.gnu.gdb.riscv.fpu\">");
    for number in 0..32 {
        register(&mut xml, fp_reg_name(number), 64, "ieee_double", 33 + number as u16);
    }
    let fp = [csr::FFLAGS, csr::FRM, csr::FCSR];
    csrs(&mut xml, fp.into_iter());
    xml.push_str("</feature><feature name=\"org.gnu.gdb.riscv.csr\">");
    csrs(&mut xml, (0..4096).filter(|number| !fp.contains(number) && exists(*number)));
    xml.push_str("</feature><feature name=\"org.gnu.gdb.riscv.virtual\">");
    register(&mut xml, "priv", 8, "int", PRIVILEGE);
    xml.push_str("</feature></target>");
    xml
}

fn csrs(xml: &mut String, numbers: impl Iterator<Item = u16>) {
    for number in numbers {
        if let Some(name) = csr::name(number) {
            register(xml, &name.to_string(), 64, "int", CSR0 + number);
        }
    }
}

fn register(xml: &mut String, name: &str, bits: u32, kind: &str, number: u16) {
    let _ = write!(
        xml,
        "<reg name=\"{name}\" bitsize=\"{bits}\" type=\"{kind}\" regnum=\"{number}\"/>"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_gdbs_numbers() {
        let xml = describe(|number| number == csr::SATP);
        for expected in [
            "<reg name=\"zero\" bitsize=\"64\" type=\"int\" regnum=\"0\"/>",
            "<reg name=\"pc\" bitsize=\"64\" type=\"code_ptr\" regnum=\"32\"/>",
            "<reg name=\"fa0\" bitsize=\"64\" type=\"ieee_double\" regnum=\"43\"/>",
            "<reg name=\"fcsr\" bitsize=\"64\" type=\"int\" regnum=\"68\"/>",
            "<reg name=\"satp\" bitsize=\"64\" type=\"int\" regnum=\"449\"/>",
        ] {
            assert!(xml.contains(expected), "{expected}");
        }
        assert!(!xml.contains("mstatus"));
    }
}
