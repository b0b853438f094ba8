//! What a search was started with: with anything else it cannot go on.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Kind, Search};
use crate::engine::train::DataIdentity;
use crate::error::{Error, Result};
use crate::util::fs::write_bytes;

/// File in the folder of a search.
pub(super) const FILE: &str = "plan.json";
const TRIALS: &str = "--trials";

/// Flags and options with their values, and hashes of the data.
fn of(search: &Search) -> Map<String, Value> {
    let args = search.args;
    let split = &search.prepared.split;
    let data = DataIdentity::of(&search.prepared.dataset, &split.train, &split.validation);
    let mut all = Map::new();
    let mut put = |key: &str, value: Value| all.insert(key.to_string(), value);
    put("--method", json!(args.method));
    put("--eta", json!(args.eta));
    put("--min-epochs", json!(args.min_epochs));
    put("--seed", json!(args.seed));
    put("--precision", json!(search.computing.precision.name()));
    put("start", json!(args.start.words()));
    put(TRIALS, json!(args.trials));
    for varied in search.space.varied() {
        put(&format!("--vary {}", varied.key), json!(varied.to_string()));
    }
    for (key, value) in search.base.iter() {
        put(&format!("option {key}"), json!(value.to_string()));
    }
    put("the sequences", json!(data.sequences));
    put("the targets", json!(data.targets));
    put("the training and validation sets", json!(data.sets));
    all
}

/// Writes the record.
pub(super) fn write(path: &Path, search: &Search) -> Result<()> {
    write_bytes(path, format!("{:#}\n", Value::Object(of(search))).as_bytes())
}

/// Compares a record with this search.
///
/// # Errors
/// [`Error::Usage`] naming what differs; [`Error::Parse`]; [`Error::Io`].
pub(super) fn check(path: &Path, search: &Search) -> Result<()> {
    let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let then: Map<String, Value> =
        serde_json::from_str(&text).map_err(|e| Error::file(path, format!("expected the record of a search: {e}")))?;
    let now = of(search);
    let keys = then.keys().chain(now.keys().filter(|k| !then.contains_key(*k)));
    for key in keys {
        // The trials of a random search do not depend on how many there are.
        if key == TRIALS && search.args.method == Kind::Random {
            continue;
        }
        let (a, b) = (then.get(key), now.get(key));
        if a == b {
            continue;
        }
        let shown = |v: Option<&Value>| match v {
            None | Some(Value::Null) => "not given".to_string(),
            Some(Value::String(s)) => s.clone(),
            Some(other) => other.to_string(),
        };
        let what = match key.starts_with("the ") {
            true => format!("{key} are others"),
            false => format!("'{key}' was {} and is now {}", shown(a), shown(b)),
        };
        return Err(Error::Usage(format!(
            "cannot resume the search of {}: {what}; use what it was started with, or another folder",
            search.args.out.display()
        )));
    }
    Ok(())
}
