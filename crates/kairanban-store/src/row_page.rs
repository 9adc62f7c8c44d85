//! A page of rows of which some cannot be read.

use crate::sql::row_limit;

/// The rows of a page that can be read. Those that cannot be are left out, so a short page need not
/// be the last one.
#[derive(Clone, Debug)]
pub struct RowPage<T, K = i64> {
    /// The rows, in their order.
    pub rows: Vec<T>,
    /// The key that the next page follows; `None` if this is the last one.
    pub next: Option<K>,
}

impl<T, K> RowPage<T, K> {
    /// Reads what the database returned when it was asked for [`limit_of_page`]: the row beyond
    /// `limit` shows that there are more, whether these can be read or not.
    pub(crate) fn read<R>(
        mut found: Vec<R>,
        limit: usize,
        key: impl Fn(&R) -> K,
        read: impl Fn(R) -> Option<T>,
    ) -> Self {
        let has_more = found.len() > limit;
        found.truncate(limit);
        Self {
            next: found.last().filter(|_| has_more).map(key),
            rows: found.into_iter().filter_map(read).collect(),
        }
    }
}

/// Returns the `LIMIT` of a query for a page of `limit` rows: one more, which begins the next page.
pub(crate) fn limit_of_page(limit: usize) -> i64 {
    row_limit(limit) + 1
}
