/**
 * TLS for a gRPC channel to one etcd member, whose endpoint may be an address.
 *
 * gRPC's own credentials send the endpoint's host as the server name in every case. An address is not a server name
 * (RFC 6066 §3), and Node from 26 on refuses it. Without one Node still compares the certificate with the host.
 */

import { X509Certificate } from "node:crypto";
import { isIP, type Socket } from "node:net";
import {
  checkServerIdentity,
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  connect as tlsConnect,
} from "node:tls";
import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";
import type { TlsMaterial } from "../tls-files.ts";

export class EtcdTlsCredentials extends ChannelCredentials {
  readonly #context: SecureContext;
  readonly #host: string;

  /** `host` is what the server's certificate must be valid for: a name, or an address without brackets. */
  constructor({ ca, cert, key }: TlsMaterial, host: string) {
    super();
    this.#context = createSecureContext({
      ...(ca === null ? {} : { ca }),
      ...(cert === null ? {} : { cert }),
      ...(key === null ? {} : { key }),
    });
    this.#host = host;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return other === this;
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials: CallCredentials = CallCredentials.createEmpty(),
  ): ReturnType<ChannelCredentials["_createSecureConnector"]> {
    return {
      connect: async (socket) => ({ socket: await this.#secure(socket), secure: true }),
      waitForReady: async () => undefined,
      getCallCredentials: () => callCredentials,
      destroy: () => undefined,
    };
  }

  /** Resolves with the encrypted socket. Rejects when the certificate is not the host's or no authority signed it. */
  #secure(socket: Socket): Promise<Socket> {
    const host = this.#host;
    return new Promise((resolve, reject) => {
      const secured = tlsConnect(
        {
          socket,
          secureContext: this.#context,
          host,
          servername: isIP(host) === 0 ? host : "",
          checkServerIdentity: (_name, certificate) => identityProblem(host, certificate),
          ALPNProtocols: ["h2"],
        },
        () => resolve(secured),
      );
      secured.once("error", reject);
    });
  }
}

/** Some releases of Node 22 find no IPv6 address in a certificate; the certificate itself knows. */
function identityProblem(host: string, certificate: PeerCertificate): Error | undefined {
  if (isIP(host) === 0) return checkServerIdentity(host, certificate);
  if (new X509Certificate(certificate.raw).checkIP(host) !== undefined) return undefined;
  const names = certificate.subjectaltname ?? "none";
  return Object.assign(
    new Error(
      `Hostname/IP does not match certificate's altnames: IP: ${host} is not in the cert's list: ${names}`,
    ),
    { code: "ERR_TLS_CERT_ALTNAME_INVALID", host },
  );
}
