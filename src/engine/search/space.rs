//! The space of a search: which options vary, over what, and the draws from it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result, hint};
use crate::model::options::{Options, Origin, Value, from_toml, keys};
use crate::util::philox::Philox;

/// Purpose of the stream of a trial's draws, with the number of the trial.
const DRAWS: u64 = 0x5345 << 48;
/// Draws for a trial until the space counts as exhausted.
const ATTEMPTS: usize = 10_000;
/// Significant digits of a drawn number: enough for any option, and few enough to be typed.
const DIGITS: usize = 4;
/// Table of a file that holds a space.
const TABLE: &str = "search";
const SYNTAX: &str = "expected a list of values, or one of { range = [a, b] }, { log = [a, b] }, { int = [a, b] }, \
                      { log-int = [a, b] }, { choices = [..] }";

/// What an option is drawn from.
#[derive(Debug, Clone, PartialEq)]
pub enum Range {
    /// One of these, with equal chances.
    Choices(Vec<Value>),
    /// Uniform.
    Uniform(f64, f64),
    /// Its logarithm is uniform.
    LogUniform(f64, f64),
    /// A whole number, both ends included.
    Integer(i64, i64),
    /// A whole number whose logarithm is about uniform, both ends included.
    LogInteger(i64, i64),
}

/// An option that varies.
#[derive(Debug, Clone)]
pub struct Varied {
    /// Name of the option.
    pub key: &'static str,
    /// What it is drawn from.
    pub range: Range,
    /// It varies only in trials in which each of these options has one of these values; in others it is as in the base options.
    pub when: Vec<(&'static str, Vec<Value>)>,
    origin: Origin,
}

/// Options that vary, in the order of the table of all options.
#[derive(Debug, Clone, Default)]
pub struct Space {
    varied: Vec<Varied>,
}

impl Range {
    /// Reads `a,b,c` (commas inside of brackets belong to a value), `range:a..b`, `log:a..b`, `int:a..b` or `log-int:a..b`. The
    /// error says what is wrong.
    ///
    /// # Errors
    /// Text that says what was expected and what was found.
    pub fn parse(text: &str) -> std::result::Result<Self, String> {
        let text = text.trim();
        let between = |rest: &str| -> std::result::Result<[Value; 2], String> {
            let ends = rest.split_once("..").ok_or_else(|| format!("expected two ends as 1..10, found '{rest}'"))?;
            Ok([Value::parse(ends.0)?, Value::parse(ends.1)?])
        };
        if let Some((kind, rest)) = text.split_once(':').filter(|(kind, _)| KINDS.contains(&kind.trim())) {
            return Self::of(kind.trim(), &between(rest)?);
        }
        if let Some((kind, _)) = text.split_once(':').filter(|(_, rest)| rest.contains("..")) {
            return Err(format!("expected one of {}, found '{kind}'{}", KINDS.join(", "), hint(kind, KINDS)));
        }
        if text.contains("..") && !text.contains(['[', '(']) {
            return Err(format!("'{text}' does not say how it is drawn: write {} before it", KINDS.join(":, ") + ":"));
        }
        let items = at_commas(text).into_iter().map(Value::parse).collect::<std::result::Result<_, _>>()?;
        Self::choices(items)
    }

    fn choices(items: Vec<Value>) -> std::result::Result<Self, String> {
        if let [] | [_] = items[..] {
            return Err(format!(
                "expected at least two values, found {}; give what does not vary as a base option (--set)",
                items.len()
            ));
        }
        if let Some(i) = (1..items.len()).find(|&i| items[..i].iter().any(|other| other.same(&items[i]))) {
            return Err(format!("the value '{}' is there twice", items[i]));
        }
        Ok(Self::Choices(items))
    }

    /// A range of one of [`KINDS`].
    fn of(kind: &str, ends: &[Value; 2]) -> std::result::Result<Self, String> {
        let number = |v: &Value| v.as_f64().ok_or_else(|| format!("expected a number, found '{v}'"));
        let (low, high) = (number(&ends[0])?, number(&ends[1])?);
        if low >= high {
            return Err(format!("expected the smaller end first, found {}..{}", ends[0], ends[1]));
        }
        if kind.starts_with("log") && low <= 0.0 {
            return Err(format!("expected ends above 0 for a logarithmic range, found {}", ends[0]));
        }
        if !kind.ends_with("int") {
            return Ok(if kind == "log" { Self::LogUniform(low, high) } else { Self::Uniform(low, high) });
        }
        if low.fract() != 0.0 || high.fract() != 0.0 || low.abs().max(high.abs()) > 1e15 {
            return Err(format!("expected whole numbers, found {}..{}", ends[0], ends[1]));
        }
        let (low, high) = (low as i64, high as i64);
        Ok(if kind == "int" { Self::Integer(low, high) } else { Self::LogInteger(low, high) })
    }

