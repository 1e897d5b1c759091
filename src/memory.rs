//! Giving memory back to the system.

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
