//! Axes: from numbers to pixels, ticks at round numbers, and the parts that every figure draws the same way.

use super::colour::Colour;
use super::font;
use super::svg::{Canvas, Style, Type};

/// Size of tick labels and notes.
pub(super) const SMALL: f64 = 9.5;
/// Size of axis labels and legends.
pub(super) const TEXT: f64 = 10.5;
/// Size of titles.
pub(super) const TITLE: f64 = 12.0;
/// Width of axis lines.
pub(super) const HAIR: f64 = 0.8;

/// A range of values along a range of pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    /// Value at the first pixel.
    pub low: f64,
    /// Value at the last pixel.
    pub high: f64,
    from: f64,
    to: f64,
    log: bool,
}

/// A marked value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    pub value: f64,
    pub label: String,
}

impl Axis {
    /// A linear axis; an empty range is widened.
    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { widen(low) };
        Self { low, high, from, to, log: false }
    }

    /// A logarithmic axis over positive values; an empty range is widened.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low / 2.0, low * 2.0) };
        Self { low, high, from, to, log: true }
    }

    /// The pixel of a value.
    pub fn at(&self, value: f64) -> f64 {
        let t = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        self.from + t * (self.to - self.from)
    }

    /// Round values inside the range, about `wanted` of them.
    pub fn ticks(&self, wanted: usize) -> Vec<Tick> {
        if self.log { self.log_ticks(wanted) } else { linear_ticks(self.low, self.high, wanted) }
    }

    fn log_ticks(&self, wanted: usize) -> Vec<Tick> {
        let decades = (self.high / self.low).log10();
        if decades < 0.7 {
            return linear_ticks(self.low, self.high, wanted);
        }
        let every = (decades / wanted.max(1) as f64).ceil().max(1.0) as i32;
        let factors: &[f64] = match decades {
            d if d < 1.3 => &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0],
            d if d < 2.5 => &[1.0, 2.0, 5.0],
            _ => &[1.0],
        };
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        (first..=last)
            .filter(|e| factors.len() > 1 || e.rem_euclid(every) == 0)
            .flat_map(|e| factors.iter().map(move |f| (f * 10f64.powi(e), e)))
            .filter(|(v, _)| (self.low * (1.0 - 1e-9)..=self.high * (1.0 + 1e-9)).contains(v))
            .map(|(value, e)| Tick { value, label: label(value, 10f64.powi(e)) })
            .collect()
    }
}

/// A range widened so that it begins and ends at a tick.
pub(super) fn nice_range(low: f64, high: f64, wanted: usize) -> (f64, f64) {
    let (low, high) = if high > low { (low, high) } else { widen(low) };
    let step = nice_step(high - low, wanted);
    let slack = step * 1e-9;
    (((low + slack) / step).floor() * step, ((high - slack) / step).ceil() * step)
}

fn widen(v: f64) -> (f64, f64) {
    let by = if v == 0.0 { 1.0 } else { v.abs() * 0.5 };
    (v - by, v + by)
}

/// 1, 2 or 5 times a power of ten, so that a span has about `wanted` steps.
pub(super) fn nice_step(span: f64, wanted: usize) -> f64 {
    let raw = span / wanted.max(1) as f64;
    let power = 10f64.powf(raw.log10().floor());
    // Nearest on a logarithmic scale: the limits are the geometric means of neighbours.
    let factor = match raw / power {
        f if f < 2f64.sqrt() => 1.0,
        f if f < 10f64.sqrt() => 2.0,
        f if f < 50f64.sqrt() => 5.0,
        _ => 10.0,
    };
    factor * power
}

fn linear_ticks(low: f64, high: f64, wanted: usize) -> Vec<Tick> {
    let step = nice_step(high - low, wanted);
    let (first, last) = ((low / step - 1e-6).ceil(), (high / step + 1e-6).floor());
    // Adding steps one by one would drift; so would `0.1 * 3`, which the label rounds away.
    let count = (last - first).max(-1.0) as usize;
    (0..=count)
        .map(|i| (first + i as f64) * step)
        .filter(|v| *v <= high + step * 1e-6)
        .map(|v| if v.abs() < step * 1e-6 { 0.0 } else { v })
        .map(|value| Tick { value, label: label(value, step) })
        .collect()
}

