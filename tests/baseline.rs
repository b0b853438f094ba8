//! Linear models of k-mers from the command line: the same data, folds and tables as networks, known answers, the same bytes.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use common::room::Room;

const DATA: &str = "sim/sequences.fa sim/targets.tsv";

/// Lines of a tidy table without the name of the model and without the values.
fn items(table: &str) -> Vec<String> {
    let keep = |line: &str| {
        line.split('\t')
            .enumerate()
            .filter(|(i, _)| ![0, 5].contains(i))
            .map(|(_, c)| c.to_string())
            .collect::<Vec<_>>()
            .join(" ")
    };
    table.lines().map(keep).collect()
}

#[test]
fn tables_are_those_of_a_network() {
    let room = Room::with_model("--sequences 300 --length 60", &["num_kernels=4", "l_kernels=5"]);
    room.ok(&format!(
        "baseline fit {DATA} -o b.json --k 3 --crossvalidation sim/folds.txt 0 --classes sim/classes.txt -q"
    ));
    room.ok(&format!("baseline fit {DATA} -o plain.json --k 3 --crossvalidation sim/folds.txt 0 --alpha 20 -q"));
    assert_eq!(items(&room.read("plain_scores.tsv")), items(&room.read("m_scores.tsv")));
    let (mut network, mut ours) = (room.npz("m_pred.npz"), room.npz("plain_pred.npz"));
    for key in ["names", "columns"] {
        assert_eq!(network.strings(key).unwrap(), ours.strings(key).unwrap());
    }
    assert!(room.read("b_scores.tsv").lines().count() > room.read("plain_scores.tsv").lines().count());
    let record: serde_json::Value = serde_json::from_str(&room.read("plain.json.json")).unwrap();
    assert_eq!((&record["verb"], &record["options"]["alpha"]), (&"baseline fit".into(), &"20".into()));
    assert_eq!(record["results"]["rows"]["test"], ours.strings("names").unwrap().len());
    // The stored model says the same about the test set, as part of all sequences.
    room.ok("baseline predict plain.json sim/sequences.fa -o all.npz -q");
    let (names, all) = (room.npz("all.npz").strings("names").unwrap(), room.array::<2>("all.npz", "values").1);
    let ([n, t], values) = room.array::<2>("plain_pred.npz", "values");
    for (i, name) in ours.strings("names").unwrap().iter().enumerate() {
        let at = names.iter().position(|other| other == name).unwrap();
        assert_eq!(all[at * t..(at + 1) * t], values[i * t..(i + 1) * t]);
    }
    assert!(n > 10);
    room.ok("baseline predict plain.json sim/sequences.fa -o one.tsv --tracks track2 -q");
    assert!(room.read("one.tsv").starts_with("#\ttrack2\n"));
}

