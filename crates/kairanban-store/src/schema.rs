//! The tables, as far as this crate names them in queries.

diesel::table! {
    /// The addresses that one subscribes to.
    boards (id) {
        id -> BigInt,
        name -> Text,
        title -> Text,
        created_at -> Timestamp,
        read -> Text,
        post -> Text,
    }
}

diesel::table! {
    /// The topics of all boards.
    topics (id) {
        id -> BigInt,
        board_id -> BigInt,
        comment -> Text,
        author -> Text,
        created_at -> Timestamp,
        updated_at -> Timestamp,
        edited_at -> Nullable<Timestamp>,
        archived -> Bool,
        revision -> BigInt,
    }
}

diesel::table! {
    /// The durable log of what changed. On Postgres `revision` is null until the commit, when no
    /// other transaction can see the row yet, and so is `at`. `board_id` is 0 where a token
    /// changed.
    changes (id) {
        id -> BigInt,
        revision -> BigInt,
        kind -> Text,
        board_id -> BigInt,
        topic_id -> Nullable<BigInt>,
        at -> Timestamp,
        stamped_as -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// What this database is: `epoch`, the epochs before (`ancestors`), `mark`, `trimmed_to`,
    /// `default_board`.
    identity (key) {
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    /// Which topic a client's key led to.
    idempotency (board_id, key) {
        board_id -> BigInt,
        key -> Text,
        request -> Text,
        topic_id -> BigInt,
        used_at -> Timestamp,
    }
}

diesel::table! {
    /// Who may do more than read and post.
    tokens (id) {
        id -> BigInt,
        name -> Text,
        digest -> Text,
        scope -> Text,
        board_id -> Nullable<BigInt>,
        created_at -> Timestamp,
        expires_at -> Nullable<Timestamp>,
        revoked_at -> Nullable<Timestamp>,
        last_used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    /// A ticket for one stream.
    tickets (digest) {
        digest -> Text,
        token_id -> BigInt,
        board_id -> BigInt,
        made_at -> Timestamp,
        used_at -> Nullable<Timestamp>,
        client -> Nullable<Text>,
        session_id -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// Browsers that are signed in with a token.
    browser_sessions (id) {
        id -> BigInt,
        digest -> Text,
        token_id -> BigInt,
        token_digest -> Text,
        created_at -> Timestamp,
        expires_at -> Timestamp,
        last_used_at -> Nullable<Timestamp>,
    }
}

diesel::table! {
    /// The commands of administrators, as they ran.
    audit (id) {
        id -> BigInt,
        at -> Timestamp,
        actor -> Text,
        token_id -> Nullable<BigInt>,
        action -> Text,
        board -> Nullable<Text>,
        subject -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// Topics that an administrator deleted a while ago.
    deleted_topics (id) {
        id -> BigInt,
        board_id -> BigInt,
        comment -> Text,
        author -> Text,
        created_at -> Timestamp,
        updated_at -> Timestamp,
        edited_at -> Nullable<Timestamp>,
        archived -> Bool,
        deleted_at -> Timestamp,
    }
}

diesel::joinable!(topics -> boards (board_id));
diesel::joinable!(tickets -> boards (board_id));
diesel::allow_tables_to_appear_in_same_query!(
    boards,
    topics,
    changes,
    tokens,
    tickets,
    browser_sessions
);
