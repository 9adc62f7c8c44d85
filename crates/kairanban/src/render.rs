//! Renders pages and the bodies of the REST API. What a stream sends is in `encode`.

pub mod page;
pub mod rest;
pub mod schemas;

pub use crate::encode::TopicView;
