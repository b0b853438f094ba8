//! The legend that stands above the panels of a figure.

use super::axis::TEXT;
use super::font;
use super::svg::{Canvas, Style, Type};

/// What a name stands for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mark {
    Line(Style),
    Box(Style),
    Ring(Style),
}

/// Names with their marks, broken into lines.
#[derive(Debug)]
pub(super) struct Legend {
    lines: Vec<Vec<(Mark, String)>>,
}

/// Height of a line.
const LINE: f64 = 16.0;
/// Space behind a name.
const GAP: f64 = 16.0;
/// Longest name in pixels.
const LONGEST: f64 = 240.0;

impl Legend {
    /// Breaks the entries into lines of at most `room` pixels.
    pub fn new(entries: impl IntoIterator<Item = (Mark, String)>, room: f64) -> Self {
        let mut lines: Vec<Vec<(Mark, String)>> = Vec::new();
        let mut used = f64::INFINITY;
        for (mark, name) in entries {
            let name = font::fit(&name, TEXT, false, LONGEST);
            let width = mark.width() + font::width(&name, TEXT, false) + GAP;
            if used + width > room {
                lines.push(Vec::new());
                used = 0.0;
            }
            used += width;
            lines.last_mut().expect("the first entry opens a line").push((mark, name));
        }
        Self { lines }
    }

    /// Height of all lines.
    pub fn height(&self) -> f64 {
        LINE * self.lines.len() as f64
    }

    /// Draws the lines from their upper left corner.
    pub fn draw(&self, page: &mut Canvas, left: f64, top: f64) {
        for (i, line) in self.lines.iter().enumerate() {
            let baseline = top + LINE * i as f64 + 12.0;
            let mut x = left;
            for (mark, name) in line {
                let y = baseline - TEXT * font::CAPITAL / 2.0;
                match mark {
                    Mark::Line(style) => page.line((x, y), (x + 20.0, y), style),
                    Mark::Ring(style) => page.circle(x + 5.0, y, 3.0, style),
                    Mark::Box(style) => page.rect(x, y - 4.5, 9.0, 9.0, style),
                }
                page.text(x + mark.width(), baseline, name, &Type::new(TEXT));
                x += mark.width() + font::width(name, TEXT, false) + GAP;
            }
        }
    }
}

impl Mark {
    fn width(&self) -> f64 {
        match self {
            Self::Line(_) => 25.0,
            Self::Box(_) | Self::Ring(_) => 14.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::colour::Colour;

    #[test]
    fn lines_break_where_the_room_ends() {
        let mark = Mark::Box(Style::fill(Colour::INK));
        let entries = |n: usize| (0..n).map(move |i| (mark, format!("model {i}")));
        assert_eq!(Legend::new(entries(0), 100.0).height(), 0.0);
        assert_eq!(Legend::new(entries(3), 1000.0).height(), LINE);
        assert_eq!(Legend::new(entries(3), 20.0).height(), 3.0 * LINE);
    }
}
