/** Which cause follows from which evidence. cause-text.test.ts has what its sentence says beside. */

import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Case } from "../../../../agent/probes/case.ts";
import { CAUSES } from "../../../../agent/probes/causes.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import {
  ALWAYS,
  BESIDE,
  CASE,
  code,
  DAMAGED,
  DEAD_ROUTER,
  DIVERTED,
  facts,
  failed,
  late,
  NEVER,
  NO,
  rejectedBy,
  SILENT,
  seen,
  WELL,
  YES,
} from "./case-fixture.ts";

const LOST = "peers send nothing to this host: its lease 10.2.9.0-24 is lost";

describe("a healthy path", () => {
  it.each<[string, Partial<Case>]>([
    ["answers everything", {}],
    ["answers through the tunnel, and no pings beside it", { evidence: { ...WELL, outer: NO } }],
    ["answers TCP only", { evidence: { ...SILENT, tcp: YES } }],
    [
      "answers TCP, and rejects pings",
      { evidence: { ...SILENT, tcp: YES, small: rejectedBy("10.2.54.0") }, facts: seen({ answers: 2 }) },
    ],
    [
      "answers beside the network, and no more at an address that may be gone, while others are dropped",
      {
        evidence: BESIDE,
        target: { ...CASE.target, isInnerCertain: false, tunnelKind: null },
        facts: facts({ reversePathDrops: 9 }),
      },
    ],
    [
      "never answered TCP, as none here does",
      { evidence: { ...WELL, tcp: NO }, before: NEVER, elsewhere: NEVER },
    ],
    [
      "is of a peer whose firewall never answered TCP",
      { evidence: { ...WELL, tcp: NO, syn: NO }, before: { ...ALWAYS, tcp: false } },
    ],
    [
      "answers no probes any more, but its connections go on",
      { evidence: BESIDE, facts: seen({ received: 9, flows: 9 }) },
    ],
    [
      "is of a peer without containers, which has no address inside",
      {
        evidence: { ...SILENT, outer: YES },
        before: { ...NEVER, outer: true },
        target: { ...CASE.target, isInnerCertain: false },
      },
    ],
    [
      "is of a peer whose last container has gone, and with it the address inside",
      { evidence: BESIDE, target: { ...CASE.target, isInnerCertain: false } },
    ],
    [
      "is silent where nothing ever answered: pings are filtered",
      {
        evidence: SILENT,
        before: NEVER,
        elsewhere: NEVER,
      },
    ],
    [
      "is silent where nothing ever answered but the link, and the peer's agent sends probes",
      {
        evidence: SILENT,
        before: NEVER,
        elsewhere: NEVER,
        facts: { ...seen({ received: 9 }), neighbour: "answers" },
      },
    ],
    [
      "is silent where this host's own firewall drops pings, and lets tunnel packets pass",
      { evidence: { ...SILENT, small: failed("EPERM"), outer: failed("EPERM") }, facts: seen({ sent: 3 }) },
    ],
  ])("%s", (_, given) => {
    expect(code(given)).toBeNull();
  });
});

