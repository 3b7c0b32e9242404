//! The summary at the end of a run: what the faults were, what they cost, who had them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use super::record::{Fault, FreePages, MissCause, Record, TlbTally};
use super::sites::Sites;
use super::text;

/// Rows of a "top" table.
const TOP: usize = 10;
/// Rows that are counted for one.
const MAX_ROWS: usize = 1 << 16;
/// Names that a process has in its life, as far as they are told apart.
const MAX_NAMES: usize = 16;

/// A process's name, as far as it is known.
type Name = Option<Arc<str>>;

/// How many, and how many instructions they took.
#[derive(Clone, Copy, Default)]
struct Tally {
    count: u64,
    insns: u64,
}

impl Tally {
    fn add(&mut self, insns: u64) {
        self.count += 1;
        self.insns += insns;
    }
}

/// Counts everything. Memory is bounded by the number of distinct pages, code sites and
/// processes, not by the length of the run; and beyond [`MAX_ROWS`] of them by that.
#[derive(Default)]
pub struct Summary {
    outcomes: BTreeMap<&'static str, Tally>,
    histogram: BTreeMap<u32, u64>,
    processes: BTreeMap<Option<i32>, Vec<(Name, Tally)>>,
    sites: Sites<Tally>,
    pages: BTreeMap<u64, Tally>,
    misses: BTreeMap<MissCause, u64>,
    missing: BTreeMap<(Option<i32>, Name), Tally>,
    missed: BTreeMap<u64, Tally>,
    free: Option<FreePages>,
    tlbs: Vec<(String, TlbTally, TlbTally)>,
    findings: u64,
    total_insns: u64,
    fault_traps: u64,
}

/// Adds to a row; a table that is full gets no new ones.
fn count<K: Ord>(table: &mut BTreeMap<K, Tally>, key: K, insns: u64) {
    if table.len() < MAX_ROWS || table.contains_key(&key) {
        table.entry(key).or_default().add(insns);
    }
}

impl Summary {
    /// Counts a record.
    pub fn add(&mut self, record: &Record) {
        if let Some(at) = record.at() {
            self.total_insns = self.total_insns.max(at.insns);
        }
        match record {
            Record::Fault(fault) => self.fault(fault),
            Record::TlbMissed { cause, who, va, .. } => {
                *self.misses.entry(*cause).or_default() += 1;
                count(&mut self.missing, (who.pid, who.name.clone()), 0);
                count(&mut self.missed, va & !0xfff, 0);
            }
            Record::TlbCounted { config, insts, data, .. } if self.tlbs.len() < MAX_ROWS => {
                self.tlbs.push((config.clone(), *insts, *data));
            }
            Record::Finding { .. } => self.findings += 1,
            Record::End { fault_traps, free, .. } => {
                (self.fault_traps, self.free) = (*fault_traps, *free);
            }
            _ => {}
        }
    }

    fn fault(&mut self, fault: &Fault) {
        let cost = fault.cost.unwrap_or(0);
        self.outcomes.entry(fault.outcome.name()).or_default().add(cost);
        if let Some(cost) = fault.cost {
            *self.histogram.entry(cost.max(1).ilog2()).or_default() += 1;
        }
        if self.processes.len() < MAX_ROWS || self.processes.contains_key(&fault.who.pid) {
            let rows = self.processes.entry(fault.who.pid).or_default();
            let name = &fault.who.name;
            if let Some((_, row)) = rows.iter_mut().find(|(known, _)| known == name) {
                row.add(cost);
            } else if rows.len() < MAX_NAMES {
                rows.push((name.clone(), Tally { count: 1, insns: cost }));
            }
        }
        if let Some(row) = self.sites.at(&fault.place) {
            row.add(cost);
        }
        count(&mut self.pages, fault.va & !0xfff, cost);
    }

