//! The attribution figure: letters over the effects of all substitutions, position by position.

use std::ops::Range;

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::interval::{Interval, Lanes};
use super::logo::{self, Alphabet};
use super::svg::{Canvas, Style, Svg, Type};
use super::{check_finite, check_positive, extent, font, refuse};
use crate::error::Result;

const OP: &str = "plot::attr";

/// The attributions of one sequence for one track: one panel of the figure.
#[derive(Debug, Clone, Copy, Default)]
pub struct Attribution<'a> {
    /// Title of the panel, e.g. the names of sequence and track.
    pub title: &'a str,
    /// Values `[4, L]` in the order A C G T, in whatever gauge they shall be shown.
    pub values: &'a [f32],
    /// Reference base codes `[L]`: 0 to 3 for A C G T; 4 (unknown) and 5 (uniform) have no letter.
    pub reference: &'a [u8],
    /// Heights `[L]` of the letters where they are not the values at the reference, e.g. mean effects over a heat map of
    /// raw mutagenesis, whose reference cells are 0.
    pub heights: Option<&'a [f32]>,
    /// Coordinate of the first base on the axis (0-based).
    pub start: i64,
    /// Boxes above the letters: planted sites, motif hits, BED features. What lies outside the drawn range is left out.
    pub intervals: &'a [Interval<'a>],
}

/// Which letters stand at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Letters {
    /// The reference base.
    #[default]
    Reference,
    /// All four bases, each as high as its value.
    All,
}

/// Options of the attribution figure.
#[derive(Debug, Clone)]
pub struct AttributionFigure {
    /// Title over all panels.
    pub title: String,
    /// DNA or RNA letters.
    pub alphabet: Alphabet,
    /// Letters at the reference only, or at all four bases.
    pub letters: Letters,
    /// Whether the heat map of substitutions is drawn below the letters.
    pub heat_map: bool,
    /// Part of the window that is drawn, in bases from its beginning (half-open); all of it if `None`.
    pub range: Option<Range<usize>>,
    /// Whether all panels have the same scales.
    pub shared_scale: bool,
    /// Lower and upper end of the letters' axis; taken from the data if `None`.
    pub limits: Option<(f64, f64)>,
    /// Value at the end colours of the heat map, beyond which cells are saturated; taken from the data if `None`.
    pub heat_limit: Option<f64>,
    /// Name of the values.
    pub value_label: String,
    /// Name of the positions.
    pub position_label: String,
    /// Preferred width of a base in pixels; made smaller where the figure would be wider than `max_width`, and larger (up to
    /// twice) where a short window would leave it very narrow.
    pub base_width: f64,
    /// Greatest width of the whole figure in pixels.
    pub max_width: f64,
    /// Height of the letters' panel in pixels.
    pub logo_height: f64,
    /// Height of a row of the heat map in pixels.
    pub row_height: f64,
}

impl Default for AttributionFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            alphabet: Alphabet::Dna,
            letters: Letters::Reference,
            heat_map: true,
            range: None,
            shared_scale: true,
            limits: None,
            heat_limit: None,
            value_label: "Effect".into(),
            position_label: "Position".into(),
            base_width: 9.0,
            max_width: 1400.0,
            logo_height: 84.0,
            row_height: 11.0,
        }
    }
}

/// Longest stretch that one figure draws: beyond it a base is less than a twelfth of a pixel wide.
const LONGEST: usize = 20_000;
/// Narrowest plot that short windows are stretched to.
const NARROWEST: f64 = 300.0;
/// Width of a base from which the sequence is written out below the letters.
const WRITTEN_FROM: f64 = 6.0;
/// Room for the title of a panel.
const PANEL_TITLE: f64 = 18.0;
/// Room between heat map and colour bar, and the bar's width.
const BAR_GAP: f64 = 10.0;
const BAR_WIDTH: f64 = 9.0;
/// What a dot in the heat map means.
const NOTE: &str = "reference base";
/// Width of a base from which reference cells are marked.
const DOT_FROM: f64 = 2.5;

