//! One score a track as horizontal bars, several models beside each other.

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::legend::{Legend, Mark};
use super::svg::{Canvas, Style, Svg, Type};
use super::{check_finite, check_positive, extent, font, refuse};
use crate::error::Result;

const OP: &str = "plot::bars";

/// The scores of one model.
#[derive(Debug, Clone, Copy)]
pub struct BarSeries<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// One value for each label.
    pub values: &'a [f64],
    /// Lower and upper ends of intervals around the values, e.g. of a bootstrap.
    pub intervals: Option<&'a [(f64, f64)]>,
}

/// Options of the bar figure.
#[derive(Debug, Clone)]
pub struct BarFigure {
    /// Title over the bars.
    pub title: String,
    /// Label of the values' axis.
    pub value_label: String,
    /// Whether labels are ordered by the first series, highest first; otherwise they stand as given.
    pub sorted: bool,
    /// Whether values are written behind their bars.
    pub numbers: bool,
    /// Width of the figure in pixels.
    pub width: f64,
    /// Height of a bar in pixels.
    pub bar_height: f64,
}

impl Default for BarFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: "Score".into(),
            sorted: false,
            numbers: true,
            width: 480.0,
            bar_height: 11.0,
        }
    }
}

impl BarFigure {
    /// Draws a group of bars for each label, one bar for each series.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there are no labels or series, a series has another number of values or intervals than
    /// there are labels, a number is not finite, or an option is out of its range.
    pub fn render(&self, labels: &[&str], series: &[BarSeries]) -> Result<Svg> {
        self.check(labels, series)?;
        let mut order: Vec<usize> = (0..labels.len()).collect();
        if self.sorted {
            order.sort_by(|&a, &b| series[0].values[b].total_cmp(&series[0].values[a]));
        }
        let ends = series.iter().flat_map(|s| s.intervals.unwrap_or(&[])).flat_map(|i| [i.0, i.1]);
        let values = series.iter().flat_map(|s| s.values).copied();
        let (low, high) = extent(values.chain(ends).chain([0.0])).unwrap_or((0.0, 1.0));
        let (low, high) = axis::nice_range(low, high, 5);

        let widest = labels.iter().map(|l| font::width(l, TEXT, false)).fold(0.0, f64::max);
        let left = 14.0 + widest.min(self.width * 0.4);
        let written = series.iter().filter(|_| self.numbers).flat_map(|s| s.values).map(|v| format_value(*v));
        let right = 14.0 + written.map(|v| font::width(&v, SMALL, false)).fold(0.0, f64::max);
        let marks = series.iter().enumerate().map(|(i, s)| (Mark::Box(fill(i)), s.name.to_owned()));
        let legend = Legend::new(marks.filter(|_| series.len() > 1), self.width - 16.0);
        let header = if self.title.is_empty() { 4.0 } else { 24.0 };
        let top = header + legend.height() + 6.0;
        let group = self.bar_height * series.len() as f64 + 5.0;
        let frame = Frame {
            left,
            top,
            width: (self.width - left - right).max(60.0),
            height: group * labels.len() as f64 + 4.0,
        };
        let mut page = Canvas::new(frame.right() + right, frame.bottom() + axis::below(&self.value_label), &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, self.width - 16.0), &Type::new(TITLE).bold());
        legend.draw(&mut page, 8.0, header);

