/**
 * The store for a command: opened with tulled's flags, used with a deadline, always closed.
 *
 * A command must not hang: a store that does not answer in time is an error that names it.
 */

import { systemClock } from "../../ipam/clock.ts";
import { StoreError, TulleError } from "../../ipam/errors.ts";
import { type HostNames, readProfiles } from "../../ipam/hosts/host-directory.ts";
import type { LogFields, Logger } from "../../ipam/log.ts";
import type { NetworkStore, StoreListing } from "../../ipam/stores/contracts.ts";
import type { StoreSettings } from "../config/config.ts";
import { FLAG_NAMES, type FlagName, flagOf } from "../config/flags.ts";
import { openConfiguredStore } from "../network/open-store.ts";
import { fieldWords } from "../report/log-line.ts";
import type { CommandContext } from "./command.ts";
import type { Terminal } from "./terminal.ts";

/** The flags that locate the leases. */
export const STORE_FLAGS: readonly FlagName[] = FLAG_NAMES.filter(
  (name) => name === "config" || ["Lease store", "etcd", "Consul"].includes(flagOf(name).group),
);

/** For all of a command's work; a store that needs seconds for each message still serves. */
const ANSWER_WITHIN_MS = 60_000;

/** For the first answer of the store. */
const PATIENCE_MS = 15_000;

export interface OpenNetwork {
  readonly store: NetworkStore;
  /** A name or address that packets to the store go to; null for local files. */
  readonly remoteHost: string | null;
  /** Names and addresses of all its servers. */
  readonly remoteHosts: readonly string[];
  /** Fires when the store takes too long, or the person interrupts. */
  readonly signal: AbortSignal;
}

/**
 * Opens the store, does the work and closes the store. Throws what the work throws, and TULLE_STORE_UNREACHABLE
 * when it takes too long.
 */
export async function withNetwork<T>(
  context: CommandContext,
  work: (network: OpenNetwork) => Promise<T>,
  withinMs = ANSWER_WITHIN_MS,
): Promise<T> {
  const { store: settings } = await context.config();
  const { random, dateMs, err } = context;
  const connection = await openConfiguredStore(settings, {
    log: warningsTo(err),
    clock: systemClock,
    random,
    dateMs,
    patienceMs: PATIENCE_MS,
  });
  const late = new AbortController();
  const timer = setTimeout(() => late.abort(noAnswer(connection.description, withinMs)), withinMs);
  try {
    const store = connection.network(settings.prefix);
    const { remoteHost, remoteHosts } = connection;
    return await work({
      store,
      remoteHost,
      remoteHosts,
      signal: AbortSignal.any([context.signal, late.signal]),
    });
  } catch (error) {
    throw withFlagHint(error, settings);
  } finally {
    clearTimeout(timer);
    await connection.close();
  }
}

/** All leases, and what their hosts say of themselves. Throws StoreError. */
export async function readNamed({ store, signal }: OpenNetwork): Promise<{
  readonly listing: StoreListing;
  readonly hosts: HostNames;
}> {
  const [listing, hosts] = await Promise.all([store.feed.list(signal), readProfiles(store.records, signal)]);
  return { listing, hosts };
}

/** A command without the flags of tulled asks the default servers, which need not exist. */
function withFlagHint(error: unknown, settings: StoreSettings): unknown {
  if (!(error instanceof StoreError && error.code === "TULLE_STORE_UNREACHABLE")) return error;
  const flag = defaultServersOf(settings);
  if (flag === null) return error;
  return new StoreError(`${error.message}; these servers are the default: give -${flag} as for tulled`, {
    ...{ code: error.code, retryable: error.retryable, details: error.details, cause: error },
  });
}

/** The flag whose default names the servers; null where they are others. */
function defaultServersOf(settings: StoreSettings): FlagName | null {
  if (settings.kind === "file") return null;
  const [flag, servers] =
    settings.kind === "etcd"
      ? (["etcd-endpoints", settings.endpoints] as const)
      : (["consul-address", settings.addresses] as const);
  return servers.join(",") === flagOf(flag).default ? flag : null;
}

function noAnswer(description: string, withinMs: number): TulleError {
  return new TulleError(
    "TULLE_STORE_UNREACHABLE",
    `${description} did not answer within ${withinMs / 1000} s; check --store and its flags, the network and the server`,
    { retryable: true },
  );
}

/** Of what a daemon would log, a command shows warnings and errors. */
function warningsTo(err: Terminal): Logger {
  const say = (message: string, fields: LogFields = {}): void => {
    err.line(`tulle: ${[message, ...fieldWords(fields)].join(" ")}`);
  };
  return { debug() {}, info() {}, warn: say, error: say };
}
