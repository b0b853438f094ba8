//! A search for hyper-parameters: the score of every run in order with the best so far, and the score against every option.

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE, Tick};
use super::colour::Colour;
use super::legend::{Legend, Mark};
use super::svg::{Canvas, Style, Svg, Type, number};
use super::{check_positive, extent, font, refuse};
use crate::error::Result;
use crate::stat::median;

const OP: &str = "plot::search";

/// A trial on a rung.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SearchRun {
    /// Number of the trial.
    pub trial: usize,
    /// Rung that it ran on, from 0.
    pub rung: usize,
    /// Its score, small is good; none if it failed.
    pub score: Option<f64>,
}

/// The horizontal axis of an option.
#[derive(Debug, Clone, Copy)]
pub enum SearchScale<'a> {
    /// From one number to another.
    Linear(f64, f64),
    /// The same, logarithmic; both are positive.
    Log(f64, f64),
    /// Places for these values, which are numbered from 0.
    Categories(&'a [String]),
}

/// An option.
#[derive(Debug, Clone, Copy)]
pub struct SearchPanel<'a> {
    /// Name of the option.
    pub name: &'a str,
    /// Its axis.
    pub scale: SearchScale<'a>,
    /// Whether only whole numbers are marked.
    pub whole: bool,
    /// Its value in every run, or the number of its category; none where it did not vary.
    pub values: &'a [Option<f64>],
}

/// Options of the figure of a search.
#[derive(Debug, Clone)]
pub struct SearchFigure {
    /// Title over all panels.
    pub title: String,
    /// Label of the vertical axes.
    pub score_label: String,
    /// What each rung is, for the legend.
    pub rungs: Vec<String>,
    /// Width of the figure in pixels.
    pub width: f64,
    /// Height of the upper panel in pixels.
    pub height: f64,
    /// Height of the panel of an option in pixels.
    pub panel_height: f64,
}

impl Default for SearchFigure {
    fn default() -> Self {
        Self {
            title: String::new(),
            score_label: "Score".into(),
            rungs: vec![],
            width: 692.0,
            height: 180.0,
            panel_height: 120.0,
        }
    }
}

/// Panels of options beside each other.
const COLUMNS: usize = 3;
/// Radius of a point.
const RADIUS: f64 = 2.6;
/// Room above the highest point, in which runs stand that failed.
const HEAD: f64 = 14.0;
/// A score this many times as far from the best as half of all are is beyond the axis.
const FAR: f64 = 5.0;
const FAILED: Colour = Colour::GREY;
/// Around the best, told apart from the colours of all rungs.
const BEST: Colour = Colour(0xd5, 0x5e, 0x00);

