//! A labelled matrix as a heat map: pairwise effects, correlations between tracks, motif effects.

use super::axis::{self, Axis, Frame, SMALL, TITLE};
use super::colour::Colour;
use super::svg::{Canvas, Style, Svg, Type};
use super::{check_finite, check_positive, extent, font, refuse};
use crate::error::Result;

const OP: &str = "plot::matrix";

/// What the figure shows.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    /// Names of the rows, from above.
    pub rows: &'a [&'a str],
    /// Names of the columns, from the left.
    pub columns: &'a [&'a str],
    /// Values, row by row.
    pub values: &'a [f32],
}

/// Options of the heat map.
#[derive(Debug, Clone)]
pub struct MatrixFigure {
    /// Title over the matrix.
    pub title: String,
    /// Name of the values, beside the colour bar.
    pub value_label: String,
    /// Values of the end colours, beyond which cells are saturated. If `None`, they are taken from the data: symmetric about
    /// 0 with diverging colours where there are negative values, from 0 or the least value up with sequential ones else.
    pub limits: Option<(f64, f64)>,
    /// Whether every cell shows its number (two significant digits), where it fits.
    pub numbers: bool,
    /// Side of a cell in pixels; made smaller where the figure would be wider than `max_width`.
    pub cell: f64,
    /// Greatest width of the figure in pixels.
    pub max_width: f64,
}

impl Default for MatrixFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: String::new(),
            limits: None,
            numbers: false,
            cell: 18.0,
            max_width: 692.0,
        }
    }
}

/// Longest label in pixels; what is longer is cut.
const LABEL: f64 = 150.0;

impl MatrixFigure {
    /// Draws the matrix.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if the matrix is empty, has another number of values than rows times columns, a value is
    /// not finite, or an option is out of its range.
    pub fn render(&self, matrix: &Matrix) -> Result<Svg> {
        let (low, high, diverging) = self.check(matrix)?;
        let (rows, columns) = (matrix.rows.len(), matrix.columns.len());
        let longest =
            |names: &[&str]| names.iter().map(|n| font::width(n, SMALL, false)).fold(0.0, f64::max).min(LABEL);
        let left = longest(matrix.rows) + 12.0;
        let header = if self.title.is_empty() { 6.0 } else { 26.0 };
        let top = header + longest(matrix.columns) + 8.0;

        let bar_axis = |bar: &Frame| Axis::linear(low, high, bar.bottom(), bar.top);
        let bar_height = 90.0;
        let bar = Frame { left: 0.0, top, width: 9.0, height: bar_height };
        let bar_ticks = bar_axis(&bar).ticks(4);
        let right = 19.0 + axis::beside_bar(&self.value_label, &bar_ticks);
        let cell = self.cell.min(((self.max_width - left - right) / columns as f64).max(0.5));
        let frame = Frame { left, top, width: cell * columns as f64, height: cell * rows as f64 };
        let width = left + frame.width + right;
        // The bar's label may be longer than the bar.
        let height = frame.bottom().max(top + bar_height + 12.0) + 8.0;
        let mut page = Canvas::new(width, height, &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, width - 12.0), &Type::new(TITLE).bold());

