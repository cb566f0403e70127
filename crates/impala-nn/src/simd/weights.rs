//! Packs weights of the flat vector into the orders that the kernels read, where rows or columns are placed differently
//! there: gates that lie side by side, inputs with gaps between them.

use super::kernels::PANEL;

/// Where the numbers of a weight `[outputs][inputs]` go. What they do not fill stays as it is: zero.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Placement<'a> {
    /// The column of each output.
    pub columns: &'a [usize],
    /// The place of each input.
    pub places: &'a [usize],
}

impl Placement<'_> {
    /// Writes `weight` as `[columns / 16][K][16]`: what a product with inputs needs.
    pub(crate) fn pack_forward(self, weight: &[f32], k: usize, packed: &mut [f32]) {
        self.each(weight, |column, place, &w| packed[forward(column, place, k)] = w);
    }

    /// The inverse of [`Placement::pack_forward`].
    pub(crate) fn unpack_forward(self, packed: &[f32], k: usize, weight: &mut [f32]) {
        self.each_mut(weight, |column, place, w| *w = packed[forward(column, place, k)]);
    }

    /// Writes `weight` as `[places / 16][columns][16]`, for a product with gradients of outputs.
    pub(crate) fn pack_backward(self, weight: &[f32], columns: usize, packed: &mut [f32]) {
        // As in forward order, with both sides exchanged.
        self.each(weight, |column, place, &w| packed[forward(place, column, columns)] = w);
    }

    /// The inverse of [`Placement::pack_backward`].
    pub(crate) fn unpack_backward(self, packed: &[f32], columns: usize, weight: &mut [f32]) {
        self.each_mut(weight, |column, place, w| *w = packed[forward(place, column, columns)]);
    }

    fn each(self, weight: &[f32], mut f: impl FnMut(usize, usize, &f32)) {
        let rows = weight.chunks_exact(self.places.len());
        for (&column, row) in self.columns.iter().zip(rows) {
            self.places.iter().zip(row).for_each(|(&place, w)| f(column, place, w));
        }
    }

    fn each_mut(self, weight: &mut [f32], mut f: impl FnMut(usize, usize, &mut f32)) {
        let rows = weight.chunks_exact_mut(self.places.len());
        for (&column, row) in self.columns.iter().zip(rows) {
            self.places.iter().zip(row).for_each(|(&place, w)| f(column, place, w));
        }
    }
}

/// Where a number is in `[columns / 16][k][16]`.
const fn forward(column: usize, place: usize, k: usize) -> usize {
    (column / PANEL * k + place) * PANEL + column % PANEL
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::aligned::padded;

    #[test]
    fn each_weight_is_where_it_was_placed_and_comes_back() {
        let (columns, places) = ([17, 0, 40], [2, 19, 5, 6]);
        let placement = Placement { columns: &columns, places: &places };
        let weight: Vec<f32> = (1_u8..=12).map(f32::from).collect();
        let (outputs, k) = (41, 21);
        let mut forward = vec![0.0; padded(outputs) * k];
        placement.pack_forward(&weight, k, &mut forward);
        let mut backward = vec![0.0; padded(k) * outputs];
        placement.pack_backward(&weight, outputs, &mut backward);
        // Output 0 is column 17: the second of panel 1. Input 1 is place 19: the fourth of panel 1.
        assert_eq!(forward[(k + 19) * PANEL + 1], 2.0);
        assert_eq!(backward[(outputs + 17) * PANEL + 3], 2.0);
        for packed in [&forward, &backward] {
            assert_eq!(packed.iter().filter(|&&x| x != 0.0).count(), weight.len());
        }
        let mut back = vec![0.0; weight.len()];
        placement.unpack_forward(&forward, k, &mut back);
        assert_eq!(back, weight);
        back.fill(0.0);
        placement.unpack_backward(&backward, outputs, &mut back);
        assert_eq!(back, weight);
    }
}
