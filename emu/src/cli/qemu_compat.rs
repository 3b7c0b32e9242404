//! QEMU's way to spell a command line: long options with one dash, values in the next word, and
//! lists of `key=value` in one word. The makefiles and graders of teaching kernels use it.
//!
//! [`translate`] turns such words into the spelling that the argument parser knows; the other
//! functions take the values apart. What QEMU understands and this machine does not have is an
//! error that names it.

use std::path::PathBuf;

use clap::error::{ContextKind, ContextValue};
use clap::{ArgAction, Command};

use crate::dev::virtio::disk::Mode;
use crate::trace::kinds::Kinds;

/// Turns `-kernel K` into `--kernel=K`, `+signature=F` into `--signature=F`.
pub fn translate(
    words: impl IntoIterator<Item = String>,
    command: &Command,
) -> Result<Vec<String>, String> {
    let mut words = words.into_iter().peekable();
    let mut out: Vec<String> = words.next().into_iter().collect();
    while let Some(word) = words.next() {
        let Some(name) = option_name(&word) else {
            out.push(word);
            continue;
        };
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (name, None),
        };
        let argument = find(command, name).ok_or_else(|| unknown(command, &word, name))?;
        let long = argument.get_long().unwrap_or(name);
        let takes_value = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
        let needs_value = argument.get_num_args().is_none_or(|number| number.min_values() > 0);
        match (takes_value, value) {
            (true, None) if !needs_value => {
                // Such a value follows an equals sign; what stands alone is the kernel.
                if let Some(list) = words.next_if(|next| next.parse::<Kinds>().is_ok()) {
                    return Err(format!("{word} {list}: is {word}={list} meant?"));
                }
                out.push(format!("--{long}"));
            }
            (false, None) => out.push(format!("--{long}")),
            (false, Some(_)) => return Err(format!("option {word} takes no value")),
            (true, Some(value)) => out.push(format!("--{long}={value}")),
            (true, None) => {
                let value = words.next().ok_or_else(|| format!("option {word} needs a value"))?;
                out.push(format!("--{long}={value}"));
            }
        }
    }
    Ok(out)
}

/// The name in a word that is an option; a lone `-` is none.
fn option_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
    name.or_else(|| word.strip_prefix('+')).filter(|name| !name.is_empty())
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a clap::Arg> {
    let mut letters = name.chars();
    let letter = letters.next().filter(|_| letters.next().is_none());
    command.get_arguments().find(|argument| {
        argument.get_long() == Some(name) || letter.is_some() && argument.get_short() == letter
    })
}

/// What to say of an option that there is not: the one that is nearly spelled so, if any.
fn unknown(command: &Command, word: &str, name: &str) -> String {
    let parsed = command.clone().try_get_matches_from(["emu", &format!("--{name}")]);
    let near = parsed.err().and_then(|error| match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(near)) => Some(format!("is {near} meant? ")),
        _ => None,
    });
    format!("unknown option {word}; {}see emu --help", near.unwrap_or_default())
}

/// The words of a list: `a,b=c,d`.
fn pairs(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split(',').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    })
}

fn switch(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("on" | "true" | "yes") => Ok(true),
        Some("off" | "false" | "no") => Ok(false),
        Some(other) => Err(format!("{key}={other}: on or off")),
    }
}

/// A `-drive`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drive {
    /// The image.
    pub file: PathBuf,
    /// The name by which a device gets it.
    pub id: Option<String>,
    /// How the image is used.
    pub mode: Mode,
}

impl std::str::FromStr for Drive {
    type Err = String;

    fn from_str(text: &str) -> Result<Drive, String> {
        let (mut file, mut id, mut read_only, mut snapshot) = (None, None, false, false);
        for (key, value) in pairs(text) {
            match (key, value) {
                ("file", Some(path)) => file = Some(path.into()),
                ("id", Some(name)) => id = Some(name.to_owned()),
                ("if", Some("none")) | ("format", Some("raw")) => {}
                ("if", Some(other)) => {
                    return Err(format!("if={other} is not supported; use if=none and -device"));
                }
                ("format", Some(other)) => {
                    return Err(format!("format={other} is not supported; only raw images are"));
                }
                ("readonly" | "read-only", value) => read_only = switch(key, value)?,
                ("snapshot", value) => snapshot = switch(key, value)?,
                // Where QEMU caches what it writes makes no difference to the guest.
                ("cache" | "aio", Some(_)) => {}
                _ => return Err(format!("{key} is not supported in -drive")),
            }
        }
        let mode = match (read_only, snapshot) {
            (true, _) => Mode::ReadOnly,
            (false, true) => Mode::Snapshot,
            (false, false) => Mode::ReadWrite,
        };
        Ok(Drive { file: file.ok_or("file= is missing in -drive")?, id, mode })
    }
}

