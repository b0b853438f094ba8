//! Counts of k-mers: the features of linear models of sequences.

use serde::{Deserialize, Serialize};

use super::{Sequences, complement, decode};
use crate::error::{Error, Result};
use crate::util::par;

/// Longest k-mer; tables of its words have 4^k places.
const LONGEST: usize = 10;

/// Which k-mers are counted, and how. [`Kmers::new`] makes the list of features from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Lengths k, each from 1 to 10.
    pub lengths: Vec<usize>,
    /// Numbers of free bases between the two halves of a k-mer (the first half is the longer one); 0 is the k-mer in one piece.
    pub gaps: Vec<usize>,
    /// A k-mer and its reverse complement are one feature, counted on one strand; it has the name that comes first in the alphabet.
    pub both_strands: bool,
    /// Counts are divided by the number of places that were counted for k-mers of this form, so that sequences of different
    /// lengths compare.
    pub frequencies: bool,
}

/// Features of a [`Choice`]: for each form (length and gap) all its words in the order of the alphabet.
#[derive(Clone, Debug)]
pub struct Kmers {
    choice: Choice,
    forms: Vec<Form>,
    names: Vec<String>,
}

/// K-mers of one length and gap.
#[derive(Clone, Debug)]
struct Form {
    /// Positions of the bases, from the start of the word.
    offsets: Vec<usize>,
    /// Feature of every word; words are numbers with the first base in the highest place.
    feature: Vec<u32>,
    /// Its features: a range of all.
    first: usize,
    end: usize,
}

impl Kmers {
    /// The features of `choice`.
    ///
    /// # Errors
    /// [`Error::Usage`] for a length outside 1..=10, no length or gap, one that comes twice, a gap in a k-mer of one base, or a gap
    /// in k-mers of odd length whose strands are to be one (the other strand would have its gap elsewhere).
    pub fn new(choice: &Choice) -> Result<Self> {
        let wrong = |what: String| Err(Error::Usage(format!("k-mers: {what}")));
        for (what, list) in [("length", &choice.lengths), ("gap", &choice.gaps)] {
            if list.is_empty() {
                return wrong(format!("expected at least one {what}, found none"));
            }
            if let Some((i, twice)) = list.iter().enumerate().find(|(i, v)| list[..*i].contains(v)) {
                return wrong(format!("{what} {twice} comes twice (second time at place {})", i + 1));
            }
        }
        let (mut forms, mut names) = (vec![], vec![]);
        for &k in &choice.lengths {
            if !(1..=LONGEST).contains(&k) {
                return wrong(format!("expected a length from 1 to {LONGEST}, found {k}"));
            }
            for &gap in &choice.gaps {
                if gap > 0 && k == 1 {
                    return wrong("a single base has no gap; use lengths of 2 and more".into());
                }
                if gap > 0 && k % 2 == 1 && choice.both_strands {
                    return wrong(format!(
                        "with a gap and both strands as one the length must be even, found {k}: the reverse complement of a word \
                         of odd length has its gap elsewhere"
                    ));
                }
                forms.push(Form::new(k, gap, choice.both_strands, &mut names));
            }
        }
        Ok(Self { choice: choice.clone(), forms, names })
    }

    /// What was chosen.
    pub fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Names of the F features: words of A, C, G, T, with N for free bases.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Counts of one sequence, `[F]`, written into `counts`. Words with an unknown base are not counted. Panics if `counts` has
    /// another length.
    pub fn count(&self, bases: &[u8], counts: &mut [f64]) {
        assert_eq!(counts.len(), self.names.len(), "one count a feature");
        counts.fill(0.0);
        for form in &self.forms {
            let span = form.offsets.last().map_or(0, |last| last + 1);
            let mut places = 0.0;
            for window in bases.windows(span) {
                let word = form.offsets.iter().try_fold(0, |word, &o| {
                    let base = usize::from(window[o]);
                    (base < 4).then_some(4 * word + base)
                });
                if let Some(word) = word {
                    counts[form.feature[word] as usize] += 1.0;
                    places += 1.0;
                }
            }
            if self.choice.frequencies && places > 0.0 {
                counts[form.first..form.end].iter_mut().for_each(|c| *c /= places);
            }
        }
    }

    /// Counts of the sequences `rows` of each input, [N, inputs x F]: the features of the inputs one after the other. Panics if
    /// there is no such row.
    pub fn table(&self, inputs: &[Sequences], rows: &[usize]) -> Vec<f64> {
        let features = self.names.len();
        let width = inputs.len() * features;
        let mut table = vec![0.0; rows.len() * width];
        par::rows(&mut table, width, |first, some| {
            for (i, row) in some.chunks_exact_mut(width).enumerate() {
                for (input, counts) in inputs.iter().zip(row.chunks_exact_mut(features)) {
                    self.count(input.row(rows[first + i]), counts);
                }
            }
        });
        table
    }
}

