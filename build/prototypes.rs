//! Reads the prototypes of the kernels' entries. The grammar is closed, so that a light parser can be sure of it:
//!
//! ```text
//! extern "C" __global__ void [__launch_bounds__(N[, M])] <op>_<pass>_<dtype>[_sm90](arguments) { ... }
//! argument = const T* [__restrict__] x | T* [__restrict__] x | S x | const __grid_constant__ CUtensorMap x
//! T        = float, double, bf16, f16, unsigned char, int, unsigned, long long
//! S        = int, unsigned, long long, unsigned long long, float, double
//! ```
//!
//! Whatever else says `__global__` is an error: an entry that this parser does not see could not be launched.

use std::collections::BTreeMap;

/// Type of an element or a number, with its names in C++ and in Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Type {
    /// As the kernels write it.
    pub c: &'static str,
    /// As `src/device/launch.rs` has it.
    pub rust: &'static str,
    element: bool,
    number: bool,
}

const fn a_type(c: &'static str, rust: &'static str, element: bool, number: bool) -> Type {
    Type { c, rust, element, number }
}

const TYPES: [Type; 9] = [
    a_type("float", "f32", true, true),
    a_type("double", "f64", true, true),
    a_type("bf16", "Bf16", true, false),
    a_type("f16", "F16", true, false),
    a_type("unsigned char", "u8", true, false),
    a_type("int", "i32", true, true),
    a_type("unsigned", "u32", true, true),
    a_type("long long", "i64", true, true),
    a_type("unsigned long long", "u64", false, true),
];

/// What people write where one of the types is meant.
const MEANT: [(&str, &str); 12] = [
    ("unsigned int", "unsigned"),
    ("uint32_t", "unsigned"),
    ("int32_t", "int"),
    ("int64_t", "long long"),
    ("long", "long long"),
    ("size_t", "unsigned long long"),
    ("uint64_t", "unsigned long long"),
    ("uint8_t", "unsigned char"),
    ("__nv_bfloat16", "bf16"),
    ("__half", "f16"),
    ("half", "f16"),
    ("bool", "int"),
];

/// How an argument is passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pointer to what the kernel only reads.
    Input(Type),
    /// Pointer to what the kernel writes.
    Output(Type),
    /// A number.
    Number(Type),
    /// Description of an array for bulk copies, by value.
    TensorMap,
}

/// An argument of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// How it is passed.
    pub kind: Kind,
}

/// An entry: a function that the host launches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Line of its name.
    pub line: usize,
    /// The most threads of a block, from `__launch_bounds__`; 0 if it does not say.
    pub threads: u32,
    /// Its arguments.
    pub arguments: Vec<Argument>,
}

/// A file `kernels/<stem>.cu` with its entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Name of the file without `.cu`.
    pub stem: String,
    /// Its entries, in the order of the file.
    pub entries: Vec<Entry>,
}

impl Source {
    /// Reads the text of `kernels/<stem>.cu`.
    ///
    /// # Errors
    /// The first thing that is not in the grammar: file and line, what was expected, what was found.
    pub fn parse(stem: &str, text: &str) -> Result<Self, String> {
        let file = format!("{stem}.cu");
        let say = |(line, what): (usize, String)| format!("kernels/{file}:{line}: {what}");
        let entries = entries(stem, text).map_err(say)?;
        if entries.is_empty() {
            return Err(say((1, format!("expected an entry `{FORM}`, found none"))));
        }
        Ok(Self { stem: stem.into(), entries })
    }

    /// Whether it exists for compute capability 9.0 only.
    pub fn sm90(&self) -> bool {
        self.stem.ends_with(SM90)
    }
}

/// Holds a header against the rule that entries stand in `.cu` files, where they can be seen.
///
/// # Errors
/// As [`Source::parse`].
pub fn check_header(file: &str, text: &str) -> Result<(), String> {
    let wrong = match tokens(text) {
        Err(wrong) => Some(wrong),
        Ok(tokens) => tokens.iter().find(|t| t.is("__global__")).map(|t| {
            (t.line, "expected a header without entries, found `__global__`; move the entry to a .cu file".into())
        }),
    };
    wrong.map_or(Ok(()), |(line, what)| Err(format!("kernels/{file}:{line}: {what}")))
}

