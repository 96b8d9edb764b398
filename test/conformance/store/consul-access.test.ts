/** How Consul is reached and refused: rules and tokens, certificates, session times, and servers that are something else. */

import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TulleError } from "../../../ipam/errors.ts";
import type { NetworkStore, StoreConnection } from "../../../ipam/stores/contracts.ts";
import type { ConsulOptions, StoreEnvironment } from "../../../ipam/stores/options.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { type ConsulCluster, missingConsul, startConsul } from "../../support/consul.ts";
import { freePorts } from "../../support/daemon.ts";
import { createAuthority } from "../../support/pki.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { KeptLog } from "../../support/watch-log.ts";

const PREFIX = "coreos.com/network";
const KEYS_READ = `key_prefix "${PREFIX}/" { policy = "read" }`;
const KEYS = `key_prefix "${PREFIX}/" { policy = "write" }`;
const SESSIONS = 'session_prefix "" { policy = "write" }';
const NODE = 'node "tulle" { policy = "write" }';
const LEASE = "10.1.1.0-24";
const signal = AbortSignal.timeout(120_000);
const directory = mkdtempSync(join(tmpdir(), "tulle-access-"));
const opened: StoreConnection[] = [];
const clusters: ConsulCluster[] = [];

async function open(
  consul: ConsulOptions,
  environment: StoreEnvironment = testEnvironment,
): Promise<NetworkStore> {
  const connection = await openStore({ store: "consul", consul }, environment);
  opened.push(connection);
  return connection.network(PREFIX);
}

/** What a call is refused with: one line that ends in a remedy. */
async function refusal(call: Promise<unknown>): Promise<TulleError> {
  const error = await call.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof TulleError)) throw new Error(`no TulleError but ${error}`);
  expect(error.message).not.toContain("\n");
  return error;
}

async function listRefusal(consul: ConsulOptions): Promise<TulleError> {
  return await refusal((await open(consul)).feed.list(signal));
}

async function start(options: Parameters<typeof startConsul>[0] = {}): Promise<ConsulCluster> {
  const cluster = await startConsul(options);
  clusters.push(cluster);
  return cluster;
}

