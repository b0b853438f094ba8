//! The reference's `_model_params.dat`: one `key : value` line per attribute of a model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::keys;
use super::{DataFacts, InputFacts, Options, Origin, Value};
use crate::error::{Error, Result};

/// What a parameter file of the reference says about a model.
#[derive(Debug, Clone)]
pub struct ParamsFile {
    /// All options; weighted pools pad with `sequence-min`, as the reference does for one sequence per pass.
    pub options: Options,
    /// Input lengths, tracks and strands. For several inputs the file only says whether any of them reads both strands: then all
    /// of them stand here as if they did, and it is for the user to say which.
    pub facts: DataFacts,
    /// Name under which the model was saved.
    pub outname: Option<String>,
}

/// Reads the text of a parameter file. Lines that start with `_` (internals of the library) and unknown keys are
/// skipped, the options inside `kwargs` are taken as if they stood alone. `path` is only for error texts.
pub fn parse_params_file(text: &str, path: &Path) -> Result<ParamsFile> {
    let shared: Arc<Path> = PathBuf::from(path).into();
    let mut options = Options::new();
    let mut outname = None;
    let mut known = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let number = number + 1;
        if line.trim().is_empty() || line.starts_with('_') {
            continue;
        }
        let (key, value) = line
            .split_once(':')
            .map(|(key, value)| (key.trim(), value.trim()))
            .ok_or_else(|| Error::line(path, number, format!("expected 'key : value', found '{line}'")))?;
        let origin = Origin::Line(shared.clone(), number);
        let parse = |value: &str| Value::parse(value).map_err(|what| origin.error(key, what));
        match key {
            "outname" => outname = Some(value.to_string()),
            "kwargs" => {
                for (key, value) in dictionary(value).map_err(|what| origin.error(key, what))? {
                    let value = Value::parse(value).map_err(|what| origin.error(key, what))?;
                    if keys::find(key).is_some() {
                        options.set(key, value, origin.clone())?;
                    }
                }
            }
            "n_features" | "l_seqs" | "l_out" | "n_classes" | "reverse_complement" => {
                known.push((key, parse(value)?, origin));
            }
            _ if keys::find(key).is_some() => options.set(key, parse(value)?, origin.clone())?,
            _ => {}
        }
    }
    // The file stores the flags after `batch_norm` has set them, but a model built from `batch_norm` alone has no norm
    // in its head.
    if options.value("batch_norm").as_bool() == Some(true) {
        ["conv_batch_norm", "attention_batch_norm", "fc_batch_norm"].iter().for_each(|key| options.remove(key));
    }
    if options.get("pool_padding").is_none() {
        let origin = Origin::Line(shared, 1);
        options.set("pool_padding", Value::Str("sequence-min".into()), origin)?;
    }
    let fact = |name: &str| {
        known
            .iter()
            .find(|(key, ..)| *key == name)
            .ok_or_else(|| Error::file(path, format!("expected a line '{name} : value', found none")))
    };
    let number = |name: &str| {
        let (_, value, origin) = fact(name)?;
        value.as_usize().ok_or_else(|| origin.error(name, format!("expected a whole number, found '{value}'")))
    };
    if number("n_features")? != 4 {
        let what = format!("n_features {} in {}; expected 4 (A, C, G, T)", number("n_features")?, path.display());
        return Err(Error::Unsupported { op: "parameter file", what });
    }
    let (_, classes, origin) = fact("n_classes")?;
    let tracks = match classes.items() {
        Some(items) => items.iter().map(Value::as_usize).collect(),
        None => classes.as_usize().map(|n| vec![n]),
    };
    let tracks = tracks.ok_or_else(|| {
        origin.error("n_classes", format!("expected a number or a list of numbers, found '{classes}'"))
    })?;
    let (_, lengths, origin) = fact("l_seqs")?;
    let lengths: Option<Vec<usize>> = match lengths.items() {
        Some(items) => items.iter().map(Value::as_usize).collect(),
        None => lengths.as_usize().map(|n| vec![n]),
    };
    let lengths = lengths.ok_or_else(|| origin.error("l_seqs", "expected a length, or a list of lengths"))?;
    let (_, strands, origin) = fact("reverse_complement")?;
    let both: Option<Vec<bool>> = match strands.items() {
        Some(items) => items.iter().map(Value::as_bool).collect(),
        None => strands.as_bool().map(|b| vec![b; lengths.len()]),
    };
    let both = both.filter(|b| b.len() == lengths.len()).ok_or_else(|| {
        let what = format!("expected True or False, or a list of {} of them, found '{strands}'", lengths.len());
        origin.error("reverse_complement", what)
    })?;
    let input = |(&length, reverse_complement)| InputFacts { length, reverse_complement };
    let bins = if known.iter().any(|(key, ..)| *key == "l_out") { Some(number("l_out")?) } else { None };
    let inputs = lengths.iter().zip(both).map(input).collect();
    let facts = DataFacts { inputs, tracks, names: vec![], bins };
    Ok(ParamsFile { options, facts, outname })
}

