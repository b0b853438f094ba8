//! What the build makes of the kernels: their prototypes, the tables, what the compiler says of them. With the feature
//! `emulate` the kernels that move rows run on the host.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../build/prototypes.rs"]
mod prototypes;
#[path = "../build/ptxas.rs"]
mod ptxas;
#[path = "../build/shims.rs"]
mod shims;
#[path = "../build/table.rs"]
mod table;

use std::path::PathBuf;

use prototypes::{Argument, Entry, Kind, Source};

fn kernels() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// What is said of `op.cu` with this text.
fn refused(text: &str) -> String {
    match Source::parse("op", text) {
        Err(what) => what,
        Ok(source) => panic!("expected an error, found {source:?} in\n{text}"),
    }
}

fn entry(arguments: &str) -> String {
    format!("extern \"C\" __global__ void op_a_f32({arguments}) {{}}\n")
}

/// Arguments of the only entry as `name: Rust type`.
fn arguments(text: &str) -> String {
    let source = Source::parse("op", text).unwrap();
    assert_eq!(source.entries.len(), 1, "{source:?}");
    let of = |a: &Argument| match a.kind {
        Kind::Input(t) => format!("{}: const {}*", a.name, t.rust),
        Kind::Output(t) => format!("{}: {}*", a.name, t.rust),
        Kind::Number(t) => format!("{}: {}", a.name, t.rust),
        Kind::TensorMap => format!("{}: map", a.name),
    };
    source.entries[0].arguments.iter().map(of).collect::<Vec<_>>().join(", ")
}

#[test]
fn all_types_of_arguments() {
    assert_eq!(
        arguments(&entry(
            "const float* __restrict__ a, const double * __restrict__ b, const bf16* __restrict__ c, f16* d, \
             unsigned char*e, int* __restrict__ f, unsigned* g, const long long* h"
        )),
        "a: const f32*, b: const f64*, c: const Bf16*, d: F16*, e: u8*, f: i32*, g: u32*, h: const i64*"
    );
    assert_eq!(
        arguments(&entry(
            "int a, unsigned b, long long c, unsigned long long d, float e, double f, \
             const __grid_constant__ CUtensorMap g"
        )),
        "a: i32, b: u32, c: i64, d: u64, e: f32, f: f64, g: map"
    );
    assert_eq!(arguments(&entry("")), "");
}