impl SearchFigure {
    /// Draws the scores of `runs` in their order with the best so far as a line, and below it a panel an option with each trial
    /// where it came to. Colours are the rungs'; the best is ringed; runs that failed stand as empty rings above; a triangle at
    /// the upper edge is a score beyond the axis.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there is no run, a panel has not one value a run, a value or end of a scale is out of its range,
    /// or an option of the figure is.
    pub fn render(&self, runs: &[SearchRun], panels: &[SearchPanel]) -> Result<Svg> {
        self.check(runs, panels)?;
        let scores: Vec<f64> = runs.iter().filter_map(|r| r.score).collect();
        let last = runs.iter().map(|r| r.rung).max().unwrap_or(0);
        let best = best(runs);
        let scale = Scores { range: range(&scores), best, best_run: best.map(|i| (runs[i].trial, runs[i].rung)), last };
        let header = if self.title.is_empty() { 4.0 } else { 24.0 };
        let legend = self.legend(runs, &scale);
        let top = header + legend.height() + 10.0;
        let wide = self.width / COLUMNS as f64;
        let crowded = panels.iter().any(|p| match p.scale {
            SearchScale::Categories(names) => !fits_below(names, 0.75 * wide / names.len().max(1) as f64 - 4.0),
            _ => false,
        });
        let extra = if crowded { SMALL + 2.0 } else { 0.0 };
        let each = HEAD + self.panel_height + axis::below("name") + extra + 8.0;
        let rows = panels.len().div_ceil(COLUMNS) as f64;
        let second = top + HEAD + self.height + axis::below("Run") + 10.0;
        let mut page = Canvas::new(self.width, second + rows * each, &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, self.width - 16.0), &Type::new(TITLE).bold());
        legend.draw(&mut page, 8.0, header);
        let frame = |left: f64, right: f64, top: f64, height: f64| {
            let left = left + axis::beside("Score", &scale.axis(0.0, height).ticks(5)) + 6.0;
            Frame { left, top: top + HEAD, width: right - 12.0 - left, height }
        };
        self.runs(&mut page, runs, &scale, &frame(0.0, self.width, top, self.height));
        for (i, panel) in panels.iter().enumerate() {
            let (column, row) = ((i % COLUMNS) as f64, (i / COLUMNS) as f64);
            let frame = frame(wide * column, wide * (column + 1.0), second + each * row, self.panel_height);
            self.option(&mut page, runs, panel, &scale, &frame, extra);
        }
        Ok(page.finish())
    }

    fn check(&self, runs: &[SearchRun], panels: &[SearchPanel]) -> Result<()> {
        check_positive(OP, "width", self.width)?;
        check_positive(OP, "height", self.height)?;
        check_positive(OP, "panel_height", self.panel_height)?;
        if runs.is_empty() {
            return refuse(OP, "there is nothing to draw: give at least one run");
        }
        if let Some(r) = runs.iter().find(|r| r.score.is_some_and(|s| !s.is_finite())) {
            return refuse(OP, format!("the score of trial {} is no finite number; leave it out", r.trial));
        }
        for p in panels {
            let (name, n) = (p.name, p.values.len());
            if n != runs.len() {
                return refuse(OP, format!("'{name}' has {n} values for {} runs", runs.len()));
            }
            let (low, high) = match p.scale {
                SearchScale::Linear(low, high) => (low, high),
                SearchScale::Log(low, high) if low > 0.0 => (low, high),
                SearchScale::Log(low, _) => {
                    return refuse(OP, format!("'{name}': a logarithmic axis needs positive ends, found {low}"));
                }
                SearchScale::Categories(names) => (0.0, names.len() as f64 - 1.0),
            };
            if let Some(v) = p.values.iter().flatten().find(|v| !(low..=high).contains(*v)) {
                return refuse(OP, format!("'{name}': {v} is not between {low} and {high}"));
            }
        }
        Ok(())
    }

    /// Scores in order, and the best so far.
    fn runs(&self, page: &mut Canvas, runs: &[SearchRun], scale: &Scores, frame: &Frame) {
        let y = scale.axis(frame.bottom(), frame.top);
        let ticks = y.ticks(5);
        frame.grid(page, &y, &ticks);
        let x = Axis::linear(-0.5, runs.len() as f64 - 0.5, frame.left, frame.right());
        for i in (1..runs.len()).filter(|&i| runs[i].rung > runs[i - 1].rung) {
            let at = x.at(i as f64 - 0.5);
            page.line(
                (at, frame.top - HEAD),
                (at, frame.bottom()),
                &Style::stroke(Colour::GREY, 0.8).dashed("1.5 2.5"),
            );
        }
        let (mut least, mut steps) = (f64::INFINITY, vec![]);
        for (i, run) in runs.iter().enumerate() {
            let before = least;
            least = least.min(run.score.unwrap_or(f64::INFINITY));
            if before.is_finite() {
                steps.push((x.at(i as f64), y.at(before.min(y.high))));
            }
            if least.is_finite() {
                steps.push((x.at(i as f64), y.at(least.min(y.high))));
            }
        }
        if steps.len() > 1 {
            page.polyline(&steps, &Style::stroke(Colour::INK, 1.2));
        }
        for (i, run) in runs.iter().enumerate() {
            scale.point(page, run, x.at(i as f64), &y, frame);
        }
        frame.y_axis(page, &y, &ticks, &self.score_label, axis::widest(&ticks));
        let whole: Vec<Tick> = x.ticks(10).into_iter().filter(|t| t.value.fract().abs() < 1e-9).collect();
        let title = if scale.last == 0 { "Trial" } else { "Run of a trial on a rung, in order" };
        frame.x_axis(page, &x, &whole, title);
    }

    /// Scores of the trials against an option, each on the last rung that it came to.
    fn option(
        &self,
        page: &mut Canvas,
        runs: &[SearchRun],
        panel: &SearchPanel,
        scale: &Scores,
        frame: &Frame,
        extra: f64,
    ) {
        let y = scale.axis(frame.bottom(), frame.top);
        let ticks = y.ticks(4);
        frame.grid(page, &y, &ticks);
        let inner = (frame.left + 6.0, frame.right() - 6.0);
        let x = match panel.scale {
            SearchScale::Linear(low, high) => Axis::linear(low, high, inner.0, inner.1),
            SearchScale::Log(low, high) => Axis::log(low, high, inner.0, inner.1),
            SearchScale::Categories(names) => Axis::linear(-0.5, names.len() as f64 - 0.5, frame.left, frame.right()),
        };
        let last = |run: &SearchRun| !runs.iter().any(|r| r.trial == run.trial && r.rung > run.rung);
        let mut shown: Vec<_> = runs.iter().zip(panel.values).filter(|(r, _)| last(r)).collect();
        // Those that failed first: a score beyond the axis stands at the same height.
        shown.sort_by_key(|(r, _)| r.score.is_some());
        for (run, value) in shown {
            let Some(value) = *value else { continue };
            // Points of a category stand beside each other, at places that follow from the trial.
            let spread = match panel.scale {
                SearchScale::Categories(_) => ((run.trial as f64 * 0.618_033_988_749_895).fract() - 0.5) * 0.5,
                _ => 0.0,
            };
            scale.point(page, run, x.at(value + spread), &y, frame);
        }
        frame.y_axis(page, &y, &ticks, &self.score_label, axis::widest(&ticks));
        match panel.scale {
            SearchScale::Categories(names) => {
                // Names stand on two lines by turns where one has no room for them.
                let room = frame.width / names.len().max(1) as f64 - 4.0;
                let lines = if fits_below(names, room) { 1 } else { 2 };
                frame.x_axis(page, &x, &[], "");
                for (i, name) in names.iter().enumerate() {
                    let (at, line) = (x.at(i as f64), (i % lines) as f64);
                    let y = frame.bottom() + 4.5 + SMALL + line * (SMALL + 2.0);
                    let edge = 2.0 * (frame.right() + 10.0 - at).min(at - frame.left + 20.0);
                    let name = font::fit(name, SMALL, false, (room * lines as f64).min(edge));
                    page.line(
                        (at, frame.bottom()),
                        (at, frame.bottom() + 3.5),
                        &Style::stroke(Colour::INK, axis::HAIR),
                    );
                    page.text(at, y, &name, &Type::new(SMALL).middle());
                }
            }
            _ => {
                let whole = |t: &Tick| !panel.whole || t.value.fract().abs() < 1e-9;
                let ticks = |n| -> Vec<Tick> {
                    x.ticks(n).into_iter().filter(whole).map(|t| unpadded(t, panel.whole)).collect()
                };
                let apart = |pair: &[Tick]| {
                    let half = |t: &Tick| font::width(&t.label, SMALL, false) / 2.0;
                    x.at(pair[1].value) - x.at(pair[0].value) >= half(&pair[0]) + half(&pair[1]) + 4.0
                };
                let fits = |t: &Vec<Tick>| t.windows(2).all(apart);
                let below = (1..=6).rev().map(ticks).find(fits).unwrap_or_default();
                frame.x_axis(page, &x, &below, "");
            }
        }
        let name = font::fit(panel.name, TEXT, true, frame.width);
        let baseline = frame.bottom() + 18.0 + TEXT + extra;
        page.text(frame.left + frame.width / 2.0, baseline, &name, &Type::new(TEXT).bold().middle());
    }

    fn legend(&self, runs: &[SearchRun], scale: &Scores) -> Legend {
        let mut entries = vec![(Mark::Line(Style::stroke(Colour::INK, 1.2)), "best so far".to_owned())];
        if scale.last > 0 {
            for rung in 0..=scale.last {
                let name = self.rungs.get(rung).cloned().unwrap_or_else(|| format!("rung {rung}"));
                entries.push((Mark::Ring(Style::fill(scale.colour(rung))), name));
            }
        }
        if let Some(best) = scale.best {
            let score = axis::significant(runs[best].score.unwrap_or(0.0), 4);
            let ring = Mark::Ring(Style::fill(scale.colour(runs[best].rung)).outlined(BEST, 1.6));
            entries.push((ring, format!("best: trial {}, {score}", runs[best].trial)));
        }
        if runs.iter().any(|r| r.score.is_none()) {
            entries.push((Mark::Ring(Style::stroke(FAILED, 1.0)), "failed".into()));
        }
        Legend::new(entries, self.width - 16.0)
    }
}

