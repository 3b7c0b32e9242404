//! Standard input, read so that runs repeat where they can: a file or a finished pipe is known
//! in advance; a terminal and a pipe that stays open are live.

use std::io::{IsTerminal, Read, stdin};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, fstat};

/// How long a pipe has to end before it counts as live.
const PATIENCE: Duration = Duration::from_millis(100);
/// A pipe that brought this much meanwhile is no person: it is read as the guest needs it.
const STREAM: usize = 1 << 20;
/// Bytes read at once, and how many such pieces may wait.
const PIECE: usize = 4096;
const PIECES: usize = 16;

/// Where input comes from.
#[derive(Debug)]
pub enum Input {
    /// Nothing will come any more.
    Ended,
    /// A file, read when more is needed.
    File,
    /// A pipe that is always full, read when more is needed.
    Stream(Receiver<Vec<u8>>),
    /// Somebody's, as it comes.
    Live(Receiver<Vec<u8>>),
}

impl Input {
    /// Finds out what standard input is; `first` gets what a pipe already brought.
    pub fn open(first: &mut Vec<u8>) -> Input {
        let kind = fstat(stdin()).map(|stat| FileType::from_raw_mode(stat.st_mode));
        match kind {
            Ok(FileType::RegularFile) => Input::File,
            Err(_) => Input::Ended,
            Ok(FileType::CharacterDevice) if !stdin().is_terminal() && is_null() => Input::Ended,
            _ => {
                let receiver = start_reader();
                if stdin().is_terminal() { Input::Live(receiver) } else { settle(receiver, first) }
            }
        }
    }

    /// Whether what comes depends on when it is asked for.
    pub fn live(&self) -> bool {
        matches!(self, Input::Live(_))
    }

    /// More input, if there is any now.
    pub fn more(&mut self) -> Option<Vec<u8>> {
        match self {
            Input::Ended => None,
            Input::File => {
                let mut bytes = vec![0; PIECE];
                let n = stdin().lock().read(&mut bytes).unwrap_or(0);
                bytes.truncate(n);
                self.or_end((n > 0).then_some(bytes))
            }
            Input::Stream(receiver) => {
                let bytes = receiver.recv().ok();
                self.or_end(bytes)
            }
            Input::Live(receiver) => match receiver.try_recv() {
                Ok(bytes) => Some(bytes),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => self.or_end(None),
            },
        }
    }

    /// Waits for live input.
    pub fn wait(&mut self, how_long: Duration) -> Option<Vec<u8>> {
        let Input::Live(receiver) = self else {
            std::thread::sleep(how_long);
            return None;
        };
        match receiver.recv_timeout(how_long) {
            Ok(bytes) => Some(bytes),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.or_end(None),
        }
    }

    fn or_end(&mut self, bytes: Option<Vec<u8>>) -> Option<Vec<u8>> {
        if bytes.is_none() {
            *self = Input::Ended;
        }
        bytes
    }
}

/// Whether standard input is /dev/null or the like: a device that is at its end.
fn is_null() -> bool {
    let null = std::fs::metadata("/dev/null");
    let (Ok(input), Ok(null)) = (fstat(stdin()), null) else { return false };
    std::os::unix::fs::MetadataExt::rdev(&null) == input.st_rdev
}

/// Reads on in a thread of its own, until the input ends.
fn start_reader() -> Receiver<Vec<u8>> {
    let (sender, receiver) = sync_channel(PIECES);
    std::thread::spawn(move || {
        let mut bytes = vec![0; PIECE];
        while let Ok(n @ 1..) = stdin().lock().read(&mut bytes) {
            if sender.send(bytes[..n].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Gives a pipe the time to end.
fn settle(receiver: Receiver<Vec<u8>>, first: &mut Vec<u8>) -> Input {
    let until = Instant::now() + PATIENCE;
    loop {
        match receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(bytes) => first.extend(bytes),
            Err(RecvTimeoutError::Disconnected) => return Input::Ended,
            Err(RecvTimeoutError::Timeout) => return Input::Live(receiver),
        }
        if first.len() >= STREAM {
            return Input::Stream(receiver);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_that_ends_is_known_in_advance() {
        let (sender, receiver) = sync_channel(4);
        sender.send(b"ls\n".to_vec()).expect("room");
        drop(sender);
        let mut first = Vec::new();
        let mut input = settle(receiver, &mut first);
        assert!(matches!(input, Input::Ended) && first == b"ls\n");
        assert_eq!(input.more(), None);
    }

    #[test]
    fn a_pipe_that_stays_open_is_live_until_it_ends() {
        let (sender, receiver) = sync_channel(4);
        let mut input = settle(receiver, &mut Vec::new());
        assert!(input.live());
        assert_eq!(input.more(), None);
        sender.send(b"x".to_vec()).expect("room");
        assert_eq!(input.wait(Duration::from_secs(5)), Some(b"x".to_vec()));
        drop(sender);
        assert_eq!(input.more(), None);
        assert!(!input.live());
    }
}
