/** Failed handshakes in the words of OpenSSL and of BoringSSL, which Bun has: the same cause and remedy. */

import { describe, expect, it } from "vitest";
import { tlsFailures, withoutOpenSslFrame } from "../../../../ipam/stores/failures.ts";

const OPENSSL = "40E7:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:../ssl/record.c:332: ";
const BORINGSSL = "error:100000f7:SSL routines:OPENSSL_internal:WRONG_VERSION_NUMBER";

describe("the text of a TLS library", () => {
  it("is shown as its reason alone", () => {
    expect([OPENSSL, BORINGSSL].map(withoutOpenSslFrame)).toEqual([
      "wrong version number",
      "wrong version number",
    ]);
  });

  it.each([
    ["does not speak TLS", ["wrong version number", "WRONG_VERSION_NUMBER", "PACKET_LENGTH_TOO_LONG"]],
    ["refuses our certificate", ["tlsv13 alert certificate required", "TLSV1_ALERT_UNKNOWN_CA"]],
    ["not signed by an authority", ["unable to verify the first certificate", "CERTIFICATE_VERIFY_FAILED"]],
    ["has expired", ["certificate has expired"]],
  ])("means that the server's certificate, or the server, %s", (remedy, texts) => {
    for (const text of texts)
      expect(tlsFailures("--etcd").find(({ pattern }) => pattern.test(text))?.remedy).toContain(remedy);
  });
});
