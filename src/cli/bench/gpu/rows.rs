//! What was timed, as JSON and as tables.

use std::fmt;

use serde_json::{Map, Value, json};

use super::super::super::talk;
use crate::device::kernels::BUILT;
use crate::device::{Gpu, Precision};
use crate::engine::bench::gpu::OpCase;
use crate::engine::bench::ism::IsmErrors;
use crate::engine::bench::{Work, median};
use crate::error::Error;
use crate::model::ZooName;

/// One line of the result.
pub(super) struct Row {
    /// `ceilings`, `ops`, `forward`, `train` or `ism`.
    part: &'static str,
    /// Operation or model.
    name: String,
    /// Sizes, or the batch.
    shape: String,
    /// The sweep of an operation.
    pass: Option<&'static str>,
    /// How exact products were; none where there are none.
    pub precision: Option<Precision>,
    /// What a run does of the unit.
    amount: f64,
    unit: Unit,
    /// Bytes and operations that are needed at least.
    needed: Option<(f64, f64)>,
    /// The shortest time that it could take, and whether products are what takes it.
    floor_ms: Option<(f64, bool)>,
    /// Median, and distance of the extremes as a share of it.
    time: Option<(f64, f64)>,
    /// Their median, and the ratio theirs to ours.
    rival: Option<(f64, f64)>,
    /// How far effects are from f64.
    pub errors: Option<IsmErrors>,
    /// Why there is no time.
    error: Option<String>,
    rival_error: Option<String>,
}

/// What a rate counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Bytes,
    Operations,
    Sequences,
    Mutants,
}

impl Row {
    fn new(part: &'static str, name: &str, shape: String, amount: f64, unit: Unit) -> Self {
        Self {
            part,
            name: name.into(),
            shape,
            pass: None,
            precision: None,
            amount,
            unit,
            needed: None,
            floor_ms: None,
            time: None,
            rival: None,
            errors: None,
            error: None,
            rival_error: None,
        }
    }

    /// A rate of the card: bytes of a copy, or operations of a product.
    pub fn ceiling(name: &str, precision: Option<Precision>, amount: f64) -> Self {
        let unit = if precision.is_some() { Unit::Operations } else { Unit::Bytes };
        Self { precision, ..Self::new("ceilings", name, String::new(), amount, unit) }
    }

    /// A sweep of an operation, and its shortest time.
    pub fn op(case: &OpCase, floor_ms: Option<(f64, bool)>) -> Self {
        let products = case.operations > 0.0;
        let (amount, unit) = if products { (case.operations, Unit::Operations) } else { (case.bytes, Unit::Bytes) };
        Self {
            pass: Some(case.pass.name()),
            precision: products.then_some(case.precision),
            needed: Some((case.bytes, case.operations)),
            floor_ms,
            ..Self::new("ops", case.op, case.shape.clone(), amount, unit)
        }
    }

    /// A pass of a model.
    pub fn pass(work: Work, name: ZooName, batch: usize, precision: Precision, operations: f64) -> Self {
        Self {
            precision: Some(precision),
            needed: Some((0.0, operations)),
            ..Self::new(work.name(), name.name(), batch.to_string(), batch as f64, Unit::Sequences)
        }
    }

    /// All mutants of some sequences.
    pub fn mutants(name: ZooName, sequences: usize, precision: Precision, mutants: usize) -> Self {
        let row = Self::new("ism", name.name(), sequences.to_string(), mutants as f64, Unit::Mutants);
        Self { precision: Some(precision), ..row }
    }

    /// Takes the times of the rounds in milliseconds, ours and, where there are any, theirs.
    pub fn timed(&mut self, ours: &[f64], theirs: &[f64]) {
        let ms = median(ours);
        let extreme = |f: fn(f64, f64) -> f64| ours.iter().copied().reduce(f).unwrap_or(ms);
        self.time = Some((ms, (extreme(f64::max) - extreme(f64::min)) / ms));
        if !theirs.is_empty() {
            let ratios: Vec<f64> = theirs.iter().zip(ours).map(|(t, o)| t / o).collect();
            self.rival = Some((median(theirs), median(&ratios)));
        }
    }

