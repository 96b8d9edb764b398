import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AgentConfig,
  type LoadedConfig,
  loadConfig,
  reloadConfig,
} from "../../../../agent/config/config.ts";
import type { Environment } from "../../../../agent/config/settings.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "tulle-config-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function load(args: string[], environment: Environment = {}): Promise<LoadedConfig> {
  const request = await loadConfig(args, environment);
  if (request.action !== "run") throw new Error(`asked for ${request.action}`);
  return request;
}

async function configOf(args: string[], environment: Environment = {}): Promise<AgentConfig> {
  return (await load(args, environment)).config;
}

async function file(name: string, text: string): Promise<string> {
  const path = join(directory, name);
  await writeFile(path, text);
  return path;
}

describe("defaults", () => {
  it("are flanneld's", async () => {
    const config = await configOf([]);
    expect(config).toMatchObject({
      store: {
        kind: "etcd",
        prefix: "/coreos.com/network",
        endpoints: ["http://127.0.0.1:4001", "http://127.0.0.1:2379"],
      },
      interface: { interfaces: [], patterns: [], canReach: null, publicAddress: {} },
      lease: { ttlSeconds: 86_400, renewMarginSeconds: 3600, onLost: "keep", holdDownSeconds: 30 },
      firewall: { masquerade: false, isFullyRandom: true, acceptForwarded: true, resyncSeconds: 5 },
      files: { subnetFile: "/run/flannel/subnet.env", stateDir: "/var/lib/tulle", runDir: "/run/tulle" },
      health: null,
      log: { level: "info", format: "text" },
    });
  });
});

describe("the page", () => {
  it("is off by default, and needs a token where other hosts reach it", async () => {
    expect((await configOf([])).ui).toBeNull();
    const ui = async (...args: string[]) => {
      const { address, ...more } = (await configOf(args)).ui ?? { address: null };
      return { address: String(address), ...more };
    };
    expect(await ui("--ui=127.0.0.1:8080")).toEqual({ address: "127.0.0.1", port: 8080, tokenFile: null });
    expect(await ui("--ui=[::1]:65535")).toEqual({ address: "::1", port: 65_535, tokenFile: null });
    expect(await ui("--ui=0.0.0.0:8080", "--ui-token-file=/etc/t")).toMatchObject({ tokenFile: "/etc/t" });
  });
});

describe("where a setting comes from", () => {
  it("flag beats environment beats file beats default", async () => {
    const path = await file("order.yaml", "healthz-port: 3\nv: 3\nsubnet-lease-renew-margin: 3\n");
    const environment = { FLANNELD_HEALTHZ_PORT: "2", FLANNELD_SUBNET_LEASE_RENEW_MARGIN: "2" };
    const { config, settings } = await load(["--config", path, "-healthz-port=1"], environment);
    expect(config.health?.port).toBe(1);
    expect(config.lease.renewMarginSeconds).toBe(120);
    expect(config.log.level).toBe("debug");
    expect(settings["healthz-port"].source).toBe("flag -healthz-port");
    expect(settings["subnet-lease-renew-margin"].source).toBe("FLANNELD_SUBNET_LEASE_RENEW_MARGIN");
    expect(settings.v.source).toBe(`${path}: v`);
    expect(settings.iface.source).toBe("default");
  });

  it("an empty variable is absent", async () => {
    expect((await configOf([], { FLANNELD_HEALTHZ_PORT: "" })).health).toBeNull();
  });

  it("our own flags have TULLED_ variables, and a variable takes one iface only", async () => {
    const config = await configOf([], { TULLED_STATE_DIR: "/x", FLANNELD_IFACE: "eth0,eth1" });
    expect(config.files.stateDir).toBe("/x");
    expect(config.interface.interfaces).toEqual(["eth0,eth1"]);
  });

  it("Consul's usual variables are read after our own", async () => {
    const environment = { CONSUL_HTTP_ADDR: "10.0.0.1:8500", CONSUL_HTTP_TOKEN: "theirs" };
    const config = await configOf(["--store=consul"], { ...environment, TULLED_CONSUL_TOKEN: "ours" });
    expect(config.store).toMatchObject({ kind: "consul", addresses: ["10.0.0.1:8500"], token: "ours" });
  });

  it("a token beats a token file from a weaker source, and yields to one from the like", async () => {
    const path = await file("token.yaml", "consul-token: file\n");
    const credentials = async (args: string[], environment: Environment) => {
      const { store } = await configOf(["--store=consul", ...args], environment);
      return store.kind === "consul" ? store.tokenFile || store.token : null;
    };
    const both = { CONSUL_HTTP_TOKEN: "token", CONSUL_HTTP_TOKEN_FILE: "/file" };
    expect(await credentials([], both)).toBe("/file");
    expect(await credentials([], { ...both, TULLED_CONSUL_TOKEN: "ours" })).toBe("ours");
    expect(await credentials(["--consul-token=flag"], both)).toBe("flag");
    expect(await credentials(["--consul-token=flag", "--consul-token-file=/flag"], both)).toBe("/flag");
    expect(await credentials([`--config=${path}`], { CONSUL_HTTP_TOKEN_FILE: "/file" })).toBe("/file");
  });

  it("a file may be JSON and may hold lists", async () => {
    const path = await file(
      "list.json",
      JSON.stringify({
        iface: ["eth0", "eth1"],
        "etcd-endpoints": ["http://a:1", "http://b:2"],
        "ip-masq": true,
      }),
    );
    const config = await configOf([`--config=${path}`]);
    expect(config.interface.interfaces).toEqual(["eth0", "eth1"]);
    expect(config.store).toMatchObject({ endpoints: ["http://a:1", "http://b:2"] });
    expect(config.firewall.masquerade).toBe(true);
  });

  it("a file's values are the text that stands there, whatever they look like", async () => {
    const lines = [
      "etcd-username: 1e5",
      "etcd-password: 00123",
      "consul-token: 12345678901234567890",
      "iface:",
    ];
    const path = await file("literal.yaml", lines.join("\n"));
    const etcd = await configOf([`--config=${path}`]);
    expect(etcd.store).toMatchObject({ username: "1e5", password: "00123" });
    expect(etcd.interface.interfaces).toEqual([]);
    const consul = await configOf([`--config=${path}`, "--store=consul"]);
    expect(consul.store).toMatchObject({ token: "12345678901234567890" });
  });

  it("the file may be named by the environment", async () => {
    const path = await file("env.yaml", "log-format: json");
    expect((await configOf([], { TULLED_CONFIG: path })).log.format).toBe("json");
  });

  it("an empty file changes nothing", async () => {
    expect(await configOf(["--config", await file("empty.yaml", "# nothing\n")])).toEqual(await configOf([]));
  });
});

