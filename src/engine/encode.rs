//! Packed bases of sequences as batches for a network.

use crate::error::{Error, Result};
use crate::model::spec::ModelSpec;
use crate::seq::{Sequences, UNIFORM, complement};
use crate::tensor::Tensor;
use crate::util::par;

/// The sequences `rows` as packed bases with `shift` positions of 0.25 on either side, once for every offset by which they
/// are moved to the right (negative: left; no further than `shift`): `[offsets B, L + 2 shift]`, all sequences of an offset
/// together. A sequence whose flag is set is turned to the other strand.
///
/// # Errors
/// [`Error::Argument`] for a code that is none.
pub fn copies(sequences: &Sequences, rows: &[(usize, bool)], shift: usize, offsets: &[isize]) -> Result<Tensor> {
    let (length, width) = (sequences.length, sequences.length + 2 * shift);
    let mut codes = vec![UNIFORM; offsets.len() * rows.len() * width];
    par::rows(&mut codes, width, |first, run| {
        for (i, row) in run.chunks_exact_mut(width).enumerate() {
            let i = first + i;
            let (sequence, turned) = rows[i % rows.len()];
            let at = shift.saturating_add_signed(offsets[i / rows.len()]).min(2 * shift);
            let to = &mut row[at..at + length];
            to.copy_from_slice(sequences.row(sequence));
            if turned {
                to.reverse();
                to.iter_mut().for_each(|code| *code = complement(*code));
            }
        }
    });
    Tensor::bases(offsets.len() * rows.len(), width, codes)
}

/// Refuses sequences of another length than the network was built for.
///
/// # Errors
/// [`Error::Shape`].
pub fn check_length(sequences: &Sequences, spec: &ModelSpec) -> Result<()> {
    if sequences.length == spec.length {
        return Ok(());
    }
    Err(Error::Shape {
        op: "sequences",
        arg: "length",
        expected: format!("{}, for which the model was built", spec.length),
        found: vec![sequences.length],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_moved_and_turned() {
        let names = vec!["a".into(), "b".into()];
        let s = Sequences::from_strings(names, &["ACGNN", "TTGCA"]).unwrap();
        let plain = copies(&s, &[(1, false), (0, false)], 0, &[0]).unwrap();
        assert_eq!(plain.codes().unwrap(), [3, 3, 2, 1, 0, 0, 1, 2, 4, 4]);
        let x = copies(&s, &[(0, true), (1, false)], 2, &[0, -2, 1]).unwrap();
        assert_eq!(x.shape(), [6, 9]);
        let row = |i: usize| x.codes().unwrap()[i * 9..][..9].to_vec();
        assert_eq!(row(0), [5, 5, 4, 4, 1, 2, 3, 5, 5]);
        assert_eq!(row(1), [5, 5, 3, 3, 2, 1, 0, 5, 5]);
        assert_eq!(row(3), [3, 3, 2, 1, 0, 5, 5, 5, 5]);
        assert_eq!(row(4), [5, 5, 5, 4, 4, 1, 2, 3, 5]);
        assert!(copies(&s, &[], 1, &[0]).unwrap().is_empty());
    }
}
