// A board's live list, and what the events of a stream make of it. Plain values: nothing waits.

import type { InitialList, Topic } from "./api.js";
import { digest } from "./digest.js";

/** The live list at one revision, in the order of ids. Never changed in place. */
export interface List {
  readonly topics: readonly Topic[];
  readonly revision: number;
  /** Where a stream may go on from; empty if unknown. It may lag behind `revision`. */
  readonly cursor: string;
}

export interface SnapshotData {
  readonly revision: number;
  readonly digest: string;
  readonly topics: readonly Topic[];
}

export type Op =
  { readonly op: "set"; readonly topic: Topic } | { readonly op: "delete"; readonly id: number };

export interface PatchData {
  readonly from: number;
  readonly revision: number;
  readonly digest: string;
  readonly ops: readonly Op[];
}

/** The revision of a cursor, `<epoch>-<revision>`. */
export const revisionOf = (cursor: string) => Number(cursor.slice(cursor.indexOf("-") + 1));

const epochOf = (cursor: string) => cursor.slice(0, cursor.indexOf("-"));

/** The list of a snapshot; null if its digest differs. */
export function fromSnapshot(data: SnapshotData, cursor: string): List | null {
  if (digest(data.topics) !== data.digest) return null;
  return { topics: data.topics, revision: data.revision, cursor };
}

/** The list that a page was rendered with. */
export function fromPage({ topics, cursor }: InitialList): List {
  const complete = topics.map((topic) => ({
    updated_at: topic.edited_at ?? topic.created_at,
    ...topic,
  }));
  complete.sort((a, b) => a.id - b.id);
  return { topics: complete, revision: revisionOf(cursor), cursor };
}

/** The list after a patch; the same one if it has the patch; null if it cannot be applied. */
export function patched(list: List, data: PatchData, cursor: string): List | null {
  if (data.revision <= list.revision) return list;
  if (data.from > list.revision) return null;
  const topics = [...list.topics];
  for (const op of data.ops) {
    const id = op.op === "set" ? op.topic.id : op.id;
    let at = topics.findIndex((topic) => topic.id >= id);
    if (at < 0) at = topics.length;
    const known = topics[at]?.id === id ? 1 : 0;
    topics.splice(at, known, ...(op.op === "set" ? [op.topic] : []));
  }
  return fromSnapshot({ ...data, topics }, cursor);
}

/** The list as of a later cursor, at which it is the same. */
export function reached(list: List, revision: number, cursor: string): List {
  return { ...list, revision: Math.max(list.revision, revision), cursor };
}

/**
 * The cursor that none of the lists is before: what follows it, all of them can apply. Undefined
 * if they are of different histories.
 */
export function leastCursor(lists: readonly List[]): string | undefined {
  const cursors = lists.map((list) => list.cursor);
  if (new Set(cursors.map(epochOf)).size > 1) return undefined;
  return cursors.sort((a, b) => revisionOf(a) - revisionOf(b))[0];
}

/** Whether the second list is of another history, or not older than the first. */
export function isNewer(list: List | null, other: List): boolean {
  return !list || epochOf(list.cursor) !== epochOf(other.cursor) || other.revision >= list.revision;
}
