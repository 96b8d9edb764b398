/**
 * What a newer version wrote, read by this build. Fields that it does not have are ignored. Where a form has changed,
 * each file and record is named once; the daemon works without it, and neither the data path nor the leases change.
 */

import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, it } from "vitest";
import { dataPathOf } from "../support/data-path.ts";
import { describeWithEtcd, type Host, startPing, useEtcdLab } from "../support/hosts.ts";
import { SOON } from "../support/patience.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" }, Later: { Option: true } };
const LATER = { later: { format: 9 } };
/** What each file holds as a list or an object is a number here. */
const OTHER_FORM = { format: 9, nodeId: 9, configs: 9, devices: 9, inForce: 9, entries: 9, peers: 9 };
/** The record of a host that never joined. */
const OTHER_HOST = `tulle/hosts/${"1".repeat(32)}`;
const PROFILE = { name: "later", version: "9.0.0", kernel: "9.0.0", backends: ["later"] };
const CATALOGUE = "tulle/named/catalogue";

describeWithEtcd("state files and records of a newer version", () => {
  const net = useEtcdLab("newer", { hosts: 2, config: CONFIG, isStoreApart: true });

  beforeAll(async () => {
    await net.startAll();
    for (const host of net.lab.hosts) host.addContainer();
  });

  const jsonFiles = ({ stateDirectory }: Host): readonly string[] =>
    readdirSync(stateDirectory)
      .filter((name) => name.endsWith(".json"))
      .sort();

  const stateOf = (host: Host) => ({
    subnetFile: host.subnetFileText(),
    dataPath: dataPathOf(host.netns),
    leases: [...net.leases().keys()],
  });

  /** Stops the daemon under traffic, replaces what it reads, starts it; returns what it complained of. */
  async function restartWith(change: (host: Host) => void): Promise<readonly string[]> {
    const [host, peer] = [net.host(1), net.host(2)];
    const [from, to] = [host.containers[0], peer.containers[0]];
    if (from === undefined || to === undefined) throw new Error("no containers");
    const before = stateOf(host);
    const running = startPing(from.netns, to.address);
    await host.daemon.stop();
    const logged = host.daemon.log.length;
    change(host);
    await host.daemon.start(...net.flags);
    await host.daemon.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "is at rest");
    expect((await running.stop()).lost).toEqual([]);
    expect(stateOf(host)).toEqual(before);
    const lines = host.daemon.log.slice(logged).split("\n");
    return lines.filter((line) => / (warn|error) /.test(line));
  }

  function rewriteFiles(host: Host, rewrite: (value: object) => object): void {
    for (const name of jsonFiles(host)) {
      const path = join(host.stateDirectory, name);
      writeFileSync(path, JSON.stringify(rewrite(JSON.parse(readFileSync(path, "utf8")))));
    }
  }

  const put = (key: string, value: object): void => net.put(key, JSON.stringify(value));

  it("ignores fields, files and records that it does not have", async () => {
    const complaints = await restartWith((host) => {
      expect(jsonFiles(host)).toEqual([
        "backend.json",
        "identity.json",
        "named-networks.json",
        "network.json",
        "owned.json",
        "peers.json",
      ]);
      rewriteFiles(host, (value) => ({ ...value, ...LATER }));
      writeFileSync(join(host.stateDirectory, "later.json"), JSON.stringify(LATER));
      put("tulle/later/record", LATER);
      put(OTHER_HOST, { ...PROFILE, ...LATER });
      put(CATALOGUE, { networks: [], ...LATER });
    });
    expect(complaints).toEqual([]);
    expect(existsSync(join(net.host(1).stateDirectory, "identity.json.broken"))).toBe(false);
    expect((await net.host(1).daemon.status())?.problems).toEqual([]);
  });

  it("names each file and record whose form has changed, and works without it", async () => {
    const complaints = await restartWith((host) => {
      rewriteFiles(host, () => OTHER_FORM);
      put(OTHER_HOST, OTHER_FORM);
      put(CATALOGUE, { networks: LATER });
    });
    const named = (name: string): readonly string[] =>
      complaints.filter((line) => line.includes(`/${name} `));
    for (const name of jsonFiles(net.host(1)).filter((each) => each !== "later.json"))
      expect(named(name), `${name} in ${complaints.join("\n")}`).toHaveLength(1);
    expect(existsSync(join(net.host(1).stateDirectory, "identity.json.broken"))).toBe(true);
    const problems = async () => (await net.host(1).daemon.status())?.problems.join("\n");
    await expect.poll(problems, SOON).toContain("record named/catalogue: networks is ");
    expect(await problems()).toContain(`host record ${OTHER_HOST.slice("tulle/".length)} is ignored`);
    expect(net.etcd.ctl("get", `${net.prefix}/${CATALOGUE}`)).toContain(JSON.stringify({ networks: LATER }));
  });
});
