//! Launches of `kernels/loss.cu`: which parts a loss is made of, as [`super::formulas`] puts them together.

use super::{Loss, formulas};
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr, PtrMut};
use crate::error::Result;
use crate::ops::or_null_mut;
use crate::tensor::{DType, Tensor};

/// A loss of single numbers.
#[derive(Clone, Copy)]
enum Each {
    None,
    Square,
    Absolute,
    BinaryCrossEntropy,
    Poisson,
    KullbackLeibler,
    CrossEntropy,
    Symmetric,
    LessEntropy,
    PoissonRate,
}

/// A loss of a row or column.
#[derive(Clone, Copy)]
enum Line {
    None,
    Correlation,
    Cosine,
    Softmax,
    JensenShannon,
    ContrastSquare,
    ContrastAbsolute,
    Multinomial,
    LogCount,
}

/// Parts with their weights.
struct Recipe {
    each: (Each, f64),
    rows: (Line, f64),
    columns: (Line, f64),
    /// A correlation of the rows' sums alone.
    sums: bool,
}

fn recipe(loss: Loss, b: usize, t: usize) -> Recipe {
    let (b, t) = (b as f64, t as f64);
    let none = Recipe { each: (Each::None, 0.0), rows: (Line::None, 0.0), columns: (Line::None, 0.0), sums: false };
    let each = |each| Recipe { each: (each, 1.0), ..none };
    let rows = |line, factor| Recipe { rows: (line, factor), ..none };
    let columns = |line, factor| Recipe { columns: (line, factor), ..none };
    // A line's loss stands at every element of the line.
    match loss {
        Loss::Mse => each(Each::Square),
        Loss::L1 => each(Each::Absolute),
        Loss::Bce => each(Each::BinaryCrossEntropy),
        Loss::PoissonNll => each(Each::Poisson),
        Loss::PoissonRate => each(Each::PoissonRate),
        Loss::Multinomial => rows(Line::Multinomial, 1.0),
        Loss::LogCountMse => rows(Line::LogCount, 1.0),
        Loss::Kl => each(Each::KullbackLeibler),
        Loss::CeData | Loss::CeClass => each(Each::CrossEntropy),
        Loss::SceData | Loss::SceClass => each(Each::Symmetric),
        Loss::HceData | Loss::HceClass => each(Each::LessEntropy),
        Loss::CrossEntropy => rows(Line::Softmax, 1.0),
        Loss::CorrelationData => rows(Line::Correlation, t),
        Loss::CorrelationClass => columns(Line::Correlation, b),
        Loss::CorrelationBoth => Recipe { columns: (Line::Correlation, 0.5 / t), ..rows(Line::Correlation, 0.5 / b) },
        Loss::CorrelationSumData => Recipe { sums: true, ..none },
        Loss::CorrelationMse => Recipe { each: (Each::Square, 0.05), ..rows(Line::Correlation, 0.95 * t) },
        Loss::MseCorrelation => Recipe { each: (Each::Square, 0.05), ..columns(Line::Correlation, 0.95 * b) },
        Loss::CosineData => rows(Line::Cosine, t),
        Loss::CosineClass => columns(Line::Cosine, b),
        Loss::CosineBoth => Recipe { columns: (Line::Cosine, 0.5 * b), ..rows(Line::Cosine, 0.5 * t) },
        Loss::Jsd => rows(Line::JensenShannon, t),
        Loss::MseContrastMse => Recipe { rows: (Line::ContrastSquare, 1.0), ..each(Each::Square) },
        Loss::L1ContrastL1 => Recipe { rows: (Line::ContrastAbsolute, 1.0), ..each(Each::Absolute) },
        Loss::L1ContrastMse => Recipe { rows: (Line::ContrastSquare, 1.0), ..each(Each::Absolute) },
        Loss::MseContrastCorrelation => Recipe { rows: (Line::Correlation, t), ..each(Each::Square) },
        Loss::L1ContrastCorrelation => Recipe { rows: (Line::Correlation, t), ..each(Each::Absolute) },
        Loss::None => none,
    }
}

