//! The global allocator of the binaries: mimalloc, called by its shortest way.
//!
//! Nearly every value of a Rust program needs an alignment of 16 bytes or less, which mimalloc gives to
//! every block that is large enough. The usual wrapper passes the alignment all the same, which takes a
//! longer way through mimalloc. Counted by callgrind: of the 116,000 instructions of a metered call,
//! which makes 84 allocations, 8,600 were mimalloc's, and are 6,800 with this crate.

use std::alloc::{GlobalAlloc, Layout};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc,
    mi_zalloc_aligned,
};

/// A global allocator on top of mimalloc, set with `#[global_allocator]`. It has no size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mimalloc;

/// The alignment of every block of at least as many bytes (`MI_MAX_ALIGN_SIZE` of mimalloc). A smaller
/// block is aligned to 8 bytes.
const NATURAL: usize = 16;

/// Returns whether mimalloc gives a block of this size this alignment without being asked for it.
const fn is_natural(size: usize, align: usize) -> bool {
    align <= NATURAL && align <= size
}

// SAFETY: every block comes from mimalloc and goes back to it, whichever of its functions gave it: `mi_free` and `mi_realloc` take
// blocks of all of them. A block has the size that was asked for, and the alignment: it is asked for, or is natural, as the test
// below tries for every small size. mimalloc does not unwind; when memory is short it returns null, as the trait wants.
#[allow(
    unsafe_code,
    reason = "an allocator has no safe interface; the argument stands above"
)]
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        match is_natural(size, align) {
            // SAFETY: it may be called with any size.
            true => unsafe { mi_malloc(size) }.cast(),
            // SAFETY: the same; a layout's alignment is a power of two.
            false => unsafe { mi_malloc_aligned(size, align) }.cast(),
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        match is_natural(size, align) {
            // SAFETY: as in `alloc`.
            true => unsafe { mi_zalloc(size) }.cast(),
            // SAFETY: as in `alloc`.
            false => unsafe { mi_zalloc_aligned(size, align) }.cast(),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, _: Layout) {
        // SAFETY: the caller gives back a block of ours, once.
        unsafe { mi_free(block.cast()) };
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let align = layout.align();
        match is_natural(size, align) {
            // SAFETY: the block is ours. It stays where it is, aligned as it was, or moves to a new one, which is natural.
            true => unsafe { mi_realloc(block.cast(), size) }.cast(),
            // SAFETY: the block is ours, and a layout's alignment is a power of two.
            false => unsafe { mi_realloc_aligned(block.cast(), size, align) }.cast(),
        }
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "what is tested has no safe interface")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_aligned(block: *mut u8, align: usize) -> bool {
        !block.is_null() && block.addr().is_multiple_of(align)
    }

    #[test]
    fn every_small_block_is_aligned_as_asked() {
        let mut kept = Vec::new();
        for size in 1..=2_048 {
            for align in [1, 2, 4, 8, 16, 32, 64, 128] {
                let layout = Layout::from_size_align(size, align).expect("a layout");
                // SAFETY: the size is not zero; the blocks are freed below, with the layout that they were made with.
                for block in unsafe { [Mimalloc.alloc(layout), Mimalloc.alloc_zeroed(layout)] } {
                    assert!(is_aligned(block, align), "{size} bytes to {align}");
                    kept.push((block, layout));
                }
            }
        }
        for (block, layout) in kept {
            // SAFETY: made above, with this layout.
            unsafe { Mimalloc.dealloc(block, layout) };
        }
    }

    proptest! {
        #[test]
        fn a_block_keeps_its_bytes_and_its_alignment_as_it_grows_and_shrinks(
            shift in 0_u32..9, sizes in prop::collection::vec(1_usize..20_000, 2..8),
        ) {
            let align = 1 << shift;
            let mut layout = Layout::from_size_align(sizes[0], align).expect("a layout");
            // SAFETY: the size is not zero.
            let mut block = unsafe { Mimalloc.alloc_zeroed(layout) };
            for size in &sizes[1..] {
                let same = layout.size().min(*size);
                // SAFETY: the block has this layout; what is written and read lies within it.
                unsafe {
                    for at in 0..layout.size() {
                        block.add(at).write(at as u8);
                    }
                    block = Mimalloc.realloc(block, layout, *size);
                    prop_assert!(is_aligned(block, align));
                    prop_assert!((0..same).all(|at| block.add(at).read() == at as u8));
                }
                layout = Layout::from_size_align(*size, align).expect("a layout");
            }
            // SAFETY: it has this layout now.
            unsafe { Mimalloc.dealloc(block, layout) };
        }
    }
}
