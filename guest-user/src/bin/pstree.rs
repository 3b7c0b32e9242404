//! `pstree [pid]`: a process and its descendants, two spaces a level; all of them by default.
#![no_std]
#![no_main]

use abi::stat::ProcInfo;
use ulib::{Args, number_or, println, process_name, process_table};

ulib::main!(main);

const INIT: usize = 1;

fn main(args: Args) -> i32 {
    let root = number_or(args.get(1), INIT) as i32;
    let table = process_table();
    match table.iter().find(|process| process.pid == root) {
        Some(process) => print_tree(table, process, 0),
        None => {
            println!("pstree: no process {root}");
            return 1;
        }
    }
    0
}

fn print_tree(table: &[ProcInfo], root: &ProcInfo, depth: usize) {
    println!("{:indent$}{}({})", "", process_name(root), root.pid, indent = 2 * depth);
    for child in table.iter().filter(|process| process.ppid == root.pid) {
        print_tree(table, child, depth + 1);
    }
}
