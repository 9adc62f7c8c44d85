//! Renders pages and the bodies of the REST API. What a stream sends is in `encode`.

pub mod dates;
pub mod feed;
pub mod filled;
pub mod page;
pub mod rest;
pub mod schemas;
pub mod text;

pub use crate::encode::TopicView;
