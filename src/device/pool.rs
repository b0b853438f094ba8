//! Memory of a GPU that was used once and waits to be used again. The driver's own allocation takes as long as a kernel, and
//! a pass makes hundreds of maps of the same few sizes.

use std::collections::BTreeMap;

/// Freed blocks by size, and what is in use. Work on a GPU is ordered, so a block may be handed on at once: whatever still
/// reads it was asked for earlier.
#[derive(Debug, Default)]
pub(super) struct Pool {
    free: BTreeMap<usize, Vec<u64>>,
    pub in_use: usize,
    pub cached: usize,
    pub peak: usize,
}

/// Bytes that are taken for `bytes`: steps of an eighth of the size, so that similar maps share blocks.
pub(super) fn rounded(bytes: usize) -> usize {
    let step = (bytes.next_power_of_two() / 16).max(512);
    bytes.max(1).next_multiple_of(step)
}

impl Pool {
    /// The smallest block of at least this size, and its own size: at most a quarter more.
    pub fn take(&mut self, size: usize) -> Option<(u64, usize)> {
        let (&size, waiting) = self.free.range_mut(size..=size + size / 4).find(|(_, waiting)| !waiting.is_empty())?;
        let address = waiting.pop()?;
        self.cached -= size;
        self.count(size);
        Some((address, size))
    }

    /// Counts a block that comes into use.
    pub fn count(&mut self, size: usize) {
        self.in_use += size;
        self.peak = self.peak.max(self.in_use);
    }

    /// Takes a block back.
    pub fn give(&mut self, size: usize, address: u64) {
        self.in_use -= size;
        self.cached += size;
        self.free.entry(size).or_default().push(address);
    }

    /// All blocks that wait, to be released.
    pub fn drain(&mut self) -> Vec<u64> {
        self.cached = 0;
        std::mem::take(&mut self.free).into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_sizes_share_blocks() {
        assert_eq!((rounded(0), rounded(1), rounded(513)), (512, 512, 1024));
        for bytes in [3_000_000, 48_000_000, 1 << 30] {
            let size = rounded(bytes);
            assert!(size >= bytes && size <= bytes + bytes / 8, "{bytes} {size}");
            assert_eq!(rounded(size), size);
        }
        let mut pool = Pool::default();
        assert_eq!(pool.take(512), None);
        pool.count(512);
        pool.count(1024);
        pool.give(512, 7);
        assert_eq!((pool.in_use, pool.cached, pool.peak), (1024, 512, 1536));
        assert_eq!((pool.take(1024), pool.take(450), pool.take(512)), (None, Some((7, 512)), None));
        pool.give(512, 7);
        assert_eq!((pool.drain(), pool.cached), (vec![7], 0));
    }
}
