import { execFileSync } from "node:child_process";
import process from "node:process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Bundle, bundle } from "../../../support/bundle.ts";

let program: Bundle;
beforeAll(async () => {
  program = await bundle("native-callback.ts");
});
afterAll(() => program.dispose());

it("an error in a native callback can be caught, and leaves nothing that aborts the process later", () => {
  const output = execFileSync(process.execPath, ["--expose-gc", program.path], { encoding: "utf8" });
  expect(output).toBe("from a native callback");
});
