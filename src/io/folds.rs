//! Files that say which sequences train, validate and test.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::text::{self, Lines};
use crate::error::{Error, Result};
use crate::seq::split::Split;

/// What a fold file says.
#[derive(Clone, Debug)]
pub struct Folds {
    path: PathBuf,
    sets: Sets,
}

#[derive(Clone, Debug)]
enum Sets {
    /// Names of each set; a fold tests one and validates on the next.
    Numbered(Vec<Vec<String>>),
    /// The three parts themselves.
    Named(Parts),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Parts {
    train: Vec<String>,
    #[serde(alias = "validation", alias = "val")]
    valid: Vec<String>,
    test: Vec<String>,
}

/// A split of a data set, and how well the file and the data fit each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoldSplit {
    /// Rows of the data; all ascending.
    pub split: Split,
    /// Names of the file that the data do not have.
    pub unknown: usize,
    /// Rows of the data in no part (only where the file names the training set too).
    pub unused: usize,
}

impl Folds {
    /// Reads a fold file: one set a line, names between blanks, lines that start with `#` and empty lines skipped; or
    /// JSON `{"train": [..], "valid": [..], "test": [..]}`.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for fewer than two sets or a name in two of them.
    pub fn read(path: &Path) -> Result<Self> {
        let sets = if text::extension(path) == "json" {
            let mut content = String::new();
            text::open(path)?.read_to_string(&mut content).map_err(Error::io("read", path))?;
            let parts: Parts = serde_json::from_str(&content).map_err(|e| {
                Error::file(path, format!("expected {{\"train\": [..], \"valid\": [..], \"test\": [..]}}: {e}"))
            })?;
            check_apart(path, &[("train", &parts.train), ("valid", &parts.valid), ("test", &parts.test)])?;
            Sets::Named(parts)
        } else {
            Sets::Numbered(read_sets(path)?)
        };
        Ok(Self { path: path.into(), sets })
    }

    /// Number of sets, that is of folds; 1 for a file that names its parts.
    pub fn len(&self) -> usize {
        match &self.sets {
            Sets::Numbered(sets) => sets.len(),
            Sets::Named(_) => 1,
        }
    }

    /// Never: a file without sets is refused.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Split of rows named `names` for `fold`: validation is that set, test the one after it (after the last the
    /// first), training everything else. For a file that names its parts the fold must be 0.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such fold; [`Error::Parse`] if the data have no name of one of the parts.
    pub fn split(&self, names: &[String], fold: usize) -> Result<FoldSplit> {
        if fold >= self.len() {
            let n = self.len();
            let range = if n == 1 { "only fold 0".to_string() } else { format!("folds 0 to {}", n - 1) };
            return Err(Error::Usage(format!("fold {fold}: {} has {range}", self.path.display())));
        }
        let rows: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
        let find = |set: &[String]| {
            let mut found: Vec<usize> = set.iter().filter_map(|n| rows.get(n.as_str()).copied()).collect();
            found.sort_unstable();
            found.dedup();
            found
        };
        let all: Vec<&Vec<String>> = match &self.sets {
            Sets::Numbered(sets) => sets.iter().collect(),
            Sets::Named(parts) => vec![&parts.train, &parts.valid, &parts.test],
        };
        let known: HashSet<&str> = all.iter().flat_map(|s| s.iter()).map(String::as_str).collect();
        let unknown = known.iter().filter(|n| !rows.contains_key(*n)).count();
        let (split, unused) = match &self.sets {
            Sets::Numbered(sets) => {
                let (validation, test) = (find(&sets[fold]), find(&sets[(fold + 1) % sets.len()]));
                (Split::from_held_out(names.len(), validation, test), 0)
            }
            Sets::Named(parts) => {
                let split =
                    Split { train: find(&parts.train), validation: find(&parts.valid), test: find(&parts.test) };
                let used = split.train.len() + split.validation.len() + split.test.len();
                (split, names.len() - used)
            }
        };
        for (part, rows) in [("training", &split.train), ("validation", &split.validation), ("test", &split.test)] {
            if rows.is_empty() {
                let (ours, theirs) = (names.first(), all.iter().find_map(|s| s.first()));
                let like = |name: Option<&String>| name.map_or_else(String::new, |n| format!(" like '{n}'"));
                let what = format!(
                    "the {part} set of fold {fold} is empty: the data have names{}, the file has names{}",
                    like(ours),
                    like(theirs)
                );
                return Err(Error::file(&self.path, what));
            }
        }
        Ok(FoldSplit { split, unknown, unused })
    }
}

