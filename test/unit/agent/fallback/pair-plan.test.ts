/** Both paths to peers over simulated networks: what is probed, how soon a fault is found, and what must not be taken for one. */

import { expect, it } from "vitest";
import { PairPlan } from "../../../../agent/fallback/pair-plan.ts";
import type { PairTarget, Way } from "../../../../agent/fallback/path-pair.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const STEP_MS = 50;

function target(number: number): PairTarget {
  return {
    id: `${number}`,
    peer: `peer ${number}`,
    family: 4,
    inner: Address.parse("10.2.0.0").plus(number * 256),
    source: Address.parse("10.2.1.0"),
    device: "flannel.1",
    mtuBytes: 1450,
  };
}

/** A network in which answers take 20 ms, unless `isCut` says that a path is. */
class World {
  nowMs = 1_000;
  readonly moves: string[] = [];
  sent = 0;
  isCut: (way: Way, id: string) => boolean = () => false;
  roundTripMs = 20;
  readonly plan: PairPlan;
  #answers: { readonly atMs: number; readonly onAnswer: () => void }[] = [];

  constructor(peers: number, perSecond = 10) {
    this.plan = new PairPlan({
      perSecond,
      nowMs: () => this.nowMs,
      send: ({ id }, way, onAnswer) => {
        this.sent += 1;
        if (!this.isCut(way, id)) this.#answers.push({ atMs: this.nowMs + this.roundTripMs, onAnswer });
      },
      onMove: ({ target: { id }, choice }) => this.moves.push(`${this.nowMs} ${id} ${choice.by}`),
    });
    this.plan.setTargets(Array.from({ length: peers }, (_, index) => target(index + 2)));
  }

  run(durationMs: number): void {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs; this.nowMs += STEP_MS) {
      const due = this.#answers.filter(({ atMs }) => atMs <= this.nowMs);
      this.#answers = this.#answers.filter(({ atMs }) => atMs > this.nowMs);
      for (const { onAnswer } of due) onAnswer();
      this.plan.step();
    }
  }

  /** Until packets of a pair move, in milliseconds. */
  untilMove(limitMs: number): number {
    const [startMs, before] = [this.nowMs, this.moves.length];
    while (this.moves.length === before && this.nowMs - startMs < limitMs) this.run(STEP_MS);
    return this.nowMs - startMs;
  }
}

it("finds a dead tunnel within two and a half seconds, whenever it dies", () => {
  for (let offsetMs = 0; offsetMs < 1_000; offsetMs += STEP_MS) {
    const world = new World(2);
    world.run(20_000 + offsetMs);
    world.isCut = (way, id) => way === "tunnel" && id === "2";
    expect(world.untilMove(10_000)).toBeLessThanOrEqual(2_500);
    expect(world.moves).toHaveLength(1);
    world.isCut = () => false;
    world.run(29_000);
    expect(world.moves).toHaveLength(1);
    world.run(5_000);
    expect(world.moves[1]).toMatch(/ 2 tunnel$/);
  }
});

it("finds the dead tunnel to a peer in use as soon, among very many peers, within the budget", () => {
  const world = new World(2_000);
  world.plan.setBusy(new Set(["7", "8"]));
  world.run(30_000);
  world.sent = 0;
  world.run(60_000);
  expect(world.sent).toBeLessThanOrEqual(60 * 10 + 40);
  world.isCut = (way, id) => way === "tunnel" && id === "7";
  expect(world.untilMove(10_000)).toBeLessThanOrEqual(2_500);
});

it("moves many peers at once when all tunnels die", () => {
  const world = new World(6);
  world.run(20_000);
  world.isCut = (way) => way === "tunnel";
  world.run(3_000);
  expect(world.moves).toHaveLength(6);
});

it.each([
  { peers: 10, busy: 10, withinMs: 3_000 },
  { peers: 20, busy: 20, withinMs: 6_000 },
  { peers: 200, busy: 20, withinMs: 6_000 },
  { peers: 200, busy: 5, withinMs: 3_000 },
])("moves all $peers peers when all tunnels die, the $busy in use first", ({ peers, busy, withinMs }) => {
  const world = new World(peers);
  const inUse = Array.from({ length: busy }, (_, index) => `${index + 2}`);
  world.plan.setBusy(new Set(inUse));
  world.run(600_000);
  world.isCut = (way) => way === "tunnel";
  world.run(withinMs);
  const moved = () => new Set(world.moves.map((move) => move.split(" ")[1]));
  expect(inUse.filter((id) => !moved().has(id))).toEqual([]);
  world.run(300_000);
  expect(moved().size).toBe(peers);
  expect(world.moves).toHaveLength(peers);
});