describe("a broken path", () => {
  it.each<[string, Partial<Case>]>([
    ["interface-down", { evidence: SILENT, facts: facts({ link: { name: "eth0", problem: "is down" } }) }],
    [
      "path-diverted",
      {
        evidence: SILENT,
        facts: facts({ obstacle: { text: "packets to 10.2.54.1 leave by eth1", isMissingRoute: false } }),
      },
    ],
    ["path-diverted", { evidence: SILENT, facts: { ...seen({}), neighbourMac: "52:54:00:00:00:99" } }],
    [
      "no-route",
      {
        evidence: SILENT,
        facts: facts({ obstacle: { text: "packets to 192.168.1.242 have no route", isMissingRoute: true } }),
      },
    ],
    ["no-route", { evidence: { ...SILENT, outer: failed("ENETUNREACH") } }],
    ["local-firewall", { evidence: { ...SILENT, small: failed("EPERM") } }],
    ["local-firewall", { evidence: { ...SILENT, outer: failed("EPERM") }, facts: seen({ sent: 0 }) }],
    ["neighbours-full", { evidence: SILENT, facts: { ...seen({ sent: 0 }), neighbourRefusals: 4 } }],
    ["local-firewall", { evidence: BESIDE, facts: seen({ received: 6, answers: 6 }) }],
    ["local-firewall", { evidence: BESIDE, facts: seen({ received: 8, answers: 8 }), taken: 2 }],
    // TCP's come too late for their sockets.
    ["tunnel-filtered", { evidence: BESIDE, facts: seen({ received: 3, answers: 3, refusals: 3 }) }],
    [
      "local-firewall",
      {
        evidence: BESIDE,
        before: { ...ALWAYS, inner: false },
        facts: seen({ received: 3, answers: 3, refusals: 3 }),
      },
    ],
    // A limit on the way lets a packet through now and then.
    ["tunnel-filtered", { evidence: BESIDE, facts: seen({ received: 2, answers: 2 }), taken: 2 }],
    ["tunnel-filtered", { evidence: BESIDE, facts: seen({ received: 1, answers: 1 }) }],
    ["local-firewall", { evidence: BESIDE, facts: seen({ sent: 0 }) }],
    ["local-firewall", { evidence: SILENT, facts: { ...seen({ sent: 0 }), neighbour: "ignored" } }],
    ["host-down", { evidence: SILENT, facts: facts({ neighbour: "silent" }) }],
    ["answers-late", { evidence: SILENT, late: late(2_000) }],
    // Small ones and TCP, where a queue holds no large ones.
    [
      "answers-late",
      { evidence: SILENT, late: { ms: 4_100, isLarge: false }, facts: seen({ received: 2, answers: 2 }) },
    ],
    ["large-packets-lost", { evidence: { ...WELL, full: NO }, late: { ms: 1_300, isLarge: false } }],
    ["answers-late", { evidence: SILENT, late: late(2_000), facts: seen({ received: 6, answers: 6 }) }],
    ["answers-late", { evidence: { ...WELL, full: NO }, late: late(1_300) }],
    ["host-unreachable", { evidence: { ...SILENT, outer: failed("host unreachable, says 192.168.1.1") } }],
    ["tunnel-filtered", { evidence: BESIDE }],
    ["lease-lost", { evidence: BESIDE, facts: { ...seen({}), membershipProblem: LOST } }],
    ["lease-lost", { evidence: SILENT, facts: facts({ membershipProblem: LOST }) }],
    ["local-firewall", { evidence: BESIDE, facts: { ...seen({ sent: 0 }), membershipProblem: LOST } }],
    ["host-down", { evidence: SILENT, facts: facts({ neighbour: "silent", membershipProblem: LOST }) }],
    ["tunnel-filtered", { evidence: BESIDE, before: { ...NEVER, outer: true }, elsewhere: NEVER }],
    [
      "tunnel-filtered",
      { evidence: SILENT, before: { ...ALWAYS, outer: false }, facts: facts({ neighbour: "answers" }) },
    ],
    [
      "tunnel-filtered",
      {
        evidence: BESIDE,
        facts: seen({
          rejection: { from: Address.parse("192.168.1.1"), text: "prohibited by an administrator" },
        }),
      },
    ],
    [
      "host-unreachable",
      {
        evidence: SILENT,
        facts: seen({ rejection: { from: Address.parse("192.168.1.1"), text: "host unreachable" } }),
      },
    ],
    ["host-down", { evidence: SILENT, facts: { ...seen({ sent: 0, macs: [] }), neighbour: "silent" } }],
    [
      "tunnel-absent",
      { evidence: BESIDE, facts: seen({ rejection: { from: CASE.target.outer, text: "port unreachable" } }) },
    ],
    [
      "peer-firewall",
      { evidence: { ...BESIDE, small: rejectedBy("10.2.54.0") }, facts: seen({ received: 9 }) },
    ],
    ["tunnel-filtered", { evidence: { ...BESIDE, small: rejectedBy("192.168.1.1") }, facts: seen({}) }],
    ["tunnel-mismatch", { evidence: BESIDE, facts: seen({ mismatch: "with VNI 2 instead of 1" }) }],
    ["address-silent", { evidence: SILENT, facts: facts({ neighbour: "silent" }), isPeerUp: true }],
    ["address-silent", { evidence: SILENT, facts: facts({ neighbour: "silent" }), isPeerOnLink: true }],
    ["peer-firewall", { evidence: { ...BESIDE, tcp: YES, small: rejectedBy("10.2.54.0") }, facts: seen({}) }],
    [
      "address-silent",
      { evidence: SILENT, facts: { ...seen({ received: 9, macs: [] }), neighbour: "silent" } },
    ],
    ["no-route", { evidence: SILENT, facts: { ...seen({ sent: 0, macs: [] }), ...DEAD_ROUTER } }],
    ["no-route", { evidence: SILENT, facts: facts(DEAD_ROUTER), isPeerUp: true }],
    ["path-diverted", { evidence: { ...WELL, tcp: failed("EACCES") }, facts: facts(DIVERTED) }],
    ["path-diverted", { evidence: { ...WELL, tcp: NO, syn: NO, isLossy: true }, facts: facts(DIVERTED) }],
    ["wrong-address", { evidence: BESIDE, facts: seen({ otherSource: Address.parse("192.168.1.77") }) }],
    [
      "wrong-address",
      { evidence: BESIDE, facts: seen({ macs: ["52:54:00:00:00:01", "52:54:00:00:00:02"] }) },
    ],
    ["reverse-path-filter", { evidence: SILENT, facts: facts({ reversePathDrops: 4 }) }],
    [
      "tunnel-absent",
      {
        evidence: BESIDE,
        facts: {
          ...seen({ rejection: { from: CASE.target.outer, text: "port unreachable" } }),
          reversePathDrops: 4,
        },
      },
    ],
    [
      "host-unreachable",
      {
        evidence: SILENT,
        target: { ...CASE.target, outer: Address.parse("fd00:50::12") },
        facts: facts({ reversePathDrops: 4 }),
      },
    ],
    ["large-packets-lost", { evidence: { ...WELL, full: NO, passesBytes: 1298 } }],
    ["checksum-broken", { evidence: { ...WELL, tcp: NO, syn: YES } }],
    ["checksum-broken", { evidence: { ...WELL, tcp: NO, syn: YES }, facts: facts({ checksumErrors: 4 }) }],
    ["checksum-broken", { evidence: { ...WELL, full: DAMAGED } }],
    [
      "checksum-broken",
      { evidence: { ...BESIDE, small: DAMAGED }, facts: seen({ received: 6, answers: 6 }) },
    ],
    ["tcp-lost", { evidence: { ...WELL, tcp: NO, syn: NO } }],
    ["never-answered", { evidence: SILENT, before: NEVER }],
  ])("%s", (expected, given) => {
    expect(code(given)).toBe(expected);
  });
});

it("docs/troubleshooting.md has a paragraph for each cause, and for no other", () => {
  const text = readFileSync(new URL("../../../../docs/troubleshooting.md", import.meta.url), "utf8");
  const documented = [...text.matchAll(/^#### `([a-z-]+)`$/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(Object.keys(CAUSES).sort());
});
