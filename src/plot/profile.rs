//! Profiles: measured bins as an area, predicted ones as a line.

use super::axis::{self, Axis, Frame, SMALL, TEXT, TITLE};
use super::colour::Colour;
use super::legend::{Legend, Mark};
use super::svg::{Canvas, Style, Svg, Type, number};
use super::{check_finite, check_positive, font, refuse};
use crate::error::Result;

const OP: &str = "plot::profile";

/// Bins of one track of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Profile<'a> {
    /// Name of the track.
    pub name: &'a str,
    /// Measured value of every bin.
    pub measured: &'a [f32],
    /// Predicted value of every bin; as many.
    pub predicted: &'a [f32],
}

/// One panel: a track, or the two strands of a signal, the second one downwards.
#[derive(Debug, Clone, Copy)]
pub struct ProfilePanel<'a> {
    /// Title over the panel.
    pub title: &'a str,
    /// Drawn upwards.
    pub up: Profile<'a>,
    /// Drawn downwards.
    pub down: Option<Profile<'a>>,
}

/// Options of the figure.
#[derive(Debug, Clone)]
pub struct ProfileFigure {
    /// Title over all panels.
    pub title: String,
    /// Label of the values.
    pub unit: String,
    /// Position of the first bin in the sequence, from 0; none = bins are numbered.
    pub first: Option<usize>,
    /// Width of the figure in pixels.
    pub width: f64,
    /// Height of a panel in pixels.
    pub height: f64,
}

impl Default for ProfileFigure {
    fn default() -> Self {
        Self { title: String::new(), unit: "Reads".into(), first: None, width: 692.0, height: 84.0 }
    }
}

impl ProfileFigure {
    /// Draws panels below each other, all with the same positions.
    ///
    /// # Errors
    /// [`crate::Error::Argument`] if there is no panel, panels have different numbers of bins or none, a value is not finite, or
    /// an option is out of its range.
    pub fn render(&self, panels: &[ProfilePanel]) -> Result<Svg> {
        let bins = self.check(panels)?;
        let header = if self.title.is_empty() { 4.0 } else { 24.0 };
        let strands = panels.iter().any(|p| p.down.is_some());
        let [up, down] = [0, 1].map(Colour::category);
        let mut entries = vec![
            (Mark::Box(Style::fill(pale(up))), "measured".to_string()),
            (Mark::Line(Style::stroke(up, 1.4)), "predicted".to_string()),
        ];
        if strands {
            entries.push((Mark::Line(Style::stroke(down, 1.4)), "second strand, downwards".into()));
        }
        let legend = Legend::new(entries, self.width - 16.0);
        let (gap, top) = (26.0, header + legend.height() + 22.0);
        let whole = top + panels.len() as f64 * (self.height + gap) - gap + axis::below(self.along());
        let mut page = Canvas::new(self.width, whole, &self.title);
        page.text(8.0, 16.0, &font::fit(&self.title, TITLE, true, self.width - 16.0), &Type::new(TITLE).bold());
        legend.draw(&mut page, 8.0, header);

        let axes: Vec<(Axis, Vec<axis::Tick>)> = (panels.iter().enumerate())
            .map(|(i, p)| {
                let at = top + i as f64 * (self.height + gap);
                let low = if p.down.is_some() { -largest(p.down) } else { least(&p.up) };
                let y = Axis::linear(low, largest(Some(p.up)), at + self.height, at);
                let mut ticks = y.ticks(4);
                if p.down.is_some() {
                    // Downwards is no negative number.
                    ticks.iter_mut().for_each(|t| t.label = t.label.trim_start_matches('−').to_string());
                }
                (y, ticks)
            })
            .collect();
        let room = axes.iter().map(|(_, ticks)| axis::widest(ticks)).fold(0.0, f64::max);
        let beside = axes.iter().map(|(_, ticks)| axis::beside(&self.unit, ticks)).fold(0.0, f64::max);
        for (i, (panel, (y, ticks))) in panels.iter().zip(&axes).enumerate() {
            let at = top + i as f64 * (self.height + gap);
            let frame = Frame { left: beside + 6.0, top: at, width: self.width - beside - 18.0, height: self.height };
            let first = self.first.unwrap_or(0) as f64;
            let x = Axis::linear(first - 0.5, first + bins as f64 - 0.5, frame.left, frame.right());
            page.text(frame.left, at - 7.0, &font::fit(panel.title, TEXT, true, frame.width), &Type::new(TEXT).bold());
            frame.grid(&mut page, y, ticks);
            for (profile, sign, colour) in [(Some(panel.up), 1.0, up), (panel.down, -1.0, down)] {
                let Some(profile) = profile else { continue };
                let height = |v: f32| y.at(sign * f64::from(v));
                page.path(&steps(profile.measured, &x, first, y.at(0.0), height), &Style::fill(pale(colour)));
                let line: Vec<_> =
                    profile.predicted.iter().enumerate().map(|(b, &v)| (x.at(first + b as f64), height(v))).collect();
                match line[..] {
                    [(px, py)] => page.circle(px, py, 2.0, &Style::fill(colour)),
                    _ => page.polyline(&line, &Style::stroke(colour, 1.4)),
                }
                let set = Type::new(SMALL).end().colour(colour);
                if panel.down.is_some() {
                    let at = if sign > 0.0 { frame.top + SMALL } else { frame.bottom() - 3.0 };
                    page.text(frame.right() - 3.0, at, profile.name, &set);
                }
            }
            page.line((frame.left, y.at(0.0)), (frame.right(), y.at(0.0)), &Style::stroke(Colour::GREY, axis::HAIR));
            frame.y_axis(&mut page, y, ticks, &self.unit, room);
            if i + 1 == panels.len() {
                let ticks =
                    x.ticks(bins.min(8)).into_iter().filter(|t| t.value.fract().abs() < 1e-9).collect::<Vec<_>>();
                frame.x_axis(&mut page, &x, &ticks, self.along());
            }
        }
        Ok(page.finish())
    }