        let x = Axis::linear(low, high, frame.left, frame.right());
        let ticks = x.ticks(5);
        // Lines behind the numbers would only disturb them, and who reads numbers needs no lines.
        for t in ticks.iter().filter(|_| !self.numbers) {
            let at = x.at(t.value);
            page.line((at, frame.top), (at, frame.bottom()), &Style::stroke(Colour::PALE, 0.6));
        }
        for (place, &i) in order.iter().enumerate() {
            let y = frame.top + 4.5 + group * place as f64;
            let middle = y + (group - 5.0) / 2.0 + TEXT * font::CAPITAL / 2.0;
            page.text(left - 6.0, middle, &font::fit(labels[i], TEXT, false, left - 14.0), &Type::new(TEXT).end());
            for (k, s) in series.iter().enumerate() {
                self.bar(&mut page, &x, s, i, k, y + self.bar_height * k as f64);
            }
        }
        page.line((x.at(0.0), frame.top), (x.at(0.0), frame.bottom()), &Style::stroke(Colour::INK, axis::HAIR));
        frame.x_axis(&mut page, &x, &ticks, &self.value_label);
        Ok(page.finish())
    }

    fn check(&self, labels: &[&str], series: &[BarSeries]) -> Result<()> {
        check_positive(OP, "width", self.width)?;
        check_positive(OP, "bar_height", self.bar_height)?;
        if labels.is_empty() || series.is_empty() {
            return refuse(OP, "there is nothing to draw: give at least one label and one series");
        }
        for s in series {
            let (name, n, expected) = (s.name, s.values.len(), labels.len());
            if n != expected {
                return refuse(OP, format!("series '{name}' has {n} values for {expected} labels"));
            }
            check_finite(OP, s.values, |i| format!("series '{name}', '{}'", labels[i]))?;
            let Some(intervals) = s.intervals else { continue };
            if intervals.len() != expected {
                let n = intervals.len();
                return refuse(OP, format!("series '{name}' has {n} intervals for {expected} labels"));
            }
            let flat: Vec<f64> = intervals.iter().flat_map(|i| [i.0, i.1]).collect();
            check_finite(OP, &flat, |i| format!("series '{name}', an end of the interval of '{}'", labels[i / 2]))?;
        }
        Ok(())
    }

    fn bar(&self, page: &mut Canvas, x: &Axis, series: &BarSeries, i: usize, k: usize, y: f64) {
        let value = series.values[i];
        let (a, b) = (x.at(0.0).min(x.at(value)), x.at(0.0).max(x.at(value)));
        page.rect(a, y + 0.5, b - a, self.bar_height - 1.0, &fill(k));
        let mut end = b;
        if let Some(&(low, high)) = series.intervals.and_then(|s| s.get(i)) {
            let (middle, line) = (y + self.bar_height / 2.0, Style::stroke(Colour::INK, 0.8));
            page.line((x.at(low), middle), (x.at(high), middle), &line);
            for at in [x.at(low), x.at(high)] {
                page.line((at, middle - 2.0), (at, middle + 2.0), &line);
            }
            end = end.max(x.at(low)).max(x.at(high));
        }
        if self.numbers {
            let baseline = y + self.bar_height / 2.0 + SMALL * font::CAPITAL / 2.0;
            page.text(end + 4.0, baseline, &format_value(value), &Type::new(SMALL).colour(Colour::GREY));
        }
    }
}

fn fill(series: usize) -> Style {
    Style::fill(Colour::category(series)).fill_opacity(0.85)
}

fn format_value(value: f64) -> String {
    if value == 0.0 { "0".into() } else { axis::significant(value, 3) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    #[test]
    fn bars_are_as_long_as_their_values() {
        let intervals = [(0.2, 0.3), (-0.6, -0.4)];
        let series = [
            BarSeries { name: "ours", values: &[0.25, -0.5], intervals: Some(&intervals) },
            BarSeries { name: "theirs & co", values: &[0.5, 1.0], intervals: None },
        ];
        let svg =
            BarFigure { title: "r".into(), ..Default::default() }.render(&["K562", "HepG2 <x>"], &series).unwrap();
        check(&svg);
        assert!(count(&svg, "theirs &amp; co") == 1 && count(&svg, "HepG2 &lt;x&gt;") == 1);
        let text = svg.to_string();
        let widths: Vec<f64> = text
            .lines()
            .filter(|l| l.starts_with("<rect") && l.contains("height=\"10\""))
            .map(|l| l.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        // Values 0.25, 0.5, -0.5, 1.0 in the order of drawing.
        for (w, v) in widths.iter().zip([0.25, 0.5, 0.5, 1.0]) {
            assert!((w / widths[3] - v).abs() < 1e-4, "{widths:?}");
        }
    }

    #[test]
    fn sorting_puts_the_best_first() {
        let series = [BarSeries { name: "m", values: &[0.1, 0.9], intervals: None }];
        let text =
            BarFigure { sorted: true, ..Default::default() }.render(&["low", "high"], &series).unwrap().to_string();
        assert!(text.find(">high<") < text.find(">low<"));
    }

    #[test]
    fn refuses_what_does_not_match() {
        let refused = |labels: &[&str], values: &[f64]| {
            let series = [BarSeries { name: "m", values, intervals: Some(&[]) }];
            BarFigure::default().render(labels, &series).unwrap_err().to_string()
        };
        assert!(refused(&[], &[]).contains("nothing to draw"));
        assert!(refused(&["a", "b"], &[1.0]).contains("1 values for 2 labels"));
        assert!(refused(&["a", "b"], &[1.0, f64::NAN]).contains("'b' is NaN"));
        assert!(refused(&["a"], &[1.0]).contains("0 intervals for 1 labels"));
    }
}
