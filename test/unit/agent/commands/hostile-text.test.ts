/** Text from stores, files, daemons and flags on people's terminals: nothing acts there, nothing floods it. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { COMMANDS } from "../../../../agent/commands/registry.ts";
import { serveControl } from "../../../../agent/report/control.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { Faults } from "../../../../ipam/faults.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import type { NetworkStore, Records } from "../../../../ipam/stores/contracts.ts";
import { openFileStore } from "../../../../ipam/stores/file/store.ts";
import { runCli, withoutStyles } from "../../../support/cli.ts";

// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what must not pass
const ACTS_ON_TERMINALS = /[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufeff]/;
const LONE_SURROGATE = /\p{Cs}/u;
/** A column of problems, a message with its code: what fits here does not flood. */
const LONGEST_LINE = 2100;

const HOSTILE = [
  "\u001b]0;owned\u0007\u001b[2J",
  "a\u0000b\u007f\u009b31m",
  "\u202etxt.exe\u2066\u2069\u200e\u200f",
  "one\nforged: line\rover\u2028two\u2029",
  "\ud800 lone \udc00",
  "k".repeat(30_000),
  "\u001b[31m".repeat(5000),
];

let directory: string;
let control: Awaited<ReturnType<typeof serveControl>>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tulle-hostile-"));
  await fillStore(`${directory}/leases`, '{"Network":"10.2.0.0/16","Backend":{"Type":"vxlan"}}');
  await fillNamedNetworks(openNetwork(`${directory}/leases`).records);
  await fillHostProfiles(openNetwork(`${directory}/leases`).records);
  for (const [index, text] of HOSTILE.entries()) {
    const config = JSON.stringify({ Network: "10.2.0.0/16", Backend: { Type: text, Key: text, [text]: 1 } });
    await fillStore(`${directory}/config${index}`, config);
    await fillStore(`${directory}/broken${index}`, `{"Network": ${text}`);
    await writeFile(`${directory}/file${index}`, `${text}: ${text}\nFLANNEL_SUBNET=${text}\n`);
  }
  const routes = {
    "/status": hostileStatus,
    "/summary": () => HOSTILE[0],
    "/events": () =>
      HOSTILE.map((text) => ({ time: text, level: text, message: text, [text]: text, nested: [text] })),
    "/probe-targets": () => ({
      targets: [],
      devices: [],
      interfaces: {},
      hostNames: { [HOSTILE[0] ?? ""]: HOSTILE[0] },
    }),
  };
  control = await serveControl(`${directory}/run`, routes, new Faults(silentLogger));
}, 60_000);

afterAll(async () => {
  await control.close();
  await rm(directory, { recursive: true });
});

function openNetwork(path: string): NetworkStore {
  const environment = { log: silentLogger, clock: systemClock, random: () => 0.5, dateMs: () => 0 };
  return openFileStore(path, environment).network("/coreos.com/network");
}

async function fillStore(path: string, config: string): Promise<void> {
  const { signal } = new AbortController();
  const store = openNetwork(path);
  await store.config.write(config, null, signal);
  let host = 0;
  for (const text of HOSTILE) {
    host += 1;
    const lease = { PublicIP: `192.168.1.${host}`, BackendType: text, NodeID: text, Extra: text };
    const data = { VNI: 1, VtepMAC: text, [text]: text };
    for (const [key, value] of [
      [text.slice(0, 20_000), "{}"],
      [`10.2.${host}.0-24`, text],
      [`10.2.${host + 100}.0-24`, JSON.stringify({ ...lease, BackendData: data })],
      [`10.2.${host + 200}.0-24`, JSON.stringify({ ...lease, BackendType: "vxlan", BackendData: data })],
    ] as const) {
      await store.leases.create(key, value, 3600, signal);
      await store.records.write(`affinity/${key}`, value, null, signal);
    }
  }
}

