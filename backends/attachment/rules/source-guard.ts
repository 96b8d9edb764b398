/**
 * Drops what enters the bridge from a container with another hardware address than its own.
 *
 * One bridge table per network, in it one chain per port, found by a map from the port's name.
 */

import type { Mac } from "../../../ipam/addresses/mac.ts";
import { applyRules, hasRules, tableName } from "./nft.ts";

/** Lets `port` send from `mac` only. Throws FirewallError. */
export function guardPort(network: string, port: string, mac: Mac): Promise<void> {
  const table = `bridge ${tableName(network)}`;
  return applyRules([
    ...portLines(table, port),
    `add chain ${table} prerouting { type filter hook prerouting priority -300; }`,
    `flush chain ${table} prerouting`,
    `add rule ${table} prerouting iifname vmap @ports`,
    `flush chain ${table} ${port}`,
    `add rule ${table} ${port} ether saddr != ${mac} drop`,
  ]);
}

/** Removes the port; absence is a success. Throws FirewallError. */
export function unguardPort(network: string, port: string): Promise<void> {
  const table = `bridge ${tableName(network)}`;
  // nft fails to delete what is absent, and older versions have no `destroy`: so add it first.
  return applyRules([
    ...portLines(table, port),
    `delete element ${table} ports { "${port}" : jump ${port} }`,
    `delete chain ${table} ${port}`,
  ]);
}

/** True when `port` can send from `mac` only. */
export function isGuarded(network: string, port: string, mac: string): Promise<boolean> {
  const table = `bridge ${tableName(network)}`;
  return hasRules(
    [
      `list chain ${table} prerouting`,
      `list chain ${table} ${port}`,
      `get element ${table} ports { "${port}" : jump ${port} }`,
    ],
    ["iifname vmap @ports", `ether saddr != ${mac} drop`],
  );
}

function portLines(table: string, port: string): string[] {
  return [
    `add table ${table}`,
    `add map ${table} ports { type ifname : verdict; }`,
    `add chain ${table} ${port}`,
    `add element ${table} ports { "${port}" : jump ${port} }`,
  ];
}