    /// Says why there is no time.
    pub fn failed(&mut self, e: &Error) {
        self.error = Some(e.to_string());
    }

    /// Says why there is no time of the other program.
    pub fn rival_failed(&mut self, e: &Error) {
        self.rival_error = Some(e.to_string());
    }

    /// Units a second.
    pub fn per_second(&self) -> Option<f64> {
        self.time.map(|(ms, _)| 1e3 * self.amount / ms)
    }

    fn json(&self) -> Value {
        let mut row = Map::new();
        let mut put = |key: &str, value: Value| row.insert(key.into(), value);
        match self.part {
            "ceilings" => drop(put("what", json!(self.name))),
            "ops" => {
                put("op", json!(self.name));
                put("shape", json!(self.shape));
                put("pass", json!(self.pass));
            }
            part => {
                put("what", json!(part));
                put("model", json!(self.name));
                put(if part == "ism" { "sequences" } else { "batch" }, json!(self.shape.parse::<u64>().ok()));
            }
        }
        put("precision", json!(self.precision.map(Precision::name)));
        if self.unit == Unit::Mutants {
            put("mutants", json!(self.amount));
        }
        if let Some((ms, spread)) = self.time {
            put("median_ms", json!(digits(ms)));
            put("spread", json!(digits(spread)));
            let rate = 1e3 * self.amount / ms;
            match self.unit {
                Unit::Bytes => put("gb_per_s", json!(digits(1e-9 * rate))),
                Unit::Operations => put("tflop_per_s", json!(digits(1e-12 * rate))),
                Unit::Sequences => put("sequences_per_s", json!(digits(rate))),
                Unit::Mutants => put("mutants_per_s", json!(digits(rate))),
            };
            if let (Unit::Sequences, Some((_, operations))) = (self.unit, self.needed) {
                put("tflop_per_s", json!(digits(1e-9 * operations / ms)));
            }
            if let Some((floor, products)) = self.floor_ms {
                put("roof", json!(if products { "products" } else { "memory" }));
                put("share_of_roof", json!(digits(floor / ms)));
            }
        }
        if let (Some((bytes, operations)), "ops") = (self.needed, self.part) {
            put("bytes", json!(bytes));
            put("operations", json!(operations));
        }
        if let Some((ms, ratio)) = self.rival {
            put("torch_median_ms", json!(digits(ms)));
            put("ratio", json!(digits(ratio)));
        }
        if let Some(e) = self.errors {
            put("errors_against_f64", json!(e));
        }
        for (key, error) in [("error", &self.error), ("torch_error", &self.rival_error)] {
            if let Some(error) = error {
                put(key, json!(error));
            }
        }
        Value::Object(row)
    }

    fn cells(&self) -> Vec<String> {
        let (rate, unit) = match (self.per_second(), self.unit) {
            (None, _) => (String::new(), ""),
            (Some(r), Unit::Bytes) => (format!("{:.1}", 1e-9 * r), "GB/s"),
            (Some(r), Unit::Operations) => (format!("{:.2}", 1e-12 * r), "TFLOP/s"),
            (Some(r), Unit::Sequences) => (format!("{r:.1}"), "sequences/s"),
            (Some(r), Unit::Mutants) => (format!("{r:.0}"), "mutants/s"),
        };
        let time = match (self.time, &self.error) {
            (Some((ms, _)), _) => format!("{ms:.4}"),
            (None, Some(e)) => e.clone(),
            (None, None) => String::new(),
        };
        let number = |value: Option<f64>| value.map(|v| format!("{v:.2}")).unwrap_or_default();
        let roof = self.floor_ms.zip(self.time).map(|((floor, _), (ms, _))| floor / ms);
        vec![
            self.name.clone(),
            self.shape.clone(),
            self.pass.unwrap_or_default().into(),
            self.precision.map_or("", Precision::name).into(),
            unit.into(),
            time,
            rate,
            number(roof),
            number(self.rival.map(|r| r.1)),
        ]
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.cells().join("  ").trim_end())
    }
}

