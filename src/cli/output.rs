//! Files of a verb: written aside, moved to their names together when all are there.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::Context;
use crate::error::{Error, Result};
use crate::util::{fs, par, simd};

/// Checks that a file can be made at `out`, before any work is done for it.
///
/// # Errors
/// [`Error::Usage`] naming the folder that is missing, or if there is a folder of that name.
pub(super) fn check_file(out: &Path) -> Result<()> {
    if out.is_dir() {
        return Err(Error::Usage(format!("{} is a folder; name a file in it", out.display())));
    }
    check_parent(out)
}

/// Checks that there is a folder `out` or that it can be made.
///
/// # Errors
/// [`Error::Usage`] naming the parent that is missing, or if there is a file of that name.
pub(super) fn check_folder(out: &Path) -> Result<()> {
    if out.is_dir() {
        return Ok(());
    }
    if out.exists() {
        return Err(Error::Usage(format!("{} is a file; -o names a folder here", out.display())));
    }
    check_parent(out)
}

fn check_parent(out: &Path) -> Result<()> {
    let parent = folder_of(out);
    if parent.is_dir() && out.file_name().is_some() {
        return Ok(());
    }
    let (out, parent) = (out.display(), parent.display());
    Err(Error::Usage(format!("cannot write {out}: there is no folder {parent}; make it first (mkdir -p {parent})")))
}

/// Folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes one file and `<file>.json` beside it.
///
/// # Errors
/// What `write` returns; [`Error::Io`]. Neither file is there then.
pub(super) fn write_file(
    out: &Path,
    context: &Context,
    options: &impl Serialize,
    write: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    check_file(out)?;
    let mut staged = Staged::new(folder_of(out))?;
    let name = out.file_name().map(Path::new).unwrap_or(out);
    staged.put(name, write)?;
    staged.provenance(&beside(name), context, options, Value::Null)?;
    staged.finish()?;
    Ok(())
}

/// Writes `<out>.json` beside a folder that is there.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn record(out: &Path, context: &Context, options: &impl Serialize) -> Result<()> {
    let mut staged = Staged::new(folder_of(out))?;
    let name = out.file_name().map(Path::new).unwrap_or(out);
    staged.provenance(&beside(name), context, options, Value::Null)?;
    staged.finish().map(drop)
}

/// `dir/model_loss.txt` for `dir/model.drg`.
pub(super) fn suffixed(model: &Path, suffix: &str) -> PathBuf {
    let stem = model.file_stem().unwrap_or_default().to_string_lossy();
    model.with_file_name(format!("{stem}{suffix}"))
}

/// `<file>.json`.
pub(super) fn beside(name: &Path) -> PathBuf {
    let mut json = name.as_os_str().to_os_string();
    json.push(".json");
    json.into()
}

/// Files for one folder that are written into a hidden folder first. Unless [`Staged::finish`] is reached, none of them
/// appears.
#[derive(Debug)]
pub(super) struct Staged {
    folder: PathBuf,
    aside: tempfile::TempDir,
    names: Vec<PathBuf>,
}

impl Staged {
    /// Files for `folder`, which is made at the end if it is not there; its parent must be.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder, or its parent, cannot be written.
    pub(super) fn new(folder: &Path) -> Result<Self> {
        // Beside the final names, so that the moves stay on one file system.
        let host = if folder.is_dir() { folder } else { folder_of(folder) };
        let made = tempfile::Builder::new().prefix(".drg-").tempdir_in(host);
        let aside = made.map_err(Error::io("create a file in", host))?;
        Ok(Self { folder: folder.into(), aside, names: Vec::new() })
    }

    /// Adds the file `name`, which `write` makes at the path that it is given; errors speak of the final path.
    ///
    /// # Errors
    /// What `write` returns.
    pub(super) fn put(&mut self, name: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let (path, last) = (self.aside.path().join(name), self.folder.join(name));
        write(&path).map_err(|e| match e {
            Error::Io { action, path: at, source } if at == path || at == self.aside.path() => {
                Error::Io { action, path: last, source }
            }
            other => other,
        })?;
        self.names.push(name.into());
        Ok(())
    }

