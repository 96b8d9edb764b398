/** What another plugin gets from us: the call's environment, but nothing that loads code into it. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { invokePlugin } from "../../../cni-plugin/host/invoke.ts";

it("gives another plugin its call, without what the dynamic linker obeys", () => {
  const folder = mkdtempSync(join(tmpdir(), "tulle-invoke-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const script = '#!/bin/sh\nprintf \'{"seen": "%s"}\' "$(/usr/bin/env | sort | tr "\\n" ";")"\n';
  writeFileSync(join(folder, "echo-env"), script, { mode: 0o755 });
  const environment = {
    PATH: "/nowhere:/usr/bin:/bin",
    ROBOT: "kept",
    CNI_COMMAND: "ADD",
    LD_PRELOAD: "/nowhere.so",
    LD_AUDIT: "/nowhere.so",
    LD_LIBRARY_PATH: "/nowhere",
    GLIBC_TUNABLES: "glibc.malloc.check=3",
  };
  const call = { containerId: "c1", netnsPath: "", interfaceName: "eth0", args: "", pluginDirs: [folder] };
  const { seen } = invokePlugin("DEL", "echo-env", {}, { ...call, environment }) as { seen: string };
  expect(seen).toContain("ROBOT=kept;");
  expect(seen).toContain("CNI_COMMAND=DEL;");
  expect(seen).not.toMatch(/LD_|GLIBC_/);
});
