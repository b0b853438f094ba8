//! The layers of the house: ARCHITECTURE.md says which module may name which, and which words may stand only where. Both
//! tables are read from there and held against every path in `src`, `use` lines or not, test code left out.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A piece of Rust text: a name, or one character of anything else. Comments, texts, numbers and lifetimes are gone.
#[derive(Clone, Debug, PartialEq)]
enum Token {
    Name(String),
    Sign(char),
}

use Token::{Name, Sign};

/// Cuts Rust text into tokens with their lines.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let c: Vec<char> = text.chars().collect();
    let at = |i: usize| c.get(i).copied().unwrap_or('\0');
    let is_name = |x: char| x.is_alphanumeric() || x == '_';
    let (mut out, mut i, mut line) = (vec![], 0, 1);
    while i < c.len() {
        let start = i;
        match c[i] {
            '/' if at(i + 1) == '/' => i += c[i..].iter().take_while(|&&x| x != '\n').count(),
            '/' if at(i + 1) == '*' => {
                let mut depth = 0;
                loop {
                    match (at(i), at(i + 1)) {
                        ('/', '*') => (depth, i) = (depth + 1, i + 2),
                        ('*', '/') => (depth, i) = (depth - 1, i + 2),
                        _ => i += 1,
                    }
                    if depth == 0 || i >= c.len() {
                        break;
                    }
                }
            }
            '"' => i = end_of_text(&c, i),
            '\'' if at(i + 1) == '\\' => i += 3 + c[i + 3..].iter().take_while(|&&x| x != '\'').count() + 1,
            '\'' if at(i + 2) == '\'' => i += 3,
            '\'' => i += 1 + c[i + 1..].iter().take_while(|&&x| is_name(x)).count(),
            x if x.is_ascii_digit() => {
                while is_name(at(i)) || (at(i) == '.' && at(i + 1).is_ascii_digit()) {
                    i += 1;
                }
            }
            x if is_name(x) => {
                let name: String = c[i..].iter().take_while(|&&x| is_name(x)).collect();
                i += name.chars().count();
                let hashes = c[i..].iter().take_while(|&&x| x == '#').count();
                if ["r", "br", "cr"].contains(&name.as_str()) && at(i + hashes) == '"' {
                    let close: String = std::iter::once('"').chain("#".repeat(hashes).chars()).collect();
                    i += hashes + 1;
                    while i < c.len() && !(c[i] == '"' && c[i..].iter().take(hashes + 1).collect::<String>() == close) {
                        i += 1;
                    }
                    i += hashes + 1;
                } else if ["b", "c"].contains(&name.as_str()) && at(i) == '"' {
                    i = end_of_text(&c, i);
                } else if !(name == "b" && at(i) == '\'') {
                    out.push((Name(name), line));
                }
            }
            x => {
                if !x.is_whitespace() {
                    out.push((Sign(x), line));
                }
                i += 1;
            }
        }
        let i = i.min(c.len());
        line += c[start..i].iter().filter(|&&x| x == '\n').count();
    }
    out
}

/// The index behind the text in quotes that starts at `i`.
fn end_of_text(c: &[char], mut i: usize) -> usize {
    i += 1;
    while i < c.len() && c[i] != '"' {
        i += 1 + usize::from(c[i] == '\\');
    }
    i + 1
}

fn is(tokens: &[(Token, usize)], i: usize, sign: char) -> bool {
    tokens.get(i).is_some_and(|(t, _)| *t == Sign(sign))
}

fn name(tokens: &[(Token, usize)], i: usize) -> Option<&str> {
    match tokens.get(i) {
        Some((Name(n), _)) => Some(n),
        _ => None,
    }
}

