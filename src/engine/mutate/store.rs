//! Effects larger than memory: a Zarr group whose chunks are written as their blocks finish, so that a killed job goes on
//! where it was, and shards of a job can be put together.
//!
//! Arrays: `values` `(N, T, 4, P)` (one row instead of four in the gauge mean-effect), `predictions` `(N, T)`, `names`,
//! `tracks`, `bases` `(N, P)`, `start`. A chunk of values holds 256 positions of one sequence, or, of short sequences, as
//! many sequences as make about a megabyte. The group's attributes describe the job; what was made by another job is refused.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::io::npz::{NpzWriter, write_npz};
use crate::io::zarr::{FloatArray, FloatType, ZarrReader, ZarrWriter};
use crate::util::fs::remove_leftovers;

use super::edits::POSITIONS;

/// What the attribute `format` of a group says.
const FORMAT: &str = "drg ism 1";
/// Bytes of a chunk of short sequences, about.
const CHUNK: usize = 1 << 20;

/// What a job computes: enough to lay out its results, and to tell it from others.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Names of the sequences.
    pub names: Vec<String>,
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Names of the groups of tracks that are predicted.
    pub groups: Vec<String>,
    /// Base codes `[N, P]` at the positions.
    pub bases: Vec<u8>,
    /// First position.
    pub start: usize,
    /// Number P of positions.
    pub positions: usize,
    /// Numbers a position, a column: 4 or 1.
    pub rows: usize,
    /// Everything else that results depend on, by name.
    pub options: Map<String, Value>,
}

impl Description {
    fn sequences(&self) -> usize {
        self.names.len()
    }

    /// Blocks of a sequence.
    fn parts(&self) -> usize {
        self.positions.div_ceil(POSITIONS)
    }

    /// Sequences of a chunk: one unless they are short.
    fn together(&self) -> usize {
        let bytes = self.columns.len() * self.rows * self.positions.min(POSITIONS) * 4;
        if self.parts() > 1 { 1 } else { (CHUNK / bytes.max(1)).clamp(1, self.sequences().max(1)) }
    }

    /// Number of chunks.
    pub fn chunks(&self) -> usize {
        self.sequences().div_ceil(self.together()) * self.parts()
    }

    /// The blocks of a chunk.
    fn blocks(&self, chunk: usize) -> std::ops::Range<usize> {
        let s = self.together();
        chunk * s..((chunk + 1) * s).min(self.sequences() * self.parts())
    }

    /// The chunks of shard `i` (from 0) of `n`: neighbours, so that few sequences are in two shards.
    pub fn shard(&self, i: usize, n: usize) -> std::ops::Range<usize> {
        self.chunks() * i / n..self.chunks() * (i + 1) / n
    }

    fn attributes(&self, shard: (usize, usize)) -> Map<String, Value> {
        let mut all = Map::new();
        all.insert("format".into(), json!(FORMAT));
        all.insert("shard".into(), json!([shard.0, shard.1]));
        all.insert("positions".into(), json!([self.start, self.start + self.positions]));
        all.insert("options".into(), Value::Object(self.options.clone()));
        all
    }

    /// Index of a chunk in the array of values.
    fn place(&self, chunk: usize) -> [u64; 4] {
        let parts = self.parts();
        [(chunk / parts) as u64, 0, 0, (chunk % parts) as u64]
    }
}

/// A group that is being filled.
pub struct Store {
    job: Description,
    values: FloatArray,
    predictions: FloatArray,
    /// The chunk that is being filled: its number, its values, its predictions, blocks that are still missing.
    open: Option<(usize, Vec<f32>, Vec<f32>, usize)>,
}

impl Store {
    /// Makes the folder `path` for one shard (number from 0, of how many) of a job.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is something already; [`Error::Io`].
    pub fn create(path: &Path, job: Description, shard: (usize, usize), kind: FloatType) -> Result<Self> {
        let writer = ZarrWriter::create(path, job.attributes(shard))?;
        Self::layout(&writer, job, kind)
    }