async function listening(server: Server): Promise<string> {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(null)));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const missing = missingConsul();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)("access to Consul", () => {
  afterAll(async () => {
    await Promise.all(opened.map((connection) => connection.close()));
    await Promise.all(clusters.map((cluster) => cluster.stop()));
    rmSync(directory, { recursive: true, force: true });
  });

  describe("by access rules", () => {
    let cluster: ConsulCluster;
    const withRules = async (rules: string, environment = testEnvironment) =>
      await open({ addresses: cluster.addresses, token: await cluster.token(rules) }, environment);
    beforeAll(async () => {
      cluster = await start({ rootToken: "11111111-2222-3333-4444-555555555555" });
    });

    it("no token, or one that nobody knows: says so instead of showing an empty network", async () => {
      const { addresses } = cluster;
      expect(await listRefusal({ addresses })).toMatchObject({
        code: "TULLE_STORE_AUTH",
        message: expect.stringContaining(KEYS_READ),
      });
      expect(await listRefusal({ addresses, token: "aaaaaaaa" })).toMatchObject({
        code: "TULLE_STORE_AUTH",
        message: expect.stringMatching(/ACL not found.*check consul-token/),
      });
    });

    it("each missing right is named", async () => {
      const reader = await withRules(KEYS_READ + SESSIONS + NODE);
      expect((await reader.feed.list(signal)).entries).toEqual([]);
      const noKeys = await refusal(reader.leases.create(LEASE, "x", 60, signal));
      expect(noKeys).toMatchObject({ code: "TULLE_STORE_AUTH", message: expect.stringContaining(KEYS) });
      expect((await refusal(reader.config.write("{}", null, signal))).message).toContain(KEYS);
      const sessionless = await withRules(KEYS + NODE);
      const noSession = await refusal(sessionless.leases.create(LEASE, "x", 60, signal));
      expect(noSession).toMatchObject({
        code: "TULLE_STORE_AUTH",
        message: expect.stringContaining('session "tulle" { policy = "write" }'),
      });
    });

    it("the three rules of the documentation are enough", async () => {
      const store = await withRules(`${KEYS} session "tulle" { policy = "write" } ${NODE}`);
      const entry = await store.leases.create(LEASE, "x", 60, signal);
      const session = JSON.parse(await cluster.api("GET", `session/info/${entry.storeLeaseId}`))[0];
      expect(session).toMatchObject({ Node: "tulle", Behavior: "delete", LockDelay: 0, TTL: "60s" });
      const moved = await store.leases.replace(entry, "y", 60, signal);
      expect(await store.leases.keepAlive(moved, signal)).toBe(60);
      expect(await cluster.api("GET", `session/info/${entry.storeLeaseId}`)).toBe("[]");
      await store.leases.remove(moved, signal);
      expect(await cluster.api("GET", `session/info/${moved.storeLeaseId}`)).toBe("[]");
    });

    it("without the right to register a node: warns once, and uses the server's", async () => {
      const log = new KeptLog();
      const nodeName = "unregistered";
      const token = await cluster.token(KEYS + SESSIONS);
      const store = await open(
        { addresses: cluster.addresses, token, nodeName },
        { ...testEnvironment, log },
      );
      for (const key of ["10.1.3.0-24", "10.1.4.0-24"]) {
        const { storeLeaseId } = await store.leases.create(key, "x", 60, signal);
        const session = JSON.parse(await cluster.api("GET", `session/info/${storeLeaseId}`))[0];
        expect(session.Node).toBe("s0");
      }
      expect(log.lines).toEqual([
        "warn the token may not register a node for lease sessions: they end with the server that made them",
      ]);
    });

    it("a token file is read again, and a missing one is named", async () => {
      const tokenFile = join(directory, "token");
      writeFileSync(tokenFile, "wrong\n");
      const store = await open({ addresses: cluster.addresses, tokenFile, token: "ignored" });
      expect((await refusal(store.feed.list(signal))).code).toBe("TULLE_STORE_AUTH");
      writeFileSync(tokenFile, `${await cluster.token(KEYS)}\n`);
      await store.feed.list(signal);
      rmSync(tokenFile);
      expect(await refusal(store.feed.list(signal))).toMatchObject({
        code: "TULLE_STORE_AUTH",
        retryable: true,
        message: expect.stringContaining(tokenFile),
      });
    });
  });

  describe("by certificates", () => {
    const authority = createAuthority(directory);
    const stranger = createAuthority(directory, "stranger");
    let addresses: readonly string[];
    const { caFile, ...client } = authority.issue("client");
    beforeAll(async () => {
      addresses = (await start({ tls: authority.issue("server") })).addresses;
    });
    const tlsRefusal = async (options: Partial<ConsulOptions>) => {
      const error = await listRefusal({ addresses, ...options });
      expect(error.code).toBe("TULLE_STORE_TLS");
      return error.message;
    };

    it("with authority, certificate and key; without verification too", async () => {
      for (const options of [
        { caFile, ...client },
        { caFile, ...client, addresses: addresses.map((address) => address.slice("https://".length)) },
        { ...client, verifyTls: false },
      ]) {
        await (await open({ addresses, ...options })).feed.list(signal);
      }
    });

    it("read again when they change; the old ones serve while the new do not fit", async () => {
      const live = { certFile: join(directory, "live-cert"), keyFile: join(directory, "live-key") };
      const install = (from: { readonly certFile: string; readonly keyFile: string }) => {
        cpSync(from.certFile, live.certFile);
        cpSync(from.keyFile, live.keyFile);
      };
      install(client);
      let nowMs = 0;
      const log = new KeptLog();
      const clock = { ...testEnvironment.clock, monotonicMs: () => nowMs };
      const store = await open({ addresses, caFile, ...live }, { ...testEnvironment, clock, log });
      await store.feed.list(signal);

      const unknown = stranger.issue("unknown");
      cpSync(unknown.certFile, live.certFile);
      nowMs += 60_000;
      await store.feed.list(signal);
      expect(log.lines).toEqual(["warn new certificate files are not usable, staying with the old ones"]);

      install(unknown);
      nowMs += 60_000;
      expect((await refusal(store.feed.list(signal))).code).toBe("TULLE_STORE_TLS");
      install(client);
      await store.feed.list(signal);
    });

    it("each failure is told apart", async () => {
      expect(await tlsRefusal({ ...client })).toContain("consul-cafile");
      expect(await tlsRefusal({ caFile })).toContain("consul-certfile");
      const { certFile, keyFile } = stranger.issue("other");
      expect(await tlsRefusal({ caFile, certFile, keyFile })).toContain("refuses our certificate");
      expect(await tlsRefusal({ caFile, ...client, tlsServerName: "consul.test" })).toContain("another name");
      const plain = addresses.map((address) => address.replace("https", "http"));
      expect(await tlsRefusal({ addresses: plain })).toContain("write https://");
      await expect(open({ addresses: plain, caFile })).rejects.toMatchObject({ code: "TULLE_CONFIG" });
    });
  });

  describe("by address", () => {
    it("nobody there, and somebody else there", async () => {
      const [port = 0] = await freePorts(1);
      expect(await listRefusal({ addresses: [`127.0.0.1:${port}`] })).toMatchObject({
        code: "TULLE_STORE_UNREACHABLE",
        details: { outcomeUnknown: false },
      });
      const page = createServer((_, response) => response.setHeader("content-type", "text/html").end("<p>"));
      const nothing = createServer((_, response) => response.writeHead(404).end());
      const chatter = createTcpServer((socket) => void socket.end("SSH-2.0-x\r\n"));
      for (const server of [page, nothing, chatter]) {
        const error = await listRefusal({ addresses: [await listening(server)] });
        expect(error).toMatchObject({
          code: "TULLE_STORE_API",
          message: expect.stringContaining("is not Consul"),
        });
        server.close();
      }
    });

    it("a name that nobody knows", async () => {
      expect(await listRefusal({ addresses: ["consul.invalid:8500"] })).toMatchObject({
        code: "TULLE_STORE_UNREACHABLE",
        message: expect.stringMatching(/the name consul\.invalid .*: correct the name in consul-address/),
      });
    });

    it("of several servers the one that answers wrongly is told", async () => {
      const page = createServer((_, response) => response.end());
      const [port = 0] = await freePorts(1);
      const addresses = [await listening(page), `127.0.0.1:${port}`];
      for (const order of [addresses, addresses.toReversed()]) {
        expect(await listRefusal({ addresses: order })).toMatchObject({ code: "TULLE_STORE_API" });
      }
      page.close();
    });

    it("TLS where none is spoken", async () => {
      const { addresses } = await start();
      const secure = addresses.map((address) => address.replace("http:", "https:"));
      expect(await listRefusal({ addresses: secure })).toMatchObject({
        code: "TULLE_STORE_TLS",
        message: expect.stringContaining("the server speaks plain http: write http://"),
      });
    });

    it("a second address serves while the first does not", async () => {
      const { addresses } = await start();
      const [port = 0] = await freePorts(1);
      const store = await open({ addresses: [`127.0.0.1:${port}`, ...addresses] });
      const entry = await store.leases.create(LEASE, "x", 60, signal);
      expect((await store.feed.list(signal)).entries).toEqual([entry]);
    });

    it("a time to live that Consul does not take is one error that names the flag", async () => {
      const { addresses } = await start({ shortestTtl: "10s" });
      const store = await open({ addresses });
      for (const ttlSeconds of [5, 90_000]) {
        expect(await refusal(store.leases.create(LEASE, "x", ttlSeconds, signal))).toMatchObject({
          code: "TULLE_CONFIG",
          message: expect.stringMatching(
            `^subnet-lease-ttl is ${ttlSeconds}s, but this Consul keeps sessions of 10s to 24h`,
          ),
        });
      }
    });
  });
});