impl AttributionFigure {
    /// Draws one panel for each attribution, one below the other.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there is no panel, a panel is empty, its slices differ in length, a code is above 5, a
    /// value is not finite, an interval is empty, or an option is out of its range.
    pub fn render(&self, panels: &[Attribution]) -> Result<Svg> {
        let mut views = self.views(panels)?;
        let layout = Layout::new(self, &mut views);
        let mut page = Canvas::new(layout.width, layout.height, &self.title);
        let title = font::fit(&self.title, TITLE, true, layout.width - layout.left);
        page.text(layout.left, 16.0, &title, &Type::new(TITLE).bold());
        let mut top = layout.header;
        for (i, view) in views.iter().enumerate() {
            self.panel(&mut page, &layout, view, i, top);
            top += layout.panel_height(self, view, i + 1 == views.len());
        }
        if layout.dots {
            let (x, y) = (layout.left + layout.plot, layout.height - 7.5);
            page.text(x, y, NOTE, &Type::new(SMALL).end().colour(Colour::GREY));
            let x = x - font::width(NOTE, SMALL, false) - 6.0;
            page.circle(x, y - SMALL * font::CAPITAL / 2.0, 1.8, &Style::fill(Colour::INK));
        }
        Ok(page.finish())
    }

    /// Checks the options and the data and cuts the range out.
    fn views<'a>(&self, panels: &'a [Attribution<'a>]) -> Result<Vec<View<'a>>> {
        check_positive(OP, "base_width", self.base_width)?;
        check_positive(OP, "max_width", self.max_width)?;
        check_positive(OP, "logo_height", self.logo_height)?;
        check_positive(OP, "row_height", self.row_height)?;
        if let Some(limit) = self.heat_limit {
            check_positive(OP, "heat_limit", limit)?;
        }
        if let Some((low, high)) = self.limits
            && !(low.is_finite() && high.is_finite() && low <= 0.0 && high >= 0.0 && low < high)
        {
            return refuse(OP, format!("limits must enclose 0 and be in rising order, found {low} to {high}"));
        }
        if panels.is_empty() {
            return refuse(OP, "there is nothing to draw: give at least one attribution");
        }
        let mut labels = Vec::new();
        panels.iter().enumerate().map(|(i, p)| self.view(i, p, &mut labels)).collect()
    }

    fn view<'a>(&self, index: usize, panel: &'a Attribution<'a>, labels: &mut Vec<&'a str>) -> Result<View<'a>> {
        let length = panel.reference.len();
        let name = if panel.title.is_empty() { format!("panel {index}") } else { format!("'{}'", panel.title) };
        if length == 0 {
            return refuse(OP, format!("{name} has no bases"));
        }
        if panel.values.len() != 4 * length {
            let (n, expected) = (panel.values.len(), 4 * length);
            return refuse(
                OP,
                format!("{name} has {length} bases and needs [4, {length}] = {expected} values, found {n}"),
            );
        }
        if let Some(h) = panel.heights.filter(|h| h.len() != length) {
            return refuse(OP, format!("{name} has {length} bases, but {} letter heights", h.len()));
        }
        if let Some(at) = panel.reference.iter().position(|&c| c > 5) {
            let code = panel.reference[at];
            return refuse(OP, format!("{name}: base code {code} at position {at}; codes are 0 to 3, 4 and 5"));
        }
        let letters = self.alphabet.letters();
        check_finite(OP, panel.values, |i| format!("{name}: the value of {} at {}", letters[i / length], i % length))?;
        check_finite(OP, panel.heights.unwrap_or(&[]), |i| format!("{name}: the letter height at {i}"))?;
        if panel.start.unsigned_abs() > 1 << 52 {
            return refuse(OP, format!("{name}: the coordinate {} of the first base is out of range", panel.start));
        }
        let range = self.range.clone().unwrap_or(0..length);
        if range.start >= range.end || range.end > length {
            let (a, b) = (range.start, range.end);
            return refuse(OP, format!("range {a}..{b} is not a stretch of {name}, which has bases 0..{length}"));
        }
        if range.len() > LONGEST {
            let n = range.len();
            return refuse(
                OP,
                format!("{name}: {n} bases are too many for a figure; choose a range of up to {LONGEST}"),
            );
        }
        let (first, last) = (panel.start + range.start as i64, panel.start + range.end as i64);
        if let Some(b) = panel.intervals.iter().find(|b| b.start >= b.end) {
            let (a, z, label) = (b.start, b.end, b.label);
            return refuse(
                OP,
                format!("{name}: interval '{label}' from {a} to {z} is empty; the end is not part of it"),
            );
        }
        let lanes = Lanes::new(panel.intervals, first, last, labels);
        Ok(View { panel, range, lanes })
    }

    fn panel(&self, page: &mut Canvas, layout: &Layout, view: &View, index: usize, top: f64) {
        let (left, unit) = (layout.left, layout.unit);
        let width = view.range.len() as f64 * unit;
        let ((low, high), limit) = layout.scales[index];
        let mut y = top;
        if !view.panel.title.is_empty() {
            let title = font::fit(view.panel.title, TEXT, true, layout.width - left - 4.0);
            page.text(left, y + TEXT, &title, &Type::new(TEXT).bold());
            y += PANEL_TITLE;
        }
        let frame = Frame { left, top: y + view.lanes.height(), width, height: self.logo_height };
        view.lanes.draw(page, &frame, unit);
        let axis = Axis::linear(low, high, frame.bottom(), frame.top);
        frame.y_axis(page, &axis, &self.letter_ticks(&axis), &self.value_label, layout.room);
        self.letters(page, view, &frame, &axis, unit);
        if unit >= WRITTEN_FROM {
            self.sequence(page, view, left, frame.bottom() + 3.5, unit);
        }
        let map = Frame { left, top: frame.bottom() + layout.strip(), width, height: 4.0 * self.row_height };
        if self.heat_map {
            self.substitutions(page, layout, view, &map, limit);
        }
        self.positions(
            page,
            layout,
            view,
            if self.heat_map { map.bottom() } else { map.top },
            index + 1 == layout.scales.len(),
        );
    }

    fn letter_ticks(&self, axis: &Axis) -> Vec<axis::Tick> {
        axis.ticks((self.logo_height / 24.0) as usize)
    }

    fn letters(&self, page: &mut Canvas, view: &View, frame: &Frame, axis: &Axis, unit: f64) {
        let zero = axis.at(0.0);
        let pixels = (frame.bottom() - frame.top) / (axis.high - axis.low);
        page.group(&[("class", "letters")]);
        for (i, at) in view.range.clone().enumerate() {
            let values = clip(view.letters(at, self.letters), axis.low, axis.high).map(|v| v * pixels);
            logo::column(page, self.alphabet, frame.left + i as f64 * unit, zero, unit, values);
        }
        page.end();
        page.line((frame.left, zero), (frame.right(), zero), &Style::stroke(Colour::INK, 0.5));
    }

    /// The reference as a line of small letters, as wide as text and not as their cells: this row is to be read.
    fn sequence(&self, page: &mut Canvas, view: &View, left: f64, top: f64, unit: f64) {
        page.group(&[("class", "sequence")]);
        let w = unit.min(7.5);
        for (i, at) in view.range.clone().enumerate() {
            if let Some(code) = view.base(at) {
                logo::letter(page, self.alphabet, code, left + (i as f64 + 0.5) * unit - w / 2.0, top, w, 8.0);
            }
        }
        page.end();
    }

    fn substitutions(&self, page: &mut Canvas, layout: &Layout, view: &View, map: &Frame, limit: f64) {
        let (h, unit) = (self.row_height, layout.unit);
        page.group(&[("class", "substitutions"), ("shape-rendering", "crispEdges")]);
        for code in 0..4 {
            for (i, at) in view.range.clone().enumerate() {
                let colour = Colour::diverging(f64::from(view.value(code, at)) / limit);
                let (x, y) = (map.left + i as f64 * unit, map.top + f64::from(code) * h);
                page.rect(x, y, unit, h, &Style::fill(colour));
            }
        }
        page.end();
        if layout.dots {
            page.group(&[("class", "reference"), ("fill", &Colour::INK.to_string())]);
            let r = (unit.min(h) * 0.17).clamp(0.5, 1.8);
            for (i, at) in view.range.clone().enumerate() {
                if let Some(code) = view.base(at) {
                    page.dot(map.left + (i as f64 + 0.5) * unit, map.top + (f64::from(code) + 0.5) * h, r);
                }
            }
            page.end();
        }
        page.rect(map.left, map.top, map.width, map.height, &Style::stroke(Colour::GREY, 0.5));
        for (code, letter) in (0u8..4).zip(self.alphabet.letters()) {
            let y = map.top + (f64::from(code) + 0.5) * h + SMALL * font::CAPITAL / 2.0;
            let set = Type::new(SMALL.min(h)).end().bold().colour(Colour::base(code));
            page.text(map.left - 5.0, y, letter, &set);
        }
        let bar = Frame { left: map.right() + BAR_GAP, width: BAR_WIDTH, ..*map };
        let axis = Axis::linear(-limit, limit, bar.bottom(), bar.top);
        axis::colour_bar(
            page,
            &bar,
            &axis,
            &heat_ticks(limit),
            |t| Colour::diverging(2.0 * t - 1.0),
            &self.value_label,
        );
    }

    fn positions(&self, page: &mut Canvas, layout: &Layout, view: &View, y: f64, last: bool) {
        let labelled = last || !layout.same_axis;
        let n = view.range.len();
        let first = view.first();
        // At most a label for every 64 pixels, each at a round coordinate and at the centre of its base.
        let widest = font::width(&axis::label((first + n as i64) as f64, 1.0), SMALL, false).max(24.0) + 36.0;
        let wanted = ((n as f64 * layout.unit / widest) as usize).max(1);
        let step = (axis::nice_step(n as f64, wanted).round() as i64).max(1);
        let line = Style::stroke(Colour::INK, axis::HAIR);
        let (left, right) = (layout.left, layout.left + n as f64 * layout.unit);
        page.line((left, y), (right, y), &line);
        let mut at = first.div_euclid(step) * step;
        while at < first + n as i64 {
            if at >= first {
                let x = left + ((at - first) as f64 + 0.5) * layout.unit;
                page.line((x, y), (x, y + 3.5), &line);
                if labelled {
                    page.text(x, y + 4.5 + SMALL, &axis::label(at as f64, 1.0), &Type::new(SMALL).middle());
                }
            }
            at += step;
        }
        if last {
            let x = left + layout.plot / 2.0;
            page.text(x, y + 18.0 + TEXT, &self.position_label, &Type::new(TEXT).middle());
        }
    }

    fn letter_limits(&self, views: &[View]) -> (f64, f64) {
        if let Some(limits) = self.limits {
            return limits;
        }
        let sums = views.iter().flat_map(|v| v.range.clone().map(move |at| v.letters(at, self.letters)));
        let ends = sums.flat_map(|c| [c.iter().filter(|v| **v > 0.0).sum(), c.iter().filter(|v| **v < 0.0).sum()]);
        let (low, high) = extent(ends).unwrap_or((0.0, 0.0));
        if low == high {
            return (-1.0, 1.0);
        }
        let slack = 0.04 * (high - low);
        (if low < 0.0 { low - slack } else { 0.0 }, if high > 0.0 { high + slack } else { 0.0 })
    }

    fn heat_limit(&self, views: &[View]) -> f64 {
        self.heat_limit.unwrap_or_else(|| {
            let cells =
                views.iter().flat_map(|v| (0..4).flat_map(move |c| v.range.clone().map(move |at| v.value(c, at))));
            let (low, high) = extent(cells.map(f64::from)).unwrap_or((0.0, 0.0));
            let limit = high.max(-low);
            if limit > 0.0 { limit } else { 1.0 }
        })
    }
}

