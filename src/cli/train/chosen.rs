//! Options of a model and its training, as flags of every verb that trains.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::options::{self, Options, Origin, parse_option_string, parse_params_file, parse_toml};

/// Flags that choose options, the later ones deciding.
#[derive(Debug, clap::Args, Serialize)]
pub(in crate::cli) struct Chosen {
    /// Configuration with the tables [model], [train] and [data]
    #[arg(long, value_name = "TOML")]
    pub(in crate::cli) config: Option<PathBuf>,
    /// Options as key=value+key=value, or a reference parameter file (_model_params.dat)
    #[arg(long, value_name = "OPTIONS")]
    cnn: Option<String>,
    /// One option; can be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Tensors with such names keep their numbers, as convolutions.* (* = any text); batch norms among them keep, and use, their
    /// running statistics; can be given several times
    #[arg(long, value_name = "PATTERN")]
    freeze: Vec<String>,
    /// Learning rate of tensors with such names, 0 = frozen; can be given several times, the later ones deciding
    #[arg(long, alias = "lr_of", value_name = "PATTERN=RATE")]
    lr_of: Vec<String>,
}

impl Chosen {
    /// The options, and the table `[data]` of the configuration.
    ///
    /// # Errors
    /// What the readers return.
    pub(in crate::cli) fn read(&self) -> Result<(Options, toml::Table)> {
        let mut options = Options::new();
        let mut table = toml::Table::new();
        if let Some(path) = &self.config {
            let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            let config = parse_toml(&text, path)?;
            options.extend(config.options);
            table = config.data;
        }
        if let Some(text) = &self.cnn {
            let path = Path::new(text);
            if path.extension().is_some_and(|e| e == "dat") || path.is_file() {
                let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
                options.extend(parse_params_file(&text, path)?.options);
            } else {
                options.extend(parse_option_string(text)?);
            }
        }
        for item in &self.set {
            options.set_text(item)?;
        }
        for (key, flag, patterns) in [("freeze", "--freeze", &self.freeze), ("lr_of", "--lr-of", &self.lr_of)] {
            if !patterns.is_empty() {
                let list = patterns.iter().cloned().map(options::Value::Str).collect();
                options.set(key, options::Value::List(list), Origin::Flag(flag))?;
            }
        }
        Ok((options, table))
    }
}
