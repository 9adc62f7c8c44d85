//! What readers of each format hold, by the rules of `docs/PROTOCOL.md` and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{BOARDS, Shown};
use crate::sse;

/// What came, whatever it came in.
#[derive(Debug)]
pub(crate) struct FormatEvent {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: String,
}

/// What a reader holds of a board.
#[derive(Debug, Default)]
pub(crate) struct HeldList {
    pub(crate) revision: u64,
    topics: BTreeMap<i64, u64>,
    /// The ids in the order of the page, for formats that say where a topic goes.
    page: Vec<i64>,
    /// The epoch and the revision of the newest list that was complete.
    complete: (String, u64),
    /// The board ended, and its list has not come again.
    pub(crate) has_ended: bool,
}

impl HeldList {
    /// Drops the list of a board that ended.
    fn end(&mut self) {
        self.topics.clear();
        (self.revision, self.has_ended) = (0, true);
    }

    fn replace(&mut self, snapshot: &Value) {
        self.has_ended = false;
        let topics = snapshot["topics"].as_array().into_iter().flatten();
        self.topics = topics.map(topic).collect();
    }

    fn patch(&mut self, patch: &Value) -> Result<(), String> {
        let (from, to) = (number(&patch["from"]), number(&patch["revision"]));
        if !(from <= self.revision && self.revision < to) {
            return Err(format!("at {} came the patch {from}..{to}", self.revision));
        }
        for op in patch["ops"].as_array().into_iter().flatten() {
            if op["op"] == "set" {
                let (id, revision) = topic(&op["topic"]);
                self.topics.insert(id, revision);
            } else {
                self.topics
                    .remove(&op["id"].as_i64().ok_or("an op without an id")?);
            }
        }
        Ok(())
    }
}

/// What a reader of any format holds.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) cursor: Option<String>,
    pub(crate) lists: [HeldList; BOARDS.len()],
    /// Lists that came, but not yet the cursor that completes them.
    coming: Vec<(usize, u64, Shown)>,
    /// Comments that came, for the format that has no list, and those that came since the last
    /// cursor.
    said: BTreeSet<String>,
    saying: Vec<String>,
}

/// A list that an event completed: of an epoch, of a board, at a revision.
pub(crate) type Completed = (String, usize, u64, Shown);

impl View {
    /// Takes an event of `snapshot`s and `patch`es.
    pub(crate) fn take_state(&mut self, event: &FormatEvent) -> Result<Vec<Completed>, String> {
        self.keep(event);
        let data: Value = if event.data.is_empty() {
            Value::Null
        } else {
            parse(&event.data)?
        };
        let board = board_of(&data);
        if event.name == "cursor" {
            // Holds for all boards of the stream, but for those that it names.
            let upto = number(&data["revision"]);
            for (board, list) in BOARDS.iter().zip(&mut self.lists) {
                if !claims_without(event).any(|ended| ended == *board) {
                    if list.has_ended {
                        return Err(format!("{event:?} claims {board}, which ended"));
                    }
                    list.revision = list.revision.max(upto);
                }
            }
            return self.complete(event);
        }
        let list = &mut self.lists[board];
        match event.name.as_str() {
            "bye" if data["board"].is_string() => {
                list.end();
                return Ok(Vec::new());
            }
            "snapshot" => list.replace(&data),
            "patch" if list.has_ended => {
                return Err(format!("a patch for a board that ended: {event:?}"));
            }
            // Of several boards one may have come before the cut, and the cursor behind them not.
            "patch" if event.id.is_none() && number(&data["revision"]) <= list.revision => {
                return Ok(Vec::new());
            }
            "patch" => list.patch(&data)?,
            _ => return Ok(Vec::new()),
        }
        let digest = sse::digest(list.topics.iter().map(|(id, at)| (id.unsigned_abs(), *at)));
        if data["digest"] != digest.as_str() {
            return Err(format!(
                "the digest at {} after {} from {} is {digest}, not {}; it was at {} and now holds {:?} by {}",
                data["revision"],
                event.name,
                data["from"],
                data["digest"],
                list.revision,
                list.topics,
                event.data
            ));
        }
        list.revision = number(&data["revision"]);
        self.coming
            .push((board, list.revision, Shown::Digest(digest)));
        self.complete(event)
    }

