/** A part of a signal: what fires it, and what it leaves behind. */

import { getEventListeners } from "node:events";
import { describe, expect, it } from "vitest";
import { partOf } from "../../../ipam/part-signal.ts";

describe("partOf", () => {
  it("fires with the whole, for the same reason", () => {
    const whole = new AbortController();
    const { signal } = partOf(whole.signal);
    expect(signal.aborted).toBe(false);
    whole.abort(new Error("enough"));
    expect(signal.reason).toEqual(new Error("enough"));
    expect(partOf(whole.signal).signal.reason).toBe(whole.signal.reason);
  });
  it("fires alone, without the whole, and leaves no listener in it", () => {
    const whole = new AbortController();
    const part = partOf(whole.signal);
    expect(getEventListeners(whole.signal, "abort")).toHaveLength(1);
    part.end();
    part.end();
    expect(part.signal.aborted).toBe(true);
    expect(whole.signal.aborted).toBe(false);
    expect(getEventListeners(whole.signal, "abort")).toEqual([]);
  });
});
