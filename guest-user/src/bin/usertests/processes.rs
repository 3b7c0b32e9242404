//! Processes: fork, wait, kill, pipes between them.

use ulib::{
    Ended, KILLED, O_CREATE, O_RDONLY, O_RDWR, close, exit, fork, getpid, kill, open, pause,
};
use ulib::{pipe, print, read, unlink, wait, write, write_all};

use crate::files::BUF;
use crate::harness::{child, expect_success, status, status_of};

/// Bytes through a pipe, read in ever larger pieces.
pub fn pipe1() {
    const N: usize = 5;
    const SIZE: usize = 1033;
    let Some(ends) = pipe() else { fail!("pipe() failed") };
    child(|| {
        let buf = BUF.take();
        close(ends.reader);
        for n in 0..N {
            for (i, byte) in buf[..SIZE].iter_mut().enumerate() {
                *byte = (n * SIZE + i) as u8;
            }
            ensure!(write_all(ends.writer, &buf[..SIZE]), "pipe1 oops 1");
        }
        0
    });
    close(ends.writer);
    let buf = BUF.take();
    let (mut total, mut size) = (0, 1);
    loop {
        let n = read(ends.reader, &mut buf[..size]);
        if n <= 0 {
            break;
        }
        for (i, &byte) in buf[..n as usize].iter().enumerate() {
            ensure!(byte == (total + i) as u8, "pipe1 oops 2");
        }
        total += n as usize;
        size = (size * 2).min(buf.len());
    }
    ensure!(total == N * SIZE, "pipe1 oops 3 total {total}");
    close(ends.reader);
    expect_success();
}

/// A killed child's status is -1, whether it has been running for a while or not at all.
pub fn killstatus() {
    for i in 0..100 {
        let pid = child(|| {
            loop {
                getpid();
            }
        });
        if i % 10 == 0 {
            pause(1);
        }
        kill(pid);
        ensure!(status() == KILLED, "status should be -1");
    }
}

/// There is no process 0 to kill, and the attempt marks no unused slot.
pub fn killzero() {
    for pid in [0, -1] {
        ensure!(kill(pid) == -1, "kill({pid}) succeeded");
    }
    for _ in 0..4 {
        let status = status_of(|| 7);
        ensure!(status == 7, "a child after kill(0) ended with {status}, not 7");
    }
}

/// Processes that never give the hart back do not stop the others.
pub fn preempt() {
    let spin = || {
        loop {
            core::hint::spin_loop();
        }
    };
    let pid1 = child(spin);
    let pid2 = child(spin);
    let Some(ends) = pipe() else { fail!("pipe() failed") };
    let pid3 = child(|| {
        close(ends.reader);
        if write(ends.writer, b"x") != 1 {
            print!("preempt write error");
        }
        close(ends.writer);
        spin()
    });
    close(ends.writer);
    ensure!(read(ends.reader, &mut [0; 16]) == 1, "preempt read error");
    close(ends.reader);
    print!("kill... ");
    for pid in [pid1, pid2, pid3] {
        kill(pid);
    }
    print!("wait... ");
    for _ in 0..3 {
        wait();
    }
}

/// Races between exit and wait.
pub fn exitwait() {
    for i in 0..100 {
        let pid = child(|| i);
        let Some(ended) = wait() else { fail!("wait failed") };
        ensure!(ended.pid == pid, "wait wrong pid");
        ensure!(ended == Ended { pid, status: i }, "wait wrong exit status");
    }
}

/// A parent ends while its children live.
pub fn reparent() {
    let master = getpid();
    for _ in 0..200 {
        let pid = child(|| {
            if fork() < 0 {
                kill(master);
                return 1;
            }
            0
        });
        ensure!(wait().is_some_and(|ended| ended.pid == pid), "wait wrong pid");
    }
}

/// Two children end at the same time.
pub fn twochildren() {
    for _ in 0..1000 {
        child(|| 0);
        child(|| 0);
        wait();
        wait();
    }
}

/// Two processes fork at the same time.
pub fn forkfork() {
    for _ in 0..2 {
        child(|| {
            for _ in 0..200 {
                match fork() {
                    0 => exit(0),
                    pid if pid < 0 => return 1,
                    _ => drop(wait()),
                }
            }
            0
        });
    }
    for _ in 0..2 {
        ensure!(status() == 0, "fork in child failed");
    }
}

/// Children that fork until there is no room, all at once.
pub fn forkforkfork() {
    unlink(c"stopforking");
    child(|| {
        loop {
            if open(c"stopforking", O_RDONLY) >= 0 {
                return 0;
            }
            if fork() < 0 {
                close(open(c"stopforking", O_CREATE | O_RDWR));
            }
        }
    });
    pause(20); // Two seconds.
    close(open(c"stopforking", O_CREATE | O_RDWR));
    wait();
    pause(10); // One second.
    unlink(c"stopforking");
}

/// Giving children away to init while init waits.
pub fn reparent2() {
    for _ in 0..800 {
        child(|| {
            fork();
            fork();
            0
        });
        wait();
    }
}

/// Fork fails gracefully, and every child is waited for exactly once.
pub fn forktest() {
    const N: usize = 1000;
    let mut children = 0;
    while children < N {
        match fork() {
            0 => exit(0),
            pid if pid < 0 => break,
            _ => children += 1,
        }
    }
    ensure!(children > 0, "no fork at all!");
    ensure!(children < N, "fork claimed to work 1000 times!");
    for _ in 0..children {
        ensure!(wait().is_some(), "wait stopped early");
    }
    ensure!(wait().is_none(), "wait got too many");
}
