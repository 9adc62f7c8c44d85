//! Reads and writes topics and boards: [`topics`] reads boards with their live lists, [`creation`]
//! writes new topics, [`edits`] changes and deletes them, [`deleted`] keeps those that can be
//! restored, and [`board`] has the boards themselves.

mod board;
mod condition;
mod creation;
mod deleted;
mod edits;
mod page;
mod titled_boards;
mod topics;

pub use self::board::{BoardEdit, BoardHead};
pub(crate) use self::board::{
    board, board_head, board_id, board_infos, board_policies, boards, boards_named, create_board,
    delete_board, ensure_board, find_boards, name_default_board, stored_default_board,
    update_board,
};
pub use self::condition::RevisionCondition;
pub use self::creation::Creation;
pub(crate) use self::creation::{Created, create_each, create_one, create_topics};
pub(crate) use self::deleted::{expire_undo, restore_topic};
pub(crate) use self::edits::{delete_topic, update_topic};
pub use self::page::{Page, SearchedTopics};
pub(crate) use self::page::{page, search};
pub use self::titled_boards::TitledBoard;
pub(crate) use self::titled_boards::{board_title, newest_topics, titled_boards};
pub(crate) use self::topics::{live_topics, load, topic};
