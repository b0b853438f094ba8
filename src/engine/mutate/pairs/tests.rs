use super::*;
use crate::device::Device;
use crate::engine::mutate::tests::{network, two_inputs};
use crate::model::ZooName;
use crate::nn::{Builder, Parameters};
use crate::ops::{self, Conv1dArgs, Padding, PoolArgs, PoolKind, StemArgs, Strands};
use crate::tape::check::{Random, close};
use crate::tape::{Tape, Var};
use crate::util::math::Activation;

fn sequence(n: usize) -> Vec<u8> {
    (0..n).map(|i| [0, 2, 1, 3, 4, 2, 2, 5, 1][(i * i + i / 5) % 9]).collect()
}

fn run<P: Predictor>(model: &P, codes: &[u8], list: &Pairs, options: &Options) -> Vec<PairBlock> {
    let mut blocks = vec![];
    pairs(model, codes, list, options, |block| {
        blocks.push(block);
        Ok(true)
    })
    .expect("the job runs");
    blocks
}

fn options(engine: Engine) -> Options {
    Options { engine, double: true, ..Options::default() }
}

fn agree<P: Predictor>(name: &str, model: &P, codes: &[u8], list: &Pairs) {
    let [delta, naive] = [Engine::Delta, Engine::Naive].map(|engine| run(model, codes, list, &options(engine)));
    assert_eq!(delta.len(), naive.len());
    for (d, n) in delta.iter().zip(&naive) {
        assert_eq!((d.index, d.sequence, d.part, &d.pairs), (n.index, n.sequence, n.part, &n.pairs));
        close(&format!("{name}: reference"), &d.reference, &n.reference, 1e-12);
        close(&format!("{name}: pairs"), &d.effects, &n.effects, 1e-9);
        for i in 0..2 {
            close(&format!("{name}: side {i}"), &d.singles[i], &n.singles[i], 1e-9);
        }
    }
}

/// A network of one's own.
#[derive(Clone)]
struct Own {
    length: usize,
    numbers: Parameters,
    body: Arc<dyn Fn(&mut Tape, &Var) -> Result<Var> + Send + Sync>,
}

impl Predictor for Own {
    fn length(&self) -> usize {
        self.length
    }
    fn tracks(&self) -> usize {
        2
    }
    fn flank(&self) -> usize {
        1
    }
    fn flank_code(&self) -> u8 {
        4
    }
    fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        (self.body)(tape, x)
    }
    fn parameters(&self) -> &Parameters {
        &self.numbers
    }
    fn to_dtype(&self, _: DType) -> Result<Self> {
        Ok(self.clone())
    }
    fn to_device(&self, _: &Device) -> Result<Self> {
        Ok(self.clone())
    }
}

/// The weights of these networks are constants of their own.
fn nothing() -> Parameters {
    Builder::default().finish(DType::F64, 0).expect("no numbers always fit")
}

/// A stem, a middle, flatten or mean, two dense layers.
fn own(
    length: usize,
    strands: Strands,
    flat: bool,
    middle: impl Fn(&mut Tape, Var, &[Var]) -> Result<Var> + Send + Sync + 'static,
) -> Own {
    let mut r = Random::new(length as u64);
    let mut weight = |shape: &[usize]| {
        let fan: usize = shape[..shape.len() - 1].iter().product();
        let w = r.normal(shape).to_f64().into_iter().map(|w| w / (fan as f64).sqrt());
        Var::constant(Tensor::new(shape, w.collect::<Vec<_>>()).expect("as many numbers as the shape says"))
    };
    let (stem, last) = (weight(&[4, 4, 6]), weight(&[5, 2]));
    let inner = [weight(&[3, 6, 6]), weight(&[6]), weight(&[6])];
    let dense: Vec<Var> = (1..=length + 2).map(|rows| weight(&[6 * rows, 5])).collect();
    let body = move |t: &mut Tape, x: &Var| {
        let args = StemArgs { kernel: 4, left: 2, strands };
        let x = ops::stem(t, x, &stem, None, args)?;
        let x = middle(t, x, &inner)?;
        let x = if flat { ops::flatten(t, &x)? } else { ops::mean_rows(t, &x)? };
        let x = ops::linear(t, &x, &dense[x.shape()[1] / 6 - 1], None)?;
        let x = ops::activation(t, &x, Activation::Tanh)?;
        ops::linear(t, &x, &last, None)
    };
    Own { length, numbers: nothing(), body: Arc::new(body) }
}

fn pooled(t: &mut Tape, x: &Var, kind: PoolKind, size: usize, stride: usize, padding: Padding) -> Result<Var> {
    let pad = if padding == Padding::Exclude { (0, 0) } else { (1, 1) };
    ops::pool(t, x, PoolArgs { kind, size, stride, pad, padding })
}

fn gelu(t: &mut Tape, x: &Var) -> Result<Var> {
    ops::activation(t, x, Activation::Gelu)
}

fn everywhere(length: usize) -> Pairs {
    Pairs::Range { positions: 0..length, within: None }
}

