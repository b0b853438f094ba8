//! Backward, rescale and delta: the walks over a recorded tape.

use super::{Change, Cx, Delta, Error, Grads, Mode, Node, NodeId, Result, Tape, Tensor, Window, at};
use crate::real;
use crate::util::par;

impl Tape {
    /// Gradients of `want` from the gradient `dy` `[R, ...]` of node `from`. Sweep row r belongs to tape row `rows[r]`.
    /// Consumes the tape: saved tensors go as soon as they have served.
    ///
    /// # Errors
    /// Those of the operations, with the layer's path.
    pub fn backward(mut self, from: NodeId, dy: Tensor, rows: &[u32], want: &[NodeId]) -> Result<Grads> {
        self.nodes.truncate(from + 1);
        let (mut g, wanted) = start(self.nodes.len(), from, dy, want);
        while let Some(node) = self.nodes.pop() {
            pull(&node, self.nodes.len(), &mut g, &wanted, rows, None)?;
        }
        Ok(want.iter().map(|&w| g.get_mut(w).and_then(Option::take)).collect())
    }

    /// DeepLIFT multipliers of pairs. Inputs and references are rows of one tape, so a pair is `(rows[r], partner[r])` and
    /// nothing has to be aligned.
    ///
    /// # Errors
    /// Those of the operations, with the layer's path.
    pub fn rescale(&self, from: NodeId, dy: Tensor, rows: &[u32], partner: &[u32], want: &[NodeId]) -> Result<Grads> {
        let (mut g, wanted) = start(from + 1, from, dy, want);
        for id in (0..=from).rev() {
            pull(&self.nodes[id], id, &mut g, &wanted, rows, Some(partner))?;
        }
        Ok(want.iter().map(|&w| g.get_mut(w).and_then(Option::take)).collect())
    }

    /// Changes of `want` for one block of mutants, from seeds at any nodes: edits at the input, or cached changes further
    /// on. Mutant m belongs to tape row `rows[m]`. `None` where nothing changes.
    ///
    /// # Errors
    /// [`Error::Unsupported`] on a tape recorded in train mode or for an operation without a delta form.
    pub fn delta(&self, seeds: Vec<(NodeId, Delta)>, rows: &[u32], want: &[NodeId]) -> Result<Vec<Option<Delta>>> {
        if self.mode != Mode::Eval {
            return Err(Error::Unsupported { op: "delta", what: "a tape recorded in train mode".into() });
        }
        // The last reader of a change frees it.
        let mut last = vec![0; self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for &p in node.inputs.iter().flatten() {
                last[p] = id;
            }
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
        for (id, node) in self.nodes.iter().enumerate() {
            let dx: Vec<Option<&Delta>> = node.inputs.iter().map(|i| i.and_then(|i| d[i].as_ref())).collect();
            let Some(op) = node.op.as_ref().filter(|_| d[id].is_none() && dx.iter().any(Option::is_some)) else {
                continue;
            };
            let windows: Vec<Option<&Window>> = dx.iter().map(|x| x.map(|x| &x.at)).collect();
            // A vector keeps the rows that it was flattened from, if any.
            let len = if node.shape.len() > 2 { node.shape[1] } else { Window::hull(&windows).len };
            let raw = op.window(&windows, len);
            let cx = Cx { node, rows, partner: None };
            let change = op.change(&cx, &dx, &raw).map_err(|e| at(&node.layer, "delta", e))?;
            // One place clears rows outside the sequence and turns a window as wide as its map into a dense one.
            let to = if raw.width >= raw.len { Window::dense(rows.len(), raw.len) } else { raw.clone() };
            d[id] = Some(match change {
                Change::Bases(_) => Delta { at: raw, change },
                Change::Rows(_) => Delta { at: raw, change }.placed(&to)?,
            });
            for &p in node.inputs.iter().flatten() {
                if last[p] == id && !want.contains(&p) {
                    d[p] = None;
                }
            }
        }
        Ok(want.iter().map(|&w| d[w].take()).collect())
    }
}

fn start(nodes: usize, from: NodeId, dy: Tensor, want: &[NodeId]) -> (Grads, Vec<bool>) {
    let mut g: Grads = vec![None; nodes];
    g[from] = Some(dy);
    let mut wanted = vec![false; nodes];
    for &w in want.iter().filter(|&&w| w < nodes) {
        wanted[w] = true;
    }
    (g, wanted)
}

/// One step of a backward or rescale walk: hands the node's gradient to its operation and adds what comes back.
fn pull(node: &Node, id: NodeId, g: &mut Grads, wanted: &[bool], rows: &[u32], partner: Option<&[u32]>) -> Result<()> {
    let Some(op) = &node.op else { return Ok(()) };
    let Some(dy) = (if wanted[id] { g[id].clone() } else { g[id].take() }) else { return Ok(()) };
    let cx = Cx { node, rows, partner };
    let (sweep, dx) = match partner {
        Some(_) => ("rescale", op.rescale(&cx, &dy)),
        None => ("backward", op.backward(&cx, &dy)),
    };
    drop(dy);
    let dx = dx.map_err(|e| at(&node.layer, sweep, e))?;
    for (to, d) in node.inputs.iter().zip(dx) {
        if let (Some(p), Some(d)) = (*to, d) {
            // Contributions arrive in node order, which is fixed, so sums have fixed bits.
            g[p] = Some(match g[p].take() {
                None => d,
                Some(s) => sum(s, &d)?,
            });
        }
    }
    Ok(())
}

/// `a + b`, in place where `a` is nobody else's.
fn sum(mut a: Tensor, b: &Tensor) -> Result<Tensor> {
    real!("sum of gradients", b, T => {
        let y = a.cpu_mut::<T>()?;
        par::zip(y, b.cpu::<T>()?, |y, x| y.iter_mut().zip(x).for_each(|(y, &x)| *y += x));
        Ok(())
    })?;
    Ok(a)
}
