//! Values, sums and gradients of the losses against numbers of the reference implementation (`13_losses` of the parity
//! fixtures, which are looked for in `DRG_SHARED` or beside the repository).

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of a test; a skipped test says so")]

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use drg::ops::{Loss, loss};
use drg::tape::{Keep, Mode, Tape, check};
use drg::tensor::{DType, Tensor};
use ndarray::ArrayD;
use ndarray_npy::NpzReader;

const FAMILIES: [&str; 4] = ["real", "const", "unit", "binary"];

fn fixture() -> Option<PathBuf> {
    let shared = std::env::var_os("DRG_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let path = shared.join("fixtures/13_losses/io.npz");
    if path.is_file() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there; name the folder of the fixtures in DRG_SHARED", path.display());
    None
}

struct Fixture {
    npz: NpzReader<File>,
    keys: Vec<String>,
    sums: HashMap<String, f64>,
}

impl Fixture {
    fn open(path: PathBuf) -> Self {
        let mut npz = NpzReader::new(File::open(&path).unwrap()).unwrap();
        let keys = npz.names().unwrap().into_iter().map(|k| k.trim_end_matches(".npy").to_string()).collect();
        let sums: ArrayD<f64> = npz.by_name("sum_f64").unwrap();
        let sums = names(&path, "sum_names").into_iter().zip(sums.iter().copied()).collect();
        Self { npz, keys, sums }
    }

    fn f32(&mut self, key: &str) -> (Vec<usize>, Vec<f64>) {
        let a: ArrayD<f32> = self.npz.by_name(key).unwrap();
        (a.shape().to_vec(), a.iter().map(|&v| f64::from(v)).collect())
    }

    fn f64(&mut self, key: &str) -> Vec<f64> {
        let a: ArrayD<f64> = self.npz.by_name(key).unwrap();
        a.iter().copied().collect()
    }

    /// Predictions and targets of a family.
    fn pair(&mut self, family: &str) -> (Vec<usize>, Vec<f64>, Vec<f64>) {
        let predictions = if family == "binary" { "unit" } else { family };
        let (shape, p) = self.f32(&format!("{predictions}_p"));
        (shape, p, self.f32(&format!("{family}_t")).1)
    }
}

/// A one-dimensional array of text: numpy stores it as 4-byte code points, padded with zeros.
fn names(path: &PathBuf, key: &str) -> Vec<String> {
    let mut archive = zip::ZipArchive::new(File::open(path).unwrap()).unwrap();
    let mut bytes = vec![];
    archive.by_name(&format!("{key}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..header]).unwrap();
    let width: usize = text.split_once("<U").unwrap().1.split_once('\'').unwrap().0.parse().unwrap();
    let point = |c: &[u8]| char::from_u32(u32::from_le_bytes(c.try_into().unwrap())).unwrap();
    let word = |w: &[u8]| w.chunks_exact(4).map(point).take_while(|&c| c != '\0').collect();
    bytes[header..].chunks_exact(4 * width).map(word).collect()
}

/// The weighted loss and its gradient from a tape, for predictions of a type.
fn on_tape(kind: Loss, dtype: DType, shape: &[usize], p: &[f64], t: &[f64]) -> (f64, Vec<f64>) {
    let tensor = |x: &[f64]| Tensor::new(shape, x.to_vec()).unwrap().to_dtype(dtype).unwrap();
    let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
    let x = tape.leaf(tensor(p));
    let y = loss(&mut tape, &x, &tensor(t), kind, 1.0).unwrap();
    let rows: Vec<u32> = (0..shape[0] as u32).collect();
    let dy = Tensor::new(&[1], vec![1f64]).unwrap().to_dtype(dtype).unwrap();
    let dx = tape.backward(y.node.unwrap(), dy, &rows, &[x.node.unwrap()]).unwrap();
    (y.value.to_f64()[0], dx[0].as_ref().unwrap().to_f64())
}

#[test]
fn losses_equal_the_reference() {
    let Some(path) = fixture() else { return };
    let mut fixture = Fixture::open(path);
    let mut checked = 0;
    for &kind in Loss::ALL {
        for family in FAMILIES {
            let key = format!("{kind}__{family}");
            if !fixture.keys.contains(&format!("{key}__value")) {
                continue;
            }
            let (shape, p, t) = fixture.pair(family);
            let (value_shape, want) = fixture.f32(&format!("{key}__value"));
            let got = kind.values(&p, &t, shape[1]).unwrap();
            assert_eq!(got.shape, value_shape, "{key}");
            check::close(&key, &got.values, &want, 1e-5);
            for (g, w) in got.values.iter().zip(&want) {
                // Single values of the reference carry f32 rounding of 1 - r and of sums of larger terms.
                assert!((g - w).abs() <= 1e-5 * w.abs() + 1e-6, "{key}: {g} instead of {w}");
            }
            let narrow = |x: &[f64]| x.iter().map(|&v| v as f32).collect::<Vec<_>>();
            assert_eq!(kind.values(&narrow(&p), &narrow(&t), shape[1]).unwrap(), got, "{key}: f32 slices");

            let sum = fixture.sums[&format!("{kind}__{family}")];
            let (value, gradient) = on_tape(kind, DType::F64, &shape, &p, &t);
            let (value32, gradient32) = on_tape(kind, DType::F32, &shape, &p, &t);
            assert!((value - sum).abs() <= 1e-12 * sum.abs().max(1.0), "{key}: sum {value} instead of {sum}");
            assert!((value32 - sum).abs() <= 1e-6 * sum.abs().max(1.0), "{key}: sum {value32} instead of {sum}");
            // At a constant line of predictions the reference has slopes of 1e16, we have none: see the head of ops/loss.
            let want = fixture.f64(&format!("{key}__grad_f64"));
            let finite: Vec<usize> = (0..want.len()).filter(|&i| want[i].abs() < 1e6).collect();
            assert!(finite.len() == want.len() || family == "const", "{key}: slopes of the fixture");
            let at = |x: &[f64]| finite.iter().map(|&i| x[i]).collect::<Vec<_>>();
            check::close(&format!("{key}, gradient"), &at(&gradient), &at(&want), 1e-9);
            check::close(&format!("{key}, f32 gradient"), &at(&gradient32), &at(&want), 1e-6);
            let want = fixture.f32(&format!("{key}__grad")).1;
            check::close(&format!("{key}, reference's f32 gradient"), &at(&gradient32), &at(&want), 1e-5);
            checked += 1;
        }
    }
    assert_eq!(checked, 60, "entries of the fixture that were compared");
}
