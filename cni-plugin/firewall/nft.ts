/** Runs nft(8). Every script is one transaction: it is carried out wholly or not at all. */

import { spawnSync } from "node:child_process";
import { shortDigest } from "../digest.ts";
import { CNI_CODES, CniError } from "../errors.ts";

/** Where the tool is looked for, whatever the environment says. */
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** Feeds lines to `nft -f -`. Throws CniError 100 with its words. */
export function applyRules(lines: readonly string[]): void {
  const { error, status, stderr } = spawnSync("nft", ["-f", "-"], {
    input: `${lines.join("\n")}\n`,
    encoding: "utf8",
    env: { PATH: SYSTEM_PATH, LC_ALL: "C" },
  });
  if (status === 0) return;
  const reason = error === undefined ? stderr.trim().split("\n")[0] : error.message;
  throw new CniError(
    CNI_CODES.attachFailed,
    `nft refused: ${reason}`,
    "ipMasq and macspoofchk need nftables: install nft, or leave both out",
  );
}

/** The table of one network; network names have characters that nft's names lack. */
export function tableName(networkName: string): string {
  return `tulle-cni-${shortDigest(networkName)}`;
}
