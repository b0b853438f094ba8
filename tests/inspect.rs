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

    // The same by a configuration.
    room.write("c.toml", "[data]\naverage_outclasses = 'means.txt'\n");
    room.ok(&format!("{} --config c.toml", TRAIN.replace("m.drg", "configured.drg")));
    assert_eq!(room.read("configured_scores.tsv").replace("configured", "m"), room.read("m_scores.tsv"));

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

/// What the reference returns at its layers: number, shape, order.
#[test]
fn activations_are_those_of_the_reference() {
    let Some(folder) = common::shared("fixtures") else { return };
    let mut compared = 0;
    for name in common::cases() {
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

#[test]
fn kernels_are_knocked_out() {
    let room = Room::simulated();
    room.ok(TRAIN);
    room.ok("predict m.drg sim/sequences.fa -o all.tsv -q");
    room.ok("predict m.drg sim/sequences.fa -o none.tsv --mask 1,filter3 --mask 4 --mask-value -0.5 -q");
    room.ok("predict m.drg sim/sequences.fa -o none.npz --mask 1:2,3:5 --mask-value -0.5 --embedding stem -q");
    let ([n, c, l], stem) = room.array::<3>("none.npz", "values");
    assert_eq!((n, c, l), (60, 5, 41));
    for (i, v) in stem.iter().enumerate() {
        assert_eq!(*v == -0.5, [1, 3, 4].contains(&(i / l % c)), "{i}: {v}");
    }
    assert_ne!(room.read("none.tsv"), room.read("all.tsv"));

    // One at a time, and the same as predictions with and without.
    let line = "perturb kernels m.drg sim/sequences.fa --targets sim/targets.tsv -q";
    room.ok(&format!("{line} --kernels 2,0 --mask-value 0.25 -o k.tsv"));
    room.ok("predict m.drg sim/sequences.fa -o one.tsv --mask 2 --mask-value 0.25 -q");
    let (all, one) = (room.matrix("all.tsv"), room.matrix("one.tsv"));
    let text = room.read("k.tsv");
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split('\t').collect()).collect();
    assert_eq!(lines.len(), 1 + 2 * 4);
    assert_eq!(lines[0].join(" "), "kernel track n value mean se mean_abs r r_change rmse rmse_change");
    assert_eq!((lines[1][0], lines[5][0], lines[1][2], lines[1][3]), ("filter2", "filter0", "60", "0.25"));
    for (t, line) in lines[1..5].iter().enumerate() {
        let changes: Vec<f64> = all.iter().zip(&one).map(|(a, b)| b[t] - a[t]).collect();
        let mean = changes.iter().sum::<f64>() / 60.0;
        let spread = changes.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 59.0;
        let sizes = changes.iter().map(|d| d.abs()).sum::<f64>() / 60.0;
        for (found, expected) in line[4..7].iter().zip([mean, (spread / 60.0).sqrt(), sizes]) {
            let found: f64 = found.parse().unwrap();
            assert!((found - expected).abs() < 2e-6, "{line:?}: {expected}");
        }
    }
    // The fit is that of `drg eval score`.
    for file in ["all", "one"] {
        room.ok(&format!("eval score {file}.tsv sim/targets.tsv -o {file}_s.tsv --axis track --metrics r,rmse -q"));
    }
    let scores = |name: &str| -> Vec<f64> {
        room.read(name).lines().skip(1).map(|l| l.split('\t').nth(5).unwrap().parse().unwrap()).collect()
    };
    let (before, after) = (scores("all_s.tsv"), scores("one_s.tsv"));
    for (t, line) in lines[1..5].iter().enumerate() {
        let found: Vec<f64> = line[7..].iter().map(|v| v.parse().unwrap()).collect();
        let (r, e) = (2 * t, 2 * t + 1);
        let expected = [before[r], after[r] - before[r], before[e], after[e] - before[e]];
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 2e-6), "{found:?} {expected:?}");
    }

    // All of them, and by their means.
    room.ok(&format!("{line} -o k.npz --tracks 1,2"));
    let ([k, t], _) = room.array::<2>("k.npz", "mean");
    let ([values], means) = room.array::<1>("k.npz", "value");
    assert_eq!((k, t, values), (5, 2, 5));
    room.ok("predict m.drg sim/sequences.fa -o stem.npz --embedding stem -q");
    let (_, stem) = room.array::<3>("stem.npz", "values");
    for (kernel, mean) in means.iter().enumerate() {
        let of = stem.chunks(41).skip(kernel).step_by(5).flatten().map(|&v| f64::from(v));
        assert!((of.sum::<f64>() / (60.0 * 41.0) - f64::from(*mean)).abs() < 1e-6);
    }
    for (line, expected) in [
        ("--mask 5", "kernels: there is no index 5; the indices are 0 to 4"),
        ("--mask 1@1", "expected the number of an input behind @, 0 to 0; found '1'"),
        ("--mask 1 --mask 0:2", "kernels: 1 of input 0 is named twice"),
        ("--mask 1 --mask-value zero", "expected a number or 'mean', found 'zero'"),
    ] {
        let ran = room.run(&format!("predict m.drg sim/sequences.fa -o x.tsv {line}"));
        assert!(ran.code == 2 && ran.err.contains(expected), "{line}: {}", ran.err);
    }
}

