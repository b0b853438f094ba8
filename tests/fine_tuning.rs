//! `drg train` from other models: what is taken of them, which tracks are learned, what stays as it is.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::Room;
use drg::model::Model;

const HEAD: &str = "classifier.classifier.Linear.weight";
const BIAS: &str = "classifier.classifier.Linear.bias";
const STEM: &str = "convolutions.conv1d.weight";

/// The options of `m.drg`.
const OPTIONS: &str = "num_kernels=6+l_kernels=5+max_pooling=False+mean_pooling=True+pooling_size=8+dilated_convolutions=1+\
                       l_dilkernels=3+conv_batch_norm=True+batchsize=16+loss_function=MSE";

impl Room {
    /// Simulated data of three tracks, and a model of them that was trained for an epoch.
    fn trained() -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 60 --length 40 --tracks 3 --motifs 3 --seed 1 -q");
        room.ok(&format!("{TRAIN} -o m.drg --cnn {OPTIONS}+epochs=1"));
        room
    }

    fn model(&self, name: &str) -> Model {
        Model::load(&self.path(name)).unwrap()
    }

    /// A run without a step: what it starts with.
    fn start(&self, line: &str) -> (Model, String) {
        let ran = self.ok(&format!("{TRAIN} -o start.drg --cnn {OPTIONS}+epochs=0+seed=77 {line}").replace(" -q", ""));
        let said: Vec<&str> = ran.err.lines().filter(|l| l.contains(".drg: ") || l.contains(".pth: ")).collect();
        (self.model("start.drg"), said.join("\n"))
    }

    fn refused(&self, line: &str) -> String {
        let ran = self.run(&format!("{TRAIN} -o x.drg --cnn {OPTIONS}+epochs=0 {line}"));
        assert_eq!((ran.code, self.path("x.drg").exists()), (2, false), "{line}: {}", ran.err);
        ran.err
    }
}

const TRAIN: &str = "train sim/sequences.fa sim/targets.tsv --reverse-complement -q";

fn get(model: &Model, name: &str) -> Vec<f64> {
    let p = model.network.parameters();
    p.to_torch(p.id(name).unwrap())
}

#[test]
fn what_fits_is_taken_and_the_rest_is_told() {
    let room = Room::trained();
    let source = room.model("m.drg");
    let (same, said) = room.start("--from m.drg");
    assert_eq!(said, "");
    assert_eq!(same.network.parameters().values().to_f64(), source.network.parameters().values().to_f64());

    let (other, said) = room.start("--from m.drg --set l_dilkernels=5");
    assert_eq!(get(&other, STEM), get(&source, STEM));
    let expected = "m.drg: 'convolution_layers.convlayers.Conv0.conv1d.weight' starts as drawn: shape [6, 6, 3] in the file, \
                    [6, 6, 5] in the model";
    assert!(said.contains(expected), "{said}");
    let record: serde_json::Value = serde_json::from_str(&room.read("start.drg.json")).unwrap();
    let report = record.pointer("/results/start/report").or_else(|| record.pointer("/start/report"));
    assert!(report.unwrap_or_else(|| panic!("{record:#}"))["kept"][0][1].as_str().unwrap().contains("[6, 6, 5]"));

    // Only the first layer.
    let (drawn, _) = room.start("");
    let (some, said) = room.start("--from m.drg --take convolutions.*");
    assert_eq!((get(&some, STEM), get(&some, HEAD)), (get(&source, STEM), get(&drawn, HEAD)));
    assert!(said.contains("not asked for (--take)"), "{said}");
    let said = room.refused("--from m.drg --take convolutons.*");
    assert!(
        said.contains("--from m.drg: no tensor of the model fits 'convolutons.*' (did you mean 'convolutions.*'?)")
    );
    room.refused("--take convolutions.*");
}

#[test]
fn selected_tracks_keep_their_rows() {
    let room = Room::trained();
    let source = room.model("m.drg");
    let tracks = source.tracks[0].clone();
    let width = get(&source, HEAD).len() / 3;
    // In the order of the file, whatever the order of the names.
    let (some, said) = room.start(&format!("--from m.drg --select-tracks {},{}", tracks[2], tracks[0]));
    assert_eq!(some.tracks, [[tracks[0].clone(), tracks[2].clone()]]);
    let old = get(&source, HEAD);
    assert_eq!(get(&some, HEAD), [&old[..width], &old[2 * width..]].concat());
    assert!(said.contains(&format!("tracks that are not used: {}", tracks[1])), "{said}");
    // A name a line, and without another model.
    room.write("list.txt", &format!("{}\n\n", tracks[1]));
    let (one, said) = room.start("--select_tracks list.txt");
    assert_eq!((one.tracks, said.as_str()), (vec![vec![tracks[1].clone()]], ""));
    let said = room.refused(&format!("--select-tracks {}x", tracks[1]));
    assert!(said.contains(&format!("no track '{0}x' (did you mean '{0}'?)", tracks[1])), "{said}");

    // As the reference: the whole head of a file without names, then the selected rows.
    room.ok("convert m.drg -o m_parameter.pth -q");
    for file in ["m_parameter.pth", "m.drg"] {
        let line =
            format!("--load_parameters {file} None None False False --select_tracks {},{}", tracks[0], tracks[2]);
        let (m, _) = room.start(&line);
        assert_eq!((get(&m, HEAD), get(&m, STEM)), (get(&some, HEAD), get(&source, STEM)), "{file}");
    }

    // Numbers for names, as targets without a header have them.
    let numbered = tracks
        .iter()
        .enumerate()
        .fold(room.read("sim/targets.tsv"), |text, (i, t)| text.replacen(t.as_str(), &format!("C{i}"), 1));
    room.write("sim/targets.tsv", &numbered);
    let (m, _) = room.start("--load_parameters m.drg None None False False --select_tracks C0,C2");
    assert_eq!((&m.tracks[0][1], get(&m, HEAD)), (&"C2".to_string(), get(&some, HEAD)));
    room.ok(&format!("{TRAIN} -o numbered.drg --cnn {OPTIONS}+epochs=1"));
    let (m, source) = (room.start("--from numbered.drg --select-tracks C1,C2").0, room.model("numbered.drg"));
    assert_eq!(get(&m, HEAD), get(&source, HEAD)[width..]);
}

