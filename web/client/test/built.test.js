// What is built: it is what the sources make, small enough, and packed whole.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const here = join(dirname(fileURLToPath(import.meta.url)), "..");
const bytes = (code) => gzipSync(code, { level: 9 }).length;
const dist = (file) => readFileSync(join(here, "../dist", file));

test("web/dist is what the sources make", () => {
  execFileSync(process.execPath, [join(here, "build.js"), "--check"], { stdio: "inherit" });
});

test("following boards from all tabs takes at most 6 kB", async () => {
  const stdin = {
    contents: `export { Group } from "./src/group.js"; export { browser } from "./src/env.js";`,
    resolveDir: here,
  };
  const { outputFiles } = await build({
    stdin,
    bundle: true,
    define: { IS_PAGE: "false" },
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  const size = bytes(outputFiles[0].contents);
  assert.ok(size <= 6_000, `${size} bytes`);
});

test("the script of the board page, with the client in it, takes at most 10 kB", () => {
  assert.ok(bytes(dist("board.js")) <= 10_000, `${bytes(dist("board.js"))} bytes`);
});

test("what the page loads when its reader does something takes at most 3.2 kB", () => {
  assert.ok(bytes(dist("act.js")) <= 3_200, `${bytes(dist("act.js"))} bytes`);
});

test("no module of the page imports itself, not even by way of others", async () => {
  const entryPoints = ["../app/board.ts", "../app/act.ts"];
  const { metafile } = await build({
    entryPoints,
    absWorkingDir: here,
    bundle: true,
    format: "esm",
    metafile: true,
    outdir: "unused",
    write: false,
  });
  const left = new Map(
    Object.entries(metafile.inputs).map(([file, { imports }]) => [
      file,
      imports.map(({ path }) => path),
    ]),
  );
  // What imports nothing that is left is in no circle.
  const isFree = ([, imports]) => imports.every((path) => !left.has(path));
  for (let free; (free = [...left].find(isFree)); ) left.delete(free[0]);
  assert.deepEqual([...left.keys()], []);
});

test("with posting the client takes at most 7.2 kB, and the hook and the element little more", () => {
  assert.ok(bytes(dist("index.js")) <= 7_200, `${bytes(dist("index.js"))} bytes`);
  assert.ok(bytes(dist("react.js")) <= 500, `${bytes(dist("react.js"))} bytes`);
  assert.ok(bytes(dist("element.js")) <= 4_000, `${bytes(dist("element.js"))} bytes`);
});

test("nothing depends on anything, and the package holds what it exports", () => {
  const about = JSON.parse(readFileSync(join(here, "package.json"), "utf8"));
  assert.equal(about.dependencies, undefined);
  execFileSync(process.execPath, [join(here, "build.js"), "--pack"], { stdio: "inherit" });
  // A shell, because npm is a script.
  const listed = execFileSync("npm pack --dry-run --ignore-scripts --json", {
    cwd: here,
    shell: true,
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [{ files }] = [JSON.parse(listed)].flatMap((answer) =>
    Array.isArray(answer) ? answer : Object.values(answer),
  );
  const packed = new Set(files.map(({ path }) => `./${path}`));
  const exported = Object.values(about.exports).flatMap((targets) => Object.values(targets));
  assert.deepEqual(
    exported.filter((file) => !packed.has(file)),
    [],
  );
  assert.ok(packed.has("./README.md"));
  const strays = [...packed].filter(
    (file) => !/^\.\/(dist\/|README\.md$|package\.json$)/.test(file),
  );
  assert.deepEqual(strays, []);
});

test("a server that renders a page shows the list, and ends", () => {
  const script = `
    import { connect } from ${JSON.stringify(join(here, "../dist/index.js"))};
    const board = connect().board("main", { cursor: "e-2", topics: [{ id: 1, comment: "rendered", revision: 2 }] });
    const { topics, status } = board.getSnapshot();
    console.log(topics[0].comment, status.name);
  `;
  const flags = ["--input-type=module", "--eval", script];
  const said = execFileSync(process.execPath, flags, { encoding: "utf8", timeout: 20_000 });
  assert.equal(said, "rendered connecting\n");
});
