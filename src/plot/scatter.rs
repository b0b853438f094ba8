//! Predicted against measured values, one panel a track.

use std::collections::BTreeMap;

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::svg::{Canvas, Style, Svg, Type, number};
use super::{check_finite, check_positive, extent, font, refuse};
use crate::error::Result;
use crate::stat::pearson;

const OP: &str = "plot::scatter";

/// One track.
#[derive(Debug, Clone, Copy)]
pub struct ScatterPanel<'a> {
    /// Title, e.g. the name of the track.
    pub title: &'a str,
    /// Measured values, on the horizontal axis.
    pub measured: &'a [f32],
    /// Predictions of the same sequences, on the vertical axis.
    pub predicted: &'a [f32],
}

/// Options of the scatter figure.
#[derive(Debug, Clone)]
pub struct ScatterFigure {
    /// Title over all panels.
    pub title: String,
    /// Label of the horizontal axes.
    pub x_label: String,
    /// Label of the vertical axes.
    pub y_label: String,
    /// Panels beside each other; as many as fit the width of a page if `None`.
    pub columns: Option<usize>,
    /// Side of a panel in pixels.
    pub panel: f64,
    /// Whether both axes of a panel have the same range, so that the diagonal runs from corner to corner.
    pub square: bool,
    /// Number of points above which a panel shows the density in hexagonal cells instead of points.
    pub most_points: usize,
}

impl Default for ScatterFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            x_label: "Measured".into(),
            y_label: "Predicted".into(),
            columns: None,
            panel: 160.0,
            square: true,
            most_points: 5000,
        }
    }
}

/// Width that the columns fill if their number is not given: two columns of a printed page.
const PAGE: f64 = 692.0;
/// Ticks wanted on an axis.
const TICKS: usize = 5;
/// Distance between the centres of two cells of a row in pixels.
const CELL: f64 = 5.0;

