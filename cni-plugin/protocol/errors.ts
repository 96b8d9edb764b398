/** Failures as the CNI specification numbers them (SPEC.md 1.1.0, section 5 and "well-known error codes"). No I/O. */

import { type ErrorCode, type ErrorOptions, errorMessage, TulleError } from "../../ipam/errors.ts";

/** The specification's numbers, and the three that libcni added in practice (8, 50 and 51 since 1.1.0; 999). */
export const CNI_CODES = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  badEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfig: 7,
  invalidNetns: 8,
  tryAgainLater: 11,
  notAvailable: 50,
  notAvailableLimited: 51,
  /** Our own: the kernel or a helper program rejected a request, or something foreign is in the way. */
  attachFailed: 100,
  /** Our own: no address left. */
  noFreeAddress: 101,
  /** Our own: what CHECK found differs from what ADD made. */
  checkFailed: 102,
  internal: 999,
} as const;

export type CniCode = (typeof CNI_CODES)[keyof typeof CNI_CODES];

/** An error that the container runtime sees. `message` becomes `msg`. */
export class CniError extends TulleError {
  readonly cniCode: number;
  /** Longer text for people; empty when the message says it all. */
  readonly explanation: string;

  constructor(cniCode: number, message: string, explanation = "", options: ErrorOptions = {}) {
    super("TULLE_CNI", message, { retryable: cniCode === CNI_CODES.tryAgainLater, ...options });
    this.cniCode = cniCode;
    this.explanation = explanation;
  }
}

/** CNI's numbers for the codes of the libraries that do the work. */
const NUMBERS: Readonly<Partial<Record<ErrorCode, CniCode>>> = {
  TULLE_ADDRESS: CNI_CODES.invalidConfig,
  TULLE_CONFIG: CNI_CODES.invalidConfig,
  TULLE_CONFLICT: CNI_CODES.attachFailed,
  TULLE_FIREWALL: CNI_CODES.attachFailed,
  TULLE_NETLINK: CNI_CODES.attachFailed,
  TULLE_NO_FREE_ADDRESS: CNI_CODES.noFreeAddress,
};

/** Any thrown value as a CniError: what the file system rejects becomes 5, what is unexpected 999. */
export function toCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  return new CniError(codeOf(error), errorMessage(error), explanationOf(error), { cause: error });
}

function codeOf(error: unknown): CniCode {
  if (error instanceof TulleError) return NUMBERS[error.code] ?? CNI_CODES.internal;
  return isFileSystemError(error) ? CNI_CODES.ioFailure : CNI_CODES.internal;
}

function explanationOf(error: unknown): string {
  if (!(error instanceof TulleError)) {
    return isFileSystemError(error) ? "check that the path exists, is writable and its disk is not full" : "";
  }
  if (error.details.errnoName === "EPERM") {
    return "the plugin needs CAP_NET_ADMIN and CAP_SYS_ADMIN: the runtime must run it as root";
  }
  return typeof error.details.remedy === "string" ? error.details.remedy : "";
}

function isFileSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error && "code" in error;
}

/** Runs `body` and turns what it throws into a CniError of `code`, unless it is one already. */
export function asCniError<T>(code: CniCode, context: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (error instanceof CniError) throw error;
    throw new CniError(code, `${context}: ${errorMessage(error)}`, "", { cause: error });
  }
}
