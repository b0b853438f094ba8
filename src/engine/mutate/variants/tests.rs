use super::super::tests::{network, two_inputs};
use super::*;
use crate::seq::encode_all;
use crate::tape::check::close;

/// Named texts.
struct Texts(Vec<(&'static str, Vec<u8>)>);

impl Texts {
    fn new(texts: &[(&'static str, &str)]) -> Self {
        Self(texts.iter().map(|(name, text)| (*name, encode_all(text.as_bytes()).unwrap().0)).collect())
    }

    fn random(names: &[&'static str], length: usize) -> Self {
        let mut random = crate::util::philox::Philox::new(4, 4);
        Self(names.iter().map(|&n| (n, (0..length).map(|_| random.below(4) as u8).collect())).collect())
    }

    fn of(&self, name: &str) -> Option<&Vec<u8>> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, codes)| codes)
    }
}

impl Source for Texts {
    fn length(&self, name: &str) -> Option<usize> {
        self.of(name).map(Vec::len)
    }

    fn bases(&self, name: &str, interval: Range<i64>) -> Result<Vec<u8>> {
        let codes = self.of(name).unwrap();
        Ok(interval.map(|i| usize::try_from(i).ok().and_then(|i| codes.get(i)).copied().unwrap_or(UNKNOWN)).collect())
    }
}

fn change<'a>(name: &'a str, position: u64, reference: &'a str, alternative: &'a str) -> Change<'a> {
    Change { name, position, reference: reference.as_bytes(), alternative: alternative.as_bytes() }
}

fn text(codes: &[u8]) -> String {
    codes.iter().map(|&c| crate::seq::decode(c) as char).collect()
}

/// Windows as `reference>alternative`.
fn windows(views: &Views, source: &Texts, change: &Change) -> Vec<String> {
    let placed = views.place(source, change, OnMismatch::Score).unwrap();
    placed.pairs.iter().map(|p| format!("{}>{}", text(&p.reference), text(&p.alternative))).collect()
}

#[test]
fn windows_are_centred_and_refilled_on_the_right() {
    let source = Texts::new(&[("a", "ACGTTGCAAC")]);
    let of = |length, c: &Change| windows(&Views::new(length, Strand::Forward, &[0], false).unwrap(), &source, c);
    // Index ceil(L / 2) - 1 for odd and even lengths.
    assert_eq!(of(5, &change("a", 4, "T", "A")), ["GTTGC>GTAGC"]);
    assert_eq!(of(4, &change("a", 4, "T", "A")), ["TTGC>TAGC"]);
    assert_eq!(of(1, &change("a", 4, "T", "A")), ["T>A"]);
    assert_eq!(of(5, &change("a", 4, "TG", "CC")), ["GTTGC>GTCCC"]);
    // A deletion takes more from the right, an insertion less.
    assert_eq!(of(5, &change("a", 4, "TGC", "T")), ["GTTGC>GTTAA"]);
    assert_eq!(of(5, &change("a", 4, "T", "TCC")), ["GTTGC>GTTCC"]);
    assert_eq!(of(5, &change("a", 4, "T", "TCCGG")), ["GTTGC>GTTCC"]);
    assert_eq!(of(5, &change("a", 4, "TGC", "AG")), ["GTTGC>GTAGA"]);
    // Ends.
    assert_eq!(of(5, &change("a", 0, "A", "G")), ["NNACG>NNGCG"]);
    assert_eq!(of(5, &change("a", 7, "AA", "A")), ["GCAAC>GCACN"]);
    // What is there, where the file does not know; and an allele that it does not know.
    assert_eq!(of(5, &change("a", 4, "N", "A")), ["GTTGC>GTAGC"]);
    assert_eq!(of(5, &change("a", 4, "T", "N")), ["GTTGC>GTNGC"]);
    // Given alleles go in as they are.
    assert_eq!(of(5, &change("a", 4, "CG", "CA")), ["GTCGC>GTCAC"]);
}

