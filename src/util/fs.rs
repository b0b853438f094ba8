//! Files that appear whole or not at all.

use std::io::Write;
use std::path::Path;

use crate::error::{Error, Result};

/// Names of files that are being written.
const PREFIX: &str = ".drg-";
const SUFFIX: &str = ".tmp";

/// Writes a file through a temporary file in the same folder and a rename, so that a reader never sees half of it and a
/// failure leaves nothing behind. The data reach the disk before the name does.
///
/// # Errors
/// [`Error::Io`] if the folder does not exist or cannot be written, or whatever `fill` returns.
pub fn write_atomic(path: &Path, fill: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if path.is_dir() {
        return Err(Error::Usage(format!("cannot write {}: it is a folder; name a file", path.display())));
    }
    let file = tempfile::Builder::new()
        .prefix(PREFIX)
        .suffix(SUFFIX)
        .permissions(permissions())
        .tempfile_in(folder)
        .map_err(Error::io("create a file in", folder))?;
    let mut buffered = std::io::BufWriter::with_capacity(1 << 18, file);
    fill(&mut buffered)?;
    let file = buffered.into_inner().map_err(|e| Error::io("write", path)(e.into_error()))?;
    file.as_file().sync_all().map_err(Error::io("write", path))?;
    file.persist(path).map_err(|e| Error::io("write", path)(e.error))?;
    Ok(())
}

/// [`write_atomic`] of bytes that are already there.
///
/// # Errors
/// As [`write_atomic`].
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<()> {
    write_atomic(path, |w| w.write_all(bytes).map_err(Error::io("write", path)))
}

/// Removes what a killed process left half written in a folder and below it. Nobody may be writing there.
///
/// # Errors
/// [`Error::Io`].
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_leftovers(&path)?;
        } else if name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX)) {
            std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn permissions() -> std::fs::Permissions {
    // Temporary files are private by default; results should be readable like any other file (the umask still applies).
    std::os::unix::fs::PermissionsExt::from_mode(0o666)
}

#[cfg(not(unix))]
fn permissions() -> std::fs::Permissions {
    std::fs::metadata(".").map(|m| m.permissions()).unwrap_or_else(|_| unreachable!("the current folder exists"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_go_and_files_stay() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("a");
        std::fs::create_dir(&below).unwrap();
        for name in [".drg-x7.tmp", "b", ".drg-keep", "c.tmp"] {
            std::fs::write(below.join(name), "").unwrap();
        }
        remove_leftovers(folder.path()).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&below).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, [".drg-keep", "b", "c.tmp"]);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let failed = write_atomic(&path, |w| {
            w.write_all(b"half").unwrap();
            Err(Error::Failed("no".into()))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        write_bytes(&path, b"whole").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(write_bytes(&folder.path().join("no/b.txt"), b"").unwrap_err().exit_code(), 2);
    }
}
