//! A mix in the manner of CoreMark: a linked list, a small matrix, a state machine, and a CRC
//! over what they give.

use core::hint::black_box;

use crate::Lcg;

const NODES: usize = 64;
const SIDE: usize = 12;
/// What the state machine reads: numbers, good and bad.
const TEXT: &[u8] = b"5012,-874,+122,1.5e3,.0123,-110.700,5e,T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^,";
/// End of the list.
const NIL: u16 = u16::MAX;

/// Adds 16 bits to a CRC, bit by bit.
fn crc16(mut value: u16, mut crc: u16) -> u16 {
    for _ in 0..16 {
        let odd = (value ^ crc) & 1 != 0;
        value >>= 1;
        crc >>= 1;
        if odd {
            crc ^= 0xa001;
        }
    }
    crc
}

#[derive(Clone, Copy)]
struct Node {
    next: u16,
    value: u16,
}

struct List {
    nodes: [Node; NODES],
    head: u16,
}

impl List {
    fn new() -> List {
        let mut random = Lcg(7);
        let mut nodes = [Node { next: NIL, value: 0 }; NODES];
        for (n, node) in nodes.iter_mut().enumerate() {
            let next = if n + 1 < NODES { n as u16 + 1 } else { NIL };
            *node = Node { next, value: random.number() as u16 };
        }
        List { nodes, head: 0 }
    }

    #[inline(never)]
    fn find(&self, low: u16) -> u16 {
        let (mut at, mut steps) = (self.head, 0);
        while at != NIL && self.nodes[at as usize].value & 0xff != low {
            at = self.nodes[at as usize].next;
            steps += 1;
        }
        steps
    }

    #[inline(never)]
    fn reverse(&mut self) {
        let (mut at, mut behind) = (self.head, NIL);
        while at != NIL {
            let next = core::mem::replace(&mut self.nodes[at as usize].next, behind);
            (behind, at) = (at, next);
        }
        self.head = behind;
    }

    /// Insertion sort by value, of a list that is mostly in order.
    #[inline(never)]
    fn sort(&mut self) {
        let (mut rest, mut sorted) = (self.head, NIL);
        while rest != NIL {
            let node = self.nodes[rest as usize];
            let (mut at, mut before) = (sorted, NIL);
            while at != NIL && self.nodes[at as usize].value < node.value {
                (before, at) = (at, self.nodes[at as usize].next);
            }
            self.nodes[rest as usize].next = at;
            match before {
                NIL => sorted = rest,
                _ => self.nodes[before as usize].next = rest,
            }
            rest = node.next;
        }
        self.head = sorted;
    }

    fn round(&mut self, seed: u16) -> u16 {
        let mut steps = 0;
        for n in 0..16 {
            steps += self.find(seed.wrapping_mul(31).wrapping_add(n) & 0xff);
            self.reverse();
        }
        self.nodes[usize::from(seed) % NODES].value ^= seed;
        self.sort();
        steps ^ self.nodes[self.head as usize].value
    }
}

type Matrix = [[i16; SIDE]; SIDE];

#[inline(never)]
fn multiply(a: &Matrix, b: &Matrix, c: &mut [[i32; SIDE]; SIDE]) -> i32 {
    let mut sum = 0i32;
    for i in 0..SIDE {
        for j in 0..SIDE {
            let mut dot = 0i32;
            for k in 0..SIDE {
                dot = dot.wrapping_add(i32::from(a[i][k]) * i32::from(b[k][j]));
            }
            c[i][j] = dot;
            sum = sum.wrapping_add(dot >> 3 & 0x7f);
        }
    }
    sum
}

fn matrix_round(a: &mut Matrix, b: &Matrix, seed: u16) -> u16 {
    let mut c = [[0; SIDE]; SIDE];
    for row in a.iter_mut() {
        row.iter_mut().for_each(|cell| *cell = cell.wrapping_add(seed as i16));
    }
    let sum = multiply(a, b, black_box(&mut c));
    for row in a.iter_mut() {
        row.iter_mut().for_each(|cell| *cell = cell.wrapping_sub(seed as i16));
    }
    sum as u16
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Start,
    Sign,
    Int,
    Fraction,
    Exponent,
    Scientific,
    Invalid,
}

fn step(state: State, byte: u8) -> State {
    match (state, byte) {
        (State::Start, b'+' | b'-') => State::Sign,
        (State::Start | State::Sign | State::Int, b'0'..=b'9') => State::Int,
        (State::Start | State::Sign | State::Int, b'.') => State::Fraction,
        (State::Fraction, b'0'..=b'9') => State::Fraction,
        (State::Int | State::Fraction, b'e' | b'E') => State::Exponent,
        (State::Exponent, b'+' | b'-' | b'0'..=b'9') => State::Scientific,
        (State::Scientific, b'0'..=b'9') => State::Scientific,
        _ => State::Invalid,
    }
}

/// How the numbers of a text end, packed.
#[inline(never)]
fn scan(text: &[u8]) -> u16 {
    let mut ends = [0u16; 7];
    let mut state = State::Start;
    for &byte in text {
        if byte == b',' {
            ends[state as usize] += 1;
            state = State::Start;
        } else {
            state = step(state, byte);
        }
    }
    ends.iter().fold(0, |all, end| all << 2 ^ end)
}

/// The mix; an iteration is one round of each part.
pub fn mix(n: u64, _: &mut [u64]) -> u64 {
    let mut list = List::new();
    let mut random = Lcg(3);
    let mut matrix =
        || -> Matrix { [[0; SIDE]; SIDE].map(|row| row.map(|_: i16| random.number() as i16)) };
    let (mut a, b) = (matrix(), matrix());
    let mut crc = 0xffff;
    for i in 0..n {
        let seed = i as u16;
        crc = crc16(list.round(seed), crc);
        crc = crc16(matrix_round(&mut a, &b, seed), crc);
        crc = crc16(scan(black_box(TEXT)), crc);
    }
    n << 16 | u64::from(crc)
}