/// A checked panel with its part of the window.
struct View<'a> {
    panel: &'a Attribution<'a>,
    range: Range<usize>,
    lanes: Lanes,
}

impl View<'_> {
    fn first(&self) -> i64 {
        self.panel.start + self.range.start as i64
    }

    fn value(&self, code: u8, at: usize) -> f32 {
        self.panel.values[usize::from(code) * self.panel.reference.len() + at]
    }

    fn base(&self, at: usize) -> Option<u8> {
        Some(self.panel.reference[at]).filter(|c| *c < 4)
    }

    fn letters(&self, at: usize, which: Letters) -> [f64; 4] {
        let mut out = [0.0; 4];
        for code in 0..4 {
            if which == Letters::All || self.base(at) == Some(code) {
                let own = self.panel.heights.filter(|_| which == Letters::Reference).map(|h| h[at]);
                out[usize::from(code)] = f64::from(own.unwrap_or_else(|| self.value(code, at)));
            }
        }
        out
    }
}

/// Sizes that all panels share.
struct Layout {
    unit: f64,
    left: f64,
    /// Width of the widest tick label of the letters' axes.
    room: f64,
    plot: f64,
    header: f64,
    width: f64,
    height: f64,
    /// Limits of the letters and of the heat map, by panel.
    scales: Vec<((f64, f64), f64)>,
    same_axis: bool,
    /// Whether the reference is marked in the heat map.
    dots: bool,
}

