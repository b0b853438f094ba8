//! Channels first: `[N, L, C]` to `[N, C, L]`, as PyTorch has its maps, perhaps turned to the other strand on the way.
//!
//! A profile leaves the network so: each of its tracks is a row of bins, which a softmax, a loss or a sum then reads as the last
//! axis. PyTorch: `x.transpose(1, 2)`, and `.flip(-1)` where positions are reversed.

mod cuda;

use crate::error::{Error, Result};
use crate::ops::checked_rank;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Real, Tensor};
use crate::util::par;

/// How a map is read from the other strand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It is not.
    None,
    /// Positions backwards.
    Positions,
    /// Positions backwards, and channels 0 and 1, 2 and 3, ... exchanged: those of the two strands.
    Strands,
}

impl Turn {
    /// Whether positions run backwards.
    fn reverses(self) -> bool {
        self != Self::None
    }

    /// The channel that takes the place of channel `c`.
    fn channel(self, c: usize) -> usize {
        if self == Self::Strands { c ^ 1 } else { c }
    }

    /// The position that takes the place of position `p` of `l`.
    fn position(self, p: usize, l: usize) -> usize {
        if self.reverses() { l - 1 - p } else { p }
    }
}

/// Turns `x` `[N, L, C]` into `[N, C, L]`.
///
/// # Errors
/// [`Error::Shape`] unless x has rank 3, with an even number of channels where strands are exchanged.
pub fn channels_first(tape: &mut Tape, x: &Var, turn: Turn) -> Result<Var> {
    let [_, l, c] = checked_rank(x, "channels_first", "x [N, L, C]")?;
    if turn == Turn::Strands && c % 2 == 1 {
        return Err(Error::Shape {
            op: "channels_first",
            arg: "x",
            expected: "[N, L, C], C even: channels of two strands".into(),
            found: x.shape().to_vec(),
        });
    }
    tape.apply(ChannelsFirst { l, c, turn }, &[x])
}

struct ChannelsFirst {
    l: usize,
    c: usize,
    turn: Turn,
}

impl ChannelsFirst {
    /// `[N, C, L]` of `[N, L, C]`.
    fn forth<T: Real>(&self, x: &[T]) -> Vec<T> {
        let (l, c, turn) = (self.l, self.c, self.turn);
        let mut y = tensor::stale::<T>(x.len());
        par::rows(&mut y, l, |first, y| {
            for (row, y) in (first..).zip(y.chunks_exact_mut(l)) {
                let x = &x[row / c * l * c + turn.channel(row % c)..];
                y.iter_mut().enumerate().for_each(|(p, y)| *y = x[turn.position(p, l) * c]);
            }
        });
        y
    }

    /// `[N, L, C]` of `[N, C, L]`.
    fn back<T: Real>(&self, y: &[T]) -> Vec<T> {
        let (l, c, turn) = (self.l, self.c, self.turn);
        let mut x = tensor::stale::<T>(y.len());
        par::rows(&mut x, c, |first, x| {
            for (row, x) in (first..).zip(x.chunks_exact_mut(c)) {
                let y = &y[row / l * l * c + turn.position(row % l, l)..];
                x.iter_mut().enumerate().for_each(|(k, x)| *x = y[turn.channel(k) * l]);
            }
        });
        x
    }
}

impl Op for ChannelsFirst {
    fn name(&self) -> &'static str {
        "channels_first"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        let shape = [x[0].shape()[0], self.c, self.l];
        if let Some(gpu) = x[0].gpu() {
            return cuda::forth(gpu, x[0], self.turn);
        }
        real!("channels_first", x[0], T => Ok(Tensor::of(&shape, self.forth(x[0].cpu::<T>()?))))
    }

    fn backward(&self, _: &Cx, dy: &Tensor) -> Result<Grads> {
        let shape = [dy.shape()[0], self.l, self.c];
        if let Some(gpu) = dy.gpu() {
            return Ok(vec![Some(cuda::back(gpu, dy, self.turn)?)]);
        }
        real!("channels_first", dy, T => Ok(vec![Some(Tensor::of(&shape, self.back(dy.cpu::<T>()?)))]))
    }

    /// Every row holds all positions.
    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        Window::dense(Window::hull(x).mutants(), len)
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let x = super::changed(dx, 0)?;
        let (d, m, l) = (x.rows()?, to.mutants(), self.l);
        if let Some(gpu) = d.gpu() {
            return cuda::delta(gpu, d, &x.at, self.turn);
        }
        real!("channels_first", d, T => {
            let (d, mut y) = (d.cpu::<T>()?, tensor::zeros::<T>(self.c * m * l));
            for (r, i, p) in x.at.cells() {
                let p = self.turn.position(p, l);
                for (k, &d) in d[r * self.c..][..self.c].iter().enumerate() {
                    y[(self.turn.channel(k) * m + i) * l + p] = d;
                }
            }
            Ok(Tensor::of(&[self.c, m, l], y))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Conv1dArgs, conv1d, softmax};
    use crate::tape::check;

    const TURNS: [Turn; 3] = [Turn::None, Turn::Positions, Turn::Strands];

    #[test]
    fn cases() {
        let mut r = check::Random::new(3);
        for turn in TURNS {
            for (n, l, c) in [(3, 7, 4), (1, 1, 2), (2, 40, 6)] {
                let x = [r.normal(&[n, l, c]), r.normal(&[2, c, c])];
                // Windows that lie beside the ends, and a reader that looks along the new last axis.
                let f = |t: &mut Tape, v: &[Var]| {
                    let y = conv1d(t, &v[0], &v[1], None, Conv1dArgs { pad: (1, 0), ..Conv1dArgs::same(2, 1) })?;
                    let y = channels_first(t, &y, turn)?;
                    softmax(t, &y)
                };
                let name = format!("channels_first {turn:?} {n} {l} {c}");
                check::gradients(&name, &x, f);
                check::precision(&name, &x, f);
                check::delta(&name, &x, f);
                let alone = |t: &mut Tape, v: &[Var]| channels_first(t, &v[0], turn);
                check::precision(&name, &x[..1], alone);
                check::delta(&name, &x[..1], alone);
            }
        }
    }

    #[test]
    fn places_of_values() {
        let x = Var::constant(Tensor::new(&[1, 3, 2], vec![1f32, 10., 2., 20., 3., 30.]).unwrap());
        let turned = |turn| channels_first(&mut Tape::predict(), &x, turn).unwrap().value;
        assert_eq!(turned(Turn::None).shape(), [1, 2, 3]);
        assert_eq!(turned(Turn::None).cpu::<f32>().unwrap(), [1., 2., 3., 10., 20., 30.]);
        assert_eq!(turned(Turn::Positions).cpu::<f32>().unwrap(), [3., 2., 1., 30., 20., 10.]);
        assert_eq!(turned(Turn::Strands).cpu::<f32>().unwrap(), [30., 20., 10., 3., 2., 1.]);
        let odd = Var::constant(Tensor::new(&[1, 1, 3], vec![0f32; 3]).unwrap());
        let message = channels_first(&mut Tape::predict(), &odd, Turn::Strands).unwrap_err().to_string();
        assert!(message.contains("C even"), "{message}");
    }
}
