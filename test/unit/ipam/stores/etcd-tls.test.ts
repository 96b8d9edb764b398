/** TLS to an etcd member by name and by address. The server is Node's own; the certificates are openssl's. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { type AddressInfo, connect, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer, type TLSSocket } from "node:tls";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { TlsCredentials } from "../../../../ipam/stores/etcd/credentials.ts";
import { SOON } from "../../../support/patience.ts";
import { createAuthority, type Issued } from "../../../support/pki.ts";

describe("TLS to an etcd member", () => {
  let folder: string;
  let good: Issued;
  let otherAuthority: string;
  let server: Server | null = null;
  let serverNames: (string | false | null)[];
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "tulle-tls-"));
    const names = "IP:127.0.0.1,IP:::1,DNS:localhost";
    good = createAuthority(folder, "ca").issue("server", { names });
    otherAuthority = createAuthority(folder, "other").caFile;
  });
  afterEach(() => server?.close());
  afterAll(() => rmSync(folder, { recursive: true }));

  /** Connects as gRPC does and answers what the connection speaks. */
  const dial = async (listenOn: string, host: string, caFile = good.caFile): Promise<unknown> => {
    serverNames = [];
    const options = {
      cert: readFileSync(good.certFile),
      key: readFileSync(good.keyFile),
      ALPNProtocols: ["h2"],
    };
    const listener = createServer(options, (socket) => {
      serverNames.push(socket.servername);
      socket.on("error", () => undefined);
      socket.end();
    });
    listener.on("tlsClientError", () => undefined);
    server = listener;
    await new Promise<void>((resolve) => listener.listen(0, listenOn, resolve));
    const socket = connect((listener.address() as AddressInfo).port, listenOn);
    const tls = { ca: readFileSync(caFile), cert: null, key: null, fingerprint: "" };
    const connector = new TlsCredentials(host, tls)._createSecureConnector(undefined, undefined);
    try {
      const secured = (await connector.connect(socket)).socket as TLSSocket;
      secured.on("error", () => undefined);
      await expect.poll(() => serverNames.length, SOON).toBe(1);
      return secured.alpnProtocol;
    } catch (error) {
      return (error as { code?: string }).code;
    } finally {
      socket.destroy();
    }
  };

  it.each([
    ["127.0.0.1", "127.0.0.1"],
    ["::1", "::1"],
  ])("takes the address %s, and sends no server name", async (listenOn, host) => {
    expect(await dial(listenOn, host)).toBe("h2");
    expect(serverNames).toEqual([false]);
  });

  it("takes a name, and sends it", async () => {
    expect(await dial("127.0.0.1", "localhost")).toBe("h2");
    expect(serverNames).toEqual(["localhost"]);
  });

  it.each(["127.0.0.2", "::2", "example.test"])("rejects a certificate without %s", async (host) => {
    expect(await dial("127.0.0.1", host)).toBe("ERR_TLS_CERT_ALTNAME_INVALID");
  });

  it.each(["127.0.0.1", "localhost"])("rejects another authority's certificate for %s", async (host) => {
    expect(await dial("127.0.0.1", host, otherAuthority)).toBe("UNABLE_TO_VERIFY_LEAF_SIGNATURE");
  });
});
