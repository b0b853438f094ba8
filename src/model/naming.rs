//! The reference's output names: what files, flags and options a model was trained with, in one file name.

use crate::error::Result;
use crate::model::options::keys::PROFILE_DEFAULTS;
use crate::model::options::{DataFacts, Options, Value, resolve};
use crate::model::spec::{Architecture, Combination};

/// Endings that are cut out of file names, in this order, wherever they stand.
const ENDINGS: [&str; 11] = [".dat", ".hmot", ".txt", ".npz", ".list", ".tab", ".tsv", ".csv", ".fasta", ".fa", ".bed"];

/// How the data are split, as far as names show it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FoldTag {
    /// `K` folds made on the spot, and the one that is tested.
    Folds(usize, usize),
    /// Folds from a file: the cutoff and the fold that is tested.
    File(f64, usize),
    /// All folds: their number, or the cutoff where they are from a file.
    All(usize),
    /// `K` folds by a hash of the names, which are other sets than `K` numbered ones, and the one that is tested; none is all.
    Hash(usize, Option<usize>),
    /// All data are predicted (`--predictnew`): no tag.
    None,
}

/// Files and flags that the first part of a name is made of.
#[derive(Debug, Clone, Default)]
pub struct NameParts<'a> {
    /// Sequence files.
    pub inputs: Vec<&'a str>,
    /// Target files.
    pub outputs: Vec<&'a str>,
    /// `--regionless`
    pub regionless: bool,
    /// `--realign_input`
    pub realign: bool,
    /// `--reverse_complement`
    pub reverse_complement: bool,
    /// `--outdir`, put in front as it is.
    pub outdir: &'a str,
    /// `--addname`
    pub addname: Option<&'a str>,
    /// `--outname`, which replaces everything up to here.
    pub outname: Option<&'a str>,
    /// `--crossvalidation`; none = the reference's own 10 folds, fold 0.
    pub fold: Option<FoldTag>,
}

impl NameParts<'_> {
    /// The part of a name that comes from files and flags.
    pub fn base(&self) -> String {
        let join = |files: &[&str]| {
            let mut files = files.iter();
            let first = files.next().map_or_else(String::new, |file| stem(file));
            files.fold(first, |name, file| merge(file, &name, ""))
        };
        let mut name = match self.outname {
            Some(name) => name.to_string(),
            None => {
                let mut name = merge(&join(&self.inputs), &join(&self.outputs), "on");
                for (flag, tag) in
                    [(self.regionless, "-rgls"), (self.realign, "mirx"), (self.reverse_complement, "rcomp")]
                {
                    name += if flag { tag } else { "" };
                }
                let addname = self.addname.map_or_else(String::new, |add| format!("_{add}"));
                format!("{}{}{addname}", self.outdir, basename(&name))
            }
        };
        name += &match self.fold.unwrap_or(FoldTag::Folds(10, 0)) {
            FoldTag::Folds(folds, fold) => format!("-cv{folds}-{fold}"),
            FoldTag::File(cutoff, fold) => format!("-cv{}-{fold}", cutoff as i64),
            FoldTag::All(n) => format!("-cv{n}-all"),
            FoldTag::Hash(folds, Some(fold)) => format!("-cvhash{folds}-{fold}"),
            FoldTag::Hash(folds, None) => format!("-cvhash{folds}-all"),
            FoldTag::None => String::new(),
        };
        name
    }

    /// The whole name of a model that is trained with `options`.
    pub fn name(&self, options: &Options, facts: &DataFacts) -> Result<String> {
        let tokens = match options.value("add_outname").as_bool() {
            Some(false) => String::new(),
            _ => option_tokens(options, facts)?,
        };
        Ok(self.base() + &tokens)
    }

    /// The whole name of what a stored model predicts, from the name that it was stored under.
    pub fn name_from(&self, stored: &str) -> String {
        format!("{}from{}", self.base(), basename(stored))
    }
}

/// Joins two names: `b`, then `word` and those pieces of `a` (between `.`, `_`, `-` and `,`) that are in no piece of
/// `b` (between `_`).
pub fn merge(a: &str, b: &str, word: &str) -> String {
    let (a, b) = (stem(a), stem(b));
    let new: Vec<&str> =
        a.split(['.', '_', '-', ',']).filter(|piece| !b.split('_').any(|p| p.contains(piece))).collect();
    if new.is_empty() { b } else { format!("{b}{word}{}", new.join("_")) }
}

