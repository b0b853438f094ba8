//! Groups of tracks and contrasts between them: weighted sums of tracks that take the place of the tracks.

use crate::error::{Error, Result};

/// Means of groups of tracks, or differences of such means. They are linear, so they may be taken of effects and gradients as
/// well as of predictions, with the same result.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackGroups {
    /// One name a group.
    pub names: Vec<String>,
    /// Tracks and their weights, group by group; the tracks ascend.
    terms: Vec<Vec<(usize, f64)>>,
    /// Number T of tracks.
    tracks: usize,
}

impl TrackGroups {
    /// Reads `name:track,track;name:track,...`: the mean of the tracks of each group. `find` gives the indices of the tracks that
    /// a word names (a name, an index, a range); `tracks` is their number. A track may be in several groups.
    ///
    /// # Errors
    /// [`Error::Usage`] for a group without name or tracks, a name or a track that comes twice; what `find` returns.
    pub fn parse(text: &str, tracks: usize, find: &dyn Fn(&str) -> Result<Vec<usize>>) -> Result<Self> {
        let mut groups = Self { names: vec![], terms: vec![], tracks };
        for group in text.split(';').map(str::trim).filter(|g| !g.is_empty()) {
            let refuse = |what: &str| Err(Error::Usage(format!("group '{group}' {what}; expected name:track,track")));
            let Some((name, members)) = group.split_once(':') else { return refuse("has no tracks") };
            let mut list = vec![];
            for word in members.split(',').map(str::trim).filter(|w| !w.is_empty()) {
                list.extend(find(word)?);
            }
            list.sort_unstable();
            if name.trim().is_empty() {
                return refuse("has no name");
            }
            if list.is_empty() {
                return refuse("has no tracks");
            }
            if list.windows(2).any(|w| w[0] == w[1]) {
                return refuse("has a track twice");
            }
            groups.push(name.trim().into(), mean(&list))?;
        }
        if groups.names.is_empty() {
            return Err(Error::Usage(format!("'{text}' has no group; expected name:track,track;name:track")));
        }
        Ok(groups)
    }

    /// The mean of the tracks of each class; `classes` has one class a track, groups come in the order of their first track.
    pub fn of_classes<S: AsRef<str>>(classes: &[S]) -> Self {
        let mut names: Vec<String> = vec![];
        let mut members: Vec<Vec<usize>> = vec![];
        for (track, class) in classes.iter().map(AsRef::as_ref).enumerate() {
            match names.iter().position(|name| name == class) {
                Some(g) => members[g].push(track),
                None => {
                    names.push(class.into());
                    members.push(vec![track]);
                }
            }
        }
        Self { names, terms: members.iter().map(|list| mean(list)).collect(), tracks: classes.len() }
    }

    /// Every track as a group of its own.
    pub fn single<S: AsRef<str>>(names: &[S]) -> Self {
        let terms = (0..names.len()).map(|t| vec![(t, 1.0)]).collect();
        Self { names: names.iter().map(|n| n.as_ref().to_string()).collect(), terms, tracks: names.len() }
    }

    /// Contrasts between these groups, `A-B` or `NAME=A-B`, several with `,` between them. A and B are groups or, where `find`
    /// knows them, tracks; B may be `rest`, the mean of all tracks that are not in A. Names may have `-` in them: every
    /// place is tried, and one must fit.
    ///
    /// # Errors
    /// [`Error::Usage`] for a text that is no contrast or can be read in two ways, and for names that come twice.
    pub fn contrasts(&self, text: &str, find: &dyn Fn(&str) -> Result<Vec<usize>>) -> Result<Self> {
        let mut all = Self { names: vec![], terms: vec![], tracks: self.tracks };
        for one in text.split(',').map(str::trim).filter(|c| !c.is_empty()) {
            let (name, both) = one.split_once('=').unwrap_or((one, one));
            let side = |word: &str| match self.names.iter().position(|name| name == word) {
                Some(g) => Some(self.terms[g].clone()),
                None => find(word).ok().filter(|list| !list.is_empty()).map(|list| mean(&list)),
            };
            let mut found = vec![];
            for (at, _) in both.match_indices('-') {
                let (a, b) = (both[..at].trim(), both[at + 1..].trim());
                let Some(a) = side(a) else { continue };
                let rest: Vec<usize> = (0..self.tracks).filter(|t| a.iter().all(|(other, _)| other != t)).collect();
                let b = side(b).or_else(|| (b == "rest" && !rest.is_empty()).then(|| mean(&rest)));
                found.extend(b.map(|b| minus(a, &b)));
            }
            match found.len() {
                1 => all.push(name.trim().into(), found.swap_remove(0))?,
                0 => {
                    let what = "expected A-B with groups, tracks or (for B) 'rest'; there are the groups";
                    let there = self.names.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
                    return Err(Error::Usage(format!("contrast '{one}': {what} {there}")));
                }
                _ => return Err(Error::Usage(format!("contrast '{one}' can be read in {} ways", found.len()))),
            }
        }
        if all.names.is_empty() {
            return Err(Error::Usage(format!("'{text}' has no contrast; expected A-B or NAME=A-B")));
        }
        Ok(all)
    }

