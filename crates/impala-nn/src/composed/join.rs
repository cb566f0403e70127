//! Joins the features of the torso with the other inputs of each observation, in one row.

use crate::simd::aligned::{Aligned, stride};
use crate::simd::kernels::Rows;

/// Puts both in one row, if there is anything beside the features.
#[derive(Debug)]
pub(super) struct Join {
    /// Numbers in a row of features, gaps included.
    features: usize,
    /// Numbers that follow them.
    extra: usize,
    rows: Aligned,
}

impl Join {
    pub(super) fn new(features: usize, extra: usize) -> Self {
        Self { features, extra, rows: Aligned::zeros(0) }
    }

    /// K: numbers in a joined row.
    pub(super) const fn width(&self) -> usize {
        self.features + self.extra
    }

    /// The rows of `features` with those of `extra`, `[rows][extra]`, behind them.
    pub(super) fn join<'a>(&'a mut self, features: Rows<'a>, extra: &[f32]) -> Rows<'a> {
        if self.extra > 0 {
            let (rows, width) = (features.data.len() / features.stride, self.width());
            let stride = stride(width);
            assert_eq!(extra.len(), rows * self.extra, "what is seen beside the observations");
            if self.rows.len() < rows * stride {
                self.rows = Aligned::zeros(rows * stride);
            }
            let parts = features.data.chunks_exact(features.stride);
            let parts = parts.zip(extra.chunks_exact(self.extra));
            for (row, (features, extra)) in self.rows.chunks_exact_mut(stride).zip(parts) {
                let (first, second) = row[..width].split_at_mut(self.features);
                first.copy_from_slice(&features[..self.features]);
                second.copy_from_slice(extra);
            }
        }
        self.joined(features)
    }

    /// The rows of the last [`Join::join`], which was given the same features.
    pub(super) fn joined<'a>(&'a self, features: Rows<'a>) -> Rows<'a> {
        if self.extra == 0 {
            return features;
        }
        let (rows, stride) = (features.data.len() / features.stride, stride(self.width()));
        Rows { data: &self.rows[..rows * stride], stride, width: self.width() }
    }
}
