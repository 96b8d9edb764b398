/** ConfigStore (ipam/stores/contracts.ts), checked against every store. */

import { expect, it } from "vitest";
import { describeStores } from "../../support/stores/conformance.ts";

const signal = AbortSignal.timeout(300_000);

await describeStores("configuration", (store) => {
  it("is absent at first, and is written only where it is as expected", async () => {
    const { config } = store.network();
    expect(await config.read(signal)).toBeNull();
    const first = await config.write("{}", null, signal);
    await expect(config.write("x", null, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
    expect(await config.read(signal)).toEqual(first);
    const second = await config.write("y", first, signal);
    await expect(config.write("z", first, signal)).rejects.toMatchObject({ code: "TULLE_CONFLICT" });
    expect(await config.read(signal)).toEqual(second);
  });

  it("is read as another program wrote it", async () => {
    const { config } = store.network();
    await store.running.put(`${store.prefix}/config`, '{"Network":"10.1.0.0/16"}');
    expect(await config.read(signal)).toMatchObject({ text: '{"Network":"10.1.0.0/16"}' });
  });

  it("ends each call soon after its signal fires", async () => {
    const stop = AbortSignal.abort(new Error("enough"));
    const { config } = store.network();
    for (const call of [config.read(stop), config.write("x", null, stop)]) {
      await expect(call).rejects.toThrow("enough");
    }
    expect(await config.read(signal)).toBeNull();
  });
});
