/** Two hosts create networks of one name at once: that of the second is replaced. */

import { expect, it } from "vitest";
import { RETRIED } from "../../../../agent/docker-driver/plugin-server.ts";
import { type DriverHost, eventually, OURS, useDriverPair } from "../../../support/docker-driver-lab.ts";

const pair = useDriverPair();

const poolOf = (host: DriverHost): string | undefined =>
  [...host.engine.networks.values()].find(({ name }) => name === "app")?.pools[0]?.poolId;

it("tells a container that began before to start again", { timeout: 20_000 }, async () => {
  const hosts = [pair.one, pair.two];
  const created = await Promise.all(
    hosts.map(async (host) => {
      await host.engine.create("app", OURS);
      return { host, poolId: poolOf(host) };
    }),
  );
  const isReplaced = ({ host, poolId }: (typeof created)[number]): boolean =>
    poolOf(host) !== undefined && poolOf(host) !== poolId;
  const { host, poolId } = await eventually(() => created.find(isReplaced));
  const request = host.engine.call("IpamDriver.RequestAddress", { PoolID: poolId, Options: null });
  await expect(request).rejects.toThrow(/replaced .*: run the command again/);
  await expect(request).rejects.toThrow(RETRIED);
});
