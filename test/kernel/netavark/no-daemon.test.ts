/** Named networks for podman while tulled does not run, or does not answer. */

import { spawn } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { CniHost } from "../../support/cni-host.ts";
import { callNetavark, leftoversOn, type NetavarkCall, networkOf } from "../../support/netavark.ts";
import { describeAsRoot } from "../../support/netns.ts";

const SILENT = 'require("node:net").createServer(() => {}).listen(process.argv[1], () => console.log("up"))';

describeAsRoot("tulle-netavark with -o network, while tulled is away", () => {
  let host: CniHost;
  beforeEach(() => {
    host = new CniHost("away");
  });
  afterEach(() => host.dispose());

  const call = (verb: string, more: NetavarkCall = {}) => callNetavark(host, verb, more);
  const named = (): NetavarkCall => {
    const folders = networkOf(host).options as object;
    const { subnet_file: _, ...own } = folders as Record<string, string>;
    return { network: { options: { ...own, network: "blue", run_dir: join(host.dir, "run") } } };
  };

  it("says within two seconds that tulled does not run, and leaves nothing", () => {
    const container = host.addContainer();
    for (const answer of [call("create", named()), call("setup", { container, ...named() })]) {
      expect(answer.exitCode).toBe(1);
      expect(answer.json.error).toMatch(/tulled does not answer on .*netavark\.sock: it does not run; start/);
    }
    expect(leftoversOn(host)).toEqual([]);
    expect(container.netns.exec("ip", ["-o", "link"])).not.toContain("eth0");
  });

  it("gives up on a daemon that says nothing", async () => {
    mkdirSync(join(host.dir, "run"), { recursive: true });
    const silent = spawn(process.execPath, ["-e", SILENT, join(host.dir, "run", "netavark.sock")]);
    try {
      await new Promise((resolve) => silent.stdout.once("data", resolve));
      const { json } = call("setup", { container: host.addContainer(), ...named() });
      expect(json.error).toMatch(/nothing within 2 s/);
      expect(leftoversOn(host)).toEqual([]);
    } finally {
      silent.kill();
    }
  });

  it("tears down with a warning, any number of times", () => {
    const container = host.addContainer();
    for (let round = 0; round < 2; round++) {
      const answer = call("teardown", { container, ...named() });
      expect(answer).toMatchObject({ exitCode: 0, stdout: "" });
      expect(answer.stderr).toMatch(/tulled frees the addresses later/);
    }
  });

  it.each([
    ["subnets", { subnets: [{ subnet: "10.9.0.0/24" }] }, /leave --subnet out/],
    ["routes", { routes: [{ destination: "10.7.0.0/16" }] }, /leave --route out/],
    ["a bridge", { network_interface: "br0" }, /leave --interface-name out/],
  ])("rejects %s", (_, more, message) => {
    const { json } = call("create", { network: { ...named().network, ...more } });
    expect(json.error).toMatch(message);
  });

  it("rejects a network without a name, and other options", () => {
    const options = named().network?.options as object;
    for (const [bad, message] of [
      [{ network: "" }, /options\.network: "" is wrong/],
      [{ cni_network: "x" }, /options\.cni_network.*give one of network/],
    ] as const)
      expect(call("create", { network: { options: { ...options, ...bad } } }).json.error).toMatch(message);
  });
});
