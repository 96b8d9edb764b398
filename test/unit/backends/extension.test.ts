/** The commands of the extension backend, run by a real shell. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BackendRunner, ProvisionContext, RunnerTarget } from "../../../backends/backend.ts";
import { runCommand } from "../../../backends/extension/command.ts";
import { backendFor } from "../../../backends/registry.ts";
import { Address, Prefix } from "../../../ipam/addresses/ip.ts";
import { systemClock } from "../../../ipam/clock.ts";
import { parseNetworkConfig } from "../../../ipam/config/network-config-parser.ts";
import { Faults } from "../../../ipam/faults.ts";
import type { JsonObject } from "../../../ipam/json.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { silentLogger } from "../../../ipam/log.ts";
import { NOTHING_KEPT } from "../../support/nothing-kept.ts";
import { hostFacts, OWN, OWN_MAC } from "../../support/vxlan-fixture.ts";

let directory: string;
let runners: BackendRunner[];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tulle-extension-"));
  runners = [];
});
afterEach(async () => {
  for (const runner of runners) await runner.stop();
  rmSync(directory, { recursive: true });
});

const log = (): string[] => {
  try {
    return readFileSync(join(directory, "log"), "utf8").trim().split("\n");
  } catch {
    return [];
  }
};
const note = (words: string): string => `echo "${words}" >> ${directory}/log`;

function options(backend: JsonObject) {
  const config = parseNetworkConfig(
    JSON.stringify({ Network: "10.2.0.0/16", Backend: { Type: "extension", ...backend } }),
  );
  return backendFor(config).parseOptions(config.backend.options);
}

function context(): ProvisionContext {
  return {
    stateDir: directory,
    network: null,
    keyFile: null,
    logger: silentLogger,
    once: (_key, make) => make(),
  };
}

async function start(backend: JsonObject): Promise<BackendRunner> {
  const parsed = options(backend);
  const provisioned = (await parsed.provision?.(context())) ?? parsed;
  const prepared = provisioned.prepare(hostFacts(), [4], { macFor: () => OWN_MAC });
  const runner = prepared.startRunner?.({
    clock: systemClock,
    random: () => 0,
    logger: silentLogger,
    faults: new Faults(silentLogger),
    stateDir: directory,
    descriptors: NOTHING_KEPT,
    onChange: () => undefined,
  });
  if (runner === undefined) throw new Error("the backend has no runner");
  runners.push(runner);
  return runner;
}

function peer(number: number, data = `data of ${number}`): [string, Lease] {
  const key = `10.2.${number}.0-24`;
  return [
    key,
    {
      key,
      subnets: { 4: Prefix.parse(`10.2.${number}.0/24`) },
      attrs: {
        publicAddress: { 4: Address.parse(`192.168.50.${number}`) },
        backendType: "extension",
        backendData: { 4: data },
        nodeId: null,
      },
      revision: 1n,
      createRevision: 1n,
      storeLeaseId: "1",
      isLeaving: false,
    },
  ];
}

const target = (...peers: [string, Lease][]): RunnerTarget => ({ own: OWN, peers: new Map(peers) });
const add = () => ({ SubnetAddCommand: note("add $SUBNET $PUBLIC_IP `cat`") });
const remove = () => ({ SubnetRemoveCommand: note("remove $SUBNET $PUBLIC_IP `cat`") });
const patient = { timeout: 10_000, interval: 20 };

describe("the commands", () => {
  it("get flannel's variables and the peer's output, PostStartup first", async () => {
    const runner = await start({
      ...add(),
      ...remove(),
      PostStartupCommand: note("post $NETWORK $SUBNET $PUBLIC_IP"),
    });
    runner.follow(target(peer(3)));
    await expect.poll(log, patient).toHaveLength(2);
    runner.follow(target());
    await expect.poll(log, patient).toHaveLength(3);
    expect(log()).toEqual([
      "post 10.2.0.0/16 10.2.1.0/24 192.168.50.1",
      "add 10.2.3.0/24 192.168.50.3 data of 3",
      "remove 10.2.3.0/24 192.168.50.3 data of 3",
    ]);
    expect(runner.problems).toEqual([]);
  });

  it("run in order for a subnet whose host changes", async () => {
    const runner = await start({ ...add(), ...remove() });
    runner.follow(target(peer(3, "old")));
    await expect.poll(log, patient).toHaveLength(1);
    runner.follow(target(peer(3, "new")));
    await expect.poll(log, patient).toHaveLength(3);
    expect(log().map((line) => line.replace(/ 10.*(?= )/, ""))).toEqual(["add old", "remove old", "add new"]);
  });

  it("remove a lease before another one of the same subnet is added", async () => {
    const [subnet6, address6] = [Prefix.parse("fd00:2:0:3::/64"), Address.parse("2001:db8::3")];
    const [, alone] = peer(3);
    const both: Lease = {
      ...alone,
      key: "10.2.3.0-24&fd00:2:0:3::-64",
      subnets: { ...alone.subnets, 6: subnet6 },
      attrs: { ...alone.attrs, publicAddress: { ...alone.attrs.publicAddress, 6: address6 } },
    };
    const runner = await start({
      SubnetAddCommand: note("add $SUBNET $IPV6SUBNET"),
      SubnetRemoveCommand: `sleep 0.3; ${note("remove $SUBNET $IPV6SUBNET")}`,
    });
    runner.follow(target(peer(3)));
    await expect.poll(log, patient).toHaveLength(1);
    runner.follow(target([both.key, both], peer(4)));
    await expect.poll(log, patient).toHaveLength(4);
    runner.follow(target(peer(3), peer(4)));
    await expect.poll(log, patient).toHaveLength(6);
    expect(log().map((line) => line.trim())).toEqual([
      "add 10.2.3.0/24",
      "add 10.2.4.0/24",
      "remove 10.2.3.0/24",
      "add 10.2.3.0/24 fd00:2:0:3::/64",
      "remove 10.2.3.0/24 fd00:2:0:3::/64",
      "add 10.2.3.0/24",
    ]);
  });

  it("let a removal that always fails delay another lease of the subnet, not prevent it", async () => {
    const runner = await start({ ...add(), SubnetRemoveCommand: "false" });
    runner.follow(target(peer(3)));
    await expect.poll(log, patient).toHaveLength(1);
    const [, lease] = peer(3, "next");
    runner.follow(target(["another key", { ...lease, key: "another key" }]));
    await expect.poll(log, patient).toHaveLength(2);
    expect(log()[1]).toBe("add 10.2.3.0/24 192.168.50.3 next");
  });

  it("find a line on standard input, which a shell's read takes", async () => {
    const runner = await start({ SubnetAddCommand: `read DATA && ${note("add $DATA")}` });
    runner.follow(target(peer(3)));
    await expect.poll(log, patient).toEqual(["add data of 3"]);
  });

  it("have a record for thousands of peers", async () => {
    const many = Array.from({ length: 8_000 }, (_, index) => {
      const value = {
        environment: { SUBNET: `s${index}`, PUBLIC_IP: "192.168.50.3" },
        input: "x".repeat(60),
      };
      return [`10.2.${index}.0-24`, value] as const;
    });
    writeFileSync(join(directory, "extension.json"), JSON.stringify(Object.fromEntries(many), null, 2));
    const runner = await start({ ...add() });
    runner.follow(target(peer(3)));
    await expect.poll(log, patient).toEqual(["add 10.2.3.0/24 192.168.50.3 data of 3"]);
  });

  it("run again after a restart, and undo what left meanwhile", async () => {
    const first = await start({ ...add(), ...remove() });
    first.follow(target(peer(3), peer(4)));
    await expect.poll(log, patient).toHaveLength(2);
    await first.stop();
    const second = await start({ ...add(), ...remove() });
    second.follow(target(peer(4)));
    await expect.poll(log, patient).toHaveLength(4);
    expect(log().slice(2).sort()).toEqual([
      "add 10.2.4.0/24 192.168.50.4 data of 4",
      "remove 10.2.3.0/24 192.168.50.3 data of 3",
    ]);
  });

  it("are tried again when they fail, and the problem names the subnet", async () => {
    const flag = join(directory, "works");
    const runner = await start({
      SubnetAddCommand: `test -e ${flag} || { echo not yet >&2; exit 3; }; ${add().SubnetAddCommand}`,
    });
    runner.follow(target(peer(3), peer(4)));
    await expect.poll(() => runner.problems, patient).toHaveLength(2);
    expect(runner.problems[0]).toBe(
      "subnet 10.2.3.0-24: SubnetAddCommand of the network configuration: it failed with exit code 3: not yet; it is tried again",
    );
    writeFileSync(flag, "");
    await expect.poll(log, patient).toHaveLength(2);
    await expect.poll(() => runner.problems, patient).toEqual([]);
  });

  it("start with an empty record where the record is damaged", async () => {
    writeFileSync(join(directory, "extension.json"), '{"10.2.3.0-24": {"environment": 5');
    const runner = await start({ ...add(), ...remove() });
    runner.follow(target(peer(4)));
    await expect.poll(log, patient).toEqual(["add 10.2.4.0/24 192.168.50.4 data of 4"]);
  });

  it("cannot be told to run other words by a peer", async () => {
    const runner = await start({ ...add() });
    runner.follow(target(peer(3, `$(touch ${directory}/hacked); touch ${directory}/hacked`)));
    await expect.poll(log, patient).toHaveLength(1);
    expect(() => readFileSync(join(directory, "hacked"))).toThrow("ENOENT");
  });
});

describe("a lease", () => {
  const rejection = (backendData: Lease["attrs"]["backendData"], storeLeaseId: string | null = "1") => {
    const [, lease] = peer(3);
    const prepared = options({ PreStartupCommand: "true" }).prepare(hostFacts(), [4], {
      macFor: () => OWN_MAC,
    });
    return prepared.rejectPeer({ ...lease, storeLeaseId, attrs: { ...lease.attrs, backendData } });
  };

  it("holds a text, or nothing where PreStartupCommand prints nothing", () => {
    expect(rejection({ 4: "data" })).toBeNull();
    expect(rejection({})).toBeNull();
    expect(rejection({ 4: { VNI: 1 } })).toMatch(/^its BackendData {"VNI":1} is not a text/);
    expect(rejection({}, null)).toBe("it is a reservation, and its host has not joined yet");
  });
});

describe("PreStartupCommand", () => {
  const leaseData = async (command: string) =>
    ((await options({ PreStartupCommand: command }).provision?.(context())) ?? options({})).prepare(
      hostFacts(),
      [4],
      { macFor: () => OWN_MAC },
    ).leaseData;

  it("publishes what it prints, without white space around it", async () => {
    expect(await leaseData("echo; echo '  a b  '; sh -c 'echo c && true' | cat")).toEqual({ 4: "a b  \nc" });
    expect(await leaseData("true")).toEqual({});
  });

  it.each<[string, string, RegExp]>([
    [
      "fails",
      "echo broken >&2; exit 2",
      /PreStartupCommand failed 3 times: it failed with exit code 2: broken; run it by hand/,
    ],
    ["does not exist", "no-such-program", /exit code 127: a program in it is not installed/],
    ["prints 10 MB", "head -c 10000000 /dev/zero | tr '\\0' x", /printed more than 16384 bytes/],
  ])("that %s is one error", async (_what, command, message) => {
    await expect(leaseData(command)).rejects.toThrow(
      expect.objectContaining({ code: "TULLE_CONFIG", message: expect.stringMatching(message) }),
    );
  });

  it.each([[5], [true], [["a"]], ["a\0b"]])("cannot be %j", (value) => {
    expect(() => options({ SubnetAddCommand: value as never })).toThrow(
      /Backend.SubnetAddCommand is .*; write text in quotes/,
    );
  });
});

describe("a command", () => {
  const request = {
    environment: {},
    input: "",
    timeoutMs: 10_000,
    outputLimit: 10,
    signal: new AbortController().signal,
  };

  it("that hangs is ended with all that it started", async () => {
    const command = `sleep 60 & echo $! > ${directory}/pid; wait`;
    await expect(runCommand({ ...request, command, timeoutMs: 300 })).rejects.toThrow(
      "it ran longer than 0.3 s and was ended",
    );
    const pid = Number(readFileSync(join(directory, "pid"), "utf8"));
    const isRunning = () => {
      try {
        return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
      } catch {
        return false;
      }
    };
    await expect.poll(isRunning, patient).toBe(false);
  });

  it("that leaves a program in the background has ended", async () => {
    const command = `sleep 60 & echo $! > ${directory}/pid; echo done`;
    expect(await runCommand({ ...request, command })).toEqual({ stdout: "done\n", isTruncated: false });
    process.kill(Number(readFileSync(join(directory, "pid"), "utf8")));
  });

  it("that prints too much is cut, and its input may stay unread", async () => {
    const input = "x".repeat(1_000_000);
    expect(await runCommand({ ...request, command: "echo 0123456789abc", input })).toEqual({
      stdout: "0123456789",
      isTruncated: true,
    });
  });

  it("sees no variables but its own", async () => {
    const command = "env | grep -cv -e ^PATH= -e ^PWD= -e ^_= -e ^SHLVL= -e ^A=";
    await expect(runCommand({ ...request, command, environment: { A: "1" } })).rejects.toThrow("exit code 1");
  });
});
