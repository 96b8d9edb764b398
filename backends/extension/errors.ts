/** The error of an administrator's command. */

import { type ErrorOptions, TulleError } from "../../ipam/errors.ts";

/** A command of the extension backend failed, was ended or could not be started. */
export class ExtensionError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_EXTENSION", message, options);
  }
}
