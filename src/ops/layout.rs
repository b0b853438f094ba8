//! Moving data without arithmetic: flatten, concatenation of channels, selection of channels, cropping of rows.
//!
//! PyTorch (channels first there): `flatten(1)`, `torch.cat(dim=1)`, `x[:, a:b]`, `x[..., a:b]`.

mod cuda;

use crate::error::{Error, Result};
use crate::ops::checked_rank;
use crate::real;
use crate::tape::{Change, Cx, Delta, Edit, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, DType, Real, Tensor};

/// `[N, L, C]` to `[N, L C]`, position major. Nothing is copied. A reference checkpoint flattens channel major; its dense
/// weights are reordered at the checkpoint's door.
///
/// # Errors
/// [`Error::Shape`] unless x has rank 3.
pub fn flatten(tape: &mut Tape, x: &Var) -> Result<Var> {
    let [_, l, c] = checked_rank(x, "flatten", "x [N, L, C]")?;
    tape.apply(Flatten { l, c }, &[x])
}

/// Concatenates along the last axis.
///
/// # Errors
/// [`Error::Shape`] if other sizes differ, [`Error::Argument`] for an empty list.
pub fn concat(tape: &mut Tape, x: &[&Var]) -> Result<Var> {
    let Some(first) = x.first() else {
        return Err(Error::Argument { op: "concat", what: "expected at least one tensor".into() });
    };
    let rank = first.shape().len();
    if let Some(bad) = x.iter().find(|v| v.shape().len() != rank || v.shape()[..rank - 1] != first.shape()[..rank - 1])
    {
        return Err(Error::Shape {
            op: "concat",
            arg: "x",
            expected: format!("{:?} in all but the last size", first.shape()),
            found: bad.shape().to_vec(),
        });
    }
    tape.apply(Concat { widths: x.iter().map(|v| v.shape()[rank - 1]).collect() }, x)
}

/// Channels `from..to` of the last axis.
///
/// # Errors
/// [`Error::Argument`] if they are not all there.
pub fn channels(tape: &mut Tape, x: &Var, from: usize, to: usize) -> Result<Var> {
    let width = x.shape().last().copied().unwrap_or(0);
    if from >= to || to > width {
        return Err(Error::Argument {
            op: "channels",
            what: format!("expected a range within 0..{width}, found {from}..{to}"),
        });
    }
    tape.apply(Channels { from, to, width }, &[x])
}

/// Rows `from..to` of every sequence of `[N, L, C]`, or positions of packed bases `[N, L]`, whose edits it hands on as edits.
///
/// # Errors
/// [`Error::Argument`] if they are not all there.
pub fn crop(tape: &mut Tape, x: &Var, from: usize, to: usize) -> Result<Var> {
    let l = match x.value.dtype() {
        DType::U8 => checked_rank::<2>(x, "crop", "bases [N, L]")?[1],
        _ => checked_rank::<3>(x, "crop", "x [N, L, C]")?[1],
    };
    if from >= to || to > l {
        return Err(Error::Argument {
            op: "crop",
            what: format!("expected a range within 0..{l}, found {from}..{to}"),
        });
    }
    tape.apply(Crop { from, to, l }, &[x])
}

struct Flatten {
    l: usize,
    c: usize,
}

impl Op for Flatten {
    fn name(&self) -> &'static str {
        "flatten"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        x[0].reshape(&[x[0].shape()[0], self.l * self.c])
    }

    fn backward(&self, _: &Cx, dy: &Tensor) -> Result<Grads> {
        Ok(vec![Some(dy.reshape(&[dy.shape()[0], self.l, self.c])?)])
    }

    /// The change stays in rows: the dense layer behind takes column slices.
    fn window(&self, x: &[Option<&Window>], _: usize) -> Window {
        Window::hull(x)
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], _: &Window) -> Result<Tensor> {
        super::changed(dx, 0)?.rows().cloned()
    }
}

struct Concat {
    widths: Vec<usize>,
}

