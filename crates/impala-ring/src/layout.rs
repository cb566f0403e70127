//! The byte layout of a block: computes where each field, row and group lies, and touches no memory.

use std::ops::Range;

/// Fields and blocks start on multiples of this.
const CACHE_LINE_BYTES: usize = 64;

/// One array of a block: `[rows][G][group_bytes]`. Each slot has its part of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FieldShape {
    /// Rows, usually time steps.
    pub rows: usize,
    /// Bytes of one slot's part of a row; may be 0.
    pub group_bytes: usize,
}

/// A block that cannot be laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// A block of no slots.
    #[error("a block has at least one group")]
    NoGroups,
    /// The block is larger than an address space.
    #[error("one block of these fields would not fit the address space")]
    TooLarge,
}

/// Offsets of all fields of one block, in bytes from its start: a structure of arrays, so that a consumer sees each
/// field of all slots as one contiguous array. Fields are known by their index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockLayout {
    groups: usize,
    fields: Vec<Field>,
    block_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    offset: usize,
    shape: FieldShape,
}

/// What can say how the blocks of a ring are laid out: a [`BlockLayout`], or a type that knows what the fields mean.
pub trait Layout {
    /// Where the bytes lie.
    fn block_layout(&self) -> &BlockLayout;
}

impl Layout for BlockLayout {
    fn block_layout(&self) -> &BlockLayout {
        self
    }
}

impl BlockLayout {
    /// Lays out blocks of `groups` slots with these fields, each on a cache line.
    ///
    /// # Errors
    /// [`LayoutError`] if there are no groups, or the block is too large.
    pub fn new(groups: usize, fields: &[FieldShape]) -> Result<Self, LayoutError> {
        if groups == 0 {
            return Err(LayoutError::NoGroups);
        }
        let mut placed = Vec::with_capacity(fields.len());
        let mut end = 0_usize;
        for &shape in fields {
            placed.push(Field { offset: end, shape });
            end = shape
                .rows
                .checked_mul(groups)
                .and_then(|parts| parts.checked_mul(shape.group_bytes))
                .and_then(|bytes| end.checked_add(bytes))
                .and_then(|n| n.checked_next_multiple_of(CACHE_LINE_BYTES))
                .filter(|&n| isize::try_from(n).is_ok())
                .ok_or(LayoutError::TooLarge)?;
        }
        Ok(Self { groups, fields: placed, block_bytes: end })
    }

    /// G: slots of a block.
    #[must_use]
    pub const fn groups(&self) -> usize {
        self.groups
    }

    /// How many fields there are.
    #[must_use]
    pub const fn fields(&self) -> usize {
        self.fields.len()
    }

    /// Bytes from one block to the next.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        self.block_bytes
    }

    /// The shape of a field.
    ///
    /// # Panics
    /// If there is no such field.
    #[must_use]
    pub fn shape(&self, field: usize) -> FieldShape {
        self.fields[field].shape
    }

    /// All bytes of a field, relative to the block.
    ///
    /// # Panics
    /// If there is no such field.
    #[must_use]
    pub fn field_range(&self, field: usize) -> Range<usize> {
        let Field { offset, shape } = self.fields[field];
        offset..offset + shape.rows * self.groups * shape.group_bytes
    }

    /// The bytes of row `row` of a field that belong to slot `group`, relative to the block.
    ///
    /// # Panics
    /// If there is no such field, row or group.
    #[must_use]
    pub fn group_range(&self, field: usize, row: usize, group: usize) -> Range<usize> {
        let Field { offset, shape: FieldShape { rows, group_bytes } } = self.fields[field];
        assert!(row < rows && group < self.groups, "field {field} row {row} group {group}");
        let start = offset + (row * self.groups + group) * group_bytes;
        start..start + group_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_of_every_field_belongs_to_one_group() {
        let shapes = [(1, 64), (8, 24), (1, 2), (6, 0), (5, 8), (6, 4)]
            .map(|(rows, group_bytes)| FieldShape { rows, group_bytes });
        let layout = BlockLayout::new(3, &shapes).expect("valid");
        let mut owners = vec![0_u32; layout.block_bytes()];
        for (field, shape) in shapes.iter().enumerate() {
            for row in 0..shape.rows {
                for group in 0..layout.groups() {
                    let range = layout.group_range(field, row, group);
                    assert!(layout.field_range(field).start <= range.start);
                    assert!(range.end <= layout.field_range(field).end);
                    owners[range].iter_mut().for_each(|n| *n += 1);
                }
            }
            let range = layout.field_range(field);
            assert!(range.start.is_multiple_of(CACHE_LINE_BYTES));
            assert!(owners[range].iter().all(|&n| n == 1), "field {field}");
        }
        assert!(owners.iter().all(|&n| n <= 1));
    }

    #[test]
    fn impossible_blocks_are_refused() {
        let field = |rows, group_bytes| [FieldShape { rows, group_bytes }];
        assert_eq!(BlockLayout::new(0, &field(1, 1)), Err(LayoutError::NoGroups));
        assert_eq!(BlockLayout::new(2, &field(usize::MAX, 1)), Err(LayoutError::TooLarge));
        assert_eq!(BlockLayout::new(1, &field(2, usize::MAX / 4)), Err(LayoutError::TooLarge));
        assert_eq!(BlockLayout::new(2, &[]).expect("no bytes").block_bytes(), 0);
    }
}
