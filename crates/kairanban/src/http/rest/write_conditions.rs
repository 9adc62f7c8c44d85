//! The conditions that every write may have, as the API's description names them.

use utoipa::openapi::{
    Content, Ref, RefOr, Required,
    path::{Operation, Parameter, ParameterBuilder, ParameterIn},
    response::{Response, ResponseBuilder},
    schema::{Object, Type},
};

const STATUS: &str = "412";

/// Adds both headers to the description of a write, and the answer where they do not hold.
pub(super) fn describe(write: &mut Operation) {
    let parameters = write.parameters.get_or_insert_default();
    parameters.push(RefOr::T(header(
        "If-Match",
        "Only if what is at the address has one of these `ETag`s; `*` is any",
    )));
    parameters.push(RefOr::T(header(
        "If-None-Match",
        "Only if what is at the address has none of these `ETag`s; `*` is any",
    )));
    let answers = &mut write.responses.responses;
    answers.insert(STATUS.to_owned(), RefOr::T(not_met()));
}

fn header(name: &str, description: &str) -> Parameter {
    let text = Object::with_type(Type::String);
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .description(Some(description))
        .required(Required::False)
        .schema(Some(text))
        .build()
}

fn not_met() -> Response {
    let problem = Content::new(Some(Ref::from_schema_name("Problem")));
    ResponseBuilder::new()
        .description("`If-Match` or `If-None-Match` does not hold; nothing was changed")
        .content("application/problem+json", problem)
        .build()
}