    /// Completes the lists that came, if an event carries the cursor.
    fn complete(&mut self, event: &FormatEvent) -> Result<Vec<Completed>, String> {
        let Some((epoch, _)) = event.id.as_deref().and_then(|id| id.split_once('-')) else {
            return Ok(Vec::new());
        };
        let mut completed = Vec::new();
        for (board, revision, shown) in std::mem::take(&mut self.coming) {
            self.lists[board].check_order(epoch, revision)?;
            completed.push((epoch.to_owned(), board, revision, shown));
        }
        Ok(completed)
    }

    /// Takes a whole list: `contents`, or the `topics` of REST.
    pub(crate) fn take_list(&mut self, event: &FormatEvent) -> Result<Vec<Completed>, String> {
        self.keep(event);
        if !event.name.is_empty() {
            return Ok(Vec::new());
        }
        let data = parse(&event.data)?;
        let topics = data["contents"]
            .as_array()
            .or_else(|| data["topics"].as_array())
            .ok_or("no list")?;
        let ids: Vec<_> = topics
            .iter()
            .filter_map(|topic| topic["id"].as_i64())
            .collect();
        let cursor = self.cursor.as_deref().ok_or("a list without a cursor")?;
        self.lists[0].revision = revision_of(cursor)?;
        self.lists[0].page = ids.clone();
        self.coming
            .push((0, self.lists[0].revision, Shown::Ids(ids)));
        self.complete(&FormatEvent {
            name: String::new(),
            id: self.cursor.clone(),
            data: String::new(),
        })
    }

    /// Takes fragments: for htmx, or for Turbo.
    pub(crate) fn take_fragments(&mut self, event: &FormatEvent) -> Result<Vec<Completed>, String> {
        self.keep(event);
        let Some(id) = event.id.as_deref().filter(|id| !id.is_empty()) else {
            return Ok(Vec::new());
        };
        let list = &mut self.lists[0];
        let says_where =
            event.data.contains("hx-swap-oob") || event.data.starts_with("<turbo-stream");
        let whole = !says_where || event.data.starts_with(r#"<turbo-stream action="update""#);
        if whole {
            list.page.clear();
        }
        list.place(&event.data)?;
        if !list.page.is_sorted() {
            return Err(format!("the page is out of order: {:?}", list.page));
        }
        list.revision = revision_of(id)?;
        self.coming
            .push((0, list.revision, Shown::Ids(list.page.clone())));
        self.complete(event)
    }

    /// Takes a comment. None that was posted once may come twice; what came after the last cursor
    /// may, for a reader who was cut off in between.
    pub(crate) fn take_comment(&mut self, event: &FormatEvent) -> Result<Vec<Completed>, String> {
        if event.name.is_empty() && event.data.starts_with('h') {
            self.saying.push(event.data.clone());
        }
        self.keep(event);
        if event.name == "reset" && event.data.contains("epoch") {
            // Another history, in which the same may be said again.
            self.said.clear();
        }
        if event.id.is_some() {
            for comment in std::mem::take(&mut self.saying) {
                if !self.said.insert(comment.clone()) {
                    return Err(format!("{comment} came twice"));
                }
            }
        }
        Ok(Vec::new())
    }

    /// Drops what an interrupted event left behind.
    pub(crate) fn reconnect(&mut self) {
        self.saying.clear();
        self.coming.clear();
    }

    fn keep(&mut self, event: &FormatEvent) {
        match event.id.as_deref() {
            // A reset: a snapshot follows, of whatever revision.
            Some("") => {
                self.cursor = None;
                self.coming.clear();
                self.lists.iter_mut().for_each(|list| list.revision = 0);
            }
            Some(id) => self.cursor = Some(id.to_owned()),
            None => {}
        }
    }

    /// Whether a board ended, which can come again on another stream only.
    pub(crate) fn lacks_a_board(&self) -> bool {
        self.lists.iter().any(|list| list.has_ended)
    }

    /// What it shows of a board.
    pub(crate) fn shown(&self, board: usize, by_digest: bool) -> Shown {
        let list = &self.lists[board];
        if by_digest {
            Shown::Digest(sse::digest(
                list.topics.iter().map(|(id, at)| (id.unsigned_abs(), *at)),
            ))
        } else {
            Shown::Ids(list.page.clone())
        }
    }
}

impl HeldList {
    /// Within an epoch revisions never fall.
    fn check_order(&mut self, epoch: &str, revision: u64) -> Result<(), String> {
        let (before, last) = &self.complete;
        if before == epoch && revision < *last {
            return Err(format!(
                "the revision fell from {last} to {revision} in the epoch {epoch}"
            ));
        }
        self.complete = (epoch.to_owned(), revision);
        Ok(())
    }