/// The part of a name that comes from options.
///
/// # Errors
/// [`crate::Error::Usage`] for options that do not name a model.
pub fn option_tokens(options: &Options, facts: &DataFacts) -> Result<String> {
    let all = facts.bins.map(|_| options.with_defaults(PROFILE_DEFAULTS));
    let o = Reader { options: all.as_ref().unwrap_or(options) };
    // Names of models with several inputs show what options came to.
    let joined = if facts.inputs.len() > 1 { Some(resolve(options, facts)?.0) } else { None };
    let mut name = String::from("_");
    name += &match o.value("loss_function") {
        Value::List(losses) => distinct(&losses),
        loss => ends(&loss.to_string(), 3),
    };
    let kernel_function = o.text("kernel_function");
    name += &format!(
        "k{}l{}{}f{kernel_function}",
        o.text("num_kernels"),
        o.text("l_kernels"),
        letter(o.flag("kernel_bias")?)
    );
    if o.flag("nlconv")? || o.flag("nlconv_position_wise")? || o.flag("nlconv_explicit")? {
        name += &format!("NL{}", o.text("nlconv_nfc"));
        name += if o.flag("nlconv_position_wise")? { "P" } else { "" };
        name += if o.flag("nlconv_explicit")? { "E" } else { "" };
    }
    let net_function = o.text("net_function");
    if net_function != kernel_function {
        name += &net_function;
    }
    name += &stem_pool(&o, facts)?;
    name += if facts.inputs.iter().any(|i| i.reverse_complement) { "rcT" } else { "" };
    if let Some(bins) = facts.bins {
        name += &format!("bp{}", facts.inputs[0].length / bins.max(1));
    }
    let validation = o.value("validation_loss");
    if validation != Value::None && validation != o.value("loss_function") {
        name += "vl";
        name += &validation.items().map_or_else(|| ends(&validation.to_string(), 2), distinct);
    }
    name += &tags(&o, &[("hot_start", "-hot"), ("warm_start", "-warm")])?;
    name += &shift(&o);
    name += &tags(&o, &[("smooth_onehot", "smo"), ("reverse_sign", "rs"), ("restart", "re")])?;
    name += &gapped(&o)?;
    name += &first_block(&o)?;
    name += &o.positive("embedding_convs", "ec");
    name += &attention(&o)?;
    name += &second_block(&o, joined.as_ref())?;
    if o.value("nfc_layers").as_usize() != Some(0) {
        let layers = o.value("nfc_layers");
        let texts: Vec<String> =
            layers.items().map_or_else(|| vec![layers.to_string()], |l| l.iter().map(Value::to_string).collect());
        let equal = texts.iter().all(|t| *t == texts[0]);
        name += &format!("nfc{}", if equal { texts[0].clone() } else { texts.concat() });
        if o.given("fc_function") && o.text("fc_function") != net_function {
            name += &o.text("fc_function");
        }
        name += &o.positive("fclayer_size", "s");
        name += &o.positive("nfc_residuals", "r");
    }
    name += &tags(&o, &[("interaction_layer", "_intlT")])?;
    if facts.bins.is_some() {
        let (width, stride) = (o.text("final_kernel"), o.text("final_strides"));
        name += &format!("{width}-{stride}{}", letter(o.flag("predict_from_dist")?));
    }
    let kinds = match o.value("outclass") {
        kind @ Value::Str(_) if joined.is_some() && facts.tracks.len() > 1 => Value::List(vec![kind]),
        kinds => kinds,
    };
    name += &match kinds {
        Value::List(kinds) | Value::Tuple(kinds) => {
            let texts: Vec<String> = kinds.iter().map(|kind| ends(&kind.to_string(), 2)).collect();
            if kinds.iter().all(|kind| *kind == kinds[0]) { texts[0].clone() } else { texts.concat() }
        }
        kind if kind.as_str() == Some("Linear") => String::new(),
        kind => {
            let kind: Vec<char> = kind.to_string().chars().collect();
            let tail = kind.len().saturating_sub((kind.len().saturating_sub(2)).max(2));
            kind[..kind.len().min(2)].iter().chain(&kind[tail..]).collect()
        }
    };
    name += &o.positive("l1reg_last", "l1");
    name += &o.positive("l2reg_last", "l2");
    if o.value("l1_kernel").as_f64() > Some(0.0) {
        name += &format!("l1k{}", o.text("l2reg_last"));
    }
    name += &regularisation(&o)?;
    name += &training(&o);
    name += &joined.map_or(Ok(String::new()), |model| join(&o, facts, &model))?;
    Ok(name)
}

