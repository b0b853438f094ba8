//! Reads tables of scores, as `drg eval score`, `drg eval merge` and `drg train` write them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::talk::Talk;
use crate::error::{Error, Result, hint};
use crate::io::table::Table;
use crate::io::text::parse_number;
use crate::stat;

/// Tables of scores, and how their models are called.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Files {
    /// Tables of scores: columns model, class, axis, item, metric, value, n
    #[arg(value_name = "TSV", required = true)]
    tables: Vec<PathBuf>,
    /// Name of the model of each table, or what stands before the names of its models where it has several; tables of one
    /// name are taken together [default: the names in the tables, or of the files where tables would overlap]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    names: Vec<String>,
}

/// What one score is of: class, axis, item, metric, and fold where tables are taken as folds.
pub(super) type Key<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str);

/// A line of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub class: String,
    pub axis: String,
    pub item: String,
    pub metric: String,
    /// NaN is missing.
    pub value: f64,
    /// How many values it was made of.
    pub n: u64,
    /// The fold that it is of, where tables are taken as folds; else empty.
    pub fold: String,
}

/// The scores of one model in one file; no two are of the same.
#[derive(Debug)]
pub(super) struct Scores {
    /// Name of the model.
    pub model: String,
    /// What messages call it: the file, and the model where the file has several.
    pub label: String,
    /// What the model is called where its name does not tell it from another.
    stem: String,
    pub rows: Vec<Row>,
}

/// Values of the same score in several tables, of folds or of models.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spread {
    /// How many tables have it.
    pub tables: usize,
    pub mean: f64,
    /// Standard deviation; NaN of fewer than two.
    pub sd: f64,
    /// Confidence interval of the mean, [`LEVEL`]; NaN of fewer than two.
    pub interval: (f64, f64),
}

/// Probability that an interval holds.
pub(super) const LEVEL: f64 = 0.95;

impl Spread {
    /// Of these values; NaN is missing.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
        Self {
            tables: values.len(),
            mean: stat::mean(&values),
            sd: stat::sd(&values),
            interval: stat::t_interval(&values, LEVEL),
        }
    }
}

impl Row {
    pub(super) fn key(&self) -> Key<'_> {
        (&self.class, &self.axis, &self.item, &self.metric, &self.fold)
    }

    /// In words.
    pub(super) fn words(&self) -> String {
        format!("{} '{}' (class {}, {})", self.axis, self.item, self.class, self.metric)
    }
}

impl Files {
    /// Scores of every model of every file, in the order in which they come.
    ///
    /// # Errors
    /// [`Error::Usage`] for another number of names than of files; [`Error::Parse`] for a column that is missing, a cell that
    /// is no number, or two scores of the same in one file.
    pub(super) fn read(&self) -> Result<Vec<Scores>> {
        let (files, names) = (self.tables.len(), self.names.len());
        if names != 0 && names != files {
            return Err(Error::Usage(format!("names: expected {files}, one a table; found {names}")));
        }
        let mut all = Vec::new();
        for (i, path) in self.tables.iter().enumerate() {
            let mut models = read(path)?;
            let several = models.len() > 1;
            for scores in &mut models {
                let behind = |name: &str| if several { format!("{name}:{}", scores.model) } else { name.to_string() };
                let label = behind(&path.display().to_string());
                scores.stem = behind(&stem(path));
                scores.model = self.names.get(i).map_or_else(|| scores.model.clone(), |name| behind(name));
                scores.label = label;
            }
            all.append(&mut models);
        }
        Ok(all)
    }

    /// As [`Files::read`], without what `drg train` writes of all folds together, which a wide pattern of file names finds, too.
    ///
    /// # Errors
    /// What [`Files::read`] returns.
    pub(super) fn read_folds(&self, talk: Talk) -> Result<Vec<Scores>> {
        let mut all = self.read()?;
        let bases: HashSet<String> = all.iter().filter_map(|s| split_fold(&s.model)).map(|(base, _)| base).collect();
        all.retain(|scores| {
            let pooled = all_of(&scores.model).iter().any(|base| bases.contains(base));
            if pooled {
                talk.say(format_args!("{} is of all folds together and left out", scores.label));
            }
            !pooled
        });
        Ok(all)
    }