    /// The tables; those about faults if they were looked at.
    pub fn report(&self, faults: bool) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        if faults {
            let _ = self.report_outcomes(&mut text);
        }
        let _ = self.report_costs(&mut text);
        let _ = self.report_memory(&mut text);
        let _ = self.report_tops(&mut text);
        text
    }

    /// Two runs side by side.
    pub fn compare(a: &Summary, b: &Summary, names: [&str; 2]) -> String {
        let mut text = format!("{:<28} {:>16} {:>16} {:>9}\n", "", "A", "B", "change");
        let mut row = |name: &str, a: u64, b: u64| {
            let change = match (a, b) {
                _ if a == b => "=".to_owned(),
                (0, _) => "new".to_owned(),
                _ => format!("{:+.1} %", (b as f64 - a as f64) * 100.0 / a as f64),
            };
            let _ = writeln!(text, "{name:<28} {a:>16} {b:>16} {change:>9}");
        };
        row("instructions", a.total_insns, b.total_insns);
        let (all_a, all_b) = (a.all_faults(), b.all_faults());
        row("page faults", all_a.count, all_b.count);
        row("  instructions for them", all_a.insns, all_b.insns);
        let names_of = a.outcomes.keys().chain(b.outcomes.keys());
        for name in names_of.collect::<BTreeSet<_>>() {
            let of = |s: &Summary| s.outcomes.get(name).copied().unwrap_or_default();
            let mean = |tally: Tally| tally.insns / tally.count.max(1);
            let (of_a, of_b) = (of(a), of(b));
            row(&format!("  {name}"), of_a.count, of_b.count);
            if of_a.count > 0 && of_b.count > 0 && of_a.insns + of_b.insns > 0 {
                row("    instructions each", mean(of_a), mean(of_b));
            }
        }
        if let (Some(free_a), Some(free_b)) = (a.free, b.free) {
            row("free pages, fewest", free_a.least, free_b.least);
            row("free pages, at the end", free_a.end, free_b.end);
        }
        for cause in a.misses.keys().chain(b.misses.keys()).collect::<BTreeSet<_>>() {
            let of = |s: &Summary| s.misses.get(cause).copied().unwrap_or(0);
            row(&format!("TLB misses, {}", text::miss_word(*cause)), of(a), of(b));
        }
        format!("A: {}\nB: {}\n\n{text}", names[0], names[1])
    }

    fn all_faults(&self) -> Tally {
        self.outcomes.values().fold(Tally::default(), |sum, row| Tally {
            count: sum.count + row.count,
            insns: sum.insns + row.insns,
        })
    }

    fn report_outcomes(&self, text: &mut String) -> std::fmt::Result {
        let total = self.all_faults();
        writeln!(
            text,
            "\nPage faults: {} ({} traps), {} of {} instructions ({})",
            total.count,
            self.fault_traps,
            total.insns,
            self.total_insns,
            percent(total.insns, self.total_insns)
        )?;
        if !self.outcomes.is_empty() {
            writeln!(
                text,
                "  {:<16} {:>8} {:>7} {:>12} {:>9}",
                "outcome", "faults", "share", "insns", "mean"
            )?;
        }
        for (name, row) in &self.outcomes {
            let share = percent(row.count, total.count);
            let mean = row.insns / row.count.max(1);
            writeln!(text, "  {name:<16} {:>8} {share:>7} {:>12} {mean:>9}", row.count, row.insns)?;
        }
        let copied = self.outcomes.get("copied").map_or(0, |row| row.count);
        let last = self.outcomes.get("made writable").map_or(0, |row| row.count);
        if copied + last > 0 {
            let share = percent(copied, copied + last);
            writeln!(text, "  copy-on-write pages written: {}, copied {share}", copied + last)?;
        }
        Ok(())
    }

    fn report_costs(&self, text: &mut String) -> std::fmt::Result {
        let Some(most) = self.histogram.values().max() else { return Ok(()) };
        writeln!(text, "\nHandler cost, in instructions from trap to return")?;
        for (power, count) in &self.histogram {
            let bar = "#".repeat((count * 40).div_ceil(*most) as usize);
            let (from, to) = (1u64 << power, (2u64 << power) - 1);
            writeln!(text, "  {from:>9}..{to:<9} {count:>8} {bar}")?;
        }
        Ok(())
    }

    fn report_tlbs(&self, text: &mut String) -> std::fmt::Result {
        if self.tlbs.is_empty() {
            return Ok(());
        }
        writeln!(text, "\nModelled TLBs: misses by size, the one that was asked for first")?;
        writeln!(
            text,
            "  {:<24} {:<5} {:>9} {:>9} {:>8} {:>8} {:>8} {:>8} {:>9}  of accesses",
            "tlb", "side", "misses", "/1000 in.", "cold", "capacity", "satp", "sfence", "evictions"
        )?;
        for (config, insts, data) in &self.tlbs {
            for (side, tally) in [("insts", insts), ("data", data)] {
                let misses = tally.misses();
                let share = tally.accesses.map_or_else(
                    || "-".to_owned(),
                    |accesses| format!("{} of {accesses}", percent(misses, accesses)),
                );
                writeln!(
                    text,
                    "  {config:<24} {side:<5} {misses:>9} {:>9.3} {:>8} {:>8} {:>8} {:>8} {:>9}  \
                     {share}",
                    misses as f64 * 1000.0 / self.total_insns.max(1) as f64,
                    tally.cold,
                    tally.capacity,
                    tally.satp_write,
                    tally.sfence_vma,
                    tally.evictions
                )?;
            }
        }
        Ok(())
    }

    fn report_memory(&self, text: &mut String) -> std::fmt::Result {
        if let Some(FreePages { start, least, end, leak }) = self.free {
            let used = start.saturating_sub(end);
            let leak = leak.map_or_else(String::new, |leak| format!(", leak {leak}"));
            writeln!(
                text,
                "\nFree pages: {start} at the start, {least} at the fewest, {end} at the end \
                 ({used} in use{leak})"
            )?;
        }
        if !self.misses.is_empty() {
            let total: u64 = self.misses.values().sum();
            writeln!(text, "\nTLB misses: {total}")?;
            for (cause, count) in &self.misses {
                let share = percent(*count, total);
                writeln!(text, "  {:<16} {count:>8} {share:>7}", text::miss_word(*cause))?;
            }
        }
        self.report_tlbs(text)?;
        if self.findings > 0 {
            writeln!(text, "\nFindings of the checkers: {}", self.findings)?;
        }
        Ok(())
    }

    fn report_tops(&self, text: &mut String) -> std::fmt::Result {
        let processes = self.processes.iter().flat_map(|(pid, names)| {
            let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            let row = move |(name, row): &(Name, Tally)| {
                (format!("{pid:>4} {}", name.as_deref().unwrap_or("-")), *row)
            };
            names.iter().map(row)
        });
        top(text, "By process", "faults", processes)?;
        let mut sites: BTreeMap<String, Tally> = BTreeMap::new();
        for (place, row) in self.sites.iter() {
            let mut site = text::function(place);
            if let (Some(file), Some(line)) = (&place.file, place.line) {
                let _ = write!(site, " ({}:{line})", text::file_in_tree(file));
            }
            let sum = sites.entry(site).or_default();
            (sum.count, sum.insns) = (sum.count + row.count, sum.insns + row.insns);
        }
        top(text, "By code site", "faults", sites.into_iter())?;
        let paged = |(va, row): (&u64, &Tally)| (format!("{va:#x}"), *row);
        top(text, "By page", "faults", self.pages.iter().map(paged))?;
        let missing = self.missing.iter().map(|((pid, name), row)| {
            let pid = pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            (format!("{pid:>4} {}", name.as_deref().unwrap_or("-")), *row)
        });
        top(text, "TLB misses by process", "misses", missing)?;
        top(text, "TLB misses by page", "misses", self.missed.iter().map(paged))
    }
}

