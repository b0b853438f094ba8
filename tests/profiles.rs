//! Base-resolution models through the binary: reads around planted sites are learned, predicted, scored, mutated and exchanged.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::Room;

/// Counts times shapes, as BPNet's heads; the two tracks of a signal are its strands.
const OPTIONS: &str = "num_kernels=12+l_kernels=11+dilated_convolutions=2+l_dilkernels=3+dilations=[1,2]+final_kernel=9+\
                       predict_from_dist=True+count_function=EXP+loss_function=MultinomialNLL+count_loss_weight=5+\
                       stranded_tracks=True+batchsize=16+loss_reduction=mean+drop_last=never+lr=0.01";

impl Room {
    /// Simulated reads in `sim`, and `m.drg` that was trained on them.
    fn with_profiles(options: &str) -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 300 --length 80 --tracks 1 --classes 1 --motifs 2 --sites 2 --negative 0 --profile-bins 60 --seed 3 -q");
        room.ok(&format!("train sim/sequences.fa sim/profiles.npz -o m.drg --crossvalidation sim/folds.txt 0 --reverse-complement --seed 2 -q --cnn {OPTIONS}+{options}"));
        room
    }

    fn fails(&self, line: &str, parts: &[&str]) {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "drg {line}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "drg {line}: no '{part}' in {}", ran.err);
        }
    }

    /// A score of `m_scores.tsv` of the first track.
    fn score(&self, file: &str, metric: &str) -> f64 {
        let table = self.read(file);
        let row = table.lines().map(|l| l.split('\t').collect::<Vec<_>>()).find(|c| c[2] == "track" && c[4] == metric);
        row.unwrap_or_else(|| panic!("{metric} in {table}"))[5].parse().unwrap()
    }
}

#[test]
fn reads_are_learned_and_scored() {
    let room = Room::with_profiles("epochs=40+patience=40+augment_reverse_complement=True");
    // Flat profiles have a correlation of about 0 and a divergence of about 0.6 here.
    let (r, jsd) = (room.score("m_scores.tsv", "profile_r"), room.score("m_scores.tsv", "profile_jsd"));
    let totals = room.score("m_scores.tsv", "r");
    assert!(r > 0.5 && jsd < 0.45 && totals > 0.5, "profile r {r}, divergence {jsd} bits, r of totals {totals}");
    let ([n, tracks, bins], _) = room.array::<3>("m_pred.npz", "counts");
    assert_eq!((tracks, bins), (2, 60));

    // The same numbers from the files.
    let line = "eval score m_pred.npz sim/profiles.npz -o again.tsv";
    assert!(room.ok(line).out.contains(&format!("{n} sequences, 2 tracks")));
    for metric in ["profile_r", "profile_jsd", "r"] {
        let (a, b) = (room.score("m_scores.tsv", metric), room.score("again.tsv", metric));
        assert!((a - b).abs() < 1e-9, "{metric}: {a} and {b}");
    }

    room.ok("predict m.drg sim/sequences.fa -o p.npz -q");
    room.ok("predict m.drg sim/sequences.fa -o total.npz --bins sum -q");
    room.ok("predict m.drg sim/sequences.fa -o part.npz --bins 10:50 --tracks track1- -q");
    let told = room.ok("predict m.drg sim/sequences.fa -o total.tsv").err;
    assert!(told.contains("the totals of the profiles"), "{told}");
    let (_, all) = room.array::<3>("p.npz", "counts");
    let near = |a: f32, b: f32| assert!((a - b).abs() <= 1e-4 * b.abs().max(1.0), "{a} and {b}");
    let (totals, part) = (room.array::<2>("total.npz", "values").1, room.array::<2>("part.npz", "values").1);
    for (i, bins) in all.chunks_exact(60).enumerate() {
        near(totals[i], bins.iter().sum());
        if i % 2 == 1 {
            near(part[i / 2], bins[10..50].iter().sum());
        }
    }
    let first: f32 = room.read("total.tsv").lines().nth(1).unwrap().split('\t').nth(1).unwrap().parse().unwrap();
    near(first, totals[0]);

    // Effects on totals and on parts; delta sweeps agree with whole passes.
    let told = room.ok("ism m.drg sim/sequences.fa -o e.npz --names 0:3 --verify 0.2").err;
    let (_, rest) = told.split_once("verified ").unwrap_or_else(|| panic!("{told}"));
    let (mutants, rest) = rest.split_once(' ').unwrap();
    assert!(mutants.parse::<usize>().unwrap() > 0 && rest.starts_with("mutants in f64"), "{told}");
    room.ok("ism m.drg sim/sequences.fa -o f.npz --names 0:3 --bins 0:30 --verify 0.2 -q");
    room.ok("ism m.drg sim/sequences.fa -o g.npz --names 0:3 --bins 30:60 -q");
    let effects = |file: &str| room.npz(file).numbers::<f32>("values").unwrap().1;
    let (whole, left, right) = (effects("e.npz"), effects("f.npz"), effects("g.npz"));
    let largest = whole.iter().fold(0f32, |a, b| a.max(b.abs()));
    for ((w, l), r) in whole.iter().zip(&left).zip(&right) {
        assert!((w - l - r).abs() < 1e-4 * largest, "{w} is not {l} + {r}");
    }
    // What is read from the bins belongs to what a folder of effects holds.
    room.ok("ism m.drg sim/sequences.fa -o z.zarr --names 0:2 -q");
    let line = "ism m.drg sim/sequences.fa -o z.zarr --names 0:2 --resume -q";
    room.fails(&format!("{line} --bins mean"), &["bins"]);
    room.ok(line);
    let middle: f32 = left.iter().zip(&right).map(|(l, r)| (l - r).abs()).sum();
    assert!(middle > 0.1 * largest, "the halves of a profile differ");
}

