/**
 * TLS for gRPC channels to a server that proves to be `host`.
 *
 * grpc-js' own credentials send the host as server name even when it is an address (server-name.ts).
 */

import type { Socket } from "node:net";
import { connect, createSecureContext, type SecureContext } from "node:tls";
import { CallCredentials, ChannelCredentials } from "@grpc/grpc-js";
import { identityOptions } from "../server-name.ts";
import type { TlsMaterial } from "../tls-files.ts";

type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

export class TlsCredentials extends ChannelCredentials {
  readonly #host: string;
  readonly #context: SecureContext;

  /** `host` is a name or an address without brackets. */
  constructor(host: string, { ca, cert, key }: TlsMaterial) {
    super();
    this.#host = host;
    this.#context = createSecureContext({
      ...(ca ? { ca } : {}),
      ...(cert && key ? { cert, key } : {}),
    });
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(
    _target: unknown,
    _options: unknown,
    callCredentials = CallCredentials.createEmpty(),
  ): SecureConnector {
    return {
      connect: async (socket) => ({ socket: await this.#secure(socket), secure: true }),
      waitForReady: async () => {},
      getCallCredentials: () => callCredentials,
      destroy: () => {},
    };
  }

  #secure(socket: Socket): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const options = { socket, secureContext: this.#context, ALPNProtocols: ["h2"] };
      const secured = connect({ ...options, ...identityOptions(this.#host) }, () => resolve(secured));
      secured.on("error", reject);
    });
  }
}
