/** The shipped units under a real systemd: order, readiness, watchdog, the sandbox, and what a stop leaves. */

import { afterAll, beforeAll, expect, it } from "vitest";
import { BootedHost, describeWithSystemd } from "../../support/booted-host.ts";
import { installService } from "../../support/installed-service.ts";

/** The service with a network's store, and a stand-in for Docker. */
const PREPARE = `
${installService("--store=file:/var/lib/tulle/store --firewall=nft")}
printf '[Service]\\nWatchdogSec=3\\n' > etc/systemd/system/tulled.service.d/test.conf
cat > etc/systemd/system/docker.service <<'UNIT'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'cp /run/flannel/subnet.env /run/docker-saw; cp /etc/docker/daemon.json /run/docker-json; echo started >> /run/docker-starts'
UNIT
`;

describeWithSystemd("the units under systemd", () => {
  let host: BootedHost;

  beforeAll(async () => {
    host = new BootedHost("boot");
    const { netns } = host;
    netns.exec("ip", ["link", "add", "eth0", "type", "veth", "peer", "name", "lan"]);
    netns.exec("ip", ["address", "add", "192.168.50.11/24", "dev", "eth0"]);
    for (const device of ["eth0", "lan"]) netns.exec("ip", ["link", "set", device, "up"]);
    netns.exec("ip", ["route", "add", "default", "via", "192.168.50.1"]);
    await host.boot(PREPARE);
  });
  afterAll(() => host.dispose());

  const subnetFile = (): string => host.run("cat", "/run/flannel/subnet.env");
  const activeState = (): string => host.property("tulled.service", "ActiveState");
  const starts = (): number => host.run("cat", "/run/docker-starts").split("\n").length - 1;

  it("let Docker start while the daemon waits for its network, where nothing was said of their order", async () => {
    const dropIn = "/etc/systemd/system/docker.service.d/10-tulle.conf";
    host.run("install", "-d", "/etc/systemd/system/docker.service.d");
    host.run("ln", "-s", "/dev/null", dropIn);
    host.systemctl("daemon-reload");
    host.systemctl("start", "--no-block", "tulled.service", "docker.service");
    await expect
      .poll(() => host.property("docker.service", "ActiveState"), { timeout: 40_000 })
      .toBe("active");
    expect(activeState()).toBe("activating");
    host.systemctl("stop", "docker.service", "tulled.service");
    host.run("rm", dropIn, "/run/docker-starts");
    host.systemctl("daemon-reload");
  });

  it("wait for the network's configuration, and start Docker only then", async () => {
    host.systemctl("enable", "tulle-docker.service", "tulle-docker.path");
    host.systemctl("start", "--no-block", "docker.service");
    await expect.poll(activeState, { timeout: 40_000 }).toBe("activating");
    await expect
      .poll(() => host.property("tulled.service", "StatusText"), { timeout: 40_000 })
      .toMatch(/^waiting for a network configuration: there is none; write it with/);
    expect(host.property("docker.service", "ActiveState")).toBe("inactive");
    host.run("tulle", "net", "init", "--store=file:/var/lib/tulle/store", "--network=10.2.0.0/16");
    await expect
      .poll(() => host.property("docker.service", "ActiveState"), { timeout: 40_000 })
      .toBe("active");
    expect(activeState()).toBe("active");
    host.systemctl("reload", "tulled.service");
    await expect.poll(activeState, { timeout: 40_000 }).toBe("active");
    expect(host.run("cat", "/run/docker-saw")).toBe(subnetFile());
    expect(JSON.parse(host.run("cat", "/run/docker-json"))).toMatchObject({ mtu: 1450 });
    expect(host.property("tulled.service", "StatusText")).toContain("eth0");
  });

  it("satisfy systemd-analyze verify", () => {
    const units = ["tulled.service", "tulle-docker.service", "tulle-docker.path"].join(" ");
    expect(host.run("sh", "-c", `systemd-analyze verify --man=no ${units} 2>&1`)).toBe("");
  });

  it("let the daemon do all of its work inside the sandbox", () => {
    expect(host.netns.ipJson(["link", "show", "flannel.1"])).toHaveLength(1);
    expect(host.netns.exec("nft", ["list", "ruleset"])).toContain("flanneld forward");
    expect(host.run("tulle", "status")).toContain("10.2.");
    const capabilities = host.property("tulled.service", "CapabilityBoundingSet");
    expect(capabilities).toContain("cap_net_admin");
    expect(capabilities).not.toContain("cap_sys_module");
    const pid = host.property("tulled.service", "MainPID");
    expect(host.run("grep", "^Seccomp:", `/proc/${pid}/status`)).toMatch(/2$/m);
  });

  it.each(["iptables", "nft"])("let it keep its rules with %s, and repair them", async (engine) => {
    host.run("sed", "-i", `s/--firewall=.*/--firewall=${engine} --ip-masq/`, "/etc/default/tulled");
    host.systemctl("restart", "tulled.service");
    const hasRules = (): boolean => {
      const rules =
        engine === "nft" ? host.netns.exec("nft", ["list", "ruleset"]) : host.netns.exec("iptables-save", []);
      return rules.includes(engine === "nft" ? "masquerade" : "-j MASQUERADE --random-fully");
    };
    expect(hasRules()).toBe(true);
    host.netns.exec("nft", ["flush", "ruleset"]);
    await expect.poll(hasRules, { timeout: 40_000 }).toBe(true);
    expect(host.run("tulle", "status")).not.toContain("firewall:");
  });

  it("leave the data path and the files on a stop", () => {
    const before = subnetFile();
    host.systemctl("stop", "tulled.service");
    expect(subnetFile()).toBe(before);
    expect(host.netns.ipJson(["link", "show", "flannel.1"])).toHaveLength(1);
    expect(host.property("docker.service", "ActiveState")).toBe("active");
    host.systemctl("start", "tulled.service");
    expect(subnetFile()).toBe(before);
  });

  it("restart a daemon that hangs", async () => {
    const pid = host.property("tulled.service", "MainPID");
    host.run("kill", "-STOP", pid);
    await expect.poll(() => host.property("tulled.service", "NRestarts"), { timeout: 40_000 }).not.toBe("0");
    await expect.poll(activeState, { timeout: 40_000 }).toBe("active");
    expect(host.property("tulled.service", "MainPID")).not.toBe(pid);
  });

  it("restart Docker for another subnet, and only then", async () => {
    host.systemctl("start", "tulle-docker.path");
    host.netns.exec("ip", ["link", "add", "docker0", "type", "bridge"]);
    const [, gateway] = /FLANNEL_SUBNET=(\S+)/.exec(subnetFile()) ?? [];
    host.netns.exec("ip", ["address", "add", gateway ?? "", "dev", "docker0"]);
    host.systemctl("start", "tulle-docker.service");
    expect(starts()).toBe(1);
    const other = gateway === "10.2.77.1/24" ? "10.2.78" : "10.2.77";
    const store = "--store=file:/var/lib/tulle/store";
    host.systemctl("stop", "tulled.service");
    host.run("tulle", "lease", "revoke", "192.168.50.11", "--yes", store);
    host.run("tulle", "lease", "reserve", `${other}.0/24`, "--public-ip=192.168.50.11", store);
    host.systemctl("start", "tulled.service");
    expect(subnetFile()).toContain(`FLANNEL_SUBNET=${other}.1/24`);
    await expect.poll(starts, { timeout: 40_000 }).toBe(2);
    const settings = (): unknown => JSON.parse(host.run("cat", "/etc/docker/daemon.json"));
    await expect.poll(settings, { timeout: 40_000 }).toMatchObject({ bip: `${other}.1/24` });
  });

  it("name options that reach dockerd through drop-ins and variables as systemd reads them", () => {
    const script = `
      mkdir -p /etc/systemd/system/service.d /run/systemd/system/docker.service.d
      printf '[Service]\\nExecStart=/usr/sbin/dockerd -H fd:// \\\\\\n# a comment\\n  $DOCKER_OPTS $NET\\n' > /etc/systemd/system/docker.service
      printf '[Service]\\nEnvironment="NET=--bridge br0"\\n' > /etc/systemd/system/service.d/10-net.conf
      printf '[Service]\\nEnvironmentFile=-/etc/default/docker-test\\n' > /run/systemd/system/docker.service.d/20.conf
      echo 'DOCKER_OPTS="--default-gateway=192.0.2.1"' > /etc/default/docker-test
      ln -s /dev/null /run/systemd/system/docker.service.d/15-off.conf
      systemctl daemon-reload
      tulle docker setup --dry-run 2>&1 || true`;
    const said = host.run("sh", "-c", script);
    expect(said).toContain(
      "NET in /etc/systemd/system/service.d/10-net.conf gives --bridge br0, and dockerd accepts",
    );
    expect(said).toContain(
      "DOCKER_OPTS in /etc/default/docker-test gives --default-gateway=192.0.2.1, which is",
    );
    host.run("rm", "/etc/systemd/system/service.d/10-net.conf", "/etc/default/docker-test");
    host.systemctl("daemon-reload");
    expect(host.run("tulle", "docker", "setup", "--into", "drop-in", "--dry-run")).toContain(
      "+ExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS $NET $TULLE_DOCKER_OPTS\n",
    );
  });

  it("give Docker by the drop-in the same options at each start, from this installation", () => {
    const script = `
      cat > /usr/local/bin/dockerd <<'PROGRAM'
#!/bin/sh
case $* in *--validate) exit ;; esac
echo "$@" >> /run/docker-options
PROGRAM
      chmod +x /usr/local/bin/dockerd
      printf '[Service]\\nType=oneshot\\nRemainAfterExit=yes\\nExecStart=/usr/local/bin/dockerd -H fd://\\n' \
        > /etc/systemd/system/docker.service
      systemctl disable tulle-docker.service tulle-docker.path
      systemctl daemon-reload
      tulle docker setup --into drop-in --no-names
      for start in 1 2 3; do systemctl restart docker.service; done`;
    host.run("sh", "-ec", script);
    const [, gateway = ""] = /FLANNEL_SUBNET=(\S+)/.exec(subnetFile()) ?? [];
    const options = host.run("cat", "/run/docker-options").trimEnd().split("\n");
    const expected = expect.stringMatching(`^-H fd:// --bip=${gateway} --ip-masq=\\w+ --mtu=1450$`);
    expect(options).toEqual([expected, expected, expected]);
    const dropIn = host.run("cat", "/etc/systemd/system/docker.service.d/50-tulle.conf");
    expect(dropIn).toContain("TULLE_DOCKER_OPTS /usr/bin/tulle docker-opts ");
  });
});
