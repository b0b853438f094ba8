//! Predictions against measurements: scores and scatter plots.

use super::numbers::{count, of, three};
use super::{Args, Part};
use crate::cli::choose::choose;
use crate::cli::paired::Pairs;
use crate::cli::plot::{draw_profiles, largest_profiles};
use crate::error::Result;
use crate::io::classes::read_classes;
use crate::plot::{BarFigure, BarSeries, ReportFigure, ScatterFigure, ScatterPanel, Section, Table};
use crate::stat;

/// Scatter plots that a reader still looks at.
const MOST_PANELS: usize = 12;
/// Tracks from which bars say more than the table, and up to which they make a legible picture.
const BARS: std::ops::RangeInclusive<usize> = 6..=60;

/// Tracks whose profiles are drawn.
const MOST_PROFILES: usize = 4;

/// Points and scores of one track.
struct Track<'a> {
    name: &'a str,
    measured: Vec<f64>,
    predicted: Vec<f64>,
    r: f64,
}

/// Scores and scatter plots.
///
/// # Errors
/// What the figures and the reader of classes return; [`crate::Error::Usage`] for tracks that are not there.
pub(super) fn part(args: &Args, pairs: &Pairs) -> Result<Part> {
    let tracks: Vec<Track> = (0..pairs.tracks.len()).map(|t| Track::new(pairs, t)).collect();
    let classes = args.classes.as_deref().map(|path| read_classes(path, &pairs.plain)).transpose()?;
    let chosen = match args.tracks.as_slice() {
        [] => spread(&tracks),
        wanted => choose("tracks", &pairs.tracks, wanted)?,
    };
    let known: Vec<f64> = tracks.iter().map(|t| t.r).filter(|r| !r.is_nan()).collect();
    let mut part = Part::default();
    part.number("Compared on", of(pairs.names.len(), "sequence"));
    part.number("Median r over tracks", three(stat::median(&known)));

    let mut section = Section { heading: "Predictions against measurements".into(), ..Section::default() };
    section.text = format!(
        "{} and {} were predicted and compared with what was measured. If these sequences took no part in the training, \
         the scores say how well the model predicts sequences that it has never seen.\n\nPearson's r is 1 for a perfect \
         linear relation and 0 for none. Spearman's compares ranks only. R² is the share of the variance that is \
         explained, RMSE the typical error in the units of the measurement. No model can be better than the noise of the \
         measurements allows.",
        of(pairs.names.len(), "sequence"),
        of(pairs.tracks.len(), "track")
    );
    let panels: Vec<(Vec<f32>, Vec<f32>)> = chosen.iter().map(|&t| tracks[t].points()).collect();
    let panels: Vec<ScatterPanel> = chosen
        .iter()
        .zip(&panels)
        .filter(|(_, (measured, _))| !measured.is_empty())
        .map(|(&t, (measured, predicted))| ScatterPanel { title: tracks[t].name, measured, predicted })
        .collect();
    if !panels.is_empty() {
        // Rows of equal length where that is possible, on pages wider than the figure's own default.
        let figure = ScatterFigure { columns: Some(panels.len().min(4)), ..ScatterFigure::default() };
        let mut caption = String::from(
            "Predicted against measured, one point a sequence (a density where there are very many). On the diagonal \
             prediction and measurement are equal.",
        );
        if args.tracks.is_empty() && panels.len() < tracks.len() {
            caption.push_str(&format!(" {} of {} tracks, from the best r to the worst.", panels.len(), tracks.len()));
        }
        section.figures.push(ReportFigure { svg: figure.render(&panels)?, caption });
    }
    if BARS.contains(&known.len()) {
        let shown: Vec<&Track> = tracks.iter().filter(|t| !t.r.is_nan()).collect();
        let labels: Vec<&str> = shown.iter().map(|t| t.name).collect();
        let figure = BarFigure { value_label: "Pearson's r".into(), ..BarFigure::default() };
        let svg = figure.render(&labels, &[BarSeries { name: "model", values: &known, intervals: None }])?;
        section.figures.push(ReportFigure { svg, caption: "Pearson's r of every track.".into() });
    }
    section.tables.push(table(&tracks, classes.as_deref()));
    part.sections.push(section);
    Ok(part)
}

