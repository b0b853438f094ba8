//! Values of options: the conversion rules of the reference's option strings, and its text form.

use std::fmt;

/// Value of one option. `Display` is Python's `str()` of it, which the reference's output names and parameter files
/// use.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `None`
    None,
    /// `True`, `False`
    Bool(bool),
    /// `8`
    Int(i64),
    /// `1e-05`
    Float(f64),
    /// Everything that is nothing else.
    Str(String),
    /// `[1, 2, 4]`
    List(Vec<Value>),
    /// `(0.9, 0.999)`
    Tuple(Vec<Value>),
}

impl Value {
    /// The value that the text after `key=` stands for: `True`, `TRUE`, `true` (and so on for `False` and `None`), a
    /// Python list or tuple if it holds `[` or `(`, else an integer, else a float, else the text itself. Strings inside
    /// a list may lack their quotes, and `None` inside a list is the string `'None'`. The error says what is wrong with
    /// the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.is_empty() {
            return Err("expected a value, found nothing".into());
        }
        if !text.contains(['[', '(']) {
            return Ok(scalar(text));
        }
        let mut literal = Literal { text, at: 0 };
        let value = literal.value(false)?;
        literal.blanks();
        match &text[literal.at..] {
            "" => Ok(value),
            rest => Err(format!("expected the end of the value, found '{rest}' in '{text}'")),
        }
    }

    /// The text of a string, nothing for other kinds.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(s) => Some(s),
            _ => None,
        }
    }

    /// The elements of a list or tuple, nothing for other kinds.
    pub fn items(&self) -> Option<&[Value]> {
        match self {
            Self::List(items) | Self::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// Truth as Python's 0 and 1: a bool, or the integers 0 and 1.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            Self::Int(0) => Some(false),
            Self::Int(1) => Some(true),
            _ => None,
        }
    }

    /// A whole number from 0; a bool counts as 0 or 1, a float only if it is whole.
    pub fn as_usize(&self) -> Option<usize> {
        match *self {
            Self::Bool(b) => Some(usize::from(b)),
            Self::Int(i) => usize::try_from(i).ok(),
            Self::Float(f) if f >= 0.0 && f.fract() == 0.0 && f < 9e15 => Some(f as usize),
            _ => None,
        }
    }

    /// A finite number.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::Bool(b) => Some(f64::from(u8::from(b))),
            Self::Int(i) => Some(i as f64),
            Self::Float(f) if f.is_finite() => Some(f),
            _ => None,
        }
    }

    /// Whether both mean the same: equal, or equal as numbers (`0` and `0.0` and `False`).
    pub fn same(&self, other: &Self) -> bool {
        self == other || matches!((self.as_f64(), other.as_f64()), (Some(a), Some(b)) if a == b)
    }

    fn repr(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(s) if s.contains('\'') && !s.contains('"') => write!(f, "\"{s}\""),
            Self::Str(s) => write!(f, "'{}'", s.replace('\\', "\\\\").replace('\'', "\\'")),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, items: &[Value]| {
            for (i, item) in items.iter().enumerate() {
                f.write_str(if i > 0 { ", " } else { "" })?;
                item.repr(f)?;
            }
            Ok(())
        };
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(b) => f.write_str(if *b { "True" } else { "False" }),
            Self::Int(i) => write!(f, "{i}"),
            Self::Float(x) => f.write_str(&python_float(*x)),
            Self::Str(s) => f.write_str(s),
            Self::List(items) => {
                f.write_str("[")?;
                list(f, items)?;
                f.write_str("]")
            }
            Self::Tuple(items) => {
                f.write_str("(")?;
                list(f, items)?;
                f.write_str(if items.len() == 1 { ",)" } else { ")" })
            }
        }
    }
}

/// Python's `repr` of a float: the shortest digits that read back as the same number, with an exponent of at least two
/// digits below 1e-4 and from 1e16 on.
pub fn python_float(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let scientific = format!("{x:e}");
    let (mantissa, exponent) = scientific.split_once('e').expect("LowerExp always writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes an integer exponent");
    if x != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{x}");
    if plain.contains('.') { plain } else { plain + ".0" }
}

fn scalar(text: &str) -> Value {
    match text {
        "True" | "TRUE" | "true" => Value::Bool(true),
        "False" | "FALSE" | "false" => Value::Bool(false),
        "None" | "NONE" | "none" => Value::None,
        _ => match (text.parse(), text.parse()) {
            (Ok(i), _) => Value::Int(i),
            (_, Ok(x)) => Value::Float(x),
            _ => Value::Str(text.into()),
        },
    }
}

