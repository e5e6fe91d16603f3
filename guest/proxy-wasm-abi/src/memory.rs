//! Memory that Envoy allocates in the VM, to return bytes from a host call.

use core::ptr;

/// Allocates memory for Envoy: what `proxy_on_memory_allocate` does. The allocation is that of a
/// boxed slice of bytes, which [`take`] frees; it is zeroed, so it is never read uninitialized.
#[must_use]
pub fn allocate(size: usize) -> *mut u8 {
    let bytes: Box<[u8]> = vec![0; size].into_boxed_slice();
    Box::into_raw(bytes).cast()
}

/// Takes over what Envoy has written into an allocation. `None`: Envoy returned nothing.
///
/// # Safety
/// `data` is null, or comes from [`allocate`] with this size, and nobody else uses or frees it.
#[expect(unsafe_code, reason = "the host hands over a pointer and a length")]
pub(crate) unsafe fn take(data: *mut u8, size: usize) -> Option<Vec<u8>> {
    if data.is_null() {
        return None;
    }
    let bytes = ptr::slice_from_raw_parts_mut(data, size);
    // SAFETY: by the contract this is the pointer of a boxed slice of `size` initialized bytes, and
    // the only owner of it.
    Some(unsafe { Box::from_raw(bytes) }.into_vec())
}

#[cfg(test)]
#[expect(unsafe_code, reason = "writes as the host does")]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_writes_is_taken_over() {
        for size in [0, 1, 4096] {
            let data = allocate(size);
            // SAFETY: the allocation has this size.
            unsafe { data.write_bytes(7, size) };
            // SAFETY: `data` comes from `allocate` with this size.
            let taken = unsafe { take(data, size) };
            assert_eq!(taken, Some(vec![7; size]));
        }
        // SAFETY: null is nothing.
        assert_eq!(unsafe { take(ptr::null_mut(), 0) }, None);
    }
}
