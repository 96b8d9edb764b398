/** The alert rules and the dashboard, with a real Prometheus that scrapes two hosts. */

import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { METRICS } from "../../agent/report/metrics.ts";
import { type Daemon, startDaemon, untilReady } from "../support/daemon.ts";
import { describeWithEtcd, useEtcdLab } from "../support/hosts.ts";

const FOLDER = join(import.meta.dirname, "../../deploy/monitoring");
const CONFIG = { Network: "10.2.0.0/16", Backend: { Type: "vxlan" } };
const PORT = 8471;
const API = "http://127.0.0.1:9090/api/v1";
const PATIENCE = { timeout: 60_000, interval: 500 };

interface Panel {
  readonly targets?: readonly { readonly expr: string }[];
}

const dashboard: { readonly panels: readonly Panel[] } = JSON.parse(
  readFileSync(join(FOLDER, "dashboard.json"), "utf8"),
);
const panelQueries = dashboard.panels
  .flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
  .map((expr) => expr.replaceAll("$instance", ".*"));
const rules = readFileSync(join(FOLDER, "alerts.yml"), "utf8");
const ruleQueries = [...rules.matchAll(/^ +expr: (.*)$/gm)].map(([, expr = ""]) => expr);

it("every metric of the dashboard and of the rules exists", () => {
  const names = [...panelQueries, ...ruleQueries]
    .flatMap((expr) => expr.match(/\btulle_\w+/g) ?? [])
    .map((name) => name.replace(/_(bucket|sum|count)$/, ""));
  expect(names.length).toBeGreaterThan(30);
  expect(names.filter((name) => !Object.hasOwn(METRICS, name))).toEqual([]);
});

describeWithEtcd("Prometheus", () => {
  const net = useEtcdLab("monitoring", { hosts: 2, config: CONFIG });
  let prometheus: Daemon;

  type Samples = readonly { readonly metric: Readonly<Record<string, string>> }[];

  /** Asks all at once: a process is started for each call. */
  const queryAll = (exprs: readonly string[]): readonly Samples[] => {
    const urls = exprs.map((expr) => `${API}/query?query=${encodeURIComponent(expr)}`);
    const script = `Promise.all(${JSON.stringify(urls)}.map((url) => fetch(url).then((answer) => answer.json())))
      .then((all) => process.stdout.write(JSON.stringify(all)))`;
    const answers: readonly { readonly status: string; readonly data: { readonly result: Samples } }[] =
      JSON.parse(net.host(1).run(process.execPath, "-e", script));
    expect(exprs.filter((_, index) => answers[index]?.status !== "success")).toEqual([]);
    return answers.map(({ data }) => data.result);
  };
  const query = (expr: string): Samples => queryAll([expr])[0] ?? [];

  beforeAll(async () => {
    await net.startAll(`--healthz-port=${PORT}`);
    const folder = net.lab.directory;
    const targets = net.lab.hosts.map(({ address }) => `          - ${address}:${PORT}`).join("\n");
    const example = readFileSync(join(FOLDER, "prometheus.yml"), "utf8");
    const config = example.replace(/( {10}- .*\n)+/, `${targets}\n`);
    const fast = "global: { scrape_interval: 1s, evaluation_interval: 1s }\n";
    writeFileSync(join(folder, "prometheus.yml"), fast + config);
    // As they are, but without the time that they wait before they fire.
    writeFileSync(join(folder, "alerts.yml"), rules.replaceAll(/^ +for: .*\n/gm, ""));
    const host = net.host(1);
    prometheus = startDaemon(
      "prometheus",
      [
        `--config.file=${folder}/prometheus.yml`,
        `--storage.tsdb.path=${folder}/prometheus`,
        "--web.listen-address=127.0.0.1:9090",
        "--log.level=warn",
      ],
      { netns: host.netns },
    );
    await untilReady(
      async () => query('up{job="tulle"} == 1').length === 2,
      () => prometheus.output,
      60_000,
    );
  });
  afterAll(() => prometheus?.kill());

  it("accepts the rules, alone and with the example of a configuration", () => {
    execFileSync("promtool", ["check", "rules", join(FOLDER, "alerts.yml")]);
    execFileSync("promtool", ["check", "config", join(net.lab.directory, "prometheus.yml")]);
  });

  it("answers every query of the dashboard and of the rules", async () => {
    queryAll([...panelQueries, ...ruleQueries]);
    await expect.poll(() => query("tulle_probe_round_trip_seconds_count > 0").length, PATIENCE).toBe(2);
    expect(query("sum by (path) (tulle_peer_paths)").map(({ metric }) => metric.path)).toEqual(["tunnel"]);
    expect(query('sum(tulle_networks{ready="yes"}) == 2')).toHaveLength(1);
  });

  it("fires nothing in a healthy network, and names the cause of a broken path", async () => {
    const firing = () => query('ALERTS{alertstate="firing"}').map(({ metric }) => metric);
    await expect.poll(firing, PATIENCE).toEqual([]);
    const host = net.host(2);
    host.run("nft", "add table inet fault; add chain inet fault c { type filter hook input priority -500; }");
    host.run("nft", "add rule inet fault c udp dport 8472 drop");
    await expect
      .poll(firing, PATIENCE)
      .toContainEqual(expect.objectContaining({ alertname: "TullePathBroken", cause: "tunnel-filtered" }));
    host.run("nft", "delete table inet fault");
    await expect.poll(firing, PATIENCE).toEqual([]);
  });
});
