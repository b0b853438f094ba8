//! The correlation files of the reference system, name for name and digit for digit.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::cli::Context;
use crate::cli::output::{Staged, folder_of};
use crate::error::Result;
use crate::stat::{Axis, Metric, Table, scores};

/// Writes `<prefix>_clss_corr_tcl<class>.txt` (a line `track 1-r` for each track) and `<prefix>_pnt_corr_tcl<class>.txt`
/// (a line `sequence 1-r` for each sequence) for every class, and one record of how they were made. Returns their paths.
///
/// # Errors
/// What the table returns; [`crate::Error::Io`].
pub(super) fn write(
    prefix: &Path,
    table: &Table<'_>,
    context: &Context,
    args: &impl Serialize,
) -> Result<Vec<PathBuf>> {
    let named = |suffix: &str| -> OsString {
        let mut name = prefix.file_name().unwrap_or_default().to_os_string();
        name.push(suffix);
        name
    };
    let rows = scores(table, &[Axis::Track, Axis::Sequence], &[Metric::Distance])?;
    let mut staged = Staged::new(folder_of(prefix))?;
    let classes: std::collections::BTreeSet<&str> = rows.iter().map(|s| s.class.as_str()).collect();
    for class in classes {
        for (axis, kind) in [(Axis::Track, "clss"), (Axis::Sequence, "pnt")] {
            let of = rows.iter().filter(|s| s.axis == axis && s.class == class);
            let text: String = of.map(|s| format!("{} {}\n", s.item, number(s.value))).collect();
            let name = named(&format!("_{kind}_corr_tcl{class}.txt"));
            staged.put(Path::new(&name), |path| crate::util::fs::write_bytes(path, text.as_bytes()))?;
        }
    }
    staged.provenance(Path::new(&named("_corr.json")), context, args, Value::Null)?;
    staged.finish()
}

/// A distance of four decimals as NumPy prints it.
fn number(value: f64) -> String {
    if value.is_nan() { "nan".into() } else { format!("{value:?}") }
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_as_numpy_prints_them() {
        let texts = [2.0, 0.0, 0.0001, 1.3674, f64::NAN].map(number);
        assert_eq!(texts, ["2.0", "0.0", "0.0001", "1.3674", "nan"]);
    }
}