/// A number with the decimals that steps of this size need, a true minus sign, commas from 10,000 on, and powers of ten
/// where digits would run long.
pub(super) fn label(value: f64, step: f64) -> String {
    let size = value.abs().max(step);
    if value == 0.0 && size < 1e-4 {
        return "0".into();
    }
    if value != 0.0 && !(1e-4..1e7).contains(&size) {
        let exponent = value.abs().log10().floor() as i32;
        let digits = (f64::from(exponent) - step.log10().floor()).clamp(0.0, 6.0) as usize;
        let mantissa = format!("{:.digits$}", value.abs() / 10f64.powi(exponent));
        let mantissa = if mantissa == "1" { String::new() } else { format!("{mantissa}×") };
        return format!("{}{mantissa}10{}", sign(value), superscript(exponent));
    }
    let decimals = (-(step * 1.000001).log10().floor()).clamp(0.0, 9.0) as usize;
    let plain = format!("{:.decimals$}", value.abs());
    let zero = plain.bytes().all(|b| matches!(b, b'0' | b'.'));
    format!("{}{}", if zero { "" } else { sign(value) }, grouped(&plain))
}

/// A number with `digits` significant digits.
pub(super) fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 {
        return "0".into();
    }
    label(value, 10f64.powi(value.abs().log10().floor() as i32 - digits + 1))
}

fn sign(value: f64) -> &'static str {
    if value < 0.0 { "−" } else { "" }
}

/// Digits with commas between thousands, from five digits on.
pub(super) fn grouped(plain: &str) -> String {
    let (whole, rest) = plain.split_at(plain.find('.').unwrap_or(plain.len()));
    if whole.len() < 5 {
        return plain.to_owned();
    }
    let mut out = String::new();
    for (i, c) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            out.push(',');
        }
        out.push(c);
    }
    out + rest
}

fn superscript(exponent: i32) -> String {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    let digits = exponent.unsigned_abs().to_string().into_bytes();
    let digits: String = digits.into_iter().map(|b| DIGITS[usize::from(b - b'0')]).collect();
    if exponent < 0 { format!("⁻{digits}") } else { digits }
}

/// Width of the widest label.
pub(super) fn widest(ticks: &[Tick]) -> f64 {
    ticks.iter().map(|t| font::width(&t.label, SMALL, false)).fold(0.0, f64::max)
}

/// The rectangle that data are drawn in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Frame {
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// The horizontal axis along the lower edge, with its label below.
    pub fn x_axis(&self, page: &mut Canvas, axis: &Axis, ticks: &[Tick], title: &str) {
        let line = Style::stroke(Colour::INK, HAIR);
        let y = self.bottom();
        page.line((self.left, y), (self.right(), y), &line);
        for t in ticks {
            let x = axis.at(t.value);
            page.line((x, y), (x, y + 3.5), &line);
            page.text(x, y + 4.5 + SMALL, &t.label, &Type::new(SMALL).middle());
        }
        page.text(self.left + self.width / 2.0, y + 20.0 + TEXT, title, &Type::new(TEXT).middle());
    }

    /// The vertical axis along the left edge, with its label to the left of tick labels that are `room` wide.
    pub fn y_axis(&self, page: &mut Canvas, axis: &Axis, ticks: &[Tick], title: &str, room: f64) {
        let line = Style::stroke(Colour::INK, HAIR);
        let x = self.left;
        page.line((x, self.top), (x, self.bottom()), &line);
        for t in ticks {
            let y = axis.at(t.value);
            page.line((x - 3.5, y), (x, y), &line);
            page.text(x - 5.5, y + SMALL * font::CAPITAL / 2.0, &t.label, &Type::new(SMALL).end());
        }
        let title = font::fit(title, TEXT, false, self.height + 20.0);
        page.text(x - room - 12.0, self.top + self.height / 2.0, &title, &Type::new(TEXT).middle().turned());
    }

    /// Pale lines across the frame at the ticks of the vertical axis.
    pub fn grid(&self, page: &mut Canvas, axis: &Axis, ticks: &[Tick]) {
        for t in ticks {
            let y = axis.at(t.value);
            page.line((self.left, y), (self.right(), y), &Style::stroke(Colour::PALE, 0.6));
        }
    }
}

