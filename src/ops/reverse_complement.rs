//! The other strand: positions reversed, A and T, C and G exchanged.
//!
//! Packed bases `[N, L]` or rows of four numbers `[N, L, 4]`; the result has the shape and kind of x. PyTorch (channels first
//! there): `x.flip(-1, -2)`. The gradient of packed bases has the shape `[R, L, 4]`.

mod cuda;

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Change, Cx, Delta, Edit, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{DType, Real, Tensor};

/// Turns `x` to the other strand.
///
/// # Errors
/// [`Error::Shape`] unless x is `[N, L]` of packed bases or `[N, L, 4]`.
pub fn reverse_complement(tape: &mut Tape, x: &Var) -> Result<Var> {
    let packed = x.value.dtype() == DType::U8;
    match x.shape() {
        [_, _] if packed => {}
        [_, _, 4] if !packed => {}
        found => {
            return Err(Error::Shape {
                op: "reverse_complement",
                arg: "x",
                expected: "packed bases [N, L] or numbers [N, L, 4]".into(),
                found: found.to_vec(),
            });
        }
    }
    tape.apply(ReverseComplement { l: x.shape()[1] }, &[x])
}

struct ReverseComplement {
    l: usize,
}

/// A C G T backwards is the complement: reversing all numbers of a sequence does both at once.
fn backwards<T: Real>(x: &[T], size: usize) -> Vec<T> {
    x.chunks_exact(size.max(1)).flat_map(|s| s.iter().rev().copied()).collect()
}

fn complement(code: u8) -> u8 {
    if code < 4 { 3 - code } else { code }
}

