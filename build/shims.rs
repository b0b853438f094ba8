//! Writes what the emulator needs of the prototypes: C++ functions that call the entries on the host.

use super::prototypes::{Kind, Source};
use super::table::SHIM;

/// C++ text: the file of the entries, and a function for every one of them, which the emulator calls in all threads of a grid.
/// `args` points to the addresses of the arguments, as for the driver.
pub fn text(source: &Source) -> String {
    let mut text = format!("// Made by build.rs.\n#include \"{}.cu\"\n", source.stem);
    for entry in &source.entries {
        let name = &entry.name;
        let arguments: Vec<String> = entry
            .arguments
            .iter()
            .enumerate()
            .map(|(i, a)| {
                let to = match a.kind {
                    Kind::Input(t) => format!("const {}* const", t.c),
                    Kind::Output(t) => format!("{}* const", t.c),
                    Kind::Number(t) => format!("const {}", t.c),
                    Kind::TensorMap => "const CUtensorMap".into(),
                };
                format!("*({to}*)args[{i}]")
            })
            .collect();
        text += &format!(
            "\nextern \"C\" int {SHIM}{name}(const unsigned* grid, unsigned block, unsigned shared_bytes, void* const* args) {{\n    \
             return drg::emulate::run(\"{name}\", grid, block, shared_bytes, [=] {{\n        {name}({});\n    }});\n}}\n",
            arguments.join(", ")
        );
    }
    text
}
