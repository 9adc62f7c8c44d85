//! The body of an error.

use kairanban_core::Invalid;
use serde::Serialize;
use utoipa::ToSchema;

/// The body of an error.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// The name of the status.
    pub title: &'static str,
    /// The status of the answer.
    pub status: u16,
    /// The stable code of the error, for programs.
    pub code: &'static str,
    /// What is wrong, in English.
    pub detail: String,
    /// Where in the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The fields at fault.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldProblem>,
}

/// One field at fault.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldProblem {
    /// The name of the field.
    pub field: &'static str,
    /// The stable code of the error, for programs.
    pub code: &'static str,
    /// What is wrong with it, in English.
    pub detail: String,
}

impl FieldProblem {
    pub(super) fn of(fault: &Invalid) -> Self {
        Self {
            field: fault.field,
            code: fault.reason.code(),
            detail: fault.to_string(),
        }
    }
}