impl Concat {
    fn joined<T: Real>(&self, parts: &[Option<&[T]>], rows: usize) -> Vec<T> {
        let width: usize = self.widths.iter().sum();
        let mut y = tensor::zeros::<T>(rows * width);
        let mut first = 0;
        for (part, &w) in parts.iter().zip(&self.widths) {
            if let Some(part) = part {
                for (y, x) in y.chunks_exact_mut(width).zip(part.chunks_exact(w)) {
                    y[first..first + w].copy_from_slice(x);
                }
            }
            first += w;
        }
        y
    }
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        let mut shape = x[0].shape().to_vec();
        let rows = shape[..shape.len() - 1].iter().product();
        *shape.last_mut().expect("a rank above 0") = self.widths.iter().sum();
        if let Some(gpu) = Tensor::place("concat", x)? {
            return cuda::joined(gpu, x, &self.widths, &shape);
        }
        real!("concat", x[0], T => {
            let parts: Vec<Option<&[T]>> = x.iter().map(|x| x.cpu::<T>().map(Some)).collect::<Result<_>>()?;
            Ok(Tensor::of(&shape, self.joined(&parts, rows)))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let width: usize = self.widths.iter().sum();
        let mut first = 0;
        let mut grads = vec![];
        for (i, &w) in self.widths.iter().enumerate() {
            grads.push(if cx.wants(i) { Some(cut(dy, width, first, first + w)?) } else { None });
            first += w;
        }
        Ok(grads)
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        if let Some(gpu) = dx.iter().flatten().find_map(|d| d.rows().ok()?.gpu()) {
            return cuda::joined_changes(gpu, dx, &self.widths, to);
        }
        let placed: Vec<Option<Delta>> =
            dx.iter().map(|d| d.map(|d| d.placed(to)).transpose()).collect::<Result<_>>()?;
        let rows = to.width * to.mutants();
        let Some(any) = placed.iter().flatten().next() else { return super::changed(dx, 0)?.rows().cloned() };
        real!("concat", any.rows()?, T => {
            let parts: Vec<Option<&[T]>> =
                placed.iter().map(|d| d.as_ref().map(|d| d.rows()?.cpu::<T>()).transpose()).collect::<Result<_>>()?;
            Ok(Tensor::of(&[to.width, to.mutants(), self.widths.iter().sum()], self.joined(&parts, rows)))
        })
    }
}

/// Columns `from..to` of rows of `width`.
fn cut(x: &Tensor, width: usize, from: usize, to: usize) -> Result<Tensor> {
    let mut shape = x.shape().to_vec();
    *shape.last_mut().expect("a rank above 0") = to - from;
    if let Some(gpu) = x.gpu() {
        return cuda::cut(gpu, x, width, (from, to), &shape);
    }
    real!("channels", x, T => {
        let y: Vec<T> = x.cpu::<T>()?.chunks_exact(width).flat_map(|row| row[from..to].iter().copied()).collect();
        Ok(Tensor::of(&shape, y))
    })
}

struct Channels {
    from: usize,
    to: usize,
    width: usize,
}

impl Op for Channels {
    fn name(&self) -> &'static str {
        "channels"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        cut(x[0], self.width, self.from, self.to)
    }

    fn backward(&self, _: &Cx, dy: &Tensor) -> Result<Grads> {
        let mut shape = dy.shape().to_vec();
        *shape.last_mut().expect("a rank above 0") = self.width;
        if let Some(gpu) = dy.gpu() {
            return Ok(vec![Some(cuda::widen(gpu, dy, self.width, (self.from, self.to), &shape)?)]);
        }
        real!("channels", dy, T => {
            let mut dx = tensor::zeros::<T>(shape.iter().product());
            for (dx, dy) in dx.chunks_exact_mut(self.width).zip(dy.cpu::<T>()?.chunks_exact(self.to - self.from)) {
                dx[self.from..self.to].copy_from_slice(dy);
            }
            Ok(vec![Some(Tensor::of(&shape, dx))])
        })
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], _: &Window) -> Result<Tensor> {
        cut(super::changed(dx, 0)?.rows()?, self.width, self.from, self.to)
    }
}

struct Crop {
    from: usize,
    to: usize,
    l: usize,
}

