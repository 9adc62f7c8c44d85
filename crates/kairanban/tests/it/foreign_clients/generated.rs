//! Clients made from the OpenAPI document: they are made without a warning, compile, and do what
//! they are for.

use std::{env, fs, os::unix::fs::symlink, path::Path, process::Command};

use serde_json::Value;

use crate::{
    foreign_clients::{alone, attempt, installed, node_module, source},
    node::{Database, Node},
};

/// Makes a client from the document in a folder, which is its own, and returns the command of a
/// program that uses it.
type Maker = fn(&Path) -> Result<Command, String>;

fn is_made_and_used(maker: Maker) {
    let node = Node::start(Database::sqlite());
    let mut document = node.get("/api/v1/openapi.json").json();
    attempt_with(maker, &document, &node).unwrap_or_else(|error| panic!("{error}"));
    // The same finds fault with a document that does not say what is so.
    let list = &mut document["components"]["schemas"]["LiveList"];
    list["required"] = serde_json::json!(["entries"]);
    let properties = list["properties"].as_object_mut().expect("properties");
    let topics = properties.remove("topics").expect("topics");
    properties.insert("entries".to_owned(), topics);
    let wrong = attempt_with(maker, &document, &Node::start(Database::sqlite()));
    assert!(wrong.is_err_and(|error| error.contains("opics")));
}

fn attempt_with(maker: Maker, document: &Value, node: &Node) -> Result<(), String> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("openapi.json"), document.to_string()).expect("written");
    let mut program = maker(folder.path())?;
    let url = format!("http://{}", node.address);
    let token = node.token(&["create", "--scope", "admin"]);
    attempt(program.args([url, token])).map(drop)
}

fn copy(names: &[&str], folder: &Path) {
    for name in names {
        let file = source(name);
        fs::copy(&file, folder.join(file.file_name().expect("a name"))).expect("copied");
    }
}

fn in_python(folder: &Path) -> Result<Command, String> {
    let mut generate = installed("python/bin/openapi-python-client");
    // It calls the formatter that is installed beside it.
    let tools = env::var("KAIRANBAN_TEST_CLIENTS").expect("just read");
    let path = env::var("PATH").expect("PATH");
    generate
        .env("PATH", format!("{tools}/python/bin:{path}"))
        .args(["generate", "--meta", "none", "--fail-on-warning"])
        .args([
            "--path",
            "openapi.json",
            "--output-path",
            "kairanban_client",
        ]);
    attempt(generate.current_dir(folder))?;
    let mut compile = installed("python/bin/python");
    compile.args(["-W", "error", "-m", "compileall", "-q", "kairanban_client"]);
    attempt(compile.current_dir(folder))?;
    let mut program = installed("python/bin/python");
    program
        .env("PYTHONPATH", folder)
        .arg(source("python/generated.py"));
    Ok(program)
}

fn in_go(folder: &Path) -> Result<Command, String> {
    copy(&["go/go.mod", "go/go.sum", "go/generated/main.go"], folder);
    fs::create_dir(folder.join("api")).expect("a folder");
    let mut generate = installed("bin/oapi-codegen");
    generate
        .args(["-generate", "types,client", "-package", "api"])
        .args(["-o", "api/api.go", "openapi.json"]);
    let said = attempt(generate.current_dir(folder))?;
    if said.contains("WARNING") {
        return Err(said);
    }
    let mut build = alone(Command::new("go"));
    attempt(
        build
            .args(["build", "-o", "generated", "."])
            .current_dir(folder),
    )?;
    let mut vet = alone(Command::new("go"));
    attempt(vet.args(["vet", "./..."]).current_dir(folder))?;
    Ok(Command::new(folder.join("generated")))
}

fn in_typescript(folder: &Path) -> Result<Command, String> {
    copy(
        &["npm/package.json", "npm/tsconfig.json", "npm/generated.ts"],
        folder,
    );
    symlink(source("npm/node_modules"), folder.join("node_modules")).expect("a link");
    let mut generate = node_module("openapi-typescript");
    generate.args(["openapi.json", "-o", "schema.d.ts"]);
    attempt(generate.current_dir(folder))?;
    attempt(node_module("tsc").current_dir(folder))?;
    let mut program = alone(Command::new("node"));
    program.arg(folder.join("generated.js"));
    Ok(program)
}

#[test]
#[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
fn openapi_python_client_makes_one_for_python() {
    is_made_and_used(in_python);
}

#[test]
#[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
fn oapi_codegen_makes_one_for_go() {
    is_made_and_used(in_go);
}

#[test]
#[ignore = "takes `scripts/setup clients`; `scripts/test clients` runs it"]
fn openapi_typescript_makes_one_for_typescript() {
    is_made_and_used(in_typescript);
}
