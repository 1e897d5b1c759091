//! How the allocator takes memory from the system, and returns it.

/// Each block of at least this size gets pages of its own, which go back to the system when it is
/// freed.
///
/// An array that grows is then moved and not copied, and leaves no gap behind in which small things
/// settle, so that nothing large fits into it any more. By default glibc does this from 128 KiB on,
/// and raises that as it frees larger blocks: mallopt(3).
const OWN_PAGES_BYTES: usize = 16 * 1024;

/// The most that an allocator adds to a block for itself, in bytes.
const BLOCK_OVERHEAD_BYTES: u64 = 32;
/// The size of a page on almost every machine.
const PAGE_BYTES: u64 = 4096;

/// The most memory that a block of `bytes` takes, in bytes.
pub fn block_bytes(bytes: u64) -> u64 {
    let with_overhead = bytes + BLOCK_OVERHEAD_BYTES;
    match with_overhead < OWN_PAGES_BYTES as u64 {
        true => with_overhead,
        false => with_overhead.next_multiple_of(PAGE_BYTES),
    }
}

/// The most memory that a growing array takes until it has `entries`, in bytes: its capacity is a
/// power of two, and while it grows, the old array of half the size is there too.
pub fn array_bytes(entries: u64, entry_bytes: usize) -> u64 {
    let bytes = entries.max(4).next_power_of_two() * entry_bytes as u64;
    block_bytes(bytes) + block_bytes(bytes / 2)
}

/// The same for a slab.
pub fn slab_bytes<T>(entries: u64) -> u64 {
    array_bytes(entries, size_of::<SlabEntry<T>>())
}

/// A slab's entry, whose own type is private: it needs a word to tell whether it is taken, unless `T`
/// has values to spare.
#[allow(dead_code, reason = "only its size is used")]
enum SlabEntry<T> {
    Vacant(usize),
    Occupied(T),
}

/// Sets the allocator up, before it takes much. Only glibc's needs that.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a call with two numbers")]
pub fn set_up() {
    // SAFETY: mallopt takes numbers alone, and refuses those that it does not know.
    unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_PAGES_BYTES as libc::c_int) };
}

/// Sets the allocator up, which needs nothing.
#[cfg(not(target_env = "gnu"))]
pub fn set_up() {}

/// Makes the allocator return all memory that is not in use. By itself, glibc's keeps what lies
/// before anything in use, see malloc_trim(3); other allocators do not.
///
/// Takes time in proportion to what the allocator has, so call it only when much was freed.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "a call without arguments that could be wrong")]
pub fn return_unused() {
    // SAFETY: malloc_trim may be called at any time, and takes only the bytes to keep at the top.
    unsafe { libc::malloc_trim(0) };
}

/// Does nothing: the allocator returns by itself what is not in use.
#[cfg(not(target_env = "gnu"))]
pub fn return_unused() {}

#[cfg(test)]
mod tests {
    use slab::Slab;

    use super::*;

    const OWN_PAGES: u64 = OWN_PAGES_BYTES as u64;

    /// How far apart the entries of a slab are.
    fn stride<T>(one: T, other: T) -> usize {
        let mut slab = Slab::new();
        let keys = [slab.insert(one), slab.insert(other)];
        let [one, other] = keys.map(|key| std::ptr::from_ref(&slab[key]).addr());
        other - one
    }

    #[test]
    fn a_slabs_entry_takes_what_it_does_in_the_slab() {
        assert_eq!(stride(1_u64, 2), size_of::<SlabEntry<u64>>());
        assert_eq!(stride([1_u32; 5], [2; 5]), size_of::<SlabEntry<[u32; 5]>>());
        let spare = (1_u64, true);
        assert_eq!(stride(spare, spare), size_of::<SlabEntry<(u64, bool)>>());
        assert_eq!(size_of::<SlabEntry<(u64, bool)>>(), 16);
        assert_eq!(stride("a", "b"), size_of::<SlabEntry<&str>>());
    }

    #[test]
    fn a_block_takes_what_it_holds_and_whole_pages_if_it_has_its_own() {
        for (bytes, taken) in [
            (0, 32),
            (100, 132),
            (OWN_PAGES - 33, OWN_PAGES - 1),
            (OWN_PAGES - 32, OWN_PAGES),
            (OWN_PAGES - 31, OWN_PAGES + PAGE_BYTES),
            (64 * 1024, 68 * 1024),
        ] {
            assert_eq!(block_bytes(bytes), taken, "{bytes}");
        }
    }
}