/// What a `-device` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceKind {
    /// `virtio-blk-device`, with the id of its drive.
    Blk {
        /// Which `-drive`.
        drive: String,
    },
    /// `virtio-rng-device`.
    Rng,
}

/// A `-device`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceOption {
    /// What it is.
    pub kind: DeviceKind,
    /// The virtio slot, if it was said.
    pub slot: Option<usize>,
}

impl std::str::FromStr for DeviceOption {
    type Err = String;

    fn from_str(text: &str) -> Result<DeviceOption, String> {
        let mut words = pairs(text);
        let name = words.next().map_or("", |(name, _)| name);
        let (mut drive, mut slot) = (None, None);
        for (key, value) in words {
            match (key, value) {
                ("drive", Some(id)) => drive = Some(id.to_owned()),
                ("bus", Some(bus)) => {
                    let number = bus.strip_prefix("virtio-mmio-bus.").and_then(|n| n.parse().ok());
                    let fits = number.filter(|n| *n < crate::board::VIRTIO_SLOTS);
                    slot = Some(fits.ok_or(format!("bus={bus}: virtio-mmio-bus.0 to .7"))?);
                }
                ("id", Some(_)) => {}
                _ => return Err(format!("{key} is not supported in -device {name}")),
            }
        }
        let kind = match (name, drive) {
            ("virtio-blk-device", Some(drive)) => DeviceKind::Blk { drive },
            ("virtio-blk-device", None) => return Err("drive= is missing in -device".to_owned()),
            ("virtio-rng-device", None) => DeviceKind::Rng,
            _ => return Err(format!("device {name} is not supported")),
        };
        Ok(DeviceOption { kind, slot })
    }
}

/// A `-global`: whether virtio is legacy is all there is to say.
pub fn parse_global(text: &str) -> Result<bool, String> {
    match text.split_once('=') {
        Some(("virtio-mmio.force-legacy", value)) => switch("force-legacy", Some(value)),
        _ => Err(format!("{text} is not supported; virtio-mmio.force-legacy=on|off is")),
    }
}

/// A `-machine`.
pub fn parse_machine(text: &str) -> Result<(), String> {
    match text.strip_prefix("type=").unwrap_or(text) {
        "virt" => Ok(()),
        other => Err(format!("machine {other} is not supported; virt is")),
    }
}

/// A `-cpu`.
pub fn parse_cpu(text: &str) -> Result<(), String> {
    match text {
        "rv64" | "max" => Ok(()),
        other => Err(format!("cpu {other} is not supported; rv64 is")),
    }
}

/// A `-serial`.
pub fn parse_serial(text: &str) -> Result<(), String> {
    match text {
        "mon:stdio" | "stdio" => Ok(()),
        other => Err(format!("serial {other} is not supported; mon:stdio is")),
    }
}

/// A `-monitor` or `-display`.
pub fn parse_none(text: &str) -> Result<(), String> {
    match text {
        "none" => Ok(()),
        other => Err(format!("{other} is not supported; none is")),
    }
}

/// A `-gdb`: a port of this host.
pub fn parse_gdb(text: &str) -> Result<u16, String> {
    let place = text.strip_prefix("tcp:").and_then(|place| place.rsplit_once(':'));
    match place {
        Some(("" | "localhost" | "127.0.0.1", port)) => {
            port.parse().map_err(|_| format!("{port} is no port"))
        }
        _ => Err(format!("{text} is not supported; tcp::PORT is")),
    }
}

/// Fewest bytes of guest memory.
const MIN_RAM: u64 = 1 << 20;
/// Most bytes of guest memory.
const MAX_RAM: u64 = 64 << 30;

/// A `-m`: a number of mebibytes, or of what its suffix says.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let size = text.strip_prefix("size=").unwrap_or(text);
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match &size[digits.len()..] {
        "" | "M" | "m" | "MB" | "MiB" => 20,
        "K" | "k" => 10,
        "G" | "g" | "GB" | "GiB" => 30,
        "B" | "b" => 0,
        other => return Err(format!("{other} is no unit; K, M or G is")),
    };
    let number: u64 = digits.parse().map_err(|_| format!("{text} is no size"))?;
    let bytes = number.checked_mul(1 << shift).filter(|b| (MIN_RAM..=MAX_RAM).contains(b));
    match bytes {
        Some(bytes) if bytes % 4096 == 0 => Ok(bytes),
        Some(_) => Err(format!("{text} is not a whole number of pages of 4 KiB")),
        None => Err(format!("{text} is not between 1M and 64G")),
    }
}