#[test]
fn layers_and_kernels_of_several_inputs() {
    let room = Room::simulated();
    let inputs = "sim/sequences.fa,sim/sequences.fa";
    room.ok(&format!("{} --set outclass=difference", TRAIN.replace("sim/sequences.fa", inputs)));
    let predict = format!("predict m.drg {inputs} -q");
    for (i, layer) in ["heads@0", "heads@1", "joined"].iter().enumerate() {
        room.ok(&format!("{predict} -o e{i}.npz --embedding {layer}"));
    }
    room.ok(&format!("{predict} -o p.npz"));
    let [(_, a), (_, b), (shape, both), (_, y)] =
        ["e0", "e1", "e2", "p"].map(|f| room.array::<2>(&format!("{f}.npz"), "values"));
    assert_eq!(shape, [60, 8]);
    for (i, y) in y.iter().enumerate() {
        assert!((a[i] - b[i] - y).abs() < 1e-6, "{i}");
        assert_eq!((both[i / 4 * 8 + i % 4], both[i / 4 * 8 + 4 + i % 4]), (a[i], b[i]));
    }
    room.ok(&format!("perturb kernels m.drg {inputs} -o k.tsv --kernels 0@1 --kernels 3,4@0 --mask-value 0 -q"));
    let text = room.read("k.tsv");
    let names: Vec<&str> = text.lines().skip(1).step_by(4).map(|l| l.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["filter0_CNN1", "filter3_CNN0", "filter4_CNN0"]);
    // The network of the other input does not change.
    room.ok(&format!("{predict} -o m.npz --mask 0@1 --embedding heads@0"));
    assert_eq!(room.array::<2>("m.npz", "values").1, a);
    let ran = room.run(&format!("{predict} -o x.npz --mask 0"));
    assert!(ran.code == 2 && ran.err.contains("the model has 2 inputs; expected 0@INPUT"), "{}", ran.err);
}

