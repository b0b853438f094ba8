//! Seed command D with one shared embedding an input, on simulated genes: what it learns from expression, degradation and
//! transcription together are the planted motifs, those of transcription factors in the DNA and those of stability in the RNA.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;

use common::room::Room;
use drg::motif::{Pwm, meme};

const TRAIN: &str = "train genes/TSS.npz,genes/RNA.npz genes/exonic.tsv,genes/degrad.tsv,genes/intronic.tsv -o d.drg -q \
    --reverse-complement True,False --file-classes ex,kd,kt --crossvalidation genes/Exintron_testsetcv10.txt 1 10 --cnn \
    num_kernels=64+l_kernels=13+max_pooling=False+weighted_pooling=True+pooling_size=20+fclayer_size=64+nfc_layers=1+\
    outclass=['difference','direct','direct']+input_to_combinefunc=[[0,1],[1],[0]]+combine_function=Linear+\
    shared_embedding=True+loss_function=MSE+batchsize=32+lr=0.002+optimizer=AdamW+loss_reduction=mean+drop_last=never+\
    warm_up_epochs=1+epochs=25+patience=25+kernel_bias=False";

/// Effects `[N, T, 4, L]` of both inputs side by side.
struct Effects {
    names: Vec<String>,
    tracks: Vec<String>,
    values: Vec<f32>,
    length: usize,
}

impl Effects {
    fn read(room: &Room) -> Self {
        let mut npz = room.npz("ism.npz");
        let (shape, values) = npz.numbers::<f32>("values").unwrap();
        Self { names: npz.strings("names").unwrap(), tracks: npz.strings("tracks").unwrap(), values, length: shape[3] }
    }

    fn at(&self, n: usize, t: usize, base: usize, p: usize) -> f64 {
        f64::from(self.values[((n * self.tracks.len() + t) * 4 + base) * self.length + p])
    }

    /// Largest absolute effect at positions `from..to` on the tracks of a file.
    fn largest(&self, file: &str, from: usize, to: usize) -> f64 {
        let tracks: Vec<usize> = (0..self.tracks.len()).filter(|&t| self.tracks[t].ends_with(file)).collect();
        let all = (0..self.names.len()).flat_map(|n| tracks.iter().map(move |&t| (n, t)));
        all.flat_map(|(n, t)| (0..4).flat_map(move |b| (from..to).map(move |p| self.at(n, t, b, p).abs())))
            .fold(0.0, f64::max)
    }

    /// For every motif of a BED file of sites, whose positions begin at `first`: the mean of the effects along its sites, each
    /// position less the mean of its bases, weighed by what a site adds to each track of the file; and the number of sites.
    fn along_sites(&self, bed: &str, first: usize, file: &str, motifs: &[Pwm]) -> BTreeMap<String, (Vec<f64>, usize)> {
        let mut found = BTreeMap::new();
        for line in bed.lines().filter(|l| !l.starts_with('#')) {
            let cells: Vec<&str> = line.split('\t').collect();
            let Some(n) = self.names.iter().position(|name| name == cells[0]) else { continue };
            let (start, end): (usize, usize) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
            let width = motifs.iter().find(|m| m.name == cells[3]).unwrap().width();
            if end - start != width {
                continue;
            }
            let adds: Vec<f64> = cells[6..].iter().map(|c| c.parse().unwrap()).collect();
            let (sum, sites) = found.entry(cells[3].to_string()).or_insert_with(|| (vec![0.0; 4 * width], 0));
            *sites += 1;
            for (t, add) in (0..self.tracks.len()).filter(|&t| self.tracks[t].ends_with(file)).zip(&adds) {
                for i in 0..width {
                    // Along the motif's own strand.
                    let (p, base) = if cells[5] == "-" { (end - 1 - i, 3) } else { (start + i, 0) };
                    let column: Vec<f64> = (0..4usize).map(|b| self.at(n, t, b.abs_diff(base), first + p)).collect();
                    let mean = column.iter().sum::<f64>() / 4.0;
                    column.iter().enumerate().for_each(|(b, e)| sum[4 * i + b] += add * (e - mean));
                }
            }
        }
        found
    }
}

/// Mutations at planted sites change what the motif says they should: the mean map of every motif looks like its matrix.
#[test]
fn planted_motifs_are_recovered() {
    let room = Room::new();
    room.ok("simulate process -o genes --genes 1500 --tf 5 --rbp 4 --seed 5 -q");
    room.ok(TRAIN);
    room.ok("ism d.drg genes/TSS.npz,genes/RNA.npz -o ism.npz --names 0:100 -q");
    let effects = Effects::read(&room);
    let dna = 600;

    // A formula knows its inputs: degradation does not see the DNA, transcription not the RNA.
    assert_eq!((effects.largest("_kd", 0, dna), effects.largest("_kt", dna, effects.length)), (0.0, 0.0));
    assert!(effects.largest("_ex", 0, dna) > 0.1 && effects.largest("_ex", dna, effects.length) > 0.1);

    for (kind, first, file, expected) in [("dna", 0, "_kt", 5), ("rna", dna, "_kd", 4)] {
        let motifs = meme::read_pwms(&room.path(&format!("genes/motifs_{kind}.meme"))).unwrap();
        let maps = effects.along_sites(&room.read(&format!("genes/sites_{kind}.bed")), first, file, &motifs);
        assert_eq!(maps.len(), expected);
        for (name, (map, sites)) in &maps {
            let matrix =
                |m: &Pwm| m.probabilities.iter().flat_map(|row| row.iter().map(|p| p - 0.25)).collect::<Vec<f64>>();
            let own = motifs.iter().find(|m| m.name == *name).unwrap();
            let r = drg::stat::pearson(map, &matrix(own));
            assert!(r > 0.7 && *sites > 30, "{name}: r {r} over {sites} sites");
            // Another motif of the width is not what was found.
            for other in motifs.iter().filter(|m| m.name != *name && m.width() == own.width()) {
                let confused = drg::stat::pearson(map, &matrix(other));
                assert!(confused < r, "{name}: {confused} with {}", other.name);
            }
        }
    }
}
