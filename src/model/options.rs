//! Options as the user writes them: `key=value+key=value` strings, TOML tables, `--set`, and the reference's parameter
//! files.
//!
//! [`resolve`] turns them, with what the data say, into a [`ModelSpec`](super::spec::ModelSpec) and a
//! [`TrainSpec`](super::spec::TrainSpec).

pub mod keys;
mod params_file;
mod resolve;
mod value;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use params_file::{ParamsFile, parse_params_file};
pub use resolve::resolve;
pub use value::{Value, python_float};

use crate::error::{Error, Result, hint};
use keys::{COMMAND_KEYS, DATA_KEYS, DERIVED_KEYS, FLAT_KEYS, JOINT_KEYS, KEYS, PROFILE_KEYS, Support, Table};

/// Where an option was written; errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, e.g. `--cnn`.
    Flag(&'static str),
    /// A table of a TOML file.
    Table(Arc<Path>, &'static str),
    /// A line, counted from 1, of a parameter file.
    Line(Arc<Path>, usize),
}

impl Origin {
    /// The error that something is wrong with option `key`, written here.
    pub fn error(&self, key: &str, what: impl std::fmt::Display) -> Error {
        match self {
            Self::Flag(flag) => Error::Usage(format!("{flag}: option '{key}': {what}")),
            Self::Table(path, table) => Error::key(path, format!("{table}.{key}"), what.to_string()),
            Self::Line(path, line) => Error::line(path, *line, format!("option '{key}': {what}")),
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Table(path, table) => write!(f, "{} [{table}]", path.display()),
            Self::Line(path, line) => write!(f, "{}:{line}", path.display()),
        }
    }
}

/// What the data say about a model: `resolve` needs it beside the options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFacts {
    /// What is known of every input.
    pub inputs: Vec<InputFacts>,
    /// Number of tracks of every modality (target file).
    pub tracks: Vec<usize>,
    /// Name of every modality; empty = `0`, `1`, ...
    pub names: Vec<String>,
    /// Bins of every track, where the data are profiles.
    pub bins: Option<usize>,
}

/// What the data and the command line say about one input of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputFacts {
    /// Length in bases.
    pub length: usize,
    /// Whether the first layer reads both strands.
    pub reverse_complement: bool,
}

impl DataFacts {
    /// Name of modality `m`.
    pub fn name(&self, m: usize) -> String {
        self.names.get(m).cloned().unwrap_or_else(|| m.to_string())
    }

    /// One input and modalities without names.
    pub fn single(length: usize, tracks: Vec<usize>, reverse_complement: bool) -> Self {
        Self { inputs: vec![InputFacts { length, reverse_complement }], tracks, names: vec![], bins: None }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    key: &'static str,
    value: Value,
    origin: Origin,
}

/// Options that were given, each once, with the place where they were given. Only known keys get in.
#[derive(Debug, Clone, Default)]
pub struct Options {
    entries: Vec<Entry>,
}

/// Equal when the same keys have the same values, wherever they came from and in whatever order.
impl PartialEq for Options {
    fn eq(&self, other: &Self) -> bool {
        self.entries.len() == other.entries.len() && self.entries.iter().all(|e| other.get(e.key) == Some(&e.value))
    }
}

/// A TOML configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Tables `[model]` and `[train]`.
    pub options: Options,
    /// Table `[data]`: its keys are among [`DATA_KEYS`], its values are not looked at.
    pub data: toml::Table,
}

impl Options {
    /// No options: every default.
    pub fn new() -> Self {
        Self::default()
    }