#[test]
fn profiles_continue_and_are_exchanged() {
    let room = Room::with_profiles("epochs=1");
    let train = "train sim/sequences.fa sim/profiles.npz --crossvalidation sim/folds.txt 0 --reverse-complement -q";
    let options = OPTIONS.replace("stranded_tracks=True", "stranded_tracks=False");
    room.ok(&format!("{train} -o one.drg --from m.drg --select-tracks track1- --cnn {options}+epochs=0"));
    let load = |file: &str| drg::model::Model::load(&room.path(file)).unwrap();
    let (all, one) = (load("m.drg"), load("one.drg"));
    assert_eq!((one.track_names(), one.network.architecture().bins()), (vec!["track1-"], Some(60)));
    for name in ["linear_classifier.fconvlayer.weight", "linear_classifier.cpred.0.bias"] {
        let get = |m: &drg::model::Model| {
            let p = m.network.parameters();
            p.to_torch(p.id(name).unwrap())
        };
        let (all, one) = (get(&all), get(&one));
        assert_eq!(one, all[all.len() / 2..], "{name}: the row of the track");
    }
    room.ok("convert m.drg -o m.pth --write-params -q");
    let params = room.read("m_model_params.dat");
    assert!(params.contains("l_out : 60\n") && params.contains("predict_from_dist : True\n"), "{params}");
    room.ok("convert m.pth -o n.drg -q");
    room.ok("predict m.drg sim/sequences.fa -o p.npz -q");
    room.ok("predict n.drg sim/sequences.fa -o q.npz -q");
    assert_eq!(room.array::<3>("p.npz", "counts"), room.array::<3>("q.npz", "counts"));
    // Totals are measurements as others are.
    room.ok("baseline fit sim/sequences.fa sim/profiles.npz -o b.json --crossvalidation sim/folds.txt 0 --k 3 -q");
    room.ok("report --model m.drg --pred m_pred.npz --measured sim/profiles.npz -o report.html -q");
    let page = room.read("report.html");
    for part in ["for each of 60 bins", "a total count, distributed", "Jensen-Shannon divergence", "second strand"] {
        assert!(page.contains(part), "{part}");
    }
    room.ok("plot profile m_pred.npz sim/profiles.npz -o a.svg --rows 0:2 -q");
    room.ok("plot profile m_pred.npz sim/profiles.npz -o b.svg --strands --first 10 -q");
    let panels = |file: &str| room.read(file).matches(">Reads<").count();
    assert_eq!((panels("a.svg"), panels("b.svg")), (4, 4));
    room.fails("plot profile sim/targets.tsv sim/targets.tsv -o c.svg", &["expected profiles"]);
    room.fails(
        "plot profile m_pred.npz sim/profiles.npz -o c.svg --tracks 0 --strands -q",
        &["expected pairs of tracks"],
    );
}

