//! Sequences as packed bases: one byte a base, 0..=3 for A, C, G, T, [`UNKNOWN`] for a column of zeros, [`UNIFORM`] for
//! a column of 0.25. One-hot is a form for files and for models that ask for it, not the form in memory.

pub mod kmer;
pub mod one_hot;
pub mod shuffle;
pub mod split;

use std::collections::HashMap;

use crate::error::{Error, Result};

/// Code of an unknown base or of filling: a column of zeros.
pub const UNKNOWN: u8 = 4;
/// Code of a column of 0.25: every base equally likely.
pub const UNIFORM: u8 = 5;
/// Letters of the codes 0..=3, in the order of one-hot columns.
pub const ALPHABET: [u8; 4] = *b"ACGT";

/// Code of a sequence letter: A, C, G, T or U (as T) in either case give 0..=3, every other letter and the gap signs
/// `-`, `.`, `*` give [`UNKNOWN`]. `None` for what cannot stand in a sequence (digits, blanks, ...).
pub fn encode(letter: u8) -> Option<u8> {
    match ENCODE[letter as usize] {
        INVALID => None,
        code => Some(code),
    }
}

/// Letter of a code: A, C, G, T, and N for [`UNKNOWN`] and [`UNIFORM`].
pub fn decode(code: u8) -> u8 {
    ALPHABET.get(code as usize).copied().unwrap_or(b'N')
}

/// Codes of a whole text and how many of its letters are unknown.
///
/// # Errors
/// The position (from 0) and the byte of the first sign that cannot stand in a sequence.
pub fn encode_all(text: &[u8]) -> std::result::Result<(Vec<u8>, usize), (usize, u8)> {
    let mut unknown = 0;
    let codes = text.iter().map(|&letter| {
        let code = ENCODE[letter as usize];
        unknown += usize::from(code == UNKNOWN);
        code
    });
    let codes: Vec<u8> = codes.collect();
    match codes.iter().position(|&code| code == INVALID) {
        Some(at) => Err((at, text[at])),
        None => Ok((codes, unknown)),
    }
}

/// Base that pairs with `code`: A with T, C with G; [`UNKNOWN`] and [`UNIFORM`] stay what they are.
pub fn complement(code: u8) -> u8 {
    if code < 4 { 3 - code } else { code }
}

/// The other strand, read in its own direction. Filling moves to the front.
pub fn reverse_complement(bases: &[u8]) -> Vec<u8> {
    bases.iter().rev().map(|&code| complement(code)).collect()
}

/// The same length moved by `by` positions to the right (negative: to the left); `fill` enters at the open end and what
/// leaves at the other is lost.
pub fn shift(bases: &[u8], by: isize, fill: u8) -> Vec<u8> {
    let at = |i: usize| i.checked_add_signed(-by).and_then(|j| bases.get(j)).copied().unwrap_or(fill);
    (0..bases.len()).map(at).collect()
}

/// `bases` with `left` and `right` positions of `fill` around them.
pub fn pad(bases: &[u8], left: usize, right: usize, fill: u8) -> Vec<u8> {
    let mut padded = vec![fill; left + bases.len() + right];
    padded[left..left + bases.len()].copy_from_slice(bases);
    padded
}

/// Named sequences of one length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequences {
    /// One name a sequence; unique.
    pub names: Vec<String>,
    /// Length L of every row.
    pub length: usize,
    /// Packed codes, `[N, L]`. Shorter sequences are left-aligned and filled with [`UNKNOWN`].
    pub bases: Vec<u8>,
    /// Letters outside ACGT(U) that were read and became [`UNKNOWN`], filling not counted; of all that was read, also
    /// after a selection.
    pub unknown: usize,
}

impl Sequences {
    /// Sequences of `rows` of codes, filled to the longest.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is none, one is empty, a name comes twice, a code is above [`UNIFORM`], or names and
    /// rows differ in number.
    pub fn from_rows<R: AsRef<[u8]>>(names: Vec<String>, rows: &[R], unknown: usize) -> Result<Self> {
        if names.len() != rows.len() {
            return refuse(format!("{} names for {} sequences", names.len(), rows.len()));
        }
        let mut builder = Builder { unknown, ..Builder::default() };
        for (name, row) in names.into_iter().zip(rows) {
            let row = row.as_ref();
            if let Some(at) = row.iter().position(|&code| code > UNIFORM) {
                return refuse(format!("sequence '{name}' has code {} at position {at}; codes go to 5", row[at]));
            }
            builder.push(name, row)?;
        }
        builder.finish()
    }

