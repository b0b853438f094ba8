//! Philox4x32-10, the counter-based generator of Salmon et al. (2011): a number is a pure function of key and counter, so
//! results do not depend on threads or batch sizes, and the GPU draws the same stream.

/// A stream of random numbers: `key` names the stream (seed and purpose), `counter` the place in it.
#[derive(Clone, Debug)]
pub struct Philox {
    key: [u32; 2],
    counter: [u32; 4],
    block: [u32; 4],
    used: usize,
}

/// Ten rounds of Philox4x32: four random words for a key and a counter.
pub fn philox4x32(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// [`philox4x32`] for N counters that differ in their first word: the four words of all blocks, word by word. Vectorises.
#[inline(always)]
pub fn philox4x32_lanes<const N: usize>(first: [u32; N], rest: [u32; 3], mut key: [u32; 2]) -> [[u32; N]; 4] {
    let mut c = [first, [rest[0]; N], [rest[1]; N], [rest[2]; N]];
    for _ in 0..10 {
        let mut next = [[0; N]; 4];
        for i in 0..N {
            let a = u64::from(c[0][i]) * 0xD251_1F53;
            let b = u64::from(c[2][i]) * 0xCD9E_8D57;
            next[0][i] = (b >> 32) as u32 ^ c[1][i] ^ key[0];
            next[1][i] = b as u32;
            next[2][i] = (a >> 32) as u32 ^ c[3][i] ^ key[1];
            next[3][i] = a as u32;
        }
        c = next;
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

impl Philox {
    /// Stream of `seed` and a `purpose` (a small number that keeps streams of one seed apart).
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self {
            key: [seed as u32, (seed >> 32) as u32],
            counter: [0, 0, purpose as u32, (purpose >> 32) as u32],
            block: [0; 4],
            used: 4,
        }
    }

    /// Next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.block = philox4x32(self.counter, self.key);
            self.used = 0;
            self.counter[0] = self.counter[0].wrapping_add(1);
            if self.counter[0] == 0 {
                self.counter[1] = self.counter[1].wrapping_add(1);
            }
        }
        self.used += 1;
        self.block[self.used - 1]
    }

    /// Uniform in [0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let high = u64::from(self.next_u32() >> 5);
        let low = u64::from(self.next_u32() >> 6);
        (high * (1 << 26) + low) as f64 / (1u64 << 53) as f64
    }

    /// Uniform integer in [0, n), without bias. `n` must not be zero.
    pub fn below(&mut self, n: usize) -> usize {
        debug_assert!(n > 0, "an empty range has no numbers");
        let n = n as u64;
        let zone = u64::MAX - u64::MAX % n;
        loop {
            let x = u64::from(self.next_u32()) << 32 | u64::from(self.next_u32());
            if x < zone {
                return (x % n) as usize;
            }
        }
    }

    /// Standard normal (Box-Muller, one value a call).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Shuffles in place (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }

    /// A random order of 0..n.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.shuffle(&mut order);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers published with the Random123 library (kat_vectors).
    #[test]
    fn known_answers() {
        assert_eq!(philox4x32([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox4x32([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn lanes_are_single_blocks() {
        let lanes = philox4x32_lanes([7, 8, u32::MAX], [1, 2, 3], [4, 5]);
        for (i, first) in [7, 8, u32::MAX].into_iter().enumerate() {
            assert_eq!(lanes.map(|w| w[i]), philox4x32([first, 1, 2, 3], [4, 5]));
        }
    }

    #[test]
    fn moments_and_permutation() {
        let mut r = Philox::new(1, 2);
        let (mut mean, mut square) = (0.0, 0.0);
        for _ in 0..20_000 {
            let x = r.normal();
            mean += x / 20_000.0;
            square += x * x / 20_000.0;
        }
        assert!(mean.abs() < 0.03 && (square - 1.0).abs() < 0.05, "{mean} {square}");
        let mut p = r.permutation(97);
        p.sort_unstable();
        assert_eq!(p, (0..97).collect::<Vec<_>>());
    }
}
