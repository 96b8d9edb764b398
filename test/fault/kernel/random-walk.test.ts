/**
 * 500 plans one after another on the real kernel, while others interfere: each is reached within two passes, and a
 * third changes nothing. WALK_SEED=N repeats a walk.
 */

import { afterAll, beforeAll, expect, it } from "vitest";
import { ownerOf } from "../../../backends/state/kinds/registry.ts";
import type { Lease } from "../../../ipam/leases/lease.ts";
import { describeAsRoot } from "../../support/netns.ts";
import { type Random, randomNumbers } from "../../support/random.ts";
import { renderState } from "../../support/render-state.ts";
import { OWN, peer } from "../../support/vxlan-fixture.ts";
import { VxlanHost } from "../../support/vxlan-host.ts";

const SEED = Number(process.env.WALK_SEED ?? Date.now() % 2 ** 31);
const PEERS = 12;
/** Peers that stay, so many that all routes go through nexthop objects. */
const CROWD = Array.from({ length: 260 }, (_, at) => peer(1000 + at));
/** A step in so many is also looked at with iproute2. */
const SHOWN_EVERY = 25;

describeAsRoot(`a random walk on the real kernel (seed ${SEED})`, () => walk(500, []));
describeAsRoot(`a random walk among nexthop objects (seed ${SEED})`, () => walk(300, CROWD));

function walk(states: number, crowd: readonly Lease[]): void {
  const usesNexthops = crowd.length > 0;
  let host: VxlanHost;
  beforeAll(async () => {
    host = new VxlanHost({ label: "walk" }).start();
    await host.want(...crowd);
  });
  afterAll(() => host?.dispose());

  it(`converges in each of ${states} states`, async () => {
    const random = randomNumbers(SEED);
    for (let step = 0; step < states; step++) {
      // Every so often a new daemon takes over; without that, quarrels would make the old one ever more patient.
      if (step % 10 === 9) await host.restart();
      const leases = [...randomLeases(random), ...crowd];
      const commands = Array.from({ length: random(4) }, () => interference(random, leases, usesNexthops));
      host.plan(...leases);
      // A foreign route that is there first is respected, so that one must come second; all else may come any time.
      if (commands.some((command) => command.startsWith("ip route replace"))) await host.settled();
      if (commands.length > 0)
        host.sh(`${commands.map((command) => `${command} 2>/dev/null`).join("; ")}; true`);
      await check(step, leases, commands);
    }
  }, 120_000);

  const check = async (
    step: number,
    leases: readonly Lease[],
    commands: readonly string[],
  ): Promise<void> => {
    const what = `seed ${SEED}, step ${step}: ${commands.join("; ")}`;
    const planned = [
      ...host.backend.planBase(OWN),
      ...leases.flatMap((lease) => host.backend.planPeer(lease, usesNexthops)),
    ];
    await settledTwice(what);
    const { applied } = host;
    host.reconciler.requestDump("third pass");
    await host.settled();
    const ours = (await host.port.dump(host.scope)).filter(
      (object) => ownerOf(object, host.scope) !== "foreign",
    );
    expect(renderState(ours), what).toBe(renderState(planned));
    expect(host.applied, what).toBe(applied);
    if (step % SHOWN_EVERY === 0) shown(leases, what);
  };

  const settledTwice = async (what: string): Promise<void> => {
    for (let pass = 0; pass < 2; pass++) {
      host.reconciler.requestDump("walk");
      await host.settled().catch(() => {
        throw new Error(`${what}\n${JSON.stringify(host.reconciler.status(), null, 1)}`);
      });
    }
  };

  const shown = (leases: readonly Lease[], what: string): void => {
    const destinations = leases.map((lease) => `${lease.subnets[4]}`).sort();
    const routes = host.netns.ipJson(["route", "show", "dev", "flannel.1", "proto", "116"]);
    expect(routes.map(({ dst }) => `${dst}`).sort(), what).toEqual(destinations);
    const neighbours = host.netns.ipJson(["neigh", "show", "dev", "flannel.1", "nud", "permanent"]);
    expect(neighbours.map(({ dst }) => `${dst}/24`).sort(), what).toEqual(destinations);
  };
}

function randomLeases(random: Random): Lease[] {
  return Array.from({ length: PEERS }, (_, at) => at + 4).flatMap((n) => {
    const choice = random(4);
    if (choice === 0) return [];
    if (choice === 1) return [peer(n, { publicAddress: `192.168.60.${n}`, mac: `02:00:00:02:00:${hex(n)}` })];
    return [peer(n)];
  });
}

/** What another program might do; half of it fails because its object does not exist. */
function interference(random: Random, leases: readonly Lease[], usesNexthops: boolean): string {
  const n = 4 + random(PEERS);
  const subnet = `10.2.${n}.0/24`;
  const taken = leases[random(Math.max(1, leases.length))]?.subnets[4] ?? "10.2.200.0/24";
  const commands = [
    `ip route del ${subnet}`,
    `ip route replace ${taken} via 10.2.99.0 dev flannel.1 onlink`,
    `ip route replace ${taken} via 10.2.98.0 dev flannel.1 onlink proto 117`,
    `ip route add 10.2.${100 + n}.0/24 via 10.2.${100 + n}.0 dev flannel.1 onlink`,
    `ip route add 10.2.${100 + n}.0/24 via 10.2.${100 + n}.0 dev flannel.1 onlink proto 116`,
    `ip route add 172.16.${n}.0/24 dev under0`,
    "ip route flush dev flannel.1",
    `ip neigh del 10.2.${n}.0 dev flannel.1`,
    `ip neigh replace 10.2.${n}.0 lladdr 02:0f:00:00:00:0f dev flannel.1 nud permanent`,
    `ip neigh replace 10.2.${100 + n}.0 lladdr 02:0f:00:00:00:0f dev flannel.1 nud permanent`,
    `bridge fdb del 02:00:00:01:00:${hex(n)} dev flannel.1`,
    `bridge fdb replace 02:00:00:01:00:${hex(n)} dev flannel.1 dst 192.168.9.9 self permanent`,
    `bridge fdb replace 02:00:00:09:00:${hex(n)} dev flannel.1 dst 192.168.9.9 self permanent`,
    "ip addr del 10.2.1.0/32 dev flannel.1",
    "ip addr add 10.2.1.77/32 dev flannel.1",
    "ip link set flannel.1 mtu 1300",
    "ip link set flannel.1 address 02:0e:00:00:00:0e",
    "ip link set flannel.1 down",
    "ip link del flannel.1",
    "ip link set flannel.1 type vxlan id 1 local 192.168.50.9",
    "ip link set under0 down; ip link set under0 up",
    "echo 0 > /proc/sys/net/ipv4/conf/flannel.1/forwarding",
  ];
  if (usesNexthops) {
    const idOf = `$(ip nexthop show | sed -n 's/^id \\([0-9]*\\) via 10.2.${n}.0 .*/\\1/p')`;
    commands.push(
      `ip nexthop del id ${idOf}`,
      `ip nexthop replace id ${idOf} blackhole`,
      "ip nexthop flush proto 116",
    );
  }
  return commands[random(commands.length)] ?? "true";
}

function hex(n: number): string {
  return n.toString(16).padStart(2, "0");
}
