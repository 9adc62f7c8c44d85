// A network before a node that cuts, freezes, delays and answers 502: bytes on both ways, in their order.

import { once } from "node:events";
import { connect, createServer } from "node:net";

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export class BadNetwork {
  #pairs = new Set();
  /** Until when (ms since 1970) nothing passes, all requests are answered with 502, and what passes comes late by so much. */
  #frozenUntil = 0;
  #refusedUntil = 0;
  #lateUntil = 0;
  #lateMs = 0;
  #loses = false;
  /** What it did, for the report. */
  figures = { connections: 0, refused: 0, "lost answers": 0 };

  /** @param {import("./node.js").Node} node */
  static async start(node) {
    const network = new BadNetwork();
    const { hostname, port } = new URL(node.url);
    network.server = createServer((client) => network.#pair(client, connect(Number(port), hostname))).listen(0, "127.0.0.1");
    await once(network.server, "listening");
    network.url = `http://127.0.0.1:${network.server.address().port}`;
    return network;
  }

  /** Ends every connection. */
  cut() {
    for (const end of this.#pairs) end();
  }

  /** Connections stay open, and new ones are accepted, but nothing passes. */
  freeze(ms) {
    this.#frozenUntil = Date.now() + ms;
  }

  /** What passes comes late. */
  delay(ms, lateMs) {
    this.#lateUntil = Date.now() + ms;
    this.#lateMs = lateMs;
  }

  /** Ends every connection, and answers requests with 502, as a proxy whose server is away. */
  refuse(ms) {
    this.#refusedUntil = Date.now() + ms;
    this.cut();
  }

  /** The next post arrives, and its answer does not. */
  loseAnswer() {
    this.#loses = true;
  }

  /** Is a good network from now on. */
  mend() {
    this.#frozenUntil = this.#refusedUntil = this.#lateUntil = 0;
    this.#loses = false;
  }

  end() {
    this.cut();
    this.server.close();
  }

  #pair(client, server) {
    this.figures.connections += 1;
    const pair = { isLost: false };
    const end = () => {
      this.#pairs.delete(end);
      client.destroy();
      server.destroy();
    };
    this.#pairs.add(end);
    for (const side of [client, server]) side.on("error", end).on("close", end);
    this.#carry(client, (bytes) => {
      if (Date.now() < this.#refusedUntil) {
        this.figures.refused += 1;
        client.end("HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 20\r\nConnection: close\r\n\r\n<h1>Bad Gateway</h1>");
        return;
      }
      if (this.#loses && bytes.toString("latin1", 0, 5) === "POST ") {
        pair.isLost = true;
        this.#loses = false;
      }
      server.write(bytes);
    });
    this.#carry(server, (bytes) => {
      if (!pair.isLost) return client.write(bytes);
      this.figures["lost answers"] += 1;
      end();
    });
  }

  /** Passes on what a side says, one after the other. */
  #carry(side, pass) {
    let before = Promise.resolve();
    side.on("data", (bytes) => {
      before = before.then(async () => {
        if (Date.now() < this.#lateUntil) await pause(this.#lateMs);
        while (Date.now() < this.#frozenUntil && !side.destroyed) await pause(10);
        if (!side.destroyed) pass(bytes);
      });
    });
  }
}