/// Keys and value texts of a Python dictionary with string keys.
fn dictionary(text: &str) -> std::result::Result<Vec<(&str, &str)>, String> {
    let inner = text
        .strip_prefix('{')
        .and_then(|t| t.strip_suffix('}'))
        .ok_or_else(|| format!("expected a dictionary {{...}}, found '{text}'"))?;
    let mut items = Vec::new();
    let (mut start, mut depth, mut quote) = (0, 0_i32, None);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '\'' | '"' if quote == Some(c) => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            '[' | '(' | '{' if quote.is_none() => depth += 1,
            ']' | ')' | '}' if quote.is_none() => depth -= 1,
            ',' if depth == 0 && quote.is_none() => {
                items.push(inner[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    items
        .into_iter()
        .filter(|item| !item.is_empty())
        .map(|item| {
            let (key, value) = item.split_once(':').ok_or_else(|| format!("expected 'key': value, found '{item}'"))?;
            let (key, value) = (key.trim(), value.trim());
            let key = unquoted(key).ok_or_else(|| format!("expected a quoted key, found '{key}'"))?;
            Ok((key, unquoted(value).unwrap_or(value)))
        })
        .collect()
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "training : True\n_parameters : {}\n_hooks : OrderedDict()\nseed : 1\nvalidation_loss : ['Correlationdata', 'None']\n\
        kwargs : {'finetuning_rate': 0.1, 'warmup_function': 'Linear', 'typo': [1, 2]}\nn_features : 4\nreverse_complement : True\n\
        l_seqs : 166\nn_classes : [2, 3]\nnum_kernels : 12\nlr : 1e-05\nbatch_norm : True\nfc_batch_norm : True\nfuture_key : 3\n\
        outname : exonic_k12\n";

    #[test]
    fn reads_options_facts_and_name() {
        let file = parse_params_file(FILE, Path::new("x_model_params.dat")).unwrap();
        assert_eq!(file.outname.as_deref(), Some("exonic_k12"));
        let facts = DataFacts::single(166, vec![2, 3], true);
        assert_eq!(file.facts, facts);
        for (key, text) in [
            ("seed", "1"),
            ("validation_loss", "['Correlationdata', 'None']"),
            ("finetuning_rate", "0.1"),
            ("warmup_function", "Linear"),
            ("lr", "1e-05"),
            ("batch_norm", "True"),
            ("fc_batch_norm", "False"),
            ("pool_padding", "sequence-min"),
        ] {
            assert_eq!(file.options.value(key).to_string(), text, "{key}");
        }
    }

    #[test]
    fn errors_name_the_line() {
        let path = Path::new("x.dat");
        for (from, to, part) in [
            ("lr : 1e-05", "lr = 1e-05", "x.dat:12: expected 'key : value'"),
            ("n_classes : [2, 3]", "n_classes : two", "x.dat:10: option 'n_classes'"),
            ("l_seqs : 166\n", "", "x.dat: expected a line 'l_seqs : value'"),
            ("n_features : 4", "n_features : 5", "not supported: n_features 5"),
            ("seed : 1", "l_out : two", "x.dat:4: option 'l_out': expected a whole number, found 'two'"),
            ("l_seqs : 166", "l_seqs : [166, x]", "x.dat:9: option 'l_seqs'"),
            ("reverse_complement : True", "reverse_complement : [True, False]", "a list of 1 of them"),
            ("{'finetuning_rate'", "{finetuning_rate", "x.dat:6: option 'kwargs': expected a quoted key"),
        ] {
            let message = parse_params_file(&FILE.replace(from, to), path).unwrap_err().to_string();
            assert!(message.contains(part), "'{part}' is not in: {message}");
        }
        assert!(parse_params_file("", path).is_err());
    }
}