    /// Tracks and their weights, group by group.
    pub fn terms(&self) -> &[Vec<(usize, f64)>] {
        &self.terms
    }

    /// Some of the groups, in this order.
    ///
    /// # Panics
    /// If there is no such group.
    pub fn select(&self, groups: &[usize]) -> Self {
        let names = groups.iter().map(|&g| self.names[g].clone()).collect();
        Self { names, terms: groups.iter().map(|&g| self.terms[g].clone()).collect(), tracks: self.tracks }
    }

    /// Number G of groups.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Number T of tracks that [`TrackGroups::apply`] takes.
    pub fn tracks(&self) -> usize {
        self.tracks
    }

    /// The same groups over fewer tracks: the tracks that are in one, ascending, and the groups over these. A job then computes no
    /// other.
    pub fn compact(&self) -> (Vec<usize>, Self) {
        let mut used: Vec<usize> = self.terms.iter().flatten().map(|&(t, _)| t).collect();
        used.sort_unstable();
        used.dedup();
        let place = |t: usize| used.partition_point(|&u| u < t);
        let terms = self.terms.iter().map(|g| g.iter().map(|&(t, w)| (place(t), w)).collect()).collect();
        let groups = Self { names: self.names.clone(), terms, tracks: used.len() };
        (used, groups)
    }

    /// Rows of tracks `[M, T]` as rows of groups `[M, G]`: predictions, or effects as blocks have them.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` holds no whole number of rows.
    pub fn apply(&self, values: &[f64]) -> Result<Vec<f64>> {
        self.check(values.len(), "[M, T]")?;
        let mut out = Vec::with_capacity(values.len() / self.tracks.max(1) * self.len());
        for row in values.chunks_exact(self.tracks.max(1)) {
            out.extend(self.terms.iter().map(|g| g.iter().map(|&(t, w)| w * row[t]).sum::<f64>()));
        }
        Ok(out)
    }