    /// Goes on with what an earlier run of the same job has begun, or begins.
    ///
    /// # Errors
    /// [`Error::Usage`] if the folder holds another job, naming what differs; [`Error::Io`], [`Error::Parse`].
    pub fn resume(path: &Path, job: Description, shard: (usize, usize), kind: FloatType) -> Result<Self> {
        if !path.join("zarr.json").exists() {
            if path.is_dir() {
                // The earlier run ended before it had written anything.
                remove_leftovers(path)?;
            }
            return Self::create(path, job, shard, kind);
        }
        let writer = ZarrWriter::open(path)?;
        let other = |what: String| {
            Err(Error::Usage(format!("{} holds another job: {what}; name another output", path.display())))
        };
        if let Some(what) = difference(writer.attributes(), &job.attributes(shard)) {
            return other(what);
        }
        // Whether the run before came so far as to name what it computes.
        let reader = ZarrReader::open(path)?;
        if reader.names()?.iter().any(|name| name == "start") {
            let found = describe(path, &reader)?;
            for (what, same) in [
                ("its sequences have other names", found.names == job.names),
                ("its tracks have other names", (&found.columns, &found.groups) == (&job.columns, &job.groups)),
                ("its sequences have other bases", found.bases == job.bases),
            ] {
                if !same {
                    return other(what.into());
                }
            }
        }
        Self::layout(&writer, job, kind)
    }

    fn layout(writer: &ZarrWriter, job: Description, kind: FloatType) -> Result<Self> {
        let (n, t, p, rows) = (job.sequences() as u64, job.columns.len() as u64, job.positions as u64, job.rows as u64);
        let groups = job.groups.len() as u64;
        let chunk = [job.together() as u64, t, rows, p.min(POSITIONS as u64)];
        let values = writer.array("values", &[n, t, rows, p], &chunk, kind)?;
        let predictions = writer.array("predictions", &[n, groups], &[chunk[0], groups], FloatType::F32)?;
        writer.small("names", &[n], &job.names)?;
        writer.small("tracks", &[t], &job.columns)?;
        writer.small("groups", &[groups], &job.groups)?;
        writer.small("bases", &[n, p], &job.bases)?;
        writer.small("start", &[1], &[job.start as i64])?;
        Ok(Self { job, values, predictions, open: None })
    }

    /// Number of chunks of a shard.
    pub fn chunks(&self, shard: (usize, usize)) -> usize {
        self.job.shard(shard.0, shard.1).len()
    }

    /// The blocks of a shard that are not there yet.
    ///
    /// # Errors
    /// None in practice: the chunks are those of the array.
    pub fn missing(&self, shard: (usize, usize)) -> Result<Vec<usize>> {
        let mut blocks = vec![];
        for chunk in self.job.shard(shard.0, shard.1) {
            if !self.values.has_chunk(&self.job.place(chunk))? {
                blocks.extend(self.job.blocks(chunk));
            }
        }
        Ok(blocks)
    }

    /// Takes block `index`: its values `[columns, rows, positions of the block]` and the predictions `[groups]` of its
    /// sequence. Blocks of a chunk must come one after the other; the last one writes it.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Argument`] for values of another size.
    pub fn put(&mut self, index: usize, values: &[f32], predictions: &[f32]) -> Result<()> {
        let chunk = index / self.job.together();
        let (_, held) = self.values.extent(&self.job.place(chunk))?;
        let size = held[1..].iter().product::<u64>() as usize;
        let (sequences, groups) = (held[0] as usize, self.job.groups.len());
        if values.len() != size || predictions.len() != groups {
            let what = format!("block {index}: {} values and {} predictions", values.len(), predictions.len());
            return Err(Error::Argument { op: "store", what });
        }
        let empty = || (chunk, vec![0.0; sequences * size], vec![0.0; sequences * groups], sequences);
        let (_, all, predicted, left) = match &mut self.open {
            Some(open) if open.0 == chunk => open,
            open => open.insert(empty()),
        };
        let at = index - self.job.blocks(chunk).start;
        all[at * size..][..size].copy_from_slice(values);
        predicted[at * groups..][..groups].copy_from_slice(predictions);
        *left -= 1;
        if *left == 0 {
            let place = self.job.place(chunk);
            // The predictions go first: a chunk of values that is there is complete.
            self.predictions.write_chunk(&[place[0], 0], predicted)?;
            self.values.write_chunk(&place, all)?;
            self.open = None;
        }
        Ok(())
    }
}

/// The first thing in which two sets of attributes differ.
fn difference(found: &Map<String, Value>, wanted: &Map<String, Value>) -> Option<String> {
    for key in wanted.keys().chain(found.keys()) {
        let (a, b) = (found.get(key), wanted.get(key));
        if a == b {
            continue;
        }
        let show = |v: Option<&Value>| v.map_or("nothing".into(), ToString::to_string);
        return match (a, b) {
            (Some(Value::Object(a)), Some(Value::Object(b))) => difference(a, b),
            _ => Some(format!("its {key} is {}, not {}", show(a), show(b))),
        };
    }
    None
}

