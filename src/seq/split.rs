//! Which sequences train, validate and test: the arithmetic alone; fold files are read in `io::folds`.

use rand_mt::Mt;

use crate::error::{Error, Result};

/// Indices of the three parts of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Sequences to learn from, ascending.
    pub train: Vec<usize>,
    /// Sequences that decide when to stop.
    pub validation: Vec<usize>,
    /// Sequences that are never seen in training.
    pub test: Vec<usize>,
}

impl Split {
    /// Validation and test as given, training the rest of `0..n`, ascending.
    pub fn from_held_out(n: usize, validation: Vec<usize>, test: Vec<usize>) -> Self {
        let mut held_out = vec![false; n];
        for &i in validation.iter().chain(&test) {
            held_out[i] = true;
        }
        let train = (0..n).filter(|&i| !held_out[i]).collect();
        Self { train, validation, test }
    }

    /// How many sequences are in validation and in test at once. [`fold_split`] makes a few when a class is no multiple
    /// of the number of folds; a score on such a test set is a little too good.
    pub fn shared(&self) -> usize {
        let test: std::collections::HashSet<usize> = self.test.iter().copied().collect();
        self.validation.iter().filter(|i| test.contains(i)).count()
    }
}

/// Seed of the permutation behind numbered folds; fixed, so that fold 3 of 10 is the same everywhere.
pub const FOLD_SEED: u32 = 1010;

/// Split into `folds` parts of which `fold` is the test set and the one before it the validation set, class by class,
/// after a fixed permutation. Test and validation keep the order of the permutation.
///
/// For class sizes that are no multiple of `folds` the slices overlap or leave gaps: this is how the folds of published
/// models were made, see [`Split::shared`].
///
/// # Errors
/// [`Error::Argument`] if there are fewer than two folds, `fold` is none of them, or a part comes out empty.
pub fn fold_split(labels: &[bool], folds: usize, fold: usize) -> Result<Split> {
    let refuse = |what: String| Err(Error::Argument { op: "folds", what });
    if folds < 2 || fold >= folds {
        return refuse(format!("fold {fold} of {folds}: expected at least 2 folds and a fold from 0 to folds - 1"));
    }
    let order = numpy_permutation(labels.len(), FOLD_SEED);
    let (mut validation, mut test) = (Vec::new(), Vec::new());
    for class in [false, true] {
        let members: Vec<usize> = order.iter().copied().filter(|&i| labels[i] == class).collect();
        test.extend_from_slice(fold_slice(&members, folds, fold));
        validation.extend_from_slice(fold_slice(&members, folds, (fold + folds - 1) % folds));
    }
    let split = Split::from_held_out(labels.len(), validation, test);
    let parts = [("training", &split.train), ("validation", &split.validation), ("test", &split.test)];
    for (part, rows) in parts {
        if rows.is_empty() {
            let n = labels.len();
            return refuse(format!("the {part} set of fold {fold} of {folds} is empty: there are only {n} sequences"));
        }
    }
    Ok(split)
}

fn fold_slice(members: &[usize], folds: usize, fold: usize) -> &[usize] {
    let n = members.len();
    let rest = n % folds;
    let start_of = |f: usize| (f as f64 / folds as f64 * n as f64) as usize;
    let extra = if fold < rest { fold } else { 0 };
    let end = start_of(fold + 1) + extra + usize::from(fold + 1 < rest);
    let start = (start_of(fold) + extra).min(n);
    &members[start..end.clamp(start, n)]
}

/// Class of each row for [`fold_split`]: whether any of its values is `cutoff` or more in size. `tables` are row-major
/// values with their number of columns, one per modality, all with `rows` rows.
pub fn active_rows(tables: &[(&[f64], usize)], rows: usize, cutoff: f64) -> Vec<bool> {
    let active = |i: usize| {
        tables.iter().any(|&(values, columns)| values[i * columns..(i + 1) * columns].iter().any(|v| v.abs() >= cutoff))
    };
    (0..rows).map(active).collect()
}

