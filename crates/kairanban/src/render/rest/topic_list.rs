//! Lists of topics: the live list, a page of all topics, and what a search found.

use bytes::Bytes;
use kairanban_core::{Revision, Snapshot, Topic};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    encode::{LIVE_LIST_SLOT, TopicView, gzip, json, topic_views},
    service::SearchedPage,
};

/// The newest topics that are not archived, in the order of their ids; or a page of all topics, the
/// newest first.
#[derive(Serialize, ToSchema)]
#[schema(as = LiveList)]
pub struct TopicListView<'a> {
    topics: Vec<TopicView<'a>>,
    /// The revision of the board's newest change. A page of all topics has none.
    #[schema(value_type = i64, minimum = 0, required = false, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Revision>,
    /// How far a search looked. Other lists have none.
    #[schema(required = false, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    searched: Option<SearchView>,
}

/// How far a search looked. `Link` has the address where it goes on.
#[derive(Serialize, ToSchema)]
#[schema(as = Searched)]
struct SearchView {
    /// Whether it looked at all topics of the board that are older than where it began.
    #[serde(rename = "complete")]
    is_complete: bool,
    /// The id of the oldest topic that it looked at, unless it is complete.
    down_to: Option<i64>,
}

/// Renders the live list, encoded once for all readers.
#[must_use]
pub fn live_list(snapshot: &Snapshot) -> Bytes {
    snapshot.wire_cache().get_or_encode(LIVE_LIST_SLOT, || {
        json(&TopicListView {
            topics: topic_views(snapshot),
            revision: Some(snapshot.revision()),
            searched: None,
        })
        .into()
    })
}

/// Renders the live list within gzip, compressed once for all clients that ask for that.
#[must_use]
pub fn live_list_in_gzip(snapshot: &Snapshot) -> Bytes {
    let plain = live_list(snapshot);
    snapshot
        .wire_cache()
        .get_or_pack(LIVE_LIST_SLOT, || gzip(&plain))
}

/// Renders a page of all topics.
#[must_use]
pub fn topic_page(topics: &[Topic]) -> Vec<u8> {
    page(topics, None)
}

/// Renders what a search found, and how far it looked.
#[must_use]
pub fn search_page(found: &SearchedPage) -> Vec<u8> {
    let searched = SearchView {
        is_complete: found.next.is_none(),
        down_to: found.next.map(|id| id.0),
    };
    page(&found.topics, Some(searched))
}

fn page(topics: &[Topic], searched: Option<SearchView>) -> Vec<u8> {
    json(&TopicListView {
        topics: topics.iter().map(TopicView::from).collect(),
        revision: None,
        searched,
    })
}
