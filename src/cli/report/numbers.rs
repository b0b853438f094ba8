//! Numbers and lists as people read them.

/// A count with commas between thousands.
pub(super) fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun, which is not alone for one: `1 track`, `3 tracks`.
pub(super) fn of(n: usize, noun: &str) -> String {
    format!("{} {noun}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Three decimals; a dash for a number that does not exist.
pub(super) fn three(v: f64) -> String {
    if v.is_nan() { "–".into() } else { format!("{v:.3}").replace('-', "−") }
}

/// Two decimals with a sign.
pub(super) fn signed(v: f64) -> String {
    format!("{v:+.2}").replace('-', "−")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn listed<S: AsRef<str>>(words: &[S]) -> String {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    match words.as_slice() {
        [] => String::new(),
        [one] => (*one).into(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_set_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((of(1, "track"), of(0, "track")), ("1 track".into(), "0 tracks".into()));
        assert_eq!([0.12345, -0.5, f64::NAN].map(three), ["0.123", "−0.500", "–"]);
        assert_eq!([0.0, 1.234, -2.0].map(signed), ["+0.00", "+1.23", "−2.00"]);
        assert_eq!((listed(&["a"]), listed(&["a", "b", "c"])), ("a".into(), "a, b and c".into()));
    }
}