    fn of_toml(value: &toml::Value) -> std::result::Result<Self, String> {
        let items = |value: &toml::Value| match value {
            toml::Value::Array(items) => items.iter().cloned().map(from_toml).collect(),
            other => Err(format!("expected a list, found {other}")),
        };
        match value {
            toml::Value::Array(_) => Self::choices(items(value)?),
            toml::Value::Table(table) => {
                let mut kinds = table.iter().filter(|(k, _)| *k != "when");
                let (Some((kind, value)), None) = (kinds.next(), kinds.next()) else {
                    return Err(format!("{SYNTAX}; found {value}"));
                };
                if kind == "choices" {
                    return Self::choices(items(value)?);
                }
                if !KINDS.contains(&kind.as_str()) {
                    let near = hint(kind, KINDS.into_iter().chain(["choices", "when"]));
                    return Err(format!("{SYNTAX}; found '{kind}'{near}"));
                }
                let ends: Vec<Value> = items(value)?;
                let ends: [Value; 2] =
                    ends.try_into().map_err(|v: Vec<_>| format!("expected two ends, found {} numbers", v.len()))?;
                Self::of(kind, &ends)
            }
            other => Err(format!("{SYNTAX}; found {other}; give what does not vary as a base option")),
        }
    }

    /// Whether values belong on a logarithmic axis.
    pub fn is_log(&self) -> bool {
        matches!(self, Self::LogUniform(..) | Self::LogInteger(..))
    }

    fn draw(&self, random: &mut Philox) -> Value {
        let between = |t: f64, low: f64, high: f64| low + t * (high - low);
        match *self {
            Self::Choices(ref items) => items[random.below(items.len())].clone(),
            Self::Uniform(low, high) => Value::Float(short(between(random.uniform(), low, high)).clamp(low, high)),
            Self::LogUniform(low, high) => {
                Value::Float(short(between(random.uniform(), low.ln(), high.ln()).exp()).clamp(low, high))
            }
            Self::Integer(low, high) => Value::Int(low + random.below((high - low + 1) as usize) as i64),
            Self::LogInteger(low, high) => {
                let x = between(random.uniform(), (low as f64).ln(), (high as f64 + 1.0).ln()).exp();
                Value::Int((x as i64).clamp(low, high))
            }
        }
    }
}

/// Ranges by two ends.
const KINDS: [&str; 4] = ["range", "log", "int", "log-int"];

impl std::fmt::Display for Range {
    /// As [`Range::parse`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Choices(items) => f.write_str(&items.iter().map(Value::to_string).collect::<Vec<_>>().join(",")),
            Self::Uniform(a, b) => write!(f, "range:{}..{}", Value::Float(*a), Value::Float(*b)),
            Self::LogUniform(a, b) => write!(f, "log:{}..{}", Value::Float(*a), Value::Float(*b)),
            Self::Integer(a, b) => write!(f, "int:{a}..{b}"),
            Self::LogInteger(a, b) => write!(f, "log-int:{a}..{b}"),
        }
    }
}

impl std::fmt::Display for Varied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.range)?;
        for (i, (key, values)) in self.when.iter().enumerate() {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            write!(f, " {} {key}={}", if i == 0 { "when" } else { "and" }, values.join(","))?;
        }
        Ok(())
    }
}

impl Space {
    /// Options that vary.
    pub fn varied(&self) -> &[Varied] {
        &self.varied
    }

    /// Adds what `key=range` says, as after `--vary`; a range that the option had is replaced.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the option and what is wrong, with the nearest name for one that is unknown.
    pub fn add_text(&mut self, item: &str) -> Result<()> {
        let (key, range) = item.split_once('=').ok_or_else(|| {
            Error::Usage(format!(
                "--vary: expected key=values, as lr=log:1e-4..1e-2 or num_kernels=64,128; found '{item}'"
            ))
        })?;
        let origin = Origin::Flag("--vary");
        let key = known(key.trim(), &origin)?;
        let range = Range::parse(range).map_err(|what| origin.error(key, what))?;
        self.add(Varied { key, range, when: vec![], origin })
    }

