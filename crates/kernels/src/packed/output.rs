//! The part of a product's output that one task writes.
#![allow(unsafe_code)] // tasks write interleaved parts of one slice

use std::marker::PhantomData;
use std::ops::Range;

use crate::pool::SharedMut;

/// Columns `part` of an output of `n` rows of activations by `rows` outputs.
pub(super) struct OutPart<'a> {
    ptr: *mut f32,
    n: usize,
    rows: usize,
    part: Range<usize>,
    _borrow: PhantomData<&'a mut [f32]>,
}

impl<'a> OutPart<'a> {
    /// # Safety
    /// While this part lives nobody else uses columns `part` of `out`.
    pub(super) unsafe fn new(
        out: &'a SharedMut<'_, f32>,
        n: usize,
        rows: usize,
        part: Range<usize>,
    ) -> Self {
        assert!(
            out.len() == n * rows && part.end <= rows,
            "part of an output"
        );
        Self {
            ptr: out.as_ptr(),
            n,
            rows,
            part,
            _borrow: PhantomData,
        }
    }

    /// Rows of activations.
    pub(super) fn n(&self) -> usize {
        self.n
    }

    /// The panels of `panel_rows` that this part consists of. It starts at a panel's border.
    pub(super) fn panels(&self, panel_rows: usize) -> Range<usize> {
        self.part.start / panel_rows..self.part.end.div_ceil(panel_rows)
    }

    #[inline(always)]
    fn lanes<const N: usize>(&self, t: usize, row: usize) -> usize {
        assert!(t < self.n && row >= self.part.start, "outside of the part");
        self.part.end.saturating_sub(row).min(N)
    }

    /// Outputs `row ..` of activations `t`; 0 beyond the last.
    #[inline(always)]
    pub(super) fn get<const N: usize>(&self, t: usize, row: usize) -> [f32; N] {
        let count = self.lanes::<N>(t, row);
        if count == N {
            // SAFETY: as below.
            return unsafe { self.ptr.add(t * self.rows + row).cast::<[f32; N]>().read() };
        }
        let mut lanes = [0.0; N];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: `lanes` keeps to this part, which is ours and inside the slice.
            *lane = unsafe { *self.ptr.add(t * self.rows + row + i) };
        }
        lanes
    }

    /// Writes outputs `row ..` of activations `t`, as many as there are.
    #[inline(always)]
    pub(super) fn set<const N: usize>(&mut self, t: usize, row: usize, values: [f32; N]) {
        let count = self.lanes::<N>(t, row);
        if count == N {
            // SAFETY: as below.
            unsafe {
                self.ptr
                    .add(t * self.rows + row)
                    .cast::<[f32; N]>()
                    .write(values)
            };
            return;
        }
        for (i, value) in values.into_iter().enumerate().take(count) {
            // SAFETY: `lanes` keeps to this part, which is ours and inside the slice.
            unsafe { *self.ptr.add(t * self.rows + row + i) = value };
        }
    }
}
