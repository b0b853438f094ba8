//! Loss curves from the five columns of a training log.

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::legend::{Legend, Mark};
use super::svg::{Canvas, Style, Svg, Type};
use super::{check_positive, extent, font, refuse};
use crate::error::Result;

const OP: &str = "plot::curves";

/// One row of the log.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossRow {
    /// Epoch as logged; a number that does not rise begins a fine-tuning stage.
    pub epoch: u32,
    /// Training loss on the validation set.
    pub train_on_val: f64,
    /// Validation loss on the validation set.
    pub val_on_val: f64,
    /// Training loss on the training set.
    pub train_on_train: f64,
    /// Validation loss on the training set.
    pub val_on_train: f64,
}

/// The log of one model.
#[derive(Debug, Clone, Copy)]
pub struct LossCurve<'a> {
    /// Name in the legend.
    pub name: &'a str,
    /// Rows in the order of the log.
    pub rows: &'a [LossRow],
}

/// Options of the loss figure.
#[derive(Debug, Clone)]
pub struct LossFigure {
    /// Title over both panels.
    pub title: String,
    /// Whether losses are on a logarithmic axis.
    pub log: bool,
    /// Whether the epoch with the lowest validation loss on the validation set is marked.
    pub best: bool,
    /// Width of the figure in pixels.
    pub width: f64,
    /// Height of a panel in pixels.
    pub height: f64,
}

impl Default for LossFigure {
    fn default() -> Self {
        Self { title: String::new(), log: false, best: true, width: 692.0, height: 190.0 }
    }
}

/// One panel: a title and the columns on training and validation set.
struct Panel {
    title: &'static str,
    train: fn(&LossRow) -> f64,
    val: fn(&LossRow) -> f64,
}

const TRAINING: Panel = Panel { title: "Training loss", train: |r| r.train_on_train, val: |r| r.train_on_val };
const VALIDATION: Panel = Panel { title: "Validation loss", train: |r| r.val_on_train, val: |r| r.val_on_val };
const TRAIN_DASH: &str = "4 2.5";

