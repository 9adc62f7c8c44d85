//! Schemas of words and texts for the OpenAPI document, made from the rules of the core.

use std::borrow::Cow;

use kairanban_core::{
    BoardName, BoardTitle, ChangeKind, Cursor, IdempotencyKey, NewTopic, PostPolicy, ReadPolicy,
    Scope, TextPattern, TokenName,
};
use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{Object, ObjectBuilder, RefOr, Schema, Type, extensions::Extensions},
};

/// Declares types that stand for texts in the document: a name there, a description, and the
/// schema.
macro_rules! text_schemas {
    ($($(#[doc = $doc:literal])+ $schema:ident as $name:literal = $object:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $schema;

        impl PartialSchema for $schema {
            fn schema() -> RefOr<Schema> {
                let mut object: Object = $object;
                object.description = Some(concat!($($doc),+).trim().to_owned());
                RefOr::T(Schema::Object(object))
            }
        }

        impl ToSchema for $schema {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    )+};
}

text_schemas! {
    /// The name of a board. Some words are reserved.
    BoardNameSchema as "BoardName" = text(BoardName::pattern());
    /// The title of a board, in one line. White space at its ends is removed, and does not count.
    BoardTitleSchema as "BoardTitle" = text(BoardTitle::pattern());
    /// Who may read a board: every client, or those with a token for it.
    ReadPolicySchema as "ReadPolicy" = word(ReadPolicy::ALL.map(ReadPolicy::as_str));
    /// Who may post on a board: every client that may read it, clients with a token for it, or no
    /// client.
    PostPolicySchema as "PostPolicy" = word(PostPolicy::ALL.map(PostPolicy::as_str));
    /// The text of a topic. White space at its ends is removed, and does not count; a line end
    /// counts as one character. Something must be visible, and at most ten combining marks may
    /// follow each other.
    CommentSchema as "Comment" = text(NewTopic::comment_pattern());
    /// Who says they wrote a topic. White space at its ends is removed, and does not count. At most
    /// ten combining marks may follow each other.
    AuthorSchema as "Author" = text(NewTopic::author_pattern());
    /// What a token is for, in one line. White space at its ends is removed, and does not count.
    TokenNameSchema as "TokenName" = text(TokenName::pattern());
    /// What a token allows; each word includes those before it.
    ScopeSchema as "Scope" = word(Scope::ALL.map(Scope::as_str));
    /// A place in history: the epoch, a dash and a revision below 2^53.
    CursorSchema as "Cursor" = text(Cursor::pattern());
    /// What a client calls a request, so that it may send it again.
    IdempotencyKeySchema as "IdempotencyKey" = text(IdempotencyKey::pattern());
    /// What happened: a topic was written (`set`), deleted or archived, all of them may have
    /// changed (`clear`), or the board itself changed.
    ChangeKindSchema as "ChangeKind" = word(ChangeKind::OF_BOARDS.map(ChangeKind::as_str));
}

/// Returns the schema of the texts that a pattern describes.
fn text(pattern: TextPattern) -> Object {
    let mut object = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(pattern.chars.as_ref().map(|chars| *chars.start()))
        .max_length(pattern.chars.as_ref().map(|chars| *chars.end()))
        .pattern(Some(pattern.regex))
        .build();
    if !pattern.reserved.is_empty() {
        // utoipa has no `not`, and writes extensions beside its own keys.
        let words = json!({ "enum": pattern.reserved });
        object.extensions = Some(Extensions::from_iter([("not", words)]));
    }
    object
}

/// Returns the schema of one of a few words.
fn word<const N: usize>(words: [&'static str; N]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words))
        .build()
}
