//! What a pickle would do if Python ran it: the functions that it calls, and the order of its texts. Nothing is run.
//!
//! A pickle is a program for a small stack machine. This one follows every instruction but keeps only texts, names of
//! functions and the marks between them, so that a file from elsewhere is known before anything else looks at it.

use std::collections::HashMap;
use std::rc::Rc;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Every text, numbered by first appearance.
    pub texts: HashMap<Rc<str>, usize>,
    /// Functions that are called although no checkpoint needs them, e.g. `posix.system`.
    pub calls: Vec<String>,
}

impl Scan {
    /// Follows the pickle at the start of `bytes` and returns its length. The error says what is wrong with it.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<usize, String> {
        let mut machine = Machine { scan: self, bytes, at: 0, stack: vec![], memo: HashMap::new() };
        while machine.step()? {}
        Ok(machine.at)
    }

    /// When a text appeared first.
    pub fn place(&self, text: &str) -> Option<usize> {
        self.texts.get(text).copied()
    }
}

/// Functions that build the values of checkpoints: tensors, dictionaries, numbers of NumPy, paths.
fn is_harmless(module: &str, name: &str) -> bool {
    match module {
        "collections" => matches!(name, "OrderedDict" | "defaultdict" | "Counter"),
        "torch" => matches!(name, "Size" | "device") || name.ends_with("Storage") && !name.contains('.'),
        "torch._utils" => name.starts_with("_rebuild_") && !name.contains('.'),
        "torch._tensor" => name == "_rebuild_from_type_v2",
        "torch.serialization" => name == "_get_layout",
        "builtins" | "__builtin__" => matches!(name, "set" | "frozenset" | "bytearray" | "complex"),
        "copyreg" | "copy_reg" => name == "_reconstructor",
        "_codecs" => name == "encode",
        "numpy.core.multiarray" | "numpy._core.multiarray" => matches!(name, "scalar" | "_reconstruct"),
        "numpy" => name == "dtype",
        "pathlib" | "pathlib._local" => matches!(name, "PosixPath" | "WindowsPath"),
        _ => false,
    }
}

/// A value on the stack, as far as it matters.
#[derive(Clone)]
enum Item {
    Mark,
    Text(Rc<str>),
    /// Module and name.
    Global(Rc<(String, String)>),
    Other,
}

struct Machine<'a> {
    scan: &'a mut Scan,
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Item>,
    memo: HashMap<u64, Item>,
}

