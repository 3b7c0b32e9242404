//! `ps`: the process table.
#![no_std]
#![no_main]

use ulib::{Args, println, process_table, state_name};

ulib::main!(main);

fn main(_: Args) -> i32 {
    println!("pid\tstate\t\tsize\tppid\tname");
    for process in process_table() {
        let state = state_name(process.state);
        let (pid, size, ppid) = (process.pid, process.size, process.ppid);
        println!("{pid}\t{state:8}\t{size}\t{ppid}\t{}", ulib::process_name(process));
    }
    0
}
