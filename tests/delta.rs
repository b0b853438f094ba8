//! The delta sweep against running every mutant: random models of all operations that have a delta form, in f64 to 1e-9 of
//! a sequence's largest effect. Edits lie at both ends, side by side and far apart; lengths, widths, dilations, strides and
//! pool remainders are random. A failure names its seed.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

use drg::ops::{
    self, AttentionArgs, Conv1dArgs, Padding, PoolArgs, PoolKind, StemArgs, Strands, activation, add, attention,
    channels, concat, conv1d, conv1d_add, flatten, layer_norm, linear, multiply, pool, stem,
};
use drg::tape::check::{self, Random};
use drg::tape::{Delta, Edit, Keep, Mode, Tape, Var};
use drg::tensor::Tensor;
use drg::util::math::Activation;

type Layer = Box<dyn Fn(&mut Tape, Var) -> drg::Result<Var>>;

/// A random network from bases to a few tracks.
struct Net {
    layers: Vec<Layer>,
    text: String,
}

impl Net {
    fn random(r: &mut Random, mut l: usize) -> Self {
        let strands = [Strands::Forward, Strands::Max, Strands::Mean, Strands::Weighted][r.below(4)];
        let (k, mut c) = (1 + r.below(6), 2 + r.below(4));
        let args = StemArgs { kernel: k, left: r.below(k), strands };
        let (w, b) = (Var::constant(r.normal(&[k, 4, c])), Var::constant(r.normal(&[c])));
        let mut net = Self { layers: vec![], text: format!("{args:?}") };
        net.layers.push(Box::new(move |t, x| stem(t, &x, &w, Some(&b), args)));
        let attends = r.below(3) == 0;
        let layers = 1 + r.below(5);
        let place = r.below(layers);
        for i in 0..layers {
            if attends && i == place {
                c = net.attention(r, c);
            }
            match r.below(11) {
                0 => net.activation(r),
                1..=3 => (l, c) = net.conv(r, l, c),
                4 => net.residual(r, c),
                5 => c = net.branches(r, c),
                6 => net.norm(r, c),
                7 => c = net.softmax(r, c),
                _ => l = net.pool(r, l),
            }
        }
        net.activation(r);
        if r.below(3) == 0 {
            net.text += " mean_rows";
            net.layers.push(Box::new(|t, x| ops::mean_rows(t, &x)));
        } else {
            net.layers.push(Box::new(|t, x| flatten(t, &x)));
            c *= l;
        }
        let (hidden, tracks) = (1 + r.below(5), 1 + r.below(3));
        net.dense(r, c, hidden);
        net.activation(r);
        net.dense(r, hidden, tracks);
        net
    }

    fn activation(&mut self, r: &mut Random) {
        let f =
            [Activation::Gelu, Activation::Relu, Activation::Silu, Activation::Tanh, Activation::Softplus][r.below(5)];
        self.text += &format!(" {f:?}");
        self.layers.push(Box::new(move |t, x| activation(t, &x, f)));
    }

    fn weights(r: &mut Random, shape: &[usize]) -> Var {
        let fan: usize = shape[..shape.len() - 1].iter().product();
        let w: Vec<f64> = r.normal(shape).to_f64().iter().map(|v| v / (fan as f64).sqrt()).collect();
        Var::constant(Tensor::new(shape, w).unwrap())
    }

    fn conv(&mut self, r: &mut Random, l: usize, c: usize) -> (usize, usize) {
        let (kernel, dilation, stride) = (1 + r.below(4), 1 + r.below(3), 1 + r.below(2));
        let o = [1 + r.below(5), 17][usize::from(r.below(5) == 0)];
        let args = Conv1dArgs { kernel, dilation, stride, pad: (r.below(4), r.below(4)) };
        let Ok(out) = args.output(l) else { return (l, c) };
        let (w, b) = (Self::weights(r, &[kernel, c, o]), Var::constant(r.normal(&[o])));
        self.text += &format!(" {args:?}->{o}");
        self.layers.push(Box::new(move |t, x| conv1d(t, &x, &w, Some(&b), args)));
        (out, o)
    }

