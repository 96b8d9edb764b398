/** What people read about the netavark plugin: its help and docs/podman.md, both against the tables of the program. */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { dispatch } from "../../../cni-plugin/netavark/dispatch.ts";
import { OPTIONS, VERBS } from "../../../cni-plugin/netavark/usage.ts";

const DOCUMENT = join(import.meta.dirname, "../../../docs/podman.md");

it.each(["--help", "-h"])("prints verbs and options on %s, and reads no request", async (flag) => {
  let printed = "";
  const exitCode = await dispatch({
    arguments: [flag],
    readStdin: () => expect.unreachable("a terminal would have to be closed first"),
    writeStdout: (text) => {
      printed += text;
    },
    warn: (text) => expect.unreachable(text),
    isOwnNetns: () => false,
  });
  expect(exitCode).toBe(0);
  expect(printed).toMatch(/^Usage: tulle-netavark <verb> \[netns\]\n/);
  for (const [name, { summary }] of Object.entries(VERBS))
    expect(printed).toMatch(new RegExp(`^ {2}${name} .*${summary}$`, "m"));
  for (const { key, summary } of OPTIONS)
    expect(printed).toMatch(new RegExp(`^ {2}-o ${key}=<.*${summary}`, "m"));
});

it.each(OPTIONS.map(({ key, default: standard }) => [key, standard]))(
  "has option %s in docs/podman.md",
  (key, standard) => {
    const rows = readFileSync(DOCUMENT, "utf8").split("\n");
    const row = rows.find((line) => line.startsWith("| ") && line.includes(`\`-o ${key}=`));
    expect(row).toContain(standard);
  },
);
