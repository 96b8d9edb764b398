/** How the parts that serve the container engines end: all of them, with the first that fails. */

import { expect, it } from "vitest";
import { Changes } from "../../../../agent/docker-driver/changes.ts";
import { type EngineParts, runParts } from "../../../../agent/engines/engine-parts.ts";
import { systemClock } from "../../../../ipam/clock.ts";
import { fired, partOf } from "../../../../ipam/part-signal.ts";

const stop = new AbortController();

function lab() {
  const ended: string[] = [];
  const part = (name: string) => ({
    run: async (signal: AbortSignal) => {
      await fired(signal);
      ended.push(name);
    },
  });
  const followers = new Set<unknown>();
  const feed = {
    onChange: (follower: unknown) => {
      followers.add(follower);
      return () => followers.delete(follower);
    },
  };
  const parts = {
    life: partOf(stop.signal),
    networks: { ...part("networks"), feed },
    segments: { first: new Promise(() => undefined) },
    podman: part("podman"),
    driver: part("driver"),
    names: part("names"),
  };
  return { ended, followers, parts: parts as unknown as EngineParts };
}

it("ends every part, and frees what they hold, when the host's interface cannot be told", async () => {
  const { ended, followers, parts } = lab();
  const running = runParts(parts, new Changes(systemClock), () => {
    throw new Error("RTM_GETLINK: ENOBUFS");
  });
  await expect(running).rejects.toThrow("ENOBUFS");
  expect(ended).toEqual(["driver", "podman", "names"]);
  expect(followers).toEqual(new Set());
});

it("ends every part with the one that fails", async () => {
  const { ended, parts } = lab();
  const broken = { ...parts, podman: { run: () => Promise.reject(new Error("the disk is full")) } };
  const running = runParts(broken as unknown as EngineParts, new Changes(systemClock), () => undefined);
  await expect(running).rejects.toThrow("the disk is full");
  expect(ended).toEqual(["driver", "names"]);
});
