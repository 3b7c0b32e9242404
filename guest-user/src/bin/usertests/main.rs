//! `usertests [-q] [-c] [-C] [name]`: does the kernel keep its promises?
//!
//! Every test runs in a process of its own, whose exit status is the verdict. After every test
//! as many pages must be free as before. Some tests make the kernel print why it killed a
//! process; that is as it should be when the test ends with OK.
//!
//! `-q` leaves the slow tests out, `-c` repeats until a test fails, `-C` repeats whatever
//! happens, a name runs one test. The tests are those of MIT's xv6-riscv.
#![no_std]
#![no_main]

#[macro_use]
mod harness;

mod arguments;
mod directories;
mod exec;
mod files;
mod lazy;
mod many_files;
mod memory;
mod processes;
mod slow;

use core::ffi::CStr;

use harness::{Repeat, Test};
use ulib::{Args, println};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let mut quick = false;
    let mut repeat = Repeat::Never;
    let mut only: Option<&CStr> = None;
    for arg in args.rest() {
        match arg.to_bytes() {
            b"-q" => quick = true,
            b"-c" => repeat = Repeat::UntilFailure,
            b"-C" => repeat = Repeat::Always,
            [b'-', ..] => return usage(),
            _ if only.is_some() => return usage(),
            _ => only = Some(arg),
        }
    }
    if !harness::drive(QUICK, if quick { &[] } else { SLOW }, only, repeat) {
        return 1;
    }
    println!("ALL TESTS PASSED");
    0
}

fn usage() -> i32 {
    println!("Usage: usertests [-c] [-C] [-q] [testname]");
    1
}

/// Tests by their functions' names, or by a name of their own. Those `after` ask for what MIT's
/// kernel of 2025 does not do yet.
macro_rules! tests {
    ($(#[$doc:meta])* $list:ident:
     [$($module:ident::$name:ident $(as $title:literal)?,)*]
     after [$($later_module:ident::$later_name:ident,)*]) => {
        $(#[$doc])*
        const $list: &[Test] = &[
            $(Test { name: tests!(@ $name $($title)?), run: $module::$name, later: false },)*
            $(Test { name: tests!(@ $later_name), run: $later_module::$later_name, later: true },)*
        ];
    };
    (@ $name:ident) => { stringify!($name) };
    (@ $name:ident $title:literal) => { $title };
}

tests! {
    /// What takes seconds.
    QUICK: [
    arguments::copyin,
    arguments::copyout,
    arguments::copyinstr1,
    arguments::copyinstr2,
    arguments::copyinstr3,
    arguments::rwsbrk,
    files::truncate1,
    files::truncate2,
    files::truncate3,
    directories::openiput,
    directories::exitiput,
    directories::iput,
    files::opentest,
    files::writetest,
    files::writebig,
    files::createtest,
    directories::dirtest,
    exec::exectest,
    processes::pipe1,
    processes::killstatus,
    processes::preempt,
    processes::exitwait,
    processes::reparent,
    processes::twochildren,
    processes::forkfork,
    processes::forkforkfork,
    processes::reparent2,
    memory::mem,
    many_files::sharedfd,
    many_files::fourfiles,
    many_files::createdelete,
    files::unlinkread,
    files::linktest,
    many_files::concreate,
    many_files::linkunlink,
    directories::subdir,
    files::bigwrite,
    files::bigfile,
    directories::fourteen,
    directories::rmdot,
    directories::dirfile,
    directories::iref,
    processes::forktest,
    memory::sbrkbasic,
    memory::sbrkmuch,
    memory::kernmem,
    memory::maxva_plus as "MAXVAplus",
    memory::sbrkfail,
    memory::sbrkarg,
    arguments::validatetest,
    memory::bsstest,
    exec::bigargtest,
    arguments::argptest,
    memory::stacktest,
    memory::nowrite,
    arguments::pgbug,
    memory::sbrkbugs,
    memory::sbrklast,
    memory::sbrk8000,
    exec::badarg,
    lazy::lazy_alloc,
    lazy::lazy_unmap,
    lazy::lazy_copy,
    ] after [
    processes::killzero,
    lazy::lazy_copyinstr,
    lazy::lazy_buffer,
    lazy::lazy_sbrk,
    files::partial_write,
    directories::unlinkcwd,
    ]
}

tests! {
    /// What takes a fair bit of time.
    SLOW: [
    slow::bigdir,
    slow::manywrites,
    slow::badwrite,
    slow::execout,
    slow::diskfull,
    slow::outofinodes,
    ] after []
}