        let colour = |v: f64| {
            let t = (v - low) / (high - low);
            if diverging { Colour::diverging(2.0 * t - 1.0) } else { Colour::sequential(t) }
        };
        page.group(&[("class", "cells"), ("shape-rendering", "crispEdges")]);
        for (i, &v) in matrix.values.iter().enumerate() {
            let (x, y) = (left + (i % columns) as f64 * cell, top + (i / columns) as f64 * cell);
            page.rect(x, y, cell, cell, &Style::fill(colour(f64::from(v))));
        }
        page.end();
        if self.numbers {
            numbers(&mut page, matrix, &frame, cell, colour);
        }
        page.rect(frame.left, frame.top, frame.width, frame.height, &Style::stroke(Colour::GREY, 0.5));
        // Where cells are smaller than text, only some of the names have room.
        let every = ((SMALL + 1.0) / cell).ceil().max(1.0) as usize;
        for (i, name) in matrix.rows.iter().enumerate().step_by(every) {
            let y = top + (i as f64 + 0.5) * cell + SMALL * font::CAPITAL / 2.0;
            page.text(left - 5.0, y, &font::fit(name, SMALL, false, LABEL), &Type::new(SMALL).end());
        }
        for (i, name) in matrix.columns.iter().enumerate().step_by(every) {
            let x = left + (i as f64 + 0.5) * cell + SMALL * font::CAPITAL / 2.0;
            page.text(x, top - 5.0, &font::fit(name, SMALL, false, LABEL), &Type::new(SMALL).turned());
        }
        let bar = Frame { left: frame.right() + 12.0, ..bar };
        let scale = |t: f64| colour(low + t * (high - low));
        axis::colour_bar(&mut page, &bar, &bar_axis(&bar), &bar_ticks, scale, &self.value_label);
        Ok(page.finish())
    }

    /// Checks the data; returns the limits and whether the colours diverge.
    fn check(&self, matrix: &Matrix) -> Result<(f64, f64, bool)> {
        check_positive(OP, "cell", self.cell)?;
        check_positive(OP, "max_width", self.max_width)?;
        let (rows, columns, n) = (matrix.rows.len(), matrix.columns.len(), matrix.values.len());
        if rows == 0 || columns == 0 {
            return refuse(OP, format!("there is nothing to draw: {rows} rows and {columns} columns"));
        }
        if n != rows * columns {
            return refuse(OP, format!("{rows} rows x {columns} columns need {} values, found {n}", rows * columns));
        }
        check_finite(OP, matrix.values, |i| {
            format!("the value in row '{}', column '{}'", matrix.rows[i / columns], matrix.columns[i % columns])
        })?;
        let (low, high) = match self.limits {
            Some((low, high)) if low < high && low.is_finite() && high.is_finite() => (low, high),
            Some((low, high)) => return refuse(OP, format!("limits must rise, found {low} to {high}")),
            None => match extent(matrix.values.iter().map(|&v| f64::from(v))).unwrap_or((0.0, 1.0)) {
                (low, high) if low < 0.0 => (-high.max(-low), high.max(-low)),
                (_, high) => (0.0, if high > 0.0 { high } else { 1.0 }),
            },
        };
        Ok((low, high, low < 0.0))
    }
}

fn numbers(page: &mut Canvas, matrix: &Matrix, frame: &Frame, cell: f64, colour: impl Fn(f64) -> Colour) {
    let size = SMALL.min(cell * 0.5);
    let columns = matrix.columns.len();
    for (i, &v) in matrix.values.iter().enumerate() {
        let v = f64::from(v);
        let text = axis::significant(v, 2);
        if font::width(&text, size, false) > cell - 1.0 {
            continue;
        }
        let ink = if colour(v).is_light() { Colour::INK } else { Colour::WHITE };
        let x = frame.left + ((i % columns) as f64 + 0.5) * cell;
        let y = frame.top + ((i / columns) as f64 + 0.5) * cell + size * font::CAPITAL / 2.0;
        page.text(x, y, &text, &Type::new(size).middle().colour(ink));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    const ROWS: [&str; 2] = ["a & b", "c"];
    const COLUMNS: [&str; 3] = ["x", "y", "a rather long name of a column that has to be cut somewhere"];

    #[test]
    fn every_value_has_a_cell() {
        let matrix = Matrix { rows: &ROWS, columns: &COLUMNS, values: &[-1.0, 0.0, 0.5, 1.0, 2.0, -2.0] };
        let figure = MatrixFigure { numbers: true, value_label: "Effect".into(), cell: 30.0, ..Default::default() };
        let svg = figure.render(&matrix).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "width=\"30\" height=\"30\""), 6);
        assert_eq!(count(&svg, ">a &amp; b<"), 1);
        assert_eq!(count(&svg, ">−1.0<"), 1);
        // The two ends of the symmetric scale.
        assert!(count(&svg, &Colour::diverging(1.0).to_string()) >= 1);
        assert!(count(&svg, &Colour::diverging(-1.0).to_string()) >= 1);
        assert_eq!(svg, figure.render(&matrix).unwrap());
    }

    #[test]
    fn many_columns_shrink_to_the_page() {
        let names: Vec<String> = (0..200).map(|i| format!("n{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let matrix = Matrix { rows: &names, columns: &names, values: &vec![0.25; 40_000] };
        let svg = MatrixFigure::default().render(&matrix).unwrap();
        check(&svg);
        assert!(svg.width() <= 693.0);
    }

    #[test]
    fn refuses_what_is_not_a_matrix() {
        let refused = |rows: &[&str], values: &[f32]| {
            MatrixFigure::default().render(&Matrix { rows, columns: &["x"], values }).unwrap_err().to_string()
        };
        assert!(refused(&[], &[]).contains("0 rows and 1 columns"));
        assert!(refused(&["a"], &[]).contains("need 1 values, found 0"));
        assert!(refused(&["a"], &[f32::NAN]).contains("row 'a', column 'x' is NaN"));
        let figure = MatrixFigure { limits: Some((1.0, 1.0)), ..Default::default() };
        assert!(figure.render(&Matrix { rows: &["a"], columns: &["x"], values: &[0.0] }).is_err());
    }
}
