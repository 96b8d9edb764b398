/**
 * The private key of this host: made once, kept in the state directory, so that a restart keeps its sessions and peers keep
 * its public key. On a host where flanneld ran it is flanneld's, which the peers know already.
 */

import { join } from "node:path";
import { ConfigError, errorMessage } from "../../ipam/errors.ts";
import { readForeignFile } from "../../ipam/files/read.ts";
import { replaceFile } from "../../ipam/files/write.ts";
import type { Logger } from "../../ipam/log.ts";
import type { ProvisionContext } from "../backend.ts";
import { type KeyPair, keyPairOf, makeKeyPair, parseKey } from "./key.ts";

/** Where flanneld keeps its key unless WIREGUARD_KEY_FILE names another file. */
const FLANNELD_KEY_FILE = "/run/flannel/wgkey";

/** The key pair of this host, once per daemon and network. Throws ConfigError that names the file. */
export function provideKeyPair(
  context: ProvisionContext,
  flanneldFile: string = FLANNELD_KEY_FILE,
): Promise<KeyPair> {
  return context.once("wireguard-key", () => readOrMake(context, flanneldFile));
}

async function readOrMake(context: ProvisionContext, flanneldFile: string): Promise<KeyPair> {
  const { stateDir, network, keyFile, logger } = context;
  const file = keyFile ?? join(stateDir, network === null ? "wireguard.key" : `wireguard-${network}.key`);
  const kept = readKey(file);
  if (kept !== null) return kept;
  // flanneld has one network, the first.
  const adopted = network === null ? adoptable(flanneldFile, logger) : null;
  const pair = adopted ?? makeKeyPair();
  try {
    await replaceFile(file, `${pair.privateKey}\n`, { mode: 0o600 });
  } catch (error) {
    throw new ConfigError(
      `the private key of WireGuard cannot be written to ${file}: ${errorMessage(error)}; make its folder writable, or set WIREGUARD_KEY_FILE`,
      { cause: error },
    );
  }
  logger.info(adopted === null ? "wireguard key made" : "wireguard key of flanneld adopted", {
    file,
    publicKey: pair.publicKey,
  });
  return pair;
}

/** Null when there is no such file. */
function readKey(file: string): KeyPair | null {
  let text: string | null;
  try {
    text = readForeignFile(file);
  } catch (error) {
    throw new ConfigError(`the private key of WireGuard cannot be read: ${file}: ${errorMessage(error)}`, {
      cause: error,
    });
  }
  if (text === null) return null;
  const key = parseKey(text.trim());
  if (key !== null) return keyPairOf(key);
  throw new ConfigError(
    `${file} holds no private key of WireGuard; write one line as "wg genkey" prints it, or delete the file to have one made`,
  );
}

function adoptable(file: string, logger: Logger): KeyPair | null {
  try {
    return readKey(file);
  } catch (error) {
    logger.warn("wireguard key of flanneld is ignored", { file, error: errorMessage(error) });
    return null;
  }
}