    /// Scores `[T, S]` as scores of groups `[G, S]`, whatever S stands for (bases and positions).
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` holds no whole number of scores a track.
    pub fn apply_scores(&self, values: &[f32]) -> Result<Vec<f32>> {
        self.check(values.len(), "[T, S]")?;
        let s = values.len() / self.tracks.max(1);
        let mut out = Vec::with_capacity(self.len() * s);
        let mut sums = vec![0f64; s];
        for group in &self.terms {
            sums.fill(0.0);
            for &(t, w) in group {
                sums.iter_mut().zip(&values[t * s..][..s]).for_each(|(sum, &v)| *sum += w * f64::from(v));
            }
            out.extend(sums.iter().map(|&v| v as f32));
        }
        Ok(out)
    }

    fn check(&self, found: usize, shape: &str) -> Result<()> {
        if found.is_multiple_of(self.tracks.max(1)) {
            return Ok(());
        }
        let expected = format!("{shape} with T = {}", self.tracks);
        Err(Error::Shape { op: "groups", arg: "values", expected, found: vec![found] })
    }

    fn push(&mut self, name: String, terms: Vec<(usize, f64)>) -> Result<()> {
        if self.names.contains(&name) {
            return Err(Error::Usage(format!("two groups are named '{name}'")));
        }
        self.names.push(name);
        self.terms.push(terms);
        Ok(())
    }
}

fn mean(list: &[usize]) -> Vec<(usize, f64)> {
    list.iter().map(|&t| (t, 1.0 / list.len() as f64)).collect()
}

/// `a - b`; tracks whose weights cancel are left out.
fn minus(a: Vec<(usize, f64)>, b: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let mut all = a;
    for &(t, w) in b {
        match all.iter_mut().find(|(other, _)| *other == t) {
            Some((_, own)) => *own -= w,
            None => all.push((t, -w)),
        }
    }
    all.retain(|&(_, w)| w != 0.0);
    all.sort_by_key(|&(t, _)| t);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 5] = ["T4", "T8", "B", "B-1", "NK"];

    fn find(word: &str) -> Result<Vec<usize>> {
        if let Some(t) = NAMES.iter().position(|n| *n == word) {
            return Ok(vec![t]);
        }
        match word.split_once(':').map(|(a, b)| (a.parse(), b.parse())) {
            Some((Ok(a), Ok(b))) => Ok((a..b).collect()),
            _ => Err(Error::Usage(format!("no track '{word}'"))),
        }
    }

    fn text<T>(result: Result<T>) -> String {
        result.map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn groups_are_means() {
        let groups = TrackGroups::parse("T: T8, T4 ;rest:2:5;all:0:5;", 5, &find).unwrap();
        assert_eq!((groups.names.join(","), groups.len(), groups.tracks()), ("T,rest,all".into(), 3, 5));
        let rows = [1.0, 3.0, 6.0, 9.0, 1.0, -1.0, 1.0, 0.0, 0.0, 5.0];
        let want = [2.0, 16.0 / 3.0, 4.0, 0.0, 5.0 / 3.0, 1.0];
        let got = groups.apply(&rows).unwrap();
        assert!(got.iter().zip(want).all(|(a, b)| (a - b).abs() < 1e-14), "{got:?}");
        // The same as scores, with a cell a row.
        let scores: Vec<f32> = (0..5).flat_map(|t| [rows[t] as f32, rows[5 + t] as f32]).collect();
        let scores = groups.apply_scores(&scores).unwrap();
        assert!((0..6).all(|i| (f64::from(scores[i % 3 * 2 + i / 3]) - want[i]).abs() < 1e-6), "{scores:?}");
        let classes = TrackGroups::of_classes(&["x", "y", "x", "y", "x"]);
        assert_eq!((classes.names.join(","), classes.tracks()), ("x,y".into(), 5));
        assert_eq!(classes.apply(&rows[..5]).unwrap()[1], 6.0);
        assert_eq!(TrackGroups::single(&NAMES).apply(&rows).unwrap(), rows);
    }

    #[test]
    fn contrasts_are_differences() {
        let groups = TrackGroups::parse("T:T4,T8;other:B,B-1,NK", 5, &find).unwrap();
        let rows = [1.0, 3.0, 6.0, 9.0, 0.0];
        let all = groups.contrasts("T-other,x = T - rest, B-1-NK,T8-T", &find).unwrap();
        assert_eq!(all.names, ["T-other", "x", "B-1-NK", "T8-T"]);
        assert_eq!(all.apply(&rows).unwrap(), [-3.0, -3.0, 9.0, 1.0]);
        let (used, compact) = groups.contrasts("NK-T4", &find).unwrap().compact();
        assert_eq!((used, compact.apply(&[1.0, 7.0]).unwrap()), (vec![0, 4], vec![6.0]));
        assert!(text(groups.contrasts("T", &find)).contains("expected A-B"));
        assert!(text(groups.contrasts("T-X", &find)).contains("groups T, other"));
        assert!(text(groups.contrasts(",", &find)).contains("no contrast"));
        assert!(text(groups.contrasts("T-B,T-B", &find)).contains("two groups are named 'T-B'"));
        // B minus B-1, or B-1 minus... only one of them fits, unless both do.
        let both = |word: &str| (word != "B-1").then(|| vec![0]).ok_or(Error::Usage("no".into()));
        assert!(text(groups.contrasts("T-B-NK", &both)).contains("2 ways"));
    }

    #[test]
    fn bad_groups() {
        let of = |t: &str| text(TrackGroups::parse(t, 5, &find));
        assert!(of("").contains("has no group"));
        assert!(of("T").contains("group 'T' has no tracks"));
        assert!(of("T:").contains("has no tracks"));
        assert!(of(":T4").contains("has no name"));
        assert!(of("T:T4,0:2").contains("has a track twice"));
        assert!(of("T:T4;T:T8").contains("two groups are named 'T'"));
        assert!(of("T:T5").contains("no track 'T5'"));
        let groups = TrackGroups::parse("T:T4", 5, &find).unwrap();
        assert!(text(groups.apply(&[0.0; 6])).contains("T = 5"));
        assert!(text(groups.apply_scores(&[0.0; 6])).contains("T = 5"));
    }
}