#[test]
fn parameters_are_loaded_as_the_reference_does() {
    let room = Room::trained();
    let source = room.model("m.drg");
    let (drawn, _) = room.start("");
    let (m, said) = room.start(&format!("--load-parameters m.drg None {HEAD},{BIAS} False False"));
    assert_eq!((get(&m, HEAD), get(&m, STEM)), (get(&drawn, HEAD), get(&source, STEM)));
    assert!(said.contains(&format!("not used: {BIAS}, {HEAD}")), "{said}");
    // Names that differ, and only these.
    let norm = "convolution_layers.convlayers.Bnorm0";
    let line = format!("--load-parameters m.drg {norm}.bias:{norm}.weight {norm}.bias True False");
    let (m, said) = room.start(&line);
    assert_eq!(
        (get(&m, &format!("{norm}.bias")), get(&m, STEM)),
        (get(&source, &format!("{norm}.weight")), get(&drawn, STEM))
    );
    assert!(said.contains("1 of "), "{said}");
    // A file of fewer rows: those that it has.
    let tracks = source.tracks[0].join(",");
    let two: Vec<&str> = tracks.split(',').take(2).collect();
    room.ok(&format!("{TRAIN} -o two.drg --select-tracks {} --cnn {OPTIONS}+epochs=0", two.join(",")));
    let (m, _) = room.start("--load-parameters two.drg None None False True");
    let (small, start) = (get(&room.model("two.drg"), BIAS), get(&drawn, BIAS));
    assert_eq!(get(&m, BIAS), [small[0], small[1], start[2]]);
    let (m, said) = room.start("--load-parameters two.drg None None False False");
    assert_eq!(get(&m, BIAS), start);
    assert!(
        said.contains(&format!("two.drg: '{BIAS}' starts as drawn: shape [2] in the file, [3] in the model")),
        "{said}"
    );

    let said = room.refused("--load-parameters m.drg a None False False");
    assert!(said.contains("TRANSLATE: expected 'name in the model:name in the file'"), "{said}");
    let said = room.refused(&format!("--load-parameters m.drg None {STEM}s False False"));
    assert!(said.contains(&format!("(did you mean '{STEM}'?)")), "{said}");
    let said =
        room.refused("--load-parameters m.drg None None False False --load-parameters m.drg None None False False");
    assert!(said.contains("--load-parameters: expected it once, with 5 words, found 10"), "{said}");
    let said = room.refused("--load-parameters m.drg None None False False --from m.drg");
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn one_of_two_inputs_is_frozen() {
    let room = Room::trained();
    let two = "train sim/sequences.fa,sim/sequences.fa sim/targets.tsv --reverse-complement True,False -q -o";
    let options = format!("--cnn {OPTIONS}+outclass=difference+shared_embedding=False+epochs=1");
    room.ok(&format!("{two} first.drg {options}"));
    let tracks = room.model("first.drg").tracks[0].clone();
    room.ok(&format!(
        "{two} second.drg {options} --from first.drg --freeze cnns.CNN0.* --lr-of cnns.CNN1.convolutions.*=0 --select-tracks {}",
        tracks[1]
    ));
    let (first, second) = (room.model("first.drg"), room.model("second.drg"));
    for e in second.network.parameters().entries() {
        let frozen = e.name.starts_with("cnns.CNN0.") || e.name.starts_with("cnns.CNN1.convolutions.");
        let (mut old, new) = (get(&first, &e.name), get(&second, &e.name));
        if old.len() != new.len() {
            old = old[new.len()..2 * new.len()].to_vec();
        }
        assert_eq!(old == new, frozen || e.name.ends_with("pos_queries"), "{}", e.name);
    }
    let spec = second.training.unwrap();
    assert_eq!(spec.freeze, ["cnns.CNN0.*"]);
    assert_eq!(spec.lr_of, [("cnns.CNN1.convolutions.*".to_string(), 0.0)]);
    // Options of a configuration, and patterns that fit nothing.
    room.write("c.toml", "[model]\nnum_kernels = 4\n[train]\nepochs = 1\nfreeze = [\"convolutions.*\"]\n");
    room.ok(&format!("{TRAIN} -o toml.drg --config c.toml"));
    assert_eq!(room.model("toml.drg").training.unwrap().freeze, ["convolutions.*"]);
    for (line, told) in [
        ("--freeze convolutions", "no tensor of the model fits 'convolutions' (did you mean 'convolutions.*'?)"),
        ("--lr-of clasifier.*=0.1", "(did you mean 'classifier.*'?)"),
        ("--lr-of classifier.*", "--lr-of: option 'lr_of': expected a pattern of tensor names and its rate"),
        ("--freeze *", "nothing to train"),
    ] {
        let said = room.refused(line);
        assert!(said.contains(told), "{said}");
    }
}
