//! Motif logos: every position a stack of letters as high as the information that it carries.

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::logo::{self, Alphabet};
use super::svg::{Canvas, Style, Svg, Type};
use super::{check_finite, check_positive, font, refuse};
use crate::error::Result;

const OP: &str = "plot::pwm_logo";

/// One motif: a row of the figure.
#[derive(Debug, Clone, Copy)]
pub struct Motif<'a> {
    /// Name above the logo.
    pub name: &'a str,
    /// Probabilities of A C G T, one row a position; every row sums to 1.
    pub probabilities: &'a [[f64; 4]],
    /// Columns that the logo is moved to the right, to align motifs below each other.
    pub offset: usize,
}

/// Options of the motif figure.
#[derive(Debug, Clone)]
pub struct MotifFigure {
    /// Title over all motifs.
    pub title: String,
    /// DNA or RNA letters.
    pub alphabet: Alphabet,
    /// Probabilities of A C G T outside of motifs. The height of a stack is the information against these, so that its
    /// greatest value is 2 bits for a uniform background and more for a rare base otherwise.
    pub background: [f64; 4],
    /// Whether heights are probabilities (0 to 1) instead of information.
    pub probability: bool,
    /// Number of the first position.
    pub first: i64,
    /// Width of a position in pixels.
    pub base_width: f64,
    /// Height of a logo in pixels.
    pub height: f64,
}

impl Default for MotifFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            alphabet: Alphabet::Dna,
            background: [0.25; 4],
            probability: false,
            first: 1,
            base_width: 20.0,
            height: 72.0,
        }
    }
}

/// Heights of the four letters of a position in bits: `p_b` times the position's information
/// `sum_b p_b log2(p_b / background_b)` (Schneider and Stephens, 1990, without the small-sample term).
pub fn information(probabilities: [f64; 4], background: [f64; 4]) -> [f64; 4] {
    let terms = probabilities.iter().zip(background).filter(|(p, _)| **p > 0.0).map(|(p, q)| p * (p / q).log2());
    let bits = terms.sum::<f64>().max(0.0);
    probabilities.map(|p| p * bits)
}

impl MotifFigure {
    /// Draws one logo for each motif, one below the other.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there is no motif, a motif is empty, a probability is not finite or
    /// negative, a row does not sum to 1 within 0.01, or an option is out of its range.
    pub fn render(&self, motifs: &[Motif]) -> Result<Svg> {
        self.check(motifs)?;
        let columns = motifs.iter().map(|m| m.offset + m.probabilities.len()).max().unwrap_or(0);
        let top_value = match self.probability {
            true => 1.0,
            false => self.background.iter().map(|q| -q.log2()).fold(0.0, f64::max),
        };
        let label = if self.probability { "Probability" } else { "Bits" };
        let ticks = Axis::linear(0.0, top_value, 0.0, 1.0).ticks(2);
        let left = axis::beside(label, &ticks) + 2.0;
        let header = if self.title.is_empty() { 6.0 } else { 28.0 };
        let row = 20.0 + self.height + 24.0;
        let names = motifs.iter().map(|m| font::width(m.name, TEXT, true)).fold(0.0, f64::max).min(260.0);
        let room = (columns as f64 * self.base_width).max(names);
        let mut page = Canvas::new(left + room + 10.0, header + row * motifs.len() as f64, &self.title);
        let title = font::fit(&self.title, TITLE, true, room + 8.0);
        page.text(left, 16.0, &title, &Type::new(TITLE).bold());
        for (i, motif) in motifs.iter().enumerate() {
            let top = header + row * i as f64;
            page.text(left, top + TEXT, &font::fit(motif.name, TEXT, true, room), &Type::new(TEXT).bold());
            let frame = Frame { left, top: top + 18.0, width: columns as f64 * self.base_width, height: self.height };
            let axis = Axis::linear(0.0, top_value, frame.bottom(), frame.top);
            frame.y_axis(&mut page, &axis, &ticks, label, axis::widest(&ticks));
            self.logo(&mut page, motif, &frame, &axis);
        }
        Ok(page.finish())
    }

