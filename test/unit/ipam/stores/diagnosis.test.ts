/** What is found out about a server that cannot be talked to, with small real servers. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { diagnose } from "../../../../ipam/stores/diagnosis.ts";
import { freePorts } from "../../../support/daemon.ts";
import { createAuthority } from "../../../support/pki.ts";

/** What a client says whose greeting was not understood. */
const RESET = "read ECONNRESET";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  cleanups.push(() => server.close());
  await new Promise((resolve) => server.once("listening", () => resolve(null)));
  return (server.address() as AddressInfo).port;
}

async function tlsPort(isMutual: boolean): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), "tulle-diagnosis-"));
  cleanups.push(() => rmSync(directory, { recursive: true }));
  const { caFile, certFile, keyFile } = createAuthority(directory).issue("server");
  const [ca, cert, key] = [caFile, certFile, keyFile].map((file) => readFileSync(file)) as [
    Buffer,
    Buffer,
    Buffer,
  ];
  const server = createTlsServer(
    { ca, cert, key, requestCert: isMutual },
    (socket) => void socket.on("error", ignore),
  );
  return await listen(server);
}

function ignore(): void {}

const tcp = (greet: (socket: Socket) => unknown) =>
  createServer((socket) => {
    socket.on("error", ignore);
    greet(socket);
  });

const at = (port: number, isTls: boolean) => diagnose({ host: "127.0.0.1", port, isTls }, RESET);

describe("diagnose", () => {
  it("finds plain http where TLS was spoken", async () => {
    const port = await listen(createHttpServer((_request, response) => response.writeHead(404).end()));
    expect(await at(port, true)).toBe("the server speaks plain http");
    expect(await at(port, false)).toBeNull();
  });

  it.each([false, true])(
    "finds TLS where plain text was spoken (demands a certificate: %s)",
    async (isMutual) => {
      const port = await tlsPort(isMutual);
      expect(await at(port, false)).toBe("the server speaks TLS");
      expect(await at(port, true)).toBeNull();
    },
  );

  it("is not misled by a TLS server that answers plain text in plain http, as Go's do", async () => {
    const secured = await tlsPort(false);
    const port = await listen(
      tcp((socket) =>
        socket.once("data", (bytes: Buffer) => {
          // A handshake (RFC 8446, 5.1).
          if (bytes[0] !== 22) return socket.end("HTTP/1.0 400 Bad Request\r\n\r\n");
          const server = connect(secured, "127.0.0.1").on("error", ignore);
          server.write(bytes);
          return socket.pipe(server).pipe(socket);
        }),
      ),
    );
    expect(await at(port, true)).toBeNull();
    expect(await at(port, false)).toBe("the server speaks TLS");
  });

  it("finds what is neither", async () => {
    const port = await listen(tcp((socket) => socket.write("SSH-2.0-x\r\n")));
    expect(await at(port, true)).toBe("the server speaks neither TLS nor http");
    expect(await at(port, false)).toBeNull();
  });

  it("finds nothing about a server that is silent, that hangs up, or that is gone", async () => {
    const [gone = 0] = await freePorts(1);
    const silent = await listen(tcp((socket) => cleanups.push(() => socket.destroy())));
    const closing = await listen(tcp((socket) => socket.resetAndDestroy()));
    for (const port of [gone, silent, closing]) {
      for (const isTls of [false, true]) expect(await at(port, isTls)).toBeNull();
    }
  });

  it("finds an unknown name, and opens no connection for an error that says enough", async () => {
    let connections = 0;
    const port = await listen(tcp(() => (connections += 1)));
    const unknown = { host: "store.invalid", port, isTls: false };
    expect(await diagnose(unknown, "no connection within 2000 ms")).toMatch(
      /^the name store\.invalid .*\((ENOTFOUND|EAI_AGAIN)\)$/,
    );
    const known = { host: "127.0.0.1", port, isTls: false };
    for (const text of ["no connection within 2000 ms", "connect ECONNREFUSED", "permission denied"]) {
      expect(await diagnose(known, text)).toBeNull();
    }
    expect(connections).toBe(0);
  });
});
