//! `drg report` and `drg demo` as a user meets them.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::room::Room;
use drg::io::npz::write_npz;
use drg::model::options::{DataFacts, parse_option_string, resolve};
use drg::model::{Model, Network};

impl Room {
    /// With 80 simulated sequences of 60 bp and 3 tracks in `sim`, the log of a training, an untrained model, and the effects
    /// of all mutations in a model that reads the planted motifs.
    fn filled() -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 80 --length 60 --tracks 3 --motifs 4 --sites 2 --seed 5 -q");
        room.write("m_loss.txt", "0\t1.2\t1.2\t1.1\t1.1\n1\t0.8\t0.8\t0.7\t0.7\n2\t0.9\t0.9\t0.5\t5e-01\n");
        let text = "num_kernels=6+l_kernels=7+pooling_size=6+dilated_convolutions=2+l_dilkernels=3+nfc_layers=1";
        let facts = DataFacts::single(60, vec![3], true);
        let (spec, training) = resolve(&parse_option_string(text).unwrap(), &facts).unwrap();
        let network = Network::new(spec, 1).unwrap();
        let model = Model { training: Some(training), ..Model::untrained(network) };
        model.save(&room.path("m.drg")).unwrap();
        room.effects();
        room
    }

    /// Effects in `ism.npz`: the loss of log probability that a mutation means for the motif of the site that it hits, times
    /// the effect of the site.
    fn effects(&self) {
        let lines: Vec<String> = self.read("sim/sequences.fa").lines().map(String::from).collect();
        let names: Vec<&str> = lines.iter().step_by(2).map(|l| &l[1..]).collect();
        let bases: Vec<u8> =
            lines.iter().skip(1).step_by(2).flat_map(|l| drg::seq::encode_all(l.as_bytes()).unwrap().0).collect();
        let motifs = drg::motif::meme::read_pwms(&self.path("sim/motifs.meme")).unwrap();
        let (n, t, l) = (names.len(), 3, 60);
        let mut values = vec![0f32; n * t * 4 * l];
        for site in self.read("sim/sites.bed").lines().skip(1) {
            let cells: Vec<&str> = site.split('\t').collect();
            let row = names.iter().position(|name| *name == cells[0]).unwrap();
            let motif = motifs.iter().find(|m| m.name == cells[3]).unwrap();
            let motif = if cells[5] == "-" { motif.reverse_complement() } else { motif.clone() };
            let start: usize = cells[1].parse().unwrap();
            for (j, p) in motif.probabilities.iter().enumerate() {
                let at = start + j;
                let own = usize::from(bases[row * l + at]);
                for (track, base) in (0..t).flat_map(|t| (0..4).map(move |b| (t, b))) {
                    let effect: f64 = cells[6 + track].parse().unwrap();
                    let change = (p[base].max(1e-3) / p[own].max(1e-3)).ln() * effect;
                    values[((row * t + track) * 4 + base) * l + at] = change as f32;
                }
            }
        }
        write_npz(&self.path("ism.npz"), |w| {
            w.array("values", &[n, t, 4, l], &values)?;
            w.strings("names", &names)?;
            w.strings("tracks", &["track1", "track2", "track3"])?;
            w.array("bases", &[n, l], &bases)?;
            w.array("start", &[], &[0i64])
        })
        .unwrap();
    }
}

/// Checks that the tags of a page close each other and that nothing is loaded from elsewhere; returns its headings.
fn checked(html: &str) -> Vec<&str> {
    assert!(html.starts_with("<!DOCTYPE html>") && html.trim_end().ends_with("</html>"));
    let plain = html.replace("http://www.w3.org/2000/svg", "");
    for piece in ["http:", "https:", "src=\"", "<script", "<link", "@import"] {
        assert!(!plain.contains(piece), "the page has {piece}");
    }
    let mut open = Vec::new();
    for tag in html.split('<').skip(1).filter_map(|t| t.split('>').next()) {
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}> closes another tag");
        } else if !tag.ends_with('/') && !["!DOCTYPE", "meta", "br"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed");
    html.split("<h2>").skip(1).filter_map(|t| t.split("</h2>").next()).collect()
}

/// Cells of a row of a table that begins with `first`.
fn row<'a>(html: &'a str, table: &str, first: &str) -> Vec<&'a str> {
    let rest = &html[html.find(table).unwrap_or_else(|| panic!("no table {table}"))..];
    let start = rest.find(&format!("<tr><td>{first}</td>")).unwrap_or_else(|| panic!("no row {first}"));
    let line = rest[start..].split("</tr>").next().unwrap();
    line.split("</td>").filter_map(|cell| cell.rsplit('>').next()).filter(|cell| !cell.is_empty()).collect()
}