/// Every verb that mutates, on a model of two inputs: changes stay where they were made, and both engines agree.
#[test]
fn mutations_of_several_inputs() {
    let room = Room::simulated();
    // The second input is shorter than the first.
    let text = room.read("sim/sequences.fa");
    let short: String = text
        .split('>')
        .skip(1)
        .map(|entry| {
            let (name, bases) = entry.split_once('\n').unwrap();
            format!(">{name}\n{}\n", &bases.replace('\n', "")[..29])
        })
        .collect();
    room.write("rna.fa", &short);
    let inputs = "sim/sequences.fa,rna.fa";
    room.ok(&format!("{} --set outclass=difference", TRAIN.replace("sim/sequences.fa", inputs)));
    let effects = |name: &str| -> Vec<f64> {
        let text = room.read(name);
        let mut lines = text.lines();
        let at = lines.next().unwrap().split('\t').position(|c| c == "effect").unwrap();
        lines.map(|l| l.split('\t').nth(at).unwrap().parse().unwrap()).collect()
    };
    let near = |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);

    // Positions of one input, and the same ones counted through both.
    for verb in ["insert --bases TGA", "delete --width 4", "occlude --width 5 --step 3"] {
        let (what, options) = verb.split_once(' ').unwrap();
        let line = |more: &str| format!("perturb {what} m.drg {inputs} {options} --names 0:2 -q {more}");
        room.ok(&line("-o all.tsv"));
        room.ok(&line("-o one.tsv --input 0"));
        room.ok(&line("-o two.tsv --input 1"));
        let rows = |name: &str| room.read(name).lines().skip(1).map(String::from).collect::<Vec<_>>();
        let positions = |name: &str| -> Vec<usize> {
            rows(name).iter().map(|l| l.split('\t').nth(1).unwrap().parse().unwrap()).collect()
        };
        let (all, one, two) = (positions("all.tsv"), positions("one.tsv"), positions("two.tsv"));
        assert_eq!(all.len(), one.len() + two.len(), "{verb}");
        let second: Vec<usize> = all.iter().copied().filter(|&p| p >= 41).map(|p| p - 41).collect();
        assert_eq!(second, two, "{verb}");
        let of_second: Vec<f64> =
            effects("all.tsv").into_iter().zip(&all).filter(|(_, p)| **p >= 41).map(|(e, _)| e).collect();
        assert_eq!(of_second, effects("two.tsv"), "{verb}");
        // No deletion or window reaches into the next input.
        let width = if what == "insert" {
            1
        } else if what == "delete" {
            4
        } else {
            5
        };
        assert!(one.iter().all(|p| p + width <= 41) && two.iter().all(|p| p + width <= 29), "{verb}");
    }
    for engine in ["delta", "naive"] {
        let line = format!("m.drg {inputs} --names 0:2 --engine {engine} --precision f64 -q");
        room.ok(&format!("perturb occlude {line} --width 5 --step 3 -o occlude_{engine}.tsv"));
        room.ok(&format!("epistasis {line} --range 38:44 -o pairs_{engine}.npz"));
        let line = line.replace(inputs, "");
        room.ok(&format!(
            "perturb marginalize {line} --backgrounds {inputs} --input 1 --motif TGACT -o motif_{engine}.tsv"
        ));
    }
    for kind in ["occlude", "motif"] {
        let [a, b] = ["delta", "naive"].map(|engine| effects(&format!("{kind}_{engine}.tsv")));
        assert!(near(&a, &b) && a.iter().any(|e| e.abs() > 1e-4), "{kind}");
    }
    let [a, b] =
        ["delta", "naive"].map(|engine| room.npz(&format!("pairs_{engine}.npz")).numbers::<f64>("pairs").unwrap());
    assert!(a.0 == b.0 && near(&a.1, &b.1));

    // Variants in the second input: as a substitution of `drg ism` at its position counted through.
    let name = text.lines().next().unwrap().trim_start_matches('>').split_whitespace().next().unwrap();
    let base = short.lines().nth(1).unwrap().as_bytes()[6] as char;
    let to = "ACGT".chars().find(|c| *c != base).unwrap();
    room.write("v.tsv", &format!("chrom\tpos\tref\talt\n{name}\t7\t{base}\t{to}\n{name}\t28\tN\tNAAAA\n"));
    let line = format!("variants m.drg v.tsv --sequences {inputs} -q");
    room.ok(&format!("{line} --input 1 -o v_out.tsv"));
    room.ok(&format!("ism m.drg {inputs} --names {name} -o ism.npz -q"));
    let (shape, ism) = room.npz("ism.npz").numbers::<f64>("values").unwrap();
    assert_eq!(shape, [1, 4, 4, 70]);
    let found = &room
        .read("v_out.tsv")
        .lines()
        .nth(1)
        .unwrap()
        .split('\t')
        .skip(6)
        .map(|v| v.parse().unwrap())
        .collect::<Vec<f64>>();
    let expected: Vec<f64> = (0..4).map(|t| ism[(t * 4 + "ACGT".find(to).unwrap()) * 70 + 41 + 6]).collect();
    assert!(near(found, &expected), "{found:?} {expected:?}");

    for (line, expected) in [
        (
            format!("{line} -o x.tsv"),
            "the model has 2 inputs; say with --input K, 0 to 1, which one the variants are in",
        ),
        (format!("{line} -o x.tsv --input 2"), "--input 2: expected the number of an input, 0 to 1"),
        (format!("{line} -o x.tsv --input 0 --strand mean"), "expected forward"),
        ("variants m.drg v.tsv --genome rna.fa -o x.tsv".into(), "is not known: name the sequences of all inputs"),
        (
            format!("perturb marginalize m.drg --backgrounds {inputs} --motif TGACT -o x.tsv"),
            "say with --input K, 0 to 1, which of them the motifs are written into",
        ),
        (
            format!("perturb ablate m.drg {inputs} --range 39:44 -o x.tsv"),
            "reaches from one input into the next; inputs 0-41, 41-70",
        ),
        (
            format!("perturb delete m.drg {inputs} --input 2 -o x.tsv"),
            "--input 2: expected the number of an input, 0 to 1",
        ),
        ("perturb delete m.drg rna.fa -o x.tsv".into(), "the model has 2 inputs; expected so many sets"),
    ] {
        let ran = room.run(&line);
        assert!(ran.code != 0 && ran.err.contains(expected), "{line}: {}", ran.err);
    }
}

