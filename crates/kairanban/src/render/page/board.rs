//! The page of a board: rendered for each reader, but for the topics, which are rendered once for
//! all.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use kairanban_core::{
    AUTHOR_CHARS_MAX, COMMENT_CHARS_MAX, Invalid, InvalidReason, NotPermitted, Policies, Snapshot,
    WireSlot, full_list,
};
use minijinja::Error;
use serde::Serialize;

use super::{BoardFrame, Pages, grouped, topics::TopicsOnPage, without_gap};
use crate::{
    encode::{ENGLISH_PAGE_SLOT, JAPANESE_PAGE_SLOT, block},
    language::{Language, Messages},
    preferences::Preferences,
    render::{
        dates,
        filled::{GAP, RenderedPage},
    },
    service::Navigation,
};

/// The words that the script of the page takes over from it: its own, and the sentences for the
/// codes of what refuses a post.
const WORDS: [&str; 3] = ["live.", "fault.", "post."];

/// What a board page shows.
#[derive(Clone, Copy, Debug)]
pub struct BoardPage<'a> {
    /// What the reader chose.
    pub reader: &'a Preferences,
    /// The boards to go to.
    pub navigation: &'a Navigation,
    /// Who may read the board, and post on it.
    pub policies: Policies,
    /// Whether the reader may post, or why not.
    pub posting: Result<(), NotPermitted>,
    /// The list that the page shows.
    pub snapshot: &'a Snapshot,
    /// The most topics that a list holds.
    pub topics_max: usize,
    /// How often a stream is heard of, at least.
    pub heartbeat: Duration,
    /// The most boards that one stream may follow.
    pub boards_per_stream: usize,
    /// Since when the list may be old.
    pub stale_since: Option<DateTime<Utc>>,
    /// Whether it hangs on a wall, where it takes no posts.
    pub is_wall: bool,
    /// Whether it will be sent compressed.
    pub is_packed: bool,
    /// The text in the form.
    pub comment: &'a str,
    /// The author that the form holds.
    pub author: &'a str,
    /// What is wrong with that.
    pub faults: &'a [Invalid],
}

/// What the board's template sees.
#[derive(Serialize)]
struct BoardContext {
    action: String,
    may_post: bool,
    read: &'static str,
    post: &'static str,
    cursor: String,
    zone: &'static str,
    heartbeat_s: u64,
    boards_per_stream: usize,
    words: String,
    is_wall: bool,
    /// What is said while the list may be old.
    stale: Option<Stale>,
    /// Why the reader may not post.
    no_post: Option<String>,
    /// The gap for the topics, which are not of this reader alone.
    topics: &'static str,
    is_empty: bool,
    count: String,
    older: Option<OlderTopics>,
    comment: String,
    author: String,
    /// What is wrong, by field.
    faults: BTreeMap<&'static str, String>,
    comment_max: usize,
    author_max: usize,
}

#[derive(Serialize)]
struct Stale {
    /// The word beside the title.
    short: String,
    /// The line above the list: the most important of what there is to say.
    strong: String,
    text: String,
}

/// Where the topics are that the list has no room for.
#[derive(Serialize)]
struct OlderTopics {
    before: i64,
    said: String,
}

impl Pages {
    /// Renders a board: for this reader what depends on the reader, and the topics once for all.
    ///
    /// # Errors
    /// If a template fails.
    pub fn board(&self, page: &BoardPage<'_>) -> Result<RenderedPage, Error> {
        let language = page.reader.language;
        let (slot, cache) = (page_slot(language), page.snapshot.wire_cache());
        let on = TopicsOnPage {
            board: page.snapshot.board().as_str(),
            is_feed: true,
            sought: "",
        };
        let newest_first = page.snapshot.topics().iter().rev();
        let topics = cache.get_or_try_encode(slot, || {
            let topics = newest_first.map(|topic| topic.as_ref());
            self.topics(language, on, topics).map(Bytes::from)
        })?;
        let frame = self.frame(page)?;
        let packed = (page.is_packed).then(|| cache.get_or_pack(slot, || block(&topics)));
        Ok(RenderedPage::with_fill(frame, topics, packed))
    }