/// Holds the names of all files against each other.
///
/// # Errors
/// A name that two entries have, with both places.
pub fn check_names(sources: &[Source]) -> Result<(), String> {
    let mut seen: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for source in sources {
        for entry in &source.entries {
            if let Some((stem, line)) = seen.insert(&entry.name, (&source.stem, entry.line)) {
                return Err(format!(
                    "kernels/{}.cu:{}: `{}` is already the name of the entry at kernels/{stem}.cu:{line}",
                    source.stem, entry.line, entry.name
                ));
            }
        }
    }
    Ok(())
}

const FORM: &str = "extern \"C\" __global__ void name(arguments) { ... }";
const ARGUMENT: &str =
    "`const T* [__restrict__] x`, `T* [__restrict__] x`, `S x` or `const __grid_constant__ CUtensorMap x`";
const SM90: &str = "_sm90";

/// A line and what is wrong there.
type Wrong = (usize, String);

fn entries(stem: &str, text: &str) -> Result<Vec<Entry>, Wrong> {
    let tokens = tokens(text)?;
    let mut entries = vec![];
    for at in (0..tokens.len()).filter(|&i| tokens[i].is("__global__")) {
        let line = tokens[at].line;
        let linkage = at >= 2 && tokens[at - 2].is("extern") && tokens[at - 1].text == "\"C\"";
        if !linkage {
            let found: Vec<&str> = tokens[at.saturating_sub(2)..=at].iter().map(|t| t.text).collect();
            return Err((line, format!("expected `{FORM}`, found `{}`", found.join(" "))));
        }
        if let Some(open) = tokens[at].condition {
            let what = "an entry exists in every build: put the condition into its body";
            return Err((line, format!("expected an entry outside of #if, found one inside of line {open}'s; {what}")));
        }
        if let Some(open) = tokens[at].brace {
            return Err((
                line,
                format!("expected an entry at file scope, found one inside of the braces of line {open}"),
            ));
        }
        if let Some(before) = at.checked_sub(3).map(|i| &tokens[i]).filter(|t| !t.is(";") && !t.is("}")) {
            return Err((line, format!("expected `{FORM}`, found `{}` before `extern`", before.text)));
        }
        let entry = Cursor { tokens: &tokens, at: at + 1, last: line }.entry()?;
        check_name(stem, &entry).map_err(|what| (entry.line, what))?;
        if let Some(old) = entries.iter().find(|e: &&Entry| e.name == entry.name) {
            return Err((
                entry.line,
                format!("`{}` is already the name of the entry at line {}", entry.name, old.line),
            ));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn check_name(stem: &str, entry: &Entry) -> Result<(), String> {
    let op = stem.strip_suffix(SM90).unwrap_or(stem);
    let end = if stem.ends_with(SM90) { SM90 } else { "" };
    let name = &entry.name;
    let small = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let pass = name.strip_prefix(op).and_then(|n| n.strip_prefix('_')).and_then(|n| n.strip_suffix(end));
    let form = pass.is_some_and(|p| p.contains('_') && p.split('_').all(|word| !word.is_empty()));
    if !small || !form || name.ends_with(SM90) != stem.ends_with(SM90) {
        return Err(format!("expected a name `{op}_<pass>_<dtype>{end}` in small letters, found `{name}`"));
    }
    Ok(())
}

/// Names that the generated Rust function could not have as those of arguments.
const RESERVED: [&str; 42] = [
    "Self", "abstract", "args", "as", "async", "await", "become", "box", "cfg", "crate", "dyn", "enum", "extern",
    "final", "fn", "gen", "gpu", "impl", "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override",
    "priv", "pub", "ref", "self", "static", "super", "trait", "try", "type", "unsafe", "unsized", "use", "virtual",
    "where", "yield",
];

struct Cursor<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    last: usize,
}

impl<'t> Cursor<'t> {
    fn next(&mut self) -> Option<&'t Token<'t>> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        self.last = token.line;
        Some(token)
    }

    fn expect(&mut self, what: &str, fits: impl Fn(&Token) -> bool) -> Result<&'t Token<'t>, Wrong> {
        match self.next() {
            Some(token) if fits(token) => Ok(token),
            found => {
                let found = found.map_or("the end of the file", |t| t.text);
                Err((self.last, format!("expected {what}, found `{found}`")))
            }
        }
    }

    fn sign(&mut self, sign: &str) -> Result<(), Wrong> {
        self.expect(&format!("`{sign}`"), |t| t.is(sign)).map(|_| ())
    }

    /// What follows `__global__`.
    fn entry(mut self) -> Result<Entry, Wrong> {
        self.sign("void")?;
        let mut name = self.expect("the name of the entry", |t| t.word)?;
        let mut threads = 0;
        if name.is("__launch_bounds__") {
            threads = self.bounds()?;
            name = self.expect("the name of the entry", |t| t.word)?;
        }
        self.sign("(")?;
        let mut arguments: Vec<Argument> = vec![];
        if self.tokens.get(self.at).is_some_and(|t| t.is(")")) {
            self.at += 1;
        } else {
            loop {
                let (argument, more) = self.argument(name.text, arguments.len() + 1)?;
                if arguments.iter().any(|a| a.name == argument.name) {
                    let what = format!("argument {} of {}", arguments.len() + 1, name.text);
                    return Err((self.last, format!("{what}: `{}` is the name of another one", argument.name)));
                }
                arguments.push(argument);
                if !more {
                    break;
                }
            }
        }
        self.expect("`{` and the body of the entry", |t| t.is("{"))?;
        Ok(Entry { name: name.text.into(), line: name.line, threads, arguments })
    }

    /// The threads of `(threads)` or `(threads, blocks)`.
    fn bounds(&mut self) -> Result<u32, Wrong> {
        const WHAT: &str = "a number of threads from 1 to 1024 in digits";
        self.sign("(")?;
        let threads = self.expect(WHAT, |t| t.text.parse().is_ok_and(|n: u32| (1..=1024).contains(&n)))?;
        if self.tokens.get(self.at).is_some_and(|t| t.is(",")) {
            self.at += 1;
            self.expect("a number of blocks in digits", |t| t.text.parse::<u32>().is_ok())?;
        }
        self.sign(")")?;
        Ok(threads.text.parse().unwrap_or(0))
    }

    /// An argument and whether another one follows.
    fn argument(&mut self, entry: &str, number: usize) -> Result<(Argument, bool), Wrong> {
        let mut words = vec![];
        let more = loop {
            match self.expect("`,` or `)`", |t| !["(", "{", "}", ";"].iter().any(|s| t.is(s)))? {
                t if t.is(",") => break true,
                t if t.is(")") => break false,
                t => words.push(t.text),
            }
        };
        let wrong = |what: String| (self.last, format!("argument {number} of {entry}: {what}"));
        let text = words.join(" ");
        let refuse = || wrong(format!("expected {ARGUMENT}, found `{text}`{}", hint(&words)));
        let (&name, kind) = words.split_last().ok_or_else(refuse)?;
        let kind = kind_of(kind).ok_or_else(refuse)?;
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') || TYPES.iter().any(|t| t.c == name) {
            return Err(refuse());
        }
        if RESERVED.contains(&name) {
            return Err(wrong(format!("`{name}` cannot be the name of an argument of the Rust function; rename it")));
        }
        Ok((Argument { name: name.into(), kind }, more))
    }
}

