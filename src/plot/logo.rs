//! Letters of sequence logos: outlines of our own in a unit square, stretched to the height of their value.

use super::colour::Colour;
use super::svg::Canvas;

/// Which letter stands for base code 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Alphabet {
    /// A C G T.
    #[default]
    Dna,
    /// A C G U.
    Rna,
}

impl Alphabet {
    /// The letters of codes 0 to 3.
    pub fn letters(self) -> [&'static str; 4] {
        match self {
            Self::Dna => ["A", "C", "G", "T"],
            Self::Rna => ["A", "C", "G", "U"],
        }
    }

    /// The outline of a base code (0 to 3) as SVG path data; it fills the unit square, y down.
    pub(super) fn outline(self, code: u8) -> &'static str {
        match (code, self) {
            (0, _) => "M0 1L.37 0H.63L1 1H.77L.7 .79H.3L.23 1ZM.36 .61H.64L.5 .17Z",
            (1, _) => {
                "M1 .33C.95 .12 .77 0 .53 0C.2 0 0 .2 0 .5C0 .8 .2 1 .53 1C.77 1 .95 .88 1 .67L.78 .61C.75 .75 .66 .82 .53 \
                 .82C.33 .82 .22 .7 .22 .5C.22 .3 .33 .18 .53 .18C.66 .18 .75 .25 .78 .39Z"
            }
            (2, _) => {
                "M.98 .31C.92 .11 .76 0 .52 0C.2 0 0 .2 0 .5C0 .8 .2 1 .52 1C.71 1 .88 .94 1 .84V.46H.52V.63H.79V.75C.72 .8 \
                 .63 .83 .53 .83C.33 .83 .22 .71 .22 .5C.22 .3 .33 .17 .52 .17C.65 .17 .73 .24 .76 .36Z"
            }
            (_, Self::Dna) => "M0 0H1V.17H.61V1H.39V.17H0Z",
            (_, Self::Rna) => {
                "M0 0H.22V.6C.22 .75 .32 .82 .5 .82C.68 .82 .78 .75 .78 .6V0H1V.61C1 .86 .81 1 .5 1C.19 1 0 .86 0 .61Z"
            }
        }
    }
}

/// A letter lower than this many pixels is left out: nobody sees it, and long windows have thousands.
const INVISIBLE: f64 = 0.02;

/// Draws the letters of one position: `values` by base code, in pixels. Positive letters are stacked from the baseline up,
/// negative ones down and on their heads, the tallest furthest from the baseline.
pub(super) fn column(page: &mut Canvas, alphabet: Alphabet, left: f64, baseline: f64, width: f64, values: [f64; 4]) {
    let mut order = [0u8, 1, 2, 3];
    order.sort_by(|&a, &b| values[usize::from(a)].abs().total_cmp(&values[usize::from(b)].abs()));
    let (mut up, mut down) = (baseline, baseline);
    for code in order {
        let h = values[usize::from(code)];
        if h.abs() < INVISIBLE {
            continue;
        }
        if h > 0.0 {
            up -= h;
            letter(page, alphabet, code, left, up, width, h);
        } else {
            down -= h;
            letter(page, alphabet, code, left, down, width, h);
        }
    }
}

/// Below this many pixels a base is a bar of its colour instead of a letter.
const BAR_BELOW: f64 = 1.6;

/// Draws one letter in a cell of some width; `top` is its upper edge, or the lower one if the height is negative.
pub(super) fn letter(page: &mut Canvas, alphabet: Alphabet, code: u8, left: f64, top: f64, width: f64, height: f64) {
    let colour = Colour::base(code);
    if width < BAR_BELOW {
        page.stretched("M0 0H1V1H0Z", left, top, width, height, colour);
        return;
    }
    let gap = 0.04 * width;
    page.stretched(alphabet.outline(code), left + gap, top, width - 2.0 * gap, height, colour);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::svg::Svg;

    fn drawn(values: [f64; 4], width: f64) -> Svg {
        let mut page = Canvas::new(20.0, 100.0, "");
        column(&mut page, Alphabet::Dna, 0.0, 60.0, width, values);
        page.finish()
    }

    #[test]
    fn tallest_letters_are_furthest_from_the_baseline() {
        let text = drawn([10.0, 30.0, -5.0, -20.0], 10.0).to_string();
        let transforms: Vec<_> = text.lines().filter_map(|l| l.split("matrix(").nth(1)?.split(')').next()).collect();
        // Drawn from the smallest: G down to 65, A up to 50, T down to 85, C up to 20.
        let expected = ["9.2 0 0 -5 0.4 65", "9.2 0 0 10 0.4 50", "9.2 0 0 -20 0.4 85", "9.2 0 0 30 0.4 20"];
        assert_eq!(transforms, expected);
    }

    #[test]
    fn nothing_is_drawn_for_zeros_and_bars_for_narrow_cells() {
        assert!(!drawn([0.0; 4], 10.0).to_string().contains("<path"));
        assert!(drawn([1.0, 0.0, 0.0, 0.0], 1.0).to_string().contains("M0 0H1V1H0Z"));
    }

    #[test]
    #[cfg(feature = "png")]
    fn outlines_fill_the_unit_square() {
        for (code, alphabet) in
            [(0, Alphabet::Dna), (1, Alphabet::Dna), (2, Alphabet::Dna), (3, Alphabet::Dna), (3, Alphabet::Rna)]
        {
            let mut page = Canvas::new(200.0, 200.0, "");
            page.stretched(alphabet.outline(code), 0.0, 0.0, 100.0, 100.0, Colour::INK);
            let b = crate::plot::testing::check(&page.finish()).root().abs_bounding_box();
            for (found, expected) in [(b.left(), 0.0), (b.top(), 0.0), (b.right(), 100.0), (b.bottom(), 100.0)] {
                assert!((found - expected).abs() < 0.5, "{code} {alphabet:?}: {b:?}");
            }
        }
    }
}