fn read_sets(path: &Path) -> Result<Vec<Vec<String>>> {
    let mut lines = Lines::open(path)?;
    let mut sets = Vec::new();
    let mut numbers = Vec::new();
    while let Some((number, line)) = lines.next_text()? {
        if !line.starts_with('#') && !line.trim().is_empty() {
            sets.push(line.split_whitespace().map(String::from).collect::<Vec<_>>());
            numbers.push(format!("line {number}"));
        }
    }
    if sets.len() < 2 {
        let what = format!("expected two sets of names or more, one a line; found {}", sets.len());
        return Err(Error::file(path, what));
    }
    let named: Vec<(&str, &Vec<String>)> = numbers.iter().map(String::as_str).zip(&sets).collect();
    check_apart(path, &named)?;
    Ok(sets)
}

/// A sequence in two sets would be tested by a model that has seen it.
fn check_apart(path: &Path, sets: &[(&str, &Vec<String>)]) -> Result<()> {
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for &(set, names) in sets {
        for name in names {
            match seen.insert(name, set) {
                Some(other) if other != set => {
                    return Err(Error::file(path, format!("name '{name}' is in two sets: {other} and {set}")));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::npz::Npz;
    use super::super::testing::{file, shared, text};
    use super::*;
    use crate::seq::split::fold_split;

    fn names(text: &str) -> Vec<String> {
        text.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn sets_of_a_text_file() {
        let (folder, path) = file("f.txt", "# Set_0\nb a\n\n# Set_1\nc  x y\n# Set_2\ne d\n\n");
        let folds = Folds::read(&path).unwrap();
        assert_eq!(folds.len(), 3);
        let data = names("a b c d e f");
        let FoldSplit { split, unknown, unused } = folds.split(&data, 0).unwrap();
        assert_eq!((split.validation, split.test, split.train), (vec![0, 1], vec![2], vec![3, 4, 5]));
        assert_eq!((unknown, unused), (2, 0));
        let last = folds.split(&data, 2).unwrap().split;
        assert_eq!((last.validation, last.test, last.train), (vec![3, 4], vec![0, 1], vec![2, 5]));
        assert_eq!(text(folds.split(&data, 3), &folder), "fold 3: f.txt has folds 0 to 2");
        assert_eq!(
            text(folds.split(&names("a d q"), 0), &folder),
            "f.txt: the test set of fold 0 is empty: the data have names like 'a', the file has names like 'b'"
        );
    }

    #[test]
    fn parts_of_a_json_file() {
        let (folder, path) = file("f.json", r#"{"train": ["a", "b", "z"], "valid": ["c"], "test": ["d"]}"#);
        let found = Folds::read(&path).unwrap().split(&names("d c b a e"), 0).unwrap();
        assert_eq!((found.split.train, found.split.validation, found.split.test), (vec![2, 3], vec![1], vec![0]));
        assert_eq!((found.unknown, found.unused), (1, 1));
        assert_eq!(text(Folds::read(&path).unwrap().split(&names("a"), 1), &folder), "fold 1: f.json has only fold 0");
        let (folder, path) = file("f.json", r#"{"train": ["a"], "test": ["d"]}"#);
        assert!(text(Folds::read(&path), &folder).contains("missing field `valid`"));
        let (folder, path) = file("f.json", r#"{"train": ["a"], "val": ["b"], "test": ["a"]}"#);
        assert_eq!(text(Folds::read(&path), &folder), "f.json: name 'a' is in two sets: train and test");
    }

    #[test]
    fn bad_files() {
        let of = |content: &str| {
            let (folder, path) = file("f.txt", content);
            text(Folds::read(&path), &folder)
        };
        assert_eq!(of(""), "f.txt: expected two sets of names or more, one a line; found 0");
        assert_eq!(of("a b\n\n"), "f.txt: expected two sets of names or more, one a line; found 1");
        assert_eq!(of("a b a\n#\nc a\n"), "f.txt: name 'a' is in two sets: line 1 and line 3");
    }

    /// Splits that the reference program made (index arrays, order included).
    #[test]
    fn numbered_folds_are_those_of_the_reference() {
        let Some(path) = shared("15_split_metrics/io.npz") else {
            return;
        };
        let mut npz = Npz::open(&path).unwrap();
        for case in 0..4 {
            let mut get = |key: &str| npz.numbers::<i64>(&format!("split{case}_{key}")).unwrap().1;
            let args = get("args");
            let labels: Vec<bool> = get("class").iter().map(|&c| c == 1).collect();
            assert_eq!(labels.len() as i64, args[0]);
            let split = fold_split(&labels, args[1] as usize, args[2] as usize).unwrap();
            let as_i64 = |rows: &[usize]| rows.iter().map(|&i| i as i64).collect::<Vec<_>>();
            assert_eq!(as_i64(&split.test), get("test"), "case {case}");
            assert_eq!(as_i64(&split.validation), get("val"), "case {case}");
            assert_eq!(as_i64(&split.train), get("train"), "case {case}");
        }
    }
}
