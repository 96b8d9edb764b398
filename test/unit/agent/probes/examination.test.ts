import { describe, expect, it } from "vitest";
import { Examination } from "../../../../agent/probes/examination.ts";
import type { Outcome, Probe } from "../../../../agent/probes/probe.ts";

const ANSWERED: Outcome = { type: "answered", roundTripMs: 1 };
const SILENT: Outcome = { type: "silent" };

/** Runs it to its end on a path that answers as `answers` says; returns the kinds of what was sent. */
function run(examination: Examination, answers: (probe: Probe, attempt: number) => boolean): string[] {
  const sent: string[] = [];
  const counts = new Map<string, number>();
  for (let rounds = 0; !examination.isComplete; rounds++) {
    if (rounds > 50) throw new Error("the examination does not end");
    const probes: Probe[] = [];
    const nowMs = rounds * 1_000;
    for (let probe = examination.next(nowMs); probe !== null; probe = examination.next(nowMs))
      probes.push(probe);
    for (const probe of probes) {
      const attempt = (counts.get(probe.kind) ?? 0) + 1;
      counts.set(probe.kind, attempt);
      sent.push(probe.kind);
      examination.note(probe, answers(probe, attempt) ? ANSWERED : SILENT);
    }
  }
  return sent;
}

describe("an examination", () => {
  it("sends each kind once when everything is answered", () => {
    const examination = new Examination(4, 1450);
    expect(run(examination, () => true)).toEqual(["small", "full", "outer", "tcp"]);
    expect(examination.evidence).toMatchObject({ small: ANSWERED, full: ANSWERED, passesBytes: null });
  });

  it("asks once more for what was not answered, and believes the answer", () => {
    const examination = new Examination(4, 1450);
    const sent = run(examination, ({ kind }, attempt) => kind !== "tcp" || attempt === 2);
    expect(sent).toEqual(["small", "full", "outer", "tcp", "tcp", "small"]);
    expect(examination.evidence?.tcp).toEqual(ANSWERED);
  });

  it("keeps what a router reports, and not the silence after it", () => {
    const examination = new Examination(4, 1450);
    const report: Outcome = { type: "error", text: "host unreachable, says 192.168.1.1" };
    for (const [nowMs, outcome] of [
      [0, report],
      [1_000, SILENT],
    ] as const) {
      for (let probe = examination.next(nowMs); probe !== null; probe = examination.next(nowMs))
        examination.note(probe, outcome);
    }
    expect(examination.evidence).toMatchObject({ outer: report });
  });

  it("does not wait for the last answer before it asks again", () => {
    const examination = new Examination(4, 1450);
    const kinds = (nowMs: number): string[] => {
      const probe = examination.next(nowMs);
      return probe === null ? [] : [probe.kind, ...kinds(nowMs)];
    };
    expect(kinds(0)).toEqual(["small", "full", "outer", "tcp"]);
    expect(kinds(200)).toEqual([]);
    expect(kinds(500)).toEqual(["tcp", "outer", "full", "small"]);
    expect(kinds(5_000)).toEqual([]);
    expect(examination.evidence).toBeNull();
  });

  it("sends a segment of its own where pings are answered and TCP is not", () => {
    const examination = new Examination(4, 1450);
    const sent = run(examination, ({ kind }) => kind !== "tcp");
    expect(sent.filter((kind) => kind === "tcp")).toHaveLength(7 + 4);
    expect(sent.filter((kind) => kind === "syn")).toHaveLength(4);
    expect(examination.evidence).toMatchObject({ tcp: SILENT, syn: ANSWERED });
  });

  it("tells loss from a limit of size", () => {
    const examination = new Examination(4, 1450);
    run(examination, ({ kind }, attempt) => (kind === "small" ? attempt % 2 === 1 : kind !== "full"));
    expect(examination.evidence).toMatchObject({ small: ANSWERED, full: SILENT, isLossy: true });
  });

  it("trusts no segment of its own of which one is lost", () => {
    const examination = new Examination(4, 1450);
    run(examination, ({ kind }, attempt) => kind !== "tcp" && !(kind === "syn" && attempt === 2));
    expect(examination.evidence).toMatchObject({ tcp: SILENT, syn: SILENT });
  });

  it("tries more often where a packet of another kind is lost, and finds the limit of size", () => {
    const examination = new Examination(4, 1450);
    const sent = run(examination, (probe, attempt) =>
      probe.kind === "small"
        ? attempt !== 3
        : probe.kind === "size"
          ? probe.bytes < 1400
          : probe.kind !== "full",
    );
    expect(sent.filter((kind) => kind === "full")).toHaveLength(12);
    expect(examination.evidence).toMatchObject({ full: SILENT, isLossy: false });
  });

  it("sends each kind first in every other wave: what limits packets takes the last", () => {
    const examination = new Examination(4, 1450);
    const sent = run(examination, ({ kind }) => kind === "small" || kind === "outer");
    expect(sent.slice(0, 4)).toEqual(["small", "full", "outer", "tcp"]);
    expect(sent.slice(4, 7)).toEqual(["tcp", "full", "small"]);
  });

  it("shows silence after two attempts, and where loss is known after four", () => {
    const lossy = new Examination(4, 1450, { isLossy: true });
    expect(run(lossy, ({ kind }) => kind === "outer")).toHaveLength(13);

    const examination = new Examination(6, 1430);
    expect(run(examination, ({ kind }) => kind === "outer")).toHaveLength(7);
    expect(examination.evidence).toMatchObject({ small: SILENT, full: SILENT, tcp: SILENT, outer: ANSWERED });
  });

  it.each([
    [4, 1450, 1322],
    [4, 1450, 600],
    [6, 1430, 1300],
  ] as const)("finds what passes: IPv%i, %i bytes wanted, %i pass", (family, mtuBytes, passing) => {
    const examination = new Examination(family, mtuBytes);
    run(examination, (probe) => {
      if (probe.kind === "size") return probe.bytes <= passing;
      return probe.kind !== "full";
    });
    const found = examination.evidence?.passesBytes ?? 0;
    expect(found).toBeLessThanOrEqual(passing);
    expect(found).toBeGreaterThan(passing - 9);
  });

  it("gives the search up when not even the least size passes", () => {
    const examination = new Examination(4, 1450);
    run(examination, ({ kind }) => kind === "small" || kind === "outer");
    expect(examination.evidence?.passesBytes).toBeNull();
  });
});