/// `weight` times the sum of the loss, `[1]`, and its gradient if it is wanted; p and t are read as so many rows and columns.
pub(super) fn forward(
    gpu: &Gpu,
    loss: Loss,
    weight: f64,
    [p, t]: [&Tensor; 2],
    (b, tracks): (usize, usize),
    gradient: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    if p.is_empty() || loss == Loss::Bce && (outside(gpu, p)? || outside(gpu, t)?) {
        // The CPU says what is wrong.
        formulas::evaluate(loss, &p.to_cpu()?.to_f64(), &t.to_cpu()?.to_f64(), tracks)?;
    }
    let Recipe { each, rows, columns, sums } = recipe(loss, b, tracks);
    let mut g = if gradient { Some(Tensor::on(gpu, DType::F32, p.shape())?) } else { None };
    let (row_blocks, column_blocks) = (b.div_ceil(8), tracks.div_ceil(8));
    let memory = gpu.allocate((row_blocks + column_blocks) * size_of::<f64>())?;
    let partial = PtrMut::<f64>::new(memory.address());
    let (p, t, to) = (p.ptr()?, t.ptr()?, or_null_mut(g.as_mut())?);
    let (n, tracks_too) = (b as i32, tracks as i32);
    let cfg = Launch::new(row_blocks, 256);
    let mut parts = 0;
    // SAFETY: p, t and g are `[b, tracks]`, the parts as many as both kernels have blocks; the sums are two for every row, and
    // the gradient of one of them.
    unsafe {
        if sums {
            let memory = gpu.allocate(3 * b * size_of::<f64>())?;
            let all = PtrMut::<f64>::new(memory.address());
            let slopes = if gradient { all.offset(2 * b) } else { PtrMut::NULL };
            launch::loss_row_sums_f32(gpu, cfg, p, t, all, n, tracks_too)?;
            launch::loss_sums_f64(gpu, Launch::new(1, 512), all.into(), slopes, partial, n, (b * tracks) as f64)?;
            if gradient {
                let cfg = Launch::elements(b * tracks);
                launch::loss_spread_f32(gpu, cfg, slopes.into(), to, n, tracks_too, weight)?;
            }
            parts = 1;
        } else {
            // Without a part of rows or of elements, the columns write what they would add to.
            let by_rows = matches!((columns.0, rows.0, each.0), (Line::None, ..))
                || !matches!((rows.0, each.0), (Line::None, Each::None));
            if by_rows {
                let (kind, line) = (each.0 as i32, rows.0 as i32);
                launch::loss_rows_f32(gpu, cfg, p, t, to, partial, n, tracks_too, kind, each.1, line, rows.1, weight)?;
                parts = row_blocks;
            }
            if !matches!(columns.0, Line::None) {
                let (cfg, line) = (Launch::new(column_blocks, 512), columns.0 as i32);
                let partial = partial.offset(parts);
                let add = i32::from(by_rows);
                launch::loss_columns_f32(gpu, cfg, p, t, to, partial, n, tracks_too, line, columns.1, weight, add)?;
                parts += column_blocks;
            }
        }
        let mut y = Tensor::on(gpu, DType::F32, &[1])?;
        let cfg = Launch::new(1, 256);
        launch::loss_finish_f32(gpu, cfg, partial.into(), y.ptr_mut()?, parts as i32, weight)?;
        Ok((y, g))
    }
}

/// Whether a number is outside of 0 to 1.
fn outside(gpu: &Gpu, x: &Tensor) -> Result<bool> {
    let first = gpu.upload(&[u32::MAX])?;
    // SAFETY: x has as many elements.
    unsafe {
        let (cfg, to) = (Launch::elements(x.len()), PtrMut::new(first.address()));
        launch::loss_check_f32(gpu, cfg, x.ptr()?, to, x.len() as u32)?;
    }
    let mut found = [0u32];
    first.download(0, &mut found)?;
    Ok(found[0] != u32::MAX)
}

/// The gradient times that of the loss, `dy` `[1]`.
pub(super) fn backward(gpu: &Gpu, gradient: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let mut dx = Tensor::on(gpu, DType::F32, gradient.shape())?;
    let n = dx.len();
    let dy: Ptr<f32> = dy.ptr()?;
    // SAFETY: the gradient and dx have `n` elements, dy has one.
    unsafe { launch::loss_bwd_f32(gpu, Launch::elements(n), gradient.ptr()?, dy, dx.ptr_mut()?, n as i64)? };
    Ok(dx)
}