impl LossFigure {
    /// Draws the training loss and, where it is another function, the validation loss beside it, each on the training set
    /// (dashed) and on the validation set. Fine-tuning stages, whose epochs start again, continue to the right.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there is no curve, a curve is empty, a loss is not finite, a loss is not positive on a
    /// logarithmic axis, or an option is out of its range.
    pub fn render(&self, curves: &[LossCurve]) -> Result<Svg> {
        self.check(curves)?;
        let same = |r: &LossRow| r.train_on_val == r.val_on_val && r.train_on_train == r.val_on_train;
        let panels: &[Panel] =
            if curves.iter().all(|c| c.rows.iter().all(same)) { &[TRAINING] } else { &[TRAINING, VALIDATION] };
        let epochs: Vec<Vec<f64>> = curves.iter().map(|c| continued(c.rows)).collect();
        let last = epochs.iter().flatten().copied().fold(0.0, f64::max);
        let first = epochs.iter().flatten().copied().fold(last, f64::min);

        let header = if self.title.is_empty() { 4.0 } else { 24.0 };
        let legend = legend(curves, self.best, self.width - 16.0);
        let top = header + legend.height() + 28.0;
        let mut page = Canvas::new(self.width, top + self.height + axis::below("Epoch"), &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, self.width - 16.0), &Type::new(TITLE).bold());
        legend.draw(&mut page, 8.0, header);
        let each = self.width / panels.len() as f64;
        for (i, panel) in panels.iter().enumerate() {
            let values = || curves.iter().flat_map(|c| c.rows).flat_map(|r| [(panel.train)(r), (panel.val)(r)]);
            let (low, high) = extent(values()).unwrap_or((0.0, 1.0));
            let slack = 0.04 * (high - low);
            let (from, to) = (top + self.height, top);
            let y = match self.log {
                true => Axis::log(low / (high / low).powf(0.04), high * (high / low).powf(0.04), from, to),
                false => Axis::linear(low - slack, high + slack, from, to),
            };
            let ticks = y.ticks(5);
            let left = each * i as f64 + axis::beside("Loss", &ticks) + 6.0;
            let frame = Frame { left, top, width: each * (i + 1) as f64 - left - 12.0, height: self.height };
            let x = Axis::linear(first, last, frame.left + 4.0, frame.right() - 4.0);
            frame.grid(&mut page, &y, &ticks);
            page.text(frame.left, top - 9.0, panel.title, &Type::new(TEXT).bold());
            self.stages(&mut page, curves, &epochs, &frame, &x);
            draw_curves(&mut page, panel, curves, &epochs, &x, &y);
            if self.best {
                self.best(&mut page, panel, curves, &epochs, &frame, &x, &y);
            }
            frame.y_axis(&mut page, &y, &ticks, "Loss", axis::widest(&ticks));
            let whole = x.ticks(6).into_iter().filter(|t| t.value.fract().abs() < 1e-9).collect::<Vec<_>>();
            frame.x_axis(&mut page, &x, &whole, "Epoch");
        }
        Ok(page.finish())
    }

    fn check(&self, curves: &[LossCurve]) -> Result<()> {
        check_positive(OP, "width", self.width)?;
        check_positive(OP, "height", self.height)?;
        if curves.is_empty() {
            return refuse(OP, "there is nothing to draw: give at least one loss log");
        }
        for c in curves {
            if c.rows.is_empty() {
                return refuse(OP, format!("the log of '{}' has no rows", c.name));
            }
            for (i, r) in c.rows.iter().enumerate() {
                let columns = [
                    ("training loss on the validation set", r.train_on_val),
                    ("validation loss on the validation set", r.val_on_val),
                    ("training loss on the training set", r.train_on_train),
                    ("validation loss on the training set", r.val_on_train),
                ];
                for (column, v) in columns {
                    let place = format!("'{}', row {i} (epoch {}): {column} is {v}", c.name, r.epoch);
                    if !v.is_finite() {
                        return refuse(OP, place + "; every loss must be a finite number");
                    }
                    if self.log && v <= 0.0 {
                        return refuse(OP, place + "; a logarithmic axis needs positive losses: leave `log` off");
                    }
                }
            }
        }
        Ok(())
    }

    /// Marks where fine-tuning begins; of one model only, because several would cut the panel into strips.
    fn stages(&self, page: &mut Canvas, curves: &[LossCurve], epochs: &[Vec<f64>], frame: &Frame, x: &Axis) {
        let [curve] = curves else { return };
        for i in starts(curve.rows) {
            let at = (x.at(epochs[0][i - 1]) + x.at(epochs[0][i])) / 2.0;
            let line = Style::stroke(Colour::GREY, 0.8).dashed("1.5 2.5");
            page.line((at, frame.top), (at, frame.bottom()), &line);
            let room = font::width("fine-tuning", SMALL, false) + 4.0;
            let set = Type::new(SMALL).colour(Colour::GREY);
            let right = at + room < frame.right();
            // A halo, because a line of the grid may run behind the words.
            let from = if right { at + 1.5 } else { at - room };
            let halo = Style::fill(Colour::WHITE).fill_opacity(0.85);
            page.rect(from, frame.top, room - 1.5, SMALL * 1.25, &halo);
            if right {
                page.text(at + 3.0, frame.top + SMALL, "fine-tuning", &set);
            } else {
                page.text(at - 3.0, frame.top + SMALL, "fine-tuning", &set.end());
            }
        }
    }

    fn best(
        &self,
        page: &mut Canvas,
        panel: &Panel,
        curves: &[LossCurve],
        epochs: &[Vec<f64>],
        frame: &Frame,
        x: &Axis,
        y: &Axis,
    ) {
        for (i, c) in curves.iter().enumerate() {
            let best = best_row(c.rows);
            let row = &c.rows[best];
            let (px, py) = (x.at(epochs[i][best]), y.at((panel.val)(row)));
            let (_, colour) = colours(curves.len(), i);
            if curves.len() == 1 {
                let line = Style::stroke(colour, 0.8).stroke_opacity(0.6);
                page.line((px, frame.bottom()), (px, py), &line);
                // Beside the panel's title: anywhere inside, some curve would run through it.
                // The epoch as logged; the axis goes on counting where fine-tuning starts again.
                let stage = if starts(c.rows).iter().any(|&s| s <= best) { "fine-tuning " } else { "" };
                let value = axis::significant((panel.val)(row), 4);
                let text = format!("best: {stage}epoch {}, {value}", row.epoch);
                page.text(frame.right(), frame.top - 9.0, &text, &Type::new(SMALL).end().colour(colour));
            }
            page.circle(px, py, 3.0, &Style::fill(Colour::WHITE).outlined(colour, 1.5));
        }
    }
}

fn draw_curves(page: &mut Canvas, panel: &Panel, curves: &[LossCurve], epochs: &[Vec<f64>], x: &Axis, y: &Axis) {
    for (i, c) in curves.iter().enumerate() {
        let (train, val) = colours(curves.len(), i);
        let points = |column: fn(&LossRow) -> f64| -> Vec<_> {
            c.rows.iter().zip(&epochs[i]).map(|(r, e)| (x.at(*e), y.at(column(r)))).collect()
        };
        // A single row has no line to draw, only a point.
        for (points, style) in [
            (points(panel.train), Style::stroke(train, 1.3).dashed(TRAIN_DASH)),
            (points(panel.val), Style::stroke(val, 1.6)),
        ] {
            match points[..] {
                [(px, py)] => page.circle(px, py, 2.0, &style),
                _ => page.polyline(&points, &style),
            }
        }
    }
}

/// Colours of the training and the validation set: two for one model, one a model for several.
fn colours(models: usize, i: usize) -> (Colour, Colour) {
    if models == 1 { (Colour::category(0), Colour::category(1)) } else { (Colour::category(i), Colour::category(i)) }
}