describe("values", () => {
  it.each([
    ["90", 90],
    ["90s", 90],
    ["1h30m", 5400],
    ["1.5h", 5400],
    ["1500ms", 1.5],
  ])("a lease time of %s is %d seconds", async (text, seconds) => {
    expect((await configOf(["-subnet-lease-ttl", text])).lease.ttlSeconds).toBe(seconds);
  });

  it("blanks and empty items in a list are dropped", async () => {
    expect((await configOf(["-etcd-endpoints", " http://a:1 ,, http://b:2"])).store).toMatchObject({
      endpoints: ["http://a:1", "http://b:2"],
    });
  });

  it("Go's (?i) is understood", async () => {
    const [pattern] = (await configOf(["-iface-regex=(?i)^ETH"])).interface.patterns;
    expect(pattern?.test("eth0")).toBe(true);
  });

  it("a file store has its directory and flannel's prefix", async () => {
    expect((await configOf(["--store=file:/var/lib/x", "-etcd-prefix=/n"])).store).toEqual({
      kind: "file",
      directory: "/var/lib/x",
      prefix: "/n",
    });
  });
});

describe("wrong values name the place, the value and the remedy", () => {
  it.each([
    [
      ["-subnet-lease-renew-margin=0"],
      'flag -subnet-lease-renew-margin: "0" is wrong: give a whole number from 1 to 1439',
    ],
    [["-subnet-lease-renew-margin=1440"], "from 1 to 1439"],
    [["-healthz-port=70000"], 'flag -healthz-port: "70000" is wrong: give a whole number from 0 to 65535'],
    [["-healthz-port=1", "-healthz-port=x"], 'flag -healthz-port: "x" is wrong'],
    [["-healthz-port=017"], "whole number"],
    [["-healthz-ip=localhost"], "give an IP address"],
    [["--ui=8080"], "give an IP address and a port"],
    [["--ui=localhost:8080"], "give an IP address and a port"],
    [["--ui=::1:8080"], "give an IP address and a port"],
    [["--ui=[127.0.0.1]:8080"], "give an IP address and a port"],
    [["--ui=127.0.0.1:0"], "give an IP address and a port"],
    [["--ui=127.0.0.1:65536"], "give an IP address and a port"],
    [["--ui=0.0.0.0:8080"], "other hosts reach this address: give -ui-token-file as well"],
    [["--ui=[::]:8080"], "other hosts reach this address"],
    [["--ui=127.0.0.1:8080", "--ui-token-file=token"], "give an absolute path"],
    [["-public-ip=fd00::1"], "give an IPv4 address"],
    [["-public-ipv6=10.0.0.1"], "give an IPv6 address"],
    [["-ip-masq=maybe"], "give true or false"],
    [["-iface-regex=("], "give a regular expression"],
    [["-iface-regex=\\pL"], String.raw`give a regular expression (\p is not supported)`],
    [["-subnet-lease-ttl=1d"], "such as 90s or 24h"],
    [["-subnet-lease-ttl=0"], "from 1s"],
    [["--store=zookeeper"], "give etcd, consul, or file:"],
    [["--store=file:relative"], "absolute directory"],
    [["--ip-masq-exclude=10.0.0.0/8,x"], '"x" is not a prefix'],
    [["--on-lease-lost=panic"], "give one of keep, renumber"],
    [["-subnet-file=subnet.env"], "give an absolute path"],
    [["-etcd-cafile=/etc/ca.pem\n"], "remove its line break or other control character"],
    [["--state-dir=/var/lib/tu\x7flle"], "remove its line break"],
    [["--store=consul", "--consul-token=one\ntwo"], '"(not shown)" is wrong: it holds a line break'],
    [["--store=consul", "--consul-token=one\u200b"], "another character that no token has"],
    [["-etcd-certfile=/c"], "it needs -etcd-keyfile as well"],
    [["-etcd-username=me"], "it needs -etcd-password as well"],
    [["--fallback=vxlan"], "give one of none, udp"],
    [["--fallback=udp", "--probe-rate=0"], 'it needs probes; remove "--probe-rate 0"'],
  ])("%j", async (args, message) => {
    await expect(load(args)).rejects.toMatchObject({
      code: "TULLE_CONFIG",
      message: expect.stringContaining(message),
    });
  });

  it("from the environment", async () => {
    await expect(load([], { FLANNELD_V: "x" })).rejects.toThrow('FLANNELD_V: "x" is wrong');
  });

  it("never shows a secret", async () => {
    await expect(load(["-etcd-password=hunter2"])).rejects.toThrow(
      'flag -etcd-password: "(not shown)" is wrong: it needs -etcd-username as well',
    );
  });

  it.each([
    ["typo.yaml", "ifaces: eth0", 'unknown setting "ifaces": did you mean iface?'],
    ["self.yaml", "config: x", "config can only be given on the command line"],
    ["nested.yaml", "iface: {name: eth0}", "iface must be a single value or a list"],
    ["list.yaml", "- iface", 'must hold settings as "name: value" lines'],
    ["broken.yaml", "iface: [", "is neither YAML nor JSON"],
    ["value.yaml", "healthz-port: many", 'value.yaml: healthz-port: "many" is wrong'],
  ])("in the file %s", async (name, text, message) => {
    const path = await file(name, text);
    const loading = load(["--config", path]);
    await expect(loading).rejects.toMatchObject({
      code: "TULLE_CONFIG",
      message: expect.stringContaining(message),
    });
    await expect(loading).rejects.toThrow(/^.*$/); // one line, whatever the parser says
  });

  it("a missing file", async () => {
    await expect(load(["--config", join(directory, "absent")])).rejects.toThrow("cannot be read");
  });
});