    /// The value that was given for `key`, if one was.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|e| e.key == key).map(|e| &e.value)
    }

    /// The value that was given for `key`, else its default.
    ///
    /// # Panics
    /// If `key` is not in [`KEYS`].
    pub fn value(&self, key: &str) -> Value {
        self.get(key).cloned().unwrap_or_else(|| default(key))
    }

    /// Keys and values that were given, in the order of first appearance.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.entries.iter().map(|e| (e.key, &e.value))
    }

    /// Gives `key` a value; a value that it had is replaced. Fails for unknown keys, with the nearest name.
    pub fn set(&mut self, key: &str, value: Value, origin: Origin) -> Result<()> {
        let known = keys::find(key).ok_or_else(|| unknown(key, &origin))?;
        match self.entries.iter_mut().find(|e| e.key == known.name) {
            Some(entry) => (entry.value, entry.origin) = (value, origin),
            None => self.entries.push(Entry { key: known.name, value, origin }),
        }
        Ok(())
    }

    /// Gives what `key=value` (as after `--set`) says.
    pub fn set_text(&mut self, item: &str) -> Result<()> {
        self.set_item(item, "--set")
    }

    /// Takes over every option of `other`; what both have, `other` decides.
    pub fn extend(&mut self, other: Options) {
        for entry in other.entries {
            self.entries.retain(|e| e.key != entry.key);
            self.entries.push(entry);
        }
    }

    /// The option `device`, e.g. `cuda:0`, if it was given.
    pub fn device(&self) -> Option<&str> {
        self.get("device").and_then(Value::as_str)
    }

    /// TOML text with tables `[model]` and `[train]` that [`parse_toml`] reads back as the same options.
    pub fn to_toml(&self) -> String {
        let mut tables = [toml::Table::new(), toml::Table::new()];
        for (key, value) in self.iter() {
            let table = keys::find(key).map_or(Table::Model, |k| k.table);
            tables[usize::from(table == Table::Train)].insert(key.into(), to_toml(value));
        }
        let [model, train] = tables;
        let all = toml::Table::from_iter([("model".to_string(), model.into()), ("train".to_string(), train.into())]);
        all.to_string()
    }

    /// The error that option `key` should have been `expected`.
    pub(crate) fn error(&self, key: &str, expected: impl std::fmt::Display) -> Error {
        let what = format!("expected {expected}; found '{}'", self.value(key));
        match self.entries.iter().find(|e| e.key == key) {
            Some(entry) => entry.origin.error(key, what),
            None => Error::Usage(format!(
                "option '{key}': expected {expected}; it was not given (default '{}')",
                self.value(key)
            )),
        }
    }

    /// Fails if an option that this version does not do has another value than its default, or if one that joins inputs is
    /// given for a model of one.
    fn check_support(&self, inputs: usize, profiles: bool) -> Result<()> {
        for Entry { key, value, origin } in &self.entries {
            let changed = || !value.same(&default(key));
            if !profiles && PROFILE_KEYS.contains(key) && changed() {
                let what = "it belongs to base-resolution models, whose targets have an axis of bins";
                return Err(origin.error(key, what));
            }
            if profiles && FLAT_KEYS.contains(key) && changed() {
                return Err(origin.error(key, "a base-resolution model has no such layer; leave it out"));
            }
            if inputs == 1 && JOINT_KEYS.contains(key) {
                let what =
                    "it belongs to models with several inputs; give one sequence file per input, separated by commas";
                return Err(origin.error(key, what));
            }
            let Some(known) = keys::find(key) else { continue };
            let Support::DefaultOnly(instead) = known.support else { continue };
            let default = default(key);
            let off = *value == Value::None && default.as_bool() == Some(false);
            if !off && !value.same(&default) {
                let what = format!("'{key}={value}' in {origin} (only '{key}={}'): {instead}", known.default);
                return Err(Error::Unsupported { op: "option", what });
            }
        }
        Ok(())
    }

    /// The options, with other defaults than the table's for some.
    pub(super) fn with_defaults(&self, defaults: &[(&str, &str)]) -> Self {
        let mut all = Self::new();
        for (key, text) in defaults {
            let value = Value::parse(text).expect("a test reads every default");
            all.set(key, value, Origin::Flag("default")).expect("defaults are of known keys");
        }
        all.extend(self.clone());
        all
    }

    fn remove(&mut self, key: &str) {
        self.entries.retain(|e| e.key != key);
    }

    fn set_item(&mut self, item: &str, flag: &'static str) -> Result<()> {
        let origin = Origin::Flag(flag);
        let Some((key, text)) = item.split_once('=').or_else(|| item.split_once(':')) else {
            return Err(Error::Usage(format!(
                "{flag}: expected key=value, found '{item}'; items are separated by '+', so a value cannot hold one"
            )));
        };
        let key = key.trim();
        if keys::find(key).is_none() {
            return Err(unknown(key, &origin));
        }
        let value = Value::parse(text).map_err(|what| origin.error(key, what))?;
        self.set(key, value, origin)
    }
}

/// Options of the string after `--cnn`: items `key=value` (or `key:value`) between `+`; later items override earlier
/// ones.
pub fn parse_option_string(text: &str) -> Result<Options> {
    let mut options = Options::new();
    for item in text.split('+') {
        options.set_item(item, "--cnn")?;
    }
    Ok(options)
}