#[test]
fn a_page_from_everything() {
    let room = Room::filled();
    let ran = room.ok(
        "report -o r.html --title Mice --model m.drg --loss m_loss.txt --pred sim/signal.tsv --measured sim/targets.tsv \
         --classes sim/classes.txt --ism ism.npz --sites sim/sites.bed --motifs sim/motifs.meme",
    );
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("r.html\n", ""));
    let html = room.read("r.html");
    let expected = [
        "The model",
        "Training",
        "Predictions against measurements",
        "What every mutation does",
        "Motifs that the model reads",
        "Are the planted sites found?",
        "Provenance",
    ];
    assert_eq!(checked(&html), expected);
    assert!(html.contains("<title>Mice</title>") && html.contains("60 bases") && html.contains("6 kernels of 7 bases"));
    assert!(html.contains("drg simulate -o sim"), "the command that made the inputs");
    assert_eq!(html.matches("<svg").count(), 6, "losses, scatter, three sequences, motifs");

    // The effects are those of the planted motifs: all of it must be seen.
    let sites = room.read("sim/sites.bed");
    for motif in ["motif1", "motif2", "motif3", "motif4"] {
        let cells = row(&html, "What the model reads", motif);
        let planted = sites.lines().filter(|l| l.split('\t').nth(3) == Some(motif)).count().to_string();
        assert_eq!((cells[1], cells[2], cells[4]), (planted.as_str(), cells[3], cells[5]), "{cells:?}");
        assert!(cells[6].parse::<f64>().unwrap() > 0.8, "{cells:?}");
    }
    for track in ["track1", "track2", "track3"] {
        let cells = row(&html, "Recovery of planted", track);
        assert!(cells[2].parse::<f64>().unwrap() > 0.98, "{cells:?}");
        let record: f64 = row(&html, "Scores of every", track)[3].parse().unwrap();
        assert!(record > 0.98, "noise of a tenth leaves r near 0.995");
    }
    assert_eq!(row(&html, "Scores of every", "track3")[1], "class2");
    room.ok(
        "report -o s.html --title Mice --model m.drg --loss m_loss.txt --pred sim/signal.tsv --measured sim/targets.tsv \
         --classes sim/classes.txt --ism ism.npz --sites sim/sites.bed --motifs sim/motifs.meme --threads 1",
    );
    let command = |html: &str| html.replace("s.html", "r.html").replace(" --threads 1", "");
    assert_eq!(command(&room.read("s.html")), html, "the same files give the same page");
}

#[test]
fn a_page_from_one_input() {
    let room = Room::filled();
    for (inputs, headings) in [
        ("--model m.drg", &["The model", "Provenance"][..]),
        ("--loss m_loss.txt", &["Training", "Provenance"]),
        ("--pred sim/signal.tsv --measured sim/targets.tsv", &["Predictions against measurements", "Provenance"]),
        ("--ism ism.npz", &["What every mutation does", "Provenance"]),
    ] {
        room.ok(&format!("report -o r.html {inputs}"));
        assert_eq!(checked(&room.read("r.html")), headings);
    }
    room.ok("report -o r.html --ism ism.npz --sites sim/sites.bed --sequences seq07,3 --tracks track2");
    let html = room.read("r.html");
    assert!(html.contains("seq07, track2") && html.contains("seq04, track2") && !html.contains(", track1<"), "chosen");
    // Without the planted effects all sites count, and the planted motifs are not known.
    let bare: String = room
        .read("sim/sites.bed")
        .lines()
        .skip(1)
        .map(|l| l.split('\t').take(6).collect::<Vec<_>>().join("\t") + "\n")
        .collect();
    room.write("bare.bed", &bare);
    room.ok("report -o r.html --ism ism.npz --sites bare.bed");
    let html = room.read("r.html");
    assert_eq!(row(&html, "What the model reads", "motif1")[2], "–");
    assert!(!html.contains(", planted<"));
}

/// Effects of a part of the sequences are compared with the sites in that part only.
#[test]
fn effects_of_a_part_of_the_sequences() {
    let room = Room::filled();
    let mut npz = drg::io::npz::Npz::open(&room.path("ism.npz")).unwrap();
    let (_, values) = npz.array::<f32, 4>("values").unwrap();
    let (_, bases) = npz.array::<u8, 2>("bases").unwrap();
    let names = npz.strings("names").unwrap();
    let cut = |row: &[f32]| row[20..50].to_vec();
    write_npz(&room.path("part.npz"), |w| {
        w.array("values", &[80, 3, 4, 30], &values.chunks(60).flat_map(cut).collect::<Vec<f32>>())?;
        w.strings("names", &names)?;
        w.strings("tracks", &["track1", "track2", "track3"])?;
        w.array("bases", &[80, 30], &bases.chunks(60).flat_map(|row| row[20..50].to_vec()).collect::<Vec<u8>>())?;
        w.array("start", &[], &[20i64])
    })
    .unwrap();
    let ran = room.ok("report -o r.html --ism part.npz --sites sim/sites.bed --motifs sim/motifs.meme");
    assert!(ran.err.contains("sites outside of the positions with effects are left out"), "{}", ran.err);
    let html = room.read("r.html");
    assert!(row(&html, "Recovery of planted", "track1")[2].parse::<f64>().unwrap() > 0.98);
    assert!(row(&html, "What the model reads", "motif2")[6].parse::<f64>().unwrap() > 0.8);
}

