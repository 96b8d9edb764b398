/**
 * Asks ping(8) whether packets arrive. It counts by sequence number, so that a report can name what was lost.
 *
 * Needs iputils' ping; other implementations print other lines.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import type { Namespace } from "../../agent/demo/namespace.ts";
import { hasCode } from "../../ipam/errors.ts";

export interface PingReport {
  /** Sequence numbers that were sent and whose answers should have arrived. */
  readonly sent: number;
  /** Those of them that never came back. */
  readonly lost: readonly number[];
  /** Round-trip times of the answers, in milliseconds. */
  readonly roundTripMs: readonly number[];
}

export interface PingOptions {
  /** Time between two packets. Default 10 ms, that is 100 packets each second. */
  readonly intervalMs?: number;
  /** Bytes of payload; the packet is 28 bytes longer. Never fragmented. */
  readonly payloadBytes?: number;
  /** Source address or interface. */
  readonly from?: string;
}

export interface CountedPingOptions extends PingOptions {
  /** Send no packet more than `count`, for tests that count them. */
  readonly isExact?: boolean;
}

/**
 * Fewer packets, 10 ms apart, do not prove that a ping ran through a restart: a daemon is ready again after about 50 ms.
 */
export const MIN_PACKETS = 5;

/** A ping that runs until it is told to stop. */
export interface RunningPing {
  /** Ends it and tells what became of the packets. */
  stop(): Promise<PingReport>;
}

/** In the emulated guest a packet takes long. */
const COUNTED_INTERVAL_MS = process.env.TULLE_GUEST ? 200 : 10;

/**
 * How long the last answer may take. ping itself waits for two round trips only, but at least the time between two packets,
 * once one answer has come (__schedule_exit in iputils): so it sends further packets meanwhile.
 */
const LAST_ANSWER_MS = 1_000;

/** Sends `count` packets, and some more while the last answers are awaited, for at most a second. */
export async function ping(
  source: Namespace,
  target: string,
  count: number,
  { intervalMs = COUNTED_INTERVAL_MS, isExact = false, ...options }: CountedPingOptions = {},
): Promise<PingReport> {
  const most = isExact ? count : count + Math.ceil(LAST_ANSWER_MS / intervalMs);
  const end = ["-c", `${most}`, "-W", isExact ? "1" : "0.1"];
  const { child, output, ended } = spawnPing(source, target, end, { ...options, intervalMs });
  child.stdout?.on("data", () => {
    if (readReport(output(), count).lost.length === 0) child.kill("SIGINT");
  });
  await ended;
  return readReport(output(), count);
}

/** Starts a ping without an end. */
export function startPing(source: Namespace, target: string, options: PingOptions = {}): RunningPing {
  const { child, output, ended } = spawnPing(source, target, [], options);
  return {
    stop: async () => {
      while (!isEnded(child) && !catchesInterrupt(child)) await pause(1);
      const count = await sentSoFar(child, output);
      const lastMs = performance.now() + LAST_ANSWER_MS;
      const isOpen = (): boolean => readReport(output(), count).lost.length > 0;
      while (!isEnded(child) && isOpen() && performance.now() < lastMs) await pause(1);
      child.kill("SIGINT");
      await ended;
      return readReport(output(), count);
    },
  };
}

/** ping(8) prints how many packets it has sent when it gets SIGQUIT, and goes on. 0 for one that has ended. */
async function sentSoFar(child: ChildProcess, output: () => string): Promise<number> {
  const before = output().length;
  child.kill("SIGQUIT");
  while (!isEnded(child)) {
    const [, sent] = /\d+\/(\d+) packets/.exec(output().slice(before)) ?? [];
    if (sent !== undefined) return Number(sent);
    await pause(1);
  }
  return 0;
}

/** proc_pid_status(5): before it does, the signal would end it without a report. */
function catchesInterrupt({ pid }: ChildProcess): boolean {
  try {
    const [, caught = "0"] = /^SigCgt:\s*(\S+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    return (BigInt(`0x${caught}`) & (1n << BigInt(constants.signals.SIGINT - 1))) !== 0n;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}

function isEnded({ exitCode, signalCode, pid }: ChildProcess): boolean {
  return pid === undefined || exitCode !== null || signalCode !== null;
}

interface PingProcess {
  readonly child: ChildProcess;
  readonly output: () => string;
  readonly ended: Promise<void>;
}

function spawnPing(
  source: Namespace,
  target: string,
  more: readonly string[],
  { intervalMs = 10, payloadBytes, from }: PingOptions,
): PingProcess {
  const size = payloadBytes === undefined ? [] : ["-M", "do", "-s", `${payloadBytes}`];
  const origin = from === undefined ? [] : ["-I", from];
  const args = ["-n", "-i", `${intervalMs / 1000}`, ...size, ...origin, ...more, target];
  const child = spawn("nsenter", [`--net=${source.path}`, "ping", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", LC_ALL: "C" },
  });
  let text = "";
  const keep = (chunk: Buffer): void => {
    text += chunk.toString();
  };
  child.stdout.on("data", keep);
  child.stderr.on("data", keep);
  const ended = new Promise<void>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      // 1 means that answers are missing, which is a result; 2 that it could not even try.
      if (code === 2 || !/packets transmitted/.test(text))
        reject(new Error(`ping ${target}: ${text.trim()}`));
      else resolve();
    });
  });
  // A ping that fails before its result is awaited must not end the process.
  ended.catch(() => undefined);
  return { child, output: () => text, ended };
}

function readReport(text: string, sent: number): PingReport {
  const answers = new Map<number, number>();
  for (const [, sequence, time] of text.matchAll(/bytes from .* icmp_seq=(\d+) .*time=([\d.]+) ms/g)) {
    if (Number(sequence) <= sent && !answers.has(Number(sequence)))
      answers.set(Number(sequence), Number(time));
  }
  const all = Array.from({ length: sent }, (_, index) => index + 1);
  return { sent, lost: all.filter((sequence) => !answers.has(sequence)), roundTripMs: [...answers.values()] };
}
