//! Arithmetic of two tensors of one shape: `a + b`, `a - b`, `a b`, `a / b`, and two formulas that join outputs of two networks:
//! `exp(min(a - b, ln 2048))` and `(relu(a) + 1e-12) / (relu(b) + 1e-12)`.
//!
//! Any shape; no broadcasting. PyTorch: `+ - * /`, `exp(clamp(a - b, max=log(2048)))`. Under mutation the sum of changes (`+ -`), or the product and quotient rules
//! with their second-order terms: exact, and relative to the change. An unchanged side counts as no change; windows of
//! different place and width meet in their hull.

mod cuda;

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Real, Tensor};
use crate::util::{
    math::{self, Float},
    par,
};

/// `a + b`.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn add(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Add)
}

/// `a - b`.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn subtract(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Subtract)
}

/// `a b`, element by element.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn multiply(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Multiply)
}

/// `a / b`, element by element.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn divide(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Divide)
}

/// `exp(min(a - b, ln 2048))`: a ratio of what a and b are logarithms of.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn exp_difference(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::ExpDifference)
}

/// `(relu(a) + 1e-12) / (relu(b) + 1e-12)`: a ratio that is never negative.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn fraction(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Fraction)
}

/// Added to both sides of a fraction.
const TINY: f64 = 1e-12;
/// The largest exponent of a difference, ln 2048.
const LARGEST: f64 = 11.0 * std::f64::consts::LN_2;

/// `max(x, 0)`; what is no number stays none.
fn relu<T: Real>(x: T) -> T {
    if x <= T::default() { T::default() } else { x }
}

/// `relu(x + d) - relu(x)`, without cancellation.
fn relu_difference<T: Real>(x: T, d: T) -> T {
    let (zero, new) = (T::default(), x + d);
    match (x > zero, new > zero) {
        (true, true) => d,
        (true, false) => -x,
        (false, true) => new,
        (false, false) => zero,
    }
}

/// As [`add`], with a value that is known.
pub(super) fn add_given(tape: &mut Tape, a: &Var, b: &Var, value: Tensor) -> Result<Var> {
    tape.apply_given(Binary::Add, &[a, b], value)
}

fn binary(tape: &mut Tape, a: &Var, b: &Var, op: Binary) -> Result<Var> {
    if a.shape() != b.shape() {
        return Err(Error::Shape {
            op: op.name(),
            arg: "b",
            expected: format!("{:?} like a", a.shape()),
            found: b.shape().to_vec(),
        });
    }
    tape.apply(op, &[a, b])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
    ExpDifference,
    Fraction,
}