fn kind_of(words: &[&str]) -> Option<Kind> {
    let find = |words: &[&str], fits: fn(&Type) -> bool| {
        let name = words.join(" ");
        TYPES.into_iter().find(|t| t.c == name && fits(t))
    };
    match words {
        ["const", "__grid_constant__", "CUtensorMap"] => Some(Kind::TensorMap),
        ["const", of @ .., "*"] | ["const", of @ .., "*", "__restrict__"] => find(of, |t| t.element).map(Kind::Input),
        [of @ .., "*"] | [of @ .., "*", "__restrict__"] => find(of, |t| t.element).map(Kind::Output),
        of => find(of, |t| t.number).map(Kind::Number),
    }
}

/// What to write instead of an argument that is not in the grammar, where that is plain.
fn hint(words: &[&str]) -> String {
    let pointer = words.contains(&"*");
    let types: Vec<&str> = words[..words.len().saturating_sub(1)]
        .iter()
        .copied()
        .filter(|w| !["const", "*", "__restrict__"].contains(w))
        .collect();
    let name = types.join(" ");
    let known = TYPES.iter().find(|t| t.c == name);
    if words.contains(&"=") {
        "; there are no default arguments".into()
    } else if words.iter().filter(|w| **w == "*").count() > 1 {
        "; there are no pointers to pointers".into()
    } else if let Some((_, meant)) = MEANT.iter().find(|(wrong, _)| *wrong == name) {
        format!("; write `{meant}` for `{name}`")
    } else if words.get(1) == Some(&"const") {
        "; const comes first".into()
    } else if known.is_some_and(|t| t.number) && !pointer && words.contains(&"const") {
        "; numbers have no const".into()
    } else if known.is_some() && words.len() > 1 {
        format!("; there is no such argument of type {name}: T is {}, S is {}", list(|t| t.element), list(|t| t.number))
    } else {
        format!("; T is {}, S is {}", list(|t| t.element), list(|t| t.number))
    }
}

