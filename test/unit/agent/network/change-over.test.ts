import { expect, it } from "vitest";
import type { Attachment } from "../../../../agent/network/attachment.ts";
import { ChangeOver } from "../../../../agent/network/change-over.ts";
import { hostGwBackend } from "../../../../backends/host-gw.ts";
import { MixedBackend } from "../../../../backends/mixed.ts";
import type { Lease } from "../../../../ipam/leases/lease.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";
import { network } from "../../../support/lease-fixture.ts";
import { hostFacts, OWN_MAC, peer, prepareVxlan } from "../../../support/vxlan-fixture.ts";

const config = (type: string) => network(JSON.stringify({ Network: "10.2.0.0/16", Backend: { Type: type } }));
const PRESENT = config("host-gw");
const FORMER = config("vxlan");

/** A host with host-gw and, before it, vxlan, by which its lease still asks peers to send. */
function start({ peers = [] as Lease[], isInPlace = true } = {}) {
  const options = hostGwBackend.parseOptions({});
  const hostGw = options.prepare(hostFacts(), [4], { macFor: () => OWN_MAC });
  const vxlan = prepareVxlan();
  const attachment = {
    backend: new MixedBackend(hostGw, [vxlan], vxlan),
    carriers: [
      { config: PRESENT, backend: hostGw },
      { config: FORMER, backend: vxlan },
    ],
    main: FORMER,
  };
  const facts = {
    current: attachment as unknown as Attachment,
    peers,
    isInPlace,
    isAlone: false,
    received: 0 as number | null,
  };
  const clock = new FakeClock();
  const ended = new AbortController();
  const running = new ChangeOver({
    clock,
    logger: silentLogger,
    current: () => facts.current,
    peers: () => facts.peers,
    isInPlace: () => facts.isInPlace,
    receivedPackets: () => facts.received,
    turn: async (change) => {
      facts.current = change(facts.current);
    },
    onAlone: async () => {
      facts.isAlone = true;
    },
  }).run(ended.signal);
  const seen = () => {
    const { backend } = facts.current;
    return { asksFor: backend.leaseType, formers: backend.formerTypes, isAlone: facts.isAlone };
  };
  return { facts, clock, seen, end: () => ended.abort(), running };
}

const PREPARING = { asksFor: "vxlan", formers: ["vxlan"], isAlone: false };
const SERVING = { asksFor: "host-gw", formers: ["vxlan"], isAlone: false };
const ALONE = { asksFor: "host-gw", formers: [], isAlone: true };

it("asks peers to use the present backend when it is in place, not before", async () => {
  const { facts, clock, seen, end, running } = start({ peers: [peer(5)], isInPlace: false });
  await clock.advance(60_000);
  expect(seen()).toEqual(PREPARING);
  facts.isInPlace = true;
  await clock.advance(1_000);
  facts.isInPlace = false;
  await clock.advance(1_000);
  facts.isInPlace = true;
  await clock.advance(1_500);
  expect(seen()).toEqual(PREPARING);
  await clock.advance(1_000);
  expect(seen()).toEqual(SERVING);
  end();
  await running;
});

it("keeps the former backend until no peer needs it, and a little longer", async () => {
  const { facts, clock, seen, running } = start({ peers: [peer(5)] });
  await clock.advance(3_600_000);
  expect(seen()).toEqual(SERVING);
  facts.peers = [];
  await clock.advance(3_000);
  facts.peers = [peer(5)];
  await clock.advance(3_000);
  facts.peers = [];
  await clock.advance(4_500);
  expect(seen()).toEqual(SERVING);
  await clock.advance(1_500);
  expect(seen()).toEqual(ALONE);
  await running;
});

it("keeps the former backend while a peer still sends by it", async () => {
  const { facts, clock, seen, running } = start();
  for (let second = 1; second <= 20; second++) {
    facts.received = second;
    await clock.advance(1_000);
  }
  expect(seen()).toEqual(SERVING);
  await clock.advance(6_000);
  expect(seen()).toEqual(ALONE);
  await running;
});

it("gives the former backend up though something never stops to arrive by it", async () => {
  const { facts, clock, seen, running } = start();
  for (let second = 1; second <= 75; second++) {
    facts.received = second;
    await clock.advance(1_000);
  }
  expect(seen()).toEqual(ALONE);
  await running;
});

it("keeps the former backend for a minute where what arrives by it cannot be read", async () => {
  const { facts, clock, seen, running } = start();
  facts.received = null;
  await clock.advance(60_000);
  expect(seen()).toEqual(SERVING);
  await clock.advance(15_000);
  expect(seen()).toEqual(ALONE);
  await running;
});

it("ends at once when its daemon ends, and changes nothing", async () => {
  const { seen, end, running } = start({ peers: [peer(5)] });
  end();
  await running;
  expect(seen()).toEqual(PREPARING);
});