#[test]
fn planted_words_are_found_on_either_strand() {
    let room = Room::new();
    // Sequences with or without GATTAC, on either strand; track b is the other way round and c is the label.
    let (mut fasta, mut table) = (String::new(), String::from("name\ta\tb\tc\n"));
    let mut state = 1u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    for i in 0..240 {
        let mut bases: Vec<u8> = (0..40).map(|_| b"ACGT"[below(4) as usize]).collect();
        let at = below(34) as usize;
        match i % 4 {
            0 => bases[at..at + 6].copy_from_slice(b"GATTAC"),
            1 => bases[at..at + 6].copy_from_slice(b"GTAATC"),
            _ => (),
        }
        let there = i % 4 < 2;
        fasta.push_str(&format!(">s{i:03}\n{}\n", String::from_utf8(bases).unwrap()));
        let noise = below(100) as f64 / 1000.0;
        let (a, c) = (f64::from(u8::from(there)) + noise, u8::from(there));
        table.push_str(&format!("s{i:03}\t{a}\t{}\t{c}\n", 1.0 - a));
    }
    room.write("s.fa", &fasta);
    room.write("y.tsv", &table);
    for model in ["ridge", "lasso", "elastic"] {
        room.ok(&format!(
            "baseline fit s.fa y.tsv -o {model}.json --k 4 --both-strands --model {model} --folds 5 0 -q"
        ));
        let features = room.read(&format!("{model}_features.tsv"));
        let first: Vec<&str> = features.lines().nth(1).unwrap().split('\t').collect();
        // GATT, ATTA and TTAC, by the names that come first in the alphabet.
        assert!(["AATC", "ATTA", "GTAA", "TAAT"].contains(&first[1]), "{model}: {features}");
        assert!(first[2].parse::<f64>().unwrap() > 0.0);
        let r: serde_json::Value = serde_json::from_str(&room.read(&format!("{model}.json.json"))).unwrap();
        assert!(r["results"]["test_r"][0]["r"].as_f64().unwrap() > 0.7, "{r}");
    }
    let lines = |model: &str| room.read(&format!("{model}_features.tsv")).lines().count();
    assert!(lines("lasso") < lines("ridge") / 2);
    let run = "baseline fit s.fa y.tsv -o two.json --k 4 --both-strands --model lasso --folds 5 0 -q";
    room.ok(&format!("{run} --threads 1"));
    for end in ["_features.tsv", "_pred.npz"] {
        let bytes = |model: &str| std::fs::read(room.path(&format!("{model}{end}"))).unwrap();
        assert_eq!(bytes("two"), bytes("lasso"));
    }
    assert_eq!(room.read("two.json"), room.read("lasso.json"));

    // Labels: probabilities come out, and another kind of target is refused by name.
    let labels: String = table
        .lines()
        .map(|l| {
            l.split('\t').enumerate().filter(|(i, _)| [0, 3].contains(i)).map(|(_, c)| c).collect::<Vec<_>>().join("\t")
                + "\n"
        })
        .collect();
    room.write("c.tsv", &labels);
    room.ok(
        "baseline fit s.fa c.tsv -o logistic.json --k 4 --both-strands --model logistic --folds 5 0 --alpha shared -q",
    );
    let (_, values) = room.array::<2>("logistic_pred.npz", "values");
    assert!(values.iter().all(|p| (0.0..=1.0).contains(p)));
    let auroc = room.read("logistic_scores.tsv").lines().find(|l| l.contains("track\tc\tauroc")).unwrap().to_string();
    assert!(auroc.split('\t').nth(5).unwrap().parse::<f64>().unwrap() > 0.9, "{auroc}");
    let ran = room.run("baseline fit s.fa y.tsv -o no.json --k 2 --model logistic --folds 5 0");
    assert!(ran.code == 2 && ran.err.contains("track 'a' is not so"), "{}", ran.err);
    assert!(!room.path("no.json").exists());
}

#[test]
fn several_inputs_are_counted_separately() {
    let room = Room::new();
    room.ok("simulate -o sim --sequences 120 --length 30 -q");
    room.ok("baseline fit sim/sequences.fa,sim/sequences.fa sim/targets.tsv -o two.json --k 2 --alpha 3 -q");
    assert!(room.read("two.json").contains("\"0:AA\"") && room.read("two_features.tsv").contains("\t1:TT\t"));
    room.ok("baseline predict two.json sim/sequences.fa,sim/sequences.fa -o p.npz -q");
    // Twice the same features share a coefficient, which is that of one under half of the penalty.
    room.ok("baseline fit sim/sequences.fa sim/targets.tsv -o one.json --k 2 --alpha 1.5 -q");
    room.ok("baseline predict one.json sim/sequences.fa -o q.npz -q");
    let (p, q) = (room.array::<2>("p.npz", "values").1, room.array::<2>("q.npz", "values").1);
    assert!(p.iter().zip(&q).all(|(p, q)| (p - q).abs() < 1e-5));
    let ran = room.run("baseline predict two.json sim/sequences.fa -o p.npz");
    assert!(ran.code == 2 && ran.err.contains("takes 2 sets of sequences"), "{}", ran.err);
}

#[test]
fn wrong_use_says_what_is_wrong() {
    let room = Room::new();
    room.ok("simulate -o sim --sequences 40 --length 30 -q");
    for (options, part) in [
        ("--alpha strong", "expected a number, 'auto' or 'shared'"),
        ("--alpha -1", "alpha of 0 or more"),
        ("--k 11", "length from 1 to 10, found 11"),
        ("--k 5 --gap 1 --both-strands", "must be even, found 5"),
        ("--model elastic --l1-ratio 0", "ratio above 0"),
        ("--model lass", "lasso"),
    ] {
        let ran = room.run(&format!("baseline fit {DATA} -o b.json {}", options.replace("--alpha -1", "--alpha=-1")));
        assert!(ran.code == 2 && ran.err.contains(part), "{options}: {}", ran.err);
        assert!(!room.path("b.json").exists());
    }
    let ran = room.run("baseline predict sim/folds.txt sim/sequences.fa -o p.npz");
    assert!(ran.code != 0 && ran.err.contains("expected a model of drg baseline fit"), "{}", ran.err);
}