/// The order that `numpy.random.seed(seed); numpy.random.permutation(n)` gives.
pub fn numpy_permutation(n: usize, seed: u32) -> Vec<usize> {
    let mut random = Mt::new(seed);
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        let mask = (i + 1).next_power_of_two() - 1;
        let j = loop {
            let j = random.next_u32() as usize & mask;
            if j <= i {
                break j;
            }
        };
        order.swap(i, j);
    }
    order
}

/// Split by a hash (CRC-32) of the names modulo `folds`: `fold` is validation, the one after it test. A name keeps its fold
/// whatever else is in the data. Names that agree up to the first `until` go together, e.g. both orientations of an element.
///
/// # Errors
/// [`Error::Argument`] for a fold that is not there or an empty part.
pub fn hashed_split(names: &[String], until: Option<&str>, folds: usize, fold: usize) -> Result<Split> {
    let refuse = |what: String| Err(Error::Argument { op: "folds", what });
    if folds < 2 || fold >= folds {
        return refuse(format!("fold {fold} of {folds}: expected at least 2 folds and a fold from 0 to folds - 1"));
    }
    let group = |name: &str| {
        let end = until.filter(|u| !u.is_empty()).and_then(|u| name.find(u)).unwrap_or(name.len());
        let mut crc = flate2::Crc::new();
        crc.update(&name.as_bytes()[..end]);
        crc.sum() as usize % folds
    };
    let groups: Vec<usize> = names.iter().map(|n| group(n)).collect();
    let rows = |wanted: usize| (0..names.len()).filter(|&i| groups[i] == wanted).collect::<Vec<_>>();
    let split = Split::from_held_out(names.len(), rows(fold), rows((fold + 1) % folds));
    if split.train.is_empty() || split.validation.is_empty() || split.test.is_empty() {
        return refuse(format!(
            "{} names make {} groups of hashes: a part is empty; use fewer folds",
            names.len(),
            groups.iter().collect::<std::collections::HashSet<_>>().len()
        ));
    }
    Ok(split)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.random.seed(1010); numpy.random.permutation(12)`, numpy 2.4.
    #[test]
    fn permutation_is_numpys() {
        assert_eq!(numpy_permutation(12, FOLD_SEED), [0, 7, 1, 10, 11, 9, 3, 6, 5, 2, 8, 4]);
        assert_eq!(numpy_permutation(1, 5), [0]);
        assert!(numpy_permutation(0, 5).is_empty());
    }

    #[test]
    fn rows_are_active_from_the_cutoff_on() {
        let tables = [(&[0.1, -2.0, 0.0, 1.9, 0.0, f64::NAN][..], 2), (&[0.0, 2.0, 0.0][..], 1)];
        assert_eq!(active_rows(&tables, 3, 2.0), [true, true, false]);
        assert_eq!(active_rows(&tables, 3, 0.0), [true; 3]);
    }

    #[test]
    fn parts_of_a_whole_number_of_folds_do_not_touch() {
        let labels: Vec<bool> = (0..60).map(|i| i % 3 == 0).collect();
        let mut tested = Vec::new();
        for fold in 0..10 {
            let split = fold_split(&labels, 10, fold).unwrap();
            assert_eq!((split.train.len(), split.validation.len(), split.test.len()), (48, 6, 6));
            assert_eq!(split.shared(), 0);
            tested.extend(split.test);
        }
        tested.sort_unstable();
        assert_eq!(tested, (0..60).collect::<Vec<_>>());
    }

    #[test]
    fn other_sizes_share_a_few() {
        let shared: usize = (0..10).map(|f| fold_split(&[false; 103], 10, f).unwrap().shared()).sum();
        assert_eq!(shared, 2);
    }

    #[test]
    fn impossible_folds_are_refused() {
        let text = |n, folds, fold| fold_split(&vec![false; n], folds, fold).unwrap_err().to_string();
        assert!(text(20, 10, 10).starts_with("folds: fold 10 of 10: expected at least 2 folds"));
        assert!(text(20, 1, 0).contains("at least 2"));
        assert_eq!(text(0, 10, 0), "folds: the training set of fold 0 of 10 is empty: there are only 0 sequences");
    }
}
