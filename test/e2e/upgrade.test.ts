/**
 * Hosts go from a former release to this build under traffic, one after another, and back again.
 *
 * At each step the network has both versions. Whatever the step, the data path and the records of leases stay as they
 * are, and no packet is lost.
 */

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Daemon } from "../../agent/demo/daemon.ts";
import { type AnyJson, type CniContainer, CniHost } from "../support/cni-host.ts";
import { dataPathOf } from "../support/data-path.ts";
import {
  type BuiltRelease,
  buildRelease,
  daemonOf,
  describeWithRelease,
  FORMER_RELEASES,
} from "../support/former-release.ts";
import {
  fileStoreOf,
  type Host,
  MIN_PACKETS,
  PROGRAMS,
  ping,
  startPing,
  useEtcdLab,
  useLab,
} from "../support/hosts.ts";
import { watchDevice } from "../support/monitor.ts";
import { SOON } from "../support/patience.ts";

const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
/** Another network in the same store, of a backend that only a newer version has. */
const OTHER_PREFIX = "/other/network";
const SETTLE_MS = 500;

interface Attached {
  readonly container: CniContainer;
  /** The answer to ADD. */
  readonly prevResult: AnyJson;
  readonly address: string;
}

for (const release of FORMER_RELEASES)
  describeWithRelease(release, `an upgrade from ${release.version}`, () => {
    const net = useEtcdLab("upgrade", { hosts: 3, config: CONFIG, isStoreApart: true });
    const formers = new Map<Host, Daemon>();
    /** Of each host before the first step, for comparison after the last. */
    const rulesAtStart = new Map<Host, string>();
    let former: BuiltRelease;
    let cni: CniHost;
    /** Containers of host3: attached from the first step to the last, gone in the middle, come in the middle. */
    let staying: Attached;
    let leaving: Attached;
    let arriving: Attached;

    beforeAll(async () => {
      former = buildRelease(release);
      for (const host of net.lab.hosts) formers.set(host, daemonOf(former.programs, host));
      await Promise.all(net.lab.hosts.map((host) => formerOf(host).start(...flags())));
      for (const number of [1, 2]) net.host(number).addContainer();
      cni = new CniHost("upgrade", net.host(3));
      staying = attach(join(former.programs, "tulle-cni"));
      leaving = attach(join(former.programs, "tulle-cni"));
      for (const host of net.lab.hosts) {
        await formerOf(host).until(
          ({ peers, kernel }) => peers.length === 2 && kernel.isConverged,
          "is at rest",
        );
        expect((await formerOf(host).status())?.version).toBe(release.version);
        rulesAtStart.set(host, rulesOf(host));
      }
    });
    afterAll(() => {
      cni?.dispose();
      former?.dispose();
    });

    const flags = (): readonly string[] => [...net.flags, "-ip-masq"];

    function formerOf(host: Host): Daemon {
      const daemon = formers.get(host);
      if (daemon === undefined) throw new Error(`${host.name} has no former daemon`);
      return daemon;
    }

    function attach(program: string): Attached {
      const container = cni.addContainer();
      const { exitCode, json, stdout } = cni.call("ADD", { container, program });
      expect(exitCode, stdout).toBe(0);
      return { container, prevResult: json, address: String(json.ips[0].address).split("/")[0] ?? "" };
    }

    function call(verb: string, program: string, { container, prevResult }: Attached): void {
      const { exitCode, stdout } = cni.call(verb, { container, program, config: { prevResult } });
      expect(exitCode, `${verb}: ${stdout}`).toBe(0);
    }

    const rulesOf = (host: Host): string => host.run("nft", "--stateless", "list", "ruleset");

    /** From each host's container to that of another one. */
    function startTraffic() {
      const [first, second] = [net.host(1), net.host(2)].map(({ containers }) => containers[0]);
      if (first === undefined || second === undefined) throw new Error("no containers");
      return [
        startPing(first.netns, second.address),
        startPing(second.netns, staying.address),
        startPing(staying.container.netns, first.address),
      ];
    }

    /** What must be the same before and after: the subnet, the device, what it holds, and all leases. */
    const stateOf = (host: Host) => ({
      subnetFile: host.subnetFileText(),
      deviceIndex: host.netns.ipJson(["link", "show", "flannel.1"])[0]?.ifindex,
      dataPath: dataPathOf(host.netns),
      leases: net.leases(),
      affinity: net.etcd.ctl("get", "--prefix", `${net.prefix}/tulle/affinity/`),
      nodeId: JSON.parse(readFileSync(join(host.stateDirectory, "identity.json"), "utf8")).nodeId,
    });

    async function replaceDaemon(host: Host, from: Daemon, to: Daemon): Promise<void> {
      const before = stateOf(host);
      const monitor = await watchDevice(host.netns, "flannel.1");
      const traffic = startTraffic();
      expect(await from.stop()).toBe(0);
      await to.start(...flags());
      await to.until(({ peers, kernel }) => peers.length === 2 && kernel.isConverged, "is at rest");
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      for (const running of traffic) {
        const { lost, sent } = await running.stop();
        expect(lost).toEqual([]);
        expect(sent).toBeGreaterThan(MIN_PACKETS);
      }
      expect(await monitor.stop()).toEqual([]);
      expect(stateOf(host)).toEqual(before);
    }

    const damagedFiles = (host: Host): readonly string[] =>
      readdirSync(host.stateDirectory, { recursive: true, encoding: "utf8" }).filter((name) =>
        name.endsWith(".broken"),
      );

    /** What either daemon logged that needs a person, or a retry. */
    const complaintsOf = (host: Host): readonly string[] =>
      host.daemon.log.split("\n").filter((line) => / (warn|error) /.test(line));

    it.each([1, 2, 3])(
      "upgrades host%i under traffic: same subnet, same device, no packet lost",
      async (number) => {
        const host = net.host(number);
        await replaceDaemon(host, formerOf(host), host.daemon);
        expect(damagedFiles(host)).toEqual([]);
        expect(complaintsOf(host)).toEqual([]);
      },
    );

    it("checks and detaches containers that the former release attached, and attaches another", () => {
      const program = join(PROGRAMS, "tulle-cni");
      call("CHECK", program, staying);
      call("DEL", program, leaving);
      arriving = attach(program);
      call("CHECK", program, arriving);
    });

    it.each([3, 2, 1])("goes back on host%i under traffic in the same way", async (number) => {
      const host = net.host(number);
      await replaceDaemon(host, host.daemon, formerOf(host));
      expect(rulesOf(host)).toBe(rulesAtStart.get(host));
      expect(complaintsOf(host)).toEqual([]);
    });

    it("checks and detaches containers that this build attached", () => {
      const program = join(former.programs, "tulle-cni");
      for (const each of [staying, arriving]) {
        call("CHECK", program, each);
        call("DEL", program, each);
      }
      expect(cni.reservations()).toEqual([]);
      expect(cni.stateFiles()).toEqual([]);
    });

    it("ends, as the former release, with one clear line where the network needs a newer version", async () => {
      const host = net.host(1);
      const before = dataPathOf(host.netns);
      const config = JSON.stringify({ ...CONFIG, Backend: { Type: "later" } });
      net.etcd.ctl("put", `${OTHER_PREFIX}/config`, config);
      await formerOf(host).stop();
      const logged = host.daemon.log.length;
      const others = flags().filter((flag) => !flag.startsWith("-etcd-prefix="));
      formerOf(host).spawn(...others, `-etcd-prefix=${OTHER_PREFIX}`);
      expect(await formerOf(host).ended()).not.toBe(0);
      const lines = host.daemon.log.slice(logged).split("\n").filter(Boolean);
      expect(lines.filter((line) => !line.includes(" info "))).toEqual([
        expect.stringContaining('Backend.Type "later" is unknown; write one of '),
      ]);
      expect(dataPathOf(host.netns)).toBe(before);
    });
  });

