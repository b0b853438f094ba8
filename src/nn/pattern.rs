//! Patterns of tensor names: `*` stands for any text, `?` for one character.

use std::collections::BTreeSet;

use crate::error::{Error, Result, hint};
use crate::nn::param::{ParamId, Parameters};

impl Parameters {
    /// The tensors whose names fit a pattern, in the order of the state dict. A pattern without `*` and `?` is a name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the nearest pattern if there is none.
    pub fn matching(&self, pattern: &str) -> Result<Vec<ParamId>> {
        let names = || self.entries().iter().map(|e| e.name.as_str());
        let found: Vec<ParamId> =
            names().enumerate().filter(|(_, name)| fits(pattern, name)).map(|(id, _)| id).collect();
        if found.is_empty() {
            let mut near: BTreeSet<String> = names().map(String::from).collect();
            for name in names() {
                for (dot, _) in name.match_indices('.') {
                    near.insert(format!("{}.*", &name[..dot]));
                    near.insert(format!("*{}", &name[dot..]));
                }
            }
            let hint = hint(pattern, near.iter().map(String::as_str));
            return Err(Error::Usage(format!("no tensor of the model fits '{pattern}'{hint}; * stands for any text")));
        }
        Ok(found)
    }
}

/// Whether a whole name fits a pattern.
fn fits(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    // Behind the last `*`, and where in the name its text ends for now.
    let (mut i, mut j, mut star) = (0, 0, None);
    while j < n.len() {
        match (p.get(i), star) {
            (Some('*'), _) => {
                i += 1;
                star = Some((i, j));
            }
            (Some(&c), _) if c == '?' || c == n[j] => (i, j) = (i + 1, j + 1),
            (_, Some((behind, end))) => {
                (i, j) = (behind, end + 1);
                star = Some((behind, end + 1));
            }
            _ => return false,
        }
    }
    p[i..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::param::{Builder, Initial, Kind, Layout};
    use crate::tensor::DType;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, name, expected) in [
            ("a.b", "a.b", true),
            ("a.b", "a.bc", false),
            ("a*", "a", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("?", "", false),
            ("*.b", "a.b.b", true),
            ("a*b*c", "a.b.b.c", true),
            ("a*b*c", "a.c.b", false),
            ("a.?.c", "a.b.c", true),
            ("a.?.c", "a.bb.c", false),
            ("*ab", "aab", true),
            ("**a", "ba", true),
        ] {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_told_the_nearest() {
        let mut b = Builder::default();
        for name in ["convolutions.conv1d.weight", "convolutions.conv1d.bias", "classifier.Linear.weight"] {
            b.push(name, &[1], Layout::Plain, Kind::Parameter, Initial::Constant(0.0));
        }
        let p = b.finish(DType::F32, 1).unwrap();
        assert_eq!(p.matching("*.weight").unwrap(), [0, 2]);
        assert_eq!(p.matching("convolutions.*").unwrap(), [0, 1]);
        assert_eq!(p.matching("classifier.Linear.weight").unwrap(), [2]);
        for (pattern, near) in [
            ("convolutons.*", "convolutions.*"),
            ("convolutions", "convolutions.*"),
            ("*.wieght", "*.weight"),
            ("clasifier.Linear.weight", "classifier.Linear.weight"),
        ] {
            let message = p.matching(pattern).unwrap_err().to_string();
            assert!(message.contains(&format!("(did you mean '{near}'?)")), "{message}");
        }
        assert!(!p.matching("xyz").unwrap_err().to_string().contains("did you mean"));
    }
}
