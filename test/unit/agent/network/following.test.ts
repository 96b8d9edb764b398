/** The store's messages in batches, and network configurations of which only the newest counts. */

import { afterEach, describe, expect, it } from "vitest";
import type { ConfigJudgement } from "../../../../agent/network/config-change.ts";
import { ConfigFollower } from "../../../../agent/network/config-follower.ts";
import { StoreFollower, withNewestConfig } from "../../../../agent/network/store-follower.ts";
import type { NetworkConfig } from "../../../../ipam/config/network-config.ts";
import { parseNetworkConfig } from "../../../../ipam/config/network-config-parser.ts";
import { InterfaceError } from "../../../../ipam/errors.ts";
import type { StoreChange, StoreMessage } from "../../../../ipam/stores/contracts.ts";
import { FakeClock, settle } from "../../../support/fake-clock.ts";
import { entry, recordingLogger } from "../../../support/lease-fixture.ts";
import { HOLD_DOWN_MS, hosts, peerTableLab } from "../../../support/peer-table-lab.ts";

const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});
const signal = (): AbortSignal => {
  const stop = new AbortController();
  stops.push(stop);
  return stop.signal;
};

const config = (mtu: number): string =>
  JSON.stringify({ Network: "10.2.0.0/16", Backend: { Type: "vxlan", MTU: mtu } });
const configChange = (mtu: number): StoreChange => ({
  type: "config",
  value: config(mtu),
  revision: BigInt(mtu),
});
const changes = (...list: StoreChange[]): StoreMessage => ({
  type: "changes",
  revision: 2000n,
  changes: list,
});

describe("peers that vanished", () => {
  it("stay while our own lost lease cannot be written either, as in a store that accepts no writes", async () => {
    const { table, keys } = peerTableLab();
    const clock = new FakeClock();
    let isLost = false;
    const lease = {
      observe: ({ type }: StoreMessage) => {
        if (type === "changes") isLost = true;
      },
      get troubleMs() {
        return isLost ? clock.monotonicMs() : Number.NEGATIVE_INFINITY;
      },
    };
    const nothing = (): void => undefined;
    const metrics = { noteMessage: nothing };
    const follower = new StoreFollower({
      ...{ clock, metrics, peers: table, lease, onChange: nothing, onConfig: nothing },
    });
    const peers = hosts(10);
    const end = signal();
    async function* messages(): AsyncGenerator<StoreMessage> {
      yield { type: "list", revision: 1000n, entries: peers, config: config(1400) };
      yield changes(...peers.map(({ key }): StoreChange => ({ type: "delete", key, revision: 2000n })));
      await clock.sleep(Number.POSITIVE_INFINITY, end).catch(nothing);
    }
    void follower.run(messages(), end);
    await settle();
    expect(isLost).toBe(true);
    expect(keys()).toHaveLength(10);
    await clock.advance(10 * HOLD_DOWN_MS);
    expect(keys()).toHaveLength(10);
    isLost = false;
    await clock.advance(HOLD_DOWN_MS);
    expect(keys()).toHaveLength(0);
  });
});

describe("peers that vanished before this process was stopped for long", () => {
  const nothing = (): void => undefined;
  const peers = hosts(10);
  const gone = changes(...peers.map(({ key }): StoreChange => ({ type: "delete", key, revision: 2000n })));

  async function continued(
    after: (back: () => void, keys: () => string[], clock: FakeClock) => Promise<void>,
  ) {
    const { table, keys } = peerTableLab();
    const clock = new FakeClock();
    const smallest = { keys: peers.length };
    const follower = new StoreFollower({
      ...{ clock, metrics: { noteMessage: nothing }, peers: table, onConfig: nothing },
      lease: { observe: nothing, troubleMs: Number.NEGATIVE_INFINITY },
      onChange: () => {
        smallest.keys = Math.min(smallest.keys, table.peers.size);
      },
    });
    let back = nothing;
    const isBack = new Promise<void>((resolve) => {
      back = resolve;
    });
    const end = signal();
    async function* messages(): AsyncGenerator<StoreMessage> {
      yield { type: "list", revision: 1000n, entries: peers, config: config(1400) };
      yield gone;
      await isBack;
      yield changes(...peers.map((one): StoreChange => ({ type: "put", entry: one })));
      await clock.sleep(Number.POSITIVE_INFINITY, end).catch(nothing);
    }
    void follower.run(messages(), end);
    await settle();
    await clock.jump(10 * HOLD_DOWN_MS);
    await after(back, keys, clock);
    return smallest.keys;
  }

  it("stay until what came meanwhile is read", async () => {
    const smallest = await continued(async (back, keys, clock) => {
      back();
      await settle();
      await clock.advance(HOLD_DOWN_MS);
      expect(keys()).toHaveLength(peers.length);
    });
    expect(smallest).toBe(peers.length);
  });

  it("go soon after that when nothing came", async () => {
    await continued(async (_, keys, clock) => {
      expect(keys()).toHaveLength(peers.length);
      await clock.advance(HOLD_DOWN_MS);
      expect(keys()).toEqual([]);
    });
  });
});