impl ScatterFigure {
    /// Draws one panel for each track, row by row, with Pearson's r and the number of points in the corner.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there is no panel, a panel has no points or not as many predictions as measurements, a
    /// value is not finite, or an option is out of its range.
    pub fn render(&self, panels: &[ScatterPanel]) -> Result<Svg> {
        self.check(panels)?;
        let drawn: Vec<_> = panels.iter().map(|p| self.prepare(p)).collect();
        let ticks_room = drawn.iter().map(|d| axis::widest(&d.y.ticks(TICKS))).fold(0.0, f64::max);
        let left = ticks_room + if self.y_label.is_empty() { 12.0 } else { 26.0 };
        let most = drawn.iter().filter_map(|d| d.cells.as_ref()).flat_map(|c| c.values()).copied().max();

        let bar_axis = |bar: &Frame| Axis::log(1.0, most.unwrap_or(1).max(2) as f64, bar.bottom(), bar.top);
        let bar_frame = |left: f64, top: f64| Frame { left, top, width: 9.0, height: self.panel };
        let bar_ticks = bar_axis(&bar_frame(0.0, 0.0)).ticks(4);
        let bar_room = if most.is_some() { 15.0 + axis::beside_bar(BAR, &bar_ticks) } else { 0.0 };

        let cell = (left + self.panel + 14.0, 22.0 + self.panel + axis::below(&self.x_label) + 8.0);
        let fitting = ((PAGE - bar_room) / cell.0).floor().max(1.0) as usize;
        let columns = self.columns.unwrap_or(fitting).min(panels.len());
        let rows = panels.len().div_ceil(columns);
        let header = if self.title.is_empty() { 4.0 } else { 26.0 };
        let width = cell.0 * columns as f64 + bar_room + 2.0;
        let mut page = Canvas::new(width, header + cell.1 * rows as f64, &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, width - 16.0), &Type::new(TITLE).bold());
        for (i, (panel, d)) in panels.iter().zip(&drawn).enumerate() {
            let (x, y) = (cell.0 * (i % columns) as f64, header + cell.1 * (i / columns) as f64);
            let frame = Frame { left: x + left, top: y + 22.0, width: self.panel, height: self.panel };
            self.panel(&mut page, panel, d, &frame, ticks_room, most.unwrap_or(1));
        }
        if most.is_some() {
            let bar = bar_frame(cell.0 * columns as f64, header + 22.0);
            axis::colour_bar(&mut page, &bar, &bar_axis(&bar), &bar_ticks, Colour::sequential, BAR);
        }
        Ok(page.finish())
    }

    fn check(&self, panels: &[ScatterPanel]) -> Result<()> {
        check_positive(OP, "panel", self.panel)?;
        if self.columns == Some(0) {
            return refuse(OP, "columns must be at least 1");
        }
        if panels.is_empty() {
            return refuse(OP, "there is nothing to draw: give at least one track");
        }
        for p in panels {
            let (name, n, m) = (p.title, p.measured.len(), p.predicted.len());
            if n != m {
                return refuse(OP, format!("'{name}' has {n} measured and {m} predicted values; they must be pairs"));
            }
            if n == 0 {
                return refuse(OP, format!("'{name}' has no points"));
            }
            check_finite(OP, p.measured, |i| format!("'{name}': measured value {i}"))?;
            check_finite(OP, p.predicted, |i| format!("'{name}': predicted value {i}"))?;
        }
        Ok(())
    }

    /// Axes of a panel with its lower left corner at (0, 0), y up, and its points or cells in these pixels.
    fn prepare(&self, panel: &ScatterPanel) -> Drawn {
        let range = |values: &[f32]| extent(values.iter().map(|&v| f64::from(v))).unwrap_or((0.0, 1.0));
        let (mut mx, mut px) = (range(panel.measured), range(panel.predicted));
        if self.square {
            mx = (mx.0.min(px.0), mx.1.max(px.1));
            px = mx;
        }
        // Room for the radius of the points at the edge.
        let inset = 5.0;
        let axis = |(low, high): (f64, f64)| {
            let core = Axis::linear(low, high, inset, self.panel - inset);
            let per_pixel = (core.high - core.low) / (self.panel - 2.0 * inset);
            Axis::linear(core.low - inset * per_pixel, core.high + inset * per_pixel, 0.0, self.panel)
        };
        let (x, y) = (axis(mx), axis(px));
        let points = panel.measured.iter().zip(panel.predicted);
        let points: Vec<_> = points.map(|(m, p)| (x.at(f64::from(*m)), y.at(f64::from(*p)))).collect();
        let cells = (points.len() > self.most_points).then(|| hexagons(&points));
        Drawn { x, y, points, cells }
    }

    /// Ticks of the horizontal axis, fewer where their labels would run into each other.
    fn x_ticks(&self, axis: &Axis) -> Vec<axis::Tick> {
        let fits = |t: &Vec<axis::Tick>| (axis::widest(t) + 8.0) * t.len() as f64 <= self.panel;
        (1..=TICKS).rev().map(|n| axis.ticks(n)).find(fits).unwrap_or_else(|| axis.ticks(1))
    }

    fn panel(&self, page: &mut Canvas, panel: &ScatterPanel, d: &Drawn, frame: &Frame, room: f64, most: usize) {
        let title = font::fit(panel.title, TEXT, true, frame.width + 8.0);
        page.text(frame.left, frame.top - 7.0, &title, &Type::new(TEXT).bold());
        let place = |x: f64, y: f64| (frame.left + x, frame.bottom() - y);
        if let Some(cells) = &d.cells {
            page.group(&[("class", "cells")]);
            for (&cell, &count) in cells {
                let (x, y) = centre(cell);
                let (x, y) = place(x, y);
                let t = (count as f64).ln() / (most.max(2) as f64).ln();
                page.path(&hexagon(x, y), &Style::fill(Colour::sequential(t)));
            }
        } else {
            let (radius, opacity) = match d.points.len() {
                0..=200 => (2.2, "0.7"),
                201..=1000 => (1.8, "0.5"),
                _ => (1.4, "0.35"),
            };
            page.group(&[("class", "points"), ("fill", &Colour::category(0).to_string()), ("fill-opacity", opacity)]);
            for &(x, y) in &d.points {
                let (x, y) = place(x, y);
                page.dot(x, y, radius);
            }
        }
        page.end();
        let (low, high) = (d.x.low.max(d.y.low), d.x.high.min(d.y.high));
        if low < high {
            let ends = [low, high].map(|v| place(d.x.at(v), d.y.at(v)));
            page.line(ends[0], ends[1], &Style::stroke(Colour::GREY, 0.9).dashed("3 3"));
        }
        let r = correlation(panel.measured, panel.predicted)
            .map_or("r undefined".into(), |r| format!("r = {}{:.3}", if r < -0.0005 { "−" } else { "" }, r.abs()));
        let n = format!("n = {}", axis::grouped(&panel.measured.len().to_string()));
        let widest = font::width(&r, SMALL, false).max(font::width(&n, SMALL, false));
        page.rect(frame.left + 2.0, frame.top, widest + 6.0, 27.0, &Style::fill(Colour::WHITE).fill_opacity(0.8));
        page.text(frame.left + 5.0, frame.top + 10.5, &r, &Type::new(SMALL));
        page.text(frame.left + 5.0, frame.top + 22.5, &n, &Type::new(SMALL));
        let at = |axis: &Axis, from: f64, to: f64| Axis::linear(axis.low, axis.high, from, to);
        frame.x_axis(page, &at(&d.x, frame.left, frame.right()), &self.x_ticks(&d.x), &self.x_label);
        frame.y_axis(page, &at(&d.y, frame.bottom(), frame.top), &d.y.ticks(TICKS), &self.y_label, room);
    }
}

const BAR: &str = "Points per cell";

struct Drawn {
    x: Axis,
    y: Axis,
    points: Vec<(f64, f64)>,
    /// Counts by column and row of the cell, if there are too many points.
    cells: Option<BTreeMap<(i64, i64), usize>>,
}

/// Height between two rows of cells: their centres form equilateral triangles.
const ROW: f64 = CELL * 0.866_025_403_784_438_6;