impl Op for ReverseComplement {
    fn name(&self) -> &'static str {
        "reverse_complement"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        let x = x[0];
        if let Some(gpu) = x.gpu() {
            return if x.dtype() == DType::U8 {
                cuda::bases(gpu, x)
            } else {
                cuda::rows(gpu, x, [x.shape()[0], self.l, 1])
            };
        }
        if x.dtype() == DType::U8 {
            let codes = x.codes()?.chunks_exact(self.l.max(1));
            return Tensor::bases(
                x.shape()[0],
                self.l,
                codes.flat_map(|s| s.iter().rev().map(|&c| complement(c))).collect(),
            );
        }
        real!("reverse_complement", x, T => Ok(Tensor::of(x.shape(), backwards(x.cpu::<T>()?, self.l * 4))))
    }

    fn backward(&self, _: &Cx, dy: &Tensor) -> Result<Grads> {
        if let Some(gpu) = dy.gpu() {
            return Ok(vec![Some(cuda::rows(gpu, dy, [dy.shape()[0], self.l, 1])?)]);
        }
        real!("reverse_complement", dy, T => {
            Ok(vec![Some(Tensor::of(dy.shape(), backwards(dy.cpu::<T>()?, self.l * 4)))])
        })
    }

    fn window(&self, x: &[Option<&Window>], _: usize) -> Window {
        let from = Window::hull(x);
        let last = self.l as i32 - from.width as i32;
        Window { start: from.start.iter().map(|s| last - s).collect(), width: from.width, len: self.l }
    }

    fn is_linear(&self) -> bool {
        true
    }

    /// Edited bases, that is.
    fn takes_rows(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let rows = super::changed(dx, 0)?.rows()?;
        let (m, c) = (to.mutants(), rows.shape()[2]);
        if let Some(gpu) = rows.gpu() {
            return cuda::rows(gpu, rows, [1, to.width, m]);
        }
        real!("reverse_complement", rows, T => {
            let d = rows.cpu::<T>()?;
            let y: Vec<T> = (0..to.width)
                .rev()
                .flat_map(|w| d[w * m * c..][..m * c].chunks_exact(c))
                .flat_map(|row| row.iter().rev().copied())
                .collect();
            Ok(Tensor::of(rows.shape(), y))
        })
    }

    fn change(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Change> {
        let Change::Bases(edits) = &super::changed(dx, 0)?.change else {
            return self.delta(cx, dx, to).map(Change::Rows);
        };
        let turned = |e: &Edit| Edit { at: self.l - 1 - e.at, to: complement(e.to) };
        Ok(Change::Bases(edits.iter().map(|mutant| mutant.iter().map(turned).collect()).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{StemArgs, Strands, stem};
    use crate::tape::check;
    use crate::tape::{Keep, Mode};

    #[test]
    fn turns_values_gradients_and_changes() {
        let mut r = check::Random::new(1);
        let codes = Tensor::bases(2, 4, vec![0, 0, 1, 4, 5, 3, 2, 1]).unwrap();
        let y = reverse_complement(&mut Tape::predict(), &Var::constant(codes)).unwrap().value;
        assert_eq!(y.codes().unwrap(), [4, 2, 3, 3, 2, 1, 0, 5]);
        let x = [r.normal(&[3, 5, 4]), r.normal(&[3, 4, 2])];
        let a = StemArgs { kernel: 3, left: 0, strands: Strands::Forward };
        let f = |t: &mut Tape, v: &[Var]| {
            let x = reverse_complement(t, &v[0])?;
            stem(t, &x, &v[1], None, a)
        };
        check::gradients("reverse_complement", &x, f);
        check::precision("reverse_complement", &x, f);
        check::delta("reverse_complement", &x, f);
        assert!(reverse_complement(&mut Tape::predict(), &Var::constant(r.normal(&[2, 3]))).is_err());
    }

    #[test]
    fn edits_are_turned() {
        let (mut r, l) = (check::Random::new(2), 9);
        let (codes, w) = (r.bases(1, l), Var::constant(r.normal(&[4, 4, 3])));
        let run = |t: &mut Tape, x: &Var| {
            let x = reverse_complement(t, x).unwrap();
            stem(t, &x, &w, None, StemArgs { kernel: 4, left: 1, strands: Strands::Max }).unwrap()
        };
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x = tape.leaf(codes.clone());
        let y = run(&mut tape, &x);
        let edits: Vec<Vec<Edit>> =
            (0..l).map(|at| vec![Edit { at, to: 2 + at as u8 % 4 }, Edit { at: l / 2, to: 1 }]).collect();
        let mut mutants = vec![];
        for e in &edits {
            let mut s = codes.codes().unwrap().to_vec();
            e.iter().for_each(|e| s[e.at] = e.to);
            mutants.extend(s);
        }
        let naive = run(&mut Tape::predict(), &Var::constant(Tensor::bases(l, l, mutants).unwrap())).value;
        let (seed, rows) = (Delta::edits(edits[..4].to_vec(), l).unwrap(), vec![0; 4]);
        let got = tape.delta(vec![(x.node.unwrap(), seed)], &rows, &[y.node.unwrap()]).unwrap()[0].take();
        check::compare("reverse_complement edits", got, &y.value, &naive.rows(0, 4).unwrap(), &rows);
    }

    #[test]
    fn bases_and_edits_on_gpus() {
        let (mut r, l) = (check::Random::new(3), 70);
        let (codes, w) = (r.bases(3, l), r.normal(&[4, 4, 3]).to_dtype(DType::F32).unwrap());
        let edits: Vec<Vec<Edit>> = (0..l).map(|at| vec![Edit { at, to: (at % 6) as u8 }]).collect();
        let rows: Vec<u32> = (0..l).map(|at| at as u32 % 3).collect();
        let run = |x: Tensor, w: Tensor| {
            let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
            let x = tape.leaf(x);
            let turned = reverse_complement(&mut tape, &x).unwrap();
            let a = StemArgs { kernel: 4, left: 1, strands: Strands::Max };
            let y = stem(&mut tape, &turned, &Var::constant(w), None, a).unwrap();
            let seed = vec![(x.node.unwrap(), Delta::edits(edits.clone(), l).unwrap())];
            let d = tape.delta(seed, &rows, &[y.node.unwrap()]).unwrap()[0].take().unwrap();
            (turned.value.to_cpu().unwrap().codes().unwrap().to_vec(), check::numbers(d.rows().unwrap()))
        };
        let (bases, change) = run(codes.clone(), w.to_dtype(DType::F64).unwrap());
        for gpu in check::gpus() {
            let (turned, got) = run(codes.to_gpu(gpu).unwrap(), w.to_gpu(gpu).unwrap());
            assert_eq!(turned, bases);
            check::nmse("reverse_complement, edits", &got, &change, 1e-11);
        }
    }
}
