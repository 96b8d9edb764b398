/** Which way packets go, from what is seen of both paths second by second. */

import { expect, it } from "vitest";
import {
  AT_START,
  nextChoice,
  type PathChoice,
  resumed,
  type Verdict,
} from "../../../../agent/fallback/path-choice.ts";

interface Stretch {
  readonly seconds: number;
  readonly tunnel: Verdict;
  readonly fallback?: Verdict;
}

/** The seconds at which packets changed their way, with the way. */
function movesOf(stretches: readonly Stretch[], start: PathChoice = AT_START): readonly string[] {
  let choice = start;
  let second = 0;
  const moves: string[] = [];
  for (const { seconds, tunnel, fallback = "alive" } of stretches) {
    for (const end = second + seconds; second < end; second++) {
      const nowMs = second * 1000;
      const next = nextChoice(choice, { tunnel, fallback, tunnelAnsweredMs: nowMs }, nowMs);
      if (next.by !== choice.by) moves.push(`${second} ${next.by}`);
      choice = next;
    }
  }
  return moves;
}

it("leaves a dead tunnel at once, and returns after half a minute of proof", () => {
  const moves = movesOf([
    { seconds: 10, tunnel: "alive" },
    { seconds: 5, tunnel: "dead" },
    { seconds: 60, tunnel: "alive" },
  ]);
  expect(moves).toEqual(["10 fallback", "45 tunnel"]);
});

it.each<Verdict>(["unknown", "doubtful", "dead"])("stays where the fall-back is %s", (fallback) => {
  expect(movesOf([{ seconds: 600, tunnel: "dead", fallback }])).toEqual([]);
});

it.each<Verdict>(["unknown", "doubtful"])("does not leave a tunnel that is %s", (tunnel) => {
  expect(movesOf([{ seconds: 600, tunnel }])).toEqual([]);
});

it.each<Verdict>(["unknown", "doubtful", "dead"])(
  "begins the proof again when the tunnel is %s",
  (tunnel) => {
    const moves = movesOf([
      { seconds: 1, tunnel: "dead" },
      { seconds: 25, tunnel: "alive" },
      { seconds: 1, tunnel },
      { seconds: 40, tunnel: "alive" },
    ]);
    expect(moves).toEqual(["0 fallback", "57 tunnel"]);
  },
);

it("returns once a minute at most to a tunnel that fails again and again, and never waits to leave it", () => {
  const cycle: readonly Stretch[] = [
    { seconds: 2, tunnel: "dead" },
    { seconds: 33, tunnel: "alive" },
  ];
  const moves = movesOf(Array.from({ length: 20 }, () => cycle).flat());
  const secondsOf = (way: string) =>
    moves.filter((move) => move.endsWith(way)).map((move) => Number.parseInt(move, 10));
  const returns = secondsOf("tunnel");
  expect(returns.length).toBeGreaterThan(2);
  for (const [index, second] of returns.slice(1).entries())
    expect(second - (returns[index] ?? 0)).toBeGreaterThanOrEqual(60);
  for (const second of secondsOf("fallback")) expect(second % 35).toBe(0);
});

it("returns without the proof where only the tunnel answers, but not for one answer", () => {
  const moves = movesOf([
    { seconds: 5, tunnel: "dead" },
    { seconds: 1, tunnel: "alive", fallback: "dead" },
    { seconds: 1, tunnel: "dead", fallback: "dead" },
    { seconds: 9, tunnel: "alive", fallback: "dead" },
  ]);
  expect(moves).toEqual(["0 fallback", "9 tunnel"]);
});

it("stays on the fall-back where neither answers, and with a former run's choice", () => {
  expect(movesOf([{ seconds: 600, tunnel: "dead", fallback: "dead" }], resumed(0))).toEqual([]);
  expect(movesOf([{ seconds: 60, tunnel: "alive" }], resumed(0))).toEqual(["30 tunnel"]);
});
