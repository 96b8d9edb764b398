import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { validate } from "../../../../agent/docker/validate.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tulle-validate-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A program called dockerd that notes its arguments and the configuration, then runs `script`. */
function fakeDockerd(script: string): string {
  const program = join(folder, "dockerd");
  const note = `echo "$@" > ${folder}/args; for a; do case $a in --config-file=*) cat "\${a#*=}" > ${folder}/config;; esac; done`;
  writeFileSync(program, `#!/bin/sh\n${note}\n${script}\n`);
  chmodSync(program, 0o755);
  return program;
}

const run = (program: string) => validate({ program, arguments: ["--bip=10.2.3.1/24"], config: "" });

it("gives dockerd the options and the configuration as they will be, and leaves no file", async () => {
  await run(fakeDockerd("echo configuration OK >&2"));
  const [, file] =
    /^--bip=10\.2\.3\.1\/24 --config-file=(.*) --validate$/m.exec(
      readFileSync(join(folder, "args"), "utf8"),
    ) ?? [];
  expect(readFileSync(join(folder, "config"), "utf8")).toBe("{}\n");
  expect(() => readdirSync(join(file ?? "", ".."))).toThrow("ENOENT");
});

it("reports dockerd's own words", async () => {
  const program = fakeDockerd("echo 'merged configuration validation: bip twice' >&2; exit 1");
  await expect(run(program)).rejects.toThrow(
    expect.objectContaining({ code: "TULLE_CONFLICT", message: expect.stringMatching(/: .*bip twice$/) }),
  );
});

it("checks nothing without dockerd, with one that cannot, and with another program", async () => {
  await run(fakeDockerd("echo 'unknown flag: --validate' >&2; exit 125"));
  await run(join(folder, "absent/dockerd"));
  await run("/bin/false");
});