    /// Does what fragments say, one after the other.
    fn place(&mut self, fragments: &str) -> Result<(), String> {
        let mut rest = fragments;
        let mut place = None;
        while let Some(at) = rest.find('<') {
            rest = &rest[at..];
            let tag = &rest[..rest.find('>').ok_or("half a tag")?];
            if let Some(target) =
                attribute(tag, "target").filter(|_| tag.starts_with("<turbo-stream"))
            {
                match attribute(tag, "action") {
                    Some("remove") => self.page.retain(|shown| Some(*shown) != topic_id(target)),
                    Some("prepend") => place = Some(0),
                    Some("after") => place = Some(self.behind(topic_id(target))?),
                    _ => place = Some(self.page.len()),
                }
            } else if let Some(swap) = attribute(tag, "hx-swap-oob") {
                match swap.split_once(':') {
                    Some(("afterbegin", _)) => place = Some(0),
                    Some(("afterend", target)) => place = Some(self.behind(topic_id(target))?),
                    Some(_) => place = Some(self.page.len()),
                    None => self
                        .page
                        .retain(|shown| Some(*shown) != attribute(tag, "id").and_then(topic_id)),
                }
            } else if let Some(topic) = attribute(tag, "id")
                .filter(|_| tag.starts_with("<li"))
                .and_then(topic_id)
            {
                self.page.insert(place.unwrap_or(self.page.len()), topic);
                place = place.map(|at| at + 1);
            }
            rest = &rest[tag.len()..];
        }
        Ok(())
    }

    fn behind(&self, topic: Option<i64>) -> Result<usize, String> {
        let at = self.page.iter().position(|shown| Some(*shown) == topic);
        at.map(|at| at + 1)
            .ok_or_else(|| format!("a place behind {topic:?}, which is not there"))
    }
}

/// The value of an attribute.
fn attribute<'a>(tag: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = tag.split_once(&format!("{name}=\""))?;
    rest.split('"').next()
}

/// The id of a topic in the id of its element.
fn topic_id(element: &str) -> Option<i64> {
    element.rsplit("topic-").next()?.parse().ok()
}

/// The boards that a cursor of several does not claim.
fn claims_without(event: &FormatEvent) -> impl Iterator<Item = &str> {
    event.id.iter().flat_map(|id| id.split('~').skip(1))
}

fn parse(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("{error}: {text:?}"))
}

fn board_of(data: &Value) -> usize {
    BOARDS
        .iter()
        .position(|board| data["board"] == **board)
        .unwrap_or(0)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(u64::MAX)
}

fn topic(value: &Value) -> (i64, u64) {
    (
        value["id"].as_i64().unwrap_or(-1),
        number(&value["revision"]),
    )
}

fn revision_of(cursor: &str) -> Result<u64, String> {
    cursor
        .rsplit('-')
        .next()
        .and_then(|revision| revision.parse().ok())
        .ok_or_else(|| format!("no cursor: {cursor:?}"))
}