/// How several inputs are joined.
fn join(o: &Reader, facts: &DataFacts, model: &Architecture) -> Result<String> {
    let outputs = model.join.iter().flat_map(|j| &j.outputs);
    let by_formula = outputs.clone().any(|o| matches!(o.by, Combination::Relation { .. }));
    let shared = model.inputs[0].heads.len() == 1;
    let mut widths: Vec<usize> = model.inputs[0].heads.iter().map(|h| h.tracks).collect();
    let mut seen = vec![];
    widths.retain(|w| {
        !seen.contains(w) && {
            seen.push(*w);
            true
        }
    });
    let layers: Vec<String> = match o.value("n_combine_layers") {
        _ if by_formula => vec!["0".into()],
        Value::List(layers) => layers.iter().map(Value::to_string).collect(),
        layers => vec![layers.to_string()],
    };
    let mut functions: Vec<String> = match o.value("combine_function") {
        Value::List(names) => names.iter().map(Value::to_string).collect(),
        // The output of a lone formula other than a fraction is linear, whatever was asked for.
        _ if by_formula && facts.tracks.len() == 1 => vec![model.inputs[0].heads[0].output.name().into()],
        name => vec![name.to_string()],
    };
    functions.dedup();
    let layers = if layers.iter().all(|l| *l == layers[0]) { layers[0].clone() } else { layers.concat() };
    let widths: Vec<String> = widths.iter().map(usize::to_string).collect();
    Ok(format!(
        "_comb{}{}nl{layers}{}{}r{}",
        if shared { "se" } else { "" },
        widths.join("-"),
        functions.join("-"),
        o.text("combine_widening"),
        o.text("combine_residual")
    ))
}

/// Options with their defaults, as texts.
struct Reader<'a> {
    options: &'a Options,
}

impl Reader<'_> {
    fn value(&self, key: &str) -> Value {
        self.options.value(key)
    }

    fn given(&self, key: &str) -> bool {
        self.value(key) != Value::None
    }

    fn text(&self, key: &str) -> String {
        self.value(key).to_string()
    }

    /// The text of `key`, or of `other` where `key` is none.
    fn text_or(&self, key: &str, other: &str) -> String {
        self.text(if self.given(key) { key } else { other })
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.value(key) {
            Value::None => Ok(false),
            value => value.as_f64().map(|x| x != 0.0).ok_or_else(|| self.options.error(key, "True or False")),
        }
    }

    /// `tag` and the value, if that is a number above 0.
    fn positive(&self, key: &str, tag: &str) -> String {
        match self.value(key) {
            value if value.as_f64() > Some(0.0) => format!("{tag}{value}"),
            _ => String::new(),
        }
    }

    /// Without blanks and brackets, with `-` for commas.
    fn plain(&self, key: &str) -> String {
        self.text(key).replace([' ', '[', ']', '(', ')'], "").replace(',', "-")
    }
}

fn stem_pool(o: &Reader, facts: &DataFacts) -> Result<String> {
    let kind = match (o.flag("max_pooling")?, o.flag("mean_pooling")?, o.flag("weighted_pooling")?) {
        (true, true, _) => "mmpol",
        (true, ..) => "max",
        (_, true, _) => "mean",
        (.., true) => "wei",
        _ => return Ok(String::new()),
    };
    let short = |text: String| text.chars().take(3).collect::<String>();
    let whole = |key: &str| if o.given(key) { o.text(key) } else { facts.inputs[0].length.to_string() };
    let size = whole("pooling_size");
    let steps = if o.given("pooling_steps") { o.text("pooling_steps") } else { size.clone() };
    let mut name = format!("{kind}{}", short(size.clone()));
    if steps != size {
        name += &format!("st{}", short(steps));
    }
    if o.flag("kernel_thresholding")? {
        name += &format!("kt{}", o.text("kernel_thresholding"));
    }
    Ok(name)
}

fn shift(o: &Reader) -> String {
    let largest = match o.value("shift_sequence") {
        Value::List(shifts) => shifts.iter().filter_map(Value::as_usize).max().map(|n| n.to_string()),
        Value::None | Value::Int(0) => None,
        shift => Some(shift.to_string()),
    };
    let draws = o.value("random_shift").as_usize().filter(|&n| n > 0);
    largest.map_or_else(String::new, |n| format!("sft{n}{}", draws.map_or_else(String::new, |d| d.to_string())))
}

