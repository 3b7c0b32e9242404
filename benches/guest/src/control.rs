//! Calls, indirect calls and jumps, and branches that depend on data.

use core::cmp::Ordering;
use core::hint::black_box;

use crate::Lcg;

#[inline(never)]
fn recurse(n: u64) -> u64 {
    if n < 2 { n } else { recurse(black_box(n - 1)) + recurse(black_box(n - 2)) }
}

/// An iteration is the 18th Fibonacci number the slow way.
pub fn fib(n: u64, _: &mut [u64]) -> u64 {
    (0..n).map(|_| recurse(black_box(18))).sum()
}

/// State of the little machine that [`dispatch`] and [`switch`] run.
struct Vm {
    a: u64,
    b: u64,
    at: usize,
}

const PROGRAM: usize = 256;

fn program() -> [u8; PROGRAM] {
    let mut random = Lcg(11);
    [0; PROGRAM].map(|_: u8| (random.number() % 8) as u8)
}

const OPERATIONS: [fn(&mut Vm); 8] = [
    |vm| vm.a = vm.a.wrapping_add(vm.b),
    |vm| vm.b ^= vm.a,
    |vm| vm.a = vm.a.rotate_left(7),
    |vm| vm.b = vm.b.wrapping_sub(3),
    |vm| core::mem::swap(&mut vm.a, &mut vm.b),
    |vm| vm.a = vm.a.wrapping_mul(5),
    |vm| vm.at += usize::from(vm.a & 1 != 0),
    |vm| vm.b = vm.b.wrapping_add(vm.at as u64),
];

/// An iteration is 256 indirect calls through a table.
pub fn dispatch(n: u64, _: &mut [u64]) -> u64 {
    let (program, operations) = (program(), black_box(&OPERATIONS));
    let mut vm = Vm { a: 1, b: 2, at: 0 };
    for _ in 0..n * PROGRAM as u64 {
        operations[usize::from(program[vm.at % PROGRAM])](&mut vm);
        vm.at += 1;
    }
    vm.a ^ vm.b ^ vm.at as u64
}

/// An iteration is 256 jumps through a jump table.
pub fn switch(n: u64, _: &mut [u64]) -> u64 {
    let program = black_box(program());
    let mut vm = Vm { a: 1, b: 2, at: 0 };
    for _ in 0..n * PROGRAM as u64 {
        match program[vm.at % PROGRAM] {
            0 => vm.a = vm.a.wrapping_add(vm.b),
            1 => vm.b ^= vm.a,
            2 => vm.a = vm.a.rotate_left(7),
            3 => vm.b = vm.b.wrapping_sub(3),
            4 => core::mem::swap(&mut vm.a, &mut vm.b),
            5 => vm.a = vm.a.wrapping_mul(5),
            6 => vm.at += usize::from(vm.a & 1 != 0),
            _ => vm.b = vm.b.wrapping_add(vm.at as u64),
        }
        vm.at += 1;
    }
    vm.a ^ vm.b ^ vm.at as u64
}

/// Quicksort as C has it: the comparison is called through a pointer.
fn quicksort(items: &mut [u32], compare: fn(&u32, &u32) -> Ordering) {
    if items.len() < 8 {
        for end in 1..items.len() {
            let mut at = end;
            while at > 0 && compare(&items[at], &items[at - 1]).is_lt() {
                items.swap(at, at - 1);
                at -= 1;
            }
        }
        return;
    }
    let pivot = items[items.len() / 2];
    let (mut low, mut high) = (0, items.len() - 1);
    loop {
        while compare(&items[low], &pivot).is_lt() {
            low += 1;
        }
        while compare(&items[high], &pivot).is_gt() {
            high -= 1;
        }
        if low >= high {
            break;
        }
        items.swap(low, high);
        low += 1;
        high -= 1;
    }
    let (left, right) = items.split_at_mut(low);
    quicksort(left, compare);
    quicksort(right, compare);
}

/// An iteration sorts 4096 numbers.
pub fn sort(n: u64, _: &mut [u64]) -> u64 {
    let mut random = Lcg(5);
    let mut sum = 0u64;
    let mut items = [0; 4096];
    for _ in 0..n {
        items.iter_mut().for_each(|item| *item = random.number());
        quicksort(&mut items, black_box(|a, b| a.cmp(b)));
        sum = sum.rotate_left(9) ^ u64::from(items[7]) << 32 ^ u64::from(items[4000]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quicksort_sorts() {
        let mut random = Lcg(1);
        for len in 0..200 {
            let mut items: Vec<u32> = (0..len).map(|_| random.number() % 50).collect();
            let mut expected = items.clone();
            expected.sort_unstable();
            quicksort(&mut items, u32::cmp);
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn both_interpreters_agree() {
        assert_eq!(dispatch(10, &mut []), switch(10, &mut []));
        assert_eq!(fib(2, &mut []), 2 * 2584);
    }
}
