/** What is said of a broken path beside its cause: the direction, whether the host is up, what passes. */

import { describe, expect, it } from "vitest";
import type { Case } from "../../../../agent/probes/case.ts";
import type { MessageCounts } from "../../../../agent/probes/handshakes.ts";
import {
  ALWAYS,
  BESIDE,
  CASE,
  causeIn,
  code,
  facts,
  failed,
  late,
  NEVER,
  NO,
  ROUTER,
  SEEN,
  SILENT,
  seen,
  WELL,
  YES,
} from "./case-fixture.ts";
import { TARGET } from "./target-fixture.ts";

describe("a broken path", () => {
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
