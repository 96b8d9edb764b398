/** The tools that make rules, run as the host's firewall runs them. */

import { CommandRunner } from "../../firewall/command.ts";
import { FirewallError } from "../../firewall/errors.ts";
import type { MasqueradeEngine } from "../spec.ts";

/** What to install or to leave out, for errors. */
const REMEDY =
  "ipMasq needs nftables or iptables, macspoofchk and published ports need nftables: install them, or leave these out";

const runner = new CommandRunner();

/** Feeds lines to a tool. Throws FirewallError with its words. */
export async function feed(tool: string, args: readonly string[], lines: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await runOrExplain(tool, args, `${lines.join("\n")}\n`);
  if (exitCode === 0) return;
  throw new FirewallError(`${tool} refused: ${stderr.split("\n")[0]}`, { details: { remedy: REMEDY } });
}

/** Runs a tool whose refusal only means that there was nothing to do, or nothing to find: false. */
export async function attempt(tool: string, args: readonly string[]): Promise<boolean> {
  return (await ask(tool, args)) !== null;
}

/** What a tool that only looks writes; null when it finds nothing, or is not installed. */
export async function ask(tool: string, args: readonly string[]): Promise<string | null> {
  const result = await runner.runIfInstalled(tool, args);
  return result?.exitCode === 0 ? result.stdout : null;
}

/** True when rules are in tables of nftables, which are the network's own. */
export async function usesNft(engine: MasqueradeEngine): Promise<boolean> {
  return engine === "nftables" || (engine === null && (await runner.isInstalled("nft")));
}

async function runOrExplain(tool: string, args: readonly string[], input: string) {
  const result = await runner.runIfInstalled(tool, args, { input });
  if (result !== null) return result;
  throw new FirewallError(`${tool} is not installed`, { details: { missing: tool, remedy: REMEDY } });
}