    /// Sets of sequences with the same names, sequence by sequence one after the other: `[N, sum of L]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if names or their order differ, or there is no set.
    pub fn side_by_side(sets: &[Self]) -> Result<Self> {
        let Some(first) = sets.first() else { return refuse("there is no set of sequences".into()) };
        if let Some(i) = sets.iter().position(|s| s.names != first.names) {
            return refuse(format!("set {i} has other names than set 0, or another order"));
        }
        let rows = (0..first.len()).flat_map(|row| sets.iter().flat_map(move |s| s.row(row).iter().copied()));
        let length = sets.iter().map(|s| s.length).sum();
        Self::from_packed(first.names.clone(), length, rows.collect(), sets.iter().map(|s| s.unknown).sum())
    }

    /// Sequences of codes that already lie in `[N, L]`.
    ///
    /// # Errors
    /// As [`Sequences::from_rows`].
    pub fn from_packed(names: Vec<String>, length: usize, bases: Vec<u8>, unknown: usize) -> Result<Self> {
        if names.is_empty() || length == 0 {
            return refuse("there is no sequence".into());
        }
        if bases.len() != names.len() * length {
            return refuse(format!("{} bases for {} sequences of length {length}", bases.len(), names.len()));
        }
        if let Some((name, first, second)) = duplicate(&names) {
            return refuse(format!("name '{name}' comes twice (sequences {} and {})", first + 1, second + 1));
        }
        Ok(Self { names, length, bases, unknown })
    }

    /// Sequences of texts; letters as in [`encode`].
    ///
    /// # Errors
    /// As [`Sequences::from_rows`], and for a sign that cannot stand in a sequence.
    pub fn from_strings<S: AsRef<str>>(names: Vec<String>, texts: &[S]) -> Result<Self> {
        let mut rows = Vec::with_capacity(texts.len());
        let mut unknown = 0;
        for (i, text) in texts.iter().enumerate() {
            match encode_all(text.as_ref().as_bytes()) {
                Ok((row, n)) => {
                    rows.push(row);
                    unknown += n;
                }
                Err((at, byte)) => {
                    let name = names.get(i).map_or("", String::as_str);
                    let sign = show(byte);
                    return refuse(format!("sequence '{name}', position {at}: {sign} is no sequence letter"));
                }
            }
        }
        Self::from_rows(names, &rows, unknown)
    }

    /// Number of sequences N.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Codes of sequence `i`, filling included. Panics if there is no such sequence.
    pub fn row(&self, i: usize) -> &[u8] {
        &self.bases[i * self.length..(i + 1) * self.length]
    }

    /// The sequences `rows`, in that order. Panics if there is no such sequence.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let mut bases = Vec::with_capacity(rows.len() * self.length);
        for &i in rows {
            bases.extend_from_slice(self.row(i));
        }
        let names = rows.iter().map(|&i| self.names[i].clone()).collect();
        Self { names, length: self.length, bases, unknown: self.unknown }
    }

    /// Letters of sequence `i`; filling and unknown bases are N. Panics if there is no such sequence.
    pub fn to_string(&self, i: usize) -> String {
        self.row(i).iter().map(|&code| decode(code) as char).collect()
    }
}

/// Sequences that come one after another and may differ in length.
#[derive(Debug, Default)]
pub struct Builder {
    /// As in [`Sequences`]; the reader counts.
    pub unknown: usize,
    names: Vec<String>,
    bases: Vec<u8>,
    ends: Vec<usize>,
}

impl Builder {
    /// Adds a sequence of codes.
    ///
    /// # Errors
    /// [`Error::Argument`] if it is empty.
    pub fn push(&mut self, name: String, codes: &[u8]) -> Result<()> {
        if codes.is_empty() {
            return refuse(format!("sequence '{name}' is empty"));
        }
        self.names.push(name);
        self.bases.extend_from_slice(codes);
        self.ends.push(self.bases.len());
        Ok(())
    }

    /// How many of the sequences so far are shorter than the longest.
    pub fn shorter(&self) -> usize {
        let longest = self.lengths().max().unwrap_or(0);
        self.lengths().filter(|&n| n < longest).count()
    }

    /// All sequences, the shorter ones filled.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is none or a name comes twice.
    pub fn finish(self) -> Result<Sequences> {
        let length = self.lengths().max().unwrap_or(0);
        if self.bases.len() == self.names.len() * length {
            return Sequences::from_packed(self.names, length, self.bases, self.unknown);
        }
        let mut bases = vec![UNKNOWN; self.names.len() * length];
        let mut start = 0;
        for (row, &end) in bases.chunks_exact_mut(length).zip(&self.ends) {
            row[..end - start].copy_from_slice(&self.bases[start..end]);
            start = end;
        }
        Sequences::from_packed(self.names, length, bases, self.unknown)
    }