    fn residual(&mut self, r: &mut Random, c: usize) {
        let args = Conv1dArgs::same(1 + r.below(5), 1 + r.below(3));
        let w = Self::weights(r, &[args.kernel, c, c]);
        let way = r.below(4);
        self.text += &format!(" residual{args:?} way {way}");
        self.layers.push(Box::new(move |t, x| {
            let h = activation(t, &x, Activation::Gelu)?;
            if way > 1 {
                return conv1d_add(t, &h, &w, None, &x, args);
            }
            let h = conv1d(t, &h, &w, None, args)?;
            if way == 0 { multiply(t, &h, &x) } else { add(t, &h, &x) }
        }));
    }

    fn branches(&mut self, r: &mut Random, c: usize) -> usize {
        let (a, b) = (Conv1dArgs::same(3, 1), Conv1dArgs::same(2, 4));
        let (v, w) = (Self::weights(r, &[3, c, 2]), Self::weights(r, &[2, c, 3]));
        self.text += " branches";
        self.layers.push(Box::new(move |t, x| {
            let (a, b) = (conv1d(t, &x, &v, None, a)?, conv1d(t, &x, &w, None, b)?);
            concat(t, &[&a, &b])
        }));
        5
    }

    fn norm(&mut self, r: &mut Random, c: usize) {
        let (gamma, beta) = (Var::constant(r.normal(&[c])), Var::constant(r.normal(&[c])));
        self.text += " layer_norm";
        self.layers.push(Box::new(move |t, x| layer_norm(t, &x, &gamma, &beta, 1e-3)));
    }

    /// A softmax over some of the channels.
    fn softmax(&mut self, r: &mut Random, c: usize) -> usize {
        let from = r.below(c);
        let to = from + 1 + r.below(c - from);
        self.text += &format!(" channels {from}..{to} softmax");
        self.layers.push(Box::new(move |t, x| {
            let x = channels(t, &x, from, to)?;
            ops::softmax(t, &x)
        }));
        to - from
    }

    /// Attention on linear maps of the stream, added to another, normed, then one dense layer of every row.
    fn attention(&mut self, r: &mut Random, c: usize) -> usize {
        let (heads, d, dv, sum_heads) = (1 + r.below(3), 1 + r.below(4), 1 + r.below(4), r.below(2) == 0);
        let joined = if sum_heads { dv } else { heads * dv };
        let [q, k, v] = [heads * d, heads * d, heads * dv].map(|o| Self::weights(r, &[c, o]));
        let (w, e) = match r.below(5) {
            0 => (None, joined),
            e => (Some(Self::weights(r, &[joined, e])), e),
        };
        let (stream, dense, out) = (Self::weights(r, &[c, e]), 1 + r.below(5), 1 + r.below(5));
        let (first, second) = (Self::weights(r, &[e, dense]), Self::weights(r, &[dense, out]));
        let (gamma, beta) = (Var::constant(r.normal(&[e])), Var::constant(r.normal(&[e])));
        let args = AttentionArgs { heads, sum_heads };
        self.text += &format!(" {args:?} {d} {dv} {e}, dense {dense} {out}");
        self.layers.push(Box::new(move |t, x| {
            let [q, k, v] = [linear(t, &x, &q, None)?, linear(t, &x, &k, None)?, linear(t, &x, &v, None)?];
            let y = attention(t, &q, &k, &v, w.as_ref(), args)?;
            let x = linear(t, &x, &stream, None)?;
            let y = add(t, &y, &x)?;
            let y = layer_norm(t, &y, &gamma, &beta, 1e-3)?;
            let y = linear(t, &y, &first, None)?;
            let y = activation(t, &y, Activation::Gelu)?;
            linear(t, &y, &second, None)
        }));
        out
    }

    fn pool(&mut self, r: &mut Random, l: usize) -> usize {
        let kind = [PoolKind::Weighted, PoolKind::Weighted, PoolKind::Max, PoolKind::Mean][r.below(4)];
        let size = 1 + r.below(5);
        let stride = if kind == PoolKind::Weighted { size } else { 1 + r.below(size + 1) };
        let pad = (r.below(size), r.below(size));
        let padding = match kind {
            PoolKind::Max if r.below(3) == 0 => Padding::Zero,
            // Mutants that move the minimum of the map escape their windows.
            PoolKind::Weighted if r.below(2) == 0 => Padding::SequenceMin,
            _ => Padding::Exclude,
        };
        let args = PoolArgs { kind, size, stride, pad, padding };
        let Ok(out) = args.output(l) else { return l };
        self.text += &format!(" {args:?}");
        self.layers.push(Box::new(move |t, x| pool(t, &x, args)));
        out
    }

