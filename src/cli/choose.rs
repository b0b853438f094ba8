//! Choosing among named things on the command line.

use crate::error::{Error, Result, hint};

/// Indices of the things in `names` that `wanted` chooses, in the order of `wanted`: each is a name, an index from 0, or
/// a range of indices `a:b` (end not included). `what` is the plural for messages, e.g. `tracks`.
///
/// # Errors
/// [`Error::Usage`] for a name that is not there, an index beyond the end, an empty range.
pub(super) fn choose(what: &str, names: &[String], wanted: &[String]) -> Result<Vec<usize>> {
    let mut chosen = Vec::new();
    for word in wanted {
        if let Some(i) = names.iter().position(|name| name == word) {
            chosen.push(i);
        } else if let Ok(i) = word.parse::<usize>() {
            if i >= names.len() {
                return Err(Error::Usage(format!(
                    "{what}: there is no index {i}; the indices are 0 to {}",
                    names.len() - 1
                )));
            }
            chosen.push(i);
        } else if let Some((a, b)) = range(word) {
            if a >= b || b > names.len() {
                let n = names.len();
                return Err(Error::Usage(format!("{what}: {word} is no range of indices within 0:{n}")));
            }
            chosen.extend(a..b);
        } else {
            let similar = hint(word, names.iter().map(String::as_str));
            let there = crate::io::first_few(names);
            return Err(Error::Usage(format!(
                "{what}: there is no '{word}'{similar}; there are {} ({there})",
                names.len()
            )));
        }
    }
    Ok(chosen)
}

/// Ends of `a:b`.
pub(super) fn range(text: &str) -> Option<(usize, usize)> {
    let (a, b) = text.split_once(':')?;
    Some((a.trim().parse().ok()?, b.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(wanted: &[&str]) -> Result<Vec<usize>> {
        let names = ["liver", "lung", "1", "chr1:5"].map(String::from);
        choose("tracks", &names, &wanted.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn names_indices_and_ranges() {
        assert_eq!(choices(&["lung", "0"]).unwrap(), [1, 0]);
        assert_eq!(choices(&["1", "chr1:5"]).unwrap(), [2, 3], "a name goes before an index or a range");
        assert_eq!(choices(&["1:3", "3:4"]).unwrap(), [1, 2, 3]);
        assert!(choices(&[]).unwrap().is_empty());
    }

    #[test]
    fn unknown_choices_are_refused() {
        let text = |word| choices(&[word]).unwrap_err().to_string();
        assert_eq!(text("4"), "tracks: there is no index 4; the indices are 0 to 3");
        assert_eq!(text("2:5"), "tracks: 2:5 is no range of indices within 0:4");
        assert_eq!(text("2:2"), "tracks: 2:2 is no range of indices within 0:4");
        let expected = "tracks: there is no 'livr' (did you mean 'liver'?); there are 4 (liver, lung, 1, ...)";
        assert_eq!(text("livr"), expected);
    }
}