impl Form {
    fn new(k: usize, gap: usize, both_strands: bool, names: &mut Vec<String>) -> Self {
        let half = k.div_ceil(2);
        let offsets: Vec<usize> = (0..k).map(|i| if i < half { i } else { i + gap }).collect();
        let first = names.len();
        let base = |word: usize, i: usize| ((word >> (2 * (k - 1 - i))) & 3) as u8;
        let mut feature = vec![0; 1 << (2 * k)];
        for word in 0..feature.len() {
            let other = (0..k).rev().fold(0, |other, i| 4 * other + usize::from(complement(base(word, i))));
            if both_strands && other < word {
                feature[word] = feature[other];
                continue;
            }
            feature[word] = names.len() as u32;
            let letters =
                |range: std::ops::Range<usize>| range.map(|i| decode(base(word, i)) as char).collect::<String>();
            names.push(format!("{}{}{}", letters(0..half), "N".repeat(gap), letters(half..k)));
        }
        Self { offsets, feature, first, end: names.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seq::reverse_complement;
    use crate::util::philox::Philox;

    fn choice(lengths: &[usize], gaps: &[usize], both_strands: bool) -> Choice {
        Choice { lengths: lengths.into(), gaps: gaps.into(), both_strands, frequencies: false }
    }

    fn counted(kmers: &Kmers, text: &str) -> Vec<(String, f64)> {
        let mut counts = vec![0.0; kmers.names().len()];
        kmers.count(&crate::seq::encode_all(text.as_bytes()).unwrap().0, &mut counts);
        kmers.names().iter().cloned().zip(counts).filter(|(_, c)| *c > 0.0).collect()
    }

    fn list(pairs: &[(&str, f64)]) -> Vec<(String, f64)> {
        pairs.iter().map(|(n, c)| (n.to_string(), *c)).collect()
    }

    #[test]
    fn words_are_counted_where_they_stand() {
        let two = Kmers::new(&choice(&[2], &[0], false)).unwrap();
        assert_eq!((two.names().len(), two.names()[1].as_str()), (16, "AC"));
        assert_eq!(counted(&two, "AACNAC"), list(&[("AA", 1.0), ("AC", 2.0)]));
        assert!(counted(&two, "A").is_empty() && counted(&two, "").is_empty());
        let merged = Kmers::new(&choice(&[2], &[0], true)).unwrap();
        assert_eq!(merged.names().len(), 10);
        assert_eq!(counted(&merged, "ACGTT"), list(&[("AA", 1.0), ("AC", 2.0), ("CG", 1.0)]));
        let gapped = Kmers::new(&choice(&[1, 2], &[0], false)).unwrap();
        assert_eq!(counted(&gapped, "AC"), list(&[("A", 1.0), ("C", 1.0), ("AC", 1.0)]));
        let gapped = Kmers::new(&choice(&[3], &[2], false)).unwrap();
        assert_eq!(counted(&gapped, "ACGTANT"), list(&[("ACNNA", 1.0), ("GTNNT", 1.0)]));
        let parts = Kmers::new(&Choice { frequencies: true, ..choice(&[1, 2], &[0], false) }).unwrap();
        assert_eq!(counted(&parts, "AANC")[..2], list(&[("A", 2.0 / 3.0), ("C", 1.0 / 3.0)]));
    }

    #[test]
    fn both_strands_count_the_same() {
        let mut random = Philox::new(3, 0);
        for (k, gap) in [(1, 0), (3, 0), (4, 0), (4, 3), (6, 1)] {
            let kmers = Kmers::new(&choice(&[k], &[gap], true)).unwrap();
            assert_eq!(
                kmers.names().len(),
                if k % 2 == 1 { 1 << (2 * k - 1) } else { ((1 << (2 * k)) + (1 << k)) / 2 }
            );
            let bases: Vec<u8> = (0..61).map(|_| random.below(5) as u8).collect();
            let (mut one, mut other) = (vec![0.0; kmers.names().len()], vec![0.0; kmers.names().len()]);
            kmers.count(&bases, &mut one);
            kmers.count(&reverse_complement(&bases), &mut other);
            assert_eq!(one, other, "{k} {gap}");
        }
    }

    #[test]
    fn inputs_stand_side_by_side() {
        let names = || vec!["a".to_string(), "b".into()];
        let (x, y) = (Sequences::from_strings(names(), &["AC", "GG"]), Sequences::from_strings(names(), &["T", "A"]));
        let kmers = Kmers::new(&choice(&[1], &[0], false)).unwrap();
        let table = kmers.table(&[x.unwrap(), y.unwrap()], &[1, 0]);
        assert_eq!(table, [0.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
        assert!(kmers.table(&[], &[]).is_empty());
    }

    #[test]
    fn choices_that_make_no_features_are_refused() {
        let text = |c: Choice| Kmers::new(&c).unwrap_err().to_string();
        assert_eq!(text(choice(&[11], &[0], false)), "k-mers: expected a length from 1 to 10, found 11");
        assert!(text(choice(&[], &[0], false)).contains("at least one length"));
        assert!(text(choice(&[5], &[1], true)).contains("must be even, found 5"));
        assert!(text(choice(&[1], &[1], false)).contains("no gap"));
        assert!(text(choice(&[4, 5, 4], &[0], false)).contains("length 4 comes twice"));
    }
}
