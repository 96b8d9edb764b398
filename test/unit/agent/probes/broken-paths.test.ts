import { expect, it } from "vitest";
import { causeFindings, findingSentence, type PathView } from "../../../../agent/probes/broken-paths.ts";
import { type CauseCode, causeOf } from "../../../../agent/probes/causes.ts";
import type { PathHealth } from "../../../../agent/probes/prober.ts";
import type { LeaseKey } from "../../../../ipam/leases/lease.ts";

const PEERS = Array.from({ length: 5 }, (_, index) => `10.2.${index}.0-24` as LeaseKey);
const REST = { roundTripMs: null, lossShare: null, measured: null, isAgentQuiet: false };
const GOOD: PathHealth = { state: "good", cause: null, ...REST };
const bad = (code: CauseCode, text: string): PathHealth => ({
  state: "bad",
  cause: { ...causeOf(code, text), sinceMs: 0, family: null },
  ...REST,
});

const view = (health: (peer: LeaseKey) => PathHealth, given: Partial<PathView> = {}): PathView => ({
  peers: PEERS,
  held: new Set(),
  prober: { health },
  hostNameOf: () => null,
  limits: [],
  storeProblem: null,
  ...given,
});
const texts = (given: PathView) => causeFindings(given).map((finding) => `${finding.code}: ${finding.text}`);

it("shows a cause of this host once, before those of single peers", () => {
  const health = (peer: LeaseKey): PathHealth =>
    peer === PEERS[0]
      ? bad("host-down", "is down")
      : bad("interface-down", "this host's interface eth0 is down");
  expect(texts(view(health))).toEqual([
    "interface-down: this host's interface eth0 is down; 4 of the peers are not reached, such as 10.2.1.0-24",
    "host-down: peer 10.2.0.0-24 is down",
  ]);
});

it("names the only peer that a cause of this host concerns", () => {
  const health = (peer: LeaseKey) =>
    peer === PEERS[1] ? bad("local-firewall", "this host drops packets") : GOOD;
  expect(texts(view(health))).toEqual([
    "local-firewall: this host drops packets; peer 10.2.1.0-24 is not reached",
  ]);
});

it("shows peers with the same cause one by one up to a number, and then as one", () => {
  const health = (count: number) => (peer: LeaseKey) =>
    PEERS.indexOf(peer) < count ? bad("host-down", "is down") : GOOD;
  expect(texts(view(health(3)))).toHaveLength(3);
  expect(texts(view(health(5)))).toEqual([
    "host-down: peer 10.2.0.0-24 is down, and 4 more peers are concerned",
  ]);
});

it("says of a peer without a lease whose path works that its agent has gone", () => {
  const held = new Set([PEERS[1]]) as ReadonlySet<LeaseKey>;
  expect(texts(view(() => GOOD, { held }))).toEqual([
    expect.stringMatching(/^agent-gone: peer 10\.2\.1\.0-24/),
  ]);
});

it("blames no agent where several leases have vanished at once", () => {
  expect(texts(view(() => GOOD, { held: new Set(PEERS) }))).toEqual([]);
});

it("says so too where the agent's own probes have ended", () => {
  const health = (peer: LeaseKey) => ({ ...GOOD, isAgentQuiet: peer === PEERS[2] });
  expect(texts(view(health))).toEqual([expect.stringMatching(/^agent-gone: peer 10\.2\.2\.0-24 answers/)]);
});

it("shows the store and limits of the kernel without any peer, and what to do", () => {
  const found = causeFindings(
    view(() => GOOD, {
      limits: [causeOf("conntrack-full", "the table of connections is full")],
      storeProblem: "the store has been out of reach for 5 s",
      prober: null,
    }),
  );
  expect(found.map(({ code, peers }) => [code, peers])).toEqual([
    ["store-stale", 0],
    ["conntrack-full", 0],
  ]);
  expect(found.map(findingSentence)[0]).toMatch(
    /^the store has been out of reach for 5 s \(store-stale\): mend/,
  );
});