/// Six digits: more are noise.
fn digits(x: f64) -> f64 {
    format!("{x:.5e}").parse().unwrap_or(x)
}

/// Everything, with the card and the build.
pub(super) fn as_json(gpu: &Gpu, rows: &[Row]) -> Value {
    let about = gpu.about();
    let mut all = json!({
        "drg": env!("CARGO_PKG_VERSION"), "compiler": BUILT, "device": about.device, "gpu": about.name,
        "compute_capability": format!("{}.{}", about.capability.0, about.capability.1),
        "multiprocessors": about.multiprocessors, "memory_bytes": about.memory_bytes, "peak_bytes": gpu.usage().peak,
    });
    for row in rows {
        let part = &mut all[row.part];
        match part.as_array_mut() {
            Some(list) => list.push(row.json()),
            None => *part = json!([row.json()]),
        }
    }
    all
}

/// One table for each part.
pub(super) fn as_tables(gpu: &Gpu, rows: &[Row]) -> String {
    let about = gpu.about();
    let mut text = format!("{} ({})\n", about.device, about.name);
    for part in rows.chunk_by(|a, b| a.part == b.part) {
        let names = match part[0].part {
            "ceilings" => ["ceiling", "", "", "precision", "unit", "median ms", "rate", "", ""],
            "ops" => ["operation", "shape", "sweep", "precision", "unit", "median ms", "rate", "of roof", "ratio"],
            "ism" => ["mutants of", "sequences", "", "precision", "unit", "median ms", "rate", "", "ratio"],
            what => [what, "batch", "", "precision", "unit", "median ms", "rate", "", "ratio"],
        };
        let mut table = vec![names.map(String::from).to_vec()];
        table.extend(part.iter().map(Row::cells));
        text += &format!("\n{}", talk::aligned(&table, 5));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_say_what_was_timed() {
        let mut row = Row::pass(Work::Forward, ZooName::Drg600, 4, Precision::Bf16, 8e9);
        row.timed(&[2.0, 1.0, 3.0], &[4.0, 3.0, 3.0]);
        let json = row.json();
        assert_eq!((json["what"].as_str(), json["batch"].as_u64()), (Some("forward"), Some(4)));
        assert_eq!((json["median_ms"].as_f64(), json["spread"].as_f64()), (Some(2.0), Some(1.0)));
        assert_eq!((json["sequences_per_s"].as_f64(), json["tflop_per_s"].as_f64()), (Some(2000.0), Some(4.0)));
        // Of every round; not that of the medians.
        assert_eq!((json["torch_median_ms"].as_f64(), json["ratio"].as_f64()), (Some(3.0), Some(2.0)));
        assert!(row.to_string().starts_with("forward: drg600  4"), "{row}");

        let mut copy = Row::ceiling("copy", None, 4e9);
        copy.timed(&[1.0], &[]);
        assert_eq!((copy.per_second(), copy.json()["gb_per_s"].as_f64()), (Some(4e12), Some(4000.0)));
        let mut failed = Row::mutants(ZooName::Drg600, 1, Precision::F32, 1800);
        failed.failed(&Error::Failed("no memory".into()));
        assert_eq!(failed.json()["error"].as_str(), Some("no memory"));
        assert!(failed.per_second().is_none() && failed.cells().contains(&"no memory".into()));
    }

    #[test]
    fn digits_are_cut() {
        assert_eq!((digits(1.0 / 3.0), digits(123_456_789.0), digits(0.0)), (0.333_333, 123_457_000.0, 0.0));
    }
}