#[test]
fn reports_refuse_and_leave_nothing() {
    let room = Room::filled();
    room.write("other.bed", "chr1\t3\t9\n");
    room.write("bad_loss.txt", "0\t1\tx\t1\t1\n");
    write_npz(&room.path("nan.npz"), |w| {
        w.array("values", &[1, 1, 4, 2], &[0f32, 0.0, f32::NAN, 0.0, 0.0, 0.0, 0.0, 0.0])?;
        w.strings("names", &["s"])?;
        w.array("bases", &[1, 2], &[0u8, 1])
    })
    .unwrap();
    let before = room.names(".");
    for (line, piece) in [
        ("-o r.html", "drg report: nothing to report; give --model, --loss, --pred with --measured, --ism"),
        ("-o no/r.html --loss m_loss.txt", "there is no folder no; make it first"),
        ("-o sim --loss m_loss.txt", "sim is a folder"),
        ("-o r.html --pred sim/signal.tsv", "--measured <MEASURED>"),
        ("-o r.html --model m.drg --sites sim/sites.bed", "--ism <ISM>"),
        ("-o r.html --model none.drg", "cannot read none.drg"),
        ("-o r.html --model ism.npz", "ism.npz"),
        ("-o r.html --loss bad_loss.txt", "bad_loss.txt:1: expected an epoch and four losses, found loss 'x'"),
        ("-o r.html --ism ism.npz --sites other.bed", "no site lies in a sequence of the effects"),
        ("-o r.html --ism ism.npz --sites sim/sites.bed --motifs m_loss.txt", "expected a line 'MEME version 4'"),
        ("-o r.html --ism ism.npz --sequences seq99", "sequences: there is no 'seq99'"),
        ("-o r.html --ism ism.npz --tracks trak1", "did you mean 'track1'"),
        ("-o r.html --ism ism.npz --sequences 0:60", "60 sequences and 3 tracks make 180 panels, more than 60"),
        ("-o r.html --ism nan.npz", "nan.npz, key 'values': an effect of 's' on 'C0' is NaN"),
    ] {
        let ran = room.run(&format!("report {line}"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}: {}", ran.err);
        assert!(ran.err.contains(piece), "{line}: {}", ran.err);
    }
    assert_eq!(room.names("."), before);
}

/// The whole way, as small as it goes: every command is shown, runs again as it stands, and the report says what the issue asks.
#[test]
fn the_demo_makes_a_report() {
    let room = Room::new();
    let ran = room.ok("demo -o out --quick");
    for file in ["model.drg", "scores.tsv", "ism.npz", "recovery.tsv", "loss.svg", "scatter.svg", "attributions.svg"] {
        assert!(room.path("out").join(file).is_file(), "{file}");
    }
    let html = room.read("out/report.html");
    assert_eq!(checked(&html).len(), 7);
    let scores = room.read("out/recovery.tsv");
    for line in scores.lines().skip(1) {
        let at_k: f64 = line.split('\t').nth(2).unwrap().parse().unwrap();
        assert!(at_k > 0.8, "{scores}");
    }
    for track in ["track1", "track4"] {
        assert!(row(&html, "Scores of every", track)[3].parse::<f64>().unwrap() > 0.8);
    }
    let commands: Vec<&str> = ran.err.lines().filter_map(|l| l.strip_prefix("$ drg ")).collect();
    assert_eq!(commands.len(), 10, "{}", ran.err);
    let tables = || ["out/scores.tsv", "out/recovery.tsv", "out/report.html"].map(|f| room.read(f));
    let first = tables();
    commands.iter().for_each(|line| drop(room.ok(line)));
    assert_eq!(tables(), first, "the commands give the same files when they are repeated");

    let shown: serde_json::Value = serde_json::from_str(&room.read("out/demo.json")).unwrap();
    assert_eq!(shown["results"]["steps"][9]["command"], format!("drg {}", commands[9]));
    std::fs::remove_file(room.path("out/demo.json")).unwrap();
    let refused = room.run("demo -o out --quick");
    assert_eq!((refused.code, refused.out.as_str()), (2, ""));
    assert!(refused.err.contains("out is not empty and no earlier demo's: it holds"), "{}", refused.err);
    assert!(refused.err.contains("model.drg, model_loss.txt"), "{}", refused.err);
}
