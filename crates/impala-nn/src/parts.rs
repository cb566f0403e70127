//! Splits rows in two parts and joins them again: the part of discrete choices, then the part of continuous numbers.

/// Replaces `first` and `second` by the parts of `rows`: of each row of `width` elements those before `at`, and
/// those from there on.
pub fn split_rows<T: Copy>(
    rows: &[T],
    (at, width): (usize, usize),
    first: &mut Vec<T>,
    second: &mut Vec<T>,
) {
    first.clear();
    second.clear();
    for row in rows.chunks_exact(width) {
        first.extend_from_slice(&row[..at]);
        second.extend_from_slice(&row[at..]);
    }
}

/// Puts together what [`split_rows`] takes apart. Neither part of a row is empty.
///
/// # Panics
/// If lengths do not agree.
pub fn join_rows<T: Copy>(first: &[T], second: &[T], (at, width): (usize, usize), rows: &mut [T]) {
    assert_eq!(rows.len(), first.len() + second.len(), "rows of {width}");
    let parts = first.chunks_exact(at).zip(second.chunks_exact(width - at));
    for (row, (first, second)) in rows.chunks_exact_mut(width).zip(parts) {
        row[..at].copy_from_slice(first);
        row[at..].copy_from_slice(second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_apart_and_together_again() {
        let rows = [1, 2, 3, 4, 5, 6];
        let (mut first, mut second) = (vec![9], vec![9]);
        split_rows(&rows, (1, 3), &mut first, &mut second);
        assert_eq!((&first[..], &second[..]), (&[1, 4][..], &[2, 3, 5, 6][..]));
        let mut joined = [0; 6];
        join_rows(&first, &second, (1, 3), &mut joined);
        assert_eq!(joined, rows);
    }
}
