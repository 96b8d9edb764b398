/** Whether Docker's bridge has the address that Docker is set up for. Pure: what was read is given. */

import { entriesOf } from "../../ipam/addresses/ip.ts";
import type { SubnetEnv } from "../../ipam/config/subnet-env.ts";
import type { BridgeFacts } from "../docker/bridge-facts.ts";
import { DOCKER_BRIDGE, isBridgeElsewhere } from "../docker/findings.ts";
import type { GivenBridge } from "../docker/given-bridge.ts";
import { bad, type Finding } from "./finding.ts";

const SUBJECT = "docker";

/** Nothing where Docker is not set up for the network, as on hosts that use named networks alone. */
export function bridgeFindings(
  env: Pick<SubnetEnv, "networks" | "subnets">,
  { hasDropIn, bip }: GivenBridge,
  bridge: Pick<BridgeFacts, "addresses">,
): readonly Finding[] {
  const isOfNetwork =
    bip !== null && (env.networks[bip.address.family] ?? []).some((range) => range.contains(bip.address));
  if (!hasDropIn && !isOfNetwork) return [];
  const wanted = entriesOf(env.subnets).map(([, { address, length }]) => `${address}/${length}`);
  const isOutdated = !hasDropIn && bip !== null && !wanted.includes(`${bip.address}/${bip.length}`);
  if (isOutdated) {
    const message = `daemon.json gives ${DOCKER_BRIDGE} the address ${bip.address}/${bip.length}, and this host's subnet needs ${wanted.join(", ")}`;
    return [bad("warn", SUBJECT, message, 'run "tulle docker setup" again, and restart Docker')];
  }
  if (!isBridgeElsewhere(env, bridge)) return [];
  const now = (bridge.addresses ?? [])
    .filter(({ address }) => !address.isLinkLocal)
    .map(({ address, length }) => `${address}/${length}`);
  const message = `${DOCKER_BRIDGE} has ${now.join(", ") || "no address"}, and Docker is set up for ${wanted.join(", ")}: other hosts do not reach its containers`;
  return [
    bad(
      "warn",
      SUBJECT,
      message,
      `restart Docker, which reads its settings at its start; with "live-restore" stop all containers before`,
    ),
  ];
}