#[test]
fn strands_and_shifts() {
    let source = Texts::new(&[("a", "ACGTTGCAAC")]);
    let of = |strand, shifts: &[i64], whole, c: &Change| {
        let length = if whole { 10 } else { 5 };
        windows(&Views::new(length, strand, shifts, whole).unwrap(), &source, c)
    };
    let snv = change("a", 4, "T", "A");
    assert_eq!(of(Strand::Reverse, &[0], false, &snv), ["GCAAC>GCTAC"]);
    assert_eq!(of(Strand::Mean, &[1, -2], false, &snv), ["TTGCA>TAGCA", "TGCAA>TGCTA", "ACGTT>ACGTA", "AACGT>TACGT"]);
    // The sequence is the window: cut at its end, or filled with unknown bases.
    assert_eq!(of(Strand::Forward, &[0], true, &change("a", 8, "A", "ATT")), ["ACGTTGCAAC>ACGTTGCAAT"]);
    assert_eq!(of(Strand::Forward, &[0], true, &change("a", 6, "CAA", "C")), ["ACGTTGCAAC>ACGTTGCCNN"]);
    assert_eq!(
        of(Strand::Forward, &[2, -1], true, &change("a", 3, "T", "G")),
        ["GTTGCAACNN>GGTGCAACNN", "NACGTTGCAA>NACGGTGCAA"]
    );
    assert_eq!(of(Strand::Forward, &[4], true, &change("a", 4, "T", "TAA")), ["TGCAACNNNN>TAAGCAACNN"]);
    assert_eq!(of(Strand::Forward, &[2], true, &change("a", 2, "GTT", "G")), ["GTTGCAACNN>GGCAACNNNN"]);
    // A window that begins behind the variant.
    let past = Views::new(10, Strand::Forward, &[0, 2], true).unwrap();
    let placed = past.place(&source, &change("a", 1, "C", "CAA"), OnMismatch::Skip).unwrap();
    assert_eq!((placed.status.name(), placed.pairs.len()), ("out-of-view", 0));
}

#[test]
fn what_cannot_be_scored_has_a_status() {
    let source = Texts::new(&[("a", "ACGTTGCAACGT"), ("n", "NNNN")]);
    let views = Views::new(4, Strand::Mean, &[0], false).unwrap();
    let of = |c: &Change, on| {
        let placed = views.place(&source, c, on).unwrap();
        (placed.status.name(), placed.pairs.len(), text(&placed.found))
    };
    let skip = OnMismatch::Skip;
    assert_eq!(of(&change("a", 4, "TG", "T"), skip), ("ok", 2, "TG".into()));
    assert_eq!(of(&change("a", 0, "A", "T"), skip), ("padded", 2, "A".into()));
    assert_eq!(of(&change("a", 10, "G", "T"), skip), ("padded", 2, "G".into()));
    assert_eq!(of(&change("a", 8, "AC", "A"), skip), ("ok", 2, "AC".into()));
    assert_eq!(of(&change("a", 9, "CG", "C"), skip), ("padded", 2, "CG".into()));
    assert_eq!(of(&change("a", 4, "G", "T"), skip), ("ref-mismatch", 0, "T".into()));
    assert_eq!(of(&change("a", 4, "G", "T"), OnMismatch::Score), ("ref-mismatch", 2, "T".into()));
    assert_eq!(of(&change("n", 1, "A", "T"), skip), ("ref-mismatch", 0, "N".into()));
    assert_eq!(of(&change("b", 4, "G", "T"), skip), ("no-sequence", 0, String::new()));
    for at in [12, 11, u64::MAX] {
        assert_eq!(of(&change("a", at, "TT", "T"), skip), ("off-end", 0, String::new()));
    }
    assert_eq!(of(&change("a", 4, "TGCAA", "T"), skip), ("too-long", 0, String::new()));
    assert_eq!(of(&change("a", 4, "T", "TTTTT"), skip), ("too-long", 0, String::new()));
    for bad in ["", "A1"] {
        let refused = views.place(&source, &change("a", 4, "T", bad), skip).unwrap_err().to_string();
        assert!(refused.contains("expected an allele in letters"), "{refused}");
    }
    let shifts = |s: &[i64]| Views::new(4, Strand::Mean, s, false).map(drop).map_err(|e| e.to_string());
    assert!(shifts(&[1, -2]).is_ok());
    for (s, part) in [(&[][..], "at least one"), (&[0, 1, 0], "0 comes twice"), (&[2], "-2 to 1"), (&[-3], "by -3")] {
        assert!(shifts(s).unwrap_err().contains(part), "{s:?}");
    }
    assert!(shifts(&[i64::MIN]).is_err());
}

/// Mixed variants on two sequences, most of whose reference alleles are right.
fn mixed(source: &Texts, n: usize) -> Vec<(&'static str, u64, Vec<u8>, Vec<u8>)> {
    let mut random = crate::util::philox::Philox::new(9, 1);
    let mut letters = |n: usize| (0..n).map(|_| b"ACGT"[random.below(4)]).collect::<Vec<u8>>();
    let lengths = [(1, 1), (1, 1), (3, 3), (1, 4), (5, 1), (2, 6), (1, 1), (7, 7)];
    (0..n)
        .map(|i| {
            let (name, codes) = &source.0[i % source.0.len()];
            let (r, a) = lengths[i % lengths.len()];
            let at = i * 37 % (codes.len() - r);
            let reference: Vec<u8> = codes[at..at + r].iter().map(|&c| crate::seq::decode(c)).collect();
            let mut alternative = letters(a);
            if alternative == reference {
                alternative[0] = if reference[0] == b'A' { b'C' } else { b'A' };
            }
            (*name, at as u64, reference, alternative)
        })
        .collect()
}

