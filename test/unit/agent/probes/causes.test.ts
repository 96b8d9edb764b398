import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Case, LocalFacts } from "../../../../agent/probes/case.ts";
import { CAUSES, type Cause } from "../../../../agent/probes/causes.ts";
import type { MessageCounts } from "../../../../agent/probes/handshakes.ts";
import { judge } from "../../../../agent/probes/judgement.ts";
import type { Evidence, Outcome } from "../../../../agent/probes/probe.ts";
import type { TunnelEvidence } from "../../../../agent/probes/tunnel-watch.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";
import { TARGET } from "./target-fixture.ts";

const YES: Outcome = { type: "answered", roundTripMs: 1 };
const NO: Outcome = { type: "silent" };
const DAMAGED: Outcome = { type: "damaged" };
const failed = (text: string): Outcome => ({ type: "error", text });

const REST = { syn: null, isLossy: false, passesBytes: null };
const WELL: Evidence = { small: YES, full: YES, tcp: YES, outer: YES, ...REST };
const SILENT: Evidence = { small: NO, full: NO, tcp: NO, outer: NO, ...REST };
const NEVER = { inner: false, tcp: false, outer: false };
const ALWAYS = { inner: true, tcp: true, outer: true };

const FACTS: LocalFacts = {
  link: { name: "eth0", problem: null },
  obstacle: null,
  neighbour: "unknown",
  router: null,
  pathMtuBytes: null,
  neighbourMac: null,
  isNeighbourFixed: false,
  neighbourRefusals: 0,
  reversePathDrops: 0,
  checksumErrors: 0,
  tunnel: null,
  isTunnelUnwatched: false,
  isNeighbourNew: false,
};
/** What is seen of a tunnel that is silent for no reason that shows. */
const SEEN: TunnelEvidence = {
  sent: 6,
  received: 0,
  answers: 0,
  refusals: 0,
  flows: 0,
  handshakes: null,
  mismatch: null,
  otherSource: null,
  macs: ["52:54:00:00:00:01"],
  askedMs: 0,
  rejection: null,
};
const facts = (given: Partial<LocalFacts>): LocalFacts => ({ ...FACTS, ...given });
const seen = (given: Partial<TunnelEvidence>): LocalFacts => facts({ tunnel: { ...SEEN, ...given } });
const late = (ms: number) => ({ ms, isLarge: true });
const rejectedBy = (from: string): Outcome => ({
  ...{ type: "error", text: "host prohibited by an administrator" },
  from: Address.parse(from),
});
const ROUTER = Address.parse("192.168.1.1");
const DEAD_ROUTER = { router: ROUTER, neighbour: "silent" } as const;
const DIVERTED = { obstacle: { text: "packets to 10.2.54.1 are discarded", isMissingRoute: false } };
/** The peer answers beside the tunnel. */
const BESIDE: Evidence = { ...SILENT, outer: YES };