    /// Renders what stands around the topics.
    fn frame(&self, page: &BoardPage<'_>) -> Result<String, Error> {
        let (language, board) = (page.reader.language, page.snapshot.board());
        let frame = self.board_frame(page.navigation, board, "");
        let nav = BoardFrame {
            is_board: true,
            ..frame
        };
        let messages = self.messages(language);
        let topics = page.snapshot.topics();
        let context = BoardContext {
            action: nav.path.clone(),
            may_post: page.posting.is_ok(),
            read: page.policies.read.as_str(),
            post: page.policies.post.as_str(),
            cursor: page.snapshot.cursor().to_string(),
            zone: self.zone.name(),
            heartbeat_s: page.heartbeat.as_secs(),
            boards_per_stream: page.boards_per_stream,
            words: words(messages),
            is_wall: page.is_wall,
            stale: page.stale_since.map(|since| Stale {
                short: self.at(language, "live.stale", &since),
                strong: self.at(language, "live.stale_band", &since),
                text: self.said(language, "live.stale_text", &[]),
            }),
            no_post: self.no_post(page),
            topics: GAP,
            is_empty: topics.is_empty(),
            count: grouped(topics.len() as u64),
            older: full_list::first_if_full(topics, page.topics_max).map(|first| OlderTopics {
                before: first.0,
                said: self.said(
                    language,
                    "older.kept",
                    &[("n", &grouped(topics.len() as u64))],
                ),
            }),
            comment: without_gap(page.comment),
            author: without_gap(page.author),
            faults: page
                .faults
                .iter()
                .map(|fault| (fault.field, fault_text(messages, fault.reason)))
                .collect(),
            comment_max: COMMENT_CHARS_MAX,
            author_max: AUTHOR_CHARS_MAX,
        };
        self.page("board.html", page.reader, Some(nav), context)
    }

    fn no_post(&self, page: &BoardPage<'_>) -> Option<String> {
        let refused = page.posting.err().filter(|_| !page.is_wall)?;
        let key = match refused {
            NotPermitted::Closed => "post.closed",
            NotPermitted::ScopeTooSmall => "post.forbidden",
            NotPermitted::Hidden | NotPermitted::TokenRequired => "post.unauthorized",
        };
        Some(self.said(page.reader.language, key, &[]))
    }

    fn at(&self, language: Language, key: &str, time: &DateTime<Utc>) -> String {
        self.said(language, key, &[("time", &dates::clock(time, self.zone))])
    }
}

/// Returns the words of the script, as JSON.
fn words(messages: &Messages) -> String {
    let words: BTreeMap<_, _> = messages
        .iter()
        .filter_map(|(key, text)| {
            let name = WORDS.iter().find_map(|prefix| key.strip_prefix(prefix))?;
            Some((name, text))
        })
        .collect();
    serde_json::to_string(&words).unwrap_or_default()
}

const fn page_slot(language: Language) -> WireSlot {
    match language {
        Language::En => ENGLISH_PAGE_SLOT,
        Language::Ja => JAPANESE_PAGE_SLOT,
    }
}