/// Reads a TOML configuration with the tables `[model]`, `[train]` and `[data]`. A string is converted like the text in
/// an option string, so `"None"` is none. `path` is only for error texts.
pub fn parse_toml(text: &str, path: &Path) -> Result<Config> {
    let shared: Arc<Path> = PathBuf::from(path).into();
    let tables: toml::Table = toml::from_str(text).map_err(|e| {
        let line = e.span().map_or(1, |s| 1 + text[..s.start.min(text.len())].matches('\n').count());
        Error::line(path, line, e.message())
    })?;
    let mut config = Config { options: Options::new(), data: toml::Table::new() };
    for (name, table) in tables {
        let toml::Value::Table(table) = table else {
            let what = format!("expected the tables [model], [train] and [data]; found a value{}", table_hint(&name));
            return Err(Error::key(path, name, what));
        };
        let (label, wanted) = match name.as_str() {
            "model" => ("model", Table::Model),
            "train" => ("train", Table::Train),
            "data" => {
                if let Some(key) = table.keys().find(|k| !DATA_KEYS.contains(&k.as_str())) {
                    let what = match COMMAND_KEYS.contains(&key.as_str()) {
                        true => "it belongs on the command line".into(),
                        false => format!("unknown key{}", hint(key, DATA_KEYS.iter().copied())),
                    };
                    return Err(Error::key(path, format!("data.{key}"), what));
                }
                config.data = table;
                continue;
            }
            other => {
                let near = hint(other, ["model", "train", "data"]);
                return Err(Error::key(
                    path,
                    other,
                    format!("unknown table; expected [model], [train] or [data]{near}"),
                ));
            }
        };
        let origin = Origin::Table(shared.clone(), label);
        for (key, value) in table {
            if keys::find(&key).is_some_and(|k| k.table != wanted) {
                return Err(origin.error(&key, format!("expected it in another table{}", table_hint(&key))));
            }
            let value = from_toml(value).map_err(|what| origin.error(&key, what))?;
            config.options.set(&key, value, origin.clone())?;
        }
    }
    Ok(config)
}

/// Default of a known key.
fn default(key: &str) -> Value {
    let key = keys::find(key).unwrap_or_else(|| panic!("'{key}' is not in the table of options"));
    Value::parse(key.default).expect("a test reads every default")
}

fn unknown(key: &str, origin: &Origin) -> Error {
    let what = if DERIVED_KEYS.contains(&key) {
        "it follows from the data and the command line; leave it out".into()
    } else {
        format!("unknown option{}", hint(key, KEYS.iter().map(|k| k.name).chain(DERIVED_KEYS.iter().copied())))
    };
    origin.error(key, what)
}

fn table_hint(key: &str) -> String {
    match keys::find(key).map(|k| k.table) {
        Some(Table::Model) => format!(" ('{key}' belongs to [model])"),
        Some(Table::Train) => format!(" ('{key}' belongs to [train])"),
        None if DATA_KEYS.contains(&key) => format!(" ('{key}' belongs to [data])"),
        None => String::new(),
    }
}

/// The value that a TOML value stands for; a string is read like text in an option string.
pub(crate) fn from_toml(value: toml::Value) -> std::result::Result<Value, String> {
    Ok(match value {
        toml::Value::String(text) => Value::parse(&text)?,
        toml::Value::Integer(i) => Value::Int(i),
        toml::Value::Float(x) => Value::Float(x),
        toml::Value::Boolean(b) => Value::Bool(b),
        toml::Value::Array(items) => Value::List(
            items
                .into_iter()
                .map(|item| match item {
                    toml::Value::String(text) => Ok(Value::Str(text)),
                    other => from_toml(other),
                })
                .collect::<std::result::Result<_, _>>()?,
        ),
        toml::Value::Datetime(_) | toml::Value::Table(_) => {
            return Err(format!("expected a string, number, boolean or array; found a {}", value.type_str()));
        }
    })
}