/// Position of the row with the lowest validation loss on the validation set; the first of equals.
fn best_row(rows: &[LossRow]) -> usize {
    let mut best = 0;
    for (i, r) in rows.iter().enumerate() {
        if r.val_on_val < rows[best].val_on_val {
            best = i;
        }
    }
    best
}

/// Rows at which a stage of fine-tuning begins.
fn starts(rows: &[LossRow]) -> Vec<usize> {
    (1..rows.len()).filter(|&i| rows[i].epoch <= rows[i - 1].epoch).collect()
}

/// Epochs that only rise: where the log starts again, the count goes on by one.
fn continued(rows: &[LossRow]) -> Vec<f64> {
    let mut at = f64::from(rows[0].epoch);
    let mut out = vec![at];
    for pair in rows.windows(2) {
        at += f64::from(pair[1].epoch.saturating_sub(pair[0].epoch).max(1));
        out.push(at);
    }
    out
}

fn legend(curves: &[LossCurve], best: bool, room: f64) -> Legend {
    let (train, val) = if curves.len() == 1 { colours(1, 0) } else { (Colour::GREY, Colour::GREY) };
    let sets = [
        (Mark::Line(Style::stroke(train, 1.3).dashed(TRAIN_DASH)), "training set".to_owned()),
        (Mark::Line(Style::stroke(val, 1.6)), "validation set".to_owned()),
    ];
    let named = if curves.len() == 1 { &[] } else { curves };
    let models = named.iter().enumerate().map(|(i, c)| {
        let style = Style::stroke(Colour::category(i), 1.6);
        (Mark::Line(style), c.name.to_owned())
    });
    let ring = best.then(|| {
        let colour = if curves.len() == 1 { val } else { Colour::GREY };
        (Mark::Ring(Style::stroke(colour, 1.5)), "best epoch".to_owned())
    });
    Legend::new(sets.into_iter().chain(ring).chain(models), room)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::{check, count};

    fn row(epoch: u32, loss: f64) -> LossRow {
        LossRow { epoch, train_on_val: loss, val_on_val: loss, train_on_train: 0.8 * loss, val_on_train: 0.8 * loss }
    }

    fn log() -> Vec<LossRow> {
        // Fine-tuning starts again behind the best epoch.
        [(0, 1.0), (1, 0.6), (2, 0.4), (3, 0.45), (4, 0.5), (3, 0.41), (4, 0.38), (5, 0.39)]
            .map(|(e, l)| row(e, l))
            .into()
    }

    #[test]
    fn fine_tuning_continues_to_the_right() {
        assert_eq!(continued(&log()), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(starts(&log()), [5]);
        assert_eq!(best_row(&log()), 6);
        assert_eq!(continued(&[row(0, 1.0), row(5, 1.0), row(10, 1.0), row(5, 1.0)]), [0.0, 5.0, 10.0, 11.0]);
    }

    #[test]
    fn equal_losses_share_a_panel() {
        let rows = log();
        let svg = LossFigure { title: "A & B".into(), ..Default::default() }
            .render(&[LossCurve { name: "m", rows: &rows }])
            .unwrap();
        check(&svg);
        assert_eq!(count(&svg, "<polyline"), 2);
        assert_eq!(count(&svg, "best: fine-tuning epoch 4, 0.3800"), 1);
        assert_eq!(count(&svg, ">fine-tuning<"), 1);
        let other: Vec<_> = rows.iter().map(|r| LossRow { val_on_val: r.val_on_val - 1.0, ..*r }).collect();
        let curves = [LossCurve { name: "m", rows: &rows }, LossCurve { name: "other", rows: &other }];
        let svg = LossFigure::default().render(&curves).unwrap();
        check(&svg);
        assert_eq!(count(&svg, "<polyline"), 8);
        assert_eq!(svg, LossFigure::default().render(&curves).unwrap());
    }

    #[test]
    fn one_row_and_a_log_axis_work() {
        for log in [false, true] {
            let svg = LossFigure { log, ..Default::default() }.render(&[LossCurve { name: "m", rows: &[row(0, 0.5)] }]);
            check(&svg.unwrap());
        }
    }

    #[test]
    fn refuses_bad_logs() {
        let figure = LossFigure { log: true, ..Default::default() };
        let refused = |rows: &[LossRow]| figure.render(&[LossCurve { name: "m", rows }]).unwrap_err().to_string();
        assert!(figure.render(&[]).is_err());
        assert!(refused(&[]).contains("'m' has no rows"));
        assert!(
            refused(&[row(0, 1.0), row(7, f64::NAN)])
                .contains("row 1 (epoch 7): training loss on the validation set is NaN")
        );
        assert!(refused(&[row(0, 0.0)]).contains("logarithmic"));
        assert!(LossFigure { width: 0.0, ..figure.clone() }.render(&[]).unwrap_err().to_string().contains("width"));
    }
}
