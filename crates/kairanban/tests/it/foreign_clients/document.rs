//! The OpenAPI document, judged by a validator and a linter that are not ours.

use std::{fs, path::Path, process::Output};

use serde_json::{Value, json};

use crate::{
    foreign_clients::{installed, node_module, run, said, source},
    node::{Database, Node},
};

const ADDRESS: &str = "/api/v1/openapi.json";

/// Writes the document, and has it judged.
fn judged(judge: fn(&Path) -> Output, document: &Value) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("openapi.json");
    fs::write(&file, document.to_string()).expect("written");
    judge(&file)
}

fn validator(file: &Path) -> Output {
    run(installed("python/bin/openapi-spec-validator").arg(file))
}

/// Its warnings are errors, see `redocly.yaml`.
fn linter(file: &Path) -> Output {
    let mut lint = node_module("redocly");
    let lint = lint
        .arg("lint")
        .arg("--config")
        .arg(source("npm/redocly.yaml"));
    run(lint.arg(file))
}

/// A fault, as a change of the document.
type Fault = (&'static str, fn(&mut Value));

fn finds_no_fault_but_those_that_are_planted(judge: fn(&Path) -> Output, faults: &[Fault]) {
    let document = Node::start(Database::sqlite()).get(ADDRESS).json();
    let output = judged(judge, &document);
    assert!(output.status.success(), "{}", said(&output));
    for (name, plant) in faults {
        let mut document = document.clone();
        plant(&mut document);
        let output = judged(judge, &document);
        assert!(
            !output.status.success(),
            "{name} is not found: {}",
            said(&output)
        );
    }
}

/// Faults against the specification.
const BROKEN: [Fault; 4] = [
    ("a response without a description", |document| {
        let response = &mut document["paths"]["/api/v1/boards"]["get"]["responses"]["200"];
        response
            .as_object_mut()
            .expect("a response")
            .remove("description");
    }),
    ("a reference to nothing", |document| {
        document["components"]["schemas"]["Boards"]["properties"]["boards"]["items"] =
            json!({ "$ref": "#/components/schemas/None" });
    }),
    ("two operations of one name", |document| {
        document["paths"]["/api/v1/boards"]["get"]["operationId"] = json!("get_topic");
    }),
    ("a parameter of the path that is not there", |document| {
        let operation = &mut document["paths"]["/api/v1/boards/{board}"]["get"];
        operation["parameters"] = json!([]);
    }),
];

/// What only a linter minds.
const UNTIDY: [Fault; 3] = [
    ("no server", |document| {
        document
            .as_object_mut()
            .expect("an object")
            .remove("servers");
    }),
    ("an operation without a summary", |document| {
        let operation = &mut document["paths"]["/api/v1/boards"]["get"];
        operation
            .as_object_mut()
            .expect("an operation")
            .remove("summary");
    }),
    ("a schema that is not used", |document| {
        document["components"]["schemas"]["Unused"] = json!({ "type": "string" });
    }),
];

#[test]
#[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
fn openapi_spec_validator_finds_no_fault() {
    finds_no_fault_but_those_that_are_planted(validator, &BROKEN);
}

#[test]
#[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
fn redocly_finds_no_fault() {
    finds_no_fault_but_those_that_are_planted(linter, &[&BROKEN[..], &UNTIDY].concat());
}
