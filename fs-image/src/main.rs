//! The `fs-image` command: xv6 file system images from the host's side.
//!
//! Exit status: 0 fine, 1 the image has problems, 2 usage or bad input.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use abi::fs::BSIZE;
use abi::stat::{T_DEVICE, T_DIR, T_FILE};
use clap::{Parser, Subcommand};
use fs_image::{Entry, Image, MAX_BLOCKS};

/// xv6 file system images: make, list, read, write, check
#[derive(Parser)]
#[command(version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make an image that holds FILES; leading folders and one leading `_` are left out of names
    Mkfs {
        image: PathBuf,
        files: Vec<PathBuf>,
        /// Size of the image in blocks of 1024 bytes
        #[arg(long, default_value_t = abi::param::FSSIZE)]
        blocks: u32,
        /// Number of inodes
        #[arg(long, default_value_t = 200)]
        inodes: u32,
    },
    /// List a directory of the image: type, inode, links, bytes, name
    Ls {
        image: PathBuf,
        #[arg(default_value = "/")]
        path: String,
    },
    /// Print a file of the image
    Cat { image: PathBuf, path: String },
    /// Copy a file out of the image (to its name in the working directory, or to FILE)
    Get { image: PathBuf, path: String, file: Option<PathBuf> },
    /// Copy a host file into the image (to its name in the root, or to PATH)
    Put { image: PathBuf, file: PathBuf, path: Option<String> },
    /// Check an image
    Fsck { image: PathBuf },
}

/// What went wrong, for the exit status.
enum Failure {
    /// The image has problems; they have been told.
    Problems,
    /// Bad input, in one line.
    Input(String),
}

type Result<T = ()> = std::result::Result<T, Failure>;

fn main() -> ExitCode {
    match run(Args::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Problems) => ExitCode::from(1),
        Err(Failure::Input(line)) => {
            eprintln!("fs-image: {line}");
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> Result {
    match command {
        Command::Mkfs { image, files, blocks, inodes } => mkfs(&image, &files, blocks, inodes),
        Command::Ls { image, path } => {
            let entries = open(&image)?.list(&path).map_err(about(&image))?;
            print(entries.iter().map(line).collect::<String>().as_bytes())
        }
        Command::Cat { image, path } => print(&open(&image)?.get(&path).map_err(about(&image))?),
        Command::Get { image, path, file } => {
            let contents = open(&image)?.get(&path).map_err(about(&image))?;
            let file = file.unwrap_or_else(|| base_name(&path).into());
            fs::write(&file, contents).map_err(about(&file))
        }
        Command::Put { image, file, path } => put(&image, &file, path),
        Command::Fsck { image } => fsck(&image),
    }
}

fn mkfs(path: &Path, files: &[PathBuf], blocks: u32, inodes: u32) -> Result {
    let mut image = Image::mkfs(blocks, inodes).map_err(about(path))?;
    for file in files {
        let name = guest_name(file)?;
        if image.list(&name).is_ok() {
            return Err(Failure::Input(format!("{}: a second file {name}", file.display())));
        }
        put_file(&mut image, file, &name)?;
    }
    report(path, &image)?;
    replace(path, &image)
}

fn put(path: &Path, file: &Path, name: Option<String>) -> Result {
    let mut image = open(path)?;
    let name = name.map_or_else(|| guest_name(file), Ok)?;
    put_file(&mut image, file, &name)?;
    report(path, &image)?;
    replace(path, &image)
}

fn put_file(image: &mut Image, file: &Path, name: &str) -> Result {
    // One byte more than the greatest file is enough to be refused.
    let contents = read(file, (abi::fs::MAXFILE * BSIZE) as u64)?;
    image.put(name, &contents).map_err(about(file))
}

fn fsck(path: &Path) -> Result {
    let image = open(path)?;
    report(path, &image)?;
    println!("{}: fine, {} blocks", path.display(), image.size());
    Ok(())
}

/// Tells an image's problems; an image that has any is not written.
fn report(path: &Path, image: &Image) -> Result {
    let problems = image.fsck();
    for problem in &problems {
        eprintln!("{}: {problem}", path.display());
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Problems) }
}

fn open(path: &Path) -> Result<Image> {
    let bytes = read(path, MAX_BLOCKS as u64 * BSIZE as u64)?;
    let image = match Image::open(bytes) {
        Ok(image) => image,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            return Err(Failure::Problems);
        }
    };
    if image.replayed() > 0 {
        let (path, blocks) = (path.display(), image.replayed());
        eprintln!("{path}: note: {blocks} blocks of a committed transaction taken from the log");
    }
    Ok(image)
}

/// Reads at most one byte more than `limit`, and no folder.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(about(path))?;
    Ok(bytes)
}

/// Writes beside and renames: whoever has the old image keeps it, and a failure changes nothing.
fn replace(path: &Path, image: &Image) -> Result {
    // Through a symbolic link, what it points to is replaced.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.into());
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.new", std::process::id()));
    let written = fs::write(&beside, image.as_bytes())
        .and_then(|()| match fs::metadata(path) {
            Ok(old) => fs::set_permissions(&beside, old.permissions()),
            Err(_) => Ok(()),
        })
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // It may not even be there; the first error is the one to tell.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(about(path))
}

fn guest_name(file: &Path) -> Result<String> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::Input(format!("{}: no file name", file.display())))?;
    Ok(name.strip_prefix('_').unwrap_or(name).to_string())
}

fn base_name(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or(path)
}

fn line(entry: &Entry) -> String {
    let kind = match entry.kind {
        T_DIR => "dir".to_string(),
        T_FILE => "file".to_string(),
        T_DEVICE => "dev".to_string(),
        other => format!("?{other}"),
    };
    let Entry { inum, nlink, size, .. } = entry;
    format!("{kind:4} {inum:5} {nlink:3} {size:7} {}\n", entry.name.escape_ascii())
}

/// To stdout; a reader that has gone is no error.
fn print(bytes: &[u8]) -> Result {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::Input(format!("stdout: {error}")))
        }
        _ => Ok(()),
    }
}

fn about<E: std::fmt::Display>(path: &Path) -> impl Fn(E) -> Failure {
    move |error| Failure::Input(format!("{}: {error}", path.display()))
}