#[test]
fn pairs_equal_running_every_double_mutant() {
    for (length, more) in [
        (20, ""),
        (37, "+shift_sequence=2+random_shift=1"),
        (31, "+pool_padding=sequence-min"),
        (48, "+pooling_size=2+residual=stream"),
    ] {
        agree(more, &network(length, more), &sequence(length), &everywhere(length));
    }
}

#[test]
fn changes_meet_in_every_kind_of_layer() {
    let residual = |t: &mut Tape, x: Var, w: &[Var]| {
        let x = gelu(t, &x)?;
        let h = ops::conv1d(t, &x, &w[0], None, Conv1dArgs::same(3, 2))?;
        let h = gelu(t, &h)?;
        let x = ops::add(t, &h, &x)?;
        pooled(t, &x, PoolKind::Max, 3, 2, Padding::Exclude)
    };
    for strands in [Strands::Forward, Strands::Mean, Strands::Max] {
        agree(&format!("{strands:?}"), &own(40, strands, true, residual), &sequence(40), &everywhere(40));
    }
    let norm = |t: &mut Tape, x: Var, w: &[Var]| {
        let x = ops::layer_norm(t, &x, &w[1], &w[2], 1e-5)?;
        let x = pooled(t, &x, PoolKind::Mean, 3, 3, Padding::Exclude)?;
        let h = ops::conv1d(t, &x, &w[0], None, Conv1dArgs::same(3, 1))?;
        let x = ops::multiply(t, &h, &x)?;
        pooled(t, &x, PoolKind::Weighted, 2, 2, Padding::Exclude)
    };
    agree("norm", &own(46, Strands::Forward, true, norm), &sequence(46), &everywhere(46));
    let minimum = |t: &mut Tape, x: Var, _: &[Var]| {
        let x = gelu(t, &x)?;
        let x = pooled(t, &x, PoolKind::Weighted, 3, 3, Padding::SequenceMin)?;
        gelu(t, &x)
    };
    agree("minimum", &own(33, Strands::Forward, true, minimum), &sequence(33), &everywhere(33));
    let strided = |t: &mut Tape, x: Var, w: &[Var]| {
        let x = gelu(t, &x)?;
        let args = Conv1dArgs { kernel: 3, stride: 2, dilation: 1, pad: (1, 1) };
        let x = ops::conv1d(t, &x, &w[0], None, args)?;
        gelu(t, &x)
    };
    agree("strided", &own(47, Strands::Forward, false, strided), &sequence(47), &everywhere(47));
    let same = |_: &mut Tape, x: Var, _: &[Var]| Ok(x);
    agree("same", &own(22, Strands::Forward, true, same), &sequence(22), &everywhere(22));
}

/// A model that is linear as a whole: pairs are sums, and nothing is left of their epistasis.
#[test]
fn linear_models_have_no_epistasis() {
    let mut r = Random::new(4);
    let (stem, last) = (Var::constant(r.normal(&[4, 4, 3])), Var::constant(r.normal(&[14 * 3, 2])));
    let body = move |t: &mut Tape, x: &Var| {
        let args = StemArgs { kernel: 4, left: 2, strands: Strands::Forward };
        let x = ops::stem(t, x, &stem, None, args)?;
        let x = ops::flatten(t, &x)?;
        ops::linear(t, &x, &last, None)
    };
    let model = Own { length: 12, numbers: nothing(), body: Arc::new(body) };
    agree("linear", &model, &sequence(12), &everywhere(12));
    for block in run(&model, &sequence(12), &everywhere(12), &options(Engine::Delta)) {
        let largest = block.effects.iter().fold(0f64, |a, b| a.max(b.abs()));
        assert!(block.epistasis().iter().all(|e| e.abs() <= 1e-15 * largest));
    }
}

#[test]
fn bits_depend_on_no_other_pair_block_or_thread() {
    let (model, codes) = (network(80, "+pooling_size=2"), sequence(160));
    let wide = Options { engine: Engine::Delta, ..Options::default() };
    let range = Pairs::Range { positions: 3..75, within: Some(50) };
    let all = run(&model, &codes, &range, &wide);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads start");
        assert_eq!(all, pool.install(|| run(&model, &codes, &range, &wide)), "{threads} threads");
    }
    let some = Options { blocks: Some(vec![1, 7]), ..wide.clone() };
    assert_eq!(run(&model, &codes, &range, &some), [all[1].clone(), all[7].clone()]);
    // The same pairs listed backwards, sides swapped, and the other sequence's as well.
    let listed = |n: usize, step: usize| -> Vec<EditPair> {
        let blocks = all.iter().rev().filter(|b| b.sequence == n);
        blocks.flat_map(|b| b.pairs.iter().rev().step_by(step).map(|&[a, b]| [b, a])).collect()
    };
    let list = Pairs::Listed(vec![listed(0, 11), listed(1, 400)].into());
    for block in run(&model, &codes, &list, &wide) {
        for (m, &[b, a]) in block.pairs.iter().enumerate() {
            let same = |other: &&PairBlock| other.sequence == block.sequence && other.pairs.contains(&[a, b]);
            let other = all.iter().find(same).expect("every block is among all");
            let k = other.pairs.iter().position(|&p| p == [a, b]).expect("every pair is in its block");
            assert_eq!(block.effects[m * 3..][..3], other.effects[k * 3..][..3]);
            assert_eq!(block.singles[1][m * 3..][..3], other.singles[0][k * 3..][..3]);
        }
    }
}

