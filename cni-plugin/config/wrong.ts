/** The error for a value of the configuration. No I/O. */

import type { JsonValue } from "../../ipam/json.ts";
import { CNI_CODES, CniError } from "../protocol/errors.ts";

/** A CniError 7 that names the key, the value and the remedy. */
export function wrong(key: string, value: JsonValue | undefined, remedy: string): CniError {
  return new CniError(CNI_CODES.invalidConfig, `${key}: ${JSON.stringify(value)} is wrong; ${remedy}`);
}
