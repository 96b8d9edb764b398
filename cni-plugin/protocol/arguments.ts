/** CNI_ARGS, `KEY=VALUE;KEY=VALUE`: what the caller of the runtime passes on. No I/O. */

import { CNI_CODES, CniError } from "./errors.ts";

/** Keys of bridge and host-local; all others need IgnoreUnknown. */
export interface Arguments {
  /** Empty: none is asked for. */
  readonly ip: string;
  readonly mac: string;
}

const YES = ["1", "true"];
const NO = ["0", "false", ""];
const KNOWN = ["IP", "MAC", "IgnoreUnknown"];

/** Reads CNI_ARGS as libcni does (pkg/types/args.go). Throws CniError 4 that names the pair. */
export function parseArguments(text: string): Arguments {
  const pairs = text === "" ? [] : text.split(";").map(parsePair);
  const valueFor = (key: string) => pairs.findLast(([name]) => name === key)?.[1] ?? "";
  const ignoreUnknown = valueFor("IgnoreUnknown").toLowerCase();
  if (![...YES, ...NO].includes(ignoreUnknown)) {
    throw badArguments(`IgnoreUnknown is "${ignoreUnknown}"; give 1 or 0`);
  }
  const unknown = pairs.map(([name]) => name).filter((name) => !KNOWN.includes(name));
  if (unknown.length > 0 && !YES.includes(ignoreUnknown)) {
    throw badArguments(`unknown keys ${unknown.join(", ")}; leave them out or add IgnoreUnknown=1`);
  }
  return { ip: valueFor("IP"), mac: valueFor("MAC") };
}

function parsePair(text: string): readonly [string, string] {
  const [key = "", value, ...rest] = text.split("=");
  if (value === undefined || rest.length > 0) throw badArguments(`invalid pair "${text}"`);
  return [key, value];
}

function badArguments(reason: string): CniError {
  return new CniError(CNI_CODES.badEnvironment, `CNI_ARGS: ${reason}`);
}
