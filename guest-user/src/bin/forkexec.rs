//! `forkexec [processes]`: makes processes that become this program again and end at once, for
//! measuring what that costs.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, exec, number_or, println, spawn, wait};

ulib::main!(main);

fn main(args: Args) -> i32 {
    if args.get(1) == Some(c"-") {
        return 0;
    }
    let processes = number_or(args.get(1), 100);
    for _ in 0..processes {
        let pid = spawn(|| exec(c"forkexec", &[c"forkexec", c"-"]));
        if pid < 0 || wait().is_none_or(|child| child.status != 0) {
            eprintln!("forkexec: a process failed");
            return 1;
        }
    }
    println!("forkexec: {processes} processes");
    0
}
