//! What is asked of a model besides its predictions: means of classes, layers, kernels.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::Room;
use drg::device::Precision;
use drg::engine::embed::{Embedding, Layer, Positions};
use drg::io::npz::Npz;
use drg::seq::one_hot;

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

const CASES: &[&str] = &[
    "01_baseline",
    "01b_baseline_padded",
    "02_attention",
    "03_multihead",
    "04_two_input_C",
    "05_two_input_D",
    "06_two_input_D_shared",
    "07_two_input_F",
    "08_two_input_F_routed",
    "09a_max_relu_exp",
    "09b_mean_embed_attention",
    "09c_meanmax_allnorm",
    "09d_overlap_pool_class",
    "09e_whole_pool_multiclass",
    "09f_residual_options",
    "09g_concat_residual",
    "09h_stop_early",
    "09j_fc_residual",
    "09k_shift_sequence",
    "09l_fraction",
    "09m_single_difference",
];

/// What the reference returns at its layers: number, shape, order.
#[test]
fn activations_are_those_of_the_reference() {
    let Some(folder) = common::shared("fixtures") else { return };
    let mut compared = 0;
    for name in CASES {
        let network = common::reference_network(&folder.join(name), "model_params.dat", "weights.pth");
        let mut npz = Npz::open(&folder.join(name).join("io.npz")).unwrap();
        let inputs = network.inputs().len();
        let mut bases = vec![];
        for key in (0..inputs).map(|i| if i == 0 { "seqfeatures".into() } else { format!("seqfeatures_{i}") }) {
            let ([_, length, _], x) = npz.array::<f64, 3>(&key).unwrap();
            bases.extend_from_slice(&one_hot::pack(&x).unwrap()[..length]);
        }
        let mut wanted: Vec<(String, String)> =
            vec![("joined".into(), "comb_loc_1".into()), ("combined".into(), "comb_loc_2".into())];
        for i in 0..inputs {
            let (prefix, at) =
                if inputs > 1 { (format!("cnn{i}_"), format!("@{i}")) } else { (String::new(), String::new()) };
            wanted.extend((0..7).map(|tap| (format!("{tap}{at}"), format!("{prefix}loc_{tap}"))));
            wanted.extend([
                (format!("-1{at}"), format!("{prefix}loc_6")),
                (format!("heads{at}"), format!("{prefix}out")),
            ]);
        }
        for (layer, key) in wanted.iter().filter(|w| npz.has(&w.1)).collect::<Vec<_>>() {
            let (shape, want) = npz.numbers::<f64>(key).unwrap();
            let place = Layer::parse(layer, network.architecture()).unwrap();
            let embedding = Embedding::new(&network, place, Positions::All, Precision::F32).unwrap();
            assert_eq!(embedding.shape(), shape, "{name} {layer}");
            let got: Vec<f64> = embedding.values(&bases).unwrap().into_iter().map(f64::from).collect();
            let scale = want.iter().fold(1f64, |a, b| a.max(b.abs()));
            common::within(&format!("{name} {layer}"), &got, &want, 1e-4 * scale);
            compared += 1;
        }
    }
    assert!(compared > 100, "only {compared} activations were compared");
}

#[test]
fn activations_are_written_as_asked() {
    let room = Room::simulated();
    room.ok(&format!("{TRAIN} --save_embedding -1"));
    room.ok("predict m.drg sim/sequences.fa -o flat.npz --embedding -1 --batch-size 7 -q");
    let (all, test) =
        (room.npz("flat.npz").strings("names").unwrap(), room.npz("m_embed-1.npz").strings("names").unwrap());
    assert_eq!(test, room.npz("m_pred.npz").strings("names").unwrap());
    let ([n, d], values) = room.array::<2>("flat.npz", "values");
    let ([m, _], of_test) = room.array::<2>("m_embed-1.npz", "values");
    assert_eq!((n, m, d), (60, test.len(), values.len() / 60));
    for (name, row) in test.iter().zip(of_test.chunks(d)) {
        let i = all.iter().position(|a| a == name).unwrap();
        assert_eq!(row, &values[i * d..][..d], "{name}");
    }
    let ([n, c, l], stem) = {
        room.ok("predict m.drg sim/sequences.fa -o stem.npz --embedding stem -q");
        room.array::<3>("stem.npz", "values")
    };
    assert_eq!((n, c, l), (60, 5, 41));
    room.ok("predict m.drg sim/sequences.fa -o most.npz --embedding 0 --embedding-positions max -q");
    let ([n, c], most) = room.array::<2>("most.npz", "values");
    assert_eq!((n, c), (60, 5));
    assert!(stem.chunks(41).zip(most).all(|(row, most)| row.iter().copied().fold(f32::MIN, f32::max) == most));
    for (line, expected) in [
        ("-o x.tsv --embedding 0", "written as npz"),
        ("-o x.npz --embedding fist-block", "(did you mean 'first-block'?)"),
        ("-o x.npz --embedding 0 --tracks 1", "cannot be used with"),
    ] {
        let ran = room.run(&format!("predict m.drg sim/sequences.fa {line}"));
        assert!(ran.code == 2 && ran.err.contains(expected), "{line}: {}", ran.err);
    }
    // Before training, not behind it.
    let ran = room.run(&format!("{TRAIN} --save_embedding 7").replace("m.drg", "y.drg"));
    assert!(ran.code == 2 && !room.path("y.drg").exists() && ran.err.contains("unknown layer '7'"), "{}", ran.err);
}
