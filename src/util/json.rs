//! Where two JSON values differ.

use serde_json::Value;

/// The first place in which two JSON values differ: the key that it stands under (empty if there is none), and both values.
pub fn first_difference<'a>(a: &'a Value, b: &'a Value) -> Option<(&'a str, &'a Value, &'a Value)> {
    below("", a, b)
}

fn below<'a>(key: &'a str, a: &'a Value, b: &'a Value) -> Option<(&'a str, &'a Value, &'a Value)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => x.iter().find_map(|(k, v)| below(k, v, &y[k])),
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x.iter().zip(y).find_map(|(x, y)| below(key, x, y)),
        (a, b) if a == b => None,
        (a, b) => Some((key, a, b)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_has_its_key() {
        let a = json!({ "x": 1, "list": [{ "k": 2 }, { "k": 3 }], "z": null });
        assert_eq!(first_difference(&a, &a), None);
        let b = json!({ "x": 1, "list": [{ "k": 2 }, { "k": 4 }], "z": 1 });
        assert_eq!(first_difference(&a, &b), Some(("k", &json!(3), &json!(4))));
        let c = json!({ "x": 1, "list": [], "z": null });
        assert_eq!(first_difference(&a, &c).map(|d| d.0), Some("list"));
        assert_eq!(first_difference(&a, &json!(3)).map(|d| d.0), Some(""));
    }
}
