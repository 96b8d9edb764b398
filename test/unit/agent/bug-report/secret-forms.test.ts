/** The forms in which secrets are written in settings, logs and command lines, and what looks like them. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { redactText } from "../../../../agent/bug-report/secrets.ts";

const NAMES = [
  ...[
    "clientKey",
    "client-key",
    "CLIENT_KEY",
    "client-key-data",
    "ssh-key",
    "sshKey",
    "deploy_key",
    "tls-key",
  ],
  ...[
    "AccountKey",
    "license-key",
    "priv_key",
    "wep_key0",
    "ca-key",
    "app.api.key",
    "privateKey",
    "x-api-key",
  ],
  ...[
    "PGPASSWORD",
    "MYSQL_PWD",
    "SSHPASS",
    "dbPass",
    "bindpw",
    "root_pw",
    "keypass",
    "passcode",
    "db.password",
  ],
  ...["bearer", "BEARER_TOKEN", "jwt", "GITHUB_PAT", "sessionid", "SharedAccessSignature", "client_secret"],
  ...["consul_encrypt", "encrypt", "pre-shared-key", "wpa_psk", "http-auth"],
];

const FORMS: readonly ((name: string, secret: string) => string)[] = [
  (name, secret) => `${name}=${secret}`,
  (name, secret) => `${name}: ${secret}`,
  (name, secret) => `${name} = "${secret}"`,
  (name, secret) => `${name}='${secret}'`,
  (name, secret) => JSON.stringify({ before: 1, [name]: secret, after: 2 }),
  (name, secret) => JSON.stringify({ said: JSON.stringify({ [name]: secret }) }),
  (name, secret) => `run --${name} ${secret} --v=1`,
  (name, secret) => `run --${name}=${secret} --v=1`,
  (name, secret) => `${name}:\n  - ${secret}\n`,
  (name, secret) => `-m comment --comment "with ${name}=${secret}" -j ACCEPT`,
];

/** The characters of base64 and of identifiers; never the path of a file, which is shown. */
const secrets = fc.stringMatching(/^[A-Za-z0-9+_][A-Za-z0-9+/_-]{11,40}={0,2}$/);

describe.each(NAMES)("the value of %s", (name) => {
  it("is hidden in every form", () => {
    const form = fc.constantFrom(...FORMS);
    fc.assert(
      fc.property(form, secrets, (write, secret) => {
        const shown = redactText(write(name, secret), []);
        expect(shown).not.toContain(secret);
        expect(shown).toContain("[redacted]");
      }),
    );
  });
});

const SECRET = "Hunter2-planted/9";

it.each([
  `sshpass -p ${SECRET} ssh root@192.0.2.1`,
  `run --account-key id${SECRET} --v=1`,
  `sshpass -p'my ${SECRET}' ssh root@192.0.2.1`,
  `sshpass -v -p${SECRET} ssh root@192.0.2.1`,
  `PGPASSWORD=${SECRET} psql -h 192.0.2.1`,
  `mysql -uroot -p${SECRET} db`,
  `mysqldump -u root -p'${SECRET}' db`,
  `docker login -u me -p ${SECRET} registry.example`,
  `podman login -p=${SECRET} registry.example`,
  `echo ${SECRET} | docker login -u me --password-stdin`,
  `printf %s "${SECRET}" | helm registry login --password-stdin registry.example`,
  `docker login -u me --password-stdin <<< ${SECRET}`,
  `echo '${SECRET}' | sudo -S ip link`,
  `echo root:${SECRET} | chpasswd`,
  `redis-cli -h 192.0.2.1 -a ${SECRET} ping`,
  `requirepass ${SECRET}`,
  `ldapsearch -x -D cn=admin -w ${SECRET}`,
  `openssl enc -aes256 -k ${SECRET}`,
  `openssl rsa -passin pass:${SECRET}`,
  `curl -s -uroot:${SECRET} http://192.0.2.1/`,
  `etcdctl --user=root:${SECRET} get /`,
  `wget --http-password=${SECRET} http://192.0.2.1/`,
  `tailscale up --authkey ${SECRET}`,
  `kubeadm join 192.0.2.1:6443 --certificate-key ${SECRET}`,
  `the server wants bearer ${SECRET}`,
  `postgres://u:${SECRET}@db.example/x`,
  `redis://:${SECRET}@192.0.2.1:6379`,
  `https://${SECRET}:x-oauth-basic@git.example/`.replace("/9", "99"),
  `git clone https://oauth2:${SECRET}@git.example/x.git`,
  `http_proxy=user:${SECRET.replace("/", "_")}@192.0.2.1:3128`,
  `proxy user:${SECRET.replace("/", "_")}@proxy.example:3128 refused`,
  `mount //user:${SECRET.replace("/", "_")}@nas.example/share`,
])("%#: hides the secret of a command line", (text) => {
  expect(redactText(text, [])).not.toMatch(/Hunter2/);
});

it("hides keys of IPsec", () => {
  const key = `0x${"ab".repeat(16)}`;
  expect(redactText(`ip xfrm state add proto esp enc 'cbc(aes)' ${key}`, [])).not.toContain(key);
});

it.each([
  "keys=3",
  "keys: 3 clientKeys=4 hostkeys=5",
  "monkey=1 keyboard: us turkey=2 hockey: 3",
  "publicKey=cdHsLqAbCdEf1234567890= leaseKey: 10.2.54.0-24",
  "client-key=/etc/tulle/client.key token=/run/tulle/page.token",
  "client-key-file: client.pem ssh_key_path=id_rsa api-key-id is no secret",
  '{"password":null,"encrypt":true,"auth":false}',
  "image nginx:1.25@sha256:0123456789abcdef and registry:5000/x@sha256:9123",
  "Job for user@0.service failed: getty@tty1.service, 10.2.54.0-24@vxlan",
  "bypass=1 compass: north passed: 3 passive=true lastPass: x",
  "docker login succeeded; mysql -u root db; sshpass not found",
  "echo hello | grep -c hello; the lease is 10.2.3.0/24: host a@b",
  "2026-11-30T10:44:57+0000 host tulled[7]: peer 10.2.3.0-24 at 192.0.2.1:8472",
  "-A FORWARD -s 10.2.0.0/16 -m comment --comment flanneld:forward -j ACCEPT",
  "fd00::1:2@x [fd00::1]:2379 aa:bb:cc:dd:ee:ff",
  "host key changed; node key 3 of 5; pat. bearers",
])("%#: shows what only looks like a secret", (text) => {
  expect(redactText(text, [])).toBe(text);
});

it("takes seconds at most for text that repeats the beginning of a secret", { timeout: 60_000 }, () => {
  for (const word of ["echo |sudo ", "login -x ", "mysql a ", "client key", "a:b@", "sshpass -p", "enc a "]) {
    const begin = performance.now();
    redactText(word.repeat(Math.ceil(400_000 / word.length)), []);
    expect(performance.now() - begin, word).toBeLessThan(8000);
  }
});