/// The shards of one job, checked: all there, none twice, every chunk in its shard.
struct Shards {
    job: Description,
    kind: FloatType,
    /// For every chunk, the arrays that hold it.
    arrays: Vec<(FloatArray, FloatArray)>,
    owner: Vec<usize>,
}

impl Shards {
    fn open(paths: &[PathBuf]) -> Result<Self> {
        let Some(first) = paths.first() else {
            return Err(Error::Usage("expected at least one shard".into()));
        };
        let mut readers = vec![];
        let mut seen: Vec<Option<usize>> = vec![];
        for (i, path) in paths.iter().enumerate() {
            let reader = ZarrReader::open(path)?;
            if reader.attributes().get("format") != Some(&json!(FORMAT)) {
                return Err(Error::file(path, format!("expected a group that `drg ism` wrote (format '{FORMAT}')")));
            }
            let shard: Option<(usize, usize)> =
                reader.attributes().get("shard").and_then(|s| serde_json::from_value(s.clone()).ok());
            let Some((number, of)) = shard.filter(|s| s.0 < s.1) else {
                return Err(Error::file(path, "the attribute 'shard' is no [number, of]"));
            };
            if i == 0 {
                seen = vec![None; of];
            }
            if of != seen.len() {
                let what = format!("shard {} of {of}, but {} is one of {}", number + 1, first.display(), seen.len());
                return Err(Error::file(path, what));
            }
            if let Some(other) = seen[number].replace(i) {
                let what = format!("shard {} of {of}, and so is {}", number + 1, paths[other].display());
                return Err(Error::file(path, what));
            }
            readers.push(reader);
        }
        if let Some(missing) = seen.iter().position(Option::is_none) {
            let what = format!("shard {} of {} is missing; name all of them", missing + 1, seen.len());
            return Err(Error::Usage(what));
        }
        let job = describe(first, &readers[0])?;
        for (path, reader) in paths.iter().zip(&readers).skip(1) {
            let other = describe(path, reader)?;
            let same = |o: &Description| Description { options: job.options.clone(), ..o.clone() } == job;
            if let Some(what) = difference(&other.options, &job.options) {
                return Err(Error::file(path, format!("of another job than {}: {what}", first.display())));
            }
            if !same(&other) {
                return Err(Error::file(
                    path,
                    format!("other sequences, tracks or positions than {}", first.display()),
                ));
            }
        }
        let mut arrays = vec![];
        for reader in &readers {
            arrays.push((reader.array("values")?, reader.array("predictions")?));
        }
        let layout = |a: &(FloatArray, FloatArray)| {
            let shapes = (a.0.shape().to_vec(), a.0.chunk_shape().to_vec(), a.1.shape().to_vec());
            (a.0.kind(), shapes)
        };
        for (path, array) in paths.iter().zip(&arrays) {
            let (found, first) = (layout(array), layout(&arrays[0]));
            if found != first {
                let what = format!("its values are laid out as {found:?}, those of the first shard as {first:?}");
                return Err(Error::file(path, what));
            }
        }
        let [n, t, rows, p] = [job.sequences(), job.columns.len(), job.rows, job.positions].map(|v| v as u64);
        let chunk = [job.together() as u64, t, rows, p.min(POSITIONS as u64)];
        if arrays[0].0.shape() != [n, t, rows, p] || arrays[0].0.chunk_shape() != chunk {
            let found = (arrays[0].0.shape(), arrays[0].0.chunk_shape());
            let what = format!("expected values {:?} in chunks of {chunk:?}, found {found:?}", [n, t, rows, p]);
            return Err(Error::file(first, what));
        }
        let mut owner = vec![0; job.chunks()];
        for (number, i) in seen.iter().flatten().enumerate() {
            let mine = job.shard(number, seen.len());
            let mut unfinished = 0;
            for chunk in 0..job.chunks() {
                let there = arrays[*i].0.has_chunk(&job.place(chunk))?;
                if there && !mine.contains(&chunk) {
                    return Err(Error::file(&paths[*i], format!("chunk {chunk} belongs to another shard")));
                }
                if mine.contains(&chunk) {
                    unfinished += usize::from(!there);
                    owner[chunk] = *i;
                }
            }
            if unfinished > 0 {
                let what = format!("{unfinished} of {} chunks are missing; finish it with --resume", mine.len());
                return Err(Error::file(&paths[*i], what));
            }
        }
        Ok(Self { kind: arrays[0].0.kind(), job, arrays, owner })
    }