impl Op for Crop {
    fn name(&self) -> &'static str {
        "crop"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        if x[0].dtype() == DType::U8 {
            let ([n, l], size) = (x[0].dims("crop", "x")?, self.to - self.from);
            if let Some(gpu) = x[0].gpu() {
                return cuda::cut_bases(gpu, x[0], (self.from, self.to));
            }
            let codes = x[0].codes()?.chunks_exact(l.max(1)).flat_map(|row| row[self.from..self.to].iter().copied());
            return Tensor::bases(n, size, codes.collect());
        }
        let [n, l, c] = x[0].dims("crop", "x")?;
        if let Some(gpu) = x[0].gpu() {
            let range = (self.from * c, self.to * c);
            return cuda::cut(gpu, x[0], l * c, range, &[n, self.to - self.from, c]);
        }
        real!("crop", x[0], T => {
            let y: Vec<T> = x[0].cpu::<T>()?.chunks_exact(l * c).flat_map(|x| x[self.from * c..self.to * c].iter().copied()).collect();
            Ok(Tensor::of(&[n, self.to - self.from, c], y))
        })
    }

    fn backward(&self, _: &Cx, dy: &Tensor) -> Result<Grads> {
        let [n, rows, c] = dy.dims("crop", "dy")?;
        if let Some(gpu) = dy.gpu() {
            let range = (self.from * c, self.to * c);
            return Ok(vec![Some(cuda::widen(gpu, dy, self.l * c, range, &[n, self.l, c])?)]);
        }
        real!("crop", dy, T => {
            let mut dx = tensor::zeros::<T>(n * self.l * c);
            for (dx, dy) in dx.chunks_exact_mut(self.l * c).zip(dy.cpu::<T>()?.chunks_exact(rows * c)) {
                dx[self.from * c..self.to * c].copy_from_slice(dy);
            }
            Ok(vec![Some(Tensor::of(&[n, self.l, c], dx))])
        })
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        let at = Window::hull(x).shifted(-(self.from as i32), 0, len);
        let reach = at.width as i64;
        let outside = |&s: &i32| i64::from(s) + reach <= 0 || i64::from(s) >= len as i64;
        Window { width: if at.start.iter().all(outside) { 0 } else { at.width }, ..at }
    }

    /// Edits of packed bases `[N, L]` are no flattened map.
    fn takes_rows(&self) -> bool {
        true
    }

    fn change(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Change> {
        let Change::Bases(edits) = &super::changed(dx, 0)?.change else {
            return self.delta(cx, dx, to).map(Change::Rows);
        };
        let here = |e: &&Edit| (self.from..self.to).contains(&e.at);
        let moved = |e: &Edit| Edit { at: e.at - self.from, ..*e };
        Ok(Change::Bases(edits.iter().map(|mutant| mutant.iter().filter(here).map(moved).collect()).collect()))
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], _: &Window) -> Result<Tensor> {
        super::changed(dx, 0)?.rows().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Conv1dArgs, activation, conv1d};
    use crate::tape::check;
    use crate::util::math::Activation;

    #[test]
    fn cases() {
        let mut r = check::Random::new(1);
        let inputs = [r.normal(&[2, 6, 3]), r.normal(&[3, 3, 2])];
        let all = |t: &mut Tape, v: &[Var]| {
            let wide = conv1d(t, &v[0], &v[1], None, Conv1dArgs::same(3, 1))?;
            let joined = concat(t, &[&wide, &v[0], &wide])?;
            let some = channels(t, &joined, 1, 5)?;
            let cropped = crop(t, &some, 2, 5)?;
            let flat = flatten(t, &cropped)?;
            activation(t, &flat, Activation::Tanh)
        };
        check::gradients("layout", &inputs, all);
        check::precision("layout", &inputs, all);
        check::delta("layout", &inputs, |t, v| {
            let wide = conv1d(t, &v[0], &v[1], None, Conv1dArgs::same(3, 1))?;
            let joined = concat(t, &[&wide, &v[0], &wide])?;
            let some = channels(t, &joined, 1, 5)?;
            crop(t, &some, 2, 5)
        });
        check::delta("flatten", &inputs[..1], |t, v| flatten(t, &v[0]));
    }

    #[test]
    fn values_and_errors() {
        let x = Var::constant(Tensor::new(&[1, 2, 3], vec![1f32, 2., 3., 4., 5., 6.]).unwrap());
        let t = &mut Tape::predict();
        assert_eq!(channels(t, &x, 1, 3).unwrap().value.cpu::<f32>().unwrap(), [2., 3., 5., 6.]);
        assert_eq!(concat(t, &[&x, &x]).unwrap().shape(), [1, 2, 6]);
        assert!(channels(t, &x, 2, 4).is_err() && crop(t, &x, 1, 1).is_err() && concat(t, &[]).is_err());
    }
    /// Widths and places of columns that are multiples of 4 and that are not; changes on unequal windows; a part that does not
    /// change.
    #[test]
    fn moves_alone() {
        for (c, from, to) in [(3, 1, 3), (8, 4, 8), (8, 1, 5), (4, 0, 3)] {
            let mut r = check::Random::new(c as u64);
            let inputs = [r.normal(&[2, 9, c])];
            let all = |t: &mut Tape, v: &[Var]| {
                let (left, right) = (crop(t, &v[0], 0, 5)?, crop(t, &v[0], 4, 9)?);
                let joined = concat(t, &[&left, &right])?;
                let again = concat(t, &[&right, &joined, &left])?;
                channels(t, &again, from, 3 * c + to)
            };
            check::gradients("moves", &inputs, all);
            check::precision("moves", &inputs, all);
            check::delta("moves", &inputs, all);
            check::delta("flat moves", &inputs, |t, v| {
                let y = all(t, v)?;
                flatten(t, &y)
            });
        }
    }
    #[test]
    fn a_part_that_does_not_change() {
        use crate::tape::{Change, Keep, Mode};
        use crate::tensor::DType;
        for c in [3, 4] {
            let mut r = check::Random::new(8);
            let inputs = [r.normal(&[2, 5, c]), r.normal(&[2, 5, 4]), r.normal(&[3, 2, 4])];
            let run = |gpu: Option<&crate::device::Gpu>| {
                let [a, b, d] = inputs.each_ref().map(|t| {
                    let t = t.to_dtype(DType::F32).unwrap();
                    gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap())
                });
                let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
                let [a, b] = [a, b].map(|t| tape.leaf(t));
                let y = concat(&mut tape, &[&a, &b, &a]).unwrap().node.unwrap();
                let seed = Delta { at: Window { start: [-1, 3].into(), width: 3, len: 5 }, change: Change::Rows(d) };
                let found = tape.delta(vec![(b.node.unwrap(), seed)], &[1, 0], &[y]).unwrap().remove(0).unwrap();
                check::numbers(found.rows().unwrap())
            };
            check::gpus().iter().for_each(|gpu| assert_eq!(run(Some(gpu)), run(None)));
        }
    }
}
