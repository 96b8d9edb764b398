/** Values as words for a person. Pure. */

import type { HostData, PairData } from "../page-server/page-data.ts";
import type { Level } from "./page-state.ts";

export function roundTripText(milliseconds: number | null): string {
  if (milliseconds === null) return "–";
  return milliseconds < 1 ? `${Math.round(milliseconds * 1000)} µs` : `${milliseconds} ms`;
}

export function lossText(loss: number | null): string {
  return loss === null ? "–" : `${Math.round(loss * 100)} %`;
}

/** "12 s", "3 min", "5 h", "2 d". */
export function ageText(seconds: number): string {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

export function countText(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
}

export function stateText(level: Level, { isLeaving }: HostData): string {
  if (level === "bad") return "broken path";
  if (isLeaving) return "leaving";
  if (level === "lossy") return "loses packets";
  if (level === "own") return "this host";
  return level === "unknown" ? "not measured" : "good";
}

export function agentText({ nodeId, version }: HostData): string {
  if (nodeId === null) return "flanneld";
  return version === null ? "tulled" : `tulled ${version}`;
}

export function pathText(path: HostData["path"]): string {
  return path ?? "–";
}

/** What a host tells of a path to a peer, with names for "this host" and "the peer". */
export function namedText(text: string, from: string, to: string): string {
  return text.replace(/\bthis host\b/g, () => from).replace(/\bthe peer\b/g, () => to);
}

/** One sentence. */
export function seenText({ from, to, seen, isOwnFault }: PairData, nameOf: (id: string) => string): string {
  const [seer, peer] = [nameOf(from), nameOf(to)];
  const text = namedText(seen, seer, peer);
  // What is the fault of a host is a sentence of its own.
  return isOwnFault ? `${seer} reports: ${text}.` : `${seer} sees that ${peer} ${text}.`;
}
