/** host-local's `resolvConf`: the DNS part of the answer comes from a file in resolv.conf(5)'s form. */

import { readRequiredFile } from "../../ipam/files/read.ts";
import type { JsonObject } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";

/** Reads the file. Throws CniError 5 when it cannot be read. */
export function readResolvConf(file: string): JsonObject {
  try {
    return parseResolvConf(readRequiredFile(file));
  } catch (cause) {
    throw new CniError(CNI_CODES.ioFailure, `ipam.resolvConf: ${file} cannot be read`, String(cause), {
      cause,
    });
  }
}

/** Of several `domain` or `search` lines the last one counts, as in the resolver. */
export function parseResolvConf(text: string): JsonObject {
  const lines = text
    .split("\n")
    .filter((line) => !/^\s*[#;]/.test(line))
    .map((line) => line.trim().split(/\s+/));
  const valuesOf = (key: string) => lines.filter(([word]) => word === key).map(([, ...values]) => values);
  const nameservers = valuesOf("nameserver").flatMap(([server]) => server ?? []);
  const domain = valuesOf("domain").at(-1)?.[0];
  const search = valuesOf("search").at(-1) ?? [];
  const options = valuesOf("options").flat();
  return {
    ...(nameservers.length > 0 && { nameservers }),
    ...(domain !== undefined && { domain }),
    ...(search.length > 0 && { search }),
    ...(options.length > 0 && { options }),
  };
}