fn gapped(o: &Reader) -> Result<String> {
    let Value::List(convs) = o.value("gapped_convs") else { return Ok(String::new()) };
    let mut name = String::new();
    let mut last: Option<&[Value]> = None;
    for conv in &convs {
        let numbers = conv.items().ok_or_else(|| o.options.error("gapped_convs", "a list of lists of four numbers"))?;
        for (i, (letter, number)) in ["k", "g", "n", "s"].iter().zip(numbers).enumerate() {
            if last.and_then(|l| l.get(i)) != Some(number) {
                name += &format!("{letter}{number}");
            }
        }
        last = Some(numbers);
    }
    name += &tags(o, &[("gapconv_residual", "T"), ("gapconv_pooling", "T")])?;
    if o.value("final_convolutions").as_f64() > Some(0.0) {
        name += &format!("fcnv{}l{}", o.text("final_convolutions"), o.text("l_finalkernels"));
        for (key, letter) in [("finaldilations", 'd'), ("finalstrides", 's')] {
            if o.plain(key) != "1" {
                name += &format!("{letter}{}", o.plain(key));
            }
        }
        name += &o.positive("final_conv_dim", "i");
        name += &o.positive("finalmax_pooling", "fmap");
        name += &o.positive("finalweighted_pooling", "fwei");
    }
    Ok(name)
}

fn first_block(o: &Reader) -> Result<String> {
    if o.positive("dilated_convolutions", "_dc").is_empty() {
        return Ok(String::new());
    }
    let growth = o.text("conv_increase");
    let mut name = format!(
        "_dc{}i{}d{}s{}l{}",
        o.text("dilated_convolutions"),
        growth.trim_matches('0').trim_matches('.'),
        o.plain("dilations"),
        o.plain("strides"),
        o.text_or("l_dilkernels", "l_kernels")
    );
    name += &block_pools(
        o,
        [("dilmax_pooling", "da"), ("dilmean_pooling", "de"), ("dilweighted_pooling", "dw")],
        "dilpooling_steps",
    );
    name += &o.positive("dilpooling_residual", "r");
    name += &tags(o, &[("dilresidual_entire", "re"), ("dilresidual_concat", "ccT")])?;
    Ok(name)
}

fn second_block(o: &Reader, joined: Option<&Architecture>) -> Result<String> {
    if o.positive("transformer_convolutions", "_tc").is_empty() {
        return Ok(String::new());
    }
    let channels = match joined {
        Some(model) if !o.given("trconv_dim") => {
            let plan = model.inputs[0].plan()?;
            plan.second_block.and_then(|b| Some(b.layers.first()?.conv.inputs)).map_or("None".into(), |c| c.to_string())
        }
        _ => o.text("trconv_dim"),
    };
    let mut name = format!(
        "_tc{}d{channels}d{}s{}",
        o.text("transformer_convolutions"),
        o.plain("trdilations"),
        o.plain("trstrides")
    );
    name += &o.positive("trpooling_residual", "r");
    name += &tags(o, &[("trresidual_entire", "re")])?;
    name += &format!("l{}", o.text_or("l_trkernels", "l_kernels"));
    name += &block_pools(
        o,
        [("trmax_pooling", "ma"), ("trmean_pooling", "me"), ("trweighted_pooling", "mw")],
        "trpooling_steps",
    );
    Ok(name)
}

fn block_pools(o: &Reader, pools: [(&str, &str); 3], steps: &str) -> String {
    let mut name: String = pools.iter().map(|(key, tag)| o.positive(key, tag)).collect();
    if !name.is_empty() && o.text(steps) != "1" {
        name += &format!("st{}", o.text(steps));
    }
    name
}

