//! Strings, records and many small calls, in the manner of Dhrystone.

use core::hint::black_box;

const TEXT: usize = 30;
type Text = [u8; TEXT];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    First,
    Second,
    Third,
}

#[derive(Clone, Copy)]
struct Record {
    next: usize,
    kind: Kind,
    choice: Kind,
    number: i32,
    text: Text,
}

struct Globals {
    records: [Record; 2],
    number: i32,
    flag: bool,
    letter: u8,
    row: [i32; 50],
    table: [[i32; 50]; 50],
}

#[inline(never)]
fn compare(a: &[u8], b: &[u8]) -> i32 {
    for (x, y) in a.iter().zip(b) {
        if x != y {
            return i32::from(*x) - i32::from(*y);
        }
    }
    0
}

#[inline(never)]
fn copy(to: &mut Text, from: &Text) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
        if *from == 0 {
            break;
        }
    }
}

#[inline(never)]
fn next_kind(kind: Kind, g: &Globals) -> Kind {
    match kind {
        Kind::First => Kind::Second,
        Kind::Second if g.number > 100 => Kind::First,
        Kind::Second => Kind::Third,
        Kind::Third => Kind::Second,
    }
}

#[inline(never)]
fn add(a: i32, b: i32) -> i32 {
    a.wrapping_add(2).wrapping_add(b)
}

#[inline(never)]
fn fill(g: &mut Globals, at: usize, value: i32) {
    let at = at + 5;
    g.row[at] = value;
    g.row[at + 1] = g.row[at];
    g.row[at + 30 - 8] = at as i32;
    for index in at..=at + 1 {
        g.table[at][index] = at as i32;
    }
    g.table[at][at - 1] += 1;
    g.table[at + 20][at] = g.row[at];
    g.number = 5;
}

#[inline(never)]
fn change_record(g: &mut Globals, at: usize) {
    let next = g.records[at].next;
    g.records[next] = g.records[at];
    g.records[at].number = 5;
    g.records[next].number = g.records[at].number;
    if g.records[next].kind == Kind::First {
        g.records[next].number = 6;
        g.records[next].choice = next_kind(g.records[at].choice, g);
        g.records[next].number = add(g.records[next].number, 10);
    } else {
        g.records[at] = g.records[next];
    }
    g.records[next].next = 1 - next;
}

#[inline(never)]
fn letters(g: &mut Globals) {
    let same = g.letter == b'A';
    g.flag |= same;
    g.letter = if g.flag { b'B' } else { b'A' };
}

#[inline(never)]
fn ordered(a: &Text, b: &Text, g: &mut Globals) -> bool {
    let mut index = 2;
    while index <= 2 {
        if a[index] != b[index + 1] {
            g.letter = b'A';
            index += 1;
        }
    }
    let greater = compare(a, b) > 0;
    g.number += if greater { 10 } else { 0 };
    greater
}

fn text(bytes: &[u8]) -> Text {
    let mut text = [b' '; TEXT];
    text[..bytes.len()].copy_from_slice(bytes);
    text
}

/// Strings and records; an iteration is what Dhrystone's is.
pub fn dhry(n: u64, _: &mut [u64]) -> u64 {
    let some = text(b"DHRYSTONE-LIKE, SOME STRING");
    let record = Record { next: 1, kind: Kind::First, choice: Kind::Third, number: 40, text: some };
    let mut g = Globals {
        records: [record, Record { next: 0, ..record }],
        number: 0,
        flag: false,
        letter: b'A',
        row: [0; 50],
        table: [[0; 50]; 50],
    };
    let (first, second) =
        (text(b"DHRYSTONE-LIKE, 1'ST STRING"), text(b"DHRYSTONE-LIKE, 2'ND STRING"));
    let (mut one, mut two) = (first, second);
    let mut sum = 0u64;
    for i in 0..n {
        let g = black_box(&mut g);
        letters(g);
        copy(&mut two, black_box(if i & 1 == 0 { &second } else { &some }));
        g.flag = !ordered(&one, &two, g);
        let mut a: i32 = 2;
        let b: i32 = 3;
        let mut c = 0;
        while a < b {
            c = add(a.wrapping_mul(5).wrapping_sub(b), c);
            a += 1;
        }
        fill(g, c.unsigned_abs() as usize % 20, c);
        change_record(g, (i & 1) as usize);
        copy(&mut one, black_box(&first));
        let divided = (b * a).wrapping_mul(7) / (c | 1);
        sum = sum.wrapping_mul(3).wrapping_add(divided as u64 ^ g.number as u64);
        g.records[0].text[(i % TEXT as u64) as usize] ^= 1;
        sum = sum.wrapping_add(u64::from(g.records[1].text[0]) + u64::from(g.letter));
    }
    sum
}
