//! Distributions of scores as boxes over points or densities, several models beside each other.

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::legend::{Legend, Mark};
use super::svg::{Canvas, Style, Svg, Type, number};
use super::{check_finite, check_positive, extent, font, refuse};
use crate::error::Result;
use crate::stat::{median, quantile, sd};

const OP: &str = "plot::dist";

/// The distributions of one model.
#[derive(Debug, Clone, Copy)]
pub struct DistSeries<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// The values of each label; there may be none.
    pub values: &'a [Vec<f64>],
}

/// Options of the figure of distributions.
#[derive(Debug, Clone)]
pub struct DistFigure {
    /// Title over the boxes.
    pub title: String,
    /// Label of the values' axis.
    pub value_label: String,
    /// Whether labels are ordered by the median of the first series, highest first; otherwise they stand as given.
    pub sorted: bool,
    /// Whether the median and the number of values are written behind their boxes.
    pub numbers: bool,
    /// Number of values above which their density is drawn instead of a point each.
    pub most_points: usize,
    /// Width of the figure in pixels.
    pub width: f64,
    /// Height of a box with its points in pixels.
    pub box_height: f64,
}

impl Default for DistFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            value_label: "Score".into(),
            sorted: false,
            numbers: true,
            most_points: 250,
            width: 520.0,
            box_height: 22.0,
        }
    }
}

/// Space between two labels.
const GAP: f64 = 9.0;
/// Radius of a point.
const RADIUS: f64 = 1.7;

impl DistFigure {
    /// Draws a group of boxes for each label, one for each series: quartiles, median, and whiskers to the last value within 1.5
    /// times the box (Tukey 1977). On it stand all values as points, or behind it their density where there are many.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there are no labels, series or values, a series has not as many distributions as there are
    /// labels, a number is not finite, or an option is out of its range.
    pub fn render(&self, labels: &[&str], series: &[DistSeries]) -> Result<Svg> {
        let (low, high) = self.check(labels, series)?;
        let mut order: Vec<usize> = (0..labels.len()).collect();
        if self.sorted {
            let place = |i: usize| Some(median(&series[0].values[i])).filter(|m| !m.is_nan()).unwrap_or(f64::MIN);
            order.sort_by(|&a, &b| place(b).total_cmp(&place(a)));
        }
        let widest = labels.iter().map(|l| font::width(l, TEXT, false)).fold(0.0, f64::max);
        let left = 14.0 + widest.min(self.width * 0.4);
        let notes: Vec<Vec<String>> = series.iter().map(|s| s.values.iter().map(|v| self.note(v)).collect()).collect();
        let right = 16.0 + notes.iter().flatten().map(|n| font::width(n, SMALL, false)).fold(0.0, f64::max);
        let marks = series.iter().enumerate().map(|(k, s)| (Mark::Box(fill(k)), s.name.to_owned()));
        let legend = Legend::new(marks.filter(|_| series.len() > 1), self.width - 16.0);
        let header = if self.title.is_empty() { 4.0 } else { 24.0 };
        let group = self.box_height * series.len() as f64 + GAP;
        let frame = Frame {
            left,
            top: header + legend.height() + 6.0,
            width: (self.width - left - right).max(80.0),
            height: group * labels.len() as f64,
        };
        let mut page = Canvas::new(frame.right() + right, frame.bottom() + axis::below(&self.value_label), &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, self.width - 16.0), &Type::new(TITLE).bold());
        legend.draw(&mut page, 8.0, header);