/// A file of a model of several outputs is matched by the output that it is of, in kernels and in classes.
#[test]
fn outputs_are_named_by_their_files() {
    let room = Room::simulated();
    let two = TRAIN.replace("sim/targets.tsv", "sim/targets.tsv,sim/signal.tsv");
    room.ok(&format!("{two} --file-classes ex,kd"));
    let line = "perturb kernels m.drg sim/sequences.fa --kernels 1 -q";
    room.ok(&format!("{line} -o both.tsv --targets sim/targets.tsv,sim/signal.tsv"));
    room.ok(&format!("{line} -o kd.tsv --targets sim/signal.tsv --file-classes kd"));
    room.ok(&format!("{line} -o ex.tsv --targets sim/targets.tsv --tracks 0:4"));
    let rows = |file: &str| -> Vec<String> { room.read(file).lines().skip(1).map(String::from).collect() };
    let (both, kd, ex) = (rows("both.tsv"), rows("kd.tsv"), rows("ex.tsv"));
    assert_eq!((both.len(), &kd[4..], &ex[..]), (8, &both[4..], &both[..4]));
    assert!(kd[0].starts_with("filter1\ttrack1_ex\t") && kd[0].ends_with("\tNaN\tNaN\tNaN\tNaN"), "{}", kd[0]);
    assert!(both.iter().all(|row| !row.contains("NaN")), "{both:?}");
    for (more, expected) in [
        ("--targets sim/targets.tsv", "more than one output of the model (ex, kd)"),
        ("--targets sim/targets.tsv", "with --file-classes LABEL,..."),
        (
            "--targets sim/targets.tsv --file-classes kt",
            "--file-classes kt: expected outputs of the model, each once: ex, kd",
        ),
        ("--targets sim/targets.tsv --file-classes ex,kd", "expected 1 labels, one a file; found 2"),
        ("--file-classes ex", "--targets"),
    ] {
        let ran = room.run(&format!("{line} -o x.tsv {more}"));
        assert!(ran.code == 2 && ran.err.contains(expected) && !room.path("x.tsv").exists(), "{more}: {}", ran.err);
    }

    // Classes by plain names: one is divided by output, whichever tracks are chosen.
    room.write("c.txt", "track1 cell\ntrack2 cell\ntrack3 other\ntrack4 other\n");
    let header = |line: &str| {
        room.ok(&format!("predict m.drg sim/sequences.fa -o p.tsv -q --class-means {line}"));
        room.read("p.tsv").lines().next().unwrap().to_string()
    };
    assert_eq!(header("c.txt"), "#\tcellex\tcellkd\totherex\totherkd");
    assert_eq!(header("c.txt --tracks 0:2"), "#\tcellex");
    room.ok("ism m.drg sim/sequences.fa -o e.npz --names 0:2 -q --groups c.txt");
    assert_eq!(room.npz("e.npz").strings("tracks").unwrap(), ["cellex", "otherex", "cellkd", "otherkd"]);
    // By the model's names nothing is divided.
    let full: String = (0..8).map(|i| format!("track{}_{} all\n", i % 4 + 1, ["ex", "kd"][i / 4])).collect();
    room.write("full.txt", &full);
    room.ok("ism m.drg sim/sequences.fa -o f.npz --names 0:2 -q --groups full.txt");
    assert_eq!(room.npz("f.npz").strings("tracks").unwrap(), ["all"]);
    assert_eq!(header("full.txt"), "#\tall");
}