const CASE: Case = {
  target: TARGET,
  evidence: WELL,
  facts: FACTS,
  late: null,
  taken: 0,
  before: ALWAYS,
  elsewhere: ALWAYS,
  isPeerUp: false,
  isPeerOnLink: false,
  isFirewallFound: false,
};
const causeIn = (given: Partial<Case>): Cause | null => {
  const judged = judge({ ...CASE, ...given });
  return judged === "undecided" ? null : judged;
};
const code = (given: Partial<Case>): string | null => {
  const judged = judge({ ...CASE, ...given });
  return judged === "undecided" ? judged : (judged?.code ?? null);
};

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

  it("does not take a router for the peer", () => {
    const macs = ["52:54:00:00:00:01", "52:54:00:00:00:02"];
    const behind = { ...seen({ macs }), router: ROUTER, neighbour: "answers" } as const;
    expect(code({ evidence: BESIDE, facts: behind })).toBe("tunnel-filtered");
    for (const neighbourMac of macs)
      expect(code({ evidence: BESIDE, facts: { ...behind, neighbourMac } })).toBe("tunnel-filtered");
    const outerSilent = { ...ALWAYS, outer: false };
    expect(code({ evidence: SILENT, before: outerSilent, facts: behind })).toBe("host-unreachable");
    const diverted = { ...behind, ...seen({}), router: ROUTER, neighbourMac: "52:54:00:00:00:99" };
    expect(causeIn({ evidence: SILENT, facts: diverted })?.text).toContain("packets to 192.168.1.1 go to");
  });

  it("says that a host is up where something shows it", () => {
    const text = (given: Partial<Case>) => causeIn({ evidence: SILENT, ...given })?.text;
    expect(text({ isPeerUp: true })).toMatch(/nor at 192\.168\.1\.242, though it answers over IPv6$/);
    const behind = { ...seen({ received: 3 }), router: ROUTER };
    expect(causeIn({ evidence: SILENT, facts: behind })).toMatchObject({
      code: "host-unreachable",
      text: expect.stringMatching(/, though its tunnel packets arrive here$/),
    });
    const onLink = { ...seen({}), neighbour: "answers" } as const;
    expect(text({ facts: onLink })).toMatch(/nor at 192\.168\.1\.242, though it answers ARP$/);
    expect(text({ facts: seen({ received: 3 }) })).toMatch(/, though its tunnel packets arrive here$/);
    expect(text({ before: NEVER, facts: onLink })).toMatch(/^has never answered.*, though it answers ARP$/);
    expect(text({ facts: { ...onLink, router: ROUTER } })).toMatch(/nor at 192\.168\.1\.242$/);
    const fixed = { ...seen({ macs: null }), neighbourMac: "52:54:00:00:00:99", isNeighbourFixed: true };
    expect(text({ facts: fixed })).toMatch(
      /; this host's neighbour entry of 192\.168\.1\.242 is permanent \(52:54:00:00:00:99\)$/,
    );
  });

  it("is that of a peer that drops all it receives where the link shows that it is up", () => {
    const onLink = { ...seen({}), neighbour: "answers" } as const;
    const cause = (given: Partial<Case>) => causeIn({ evidence: SILENT, ...given });
    const dropped = { code: "peer-firewall", direction: "to peer" };
    const neither = "no longer answers, neither through the tunnel nor at 192.168.1.242, though";
    expect(cause({ facts: onLink })).toMatchObject({ ...dropped, text: `${neither} it answers ARP` });
    const target = { ...TARGET, sendsProbes: true };
    for (const arrived of [seen({ received: 3 }), { ...onLink, tunnel: { ...SEEN, received: 1 } }])
      expect(cause({ facts: arrived, target })).toMatchObject({
        ...dropped,
        text: `${neither} its tunnel packets arrive here`,
      });
    // The probes of its agent would arrive: what it sends is lost, too.
    expect(cause({ facts: onLink, target })?.code).toBe("host-unreachable");
    expect(cause({ facts: { ...onLink, router: ROUTER } })?.code).toBe("host-unreachable");
    // It gets what it answers.
    const answering = { ...onLink, tunnel: { ...SEEN, received: 1, answers: 1 } };
    expect(cause({ facts: answering })?.code).toBe("host-unreachable");
    // An entry that nothing has confirmed may lead elsewhere.
    const fixed = { ...seen({ received: 9, macs: null }), isNeighbourFixed: true };
    expect(cause({ facts: fixed })?.code).toBe("host-unreachable");
  });

  it("tells the direction where both are seen", () => {
    const direction = (given: Partial<Case>) => causeIn(given)?.direction;
    expect(direction({ evidence: BESIDE, facts: seen({ received: 3 }) })).toBe("to peer");
    expect(direction({ evidence: BESIDE, facts: seen({}) })).toBeUndefined();
    expect(direction({ evidence: BESIDE, facts: seen({ received: 3, answers: 3 }) })).toBe("from peer");
    expect(direction({ evidence: { ...WELL, tcp: NO, syn: YES } })).toBe("to peer");
  });

  it("leaves open what another examination will tell", () => {
    const lossy = { ...WELL, isLossy: true };
    expect(code({ evidence: { ...lossy, full: NO } })).toBe("undecided");
    expect(code({ evidence: { ...lossy, tcp: NO } })).toBe("undecided");
    expect(code({ evidence: { ...WELL, tcp: NO }, late: late(2_000) })).toBe("undecided");
    // The link knows the peer again: what was sent before did not leave.
    const again = { ...seen({ sent: 0 }), neighbour: "answers", isNeighbourNew: true } as const;
    expect(code({ evidence: SILENT, facts: again })).toBe("undecided");
    // Others have all the places at the interface.
    const unwatched = facts({ isTunnelUnwatched: true });
    expect(code({ evidence: BESIDE, facts: unwatched })).toBe("undecided");
    const silent = { ...unwatched, neighbour: "silent" } as const;
    expect(code({ evidence: SILENT, facts: silent })).toBe("host-down");
    expect(code({ evidence: SILENT, facts: silent, isFirewallFound: true })).toBe("undecided");
  });

  it("does not say of an address that it is silent now where it never answered", () => {
    const text = (given: Partial<Case>) => causeIn({ evidence: SILENT, ...given })?.text;
    expect(text({})).toBe("no longer answers, neither through the tunnel nor at 192.168.1.242");
    expect(text({ before: { ...ALWAYS, outer: false } })).toBe(
      "no longer answers through the tunnel (UDP port 8472); 192.168.1.242 never answered pings, so the host may be up",
    );
  });

  describe("of WireGuard", () => {
    const NONE: MessageCounts = { initiation: 0, response: 0, cookie: 0, data: 0 };
    const target = { ...CASE.target, tunnelKind: { port: 51820, format: "opaque" } } as const;
    const cause = (sent: Partial<MessageCounts>, received: Partial<MessageCounts>) => {
      const handshakes = { sent: { ...NONE, ...sent }, received: { ...NONE, ...received } };
      const total = Object.values(handshakes.received).reduce((sum, count) => sum + count, 0);
      return causeIn({ evidence: BESIDE, target, facts: seen({ received: total, handshakes }) });
    };

    it("has hosts with different PSKs, which answer each other in vain", () => {
      expect(cause({ initiation: 2, response: 2 }, { initiation: 2, response: 2 })).toMatchObject({
        code: "tunnel-mismatch",
        text: expect.stringContaining("PSK"),
      });
    });

    it("has hosts of which one rejects the answers of the other", () => {
      expect(cause({ initiation: 2 }, { response: 2 })).toMatchObject({
        code: "tunnel-mismatch",
        text: expect.stringContaining("PSKs differ, or this host's firewall"),
      });
    });

    it("suffers from a full table of neighbours too", () => {
      const nothing = seen({ sent: 0, handshakes: { sent: NONE, received: NONE } });
      const found = causeIn({ evidence: SILENT, target, facts: { ...nothing, neighbourRefusals: 4 } });
      expect(found?.code).toBe("neighbours-full");
    });

    it("has its packets dropped here where the peer's answers show that the keys fit", () => {
      const expected = { code: "local-firewall", direction: "from peer" };
      expect(cause({ initiation: 2 }, { initiation: 2, response: 2 })).toMatchObject(expected);
    });

    it("is filtered to the peer where only its handshakes are accepted", () => {
      const expected = { code: "tunnel-filtered", direction: "to peer" };
      expect(cause({ initiation: 2, response: 2 }, { initiation: 2 })).toMatchObject(expected);
    });

    it.each([
      [
        "another key, or a firewall of this host",
        { initiation: 2 },
        { initiation: 2 },
        /keys or clocks differ, or/,
      ],
      ["answers that are lost or rejected", { response: 2 }, { initiation: 2 }, /lost, or the PSKs differ/],
      [
        "a session that one side has lost",
        { data: 5, initiation: 1 },
        { initiation: 1 },
        /tunnel \(UDP port 8472\)$/,
      ],
    ])("shows no direction with %s", (_, sent, received, text) => {
      const found = cause(sent, received);
      expect(found).toMatchObject({ code: "tunnel-filtered", text: expect.stringMatching(text) });
      expect(found?.direction).toBeUndefined();
    });
  });

  it("does not blame this host for packets that WireGuard does not send between handshakes", () => {
    const target = { ...CASE.target, tunnelKind: { port: 51820, format: "opaque" } } as const;
    const none: MessageCounts = { initiation: 0, response: 0, cookie: 0, data: 0 };
    expect(
      code({
        evidence: BESIDE,
        facts: seen({ sent: 0, handshakes: { sent: none, received: none } }),
        target,
      }),
    ).toBe("tunnel-filtered");
  });

  it("says what passes, where the peer answers, and what the network reports", () => {
    const text = (given: Partial<Case>): string => causeIn(given)?.text ?? "";
    expect(text({ evidence: { ...WELL, full: NO, passesBytes: 1298 } })).toBe(
      "loses packets of 1450 bytes, but not small ones; 1298 bytes pass",
    );
    expect(text({ evidence: { ...WELL, full: NO }, facts: facts({ pathMtuBytes: 1400 }) })).toBe(
      "loses packets of 1450 bytes, but not small ones; this host's kernel holds the MTU to 192.168.1.242 for 1400 bytes",
    );
    expect(text({ evidence: { ...SILENT, outer: YES } })).toBe(
      "answers at 192.168.1.242, but no longer through the tunnel (UDP port 8472)",
    );
    expect(text({ evidence: { ...SILENT, outer: failed("host unreachable, says 192.168.1.1") } })).toContain(
      "(host unreachable, says 192.168.1.1)",
    );
    const rejection = { from: ROUTER, text: "network unreachable" };
    expect(text({ evidence: SILENT, facts: seen({ rejection }) })).toContain(
      "(network unreachable, says 192.168.1.1)",
    );
  });
});

it("docs/troubleshooting.md has a paragraph for each cause, and for no other", () => {
  const text = readFileSync(new URL("../../../../docs/troubleshooting.md", import.meta.url), "utf8");
  const documented = [...text.matchAll(/^#### `([a-z-]+)`$/gm)].map(([, name]) => name);
  expect(documented.sort()).toEqual(Object.keys(CAUSES).sort());
});