    /// Adds the file `name` with what `fill` writes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&mut self, name: &str, fill: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
        self.put(Path::new(name), |path| fs::write_atomic(path, |out| fill(out).map_err(Error::io("write", path))))
    }

    /// Adds the file `name` that says how the others were made: program, version, command line, threads, instruction set,
    /// device, the effective options (the seed is one of them), and `results` unless they are null.
    ///
    /// # Errors
    /// [`Error::Usage`] if a path among the options is no UTF-8 text; [`Error::Io`].
    pub(super) fn provenance(
        &mut self,
        name: &Path,
        context: &Context,
        options: &impl Serialize,
        results: Value,
    ) -> Result<()> {
        let options =
            serde_json::to_value(options).map_err(|e| Error::Usage(format!("cannot record the options: {e}")))?;
        let mut record = json!({
            "program": "drg",
            "version": env!("CARGO_PKG_VERSION"),
            "verb": context.verb,
            "command": context.command,
            "threads": par::threads(),
            "simd": simd::level().name(),
            "options": options,
        });
        if let Some(device) = context.used.get() {
            record["device"] = json!(device);
        }
        if !results.is_null() {
            record["results"] = results;
        }
        let text = format!("{record:#}\n");
        self.put(name, |path| fs::write_bytes(path, text.as_bytes()))
    }

    /// Moves the files to their names and returns these.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn finish(self) -> Result<Vec<PathBuf>> {
        if !self.folder.is_dir() {
            std::fs::create_dir(&self.folder).map_err(Error::io("create", &self.folder))?;
        }
        let here = self.folder == Path::new(".");
        let named = |name: &PathBuf| if here { name.clone() } else { self.folder.join(name) };
        let paths: Vec<PathBuf> = self.names.iter().map(named).collect();
        if let Some(taken) = paths.iter().find(|p| p.is_dir()) {
            return Err(Error::Usage(format!("cannot write {}: it is a folder", taken.display())));
        }
        for (name, path) in self.names.iter().zip(&paths) {
            std::fs::rename(self.aside.path().join(name), path).map_err(Error::io("write", path))?;
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::super::talk::Talk;
    use super::*;

    fn context() -> Context {
        Context {
            talk: Talk::Quiet,
            verb: "eval score".into(),
            command: vec!["drg".into(), "eval".into()],
            device: None,
            used: std::sync::OnceLock::new(),
        }
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_together_or_not_at_all() {
        let host = tempfile::tempdir().unwrap();
        let folder = host.path().join("new");
        let mut staged = Staged::new(&folder).unwrap();
        staged.write("a.txt", |w| w.write_all(b"a")).unwrap();
        let failed = staged.write("b.txt", |_| Err(std::io::ErrorKind::StorageFull.into())).unwrap_err();
        assert!(failed.to_string().contains("new/b.txt"), "{failed}");
        drop(staged);
        assert!(entries(host.path()).is_empty());

        let mut staged = Staged::new(&folder).unwrap();
        staged.write("a.txt", |w| w.write_all(b"a")).unwrap();
        assert_eq!(staged.finish().unwrap(), [folder.join("a.txt")]);
        assert_eq!((entries(host.path()), entries(&folder)), (vec!["new".into()], vec!["a.txt".into()]));
    }

    #[test]
    fn a_file_has_its_record_beside_it() {
        let host = tempfile::tempdir().unwrap();
        let out = host.path().join("s.tsv");
        write_file(&out, &context(), &json!({ "seed": 7 }), |path| fs::write_bytes(path, b"x")).unwrap();
        assert_eq!(entries(host.path()), ["s.tsv", "s.tsv.json"]);
        let record: Value = serde_json::from_slice(&std::fs::read(beside(&out)).unwrap()).unwrap();
        assert_eq!((&record["verb"], &record["options"]["seed"]), (&json!("eval score"), &json!(7)));
        assert_eq!((&record["version"], record.get("results")), (&json!(env!("CARGO_PKG_VERSION")), None));
    }

    #[test]
    fn a_record_that_cannot_be_written_takes_the_file_with_it() {
        let host = tempfile::tempdir().unwrap();
        let out = host.path().join("s.tsv");
        std::fs::create_dir(beside(&out)).unwrap();
        assert!(write_file(&out, &context(), &(), |path| fs::write_bytes(path, b"x")).is_err());
        assert_eq!(entries(host.path()), ["s.tsv.json"]);
    }

    #[test]
    fn places_are_checked_before_the_work() {
        let host = tempfile::tempdir().unwrap();
        let missing = host.path().join("no").join("s.tsv");
        let message = check_file(&missing).unwrap_err().to_string();
        assert!(message.contains("there is no folder") && message.contains("mkdir -p"), "{message}");
        assert!(check_file(host.path()).is_err() && check_folder(&missing).is_err());
        assert!(check_folder(host.path()).is_ok() && check_file(Path::new("plain.tsv")).is_ok());
        std::fs::write(host.path().join("f"), "").unwrap();
        assert!(check_folder(&host.path().join("f")).is_err());
    }
}
