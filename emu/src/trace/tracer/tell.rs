//! What the tracer tells a person who asks while the machine stands still.

use std::fmt::Write;

use super::Tracer;
use crate::mem::Ram;

impl Tracer {
    /// What is known of a topic of [`crate::events::Events::tell`].
    pub fn tell(&self, topic: &str, ram: &Ram) -> Option<String> {
        match topic {
            "proc" => Some((0..self.harts.len()).map(|hart| self.who_line(hart, ram)).collect()),
            "frames" => Some(self.frames_line()),
            _ => None,
        }
    }

    fn who_line(&self, hart: usize, ram: &Ram) -> String {
        let known = self.harts[hart].known();
        let read = || {
            let (pid, name) = self.guest.reader.as_ref()?.current(ram, hart as u64)?;
            Some((Some(pid), name.text()))
        };
        let hinted = known.map(|who| (who.pid, who.name.as_deref().unwrap_or_default().to_owned()));
        let mut line = format!("hart {hart}: ");
        // Writing to a String cannot fail.
        let _ = match hinted.or_else(read) {
            None => writeln!(line, "no process"),
            Some((None, _)) => writeln!(line, "a process without a number"),
            Some((Some(pid), name)) => writeln!(line, "{pid} {name}"),
        };
        line
    }

    fn frames_line(&self) -> String {
        match (self.free, self.free_range) {
            (Some(now), Some((start, least))) => {
                format!("{now} pages are free; at first {start}, at least {least}\n")
            }
            (Some(now), None) => format!("{now} pages are free\n"),
            (None, _) => "the number of free pages is not known: neither hints nor symbols \
                          told of an allocation\n"
                .to_owned(),
        }
    }
}
