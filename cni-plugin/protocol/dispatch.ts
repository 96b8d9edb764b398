/**
 * One run of the plugin: request in, verb, answer out. All input and output is injected.
 *
 * Only the result is written to stdout; messages go to stderr.
 */

import type { JsonObject } from "../../ipam/json.ts";
import { type Call, type Environment, parseCall, parseVerb, requireVerbAllowed, type Verb } from "./call.ts";
import { CNI_CODES, CniError, toCniError } from "./errors.ts";
import { type CniResult, formatResult } from "./result.ts";
import { type CniVersion, CURRENT_VERSION, SUPPORTED_VERSIONS } from "./version.ts";

export interface PluginIo {
  readonly environment: Environment;
  /** All of stdin as text. */
  readonly readStdin: () => string;
  readonly writeStdout: (text: string) => void;
  readonly writeStderr: (text: string) => void;
  /** True when the path is the namespace that this process runs in. */
  readonly isOwnNetns: (path: string) => boolean;
}

/** A verb returns a result, or null when the specification gives it none. */
export type VerbHandler = (call: Call) => Promise<CniResult | null>;
export type VerbTable = Readonly<Record<Exclude<Verb, "VERSION">, VerbHandler>>;

const ABOUT = "tulle-cni: attaches containers to the overlay network";

/** Serves one request and returns the exit code, 0 or 1. */
export async function dispatch(verbs: VerbTable, io: PluginIo): Promise<number> {
  if (!io.environment.CNI_COMMAND) {
    io.writeStderr(`${ABOUT}\nCNI protocol versions supported: ${SUPPORTED_VERSIONS.join(", ")}\n`);
    return 0;
  }
  let version: CniVersion = CURRENT_VERSION;
  const warn = (text: string) => io.writeStderr(`tulle-cni: ${text}\n`);
  try {
    const verb = parseVerb(io.environment);
    if (verb === "VERSION") {
      print(io, { cniVersion: CURRENT_VERSION, supportedVersions: SUPPORTED_VERSIONS });
      return 0;
    }
    const call = parseCall(verb, io.environment, readStdin(io), warn);
    version = call.version;
    requireVerbAllowed(call);
    const result = await runVerb(verbs[verb], call, io);
    if (result !== null) print(io, formatResult(result, version));
    return 0;
  } catch (error) {
    print(io, formatError(toCniError(error), version));
    return 1;
  }
}

function readStdin(io: PluginIo): string {
  try {
    return io.readStdin();
  } catch (cause) {
    throw new CniError(CNI_CODES.ioFailure, `error reading from stdin: ${toCniError(cause).message}`, "", {
      cause,
    });
  }
}

/**
 * A container that shares the host's namespace must not be attached: its interface would appear on the host. DEL frees
 * what the host holds nevertheless, because the path may be that of a process whose number was used again.
 */
async function runVerb(handler: VerbHandler, call: Call, io: PluginIo): Promise<CniResult | null> {
  if (call.netnsPath === "" || isOverridden(io) || !io.isOwnNetns(call.netnsPath)) return handler(call);
  if (call.verb === "DEL") await handler({ ...call, netnsPath: "" });
  throw new CniError(
    CNI_CODES.invalidNetns,
    "plugin's netns and netns from CNI_NETNS should not be the same",
    call.netnsPath,
  );
}

function isOverridden(io: PluginIo): boolean {
  return ["true", "1"].includes((io.environment.CNI_NETNS_OVERRIDE ?? "").toLowerCase());
}

function formatError(error: CniError, version: CniVersion): JsonObject {
  return {
    cniVersion: version,
    code: error.cniCode,
    msg: error.message,
    ...(error.explanation !== "" && { details: error.explanation }),
  };
}

function print(io: PluginIo, answer: JsonObject): void {
  io.writeStdout(`${JSON.stringify(answer)}\n`);
}
