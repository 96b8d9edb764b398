/** The firewall on the packet's way: one hook, what it did, and on what that depends. */

import type { Link } from "../../backends/netlink/link/link.ts";
import type { FrameTable } from "./firewall/nft-ruleset.ts";
import { type Decision, type Hook, passHook } from "./firewall/ruleset.ts";
import type { Packet } from "./packet.ts";
import type { Scene } from "./scene.ts";

const REMEDIES: Readonly<Record<Hook, string>> = {
  prerouting: "delete the rule, or accept the packet before it",
  input: "accept the packet before that rule",
  forward:
    "accept packets of the network before that rule; tulled does unless --iptables-forward-rules=false or --firewall=none is set",
  output: "accept the packet before that rule",
  postrouting: "delete the rule, or accept the packet before it",
};

/** The packet behind the hook. Ends the way where it is dropped. `what` names the packet where it is not the first one. */
export function passFirewall({ firewall, steps }: Scene, hook: Hook, packet: Packet, what = ""): Packet {
  const outcome = passHook(firewall.tables, hook, packet);
  const { verdict, decisions, doubtful, sourceTranslation, unknownTranslation } = outcome;
  const subject = "firewall";
  const name = what === "" ? hook : `${hook} of ${what}`;
  for (const { text, isDecisive } of doubtful)
    steps.doubt(subject, `${name}: may match: ${text}`, isDecisive ? text : null);
  if (verdict !== "accept") {
    const how = verdict === "drop" ? "dropped" : "rejected";
    const text = `${name}: ${how} by ${describe(decisions.at(-1))}`;
    steps.stop(subject, text, { cause: "local-firewall", remedy: REMEDIES[hook] });
  }
  for (const decision of decisions)
    steps.ok(subject, `${name}: ${decision.by === null ? "passes" : "accepted by"} ${describe(decision)}`);
  if (decisions.length === 0 && outcome.chains > 0)
    steps.ok(
      subject,
      `${name}: no rule matches in ${outcome.chains === 1 ? "the only chain" : `${outcome.chains} chains`}`,
    );
  if (sourceTranslation !== null)
    steps.ok("masquerade", `the source ${packet.source} is replaced: ${sourceTranslation}`);
  if (unknownTranslation !== null)
    steps.end(
      "unknown",
      `the packet gets another destination, which is not known here: ${unknownTranslation}`,
    );
  if (!outcome.packet.destination.equals(packet.destination))
    steps.ok("translation", `the destination becomes ${outcome.packet.destination}`);
  return outcome.packet;
}

/** Devices that the packet arrives or leaves by, where rules for frames and filters may drop it: they are not tested. */
export function passDevices(
  { kernel, firewall, steps }: Scene,
  direction: "ingress" | "egress",
  links: readonly (Link | null)[],
): void {
  const present = links.filter((link) => link !== null);
  const isPassed = ({ hook, devices }: FrameTable): boolean =>
    hook === "bridge"
      ? present.some(({ type }) => type === "bridge")
      : hook === direction && present.some(({ name }) => devices?.includes(name) ?? true);
  for (const table of firewall.frames.filter(isPassed)) {
    const unless = `the rules for frames of ${table.name}`;
    if (steps.doubts.includes(unless)) continue;
    const place =
      table.hook === "bridge" ? "bridges" : `${table.hook} of ${table.devices?.join(", ") ?? "?"}`;
    const text = `rules for frames are not tested: ${table.name}, ${place}`;
    steps.doubt("firewall", text, isOurs(table.name) ? null : unless);
  }
  for (const { name } of present.filter((link) => kernel.hasFilters(link.index, direction))) {
    const unless = `the filters of tc on ${name}`;
    if (!steps.doubts.includes(unless))
      steps.doubt("firewall", `filters of tc are not tested: ${direction} of ${name}`, unless);
  }
}

/** The tables of the CNI plugin, and of named networks' ports: they drop frames with other addresses than the container got. */
function isOurs(name: string): boolean {
  return name === "nft bridge tulle-ports" || name.startsWith("nft bridge tulle-cni-");
}

/** The rule, and those that led there. */
function describe(decision: Decision | undefined): string {
  const { by, through } = decision ?? { by: null, through: [] };
  if (by === null) return through.join("; ");
  return through.length === 0 ? by : `${by} (through ${through.join("; ")})`;
}