fn to_toml(value: &Value) -> toml::Value {
    match value {
        Value::Bool(b) => toml::Value::Boolean(*b),
        Value::Int(i) => toml::Value::Integer(*i),
        Value::Float(x) => toml::Value::Float(*x),
        Value::List(items) => toml::Value::Array(items.iter().map(to_toml).collect()),
        Value::None | Value::Str(_) | Value::Tuple(_) => toml::Value::String(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse_option_string(text).unwrap_err().to_string()
    }

    #[test]
    fn later_items_override_and_colons_separate() {
        let options = parse_option_string("lr=0.1+num_kernels:8+device=cuda:0+lr=1e-05").unwrap();
        assert_eq!(options.get("lr"), Some(&Value::Float(1e-5)));
        assert_eq!(options.get("num_kernels"), Some(&Value::Int(8)));
        assert_eq!(options.device(), Some("cuda:0"));
        assert_eq!(options.iter().map(|(k, _)| k).collect::<Vec<_>>(), ["lr", "num_kernels", "device"]);
        assert_eq!(options.value("l_kernels"), Value::Int(7));
    }

    #[test]
    fn errors_name_the_key_and_the_remedy() {
        for (text, parts) in [
            ("pooling_szie=4", ["--cnn", "pooling_szie", "did you mean 'pooling_size'?"]),
            ("warm_up=False", ["--cnn", "'warm_up'", "unknown option"]),
            ("lr=0.1+GELU", ["--cnn", "key=value", "'GELU'"]),
            ("lr=1e+5", ["--cnn", "'5'", "'+'"]),
            ("lr=", ["--cnn", "'lr'", "found nothing"]),
            ("dilations=[1,2", ["--cnn", "'dilations'", "found the end"]),
            ("l_seqs=100", ["l_seqs", "leave it out", "--cnn"]),
        ] {
            let message = message(text);
            for part in parts {
                assert!(message.contains(part), "{text}: '{part}' is not in: {message}");
            }
        }
    }

    #[test]
    fn unsupported_options_pass_with_their_default() {
        let check = |text: &str| parse_option_string(text).unwrap().check_support(2, false);
        for key in KEYS {
            assert!(check(&format!("{}={}", key.name, key.default)).is_ok(), "{}", key.name);
        }
        assert!(check("l1reg_last=0.0+smooth_onehot=False+n_transformer=None").is_ok());
        for (text, part) in [
            ("n_transformer=2", "'n_transformer=2' in --cnn (only 'n_transformer=0'): use n_attention"),
            ("gapped_convs=[[3,4,8,1]]", "'gapped_convs=[[3, 4, 8, 1]]' in --cnn (only 'gapped_convs=None')"),
            ("finalweighted_pooling=None", "finalweighted_pooling"),
        ] {
            let message = check(text).unwrap_err().to_string();
            assert!(message.contains("not supported") && message.contains(part), "{message}");
        }
        let toml = parse_toml("[model]\nn_hyenaconv = 1", Path::new("m.toml")).unwrap();
        let message = toml.options.check_support(1, false).unwrap_err().to_string();
        assert!(message.contains("'n_hyenaconv=1' in m.toml [model]"), "{message}");
        let refused = |text: &str, profiles| {
            parse_option_string(text).unwrap().check_support(1, profiles).unwrap_err().to_string()
        };
        let message = refused("final_kernel=5", false);
        assert!(message.contains("'final_kernel': it belongs to base-resolution models"), "{message}");
        let message = refused("fclayer_size=8", true);
        assert!(message.contains("'fclayer_size': a base-resolution model has no such layer"), "{message}");
        let message =
            parse_option_string("combine_function=Linear").unwrap().check_support(1, false).unwrap_err().to_string();
        assert!(message.contains("'combine_function': it belongs to models with several inputs"), "{message}");
    }

    #[test]
    fn toml_round_trip() {
        let mut options = parse_option_string(
            "loss_function=MSE+validation_loss=['Correlationdata',None]+dilations=[1,2,4]+lr=1e-05+batchsize=8\
             +optim_params=(0.9,0.999)+pooling_size=None+max_pooling=False+outclass=Linear",
        )
        .unwrap();
        let path = Path::new("model.toml");
        let text = options.to_toml();
        assert_eq!(parse_toml(&text, path).unwrap().options, options, "{text}");
        options.set_text("lr=0.5").unwrap();
        assert_eq!(options.get("lr"), Some(&Value::Float(0.5)));
        assert_ne!(parse_toml(&text, path).unwrap().options, options);
    }

    #[test]
    fn toml_tables_and_errors() {
        let path = Path::new("model.toml");
        let config = parse_toml("[model]\nnum_kernels = 8\n[data]\nseq_column = 'seq'\n", path).unwrap();
        assert_eq!(config.options.get("num_kernels"), Some(&Value::Int(8)));
        assert!(config.data.contains_key("seq_column"));
        for (text, parts) in [
            ("[model]\nlr = 0.1", ["model.toml", "model.lr", "[train]"]),
            ("[model]\nnum_kernel = 3", ["model.toml", "model.num_kernel", "did you mean 'num_kernels'?"]),
            ("[data]\nseq_colum = 'x'", ["model.toml", "data.seq_colum", "did you mean 'seq_column'?"]),
            ("[data]\nsequences = 'x'", ["model.toml", "data.sequences", "on the command line"]),
            ("[trian]\nlr = 1", ["model.toml", "trian", "did you mean 'train'?"]),
            ("lr = 1", ["model.toml", "'lr'", "[train]"]),
            ("[train]\nlr = 1\nlr = 2", ["model.toml:3", "duplicate", "key"]),
            ("[train]\nlr = 2020-01-01", ["model.toml", "train.lr", "datetime"]),
        ] {
            let message = parse_toml(text, path).unwrap_err().to_string();
            for part in parts {
                assert!(message.contains(part), "'{part}' is not in: {message}");
            }
        }
    }

    #[test]
    fn extend_overrides() {
        let mut a = parse_option_string("lr=1+epochs=3").unwrap();
        a.extend(parse_option_string("lr=2").unwrap());
        assert_eq!((a.value("lr"), a.value("epochs")), (Value::Int(2), Value::Int(3)));
    }
}
