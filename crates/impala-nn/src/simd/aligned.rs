//! Memory for the kernels: it starts on a cache line, and rows are padded to whole panels of 16 numbers.

use super::kernels::PANEL;

/// `width` rounded up to whole panels.
pub(crate) const fn padded(width: usize) -> usize {
    width.next_multiple_of(PANEL)
}

/// Numbers from one row of an activation of `width` to the next. Wide rows get a spare panel if they
/// would be an even number of cache lines apart: at powers of two, the same columns of all rows of a
/// tile would compete for a few places of the first-level cache.
pub(crate) const fn stride(width: usize) -> usize {
    let panels = padded(width) / PANEL;
    if panels >= 8 && panels.is_multiple_of(2) { (panels + 1) * PANEL } else { panels * PANEL }
}

/// Numbers that start on a cache line: vectors that straddle two lines are read at half the speed.
#[derive(Debug)]
pub(crate) struct Aligned {
    storage: Vec<f32>,
    start: usize,
    len: usize,
}

impl Aligned {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        const LINE_BYTES: usize = 64;
        let spare = LINE_BYTES / size_of::<f32>();
        let storage = vec![0.0; len + spare];
        // Only speed depends on it: a wrong answer would still be in range.
        let start = storage.as_ptr().align_offset(LINE_BYTES).min(spare);
        Self { storage, start, len }
    }
}

impl std::ops::Deref for Aligned {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.storage[self.start..self.start + self.len]
    }
}

impl std::ops::DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.storage[self.start..self.start + self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_start_on_cache_lines() {
        for len in [0, 1, 1000] {
            let buffer = Aligned::zeros(len);
            assert_eq!(buffer.len(), len);
            assert_eq!(buffer.as_ptr().align_offset(64), 0);
        }
    }
}
