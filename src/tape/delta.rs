//! The delta sweep: changes walk from edited bases to predictions, window by window.
//!
//! [`Tape::delta`] sweeps a block of mutants. What a planner needs to know beforehand is geometry: [`Tape::windows`] says how
//! wide a change is at every node, [`Tape::steps`] what that costs, [`Tape::waists`] where a sweep may be cut in two and its
//! mutants grouped anew.

use std::sync::{Mutex, OnceLock};

use super::{Change, Cx, Delta, Error, Mode, Node, NodeId, Result, Tape, Window, at, readable};

/// One operation of a sweep, as a planner sees it. Sizes are those of one mutant.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The node.
    pub node: NodeId,
    /// Path of the layer that recorded it.
    pub layer: String,
    /// Name of the operation.
    pub op: &'static str,
    /// Rows and channels of the whole output.
    pub len: usize,
    /// Channels of a row.
    pub channels: usize,
    /// Rows of the output that change.
    pub width: usize,
    /// Whether inputs that change in a part only make the whole output change.
    pub spreads: bool,
    /// Multiply-adds of running the operation on the whole sequence.
    pub naive: f64,
    /// Multiply-adds of the sweep.
    pub delta: f64,
}

impl Tape {
    /// Changes of `want` for one block of mutants, from seeds at any nodes: edits at the input, or cached changes further
    /// on. Mutant m belongs to tape row `rows[m]`. `None` where nothing changes.
    ///
    /// A mutant's result has the same bits in every block. Mutants that escape their window at some operation
    /// ([`Cx::escape`]) go on from there as a block of their own, with the whole map as window.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a tape recorded in train mode or for an operation without a delta form;
    /// [`Error::Argument`] for seeds of another number of mutants.
    pub fn delta(&self, seeds: Vec<(NodeId, Delta)>, rows: &[u32], want: &[NodeId]) -> Result<Vec<Option<Delta>>> {
        if self.mode != Mode::Eval {
            return Err(Error::Unsupported { op: "delta", what: "a tape recorded in train mode".into() });
        }
        let mut d: Vec<Option<Delta>> = vec![None; self.nodes.len()];
        for (id, seed) in seeds {
            if seed.at.mutants() != rows.len() {
                return Err(Error::Argument {
                    op: "delta",
                    what: format!("a seed holds {} mutants, the sweep {} rows", seed.at.mutants(), rows.len()),
                });
            }
            d[id] = Some(seed);
        }
        Walk { tape: self, want, last: self.last_readers() }.run(0, d, rows, None)
    }

    /// Where every node can change when the seeds do: geometry alone, nothing is computed. `None` where nothing changes.
    pub fn windows(&self, seeds: Vec<(NodeId, Window)>) -> Vec<Option<Window>> {
        let mut all: Vec<Option<Window>> = vec![None; self.nodes.len()];
        for (id, seed) in seeds {
            all[id] = Some(seed);
        }
        for (id, node) in self.nodes.iter().enumerate() {
            let x = self.seen(node, &all);
            let x: Vec<Option<&Window>> = x.iter().map(Option::as_ref).collect();
            if let Some(op) = node.op.as_ref().filter(|_| all[id].is_none() && x.iter().any(Option::is_some)) {
                all[id] = Some(op.window(&x, node.rows(&x))).filter(|w| w.width > 0).map(clipped);
            }
        }
        all
    }

    /// The nodes where changes do not simply add up, and their windows. The changes of two mutants add up at every node before
    /// the first of these at which their windows share a row: a linear operation adds changes wherever they lie, any other one
    /// where no row of its output lies in both windows, and one that mutants may escape from ([`Op::may_escape`](super::Op))
    /// never, so its window is the whole map.
    pub fn couplings(&self, seeds: Vec<(NodeId, Window)>) -> Vec<(NodeId, Window)> {
        let coupled = |(node, (id, at)): (&Node, (NodeId, Option<Window>))| {
            let (op, at) = (node.op.as_ref().filter(|op| !op.is_linear())?, at?);
            Some((id, if op.may_escape() { Window::dense(at.mutants(), at.len) } else { at }))
        };
        self.nodes.iter().zip(self.windows(seeds).into_iter().enumerate()).filter_map(coupled).collect()
    }