impl Layout {
    fn new(figure: &AttributionFigure, views: &mut [View]) -> Self {
        let each = |views: &[View], i: usize| {
            let part = if figure.shared_scale { views } else { &views[i..=i] };
            (figure.letter_limits(part), figure.heat_limit(part))
        };
        let scales: Vec<_> = (0..views.len()).map(|i| each(views, i)).collect();
        let ticks = scales.iter().map(|(l, _)| axis::widest(&figure.letter_ticks(&Axis::linear(l.0, l.1, 0.0, 1.0))));
        let room = ticks.fold(0.0, f64::max);
        let left = room + if figure.value_label.is_empty() { 14.0 } else { 26.0 };
        let bars = scales.iter().map(|s| axis::beside_bar(&figure.value_label, &heat_ticks(s.1))).fold(0.0, f64::max);
        let right = if figure.heat_map { BAR_GAP + BAR_WIDTH + bars + 3.0 } else { 12.0 };

        let longest = views.iter().map(|v| v.range.len()).max().unwrap_or(1) as f64;
        let widest = (figure.max_width - left - right).max(100.0);
        let stretched = (NARROWEST / longest).min(2.0 * figure.base_width);
        let unit = figure.base_width.max(stretched).min(widest / longest);
        views.iter_mut().for_each(|v| v.lanes.place(unit, v.range.len() as f64 * unit));

        let same_axis = views.iter().all(|v| v.first() == views[0].first() && v.range.len() == views[0].range.len());
        let header = if figure.title.is_empty() { 8.0 } else { 28.0 };
        let mut layout = Self {
            unit,
            left,
            room,
            plot: longest * unit,
            header,
            width: left + longest * unit + right,
            height: 0.0,
            scales,
            same_axis,
            dots: figure.heat_map && unit >= DOT_FROM,
        };
        let heights = views.iter().enumerate().map(|(i, v)| layout.panel_height(figure, v, i + 1 == views.len()));
        let words = font::width(&figure.position_label, TEXT, false) / 2.0 + font::width(NOTE, SMALL, false) + 20.0;
        let note = if layout.dots && words > layout.plot / 2.0 { 14.0 } else { 0.0 };
        layout.height = (header + heights.sum::<f64>() + note + 6.0).ceil();
        layout
    }