/// What all panels share.
struct Scores {
    range: (f64, f64),
    /// Place of the best run.
    best: Option<usize>,
    /// Its trial and rung.
    best_run: Option<(usize, usize)>,
    last: usize,
}

impl Scores {
    fn axis(&self, from: f64, to: f64) -> Axis {
        Axis::linear(self.range.0, self.range.1, from, to)
    }

    fn colour(&self, rung: usize) -> Colour {
        match self.last {
            0 => Colour::category(0),
            last => Colour::sequential(0.3 + 0.65 * rung as f64 / last as f64),
        }
    }

    fn point(&self, page: &mut Canvas, run: &SearchRun, x: f64, y: &Axis, frame: &Frame) {
        let colour = self.colour(run.rung);
        match run.score {
            None => page.circle(x, frame.top - HEAD / 2.0, RADIUS, &Style::stroke(FAILED, 1.0)),
            Some(score) if score > y.high => {
                let (top, r) = (frame.top - HEAD / 2.0, RADIUS + 0.6);
                let corners = [(x, top - r), (x + r, top + r), (x - r, top + r)]
                    .map(|(x, y)| format!("{} {}", number(x), number(y)));
                page.path(&format!("M{}Z", corners.join("L")), &Style::fill(colour));
            }
            Some(score) if self.is_best(run) => {
                page.circle(x, y.at(score), RADIUS + 1.2, &Style::fill(colour).outlined(BEST, 1.6));
            }
            Some(score) => page.circle(x, y.at(score), RADIUS, &Style::fill(colour).fill_opacity(0.75)),
        }
    }