describe("a batch of messages", () => {
  const put: StoreChange = { type: "put", entry: entry("10.2.9.0-24", 9) };

  it("keeps every lease in its order and the newest configuration", () => {
    const batch = [
      changes(configChange(1300), put),
      changes(configChange(1301)),
      changes(configChange(1302), configChange(1303)),
    ];
    expect(withNewestConfig(batch)).toEqual([changes(put), changes(), changes(configChange(1303))]);
  });

  it("keeps listings whole", () => {
    const list: StoreMessage = { type: "list", revision: 1n, entries: [], config: config(1300) };
    expect(withNewestConfig([changes(configChange(1301)), list])).toEqual([changes(), list]);
    expect(withNewestConfig([list, changes(configChange(1301))])).toEqual([
      list,
      changes(configChange(1301)),
    ]);
  });

  it("is processed at once: many configurations are one notification, and leases do not wait", async () => {
    const { table, list, keys } = peerTableLab();
    list([]);
    let [batches, configs] = [0, 0];
    const follower = new StoreFollower({
      clock: new FakeClock(),
      metrics: { noteMessage: () => undefined },
      peers: table,
      lease: { observe: () => undefined, troubleMs: Number.NEGATIVE_INFINITY },
      onChange: () => (batches += 1),
      onConfig: () => (configs += 1),
    });
    async function* messages(): AsyncGenerator<StoreMessage> {
      for (let mtu = 0; mtu < 3600; mtu += 1) yield changes(configChange(1280 + (mtu % 100)));
      yield changes(put, configChange(1400));
    }
    void follower.run(messages(), signal());
    await settle();
    expect(keys()).toContain("10.2.9.0-24");
    expect(table.config?.text).toBe(config(1400));
    expect(batches).toBeLessThan(100);
    expect(configs).toBeLessThan(100);
  });
});

describe("following the network configuration", () => {
  function lab(apply: (config: NetworkConfig) => Promise<void>, rejoin = apply) {
    const clock = new FakeClock();
    const logger = recordingLogger();
    let judgement: ConfigJudgement = { apply: null, isRejoin: false, problem: null };
    let isLost = false;
    const follower = new ConfigFollower({
      clock,
      logger,
      judge: () => judgement,
      apply,
      rejoin,
      isInterfaceLost: () => isLost,
      onChange: () => undefined,
    });
    void follower.run(signal());
    const offer = (next: ConfigJudgement): void => {
      judgement = next;
      follower.changed();
    };
    const loseInterface = (value: boolean): void => {
      isLost = value;
    };
    return { clock, logger, follower, offer, loseInterface };
  }
  const wanted = (mtu: number): ConfigJudgement => ({
    apply: parseNetworkConfig(config(mtu)),
    isRejoin: false,
    problem: null,
  });

  it("skips the configurations that are replaced while one is applied", async () => {
    const applied: string[] = [];
    let release = (): void => undefined;
    const { clock, offer } = lab(async ({ text }) => {
      applied.push(text);
      await new Promise<void>((resolve) => {
        release = resolve;
      });
    });
    offer(wanted(1300));
    await settle();
    for (let mtu = 1301; mtu <= 1400; mtu += 1) offer(wanted(mtu));
    release();
    await clock.advance(1000);
    expect(applied).toEqual([config(1300), config(1400)]);
  });

  it("reports one that cannot be applied, once, and retries it", async () => {
    let attempts = 0;
    const { clock, logger, follower, offer } = lab(() => {
      attempts += 1;
      return attempts < 4 ? Promise.reject(new Error("eth0 has no address")) : Promise.resolve();
    });
    offer(wanted(1300));
    await clock.advance(3000);
    expect(follower.problem).toContain("eth0 has no address");
    expect(logger.lines).toHaveLength(1);
    await clock.advance(10_000);
    expect(follower.problem).toBeNull();
    expect(logger.lines.map(({ level }) => level)).toEqual(["error", "info"]);
  });

  it("refuses no configuration for an interface that is lost at the moment", async () => {
    let isUsable = false;
    const { clock, follower, offer, loseInterface } = lab(() =>
      isUsable ? Promise.resolve() : Promise.reject(new InterfaceError("eth0 has lost its IPv4 address")),
    );
    loseInterface(true);
    offer(wanted(1300));
    await clock.advance(3000);
    expect(follower.problem).toBeNull();
    loseInterface(false);
    await clock.advance(3000);
    expect(follower.problem).toContain("eth0 has lost its IPv4 address");
    isUsable = true;
    await clock.advance(3000);
    expect(follower.problem).toBeNull();
  });

  it("joins again for another lease, and says why it cannot until it can", async () => {
    const joined: string[] = [];
    let isPossible = false;
    const rejoin = async ({ text }: NetworkConfig): Promise<void> => {
      if (!isPossible) throw new Error("eth0 has no IPv6 address");
      joined.push(text);
    };
    const { clock, follower, offer } = lab(() => Promise.reject(new Error("applied")), rejoin);
    offer({ ...wanted(1400), isRejoin: true });
    await clock.advance(1000);
    expect(follower.problem).toContain("eth0 has no IPv6 address");
    isPossible = true;
    await clock.advance(3000);
    expect(joined).toEqual([config(1400)]);
    expect(follower.problem).toBeNull();
  });

  it("reports one that must not be applied until it is withdrawn", async () => {
    const { clock, follower, offer } = lab(() => Promise.resolve());
    offer({ apply: null, isRejoin: false, problem: "Network changed" });
    await clock.advance(1000);
    expect(follower.problem).toBe("Network changed");
    offer({ apply: null, isRejoin: false, problem: null });
    await clock.advance(1000);
    expect(follower.problem).toBeNull();
  });
});
