//! Double precision: the outer planets for a while, and a dense linear system.

use core::hint::black_box;

use crate::Lcg;

#[inline(always)]
fn sqrt(x: f64) -> f64 {
    #[cfg(target_arch = "riscv64")]
    {
        let root;
        // SAFETY: computes only.
        unsafe {
            core::arch::asm!(
                "fsqrt.d {root}, {x}",
                root = out(freg) root,
                x = in(freg) x,
                options(pure, nomem, nostack)
            );
        }
        root
    }
    #[cfg(not(target_arch = "riscv64"))]
    x.sqrt()
}

#[derive(Clone, Copy)]
struct Body {
    at: [f64; 3],
    speed: [f64; 3],
    mass: f64,
}

const fn body(at: [f64; 3], speed: [f64; 3], mass: f64) -> Body {
    Body { at, speed, mass }
}

/// A heavy body and four light ones around it.
const BODIES: [Body; 5] = [
    body([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], 39.5),
    body([4.8, -1.2, -0.1], [0.6, 2.8, -0.02], 0.037),
    body([8.3, 4.1, -0.4], [-1.0, 1.8, 0.008], 0.011),
    body([12.9, -15.1, -0.2], [1.1, 0.9, -0.01], 0.0017),
    body([15.4, -25.9, 0.2], [1.0, 0.6, -0.03], 0.002),
];

#[inline(never)]
fn advance(bodies: &mut [Body; 5], dt: f64) {
    for i in 0..bodies.len() {
        for j in i + 1..bodies.len() {
            let (a, b) = (bodies[i], bodies[j]);
            let d = [a.at[0] - b.at[0], a.at[1] - b.at[1], a.at[2] - b.at[2]];
            let square = d[0] * d[0] + d[1] * d[1] + d[2] * d[2];
            let pull = dt / (square * sqrt(square));
            for (axis, d) in d.into_iter().enumerate() {
                bodies[i].speed[axis] -= d * b.mass * pull;
                bodies[j].speed[axis] += d * a.mass * pull;
            }
        }
    }
    for body in bodies {
        for axis in 0..3 {
            body.at[axis] += dt * body.speed[axis];
        }
    }
}

/// An iteration is one step in time.
pub fn nbody(n: u64, _: &mut [u64]) -> u64 {
    let mut bodies = BODIES;
    for _ in 0..n {
        advance(black_box(&mut bodies), 0.01);
    }
    bodies[0].at[0].to_bits() ^ bodies[4].speed[1].to_bits().rotate_left(20)
}

const ORDER: usize = 64;

#[inline(never)]
fn daxpy(factor: f64, x: &[f64], y: &mut [f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}

/// Gaussian elimination with partial pivoting, by columns; the product of the pivots.
fn factor(a: &mut [[f64; ORDER]; ORDER]) -> f64 {
    let mut product = 1.0;
    for k in 0..ORDER - 1 {
        let mut pivot = k;
        for i in k + 1..ORDER {
            if a[k][i].abs() > a[k][pivot].abs() {
                pivot = i;
            }
        }
        a[k].swap(k, pivot);
        product *= a[k][k];
        let scale = -1.0 / a[k][k];
        a[k][k + 1..].iter_mut().for_each(|cell| *cell *= scale);
        let (done, rest) = a.split_at_mut(k + 1);
        for column in rest {
            column.swap(k, pivot);
            let factor = column[k];
            daxpy(factor, &done[k][k + 1..], &mut column[k + 1..]);
        }
    }
    product
}

/// An iteration factors a matrix of order 64.
pub fn linpack(n: u64, _: &mut [u64]) -> u64 {
    let mut random = Lcg(17);
    let mut sum = 0u64;
    let mut a = [[0.0; ORDER]; ORDER];
    for _ in 0..n {
        let cells = a.iter_mut().flatten();
        cells.for_each(|cell| *cell = f64::from(random.number()) / f64::from(1u32 << 30) - 1.0);
        sum = sum.rotate_left(7) ^ factor(black_box(&mut a)).to_bits();
    }
    sum
}
