//! `drg eval merge`, `drg eval compare` and `drg plot dist` as a user meets them.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::room::Room;

const HEADER: &str = "model\tclass\taxis\titem\tmetric\tvalue\tn\n";

/// Scores of nine tracks in two classes, of two models. The numbers are sixteenths, so that differences are exact.
const FIRST: [f64; 9] = [10.0, 9.0, 11.0, 8.0, 13.0, 11.0, 9.0, 12.0, 7.0];
const SECOND: [f64; 9] = [9.0, 10.0, 8.0, 6.0, 9.0, 11.0, 7.0, 13.0, 1.0];

fn scores(model: &str, metric: &str, values: &[f64]) -> String {
    let class = |i: usize| if i < 5 { "A" } else { "B" };
    let line = |(i, v): (usize, &f64)| format!("{model}\t{}\ttrack\tt{i}\t{metric}\t{}\t20\n", class(i), v / 16.0);
    values.iter().enumerate().map(line).collect()
}

impl Room {
    fn with_scores() -> Self {
        let room = Self::new();
        room.write("a.tsv", &format!("{HEADER}{}", scores("a", "r", &FIRST)));
        room.write("b.tsv", &format!("{HEADER}{}", scores("b", "r", &SECOND)));
        room
    }

    /// A run that fails with code 2, what it says, and nothing on stdout.
    fn refuses(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "drg {line}: {}", ran.err);
        ran.err
    }
}

/// Rows of a table with a header, as cells.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().skip(1).map(|l| l.split('\t').collect()).collect()
}

fn numbers(cells: &[&str]) -> Vec<f64> {
    cells.iter().map(|c| c.parse().unwrap()).collect()
}