/// Room that [`Frame::x_axis`] needs below the frame.
pub(super) fn below(title: &str) -> f64 {
    if title.is_empty() { 18.0 } else { 36.0 }
}

/// Room that [`Frame::y_axis`] needs left of the frame.
pub(super) fn beside(title: &str, ticks: &[Tick]) -> f64 {
    widest(ticks) + if title.is_empty() { 10.0 } else { 24.0 }
}

/// A vertical colour bar with its ticks on the right; `colour` takes the height from 0 (below) to 1.
pub(super) fn colour_bar(
    page: &mut Canvas,
    frame: &Frame,
    axis: &Axis,
    ticks: &[Tick],
    colour: impl Fn(f64) -> Colour,
    title: &str,
) {
    const STEPS: usize = 48;
    page.group(&[("shape-rendering", "crispEdges")]);
    let h = frame.height / STEPS as f64;
    for i in 0..STEPS {
        let t = (i as f64 + 0.5) / STEPS as f64;
        page.rect(frame.left, frame.bottom() - (i + 1) as f64 * h, frame.width, h, &Style::fill(colour(t)));
    }
    page.end();
    let outline = Style::stroke(Colour::GREY, 0.5);
    page.rect(frame.left, frame.top, frame.width, frame.height, &outline);
    for t in ticks {
        let y = axis.at(t.value);
        page.line((frame.right(), y), (frame.right() + 2.5, y), &outline);
        page.text(frame.right() + 4.5, y + SMALL * font::CAPITAL / 2.0, &t.label, &Type::new(SMALL));
    }
    let title = font::fit(title, SMALL, false, frame.height + 24.0);
    let x = frame.right() + 4.5 + widest(ticks) + SMALL + 3.0;
    page.text(x, frame.top + frame.height / 2.0, &title, &Type::new(SMALL).middle().turned());
}

/// Room that [`colour_bar`] needs right of the bar.
pub(super) fn beside_bar(title: &str, ticks: &[Tick]) -> f64 {
    4.5 + widest(ticks) + if title.is_empty() { 4.0 } else { SMALL + 7.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: &[Tick]) -> Vec<&str> {
        ticks.iter().map(|t| t.label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(labels(&linear_ticks(-0.31, 0.52, 4)), ["−0.2", "0.0", "0.2", "0.4"]);
        assert_eq!(labels(&linear_ticks(0.0, 0.3, 3)), ["0.0", "0.1", "0.2", "0.3"]);
        assert_eq!(labels(&linear_ticks(12_340.0, 12_365.0, 3)), ["12,340", "12,350", "12,360"]);
        assert_eq!(labels(&linear_ticks(0.0, 3e-6, 3)), ["0", "10⁻⁶", "2×10⁻⁶", "3×10⁻⁶"]);
        let flat = Axis::linear(5.0, 5.0, 0.0, 10.0);
        assert!(flat.at(5.0) == 5.0 && !flat.ticks(4).is_empty());
    }

    #[test]
    fn log_ticks_cover_decades() {
        assert_eq!(labels(&Axis::log(1.0, 2000.0, 0.0, 1.0).ticks(4)), ["1", "10", "100", "1000"]);
        assert_eq!(labels(&Axis::log(0.04, 0.98, 0.0, 1.0).ticks(4)), ["0.05", "0.1", "0.2", "0.5"]);
        let axis = Axis::log(1.0, 100.0, 0.0, 8.0);
        assert!((axis.at(10.0) - 4.0).abs() < 1e-12);
    }

    #[test]
    fn nice_ranges_end_at_ticks() {
        assert_eq!(nice_range(0.3, 9.7, 5), (0.0, 10.0));
        assert_eq!(nice_range(0.0, 10.0, 5), (0.0, 10.0));
        assert_eq!(nice_range(-3.0, -3.0, 3).0, -5.0);
    }

    #[test]
    fn labels_are_typographic() {
        assert_eq!(label(-1_234_567.0, 1.0), "−1,234,567");
        assert_eq!(label(-0.001, 0.1), "0.0");
        assert_eq!(label(2.5e9, 1e8), "2.5×10⁹");
        assert_eq!(significant(0.012345, 2), "0.012");
        assert_eq!(significant(-3.0, 2), "−3.0");
    }
}
