// A relay before a node, as a proxy or a network that misbehaves would be: it can cut its connections, fall silent without
// ending them, refuse, and lose answers. It also serves a page that uses web/dist, from the same origin.

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { connect } from "node:net";

const PAGE = `<!doctype html><meta charset="utf-8"><title>tab</title><script type="module" src="/tab.js"></script>`;
// What the tests look at: the client, its board, and what the board said over time.
const SCRIPT = `
import { connect } from "/dist/index.js";
const query = new URLSearchParams(location.search);
window.client = connect({ heartbeat: Number(query.get("heartbeat") ?? 1), identity: query.get("identity") ?? "" });
window.seen = [];
for (const name of query.getAll("board").concat(query.has("board") ? [] : "main")) {
  const board = window.client.board(name);
  window.board ??= board;
  board.subscribe(() => {
    const { topics, posts, status } = board.getSnapshot();
    window.seen.push({ board: name, at: Date.now(), status: status.name, rows: [...topics, ...posts].map(({ comment }) => comment) });
  });
}
`;

export class Relay {
  /** What is served at /embedding. */
  page = "";
  /** What is served at /app.js. */
  app = "";
  /** Open streams, each with what ends it and whether it says nothing any more. */
  streams = new Set();
  /** How many posts of the next lose their answers. */
  lost = 0;
  /** How many requests of the next are refused, by 502. */
  refused = 0;
  /** The paths of requests with a cookie. */
  withCookie = [];

  static async start(node) {
    const relay = new Relay();
    relay.node = node;
    relay.server = createServer((request, response) => relay.#serve(request, response)).listen(0, "127.0.0.1");
    relay.server.on("upgrade", (request, socket, head) => relay.#upgrade(request, socket, head));
    await once(relay.server, "listening");
    relay.port = relay.server.address().port;
    relay.url = `http://127.0.0.1:${relay.port}`;
    return relay;
  }

  /** Connections stay open, but nothing comes any more. New ones work. */
  silence() {
    for (const stream of this.streams) stream.silent = true;
  }

  /** Waits until this number of streams is open. */
  async has(count) {
    const end = Date.now() + 10_000;
    while (this.streams.size !== count) {
      if (Date.now() > end) throw new Error(`${this.streams.size} streams are open, and not ${count}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  cut() {
    for (const stream of this.streams) stream.response.destroy();
  }

  end() {
    this.server.closeAllConnections();
    this.server.close();
  }

  async #serve(incoming, response) {
    const { pathname } = new URL(incoming.url, this.url);
    const own = { "/tab": ["text/html", PAGE], "/tab.js": ["text/javascript", SCRIPT], "/embedding": ["text/html", this.page], "/app.js": ["text/javascript", this.app] }[pathname];
    if (own) return response.writeHead(200, { "Content-Type": own[0] }).end(own[1]);
    if (pathname.startsWith("/dist/")) {
      const file = await readFile(new URL(`..${pathname}`, import.meta.url));
      return response.writeHead(200, { "Content-Type": "text/javascript", "Access-Control-Allow-Origin": "*" }).end(file);
    }
    if (this.refused > 0) {
      this.refused -= 1;
      return response.writeHead(502, { "Content-Type": "text/html" }).end("<h1>Bad Gateway</h1>");
    }
    this.#forward(incoming, response);
  }

  /** A WebSocket: from its handshake on both sides are sent what the other one says. */
  #upgrade(incoming, socket, head) {
    const { method, url, rawHeaders } = incoming;
    if (incoming.headers.cookie) this.withCookie.push(url);
    const { hostname, port } = new URL(this.node.url);
    const outgoing = connect(Number(port), hostname);
    const lines = rawHeaders.map((text, at) => (at % 2 ? `${text}\r\n` : `${text}: `));
    outgoing.write(`${method} ${url} HTTP/1.1\r\n${lines.join("")}\r\n`);
    outgoing.write(head);
    for (const [side, other] of [[socket, outgoing], [outgoing, socket]]) side.pipe(other).on("error", () => side.destroy());
  }

  #forward(incoming, response) {
    const { method, headers, url } = incoming;
    if (headers.cookie) this.withCookie.push(url);
    const outgoing = request(this.node.url + url, { method, headers, agent: false });
    const stream = { response, silent: false };
    outgoing.on("error", () => response.destroy());
    response.on("close", () => {
      this.streams.delete(stream);
      outgoing.destroy();
    });
    outgoing.on("response", (answer) => {
      if (method === "POST" && this.lost > 0) {
        this.lost -= 1;
        return answer.resume().on("end", () => response.destroy());
      }
      if (answer.headers["content-type"]?.startsWith("text/event-stream")) this.streams.add(stream);
      response.writeHead(answer.statusCode, answer.headers);
      answer.on("data", (bytes) => stream.silent || response.write(bytes));
      answer.on("end", () => stream.silent || response.end());
      answer.on("error", () => stream.silent || response.destroy());
    });
    incoming.pipe(outgoing);
  }
}