describe("requests", () => {
  it("--help and --version work whatever else is wrong", async () => {
    expect(await loadConfig(["--help", "-healthz-port=x"], { FLANNELD_V: "x" })).toEqual({ action: "help" });
    expect(await loadConfig(["-version"], {})).toEqual({ action: "version" });
  });

  it("what this version lacks is said, not ignored", async () => {
    await expect(load(["-kube-subnet-mgr"])).rejects.toMatchObject({ code: "TULLE_UNSUPPORTED" });
    await expect(load(["-kube-subnet-mgr=false", "-kube-api-url=x"])).resolves.toBeDefined();
  });

  it("warns of what has no effect", async () => {
    const { warnings } = await load(["-vmodule=a=1"], {
      FLANNELD_IFCAE: "x",
      TULLED_OPTIONS: "the unit has it",
    });
    expect(warnings).toEqual([
      "FLANNELD_IFCAE is not a setting of this version",
      "flag -vmodule has no effect: use --log-level",
    ]);
  });

  it("warns of variables of Consul that it does not know, where Consul is the store", async () => {
    const environment = { CONSUL_NAMESPACE: "team", CONSUL_HTTP_ADDR: "10.0.0.1:8500" };
    expect((await load(["--store=consul"], environment)).warnings).toEqual([
      "CONSUL_NAMESPACE is ignored: tulle has no such setting",
    ]);
    expect((await load([], environment)).warnings).toEqual([]);
  });
});

describe("reload", () => {
  it("applies what is safe and names what waits for a restart", async () => {
    const before = await load(["--config", await file("a.yaml", "log-level: info\nhealthz-port: 1")]);
    const after = await load([
      "--config",
      await file("b.yaml", "log-level: debug\nhealthz-port: 2\nhold-down: 5s\niptables-resync: 9"),
    ]);
    const { loaded, applied, refused } = reloadConfig(before, after);
    expect(applied).toEqual(["iptables-resync", "log-level"]);
    expect(refused).toEqual(["config", "hold-down", "healthz-port"]);
    expect(loaded.config).toMatchObject({
      log: { level: "debug" },
      lease: { holdDownSeconds: 30 },
      firewall: { resyncSeconds: 9 },
      health: { port: 1 },
    });
  });

  it("finds nothing when nothing changed", async () => {
    const loaded = await load(["-iface=a", "-iface=b"]);
    expect(reloadConfig(loaded, await load(["-iface=a", "-iface=b"]))).toMatchObject({
      applied: [],
      refused: [],
    });
  });
});