it("finds a dead tunnel beside tunnels that lose every third packet", () => {
  const world = new World(12);
  world.plan.setBusy(new Set(Array.from({ length: 12 }, (_, index) => `${index + 2}`)));
  let count = 0;
  world.isCut = (way, id) => way === "tunnel" && Number(id) < 12 && count++ % 3 === 0;
  world.run(60_000);
  const lossy = world.isCut;
  world.isCut = (way, id) => (way === "tunnel" && id === "13") || lossy(way, id);
  world.run(15_000);
  expect(world.moves.map((move) => move.split(" ").slice(1).join(" "))).toEqual(["13 fallback"]);
});

it("returns to no tunnel for a single answer, however rarely it is probed", () => {
  const world = new World(200);
  world.run(600_000);
  world.isCut = (way) => way === "tunnel";
  world.run(300_000);
  expect(world.moves).toHaveLength(200);
  const answered = new Set<string>();
  world.isCut = (way, id) => {
    if (way === "fallback") return false;
    const isFirst = !answered.has(id);
    answered.add(id);
    return !isFirst;
  };
  world.run(600_000);
  expect(answered.size).toBe(200);
  expect(world.moves).toHaveLength(200);
});

it("moves nothing for an outage of both paths, whichever works again first", () => {
  for (let offsetMs = 0; offsetMs < 2_000; offsetMs += 100) {
    const world = new World(1);
    world.run(20_000);
    world.isCut = () => true;
    world.run(5_000 + offsetMs);
    world.isCut = () => false;
    world.run(60_000);
    expect(world.moves).toEqual([]);
  }
});

it("moves nothing for single lost packets, nor for answers that take a second", () => {
  const world = new World(3);
  let count = 0;
  world.isCut = () => count++ % 3 === 0;
  world.run(600_000);
  expect(world.moves).toEqual([]);
  const slow = new World(3);
  slow.roundTripMs = 900;
  slow.run(120_000);
  expect(slow.moves).toEqual([]);
});

it("stays where neither path answers, tells so, and moves when the fall-back does", () => {
  const world = new World(1);
  world.run(20_000);
  world.isCut = () => true;
  world.run(30_000);
  const pair = world.plan.pairs.get("2");
  expect([pair?.isCutOff(world.nowMs), world.moves]).toEqual([true, []]);
  world.isCut = (way) => way === "tunnel";
  expect(world.untilMove(60_000)).toBeLessThanOrEqual(16_000);
});

it("tells that the fall-back would not help while the tunnel works", () => {
  const world = new World(1);
  world.isCut = (way) => way === "fallback";
  world.run(90_000);
  expect(world.plan.pairs.get("2")?.isReserveSilent(world.nowMs)).toBe(true);
  world.isCut = () => false;
  world.run(30_000);
  expect(world.plan.pairs.get("2")?.isReserveSilent(world.nowMs)).toBe(false);
});

it("gives a new peer time to set its tunnel up", () => {
  const world = new World(1);
  world.isCut = (way) => way === "tunnel";
  world.run(4_500);
  expect(world.moves).toEqual([]);
  world.run(3_000);
  expect(world.moves).toHaveLength(1);
});

it("judges nothing by a pause of its own process", () => {
  const world = new World(2);
  world.run(20_000);
  for (let count = 0; count < 20; count++) {
    world.nowMs += 5_000;
    world.run(150);
  }
  expect(world.moves).toEqual([]);
});

it("keeps the choice of a peer whose target changes, and forgets one that has left", () => {
  const world = new World(1);
  world.run(20_000);
  world.isCut = (way) => way === "tunnel";
  world.run(5_000);
  world.plan.setTargets([{ ...target(2), mtuBytes: 1400 }]);
  expect(world.plan.pairs.get("2")?.choice.by).toBe("fallback");
  world.plan.setTargets([]);
  world.plan.setTargets([target(2)]);
  expect(world.plan.pairs.get("2")?.choice.by).toBe("tunnel");
});
