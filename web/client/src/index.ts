// What a page imports.

export type {
  Board,
  BoardState,
  Client,
  ClientOptions,
  InitialList,
  Post,
  Status,
  Topic,
} from "./api.js";
export { connect } from "./client.js";
