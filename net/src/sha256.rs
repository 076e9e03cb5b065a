//! SHA-256 (FIPS 180-4) of many inputs at a time. The audit writer has whole batches of payloads to hash; on a CPU
//! without SHA instructions, one input after another costs nine cycles a byte, and sixteen side by side in the lanes of
//! vector registers about one. With SHA instructions *ring* is as fast and is used as it is.

#![allow(unsafe_code)]

use ring::digest;

/// A digest.
pub type Digest = [u8; 32];

/// SHA-256 of one input.
pub fn one(bytes: &[u8]) -> Digest {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// Fewer inputs than this are hashed one by one: a block of all lanes costs as much as four of one, and lanes would be idle.
const INPUTS_MIN: usize = 6;

/// SHA-256 of each input, in order.
pub fn each(inputs: &[&[u8]], out: &mut Vec<Digest>) {
    out.clear();
    #[cfg(target_arch = "x86_64")]
    if inputs.len() >= INPUTS_MIN && !std::arch::is_x86_feature_detected!("sha") {
        use std::arch::is_x86_feature_detected as has;
        out.resize(inputs.len(), [0; 32]);
        if has!("avx512f") && has!("avx512bw") {
            // SAFETY: the CPU has what the function is compiled for. Tested by tests::lanes_agree_with_ring.
            return unsafe { avx512::each(inputs, out) };
        }
        if has!("avx2") {
            // SAFETY: as above.
            return unsafe { avx2::each(inputs, out) };
        }
        out.clear();
    }
    out.extend(inputs.iter().map(|input| one(input)));
}

/// FIPS 180-4, 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19];

/// FIPS 180-4, 4.2.2.
#[rustfmt::skip]
const ROUND: [u32; 64] = [
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
];

const BLOCK: usize = 64;

/// One lane: an input, and how far it has come.
#[derive(Clone, Copy)]
struct Lane<'a> {
    /// Index of the input; `None` when there are no more.
    input: Option<usize>,
    whole: &'a [u8],
    /// The last one or two blocks, with padding and length (FIPS 180-4, 5.1.1).
    tail: [u8; 2 * BLOCK],
    tail_at: usize,
    tail_len: usize,
}

impl<'a> Lane<'a> {
    const IDLE: Lane<'static> =
        Lane { input: None, whole: &[], tail: [0; 2 * BLOCK], tail_at: 0, tail_len: BLOCK };