    /// Label of the positions.
    fn along(&self) -> &'static str {
        if self.first.is_some() { "Position" } else { "Bin" }
    }

    /// The number of bins.
    fn check(&self, panels: &[ProfilePanel]) -> Result<usize> {
        check_positive(OP, "width", self.width)?;
        check_positive(OP, "height", self.height)?;
        let Some(first) = panels.first() else {
            return refuse(OP, "there is nothing to draw: give at least one profile");
        };
        let bins = first.up.measured.len();
        if bins == 0 {
            return refuse(OP, format!("'{}' has no bins", first.up.name));
        }
        for panel in panels {
            for p in [panel.up].into_iter().chain(panel.down) {
                for (what, values) in [("measured", p.measured), ("predicted", p.predicted)] {
                    if panel.down.is_some()
                        && let Some(v) = values.iter().find(|v| **v < 0.0)
                    {
                        return refuse(
                            OP,
                            format!(
                                "{}, '{}': {what} {v}; strands on two sides need values from 0",
                                panel.title, p.name
                            ),
                        );
                    }
                    if values.len() != bins {
                        let n = values.len();
                        return refuse(OP, format!("{}, '{}': {n} {what} bins, expected {bins}", panel.title, p.name));
                    }
                    check_finite(OP, values, |i| format!("{}, '{}', {what} bin {i}", panel.title, p.name))?;
                }
            }
        }
        Ok(bins)
    }
}

/// What an axis must reach; a flat profile has an axis, too.
fn largest(profile: Option<Profile>) -> f64 {
    let Some(p) = profile else { return 0.0 };
    let top = p.measured.iter().chain(p.predicted).fold(0f32, |m, &v| m.max(v));
    if top > 0.0 { 1.04 * f64::from(top) } else { 1.0 }
}

/// How far an axis must reach below 0, for predictions that are no counts.
fn least(p: &Profile) -> f64 {
    1.04 * f64::from(p.measured.iter().chain(p.predicted).fold(0f32, |m, &v| m.min(v)))
}

/// The outline of bins as bars without gaps.
fn steps(values: &[f32], x: &Axis, first: f64, base: f64, height: impl Fn(f32) -> f64) -> String {
    let mut path = format!("M{} {}", number(x.at(first - 0.5)), number(base));
    for (b, &v) in values.iter().enumerate() {
        path += &format!("V{}H{}", number(height(v)), number(x.at(first + b as f64 + 0.5)));
    }
    path + &format!("V{}Z", number(base))
}

/// The colour of areas below lines of a colour.
fn pale(colour: Colour) -> Colour {
    let mix = |c: u8| 255 - ((255 - u16::from(c)) * 2 / 5) as u8;
    Colour(mix(colour.0), mix(colour.1), mix(colour.2))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, count};
    use super::*;

    #[test]
    fn panels_with_and_without_strands() {
        let (measured, predicted) = ([0.0, 3.0, 9.0, 1.0, 0.0], [0.2, 2.5, 7.0, 2.0, 0.1]);
        let of = |name| Profile { name, measured: &measured, predicted: &predicted };
        let one = ProfilePanel { title: "gene1, <a>", up: of("a"), down: None };
        let two = ProfilePanel { title: "gene1", up: of("a+"), down: Some(of("a-")) };
        let figure = ProfileFigure { title: "Reads".into(), first: Some(100), ..ProfileFigure::default() };
        let svg = figure.render(&[one, two]).unwrap();
        check(&svg);
        for part in ["gene1, &lt;a&gt;", "second strand", "a-", "Position", ">102<"] {
            assert_eq!(count(&svg, part), 1, "{part}");
        }
        // Both directions count from zero.
        assert_eq!((count(&svg, ">−"), count(&svg, ">5<")), (0, 2));
        let zero = Profile { name: "z", measured: &[0.0], predicted: &[0.0] };
        check(&figure.render(&[ProfilePanel { title: "empty", up: zero, down: None }]).unwrap());
    }

    #[test]
    fn bad_profiles_are_refused() {
        let figure = ProfileFigure::default();
        let message = |panels: &[ProfilePanel]| figure.render(panels).unwrap_err().to_string();
        let of = |measured, predicted| ProfilePanel {
            title: "p",
            up: Profile { name: "t", measured, predicted },
            down: None,
        };
        assert!(message(&[]).contains("nothing to draw"));
        assert!(message(&[of(&[], &[])]).contains("'t' has no bins"));
        assert!(message(&[of(&[1.0, 2.0], &[1.0])]).contains("p, 't': 1 predicted bins, expected 2"));
        assert!(message(&[of(&[1.0], &[f32::NAN])]).contains("predicted bin 0 is NaN"));
        let below = of(&[1.0, 2.0], &[-1.0, 1.0]);
        assert!(message(&[ProfilePanel { down: Some(below.up), ..below }]).contains("values from 0"));
        check(&figure.render(&[below]).unwrap());
    }
}
