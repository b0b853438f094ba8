//! Writes what the crate needs of the prototypes: tables, and a function to launch every entry.

use super::prototypes::{Entry, Kind, Source};

/// What nvcc made of the sources.
#[derive(Default)]
pub struct Built<'a> {
    /// Release of nvcc; none if there is none.
    pub release: Option<&'a str>,
    /// The GPUs that there is machine code for.
    pub archs: &'a [String],
    /// Stems whose fatbin is in `OUT_DIR`.
    pub fatbins: &'a [&'a str],
}

/// Rust text of the tables `MODULES`, `KERNELS`, `BUILT`, `ARCHS` and of the module `launch`.
pub fn rust(sources: &[Source], built: &Built) -> String {
    let mut entries: Vec<(usize, &Entry)> =
        sources.iter().enumerate().flat_map(|(i, s)| s.entries.iter().map(move |e| (i, e))).collect();
    entries.sort_by(|a, b| a.1.name.cmp(&b.1.name));
    let place = |i: usize, e: &Entry| format!("{}.cu:{}", sources[i].stem, e.line);

    let mut text = String::from("// Made by build.rs from the prototypes in kernels/*.cu.\n\n");
    let release = built.release.map_or("None".into(), |r| format!("Some({r:?})"));
    text += &format!(
        "/// Release of nvcc that compiled the kernels; none if the build had no nvcc.\n\
         pub const BUILT: Option<&str> = {release};\n\n\
         /// Compute capabilities that there is machine code for.\n\
         pub const ARCHS: &[&str] = &{:?};\n\n",
        built.archs
    );
    text += "/// Bytes as aligned as the driver wants them.\n#[repr(C, align(16))]\nstruct Aligned<T: ?Sized>(T);\n\n";
    text += "/// Every file of kernels, compiled.\npub static MODULES: &[crate::device::launch::Module] = &[\n";
    for source in sources {
        let bytes = if built.fatbins.contains(&source.stem.as_str()) {
            format!("*include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{}.fatbin\"))", source.stem)
        } else {
            "[]".into()
        };
        text += &format!(
            "    crate::device::launch::Module {{\n        name: {:?},\n        fatbin: {{\n            \
             const FATBIN: &Aligned<[u8]> = &Aligned({bytes});\n            &FATBIN.0\n        }},\n        \
             sm90: {},\n    }},\n",
            source.stem,
            source.sm90()
        );
    }
    text += "];\n\n/// Every entry, by name.\npub static KERNELS: &[crate::device::launch::Kernel] = &[\n";
    for (i, e) in &entries {
        text += &format!(
            "    crate::device::launch::Kernel {{\n        name: {:?},\n        module: {i},\n        threads: {},\n        \
             source: {:?},\n        #[cfg(feature = \"emulate\")]\n        emulated: emulated::{}{},\n    }},\n",
            e.name,
            e.threads,
            place(*i, e),
            SHIM,
            e.name
        );
    }
    text +=
        "];\n\n#[cfg(feature = \"emulate\")]\nmod emulated {\n    use std::ffi::c_void;\n    unsafe extern \"C\" {\n";
    for (_, e) in &entries {
        text += &format!(
            "        pub fn {SHIM}{}(grid: *const [u32; 3], block: u32, shared_bytes: u32, args: *const *mut c_void) -> i32;\n",
            e.name
        );
    }
    text += "    }\n}\n\n/// A function to launch every entry.\n#[allow(non_snake_case, unused_imports)]\npub mod launch {\n    \
             use std::ptr::from_ref;\n\n    use super::KERNELS;\n    use crate::device::Gpu;\n    \
             use crate::device::launch::{Bf16, F16, Launch, Ptr, PtrMut, TensorMap};\n    use crate::error::Result;\n";
    for (number, (i, e)) in entries.iter().enumerate() {
        text += &launch(number, e, &place(*i, e));
    }
    text += "}\n";
    text
}

/// Start of the names of the host's functions.
pub const SHIM: &str = "drg_emulate_";

fn launch(number: usize, entry: &Entry, place: &str) -> String {
    let parameters: String = entry.arguments.iter().map(|a| format!(", {}: {}", a.name, rust_type(a.kind))).collect();
    let pointers: Vec<String> = entry
        .arguments
        .iter()
        .map(|a| match a.kind {
            Kind::TensorMap => format!("from_ref({}).cast_mut().cast()", a.name),
            _ => format!("from_ref(&{}).cast_mut().cast()", a.name),
        })
        .collect();
    format!(
        "\n    /// {place}\n    ///\n    /// # Safety\n    /// As for `Gpu::launch`: the pointers are to memory of this GPU, of \
         the sizes and the alignment that the head of the\n    /// file asks for.\n    ///\n    /// # Errors\n    \
         /// As `Gpu::launch`.\n    pub unsafe fn {}(gpu: &Gpu, cfg: Launch{parameters}) -> Result<()> {{\n        \
         // SAFETY: the caller vouches for the memory; number and types of the arguments are those of the entry.\n        \
         unsafe {{ gpu.launch(&KERNELS[{number}], cfg, &mut [{}]) }}\n    }}\n",
        entry.name,
        pointers.join(", ")
    )
}

fn rust_type(kind: Kind) -> String {
    match kind {
        Kind::Input(t) => format!("Ptr<{}>", t.rust),
        Kind::Output(t) => format!("PtrMut<{}>", t.rust),
        Kind::Number(t) => t.rust.into(),
        Kind::TensorMap => "&TensorMap".into(),
    }
}