/// Centre of a cell; odd rows are half a cell to the right.
fn centre((column, row): (i64, i64)) -> (f64, f64) {
    ((column as f64 + if row.rem_euclid(2) == 1 { 0.5 } else { 0.0 }) * CELL, row as f64 * ROW)
}

/// Counts the points by the cell whose centre is nearest.
fn hexagons(points: &[(f64, f64)]) -> BTreeMap<(i64, i64), usize> {
    let mut cells = BTreeMap::new();
    for &(x, y) in points {
        let below = (y / ROW).floor() as i64;
        let candidates = [below, below + 1].map(|row| {
            let shift = if row.rem_euclid(2) == 1 { 0.5 } else { 0.0 };
            ((x / CELL - shift).round() as i64, row)
        });
        let distance = |cell| {
            let (cx, cy) = centre(cell);
            (cx - x).powi(2) + (cy - y).powi(2)
        };
        let nearest = if distance(candidates[0]) <= distance(candidates[1]) { candidates[0] } else { candidates[1] };
        *cells.entry(nearest).or_insert(0) += 1;
    }
    cells
}

fn hexagon(x: f64, y: f64) -> String {
    // A little larger than the cell, or the paper would shine through between neighbours.
    let (w, h) = (CELL / 2.0 + 0.1, CELL / 3f64.sqrt() + 0.1);
    let corners = [(0.0, -h), (w, -h / 2.0), (w, h / 2.0), (0.0, h), (-w, h / 2.0), (-w, -h / 2.0)];
    let list: Vec<_> = corners.iter().map(|(dx, dy)| format!("{} {}", number(x + dx), number(y + dy))).collect();
    format!("M{}Z", list.join("L"))
}

/// Pearson's correlation in f64; `None` where one side is constant.
fn correlation(a: &[f32], b: &[f32]) -> Option<f64> {
    let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
    Some(pearson(&wide(a), &wide(b))).filter(|r| !r.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    #[test]
    fn points_become_cells_where_they_are_many() {
        let x: Vec<f32> = (0..300).map(|i| (i % 17) as f32 + (i as f32 * 0.37).sin()).collect();
        let y: Vec<f32> = x.iter().enumerate().map(|(i, v)| v + (i as f32).cos()).collect();
        let panels = [ScatterPanel { title: "a<b", measured: &x, predicted: &y }; 4];
        let svg = ScatterFigure::default().render(&panels).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "<circle"), 1200);
        assert_eq!(count(&svg, "n = 300"), 4);
        assert_eq!(count(&svg, "a&lt;b"), 4);
        let dense = ScatterFigure { most_points: 100, title: "dense".into(), ..Default::default() };
        let svg = dense.render(&panels).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "<circle"), 0);
        assert!(count(&svg, "Points per cell") == 1 && count(&svg, "<path") > 40);
        assert_eq!(svg, dense.render(&panels).unwrap());
    }

    #[test]
    fn every_point_is_counted_in_its_nearest_cell() {
        let points: Vec<_> = (0..500).map(|i| (f64::from(i) * 0.31 % 40.0, f64::from(i) * 0.77 % 30.0)).collect();
        let cells = hexagons(&points);
        assert_eq!(cells.values().sum::<usize>(), 500);
        let d = |c, p: (f64, f64)| (centre(c).0 - p.0).hypot(centre(c).1 - p.1);
        for &p in &points {
            let nearest = cells.keys().map(|&c| d(c, p)).fold(f64::MAX, f64::min);
            assert!(nearest <= CELL / 3f64.sqrt() + 1e-9, "{p:?} {nearest}");
        }
    }

    #[test]
    fn correlation_is_exact_on_lines_and_undefined_on_constants() {
        assert_eq!(correlation(&[1.0, 2.0, 3.0], &[-2.0, -4.0, -6.0]), Some(-1.0));
        assert_eq!(correlation(&[1.0, 1.0], &[1.0, 2.0]), None);
        let r = correlation(&[1.0, 2.0, 3.0, 4.0], &[1.0, 3.0, 2.0, 4.0]).unwrap();
        assert!((r - 0.8).abs() < 1e-12);
        let svg = ScatterFigure::default().render(&[ScatterPanel { title: "", measured: &[1.0], predicted: &[1.0] }]);
        assert_eq!(count(&svg.unwrap(), "r undefined"), 1);
    }

    #[test]
    fn refuses_what_is_not_pairs_of_numbers() {
        let figure = ScatterFigure::default();
        let refused = |measured: &[f32], predicted: &[f32]| {
            figure.render(&[ScatterPanel { title: "liver", measured, predicted }]).unwrap_err().to_string()
        };
        assert!(figure.render(&[]).is_err());
        assert!(refused(&[], &[]).contains("'liver' has no points"));
        assert!(refused(&[1.0], &[]).contains("1 measured and 0 predicted"));
        assert!(refused(&[1.0, 2.0], &[0.0, f32::INFINITY]).contains("predicted value 1 is inf"));
    }
}
