//! A libtorch tensor over borrowed memory, without a copy. One of the files that may use `unsafe`.
//!
//! Invariants:
//! - **B1** The slice that a [`Blob`] is made from outlives it (its lifetime parameter) and is not
//!   written while it lives (it is borrowed shared).
//! - **B2** The shape and strides address elements of the slice only (checked here).
//! - **B3** No operation of this crate writes to a blob: callers use it as the input of operations that
//!   allocate their result, and drop what autograd keeps of it before the blob's lifetime ends.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use tch::{Device, Kind, TchError, Tensor};

use impala_env::Element;

/// A read-only CPU tensor over a slice, without copying it.
#[derive(Debug)]
pub struct Blob<'a> {
    tensor: Tensor,
    _memory: PhantomData<&'a [u8]>,
}

impl<'a> Blob<'a> {
    /// A contiguous tensor of `shape` over all of `slice`.
    ///
    /// # Errors
    /// If libtorch refuses.
    ///
    /// # Panics
    /// If `shape` does not have as many elements as `slice`.
    pub fn new<T: Element + TensorElement>(
        slice: &'a [T],
        shape: &[i64],
    ) -> Result<Self, TchError> {
        let mut strides = vec![1; shape.len()];
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            strides[axis] = strides[axis + 1] * shape[axis + 1];
        }
        let elements: i64 = shape.iter().product();
        assert_eq!(usize::try_from(elements).ok(), Some(slice.len()), "shape {shape:?}");
        Self::strided(slice, shape, &strides)
    }

    /// A tensor with any strides (in elements, not negative) into `slice`.
    ///
    /// # Errors
    /// If libtorch refuses.
    ///
    /// # Panics
    /// If an element would lie outside of `slice`.
    pub fn strided<T: Element + TensorElement>(
        slice: &'a [T],
        shape: &[i64],
        strides: &[i64],
    ) -> Result<Self, TchError> {
        assert_eq!(shape.len(), strides.len(), "shape and strides");
        assert!(
            shape.iter().all(|&n| n > 0) && strides.iter().all(|&n| n >= 0),
            "{shape:?} {strides:?}"
        );
        let last: i64 = shape.iter().zip(strides).map(|(n, stride)| (n - 1) * stride).sum();
        assert!(
            usize::try_from(last).is_ok_and(|last| last < slice.len()),
            "{shape:?} {strides:?} of {}",
            slice.len()
        );
        let data = slice.as_ptr().cast::<u8>();
        // SAFETY: B1 keeps the memory alive and unchanged, B2 was just checked, B3 keeps libtorch from
        // writing through the pointer.
        let tensor = unsafe { Tensor::f_from_blob(data, shape, strides, T::KIND, Device::Cpu) }?;
        Ok(Self { tensor, _memory: PhantomData })
    }

    /// What `f` makes of the tensor, which may still be a view of the same memory.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn map(self, f: impl FnOnce(Tensor) -> Result<Tensor, TchError>) -> Result<Self, TchError> {
        Ok(Self { tensor: f(self.tensor)?, _memory: PhantomData })
    }

    /// The tensor. A clone of it must not outlive the blob (B3).
    pub const fn tensor(&self) -> &Tensor {
        &self.tensor
    }
}

/// Element types that libtorch shares with this crate.
pub trait TensorElement {
    /// libtorch's name of the type.
    const KIND: Kind;
}

impl TensorElement for u8 {
    const KIND: Kind = Kind::Uint8;
}

impl TensorElement for f32 {
    const KIND: Kind = Kind::Float;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_strides_stack_frames() {
        let frames = [1.0_f32, 2.0, 3.0, 4.0];
        let blob = Blob::strided(&frames, &[3, 2], &[1, 1]).expect("inside");
        assert_eq!(
            Vec::<f32>::try_from(blob.tensor().reshape([-1])).expect("f32"),
            [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]
        );
    }

    #[test]
    #[should_panic(expected = "[3, 2]")]
    fn reaching_outside_is_refused() {
        let frames = [1_u8; 4];
        let _refused = Blob::strided(&frames, &[3, 2], &[2, 1]);
    }
}