#[test]
fn both_engines_equal_naive_predictions_of_both_alleles() {
    for (length, more) in [(21, ""), (40, "+shift_sequence=2+random_shift=1")] {
        let net = network(length, more);
        let double = net.to_dtype(DType::F64).unwrap();
        for (whole, strand, shifts) in
            [(false, Strand::Mean, &[0, 3, -7][..]), (false, Strand::Reverse, &[2]), (true, Strand::Forward, &[0])]
        {
            let source = Texts::random(&["a", "b"], if whole { length } else { 150 });
            let views = Views::new(length, strand, shifts, whole).unwrap();
            let all = mixed(&source, 60);
            let place = |(name, position, reference, alternative): &(&'static str, u64, Vec<u8>, Vec<u8>)| {
                let change = Change { name, position: *position, reference, alternative };
                let placed = views.place(&source, &change, OnMismatch::Skip).unwrap();
                assert!(matches!(placed.status, Status::Ok | Status::Padded));
                assert_eq!(placed.pairs.len(), views.count());
                placed.pairs
            };
            let pairs: Vec<Vec<Pair>> = all.iter().map(place).collect();
            let pairs: Vec<&[Pair]> = pairs.iter().map(Vec::as_slice).collect();
            let scaling = Scaling { mean: vec![1.0, -2.0, 0.5], deviation: vec![2.0, 1.0, 0.25] };
            let options = |engine| ScorerOptions {
                engine,
                double: true,
                precision: crate::device::Precision::F32,
                tracks: Some(vec![2, 0]),
                scaling: Some(scaling.clone()),
                batch: None,
            };
            for engine in [Engine::Delta, Engine::Naive, Engine::Auto] {
                let mut scorer = Scorer::new(&net, options(engine)).unwrap();
                let mut found = scorer.score(&pairs[..7]).unwrap();
                found.extend(scorer.score(&pairs[7..]).unwrap());
                let (mut reference, mut effect) = (vec![], vec![]);
                for pairs in &pairs {
                    let mean = |f: &dyn Fn(&Pair) -> Vec<u8>| {
                        let codes: Vec<u8> = pairs.iter().flat_map(f).collect();
                        let y = double.predict(&codes).unwrap().to_f64();
                        let of = |t: usize| y.iter().skip(t).step_by(3).sum::<f64>() / pairs.len() as f64;
                        [2, 0].map(|t| of(t) * scaling.deviation[t] + scaling.mean[t])
                    };
                    let (old, new) = (mean(&|p| p.reference.clone()), mean(&|p| p.alternative.clone()));
                    reference.extend(old);
                    effect.extend(new.iter().zip(old).map(|(new, old)| new - old));
                }
                let flat = |f: &dyn Fn(&Scored) -> Vec<f64>| found.iter().flat_map(f).collect::<Vec<f64>>();
                close("references", &flat(&|s| s.reference.clone()), &reference, 1e-9);
                close("effects", &flat(&|s| s.effect.clone()), &effect, 1e-9);
                assert!(effect.iter().any(|e| e.abs() > 1e-6));
                let work = scorer.work();
                match engine {
                    Engine::Delta => assert!(work.sweeps > 0 && work.whole > 0, "{work:?}"),
                    Engine::Naive => assert!(work.sweeps == 0, "{work:?}"),
                    Engine::Auto => {}
                }
                if whole {
                    // Two sequences, two batches.
                    assert_eq!(work.references, 4, "one pass a sequence and batch");
                }
            }
        }
    }
}

#[test]
fn bits_depend_on_no_other_variant() {
    let net = network(30, "");
    let source = Texts::random(&["a", "b"], 200);
    let views = Views::new(30, Strand::Mean, &[0, 1], false).unwrap();
    let all = mixed(&source, 40);
    let place = |(name, position, reference, alternative): &(&'static str, u64, Vec<u8>, Vec<u8>)| {
        let change = Change { name, position: *position, reference, alternative };
        views.place(&source, &change, OnMismatch::Skip).unwrap().pairs
    };
    let pairs: Vec<Vec<Pair>> = all.iter().map(place).collect();
    let pairs: Vec<&[Pair]> = pairs.iter().map(Vec::as_slice).collect();
    for engine in [Engine::Delta, Engine::Naive] {
        let score = |pairs: &[&[Pair]], batch| {
            let options = ScorerOptions { engine, batch, ..ScorerOptions::default() };
            Scorer::new(&net, options).unwrap().score(pairs).unwrap()
        };
        let together = score(&pairs, None);
        for (i, pairs) in pairs.iter().enumerate() {
            assert_eq!(score(&[pairs], Some(1))[0], together[i], "variant {i}");
        }
    }
}

