//! The table of a plan, for the verbs that print one.

use std::fmt::Write;

use super::talk;
use crate::engine::mutate::Plan;

/// What each operation costs a mutant, and where the change becomes dense.
pub(super) fn layers(plan: &Plan) -> String {
    let cells = |c: [&str; 9]| c.map(String::from).to_vec();
    let mut table = vec![cells([
        "layer",
        "operation",
        "rows",
        "channels",
        "window",
        "naive MFLOP",
        "delta MFLOP",
        "naive kB",
        "delta kB",
    ])];
    let mut dense = String::new();
    for s in &plan.steps {
        let (mflop, kb) = (|v: f64| format!("{:.3}", 2e-6 * v), |v: f64| format!("{:.1}", v / 1e3));
        table.push(vec![
            s.layer.clone(),
            s.op.to_string(),
            s.length.to_string(),
            s.channels.to_string(),
            s.window.to_string(),
            mflop(s.naive),
            mflop(s.delta),
            kb(s.naive_bytes),
            kb(s.delta_bytes),
        ]);
        if !s.dense.is_empty() {
            let _ = writeln!(dense, "  {} {}: {}", s.layer, s.op, s.dense);
        }
    }
    let mut text = talk::aligned(&table, 2);
    if !dense.is_empty() {
        let _ = write!(text, "\nThe change becomes dense at:\n{dense}");
    }
    text
}