    fn panel_height(&self, figure: &AttributionFigure, view: &View, last: bool) -> f64 {
        let title = if view.panel.title.is_empty() { 0.0 } else { PANEL_TITLE };
        let map = if figure.heat_map { 4.0 * figure.row_height } else { 0.0 };
        let below = match () {
            () if last => 30.0,
            () if self.same_axis => 16.0,
            () => 28.0,
        };
        title + view.lanes.height() + figure.logo_height + self.strip() + map + below
    }

    /// Height between letters and heat map.
    fn strip(&self) -> f64 {
        if self.unit >= WRITTEN_FROM { 15.0 } else { 6.0 }
    }
}

/// The ends and the middle of the heat map's scale.
fn heat_ticks(limit: f64) -> Vec<axis::Tick> {
    [-limit, 0.0, limit].map(|value| axis::Tick { value, label: axis::significant(value, 2) }).into()
}

/// Shrinks stacks that leave the axis, keeping the proportions of their letters.
fn clip(mut letters: [f64; 4], low: f64, high: f64) -> [f64; 4] {
    let up: f64 = letters.iter().filter(|v| **v > 0.0).sum();
    let down: f64 = letters.iter().filter(|v| **v < 0.0).sum();
    for v in &mut letters {
        if *v > 0.0 && up > high {
            *v *= high / up;
        } else if *v < 0.0 && down < low {
            *v *= low / down;
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    const VALUES: [f32; 12] = [0.5, -0.25, 0.0, -0.1, 0.1, 0.2, 0.0, 0.3, 1.0, 0.2, -0.5, -1.0];

    fn small() -> Attribution<'static> {
        // A at 0.5, T at -0.5, unknown.
        Attribution { title: "s1 & <t>", values: &VALUES, reference: &[0, 3, 4], ..Default::default() }
    }

    fn transforms(svg: &Svg, class: &str) -> Vec<[f64; 6]> {
        let text = svg.to_string();
        let group = text.split(&format!("<g class=\"{class}\"")).nth(1).unwrap().split("</g>").next().unwrap();
        let matrices = group.lines().filter_map(|l| l.split("matrix(").nth(1)?.split(')').next());
        matrices.map(|m| m.split(' ').map(|v| v.parse().unwrap()).collect::<Vec<_>>().try_into().unwrap()).collect()
    }

    #[test]
    fn letters_are_as_high_as_their_values() {
        let figure = AttributionFigure { limits: Some((-1.0, 1.0)), logo_height: 100.0, ..Default::default() };
        let letters = transforms(&figure.render(&[small()]).unwrap(), "letters");
        // 50 pixels for each unit; the unknown base has no letter.
        assert_eq!(letters.len(), 2);
        assert_eq!([letters[0][3], letters[1][3]], [25.0, -25.0]);
        assert_eq!(letters[0][5] + 25.0, letters[1][5] - 25.0, "both stand on the baseline");
        let heights: &[f32] = &[0.1, 0.2, 0.3];
        let own = Attribution { heights: Some(heights), ..small() };
        let letters = transforms(&figure.render(&[own]).unwrap(), "letters");
        assert_eq!([letters[0][3], letters[1][3]], [5.0, 10.0]);
        let all = AttributionFigure { letters: Letters::All, ..figure };
        assert_eq!(transforms(&all.render(&[small()]).unwrap(), "letters").len(), 10);
    }

    #[test]
    fn what_leaves_the_axis_is_cut_to_it() {
        let figure = AttributionFigure { limits: Some((-0.1, 0.25)), logo_height: 70.0, ..Default::default() };
        let svg = figure.render(&[small()]).unwrap();
        check(&svg);
        let letters = transforms(&svg, "letters");
        assert_eq!([letters[0][3], letters[1][3]], [50.0, -20.0]);
    }

    #[test]
    fn every_substitution_has_a_cell_and_every_known_reference_a_dot() {
        let svg = AttributionFigure { row_height: 12.0, ..Default::default() }.render(&[small(), small()]).unwrap();
        check(&svg);
        // Three bases are stretched to twice their width.
        assert_eq!(count(&svg, "width=\"18\" height=\"12\""), 2 * 12);
        assert_eq!(count(&svg, "<circle"), 2 * 2 + 1);
        assert_eq!(count(&svg, "s1 &amp; &lt;t&gt;"), 2);
        assert!(count(&svg, &Colour::diverging(1.0).to_string()) >= 2);
        let plain = AttributionFigure { heat_map: false, ..Default::default() }.render(&[small()]).unwrap();
        check(&plain);
        assert_eq!(count(&plain, "<circle") + count(&plain, "substitutions"), 0);
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        let figure = AttributionFigure { title: "x".into(), base_width: 8.0, ..Default::default() };
        let svg = figure.render(&[small()]).unwrap();
        assert_eq!(svg, figure.render(&[small()]).unwrap());
        let letter = "<path d=\"M0 0H1V.17H.61V1H.39V.17H0Z\" transform=\"matrix(14.72 0 0 -38.889 ";
        assert_eq!(count(&svg, letter), 1, "{svg}");
    }

    #[test]
    fn ranges_and_starts_move_the_axis() {
        let length = 3000;
        let values: Vec<f32> = (0..4 * length).map(|i| (i as f32 * 0.1).sin()).collect();
        let reference: Vec<u8> = (0..length).map(|i| (i * 7 % 5) as u8).collect();
        let intervals = [
            Interval { start: 10_020, end: 10_030, label: "GATA1" },
            Interval { start: 10_025, end: 10_028, label: "a label that is longer than the box" },
            Interval { start: 12_995, end: 13_400, label: "at the end" },
        ];
        let panel =
            Attribution { values: &values, reference: &reference, start: 10_000, intervals: &intervals, ..small() };
        let whole = AttributionFigure::default().render(&[panel]).unwrap();
        check(&whole);
        assert!(whole.width() <= 1401.0);
        let part = AttributionFigure { range: Some(10..60), ..Default::default() }.render(&[panel]).unwrap();
        check(&part);
        assert_eq!(count(&part, ">10,020<"), 1);
        assert_eq!(count(&part, ">GATA1<"), 1);
        assert_eq!(count(&part, ">at the end<"), 0);
        // Four rows of 50 cells of 9 x 11 pixels.
        assert_eq!(count(&part, "width=\"9\" height=\"11\""), 200);
    }

    #[test]
    fn zeros_draw() {
        let flat = Attribution { values: &[0.0; 12], ..small() };
        check(&AttributionFigure::default().render(&[flat]).unwrap());
    }

    #[test]
    fn refuses_bad_data_by_place() {
        let figure = AttributionFigure::default();
        let refused = |panel: Attribution| figure.render(&[panel]).unwrap_err().to_string();
        assert!(figure.render(&[]).is_err());
        assert!(refused(Attribution::default()).contains("panel 0 has no bases"));
        assert!(refused(Attribution { reference: &[0], ..small() }).contains("needs [4, 1] = 4 values, found 12"));
        assert!(refused(Attribution { reference: &[0, 9, 1], ..small() }).contains("base code 9 at position 1"));
        assert!(refused(Attribution { heights: Some(&[1.0]), ..small() }).contains("3 bases, but 1 letter heights"));
        let mut values = VALUES;
        values[7] = f32::NAN;
        assert!(refused(Attribution { values: &values, ..small() }).contains("the value of G at 1 is NaN"));
        assert!(refused(Attribution { start: i64::MAX, ..small() }).contains("out of range"));
        let intervals = [Interval { start: 2, end: 2, label: "m" }];
        assert!(
            refused(Attribution { intervals: &intervals, ..small() }).contains("interval 'm' from 2 to 2 is empty")
        );
        let far = AttributionFigure { range: Some(2..4), ..Default::default() };
        assert!(far.render(&[small()]).unwrap_err().to_string().contains("range 2..4"));
        let upside = AttributionFigure { limits: Some((1.0, 2.0)), ..Default::default() };
        assert!(upside.render(&[small()]).unwrap_err().to_string().contains("enclose 0"));
    }
}
