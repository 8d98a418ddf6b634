//! Randomness from a seed: SplitMix64 (Steele, Lea, Flood 2014), small and the same everywhere.

/// A stream of numbers that depends on its seed alone.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 where `n` is 0.
    pub const fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.next() % n }
    }

    /// A number from `low` up to and without `high`.
    pub const fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low))
    }

    /// An index below `len`.
    pub const fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True `per_mille` times in a thousand.
    pub const fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// One of them; `None` where there are none.
    pub fn pick<'i, T>(&mut self, items: &'i [T]) -> Option<&'i T> {
        items.get(self.index(items.len()))
    }

    /// 32 bytes.
    pub fn seed(&mut self) -> [u8; 32] {
        *blake3::hash(&self.next().to_be_bytes()).as_bytes()
    }

    /// `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        blake3::Hasher::new_derive_key("waymeet simulated bytes")
            .update(&self.next().to_be_bytes())
            .finalize_xof()
            .fill(&mut out);
        out
    }

    /// A stream of its own, so that what draws from it doesn't shift what is drawn here.
    pub const fn split(&mut self) -> Self {
        Self(self.next())
    }

    /// A waiting time around `mean`: uneven like people's.
    pub const fn around(&mut self, mean: u64) -> u64 {
        let low = mean / 4;
        low + (self.below(mean + 1) + self.below(mean + 1)) * 3 / 4
    }
}
