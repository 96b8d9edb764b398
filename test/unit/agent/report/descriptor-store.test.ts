import { expect, it } from "vitest";
import { DescriptorStore, type ListenEnvironment } from "../../../../agent/report/descriptor-store.ts";

const PID = 4711;

function storeWith(environment: ListenEnvironment) {
  const said: string[] = [];
  const notifier = {
    keep: (name: string, fd: number) => void said.push(`keep ${name} ${fd}`),
    forget: (name: string) => void said.push(`forget ${name}`),
  };
  return { said, store: new DescriptorStore(environment, PID, notifier) };
}

it("gives each descriptor of a former run once, and has it kept already", () => {
  const { store, said } = storeWith({
    LISTEN_PID: String(PID),
    LISTEN_FDS: "2",
    LISTEN_FDNAMES: "device:socket",
  });
  expect([store.take("socket"), store.take("socket"), store.take("other")]).toEqual([4, null, null]);
  store.keep("socket", 4);
  expect(said).toEqual([]);
});

it.each([
  {},
  { LISTEN_PID: "1", LISTEN_FDS: "1", LISTEN_FDNAMES: "device" },
  { LISTEN_PID: String(PID), LISTEN_FDS: "none", LISTEN_FDNAMES: "device" },
])("takes nothing that is not for this process: %j", (environment) => {
  expect(storeWith(environment).store.take("device")).toBeNull();
});

it("keeps a name once, and forgets only what it keeps", () => {
  const { store, said } = storeWith({});
  store.keep("device", 9);
  store.keep("device", 10);
  store.forget("device");
  store.forget("device");
  store.keep("device", 11);
  expect(said).toEqual(["keep device 9", "forget device", "keep device 11"]);
});

it("forgets nothing while the daemon ends", () => {
  const { store, said } = storeWith({});
  store.keep("device", 9);
  store.end();
  store.forget("device");
  expect(said).toEqual(["keep device 9"]);
});