#[test]
fn plans_know_what_is_shared() {
    let net = network(40, "");
    let source = Texts::random(&["a"], 400);
    let plan = |whole: bool, source: &Texts| {
        let views = Views::new(40, Strand::Forward, &[0], whole).unwrap();
        let placed: Vec<Vec<Pair>> = (0..12)
            .map(|i| views.place(source, &change("a", 20 + i, "N", "T"), OnMismatch::Skip).unwrap().pairs)
            .collect();
        let pairs: Vec<&[Pair]> = placed.iter().map(Vec::as_slice).collect();
        let mut scorer = Scorer::new(&net, ScorerOptions { engine: Engine::Delta, ..Default::default() }).unwrap();
        scorer.prepare(&pairs).unwrap();
        assert_eq!(scorer.work(), Work::default());
        scorer.plan().unwrap().mutants
    };
    assert_eq!(plan(false, &source), 1.0);
    assert!(plan(true, &Texts::random(&["a"], 40)) > 5.0);
}

#[test]
fn bad_jobs_are_refused() {
    let net = network(20, "");
    let text = |options: ScorerOptions| Scorer::new(&net, options).map(drop).unwrap_err().to_string();
    assert!(text(ScorerOptions { tracks: Some(vec![3]), ..Default::default() }).contains("track 3 of 3"));
    let scaling = Some(Scaling { mean: vec![0.0], deviation: vec![1.0] });
    assert!(text(ScorerOptions { scaling, ..Default::default() }).contains("scaling of 1 tracks"));
    let mut scorer = Scorer::new(&net, ScorerOptions::default()).unwrap();
    assert!(scorer.score(&[]).unwrap().is_empty());
    assert!(scorer.score(&[&[]]).unwrap_err().to_string().contains("no windows"));
    let short = Pair { reference: vec![0; 20], alternative: vec![0; 19] };
    assert!(scorer.score(&[&[short]]).unwrap_err().to_string().contains("20 bases"));
    // Nothing changes: nothing is planned, the effect is 0.
    let same = Pair { reference: vec![0; 20], alternative: vec![0; 20] };
    assert_eq!(scorer.score(&[&[same]]).unwrap()[0].effect, [0.0; 3]);
    assert!(scorer.plan().is_none());
}

/// The window is one of two inputs; the other one stays.
#[test]
fn variants_in_one_of_several_inputs() {
    let net = two_inputs();
    let double = net.to_dtype(DType::F64).unwrap();
    let source = Texts::random(&["a", "b"], 17);
    let views = Views::new(17, Strand::Forward, &[0], true).unwrap();
    let other: Vec<u8> = (0..23).map(|i| (i * i % 5) as u8).collect();
    let place = |(name, position, reference, alternative): &(&'static str, u64, Vec<u8>, Vec<u8>)| {
        let change = Change { name, position: *position, reference, alternative };
        let placed = views.place(&source, &change, OnMismatch::Skip).unwrap().pairs;
        placed.iter().map(|pair| pair.between(&other, &[])).collect::<Vec<Pair>>()
    };
    let pairs: Vec<Vec<Pair>> = mixed(&source, 30).iter().map(place).collect();
    assert!(pairs.iter().flatten().all(|p| p.reference.len() == 40 && p.alternative[..23] == other[..]));
    let pairs: Vec<&[Pair]> = pairs.iter().map(Vec::as_slice).collect();
    let predict = |codes: &Vec<u8>| double.predict(codes).unwrap().to_f64();
    let expected: Vec<f64> = pairs
        .iter()
        .flat_map(|p| {
            let (new, old) = (predict(&p[0].alternative), predict(&p[0].reference));
            new.into_iter().zip(old).map(|(new, old)| new - old)
        })
        .collect();
    for engine in [Engine::Delta, Engine::Naive] {
        let options = ScorerOptions { engine, double: true, ..ScorerOptions::default() };
        let found = Scorer::new(&net, options).unwrap().score(&pairs).unwrap();
        let effects: Vec<f64> = found.iter().flat_map(|s| s.effect.clone()).collect();
        close("effects", &effects, &expected, 1e-9);
    }
}
