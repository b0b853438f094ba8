//! How much each motif does in each track.

use super::Options;
use crate::simulate::draw::between;
use crate::util::philox::Philox;

/// Effects [M, T] of single sites; `raising` of the motifs raise the rate, the others lower it.
///
/// A motif has a size from 0.5 to 1.5. It acts in all cell types or in some of them, and each cell type has one motif at
/// least. Where it acts, its effect in a cell type is 0.8 to 1.2 of its size, or, if it responds to conditions, 0 to 2 of
/// it in every condition anew.
pub(super) fn effects(random: &mut Philox, options: &Options, motifs: usize, raising: usize) -> Vec<f64> {
    let (cells, conditions) = (options.celltypes, options.conditions);
    let signs = chosen(random, motifs, raising);
    let responds = chosen(random, motifs, share(options.responsive, motifs));
    let acts = acting(random, options, motifs);
    let mut effects = Vec::with_capacity(motifs * cells * conditions);
    for m in 0..motifs {
        let size = if signs[m] { 1.0 } else { -1.0 } * between(random, 0.5, 1.5);
        for cell in 0..cells {
            let constant = between(random, 0.8, 1.2);
            for _ in 0..conditions {
                let changing = between(random, 0.0, 2.0);
                let factor = if responds[m] { changing } else { constant };
                effects.push(if acts[m * cells + cell] { size * factor } else { 0.0 });
            }
        }
    }
    effects
}

/// Whether a motif acts in a cell type, [M, cell types].
fn acting(random: &mut Philox, options: &Options, motifs: usize) -> Vec<bool> {
    let cells = options.celltypes;
    let universal = chosen(random, motifs, share(options.universal, motifs));
    let some = share(options.active, cells).max(1);
    let mut acts: Vec<bool> = Vec::with_capacity(motifs * cells);
    for everywhere in universal {
        acts.extend(chosen(random, cells, if everywhere { cells } else { some }));
    }
    for cell in 0..cells {
        let motif = random.below(motifs);
        if (0..motifs).all(|m| !acts[m * cells + cell]) {
            acts[motif * cells + cell] = true;
        }
    }
    acts
}

/// `k` of `n`, at random.
fn chosen(random: &mut Philox, n: usize, k: usize) -> Vec<bool> {
    let mut chosen = vec![false; n];
    random.permutation(n)[..k].iter().for_each(|&i| chosen[i] = true);
    chosen
}

fn share(fraction: f64, of: usize) -> usize {
    (fraction * of as f64).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &Options, motifs: usize, raising: usize) -> Vec<f64> {
        effects(&mut Philox::new(3, 9), options, motifs, raising)
    }

    #[test]
    fn motifs_act_in_their_cell_types_and_conditions() {
        let options = Options { celltypes: 5, conditions: 3, ..Options::default() };
        let effects = of(&options, 10, 7);
        let rows: Vec<&[f64]> = effects.chunks(15).collect();
        assert_eq!(rows.iter().filter(|r| r.iter().any(|e| *e > 0.0)).count(), 7);
        assert_eq!(rows.iter().filter(|r| r.iter().any(|e| *e < 0.0)).count(), 3);
        let cells = |row: &[f64]| row.chunks(3).filter(|c| c.iter().any(|e| *e != 0.0)).count();
        let mut counts: Vec<usize> = rows.iter().map(|r| cells(r)).collect();
        counts.sort_unstable();
        assert_eq!(counts, [2, 2, 2, 2, 2, 2, 2, 2, 5, 5]);
        let constant = |row: &&&[f64]| row.chunks(3).all(|c| c[0] == c[1] && c[1] == c[2]);
        assert_eq!(rows.iter().filter(constant).count(), 5);
        for row in rows {
            let sizes: Vec<f64> = row.iter().map(|e| e.abs()).filter(|e| *e > 0.0).collect();
            assert!(sizes.iter().all(|e| *e <= 3.0), "{sizes:?}");
        }
    }

    #[test]
    fn no_cell_type_is_without_a_motif() {
        let options = Options { celltypes: 20, conditions: 2, universal: 0.0, active: 0.0, ..Options::default() };
        let effects = of(&options, 3, 3);
        for cell in 0..20 {
            assert!((0..3).any(|m| effects[m * 40 + cell * 2] != 0.0), "cell type {cell}");
        }
        assert_eq!(of(&Options { celltypes: 1, conditions: 1, ..options }, 1, 0).len(), 1);
    }
}