impl Binary {
    fn value<T: Real>(self, a: T, b: T) -> T {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
            Self::ExpDifference => T::of((a - b).f64().at_most(LARGEST).exp()),
            Self::Fraction => (relu(a) + T::of(TINY)) / (relu(b) + T::of(TINY)),
        }
    }

    /// Derivatives by a and b.
    fn slopes<T: Real>(self, a: T, b: T) -> (T, T) {
        let (zero, one, tiny) = (T::default(), T::of(1.0), T::of(TINY));
        match self {
            Self::Add => (one, one),
            Self::Subtract => (one, -one),
            Self::Multiply => (b, a),
            Self::Divide => (one / b, -a / (b * b)),
            Self::ExpDifference => {
                let d = (a - b).f64();
                let y = if d <= LARGEST { T::of(d.exp()) } else { zero };
                (y, -y)
            }
            Self::Fraction => {
                let (u, v) = (relu(a) + tiny, relu(b) + tiny);
                (if a > zero { one / v } else { zero }, if b > zero { -u / (v * v) } else { zero })
            }
        }
    }

    /// Change of the value when a and b change by da and db.
    fn difference<T: Real>(self, a: T, b: T, da: T, db: T) -> T {
        match self {
            Self::Add => da + db,
            Self::Subtract => da - db,
            Self::Multiply => a * db + da * b + da * db,
            Self::Divide => (da - a / b * db) / (b + db),
            Self::ExpDifference => T::of(math::power_difference(1.0, (a - b).f64(), (da - db).f64(), LARGEST)),
            Self::Fraction => {
                let side = |x| relu(x) + T::of(TINY);
                let (old, new, ratio) = (side(b), side(b + db), side(a) / side(b));
                // Where the two ratios are far apart, their difference cancels nothing, and the formula would.
                if new + new < old || old + old < new {
                    return side(a + da) / new - ratio;
                }
                (relu_difference(a, da) - ratio * relu_difference(b, db)) / new
            }
        }
    }

    fn is_linear(self) -> bool {
        matches!(self, Self::Add | Self::Subtract)
    }

    /// Both sides, which lie where `other` lies; `None` for what needs neither.
    fn values<'a>(self, cx: &Cx<'a>, other: &'a Tensor) -> Result<Option<(&'a Tensor, &'a Tensor)>> {
        if self.is_linear() {
            return Ok(None);
        }
        let (a, b) = (cx.saved(0)?, cx.saved(1)?);
        Tensor::place(self.name(), &[other, a, b])?;
        Ok(Some((a, b)))
    }
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
            Self::ExpDifference => "exp_difference",
            Self::Fraction => "fraction",
        }
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        save.put(0, save.keep.any() && !self.is_linear(), x[0]);
        save.put(1, save.keep.any() && !self.is_linear(), x[1]);
        if let Some(y) = save.given() {
            return Ok(y);
        }
        if let Some(gpu) = Tensor::place(self.name(), x)? {
            return cuda::forward(gpu, *self, x[0], x[1]);
        }
        real!(self.name(), x[0], T => {
            let mut y = tensor::stale::<T>(x[0].len());
            let (a, b) = (x[0].cpu::<T>()?, x[1].cpu::<T>()?);
            par::rows(&mut y, 1, |at, y| {
                for ((y, &a), &b) in y.iter_mut().zip(&a[at..]).zip(&b[at..]) {
                    *y = self.value(a, b);
                }
            });
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if let Some(gpu) = dy.gpu() {
            return cuda::backward(gpu, *self, self.values(cx, dy)?, cx, dy);
        }
        if *self == Self::Add {
            return Ok(vec![Some(dy.clone()), Some(dy.clone())]);
        }
        let size: usize = dy.shape()[1..].iter().product();
        real!(self.name(), dy, T => {
            let g = dy.cpu::<T>()?;
            let each = |f: &(dyn Fn(usize, T) -> T + Sync)| {
                let mut d = tensor::stale::<T>(g.len());
                super::for_rows(&mut d, size, |r, at, d| {
                    for (i, d) in d.iter_mut().enumerate() {
                        *d = f(cx.base(r) * size + at + i, g[r * size + at + i]);
                    }
                });
                Tensor::of(dy.shape(), d)
            };
            if *self == Self::Subtract {
                return Ok(vec![Some(dy.clone()), Some(each(&|_, g| -g))]);
            }
            let (a, b) = (cx.saved(0)?.cpu::<T>()?, cx.saved(1)?.cpu::<T>()?);
            Ok(vec![
                Some(each(&|i, g| g * self.slopes(a[i], b[i]).0)),
                Some(each(&|i, g| g * self.slopes(a[i], b[i]).1)),
            ])
        })
    }

    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if self.is_linear() {
            return self.backward(cx, dy);
        }
        Err(Error::Unsupported { op: self.name(), what: "the rescale sweep (DeepLIFT)".into() })
    }

    fn is_linear(&self) -> bool {
        Binary::is_linear(*self)
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let Some(any) = dx.iter().flatten().next() else { return super::changed(dx, 0)?.rows().cloned() };
        let (m, c) = (to.mutants(), any.rows()?.shape()[2]);
        if let Some(gpu) = any.rows()?.gpu() {
            let side = |i: usize| dx.get(i).copied().flatten();
            return cuda::delta(gpu, *self, self.values(cx, any.rows()?)?, cx, [side(0), side(1)], to, c);
        }
        let shape = [to.width, m, c];
        real!(self.name(), any.rows()?, T => {
            let mut parts = vec![];
            for d in dx.iter().take(2) {
                parts.push(d.map(|d| d.rows()?.cpu::<T>().map(|x| (&d.at, x))).transpose()?);
            }
            if self.is_linear() {
                let mut y = tensor::stale::<T>(to.width * m * c);
                match parts.first() {
                    // A part that fills the window spares the zeros.
                    Some(&Some((at, d))) if at == to => {
                        y.copy_from_slice(d);
                        parts[0] = None;
                    }
                    _ => y.fill(T::default()),
                }
                for (i, part) in parts.into_iter().enumerate() {
                    if let Some((at, d)) = part {
                        let sign = if i == 1 && *self == Self::Subtract { -1.0 } else { 1.0 };
                        add_placed(at, d, T::of(sign), to, c, &mut y);
                    }
                }
                return Ok(Tensor::of(&shape, y));
            }
            let (a, b) = (cx.saved(0)?.cpu::<T>()?, cx.saved(1)?.cpu::<T>()?);
            let mut y = tensor::zeros::<T>(to.width * m * c);
            let of = |part: Option<(&Window, &'_ [T])>, i: usize, p: usize, j: usize| {
                part.and_then(|(at, d)| at.row(i, p).map(|r| d[r * c + j])).unwrap_or_default()
            };
            for (r, i, p) in to.cells() {
                let at = (cx.base(i) * to.len + p) * c;
                for j in 0..c {
                    y[r * c + j] = self.difference(a[at + j], b[at + j], of(parts[0], i, p, j), of(parts[1], i, p, j));
                }
            }
            Ok(Tensor::of(&shape, y))
        })
    }
}

