// The client that follows this page's board.

import { connect } from "../client/src/index.js";
import { main, name } from "./page.js";
import { rendered } from "./rows.js";

const { cursor, heartbeat, boards } = main.dataset;
export const client = connect({ heartbeat: +heartbeat!, boardsPerStream: +boards! });
/** What the server rendered. */
export const topics = rendered();
export const board = client.board(name, { cursor: cursor!, topics });
