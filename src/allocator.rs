//! How the allocator takes memory from the system, and gives it back.

/// Blocks of this size and above are the system's, each alone, and go back to it as they are freed.
///
/// A table that grows is then moved and not copied, and what it leaves behind is not a gap that
/// small things settle in, and that nothing large fits into any more. That is what glibc does
/// too, but from 128 KiB on, and from more and more the more it has freed: mallopt(3).
const ALONE_BYTES: usize = 16 * 1024;

/// What allocators keep with each block for themselves, at most.
const BLOCK_OVERHEAD: usize = 32;
/// The system gives memory by pages, which are of this size on almost every machine.
const PAGE_BYTES: usize = 4096;

/// The most memory that a block of so many bytes takes, in bytes.
pub fn block_bytes(bytes: usize) -> usize {
    let with_overhead = bytes + BLOCK_OVERHEAD;
    match with_overhead < ALONE_BYTES {
        true => with_overhead,
        false => with_overhead.next_multiple_of(PAGE_BYTES),
    }
}

/// The most memory that a growing table of so many entries takes, in bytes: its capacity is a power
/// of two, and while it grows the old one, of half the size, is there too.
pub fn table_bytes(entries: u64, entry_bytes: usize) -> u64 {
    // A slab's entry may need a word to tell whether it is taken.
    entries.max(4).next_power_of_two() * (entry_bytes + size_of::<usize>()) as u64 * 3 / 2
}

/// Tells the allocator how to take memory, before it takes much. Others than glibc's do not need to
/// be told.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a call with two numbers")]
pub fn set_up() {
    // SAFETY: mallopt takes numbers alone, and refuses those that it does not know.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, ALONE_BYTES as libc::c_int) };
}

/// Tells the allocator how to take memory: there is nothing to tell.
#[cfg(not(target_env = "gnu"))]
pub fn set_up() {}

/// Has the allocator give back what nobody uses any more, wherever it lies: glibc's keeps it if
/// anything in use lies behind it, see malloc_trim(3). Other allocators do so of their own accord.
///
/// Takes time in proportion to what is kept: for when a crowd has gone.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a call without arguments that could be wrong")]
pub fn give_back() {
    // SAFETY: malloc_trim may be called at any time, and takes only the bytes to keep at the top.
    unsafe { libc::malloc_trim(0) };
}

/// Has the allocator give back what nobody uses any more, which it does of its own accord.
#[cfg(not(target_env = "gnu"))]
pub fn give_back() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_takes_what_it_holds_and_whole_pages_if_it_is_alone() {
        for (bytes, taken) in [
            (0, 32),
            (100, 132),
            (ALONE_BYTES - 33, ALONE_BYTES - 1),
            (ALONE_BYTES - 32, ALONE_BYTES),
            (ALONE_BYTES - 31, ALONE_BYTES + PAGE_BYTES),
            (64 * 1024, 68 * 1024),
        ] {
            assert_eq!(block_bytes(bytes), taken, "{bytes}");
        }
    }
}
