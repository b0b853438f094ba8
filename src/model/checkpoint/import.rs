//! Tensors of other programs into a network: all of them, or those that fit.

use super::hint;
use crate::error::{Error, Result};
use crate::io::pth::{PthData, PthTensor};
use crate::model::Network;
use crate::model::spec::is_derived_tensor;

/// Sets all tensors of a network from a state dict of the reference. Tensors that carry nothing learned may be missing or too
/// many.
///
/// # Errors
/// [`Error::Usage`] listing names that are missing, unexpected or of another shape; the network is then unchanged.
pub fn import_state(network: &mut Network, tensors: &[(String, PthTensor)]) -> Result<()> {
    let parameters = network.parameters_mut();
    let mut problems = vec![];
    let mut found = vec![None; parameters.entries().len()];
    for (name, tensor) in tensors {
        match parameters.entries().iter().position(|e| e.name == *name) {
            Some(id) if parameters.entries()[id].torch_shape == tensor.shape => found[id] = Some(tensor),
            Some(id) => {
                let expected = &parameters.entries()[id].torch_shape;
                problems.push(format!("'{name}' has shape {:?}, the model {expected:?}", tensor.shape));
            }
            None if is_derived_tensor(name) => {}
            None => {
                let near = hint(name, parameters.entries().iter().map(|e| e.name.as_str()));
                problems.push(format!("the model has no '{name}'{near}"));
            }
        }
    }
    for (e, tensor) in parameters.entries().iter().zip(&found) {
        let listed = tensors.iter().any(|(name, _)| *name == e.name);
        if tensor.is_none() && !listed && !is_derived_tensor(&e.name) {
            // A name that only looks wrong: what stands in its place.
            let others = tensors.iter().map(|(name, _)| name.as_str()).filter(|name| parameters.id(name).is_err());
            problems.push(format!("'{}' is missing{}", e.name, hint(&e.name, others)));
        }
    }
    if !problems.is_empty() {
        const SHOWN: usize = 8;
        let more = match problems.len().checked_sub(SHOWN) {
            Some(n @ 1..) => format!("; and {n} more"),
            _ => String::new(),
        };
        problems.truncate(SHOWN);
        return Err(Error::Usage(format!(
            "the state dict does not fit the architecture: {}{more}",
            problems.join("; ")
        )));
    }
    for (id, tensor) in found.into_iter().enumerate() {
        if let Some(tensor) = tensor {
            parameters.set_torch(id, &numbers(&tensor.data))?;
        }
    }
    Ok(())
}

/// Which tensors of a file are taken over (`--load_parameters FILE TRANSLATE EXCLUDE INCLUDE REDUCE`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partial {
    /// Name in the model, name in the file, where they differ.
    pub translate: Vec<(String, String)>,
    /// Names in the model that are left out, or with `include` the only ones that are taken.
    pub names: Vec<String>,
    /// What `names` means.
    pub include: bool,
    /// Whether tensors with another number of rows give the rows that both have.
    pub reduce: bool,
}

impl Partial {
    /// From the reference's four words: `a:b,c:d` or `None`; `a.b,c.d` or `None`; `True` or `False`; `True` or `False`.
    ///
    /// # Errors
    /// [`Error::Usage`] naming the word.
    pub fn parse(translate: &str, exclude: &str, include: &str, reduce: &str) -> Result<Self> {
        let items = |word: &str| -> Vec<String> {
            let given = Some(word).filter(|w| !matches!(*w, "None" | "none" | ""));
            given.iter().flat_map(|w| w.split(',')).map(str::to_string).collect()
        };
        let flag = |name: &str, word: &str| match word {
            "True" | "true" | "1" => Ok(true),
            "False" | "false" | "0" | "None" => Ok(false),
            other => Err(Error::Usage(format!("--load_parameters, {name}: expected True or False, found '{other}'"))),
        };
        let translate = items(translate)
            .into_iter()
            .map(|pair| match pair.split_once(':') {
                Some((current, loaded)) => Ok((current.to_string(), loaded.to_string())),
                None => Err(Error::Usage(format!(
                    "--load_parameters, TRANSLATE: expected 'name in the model:name in the file', found '{pair}'"
                ))),
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            translate,
            names: items(exclude),
            include: flag("INCLUDE", include)?,
            reduce: flag("REDUCE", reduce)?,
        })
    }
}

/// What a partial import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartialReport {
    /// Names in the model that were set.
    pub loaded: Vec<String>,
    /// Names in the model that keep their values although they were asked for, and why.
    pub kept: Vec<(String, String)>,
}

