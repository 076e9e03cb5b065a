//! Classes of bytes, 64 at a time, in vector instructions.
#![allow(unsafe_code)]

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64;

/// What keys, tokens, Base64 and their percent-encodings are made of. Not `:` and `,`, so that times and lists are none.
pub(crate) fn in_run(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'%' | b'+' | b'-' | b'.' | b'/' | b'=' | b'_' | b'~')
}

/// Letters, digits and the other characters of both alphabets of Base64 (RFC 4648 4 and 5).
pub(crate) const fn in_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'/' | b'_')
}

/// Classes of the bytes of a block: the lowest bit is the first byte's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Masks {
    /// [`in_run`].
    pub(crate) run: u64,
    /// [`in_base64`].
    pub(crate) base64: u64,
    pub(crate) capital: u64,
    pub(crate) digit: u64,
    pub(crate) colon: u64,
    pub(crate) space: u64,
    pub(crate) dash: u64,
    pub(crate) at_sign: u64,
    /// [`is_odd`].
    pub(crate) odd: u64,
}

/// Beyond ASCII, or a control character that is no white space: ordinary text has few.
pub(crate) fn is_odd(b: u8) -> bool {
    matches!(b, 0..=8 | 14..=31 | 0x80..)
}

/// Calls `take` with the number and masks of each block of `text`; behind its end there is nothing. Returns how many.
pub(crate) fn each(text: &[u8], take: &mut impl FnMut(usize, Masks)) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has AVX2, and the function needs nothing else.
            unsafe { each_avx2(text, take) }
        } else {
            // SAFETY: the function needs SSE2 and nothing else, and every x86_64 processor has it.
            unsafe { each_sse2(text, take) }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        each_with(text, take, plain)
    }
}

#[inline(always)]
fn each_with(
    text: &[u8],
    take: &mut impl FnMut(usize, Masks),
    masks: impl Fn(&[u8; BLOCK]) -> Masks,
) -> usize {
    let (whole, rest) = text.as_chunks::<BLOCK>();
    for (i, block) in whole.iter().enumerate() {
        take(i, masks(block));
    }
    if rest.is_empty() {
        return whole.len();
    }
    let mut last = [0; BLOCK];
    last[..rest.len()].copy_from_slice(rest);
    take(whole.len(), masks(&last));
    whole.len() + 1
}

/// [`each`] with the vectors of one instruction set.
#[cfg(target_arch = "x86_64")]
macro_rules! each_fn {
    ($name:ident $feature:literal $vector:ident $bits:ident $width:literal $load:ident $set:ident $or:ident $equal:ident
     $min:ident $sub:ident $mask:ident) => {
        #[target_feature(enable = $feature)]
        fn $name(text: &[u8], take: &mut impl FnMut(usize, Masks)) -> usize {
            use std::arch::x86_64::{$equal, $load, $mask, $min, $or, $set, $sub, $vector};
            let is = |v: $vector, b: u8| $equal(v, $set(b as i8));
            let within = |v: $vector, from: u8, count: u8| {
                let v = $sub(v, $set(from as i8));
                $equal($min(v, $set(count as i8 - 1)), v)
            };
            let masks = |block: &[u8; BLOCK]| {
                let mut out = Masks::default();
                for (i, part) in block.as_chunks::<$width>().0.iter().enumerate() {
                    // SAFETY: as many bytes as a vector has are readable there; no alignment is asked for.
                    let v = unsafe { $load(part.as_ptr().cast()) };
                    let letter = within($or(v, $set(0x20)), b'a', 26);
                    let dash = is(v, b'-');
                    // The slash and the digits follow each other.
                    let base64 =
                        $or($or(letter, within(v, b'/', 11)), $or($or(is(v, b'+'), dash), is(v, b'_')));
                    let run = $or($or(base64, is(v, b'%')), $or($or(is(v, b'.'), is(v, b'=')), is(v, b'~')));
                    let bits = |v: $vector| u64::from($mask(v) as $bits) << ($width * i);
                    out.run |= bits(run);
                    out.base64 |= bits(base64);
                    out.capital |= bits(within(v, b'A', 26));
                    out.digit |= bits(within(v, b'0', 10));
                    out.colon |= bits(is(v, b':'));
                    out.space |= bits(is(v, b' '));
                    out.dash |= bits(dash);
                    out.at_sign |= bits(is(v, b'@'));
                    // Of bytes beyond ASCII the top bit is set, and that is what is gathered.
                    out.odd |= bits($or(v, $or(within(v, 0, 9), within(v, 14, 18))));
                }
                out
            };
            each_with(text, take, masks)
        }
    };
}

#[cfg(target_arch = "x86_64")]
each_fn!(each_sse2 "sse2" __m128i u16 16 _mm_loadu_si128 _mm_set1_epi8 _mm_or_si128 _mm_cmpeq_epi8 _mm_min_epu8
    _mm_sub_epi8 _mm_movemask_epi8);
#[cfg(target_arch = "x86_64")]
each_fn!(each_avx2 "avx2" __m256i u32 32 _mm256_loadu_si256 _mm256_set1_epi8 _mm256_or_si256 _mm256_cmpeq_epi8
    _mm256_min_epu8 _mm256_sub_epi8 _mm256_movemask_epi8);

#[cfg(any(test, not(target_arch = "x86_64")))]
fn bits(block: &[u8; BLOCK], is: fn(u8) -> bool) -> u64 {
    block.iter().rev().fold(0, |mask, b| mask << 1 | u64::from(is(*b)))
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn plain(block: &[u8; BLOCK]) -> Masks {
    Masks {
        run: bits(block, in_run),
        base64: bits(block, in_base64),
        capital: bits(block, |b| b.is_ascii_uppercase()),
        digit: bits(block, |b| b.is_ascii_digit()),
        colon: bits(block, |b| b == b':'),
        space: bits(block, |b| b == b' '),
        dash: bits(block, |b| b == b'-'),
        at_sign: bits(block, |b| b == b'@'),
        odd: bits(block, is_odd),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Numbers that look like chance and are always the same.
    pub(crate) fn numbers() -> impl Iterator<Item = usize> {
        let next = |x: &usize| {
            Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
        };
        std::iter::successors(Some(7), next).map(|x| x >> 33)
    }

    #[test]
    fn vectors_say_what_the_plain_code_says() {
        let mut numbers = numbers();
        for len in (0..300).chain(4000..4100) {
            let text: Vec<u8> = numbers.by_ref().take(len).map(|n| n as u8).collect();
            let (mut fast, mut slow) = (Vec::new(), Vec::new());
            let count = each(&text, &mut |i, masks| fast.push((i, masks)));
            #[cfg(target_arch = "x86_64")]
            {
                let mut older = Vec::new();
                // SAFETY: every x86_64 processor has SSE2.
                unsafe { each_sse2(&text, &mut |i, masks| older.push((i, masks))) };
                assert_eq!(older, fast, "{text:?}");
            }
            assert_eq!(each_with(&text, &mut |i, masks| slow.push((i, masks)), plain), count);
            assert_eq!(fast, slow, "{text:?}");
        }
    }
}