/// Expected numbers: numpy 2.4.6 and scipy 1.17.1 with d = (FIRST - SECOND) / 16, all of it, [:5] and [5:]:
/// d.mean(), numpy.median(d), scipy.stats.wilcoxon(d, method=scipy.stats.PermutationMethod(n_resamples=numpy.inf)),
/// scipy.stats.false_discovery_control([p of A, p of B, p of all]).
#[test]
fn comparison_agrees_with_scipy() {
    let room = Room::with_scores();
    let ran = room.ok("eval compare a.tsv b.tsv -o c.tsv --seed 3");
    assert!(ran.out.starts_with("first  second") && ran.out.lines().count() == 4, "{}", ran.out);
    let text = room.read("c.tsv");
    let found = rows(&text);
    let expected = [
        ("A", 5, 0.1125, 0.125, 0.8, 1.5, 0.1875, 0.28125),
        ("B", 4, 0.109_375, 0.0625, 0.625, 1.0, 0.5, 0.5),
        ("*", 9, 1.0 / 9.0, 0.125, 6.5 / 9.0, 4.0, 0.0546875, 0.1640625),
    ];
    assert_eq!(found.len(), expected.len());
    for (cells, (class, n, mean, median, wins, statistic, p, q)) in found.iter().zip(expected) {
        assert_eq!(cells[..6], ["a", "b", class, "track", "r", n.to_string().as_str()]);
        let v = numbers(&cells[6..]);
        let expected = [mean, median, wins, statistic, p, q];
        let picked = [v[2], v[5], v[8], v[9], v[10], v[11]];
        assert!(picked.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{picked:?} {expected:?}");
        assert!((v[0] - v[1] - mean).abs() < 1e-12 && v[3] <= mean && mean <= v[4] && v[6] <= v[7], "{cells:?}");
    }
    // The same seed gives the same bytes; another one other intervals.
    room.ok("eval compare a.tsv b.tsv -o again.tsv --seed 3 --threads 1");
    room.ok("eval compare a.tsv b.tsv -o other.tsv --seed 4");
    assert_eq!(room.read("again.tsv"), text);
    assert_ne!(room.read("other.tsv"), text);
}

#[test]
fn lower_errors_are_better() {
    let room = Room::new();
    room.write("a.tsv", &format!("{HEADER}{}", scores("a", "rmse", &FIRST)));
    room.write("b.tsv", &format!("{HEADER}{}{}", scores("b", "rmse", &SECOND), scores("c", "rmse", &FIRST)));
    let ran = room.ok("eval compare a.tsv b.tsv --metric rmse -o c.tsv --json");
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let all = json["comparisons"].as_array().unwrap();
    assert_eq!((all.len(), &json["models"]), (9, &serde_json::json!(["a", "b", "c"])));
    let wins = |class: &str, b: &str| {
        let line = all.iter().find(|l| l["class"] == class && l["model_a"] == "a" && l["model_b"] == b).unwrap();
        (line["wins"].as_f64().unwrap(), line["p"].as_f64().unwrap())
    };
    assert!((wins("*", "b").0 - 2.5 / 9.0).abs() < 1e-12);
    // A model and itself.
    assert_eq!(wins("*", "c"), (0.5, 1.0));
    room.ok("eval compare a.tsv b.tsv --metric rmse -o c.tsv --better higher");
    let text = room.read("c.tsv");
    let row = rows(&text).into_iter().find(|r| r[1] == "b" && r[2] == "*").unwrap();
    assert!((row[14].parse::<f64>().unwrap() - 6.5 / 9.0).abs() < 1e-12);
}

#[test]
fn only_what_both_have_is_compared() {
    let room = Room::with_scores();
    let mut lines: Vec<String> = room.read("b.tsv").lines().map(String::from).collect();
    lines.truncate(5);
    lines[2] = lines[2].replace("0.625", "NaN");
    lines.push("b\tA\ttrack\tt99\tr\t0.5\t20".into());
    room.write("part.tsv", &(lines.join("\n") + "\n"));
    let ran = room.ok("eval compare a.tsv part.tsv -o c.tsv");
    assert!(ran.err.contains("a and b: r of 3 items in common; left out 6 of one model only, 1 without a value"));
    // One class is all classes.
    let text = room.read("c.tsv");
    assert_eq!(rows(&text).iter().map(|r| (r[2], r[5])).collect::<Vec<_>>(), [("A", "3")]);
    // One item has a difference, and no interval.
    room.write("one.tsv", &(lines[..2].join("\n") + "\n"));
    let ran = room.ok("eval compare a.tsv one.tsv -o - -q");
    let cells = rows(&ran.out).remove(0).into_iter().map(String::from).collect::<Vec<_>>();
    assert_eq!((cells[8].as_str(), cells[9].as_str(), cells[16].as_str()), ("0.0625", "NaN", "1"));
}

#[test]
fn comparisons_that_cannot_be_are_refused() {
    let room = Room::with_scores();
    room.write("other.tsv", &room.read("b.tsv").replace("\tt", "\ttrack"));
    room.write("bad.tsv", "model\titem\tvalue\na\tt1\t0.5\n");
    for (line, piece) in [
        ("a.tsv -o c.tsv", "there is one model, 'a'"),
        ("a.tsv b.tsv -o c.tsv --metric spearmn", "did you mean 'spearman'?"),
        ("a.tsv b.tsv -o c.tsv --metric jsd", "say --better higher or --better lower"),
        ("a.tsv b.tsv -o c.tsv --metric jsd --better lower", "no scores of metric 'jsd'; the tables have: r"),
        ("a.tsv b.tsv -o c.tsv --axis tracks", "did you mean 'track'?"),
        ("a.tsv b.tsv -o c.tsv --names x", "names: expected 2, one a table; found 1"),
        ("a.tsv b.tsv -o c.tsv --names x,x", "both have track 't0' (class A, r); tell them apart"),
        ("a.tsv other.tsv -o c.tsv -q", "no two models have a score of the same item"),
        ("a.tsv b.tsv -o - --json", "name a file with -o"),
    ] {
        let text = room.refuses(&format!("eval compare {line}"));
        assert!(text.contains(piece), "{line}: {text}");
    }
    let ran = room.run("eval compare a.tsv bad.tsv -o c.tsv");
    assert!(ran.code != 0 && ran.err.contains("bad.tsv") && ran.err.contains("no column 'class'"), "{}", ran.err);
    assert!(!room.path("c.tsv").exists());
}

#[test]
fn folds_are_averaged() {
    let room = Room::new();
    let row = |item: &str, value: &str, n: usize| format!("m\tA\ttrack\t{item}\tr\t{value}\t{n}\n");
    room.write("1.tsv", &[HEADER, &row("x", "0.5", 10), &row("y", "0.25", 10), &row("z", "NaN", 10)].concat());
    room.write("2.tsv", &[HEADER, &row("x", "0.75", 30), &row("z", "NaN", 30)].concat());
    let ran = room.ok("eval merge 1.tsv 2.tsv --how mean -o mean.tsv");
    assert_eq!(ran.out, "mean.tsv: 3 scores of 2 tables\n");
    assert!(ran.err.contains("2.tsv: 1 of 3 scores are missing: track 'y' (class A, r)"), "{}", ran.err);
    let text = room.read("mean.tsv");
    assert!(text.starts_with(&format!("{}\ttables\tsd\tlow\thigh\n", HEADER.trim_end())), "{text}");
    let expected = [["x", "r", "0.625", "40", "2"], ["y", "r", "0.25", "10", "1"], ["z", "r", "NaN", "0", "0"]];
    assert_eq!(rows(&text).iter().map(|r| r[3..8].to_vec()).collect::<Vec<_>>(), expected);
    assert!(rows(&text).iter().all(|r| r[0] == "m"));
    // Student's t with one degree of freedom: 12.706 * sd / sqrt 2.
    let v = numbers(&rows(&text)[0][8..]);
    let half = 12.706_204_736_174_694 * 0.125;
    let near = |a: f64, b: f64| (a - b).abs() < 1e-10;
    assert!(near(v[0], 0.03125f64.sqrt()) && near(v[1], 0.625 - half) && near(v[2], 0.625 + half), "{v:?}");
    assert_eq!(rows(&text)[1][8..], ["NaN"; 3]);
    for (how, x) in [("min", "0.5"), ("max", "0.75")] {
        room.ok(&format!("eval merge 1.tsv 2.tsv --how {how} --common --model all -o least.tsv -q"));
        let text = room.read("least.tsv");
        let found = rows(&text);
        assert_eq!(
            found.iter().map(|r| (r[0], r[3], r[5])).collect::<Vec<_>>(),
            [("all", "x", x), ("all", "z", "NaN")]
        );
    }
    // What was averaged can be read again.
    room.ok("eval merge mean.tsv 2.tsv --how mean -o again.tsv -q");
}

#[test]
fn tables_are_put_together() {
    let room = Room::with_scores();
    let body = |name: &str| room.read(name).strip_prefix(HEADER).unwrap().to_string();
    room.ok("eval merge a.tsv b.tsv -o all.tsv");
    assert_eq!(room.read("all.tsv"), format!("{HEADER}{}{}", body("a.tsv"), body("b.tsv")));
    room.ok("eval merge a.tsv b.tsv -o named.tsv --names x,y");
    let text = room.read("named.tsv");
    assert_eq!(rows(&text).iter().map(|r| r[0]).collect::<String>(), "xxxxxxxxxyyyyyyyyy");
    // Two models in each of two tables: a mean for each model, or one of all.
    room.write("more.tsv", &room.read("all.tsv").replace("0.", "0.0"));
    room.ok("eval merge all.tsv more.tsv --how mean --per-model -o each.tsv");
    let text = room.read("each.tsv");
    let found = rows(&text);
    assert_eq!((found.len(), found[0][0], found[17][0], found[0][7]), (18, "a", "b", "2"));
    assert!((found[0][5].parse::<f64>().unwrap() - (0.625 + 0.0625) / 2.0).abs() < 1e-12);
    room.ok("eval merge all.tsv more.tsv --how mean -o one.tsv");
    let text = room.read("one.tsv");
    let found = rows(&text);
    assert_eq!((found.len(), found[0][0], found[0][6], found[0][7]), (9, "mean", "80", "4"));
    assert!(room.refuses("eval merge a.tsv b.tsv -o x.tsv --per-model").contains("add --how mean"));
    assert!(room.refuses("eval merge a.tsv a.tsv -o x.tsv").contains("tell them apart with --names"));
}

#[test]
fn distributions_are_drawn() {
    let room = Room::with_scores();
    room.ok("plot dist a.tsv b.tsv -o class.svg --title Test");
    let text = room.read("class.svg");
    assert!(text.matches("<circle").count() == 18 && text.contains(">A<") && text.contains("(n = 5)"), "{text}");
    room.ok("plot dist a.tsv b.tsv -o model.svg --by model --sort");
    assert_ne!(room.read("model.svg"), text);
    // Without classes, models are the labels and there is no legend.
    for name in ["a.tsv", "b.tsv"] {
        room.write(name, &room.read(name).replace("\tA\t", "\t0\t").replace("\tB\t", "\t0\t"));
    }
    room.ok("plot dist a.tsv b.tsv -o plain.svg --names ours,theirs");
    let text = room.read("plain.svg");
    assert!(text.contains(">ours<") && text.contains(">theirs<") && !text.contains(">0<"), "{text}");
    assert!(room.refuses("plot dist a.tsv -o x.svg --metric rmse").contains("no scores of metric 'rmse'"));
    assert!(room.refuses("plot dist a.tsv -o x.pdf").contains("pictures are .svg or .png"));
}
