// Builds ../dist, of these sources and those of the board page in ../app: `node build.js`. With
// --check it compares instead, and fails if something differs; with --pack it copies into the
// package what is there for others.

import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const committed = join(here, "../dist");

const common = {
  absWorkingDir: here,
  bundle: true,
  minify: true,
  format: "esm",
  target: "es2022",
  charset: "utf8",
  logLevel: "warning",
};

/** What both scripts of the page use is built into `board.js`, which exports all of it. */
const takenFromBoard = {
  name: "taken from board.js",
  setup({ onResolve, onLoad }) {
    const namespace = "board.js";
    onResolve({ filter: /^\.\/shared\.js$/ }, () => ({ path: "shared.ts", namespace }));
    onResolve({ filter: /./, namespace }, ({ path }) => ({ path, external: true }));
    // As one statement: each module's own would be one more in the script.
    onLoad({ filter: /./, namespace }, () => {
      const text = readFileSync(join(here, "../app/shared.ts"), "utf8");
      const names = [...text.matchAll(/^export \{(.*)\}/gm)].map(([, names]) => names);
      return { contents: `export {${names.join(",")}} from "./board.js";` };
    });
  },
};

async function buildInto(folder) {
  await build({
    ...common,
    define: { IS_PAGE: "false" },
    entryPoints: ["src/index.ts", "src/react.ts", "src/element.ts"],
    outdir: folder,
    // A page and the element share one copy of the client.
    external: ["react", "./index.js"],
    banner: { js: "/* kairanban, MIT OR Apache-2.0; made from web/client, do not edit */" },
  });
  const page = {
    ...common,
    define: { IS_PAGE: "true" },
    outdir: folder,
    banner: { js: "/* kairanban: made from web/app */" },
  };
  await build({ ...page, entryPoints: ["../app/board.ts"], external: ["./act.js"] });
  await build({ ...page, entryPoints: ["../app/act.ts"], plugins: [takenFromBoard] });
  const style = { ...common, target: undefined, entryPoints: ["../app/board.css"], outdir: folder };
  await build({ ...style, external: ["*"] });
  const tsc = join(here, "node_modules/typescript/bin/tsc");
  execFileSync(process.execPath, [
    tsc,
    "-p",
    here,
    "--emitDeclarationOnly",
    "--outDir",
    join(folder, "types"),
  ]);
}

function contents(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((file) =>
    file.isFile(),
  );
  const paths = files.map((file) => join(file.parentPath ?? file.path, file.name)).sort();
  return new Map(paths.map((path) => [path.slice(folder.length + 1), readFileSync(path, "utf8")]));
}

/** The files that differ between the committed output and what the sources make. */
async function differing() {
  const folder = mkdtempSync(join(tmpdir(), "kairanban-client-"));
  try {
    await buildInto(folder);
    const [now, then] = [contents(folder), contents(committed)];
    return [...new Set([...now.keys(), ...then.keys()])].filter(
      (file) => now.get(file) !== then.get(file),
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

if (process.argv.includes("--check")) {
  const files = await differing();
  if (files.length) {
    console.error(
      `web/dist is not what web/client makes; run: npm run build\n  ${files.join("\n  ")}`,
    );
    process.exit(1);
  }
} else if (process.argv.includes("--pack")) {
  rmSync(join(here, "dist"), { recursive: true, force: true });
  const filter = (file) => !/^(board|act)\./.test(basename(file));
  cpSync(committed, join(here, "dist"), { recursive: true, filter });
} else {
  rmSync(committed, { recursive: true, force: true });
  await buildInto(committed);
}
