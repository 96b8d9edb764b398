/** A container that answers its host in every family, so that a test's first packet is not lost to its own set-up. */

import { expect } from "vitest";
import { entriesOf } from "../../ipam/addresses/ip.ts";
import { type Container, type Host, ping } from "./hosts.ts";

/** The kernel lets a new bridge port forward within a second of its carrier; neighbour discovery tries once a second. */
const PATIENCE_MS = 10_000;

/** To be called inside a test. */
export async function addReadyContainer(host: Host): Promise<Container> {
  const container = host.addContainer();
  for (const [family, { address }] of entriesOf(host.subnetEnv().subnets)) {
    const options = { timeout: PATIENCE_MS, message: `IPv${family}` };
    const out = async () => (await ping(container.netns, String(address), 1)).lost;
    await expect.poll(out, options).toEqual([]);
    const back = async () => (await ping(host.netns, container.addresses[family] ?? "", 1)).lost;
    await expect.poll(back, options).toEqual([]);
  }
  return container;
}
