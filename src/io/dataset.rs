//! Inputs and targets row by row: what a training run starts from.

use super::targets::{Targets, common_rows};
use crate::error::Result;
use crate::seq::Sequences;

/// Inputs and targets with the same rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// Names of the rows, ascending byte by byte.
    pub names: Vec<String>,
    /// Sequences, one set for each input of the model.
    pub inputs: Vec<Sequences>,
    /// Measurements, one matrix for each modality.
    pub targets: Vec<Targets>,
    /// How many names are in some of the files only and were left out.
    pub left_out: usize,
}

/// Rows whose names all inputs and all targets have, ordered by name.
///
/// # Errors
/// [`crate::Error::Usage`] if no name is in all of them.
pub fn align(inputs: Vec<Sequences>, targets: Vec<Targets>) -> Result<Dataset> {
    let lists: Vec<&[String]> =
        inputs.iter().map(|s| s.names.as_slice()).chain(targets.iter().map(|t| t.names.as_slice())).collect();
    let all: std::collections::HashSet<&str> = lists.iter().flat_map(|l| l.iter()).map(String::as_str).collect();
    let mut rows = common_rows(&lists)?.into_iter();
    let names: Vec<String> = match (lists.first(), rows.as_slice().first()) {
        (Some(list), Some(rows)) => rows.iter().map(|&i| list[i].clone()).collect(),
        _ => Vec::new(),
    };
    let left_out = all.len() - names.len();
    // By value, one after the other: both forms of all inputs together may not fit into memory.
    let inputs = inputs.into_iter().zip(&mut rows).map(|(s, rows)| s.select(&rows)).collect();
    let targets = targets.into_iter().zip(&mut rows).map(|(t, rows)| t.select(&rows)).collect();
    Ok(Dataset { names, inputs, targets, left_out })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(' ').map(String::from).collect()
    }

    #[test]
    fn rows_are_joined_by_name() {
        let a = Sequences::from_strings(names("s10 s2 S1 x"), &["AA", "CC", "GG", "TT"]).unwrap();
        let b = Sequences::from_strings(names("S1 s10 s2"), &["G", "A", "C"]).unwrap();
        let y =
            Targets { names: names("s2 z S1 s10"), tracks: names("t"), values: vec![2.0, 0.0, 1.0, 10.0], bins: None };
        let d = align(vec![a.clone(), b.clone()], vec![y.clone(), y.clone()]).unwrap();
        assert_eq!((d.names.clone(), d.left_out), (names("S1 s10 s2"), 2));
        assert_eq!((d.inputs[0].to_string(1), d.inputs[1].to_string(2)), ("AA".into(), "C".into()));
        assert_eq!((d.targets[1].values.clone(), d.targets[0].names.clone()), (vec![1.0, 10.0, 2.0], d.names));
        assert_eq!(align(vec![b], vec![]).unwrap().names, names("S1 s10 s2"));
        assert!(align(vec![], vec![]).unwrap().names.is_empty());
        let other = Targets { names: names("q"), tracks: names("t"), values: vec![0.0], bins: None };
        assert_eq!(
            align(vec![a], vec![other]).unwrap_err().to_string(),
            "no name is in all inputs and targets; their names are [s10, s2, S1, ...], [q]"
        );
    }
}