    /// As [`Files::read`], and models of the same name have no score twice: where they would, and were not named by the
    /// user, all are called by their files.
    ///
    /// # Errors
    /// Also [`Error::Usage`] if neither tells them apart.
    pub(super) fn read_apart(&self, talk: Talk) -> Result<Vec<Scores>> {
        let mut all = self.read()?;
        let Some(both) = overlap(&all) else { return Ok(all) };
        if self.names.is_empty() {
            for scores in &mut all {
                scores.model = scores.stem.clone();
            }
            if overlap(&all).is_none() {
                talk.say("models are called by their files, as tables of one name have scores of the same items");
                return Ok(all);
            }
        }
        Err(Error::Usage(format!("{both}; tell them apart with --names A,B,...")))
    }

    /// Models in the order in which they come, with the rows of all their folds: of tables of models NAME_fold0, NAME_fold1, ..
    /// (or -cvK-0 as in DRG's names), or of one name given by the user, whose folds are then in the names of the files or, where
    /// these say nothing, in their order.
    ///
    /// # Errors
    /// What [`Files::read`] returns; [`Error::Usage`] for a model with one fold, and for two tables of the same fold.
    pub(super) fn folds(&self, talk: Talk) -> Result<Vec<(String, Vec<Row>)>> {
        let mut models: Vec<(String, Vec<(String, Scores)>)> = Vec::new();
        for scores in self.read_folds(talk)? {
            let (model, fold) = match (split_fold(&scores.model), split_fold(&scores.stem)) {
                (Some((model, fold)), _) => (model, Some(fold)),
                (None, Some((_, fold))) => (scores.model.clone(), Some(fold)),
                (None, None) => (scores.model.clone(), None),
            };
            let at = models.iter().position(|(name, _)| *name == model).unwrap_or_else(|| {
                models.push((model, vec![]));
                models.len() - 1
            });
            let folds = &mut models[at].1;
            let fold = fold.unwrap_or_else(|| folds.len().to_string());
            if let Some((_, other)) = folds.iter().find(|(f, _)| *f == fold) {
                return Err(Error::Usage(format!(
                    "{} and {} are both fold {fold} of one model; tell models apart with --names A,A,..,B,B,..",
                    other.label, scores.label
                )));
            }
            folds.push((fold, scores));
        }
        if let Some((name, folds)) = models.iter().find(|(_, folds)| folds.len() < 2) {
            return Err(one_fold(name, &folds[0].1.label));
        }
        let rows =
            |(fold, scores): (String, Scores)| scores.rows.into_iter().map(move |r| Row { fold: fold.clone(), ..r });
        Ok(models.into_iter().map(|(name, folds)| (name, folds.into_iter().flat_map(rows).collect())).collect())
    }

    /// Models in the order in which they come, with the rows of all their tables; see [`Files::read_apart`].
    ///
    /// # Errors
    /// What [`Files::read_apart`] returns.
    pub(super) fn models(&self, talk: Talk) -> Result<Vec<(String, Vec<Row>)>> {
        let mut models: Vec<(String, Vec<Row>)> = Vec::new();
        for scores in self.read_apart(talk)? {
            match models.iter_mut().find(|(name, _)| *name == scores.model) {
                Some((_, rows)) => rows.extend(scores.rows),
                None => models.push((scores.model, scores.rows)),
            }
        }
        Ok(models)
    }
}

