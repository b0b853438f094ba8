//! Reads what ptxas says of every entry: registers, spills, shared memory.

/// What an entry needs on one kind of GPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Name of the entry.
    pub entry: String,
    /// Kind of GPU, e.g. `90a`.
    pub arch: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes that a thread writes to memory for want of registers, and reads back.
    pub spills: (u32, u32),
    /// Bytes of shared memory of a block, without what is asked for at launch.
    pub shared: u32,
    /// Bytes of a thread's stack.
    pub stack: u32,
}

/// The entries of a log of `ptxas -v`.
pub fn usage(log: &str) -> Vec<Usage> {
    let mut all: Vec<Usage> = vec![];
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut quoted = rest.split('\'');
            let entry = quoted.next().unwrap_or("").into();
            let arch = quoted.nth(1).unwrap_or("").trim_start_matches("sm_").into();
            all.push(Usage { entry, arch, ..Usage::default() });
        }
        // Warnings of spills have the same words, and stand before their entry.
        let Some(last) = all.last_mut().filter(|_| !line.starts_with("ptxas warning")) else { continue };
        // "Function properties" of functions that are called follow those of the entry: the largest counts.
        let found = |what| number_before(line, what).unwrap_or(0);
        last.stack = last.stack.max(found(" bytes stack frame"));
        last.spills.0 = last.spills.0.max(found(" bytes spill stores"));
        last.spills.1 = last.spills.1.max(found(" bytes spill loads"));
        if line.contains("Used ") {
            last.registers = found(" registers");
            last.shared = found(" bytes smem");
        }
    }
    all
}

/// What makes these kernels slow: registers that spill, wgmma that waits, and whatever else ptxas warns of.
pub fn complaints(log: &str, usage: &[Usage]) -> Vec<String> {
    let spilled = usage.iter().filter(|u| u.spills != (0, 0)).map(|u| {
        let Usage { entry, arch, spills: (stores, loads), registers, .. } = u;
        format!("{entry} for sm_{arch} spills: {stores} bytes of stores, {loads} bytes of loads beside {registers} registers")
    });
    let said = log.lines().filter(|line| {
        let line = line.trim_start();
        let warning = line.starts_with("ptxas warning") && !line.contains("Registers are spilled");
        warning || line.contains("(C75") || line.contains("wgmma.mma_async instructions are serialized")
    });
    let mut all: Vec<String> = spilled.chain(said.map(|l| l.trim().to_string())).collect();
    all.dedup();
    all
}

/// A table for people and for CI.
pub fn table(usage: &[Usage]) -> String {
    let mut text =
        String::from("entry\tarch\tregisters\tspill_store_bytes\tspill_load_bytes\tshared_bytes\tstack_bytes\n");
    for u in usage {
        let Usage { entry, arch, registers, spills: (stores, loads), shared, stack } = u;
        text += &format!("{entry}\t{arch}\t{registers}\t{stores}\t{loads}\t{shared}\t{stack}\n");
    }
    text
}

fn number_before(line: &str, what: &str) -> Option<u32> {
    let before = &line[..line.find(what)?];
    let digits = before.rfind(|c: char| !c.is_ascii_digit()).map_or(before, |i| &before[i + 1..]);
    digits.parse().ok()
}
