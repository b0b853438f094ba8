//! Dropout: in training each element is zero with probability p and otherwise divided by 1 - p; in evaluation, x itself.
//!
//! Any shape `[N, ...]`. PyTorch: `nn.Dropout`. The mask is a function of (seed, layer, pass, sample, element) through Philox, so it
//! depends neither on the batch nor on threads, is made again in backward instead of being stored, and a resumed run
//! draws the same.

mod cuda;

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Cx, Grads, Mode, Op, Pass, Save, Tape, Var};
use crate::tensor::{self, Tensor};
use crate::util::math::Float;
use crate::util::philox::philox4x32_lanes;
use crate::util::simd::dispatch;

/// Philox blocks that are drawn side by side.
const BLOCKS: usize = 16;

/// Drops elements with probability `p` in training mode. `layer` numbers the dropout layers of a model.
///
/// # Errors
/// [`Error::Argument`] unless 0 <= p < 1 or if the batch has another size than the pass's list of samples.
pub fn dropout(tape: &mut Tape, x: &Var, p: f64, layer: u32) -> Result<Var> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::Argument { op: "dropout", what: format!("expected a probability in [0, 1), found {p}") });
    }
    let Mode::Train(pass) = tape.mode().clone() else { return Ok(x.clone()) };
    if p == 0.0 {
        return Ok(x.clone());
    }
    if x.shape().first() != Some(&pass.samples.len()) {
        return Err(Error::Argument {
            op: "dropout",
            what: format!("the pass names {} samples, the batch has shape {:?}", pass.samples.len(), x.shape()),
        });
    }
    tape.apply(Dropout { p, layer, pass }, &[x])
}

struct Dropout {
    p: f64,
    layer: u32,
    pass: Pass,
}

/// What all elements of a layer and a pass share.
struct Stream {
    number: u32,
    key: [u32; 2],
    /// Words below it drop their element.
    threshold: u32,
    /// Factor of what stays.
    keep: f64,
}

impl Dropout {
    fn stream(&self) -> Stream {
        Stream {
            number: self.pass.number,
            key: [self.pass.seed as u32 ^ (self.layer << 16), (self.pass.seed >> 32) as u32 ^ self.layer],
            threshold: (self.p * 4_294_967_296.0) as u32,
            keep: 1.0 / (1.0 - self.p),
        }
    }

    fn masked(&self, x: &Tensor, rows: impl Fn(usize) -> usize + Sync) -> Result<Tensor> {
        let (stream, size) = (self.stream(), x.shape()[1..].iter().product());
        if let Some(gpu) = x.gpu() {
            let samples: Vec<u32> = (0..x.shape()[0]).map(|r| self.pass.samples[rows(r)]).collect();
            return cuda::masked(gpu, &stream, x, &samples);
        }
        real!("dropout", x, T => {
            let from = x.cpu::<T>()?;
            let mut y = tensor::stale::<T>(from.len());
            super::for_rows(&mut y, size, |r, at, y| {
                debug_assert_eq!(at % (4 * BLOCKS), 0, "pieces begin with whole blocks");
                let counter = [(at / 4) as u32, self.pass.samples[rows(r)], stream.number, 0xD509];
                let keep = <T as Float>::of(stream.keep);
                masked(counter, stream.key, stream.threshold, keep, &from[r * size + at..][..y.len()], y);
            });
            Ok(Tensor::of(x.shape(), y))
        })
    }
}