/// Keeps the rows of one axis and one metric.
///
/// # Errors
/// [`Error::Usage`] with the words that the tables have, if there is no such row.
pub(super) fn choose(models: &mut [(String, Vec<Row>)], axis: &str, metric: &str) -> Result<()> {
    let words = |models: &[(String, Vec<Row>)], of: fn(&Row) -> &String| -> Vec<String> {
        let mut seen = Vec::new();
        for word in models.iter().flat_map(|(_, rows)| rows).map(of) {
            if !seen.contains(word) {
                seen.push(word.clone());
            }
        }
        seen
    };
    let (axes, metrics) = (words(models, |r| &r.axis), words(models, |r| &r.metric));
    for (name, word, there) in [("axis", axis, axes), ("metric", metric, metrics)] {
        if !there.iter().any(|w| w == word) {
            let near = hint(word, there.iter().map(String::as_str));
            let there = there.join(", ");
            return Err(Error::Usage(format!("no scores of {name} '{word}'{near}; the tables have: {there}")));
        }
    }
    models.iter_mut().for_each(|(_, rows)| rows.retain(|r| r.axis == axis && r.metric == metric));
    if models.iter().all(|(_, rows)| rows.is_empty()) {
        return Err(Error::Usage(format!("no table has scores of axis '{axis}' and metric '{metric}' together")));
    }
    Ok(())
}

/// Which two tables of one model have a score of the same, in words.
fn overlap(all: &[Scores]) -> Option<String> {
    for (i, later) in all.iter().enumerate().skip(1) {
        let keys: HashSet<Key> = later.rows.iter().map(Row::key).collect();
        for earlier in all[..i].iter().filter(|s| s.model == later.model) {
            if let Some(row) = earlier.rows.iter().find(|r| keys.contains(&r.key())) {
                return Some(format!("{} and {} both have {}", earlier.label, later.label, row.words()));
            }
        }
    }
    None
}

/// What is wrong with a model that has one table where tables are folds.
pub(super) fn one_fold(model: &str, label: &str) -> Error {
    Error::Usage(format!(
        "model '{model}' has one fold, {label}; folds are tables NAME_fold0_scores.tsv, NAME_fold1_scores.tsv, .. or those of one \
         name in --names A,A,..,B,B,.."
    ))
}

/// What `drg train` calls all folds together: `m_all` those of `m`, `m-cv10-all_k8_all` those of `m-cv10_k8`. Without the
/// ending, as [`split_fold`] may have it; none for other names.
pub(super) fn all_of(name: &str) -> Vec<String> {
    let Some(base) = name.strip_suffix("_all") else { return vec![] };
    let mut bases = vec![base.to_string()];
    if let Some((front, back)) = base.split_once("-all").filter(|(_, back)| back.is_empty() || back.starts_with('_')) {
        bases.push(format!("{front}{back}"));
    }
    bases
}

/// Name of a model and number of its fold: `m` and 3 of `m_fold3`, `m-cv10_k8` and 3 of `m-cv10-3_k8`.
pub(super) fn split_fold(name: &str) -> Option<(String, String)> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if let Some((base, fold)) = name.rsplit_once("_fold").filter(|(_, fold)| number(fold)) {
        return Some((base.into(), fold.into()));
    }
    for (at, _) in name.match_indices("-cv") {
        let (count, rest) = name[at + 3..].split_once('-')?;
        let end = rest.find('_').unwrap_or(rest.len());
        if number(count.strip_prefix("hash").unwrap_or(count)) && number(&rest[..end]) {
            return Some((format!("{}-cv{count}{}", &name[..at], &rest[end..]), rest[..end].into()));
        }
    }
    None
}

/// Name of the file without its ending and what all such files are called.
fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_suffix("_scores").unwrap_or(&stem).to_string()
}

