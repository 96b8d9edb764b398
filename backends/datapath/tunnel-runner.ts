/**
 * The daemon's side of the data path: starts its thread, tells it the peers, and starts it again should it end.
 */

import { closeSync, writeSync } from "node:fs";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";
import { entriesOf, type Family, mapFamilies } from "../../ipam/addresses/ip.ts";
import { Backoff, pause } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import type { Lease, LeaseKey } from "../../ipam/leases/lease.ts";
import { FailureSeries } from "../../ipam/log.ts";
import type { BackendRunner, PathTraffic, RunnerDeps, RunnerTarget } from "../backend.ts";
import { check } from "../netlink/errors.ts";
import * as libc from "../netlink/libc.ts";
import { Counters, type Counts, trafficOf } from "./counters.ts";
import { KeptFiles } from "./kept-files.ts";
import type { FromPath, Listener, PathFile, PathSettings, PeerText, ToPath } from "./messages.ts";
import { fileNames } from "./path-files.ts";
import { PathProbes } from "./path-probes.ts";

/** sys/eventfd.h */
const EFD_CLOEXEC = 0o2000000;

/** The thread has few objects: what it moves lies in its arena. */
const RESOURCE_LIMITS = { maxOldGenerationSizeMb: 64, maxYoungGenerationSizeMb: 4 };

export interface TunnelOptions {
  readonly device: string;
  readonly listeners: readonly Listener[];
  /** Destination port of all peers. */
  readonly port: number;
  /** The thread's program. */
  readonly program: URL;
  /** File of the network namespace; null for the process's own. */
  readonly netns?: string | null;
}

/** One start of the thread. */
interface Thread {
  readonly worker: Worker;
  readonly port: MessagePort;
}

/**
 * The peers that it follows may be some of a network's: packets for others must have routes to other devices, and only
 * the followed peers' datagrams are accepted. It needs the device; it plans neither device nor routes.
 */
export class TunnelRunner implements BackendRunner {
  readonly #options: TunnelOptions;
  readonly #deps: RunnerDeps;
  readonly #wakeFd: number;
  readonly #counters = new Counters();
  readonly #probes = new PathProbes();
  readonly #files: KeptFiles;
  /** What the thread has open. */
  #open: readonly PathFile[] = [];
  readonly #failures: FailureSeries;
  readonly #backoff: Backoff;
  readonly #stopped = new AbortController();
  readonly #finished: Promise<void>;
  #thread: Thread | null = null;
  #target: RunnerTarget | null = null;
  /** What the running thread has been told. */
  #told: ReadonlyMap<LeaseKey, Lease> = new Map();
  #problem: string | null = "the data path is starting";