/// Measured profiles are read as predicted ones are.
#[test]
fn windows_of_profiles_are_compared_with_windows() {
    let room = Room::new();
    room.ok("simulate -o sim --sequences 60 --length 40 --tracks 1 --classes 1 --motifs 2 --negative 0 --profile-bins 30 -q");
    room.ok("train sim/sequences.fa sim/profiles.npz -o m.drg --crossvalidation sim/folds.txt 0 -q --cnn \
         num_kernels=4+l_kernels=5+epochs=1");
    let line = "perturb kernels m.drg sim/sequences.fa --kernels 0 --targets sim/profiles.npz -q";
    let weights: Vec<f64> = (0..30).map(|b| f64::from(b) - 7.5).collect();
    room.write("w.txt", &weights.iter().map(|w| format!("{w}\n")).collect::<String>());
    let ([n, tracks, bins], counts) = room.array::<3>("sim/profiles.npz", "counts");
    assert_eq!((n, tracks, bins), (60, 2, 30));
    let window: Vec<f64> = (0..30).map(|b| f64::from(u8::from(b < 5))).collect();
    for (flag, weights) in [("", vec![1.0; 30]), ("--bins 0:5", window), ("--bins w.txt", weights)] {
        room.ok(&format!("{line} -o k.npz {flag}"));
        room.ok(&format!(
            "predict m.drg sim/sequences.fa -o p.npz -q {}",
            if flag.is_empty() { "--bins sum" } else { flag }
        ));
        let (_, predicted) = room.array::<2>("p.npz", "values");
        let (r, rmse) = (room.array::<1>("k.npz", "r").1, room.array::<1>("k.npz", "rmse").1);
        for t in 0..2 {
            let measured = counts.chunks_exact(30).skip(t).step_by(2);
            let y: Vec<f64> = measured.map(|p| p.iter().zip(&weights).map(|(c, w)| f64::from(*c) * w).sum()).collect();
            let p: Vec<f64> = predicted.iter().skip(t).step_by(2).map(|&v| f64::from(v)).collect();
            let (own, error) = (drg::stat::pearson(&y, &p), drg::stat::rmse(&y, &p));
            assert!((own - f64::from(r[t])).abs() < 1e-4, "{flag}: r {} for {own}", r[t]);
            assert!((error - f64::from(rmse[t])).abs() < 1e-4 * error, "{flag}: rmse {} for {error}", rmse[t]);
        }
    }
    let totals: String = (0..60).map(|i| format!("seq{i}\t1\t2\n")).collect();
    room.write("totals.tsv", &format!("#\ttrack1+\ttrack1-\n{totals}"));
    let ran = room.run(&format!("{} -o x.tsv --bins 0:5", line.replace("sim/profiles.npz", "totals.tsv")));
    assert!(ran.code == 2 && ran.err.contains("totals.tsv: one value a track, but --bins"), "{}", ran.err);
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let room = Room::simulated();
    let inputs = "sim/sequences.fa,sim/sequences.fa";
    room.ok(&TRAIN.replace("sim/sequences.fa", inputs));
    for (line, expected) in [
        ("perturb kernels m.drg I -o x.tsv --input 0 --kernels 0@1", "of another input than --input 0; leave one"),
        ("predict m.drg I -o x.npz --embedding heads@0 --bins mean", "cannot be used with"),
        ("simulate -o y --depth 5", "--profile-bins"),
        (
            "search sim/sequences.fa sim/targets.tsv -o s --vary num_kernels=4,6 --trials 2 --give-up 0,2",
            "--give-up 2: there are 2 trials; expected numbers below 2",
        ),
    ] {
        let ran = room.run(&line.replace(" I ", &format!(" {inputs} ")));
        assert!(ran.code == 2 && ran.err.contains(expected), "{line}: {}", ran.err);
    }
    room.ok(&format!("perturb kernels m.drg {inputs} -o k.tsv --input 0 --kernels 0@0 -q"));
}