        // Room for the points at the ends.
        let inset = 5.0;
        let x = Axis::linear(low, high, frame.left + inset, frame.right() - inset);
        let ticks = x.ticks(6);
        for t in &ticks {
            let at = x.at(t.value);
            page.line((at, frame.top), (at, frame.bottom()), &Style::stroke(Colour::PALE, 0.6));
        }
        for (place, &i) in order.iter().enumerate() {
            let y = frame.top + group * place as f64;
            let middle = y + group / 2.0 + TEXT * font::CAPITAL / 2.0;
            page.text(left - 6.0, middle, &font::fit(labels[i], TEXT, false, left - 14.0), &Type::new(TEXT).end());
            if place > 0 && series.len() > 1 {
                page.line((frame.left, y), (frame.right(), y), &Style::stroke(Colour::PALE, 0.6));
            }
            for (k, s) in series.iter().enumerate() {
                let middle = y + GAP / 2.0 + self.box_height * (k as f64 + 0.5);
                self.distribution(&mut page, &x, &s.values[i], k, middle);
                let baseline = middle + SMALL * font::CAPITAL / 2.0;
                page.text(frame.right() + 8.0, baseline, &notes[k][i], &Type::new(SMALL).colour(Colour::GREY));
            }
        }
        page.line((frame.left, frame.top), (frame.left, frame.bottom()), &Style::stroke(Colour::INK, axis::HAIR));
        frame.x_axis(&mut page, &x, &ticks, &self.value_label);
        Ok(page.finish())
    }

    /// Least and greatest value.
    fn check(&self, labels: &[&str], series: &[DistSeries]) -> Result<(f64, f64)> {
        check_positive(OP, "width", self.width)?;
        check_positive(OP, "box_height", self.box_height)?;
        for s in series {
            let (name, n, expected) = (s.name, s.values.len(), labels.len());
            if n != expected {
                return refuse(OP, format!("series '{name}' has {n} distributions for {expected} labels"));
            }
            for (values, label) in s.values.iter().zip(labels) {
                check_finite(OP, values, |i| format!("series '{name}', value {i} of '{label}'"))?;
            }
        }
        match extent(series.iter().flat_map(|s| s.values).flatten().copied()) {
            Some(range) => Ok(range),
            None => refuse(OP, "there is nothing to draw: give at least one label, one series and one value"),
        }
    }

    fn note(&self, values: &[f64]) -> String {
        match (self.numbers, values) {
            (false, _) => String::new(),
            (true, []) => "n = 0".into(),
            (true, _) => {
                let n = axis::grouped(&values.len().to_string());
                let centre = median(values);
                let centre = if centre == 0.0 { "0".into() } else { axis::significant(centre, 3) };
                format!("{centre} (n = {n})")
            }
        }
    }

    fn distribution(&self, page: &mut Canvas, x: &Axis, values: &[f64], k: usize, middle: f64) {
        if values.is_empty() {
            return;
        }
        let half = self.box_height / 2.0 - 1.0;
        let Summary { quartiles: [q1, q2, q3], whiskers } = summary(values);
        let many = values.len() > self.most_points;
        let tint = match many {
            true => Style::fill(Colour::WHITE).fill_opacity(0.55),
            false => Style::fill(Colour::category(k)).fill_opacity(0.12),
        };
        if many {
            page.path(&violin(values, x, middle, half), &Style::fill(Colour::category(k)).fill_opacity(0.35));
        }
        let line = Style::stroke(Colour::INK, 0.9);
        let high = (self.box_height * 0.2).max(2.0);
        for (from, to) in [(q1, whiskers.0), (q3, whiskers.1)] {
            page.line((x.at(from), middle), (x.at(to), middle), &line);
            page.line((x.at(to), middle - high / 2.0), (x.at(to), middle + high / 2.0), &line);
        }
        page.rect(x.at(q1), middle - high, x.at(q3) - x.at(q1), 2.0 * high, &tint.outlined(Colour::INK, 0.9));
        // Over a density, only what the whiskers do not reach.
        let shown = values.iter().copied().filter(|v| !many || !(whiskers.0..=whiskers.1).contains(v));
        let room = if many { 0.0 } else { half - RADIUS };
        let colour = Colour::category(k).to_string();
        page.group(&[("class", "points"), ("fill", &colour), ("fill-opacity", "0.65")]);
        for (at, above) in swarm(shown.map(|v| x.at(v)).collect(), room) {
            page.dot(at, middle - above, RADIUS);
        }
        page.end();
        page.line((x.at(q2), middle - high), (x.at(q2), middle + high), &Style::stroke(Colour::INK, 1.8));
    }
}

/// What a box shows.
struct Summary {
    quartiles: [f64; 3],
    whiskers: (f64, f64),
}

fn summary(values: &[f64]) -> Summary {
    let quartiles = [0.25, 0.5, 0.75].map(|q| quantile(values, q));
    let reach = 1.5 * (quartiles[2] - quartiles[0]);
    let within = values.iter().copied().filter(|v| (quartiles[0] - reach..=quartiles[2] + reach).contains(v));
    // Where no value lies between the fence and the box, the whisker has no length.
    let (low, high) = extent(within).unwrap_or((quartiles[0], quartiles[2]));
    Summary { quartiles, whiskers: (low.min(quartiles[0]), high.max(quartiles[2])) }
}

/// Places of points at these pixels, each as near to the middle as those before it allow; (pixel, height over the middle) with
/// the height at most `room`, where points lie over each other if there is no other way.
fn swarm(mut pixels: Vec<f64>, room: f64) -> Vec<(f64, f64)> {
    const APART: f64 = 2.0 * RADIUS * 0.9;
    pixels.sort_by(f64::total_cmp);
    let steps = (room.max(0.0) / (RADIUS * 0.5)).floor() as i32;
    let heights: Vec<f64> = (0..=steps).flat_map(|s| [s, -s]).map(|s| f64::from(s) * RADIUS * 0.5).collect();
    let mut placed: Vec<(f64, f64)> = Vec::with_capacity(pixels.len());
    for (i, at) in pixels.into_iter().enumerate() {
        let near: Vec<(f64, f64)> = placed.iter().rev().take_while(|p| at - p.0 < APART).copied().collect();
        let free = |h: &f64| near.iter().all(|p| (at - p.0).powi(2) + (h - p.1).powi(2) >= APART * APART);
        // Full: the heights in turn, from the middle outwards.
        let height = heights.iter().copied().find(free).unwrap_or(heights[i % heights.len()]);
        placed.push((at, height));
    }
    placed
}