    /// The windows of a node's inputs as its operation sees them.
    fn seen(&self, node: &Node, all: &[Option<Window>]) -> Vec<Option<Window>> {
        let window = |i: NodeId| {
            let w = all[i].as_ref()?;
            Some(if self.in_rows(node, i, w) { Window::dense(w.mutants(), 1) } else { w.clone() })
        };
        node.inputs.iter().map(|i| i.and_then(window)).collect()
    }

    /// Whether the change `at` of input `i` is still in the rows of the map that was flattened, and `node` wants a vector.
    fn in_rows(&self, node: &Node, i: NodeId, at: &Window) -> bool {
        self.nodes[i].shape.len() == 2 && at.len > 1 && node.op.as_ref().is_some_and(|op| !op.takes_rows())
    }

    /// What the sweep of these seeds costs, operation by operation.
    pub fn steps(&self, seeds: Vec<(NodeId, Window)>) -> Vec<Step> {
        let all = self.windows(seeds);
        let whole = |w: &Window| Window::dense(w.mutants(), w.len);
        let step = |(node, id): (&Node, NodeId)| {
            let (op, to) = (node.op.as_ref()?, all[id].as_ref()?);
            let x = self.seen(node, &all);
            let x: Vec<Option<&Window>> = x.iter().map(Option::as_ref).collect();
            // A seed is known.
            x.iter().flatten().next()?;
            let dense: Vec<Option<Window>> = x.iter().map(|w| w.map(whole)).collect();
            let dense: Vec<Option<&Window>> = dense.iter().map(Option::as_ref).collect();
            let cx = Cx {
                node,
                rows: &[],
                precision: self.precision,
                partner: None,
                table: &OnceLock::new(),
                escaped: None,
            };
            Some(Step {
                node: id,
                layer: node.layer.to_string(),
                op: op.name(),
                len: to.len,
                channels: node.channels(to),
                width: to.width,
                spreads: to.is_dense() && x.iter().flatten().any(|w| !w.is_dense()),
                naive: op.products(&cx, &dense, &whole(to)),
                delta: op.products(&cx, &x, to),
            })
        };
        self.nodes.iter().zip(0..).filter_map(step).collect()
    }

    /// The nodes between `from` and `to` through which every change passes alone: behind them nothing reads an earlier
    /// change, so a sweep can stop there and go on later. `to` is the last of them.
    pub fn waists(&self, from: NodeId, to: NodeId) -> Vec<NodeId> {
        let mut changes = vec![false; self.nodes.len()];
        changes[from] = true;
        for (id, node) in self.nodes.iter().enumerate() {
            changes[id] |= node.inputs.iter().flatten().any(|&i| changes[i]);
        }
        let last = self.last_readers();
        let mut waists = vec![];
        let mut read_until = last[from];
        for id in (from + 1..=to).filter(|&id| changes[id]) {
            if read_until <= id {
                waists.push(id);
            }
            read_until = read_until.max(last[id]);
        }
        waists
    }

    /// The last reader of every node; 0 if there is none.
    fn last_readers(&self) -> Vec<NodeId> {
        let mut last = vec![0; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for &input in node.inputs.iter().flatten() {
                last[input] = id;
            }
        }
        last
    }
}

impl Node {
    /// Rows of the output. A vector keeps the rows that it was flattened from, if any.
    fn rows(&self, x: &[Option<&Window>]) -> usize {
        if self.shape.len() > 2 { self.shape[1] } else { Window::hull(x).len }
    }

