/**
 * Runs another plugin for a part of the work (SPEC.md 1.1.0, section 4): found in CNI_PATH, given the environment
 * of this call and a configuration on stdin. Its stderr goes through to ours.
 */

import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { join } from "node:path";
import { isJsonObject, type JsonObject } from "../../ipam/json.ts";
import type { Call, Verb } from "../protocol/call.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";

const LARGEST_ANSWER_BYTES = 64 << 20;

/** What of a call another plugin gets to see as its environment. */
export type InvokedCall = Pick<
  Call,
  "containerId" | "netnsPath" | "interfaceName" | "args" | "pluginDirs" | "environment"
>;

/** Runs a plugin and returns its result, null when it printed none. Throws its error as a CniError. */
export function invokePlugin(verb: Verb, type: string, config: JsonObject, call: InvokedCall): unknown {
  const program = findPlugin(type, call.pluginDirs);
  const { error, status, signal, stdout } = spawnSync(program, [], {
    input: JSON.stringify(config),
    encoding: "utf8",
    env: { ...withoutLoader(call.environment), ...variablesOf(verb, call) },
    stdio: ["pipe", "pipe", "inherit"],
    maxBuffer: LARGEST_ANSWER_BYTES,
  });
  if (error !== undefined && status === null) {
    throw new CniError(CNI_CODES.ioFailure, `plugin ${program} cannot be run: ${error.message}`, "", {
      cause: error,
    });
  }
  const answer = parseAnswer(stdout);
  if (status === 0) return answer;
  throw failureOf(type, answer, signal === null ? `exit code ${status}` : signal);
}

/** Nothing by which the dynamic linker loads foreign code into the other plugin (ld.so(8)). */
function withoutLoader(environment: InvokedCall["environment"]): InvokedCall["environment"] {
  const isLoaders = (name: string): boolean => /^(LD_|GCONV_PATH$|GLIBC_TUNABLES$)/.test(name);
  return Object.fromEntries(Object.entries(environment).filter(([name]) => !isLoaders(name)));
}

function variablesOf(verb: Verb, call: InvokedCall): Record<string, string> {
  return {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: call.containerId,
    CNI_NETNS: call.netnsPath,
    CNI_IFNAME: call.interfaceName,
    CNI_ARGS: call.args,
    CNI_PATH: call.pluginDirs.join(":"),
  };
}

function findPlugin(type: string, dirs: readonly string[]): string {
  const found = type.includes("/") ? undefined : dirs.map((dir) => join(dir, type)).find(isFile);
  if (found !== undefined) return found;
  throw new CniError(
    CNI_CODES.invalidConfig,
    `plugin "${type}" is not in CNI_PATH (${dirs.join(":")}); install it or correct "type"`,
  );
}

function isFile(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

function parseAnswer(text: string): unknown {
  if (text.trim() === "") return null;
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}

/** The delegate's own words and number where it gave them. */
function failureOf(type: string, answer: unknown, exit: string): CniError {
  if (!isJsonObject(answer)) {
    return new CniError(CNI_CODES.internal, `plugin ${type} failed with ${exit}`, String(answer ?? ""));
  }
  const { code, msg, details } = answer;
  return new CniError(
    typeof code === "number" && code > 0 ? code : CNI_CODES.internal,
    `plugin ${type}: ${String(msg ?? exit)}`,
    typeof details === "string" ? details : "",
  );
}