#[test]
fn every_pair_comes_once() {
    let codes = sequence(150);
    for (positions, within) in [(0..150, None), (7..100, Some(1)), (3..139, Some(33)), (40..72, Some(500))] {
        let range = Pairs::Range { positions: positions.clone(), within };
        let got: Vec<EditPair> = (0..range.blocks(0)).flat_map(|part| range.block(0, part, &codes)).collect();
        let others = |p: usize| (0..4u8).filter(|&b| b != codes[p]).count() * usize::from(codes[p] != UNIFORM);
        let near = |p: usize| p + 1..positions.end.min(p + 1 + within.unwrap_or(150));
        let want: usize = positions.clone().map(|p| near(p).map(|q| others(p) * others(q)).sum::<usize>()).sum();
        assert_eq!(got.len(), want);
        let unique: std::collections::BTreeSet<_> = got.iter().map(|p| p.map(|e| (e.at, e.to))).collect();
        assert_eq!(unique.len(), want);
        assert!(got.iter().all(|[a, b]| a.at < b.at && codes[a.at] != a.to && codes[b.at] != b.to));
    }
}

#[test]
fn tracks_are_chosen_and_bad_jobs_refused() {
    let (model, codes) = (network(24, ""), sequence(24));
    let range = Pairs::Range { positions: 3..9, within: None };
    let all = run(&model, &codes, &range, &Options::default());
    let chosen = Options { tracks: Some(vec![2, 0]), ..Options::default() };
    let some = run(&model, &codes, &range, &chosen);
    assert_eq!(some[0].reference, [all[0].reference[2], all[0].reference[0]]);
    for (a, b) in some[0].epistasis().chunks(2).zip(all[0].epistasis().chunks(3)) {
        assert_eq!(a, [b[2], b[0]]);
    }
    let refuse = |codes: &[u8], list: &Pairs, options: &Options| {
        pairs(&model, codes, list, options, |_| Ok(true)).unwrap_err().to_string()
    };
    let range = |positions, within| Pairs::Range { positions, within };
    let usual = Options::default();
    assert!(refuse(&codes, &range(5..25, None), &usual).contains("0..24"));
    assert!(refuse(&codes, &range(5..9, Some(0)), &usual).contains("at least 1"));
    assert!(refuse(&codes[1..], &range(5..9, None), &usual).contains("[N, 24]"));
    let tracks = Options { tracks: Some(vec![3]), ..Options::default() };
    assert!(refuse(&codes, &range(5..9, None), &tracks).contains("track 3 of 3"));
    let edit = |at, to| Edit { at, to };
    let listed = |pair: EditPair| Pairs::Listed(vec![vec![pair]].into());
    assert!(refuse(&codes, &listed([edit(4, 1), edit(4, 2)]), &usual).contains("twice"));
    assert!(refuse(&codes, &listed([edit(4, 1), edit(24, 2)]), &usual).contains("below 24"));
    assert!(refuse(&codes, &Pairs::Listed(vec![].into()), &usual).contains("there are 1"));
    let none = Pairs::Listed(vec![vec![]].into());
    assert!(run(&model, &codes, &none, &usual).is_empty());
}

/// The published shape that the speed of this file is told for: pairs at every distance.
#[test]
fn a_wide_model_agrees_on_a_sample() {
    let model = ZooName::SeqToFunc251.network(1).expect("a model of the zoo is sound");
    let codes: Vec<u8> = (0..251).map(|i| (i * i / 3 % 4) as u8).collect();
    let other = |at: usize| Edit { at, to: (codes[at] + 1) % 4 };
    let list =
        [1, 14, 15, 20, 21, 24, 41, 44, 70, 107, 112, 250].map(|d| [other((250 - d) / 2), other((250 - d) / 2 + d)]);
    agree("seqtofunc251", &model, &codes, &Pairs::Listed(vec![list.to_vec()].into()));
}

/// Both substitutions in either input, and one in each.
#[test]
fn pairs_in_several_inputs() {
    let (net, codes) = (two_inputs(), [sequence(40), sequence(40)].concat());
    for within in [None, Some(3)] {
        agree("two inputs", &net, &codes, &Pairs::Range { positions: 17..31, within });
    }
    let pair = |i: usize, j: usize| [Edit { at: i, to: (codes[i] + 1) % 4 }, Edit { at: j, to: (codes[j] + 2) % 4 }];
    let listed = vec![vec![pair(0, 39), pair(22, 23), pair(3, 9)], vec![pair(24, 38)]];
    agree("two inputs, listed", &net, &codes, &Pairs::Listed(listed.into()));
}