fn attention(o: &Reader) -> Result<String> {
    let (heads, key_dim, value_dim) =
        (o.text("n_distattention"), o.text("dim_distattention"), o.text("dim_embattention"));
    let used = |key: &str| o.value(key).as_f64() > Some(0.0);
    let mut name;
    if used("n_transformer") {
        let sum = letter(o.flag("sum_attention")?);
        return Ok(format!("trf{sum}{}h{heads}-{key_dim}", o.text("n_transformer")));
    } else if used("n_interpolated_conv") {
        name = format!("iplcv{}-{value_dim}-{key_dim}-{heads}", o.text("n_interpolated_conv"));
        name += if o.flag("sum_attention")? { "sa" } else { "" };
        if o.text("attentionconv_pooling") != "1" {
            name += &o.positive("attentionconv_pooling", "mc");
        }
    } else if used("n_attention") {
        name = format!("at{}h{heads}-{key_dim}", o.text("n_attention"));
        name += &o.positive("dim_embattention", "v");
    } else if used("n_hyenaconv") {
        name = format!("hyna{}{heads}", o.text("n_hyenaconv"));
        name += &o.positive("dim_embattention", "v");
    } else {
        return Ok(String::new());
    }
    name += &o.positive("attentionmax_pooling", "ma");
    name += &o.positive("attentionweighted_pooling", "mw");
    Ok(name)
}

fn regularisation(o: &Reader) -> Result<String> {
    let (all, norms) = (o.positive("dropout", ""), o.flag("batch_norm")?);
    let mut name = o.positive("dropout", "do");
    name += if norms { "bnoT" } else { "" };
    for (dropout, norm, letter) in [
        ("conv_dropout", "conv_batch_norm", 'c'),
        ("attention_dropout", "attention_batch_norm", 'a'),
        ("fc_dropout", "fc_batch_norm", 'f'),
    ] {
        let own = if all.is_empty() { o.positive(dropout, "") } else { all.clone() };
        if !own.is_empty() {
            name += &format!("{letter}do{own}");
        }
        if norms || o.flag(norm)? {
            name += &format!("{letter}bnoT");
        }
    }
    Ok(name)
}

fn training(o: &Reader) -> String {
    let mut name = format!("tr{}{}", o.text("lr"), o.text("optimizer"));
    if o.given("optim_params") {
        name += &o.text("optim_params").replace([')', ' '], "").replace(['(', ','], "-");
    }
    if o.given("batchsize") {
        name += &format!("bs{}", o.text("batchsize"));
    }
    if o.given("kernel_lr") && !o.value("kernel_lr").same(&o.value("lr")) {
        name += &format!("-ka{}", o.text("kernel_lr"));
    }
    if o.given("adjust_lr") {
        name += &format!("-{}", o.text("adjust_lr").chars().take(3).collect::<String>());
    }
    name
}

fn tags(o: &Reader, list: &[(&str, &str)]) -> Result<String> {
    let mut name = String::new();
    for (key, tag) in list {
        name += if o.flag(key)? { tag } else { "" };
    }
    Ok(name)
}

fn letter(flag: bool) -> char {
    if flag { 'T' } else { 'F' }
}

/// The first and last `n` characters, which do not overlap.
fn ends(text: &str, n: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    let head = chars.len().min(n);
    chars[..head].iter().chain(&chars[head.max(chars.len().saturating_sub(n))..]).collect()
}

fn distinct(items: &[Value]) -> String {
    let first = |i: usize| !items[..i].contains(&items[i]);
    (0..items.len()).filter(|&i| first(i)).map(|i| ends(&items[i].to_string(), 2)).collect()
}

fn stem(file: &str) -> String {
    ENDINGS.iter().fold(basename(file).to_string(), |name, ending| name.replace(ending, ""))
}

