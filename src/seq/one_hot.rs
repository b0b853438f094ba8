//! One-hot columns in the order A, C, G, T, and back.

use super::{UNIFORM, UNKNOWN};
use crate::error::{Error, Result};

/// Code of a one-hot column: a single 1 gives its base, zeros give [`UNKNOWN`], four times 0.25 gives [`UNIFORM`];
/// `None` for anything else.
pub fn pack_column(column: [f64; 4]) -> Option<u8> {
    if column == [0.25; 4] {
        return Some(UNIFORM);
    }
    let mut code = UNKNOWN;
    for (base, &value) in column.iter().enumerate() {
        if value == 1.0 && code == UNKNOWN {
            code = base as u8;
        } else if value != 0.0 {
            return None;
        }
    }
    Some(code)
}

/// Value of each of the four columns at a code.
pub fn column(code: u8) -> [f32; 4] {
    match code {
        0 => [1.0, 0.0, 0.0, 0.0],
        1 => [0.0, 1.0, 0.0, 0.0],
        2 => [0.0, 0.0, 1.0, 0.0],
        3 => [0.0, 0.0, 0.0, 1.0],
        UNIFORM => [0.25; 4],
        _ => [0.0; 4],
    }
}

/// Packed codes of a one-hot array `[L, 4]`.
///
/// # Errors
/// [`Error::Argument`] naming the first position whose column is not one-hot, zero or 0.25.
pub fn pack<T: Copy + Into<f64>>(values: &[T]) -> Result<Vec<u8>> {
    if !values.len().is_multiple_of(4) {
        return Err(Error::Shape {
            op: "one_hot",
            arg: "values",
            expected: "[L, 4]".into(),
            found: vec![values.len()],
        });
    }
    let columns = values.chunks_exact(4).enumerate();
    columns
        .map(|(position, c)| {
            let column = [c[0].into(), c[1].into(), c[2].into(), c[3].into()];
            pack_column(column).ok_or_else(|| Error::Argument { op: "one_hot", what: not_one_hot(position, column) })
        })
        .collect()
}

/// What is wrong with a column that [`pack_column`] refused, for error messages.
pub fn not_one_hot(position: usize, column: [f64; 4]) -> String {
    format!("position {position} is {column:?}; expected a single 1, all 0 or all 0.25 (order A, C, G, T)")
}

/// One-hot array `[L, 4]` of packed codes as numbers.
pub fn unpack(bases: &[u8]) -> Vec<f32> {
    bases.iter().flat_map(|&code| column(code)).collect()
}

/// One-hot array `[L, 4]` of packed codes as small integers, the form of npz files.
///
/// # Errors
/// [`Error::Argument`] at a [`UNIFORM`] code, which integers cannot hold.
pub fn unpack_i8(bases: &[u8]) -> Result<Vec<i8>> {
    let mut values = vec![0; bases.len() * 4];
    for (position, &code) in bases.iter().enumerate() {
        match code {
            0..=3 => values[position * 4 + code as usize] = 1,
            UNIFORM => {
                let what = format!("position {position} is 0.25 in all columns, which int8 cannot hold; use float32");
                return Err(Error::Argument { op: "one_hot", what });
            }
            _ => {}
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bases = [3, 0, 4, 2, 1, 5, 1];
        assert_eq!(pack(&unpack(&bases)).unwrap(), bases);
        assert_eq!(pack(&unpack_i8(&bases[..5]).unwrap()).unwrap(), bases[..5]);
        assert_eq!(unpack_i8(&[2]).unwrap(), [0, 0, 1, 0]);
        assert!(pack::<i8>(&[]).unwrap().is_empty());
    }

    #[test]
    fn other_columns_are_refused_with_their_place() {
        let mixed = [0.0, 1.0, 0.0, 0.0, 0.5, 0.5, 0.0, 0.0];
        assert_eq!(
            pack(&mixed).unwrap_err().to_string(),
            "one_hot: position 1 is [0.5, 0.5, 0.0, 0.0]; expected a single 1, all 0 or all 0.25 (order A, C, G, T)"
        );
        assert!(pack(&[1i8, 1, 0, 0]).is_err());
        assert!(pack(&[-1i8, 0, 0, 0]).is_err());
        assert!(pack(&[f64::NAN, 0.0, 0.0, 0.0]).is_err());
        assert!(pack(&[1i8, 0, 0]).is_err());
        assert!(unpack_i8(&[0, 5]).unwrap_err().to_string().contains("position 1 is 0.25"));
    }
}
