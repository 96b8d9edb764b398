import { describe, expect, it } from "vitest";
import { parseEtcdEndpoints } from "../../../../ipam/stores/etcd/endpoints.ts";
import type { EtcdOptions } from "../../../../ipam/stores/options.ts";

const parse = (endpoint: string, options: Partial<EtcdOptions> = {}) =>
  parseEtcdEndpoints({ endpoints: [endpoint], ...options });

describe("endpoints of etcd", () => {
  it.each([
    ["http://127.0.0.1:4001", {}, "127.0.0.1:4001", "127.0.0.1", false],
    ["https://etcd.test:2379/", {}, "etcd.test:2379", "etcd.test", true],
    ["etcd.test", {}, "etcd.test:2379", "etcd.test", false],
    ["etcd.test:2380", { caFile: "ca.pem" }, "etcd.test:2380", "etcd.test", true],
    ["[fd00::1]:2379", {}, "[fd00::1]:2379", "fd00::1", false],
  ] as const)("%s with %o is %s", (endpoint, options, authority, host, isTls) => {
    expect(parse(endpoint, options)).toMatchObject([{ authority, host, isTls }]);
  });

  it("several, with blanks", () => {
    expect(parse(" a:1, b ,,").map(({ authority }) => authority)).toEqual(["a:1", "b:2379"]);
  });

  it.each(["", " , ", "ftp://a:1", "a:1/path", "::1", "a:port", "http://", "http://a,https://b"])(
    "%j is refused",
    (endpoint) => expect(() => parse(endpoint)).toThrow(expect.objectContaining({ code: "TULLE_CONFIG" })),
  );

  it.each(["http://me:secret@a:1", "me:secret@a:1", "ftp://me:secret@a:1", "http://:secret@a:1/path"])(
    "%j is refused without showing the password",
    (endpoint) => {
      for (const options of [{}, { caFile: "ca.pem" }]) {
        expect(() => parse(endpoint, options)).toThrow(/^etcd-endpoints: (?!.*secret)/);
      }
    },
  );

  it("certificate files for a plaintext endpoint are refused, not ignored", () => {
    expect(() => parse("http://a:1", { caFile: "ca.pem" })).toThrow(/plaintext/);
  });
});
