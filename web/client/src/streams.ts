// The streams of the tab that holds them for all: as few as the server's limit of boards allows.

import { Connection, type ConnectionDeps } from "./connection.js";

export class Streams {
  #connections: Connection[] = [];
  readonly #deps: ConnectionDeps;
  readonly #boardsMax: number;

  constructor(deps: ConnectionDeps, boardsMax: number) {
    this.#deps = deps;
    this.#boardsMax = boardsMax;
  }

  /** Follows these boards. Opens a stream again only if its boards changed. */
  follow(wanted: ReadonlySet<string>): void {
    const changed = new Set<Connection>();
    const missing = new Set(wanted);
    for (const connection of this.#connections) {
      for (const board of connection.boards) {
        if (missing.delete(board)) continue;
        connection.boards.delete(board);
        changed.add(connection);
      }
    }
    for (const board of missing) {
      const connection = this.#withRoom();
      connection.boards.add(board);
      changed.add(connection);
    }
    for (const connection of changed) void connection.open();
    this.#connections = this.#connections.filter(({ boards }) => boards.size);
  }

  announce(): void {
    this.#connections.forEach((connection) => connection.announce());
  }

  check(force: boolean): void {
    this.#connections.forEach((connection) => connection.check(force));
  }

  wentOffline(): void {
    this.#connections.forEach((connection) => connection.wentOffline());
  }

  close(): void {
    this.#connections.forEach((connection) => connection.close());
    this.#connections = [];
  }

  #withRoom(): Connection {
    let connection = this.#connections.find(({ boards }) => boards.size < this.#boardsMax);
    if (!connection) this.#connections.push((connection = new Connection(this.#deps)));
    return connection;
  }
}
