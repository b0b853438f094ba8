//! What is asked of a model besides its predictions: means of classes, layers, kernels.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::Room;

const TRAIN: &str = "train sim/sequences.fa sim/targets.tsv -o m.drg --crossvalidation sim/folds.txt 0 --reverse-complement -q \
                     --set num_kernels=5 --set l_kernels=6 --set pooling_size=7 --set epochs=1";

impl Room {
    fn simulated() -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 60 --length 41 --tracks 4 --motifs 3 --seed 1 -q");
        room
    }

    /// Rows of a table, the first line and the first column left out.
    fn matrix(&self, name: &str) -> Vec<Vec<f64>> {
        let rows = self.read(name);
        rows.lines().skip(1).map(|l| l.split('\t').skip(1).map(|v| v.parse().unwrap()).collect()).collect()
    }
}

#[test]
fn tracks_are_averaged_within_classes_before_they_are_scored() {
    let room = Room::simulated();
    let header = room.read("sim/targets.tsv").lines().next().unwrap().to_string();
    let tracks: Vec<&str> = header.trim_start_matches('#').split_whitespace().rev().take(4).collect();
    room.write(
        "means.txt",
        &tracks.iter().enumerate().map(|(i, t)| format!("{t} {}\n", ["T", "B"][i / 3])).collect::<String>(),
    );
    room.ok(&format!("{TRAIN} --average_outclasses means.txt --save_correlation_perclass --save_mse_perpoint"));
    let words = |text: &str| text.lines().map(|l| l.split(' ').next().unwrap().to_string()).collect::<Vec<_>>();
    assert_eq!(words(&room.read("m_clss_corr_tcl0.txt")), ["B", "T"]);
    // The file of predictions has the tracks, and scoring their means afterwards gives the same.
    assert_eq!(room.npz("m_pred.npz").strings("columns").unwrap().len(), 4);
    let score = "eval score m_pred.npz sim/targets.tsv -o s.tsv --model m --class-means means.txt -q";
    room.ok(&format!("{score} --reference-files again --save-mse-perpoint"));
    assert_eq!(room.read("s.tsv"), room.read("m_scores.tsv"));
    assert_eq!(room.read("again_pnt_mse_tcl0.txt"), room.read("m_pnt_mse_tcl0.txt"));
    assert!(!room.path("again_clss_corr_tcl0.txt").exists());
    let ran = room.run("eval score m_pred.npz sim/targets.tsv -o s.tsv --save-mse-perpoint");
    assert!(ran.code == 2 && ran.err.contains("--reference-files PREFIX"), "{}", ran.err);

    // Predictions themselves.
    room.ok("predict m.drg sim/sequences.fa -o all.tsv -q");
    room.ok("predict m.drg sim/sequences.fa -o means.tsv --class-means means.txt -q");
    assert!(room.read("means.tsv").starts_with("#\tB\tT\n"));
    for (all, means) in room.matrix("all.tsv").iter().zip(room.matrix("means.tsv")) {
        // The last track of the file is the first of the list.
        let expected = [all[0], (all[1] + all[2] + all[3]) / 3.0];
        assert!(
            means.iter().zip(expected).all(|(m, e)| (m - e).abs() < 1e-6 * (1.0 + e.abs())),
            "{means:?} {expected:?}"
        );
    }
    let missing = room.run("predict m.drg sim/sequences.fa -o x.tsv --class-means sim/folds.txt");
    assert!(missing.code != 0 && missing.err.contains("tracks have no class"), "{}", missing.err);
}

#[test]
fn rank_sums_are_of_ones_against_zeros() {
    let room = Room::new();
    let rows = [(0.9, 1), (0.2, 0), (0.15, 1), (0.1, 0), (0.7, 1), (0.3, 0)];
    let table = |of: &dyn Fn(&(f64, i32)) -> String| -> String {
        let lines = rows.iter().enumerate().map(|(i, r)| format!("s{i}\t{}\n", of(r)));
        std::iter::once("#\tliver\n".to_string()).chain(lines).collect()
    };
    room.write("p.tsv", &table(&|r| r.0.to_string()));
    room.write("y.tsv", &table(&|r| r.1.to_string()));
    let ran =
        room.ok("eval score p.tsv y.tsv -o s.tsv --reference-files w --save_wilcoxon_perclass --save_auroc_perpoint");
    // scipy 1.17.1: -log10(mannwhitneyu([.9, .15, .7], [.2, .1, .3], use_continuity=False, method="asymptotic").pvalue)
    let text = room.read("w_clss_rnksm_tcl0.txt");
    let value: f64 = text.strip_prefix("liver ").unwrap().trim().parse().unwrap();
    assert!((value - 0.560_298_669_150_203_3).abs() < 1e-12, "{value}");
    assert!(ran.err.contains("no pnt_auroc files"), "{}", ran.err);
}