/** Records of hosts: damaged ones, and one for each field. */
async function fillHostProfiles(records: Records): Promise<void> {
  const { signal } = new AbortController();
  const good = { name: "node", version: "1.0.0", kernel: "6.1.0", backends: ["vxlan"] };
  let host = 0;
  const write = async (value: string): Promise<void> => {
    host += 1;
    await records.write(`hosts/${host.toString(16).padStart(32, "0")}`, value, null, signal);
  };
  for (const text of HOSTILE) {
    await write(text);
    for (const field of ["name", "version", "kernel"])
      await write(JSON.stringify({ ...good, [field]: text }));
    await write(JSON.stringify({ ...good, backends: [text], [text]: text }));
    await records.write(`hosts/${text.replaceAll("/", "").slice(0, 2000)}`, "{}", null, signal);
  }
}

/** Hostile text wherever a record of named networks can have some. */
async function fillNamedNetworks(records: Records): Promise<void> {
  const { signal } = new AbortController();
  const id = "b".repeat(32);
  const [long = ""] = HOSTILE.map((text) => text.slice(0, 100));
  const pool = { subnet: "10.9.8.0/24", allocation: "10.9.8.0/24", gateway: "10.9.8.1", excluded: [] };
  const blue = { id, name: "blue", vni: 4096, pools: { 4: pool }, labels: { [long]: long }, created: 1 };
  const networks = [blue, ...HOSTILE.map((name) => ({ ...blue, name, [name]: name })), ...HOSTILE];
  const values: Record<string, unknown> = { "named/catalogue": { networks, drafts: HOSTILE } };
  for (const [index, text] of HOSTILE.entries()) {
    const name = text.slice(0, 250);
    const host = String(index).repeat(32);
    const addresses = { 4: `192.168.1.${index + 1}` };
    values[`named/hosts/${host}`] = { host, name, addresses, localPrefixes: [], version: name.slice(0, 100) };
    const member = {
      ...{ endpoint: `e${index}`, container: `c${index}`, engine: "docker", names: [text] },
      ...{ mac: `02:00:00:00:00:0${index}`, addresses: { 4: `10.9.8.${index + 10}` } },
    };
    values[`named/members/${id}/${host}`] = { members: [member, { ...member, endpoint: text, mac: text }] };
    values[`named/addresses/${id}/10.9.8.${index + 10}`] = { host, name };
    values[`named/addresses/${id}/10.9.8.${index + 30}`] = text;
    values[`named/restored/${id}/${host}`] = { hostName: name, usedBy: text.slice(0, 400), at: 1 };
    values[`named/hosts/${text.replaceAll("/", "")}`.slice(0, 2000)] = text;
  }
  for (const [name, value] of Object.entries(values))
    await records.write(name, JSON.stringify(value), await records.read(name, signal), signal);
}

function hostileStatus() {
  const text = HOSTILE.join("");
  const reasons = HOSTILE.map((one) => ({ key: one, reason: one }));
  return {
    version: text,
    isReady: false,
    store: text,
    interface: { name: text, publicAddress: text, reason: text },
    network: { ranges: HOSTILE, backend: text },
    lease: { key: text, state: text, reason: text, secondsLeft: 1 },
    devices: [{ name: text, mtuBytes: 1450 }],
    peers: HOSTILE.map((key) => ({
      key,
      host: { name: key, version: key, kernel: key, backends: [key] },
      publicAddress: key,
      path: key,
      isHeld: true,
    })),
    refused: reasons,
    kernel: {
      ...{ desiredObjects: 1, isConverged: false, passes: 0, lastPass: null, repaired: { [text]: 1 } },
      ...{ failures: [], conflicts: reasons, contended: [] },
    },
    firewall: {
      ...{ choice: "auto", engine: null, isInSync: false, repairs: 0, lastRepair: null, undone: 0 },
      ...{ lastError: text, note: text },
    },
    problems: HOSTILE,
  };
}