/// The index behind the bracket that closes the one at `i`.
fn end_of_group(tokens: &[(Token, usize)], mut i: usize) -> usize {
    let mut depth = 0;
    while i < tokens.len() {
        match tokens[i].0 {
            Sign('(' | '[' | '{') => depth += 1,
            Sign(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        i += 1;
        if depth == 0 {
            break;
        }
    }
    i
}

/// Takes out what is compiled for tests only. Returns the rest and the names of modules in files of their own (`mod x;`)
/// that are for tests.
///
/// # Panics
/// If `#[cfg(test)]` stands on something whose end it cannot find.
fn without_tests(tokens: &[(Token, usize)]) -> (Vec<(Token, usize)>, Vec<String>) {
    const ITEMS: [&str; 16] = [
        "pub",
        "mod",
        "use",
        "fn",
        "struct",
        "enum",
        "impl",
        "trait",
        "type",
        "const",
        "static",
        "unsafe",
        "extern",
        "macro_rules",
        "let",
        "if",
    ];
    let (mut rest, mut modules, mut i) = (vec![], vec![], 0);
    while i < tokens.len() {
        let attribute = is(tokens, i, '#') && is(tokens, i + 1, '[') && name(tokens, i + 2) == Some("cfg");
        let words = |from: usize| name(tokens, from) == Some("test");
        let test = attribute && (words(i + 4) || name(tokens, i + 4) == Some("all") && words(i + 6));
        if !test {
            rest.push(tokens[i].clone());
            i += 1;
            continue;
        }
        while is(tokens, i, '#') {
            i = end_of_group(tokens, i + 1);
        }
        let first = name(tokens, i).unwrap_or("");
        let item = ITEMS.contains(&first) || is(tokens, i + 1, '!');
        assert!(item, "line {}: #[cfg(test)] on something that is no item: '{first}'", tokens[i].1);
        while i < tokens.len() && !is(tokens, i, ';') && !is(tokens, i, '{') {
            if name(tokens, i) == Some("mod") && is(tokens, i + 2, ';') {
                modules.push(name(tokens, i + 1).unwrap_or("").to_string());
            }
            let group = is(tokens, i, '(') || is(tokens, i, '[');
            i = if group { end_of_group(tokens, i) } else { i + 1 };
        }
        i = if is(tokens, i, '{') { end_of_group(tokens, i) } else { i + 1 };
    }
    (rest, modules)
}

/// A path such as `crate::io::npz::Npz`, with how many inline modules it stands in. A call of a macro ends in `!`.
#[derive(Debug, PartialEq)]
struct Used {
    path: Vec<String>,
    line: usize,
    depth: usize,
}

/// All paths, those in braces of `use` written out.
fn paths(tokens: &[(Token, usize)]) -> Vec<Used> {
    let (mut out, mut i) = (vec![], 0);
    let (mut braces, mut inline) = (0usize, vec![]);
    while i < tokens.len() {
        if name(tokens, i) == Some("mod") && is(tokens, i + 2, '{') {
            inline.push(braces);
        }
        if is(tokens, i, '{') {
            braces += 1;
        } else if is(tokens, i, '}') {
            braces = braces.saturating_sub(1);
            if inline.last() == Some(&braces) {
                inline.pop();
            }
        }
        // A path goes on after `::`; a method after a dot is none.
        let after = |sign| i > 0 && is(tokens, i - 1, sign);
        let after_two = |sign| after(sign) && i > 1 && is(tokens, i - 2, sign);
        let goes_on = after_two(':') || after('.') && !after_two('.');
        if name(tokens, i).is_some() && !goes_on {
            path(tokens, i, &[], inline.len(), &mut out);
        }
        i += 1;
    }
    out
}

/// Collects the path that goes on at `i`, with all its branches; returns the index behind it.
fn path(tokens: &[(Token, usize)], mut i: usize, before: &[String], depth: usize, out: &mut Vec<Used>) -> usize {
    let mut path = before.to_vec();
    let line = tokens[i].1;
    loop {
        if is(tokens, i, '{') {
            let end = end_of_group(tokens, i);
            i += 1;
            while i + 1 < end {
                let next = self::path(tokens, i, &path, depth, out).max(i + 1);
                // Over `as name` and the comma.
                i = (next..end).find(|&j| is(tokens, j, ',')).map_or(end, |j| j + 1);
            }
            return end;
        }
        match tokens.get(i) {
            Some((Name(n), _)) => path.push(n.clone()),
            Some((Sign('*'), _)) => path.push("*".into()),
            _ => break,
        }
        i += 1;
        let more = is(tokens, i, ':') && is(tokens, i + 1, ':');
        if !more || is(tokens, i + 2, '<') {
            break;
        }
        i += 2;
    }
    if is(tokens, i, '!')
        && !is(tokens, i + 1, '=')
        && let Some(last) = path.last_mut()
    {
        last.push('!');
    }
    // The root under another name would hide what follows it.
    if path.iter().all(|p| p == "crate" || p == "super") && name(tokens, i) == Some("as") {
        path.push("*".into());
    }
    out.push(Used { path, line, depth });
    i
}

/// The two tables of ARCHITECTURE.md.
#[derive(Default)]
struct Rules {
    /// Module to what it may name: modules, or single things in them such as `io::pth`.
    imports: BTreeMap<String, BTreeSet<String>>,
    /// A path to the modules and files that may hold it.
    only: Vec<(Vec<String>, Vec<String>)>,
}

impl Rules {
    fn read(text: &str) -> Self {
        let mut rules = Self::default();
        let rows = |heading: &str| -> Vec<(Vec<String>, Vec<String>)> {
            let table = text.lines().skip_while(|l| *l != heading).skip(2).take_while(|l| l.starts_with('|'));
            let quoted = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_string).collect();
            table
                .map(|l| {
                    let cells: Vec<&str> = l.trim_matches('|').split('|').collect();
                    assert_eq!(cells.len(), 2, "two columns: {l}");
                    (quoted(cells[0]), quoted(cells[1]))
                })
                .collect()
        };
        for (modules, may) in rows("| module | may import |") {
            for module in modules {
                let old = rules.imports.insert(module.clone(), may.iter().cloned().collect());
                assert!(old.is_none(), "{module} has two rows");
            }
        }
        for (words, places) in rows("| what | only in |") {
            assert!(!words.is_empty() && !places.is_empty(), "a row without words or places");
            for word in words {
                rules.only.push((word.split("::").map(str::to_string).collect(), places.clone()));
            }
        }
        assert!(!rules.imports.is_empty() && !rules.only.is_empty(), "both tables are there");
        rules
    }

    /// Modules in an order in which each names only earlier ones; single things do not count.
    fn order(&self) -> Result<Vec<&str>, String> {
        let mut done: Vec<&str> = vec![];
        while done.len() < self.imports.len() {
            let ready = |may: &BTreeSet<String>| may.iter().all(|m| m.contains("::") || done.contains(&m.as_str()));
            let next = self.imports.iter().find(|(m, may)| !done.contains(&m.as_str()) && ready(may));
            match next {
                Some((module, _)) => done.push(module),
                None => return Err(format!("after {done:?} the modules of ARCHITECTURE.md import in a circle")),
            }
        }
        Ok(done)
    }

    /// What a file does against the tables. `file` is its path under `src`, `root` says which module a name of the crate's
    /// root comes from.
    fn check(&self, file: &str, tokens: &[(Token, usize)], root: &BTreeMap<String, String>) -> Vec<String> {
        let place = file.trim_end_matches(".rs").trim_end_matches("/mod");
        let module = place.split('/').next().unwrap_or("");
        let depth = if ["lib", "main"].contains(&place) { 0 } else { place.split('/').count() };
        let mut wrong = vec![];
        for used in paths(tokens) {
            let say = |what: String| format!("src/{file}:{}: {what}", used.line);
            for (words, places) in &self.only {
                let here =
                    || places.iter().any(|p| p == module || p.strip_prefix("src/").is_some_and(|p| fits(p, file)));
                if used.path.windows(words.len()).any(|w| w == words) && !here() {
                    wrong.push(say(format!("`{}` only in {}", words.join("::"), places.join(", "))));
                }
            }
            let Some(rest) = from_root(&used, depth) else { continue };
            let Some(first) = rest.first().map(|n| n.trim_end_matches('!')).filter(|n| *n != "*") else {
                wrong.push(say(format!("`{}`: name the module", used.path.join("::"))));
                continue;
            };
            let first = root.get(first).map_or(first, String::as_str);
            if first == module || depth == 0 {
                continue;
            }
            let item = format!("{first}::{}", rest.get(1).map_or("", String::as_str));
            match self.imports.get(module) {
                None => wrong.push(say(format!("module {module} is not in ARCHITECTURE.md"))),
                Some(may) if may.contains(first) || may.contains(&item) => {}
                Some(_) => wrong.push(say(format!("{module} may not import {first}: `{}`", used.path.join("::")))),
            }
        }
        wrong
    }
}

/// What follows the crate's root in a path that starts there: by `crate::`, or by so many `super::`. Nothing follows it in
/// `pub(crate)`.
fn from_root(used: &Used, depth: usize) -> Option<&[String]> {
    let rest = match used.path.first().map(String::as_str) {
        Some("crate") => Some(&used.path[1..]),
        Some("super") => {
            let up = used.path.iter().take_while(|p| *p == "super").count();
            (up >= depth + used.depth && depth > 0).then(|| &used.path[up..])
        }
        _ => None,
    };
    rest.filter(|rest| !rest.is_empty())
}

/// Names at the crate's root and the modules that they come from: `pub use` lines of lib.rs, exported macros.
fn root_names(files: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for used in paths(&tokens(&files["lib.rs"])) {
        if let [module, .., name] = &used.path[..] {
            names.insert(name.clone(), module.clone());
        }
    }
    for (file, text) in files {
        let t = tokens(text);
        for i in (0..t.len()).filter(|&i| name(&t, i) == Some("macro_export")) {
            let at = (i..i + 8).find(|&j| name(&t, j) == Some("macro_rules")).expect("a macro follows the attribute");
            let module = file.split(['/', '.']).next().unwrap_or("");
            names.insert(name(&t, at + 2).expect("the macro has a name").into(), module.into());
        }
    }
    names
}

/// All violations in a tree of files (path under `src`, text), in the order of the files.
fn violations(rules: &Rules, files: &BTreeMap<String, String>) -> Vec<String> {
    let root = root_names(files);
    let cut: BTreeMap<&String, _> = files.iter().map(|(f, text)| (f, without_tests(&tokens(text)))).collect();
    let mut tests = vec![];
    for (file, (_, modules)) in &cut {
        let folder = ["/mod.rs", "lib.rs", "main.rs", ".rs"].iter().find_map(|end| file.strip_suffix(end));
        let folder = folder.map(|f| if f.is_empty() { String::new() } else { format!("{f}/") }).unwrap_or_default();
        tests.extend(modules.iter().map(|m| format!("{folder}{m}")));
    }
    let is_test = |file: &str| tests.iter().any(|t| file.strip_prefix(t).is_some_and(|r| r.starts_with(['.', '/'])));
    cut.iter().filter(|(f, _)| !is_test(f)).flat_map(|(f, (tokens, _))| rules.check(f, tokens, &root)).collect()
}

fn sources(folder: &Path, under: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let name = format!("{under}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            sources(&path, &format!("{name}/"), files);
        } else if name.ends_with(".rs") {
            files.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

fn house() -> (Rules, BTreeMap<String, String>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let rules = Rules::read(&std::fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap());
    let mut files = BTreeMap::new();
    sources(&root.join("src"), "", &mut files);
    (rules, files)
}

#[test]
fn imports_go_down() {
    let (rules, files) = house();
    rules.order().unwrap();
    let wrong = violations(&rules, &files);
    assert!(wrong.is_empty(), "against the tables of ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

/// Whether a file is meant by a path in which `*` stands for one folder or name.
fn fits(pattern: &str, file: &str) -> bool {
    let (wanted, found): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), file.split('/').collect());
    wanted.len() == found.len() && wanted.iter().zip(&found).all(|(w, f)| *w == "*" || w == f)
}

#[test]
fn the_table_has_every_module() {
    let (rules, files) = house();
    let modules: BTreeSet<&str> =
        files.keys().filter_map(|f| f.split(['/', '.']).next()).filter(|m| !["lib", "main"].contains(m)).collect();
    let rows: BTreeSet<&str> = rules.imports.keys().map(String::as_str).collect();
    assert_eq!(rows, modules, "rows of the table and modules of src");
    let mut named: Vec<&String> = rules.imports.values().flatten().collect();
    named.extend(rules.only.iter().flat_map(|(_, places)| places));
    for name in named {
        let first = name.split("::").next().unwrap_or("");
        let known =
            name.strip_prefix("src/").is_some_and(|p| files.keys().any(|f| fits(p, f))) || modules.contains(first);
        assert!(known, "ARCHITECTURE.md names {name}, which is not there");
    }
}

/// What design.md fixes, so that an edit of the table cannot give it away.
#[test]
fn the_table_keeps_the_design() {
    let (rules, _) = house();
    for module in ["seq", "stat", "io", "motif", "simulate", "plot"] {
        for tensor in ["device", "tensor", "tape", "ops", "nn", "model", "engine"] {
            assert!(!rules.imports[module].contains(tensor), "{module} never sees {tensor}");
        }
    }
    assert!(rules.imports.values().all(|may| !may.contains("cli")), "nobody imports cli");
    for word in ["clap", "indicatif", "println!", "eprintln!", "process::exit", "env::args"] {
        let words: Vec<&str> = word.split("::").collect();
        let row = rules.only.iter().find(|(w, _)| *w == words).unwrap_or_else(|| panic!("no row for {word}"));
        assert_eq!(row.1, ["cli"], "{word}");
    }
}

/// What the checker says about one file of a small house.
fn say(file: &str, text: &str) -> Vec<String> {
    let table = "\
| module | may import |
|---|---|
| `error` | `tensor::DType` |
| `tensor` | `error` |
| `seq`, `io` | `error` |
| `model` | `tensor`, `io::pth`, `error` |
| `cli` | `model`, `io`, `seq`, `tensor`, `error` |

| what | only in |
|---|---|
| `clap`, `println!`, `process::exit`, `env::args` | `cli` |
| `unsafe` | `src/tensor/mod.rs` |
";
    let lib = "pub mod io; pub use error::{Error, Result};";
    let tensor = "#[macro_export]\nmacro_rules! real { () => { $crate::tensor::one() } }";
    let mut files: BTreeMap<String, String> =
        [("lib.rs", lib), ("tensor/mod.rs", tensor)].map(|(f, t)| (f.to_string(), t.to_string())).into();
    *files.entry(file.into()).or_default() += text;
    violations(&Rules::read(table), &files)
}

#[test]
fn planted_violations_are_found() {
    let planted = [
        ("seq/mod.rs", "use crate::tensor::Tensor;"),
        ("seq/mod.rs", "use crate::{error::Result, tensor::{self as t}};"),
        ("seq/mod.rs", "use\n    crate\n    ::tensor;"),
        ("seq/mod.rs", "fn f() -> usize { crate::tensor::alloc::size() }"),
        ("seq/mod.rs", "fn f() { crate::real!() }"),
        ("seq/mod.rs", "fn f() { g(0..crate::tensor::SIZE) }"),
        ("seq/mod.rs", "use crate::real;"),
        ("seq/mod.rs", "use super::tensor::Tensor;"),
        ("seq/one_hot.rs", "use super::super::tensor as t;"),
        ("seq/mod.rs", "mod inner { use super::super::tensor::Tensor; }"),
        ("seq/mod.rs", "use crate::*;"),
        ("seq/mod.rs", "use super::*;"),
        ("seq/mod.rs", "use crate as root;"),
        ("seq/mod.rs", "use crate::{self as root};"),
        ("seq/mod.rs", "use super as root;"),
        ("seq/mod.rs", "macro_rules! m { () => { $crate::tensor::one() } }"),
        ("seq/mod.rs", "/* /* nested */ */ use crate::io::npz;"),
        ("seq/mod.rs", "const C: char = '\"'; use crate::io::npz; const D: char = '\"';"),
        ("seq/mod.rs", "#[cfg(test)] use crate::error::X; use crate::io::npz;"),
        ("seq/mod.rs", "#[cfg(test)] mod tests { fn f() { \"}\"; } } use crate::io::npz;"),
        ("seq/mod.rs", "#[cfg(not(test))] mod tests { use crate::io::npz; }"),
        ("model/mod.rs", "use crate::io::npz::Npz;"),
        ("model/mod.rs", "use crate::io;"),
        ("error.rs", "use crate::tensor::Tensor;"),
        ("tensor/mod.rs", "fn f() { crate::cli::run() }"),
        ("rna/mod.rs", "use crate::error::Error;"),
        ("io/mod.rs", "fn f() { println!(\"{}\", 1) }"),
        ("io/mod.rs", "fn f() { std::println!(\"{}\", 1) }"),
        ("io/mod.rs", "#[derive(clap::Args)] struct A;"),
        ("io/mod.rs", "use std::env::{args, var};"),
        ("io/mod.rs", "fn f() -> ! { std::process::exit(1) }"),
        ("io/mod.rs", "fn f() { unsafe { g() } }"),
        ("main.rs", "fn main() { println!() }"),
    ];
    for (file, text) in planted {
        let found = say(file, text);
        assert_eq!(found.len(), 1, "{file}: {text}: {found:?}");
    }
}

#[test]
fn the_message_says_where() {
    let found = say("seq/mod.rs", "//! x\n\nuse crate::tensor::Tensor;");
    assert_eq!(found, ["src/seq/mod.rs:3: seq may not import tensor: `crate::tensor::Tensor`"]);
}

#[test]
fn what_is_allowed_is_not_reported() {
    let allowed = [
        (
            "seq/mod.rs",
            "use crate::error::{Error, Result}; use crate::seq::one_hot; use crate::{Error, Result as Res};",
        ),
        (
            "seq/mod.rs",
            "//! [`crate::tensor`]\n// crate::tensor\n/* crate::tensor */ const S: &str = \"crate::tensor\";",
        ),
        ("seq/mod.rs", "const S: &str = r#\"a \" crate::tensor::X\"#; const B: &[u8] = b\"\\\" crate::tensor\";"),
        ("seq/mod.rs", "#[cfg(test)]\n#[allow(dead_code)]\nmod tests { use crate::tensor::Tensor; }"),
        ("seq/mod.rs", "#[cfg(all(test, unix))] fn f(x: [u8; 3]) -> Vec<u8> { crate::tensor::f() }"),
        ("seq/one_hot.rs", "use super::{Sequences, other};"),
        ("seq/mod.rs", "mod inner { use super::tensor; }"),
        ("model/mod.rs", "use crate::io::pth::read; use crate::{real, tensor::Tensor}; fn f() { x.clap(); real!() }"),
        ("error.rs", "use crate::tensor::DType;"),
        ("tensor/mod.rs", "fn f<'a>(x: &'a u8) -> bool { let q = 'u'; unsafe { x != 1 } }"),
        ("cli/mod.rs", "use clap::Args; fn f() { println!(); std::process::exit(std::env::args().len() as i32) }"),
        ("seq/mod.rs", "pub(crate) fn f() {} pub(super) struct S; pub(in crate::seq) fn g() {}"),
        ("lib.rs", "pub mod tensor;"),
    ];
    for (file, text) in allowed {
        assert_eq!(say(file, text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn files_of_tests_are_left_out() {
    let table = "| module | may import |\n|---|---|\n| `seq` | |\n| `io` | |\n\n| what | only in |\n|---|---|\n| `x` | `io` |\n";
    let files = |tests: &str| {
        let f = [("lib.rs", ""), ("seq/mod.rs", tests), ("seq/tests.rs", "use crate::io::a;"), ("io/mod.rs", "")];
        f.map(|(f, t)| (f.to_string(), t.to_string())).into()
    };
    let rules = Rules::read(table);
    assert!(violations(&rules, &files("#[cfg(test)]\nmod tests;")).is_empty());
    assert_eq!(violations(&rules, &files("mod tests;")).len(), 1);
}

#[test]
fn a_circle_is_found() {
    let table = |b: &str| {
        let text = format!(
            "| module | may import |\n|---|---|\n| `a` | `b` |\n| `b` | {b} |\n\n| what | only in |\n|---|---|\n| `x` | `a` |\n"
        );
        Rules::read(&text).order().map(|o| o.join(" "))
    };
    assert!(table("`a`").is_err());
    assert_eq!(table("`a::Item`"), Ok("b a".into()));
}
