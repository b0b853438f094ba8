//! Shuffled sequences as references: of single bases, or keeping every dinucleotide count (Altschul and Erickson 1985).
//!
//! Bases that are unknown or uniform stay where they are, so filling and gaps of a sequence are those of its shuffles.

use crate::util::philox::Philox;

/// `bases` in a random order; keeps the count of every base.
pub fn shuffle(bases: &[u8], random: &mut Philox) -> Vec<u8> {
    let mut known: Vec<u8> = bases.iter().copied().filter(|&code| code < 4).collect();
    random.shuffle(&mut known);
    let mut next = known.into_iter();
    bases.iter().map(|&code| if code < 4 { next.next().unwrap_or(code) } else { code }).collect()
}

/// A random sequence with the dinucleotide counts of `bases`, uniform over all such sequences. Each stretch between
/// unknown bases is shuffled by itself and keeps its first and last base.
pub fn dinucleotide_shuffle(bases: &[u8], random: &mut Philox) -> Vec<u8> {
    let mut shuffled = bases.to_vec();
    for stretch in shuffled.chunk_by_mut(|&a, &b| (a < 4) == (b < 4)) {
        if stretch[0] < 4 {
            euler_walk(stretch, random);
        }
    }
    shuffled
}

/// Replaces a stretch of known bases by a random Euler path over the same edges: every base needs one edge that is
/// taken last, and these edges must form a tree that leads to the final base; any order of the others then gives a path.
fn euler_walk(stretch: &mut [u8], random: &mut Philox) {
    let end = usize::from(stretch[stretch.len() - 1]);
    let mut edges: [Vec<u8>; 4] = Default::default();
    for pair in stretch.windows(2) {
        edges[usize::from(pair[0])].push(pair[1]);
    }

    // Wilson's algorithm: random walks with erased loops give every tree with equal probability.
    let mut last = [0; 4];
    let mut in_tree = [false; 4];
    in_tree[end] = true;
    for start in 0..4 {
        if edges[start].is_empty() {
            continue;
        }
        let mut at = start;
        while !in_tree[at] {
            last[at] = random.below(edges[at].len());
            at = usize::from(edges[at][last[at]]);
        }
        at = start;
        while !in_tree[at] {
            in_tree[at] = true;
            at = usize::from(edges[at][last[at]]);
        }
    }

    for (base, edges) in edges.iter_mut().enumerate() {
        let mut free = edges.len();
        if base != end && free > 0 {
            free -= 1;
            edges.swap(last[base], free);
        }
        random.shuffle(&mut edges[..free]);
    }

    let mut used = [0; 4];
    for i in 1..stretch.len() {
        let from = usize::from(stretch[i - 1]);
        stretch[i] = edges[from][used[from]];
        used[from] += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn pairs(bases: &[u8]) -> HashMap<(u8, u8), usize> {
        let mut counts = HashMap::new();
        for w in bases.windows(2) {
            *counts.entry((w[0], w[1])).or_default() += 1;
        }
        counts
    }

    #[test]
    fn counts_stay_and_gaps_stay_in_place() {
        let mut random = Philox::new(3, 1);
        for length in [1, 2, 3, 7, 64, 501] {
            let mut bases: Vec<u8> = (0..length).map(|_| random.below(4) as u8).collect();
            if length > 20 {
                bases[10] = 4;
                bases[11] = 5;
                bases[length - 5..].fill(4);
            }
            let double = dinucleotide_shuffle(&bases, &mut random);
            let single = shuffle(&bases, &mut random);
            assert_eq!(pairs(&double), pairs(&bases));
            for shuffled in [&double, &single] {
                let (mut a, mut b) = (shuffled.clone(), bases.clone());
                assert!(a.iter().zip(&b).all(|(x, y)| (*x < 4 && *y < 4) || x == y));
                a.sort_unstable();
                b.sort_unstable();
                assert_eq!(a, b);
            }
            assert!(length < 60 || (double != bases && single != bases));
        }
        assert!(dinucleotide_shuffle(&[], &mut random).is_empty());
    }

    /// `AACAGA` has edges AA, AC, CA, AG, GA: its 6 Euler paths from A to A must come equally often.
    #[test]
    fn every_path_is_equally_likely() {
        let mut random = Philox::new(7, 1);
        let mut seen: HashMap<Vec<u8>, usize> = HashMap::new();
        for _ in 0..6000 {
            *seen.entry(dinucleotide_shuffle(&[0, 0, 1, 0, 2, 0], &mut random)).or_default() += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|&n| (850..1150).contains(&n)), "{seen:?}");
    }

    /// A rare edge on the only way to the end must not make the search for a tree slow.
    #[test]
    fn rare_ways_out_are_found() {
        let mut bases = vec![0; 5000];
        bases.extend([1; 5000]);
        bases.extend([2; 5000]);
        bases.push(3);
        assert_eq!(dinucleotide_shuffle(&bases, &mut Philox::new(1, 1)), bases);
    }
}