impl Machine<'_> {
    /// Follows one instruction; false after the last.
    fn step(&mut self) -> Result<bool, String> {
        match self.take(1)?[0] {
            b'.' => return Ok(false),
            // Protocol, frame.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            // Constants.
            b'N' | 0x88 | 0x89 | b')' | b']' | b'}' | 0x8f => self.stack.push(Item::Other),
            b'K' => self.constant(1)?,
            b'M' => self.constant(2)?,
            b'J' => self.constant(4)?,
            b'G' => self.constant(8)?,
            b'I' | b'L' | b'F' => {
                self.line()?;
                self.stack.push(Item::Other);
            }
            // Integers and bytes behind their length.
            0x8a | b'C' => self.sized(1)?,
            0x8b | b'B' => self.sized(4)?,
            0x8e | 0x96 => self.sized(8)?,
            // Texts.
            0x8c | b'U' => self.text(1)?,
            b'X' | b'T' => self.text(4)?,
            0x8d => self.text(8)?,
            b'V' | b'S' => {
                let line = self.line()?;
                self.push_text(&line);
            }
            // Memo.
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            b'p' => {
                let key = self.decimal()?;
                let item = self.top()?;
                self.memo.insert(key, item);
            }
            0x94 => {
                let item = self.top()?;
                self.memo.insert(self.memo.len() as u64, item);
            }
            b'h' => self.get(1)?,
            b'j' => self.get(4)?,
            b'g' => {
                let key = self.decimal()?;
                self.recall(key)?;
            }
            // The stack itself.
            b'(' => self.stack.push(Item::Mark),
            b'0' => drop(self.pop()?),
            b'1' => self.pop_to_mark()?,
            b'2' => {
                let item = self.top()?;
                self.stack.push(item);
            }
            // Containers.
            0x85 => self.combine(1)?,
            0x86 => self.combine(2)?,
            0x87 => self.combine(3)?,
            b't' | b'l' | b'd' | 0x91 => {
                self.pop_to_mark()?;
                self.stack.push(Item::Other);
            }
            b'a' | b'b' => drop(self.pop()?),
            b's' => {
                self.pop()?;
                self.pop()?;
            }
            b'e' | b'u' | 0x90 => self.pop_to_mark()?,
            // Names from outside.
            b'P' => {
                self.line()?;
                self.stack.push(Item::Other);
            }
            b'Q' => self.combine(1)?,
            b'c' => {
                let global = (self.line()?, self.line()?);
                self.stack.push(Item::Global(Rc::new(global)));
            }
            0x93 => match (self.pop()?, self.pop()?) {
                (Item::Text(name), Item::Text(module)) => {
                    self.stack.push(Item::Global(Rc::new((module.to_string(), name.to_string()))));
                }
                _ => return Err("it computes the name of a function".into()),
            },
            // Calls. An instance that is made without a call keeps its class here, so that calling it is seen as well.
            b'R' => {
                self.pop()?;
                let callable = self.pop()?;
                self.call(&callable);
                self.stack.push(Item::Other);
            }
            0x81 => self.combine(2)?,
            0x92 => self.combine(3)?,
            code => return Err(format!("it has the instruction 0x{code:02x}, which no checkpoint needs")),
        }
        Ok(true)
    }

    fn call(&mut self, callable: &Item) {
        let name = match callable {
            Item::Global(global) if is_harmless(&global.0, &global.1) => return,
            Item::Global(global) => format!("{}.{}", global.0, global.1),
            _ => "the result of another call".into(),
        };
        if !self.scan.calls.contains(&name) {
            self.scan.calls.push(name);
        }
    }

    fn take(&mut self, n: usize) -> Result<&[u8], String> {
        let end = self.at.checked_add(n).filter(|&end| end <= self.bytes.len()).ok_or("it is cut off")?;
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    /// A little-endian number of `n` bytes.
    fn number(&mut self, n: usize) -> Result<u64, String> {
        Ok(self.take(n)?.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    fn line(&mut self) -> Result<String, String> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&byte| byte == b'\n').ok_or("it is cut off")?;
        self.at += length + 1;
        Ok(String::from_utf8_lossy(&rest[..length]).into_owned())
    }

    fn decimal(&mut self) -> Result<u64, String> {
        let line = self.line()?;
        line.trim().parse().map_err(|_| format!("expected a number, found '{line}'"))
    }

    fn behind_length(&mut self, n: usize) -> Result<&[u8], String> {
        let length = usize::try_from(self.number(n)?).map_err(|_| "it is cut off")?;
        self.take(length)
    }

    fn constant(&mut self, n: usize) -> Result<(), String> {
        self.take(n)?;
        self.stack.push(Item::Other);
        Ok(())
    }

    fn sized(&mut self, n: usize) -> Result<(), String> {
        self.behind_length(n)?;
        self.stack.push(Item::Other);
        Ok(())
    }

    fn text(&mut self, n: usize) -> Result<(), String> {
        let text = String::from_utf8_lossy(self.behind_length(n)?).into_owned();
        self.push_text(&text);
        Ok(())
    }

    fn push_text(&mut self, text: &str) {
        let text: Rc<str> = text.into();
        let place = self.scan.texts.len();
        self.scan.texts.entry(text.clone()).or_insert(place);
        self.stack.push(Item::Text(text));
    }

    fn put(&mut self, n: usize) -> Result<(), String> {
        let key = self.number(n)?;
        let item = self.top()?;
        self.memo.insert(key, item);
        Ok(())
    }

    fn get(&mut self, n: usize) -> Result<(), String> {
        let key = self.number(n)?;
        self.recall(key)
    }

    fn recall(&mut self, key: u64) -> Result<(), String> {
        let item = self.memo.get(&key).cloned().ok_or_else(|| format!("it recalls {key}, which was never kept"))?;
        self.stack.push(item);
        Ok(())
    }

    fn top(&self) -> Result<Item, String> {
        match self.stack.last() {
            Some(Item::Mark) | None => Err("its stack is empty where a value is needed".into()),
            Some(item) => Ok(item.clone()),
        }
    }

    fn pop(&mut self) -> Result<Item, String> {
        let item = self.top()?;
        self.stack.pop();
        Ok(item)
    }

    fn pop_to_mark(&mut self) -> Result<(), String> {
        let mark = self.stack.iter().rposition(|item| matches!(item, Item::Mark)).ok_or("a mark is missing")?;
        self.stack.truncate(mark);
        Ok(())
    }

    /// Takes `n` values, leaves one.
    fn combine(&mut self, n: usize) -> Result<(), String> {
        for _ in 0..n {
            self.pop()?;
        }
        self.stack.push(Item::Other);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(pickle: &[u8]) -> Result<Scan, String> {
        let mut scan = Scan::default();
        assert_eq!(scan.follow(pickle)?, pickle.len());
        Ok(scan)
    }

    #[test]
    fn calls_are_seen_however_they_are_written() {
        let system = b"cposix\nsystem\n";
        let calls: [(&[u8], &str); 6] = [
            // Plain; the result dropped in front of an innocent value; the function kept, dropped and recalled.
            (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R.", "posix.system"),
            (b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00ls\x85R0}.", "posix.system"),
            (b"\x80\x02cposix\nsystem\nq\x070h\x07X\x02\x00\x00\x00ls\x85R0}.", "posix.system"),
            // Protocol 4: the name from two texts, one of them recalled.
            (b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940h\x00\x8c\x06system\x93\x8c\x02ls\x85R.", "posix.system"),
            (b"\x80\x02ctorch\nhub.load\n)R.", "torch.hub.load"),
            (b"\x80\x02ccollections\nOrderedDict\n)R)R.", "the result of another call"),
        ];
        for (pickle, name) in calls {
            assert_eq!(scan(pickle).unwrap().calls, [name], "{}", String::from_utf8_lossy(pickle));
        }
        let instruction = [&b"\x80\x02(X\x02\x00\x00\x00lsi"[..], &system[1..], b"."].concat();
        assert!(scan(&instruction).unwrap_err().contains("0x69"), "a call by protocol 0");
        assert!(scan(b"\x80\x04)\x8c\x01x\x93.").unwrap_err().contains("computes the name"));
    }

    #[test]
    fn texts_have_an_order_and_harmless_calls_pass() {
        let found = scan(b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00bK\x01U\x01aK\x02u.").unwrap();
        assert!(found.calls.is_empty());
        assert!(found.place("b") < found.place("a") && found.place("c").is_none());
    }

    #[test]
    fn damage_is_told() {
        for (pickle, what) in [
            (&b"\x80\x02X\x09\x00\x00\x00abc."[..], "cut off"),
            (b"\x80\x02}", "cut off"),
            (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "cut off"),
            (b"\x80\x02h\x01.", "never kept"),
            (b"\x80\x020.", "empty"),
            (b"\x80\x02t.", "mark"),
            (b"gx\n.", "expected a number"),
            (b"\xff.", "0xff"),
        ] {
            assert!(scan(pickle).unwrap_err().contains(what), "{pickle:?}");
        }
    }
}