fn list(which: fn(&Type) -> bool) -> String {
    TYPES.iter().filter(|t| which(t)).map(|t| t.c).collect::<Vec<_>>().join(", ")
}

/// A piece of C++ text outside of comments and of the preprocessor's lines: a word, a number, a text, or one sign.
struct Token<'t> {
    text: &'t str,
    line: usize,
    word: bool,
    /// Line of the innermost `#if` around it whose value only the compiler knows.
    condition: Option<usize>,
    /// Line of the innermost brace around it.
    brace: Option<usize>,
}

impl Token<'_> {
    fn is(&self, text: &str) -> bool {
        self.text == text
    }
}

/// A branch of `#if`.
struct Branch {
    line: usize,
    /// Whether the compiler reads it, where that is plain.
    taken: Option<bool>,
    /// Whether one of the branches before is the one that it reads.
    done: bool,
    /// The braces that were open at `#if`: every branch starts with these.
    braces: Vec<usize>,
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, Wrong> {
    let bytes = text.as_bytes();
    let (mut out, mut branches, mut braces) = (vec![], Vec::<Branch>::new(), Vec::<usize>::new());
    let (mut i, mut line, mut at_start) = (0, 1, true);
    while i < bytes.len() {
        let rest = &text[i..];
        let first = bytes[i];
        let length = match first {
            b'#' if at_start => {
                let length = end_of_directive(rest);
                directive(&rest[..length], line, &mut branches, &mut braces)?;
                length
            }
            b'/' if rest.starts_with("//") => end_of_line(rest),
            b'/' if rest.starts_with("/*") => match rest[2..].find("*/") {
                Some(end) => end + 4,
                None => return Err((line, "expected `*/`, found the end of the file".into())),
            },
            b'\\' if rest.starts_with("\\\n") || rest.starts_with("\\\r\n") => rest.find('\n').unwrap_or(0) + 1,
            _ if first.is_ascii_whitespace() => 1,
            _ => piece(rest),
        };
        let piece = &text[i..i + length];
        let comment = piece.starts_with("//") || piece.starts_with("/*");
        let nothing = comment || first.is_ascii_whitespace() || first == b'\\' || (first == b'#' && at_start);
        if !nothing && branches.iter().all(|b| b.taken != Some(false)) {
            if piece == "}" {
                braces.pop();
            }
            let condition = branches.iter().rev().find(|b| b.taken.is_none()).map(|b| b.line);
            let word = first.is_ascii_alphabetic() || first == b'_';
            out.push(Token {
                text: piece,
                line,
                word: word && !piece.ends_with('"'),
                condition,
                brace: braces.last().copied(),
            });
            if piece == "{" {
                braces.push(line);
            }
        }
        at_start = first == b'\n' || (at_start && nothing && !piece.starts_with("//"));
        line += piece.matches('\n').count();
        i += length;
    }
    match branches.last() {
        Some(branch) => Err((branch.line, "expected #endif, found the end of the file".into())),
        None => Ok(out),
    }
}

/// Bytes up to the end of the line; one that ends in `\` goes on.
fn end_of_line(text: &str) -> usize {
    let mut from = 0;
    while let Some(n) = text[from..].find('\n') {
        let line = text[from..from + n].trim_end_matches('\r');
        if !line.ends_with('\\') {
            return from + n;
        }
        from += n + 1;
    }
    text.len()
}

/// Bytes of a line of the preprocessor; a comment that starts in it may end in a later one.
fn end_of_directive(text: &str) -> usize {
    let end = end_of_line(text);
    match text[..end].find("/*") {
        Some(open) if !text[..open].contains("//") => match text[open + 2..].find("*/") {
            Some(close) if open + close + 4 > end => open + close + 4 + end_of_line(&text[open + close + 4..]),
            _ => end,
        },
        _ => end,
    }
}

/// Bytes of the word, number, text or sign at the start; a text ends with its line.
fn piece(text: &str) -> usize {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = text.find(|c| !in_word(c)).unwrap_or(text.len());
    let first = text.chars().next().unwrap_or(' ');
    let quoted = |from: usize, mark: char| {
        let mut escaped = false;
        let end = text[from..].char_indices().find(|&(_, c)| {
            let found = (c == mark && !escaped) || c == '\n';
            escaped = c == '\\' && !escaped;
            found
        });
        end.map_or(text.len(), |(n, c)| from + n + usize::from(c == mark))
    };
    if first.is_ascii_digit() {
        // 1'000, 0x1p-3, 1e+5f
        let mut before = ' ';
        let end = text.find(|c| {
            let exponent = ['e', 'E', 'p', 'P'].contains(&before) && (c == '+' || c == '-');
            before = c;
            !(in_word(c) || c == '.' || c == '\'' || exponent)
        });
        return end.unwrap_or(text.len());
    }
    if word > 0 {
        let prefix = &text[..word];
        if prefix.ends_with('R') && ["R", "u8R", "uR", "UR", "LR"].contains(&prefix) && text[word..].starts_with('"') {
            let open = text[word..].find('(').map_or(text.len(), |n| word + n);
            let close = format!("){}\"", &text[(word + 1).min(open)..open]);
            return text[open..].find(&close).map_or(text.len(), |n| open + n + close.len());
        }
        let prefixed = ["u8", "u", "U", "L"].contains(&prefix) && text[word..].starts_with('"');
        return if prefixed { quoted(word + 1, '"') } else { word };
    }
    match first {
        '"' | '\'' => quoted(1, first),
        _ => first.len_utf8(),
    }
}

fn directive(text: &str, line: usize, branches: &mut Vec<Branch>, braces: &mut Vec<usize>) -> Result<(), Wrong> {
    let words = text[1..].trim_start();
    let name = &words[..words.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(words.len())];
    let value = words[name.len()..].split("//").next().unwrap_or("").trim();
    let unmatched = || (line, format!("expected #if before #{name}, found none"));
    let skipped = branches.iter().any(|b| b.taken == Some(false));
    match name {
        "if" | "ifdef" | "ifndef" => {
            let taken = if name == "if" && (value == "0" || value == "1") { Some(value == "1") } else { None };
            branches.push(Branch { line, taken, done: false, braces: braces.clone() });
        }
        "elif" | "else" => {
            let branch = branches.last_mut().ok_or_else(unmatched)?;
            branch.done |= branch.taken == Some(true);
            branch.taken = match (branch.taken, name) {
                _ if branch.done => Some(false),
                (Some(false), "else") => Some(true),
                _ => None,
            };
            braces.clone_from(&branch.braces);
        }
        "endif" => {
            branches.pop().ok_or_else(unmatched)?;
        }
        "define" if !skipped && value.contains("__global__") => {
            return Err((line, format!("expected `{FORM}` as it stands, found `__global__` in a macro")));
        }
        "include" if !skipped && value.trim_end_matches(['"', '>']).ends_with(".cu") => {
            return Err((
                line,
                format!("expected an #include of a header, found {value}: its entries would be in two files"),
            ));
        }
        _ => {}
    }
    Ok(())
}
