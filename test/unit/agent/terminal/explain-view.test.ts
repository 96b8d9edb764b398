import { expect, it } from "vitest";
import type { Outcome } from "../../../../agent/explain/explanation.ts";
import { formatExplanation } from "../../../../agent/terminal/explain-view.ts";
import { openTerminal } from "../../../../agent/terminal/terminal.ts";

const RED = 31;
const GREEN = 32;
const YELLOW = 33;

it.each<[Outcome, readonly string[], number]>([
  ["leaves", [], GREEN],
  ["delivered", [], GREEN],
  ["leaves", ["the rules for frames of nft netdev f"], YELLOW],
  ["unknown", [], YELLOW],
  ["dropped", ["a limit"], RED],
])("a packet that is %s, unless %j, ends in its colour", (outcome, doubts, colour) => {
  const end = { outcome, text: "the packet is here", cause: null, remedy: null };
  const terminal = openTerminal({ isTTY: true, columns: 80, write() {} }, {});
  expect(formatExplanation("this host", { steps: [], end, doubts }, terminal)).toContain(
    `\x1b[${colour}mthe packet is here\x1b[39m`,
  );
});
