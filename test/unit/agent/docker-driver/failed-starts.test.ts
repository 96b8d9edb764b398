/** Which failures of dockerd a later start overcomes; texts as Docker 20.10.24 and 28.5.2 keep them. */

import { expect, it } from "vitest";
import {
  FailedStarts,
  type FailedStartsOptions,
  isPassing,
} from "../../../../agent/docker-driver/failed-starts.ts";
import { RETRIED } from "../../../../agent/docker-driver/plugin-server.ts";
import { silentLogger } from "../../../../ipam/log.ts";
import { FakeClock } from "../../../support/fake-clock.ts";

const DIAL = "dial unix /run/docker/plugins/tulle.sock: connect:";

it.each([
  'plugin "tulle" not found',
  `Post "http://%2Frun%2Fdocker%2Fplugins%2Ftulle.sock/IpamDriver.RequestAddress": ${DIAL} connection refused`,
  'Post "http://%2Frun%2Fdocker%2Fplugins%2Ftulle.sock/NetworkDriver.Join": EOF',
  `failed to set up container networking: Post "http://plugin.moby.localhost/IpamDriver.RequestAddress": ${DIAL} no such file or directory`,
  `failed to set up container networking: remote: the store is away (${RETRIED})`,
])("passes: %s", (error) => {
  expect(isPassing(error)).toBe(true);
});

it.each([
  "",
  'remote: network blue has no free address in 10.9.0.0/24; see "tulle network ipam check", or create a larger network',
  "endpoint with name tulle-web already exists in network blue",
  "remote: address 10.9.0.7 of network blue belongs to tulle: start the container again",
  'plugin "tulle-other" not found',
  "remote: the endpoint has no address: create the network with --ipam-driver tulle",
])("needs a person: %s", (error) => {
  expect(isPassing(error)).toBe(false);
});

it("inspects no stopped container that is on networks of other drivers alone", async () => {
  const inspected: string[] = [];
  const listed = (Id: string, ...networks: readonly string[]): object => ({
    Id,
    NetworkSettings: {
      Networks: Object.fromEntries(networks.map((NetworkID) => [`the ${NetworkID} one`, { NetworkID }])),
    },
  });
  const containers = [
    ...[listed("other", "bridge"), listed("ours", "blue"), listed("both", "bridge", "blue")],
    // Docker does not tell the networks of a container that was never started.
    ...[listed("created", ""), { Id: "untold" }],
    // Its network was replaced, and another has the name.
    listed("former", "green"),
  ];
  const clock = new FakeClock();
  const options = {
    context: {
      ...{ clock, logger: silentLogger, state: { networks: new Map([["blue", {}]]) } },
      feed: { view: { networks: new Map([["n", { name: "the green one" }]]) } },
      engine: { call: async () => containers },
    },
    random: () => 1,
    inspect: async (id: string) => {
      inspected.push(id);
      return null;
    },
  } as unknown as FailedStartsOptions;
  const stop = new AbortController();
  const running = new FailedStarts(options).run(stop.signal);
  await clock.advance(100);
  expect(inspected).toEqual(["ours", "both", "created", "untold", "former"]);
  stop.abort();
  await running;
});
