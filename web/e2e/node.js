// The program on a SQLite file of the test's own, and Chromium beside it.

import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { chromium } from "playwright-core";

export class Node {
  /** @param {Record<string, string>} settings as in {STREAM__RETRY_MIN_MS: "100"} */
  static async start(settings = {}) {
    const node = new Node();
    node.folder = await mkdtemp(join(tmpdir(), "kairanban-e2e-"));
    node.settings = settings;
    await node.#spawn("127.0.0.1:0");
    return node;
  }

  async #spawn(listen) {
    const program = process.env.KAIRANBAN_BIN ?? "../../target/debug/kairanban";
    const environment = Object.entries(this.settings).map(([name, value]) => [`KAIRANBAN_${name}`, value]);
    // What is meant for the tests is unknown to the program, which would refuse to start.
    const isForTests = (name) => name === "KAIRANBAN_BIN" || name.startsWith("KAIRANBAN_TEST_");
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !isForTests(name)));
    this.child = spawn(program, ["--listen", listen, "--database-url", `sqlite://${join(this.folder, "board.db")}`], {
      env: { ...inherited, RUST_LOG: "warn", ...Object.fromEntries(environment) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: this.child.stdout })) {
      this.url = /http:\/\/\S+/.exec(line)?.[0];
      if (this.url) return;
    }
    throw new Error("the program ended");
  }

  async kill() {
    this.child.kill("SIGKILL");
    await once(this.child, "exit");
  }

  /** At the same address, as after a crash. */
  restart() {
    return this.#spawn(new URL(this.url).host);
  }

  async post(comment, board = "") {
    const answer = await fetch(`${this.url}/${board}`, { method: "POST", body: comment, headers: { "Content-Type": "text/plain" } });
    if (answer.status !== 201) throw new Error(`${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  /** Creates a token. @param {string} scope @param {string} name */
  async createToken(scope, name) {
    const program = process.env.KAIRANBAN_BIN ?? "../../target/debug/kairanban";
    const environment = Object.entries(process.env).filter(([key]) => !key.startsWith("KAIRANBAN_"));
    const database = `sqlite://${join(this.folder, "board.db")}`;
    const { stdout } = await promisify(execFile)(program, ["--database-url", database, "token", "create", "--scope", scope, "--name", name], {
      env: Object.fromEntries(environment),
    });
    return stdout.trim();
  }

  /** Asks the REST API, with a token. @param {string} token @param {string} method @param {string} path @param {object} [body] */
  async api(token, method, path, body) {
    const answer = await fetch(`${this.url}/api/v1/${path}`, {
      method,
      body: body && JSON.stringify(body),
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer.status === 204 ? undefined : answer.json();
  }

  /** Runs SQL by another program. */
  async sql(text) {
    const sqlite = spawn("sqlite3", ["-bail", "-cmd", ".timeout 5000", join(this.folder, "board.db"), text], { stdio: "inherit" });
    const [code] = await once(sqlite, "exit");
    if (code !== 0) throw new Error(`sqlite3 ended with ${code}`);
  }

  async end() {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill();
    await rm(this.folder, { recursive: true });
  }
}

/** @param {string[]} more arguments */
export function startChromium(more = []) {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...more,
    ],
  });
}
