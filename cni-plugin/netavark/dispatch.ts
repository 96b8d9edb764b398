/**
 * One run of the netavark plugin: a verb, JSON on stdin, an answer on stdout; a failure is `{"error": …}` and exit code
 * 1 (netavark's plugin-API.md). All input and output is injected.
 */

import type { JsonObject } from "../../ipam/json.ts";
import manifest from "../../package.json" with { type: "json" };
import { asCniError, CNI_CODES, CniError, toCniError } from "../protocol/errors.ts";
import { createNetwork, driverOf } from "./drivers.ts";
import { helpText } from "./help.ts";
import { parseContainer, parseNetwork, parseObject } from "./request.ts";
import { VERBS, type VerbName } from "./usage.ts";

export interface PluginIo {
  /** The verb, for setup and teardown followed by the path of the container's namespace. */
  readonly arguments: readonly string[];
  /** All of stdin as text. */
  readonly readStdin: () => string;
  readonly writeStdout: (text: string) => void;
  /** Writes a line for people to stderr. */
  readonly warn: (text: string) => void;
  /** True when the path is the namespace that this process runs in. */
  readonly isOwnNetns: (path: string) => boolean;
}

/** A verb returns its answer, or null when it has none. */
type Verb = (io: PluginIo) => Promise<JsonObject | null>;

/** The version of the interface between netavark and plugins, the only one so far. */
const API_VERSION = "1.0.0";

const WORK: Readonly<Record<VerbName, Verb>> = {
  create: async (io) => createNetwork(parseNetwork(readInput(io))),
  setup: async (io) => {
    const netnsPath = namespaceIn(io);
    if (io.isOwnNetns(netnsPath)) {
      // The interface would appear on the host.
      throw new CniError(
        CNI_CODES.invalidNetns,
        `${netnsPath} is the host's own network namespace: give that of a container`,
      );
    }
    const container = parseContainer(readInput(io), netnsPath);
    return driverOf(container.network).setup(container, io.warn);
  },
  teardown: async (io) => {
    const path = namespaceIn(io);
    // The path may be that of a process whose number was used again: what the host holds is freed nevertheless.
    const container = parseContainer(readInput(io), io.isOwnNetns(path) ? "" : path);
    await driverOf(container.network).teardown(container, io.warn);
    return null;
  },
  info: async () => ({ version: manifest.version, api_version: API_VERSION }),
};

/** Serves one request and returns the exit code, 0 or 1. */
export async function dispatch(io: PluginIo): Promise<number> {
  if (["--help", "-h"].includes(io.arguments[0] ?? "")) {
    io.writeStdout(`${helpText()}\n`);
    return 0;
  }
  try {
    const answer = await WORK[verbIn(io)](io);
    if (answer !== null) io.writeStdout(`${JSON.stringify(answer)}\n`);
    return 0;
  } catch (error) {
    const { message, explanation } = toCniError(error);
    const text = explanation === "" ? message : `${message}; ${explanation}`;
    io.writeStdout(`${JSON.stringify({ error: text })}\n`);
    return 1;
  }
}

function verbIn({ arguments: [name] }: PluginIo): VerbName {
  if (name !== undefined && Object.hasOwn(VERBS, name)) return name as VerbName;
  const given = name === undefined ? "no verb is given" : `unknown verb ${JSON.stringify(name)}`;
  throw new CniError(
    CNI_CODES.badEnvironment,
    `${given}; podman and netavark call this plugin with ${Object.keys(VERBS).join(", ")}`,
  );
}

function namespaceIn({ arguments: [verb, path] }: PluginIo): string {
  if (path !== undefined && path !== "") return path;
  throw new CniError(
    CNI_CODES.badEnvironment,
    `${verb} needs the path of the container's network namespace as its second argument`,
  );
}

function readInput(io: PluginIo): JsonObject {
  const text = asCniError(CNI_CODES.ioFailure, "cannot read stdin", io.readStdin);
  return parseObject(text);
}
