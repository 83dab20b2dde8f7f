//! Memory that an operation writes as a whole.
#![allow(unsafe_code)] // numbers that nobody has written

/// `len` numbers of any value, for an operation that writes every one of them: filling them first would cost as much
/// as some of those operations.
pub fn unspecified(len: usize) -> Vec<f32> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        let mut values: Vec<f32> = Vec::with_capacity(len);
        // SAFETY: the capacity is `len`, and every pattern of bits is an f32. The empty assembly, which may have written
        // to the memory that it is shown, makes whatever lies there a value for the compiler.
        #[allow(clippy::uninit_vec)]
        unsafe {
            std::arch::asm!("/* {0} */", in(reg) values.as_mut_ptr(), options(nostack, preserves_flags));
            values.set_len(len);
        }
        values
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    vec![0.0; len]
}