#[test]
fn entries_between_all_else() {
    let text = r###"// extern "C" __global__ void op_comment_f32() {}
/* extern "C" __global__ void op_comment_f32() {}
   */ #include "drg.cuh"
#define NAME(x) x \
    /* a macro of two lines
       and a comment that ends here */
#if 0
extern "C" __global__ void op_never_f32(struct x) { don't }
#else
namespace { template <class T> __device__ T one() { return T(1'000); } }
#endif
#if 1
static const char* text = "extern \"C\" __global__ void op_text_f32() {}", sign = '"';
#elif B
extern "C" __global__ void op_never_f32() {}
#else
extern "C" __global__ void op_never_f32() {}
#endif
#ifdef X
__device__ void f() {
#else
__device__ void f(int) {
#endif
  asm volatile(R"x(__global__ ")" )x" :: "l"(1.0e+5f));
}
extern "C" // linkage
__global__ void
    __launch_bounds__( 256 , 2 )
    op_first_f32(
        const float* __restrict__ x,   // in
        int /* a number */ n) {
  if (n) { f(); }
}
extern "C" __global__ void __launch_bounds__(1024) op_second_f32_bf16(bf16* y)
{
}
"###;
    let source = Source::parse("op", text).unwrap();
    let found: Vec<_> =
        source.entries.iter().map(|e| (e.name.as_str(), e.line, e.threads, e.arguments.len())).collect();
    assert_eq!(found, [("op_first_f32", 29, 256, 2), ("op_second_f32_bf16", 34, 1024, 1)]);
    assert!(!source.sm90());
    // The same with the line ends of another system.
    assert_eq!(Source::parse("op", &text.replace('\n', "\r\n")).unwrap(), source);
}

#[test]
fn what_is_no_entry_is_refused_by_line() {
    let cases: [(&str, &str, &[&str]); 21] = [
        ("", "op.cu:1: ", &["expected an entry", "found none"]),
        ("\n__global__ void op_a_f32() {}", "op.cu:2: ", &["extern \"C\""]),
        ("static __global__ void op_a_f32() {}", "op.cu:1: ", &["found `static __global__`"]),
        ("extern \"C\" {\n__global__ void op_a_f32() {}\n}", "op.cu:2: ", &["extern \"C\""]),
        ("namespace x {\n\nextern \"C\" __global__ void op_a_f32() {}\n}", "op.cu:3: ", &["braces of line 1"]),
        ("template <int N>\nextern \"C\" __global__ void op_a_f32() {}", "op.cu:2: ", &["found `>` before `extern`"]),
        ("#define E(n) extern \"C\" __global__ void n() {}", "op.cu:1: ", &["in a macro"]),
        ("#define E(n) \\\n  __global__ void n() {}\n", "op.cu:1: ", &["in a macro"]),
        ("#if X\n#if 1\nextern \"C\" __global__ void op_a_f32() {}\n#endif\n#endif", "op.cu:3: ", &["line 1's"]),
        ("#if 0\n#elif X\nextern \"C\" __global__ void op_a_f32() {}\n#endif", "op.cu:3: ", &["outside of #if"]),
        ("\n#ifdef X\n", "op.cu:2: ", &["#endif", "end of the file"]),
        ("int x;\n#endif\n", "op.cu:2: ", &["#if before #endif"]),
        ("int x; /* and\n", "op.cu:1: ", &["`*/`"]),
        ("#include \"other.cu\"\n", "op.cu:1: ", &["\"other.cu\""]),
        ("extern \"C\" __global__ int op_a_f32() {}", "op.cu:1: ", &["expected `void`, found `int`"]),
        ("extern \"C\" __global__ void op_a_f32();", "op.cu:1: ", &["expected `{`", "found `;`"]),
        ("extern \"C\" __global__ void\nop_a_f32(int a", "op.cu:2: ", &["`,` or `)`", "the end of the file"]),
        ("extern \"C\" __global__ void __launch_bounds__(N) op_a_f32() {}", "op.cu:1: ", &["in digits, found `N`"]),
        ("extern \"C\" __global__ void __launch_bounds__(2048) op_a_f32() {}", "op.cu:1: ", &["found `2048`"]),
        ("extern \"C\" __global__ void __launch_bounds__(64, X) op_a_f32() {}", "op.cu:1: ", &["of blocks", "`X`"]),
        ("extern \"C\" __global__ __launch_bounds__(64) void op_a_f32() {}", "op.cu:1: ", &["expected `void`"]),
    ];
    for (text, start, parts) in cases {
        let what = refused(text);
        assert!(what.starts_with(&format!("kernels/{start}")), "{what}\nfor\n{text}");
        assert!(parts.iter().all(|p| what.contains(p)), "{what}\nfor\n{text}");
    }
}

#[test]
fn arguments_outside_of_the_grammar_are_refused() {
    let cases = [
        ("float const* __restrict__ x", "found `float const * __restrict__ x`; const comes first"),
        ("const float __restrict__ x", "found `const float __restrict__ x`"),
        ("unsigned int n", "write `unsigned` for `unsigned int`"),
        ("const __nv_bfloat16* __restrict__ x", "write `bf16` for `__nv_bfloat16`"),
        ("size_t n", "write `unsigned long long` for `size_t`"),
        ("bool b", "write `int` for `bool`"),
        ("const int n", "numbers have no const"),
        ("int n = 3", "no default arguments"),
        ("float** x", "no pointers to pointers"),
        ("float x[3]", "found `float x [ 3 ]`"),
        ("Options o", "found `Options o`; T is float, double"),
        ("f16 x", "no such argument of type f16"),
        ("unsigned long long* x", "no such argument of type unsigned long long"),
        ("int", "found `int`"),
        ("float*", "found `float *`"),
        ("long long", "found `long long`"),
        ("CUtensorMap m", "found `CUtensorMap m`"),
        ("int a,", "argument 2 of op_a_f32: expected"),
        ("int a, float a", "argument 2 of op_a_f32: `a` is the name of another one"),
        ("int in", "`in` cannot be the name"),
        ("int gpu", "`gpu` cannot be the name"),
        ("void (*f)(int)", "expected `,` or `)`, found `(`"),
    ];
    for (arguments, part) in cases {
        let what = refused(&format!("\n{}", entry(arguments)));
        assert!(what.starts_with("kernels/op.cu:2: ") && what.contains(part), "{what}\nfor ({arguments})");
    }
    let late = refused("extern \"C\" __global__ void op_a_f32(int a,\n  int b,\n  half* c) {}");
    assert!(
        late.starts_with("kernels/op.cu:3: argument 3 of op_a_f32: expected `const T* [__restrict__] x`"),
        "{late}"
    );
}

#[test]
fn names_follow_the_file() {
    let parse = |stem, name| Source::parse(stem, &format!("extern \"C\" __global__ void {name}() {{}}"));
    for (stem, name) in
        [("op", "op_a_f32"), ("op_sm90", "op_a_f32_sm90"), ("a_b", "a_b_c_u8"), ("conv1d", "conv1d_dx_f32")]
    {
        assert_eq!(parse(stem, name).unwrap().sm90(), stem == "op_sm90");
    }
    let cases = [
        ("op", "other_a_f32"),
        ("op", "opa_a_f32"),
        ("op", "op_f32"),
        ("op", "op__f32"),
        ("op", "op_a_f32_"),
        ("op", "op_A_f32"),
        ("op", "op_a_f32_sm90"),
        ("op_sm90", "op_a_f32"),
        ("op_sm90", "op_a_sm90"),
        ("op_sm90", "op_sm90_a_f32"),
    ];
    for (stem, name) in cases {
        let what = parse(stem, name).expect_err(name);
        assert!(what.contains("expected a name `op_<pass>_<dtype>") && what.contains(name), "{what}");
    }
    let twice = refused(&(entry("") + &entry("int n")));
    assert!(twice.starts_with("kernels/op.cu:2: `op_a_f32` is already the name of the entry at line 1"), "{twice}");
    let entry = Entry { name: "a_b_c_f32".into(), line: 7, threads: 0, arguments: vec![] };
    let sources = ["a", "a_b"].map(|stem| Source { stem: stem.into(), entries: vec![entry.clone()] });
    let twice = prototypes::check_names(&sources).unwrap_err();
    assert!(twice.starts_with("kernels/a_b.cu:7: ") && twice.ends_with("kernels/a.cu:7"), "{twice}");
}

#[test]
fn headers_have_no_entries() {
    prototypes::check_header("a.cuh", "// __global__\n__device__ int f();\n").unwrap();
    for text in ["\nextern \"C\" __global__ void a() {}", "\n#define ENTRY __global__ void"] {
        let what = prototypes::check_header("a.cuh", text).unwrap_err();
        assert!(what.starts_with("kernels/a.cuh:2: "), "{what}");
    }
}

#[test]
fn tables_have_every_entry() {
    let first =
        "extern \"C\" __global__ void __launch_bounds__(64) z_b_f32(const float* __restrict__ x, long long n) {}\n";
    let second = "\nextern \"C\" __global__ void a_b_bf16_sm90(const __grid_constant__ CUtensorMap m, bf16* y) {}\n";
    let sources = [Source::parse("z", first).unwrap(), Source::parse("a_sm90", second).unwrap()];
    let archs = ["80".to_string(), "90a".to_string()];
    let built = table::Built { release: Some("13.0"), archs: &archs, fatbins: &["z"] };
    let text = table::rust(&sources, &built);
    let squeezed = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "pub const BUILT: Option<&str> = Some(\"13.0\");",
        "pub const ARCHS: &[&str] = &[\"80\", \"90a\"];",
        "Aligned(*include_bytes!(concat!(env!(\"OUT_DIR\"), \"/z.fatbin\")));",
        "&Aligned([]);",
        "name: \"a_b_bf16_sm90\", module: 1, threads: 0, source: \"a_sm90.cu:2\",",
        "name: \"z_b_f32\", module: 0, threads: 64, source: \"z.cu:1\",",
        "pub unsafe fn a_b_bf16_sm90(gpu: &Gpu, cfg: Launch, m: &TensorMap, y: PtrMut<Bf16>) -> Result<()> {",
        "gpu.launch(&KERNELS[0], cfg, &mut [from_ref(m).cast_mut().cast(), from_ref(&y).cast_mut().cast()])",
        "pub unsafe fn z_b_f32(gpu: &Gpu, cfg: Launch, x: Ptr<f32>, n: i64) -> Result<()> {",
    ] {
        assert!(squeezed.contains(part), "expected {part}\nfound {text}");
    }
    let without = table::rust(&sources, &table::Built::default());
    assert!(without.contains("BUILT: Option<&str> = None;") && !without.contains("include_bytes"), "{without}");
    let shims = shims::text(&sources[1]);
    assert!(shims.contains("#include \"a_sm90.cu\"\n"), "{shims}");
    assert!(shims.contains("a_b_bf16_sm90(*(const CUtensorMap*)args[0], *(bf16* const*)args[1]);"), "{shims}");
}

#[test]
fn what_ptxas_says_is_read() {
    let log = "\
ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'op_c_f32' for 'sm_80'
ptxas info    : Function properties for op_c_f32
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 16 registers, used 0 barriers
ptxas warning : Registers are spilled to local memory in function 'op_a_f32', 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Compiling entry function 'op_a_f32' for 'sm_80'
ptxas info    : Function properties for op_a_f32
    944 bytes stack frame, 16 bytes spill stores, 24 bytes spill loads
ptxas info    : Used 64 registers, used 1 barriers, 944 bytes cumulative stack size, 368 bytes cmem[0]
ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to X in function 'op_b_f32'
ptxas info    : Compiling entry function 'op_b_f32' for 'sm_90a'
ptxas info    : Function properties for op_b_f32
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 168 registers, used 1 barriers, 512 bytes smem
";
    let usage = ptxas::usage(log);
    assert_eq!(
        ptxas::table(&usage).lines().skip(1).collect::<Vec<_>>(),
        ["op_c_f32\t80\t16\t0\t0\t0\t0", "op_a_f32\t80\t64\t16\t24\t0\t944", "op_b_f32\t90a\t168\t0\t0\t512\t0"]
    );
    let complaints = ptxas::complaints(log, &usage);
    assert_eq!(complaints.len(), 2, "{complaints:?}");
    assert!(
        complaints[0].starts_with("op_a_f32 for sm_80 spills") && complaints[1].contains("serialized"),
        "{complaints:?}"
    );
    assert!(ptxas::complaints("ptxas info : 0 bytes gmem\n", &[]).is_empty());
    assert_eq!(ptxas::complaints("ptxas warning : Value of threads per SM\n", &[]).len(), 1);
}

/// Every file says in its head what it is, in the same words.
#[test]
fn kernels_have_heads() {
    let mut files = 0;
    for file in std::fs::read_dir(kernels()).unwrap().map(|f| f.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_string();
        if !name.ends_with(".cu") {
            continue;
        }
        files += 1;
        let text = std::fs::read_to_string(&file).unwrap();
        let head: Vec<&str> = text.lines().take_while(|l| l.starts_with("//")).collect();
        assert!(
            head[0].starts_with(&format!("// {name}: ")),
            "{name}: expected `// {name}: what it is`, found {}",
            head[0]
        );
        for key in ["Host side:", "Maths:", "Layout:", "Entries:", "Limits:", "Order:", "Measured:"] {
            let there = head.iter().any(|l| l.strip_prefix("// ").is_some_and(|l| l.starts_with(key)));
            assert!(there, "{name}: expected a line `// {key}` in its head");
        }
        let host = head.iter().find_map(|l| l.strip_prefix("// Host side:")).unwrap();
        let paths: Vec<&str> = host.split([' ', ',', ';', '(', ')']).filter(|word| word.starts_with("src/")).collect();
        assert!(!paths.is_empty(), "{name}: expected files of src in the line `// Host side:{host}`");
        for path in paths {
            let path = path.trim_end_matches('.');
            let there = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path).exists();
            assert!(there, "{name}: its head names {path}, which does not exist");
        }
    }
    assert!(files > 0);
}

/// The crate's table has the entries that a search of the sources' text finds, which knows nothing of the parser.
#[test]
fn the_crate_has_every_entry() {
    const START: &str = "extern \"C\" __global__ void ";
    let mut expected = vec![];
    for file in std::fs::read_dir(kernels()).unwrap().map(|f| f.unwrap().path()) {
        if file.extension().is_some_and(|e| e == "cu") {
            let (text, name) = (std::fs::read_to_string(&file).unwrap(), file.file_name().unwrap().to_str().unwrap());
            let marks: usize =
                text.lines().filter(|l| !l.starts_with("//")).map(|l| l.matches("__global__").count()).sum();
            assert_eq!(text.matches(START).count(), marks, "{name}: an entry starts with `{START}`");
            for entry in text.split(START).skip(1) {
                let after = entry.strip_prefix("__launch_bounds__").map_or(entry, |e| e.split_once(')').unwrap().1);
                expected.push((after.split_once('(').unwrap().0.trim().to_string(), name.to_string()));
            }
        }
    }
    expected.sort();
    let mut found = vec![];
    for kernel in drg::device::kernels::KERNELS {
        let (file, line) = kernel.source.split_once(':').unwrap();
        let text = std::fs::read_to_string(kernels().join(file)).unwrap();
        let line = text.lines().nth(line.parse::<usize>().unwrap() - 1).unwrap();
        assert!(line.contains(&format!("{}(", kernel.name)), "{}: {line}", kernel.source);
        found.push((kernel.name.to_string(), file.to_string()));
    }
    assert_eq!(found, expected);
    for module in drg::device::kernels::MODULES {
        assert!(module.fatbin.is_empty() || drg::device::kernels::BUILT.is_some());
    }
}

#[cfg(feature = "emulate")]
mod emulated {
    use std::ffi::c_void;

    use drg::device::kernels::KERNELS;
    use drg::util::philox::Philox;

    /// Runs a kernel with the addresses of its arguments.
    fn run(name: &str, blocks: u32, args: &mut [*mut c_void]) {
        let kernel = KERNELS.iter().find(|k| k.name == name).expect(name);
        let grid = [blocks, 1, 1];
        // SAFETY: every test gives the arguments of the prototype, with memory of the sizes that the kernel needs.
        assert_eq!(unsafe { (kernel.emulated)(&grid, kernel.threads, 0, args.as_ptr()) }, 0, "{name}");
    }

    macro_rules! args {
        ($($value:expr),* $(,)?) => { &mut [$(std::ptr::from_ref(&$value).cast_mut().cast::<c_void>()),*] };
    }

    /// `n` values at an address of a multiple of 16 bytes, or not.
    struct Rows {
        room: Vec<f32>,
        skip: usize,
        n: usize,
    }

    impl Rows {
        fn new(n: usize, aligned: bool, value: impl FnMut() -> f32) -> Self {
            let mut room = vec![f32::NAN; n + 8];
            let to_16 = (room.as_ptr().addr().wrapping_neg() % 16) / 4;
            let skip = to_16 + usize::from(!aligned);
            room[skip..][..n].fill_with(value);
            Self { room, skip, n }
        }

        fn values(&self) -> &[f32] {
            assert!(self.room[..self.skip].iter().chain(&self.room[self.skip + self.n..]).all(|v| v.is_nan()));
            &self.room[self.skip..][..self.n]
        }

        fn pointer(&mut self) -> *mut f32 {
            self.room[self.skip..].as_mut_ptr()
        }
    }

    fn random(purpose: u64) -> impl FnMut() -> f32 {
        let mut random = Philox::new(4, purpose);
        move || random.normal() as f32
    }

    const LEN: i32 = 9;

    /// Widths and alignments of rows, with the number of blocks: fewer threads than elements, and more.
    const CASES: [(i32, bool, u32); 6] =
        [(1, true, 1), (5, true, 3), (8, true, 1), (8, false, 2), (1_028, true, 2), (0, true, 1)];

    fn row(values: &[f32], r: usize, c: i32) -> &[f32] {
        &values[r * c as usize..][..c as usize]
    }

    #[test]
    fn rows_are_selected() {
        for (c, aligned, blocks) in CASES {
            let n = c as usize;
            let mut x = Rows::new(6 * n, aligned, random(1));
            // [width 2, M 3] to [2, 4].
            let lanes = [2, 0, 0, 1];
            let mut y = Rows::new(8 * n, aligned, || f32::NAN);
            let (from, to) = (x.pointer(), y.pointer());
            run("rows_select_f32", blocks, args![from, lanes.as_ptr(), to, 2_i32, 3_i32, 4_i32, c]);
            for r in 0..8 {
                assert_eq!(row(y.values(), r, c), row(x.values(), r / 4 * 3 + lanes[r % 4] as usize, c), "{r}");
            }
        }
    }

    #[test]
    fn windows_move() {
        let (m, width) = (3_usize, 4_usize);
        // Over both ends; far from the old window; inside.
        let (from, to) = ([-2, 5, 7], [-4, 0, 5]);
        for ((c, aligned, blocks), to_width) in CASES.into_iter().flat_map(|c| [(c, 1_usize), (c, 6)]) {
            let n = c as usize;
            let mut x = Rows::new(width * m * n, aligned, random(2));
            // The row of x of mutant i at position p, where there is one in the sequence.
            let at = |x: &Rows, i: usize, p: i32| {
                let w = p - from[i];
                let there = (0..width as i32).contains(&w) && (0..LEN).contains(&p);
                if there { row(x.values(), w as usize * m + i, c).to_vec() } else { vec![0.0; n] }
            };
            let mut y = Rows::new(to_width * m * n, aligned, || f32::NAN);
            let (x_at, y_at) = (x.pointer(), y.pointer());
            run(
                "rows_place_f32",
                blocks,
                args![x_at, from.as_ptr(), to.as_ptr(), y_at, m as i32, c, width as i32, to_width as i32, LEN],
            );
            for r in 0..to_width * m {
                let (w, i) = (r / m, r % m);
                assert_eq!(row(y.values(), r, c), at(&x, i, to[i] + w as i32), "row {w} of mutant {i}, {c} channels");
            }
            let mut y = Rows::new(m * LEN as usize * n, aligned, || f32::NAN);
            let y_at = y.pointer();
            run("rows_vector_f32", blocks, args![x_at, from.as_ptr(), y_at, m as i32, c, width as i32, LEN]);
            for r in 0..m * LEN as usize {
                let (i, p) = (r / LEN as usize, (r % LEN as usize) as i32);
                assert_eq!(row(y.values(), r, c), at(&x, i, p), "position {p} of mutant {i}, {c} channels");
            }
            let expected: Vec<f32> = (0..width * m).flat_map(|r| at(&x, r % m, from[r % m] + (r / m) as i32)).collect();
            run("rows_clear_f32", blocks, args![x_at, from.as_ptr(), m as i32, c, width as i32, LEN]);
            assert_eq!(x.values(), expected);
        }
    }

    #[test]
    fn floats_are_converted_to_the_nearest() {
        // Ties to even, the largest numbers, infinities, subnormal numbers of f16.
        let special =
            [0.0, -0.0, 1.0 + 2f32.powi(-8), 1.0 + 3.0 * 2f32.powi(-8), 2049.0, 2051.0, 65_519.9, 65_520.0, f32::MAX];
        let tiny = [f32::INFINITY, f32::NEG_INFINITY, 6e-8, 3e-8, 2.9e-8, -1e-6, 1e-40];
        for (rows, c, aligned) in [
            (0, 4_usize, true),
            (1, 1, true),
            (3, 7, true),
            (1, 16, true),
            (5, 140, true),
            (2, 20, false),
            (3, 231, false),
        ] {
            // 16-bit rows are padded with zeros to a multiple of 8.
            let (n, pitch) = (rows * c, c.next_multiple_of(8));
            let mut values = special.into_iter().chain(tiny).cycle().take(16).chain(std::iter::repeat_with(random(3)));
            let mut x = Rows::new(n, aligned, || values.next().unwrap());
            let mut bits = vec![u128::MAX; rows * pitch / 8];
            let half = bits.as_mut_ptr().cast::<u16>();
            let (from, rows, c) = (x.pointer(), rows as i64, c as i32);
            let mut y = Rows::new(n, aligned, || f32::NAN);
            let back = y.pointer();
            for (there, home, round) in [
                ("rows_convert_f32_bf16", "rows_convert_bf16_f32", to_bf16 as fn(f32) -> (u16, f32)),
                ("rows_convert_f32_f16", "rows_convert_f16_f32", to_f16),
            ] {
                run(there, 2, args![from, half, rows, c]);
                run(home, 1, args![half, back, rows, c]);
                let bytes: &[u16] = bytemuck::cast_slice(&bits);
                for (i, &v) in x.values().iter().enumerate() {
                    let (bits, value) = round(v);
                    let found = bytes[i / c as usize * pitch + i % c as usize];
                    assert_eq!((found, y.values()[i].to_bits()), (bits, value.to_bits()), "{there} of {v}");
                }
                let padding = bytes.chunks(pitch).flat_map(|row| &row[c as usize..]);
                assert!(padding.copied().all(|bits| bits == 0), "{there}: zeros behind {c} elements");
            }
        }
    }

    fn to_bf16(v: f32) -> (u16, f32) {
        let half = half::bf16::from_f32(v);
        (half.to_bits(), half.to_f32())
    }

    fn to_f16(v: f32) -> (u16, f32) {
        let half = half::f16::from_f32(v);
        (half.to_bits(), half.to_f32())
    }
}
