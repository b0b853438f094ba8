//! What both compilers need: which files a kernel is made of, whether they have changed, and threads to compile on.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, fs, thread};

/// The file and every header that it includes with quotes, and those that they include. What is not found is left to the
/// compiler.
pub fn with_headers(file: &Path, folder: &Path) -> BTreeSet<PathBuf> {
    let (mut found, mut next) = (BTreeSet::new(), vec![file.to_path_buf()]);
    while let Some(file) = next.pop() {
        if found.contains(&file) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap_or_default();
        let beside = file.parent().unwrap_or(folder);
        for line in text.lines() {
            let line = line.trim_start().strip_prefix('#').and_then(|l| l.trim_start().strip_prefix("include"));
            let quoted = line.and_then(|l| l.trim_start().strip_prefix('"')).and_then(|l| l.split('"').next());
            let places = quoted.map(|name| [beside.join(name), folder.join(name)]);
            next.extend(places.into_iter().flatten().find(|p| p.is_file()));
        }
        found.insert(file);
    }
    found
}

/// A number for the text of these files and for what else decides about their product.
pub fn hash<'a>(files: impl IntoIterator<Item = &'a PathBuf>, other: &[&str]) -> String {
    let texts = files.into_iter().map(|f| fs::read(f).unwrap_or_default());
    let parts = texts.chain(other.iter().map(|o| o.as_bytes().to_vec()));
    // FNV-1a; a byte that no UTF-8 text has keeps parts apart.
    let bytes = parts.flat_map(|part| part.into_iter().chain([0xFF]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

/// Results of `f` for all items, on as many threads as cargo allows.
pub fn parallel<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let jobs = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_usize);
    let (next, results) = (AtomicUsize::new(0), Mutex::new(vec![]));
    let work = || {
        while let Some((i, item)) = Some(next.fetch_add(1, Relaxed)).and_then(|i| items.get(i).map(|item| (i, item))) {
            let result = f(item);
            results.lock().expect("no thread panics with the lock").push((i, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, items.len().max(1)) {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().expect("no thread panics with the lock");
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}
