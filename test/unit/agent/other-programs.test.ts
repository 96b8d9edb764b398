import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { findProgram } from "../../../agent/other-programs.ts";

it("finds a program of this network namespace by its name, and none that is not there", () => {
  expect(findProgram(readFileSync("/proc/self/comm", "utf8").trim())).toBeGreaterThan(0);
  expect(findProgram("no-such-program")).toBeNull();
});