    /// Channels of a row of `to`.
    fn channels(&self, to: &Window) -> usize {
        self.shape[1..].iter().product::<usize>() / to.len.max(1)
    }
}

/// A window as wide as its map becomes the whole map.
fn clipped(w: Window) -> Window {
    if w.width >= w.len { Window::dense(w.mutants(), w.len) } else { w }
}

struct Walk<'a> {
    tape: &'a Tape,
    want: &'a [NodeId],
    last: Vec<NodeId>,
}

impl Walk<'_> {
    /// Walks from node `first` with the changes `d` that are known there. `whole` = the node whose window is the whole map.
    fn run(
        &self,
        first: NodeId,
        mut d: Vec<Option<Delta>>,
        rows: &[u32],
        whole: Option<NodeId>,
    ) -> Result<Vec<Option<Delta>>> {
        let nodes = &self.tape.nodes;
        let end = self.want.iter().max().map_or(0, |&last| last + 1);
        let mut sides: Vec<(Vec<usize>, Vec<Option<Delta>>)> = vec![];
        // What this walk computes for a mutant that has left it is not used, and its escapes do not count.
        let mut left = vec![false; rows.len()];
        let table = OnceLock::new();
        for (id, node) in nodes.iter().enumerate().take(end).skip(first) {
            for &i in node.inputs.iter().flatten() {
                if let Some(rows) = d[i].as_ref().filter(|x| self.tape.in_rows(node, i, &x.at)) {
                    d[i] = Some(rows.vector()?);
                }
            }
            let dx: Vec<Option<&Delta>> = node.inputs.iter().map(|i| i.and_then(|i| d[i].as_ref())).collect();
            let Some(op) = node.op.as_ref().filter(|_| d[id].is_none() && dx.iter().any(Option::is_some)) else {
                continue;
            };
            let windows: Vec<Option<&Window>> = dx.iter().map(|x| x.map(|x| &x.at)).collect();
            let len = node.rows(&windows);
            let to = if whole == Some(id) { Window::dense(rows.len(), len) } else { op.window(&windows, len) };
            if to.width == 0 {
                continue;
            }
            let escaped = Mutex::new(vec![]);
            let precision = self.tape.precision;
            let cx = Cx { node, rows, precision, partner: None, table: &table, escaped: Some(&escaped) };
            let changes = dx.iter().flatten().filter_map(|d| d.rows().ok());
            let change = readable(&**op, changes)
                .and_then(|()| op.change(&cx, &dx, &to))
                .map_err(|e| at(&node.layer, "delta", e))?;
            let mut escaped = escaped.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
            escaped.retain(|&m| !left[m]);
            if !escaped.is_empty() {
                assert_ne!(whole, Some(id), "{}: nothing escapes the whole map", op.name());
                escaped.sort_unstable();
                escaped.dedup();
                escaped.iter().for_each(|&m| left[m] = true);
                let rows: Vec<u32> = escaped.iter().map(|&m| rows[m]).collect();
                let part =
                    d.iter().map(|d| d.as_ref().map(|d| d.select(&escaped)).transpose()).collect::<Result<_>>()?;
                sides.push((escaped, self.run(id, part, &rows, Some(id))?));
            }
            d[id] = Some(match change {
                Change::Bases(_) => Delta { at: to, change },
                Change::Rows(_) => Delta { at: to, change }.cleared()?,
            });
            for &p in node.inputs.iter().flatten() {
                if self.last[p] == id && !self.want.contains(&p) {
                    d[p] = None;
                }
            }
        }
        let mut results: Vec<Option<Delta>> = self.want.iter().map(|&w| d[w].take()).collect();
        for (list, side) in sides {
            for (result, side) in results.iter_mut().zip(side) {
                *result = match (result.take(), side) {
                    (Some(main), Some(side)) => Some(main.with(&list, &side)?),
                    (main, _) => main,
                };
            }
        }
        Ok(results)
    }
}
