//! Labelled stretches of a sequence, in as many lanes above the letters as they need.

use super::axis::{Frame, SMALL};
use super::colour::Colour;
use super::font;
use super::svg::{Canvas, Style, Type};

/// A labelled stretch of the sequence.
#[derive(Debug, Clone, Copy)]
pub struct Interval<'a> {
    /// First base, in the coordinates of the axis.
    pub start: i64,
    /// One past the last base.
    pub end: i64,
    /// Text; equal labels get equal colours.
    pub label: &'a str,
}

/// Height of a lane.
const LANE: f64 = 14.0;

/// The boxes of one panel.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    boxes: Vec<Placed>,
    count: usize,
}

/// A box in bases from the left edge.
#[derive(Debug)]
struct Placed {
    from: f64,
    to: f64,
    label: String,
    colour: Colour,
    lane: usize,
}

impl Lanes {
    /// Cuts the intervals to the coordinates `first..last` and colours them by label; `labels` are those seen so far.
    pub fn new<'a>(intervals: &'a [Interval<'a>], first: i64, last: i64, labels: &mut Vec<&'a str>) -> Self {
        let mut boxes = Vec::new();
        for i in intervals {
            let seen = labels.iter().position(|l| *l == i.label).unwrap_or(labels.len());
            if seen == labels.len() {
                labels.push(i.label);
            }
            if i.start < last && i.end > first {
                let (from, to) = (i.start.max(first) - first, i.end.min(last) - first);
                let (label, colour) = (i.label.to_owned(), Colour::category(seen));
                boxes.push(Placed { from: from as f64, to: to as f64, label, colour, lane: 0 });
            }
        }
        boxes.sort_by(|a, b| a.from.total_cmp(&b.from));
        Self { boxes, count: 0 }
    }

    /// Gives every box the first lane where neither it nor its label touches another one; a base is `unit` pixels wide.
    pub fn place(&mut self, unit: f64, plot: f64) {
        let mut ends: Vec<f64> = Vec::new();
        for b in &mut self.boxes {
            // A label of more than half of the plot would not fit on either side of its box.
            b.label = font::fit(&b.label, SMALL, false, plot / 2.0 - 4.0);
            let (from, to) = b.span(unit, plot);
            b.lane = ends.iter().position(|end| *end + 3.0 <= from).unwrap_or(ends.len());
            if b.lane == ends.len() {
                ends.push(to);
            } else {
                ends[b.lane] = to;
            }
        }
        self.count = ends.len();
    }

    /// Height of all lanes.
    pub fn height(&self) -> f64 {
        self.count as f64 * LANE
    }

    /// Draws the lanes right above the frame, and their stretches as pale bands inside of it.
    pub fn draw(&self, page: &mut Canvas, frame: &Frame, unit: f64) {
        for b in &self.boxes {
            let (x, y) = (frame.left + b.from * unit, frame.top - self.height() + b.lane as f64 * LANE);
            let (w, h) = ((b.to - b.from) * unit, LANE - 3.0);
            page.rect(x, frame.top, w, frame.height, &Style::fill(b.colour).fill_opacity(0.09));
            page.rect(x, y, w, h, &Style::fill(b.colour).fill_opacity(0.25).outlined(b.colour, 0.8));
            let baseline = y + h / 2.0 + SMALL * font::CAPITAL / 2.0;
            let (from, to) = b.span(unit, frame.width);
            if b.fits_inside(unit) {
                page.text(x + w / 2.0, baseline, &b.label, &Type::new(SMALL).middle());
            } else if to > b.to * unit {
                page.text(x + w + 3.0, baseline, &b.label, &Type::new(SMALL));
            } else {
                page.text(frame.left + from, baseline, &b.label, &Type::new(SMALL));
            }
        }
    }
}

impl Placed {
    fn fits_inside(&self, unit: f64) -> bool {
        font::width(&self.label, SMALL, false) + 4.0 <= (self.to - self.from) * unit
    }

    /// Pixels from the left edge that box and label take; a label that does not fit inside stands to the right of its box,
    /// or to the left where the plot ends.
    fn span(&self, unit: f64, plot: f64) -> (f64, f64) {
        let (from, to) = (self.from * unit, self.to * unit);
        let text = font::width(&self.label, SMALL, false) + 4.0;
        if self.fits_inside(unit) {
            (from, to)
        } else if to + text <= plot || from < text {
            (from, to + text)
        } else {
            (from - text, to)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(intervals: &[Interval]) -> Vec<usize> {
        let mut lanes = Lanes::new(intervals, 100, 200, &mut Vec::new());
        lanes.place(9.0, 900.0);
        assert_eq!(lanes.count, lanes.boxes.iter().map(|b| b.lane + 1).max().unwrap_or(0));
        lanes.boxes.iter().map(|b| b.lane).collect()
    }

    #[test]
    fn boxes_that_overlap_have_lanes_of_their_own() {
        let at = |start, end| Interval { start, end, label: "x" };
        assert_eq!(lanes(&[at(110, 120), at(130, 140)]), [0, 0]);
        assert_eq!(lanes(&[at(110, 120), at(115, 140), at(121, 130), at(139, 150)]), [0, 1, 0, 0]);
        // Outside of the window on the left and on the right.
        assert!(lanes(&[at(10, 100), at(200, 300)]).is_empty());
    }

    #[test]
    fn labels_count_as_part_of_their_boxes() {
        let at = |start, label| Interval { start, end: start + 1, label };
        assert_eq!(lanes(&[at(110, "a long label"), at(113, "b")]), [0, 1]);
        // At the right edge the label stands on the left.
        let mut right = Lanes::new(&[at(199, "a long label")], 100, 200, &mut Vec::new());
        right.place(9.0, 900.0);
        assert!(right.boxes[0].span(9.0, 900.0).1 <= 900.0 && right.boxes[0].span(9.0, 900.0).0 < 880.0);
    }

    #[test]
    fn equal_labels_have_equal_colours() {
        let at = |start, label| Interval { start, end: start + 5, label };
        let mut labels = Vec::new();
        let sites = [at(110, "a"), at(120, "b"), at(130, "a")];
        let first = Lanes::new(&sites, 100, 200, &mut labels);
        let second = Lanes::new(&sites[1..2], 100, 200, &mut labels);
        assert_eq!(first.boxes[0].colour, first.boxes[2].colour);
        assert_eq!(first.boxes[1].colour, second.boxes[0].colour);
        assert_ne!(first.boxes[0].colour, first.boxes[1].colour);
    }
}
