//! MurmurHash3, the 32-bit variant for x86, of two byte strings as if they were one.

/// The hash of `head` followed by `tail`, with seed 0. The parts are not joined, so that a request costs no allocation.
pub(super) fn murmur3_x86_32(head: &[u8], tail: &[u8]) -> u32 {
    let (mut hash, mut block, mut filled) = (0_u32, 0_u32, 0_u32);
    head.iter().chain(tail).for_each(|byte| {
        block |= u32::from(*byte) << filled;
        filled += u8::BITS;
        if filled == u32::BITS {
            hash = mixed_in(hash, block);
            (block, filled) = (0, 0);
        }
    });
    #[allow(clippy::cast_possible_truncation, reason = "the length enters the hash modulo 2^32")]
    let length = (head.len() + tail.len()) as u32;
    // An incomplete last block is padded with zeros; an empty one scrambles to zero and changes nothing.
    finished(hash ^ scrambled(block) ^ length)
}

fn mixed_in(hash: u32, block: u32) -> u32 {
    (hash ^ scrambled(block)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
}

fn scrambled(block: u32) -> u32 {
    block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593)
}

fn finished(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hash(text: &str) -> u32 {
        murmur3_x86_32(text.as_bytes(), b"")
    }

    #[test]
    fn published_vectors_hold() {
        assert_eq!(hash(""), 0);
        assert_eq!(hash("test"), 0xba6b_d213);
        assert_eq!(hash("Hello, world!"), 0xc036_3e43);
        assert_eq!(hash("The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
        assert_eq!(murmur3_x86_32(&[0, 0, 0, 0], &[]), 0x2362_f9de);
        assert_eq!(murmur3_x86_32(&[0, 0, 0], &[]), 0x85f0_b427);
        assert_eq!(murmur3_x86_32(&[0, 0], &[]), 0x30f4_c306);
        assert_eq!(murmur3_x86_32(&[0], &[]), 0x514e_28b7);
    }

    proptest! {
        #[test]
        fn where_the_seam_lies_changes_nothing(bytes in proptest::collection::vec(any::<u8>(), 0..40), cut in 0_usize..40) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(murmur3_x86_32(head, tail), murmur3_x86_32(&bytes, b""));
        }
    }
}
