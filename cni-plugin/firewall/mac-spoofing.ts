/**
 * `macspoofchk`: drops what enters the bridge from a container with another hardware address than its own.
 *
 * One bridge table per network, in it one chain per port, found by a map from the port's name.
 */

import type { Mac } from "../../ipam/addresses/mac.ts";
import { applyRules, hasRules, tableName } from "./nft.ts";

/** Lets `port` send from `mac` only. Throws CniError 100. */
export function guardPort(networkName: string, port: string, mac: Mac): void {
  const table = `bridge ${tableName(networkName)}`;
  applyRules([
    ...portLines(table, port),
    `add chain ${table} prerouting { type filter hook prerouting priority -300; }`,
    `flush chain ${table} prerouting`,
    `add rule ${table} prerouting iifname vmap @ports`,
    `flush chain ${table} ${port}`,
    `add rule ${table} ${port} ether saddr != ${mac} drop`,
  ]);
}

/** Forgets the port; absent is a success. Throws CniError 100. */
export function unguardPort(networkName: string, port: string): void {
  const table = `bridge ${tableName(networkName)}`;
  // nft refuses to delete what is absent, and older versions have no word for "if present": so add it first.
  applyRules([
    ...portLines(table, port),
    `delete element ${table} ports { "${port}" : jump ${port} }`,
    `delete chain ${table} ${port}`,
  ]);
}

/** True when `port` can send from `mac` only. */
export function isGuarded(networkName: string, port: string, mac: string): boolean {
  const table = `bridge ${tableName(networkName)}`;
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