fn top(
    text: &mut String,
    title: &str,
    what: &str,
    rows: impl Iterator<Item = (String, Tally)>,
) -> std::fmt::Result {
    let mut rows: Vec<_> = rows.collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_by(|a, b| (b.1.count, &a.0).cmp(&(a.1.count, &b.0)));
    writeln!(text, "\n{title}")?;
    let insns = rows.iter().any(|(_, row)| row.insns > 0);
    writeln!(text, "  {what:>8} {:>12}", if insns { "insns" } else { "" })?;
    for (name, row) in rows.iter().take(TOP) {
        let insns = if insns { row.insns.to_string() } else { String::new() };
        writeln!(text, "  {:>8} {insns:>12}  {name}", row.count)?;
    }
    if rows.len() > TOP {
        writeln!(text, "  ({} more)", rows.len() - TOP)?;
    }
    Ok(())
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.1} %", part as f64 * 100.0 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::record::Outcome;

    #[test]
    fn faults_are_counted_by_outcome_process_site_and_page() {
        let fault = text::tests::sample();
        let mut killed = fault.clone();
        killed.outcome = Outcome::Killed;
        killed.cost = None;
        let mut summary = Summary::default();
        for fault in [fault.clone(), fault, killed] {
            summary.add(&Record::Fault(fault));
        }
        let text = summary.report(true);
        assert!(text.contains("Page faults: 3"), "{text}");
        assert!(
            text.contains("copied                  2  66.7 %          824       412"),
            "{text}"
        );
        assert!(text.contains("killed                  1"), "{text}");
        assert!(text.contains("256..511              2 ####"), "{text}");
        assert!(text.contains("3          824  0x3000"), "{text}");
    }
}
