//! Motifs as the command line names them.

use std::path::Path;

use crate::engine::mutate::perturb::sample;
use crate::error::{Error, Result, hint};
use crate::io::first_few;
use crate::motif::{Pwm, meme};
use crate::seq::{encode, reverse_complement};

/// A motif to write into sequences.
pub(super) struct Motif {
    /// Name: that of the file, or the bases.
    pub name: String,
    /// Bases in code; N leaves the base that is there.
    codes: Vec<u8>,
    /// Where instances may be drawn from.
    pwm: Option<Pwm>,
}

impl Motif {
    /// The consensus, or `count` drawn instances.
    ///
    /// # Errors
    /// [`Error::Usage`] for instances of a motif that is a string.
    pub(super) fn instances(&self, count: Option<u32>, seed: u64) -> Result<Vec<Vec<u8>>> {
        match (count, &self.pwm) {
            (None, _) => Ok(vec![self.codes.clone()]),
            (Some(n), Some(pwm)) => Ok(sample(&pwm.probabilities, n as usize, seed)),
            (Some(_), None) => {
                Err(Error::Usage(format!("--sample: '{}' has no probabilities; name a MEME file", self.name)))
            }
        }
    }

    /// Its bases, those of the other strand if `reverse`.
    pub(super) fn codes(&self, reverse: bool) -> Vec<u8> {
        if reverse { reverse_complement(&self.codes) } else { self.codes.clone() }
    }
}

/// The motifs that `spec` names: a MEME file, one of its motifs (`FILE:NAME`), or bases A C G T N.
///
/// # Errors
/// [`Error::Usage`] for what is none of these, naming similar motifs of the file; those of the reader.
pub(super) fn motifs(spec: &str) -> Result<Vec<Motif>> {
    let of = |pwm: Pwm| Motif { name: pwm.name.clone(), codes: pwm.consensus_codes(), pwm: Some(pwm) };
    if Path::new(spec).is_file() {
        return Ok(meme::read_pwms(Path::new(spec))?.into_iter().map(of).collect());
    }
    if let Some((file, name)) = spec.rsplit_once(':').filter(|(file, _)| Path::new(file).is_file()) {
        let mut all = meme::read_pwms(Path::new(file))?;
        return match all.iter().position(|pwm| pwm.name == name) {
            Some(i) => Ok(vec![of(all.swap_remove(i))]),
            None => {
                let names: Vec<&str> = all.iter().map(|pwm| pwm.name.as_str()).collect();
                let (near, there) = (hint(name, names.iter().copied()), first_few(&names));
                Err(Error::Usage(format!("{file}: there is no motif '{name}'{near}; there are {there}")))
            }
        };
    }
    let letters = !spec.is_empty() && spec.bytes().all(|b| b"ACGTUN".contains(&b.to_ascii_uppercase()));
    match spec.bytes().map(encode).collect::<Option<Vec<u8>>>() {
        Some(codes) if letters => Ok(vec![Motif { name: spec.to_ascii_uppercase(), codes, pwm: None }]),
        _ => Err(Error::Usage(format!("motif '{spec}': expected a MEME file, FILE:NAME, or bases A C G T N"))),
    }
}