/// A `-smp`: a number of harts.
pub fn parse_smp(text: &str) -> Result<usize, String> {
    let mut harts = 0;
    for (key, value) in pairs(text) {
        match (key, value) {
            ("cpus", Some(n)) | (n, None) => {
                harts = n.parse().map_err(|_| format!("{n} is no number of harts"))?;
            }
            _ => return Err(format!("{key} is not supported in -smp")),
        }
    }
    let most = crate::board::MAX_HARTS;
    if (1..=most).contains(&harts) { Ok(harts) } else { Err(format!("1 to {most} harts")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::args::Args;

    fn translated(words: &[&str]) -> Result<Vec<String>, String> {
        let words = std::iter::once("emu").chain(words.iter().copied()).map(str::to_owned);
        translate(words, &Args::command()).map(|out| out[1..].to_vec())
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let out =
            translated(&["-kernel", "k", "-smp", "3", "-nographic", "-m", "128M", "-S", "-s"]);
        let expected =
            ["--kernel=k", "--smp=3", "--nographic", "--memory=128M", "--stopped", "--gdb-default"];
        assert_eq!(out.expect("known options"), expected);
        let out = translated(&["-trace", "k.elf", "--trace=sys", "-o", "a.html"]);
        assert_eq!(
            out.expect("known options"),
            ["--trace", "k.elf", "--trace=sys", "--output=a.html"]
        );
        let out = translated(&["-append", "-x --y", "+signature=f", "k.elf"]);
        assert_eq!(out.expect("known options"), ["--append=-x --y", "--signature=f", "k.elf"]);
    }

    #[test]
    fn unknown_options_are_named() {
        let error = translated(&["-netdev", "user"]).expect_err("unknown");
        assert_eq!(error, "unknown option -netdev; see emu --help");
        let error = translated(&["k.elf", "-trase"]).expect_err("unknown");
        assert_eq!(error, "unknown option -trase; is --trace meant? see emu --help");
        let error = translated(&["--trace", "faults,sys", "k.elf"]).expect_err("no kernel");
        assert_eq!(error, "--trace faults,sys: is --trace=faults,sys meant?");
        assert!(translated(&["-kernel"]).is_err());
        assert!(translated(&["-nographic=1"]).is_err());
    }

    #[test]
    fn drives() {
        let drive: Drive = "file=fs.img,if=none,format=raw,id=x0".parse().expect("a drive");
        let expected =
            Drive { file: "fs.img".into(), id: Some("x0".into()), mode: Mode::ReadWrite };
        assert_eq!(drive, expected);
        let drive: Drive = "file=a,snapshot=on".parse().expect("a drive");
        assert_eq!(drive.mode, Mode::Snapshot);
        let drive: Drive = "file=a,readonly".parse().expect("a drive");
        assert_eq!(drive.mode, Mode::ReadOnly);
        for bad in ["id=x", "file=a,if=ide", "file=a,format=qcow2", "file=a,snapshot=2", "file=a,x"]
        {
            assert!(bad.parse::<Drive>().is_err(), "{bad}");
        }
    }

    #[test]
    fn devices() {
        let device: DeviceOption =
            "virtio-blk-device,drive=x0,bus=virtio-mmio-bus.7".parse().expect("a device");
        let kind = DeviceKind::Blk { drive: "x0".into() };
        assert_eq!(device, DeviceOption { kind, slot: Some(7) });
        let bad = ["e1000", "virtio-blk-device", "virtio-rng-device,bus=virtio-mmio-bus.8", ""];
        for bad in bad {
            assert!(bad.parse::<DeviceOption>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_and_numbers() {
        assert_eq!(parse_memory("128M"), Ok(128 << 20));
        assert_eq!(parse_memory("2"), Ok(2 << 20));
        assert_eq!(parse_memory("1G"), Ok(1 << 30));
        for bad in ["", "x", "1T", "0", "512K", "1048577B", "99999999999999999999G", "65G"] {
            assert!(parse_memory(bad).is_err(), "{bad}");
        }
        assert_eq!((parse_smp("3"), parse_smp("cpus=8")), (Ok(3), Ok(8)));
        assert!(parse_smp("0").is_err() && parse_smp("9").is_err() && parse_smp("2,x=1").is_err());
        assert_eq!(parse_gdb("tcp::25000"), Ok(25000));
        assert!(parse_gdb("tcp:example:1").is_err() && parse_gdb("tcp::x").is_err());
        assert_eq!(parse_global("virtio-mmio.force-legacy=false"), Ok(false));
        assert!(parse_global("x=y").is_err());
    }
}