/// Cursor over a Python literal.
struct Literal<'a> {
    text: &'a str,
    at: usize,
}

impl Literal<'_> {
    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn peek(&mut self) -> Option<char> {
        self.blanks();
        self.text[self.at..].chars().next()
    }

    fn value(&mut self, inside: bool) -> Result<Value, String> {
        match self.peek() {
            Some('[') => Ok(Value::List(self.items(']')?.0)),
            Some('(') => {
                let (mut items, comma) = self.items(')')?;
                Ok(if items.len() == 1 && !comma { items.remove(0) } else { Value::Tuple(items) })
            }
            Some(quote @ ('\'' | '"')) => {
                let start = self.at + 1;
                let length = self.text[start..]
                    .find(quote)
                    .ok_or_else(|| format!("expected a closing {quote} in '{}', found the end", self.text))?;
                self.at = start + length + 1;
                Ok(Value::Str(self.text[start..start + length].into()))
            }
            _ => {
                let rest = &self.text[self.at..];
                let length = rest.find([',', ']', ')', '[', '(', '\'', '"']).unwrap_or(rest.len());
                let word = rest[..length].trim();
                self.at += length;
                match scalar(word) {
                    _ if word.is_empty() => {
                        Err(format!("expected a value at character {} of '{}'", self.at + 1, self.text))
                    }
                    Value::None if inside => Ok(Value::Str("None".into())),
                    value => Ok(value),
                }
            }
        }
    }

    /// Elements up to the closing bracket, and whether there was a comma.
    fn items(&mut self, close: char) -> Result<(Vec<Value>, bool), String> {
        self.at += 1;
        let (mut items, mut comma) = (Vec::new(), false);
        loop {
            if self.peek() == Some(close) {
                self.at += 1;
                return Ok((items, comma));
            }
            items.push(self.value(true)?);
            match self.peek() {
                Some(',') => {
                    self.at += 1;
                    comma = true;
                }
                Some(c) if c == close => {}
                found => {
                    let found = found.map_or_else(|| "the end".into(), |c| format!("'{c}'"));
                    return Err(format!("expected ',' or '{close}' in '{}', found {found}", self.text));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_follow_the_reference() {
        for (text, value) in [
            ("True", Value::Bool(true)),
            ("FALSE", Value::Bool(false)),
            ("none", Value::None),
            ("8", Value::Int(8)),
            ("-3", Value::Int(-3)),
            ("0.00001", Value::Float(1e-5)),
            ("1e3", Value::Float(1000.0)),
            ("tRUE", Value::Str("tRUE".into())),
            ("cuda:0", Value::Str("cuda:0".into())),
        ] {
            assert_eq!(Value::parse(text), Ok(value), "{text}");
        }
        assert!(Value::parse("  ").is_err());
    }

    #[test]
    fn lists_with_and_without_quotes() {
        let losses = Value::List(vec![Value::Str("Correlationdata".into()), Value::Str("None".into())]);
        for text in ["['Correlationdata','None']", "[Correlationdata,None]", "[\"Correlationdata\", None,]"] {
            assert_eq!(Value::parse(text), Ok(losses.clone()), "{text}");
        }
        assert_eq!(Value::parse("[[0,1],[1]]").unwrap().to_string(), "[[0, 1], [1]]");
        assert_eq!(Value::parse("(0.9,0.999)").unwrap(), Value::Tuple(vec![Value::Float(0.9), Value::Float(0.999)]));
        assert_eq!(Value::parse("(5)"), Ok(Value::Int(5)));
        assert_eq!(Value::parse("(5,)").unwrap().to_string(), "(5,)");
        assert_eq!(Value::parse("[]"), Ok(Value::List(vec![])));
        for bad in ["[1,2", "[1 [2]]", "[1]]", "['a]", "[,]", "GELU(", "(1]"] {
            assert!(Value::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn text_is_pythons() {
        for (x, text) in [
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (0.1, "0.1"),
            (1.0, "1.0"),
            (0.0, "0.0"),
            (-2.5e-7, "-2.5e-07"),
            (1e16, "1e+16"),
            (123456789.0, "123456789.0"),
            (4.000000000000001e-06, "4.000000000000001e-06"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(python_float(x), text);
        }
        assert_eq!(Value::parse("['a',\"b'c\",1.0,True]").unwrap().to_string(), "['a', \"b'c\", 1.0, True]");
    }
}
