//! Comparing output with a pattern: a line `...` stands for any number of lines, and `...` within
//! a line for any characters.

/// What the command printed: everything behind the kernel's own first lines.
pub fn without_boot_lines(text: &str) -> String {
    let boot = |line: &&str| {
        line.is_empty()
            || *line == "xv6 kernel is booting"
            || (line.starts_with("hart ") && line.ends_with(" starting"))
    };
    text.lines().skip_while(boot).map(|line| format!("{line}\n")).collect()
}

/// Whether `text` is what `pattern` says.
pub fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<&str> = pattern.lines().collect();
    rest_matches(&pattern, &text.lines().collect::<Vec<_>>())
}

fn rest_matches(pattern: &[&str], text: &[&str]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((&"...", tail)) => (0..=text.len()).any(|skip| rest_matches(tail, &text[skip..])),
        Some((line, tail)) => match text.split_first() {
            Some((first, rest)) => line_matches(line, first) && rest_matches(tail, rest),
            None => false,
        },
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once("...") {
        None => pattern == line,
        Some((head, tail)) => line.strip_prefix(head).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
            ends.any(|at| line_matches(tail, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_stand_for_any_lines() {
        assert!(matches("a\n...\nd\n", "a\nb\nc\nd\n"));
        assert!(matches("a\n...\nd\n", "a\nd\n"));
        assert!(!matches("a\n...\nd\n", "a\nb\n"));
        assert!(!matches("a\n", "a\nb\n"));
    }

    #[test]
    fn dots_within_a_line_stand_for_any_characters() {
        assert!(matches("sepc=0x... stval=0x4008\n", "sepc=0x12 stval=0x4008\n"));
        assert!(matches("a...b...c\n", "a1bb2c\n"));
        assert!(!matches("sepc=0x... stval=0x4008\n", "sepc=0x12 stval=0x4008 (why)\n"));
        assert!(!matches("sepc=0x... stval=0x4008\n", "sepc=0x12\n stval=0x4008\n"));
    }

    #[test]
    fn boot_lines_are_the_kernels() {
        let text = "\nxv6 kernel is booting\n\nhart 1 starting\nx\n\nhart 2 starting\n";
        assert_eq!(without_boot_lines(text), "x\n\nhart 2 starting\n");
    }
}