const store = (name: string) => `--store=file:${directory}/${name}`;
const perText = (make: (text: string, index: number) => readonly string[]) => HOSTILE.map(make);

/** Command lines per command: hostile stores and files, and hostile text wherever a person can give some. */
const LINES: Readonly<Record<string, () => readonly (readonly string[])[]>> = {
  status: () => [
    ["status", "--run-dir", `${directory}/run`, "--peers"],
    ["status", "--run-dir", `${directory}/run`, "--json"],
    ...perText((text) => ["status", "--run-dir", `/${text}`]),
  ],
  doctor: () => [
    ["doctor", store("leases"), "--run-dir", `${directory}/run`],
    ["doctor", store("leases"), "--run-dir", `${directory}/run`, "--json"],
    ...perText((text, index) => ["doctor", store(`config${index}`), "--iface", text]),
    ...perText((_, index) => ["doctor", store(`broken${index}`), "--state-dir", `${directory}/file${index}`]),
  ],
  net: () => [
    ...perText((_, index) => ["net", "show", store(`config${index}`)]),
    ...perText((_, index) => ["net", "show", store(`config${index}`), "--json"]),
    ...perText((_, index) => ["net", "show", store(`broken${index}`), "--json"]),
    ...perText((_, index) => ["net", "validate", store(`broken${index}`)]),
    ...perText((_, index) => ["net", "validate", "--file", `${directory}/file${index}`]),
    ...perText((text) => ["net", "init", store("leases"), "--network", text, "--vni", text]),
    ...perText((text) => ["net", "init", store("leases"), "--network", "10.2.0.0/16", "--backend", text]),
    ...perText((_, index) => ["net", "init", store(`config${index}`), "--network", "10.2.0.0/16"]),
    ...perText((text) => ["net", "init", store("leases"), "--file", text]),
  ],
  report: () => perText((text) => ["report", "--output", `/nowhere/${text}`]),
  events: () => [
    ["events", "--run-dir", `${directory}/run`],
    ["events", "--run-dir", `${directory}/run`, "--json"],
    ...perText((text) => ["events", "--run-dir", `/nowhere/${text}`, "--state-dir", text]),
    ...perText((text) => ["events", "--last", text]),
  ],
  connectivity: () => [
    ...perText((text) => ["connectivity", "--run-dir", `${directory}/run`, text]),
    ...perText((text) => ["connectivity", "--run-dir", `/nowhere/${text}`]),
    ...perText((text) => ["connectivity", "--count", text]),
  ],
  explain: () => [
    ...perText((text) => ["explain", text, "10.2.3.4", "--run-dir", `/nowhere/${text}`]),
    ...perText((text) => ["explain", "host", text]),
    ...perText((text) => ["explain", "host", "127.0.0.1", text, text]),
    ...perText((text) => ["explain", "host", "127.0.0.1", "tcp", text]),
    ["explain", "host", "127.0.0.1", "--run-dir", `${directory}/run`],
    ["explain", "host", "127.0.0.1", "--run-dir", `${directory}/run`, "--json"],
  ],
  leases: () => [
    ["leases", store("leases")],
    ["leases", store("leases"), "--json"],
    ...perText((text) => ["leases", "--store", text]),
    ...perText((text) => ["leases", store("leases"), "--etcd-endpoints", text]),
  ],
  lease: () => [
    ["lease", "check", store("leases")],
    ...perText((_, index) => ["lease", "check", store(`broken${index}`)]),
    ...HOSTILE.flatMap((text, index) => [
      ["lease", "show", store("leases"), text],
      ["lease", "show", store("leases"), `10.2.${index + 1}.0-24`],
      ["lease", "show", store("leases"), `10.2.${index + 101}.0-24`, "--json"],
      ["lease", "revoke", store("leases"), `10.2.${index + 101}.0-24`],
      ["lease", "revoke", store("leases"), text],
      ["lease", "release", store("leases"), text],
      ["lease", "reserve", store("leases"), text, "--public-ip", text],
      ["lease", "reserve", store("leases"), "10.2.90.0/24", "--public-ip", text],
    ]),
  ],
  network: () => [
    ...["ls", "inspect blue", "ipam list", "ipam check", "rm blue"].map((words) => [
      ...["network", ...words.split(" ")],
      store("leases"),
    ]),
    ["network", "ls", store("leases"), "--json"],
    ["network", "ipam", "list", store("leases"), "--json"],
    ...HOSTILE.flatMap((text) => [
      ["network", "create", store("leases"), text, "--label", text],
      ["network", "create", store("leases"), "blue", "--subnet", text],
      ["network", "rm", store("leases"), text],
      ["network", "ipam", "release", store("leases"), "blue", text],
      ["network", "ipam", "release", store("leases"), "--host", text],
    ]),
  ],
  ps: () => [
    ["ps", store("leases")],
    ["ps", store("leases"), "--json"],
    ...perText((text) => ["ps", store("leases"), "--network", text, "--host", text]),
  ],
  "docker-opts": () => [
    ...perText((text) => ["docker-opts", "-f", text, "-d", "/dev/null", "--format", "flags"]),
    ...perText((_, index) => ["docker-opts", "-f", `${directory}/file${index}`, "--format", "flags"]),
    ...perText((text, index) => ["docker-opts", "-f", `${directory}/file${index}`, "-d", `/nowhere/${text}`]),
    ...perText((text) => ["docker-opts", "--format", text]),
  ],
  demo: () => perText((text) => ["demo", text]),
  docker: () => [
    ...perText((text) => ["docker", "setup", "--subnet-file", text, "--dry-run"]),
    ...perText((_, index) => ["docker", "setup", "--subnet-file", `${directory}/file${index}`, "--dry-run"]),
    ...perText((text) => ["docker", "unset", "--daemon-json", text, "--unit-dir", `/nowhere/${text}`]),
    ...perText((_, index) => ["docker", "unset", "--dry-run", "--daemon-json", `${directory}/file${index}`]),
  ],
  cni: () => [
    ...perText((text) => ["cni", "ipam", "list", "--data-dir", `/nowhere/${text}`]),
    ...perText((text) => ["cni", "ipam", "release", text]),
    ...perText((text) => ["cni", text]),
  ],
  cleanup: () => perText((text) => ["cleanup", "--dry-run", "--run-dir", text]),
  version: () => perText((text) => ["version", text]),
};

