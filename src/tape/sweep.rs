//! Backward and rescale: the walks from outputs to inputs over a recorded tape.

use std::sync::OnceLock;

use super::{Cx, Grads, Node, NodeId, Result, Tape, Tensor, at, cuda};
use crate::device::{Precision, Table};
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
        let (precision, table) = (self.precision, OnceLock::new());
        while let Some(node) = self.nodes.pop() {
            pull(&node, self.nodes.len(), &mut g, &wanted, rows, (None, precision, &table))?;
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
        let table = OnceLock::new();
        for id in (0..=from).rev() {
            pull(&self.nodes[id], id, &mut g, &wanted, rows, (Some(partner), self.precision, &table))?;
        }
        Ok(want.iter().map(|&w| g.get_mut(w).and_then(Option::take)).collect())
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
fn pull(
    node: &Node,
    id: NodeId,
    g: &mut Grads,
    wanted: &[bool],
    rows: &[u32],
    (partner, precision, table): (Option<&[u32]>, Precision, &OnceLock<Table>),
) -> Result<()> {
    let Some(op) = &node.op else { return Ok(()) };
    let Some(dy) = (if wanted[id] { g[id].clone() } else { g[id].take() }) else { return Ok(()) };
    let cx = Cx { node, rows, precision, partner, table, escaped: None };
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
    if let Some(gpu) = Tensor::place("sum of gradients", &[&a, b])? {
        cuda::add(&gpu.clone(), &mut a, b)?;
        return Ok(a);
    }
    real!("sum of gradients", b, T => {
        let y = a.cpu_mut::<T>()?;
        par::zip(y, b.cpu::<T>()?, |y, x| y.iter_mut().zip(x).for_each(|(y, &x)| *y += x));
        Ok(())
    })?;
    Ok(a)
}