    fn new(index: usize, input: &'a [u8]) -> Lane<'a> {
        let (whole, rest) = input.split_at(input.len() / BLOCK * BLOCK);
        let mut tail = [0; 2 * BLOCK];
        tail[..rest.len()].copy_from_slice(rest);
        tail[rest.len()] = 0x80;
        let tail_len = if rest.len() + 9 <= BLOCK { BLOCK } else { 2 * BLOCK };
        tail[tail_len - 8..tail_len].copy_from_slice(&(input.len() as u64 * 8).to_be_bytes());
        Lane { input: Some(index), whole, tail, tail_at: 0, tail_len }
    }

    fn block(&self) -> &[u8; BLOCK] {
        match self.whole.first_chunk() {
            Some(block) => block,
            None => self.tail[self.tail_at..].first_chunk().unwrap_or(&[0; BLOCK]),
        }
    }

    /// Goes behind the current block; true when it was the last one.
    fn advance(&mut self) -> bool {
        match self.whole.split_at_checked(BLOCK) {
            Some((_, rest)) => {
                self.whole = rest;
                false
            }
            None => {
                self.tail_at += BLOCK;
                self.tail_at == self.tail_len
            }
        }
    }
}

/// The algorithm, over the vector operations of the module it is used in.
#[cfg(target_arch = "x86_64")]
macro_rules! engine {
    ($features:literal) => {
        use super::{Digest, INITIAL, Lane, ROUND};

        /// Words side by side, one for each lane.
        #[repr(C, align(64))]
        #[derive(Clone, Copy)]
        struct Words([u32; LANES]);

        /// Hashes `inputs` into `out`, which has as many places.
        #[target_feature(enable = $features)]
        pub(super) fn each(inputs: &[&[u8]], out: &mut [Digest]) {
            let mut waiting = inputs.iter().enumerate();
            let mut next = || waiting.next().map_or(Lane::IDLE, |(i, input)| Lane::new(i, input));
            let mut lanes: [Lane<'_>; LANES] = std::array::from_fn(|_| next());
            let mut state: [Words; 8] = std::array::from_fn(|i| Words([INITIAL[i]; LANES]));
            while lanes.iter().any(|l| l.input.is_some()) {
                compress(&mut state, &lanes);
                for (at, lane) in lanes.iter_mut().enumerate() {
                    let Some(index) = lane.input else { continue };
                    if lane.advance() {
                        for (word, bytes) in state.iter_mut().zip(out[index].as_chunks_mut::<4>().0) {
                            *bytes = word.0[at].to_be_bytes();
                        }
                        state.iter_mut().zip(INITIAL).for_each(|(word, first)| word.0[at] = first);
                        *lane = next();
                    }
                }
            }
        }

        /// One block of every lane (FIPS 180-4, 6.2.2).
        #[target_feature(enable = $features)]
        fn compress(state: &mut [Words; 8], lanes: &[Lane<'_>; LANES]) {
            let mut columns = [Words([0; LANES]); 16];
            for (at, lane) in lanes.iter().enumerate() {
                for (column, bytes) in columns.iter_mut().zip(lane.block().as_chunks::<4>().0) {
                    column.0[at] = u32::from_be_bytes(*bytes);
                }
            }
            let mut w = [splat(0); 16];
            w.iter_mut().zip(&columns).for_each(|(w, column)| *w = load(column));
            let mut v = [splat(0); 8];
            v.iter_mut().zip(&*state).for_each(|(v, word)| *v = load(word));
            let before = v;
            for sixteen in ROUND.as_chunks::<16>().0 {
                // Constant indices, once the loop is unrolled: the words stay in registers.
                for (i, constant) in sixteen.iter().enumerate() {
                    let [a, b, c, d, e, f, g, h] = v;
                    let s1 = xor3(rotate::<6, 26>(e), rotate::<11, 21>(e), rotate::<25, 7>(e));
                    let t1 = add(add(add(h, s1), choose(e, f, g)), add(splat(*constant), w[i]));
                    let s0 = xor3(rotate::<2, 30>(a), rotate::<13, 19>(a), rotate::<22, 10>(a));
                    v = [add(t1, add(s0, majority(a, b, c))), a, b, c, add(d, t1), e, f, g];
                    // The word of sixteen rounds later; after the last sixteen it is not used.
                    let (w1, w14) = (w[(i + 1) % 16], w[(i + 14) % 16]);
                    let s0 = xor3(rotate::<7, 25>(w1), rotate::<18, 14>(w1), shift::<3>(w1));
                    let s1 = xor3(rotate::<17, 15>(w14), rotate::<19, 13>(w14), shift::<10>(w14));
                    w[i] = add(add(w[i], s0), add(w[(i + 9) % 16], s1));
                }
            }
            for ((word, was), is) in state.iter_mut().zip(before).zip(v) {
                store(word, add(was, is));
            }
        }
    };
}

/// Sixteen lanes.
#[cfg(target_arch = "x86_64")]
mod avx512 {
    use std::arch::x86_64::*;

    const LANES: usize = 16;
    type Vector = __m512i;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load(words: &Words) -> Vector {
        // SAFETY: `Words` has the vector's size and alignment.
        unsafe { _mm512_load_si512(words.0.as_ptr().cast()) }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn store(words: &mut Words, v: Vector) {
        // SAFETY: as in `load`.
        unsafe { _mm512_store_si512(words.0.as_mut_ptr().cast(), v) }
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn splat(word: u32) -> Vector {
        _mm512_set1_epi32(word.cast_signed())
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn add(a: Vector, b: Vector) -> Vector {
        _mm512_add_epi32(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
        _mm512_ternarylogic_epi32::<0x96>(a, b, c)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
        _mm512_ternarylogic_epi32::<0xca>(a, b, c)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
        _mm512_ternarylogic_epi32::<0xe8>(a, b, c)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn rotate<const RIGHT: i32, const LEFT: i32>(v: Vector) -> Vector {
        _mm512_ror_epi32::<RIGHT>(v)
    }
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn shift<const RIGHT: u32>(v: Vector) -> Vector {
        _mm512_srli_epi32::<RIGHT>(v)
    }

    engine!("avx512f,avx512bw");
}

/// Eight lanes.
#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::*;

    const LANES: usize = 8;
    type Vector = __m256i;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(words: &Words) -> Vector {
        // SAFETY: `Words` has the vector's size and at least its alignment.
        unsafe { _mm256_load_si256(words.0.as_ptr().cast()) }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn store(words: &mut Words, v: Vector) {
        // SAFETY: as in `load`.
        unsafe { _mm256_store_si256(words.0.as_mut_ptr().cast(), v) }
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn splat(word: u32) -> Vector {
        _mm256_set1_epi32(word.cast_signed())
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn add(a: Vector, b: Vector) -> Vector {
        _mm256_add_epi32(a, b)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn xor3(a: Vector, b: Vector, c: Vector) -> Vector {
        _mm256_xor_si256(_mm256_xor_si256(a, b), c)
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn choose(a: Vector, b: Vector, c: Vector) -> Vector {
        _mm256_xor_si256(c, _mm256_and_si256(a, _mm256_xor_si256(b, c)))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn majority(a: Vector, b: Vector, c: Vector) -> Vector {
        _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rotate<const RIGHT: i32, const LEFT: i32>(v: Vector) -> Vector {
        _mm256_or_si256(_mm256_srli_epi32::<RIGHT>(v), _mm256_slli_epi32::<LEFT>(v))
    }
    #[inline]
    #[target_feature(enable = "avx2")]
    fn shift<const RIGHT: i32>(v: Vector) -> Vector {
        _mm256_srli_epi32::<RIGHT>(v)
    }

    engine!("avx2");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(lengths: impl IntoIterator<Item = usize>) -> Vec<Vec<u8>> {
        lengths.into_iter().map(|n| (0..n).map(|i| (i * 7 + n) as u8).collect()).collect()
    }

    /// Every length around the block borders, in batches that do and do not fill the lanes.
    #[test]
    fn lanes_agree_with_ring() {
        for batch in [1, 2, 3, 7, 8, 9, 16, 17, 40] {
            let all = inputs((0..300).chain([1000, 4096, 65_537]).rev());
            for part in all.chunks(batch) {
                let part: Vec<&[u8]> = part.iter().map(Vec::as_slice).collect();
                let want: Vec<Digest> = part.iter().map(|i| one(i)).collect();
                let mut got = Vec::new();
                each(&part, &mut got);
                assert_eq!(got, want, "batch of {batch}");
                #[cfg(target_arch = "x86_64")]
                for_each_engine(&part, &want);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn for_each_engine(inputs: &[&[u8]], want: &[Digest]) {
        let mut got = vec![[0; 32]; inputs.len()];
        if std::arch::is_x86_feature_detected!("avx512bw") {
            // SAFETY: checked above; AVX-512BW implies AVX-512F.
            unsafe { avx512::each(inputs, &mut got) };
            assert_eq!(got, want);
            got.fill([0; 32]);
        }
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: checked above.
            unsafe { avx2::each(inputs, &mut got) };
            assert_eq!(got, want);
        }
    }
}
