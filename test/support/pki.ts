/** Certificates for tests, made by openssl(1) in a directory of the caller's. */

import { execFileSync } from "node:child_process";
import { join } from "node:path";

/** Paths of a certificate and its key, and of the authority that signed it. */
export interface Issued {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface Authority {
  readonly caFile: string;
  /**
   * Signs a certificate for servers and clients, with no common name unless given. `names` as in a
   * subjectAltName; negative `days` for one that has expired.
   */
  issue(
    name: string,
    options?: { readonly names?: string; readonly days?: number; readonly commonName?: string },
  ): Issued;
}

const KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

/** Makes an authority whose files lie in `directory` and begin with `name`. */
export function createAuthority(directory: string, name = "ca"): Authority {
  const caFile = join(directory, `${name}.pem`);
  const caKey = join(directory, `${name}.key`);
  openssl("req", "-x509", ...KEY, "-keyout", caKey, "-out", caFile, "-subj", `/CN=${name}`, "-days", "30");
  const issue: Authority["issue"] = (leaf, options = {}) => {
    const { names = "IP:127.0.0.1", days = 30, commonName } = options;
    const keyFile = join(directory, `${leaf}.key`);
    const certFile = join(directory, `${leaf}.pem`);
    const request = join(directory, `${leaf}.csr`);
    const subject = commonName === undefined ? "/O=test" : `/O=test/CN=${commonName}`;
    const extension = ["-addext", `subjectAltName=${names}`];
    openssl("req", ...KEY, "-keyout", keyFile, "-out", request, "-subj", subject, ...extension);
    const signed = ["-CA", caFile, "-CAkey", caKey, "-CAcreateserial", "-copy_extensions", "copy"];
    openssl("x509", "-req", "-in", request, ...signed, "-days", String(days), "-out", certFile);
    return { caFile, certFile, keyFile };
  };
  return { caFile, issue };
}

function openssl(...args: readonly string[]): void {
  execFileSync("openssl", args, { stdio: ["ignore", "ignore", "pipe"] });
}
