import { beforeEach, describe, expect, it } from "vitest";
import { EchoLine, PATIENCE_MS } from "../../../../agent/probes/echo-line.ts";
import type { Outcome } from "../../../../agent/probes/probe.ts";
import { NetlinkError } from "../../../../backends/netlink/errors.ts";
import type { EchoEvent, EchoPort } from "../../../../backends/probe/echo-port.ts";
import { Address } from "../../../../ipam/addresses/ip.ts";

const PEER = Address.parse("10.2.54.0");
const OTHER = Address.parse("10.2.16.0");

describe("echo requests in flight", () => {
  let nowMs: number;
  let sent: { target: Address; sequence: number }[];
  let arriving: EchoEvent[];
  let refusal: Error | null;
  let line: EchoLine;
  let isWatched: boolean;
  let outcomes: Outcome[];

  beforeEach(() => {
    nowMs = 1_000;
    sent = [];
    arriving = [];
    refusal = null;
    outcomes = [];
    const port = {
      send: (target: Address, sequence: number) => {
        if (refusal !== null) throw refusal;
        sent.push({ target, sequence });
      },
      receive: () => arriving.shift() ?? null,
      onReadable: () => {
        isWatched = true;
      },
      pause: () => {
        isWatched = false;
      },
    };
    line = new EchoLine(port as unknown as EchoPort, () => nowMs, 65_534);
  });
  const send = (): number => {
    line.send(PEER, 64, (outcome) => outcomes.push(outcome));
    return sent.at(-1)?.sequence ?? -1;
  };

  it("measures the time until the answer", () => {
    const sequence = send();
    nowMs += 3;
    arriving.push({ type: "reply", from: PEER, sequence });
    line.receive();
    expect(outcomes).toEqual([{ type: "answered", roundTripMs: 3 }]);
  });

  it("tells an answer that arrives damaged from one that does not arrive", () => {
    const sequence = send();
    arriving.push({ type: "reply", from: PEER, sequence, isDamaged: true });
    line.receive();
    expect(outcomes).toEqual([{ type: "damaged" }]);
  });

  it("believes no answer from another address, of another number, or a second one", () => {
    const sequence = send();
    arriving.push(
      { type: "reply", from: OTHER, sequence },
      { type: "reply", from: PEER, sequence: sequence + 1 },
    );
    line.receive();
    expect(outcomes).toEqual([]);
    arriving.push({ type: "reply", from: PEER, sequence }, { type: "reply", from: PEER, sequence });
    line.receive();
    expect(outcomes).toHaveLength(1);
  });

  it("gives up after a while, and starts the numbers again", () => {
    expect([send(), send()]).toEqual([65_535, 0]);
    nowMs += PATIENCE_MS - 1;
    line.expire();
    expect(outcomes).toEqual([]);
    nowMs += 2;
    line.expire();
    expect(outcomes).toEqual([{ type: "silent" }, { type: "silent" }]);
  });

  it("tells of an answer that comes after the end, once, and of none that is too late", () => {
    const late: number[] = [];
    const send = (): number => {
      line.send(PEER, 64, (outcome) => outcomes.push(outcome), { onLate: (ms) => late.push(ms) });
      return sent.at(-1)?.sequence ?? -1;
    };
    const first = send();
    nowMs += 2_000;
    line.expire();
    arriving.push({ type: "reply", from: OTHER, sequence: first });
    for (let count = 0; count < 2; count++) arriving.push({ type: "reply", from: PEER, sequence: first });
    line.receive();
    expect([outcomes, late]).toEqual([[{ type: "silent" }], [2_000]]);
    const second = send();
    nowMs += 2_000;
    line.expire();
    send();
    nowMs += 9_000;
    line.expire();
    arriving.push({ type: "reply", from: PEER, sequence: second });
    line.receive();
    expect(late).toEqual([2_000]);
  });

  it("takes answers that waited through a pause of the event loop", () => {
    const sequence = send();
    nowMs += 5_000;
    arriving.push({ type: "reply", from: PEER, sequence });
    line.expire();
    expect(outcomes).toEqual([{ type: "answered", roundTripMs: 5_000 }]);
  });

  it("reads a flood in portions, and answers among it", () => {
    line.listen();
    const sequence = send();
    arriving.push(...Array.from({ length: 100 }, (): EchoEvent => ({ type: "request", from: OTHER })));
    arriving.push({ type: "reply", from: PEER, sequence });
    line.receive();
    expect({ isWatched, left: arriving.length }).toEqual({ isWatched: false, left: 37 });
    line.expire();
    expect({ isWatched, left: arriving.length }).toEqual({ isWatched: true, left: 0 });
    expect(outcomes).toHaveLength(1);
  });

  it("tells what the network and this host's kernel report", () => {
    const sequence = send();
    arriving.push({ type: "report", from: OTHER, target: PEER, sequence, text: "host unreachable" });
    line.receive();
    refusal = new NetlinkError("sendto", 1);
    send();
    expect(outcomes).toEqual([
      { ...{ type: "error", text: "host unreachable, says 10.2.16.0" }, from: Address.parse("10.2.16.0") },
      { type: "error", text: "EPERM" },
    ]);
  });
});
