//! Pictures for papers and an HTML report: plain slices in, SVG (and PNG) out.
//!
//! Every figure is a struct of options with a `Default` and a `render` that takes the data and returns an [`Svg`]:
//!
//! | figure | shows |
//! |---|---|
//! | [`AttributionFigure`] | letters at the reference base over a heat map of all substitutions |
//! | [`MotifFigure`] | information-content logos of motifs |
//! | [`LossFigure`] | loss curves with the best epoch |
//! | [`ScatterFigure`] | predicted against measured, one panel a track |
//! | [`BarFigure`] | one score a track, several models beside each other |
//! | [`DistFigure`] | distributions of scores, several models beside each other |
//! | [`ProfileFigure`] | measured and predicted bins of a sequence |
//! | [`SearchFigure`] | a search for hyper-parameters: scores in order, and against every option |
//! | [`MatrixFigure`] | a labelled matrix as a heat map |
//!
//! [`Report`] puts figures, tables and provenance into one HTML file that needs nothing else.
//!
//! Lengths are CSS pixels (1/96 inch): the default widths fit the two columns (183 mm = 692) of a printed page, where the
//! text comes out at 7 to 9 points. The same input gives the same bytes. Text is set in an embedded font, with the metrics
//! of Arial, so that a PNG never depends on what a server has installed.

pub mod attr;
mod axis;
pub mod bars;
pub mod colour;
pub mod curves;
pub mod dist;
mod font;
mod interval;
mod legend;
pub mod logo;
pub mod matrix;
pub mod profile;
pub mod pwm_logo;
pub mod report;
pub mod scatter;
pub mod search;
pub mod svg;

pub use attr::{Attribution, AttributionFigure, Letters};
pub use bars::{BarFigure, BarSeries};
pub use colour::Colour;
pub use curves::{LossCurve, LossFigure, LossRow};
pub use dist::{DistFigure, DistSeries};
pub use interval::Interval;
pub use logo::Alphabet;
pub use matrix::{Matrix, MatrixFigure};
pub use profile::{Profile, ProfileFigure, ProfilePanel};
pub use pwm_logo::{Motif, MotifFigure};
pub use report::{Provenance, Report, ReportFigure, Section, Table};
pub use scatter::{ScatterFigure, ScatterPanel};
pub use search::{SearchFigure, SearchPanel, SearchRun, SearchScale};
pub use svg::Svg;

use crate::error::{Error, Result};

/// An [`Error::Argument`] of one figure.
fn refuse<T>(op: &'static str, what: impl Into<String>) -> Result<T> {
    Err(Error::Argument { op, what: what.into() })
}

/// Refuses the first value that is NaN or infinite; `place` says where it is.
fn check_finite<V: Copy + Into<f64>>(op: &'static str, values: &[V], place: impl Fn(usize) -> String) -> Result<()> {
    match values.iter().position(|&v| !v.into().is_finite()) {
        None => Ok(()),
        Some(i) => {
            let v: f64 = values[i].into();
            refuse(op, format!("{} is {v}; every value must be a finite number", place(i)))
        }
    }
}

/// Refuses an option that must be a positive finite number.
fn check_positive(op: &'static str, name: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    refuse(op, format!("{name} must be a positive number, found {value}"))
}

/// Least and greatest of some finite numbers; `None` if there are none.
fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().fold(None, |seen, v| match seen {
        None => Some((v, v)),
        Some((low, high)) => Some((low.min(v), high.max(v))),
    })
}

#[cfg(test)]
mod testing {
    //! What the tests of all figures share: every SVG must be well-formed and stay inside its page.

    use super::Svg;

    /// Parses the picture as XML and SVG, and checks that nothing hangs over the edge of the page.
    #[cfg(feature = "png")]
    pub(crate) fn check(svg: &Svg) -> resvg::usvg::Tree {
        let tree = super::svg::parse(&svg.to_string()).unwrap();
        let (w, h) = (svg.width() as f32, svg.height() as f32);
        assert!((tree.size().width() - w).abs() < 0.01 && (tree.size().height() - h).abs() < 0.01);
        let b = tree.root().abs_stroke_bounding_box();
        assert!(b.left() > -0.6 && b.top() > -0.6 && b.right() < w + 0.6 && b.bottom() < h + 0.6, "{b:?} on {w} x {h}");
        tree
    }

    #[cfg(not(feature = "png"))]
    pub(crate) fn check(svg: &Svg) {
        assert!(svg.to_string().ends_with("</svg>\n"));
    }

    /// How often a piece of text occurs in the picture.
    pub(crate) fn count(svg: &Svg, piece: &str) -> usize {
        svg.to_string().matches(piece).count()
    }
}
