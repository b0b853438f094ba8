//! Files that put tracks into classes: track and class on a line, between blanks.

use std::collections::HashMap;
use std::path::Path;

use super::first_few;
use super::text::Lines;
use crate::error::{Error, Result, hint};

/// Class of each of `tracks`. `#` starts a comment; columns after the second and other tracks do not matter, nor does
/// the order. With several files of targets, `tracks` are the names without the suffix of the file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for a line without class, a track with two classes, a track that is missing.
pub fn read_classes<S: AsRef<str>>(path: &Path, tracks: &[S]) -> Result<Vec<String>> {
    let classes = classes_by_track(path)?;
    let missing: Vec<&str> =
        tracks.iter().map(AsRef::as_ref).filter(|track: &&str| !classes.contains_key(*track)).collect();
    if let Some(first) = missing.first() {
        let similar = hint(first, classes.keys().map(String::as_str));
        let what = format!("{} tracks have no class: {}{similar}", missing.len(), first_few(&missing));
        return Err(Error::file(path, what));
    }
    Ok(tracks.iter().map(|track| classes[track.as_ref()].clone()).collect())
}

/// Class of every track that the file names.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for a line without class, a track with two classes, a file without any.
pub fn classes_by_track(path: &Path) -> Result<HashMap<String, String>> {
    let mut lines = Lines::open(path)?;
    let mut classes: HashMap<String, (String, usize)> = HashMap::new();
    while let Some((number, line)) = lines.next_text()? {
        let mut cells = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(track) = cells.next() else {
            continue;
        };
        let Some(class) = cells.next() else {
            let what = format!("track '{track}' has no class; expected 'track class'");
            return Err(Error::line(path, number, what));
        };
        match classes.get(track) {
            Some((other, first)) if other != class => {
                let what = format!("track '{track}' is in class '{class}', in line {first} it is in '{other}'");
                return Err(Error::line(path, number, what));
            }
            Some(_) => {}
            None => {
                classes.insert(track.into(), (class.into(), number));
            }
        }
    }
    if classes.is_empty() {
        return Err(Error::file(path, "no classes; expected lines of 'track class'"));
    }
    Ok(classes.into_iter().map(|(track, (class, _))| (track, class)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, text};
    use super::*;

    #[test]
    fn classes_of_tracks() {
        let (_folder, path) = file("c.txt", "# a comment\nliver organ x y\n\nB.1\timmune # b\nT.2 immune\n");
        assert_eq!(read_classes(&path, &["T.2", "liver", "T.2"]).unwrap(), ["immune", "organ", "immune"]);
    }

    #[test]
    fn bad_classes() {
        let of = |content: &str| {
            let (folder, path) = file("c.txt", content);
            text(read_classes(&path, &["liver", "lung"]), &folder)
        };
        assert_eq!(of("#\n"), "c.txt: no classes; expected lines of 'track class'");
        assert_eq!(of("liver\n"), "c.txt:1: track 'liver' has no class; expected 'track class'");
        assert_eq!(of("liver a\nLung a\n"), "c.txt: 1 tracks have no class: lung (did you mean 'Lung'?)");
        assert_eq!(of("liver a\nliver b\n"), "c.txt:2: track 'liver' is in class 'b', in line 1 it is in 'a'");
    }
}