    /// Adds the table `[search]` of a TOML file. `path` is only for error texts.
    ///
    /// # Errors
    /// [`Error::Parse`] naming the key and what is wrong.
    pub fn add_toml(&mut self, text: &str, path: &Path) -> Result<()> {
        let tables: toml::Table = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |s| 1 + text[..s.start.min(text.len())].matches('\n').count());
            Error::line(path, line, e.message())
        })?;
        if let Some(other) = tables.keys().find(|k| *k != TABLE) {
            let what = "a space is the table [search]; options that do not vary stand in a file for --config";
            return Err(Error::key(path, other, what));
        }
        let Some(toml::Value::Table(table)) = tables.get(TABLE) else {
            return Err(Error::file(path, "expected a table [search] with the options that vary"));
        };
        let shared: Arc<Path> = PathBuf::from(path).into();
        let origin = Origin::Table(shared, TABLE);
        for (key, value) in table {
            let key = known(key, &origin)?;
            let range = Range::of_toml(value).map_err(|what| origin.error(key, what))?;
            let when = match value.get("when") {
                None => vec![],
                Some(toml::Value::Table(conditions)) => conditions
                    .iter()
                    .map(|(k, v)| {
                        let k = known(k, &origin)?;
                        let values = match v {
                            toml::Value::Array(items) => items.iter().cloned().map(from_toml).collect(),
                            other => from_toml(other.clone()).map(|v| vec![v]),
                        };
                        Ok((k, values.map_err(|what| origin.error(key, format!("when.{k}: {what}")))?))
                    })
                    .collect::<Result<_>>()?,
                Some(other) => {
                    let what = format!("when: expected a table as {{ max_pooling = true }}, found {other}");
                    return Err(origin.error(key, what));
                }
            };
            self.add(Varied { key, range, when, origin: origin.clone() })?;
        }
        Ok(())
    }

    fn add(&mut self, varied: Varied) -> Result<()> {
        self.varied.retain(|v| v.key != varied.key);
        let place = |key: &str| keys::KEYS.iter().position(|k| k.name == key);
        let at = self.varied.partition_point(|v| place(v.key) < place(varied.key));
        self.varied.insert(at, varied);
        let added = &self.varied[at];
        match self.depends_on_itself(added) {
            true => Err(added.origin.error(added.key, "its condition (when) depends on itself")),
            false => Ok(()),
        }
    }

    fn depends_on_itself(&self, start: &Varied) -> bool {
        let mut open: Vec<&str> = start.when.iter().map(|w| w.0).collect();
        let mut seen: Vec<&str> = vec![];
        while let Some(key) = open.pop() {
            if key == start.key {
                return true;
            }
            if !seen.contains(&key) {
                seen.push(key);
                open.extend(self.find(key).into_iter().flat_map(|i| &self.varied[i].when).map(|w| w.0));
            }
        }
        false
    }

    fn find(&self, key: &str) -> Option<usize> {
        self.varied.iter().position(|v| v.key == key)
    }

    /// Values of the trials 0 to `trials` - 1, one for each option that varies; none where its condition does not hold. No two
    /// trials have the same values: a draw that repeats an earlier trial is drawn again. So a trial depends on the seed, its
    /// number and the space, and not on how many follow. There are fewer trials if the space has no more.
    pub fn trials(&self, base: &Options, seed: u64, trials: usize) -> Vec<Vec<Option<Value>>> {
        let mut all: Vec<Vec<Option<Value>>> = vec![];
        for trial in 0..trials {
            let mut random = Philox::new(seed, DRAWS | trial as u64);
            let new = (0..ATTEMPTS).map(|_| self.draw(base, &mut random)).find(|values| !all.contains(values));
            match new {
                Some(values) => all.push(values),
                None => break,
            }
        }
        all
    }

    /// Draws every option, so that one's condition does not move the others' numbers.
    fn draw(&self, base: &Options, random: &mut Philox) -> Vec<Option<Value>> {
        let drawn: Vec<Value> = self.varied.iter().map(|v| v.range.draw(random)).collect();
        let active: Vec<bool> = (0..drawn.len()).map(|i| self.holds(i, base, &drawn)).collect();
        drawn.into_iter().zip(active).map(|(value, active)| active.then_some(value)).collect()
    }

    /// Whether option `i` varies in a trial with these draws.
    fn holds(&self, i: usize, base: &Options, drawn: &[Value]) -> bool {
        self.varied[i].when.iter().all(|(key, values)| {
            let found = match self.find(key).filter(|&j| self.holds(j, base, drawn)) {
                Some(j) => drawn[j].clone(),
                None => base.value(key),
            };
            values.iter().any(|v| v.same(&found))
        })
    }

    /// The base options with the values of a trial.
    ///
    /// # Errors
    /// None that [`Space::add_text`] and [`Space::add_toml`] did not return before.
    pub fn options(&self, base: &Options, values: &[Option<Value>]) -> Result<Options> {
        let mut options = base.clone();
        for (varied, value) in self.varied.iter().zip(values) {
            if let Some(value) = value {
                options.set(varied.key, value.clone(), varied.origin.clone())?;
            }
        }
        Ok(options)
    }

    /// `lr=0.001, num_kernels=64`: the values of a trial.
    pub fn describe(&self, values: &[Option<Value>]) -> String {
        let each =
            self.varied.iter().zip(values).filter_map(|(v, value)| Some(format!("{}={}", v.key, value.as_ref()?)));
        each.collect::<Vec<_>>().join(", ")
    }
}