fn basename(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cases::cases;
    use crate::model::options::parse_option_string;

    #[test]
    fn names_of_the_reference() {
        for case in cases() {
            let options = parse_option_string(&case.cnn).unwrap();
            let parts = NameParts {
                inputs: case.inputs.iter().map(String::as_str).collect(),
                outputs: case.outputs.iter().map(String::as_str).collect(),
                reverse_complement: case.facts.inputs.iter().any(|i| i.reverse_complement),
                addname: Some("sd1"),
                fold: Some(FoldTag::File(10.0, 1)),
                ..NameParts::default()
            };
            assert_eq!(parts.name(&options, &case.facts).unwrap(), case.outname, "{}", case.name);
        }
    }

    #[test]
    fn names_of_the_seed_commands() {
        let facts = DataFacts::single(400, vec![5], true);
        let shared = "loss_function=Correlationmse+validation_loss=Correlationdata+num_kernels=6+l_kernels=15+max_pooling=False\
            +weighted_pooling=True+pooling_size=4+net_function=GELU+dilated_convolutions=3+l_dilkernels=3+dilations=[1,2,4]\
            +transformer_convolutions=3+l_trkernels=3+fclayer_size=20+conv_batch_norm=True+fc_dropout=0.1+lr=0.00001+batchsize=8\
            +optimizer=SGD+optim_params=0.9";
        let parts = NameParts {
            inputs: vec!["in/RNA40k.npz"],
            outputs: vec!["out/exonic.tsv"],
            reverse_complement: true,
            addname: Some("sd1"),
            fold: Some(FoldTag::File(10.0, 1)),
            ..NameParts::default()
        };
        for (more, name) in [
            (
                "+trweighted_pooling=3+nfc_layers=3",
                "exoniconRNA40krcomp_sd1-cv10-1_Cormsek6l15TfGELUwei4rcTvlCota_dc3i1d1-2-4s1l3r1_tc3dNoned1s1r1l3mw3nfc3s20cbnoTfdo0.1\
                 tr1e-05SGD0.9bs8-F",
            ),
            (
                "+dilweighted_pooling=4+dilpooling_steps=3+n_attention=1+n_distattention=4+dim_distattention=1.8+trweighted_pooling=2+nfc_layers=2",
                "exoniconRNA40krcomp_sd1-cv10-1_Cormsek6l15TfGELUwei4rcTvlCota_dc3i1d1-2-4s1l3dw4st3r1at1h4-1.8_tc3dNoned1s1r1l3mw2nfc2\
                 s20cbnoTfdo0.1tr1e-05SGD0.9bs8-F",
            ),
        ] {
            let options = parse_option_string(&format!("{shared}{more}")).unwrap();
            assert_eq!(parts.name(&options, &facts).unwrap(), name);
        }
    }

    #[test]
    fn base_names() {
        assert_eq!(merge("RNA40k.npz", "exonic.tsv", "on"), "exoniconRNA40k");
        assert_eq!(merge("a/TSS_exonic.npz", "b/exonic_2.tsv", "on"), "exonic_2onTSS");
        assert_eq!(merge("exonic.npz", "exonic.tsv", "on"), "exonic");
        let mut parts = NameParts {
            inputs: vec!["TSS40k.npz", "RNA40k.npz"],
            outputs: vec!["exonic.tsv", "degrad.tsv", "intronic.tsv"],
            regionless: true,
            outdir: "Models/",
            fold: Some(FoldTag::None),
            ..NameParts::default()
        };
        assert_eq!(parts.base(), "Models/exonicdegradintroniconTSS40kRNA40k-rgls");
        assert_eq!(parts.name_from("old/model_x"), "Models/exonicdegradintroniconTSS40kRNA40k-rglsfrommodel_x");
        (parts.outname, parts.fold) = (Some("mine"), None);
        assert_eq!(parts.base(), "mine-cv10-0");
        assert_eq!(NameParts::default().base(), "-cv10-0");
    }

    #[test]
    fn less_common_tokens() {
        let facts = DataFacts::single(1200, vec![2, 2], false);
        for (text, name) in [
            ("num_kernels=4", "_MSEk4l7TfGELUmax120tr0.01Adam-F"),
            ("num_kernels=4+loss_function=['MSE','L1Loss']+max_pooling=False", "_MSEL1ssk4l7TfGELUtr0.01Adam-F"),
            (
                "num_kernels=4+outclass=['Linear','Linear']+dropout=0.2",
                "_MSEk4l7TfGELUmax120Liardo0.2cdo0.2ado0.2fdo0.2tr0.01Adam-F",
            ),
            ("num_kernels=4+outclass=EXP+adjust_lr=None+kernel_lr=0.1", "_MSEk4l7TfGELUmax120EXXPtr0.01Adam-ka0.1"),
            ("num_kernels=4+optim_params=(0.9,0.99)+lr=1", "_MSEk4l7TfGELUmax120tr1Adam-0.9-0.99-F"),
            ("num_kernels=4+shift_sequence=[3,7]+random_shift=2", "_MSEk4l7TfGELUmax120sft72tr0.01Adam-F"),
            ("num_kernels=4+nfc_layers=[2,3]+conv_increase=10", "_MSEk4l7TfGELUmax120nfc23tr0.01Adam-F"),
        ] {
            assert_eq!(option_tokens(&parse_option_string(text).unwrap(), &facts).unwrap(), name, "{text}");
        }
        let without = parse_option_string("num_kernels=4+add_outname=False").unwrap();
        assert_eq!(NameParts::default().name(&without, &facts).unwrap(), "-cv10-0");
    }
}
