/** The public validation cases for plugins, against the dispatcher with injected input and output. */

import { describe, expect, it } from "vitest";
import type { Call } from "../../../cni-plugin/protocol/call.ts";
import { dispatch, type VerbTable } from "../../../cni-plugin/protocol/dispatch.ts";
import { CniError } from "../../../cni-plugin/protocol/errors.ts";

const ENVIRONMENT: Readonly<Record<string, string>> = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "some-container-id",
  CNI_NETNS: "/some/netns/path",
  CNI_IFNAME: "eth0",
  CNI_ARGS: "some;extra;args",
  CNI_PATH: "/some/cni/path",
};
const CONFIG = '{"name":"skel-test","some":"config","cniVersion":"1.1.0"}';

interface Run {
  readonly environment?: Readonly<Record<string, string>>;
  readonly without?: readonly string[];
  readonly stdin?: string | Error;
  readonly failure?: Error;
  readonly ownNetns?: string;
}

async function run({ environment = {}, without = [], stdin = CONFIG, failure, ownNetns }: Run) {
  const variables = { ...ENVIRONMENT, ...environment };
  const calls: Call[] = [];
  const handler = async (call: Call) => {
    calls.push(call);
    if (failure !== undefined) throw failure;
    return null;
  };
  const verbs: VerbTable = { ADD: handler, CHECK: handler, DEL: handler, GC: handler, STATUS: handler };
  let stdout = "";
  let stderr = "";
  const exitCode = await dispatch(verbs, {
    environment: Object.fromEntries(Object.entries(variables).filter(([name]) => !without.includes(name))),
    readStdin: () => {
      if (stdin instanceof Error) throw stdin;
      return stdin;
    },
    writeStdout: (text) => {
      stdout += text;
    },
    writeStderr: (text) => {
      stderr += text;
    },
    isOwnNetns: (path) => path === ownNetns,
  });
  return { exitCode, calls, stderr, stdout, answer: stdout === "" ? null : JSON.parse(stdout) };
}

const REQUIRED = {
  ADD: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  CHECK: ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"],
  GC: ["CNI_PATH"],
  STATUS: ["CNI_PATH"],
} as const;
const VARIABLES = ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_ARGS", "CNI_PATH"] as const;
const VERBS = Object.keys(REQUIRED) as (keyof typeof REQUIRED)[];

describe.each(VERBS)("%s", (verb) => {
  const environment = { CNI_COMMAND: verb };

  it("hands the environment and stdin to the verb", async () => {
    const { exitCode, calls, stdout } = await run({ environment });
    expect(exitCode).toBe(0);
    expect(stdout).toBe("");
    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatchObject({ verb, networkName: "skel-test", version: "1.1.0" });
  });

  it.each(VARIABLES)("needs %s or not, as the specification says", async (variable) => {
    const { exitCode, calls, answer } = await run({ environment, without: [variable] });
    if (!REQUIRED[verb].some((name) => name === variable)) {
      expect(exitCode).toBe(0);
      return;
    }
    expect(exitCode).toBe(1);
    expect(calls).toEqual([]);
    expect(answer).toMatchObject({ code: 4, msg: `required env variables [${variable}] missing` });
  });

  it.each([
    ["a version of another type", '{"name":"a","cniVersion":5}', 6],
    ["an unknown version", '{"name":"a","cniVersion":"9.8.7"}', 1],
    ["a bad name", '{"name":"te%%st","cniVersion":"1.1.0"}', 7],
    ["no name", '{"cniVersion":"1.1.0"}', 7],
    ["no JSON", "{", 6],
    ["JSON that is not an object", "[]", 6],
    ["nothing", "", 6],
  ])("refuses a configuration with %s", async (_, stdin, code) => {
    const { calls, answer } = await run({ environment, stdin });
    expect(calls).toEqual([]);
    expect(answer).toMatchObject({ code });
  });
});

it("names all missing variables at once", async () => {
  const { answer } = await run({ without: ["CNI_NETNS", "CNI_IFNAME", "CNI_PATH"] });
  expect(answer.msg).toBe("required env variables [CNI_NETNS,CNI_IFNAME,CNI_PATH] missing");
});

it.each([
  ["CNI_CONTAINERID", "some-%%container-id", "invalid characters in containerID"],
  ["CNI_CONTAINERID", "a/b", "invalid characters in containerID"],
  ["CNI_IFNAME", "1234567890123456", "interface name is too long"],
  ["CNI_IFNAME", ".", "interface name is . or .."],
  ["CNI_IFNAME", "..", "interface name is . or .."],
  ["CNI_IFNAME", "test/test", "interface name contains / or : or whitespace characters"],
  ["CNI_IFNAME", "test:test", "interface name contains / or : or whitespace characters"],
  ["CNI_IFNAME", "test test", "interface name contains / or : or whitespace characters"],
])("refuses %s=%s", async (variable, value, msg) => {
  const { calls, answer } = await run({ environment: { [variable]: value } });
  expect(calls).toEqual([]);
  expect(answer).toMatchObject({ code: 4, msg });
});

