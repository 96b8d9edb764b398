/** What the firewall holds so that containers reach the name server. Constants only. */

import { type FirewallInput, NO_NETWORK } from "../../backends/firewall/plan-input.ts";
import { NAME_SERVER } from "./name-server-address.ts";

/** Names these rules. Longer than the name of any other network of the daemon. */
export const NAME_SERVER_RULES = "nameserver";

/**
 * Containers' questions are packets to this host: an input policy that drops unsolicited packets, as ufw sets it, drops
 * them. From other hosts the server's own socket takes nothing (see NameServer).
 */
export const NAME_SERVER_INPUT: FirewallInput = { ...NO_NETWORK, nameServer: NAME_SERVER };
