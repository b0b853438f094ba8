//! Tests of the whole store: what is written is read, what is there is seen, what is damaged is named.

use super::*;

fn attributes(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// Exact in half precision as well.
fn values(n: u64) -> Vec<f32> {
    (0..n).map(|i| (i as f32 - 7.0) / 8.0).collect()
}

fn text<T>(result: Result<T>, folder: &tempfile::TempDir) -> String {
    result.map(|_| ()).unwrap_err().to_string().replace(&format!("{}/", folder.path().display()), "")
}

/// All files below a folder, as paths in it.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|f| format!("{name}/{f}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

/// Writes the chunks of `array` that `pick` names, out of `whole` laid out row by row.
fn fill(array: &FloatArray, whole: &[f32], pick: impl Fn(usize) -> bool) {
    let (shape, grid) = (array.shape().to_vec(), array.grid().to_vec());
    let count: u64 = grid.iter().product();
    for i in (0..count as usize).rev().filter(|&i| pick(i)) {
        let index = unravel(i as u64, &grid);
        let (first, held) = array.extent(&index).unwrap();
        array.write_chunk(&index, &cut(whole, &shape, &first, &held)).unwrap();
    }
}

fn unravel(mut i: u64, shape: &[u64]) -> Vec<u64> {
    let mut index = vec![0; shape.len()];
    for axis in (0..shape.len()).rev() {
        index[axis] = i % shape[axis];
        i /= shape[axis];
    }
    index
}

fn cut(whole: &[f32], shape: &[u64], first: &[u64], held: &[u64]) -> Vec<f32> {
    let at = |i| {
        let place = unravel(i, held);
        (0..shape.len()).fold(0, |sum, axis| sum * shape[axis] + first[axis] + place[axis])
    };
    (0..held.iter().product()).map(|i| whole[at(i) as usize]).collect()
}

#[test]
fn round_trip_with_partial_chunks() {
    let folder = tempfile::tempdir().unwrap();
    for (n, kind) in [FloatType::F32, FloatType::F16].into_iter().enumerate() {
        for (m, (shape, chunk)) in [
            (vec![5, 7, 3], vec![2, 3, 3]),
            (vec![7], vec![10]),
            (vec![4, 6], vec![4, 6]),
            (vec![3, 1, 5, 2], vec![2, 1, 4, 1]),
        ]
        .into_iter()
        .enumerate()
        {
            let path = folder.path().join(format!("{n}{m}.zarr"));
            let whole = values(shape.iter().product());
            let writer = ZarrWriter::create(&path, attributes(r#"{"b": [1, 0.1], "a": null}"#)).unwrap();
            fill(&writer.array("x", &shape, &chunk, kind).unwrap(), &whole, |_| true);
            let reader = ZarrReader::open(&path).unwrap();
            assert_eq!(*reader.attributes(), attributes(r#"{"b": [1, 0.1], "a": null}"#));
            let x = reader.array("x").unwrap();
            assert_eq!((x.shape(), x.chunk_shape(), x.kind()), (&shape[..], &chunk[..], kind));
            assert_eq!(x.read_region(&vec![0; shape.len()], &shape).unwrap(), whole);
            let last: Vec<u64> = x.grid().iter().map(|n| n - 1).collect();
            let (first, held) = x.extent(&last).unwrap();
            let expected = cut(&whole, &shape, &first, &held);
            assert_eq!(x.read_chunk(&last).unwrap().unwrap(), expected);
            assert_eq!(x.read_region(&first, &held).unwrap(), expected);
            let inner: Vec<u64> = shape.iter().map(|n| n / 2).collect();
            let lengths: Vec<u64> = shape.iter().zip(&inner).map(|(n, i)| n - i).collect();
            assert_eq!(x.read_region(&inner, &lengths).unwrap(), cut(&whole, &shape, &inner, &lengths));
        }
    }
}

#[test]
fn a_later_run_sees_the_chunks_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    let (shape, chunk) = ([5, 4], [2, 4]);
    let mut whole = values(20);
    whole[8..16].fill(f32::NAN);
    let writer = ZarrWriter::create(&path, attributes(r#"{"run": 1}"#)).unwrap();
    fill(&writer.array("x", &shape, &chunk, FloatType::F32).unwrap(), &whole, |i| i == 1);
    drop(writer);
    assert_eq!(files(&path), ["x/c/1/0", "x/zarr.json", "zarr.json"]);

    let mut writer = ZarrWriter::open(&path).unwrap();
    assert_eq!(writer.attributes()["run"], 1);
    let x = writer.array("x", &shape, &chunk, FloatType::F32).unwrap();
    let there: Vec<bool> = (0..3).map(|i| x.has_chunk(&[i, 0]).unwrap()).collect();
    assert_eq!(there, [false, true, false], "a chunk of nothing but NaN is a chunk");
    assert!(x.read_chunk(&[0, 0]).unwrap().is_none());
    assert!(x.read_region(&[0, 0], &[5, 4]).unwrap().iter().all(|v| v.is_nan()));
    fill(&x, &whole, |i| i != 1);
    fill(&x, &values(20), |i| i == 1);
    assert_eq!(x.read_region(&[0, 0], &[5, 4]).unwrap(), values(20));
    writer.set_attributes(attributes(r#"{"run": 2}"#)).unwrap();
    assert_eq!(ZarrReader::open(&path).unwrap().attributes()["run"], 2);
    assert_eq!(
        text(writer.array("x", &shape, &[5, 4], FloatType::F16), &folder),
        "x.zarr/x/zarr.json: expected F16 [5, 4] in chunks of [5, 4], found F32 [5, 4] in chunks of [2, 4]; resume \
         with the options of the first run, or start anew"
    );
    assert_eq!(
        text(ZarrWriter::create(&path, Map::new()), &folder),
        "x.zarr exists; remove it, name another, or resume it"
    );
}

#[test]
fn half_precision_rounds_and_refuses_what_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    let x = ZarrWriter::create(&path, Map::new()).unwrap().array("x", &[6], &[3], FloatType::F16).unwrap();
    x.write_chunk(&[0], &[0.1, f32::INFINITY, 65504.0]).unwrap();
    let read = x.read_chunk(&[0]).unwrap().unwrap();
    assert_eq!(read, [0.099_975_586, f32::INFINITY, 65504.0]);
    let large = x.write_chunk(&[1], &[0.0, -7e4, 0.0]);
    assert_eq!(text(large, &folder), "x.zarr/x/c/1: -70000 does not fit into float16; store float32");
    assert!(!x.has_chunk(&[1]).unwrap());
}

#[test]
fn chunks_from_several_threads() {
    use rayon::prelude::*;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    let x = ZarrWriter::create(&path, Map::new()).unwrap().array("x", &[40, 3], &[1, 2], FloatType::F32).unwrap();
    let written: Result<()> = (0..40u64).into_par_iter().try_for_each(|i| {
        x.write_chunk(&[i, 0], &[i as f32, 1.0])?;
        x.write_chunk(&[i, 1], &[2.0])
    });
    written.unwrap();
    let all = x.read_region(&[0, 0], &[40, 3]).unwrap();
    assert!(all.chunks(3).enumerate().all(|(i, row)| row == [i as f32, 1.0, 2.0]));
}

#[test]
fn small_arrays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    let writer = ZarrWriter::create(&path, Map::new()).unwrap();
    let names: Vec<String> = ["peak 1", "", "Zürich"].map(String::from).into();
    writer.small("names", &[3], &names).unwrap();
    writer.small("bases", &[2, 2], &[3u8, 2, 1, 0]).unwrap();
    writer.small("starts", &[1], &[7i64]).unwrap();
    writer.small("starts", &[2], &[-5i64, i64::MAX]).unwrap();
    writer.small("mean", &[2, 1], &[0.5f32, f32::NAN]).unwrap();
    writer.small("sd", &[1], &[0.1f64]).unwrap();
    writer.small::<String>("none", &[0, 4], &[]).unwrap();
    let reader = ZarrReader::open(&path).unwrap();
    assert_eq!(reader.names().unwrap(), ["bases", "mean", "names", "none", "sd", "starts"]);
    assert_eq!(reader.small::<String>("names").unwrap(), (vec![3], names));
    assert_eq!(reader.small::<u8>("bases").unwrap(), (vec![2, 2], vec![3, 2, 1, 0]));
    assert_eq!(reader.small::<i64>("starts").unwrap(), (vec![2], vec![-5, i64::MAX]));
    assert!(reader.small::<f32>("mean").unwrap().1[1].is_nan());
    assert_eq!(reader.small::<f64>("sd").unwrap().1, [0.1]);
    assert_eq!(reader.small::<String>("none").unwrap(), (vec![0, 4], vec![]));
    let other = text(reader.small::<i64>("sd"), &folder);
    assert!(other.starts_with("x.zarr/sd/zarr.json: expected ") && other.contains("found"), "{other}");
}

#[test]
fn bad_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let writer = ZarrWriter::create(folder.path(), Map::new()).unwrap();
    let of = |name: &str, shape: &[u64], chunk: &[u64]| text(writer.array(name, shape, chunk, FloatType::F32), &folder);
    for name in ["", "a/b", "..", "__x", "ä"] {
        assert!(of(name, &[1], &[1]).starts_with(&format!("zarr: array '{name}': expected a name")));
    }
    for (shape, chunk) in [(&[][..], &[][..]), (&[2], &[0]), (&[2], &[1, 1])] {
        assert!(of("x", shape, chunk).starts_with("zarr: array 'x': chunks of "));
    }
    let x = writer.array("x", &[5, 2], &[2, 2], FloatType::F32).unwrap();
    let argument = |result: Result<()>| text(result, &folder);
    assert_eq!(argument(x.write_chunk(&[3, 0], &[])), "zarr: expected a chunk below [3, 1], found [3, 0]");
    assert_eq!(argument(x.write_chunk(&[0], &[])), "zarr: expected a chunk below [3, 1], found [0]");
    let four = argument(x.write_chunk(&[2, 0], &[0.0; 4]));
    assert_eq!(four, "zarr: chunk: expected the values of a shape [1, 2], found 4");
    assert_eq!(
        argument(x.read_region(&[4, 0], &[2, 1]).map(|_| ())),
        "zarr: [2, 1] from [4, 0] on is not inside of [5, 2]"
    );
    assert!(x.read_region(&[u64::MAX, 0], &[2, 1]).is_err() && x.read_region(&[0], &[2]).is_err());
    assert!(x.read_region(&[2, 1], &[0, 1]).unwrap().is_empty());
    assert!(writer.small("y", &[3], &[1u8]).is_err());
    let empty = writer.array("none", &[0, 4], &[1, 4], FloatType::F16).unwrap();
    assert!(empty.grid().contains(&0) && empty.read_region(&[0, 0], &[0, 4]).unwrap().is_empty());
}

#[test]
fn damage_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    assert_eq!(ZarrReader::open(&path).err().unwrap().exit_code(), 2);
    let writer = ZarrWriter::create(&path, Map::new()).unwrap();
    let x = writer.array("x", &[4], &[2], FloatType::F32).unwrap();
    x.write_chunk(&[1], &[1.0, 2.0]).unwrap();
    let reader = ZarrReader::open(&path).unwrap();
    assert_eq!(reader.array("y").err().unwrap().exit_code(), 2);

    std::fs::write(path.join("x/c/1"), b"half").unwrap();
    let cut = "x.zarr/x/c/1: expected 2 elements of float32, found 4 bytes";
    assert_eq!(text(x.read_chunk(&[1]), &folder), cut);
    assert_eq!(text(x.read_region(&[2], &[2]), &folder), cut);

    let good = std::fs::read_to_string(path.join("x/zarr.json")).unwrap();
    for (what, bad) in [
        ("no JSON: ", &good[..good.len() / 2]),
        ("expected the description of a Zarr v3 array, found 'group'", &good.replace("array", "group")),
        ("expected float32, found float33", &good.replace("float32", "float33")),
        ("no description of a Zarr v3 array: missing field `shape`", &good.replace("\"shape\"", "\"shapes\"")),
        ("expected little-endian chunks without compression", &good.replace("bytes", "gzip")),
        ("expected little-endian chunks without compression", &good.replace("little", "big")),
        ("chunks do not fit the shape [4]; found ", &good.replace("chunk_shape", "chunk_shapes")),
        ("expected float32, found float64", &good.replace("float32", "float64")),
    ] {
        std::fs::write(path.join("x/zarr.json"), bad).unwrap();
        for said in [text(reader.array("x"), &folder), text(writer.array("x", &[4], &[2], FloatType::F32), &folder)] {
            assert!(said.starts_with(&format!("x.zarr/x/zarr.json: {what}")), "{said}");
        }
    }
    std::fs::write(path.join("zarr.json"), "{}").unwrap();
    for said in [text(ZarrReader::open(&path), &folder), text(ZarrWriter::open(&path), &folder)] {
        assert_eq!(said, "x.zarr/zarr.json: expected the description of a Zarr v3 group, found 'none'");
    }
}

#[test]
fn damaged_texts_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    ZarrWriter::create(&path, Map::new()).unwrap().small("names", &[2], &["a".to_string(), "bc".into()]).unwrap();
    let reader = ZarrReader::open(&path).unwrap();
    let chunk = path.join("names/c/0");
    let good = std::fs::read(&chunk).unwrap();
    assert_eq!(good, b"\x02\0\0\0\x01\0\0\0a\x02\0\0\0bc");
    let mut more = good.clone();
    more[0] = 3;
    let mut longer = good.clone();
    longer[9] = 200;
    let mut foreign = good.clone();
    foreign[8] = 0xff;
    for bad in [&good[..good.len() - 1], &good[..3], b"", &more, &longer, &foreign, &[good.clone(), vec![0]].concat()] {
        std::fs::write(&chunk, bad).unwrap();
        let said = text(reader.small::<String>("names"), &folder);
        assert!(said.starts_with("x.zarr/names/c/0: expected 2 elements of string, found "), "{said}");
    }
    std::fs::remove_file(&chunk).unwrap();
    assert_eq!(text(reader.small::<String>("names"), &folder), "x.zarr/names/c/0: the values are missing");
}

/// Prints attributes and all arrays of a group as JSON, NaN as null.
const PYTHON: &str = "
import json, sys, zarr
group = zarr.open_group(sys.argv[1], mode='r')
def plain(x):
    x = x.tolist() if hasattr(x, 'tolist') else x
    return None if x != x else x
arrays = {k: [str(a.dtype), a.shape, a.chunks, [plain(x) for x in a[...].ravel()]] for k, a in group.arrays()}
print(json.dumps([dict(group.attrs), arrays]))
";

#[test]
fn python_reads_what_is_written() {
    let Ok(python) = std::env::var("DRG_PYTHON") else {
        eprintln!("skipped: Zarr against Python; name a Python that has zarr 3 in DRG_PYTHON");
        return;
    };
    if !std::process::Command::new(&python).args(["-c", "import zarr"]).output().unwrap().status.success() {
        eprintln!("skipped: {python} has no zarr");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.zarr");
    let given = attributes(r#"{"b": [1, 0.1], "a": null, "c": {"d": "\u00e4"}}"#);
    let writer = ZarrWriter::create(&path, given.clone()).unwrap();
    let whole = values(30);
    for (name, kind) in [("single", FloatType::F32), ("half", FloatType::F16)] {
        fill(&writer.array(name, &[5, 3, 2], &[2, 2, 2], kind).unwrap(), &whole, |i| i != 3);
    }
    writer.small("names", &[3], &["peak 1".to_string(), String::new(), "\u{e4}".into()]).unwrap();
    writer.small("bases", &[2, 2], &[3u8, 2, 1, 0]).unwrap();
    writer.small("starts", &[2], &[-5i64, i64::MAX]).unwrap();
    writer.small("sd", &[2], &[0.1f64, f64::NAN]).unwrap();
    let missing = |i: usize| (i / 6 == 2 || i / 6 == 3) && i % 6 >= 4;
    let floats: Vec<Value> = (0..30).map(|i| if missing(i) { Value::Null } else { whole[i].into() }).collect();
    let arrays = serde_json::json!({
        "single": ["float32", [5, 3, 2], [2, 2, 2], floats],
        "half": ["float16", [5, 3, 2], [2, 2, 2], floats],
        "names": ["StringDType()", [3], [3], ["peak 1", "", "\u{e4}"]],
        "bases": ["uint8", [2, 2], [2, 2], [3, 2, 1, 0]],
        "starts": ["int64", [2], [2], [-5, i64::MAX]],
        "sd": ["float64", [2], [2], [0.1, null]],
    });
    let run = std::process::Command::new(&python).args(["-c", PYTHON]).arg(&path).output().unwrap();
    assert!(run.status.success(), "{python}: {}", String::from_utf8_lossy(&run.stderr));
    let theirs: Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(theirs, serde_json::json!([given, arrays]));
}