/// Profiles of single sequences, where both sides are profiles; `strands` = tracks are strands in pairs.
///
/// # Errors
/// What the figure returns; [`crate::Error::Usage`] for tracks that are not there.
pub(super) fn profiles(args: &Args, pairs: &Pairs, strands: bool) -> Result<Option<Part>> {
    let Some(profiles) = pairs.profiles() else { return Ok(None) };
    let table = stat::Table {
        prediction: &pairs.prediction,
        target: &pairs.measured,
        sequences: &pairs.names,
        tracks: &pairs.tracks,
        classes: None,
        profiles: Some(profiles),
    };
    let scores = stat::scores(&table, &[stat::Axis::Track], &[stat::Metric::ProfilePearson, stat::Metric::ProfileJsd])?;
    let all = |metric| scores.iter().filter(move |s| s.metric == metric);
    let (r, jsd) = (all(stat::Metric::ProfilePearson), all(stat::Metric::ProfileJsd));
    let rows: Vec<Vec<String>> =
        r.zip(jsd).map(|(r, jsd)| vec![r.item.clone(), count(jsd.n), three(r.value), three(jsd.value)]).collect();
    let chosen = match args.tracks.as_slice() {
        [] => (0..pairs.tracks.len().min(MOST_PROFILES)).collect(),
        wanted => choose("tracks", &pairs.tracks, wanted)?,
    };
    // The strands of a signal may have been taken apart by the choice of tracks.
    let strands = strands && chosen.chunks(2).all(|t| t.len() == 2 && t[0] % 2 == 0 && t[1] == t[0] + 1);
    let figure = crate::plot::ProfileFigure::default();
    let svg = draw_profiles(pairs, &largest_profiles(pairs), &chosen, strands, figure)?;
    let mut part = Part::default();
    let median = |m| stat::median(&all(m).map(|s| s.value).filter(|v| !v.is_nan()).collect::<Vec<f64>>());
    part.number("Median r within profiles", three(median(stat::Metric::ProfilePearson)));
    part.sections.push(Section {
        heading: "Profiles".into(),
        text: format!(
            "Every track is a profile of {}; the scores above are about its total. Here the shape counts: Pearson's r \
             between the measured and the predicted bins of a sequence, and the Jensen-Shannon divergence of their \
             distributions in bits, 0 where they have the same shape and 1 where no bin is in both. Few reads make rough \
             shapes, which no model can predict.",
            of(profiles.bins, "bin")
        ),
        figures: vec![ReportFigure {
            svg,
            caption: "The sequences with the largest measured totals: measured bins as areas, predicted ones as lines.".into(),
        }],
        tables: vec![Table {
            caption: "Scores within profiles, means over the sequences.".into(),
            header: ["Track", "Sequences", "Pearson's r", "Jensen-Shannon divergence"].map(String::from).to_vec(),
            rows,
        }],
    });
    Ok(Some(part))
}

impl<'a> Track<'a> {
    /// The sequences that have a measurement.
    fn new(pairs: &'a Pairs, t: usize) -> Self {
        let cells = (t..pairs.measured.len()).step_by(pairs.tracks.len()).filter(|&i| !pairs.measured[i].is_nan());
        let (measured, predicted): (Vec<f64>, Vec<f64>) =
            cells.map(|i| (pairs.measured[i], pairs.prediction[i])).unzip();
        let r = stat::pearson(&measured, &predicted);
        Self { name: &pairs.tracks[t], measured, predicted, r }
    }

    /// Measured and predicted values as figures take them.
    fn points(&self) -> (Vec<f32>, Vec<f32>) {
        let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
        (narrow(&self.measured), narrow(&self.predicted))
    }
}

/// All tracks, or as many as make a picture, evenly from the best to the worst.
fn spread(tracks: &[Track]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..tracks.len()).collect();
    if order.len() <= MOST_PANELS {
        return order;
    }
    order.retain(|&t| !tracks[t].r.is_nan());
    order.sort_by(|&a, &b| tracks[b].r.total_cmp(&tracks[a].r));
    let shown = MOST_PANELS.min(order.len());
    (0..shown).map(|i| order[i * (order.len() - 1) / (shown - 1).max(1)]).collect()
}

fn table(tracks: &[Track], classes: Option<&[String]>) -> Table {
    let mut header = vec!["Track", "Class", "Sequences", "Pearson's r", "Spearman's r", "R²", "RMSE"];
    if classes.is_none() {
        header.remove(1);
    }
    let row = |(t, track): (usize, &Track)| {
        let (y, p) = (&track.measured, &track.predicted);
        let mut row = vec![track.name.to_string()];
        row.extend(classes.map(|c| c[t].clone()));
        row.push(count(y.len()));
        row.extend([track.r, stat::spearman(y, p), stat::r2(y, p), stat::rmse(y, p)].map(three));
        row
    };
    Table {
        caption: "Scores of every track.".into(),
        header: header.into_iter().map(String::from).collect(),
        rows: tracks.iter().enumerate().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tracks_are_shown_from_the_best_to_the_worst() {
        let track = |r: f64| Track { name: "t", measured: vec![], predicted: vec![], r };
        let few: Vec<Track> = (0..MOST_PANELS).map(|i| track(i as f64)).collect();
        assert_eq!(spread(&few), (0..MOST_PANELS).collect::<Vec<_>>());
        let many: Vec<Track> = (0..100).map(|i| track(if i == 50 { f64::NAN } else { i as f64 })).collect();
        let shown = spread(&many);
        assert_eq!((shown.len(), shown[0], shown[11]), (12, 99, 0));
        assert!(!shown.contains(&50) && shown.windows(2).all(|w| w[0] > w[1]), "{shown:?}");
    }
}
