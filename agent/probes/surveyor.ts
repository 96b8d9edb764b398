/** The sockets of a program that measures paths on its own, from this host's namespace or from a container's. */

import { NetlinkConnection } from "../../backends/netlink/connection.ts";
import { type NetnsHandle, withNetns } from "../../backends/netlink/netns.ts";
import type { Clock } from "../../ipam/clock.ts";
import { DEAF } from "./echo-line.ts";
import { type EchoLines, openEchoLines } from "./echo-lines.ts";
import { FactsReader } from "./local-facts.ts";
import type { ProbeTarget } from "./probe.ts";
import { type PathMeasure, Survey, type SurveyOptions } from "./survey.ts";
import { probeSyn } from "./syn-probe.ts";
import type { TargetList } from "./target-list.ts";
import { probeTcp } from "./tcp-probe.ts";

const EXPIRE_MS = 20;

export interface SurveyorOptions {
  readonly clock: Clock;
  readonly network: Omit<TargetList, "targets" | "hostNames">;
  /** Small echo requests to each target. */
  readonly count: number;
  /** Called when one of `all` targets is through. */
  readonly onProgress: (done: number, all: number) => void;
}

export class Surveyor {
  readonly #options: SurveyorOptions;
  readonly #netlink = NetlinkConnection.open();
  readonly #facts: FactsReader;
  readonly #host: EchoLines;
  readonly #expiry: ReturnType<typeof setInterval>;
  readonly #opened: EchoLines[];

  /** Throws TULLE_PREREQUISITE without CAP_NET_RAW. */
  constructor(options: SurveyorOptions) {
    const { devices, interfaces, sources, subnets, membershipProblem } = options.network;
    this.#options = options;
    this.#facts = new FactsReader({
      netlink: this.#netlink,
      now: this.#now,
      devices: () => devices,
      interfaces: () => interfaces,
      sources: () => sources,
      ownSubnets: () => subnets,
      membershipProblem: () => membershipProblem,
    });
    this.#host = openEchoLines(this.#now, { ...DEAF, notice: (notice) => this.#facts.notice(notice) });
    this.#opened = [this.#host];
    this.#expiry = setInterval(() => {
      for (const echo of this.#opened) echo.expire();
    }, EXPIRE_MS);
  }

  /** Paths from this host. */
  fromHost(targets: readonly ProbeTarget[], signal: AbortSignal): Promise<readonly PathMeasure[]> {
    const now = this.#now;
    return this.#survey(targets, {
      histories: this.#options.network.histories,
      lines: this.#host.lines,
      probeTcp: (target, settle) => probeTcp(target, now, settle),
      probeSyn: (target, settle) => probeSyn(target, now, settle),
      signal,
    });
  }

  /** Paths from a container. */
  async fromContainer(
    netns: NetnsHandle,
    targets: readonly ProbeTarget[],
    signal: AbortSignal,
  ): Promise<readonly PathMeasure[]> {
    const now = this.#now;
    const echo = withNetns(netns, () => openEchoLines(now, DEAF));
    this.#opened.push(echo);
    return await this.#survey(targets, {
      // Of containers' addresses nothing is known from before.
      histories: {},
      lines: echo.lines,
      probeTcp: (target, settle) => withNetns(netns, () => probeTcp(target, now, settle)),
      probeSyn: (target, settle) => withNetns(netns, () => probeSyn(target, now, settle)),
      signal,
    });
  }

  /** Call it once. */
  close(): void {
    clearInterval(this.#expiry);
    for (const echo of this.#opened) echo.close();
    this.#facts.close();
    this.#netlink.close();
  }

  readonly #now = (): number => this.#options.clock.monotonicMs();

  #survey(
    targets: readonly ProbeTarget[],
    {
      signal,
      ...rest
    }: Pick<SurveyOptions, "histories" | "lines" | "probeTcp" | "probeSyn"> & {
      readonly signal: AbortSignal;
    },
  ): Promise<readonly PathMeasure[]> {
    const { clock, count, onProgress } = this.#options;
    const survey = new Survey({
      ...{ clock, count, ...rest },
      outerLines: this.#host.lines,
      inspect: (target) => this.#facts.inspect(target),
      onProgress: (done) => onProgress(done, targets.length),
    });
    return survey.run(targets, signal);
  }
}