fn fault_text(messages: &Messages, reason: InvalidReason) -> String {
    let text = messages
        .get(&format!("fault.{}", reason.code()))
        .cloned()
        .unwrap_or_else(|| reason.to_string());
    match reason {
        InvalidReason::TooLong { chars_max } => text.replace("{max}", &chars_max.to_string()),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use actix_web::test::TestRequest;
    use chrono_tz::Tz;
    use kairanban_core::{Revision, Topic, TopicId};

    use super::*;

    fn snapshot() -> Snapshot {
        let at = DateTime::UNIX_EPOCH;
        let topic = Topic {
            id: TopicId(7),
            comment: "<script>alert(1)</script>".to_owned(),
            author: "\"><u>".to_owned(),
            created_at: at,
            updated_at: at,
            edited_at: None,
            revision: Revision::new(1).expect("a revision"),
        };
        let cursor = "e-1".parse().expect("a cursor");
        Snapshot::new(
            "main".parse().expect("a name"),
            cursor,
            vec![Arc::new(topic)],
        )
    }

    fn board_page<'a>(
        reader: &'a Preferences,
        navigation: &'a Navigation,
        snapshot: &'a Snapshot,
    ) -> BoardPage<'a> {
        BoardPage {
            reader,
            navigation,
            policies: Policies::default(),
            posting: Ok(()),
            snapshot,
            topics_max: 500,
            heartbeat: Duration::from_secs(15),
            boards_per_stream: 50,
            stale_since: None,
            is_wall: false,
            is_packed: true,
            comment: "",
            author: "",
            faults: &[],
        }
    }

    fn rendered(address: &str, title: &str, comment: &str, faults: &[Invalid]) -> RenderedPage {
        let snapshot = snapshot();
        let navigation = Navigation {
            title: title.to_owned(),
            boards: Arc::from([]),
        };
        let reader = Preferences::of(&TestRequest::with_uri(address).to_http_request());
        let page = BoardPage {
            comment,
            faults,
            ..board_page(&reader, &navigation, &snapshot)
        };
        let pages = Pages::new(Tz::UTC, "main".parse().expect("a name")).expect("templates");
        pages.board(&page).expect("a page")
    }

    fn page(address: &str, title: &str, comment: &str, faults: &[Invalid]) -> String {
        rendered(address, title, comment, faults).text()
    }

    #[test]
    fn text_stays_text() {
        let page = page("/", "<i>", "</textarea>", &[]);
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt;"),
            "{page}"
        );
        assert!(
            !page.contains("<script>alert")
                && !page.contains("\"><u>")
                && !page.contains("<i>")
                && !page.contains("</textarea></textarea>")
        );
    }

    #[test]
    fn what_was_typed_has_no_room_for_the_topics() {
        let page = page("/", "x\0y", "a\0b", &[]);
        assert_eq!(page.matches("id=\"topic-7\"").count(), 1, "{page}");
        assert!(
            page.contains("a\u{fffd}b") && page.contains("x\u{fffd}y") && !page.contains('\0'),
            "{page}"
        );
    }

    #[test]
    fn faults_stand_beside_their_field_in_the_readers_language() {
        let fault = Invalid {
            field: "comment",
            reason: InvalidReason::TooLong { chars_max: 2_000 },
        };
        let page = page("/?lang=ja", "", "", &[fault]);
        assert!(
            page.contains("<html lang=\"ja\"")
                && page.contains("2000")
                && page.contains("aria-invalid=\"true\""),
            "{page}"
        );
    }

    #[test]
    fn a_page_of_an_old_list_says_when_it_is_from() {
        let snapshot = snapshot();
        let navigation = Navigation {
            title: String::new(),
            boards: Arc::from([]),
        };
        let reader = Preferences::of(&TestRequest::with_uri("/").to_http_request());
        let pages = Pages::new(Tz::Asia__Tokyo, "main".parse().expect("a name"));
        let page = pages.expect("templates").board(&BoardPage {
            stale_since: Some("2026-11-25T03:04:00Z".parse().expect("a time")),
            // Both could be said; the list that may be old is more important.
            posting: Err(NotPermitted::Closed),
            ..board_page(&reader, &navigation, &snapshot)
        });
        let page = page.expect("a page").text();
        assert!(
            page.contains("data-state=\"stale\">As of 12:04<")
                && page.contains("This list is from 12:04.")
                && page.contains("id=\"no-post\" hidden"),
            "{page}"
        );
    }

    #[test]
    fn a_packed_page_is_the_same_page() {
        use std::io::Read as _;

        let (page, packed) = (rendered("/", "", "", &[]), rendered("/", "", "", &[]));
        assert_eq!(page.tag(), packed.tag());
        let packed: Vec<u8> = packed.packed().flatten().collect();
        let mut text = String::new();
        flate2::read::GzDecoder::new(&packed[..])
            .read_to_string(&mut text)
            .expect("gzip");
        assert_eq!(text, page.text());
        assert_ne!(
            rendered("/?lang=ja", "", "", &[]).tag(),
            rendered("/", "", "", &[]).tag()
        );
    }
}
