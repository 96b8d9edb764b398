/** The error of the firewall part. */

import { type ErrorOptions, TulleError } from "../../ipam/errors.ts";

/** The host's firewall could not be read or changed. `details.missing` names an absent program. */
export class FirewallError extends TulleError {
  constructor(message: string, options?: ErrorOptions) {
    super("TULLE_FIREWALL", message, options);
  }
}
