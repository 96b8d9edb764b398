/**
 * The thread of the data path. It waits for packets and messages in poll(2) alone: a busy daemon cannot stall it, and
 * it cannot stall the daemon. A device or a port that it cannot have is reported and tried again.
 */

import { readSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { receiveMessageOnPort, workerData } from "node:worker_threads";
import { errorMessage } from "../../ipam/errors.ts";
import * as libc from "../netlink/libc.ts";
import { NetnsHandle, withNetns } from "../netlink/netns.ts";
import { Counters } from "./counters.ts";
import { DataPath } from "./data-path.ts";
import { type FromPath, type PathSettings, parsePeer, parseSubnets, type ToPath } from "./messages.ts";
import { closePathFiles, openPathFiles, type PathFiles } from "./path-files.ts";
import type { PeerIndex } from "./peer-index.ts";

const RETRY_MS = 250;
/** struct pollfd with POLLIN. */
const POLLIN = 1;

class PathThread {
  readonly #settings: PathSettings;
  readonly #counters: Counters;
  readonly #poll = Buffer.alloc(8);
  /** What the messages so far add up to, for a data path that is opened again. */
  readonly #peers = new Map<string, ReturnType<typeof parsePeer>>();
  #own: ReturnType<typeof parseSubnets> = {};
  #problem: string | null | undefined;
  #kept: ReadonlyMap<string, number>;
  /** It has been told peers. Before that, packets wait in the queues of device and sockets. */
  #isFollowing = false;
  #isStopped = false;

  constructor(settings: PathSettings) {
    this.#settings = settings;
    this.#counters = new Counters(settings.counters);
    this.#kept = settings.kept;
    this.#poll.writeInt32LE(settings.wakeFd, 0);
    this.#poll.writeInt16LE(POLLIN, 4);
  }

  run(): void {
    while (!this.#isStopped) {
      try {
        this.#runOnce();
      } catch (error) {
        this.#post({ type: "files", files: [] });
        this.#tell(errorMessage(error));
        this.#waitForMessages(RETRY_MS);
      }
    }
    this.#settings.port.close();
  }

  #runOnce(): void {
    const files = this.#openFiles();
    try {
      this.#post({ type: "files", files: [files.tun, ...files.sockets] });
      this.#tell(null);
      while (!this.#isFollowing && !this.#isStopped) this.#waitForMessages(RETRY_MS);
      this.#carry(files);
    } finally {
      closePathFiles(files);
      this.#post({ type: "files", files: [] });
    }
  }

  /** Those of a former run serve once: a device that fails is opened again. */
  #openFiles(): PathFiles {
    const { device, listeners, netns } = this.#settings;
    const kept = this.#kept;
    this.#kept = new Map();
    const open = () => openPathFiles(device, listeners, kept);
    if (netns === null) return open();
    const handle = NetnsHandle.open(netns);
    try {
      return withNetns(handle, open);
    } finally {
      handle.close();
    }
  }

  #carry(files: PathFiles): void {
    const path = new DataPath({
      files,
      wakeFd: this.#settings.wakeFd,
      counters: this.#counters,
      nowMs: () => performance.now(),
      onAnswer: (nonce, address) => this.#post({ type: "answer", nonce, address: String(address) }),
    });
    path.peers.setOwn(this.#own);
    for (const [id, peer] of this.#peers) path.peers.set(id, peer);
    while (!this.#isStopped) {
      path.run();
      this.#takeMessages(path);
    }
  }

  #waitForMessages(timeoutMs: number): void {
    const ready = libc.poll(Number(libc.addressOf(this.#poll)), 1, timeoutMs);
    if (ready > 0) this.#takeMessages(null);
  }

  #takeMessages(path: DataPath | null): void {
    readSync(this.#settings.wakeFd, Buffer.alloc(8));
    for (;;) {
      const received = receiveMessageOnPort(this.#settings.port);
      if (received === undefined) return;
      this.#take(received.message as ToPath, path);
    }
  }

  #take(message: ToPath, path: DataPath | null): void {
    switch (message.type) {
      case "stop":
        this.#isStopped = true;
        return;
      case "probe":
        path?.probe(message.id, message.nonce, message.bytes);
        return;
      case "follow":
        this.#follow(message, path?.peers ?? null);
    }
  }

  #follow(message: ToPath & { readonly type: "follow" }, index: PeerIndex | null): void {
    this.#isFollowing = true;
    this.#own = parseSubnets(message.own);
    index?.setOwn(this.#own);
    for (const id of message.deleted) {
      this.#peers.delete(id);
      index?.delete(id);
    }
    for (const [id, text] of message.set) {
      const peer = parsePeer(text);
      this.#peers.set(id, peer);
      index?.set(id, peer);
    }
  }

  #tell(problem: string | null): void {
    if (problem === this.#problem) return;
    this.#problem = problem;
    this.#post({ type: "problem", problem });
  }

  #post(message: FromPath): void {
    this.#settings.port.postMessage(message);
  }
}

new PathThread(workerData as PathSettings).run();