    fn is_best(&self, run: &SearchRun) -> bool {
        self.best_run == Some((run.trial, run.rung))
    }
}

/// Place of the best run: of the highest rung, the smallest score, the first of equals.
fn best(runs: &[SearchRun]) -> Option<usize> {
    let rung = runs.iter().filter(|r| r.score.is_some()).map(|r| r.rung).max()?;
    let of_rung = runs.iter().enumerate().filter(|(_, r)| r.rung == rung);
    let scored = of_rung.filter_map(|(i, r)| Some((i, r.trial, r.score?)));
    scored.min_by(|a, b| a.2.total_cmp(&b.2).then(a.1.cmp(&b.1))).map(|(i, ..)| i)
}

/// Whether all names are narrower than that.
fn fits_below(names: &[String], room: f64) -> bool {
    names.iter().all(|name| font::width(name, SMALL, false) <= room)
}

/// A mark at a whole number without decimals.
fn unpadded(tick: Tick, whole: bool) -> Tick {
    if whole { Tick { label: axis::label(tick.value, 1.0), ..tick } } else { tick }
}

/// Range of the scores that are not far beyond the others, with room at both ends.
fn range(scores: &[f64]) -> (f64, f64) {
    let Some((low, high)) = extent(scores.iter().copied()) else { return (0.0, 1.0) };
    let limit = low + FAR * (median(scores) - low);
    let shown = scores.iter().copied().filter(|s| *s <= limit || limit == low);
    let (low, high) = extent(shown).unwrap_or((low, high));
    match high > low {
        true => (low - 0.06 * (high - low), high + 0.04 * (high - low)),
        false => (low - 0.5 * low.abs().max(1e-3), low + 0.5 * low.abs().max(1e-3)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    fn run(trial: usize, rung: usize, score: f64) -> SearchRun {
        SearchRun { trial, rung, score: Some(score).filter(|s| !s.is_nan()) }
    }

    #[test]
    fn runs_points_and_panels() {
        let runs: Vec<SearchRun> =
            (0..12).map(|i| run(i, 0, if i == 3 { f64::NAN } else { 1.0 - 0.05 * (i * 5 % 12) as f64 })).collect();
        let names = ["16".to_string(), "a long <name> of a choice that does not fit".into()];
        let lr: Vec<_> = (0..12).map(|i| Some(1e-5 * 1.7f64.powi(i))).collect();
        let kernels: Vec<_> = (0..12).map(|i| (i != 7).then(|| f64::from(i % 2))).collect();
        let panels = [
            SearchPanel { name: "lr", scale: SearchScale::Log(1e-5, 1e-2), whole: false, values: &lr },
            SearchPanel {
                name: "dropout",
                scale: SearchScale::Linear(0.0, 0.5),
                whole: false,
                values: &[Some(0.2); 12],
            },
            SearchPanel { name: "num_kernels", scale: SearchScale::Categories(&names), whole: false, values: &kernels },
            SearchPanel { name: "other", scale: SearchScale::Linear(0.0, 0.5), whole: false, values: &[None; 12] },
        ];
        let svg = SearchFigure { title: "A & B".into(), ..SearchFigure::default() }.render(&runs, &panels).unwrap();
        check(&svg);
        // 12 above, 12 and 12 and 11 and 0 below, three in the legend less the line.
        assert_eq!(count(&svg, "<circle"), 12 + 12 + 12 + 11 + 2);
        assert_eq!((count(&svg, "<polyline"), count(&svg, ">failed<")), (1, 1));
        assert!(count(&svg, ">0.001<") == 1 && count(&svg, "10⁻⁵") == 1 && count(&svg, "…") >= 1, "{svg}");
    }

    #[test]
    fn rungs_and_scores_beyond_the_axis() {
        let mut runs: Vec<SearchRun> = (0..9).map(|i| run(i, 0, 1.0 + 0.01 * i as f64)).collect();
        runs[4].score = Some(1e9);
        runs.extend([run(0, 1, 0.8), run(1, 1, 0.7), run(2, 1, f64::NAN), run(1, 2, 0.6)]);
        let values: Vec<_> = runs.iter().map(|r| Some(r.trial as f64)).collect();
        let panels = [SearchPanel { name: "x", scale: SearchScale::Linear(0.0, 8.0), whole: true, values: &values }];
        let figure =
            SearchFigure { rungs: ["1 epoch", "3 epochs"].map(String::from).into(), ..SearchFigure::default() };
        let svg = figure.render(&runs, &panels).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "<path"), 2);
        assert_eq!(
            (count(&svg, ">3 epochs<"), count(&svg, ">rung 2<"), count(&svg, ">best: trial 1, 0.6000<")),
            (1, 1, 1)
        );
        // Above 12 points and a triangle, below one point or ring a trial; 5 marks in the legend.
        assert_eq!(count(&svg, "<circle"), 12 + 8 + 5);
        assert_eq!((count(&svg, ">0.5<"), count(&svg, ">2.5<")), (0, 0), "{svg}");
        assert_eq!(svg, figure.render(&runs, &panels).unwrap());
        let none = [run(0, 0, f64::NAN)];
        check(&figure.render(&none, &[]).unwrap());
        check(&figure.render(&[run(0, 0, 0.0), run(1, 0, 0.0)], &[]).unwrap());
    }

    #[test]
    fn refuses_what_cannot_be_drawn() {
        let figure = SearchFigure::default();
        let refused = |scale, values: &[Option<f64>]| {
            let panel = SearchPanel { name: "lr", scale, whole: false, values };
            figure.render(&[run(0, 0, 1.0)], &[panel]).unwrap_err().to_string()
        };
        assert!(figure.render(&[], &[]).is_err());
        assert!(figure.render(&[run(7, 0, f64::INFINITY)], &[]).unwrap_err().to_string().contains("trial 7"));
        assert!(refused(SearchScale::Linear(0.0, 1.0), &[]).contains("'lr' has 0 values for 1 runs"));
        assert!(refused(SearchScale::Log(0.0, 1.0), &[None]).contains("positive ends, found 0"));
        assert!(refused(SearchScale::Linear(0.0, 1.0), &[Some(2.0)]).contains("2 is not between 0 and 1"));
    }
}