    fn check(&self, motifs: &[Motif]) -> Result<()> {
        check_positive(OP, "base_width", self.base_width)?;
        check_positive(OP, "height", self.height)?;
        let sum: f64 = self.background.iter().sum();
        if self.background.iter().any(|q| !(*q > 0.0 && *q < 1.0)) || (sum - 1.0).abs() > 0.01 {
            return refuse(
                OP,
                format!("background must be four positive numbers of sum 1, found {:?}", self.background),
            );
        }
        if motifs.is_empty() {
            return refuse(OP, "there is nothing to draw: give at least one motif");
        }
        for m in motifs {
            let name = m.name;
            if m.probabilities.is_empty() {
                return refuse(OP, format!("motif '{name}' has no positions"));
            }
            let flat = m.probabilities.as_flattened();
            check_finite(OP, flat, |i| format!("motif '{name}', position {}, column {}", i / 4, i % 4))?;
            for (i, row) in m.probabilities.iter().enumerate() {
                let sum: f64 = row.iter().sum();
                if row.iter().any(|p| *p < 0.0) || (sum - 1.0).abs() > 0.01 {
                    let what = format!("motif '{name}', position {i}: probabilities of sum 1 expected, found {row:?}");
                    return refuse(OP, what + "; normalise the rows first");
                }
            }
        }
        Ok(())
    }

    fn logo(&self, page: &mut Canvas, motif: &Motif, frame: &Frame, axis: &Axis) {
        let unit = self.base_width;
        let from = frame.left + motif.offset as f64 * unit;
        page.group(&[("class", "letters")]);
        for (i, row) in motif.probabilities.iter().enumerate() {
            let heights = if self.probability { *row } else { information(*row, self.background) };
            let pixels = heights.map(|v| frame.bottom() - axis.at(v));
            logo::column(page, self.alphabet, from + i as f64 * unit, frame.bottom(), unit, pixels);
        }
        page.end();
        let n = motif.probabilities.len();
        page.line(
            (frame.left, frame.bottom()),
            (frame.left + frame.width, frame.bottom()),
            &Style::stroke(Colour::INK, axis::HAIR),
        );
        let last = font::width(&(self.first + n as i64).to_string(), SMALL, false);
        let every = ((last + 4.0) / unit).ceil().max(1.0) as usize;
        for i in (0..n).step_by(every) {
            let x = from + (i as f64 + 0.5) * unit;
            let number = (self.first + i as i64).to_string().replace('-', "−");
            page.text(x, frame.bottom() + 4.0 + SMALL, &number, &Type::new(SMALL).middle());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    const TATA: [[f64; 4]; 4] =
        [[0.05, 0.05, 0.05, 0.85], [0.97, 0.01, 0.01, 0.01], [0.0, 0.0, 0.0, 1.0], [0.25, 0.25, 0.25, 0.25]];

    #[test]
    fn information_is_that_of_the_formula() {
        assert_eq!(information([0.0, 0.0, 0.0, 1.0], [0.25; 4]), [0.0, 0.0, 0.0, 2.0]);
        assert_eq!(information([0.25; 4], [0.25; 4]), [0.0; 4]);
        // 2 - H(0.5, 0.5) = 1 bit, half of it for each letter.
        assert_eq!(information([0.5, 0.5, 0.0, 0.0], [0.25; 4]), [0.5, 0.5, 0.0, 0.0]);
        let rare = information([1.0, 0.0, 0.0, 0.0], [0.125, 0.375, 0.375, 0.125]);
        assert_eq!(rare[0], 3.0);
    }

    #[test]
    fn a_certain_base_fills_the_height() {
        let svg = MotifFigure { height: 80.0, ..Default::default() }
            .render(&[Motif { name: "TATA <box>", probabilities: &TATA, offset: 1 }])
            .unwrap();
        check(&svg);
        assert!(count(&svg, "matrix(18.4 0 0 80 ") == 1, "{svg}");
        assert_eq!(count(&svg, "TATA &lt;box&gt;"), 1);
        // Four letters at the first position, four at the second, one at the third, none at the last.
        assert_eq!(count(&svg, "<path"), 9);
    }

    #[test]
    fn refuses_what_is_not_a_motif() {
        let figure = MotifFigure::default();
        let refused = |p: &[[f64; 4]]| {
            figure.render(&[Motif { name: "m", probabilities: p, offset: 0 }]).unwrap_err().to_string()
        };
        assert!(figure.render(&[]).is_err());
        assert!(refused(&[]).contains("has no positions"));
        assert!(refused(&[[0.5, 0.5, f64::NAN, 0.0]]).contains("position 0, column 2 is NaN"));
        assert!(refused(&[[0.5, 0.5, 0.5, 0.0]]).contains("normalise"));
        let background = [0.5, 0.5, 0.0, 0.0];
        assert!(
            MotifFigure { background, ..figure.clone() }.render(&[]).unwrap_err().to_string().contains("background")
        );
    }
}
