/**
 * Runs the commands of the extension backend as the peers come and go.
 *
 * The commands follow what is wanted, not events: after a start SubnetAdd runs for every peer again, and SubnetRemove for
 * those that left meanwhile, which the record in the state directory names. Commands for one subnet run one after the
 * other; those for different subnets at once, a few at a time. PostStartup comes before all of them.
 */

import { setMaxListeners } from "node:events";
import { join } from "node:path";
import type { Address, PerFamily, Prefix } from "../../ipam/addresses/ip.ts";
import { Backoff, pause } from "../../ipam/clock.ts";
import { errorMessage } from "../../ipam/errors.ts";
import { readOwnFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import type { LeaseKey } from "../../ipam/leases/lease.ts";
import type { BackendRunner, RunnerDeps, RunnerTarget } from "../backend.ts";
import { runCommand } from "./command.ts";
import {
  formatCalls,
  ownEnvironment,
  type PeerCall,
  parseCalls,
  peerCall,
  sharesSubnet,
} from "./peer-call.ts";
import { Slots } from "./slots.ts";
import { SubnetTask } from "./subnet-task.ts";

/** As written in the network configuration; null for none. */
export interface ExtensionCommands {
  readonly PreStartupCommand: string | null;
  readonly PostStartupCommand: string | null;
  readonly SubnetAddCommand: string | null;
  readonly SubnetRemoveCommand: string | null;
}

export interface ExtensionFacts {
  readonly commands: ExtensionCommands;
  readonly networks: PerFamily<Prefix>;
  readonly publicAddresses: PerFamily<Address>;
  /** Name of the record in the state directory. */
  readonly recordName: string;
}

/** Commands at once. */
const AT_ONCE = 8;
const SHOWN_PROBLEMS = 3;
const TIMEOUT_MS = 60_000;
const OUTPUT_LIMIT = 4096;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 60_000;
/** What was removed may stay in the record for this long: SubnetRemoveCommand then runs again after a crash. */
const RECORD_DELAY_MS = 1_000;
/** In bytes: 16,384 peers whose leases hold 4 KiB each. */
const RECORD_LIMIT = 64 << 20;

export class ExtensionRunner implements BackendRunner {
  readonly #facts: ExtensionFacts;
  readonly #deps: RunnerDeps;
  readonly #end = new AbortController();
  readonly #slots = new Slots(AT_ONCE);
  readonly #tasks = new Map<LeaseKey, SubnetTask>();
  /** Keys of the tasks of peers that left. */
  readonly #leaving = new Set<LeaseKey>();
  /** Why the last command of a subnet failed. */
  readonly #failing = new Map<LeaseKey, string>();
  readonly #running = new Set<Promise<void>>();
  #own: PerFamily<Prefix> | null = null;
  #startup: Promise<void> = Promise.resolve();
  #startupProblem: string | null = null;
  #recordProblem: string | null = null;
  #recorded: string;
  #isRecordDue = false;
  #turn: Promise<void> = Promise.resolve();

  constructor(facts: ExtensionFacts, deps: RunnerDeps) {
    this.#facts = facts;
    this.#deps = deps;
    setMaxListeners(0, this.#end.signal); // every subnet listens
    this.#recorded = readOwnFile(this.#recordPath, RECORD_LIMIT) ?? formatCalls(new Map());
    const calls = parseCalls(this.#recorded);
    if (calls === null)
      deps.logger.warn("record of added subnets is damaged and ignored", { path: this.#recordPath });
    for (const [key, call] of calls ?? []) this.#tasks.set(key, this.#task(key, call));
  }

  get problems(): readonly string[] {
    const failed = [...this.#failing].map(([key, problem]) => `subnet ${key}: ${problem}`).sort();
    const more = failed.length - SHOWN_PROBLEMS;
    return [
      ...[this.#startupProblem, this.#recordProblem].filter((problem) => problem !== null),
      ...failed.slice(0, SHOWN_PROBLEMS),
      ...(more > 0 ? [`commands fail for ${more} more subnets; the log names them`] : []),
    ];
  }

  follow({ own, peers }: RunnerTarget): void {
    if (this.#own === null || Object.values(own).join() !== Object.values(this.#own).join()) {
      this.#own = own;
      this.#startup = this.#postStartup(own);
    }
    for (const [key, task] of this.#tasks) {
      if (peers.has(key)) continue;
      this.#leaving.add(key);
      task.want(null);
    }
    for (const [key, lease] of peers) {
      this.#leaving.delete(key);
      const task = this.#tasks.get(key) ?? this.#task(key, null);
      this.#tasks.set(key, task);
      task.want(peerCall(lease));
    }
    this.#turn = this.#turn.then(() => this.#work());
  }

  async stop(): Promise<void> {
    this.#end.abort();
    await this.#turn;
    await Promise.all(this.#running);
    await this.#record();
  }

  /** What SubnetAdd will be told is recorded before it is told. */
  async #work(): Promise<void> {
    await this.#startup;
    if (this.#end.signal.aborted) return;
    await this.#record();
    for (const task of this.#tasks.values()) {
      const run: Promise<void> = task.run().finally(() => this.#running.delete(run));
      this.#running.add(run);
    }
  }

  #task(key: LeaseKey, added: PeerCall | null): SubnetTask {
    const { clock, random } = this.#deps;
    const run = (name: "SubnetAddCommand" | "SubnetRemoveCommand") => (call: PeerCall) =>
      this.#slots.run(() => this.#command(name, call));
    return new SubnetTask(
      {
        clock,
        random,
        signal: this.#end.signal,
        add: run("SubnetAddCommand"),
        remove: run("SubnetRemoveCommand"),
        untilFree: (call) => this.#untilFree(call),
        onChange: () => this.#taskChanged(key),
      },
      added,
    );
  }

  /** A subnet gets another key when its host's families change, and another lease may follow in it. */
  async #untilFree(call: PeerCall): Promise<void> {
    const { signal } = this.#end;
    for (;;) {
      const removals = [...this.#leaving].flatMap((key) => {
        const { removal = null, toRecord = null } = this.#tasks.get(key) ?? {};
        return removal !== null && toRecord !== null && sharesSubnet(toRecord, call) ? [removal] : [];
      });
      if (removals.length === 0 || signal.aborted) return;
      await Promise.all(removals);
    }
  }

  /** Costs the same for any number of peers. */
  #taskChanged(key: LeaseKey): void {
    const { problem = null, isForgotten = true } = this.#tasks.get(key) ?? {};
    if (isForgotten) for (const keys of [this.#tasks, this.#leaving]) keys.delete(key);
    if (problem !== (this.#failing.get(key) ?? null)) {
      if (problem === null) this.#failing.delete(key);
      else this.#failing.set(key, problem);
      this.#deps.onChange();
    }
    if (this.#isRecordDue) return;
    this.#isRecordDue = true;
    const { clock } = this.#deps;
    void clock.sleep(RECORD_DELAY_MS, this.#end.signal).then(
      () => {
        this.#isRecordDue = false;
        this.#turn = this.#turn.then(() => this.#record());
      },
      () => undefined, // stop() writes it
    );
  }

  /** Retried until it succeeds or the subnets change. */
  async #postStartup(own: PerFamily<Prefix>): Promise<void> {
    const { clock, random, onChange } = this.#deps;
    const { networks, publicAddresses } = this.#facts;
    const environment = ownEnvironment(networks, own, publicAddresses);
    const backoff = new Backoff({ baseMs: RETRY_FIRST_MS, maxMs: RETRY_MAX_MS, random });
    while (!this.#end.signal.aborted && this.#own === own) {
      try {
        await this.#command("PostStartupCommand", { environment, input: "" });
        this.#startupProblem = null;
        onChange();
        return;
      } catch (error) {
        if (this.#end.signal.aborted) return;
        this.#startupProblem = errorMessage(error);
        onChange();
        await pause(clock, backoff.nextMs(), this.#end.signal);
      }
    }
  }

  /** Rejects with one sentence that names the command. */
  async #command(name: keyof ExtensionCommands, { environment, input }: PeerCall): Promise<void> {
    const command = this.#facts.commands[name];
    if (command === null) return;
    const { logger } = this.#deps;
    const { signal } = this.#end;
    const fields = { command: name, ...environment };
    try {
      const request = {
        command,
        environment,
        input: `${input}\n`, // as flannel does: read(1) of a shell fails at an end without it
        timeoutMs: TIMEOUT_MS,
        outputLimit: OUTPUT_LIMIT,
        signal,
      };
      const { stdout, isTruncated } = await runCommand(request);
      logger.info("command of the administrator has run", { ...fields, output: stdout.trim(), isTruncated });
    } catch (error) {
      const problem = `${name} of the network configuration: ${errorMessage(error)}; it is tried again`;
      if (!signal.aborted) logger.error("command of the administrator failed", { ...fields, problem });
      throw new Error(problem, { cause: error });
    }
  }

  async #record(): Promise<void> {
    const calls = new Map<LeaseKey, PeerCall>();
    for (const [key, { toRecord }] of this.#tasks) if (toRecord !== null) calls.set(key, toRecord);
    const text = formatCalls(calls);
    if (text === this.#recorded) return;
    try {
      await replaceFile(this.#recordPath, text, { mode: 0o600 });
      this.#recorded = text;
      this.#recordProblem = null;
    } catch (error) {
      this.#recordProblem = `${this.#recordPath} cannot be written, so SubnetRemove may not run after a restart: ${errorMessage(error)}`;
    }
    this.#deps.onChange();
  }

  get #recordPath(): string {
    return join(this.#deps.stateDir, this.#facts.recordName);
  }
}