/// y += factor d, where d lies on `at` and y on `to`.
pub(super) fn add_placed<T: Real>(at: &Window, d: &[T], factor: T, to: &Window, c: usize, y: &mut [T]) {
    let m = to.mutants();
    let by = at.start.first().zip(to.start.first()).map_or(0, |(a, t)| a - t);
    let shift = usize::try_from(by).unwrap_or(0);
    let one_shift = at.start.iter().zip(&*to.start).all(|(a, t)| a - t == by);
    if one_shift && by >= 0 && shift + at.width <= to.width {
        return math::axpy(factor, d, &mut y[shift * m * c..][..d.len()]);
    }
    for (r, i, p) in at.cells() {
        if let Some(o) = to.row(i, p) {
            math::axpy(factor, &d[r * c..][..c], &mut y[o * c..][..c]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Conv1dArgs, activation, conv1d};
    use crate::tape::check;
    use crate::util::math::Activation;

    const ALL: [Binary; 6] =
        [Binary::Add, Binary::Subtract, Binary::Multiply, Binary::Divide, Binary::ExpDifference, Binary::Fraction];

    /// The formulas where they bend, and past it.
    #[test]
    fn ends_of_formulas() {
        let values = [-900.0, -3.0, -1e-9, 0.0, 1e-9, 0.5, 2.0, 7.6, 7.7, 20.0];
        for op in [Binary::ExpDifference, Binary::Fraction] {
            for a in values {
                for b in values {
                    for (da, db) in [(0.1, 0.0), (0.0, -0.7), (-9.0, 3.0), (9.0, 0.3), (900.0, 0.0), (0.0, 900.0)] {
                        let (got, want) = (op.difference(a, b, da, db), op.value(a + da, b + db) - op.value(a, b));
                        let scale = op.value::<f64>(a + da, b + db).abs().max(op.value(a, b)).max(1e-12);
                        assert!((got - want).abs() <= 1e-12 * scale, "{} {a} {b} {da} {db}: {got} {want}", op.name());
                    }
                }
            }
            assert!(op.value(f64::NAN, 1.0).is_nan() && op.value(1.0, f64::NAN).is_nan());
        }
        assert_eq!(Binary::ExpDifference.slopes(20.0, 1.0), (0.0, -0.0));
        assert_eq!(Binary::Fraction.slopes(-1.0, -1.0), (0.0, 0.0));
    }

    type Function = fn(&mut Tape, &Var, &Var) -> Result<Var>;

    const OPERATIONS: [(&str, Function); 6] = [
        ("add", add),
        ("subtract", subtract),
        ("multiply", multiply),
        ("divide", divide),
        ("exp_difference", exp_difference),
        ("fraction", fraction),
    ];

    #[test]
    fn cases() {
        for (name, f) in OPERATIONS {
            let mut r = check::Random::new(7);
            let inputs = [r.normal(&[3, 5, 4]), r.uniform(&[3, 5, 4], 0.5, 2.0), r.normal(&[3, 4, 4])];
            check::gradients(name, &inputs[..2], |t, v| f(t, &v[0], &v[1]));
            check::precision(name, &inputs[..2], |t, v| f(t, &v[0], &v[1]));
            // Both sides change, on different windows.
            check::delta(name, &[inputs[0].clone(), inputs[2].clone()], |t, v| {
                let wide =
                    conv1d(t, &v[0], &v[1], None, Conv1dArgs { kernel: 3, stride: 1, dilation: 2, pad: (3, 1) })?;
                let safe = activation(t, &v[0], Activation::ReluNonZero)?;
                let safe = activation(t, &safe, Activation::Exp)?;
                f(t, &wide, &safe)
            });
        }
        let (a, b) =
            (Var::constant(check::Random::new(1).normal(&[2, 2])), Var::constant(check::Random::new(1).normal(&[2])));
        assert_eq!(
            add(&mut Tape::predict(), &a, &b).unwrap_err().to_string(),
            "add: b must be [2, 2] like a; found [2]"
        );
    }

    /// From where an exponential is nothing, in f32 and in f64, back to where it is not.
    #[test]
    fn far_moves() {
        for scale in [100.0, 4000.0] {
            let diagonal: Vec<f64> = (0..16).map(|i| if i % 5 == 0 { scale } else { 0.0 }).collect();
            let x = check::Random::new(3).uniform(&[3, 5, 4], -1.2, -0.9);
            check::delta("exp_difference, far", &[x, Tensor::of(&[1, 4, 4], diagonal)], |t, v| {
                let a = conv1d(t, &v[0], &v[1], None, Conv1dArgs::same(1, 1))?;
                let b = activation(t, &v[0], Activation::ReluNonZero)?;
                exp_difference(t, &a, &b)
            });
        }
    }

    /// Sides of other places and widths, by moves alone; rows of 4 channels and of others; repeated and left out gradients.
    #[test]
    fn windows_and_widths() {
        use crate::ops::{channels, crop};
        for (name, f) in OPERATIONS {
            for c in [3, 8] {
                let mut r = check::Random::new(11);
                let inputs = [r.uniform(&[3, 9, c], 1.0, 2.0), r.uniform(&[3, 5, c], 1.0, 2.0)];
                let own = |t: &mut Tape, v: &[Var]| {
                    let (left, middle, right) = (crop(t, &v[0], 0, 5)?, crop(t, &v[0], 1, 6)?, crop(t, &v[0], 4, 9)?);
                    let wide = add(t, &left, &right)?;
                    let y = f(t, &wide, &middle)?;
                    // A fraction that falls to 1e-12 leaves the one above it no digits, whichever way it is computed.
                    if name == "fraction" { Ok(y) } else { f(t, &middle, &y) }
                };
                check::delta(name, &inputs[..1], own);
                check::precision(name, &inputs[..1], own);
                check::precision(name, &inputs[1..], |t, v| f(t, &Var::constant(v[0].value.clone()), &v[0]));
                unchanged_sides(name, &inputs, f);
            }
            // Elements that are no multiple of 4 behind those that are, and addresses that are not.
            let inputs = [check::Random::new(2).uniform(&[1, 300, 7], 1.0, 2.0)];
            check::precision(name, &inputs, |t, v| {
                let (some, others) = (channels(t, &v[0], 1, 6)?, channels(t, &v[0], 2, 7)?);
                f(t, &some, &others)
            });
        }
    }

    #[test]
    fn views_that_begin_anywhere() {
        let flat = check::Random::new(5).uniform(&[2050], 0.5, 2.0).to_dtype(crate::tensor::DType::F32).unwrap();
        for gpu in check::gpus() {
            let moved = flat.to_gpu(gpu).unwrap();
            for op in ALL {
                let run = |t: &Tensor| {
                    let [a, b] = [1, 2].map(|at| Var::constant(t.view(at, &[512, 4]).unwrap()));
                    check::numbers(&binary(&mut Tape::predict(), &a, &b, op).unwrap().value)
                };
                let (want, got) = (run(&flat), run(&moved));
                match op {
                    // Exponentials differ in the last digit.
                    Binary::ExpDifference => check::nmse(op.name(), &got, &want, 1e-13),
                    _ => assert_eq!(want, got, "{}", op.name()),
                }
            }
        }
    }
    /// One side changes and the other does not.
    fn unchanged_sides(name: &str, inputs: &[Tensor], f: impl Fn(&mut Tape, &Var, &Var) -> Result<Var>) {
        use crate::tape::{Change, Keep, Mode};
        use crate::tensor::DType;
        let run = |gpu: Option<&crate::device::Gpu>| {
            let moved = |t: &Tensor| {
                let t = t.to_dtype(DType::F32).unwrap();
                gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap())
            };
            let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
            let [a, b] = [0, 1].map(|i| tape.leaf(moved(&inputs[i].rows(0, 3).unwrap())));
            let a = crate::ops::crop(&mut tape, &a, 2, 7).unwrap();
            let y = f(&mut tape, &a, &b).unwrap().node.unwrap();
            let mut all = vec![];
            for from in [a.node.unwrap(), b.node.unwrap()] {
                let at = Window { start: [-1, 3, 0, 2].into(), width: 3, len: 5 };
                let change = moved(&check::Random::new(3).normal(&[3, 4, inputs[0].shape()[2]]));
                let seed = Delta { at, change: Change::Rows(change) };
                let d = tape.delta(vec![(from, seed)], &[2, 0, 1, 1], &[y]).unwrap().remove(0).unwrap();
                all.extend(check::numbers(d.rows().unwrap()));
            }
            all
        };
        let want = run(None);
        check::gpus().iter().for_each(|gpu| check::nmse(name, &run(Some(gpu)), &want, 1e-13));
    }
    /// Sweep rows that are not those of the tape; a side that wants no gradient.
    #[test]
    fn selected_rows_on_gpus() {
        use crate::tape::{Keep, Mode};
        let mut r = check::Random::new(6);
        let inputs = [r.normal(&[3, 5, 4]), r.uniform(&[3, 5, 4], 0.5, 2.0), r.normal(&[3, 5, 4])]
            .map(|t| t.to_dtype(crate::tensor::DType::F32).unwrap());
        let run = |op: Binary, gpu: Option<&crate::device::Gpu>| {
            let [a, b, dy] = inputs.each_ref().map(|t| gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap()));
            let mut all = vec![];
            for leaves in [[true, true], [true, false], [false, true]] {
                let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
                let mut var = |t: &Tensor, leaf| if leaf { tape.leaf(t.clone()) } else { Var::constant(t.clone()) };
                let (a, b) = (var(&a, leaves[0]), var(&b, leaves[1]));
                let y = binary(&mut tape, &a, &b, op).unwrap().node.unwrap();
                let want: Vec<usize> = [a.node, b.node].into_iter().flatten().collect();
                let d = tape.backward(y, dy.clone(), &[2, 0, 2], &want).unwrap();
                all.extend(d.into_iter().flat_map(|d| check::numbers(&d.unwrap())));
            }
            all
        };
        for op in ALL {
            check::gpus().iter().for_each(|gpu| check::nmse(op.name(), &run(op, Some(gpu)), &run(op, None), 1e-13));
        }
    }
}
