//! Builds the guest: kernel, user programs and file system image, into `target/guest`.
//!
//! `kernel.elf` and `fs.img` are what boots; `bench.elf` holds the bare-metal workloads; `user/NAME` are the programs with their symbols
//! (the image holds stripped copies).

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_image::Image;

use crate::{Result, cmd, root, toolchain};

/// What a guest build leaves behind.
pub struct Guest {
    /// The kernel, with symbols.
    pub kernel: PathBuf,
    /// The file system image.
    pub image: PathBuf,
    /// The bare-metal workloads.
    pub bench: PathBuf,
}

/// Inodes in the image.
const INODES: u32 = 200;

/// Builds the guest; an image that is newer than all it holds is kept unless `fresh`.
pub fn build(mutants: bool, fresh: bool) -> Result<Guest> {
    let toolchain = toolchain::find()?;
    let out = folder();
    let mut cargo = toolchain.cargo_build();
    cargo.args(["--profile", "guest", "--package", "guest-kernel", "--package", "guest-user"]);
    cargo.args(["--package", "bench-guest"]).arg("--target-dir").arg(&out);
    if mutants {
        cargo.args(["--features", "guest-kernel/mutants"]);
    }
    cmd::run(&mut cargo)?;

    let built = out.join(toolchain::TARGET).join("guest");
    let kernel = kernel(mutants);
    copy_if_newer(&built.join("guest-kernel"), &kernel)?;
    let bench = out.join("bench.elf");
    copy_if_newer(&built.join("bench-guest"), &bench)?;
    let programs = programs()?;
    let symbols = out.join("user");
    std::fs::create_dir_all(&symbols).map_err(|error| format!("{}: {error}", symbols.display()))?;
    for name in &programs {
        copy_if_newer(&built.join(name), &symbols.join(name))?;
    }
    let image = out.join("fs.img");
    let inputs = programs.iter().map(|name| symbols.join(name)).chain([readme()]);
    if fresh || newest(inputs)? > modified(&image) {
        make_image(&image, &symbols, &programs)?;
    }
    Ok(Guest { kernel, image, bench })
}

/// What an earlier build left behind, if it is all there.
pub fn existing(mutants: bool) -> Option<Guest> {
    let guest = Guest {
        kernel: kernel(mutants),
        image: folder().join("fs.img"),
        bench: folder().join("bench.elf"),
    };
    (guest.kernel.is_file() && guest.image.is_file()).then_some(guest)
}

fn folder() -> PathBuf {
    root().join("target/guest")
}

fn kernel(mutants: bool) -> PathBuf {
    folder().join(if mutants { "kernel-mutants.elf" } else { "kernel.elf" })
}

/// The user programs: one for every file or folder in `guest-user/src/bin`.
fn programs() -> Result<Vec<String>> {
    let dir = root().join("guest-user/src/bin");
    let entries = std::fs::read_dir(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn readme() -> PathBuf {
    root().join("guest-user/README")
}

fn make_image(image: &Path, symbols: &Path, programs: &[String]) -> Result<()> {
    let mut fs = Image::mkfs(abi::param::FSSIZE, INODES).map_err(|error| error.to_string())?;
    let mut put = |name: &str, bytes: &[u8]| {
        fs.put(name, bytes).map_err(|error| format!("{name} into the image: {error}"))
    };
    put("README", &read(&readme())?)?;
    for name in programs {
        put(name, &strip(&read(&symbols.join(name))?)?)?;
    }
    let problems = fs.fsck();
    if let Some(problem) = problems.first() {
        return Err(format!("the image just made is inconsistent: {problem}"));
    }
    // Written beside and renamed: a machine that runs on the old image keeps it.
    let temporary = image.with_extension("img.new");
    std::fs::write(&temporary, fs.as_bytes())
        .and_then(|()| std::fs::rename(&temporary, image))
        .map_err(|error| format!("{}: {error}", image.display()))
}

/// An ELF file cut behind what its program headers name: symbols and sections stay outside.
fn strip(elf: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize, size: usize| -> Result<u64> {
        let bytes = elf.get(at..at + size).ok_or("a user program is not a whole ELF file")?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    };
    let (phoff, phentsize, phnum) = (word(32, 8)?, word(54, 2)?, word(56, 2)?);
    let mut end = phoff + phentsize * phnum;
    for i in 0..phnum {
        let header = (phoff + i * phentsize) as usize;
        const PT_LOAD: u64 = 1;
        if word(header, 4)? == PT_LOAD {
            end = end.max(word(header + 8, 8)? + word(header + 32, 8)?);
        }
    }
    let mut stripped = elf.get(..end as usize).ok_or("a user program is cut off")?.to_vec();
    // No section headers any more: e_shoff (8 bytes at 40), e_shnum and e_shstrndx (60..64).
    stripped[40..48].fill(0);
    stripped[60..64].fill(0);
    Ok(stripped)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn modified(file: &Path) -> SystemTime {
    std::fs::metadata(file).and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH)
}

fn newest(files: impl Iterator<Item = PathBuf>) -> Result<SystemTime> {
    files.map(|file| modified(&file)).max().ok_or_else(|| "no user programs".to_owned())
}

/// Copies when the contents differ, so that times of unchanged files stay.
fn copy_if_newer(from: &Path, to: &Path) -> Result<()> {
    let bytes = read(from)?;
    if std::fs::read(to).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    std::fs::write(to, bytes).map_err(|error| format!("{}: {error}", to.display()))
}