fn read(path: &Path) -> Result<Vec<Scores>> {
    let table = Table::read(path, Some('\t'))?;
    let column = |name: &str| {
        let found = table.column(name)?;
        Ok(table.cells(found).collect::<Vec<&str>>())
    };
    let [models, classes, axes, items, metrics] =
        [column("model")?, column("class")?, column("axis")?, column("item")?, column("metric")?];
    let (values, ns) = (column("value")?, column("n")?);
    let mut all: Vec<Scores> = Vec::new();
    let mut seen = HashSet::new();
    for (i, line) in table.lines().enumerate() {
        let key = (models[i], classes[i], axes[i], items[i], metrics[i]);
        let row = Row {
            fold: String::new(),
            class: key.1.into(),
            axis: key.2.into(),
            item: key.3.into(),
            metric: key.4.into(),
            value: parse_number(values[i]).ok_or_else(|| {
                Error::cell(path, line, "value", format!("expected a number or NaN, found '{}'", values[i]))
            })?,
            n: ns[i].parse().map_err(|_| {
                Error::cell(path, line, "n", format!("expected a whole number, 0 or more, found '{}'", ns[i]))
            })?,
        };
        if !seen.insert(key) {
            return Err(Error::line(path, line, format!("model '{}' has {} twice", key.0, row.words())));
        }
        match all.iter_mut().find(|s| s.model == key.0) {
            Some(scores) => scores.rows.push(row),
            None => {
                let (model, none) = (key.0.to_string(), String::new());
                all.push(Scores { model, label: none.clone(), stem: none, rows: vec![row] });
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "model\tclass\taxis\titem\tmetric\tvalue\tn\n";

    /// Files of these names and rows (model and item) in a folder.
    fn files(tables: &[(&str, &[(&str, &str)])], names: &[&str]) -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let write = |(name, rows): &(&str, &[(&str, &str)])| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let rows: String =
                rows.iter().map(|(model, item)| format!("{model}\tA\ttrack\t{item}\tr\t0.5\t9\n")).collect();
            std::fs::write(&path, format!("{HEADER}{rows}")).unwrap();
            path
        };
        let tables = tables.iter().map(write).collect();
        (folder, Files { tables, names: names.iter().map(|n| n.to_string()).collect() })
    }

    fn names(files: &Files) -> Vec<String> {
        files.models(Talk::Quiet).unwrap().into_iter().map(|(name, rows)| format!("{name} {}", rows.len())).collect()
    }

    #[test]
    fn models_have_names() {
        let (a, b): (&[_], &[_]) = (&[("m", "x"), ("m", "y")], &[("m", "x"), ("k", "x")]);
        let of = |tables: &[(&str, &[(&str, &str)])], given: &[&str]| names(&files(tables, given).1);
        assert_eq!(of(&[("a.tsv", a)], &[]), ["m 2"]);
        assert_eq!(of(&[("a.tsv", a)], &["n"]), ["n 2"]);
        assert_eq!(of(&[("a.tsv", a), ("b.tsv", b)], &["n", "o"]), ["n 2", "o:m 1", "o:k 1"]);
        assert_eq!(of(&[("a_scores.tsv", a), ("b.tsv", b)], &[]), ["a 2", "b:m 1", "b:k 1"]);
        // Folds have their own items and are one model.
        assert_eq!(of(&[("a.tsv", a), ("b.tsv", &[("m", "z")])], &[]), ["m 3"]);
        assert_eq!(of(&[("a.tsv", a), ("b.tsv", &[("k", "z")])], &["n", "n"]), ["n 3"]);
        for given in [&[][..], &["n", "n"]] {
            let (_folder, files) = files(&[("1/a.tsv", a), ("2/a.tsv", a)], given);
            let text = files.models(Talk::Quiet).unwrap_err().to_string();
            assert!(text.contains("both have track 'x' (class A, r); tell them apart with --names"), "{text}");
        }
        let (_folder, files) = files(&[("a.tsv", a)], &["n", "o"]);
        assert!(files.read().unwrap_err().to_string().contains("names: expected 1, one a table; found 2"));
    }

    #[test]
    fn folds_are_in_the_names() {
        let split = |name: &str| split_fold(name).map(|(base, fold)| format!("{base} {fold}"));
        assert_eq!(split("m_fold12").as_deref(), Some("m 12"));
        assert_eq!(split("a:m_fold0").as_deref(), Some("a:m 0"));
        assert_eq!(split("x-cv10-3_MSEk8").as_deref(), Some("x-cv10_MSEk8 3"));
        assert_eq!(split("x-cv0-3").as_deref(), Some("x-cv0 3"));
        assert_eq!(split("x-cvhash4-3_k8").as_deref(), Some("x-cvhash4_k8 3"));
        assert_eq!(all_of("m_all"), ["m"]);
        assert_eq!(all_of("x-cv7-all_k8_all"), ["x-cv7-all_k8", "x-cv7_k8"]);
        assert_eq!(all_of("x-cvhash7-all_all"), ["x-cvhash7-all", "x-cvhash7"]);
        assert!(["m", "m-all", "m_fold1", "all"].iter().all(|name| all_of(name).is_empty()));
        for plain in ["m", "m_all", "m_fold", "m_fold1b", "-cv", "x-cv10", "x-cvx-3"] {
            assert_eq!(split(plain), None, "{plain}");
        }
        let row: &[_] = &[("m", "x")];
        let of = |names: &[&str], given: &[&str]| {
            let tables: Vec<(&str, &[(&str, &str)])> = names.iter().map(|n| (*n, row)).collect();
            let (_folder, files) = files(&tables, given);
            files.folds(Talk::Quiet).map(|models| {
                let folds = |rows: &[Row]| rows.iter().map(|r| r.fold.clone()).collect::<Vec<_>>().join(",");
                models.iter().map(|(name, rows)| format!("{name} {}", folds(rows))).collect::<Vec<_>>()
            })
        };
        let text = |r: Result<Vec<String>>| r.unwrap_err().to_string();
        assert_eq!(of(&["a.tsv", "b.tsv", "c.tsv", "d.tsv"], &["A", "B", "A", "B"]).unwrap(), ["A 0,1", "B 0,1"]);
        assert_eq!(of(&["a_fold7_scores.tsv", "b_fold2.tsv"], &["A", "A"]).unwrap(), ["A 7,2"]);
        assert!(text(of(&["a_fold7.tsv", "b_fold7.tsv"], &["A", "A"])).contains("are both fold 7 of one model"));
        assert!(text(of(&["a.tsv", "b.tsv"], &["A", "B"])).contains("model 'A' has one fold, "));
    }

    #[test]
    fn bad_tables_are_refused_with_their_place() {
        let of = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.tsv");
            std::fs::write(&path, text).unwrap();
            Files { tables: vec![path], names: vec![] }.read().unwrap_err().to_string()
        };
        let row = "m\tA\ttrack\tx\tr\t0.5\t9\n";
        assert!(
            of("model\tclass\taxis\titem\tmetric\tvalues\tn\nm\tA\ttrack\tx\tr\t0.5\t9\n")
                .contains("no column 'value'")
        );
        assert!(
            of(&format!("{HEADER}m\tA\ttrack\tx\tr\tgood\t9\n")).contains("expected a number or NaN, found 'good'")
        );
        assert!(of(&format!("{HEADER}m\tA\ttrack\tx\tr\t0.5\t-1\n")).contains("found '-1'"));
        assert!(of(&format!("{HEADER}{row}{row}")).contains("model 'm' has track 'x' (class A, r) twice"));
        assert!(of(HEADER).contains("no rows"));
    }

    #[test]
    fn unknown_words_are_answered_with_the_known_ones() {
        let (_folder, files) = files(&[("a.tsv", &[("m", "x")])], &[]);
        let mut models = files.models(Talk::Quiet).unwrap();
        let text = choose(&mut models, "trak", "r").unwrap_err().to_string();
        assert!(text.contains("no scores of axis 'trak'") && text.contains("did you mean 'track'"), "{text}");
        assert!(choose(&mut models, "track", "mse").unwrap_err().to_string().contains("the tables have: r"));
        choose(&mut models, "track", "r").unwrap();
        assert_eq!(models[0].1.len(), 1);
    }
}