    /// Values and predictions of a chunk.
    fn chunk(&self, chunk: usize) -> Result<(Vec<f32>, Vec<f32>)> {
        let (values, predictions) = &self.arrays[self.owner[chunk]];
        let place = self.job.place(chunk);
        let both = (values.read_chunk(&place)?, predictions.read_chunk(&[place[0], 0])?);
        let (Some(values), Some(predictions)) = both else {
            return Err(Error::Failed(format!("chunk {chunk} has gone while it was read")));
        };
        Ok((values, predictions))
    }
}

fn describe(path: &Path, reader: &ZarrReader) -> Result<Description> {
    let strings = |name: &str| reader.small::<String>(name).map(|(_, v)| v);
    let values = reader.array("values")?;
    let [_, _, rows, positions] = values.shape()[..] else {
        return Err(Error::file(path, format!("values of shape {:?}, expected (N, T, 4, P)", values.shape())));
    };
    let start = reader.small::<i64>("start")?.1.first().copied().unwrap_or(0);
    Ok(Description {
        names: strings("names")?,
        columns: strings("tracks")?,
        groups: strings("groups")?,
        bases: reader.small::<u8>("bases")?.1,
        start: usize::try_from(start).unwrap_or(0),
        positions: positions as usize,
        rows: rows as usize,
        options: reader.attributes().get("options").and_then(Value::as_object).cloned().unwrap_or_default(),
    })
}

/// Puts the shards of a job together as one group; returns the job.
///
/// # Errors
/// [`Error::Parse`] or [`Error::Usage`] if shards are missing, there twice, unfinished or of different jobs; [`Error::Io`].
pub fn merge_store(shards: &[PathBuf], out: &Path) -> Result<Description> {
    let all = Shards::open(shards)?;
    let store = Store::create(out, all.job.clone(), (0, 1), all.kind)?;
    for chunk in 0..all.job.chunks() {
        let (values, predictions) = all.chunk(chunk)?;
        let place = all.job.place(chunk);
        store.predictions.write_chunk(&[place[0], 0], &predictions)?;
        store.values.write_chunk(&place, &values)?;
    }
    Ok(all.job)
}

/// Puts the shards of a job together as an npz archive, as `drg ism` writes one; returns the job.
///
/// # Errors
/// As [`merge_store`].
pub fn merge_npz(shards: &[PathBuf], out: &Path) -> Result<Description> {
    let all = Shards::open(shards)?;
    let job = &all.job;
    write_npz(out, |w| {
        write_head(w, job)?;
        let (n, t, parts) = (job.sequences(), job.columns.len(), job.parts());
        let mut predictions = Vec::with_capacity(n * job.groups.len());
        let mut values = w.start::<f32>("values", &[n, t, job.rows, job.positions])?;
        for chunk in (0..job.chunks()).step_by(parts) {
            if parts == 1 {
                let (v, p) = all.chunk(chunk)?;
                values.push(&v)?;
                predictions.extend(p);
                continue;
            }
            let mut whole = vec![0f32; t * job.rows * job.positions];
            for part in 0..parts {
                let (v, p) = all.chunk(chunk + part)?;
                join_part(&v, part, job.positions, &mut whole);
                if part == 0 {
                    predictions.extend(p);
                }
            }
            values.push(&whole)?;
        }
        values.finish()?;
        w.array("predictions", &[n, job.groups.len()], &predictions)
    })?;
    Ok(all.job)
}

/// Writes what stands before the values in an npz archive of effects: names, tracks, bases, start, and the groups of tracks
/// that are predicted where they are not the columns.
///
/// # Errors
/// [`Error::Io`].
pub fn write_head(w: &mut NpzWriter<'_>, job: &Description) -> Result<()> {
    w.strings("names", &job.names)?;
    w.strings("tracks", &job.columns)?;
    if job.groups != job.columns {
        w.strings("groups", &job.groups)?;
    }
    w.array("bases", &[job.sequences(), job.positions], &job.bases)?;
    w.array("start", &[], &[job.start as i64])
}

/// Copies the values `[lines, positions of the part]` of a block to their places in `whole`, `[lines, positions]`.
pub fn join_part(values: &[f32], part: usize, positions: usize, whole: &mut [f32]) {
    let from = part * POSITIONS;
    let width = POSITIONS.min(positions - from);
    for (to, values) in whole.chunks_exact_mut(positions).zip(values.chunks_exact(width)) {
        to[from..from + width].copy_from_slice(values);
    }
}
