//! Metrics that differ in one label, whose values are known from the start.

use parking_lot::MappedRwLockReadGuard;
use prometheus_client::metrics::family::Family;

/// The pairs of a label and its value.
pub(super) type Labels<const N: usize> = [(&'static str, &'static str); N];

/// Defines the values of a label.
macro_rules! label_values {
    (
        $(#[$doc:meta])*
        pub enum $name:ident {$(
            $(#[$value_doc:meta])*
            $value:ident = $text:literal,
        )*}
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {$(
            $(#[$value_doc])*
            $value,
        )*}

        impl $name {
            pub(super) const ALL: &[&'static str] = &[$($text),*];

            /// Returns the value of the label.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {$(Self::$value => $text,)*}
            }
        }
    };
}
pub(super) use label_values;

/// One metric for each value of a label. Finding one takes a lock, which only those who meet a
/// value for the first time hold for themselves. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct ByLabel<M> {
    label: &'static str,
    pub(super) family: Family<Labels<1>, M>,
}

impl<M: Default> ByLabel<M> {
    /// Creates the metrics of all `values`, so that their rates are known from their first event
    /// on.
    pub(super) fn new(label: &'static str, values: &[&'static str]) -> Self {
        let by_label = Self {
            label,
            family: Family::default(),
        };
        for value in values {
            drop(by_label.of(value));
        }
        by_label
    }

    /// Returns the metric of a value.
    pub(super) fn of(&self, value: &'static str) -> MappedRwLockReadGuard<'_, M> {
        self.family.get_or_create(&[(self.label, value)])
    }
}
