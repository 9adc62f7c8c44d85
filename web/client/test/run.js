// Runs the unit tests: bundles each for this Node, and hands them to its test runner.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const tests = readdirSync(here).filter((file) => file.endsWith(".test.ts"));
const folder = mkdtempSync(join(tmpdir(), "kairanban-client-test-"));
await build({
  absWorkingDir: here,
  entryPoints: tests,
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  define: { IS_PAGE: "false" },
  format: "esm",
  target: "node20",
  external: ["esbuild"],
  sourcemap: "inline",
  logLevel: "warning",
});
const files = tests.map((file) => join(folder, file.replace(/ts$/, "mjs")));
const flags = ["--test", "--enable-source-maps", ...process.argv.slice(2)];
const { status } = spawnSync(process.execPath, [...flags, ...files, ...jsTests()], {
  stdio: "inherit",
  cwd: join(here, ".."),
});
rmSync(folder, { recursive: true });
process.exit(status ?? 1);

/** Tests of what was built, not of a module. */
function jsTests() {
  return readdirSync(here)
    .filter((file) => file.endsWith(".test.js"))
    .map((file) => join(here, file));
}