dispatch! {
    /// y = x * keep where the random word is at least `threshold`, else 0. Elements come in groups of 4 BLOCKS: element i of a group
    /// takes word `i / BLOCKS` of the Philox block of counter `i % BLOCKS`, so that a word of all blocks is a vector.
    fn masked[I, T: Float](counter: [u32; 4], key: [u32; 2], threshold: u32, keep: T, x: &[T], y: &mut [T]) {
        for (group, (y, x)) in y.chunks_mut(4 * BLOCKS).zip(x.chunks(4 * BLOCKS)).enumerate() {
            let mut first = [0; BLOCKS];
            for (i, c) in first.iter_mut().enumerate() {
                *c = counter[0] + (group * BLOCKS + i) as u32;
            }
            let words = philox4x32_lanes(first, [counter[1], counter[2], counter[3]], key);
            for ((y, x), words) in y.chunks_mut(BLOCKS).zip(x.chunks(BLOCKS)).zip(&words) {
                for ((y, &x), &word) in y.iter_mut().zip(x).zip(words) {
                    *y = if word < threshold { T::ZERO } else { x * keep };
                }
            }
        }
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        self.masked(x[0], |r| r)
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        Ok(vec![Some(self.masked(dy, |r| cx.base(r))?)])
    }

    fn rescale(&self, _: &Cx, _: &Tensor) -> Result<Grads> {
        Err(Error::Unsupported { op: "dropout", what: "the rescale sweep in training mode".into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::check;

    fn mode(samples: &[u32]) -> Mode {
        Mode::Train(Pass { seed: 5, number: 2, samples: samples.into() })
    }

    #[test]
    fn gradient_and_rate() {
        let x = check::Random::new(1).normal(&[3, 7, 5]);
        check::gradients_in("dropout", &mode(&[4, 9, 1]), &[x], |t, v| dropout(t, &v[0], 0.4, 1));
        let ones = Var::constant(Tensor::of(&[10, 10_000], vec![1f32; 100_000]));
        let mut tape = Tape::new(Default::default(), mode(&(0..10).collect::<Vec<_>>()));
        let y = dropout(&mut tape, &ones, 0.3, 0).unwrap().value;
        let kept = y.cpu::<f32>().unwrap().iter().filter(|&&v| v != 0.0).count();
        assert!((kept as f64 / 1e5 - 0.7).abs() < 0.005, "{kept}");
        let mean = y.to_f64().iter().sum::<f64>() / 1e5;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn masks_follow_the_sample() {
        let x = Tensor::of(&[3, 40], vec![1f32; 120]);
        let run = |x: &Tensor, samples: &[u32], layer| {
            let mut tape = Tape::new(Default::default(), mode(samples));
            dropout(&mut tape, &Var::constant(x.clone()), 0.5, layer).unwrap().value.cpu::<f32>().unwrap().to_vec()
        };
        let whole = run(&x, &[7, 8, 9], 0);
        assert_eq!(whole[40..80], run(&x.rows(0, 1).unwrap(), &[8], 0));
        assert_ne!(whole[..40], whole[40..80]);
        assert_ne!(whole, run(&x, &[7, 8, 9], 1));
        assert!(dropout(&mut Tape::predict(), &Var::constant(x), 1.0, 0).is_err());
    }
    /// The same bits as on the CPU: rows shorter and longer than 64 and than what a thread of the CPU takes, rows of a sweep
    /// that are not those of the tape, all pass numbers and layers.
    #[test]
    fn masks_on_gpus_are_those_of_the_cpu() {
        for gpu in check::gpus() {
            for (shape, p) in [(vec![3, 7, 9], 0.3), (vec![3, 5], 0.9), (vec![3, 16_385], 0.5), (vec![3, 64], 1e-9)] {
                let size: usize = shape[1..].iter().product();
                let x = check::Random::new(3).normal(&shape).to_dtype(crate::tensor::DType::F32).unwrap();
                let pass = Pass { seed: 0xDEAD_BEEF_0BAD_CAFE, number: u32::MAX, samples: [7, 0, u32::MAX].into() };
                let run = |x: &Tensor| {
                    let mut tape = Tape::new(crate::tape::Keep::BACKWARD, Mode::Train(pass.clone()));
                    let v = tape.leaf(x.clone());
                    let y = dropout(&mut tape, &v, p, 3).unwrap();
                    let dy = x.rows(0, 2).unwrap();
                    let d = tape.backward(y.node.unwrap(), dy, &[2, 1], &[v.node.unwrap()]).unwrap();
                    [y.value, d[0].clone().unwrap()].map(|t| t.to_cpu().unwrap().cpu::<f32>().unwrap().to_vec())
                };
                let (want, got) = (run(&x), run(&x.to_gpu(gpu).unwrap()));
                assert_eq!(want, got, "{shape:?}");
                assert_eq!((got[0].len(), got[1].len()), (3 * size, 2 * size));
            }
        }
    }
}