  /** Throws NetlinkError when the process has no descriptors left. */
  constructor(options: TunnelOptions, deps: RunnerDeps) {
    this.#options = options;
    this.#deps = deps;
    this.#files = new KeptFiles(deps.descriptors, fileNames(options.device, options.listeners));
    this.#wakeFd = check("eventfd", libc.eventfd(EFD_CLOEXEC));
    this.#failures = new FailureSeries(deps.logger, "data path failed; retried", "data path runs again");
    this.#backoff = new Backoff({ baseMs: 100, maxMs: 10_000, random: deps.random });
    this.#finished = this.#keepRunning();
    process.once("exit", this.#endAtExit);
  }

  get problems(): readonly string[] {
    return this.#problem === null ? [] : [this.#problem];
  }

  /** What the data path has counted since it was started. */
  get counts(): Counts {
    return this.#counters.read();
  }

  get traffic(): PathTraffic {
    return trafficOf(this.counts);
  }

  follow(target: RunnerTarget): void {
    this.#target = target;
    this.#tellTarget();
  }

  probe(key: LeaseKey, family: Family, packetBytes: number, onAnswer: () => void): void {
    const address = this.#told.get(key)?.attrs.publicAddress[family];
    if (address === undefined) return;
    const nonce = this.#probes.add(String(address), onAnswer);
    this.#post({ type: "probe", id: idOf(key)([family]), nonce, bytes: packetBytes });
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#post({ type: "stop" });
    await this.#finished;
    process.removeListener("exit", this.#endAtExit);
    closeSync(this.#wakeFd);
    this.#deps.logger.debug("data path ended", this.counts);
  }

  /** The process waits for its threads, and this one waits for packets. */
  readonly #endAtExit = (): void => this.#post({ type: "stop" });

  async #keepRunning(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      const reason = await this.#runThread();
      if (signal.aborted) return;
      this.#note(`the data path's thread ended: ${reason}; it is started again`);
      await pause(this.#deps.clock, this.#backoff.nextMs(), signal);
    }
  }

  /** Resolves with the reason when the thread has ended. */
  #runThread(): Promise<string> {
    const { device, listeners, program, netns = null } = this.#options;
    const { port1: port, port2 } = new MessageChannel();
    const settings: PathSettings = {
      device,
      listeners,
      port: port2,
      wakeFd: this.#wakeFd,
      counters: this.#counters.shared,
      kept: this.#files.takeReceived(),
      netns,
    };
    return new Promise((resolve) => {
      const worker = new Worker(program, {
        workerData: settings,
        transferList: [port2],
        resourceLimits: RESOURCE_LIMITS,
        name: "tulle-path",
      });
      let reason = "it returned";
      worker.once("error", (error) => {
        reason = errorMessage(error);
      });
      worker.once("exit", (code) => {
        this.#thread = null;
        if (code !== 0) this.#closeLeft(port);
        this.#noteFiles([]);
        port.close();
        resolve(reason);
      });
      port.on("message", (message: FromPath) => this.#take(message));
      this.#thread = { worker, port };
      this.#told = new Map();
      this.#tellTarget();
    });
  }

  #take(message: FromPath): void {
    if (message.type === "problem") this.#note(message.problem);
    else if (message.type === "files") this.#noteFiles(message.files);
    else this.#probes.answered(message);
  }

  #noteFiles(files: readonly PathFile[]): void {
    this.#open = files;
    this.#files.changed(files);
  }

  /**
   * A thread that ended for want of memory has closed nothing, and the next one would find its own device in use. What
   * it said last is still in the port.
   */
  #closeLeft(port: MessagePort): void {
    for (;;) {
      const received = receiveMessageOnPort(port);
      if (received === undefined) break;
      const message = received.message as FromPath;
      if (message.type === "files") this.#open = message.files;
    }
    for (const { fd } of this.#open) libc.close(fd);
  }

  #note(problem: string | null): void {
    if (this.#stopped.signal.aborted) return;
    this.#problem = problem;
    if (problem === null) {
      this.#backoff.reset();
      this.#failures.succeeded();
    } else this.#failures.failed(new Error(problem));
    this.#deps.onChange();
  }

  /** Sends what differs from what the thread knows: a lease that did not change is the same object. */
  #tellTarget(): void {
    const target = this.#target;
    if (target === null || this.#thread === null) return;
    const set: [string, PeerText][] = [];
    const deleted: string[] = [];
    for (const [key, lease] of this.#told) {
      if (target.peers.get(key) !== lease) deleted.push(...entriesOf(lease.subnets).map(idOf(key)));
    }
    for (const [key, lease] of target.peers) {
      if (this.#told.get(key) !== lease) set.push(...this.#peersOf(key, lease));
    }
    this.#told = target.peers;
    this.#post({ type: "follow", own: mapFamilies(target.own, String), set, deleted });
  }

  /** One for each family: the packets of a family travel in datagrams of the same family. */
  #peersOf(key: LeaseKey, { subnets, attrs }: Lease): [string, PeerText][] {
    return entriesOf(subnets).flatMap(([family, subnet]): [string, PeerText][] => {
      const address = attrs.publicAddress[family];
      if (address === undefined) return [];
      const peer = {
        subnets: { [family]: String(subnet) },
        address: String(address),
        port: this.#options.port,
        isFast: attrs.nodeId !== null,
      };
      return [[idOf(key)([family]), peer]];
    });
  }

  #post(message: ToPath): void {
    if (this.#thread === null) return;
    this.#thread.port.postMessage(message);
    const one = Buffer.alloc(8);
    one.writeUInt8(1);
    writeSync(this.#wakeFd, one);
  }
}

function idOf(key: LeaseKey): (entry: readonly [Family, ...unknown[]]) => string {
  return ([family]) => `${key} ${family}`;
}
