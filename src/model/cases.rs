//! Models of the reference that tests compare with: `cases.txt` beside this file.

use super::options::{DataFacts, InputFacts};

/// One model of the reference.
pub(crate) struct Case {
    pub name: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub cnn: String,
    pub facts: DataFacts,
    pub outname: String,
    /// Names and shapes in the order of the state dict; none = options that cannot be built.
    pub tensors: Option<Vec<(String, Vec<usize>)>>,
}

/// All of them.
pub(crate) fn cases() -> Vec<Case> {
    let blocks = include_str!("cases.txt").split("\n\n").skip(1);
    blocks
        .map(|block| {
            let field = |name: &str| block.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' '));
            let text = |name: &str| field(name).unwrap().to_string();
            let list = |name: &str| text(name).split(',').map(str::to_string).collect::<Vec<_>>();
            Case {
                name: text("case"),
                inputs: list("inputs"),
                outputs: list("outputs"),
                cnn: text("cnn"),
                facts: DataFacts {
                    inputs: (list("length").iter().zip(list("strands")))
                        .map(|(l, both)| InputFacts { length: l.parse().unwrap(), reverse_complement: both == "true" })
                        .collect(),
                    tracks: list("tracks").iter().map(|n| n.parse().unwrap()).collect(),
                    names: Vec::new(),
                    bins: field("bins").map(|n| n.parse().unwrap()),
                },
                outname: text("outname"),
                tensors: field("tensors").map(|items| items.split(' ').flat_map(tensors).collect()),
            }
        })
        .collect()
}

fn tensors(item: &str) -> Vec<(String, Vec<usize>)> {
    let (name, shape) = item.trim_end_matches(']').split_once('[').unwrap();
    let shape: Vec<usize> = shape.split(',').map(|n| n.parse().unwrap()).collect();
    let Some(norm) = name.strip_suffix(":norm") else { return vec![(name.into(), shape)] };
    let parts = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"];
    parts
        .iter()
        .map(|p| (format!("{norm}.{p}"), if *p == "num_batches_tracked" { vec![] } else { shape.clone() }))
        .collect()
}
