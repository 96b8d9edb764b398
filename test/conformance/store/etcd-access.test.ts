/** How etcd is reached and refused: certificates, names and passwords, and servers that are something else. */

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { createServer as createH2Server } from "node:http2";
import { type AddressInfo, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { TulleError } from "../../../ipam/errors.ts";
import type { NetworkStore, StoreConnection } from "../../../ipam/stores/contracts.ts";
import type { EtcdOptions, StoreEnvironment } from "../../../ipam/stores/options.ts";
import { openStore } from "../../../ipam/stores/registry.ts";
import { freePorts } from "../../support/daemon.ts";
import { type EtcdCluster, missingEtcd, startEtcd } from "../../support/etcd.ts";
import { SOON } from "../../support/patience.ts";
import { type Authority, createAuthority, type Issued } from "../../support/pki.ts";
import { testEnvironment } from "../../support/stores/store-factory.ts";
import { WatchLog } from "../../support/watch-log.ts";

const PREFIX = "/coreos.com/network";
const ROOT = ["--user=root:root"] as const;
const signal = AbortSignal.timeout(120_000);
let directory = "";
const opened: StoreConnection[] = [];
const clusters: EtcdCluster[] = [];

async function open(
  etcd: EtcdOptions,
  environment: StoreEnvironment = testEnvironment,
): Promise<NetworkStore> {
  const connection = await openStore({ store: "etcd", etcd }, environment);
  opened.push(connection);
  return connection.network(PREFIX);
}

/** The error of a listing; its message is one line and ends in a remedy. */
async function refusal(etcd: EtcdOptions): Promise<TulleError> {
  const error = await open(etcd)
    .then((store) => store.feed.list(signal))
    .then(
      () => null,
      (reason: unknown) => reason,
    );
  if (!(error instanceof TulleError)) throw new Error(`no TulleError but ${error}`);
  expect(error.message).not.toContain("\n");
  return error;
}

async function start(options: Parameters<typeof startEtcd>[0] = {}): Promise<EtcdCluster> {
  const cluster = await startEtcd(options);
  clusters.push(cluster);
  return cluster;
}

const missing = missingEtcd();
if (missing !== null && process.env.CI) throw new Error(missing);

describe.skipIf(missing !== null)("access to etcd", () => {
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "tulle-access-"));
  });
  afterAll(async () => {
    await Promise.all(opened.map((connection) => connection.close()));
    await Promise.all(clusters.map((cluster) => cluster.stop()));
    rmSync(directory, { recursive: true, force: true });
  });

  describe("TLS", () => {
    let authority: Authority;
    let stranger: Authority;
    let server: Issued;
    let client: Issued;
    let mutual: EtcdCluster;
    let oneSided: EtcdCluster;
    beforeAll(async () => {
      authority = createAuthority(directory);
      stranger = createAuthority(directory, "stranger");
      server = authority.issue("server");
      client = authority.issue("client");
      mutual = await start({ tls: { ...server, isMutual: true } });
      oneSided = await start({ tls: { ...server, isMutual: false } });
    });

    it("shows a certificate where one is demanded", async () => {
      const store = await open({ endpoints: mutual.endpoints, ...client });
      expect((await store.feed.list(signal)).entries).toEqual([]);
    });
    it("checks the server with an authority alone, and never talks in the clear then", async () => {
      const bare = `127.0.0.1:${oneSided.members[0]?.port}`;
      const store = await open({ endpoints: [bare], caFile: authority.caFile });
      expect((await store.feed.list(signal)).entries).toEqual([]);
      await expect(open({ endpoints: [`http://${bare}`], caFile: authority.caFile })).rejects.toMatchObject({
        code: "TULLE_CONFIG",
      });
    });
    it("tells an unknown authority", async () => {
      for (const caFile of ["", stranger.caFile]) {
        const error = await refusal({ endpoints: oneSided.endpoints, caFile });
        expect(error).toMatchObject({ code: "TULLE_STORE_TLS", message: /give etcd-cafile$/ });
      }
    });
    it("tells that the server refuses ours, or its absence", async () => {
      const foreign = stranger.issue("foreign");
      for (const files of [{}, { certFile: foreign.certFile, keyFile: foreign.keyFile }]) {
        const error = await refusal({ endpoints: mutual.endpoints, caFile: authority.caFile, ...files });
        expect(error).toMatchObject({ code: "TULLE_STORE_TLS", message: /refuses our certificate/ });
      }
    });
    it("tells a name that the server's certificate does not carry", async () => {
      const endpoints = [`https://localhost:${oneSided.members[0]?.port}`];
      const error = await refusal({ endpoints, caFile: authority.caFile });
      expect(error).toMatchObject({ code: "TULLE_STORE_TLS", message: /is for another name/ });
    });
    it("tells what has expired", async () => {
      const expired = authority.issue("expired", { days: -1 });
      const cluster = await start({ tls: { ...expired, isMutual: false } });
      const ours = await refusal({ endpoints: mutual.endpoints, ...expired });
      expect(ours).toMatchObject({ code: "TULLE_STORE_TLS", message: /expired\.pem expired on/ });
      const theirs = await refusal({ endpoints: cluster.endpoints, caFile: authority.caFile });
      expect(theirs).toMatchObject({ code: "TULLE_STORE_TLS", message: /has expired: renew it$/ });
    });
    it("names the file that does not fit", async () => {
      const { endpoints } = mutual;
      const mismatch = await refusal({ endpoints, ...client, keyFile: server.keyFile });
      expect(mismatch).toMatchObject({ code: "TULLE_STORE_TLS", message: /does not match the certificate/ });
      const unreadable = await refusal({ endpoints, caFile: join(directory, "none.pem") });
      expect(unreadable).toMatchObject({ code: "TULLE_STORE_TLS", message: /none\.pem cannot be read/ });
      const noPem = await refusal({ endpoints, caFile: client.keyFile });
      expect(noPem).toMatchObject({ code: "TULLE_STORE_TLS", message: /no PEM certificate/ });
      const half = await refusal({ endpoints, certFile: client.certFile });
      expect(half).toMatchObject({ code: "TULLE_CONFIG" });
    });
    it("tells plaintext from TLS on either side, whichever packet comes first", async () => {
      const plain = await start();
      const { caFile } = authority;
      const toPlain = plain.endpoints.map((endpoint) => endpoint.replace("http:", "https:"));
      for (const options of [{ endpoints: toPlain, caFile }, { endpoints: toPlain }]) {
        expect(await refusal(options)).toMatchObject({
          code: "TULLE_STORE_TLS",
          message: /the server speaks plain http: write http:\/\//,
        });
      }
      for (const cluster of [oneSided, mutual]) {
        const endpoints = cluster.endpoints.map((endpoint) => endpoint.replace("https:", "http:"));
        expect(await refusal({ endpoints })).toMatchObject({
          code: "TULLE_STORE_TLS",
          message: /the server speaks TLS: write https:\/\//,
        });
      }
    });
    it("reads the files again when they change, and stays with the old ones while the new do not fit", async () => {
      const files = Object.fromEntries(
        (["caFile", "certFile", "keyFile"] as const).map((name) => [name, join(directory, `live-${name}`)]),
      );
      const install = (issued: Issued, names: readonly (keyof Issued)[]) => {
        for (const name of names) cpSync(issued[name], files[name] ?? "");
      };
      install(client, ["caFile", "certFile", "keyFile"]);
      let nowMs = 0;
      const warnings: string[] = [];
      const environment = {
        ...testEnvironment,
        clock: { ...testEnvironment.clock, monotonicMs: () => nowMs },
        log: { ...testEnvironment.log, warn: (message: string) => warnings.push(message) },
      };
      const rotating = await start({ tls: { ...server, isMutual: true } });
      const store = await open({ endpoints: rotating.endpoints, ...files }, environment);
      await store.feed.list(signal);

      const next = stranger.issue("next");
      install(next, ["certFile"]);
      nowMs += 60_000;
      await store.feed.list(signal);
      expect(warnings).toEqual(["new certificate files are not usable, staying with the old ones"]);

      install(next, ["keyFile"]);
      nowMs += 60_000;
      await expect(store.feed.list(signal)).rejects.toMatchObject({ code: "TULLE_STORE_TLS" });
      install(client, ["certFile", "keyFile"]);
      await store.feed.list(signal);
    });
  });

  describe("names and passwords", () => {
    let cluster: EtcdCluster;
    const credentials = { username: "tulle", password: "secret" };
    beforeAll(async () => {
      cluster = await start({ flags: ["--auth-token-ttl=1"] });
    });

    it("does no harm where none is demanded, and serves when it is demanded later", async () => {
      const store = await open({ endpoints: cluster.endpoints, ...credentials });
      await store.feed.list(signal);
      cluster.enableAuth("tulle", "secret", `${PREFIX}/`);
      const entry = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      expect((await store.feed.list(signal)).entries).toEqual([entry]);
    });
    it("renews a token that ran out", async () => {
      const store = await open({ endpoints: cluster.endpoints, ...credentials });
      await store.feed.list(signal);
      await testEnvironment.clock.sleep(2_500, signal);
      const entry = await store.leases.create("10.1.2.0-24", "a", 60, signal);
      expect(await store.leases.keepAlive(entry, signal)).toBeGreaterThan(0);
    });
    it("renews a token that a restart of the server made void", async () => {
      const store = await open({ endpoints: cluster.endpoints, ...credentials });
      const { revision } = await store.feed.list(signal);
      await cluster.members[0]?.kill();
      await cluster.members[0]?.start();
      await expect
        .poll(() => store.feed.list(signal).then((listing) => listing.revision), SOON)
        .toBe(revision);
    });
    it("tells a watcher whose role has the keys alone and not what lies between them", async () => {
      const narrow = await start();
      const key = (name: string) => `${PREFIX}/${name}`;
      narrow.enableAuth("tulle", "secret", key("subnets/"));
      narrow.ctl(...ROOT, "role", "grant-permission", "network", "readwrite", key("config"));
      const warnings: object[] = [];
      const log = { ...testEnvironment.log, warn: (_: string, fields = {}) => warnings.push(fields) };
      const store = await open({ endpoints: narrow.endpoints, ...credentials }, { ...testEnvironment, log });
      const watched = new WatchLog(store);
      await expect.poll(() => warnings.length, SOON).toBeGreaterThan(0);
      await watched.stop();
      expect(watched.listings).toBe(1);
      expect(warnings).toEqual([
        expect.objectContaining({
          code: "TULLE_STORE_AUTH",
          error: expect.stringMatching(/grant the user's role readwrite on the prefix$/),
        }),
      ]);
    });
    it("leaves no store lease behind when it may not write", async () => {
      const reader = await start();
      reader.enableAuth("tulle", "secret", "/elsewhere/");
      const store = await open({ endpoints: reader.endpoints, ...credentials });
      await expect(store.leases.create("10.1.1.0-24", "a", 600, signal)).rejects.toMatchObject({
        code: "TULLE_STORE_AUTH",
        details: { outcomeUnknown: false },
      });
      expect(reader.ctl(...ROOT, "lease", "list")).toContain("found 0 leases");
    });
    it("tells a wrong password, a missing name and a missing permission", async () => {
      const { endpoints } = cluster;
      for (const wrong of [{ username: "tulle", password: "x" }, { username: "nobody", password: "x" }, {}]) {
        const error = await refusal({ endpoints, ...wrong });
        expect(error).toMatchObject({ code: "TULLE_STORE_AUTH", message: /check etcd-username/ });
        expect(error.message).not.toContain("secret");
      }
      const connection = await openStore(
        { store: "etcd", etcd: { endpoints, ...credentials } },
        testEnvironment,
      );
      opened.push(connection);
      await expect(connection.network("/elsewhere").feed.list(signal)).rejects.toMatchObject({
        code: "TULLE_STORE_AUTH",
        message: /grant the user's role readwrite/,
      });
    });
  });

  describe("servers that are no etcd", () => {
    const servers: { close(): unknown }[] = [];
    afterAll(() => {
      for (const server of servers) server.close();
    });
    async function listen(server: Pick<Server, "listen" | "close" | "address" | "once">): Promise<string> {
      servers.push(server);
      server.listen(0, "127.0.0.1");
      await new Promise((resolve) => server.once("listening", () => resolve(null)));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    }

    it("tells an HTTP server, with HTTP/1 and HTTP/2", async () => {
      const http1 = createServer((_request, response) => response.writeHead(404).end("not here"));
      const http2 = createH2Server((_request, response) => response.writeHead(404).end("not here"));
      for (const server of [http1, http2 as unknown as Server]) {
        const error = await refusal({ endpoints: [await listen(server)] });
        expect(error).toMatchObject({
          code: "TULLE_STORE_API",
          message: /is not etcd with the v3 API/,
        });
      }
    });
    it("tells a name that nobody knows", async () => {
      expect(await refusal({ endpoints: ["http://etcd.invalid:2379"] })).toMatchObject({
        code: "TULLE_STORE_UNREACHABLE",
        message: /the name etcd\.invalid .* resolved .*: correct the name in etcd-endpoints/,
        details: { outcomeUnknown: false },
      });
    });
    it("refuses an empty prefix without another word about it", async () => {
      const lines: string[] = [];
      const log = { ...testEnvironment.log, warn: (line: string) => lines.push(line) };
      const etcd = { endpoints: ["127.0.0.1:1"] };
      const connection = await openStore({ store: "etcd", etcd }, { ...testEnvironment, log });
      opened.push(connection);
      for (const prefix of ["", "/"]) expect(() => connection.network(prefix)).toThrow("is empty");
      expect(lines).toEqual([]);
    });
    it("tells a server that answers nothing, and nobody at all", async () => {
      const [port] = await freePorts(1);
      const silent = await listen(createTcpServer(() => {}) as unknown as Server);
      for (const endpoint of [silent, `127.0.0.1:${port}`]) {
        const error = await refusal({ endpoints: [endpoint] });
        expect(error).toMatchObject({ code: "TULLE_STORE_UNREACHABLE", retryable: true });
        expect(error.message).toContain("check that etcd runs there");
      }
    });
    it("goes on to the endpoint that works, and ignores blanks in the list", async () => {
      const cluster = await start();
      const [port] = await freePorts(1);
      const web = await listen(createServer((_request, response) => response.end()));
      const endpoints = [` 127.0.0.1:${port}, `, "", web, ` ${cluster.endpoints[0]} `];
      const store = await open({ endpoints });
      const entry = await store.leases.create("10.1.1.0-24", "a", 60, signal);
      expect((await store.feed.list(signal)).entries).toEqual([entry]);
    });
    it("reports the failure that says most", async () => {
      const [port] = await freePorts(1);
      const web = await listen(createServer((_request, response) => response.end()));
      for (const endpoints of [
        [web, `127.0.0.1:${port}`],
        [`127.0.0.1:${port}`, web],
      ]) {
        expect(await refusal({ endpoints })).toMatchObject({ code: "TULLE_STORE_API" });
      }
    });
  });
});