    fn dense(&mut self, r: &mut Random, f: usize, o: usize) {
        let (w, b) = (Self::weights(r, &[f, o]), Var::constant(r.normal(&[o])));
        self.text += &format!(" dense {f} {o}");
        self.layers.push(Box::new(move |t, x| linear(t, &x, &w, Some(&b))));
    }

    fn run(&self, tape: &mut Tape, mut x: Var) -> Var {
        for layer in &self.layers {
            x = layer(tape, x).unwrap_or_else(|e| panic!("{e} in {}", self.text));
        }
        x
    }
}

/// Single edits at every position, double ones near and far, of two sequences.
fn edits(r: &mut Random, codes: &[u8], l: usize) -> (Vec<u32>, Vec<Vec<Edit>>) {
    let (mut rows, mut all) = (vec![], vec![]);
    for at in 0..l {
        let n = r.below(2);
        let old = |p: usize| codes[n * l + p];
        let other = |p: usize, by: u8| (old(p).min(3) + 1 + by) % 4;
        let mut mutant = vec![Edit { at, to: other(at, r.below(3) as u8) }];
        match r.below(3) {
            0 if at + 1 < l => mutant.push(Edit { at: at + 1, to: other(at + 1, 0) }),
            1 if l > 1 && at != l - 1 - at => mutant.push(Edit { at: l - 1 - at, to: other(l - 1 - at, 1) }),
            _ => {}
        }
        rows.push(n as u32);
        all.push(mutant);
    }
    (rows, all)
}

fn mutants(codes: &[u8], l: usize, rows: &[u32], edits: &[Vec<Edit>]) -> Tensor {
    let mut x = vec![];
    for (&n, edits) in rows.iter().zip(edits) {
        let mut s = codes[n as usize * l..][..l].to_vec();
        edits.iter().for_each(|e| s[e.at] = e.to);
        x.extend(s);
    }
    Tensor::bases(rows.len(), l, x).unwrap()
}

#[test]
fn random_models() {
    for seed in 0..120 {
        let r = &mut Random::new(1000 + seed);
        let l = 1 + r.below(40);
        let net = Net::random(r, l);
        let bases = r.bases(2, l);
        let codes = bases.codes().unwrap().to_vec();
        let (rows, edits) = edits(r, &codes, l);
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x = tape.leaf(bases);
        let y = net.run(&mut tape, x.clone());
        let naive = net.run(&mut Tape::predict(), Var::constant(mutants(&codes, l, &rows, &edits))).value;
        let (from, to) = (x.node.unwrap(), y.node.unwrap());
        let sweep = |rows: &[u32], edits: &[Vec<Edit>]| {
            let seed = Delta::edits(edits.to_vec(), l).unwrap();
            tape.delta(vec![(from, seed)], rows, &[to]).unwrap_or_else(|e| panic!("{e} in {}", net.text))[0].take()
        };
        let name = format!("seed {seed}, length {l}:{}", net.text);
        check::compare(&name, sweep(&rows, &edits), &y.value, &naive, &rows);
        // Another mutant in the block changes no bit of this one.
        let whole = sweep(&rows, &edits).map(|d| d.rows().unwrap().to_f64());
        let tracks = y.shape()[1];
        for (i, row) in rows.iter().enumerate().step_by(7) {
            let alone = sweep(&[*row], &edits[i..=i]).map(|d| d.rows().unwrap().to_f64());
            let part = whole.as_ref().map(|w| w[i * tracks..][..tracks].to_vec());
            // Where a stride leaves a mutant out, nothing changes for it alone, and its rows in a block are zero.
            let zeros = || vec![0.0; tracks];
            assert_eq!(alone.unwrap_or_else(zeros), part.unwrap_or_else(zeros), "{name}: mutant {i} alone");
        }
    }
}
