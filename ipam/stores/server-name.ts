/**
 * What a TLS server must prove: that its certificate is for the host that was asked for. Pure.
 *
 * A server name (SNI) is a host name: RFC 6066, section 3 excludes addresses, and Node rejects them from version 26 on.
 * An address has to be in the certificate's subjectAltName.
 */

import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { type ConnectionOptions, checkServerIdentity, type PeerCertificate } from "node:tls";

/** The server name to send to `host`; empty, which sends none, for an address. A name has no final dot there. */
export function serverNameOf(host: string): string {
  return isIP(host) === 0 ? host.replace(/\.$/, "") : "";
}

/** Options for a connection whose server must be `host`, a name or an address without brackets. */
export function identityOptions(host: string): Pick<ConnectionOptions, "servername" | "checkServerIdentity"> {
  const check = isIP(host) === 0 ? checkServerIdentity : checkAddress;
  return {
    servername: serverNameOf(host),
    checkServerIdentity: (_, certificate) => check(host, certificate),
  };
}

/** By OpenSSL: checkServerIdentity of some Node versions (22.23) takes an IPv6 address for a name. */
function checkAddress(address: string, { raw, subjectaltname = "none" }: PeerCertificate): Error | undefined {
  if (new X509Certificate(raw).checkIP(address) !== undefined) return undefined;
  const text = `address ${address} does not match certificate's altnames: ${subjectaltname}`;
  return Object.assign(new Error(text), { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
}
