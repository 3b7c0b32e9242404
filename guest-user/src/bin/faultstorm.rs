//! `faultstorm [lazy | cow] [faults]`: so many page faults in a row, for measuring their cost.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, eprintln, number_or, poke, println, sbrklazy, spawn, wait};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let kind = args.get(1).unwrap_or(c"lazy");
    let faults = number_or(args.get(2), 1000);
    let cow = match kind.to_bytes() {
        b"lazy" => false,
        b"cow" => true,
        _ => {
            eprintln!("usage: faultstorm [lazy | cow] [faults]");
            return 1;
        }
    };
    let Some(start) = sbrklazy((faults * PAGE) as isize) else {
        eprintln!("faultstorm: no memory for {faults} pages");
        return 1;
    };
    let touch_all = || {
        for page in 0..faults {
            poke(start + page * PAGE, 1);
        }
        0
    };
    touch_all();
    if cow {
        let pid = spawn(touch_all);
        if pid < 0 || wait().is_none_or(|child| child.status != 0) {
            eprintln!("faultstorm: the child failed");
            return 1;
        }
    }
    println!("faultstorm: {faults} {} faults", if cow { "lazy and cow" } else { "lazy" });
    0
}