/// Other scales of the counts, by our words and by the reference's.
#[test]
fn counts_are_transformed() {
    let room = Room::new();
    room.ok("simulate -o sim --sequences 60 --length 40 --tracks 1 --classes 1 --motifs 2 --negative 0 --profile-bins 30 -q");
    let train = "train sim/sequences.fa sim/profiles.npz --crossvalidation sim/folds.txt 0 -q --cnn num_kernels=4+l_kernels=5+epochs=1";
    for (flag, alias) in [
        ("--transform log", "--logcounts"),
        ("--transform log2", "--log2counts"),
        ("--transform share", "--norm1outputbins"),
    ] {
        room.ok(&format!("{train} -o a.drg {flag}"));
        room.ok(&format!("{train} -o b.drg {alias}"));
        assert_eq!(room.read("a_loss.txt"), room.read("b_loss.txt"), "{flag}");
        room.ok(&format!("{train} -o c.drg"));
        assert_ne!(room.read("a_loss.txt"), room.read("c_loss.txt"), "{flag}");
    }
    // What is learned is told, and scored on its scale.
    room.ok(&format!("{train} -o log.drg --transform log"));
    assert!(room.ok("predict log.drg sim/sequences.fa -o p.npz").err.contains("has learned ln(1 + x)"));
    room.ok("eval score log_pred.npz sim/profiles.npz -o s.tsv --transform log -q");
    for metric in ["rmse", "profile_jsd"] {
        let (own, again) = (room.score("log_scores.tsv", metric), room.score("s.tsv", metric));
        assert!((own - again).abs() < 1e-6 * own, "{metric}: {own} and {again}");
    }
    room.fails("ensemble log.drg c.drg -o mean.drg -q", &["the first predicts ln(1 + x), the second the measurements"]);
    room.write("c.toml", "[data]\ntransform = 'log'\n");
    room.ok(&format!("{train} -o again.drg --config c.toml"));
    assert_eq!(room.read("again_loss.txt"), room.read("log_loss.txt"));
    room.write("c.toml", "[data]\ntransform = 'ln'\n");
    room.fails(&format!("{train} -o x.drg --config c.toml"), &["c.toml", "data.transform", "unknown transform 'ln'"]);
    // Shares sum to one: no correlation of totals is made of their rounding.
    room.ok(&format!("{train} -o share.drg --transform share"));
    room.ok("eval score share_pred.npz sim/profiles.npz -o s.tsv --transform share -q");
    assert!(room.score("s.tsv", "r").is_nan());
    assert!(room.score("share_scores.tsv", "r").is_nan() && room.score("share_scores.tsv", "profile_jsd") < 1.0);
    room.fails(
        "train sim/sequences.fa sim/targets.tsv -o x.drg --transform share -q --cnn num_kernels=4",
        &["expected profiles"],
    );
    let lines: String = room
        .read("sim/sequences.fa")
        .lines()
        .filter_map(|l| l.strip_prefix('>'))
        .map(|n| format!("{n}\t-3\n"))
        .collect();
    room.write("low.tsv", &lines);
    room.fails(
        "train sim/sequences.fa low.tsv -o x.drg --transform log -q --cnn num_kernels=4",
        &["measurements above -1, found -3"],
    );
    let ran = room.run(&format!("{train} -o x.drg --logcounts --log2counts"));
    assert!(ran.code == 2 && ran.err.contains("cannot be used with"), "{}", ran.err);
}

#[test]
fn wrong_use_is_told() {
    let room = Room::with_profiles("epochs=0");
    let train = "train sim/sequences.fa sim/profiles.npz -o x.drg -q --cnn num_kernels=4+epochs=0";
    let rows = room
        .read("sim/signal.tsv")
        .lines()
        .map(|l| l.split('\t').next().unwrap().to_string() + "\t-2\n")
        .skip(1)
        .collect::<String>();
    room.write("sim/signal.tsv", &format!("#\ttrack1\n{rows}"));
    room.fails(&format!("{train}+fclayer_size=4"), &["'fclayer_size': a base-resolution model has no such layer"]);
    room.fails(&format!("{train}+loss_function=Poisson"), &["an output above 0 beside loss 'Poisson'"]);
    room.fails(
        "train sim/sequences.fa sim/signal.tsv -o x.drg -q --cnn num_kernels=4+epochs=0+outclass=EXP+loss_function=Poisson",
        &["row 'seq", "track 'track1' has -2", "loss 'Poisson' takes counts, from 0"],
    );
    room.fails(&format!("{train}+l_out=4"), &["'l_out'", "leave it out"]);
    room.fails(&format!("{train}+max_pooling=True+pooling_size=2"), &["60 bins", "which has 40 positions of 2 bases"]);
    room.fails(
        "train sim/sequences.fa sim/profiles.npz,sim/targets.tsv -o x.drg -q --cnn num_kernels=4",
        &["expected files of one kind; the first holds profiles of 60 bins, file 2 a matrix"],
    );
    room.fails(
        "train sim/sequences.fa sim/targets.tsv -o x.drg -q --cnn num_kernels=4+final_kernel=3",
        &["base-resolution"],
    );
    // Windows of the other strand would have bins and strands the other way round.
    room.write(
        "v.vcf",
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\nseq001\t40\tv\tN\tA\t.\t.\t.\n",
    );
    let variants = "variants m.drg v.vcf --sequences sim/sequences.fa -q -o";
    room.ok(&format!("{variants} v.tsv"));
    room.ok(&format!("{variants} f.tsv --strand forward"));
    assert_eq!(room.read("v.tsv"), room.read("f.tsv"));
    room.fails(&format!("{variants} x.tsv --strand mean"), &["profiles of the other strand lie the other way round"]);
    room.fails("predict m.drg sim/sequences.fa -o p.npz --bins 50:61", &["expected a range within 0:60"]);
    room.fails("ism m.drg sim/sequences.fa -o e.npz --bins median", &["expected sum, mean, a range A:B, or a file"]);
    room.ok("train sim/sequences.fa sim/targets.tsv -o flat.drg -q --cnn num_kernels=4+l_kernels=5+epochs=0");
    room.fails("predict flat.drg sim/sequences.fa -o p.npz --bins sum", &["no base-resolution model"]);
    room.fails("simulate -o s --sequences 4 --length 40 --profile-bins 41", &["bins: expected 1 to 40"]);
}