/** Each line of a command is a call of it. */
const MANY_CALLS = { timeout: 60_000 };

describe.each(COMMANDS.map(({ name }) => name))("tulle %s", (name) => {
  it("shows hostile text escaped and bounded", MANY_CALLS, async () => {
    const lines = [
      ...(LINES[name]?.() ?? []),
      ...perText((text) => [name, `--${text}`]),
      ...perText((text) => [name, text, "--config", text]),
    ];
    expect(LINES[name], "every command has its lines above").toBeDefined();
    for (const args of lines) {
      const { out, err } = await runCli(args, { isTty: true });
      const shown = withoutStyles(out + err);
      const called = JSON.stringify(args.map((argument) => argument.slice(0, 40)));
      expect(shown, called).not.toMatch(ACTS_ON_TERMINALS);
      expect(shown, called).not.toMatch(LONE_SURROGATE);
      if (args.includes("--json") || args.includes("flags")) continue; // for programs: whole, line breaks too
      expect(shown, called).not.toMatch(/^forged/m);
      expect(Math.max(...shown.split("\n").map((line) => line.length)), called).toBeLessThan(LONGEST_LINE);
    }
  });
});

it("a command that does not exist is named escaped", async () => {
  for (const text of HOSTILE) {
    const { err } = await runCli([text]);
    expect(err).not.toMatch(ACTS_ON_TERMINALS);
    expect(err.split("\n")).toHaveLength(2);
  }
});
