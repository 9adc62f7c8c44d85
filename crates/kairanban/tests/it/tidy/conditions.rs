//! Which code is compiled for tests only: `#[test]`, and a `#[cfg(…)]` that holds in no other
//! build.

use syn::{Attribute, Meta, Token, punctuated::Punctuated};

pub fn is_for_tests(attribute: &Attribute) -> bool {
    if attribute.path().is_ident("test") {
        return true;
    }
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args()
            .is_ok_and(|condition| !can_be(&condition, true))
}

/// Whether a condition can have this value in a build that is not for tests; whatever else it names
/// may be so or not.
fn can_be(condition: &Meta, value: bool) -> bool {
    let Meta::List(list) = condition else {
        return !(value && condition.path().is_ident("test"));
    };
    let Ok(inner) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
        return true;
    };
    let mut inner = inner.iter();
    let is_all = list.path.is_ident("all");
    if list.path.is_ident("not") {
        inner.any(|condition| can_be(condition, !value))
    } else if is_all == value {
        inner.all(|condition| can_be(condition, value))
    } else {
        inner.any(|condition| can_be(condition, value))
    }
}