/// The name of a known option.
fn known(key: &str, origin: &Origin) -> Result<&'static str> {
    Options::new().set(key, Value::None, origin.clone())?;
    Ok(keys::find(key).map_or("", |k| k.name))
}

/// A number with few digits.
fn short(x: f64) -> f64 {
    format!("{x:.*e}", DIGITS - 1).parse().expect("a number that was written can be read")
}

/// Pieces between the commas that stand outside of brackets.
fn at_commas(text: &str) -> Vec<&str> {
    let (mut depth, mut from, mut pieces) = (0usize, 0, vec![]);
    for (i, c) in text.char_indices() {
        match c {
            '[' | '(' => depth += 1,
            ']' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                pieces.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[from..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::parse_option_string;

    fn space(items: &[&str]) -> Space {
        let mut space = Space::default();
        items.iter().for_each(|i| space.add_text(i).unwrap());
        space
    }

    fn of_toml(text: &str) -> Result<Space> {
        let mut space = Space::default();
        space.add_toml(text, Path::new("space.toml"))?;
        Ok(space)
    }

    #[test]
    fn text_and_toml_say_the_same() {
        let text = space(&[
            "lr=log:1e-5..1e-2",
            "dropout=range:0..0.5",
            "nfc_layers=int:1..4",
            "num_kernels=log-int:16..512",
            "dilations=[1,2,4],[1,1,1]",
            "kernel_function=GELU,ReLU",
            "pooling_size=None,5",
        ]);
        let toml = of_toml(
            "[search]\nlr = { log = [1e-5, 0.01] }\ndropout = { range = [0, 0.5] }\nnfc_layers = { int = [1, 4] }\n\
             num_kernels = { log-int = [16, 512] }\ndilations = [[1, 2, 4], [1, 1, 1]]\n\
             kernel_function = { choices = ['GELU', 'ReLU'] }\npooling_size = ['None', 5]\n",
        )
        .unwrap();
        let both = |s: &Space| s.varied().iter().map(|v| format!("{}={v}", v.key)).collect::<Vec<_>>();
        assert_eq!(both(&text), both(&toml));
        assert_eq!(both(&text), both(&space(&both(&toml).iter().map(String::as_str).collect::<Vec<_>>())));
        assert!(both(&text).contains(&"dilations=[1, 2, 4],[1, 1, 1]".to_string()), "{:?}", both(&text));
    }

    #[test]
    fn draws_are_in_their_range_and_do_not_depend_on_the_number_of_trials() {
        let space =
            space(&["lr=log:1e-5..1e-2", "dropout=range:0..0.5", "nfc_layers=int:1..4", "l_kernels=log-int:4..64"]);
        let base = Options::new();
        let all = space.trials(&base, 7, 400);
        assert_eq!(all[..50], space.trials(&base, 7, 50)[..]);
        assert_ne!(all[..50], space.trials(&base, 8, 50)[..]);
        let column = |key: &str| -> Vec<f64> {
            let i = space.find(key).unwrap();
            all.iter().map(|t| t[i].as_ref().unwrap().as_f64().unwrap()).collect()
        };
        let share = |x: Vec<f64>, below: f64, low: f64, high: f64| {
            assert!(x.iter().all(|v| (low..=high).contains(v)));
            x.iter().filter(|v| **v < below).count() as f64 / x.len() as f64
        };
        // Half of the draws below the (geometric) mean; 0.1 is four standard errors of 400.
        assert!((share(column("lr"), 10f64.powf(-3.5), 1e-5, 1e-2) - 0.5).abs() < 0.1);
        assert!((share(column("dropout"), 0.25, 0.0, 0.5) - 0.5).abs() < 0.1);
        assert!((share(column("nfc_layers"), 3.0, 1.0, 4.0) - 0.5).abs() < 0.1);
        assert!((share(column("l_kernels"), 16.0, 4.0, 64.0) - 0.5).abs() < 0.1);
        for x in column("lr") {
            assert_eq!(format!("{x:.3e}").parse::<f64>().unwrap(), x);
        }
    }

    #[test]
    fn a_small_space_is_tried_once() {
        let space = space(&["num_kernels=8,16,32", "batch_norm=True,False"]);
        let all = space.trials(&Options::new(), 1, 50);
        assert_eq!(all.len(), 6);
        assert!(all.iter().enumerate().all(|(i, t)| !all[..i].contains(t)));
    }

    #[test]
    fn conditions_follow_other_options() {
        let text = "[search]\nnfc_layers = [0, 1, 2]\nfc_dropout = { range = [0.0, 0.5], when = { nfc_layers = [1, 2] } }\n\
                    fclayer_size = { choices = [8, 16], when = { nfc_layers = 2, batch_norm = true } }\n";
        let space = of_toml(text).unwrap();
        for (base, normed) in [("lr=1", false), ("batch_norm=True", true)] {
            let base = parse_option_string(base).unwrap();
            let all = space.trials(&base, 3, 60);
            let of = |t: &[Option<Value>], key: &str| t[space.find(key).unwrap()].clone();
            for t in &all {
                let layers = of(t, "nfc_layers").unwrap().as_usize().unwrap();
                assert_eq!(of(t, "fc_dropout").is_some(), layers > 0);
                assert_eq!(of(t, "fclayer_size").is_some(), layers == 2 && normed);
            }
            let options = space.options(&base, &all[0]).unwrap();
            assert_eq!(options.get("fc_dropout"), of(&all[0], "fc_dropout").as_ref());
        }
        let message = of_toml(
            "[search]\nlr = { log = [1, 2], when = { dropout = 0 } }\ndropout = { range = [0, 1], when = { lr = 1 } }",
        )
        .unwrap_err()
        .to_string();
        assert!(message.contains("depends on itself"), "{message}");
    }

    #[test]
    fn bad_spaces_are_named() {
        for (item, parts) in [
            ("lr", ["--vary", "key=values", "'lr'"]),
            ("lrr=1,2", ["--vary", "'lrr'", "did you mean"]),
            ("lr=0.1", ["'lr'", "at least two values", "--set"]),
            ("lr=0.1,0.1", ["'lr'", "'0.1'", "twice"]),
            ("lr=log:0..1", ["'lr'", "above 0", "found 0"]),
            ("lr=log:1..0.1", ["'lr'", "smaller end first", "1..0.1"]),
            ("lr=log:0.1", ["'lr'", "two ends", "'0.1'"]),
            ("lr=0.1..1", ["'lr'", "how it is drawn", "log:"]),
            ("lr=logg:0.1..1", ["'lr'", "'logg'", "did you mean 'log'?"]),
            ("lr=range:a..b", ["'lr'", "a number", "'a'"]),
            ("nfc_layers=int:1.5..3", ["'nfc_layers'", "whole numbers", "1.5..3"]),
            ("dilations=[1,2],[1", ["--vary", "'dilations'", "found the end"]),
            ("lr=1,,2", ["--vary", "'lr'", "found nothing"]),
            ("l_seqs=1,2", ["--vary", "l_seqs", "leave it out"]),
        ] {
            let message = Space::default().add_text(item).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{item}: '{part}' is not in: {message}");
            }
        }
        for (text, parts) in [
            ("[search]\nlr = 0.1", ["space.toml", "search.lr", "expected a list"]),
            ("[search]\nlrr = [1, 2]", ["space.toml", "search.lrr", "did you mean"]),
            ("[search]\nlr = { lgo = [1, 2] }", ["search.lr", "'lgo'", "did you mean 'log'?"]),
            ("[search]\nlr = { log = [1, 2, 3] }", ["search.lr", "two ends", "3"]),
            ("[search]\nlr = { log = 3 }", ["search.lr", "a list", "3"]),
            ("[search]\nlr = { log = [1, 2], int = [1, 2] }", ["search.lr", "one of", "int"]),
            ("[search]\nlr = { log = [1, 2], when = 3 }", ["search.lr", "when", "a table"]),
            ("[search]\nlr = { log = [1, 2], when = { x = 3 } }", ["space.toml", "search.x", "unknown"]),
            ("[model]\nlr = [1, 2]", ["space.toml", "model", "[search]"]),
            ("", ["space.toml", "[search]", "expected"]),
            ("[search]\nlr = [1, 2", ["space.toml:2", "array", ""]),
        ] {
            let message = of_toml(text).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "{text}: '{part}' is not in: {message}");
            }
        }
    }
}
