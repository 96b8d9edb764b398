/** When the kernel's table of connections is called full. */

import { beforeEach, expect, it } from "vitest";
import { ConnectionWatch } from "../../../../agent/probes/connection-watch.ts";

const MOST = 262_144;
let watch: ConnectionWatch;

beforeEach(() => {
  watch = new ConnectionWatch();
});

function look(entries: number, dropped: number, forgotten: number, nowMs: number): string | null {
  return watch.note({ entries, most: MOST, dropped, forgotten }, nowMs)?.text ?? null;
}

it("is not full where packets lose races for an entry", () => {
  expect(look(1_200, 5, 0, 0)).toBeNull();
  expect(look(1_200, 40, 0, 10_000)).toBeNull();
  expect(look(200_000, 90, 0, 20_000)).toBeNull();
});

it("is full near its limit", () => {
  expect(look(MOST - 10, 0, 0, 0)).toMatch(
    / is full \(262134 of 262144; 0 packets dropped and 0 connections/,
  );
});

it("was full where connections were forgotten early between two looks, for a minute", () => {
  expect(look(1_200, 0, 70, 0)).toBeNull(); // before this program looked
  expect(look(1_200, 9, 71, 10_000)).toMatch(/ was full within the last minute \(1200 of 262144; 9 packets/);
  expect(look(1_200, 9, 71, 70_000)).not.toBeNull();
  expect(look(1_200, 9, 71, 80_000)).toBeNull();
});

it("says nothing where the kernel tracks no connections", () => {
  expect(watch.note(null, 0)).toBeNull();
});
