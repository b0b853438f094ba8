//! Command lines as a shell reads them.

/// The words in one line, quoted where a shell would take them apart.
pub(super) fn line<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|w| quoted(w.as_ref())).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_=+./,:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn words_are_quoted_where_they_must_be() {
        let words = ["drg", "train", "a b.fa", "--cnn", "k=3+l=5", "", "it's", "a;b"];
        assert_eq!(super::line(&words), r"drg train 'a b.fa' --cnn k=3+l=5 '' 'it'\''s' 'a;b'");
    }
}
