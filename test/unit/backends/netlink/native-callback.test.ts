import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Bundle, bundle } from "../../../support/bundle.ts";
import { describeOnRuntimes } from "../../../support/runtimes.ts";

describeOnRuntimes("an error in a native callback", ({ kind, file }) => {
  let program: Bundle;
  beforeAll(async () => {
    program = await bundle("native-callback.ts", undefined, kind);
  });
  afterAll(() => program.dispose());

  it("can be caught, and leaves nothing that aborts the process later", () => {
    const output = execFileSync(file, ["--expose-gc", program.path], { encoding: "utf8" });
    expect(output).toBe("from a native callback");
  });
});