/// Sets those tensors of a network that a file has, by the rules of [`Partial`]; the others keep their values.
///
/// # Errors
/// [`Error::Usage`] if a name that is asked for is none of the model's, or nothing at all fits.
pub fn import_partial(
    network: &mut Network,
    tensors: &[(String, PthTensor)],
    which: &Partial,
) -> Result<PartialReport> {
    let parameters = network.parameters_mut();
    for name in which.names.iter().chain(which.translate.iter().map(|(current, _)| current)) {
        parameters.id(name)?;
    }
    let mut report = PartialReport::default();
    for id in 0..parameters.entries().len() {
        let entry = parameters.entries()[id].clone();
        if which.names.contains(&entry.name) != which.include {
            continue;
        }
        let source = which.translate.iter().find(|(current, _)| *current == entry.name).map_or(&entry.name, |(_, s)| s);
        let Some((_, tensor)) = tensors.iter().find(|(name, _)| name == source) else {
            if !is_derived_tensor(&entry.name) {
                report.kept.push((entry.name.clone(), format!("the file has no '{source}'")));
            }
            continue;
        };
        let (here, there) = (&entry.torch_shape, &tensor.shape);
        let same_rows = !here.is_empty() && !there.is_empty() && here[1..] == there[1..];
        if here == there {
            parameters.set_torch(id, &numbers(&tensor.data))?;
        } else if which.reduce && same_rows {
            let mut values = parameters.to_torch(id);
            for (value, new) in values.iter_mut().zip(numbers(&tensor.data)) {
                *value = new;
            }
            parameters.set_torch(id, &values)?;
        } else {
            report.kept.push((entry.name.clone(), format!("shape {there:?} in the file, {here:?} in the model")));
            continue;
        }
        report.loaded.push(entry.name);
    }
    if report.loaded.is_empty() {
        let (name, why) = report.kept.first().cloned().unwrap_or_default();
        return Err(Error::Usage(format!("no tensor of the file fits the model; '{name}': {why}")));
    }
    Ok(report)
}

/// The values as f64.
pub(super) fn numbers(data: &PthData) -> Vec<f64> {
    match data {
        PthData::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
        PthData::F64(v) => v.clone(),
        PthData::I64(v) => v.iter().map(|&x| x as f64).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{export_state, tests::small};
    use super::*;

    #[test]
    fn a_whole_state_is_strict() {
        let (source, mut target) = (small(1).0, small(2).0);
        let mut state = export_state(&source).unwrap();
        state.reverse();
        state.push(("block.rconv.pool0.weight".into(), PthTensor { shape: vec![1], data: PthData::F32(vec![0.0]) }));
        state.retain(|(name, _)| !name.ends_with("pos_queries"));
        import_state(&mut target, &state).unwrap();
        assert_eq!(export_state(&target).unwrap(), export_state(&source).unwrap());
        let mut other = small(4).0;
        let before = export_state(&other).unwrap();
        state[0].0.push('x');
        let swapped = state.iter().position(|(_, t)| t.shape.len() == 3 && t.shape[0] != t.shape[1]).unwrap();
        state[swapped].1.shape.swap(0, 1);
        let message = import_state(&mut other, &state).unwrap_err().to_string();
        for text in [" is missing", "the model has no '", "(did you mean '", "' has shape ["] {
            assert!(message.contains(text), "{message}");
        }
        assert_eq!(export_state(&other).unwrap(), before);
    }

    #[test]
    fn parts_of_a_state() {
        const HEAD: &str = "classifier.classifier.Linear.weight";
        const BIAS: &str = "classifier.classifier.Linear.bias";
        const STEM: &str = "convolutions.conv1d.bias";
        let source = small(1).0;
        let state = export_state(&source).unwrap();
        let start = small(2).0;
        let get = |n: &Network, name: &str| n.parameters().to_torch(n.parameters().id(name).unwrap());

        let mut n = start.clone();
        let which = Partial::parse("None", &format!("{HEAD},{BIAS}"), "False", "False").unwrap();
        let report = import_partial(&mut n, &state, &which).unwrap();
        assert_eq!((report.loaded.len(), report.kept.len()), (state.len() - 2, 0));
        assert_eq!((get(&n, HEAD), get(&n, STEM)), (get(&start, HEAD), get(&source, STEM)));

        // Only the head, under another name, of which the file has fewer rows.
        let mut cut = state.clone();
        for (name, tensor) in &mut cut {
            if name.starts_with("classifier") {
                *name = name.replace("classifier.", "old.");
                tensor.shape[0] -= 1;
                let n = tensor.shape.iter().product();
                if let PthData::F32(v) = &mut tensor.data {
                    v.truncate(n);
                }
            }
        }
        let translate = format!("{HEAD}:old.old.Linear.weight,{BIAS}:old.old.Linear.bias");
        let which = Partial::parse(&translate, &format!("{HEAD},{BIAS}"), "True", "True").unwrap();
        let mut n = start.clone();
        assert_eq!(import_partial(&mut n, &cut, &which).unwrap().loaded, [HEAD, BIAS]);
        let (mut expected, old) = (get(&source, BIAS), get(&start, BIAS));
        *expected.last_mut().unwrap() = *old.last().unwrap();
        assert_eq!((get(&n, BIAS), get(&n, STEM)), (expected, get(&start, STEM)));

        let which = Partial { reduce: false, ..which };
        let message = import_partial(&mut n, &cut, &which).unwrap_err().to_string();
        assert!(message.contains("no tensor of the file fits") && message.contains("in the model"), "{message}");
        assert!(Partial::parse("a", "None", "False", "False").unwrap_err().to_string().contains("TRANSLATE"));
        assert!(Partial::parse("None", "None", "maybe", "False").unwrap_err().to_string().contains("INCLUDE"));
        let which = Partial { names: vec!["convolutions.conv1d.bia".into()], ..Partial::default() };
        assert!(import_partial(&mut n, &state, &which).unwrap_err().to_string().contains(STEM));
    }
}
