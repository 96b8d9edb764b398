import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { DaemonSettings } from "../../../../agent/bug-report/daemon-settings.ts";
import { loadGiven } from "../../../../agent/config/config.ts";
import { parseFlags } from "../../../../agent/config/flag-parser.ts";
import { examinedSettings } from "../../../../agent/doctor/examined-settings.ts";
import { runCli } from "../../../support/cli.ts";

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "tulle-examined-"));
});
afterAll(() => rmSync(directory, { recursive: true }));

const loadedWith = async (...args: string[]) => await loadGiven(parseFlags(args, []), {});
const given = { args: [], environment: {} };

async function settings(more: Partial<DaemonSettings> = {}): Promise<DaemonSettings> {
  const own = await loadedWith("--iface=own0");
  return { service: null, own, running: null, daemon: null, problems: [], ...more };
}

it("are those of the running daemon, else of its service, else of the command", async () => {
  const service = { given, loaded: await loadedWith("--iface=service0") };
  const daemon = { given, loaded: await loadedWith("--iface=daemon0") };
  const running = { pid: 42, settings: [] };
  const of = async (more: Partial<DaemonSettings>) => {
    const { config, finding } = examinedSettings("/etc/default/tulled", await settings(more));
    return [config.interface.interfaces[0], finding.verdict, finding.message];
  };
  expect(await of({})).toEqual(["own0", "ok", "flags and variables of this command"]);
  expect(await of({ service, own: service.loaded })).toEqual([
    "service0",
    "ok",
    "those of /etc/default/tulled",
  ]);
  expect(await of({ service, own: service.loaded, running, daemon })).toEqual([
    "daemon0",
    "ok",
    "those of the running daemon, process 42",
  ]);
  // Of a daemon in a container the process cannot be read.
  expect((await of({ running })).slice(0, 2)).toEqual(["own0", "ok"]);
});

it("are read from the service's file, and wrong ones are a finding", async () => {
  const file = join(directory, "tulled");
  const doctor = async (...args: string[]) => {
    const { out } = await runCli(["doctor", `--service-file=${file}`, `--run-dir=${directory}`, ...args]);
    return out;
  };
  writeFileSync(file, `TULLED_OPTIONS="--store=file:${directory}/service -iface=nowhere7"\n`);
  expect(await doctor()).toMatch(/^ok +settings +those of .*tulled$/m);
  expect(await doctor()).toContain(`${directory}/service`);
  expect(await doctor(`--store=file:${directory}/given`)).toContain(`${directory}/given`);
  writeFileSync(file, 'TULLED_OPTIONS="--bogus"\n');
  expect(await doctor()).toMatch(/^fail +settings +.*unknown flag -bogus/m);
});
