import { expect, it } from "vitest";
import { AgentSigns } from "../../../../agent/probes/agent-signs.ts";

const heardEvery = (intervalMs: number, count: number): AgentSigns => {
  const signs = new AgentSigns();
  for (let index = 0; index < count; index++) signs.note(index * intervalMs, 5_000);
  return signs;
};

it("calls no agent quiet that was never heard, or that restarts", () => {
  expect(new AgentSigns().isQuiet(1e9, 5_000)).toBe(false);
  expect(heardEvery(5_000, 2).isQuiet(1e9, 5_000)).toBe(false);
  expect(heardEvery(5_000, 10).isQuiet(45_000 + 59_000, 5_000)).toBe(false);
});

it("calls an agent quiet whose probes have ended", () => {
  expect(heardEvery(5_000, 10).isQuiet(45_000 + 61_000, 5_000)).toBe(true);
});

it("waits as long as a turn among thousands of peers takes, or as the agent is used to", () => {
  expect(heardEvery(5_000, 10).isQuiet(45_000 + 700_000, 280_000)).toBe(false);
  expect(heardEvery(100_000, 10).isQuiet(900_000 + 250_000, 5_000)).toBe(false);
});

it("does not take the silence of a dead agent for usual", () => {
  const signs = heardEvery(5_000, 10);
  signs.note(1_000_000, 5_000);
  expect(signs.isQuiet(1_061_000, 5_000)).toBe(true);
});

it("gets used to an agent of a lower rate than this host's", () => {
  const signs = heardEvery(1_000, 10);
  for (let nowMs = 120_000; nowMs < 500_000; nowMs += 110_000) signs.note(nowMs, 5_000);
  expect(signs.isQuiet(450_000 + 109_000, 5_000)).toBe(false);
  expect(signs.isQuiet(450_000 + 400_000, 5_000)).toBe(true);
});