/** Daemons of both versions share the files of one store. */
for (const release of FORMER_RELEASES)
  describeWithRelease(release, `an upgrade from ${release.version} with an embedded store`, () => {
    const lab = useLab("upgradefile");
    let former: BuiltRelease;
    beforeAll(() => {
      former = buildRelease(release);
    });
    afterAll(() => former?.dispose());

    it("keeps subnets, devices and packets, there and back", async () => {
      const hosts = [lab().addHost(), lab().addHost()] as const;
      const store = `--store=${await fileStoreOf(lab(), CONFIG)}`;
      const formers = hosts.map((host) => daemonOf(former.programs, host));
      await Promise.all(formers.map((daemon) => daemon.start(store)));
      const [from, to] = hosts.map((host) => host.addContainer());
      if (from === undefined || to === undefined) throw new Error("no containers");
      const states = (): readonly string[] =>
        hosts.map((host) => host.subnetFileText() + dataPathOf(host.netns));
      await expect.poll(async () => (await ping(from.netns, to.address, 1)).lost, SOON).toEqual([]);
      const before = states();
      const running = startPing(from.netns, to.address);
      const there = hosts.map((host, index) => [formers[index], host.daemon] as const);
      const back = there.map(([old, now]) => [now, old] as const);
      for (const [leaving, coming] of [...there, ...back]) {
        expect(await leaving?.stop()).toBe(0);
        await coming?.start(store);
        await coming?.until(({ peers, kernel }) => peers.length === 1 && kernel.isConverged, "is at rest");
        expect(states()).toEqual(before);
      }
      expect((await running.stop()).lost).toEqual([]);
    });
  });
