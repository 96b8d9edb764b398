/** Compiles path-cost.c and asks it what a packet's way through an overlay costs. Needs a C compiler. */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import type { Overlay } from "./overlays.ts";

/** In the checkout, where the benchmarks are started. */
const SOURCE = "test/bench/support/path-cost.c";

/** The lower quartile of many, because only that is free of interruptions. */
export interface PathCost {
  /** A datagram of 64 bytes. */
  readonly datagramNs: number;
  /** 1 MB over TCP. */
  readonly streamNs: number;
}

export class PathMeter {
  readonly #folder = mkdtempSync(join(tmpdir(), "tulle-path-"));
  readonly #program = join(this.#folder, "path-cost");

  constructor() {
    execFileSync("cc", ["-O2", "-o", this.#program, join(process.cwd(), SOURCE)]);
  }

  /** Measures all overlays in turns: `rounds` transfers each, and ten times as many datagrams. */
  measure(rounds: number, overlays: readonly Overlay[]): readonly PathCost[] {
    const pairs = overlays.flatMap(({ from, to }) => [from.netns.path, to.netns.path, to.address]);
    const output = execFileSync(this.#program, [String(rounds), ...pairs], { encoding: "utf8" });
    const lines = output.trim().split("\n");
    return lines.map((line) => {
      const [datagramNs = Number.NaN, streamNs = Number.NaN] = line.split(" ").map(Number);
      return { datagramNs, streamNs };
    });
  }

  dispose(): void {
    rmSync(this.#folder, { recursive: true });
  }
}