/// Outline of the density, by Gaussian kernels as wide as Silverman's rule (1986) says, from the least to the greatest value.
fn violin(values: &[f64], x: &Axis, middle: f64, half: f64) -> String {
    const STEPS: usize = 80;
    let (low, high) = extent(values.iter().copied()).unwrap_or((0.0, 0.0));
    let spread = (quantile(values, 0.75) - quantile(values, 0.25)) / 1.34;
    let spread = if spread > 0.0 { spread.min(sd(values)) } else { sd(values) };
    let width =
        (0.9 * spread * (values.len() as f64).powf(-0.2)).max((high - low) / STEPS as f64).max(f64::MIN_POSITIVE);
    let at = |i: usize| low + (high - low) * i as f64 / STEPS as f64;
    let density = |v: f64| values.iter().map(|u| (-0.5 * ((v - u) / width).powi(2)).exp()).sum::<f64>();
    let densities: Vec<f64> = (0..=STEPS).map(|i| density(at(i))).collect();
    let most = densities.iter().copied().fold(0.0, f64::max);
    let point =
        |i: usize, side: f64| format!("{} {}", number(x.at(at(i))), number(middle + side * half * densities[i] / most));
    let upper = (0..=STEPS).map(|i| point(i, -1.0));
    let outline: Vec<String> = upper.chain((0..=STEPS).rev().map(|i| point(i, 1.0))).collect();
    format!("M{}Z", outline.join("L"))
}

fn fill(series: usize) -> Style {
    Style::fill(Colour::category(series)).fill_opacity(0.7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    fn wave(n: usize, shift: f64) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * 2.399).sin() * 0.2 + shift).collect()
    }

    #[test]
    fn boxes_points_and_densities() {
        let (a, b) = (vec![wave(40, 0.5), wave(2000, 0.3)], vec![wave(1, -0.6), vec![]]);
        let series = [DistSeries { name: "ours", values: &a }, DistSeries { name: "theirs & co", values: &b }];
        let svg =
            DistFigure { title: "r".into(), ..Default::default() }.render(&["K562", "HepG2 <x>"], &series).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "<circle"), 41);
        assert_eq!((count(&svg, "<path"), count(&svg, "n = 0"), count(&svg, "(n = 2000)")), (1, 1, 1));
        assert!(count(&svg, "theirs &amp; co") == 1 && count(&svg, "−0.600 (n = 1)") == 1, "{svg}");
        assert_eq!(svg.to_string(), svg.to_string());
    }

    #[test]
    fn boxes_are_those_of_tukey() {
        let mut values: Vec<f64> = (0..=8).map(f64::from).collect();
        values.extend([30.0, -2.0]);
        let s = summary(&values);
        // numpy.quantile(values, [.25, .5, .75]): the fences are at -6 and 14.
        assert_eq!((s.quartiles, s.whiskers), ([1.5, 4.0, 6.5], (-2.0, 8.0)));
        let one = summary(&[0.5]);
        assert_eq!((one.quartiles, one.whiskers), ([0.5; 3], (0.5, 0.5)));
    }

    #[test]
    fn points_keep_apart_and_inside() {
        let placed = swarm((0..60).map(|i| f64::from(i % 20) * 3.0).collect(), 12.0);
        assert!(placed.iter().all(|p| p.1.abs() <= 12.0));
        let near = |a: &(f64, f64), b: &(f64, f64)| (a.0 - b.0).hypot(a.1 - b.1) < RADIUS;
        let over = (0..60).flat_map(|i| (0..i).map(move |j| (i, j))).filter(|&(i, j)| near(&placed[i], &placed[j]));
        assert_eq!(over.count(), 0, "{placed:?}");
        // No room at all is no reason to fail.
        assert_eq!(swarm(vec![1.0; 3], -1.0), [(1.0, 0.0); 3]);
    }

    #[test]
    fn sorting_puts_the_best_first() {
        let values = [vec![0.1], vec![], vec![0.9]];
        let series = [DistSeries { name: "m", values: &values }];
        let figure = DistFigure { sorted: true, ..Default::default() };
        let text = figure.render(&["low", "none", "high"], &series).unwrap().to_string();
        assert!(text.find(">high<") < text.find(">low<") && text.find(">low<") < text.find(">none<"));
    }

    #[test]
    fn equal_values_have_a_picture() {
        let values = [vec![0.5; 600]];
        let svg = DistFigure::default().render(&["x"], &[DistSeries { name: "m", values: &values }]).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "NaN"), 0);
    }

    #[test]
    fn refuses_what_does_not_match() {
        let refused = |labels: &[&str], values: &[Vec<f64>]| {
            DistFigure::default().render(labels, &[DistSeries { name: "m", values }]).unwrap_err().to_string()
        };
        assert!(refused(&[], &[]).contains("nothing to draw"));
        assert!(refused(&["a"], &[vec![]]).contains("nothing to draw"));
        assert!(refused(&["a", "b"], &[vec![1.0]]).contains("1 distributions for 2 labels"));
        assert!(refused(&["a"], &[vec![1.0, f64::NAN]]).contains("value 1 of 'a' is NaN"));
    }
}