    fn lengths(&self) -> impl Iterator<Item = usize> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        self.ends.iter().zip(starts).map(|(end, start)| end - start)
    }
}

/// The first name that comes twice in a list, with its two places.
pub fn duplicate(names: &[String]) -> Option<(&str, usize, usize)> {
    let mut seen = HashMap::with_capacity(names.len());
    names.iter().enumerate().find_map(|(i, name)| seen.insert(name.as_str(), i).map(|first| (name.as_str(), first, i)))
}

/// A byte of a file as a message shows it: `'x'`, or its number where it is no printable sign.
pub fn show(byte: u8) -> String {
    if byte.is_ascii_graphic() || byte == b' ' { format!("'{}'", byte as char) } else { format!("byte {byte}") }
}

const INVALID: u8 = u8::MAX;

const ENCODE: [u8; 256] = {
    let mut table = [INVALID; 256];
    let mut letter = b'A';
    while letter <= b'Z' {
        let code = match letter {
            b'A' => 0,
            b'C' => 1,
            b'G' => 2,
            b'T' | b'U' => 3,
            _ => UNKNOWN,
        };
        table[letter as usize] = code;
        table[letter.to_ascii_lowercase() as usize] = code;
        letter += 1;
    }
    table[b'-' as usize] = UNKNOWN;
    table[b'.' as usize] = UNKNOWN;
    table[b'*' as usize] = UNKNOWN;
    table
};

fn refuse<T>(what: String) -> Result<T> {
    Err(Error::Argument { op: "sequences", what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("s{i}")).collect()
    }

    #[test]
    fn letters_and_filling() {
        let s = Sequences::from_strings(names(3), &["acgU", "ARn-TT", "t"]).unwrap();
        assert_eq!((s.len(), s.length, s.unknown), (3, 6, 3));
        assert_eq!(s.row(0), [0, 1, 2, 3, 4, 4]);
        assert_eq!(s.row(1), [0, 4, 4, 4, 3, 3]);
        assert_eq!(s.to_string(1), "ANNNTT");
        let picked = s.select(&[2, 0, 2]);
        assert_eq!((picked.names[1].as_str(), picked.row(2)), ("s0", &[3u8, 4, 4, 4, 4, 4][..]));
        assert!(s.select(&[]).is_empty());
    }

    #[test]
    fn bad_sequences_say_what_is_wrong() {
        let text = |r: Result<Sequences>| r.unwrap_err().to_string();
        assert_eq!(
            text(Sequences::from_strings(names(2), &["AC", "A1"])),
            "sequences: sequence 's1', position 1: '1' is no sequence letter"
        );
        assert_eq!(text(Sequences::from_strings(names(2), &["AC", ""])), "sequences: sequence 's1' is empty");
        assert_eq!(text(Sequences::from_strings(names(0), &[] as &[&str])), "sequences: there is no sequence");
        let twice = vec!["a".to_string(), "b".into(), "a".into()];
        assert_eq!(
            text(Sequences::from_strings(twice, &["A", "C", "G"])),
            "sequences: name 'a' comes twice (sequences 1 and 3)"
        );
        assert!(text(Sequences::from_strings(names(1), &["A", "C"])).contains("1 names for 2 sequences"));
        assert!(text(Sequences::from_rows(names(1), &[[6u8]], 0)).contains("code 6 at position 0"));
    }

    #[test]
    fn strands_shift_and_pad() {
        assert_eq!(reverse_complement(&[0, 0, 1, 4, 5, 3]), [0, 5, 4, 2, 3, 3]);
        let any = [0, 1, 2, 3, 4, 5, 1];
        assert_eq!(reverse_complement(&reverse_complement(&any)), any);
        assert_eq!(shift(&[0, 1, 2], 1, UNKNOWN), [4, 0, 1]);
        assert_eq!(shift(&[0, 1, 2], -2, UNIFORM), [2, 5, 5]);
        assert_eq!(shift(&[0, 1, 2], 9, UNKNOWN), [4, 4, 4]);
        assert_eq!(pad(&[0, 1], 1, 2, UNIFORM), [5, 0, 1, 5, 5]);
    }

    #[test]
    fn every_byte_is_a_letter_or_refused() {
        assert_eq!((0..=255u8).filter(|&b| encode(b).is_some()).count(), 26 * 2 + 3);
        assert!((0..4).all(|code| encode(decode(code)) == Some(code)));
        assert_eq!(encode(b'\r'), None);
    }
}
