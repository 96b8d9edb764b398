/** Who may read the page, from the flags. Pure. */

import type { Address } from "../../ipam/addresses/ip.ts";
import type { FlagValues } from "./flags.ts";
import { type Settings, settingError } from "./settings.ts";

/** The page that shows the network. */
export interface UiSettings {
  readonly address: Address;
  readonly port: number;
  /** Null where programs on this host read without a token. */
  readonly tokenFile: string | null;
}

/** Null when switched off. Throws ConfigError for an address that other hosts can reach without a token. */
export function uiSettings(values: FlagValues, settings: Settings): UiSettings | null {
  if (values.ui === null) return null;
  const tokenFile = values["ui-token-file"] || null;
  if (tokenFile === null && !values.ui.address.isLoopback)
    throw settingError(settings, "ui", "other hosts reach this address: give -ui-token-file as well");
  return { ...values.ui, tokenFile };
}
