/** What watchers of the page have been told, and what is new since. Pure but for the source that it asks. */

import { formatJson } from "../../ipam/escape.ts";
import type { HostData, PageData, PageUpdate } from "./page-data.ts";
import { eventOf } from "./watchers.ts";

/** Sections that are sent as a whole. */
const SECTIONS = ["self", "own", "pairs", "counted", "notes", "revisions"] as const;

export class PageModel {
  readonly #collect: () => PageData;
  #data: PageData | null = null;
  #hosts: ReadonlyMap<string, HostData> = new Map();
  #all: Buffer | null = null;

  constructor(collect: () => PageData) {
    this.#collect = collect;
  }

  /** Reads the source again. Returns the event for those that have the last state; null when nothing has changed. */
  refresh(): Buffer | null {
    const before = this.#data;
    const after = this.#collect();
    const hostsBefore = this.#hosts;
    this.#data = after;
    this.#hosts = new Map(after.hosts.map((host) => [host.id, host]));
    // Also where only the time has changed.
    this.#all = null;
    const update = before === null ? null : updateOf(before, hostsBefore, after, this.#hosts);
    return update === null ? null : eventOf("update", formatJson(update));
  }

  /** The event of a quiet time: what the clock shows, for the ages of problems. */
  sign(): Buffer {
    return eventOf("update", formatJson({ now: this.#data?.now ?? 0 } satisfies PageUpdate));
  }

  /** The event with the whole state of the last refresh, made once for all. */
  all(): Buffer {
    if (this.#data === null) this.refresh();
    this.#all ??= eventOf("all", formatJson(this.#data ?? {}));
    return this.#all;
  }
}

/** Null when nothing has changed. */
export function updateOf(
  before: PageData,
  hostsBefore: ReadonlyMap<string, HostData>,
  after: PageData,
  hostsAfter: ReadonlyMap<string, HostData>,
): PageUpdate | null {
  const changedSections = SECTIONS.filter((name) => !isSame(before[name], after[name]));
  const hosts = after.hosts.filter((host) => hostsBefore.get(host.id) !== host);
  const gone = [...hostsBefore.keys()].filter((id) => !hostsAfter.has(id));
  if (changedSections.length === 0 && hosts.length === 0 && gone.length === 0) return null;
  return {
    now: after.now,
    ...Object.fromEntries(changedSections.map((name) => [name, after[name]])),
    ...(hosts.length > 0 && { hosts }),
    ...(gone.length > 0 && { gone }),
  };
}

/** Long lists have the same objects as before where nothing has changed. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b))
    return a.length === b.length && a.every((item, index) => item === b[index]);
  return JSON.stringify(a) === JSON.stringify(b);
}
