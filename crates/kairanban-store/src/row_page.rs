//! A page of rows of which some cannot be read.

/// The rows of a page that can be read. Those that cannot be are left out, so a short page need not
/// be the last one.
#[derive(Clone, Debug)]
pub struct RowPage<T> {
    /// The rows, in their order.
    pub rows: Vec<T>,
    /// The key that the next page follows; `None` if this is the last one.
    pub next: Option<i64>,
}

impl<T> RowPage<T> {
    /// Reads what the database returned when it was asked for `limit` rows: if it returned as many,
    /// there may be more, whether these can be read or not.
    pub(crate) fn read<R>(
        found: Vec<R>,
        limit: usize,
        key: impl Fn(&R) -> i64,
        read: impl Fn(R) -> Option<T>,
    ) -> Self {
        Self {
            next: found.last().filter(|_| found.len() >= limit).map(key),
            rows: found.into_iter().filter_map(read).collect(),
        }
    }
}