it("takes a configuration without cniVersion for 0.1.0", async () => {
  const { calls } = await run({ stdin: '{"name":"a"}' });
  expect(calls[0]?.version).toBe("0.1.0");
});

it("reads names in any case, as the reference plugins do", async () => {
  const stdin = `{"Name":"a","CNIVersion":"0.3.1","SUBNETFILE":"/s","X":1,
    "delegate":{"hairpinmode":true,"IsDefaultGateway":true,"Type":"b"},"IPAM":{"datadir":"/d"},"runtimeconfig":{}}`;
  const { calls } = await run({ stdin });
  expect(calls[0]).toMatchObject({ networkName: "a", version: "0.3.1" });
  expect(calls[0]?.config).toEqual({
    name: "a",
    cniVersion: "0.3.1",
    subnetFile: "/s",
    X: 1,
    delegate: { hairpinMode: true, isDefaultGateway: true, Type: "b" },
    ipam: { dataDir: "/d" },
    runtimeConfig: {},
  });
});

it.each([
  ["CHECK", "0.3.1"],
  ["GC", "1.0.0"],
  ["STATUS", "1.0.0"],
])("refuses %s for a configuration of version %s", async (verb, version) => {
  const stdin = JSON.stringify({ name: "a", cniVersion: version });
  const { calls, answer } = await run({ environment: { CNI_COMMAND: verb }, stdin });
  expect(calls).toEqual([]);
  expect(answer).toEqual({ cniVersion: version, code: 1, msg: `config version does not allow ${verb}` });
});

it.each([
  ["ADD", 1],
  ["DEL", 1],
  ["CHECK", 6],
  ["GC", 6],
  ["STATUS", 6],
])("refuses %s for a version that is none, with code %i as libcni does", async (verb, code) => {
  const stdin = '{"name":"a","cniVersion":"v1"}';
  const { calls, answer } = await run({ environment: { CNI_COMMAND: verb }, stdin });
  expect(calls).toEqual([]);
  expect(answer).toMatchObject({ code });
});

it("takes null for absent", async () => {
  const { calls } = await run({ stdin: '{"name":"a","cniVersion":null}' });
  expect(calls[0]?.version).toBe("0.1.0");
  const { answer } = await run({ stdin: '{"name":null}' });
  expect(answer).toMatchObject({ code: 7, msg: "missing network name" });
});

it("answers VERSION without reading stdin", async () => {
  const { answer } = await run({ environment: { CNI_COMMAND: "VERSION" }, stdin: new Error("banana") });
  expect(answer).toEqual({
    cniVersion: "1.1.0",
    supportedVersions: ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
  });
});

it("refuses an unknown verb", async () => {
  const { answer } = await run({ environment: { CNI_COMMAND: "NOPE" } });
  expect(answer).toMatchObject({ code: 4, msg: "unknown CNI_COMMAND: NOPE" });
});

it.each([{ without: ["CNI_COMMAND"] }, { environment: { CNI_COMMAND: "" } }])(
  "names itself on stderr without a verb",
  async (input) => {
    const { exitCode, stdout, stderr } = await run(input);
    expect(exitCode).toBe(0);
    expect(stdout).toBe("");
    expect(stderr).toContain("0.1.0, 0.2.0, 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0");
  },
);

it("reports stdin that cannot be read", async () => {
  const { answer } = await run({ stdin: new Error("banana") });
  expect(answer).toMatchObject({ code: 5, msg: "error reading from stdin: banana" });
});

it("passes a typed error on and wraps any other", async () => {
  const typed = await run({ failure: new CniError(1234, "insufficient something") });
  expect(typed.answer).toEqual({ cniVersion: "1.1.0", code: 1234, msg: "insufficient something" });
  const untyped = await run({ failure: new Error("potato") });
  expect(untyped.answer).toEqual({ cniVersion: "1.1.0", code: 999, msg: "potato" });
});

it("refuses the host's own namespace unless overridden", async () => {
  const ownNetns = "/some/netns/path";
  const { calls, answer } = await run({ ownNetns });
  expect(calls).toEqual([]);
  expect(answer).toMatchObject({ code: 8 });
  const overridden = await run({ ownNetns, environment: { CNI_NETNS_OVERRIDE: "TRUE" } });
  expect(overridden.exitCode).toBe(0);
});

it("lets DEL free what the host holds when the path became the host's own namespace", async () => {
  const { calls, answer } = await run({
    ownNetns: "/some/netns/path",
    environment: { CNI_COMMAND: "DEL" },
  });
  expect(calls).toMatchObject([{ verb: "DEL", netnsPath: "" }]);
  expect(answer).toMatchObject({ code: 8 });
});
