//! The log of losses: one line an epoch, tab-separated, without a header: epoch, training loss and validation loss on the
//! validation set, training loss and validation loss on the training set.

use super::control::Losses;
use crate::model::options::python_float;

/// A line of the log. Losses are rounded to six decimals and written as Python writes floats.
pub(super) fn line(epoch: usize, training: Losses, validation: Losses) -> String {
    let columns = [validation.training, validation.validation, training.training, training.validation];
    let columns = columns.map(|v| python_float((v * 1e6).round_ties_even() / 1e6));
    format!("{epoch}\t{}\n", columns.join("\t"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_reference() {
        let training = Losses { training: 1.163_689_804_077_148_4, validation: 4.6e-6 };
        let validation = Losses { training: 0.985_650_2, validation: f64::NAN };
        assert_eq!(line(0, training, validation), "0\t0.98565\tnan\t1.16369\t5e-06\n");
        let whole = Losses { training: 2.0, validation: 15088.725 };
        assert_eq!(line(12, whole, whole), "12\t2.0\t15088.725\t2.0\t15088.725\n");
    }
}
