/** The versions of the CNI specification and what each allows. No I/O. */

import { CNI_CODES, CniError } from "./errors.ts";

export const SUPPORTED_VERSIONS = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] as const;

export type CniVersion = (typeof SUPPORTED_VERSIONS)[number];

/** The newest one, which the plugin uses internally. */
export const CURRENT_VERSION: CniVersion = "1.1.0";

/** What a configuration without `cniVersion` means. */
const IMPLIED_VERSION: CniVersion = "0.1.0";

/** Validates `cniVersion` of a configuration. Throws CniError 6 for a value that is not text and 1 for an unknown version. */
export function parseVersion(value: unknown): CniVersion {
  if (value === undefined || value === null || value === "") return IMPLIED_VERSION;
  if (typeof value !== "string") throw noVersion(value);
  const known = SUPPORTED_VERSIONS.find((version) => version === value);
  if (known !== undefined) return known;
  throw new CniError(
    CNI_CODES.incompatibleVersion,
    "incompatible CNI versions",
    `config is "${value}", plugin supports ${JSON.stringify(SUPPORTED_VERSIONS)}`,
  );
}

/** Rejects text that does not have the form of a version, where versions are compared. Throws CniError 6. */
export function requireVersionForm(value: unknown): void {
  if (typeof value === "string" && value !== "" && !/^\d+(\.\d+){0,2}$/.test(value)) throw noVersion(value);
}

function noVersion(value: unknown): CniError {
  return new CniError(
    CNI_CODES.decodingFailure,
    `cniVersion ${JSON.stringify(value)} is not a version; write it as "1.0.0"`,
  );
}

/** True when `version` is `minimum` or newer. */
export function isAtLeast(version: CniVersion, minimum: CniVersion): boolean {
  return SUPPORTED_VERSIONS.indexOf(version) >= SUPPORTED_VERSIONS.indexOf(minimum);
}
